"""What Prometheus is told of credentials."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from upstream.credentials import Expiry, Trouble
from upstream.gauges import SignIns


def test_ends_and_troubles_are_shown_and_forgotten() -> None:
    """Each kind of end has a gauge in seconds, troubles are 1, and what is over is shown no more."""
    registry = CollectorRegistry()
    gauges = SignIns(registry)
    end = Expiry(tenant_id=1, connection="c", kind="certificate", seconds=-5.0)
    trouble = Trouble(tenant_id=1, connection="c", state="reauthorise", reason="no", unsettled=False)

    gauges.show([end], [trouble])
    shown = registry.get_sample_value("fieldsync_token_expires_seconds", {"connection": "c", "kind": "certificate"})
    refused = registry.get_sample_value("fieldsync_credentials_refused", {"connection": "c"})
    unsettled = registry.get_sample_value("fieldsync_renewal_unsettled", {"connection": "c"})
    gauges.show([], [])

    assert (shown, refused, unsettled) == (-5.0, 1.0, 0.0)
    assert registry.get_sample_value("fieldsync_credentials_refused", {"connection": "c"}) is None
