"""What Prometheus is told of credentials: when they end, which are refused, which renewal is open.

Shown anew each time: what is over is not shown any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Gauge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

    from upstream.credentials import Expiry, Trouble


class SignIns:
    """The gauges of all connections' credentials."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._expires = Gauge(
            "fieldsync_token_expires_seconds",
            "In how long a token, refresh token, certificate or password ends; negative: it has ended.",
            ("connection", "kind"),
            registry=registry,
        )
        self._refused = Gauge(
            "fieldsync_credentials_refused",
            "1 where the vendor or its issuer refused the credentials, until a person puts others.",
            ("connection",),
            registry=registry,
        )
        self._unsettled = Gauge(
            "fieldsync_renewal_unsettled",
            "1 where a renewal was asked for and nobody knows how it ended.",
            ("connection",),
            registry=registry,
        )

    def show(self, ends: Iterable[Expiry], troubles: Iterable[Trouble]) -> None:
        """Show these, and nothing else any more."""
        for gauge in (self._expires, self._refused, self._unsettled):
            gauge.clear()
        for end in ends:
            self._expires.labels(end.connection, end.kind).set(end.seconds)
        for trouble in troubles:
            self._refused.labels(trouble.connection).set(trouble.state == "reauthorise")
            self._unsettled.labels(trouble.connection).set(trouble.unsettled)
