"""Where alerts leave the system, as the environment says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from upstream import alerts, signing, sinks
from upstream.sinks import Mail, Place, Webhook

if TYPE_CHECKING:
    from upstream.sinks import Sink
    from upstream.transport import Http


class Alarming(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told what is wrong, and from when on something is."""

    webhook_url: str | None = None
    webhook_secret: bytes = b""
    mail: Place | None = None
    limits: alerts.Limits = alerts.Limits()

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return f"Alarming(webhook={self.webhook_url is not None}, mail={self.mail!r})"

    def sinks(self, http: Http) -> list[Sink]:
        """Return everybody who is told."""
        found: list[Sink] = []
        if self.webhook_url is not None:
            found.append(Webhook(http, self.webhook_url, self.webhook_secret, time.time))
        if self.mail is not None:
            found.append(Mail(self.mail))
        return found


def secret(text: str) -> bytes:
    """Return the secret that alerts are signed with; raises ValueError."""
    return signing.read(text)


def mail(url: str, sender: str, recipients: str) -> Place:
    """Return the mail server and who writes to whom; raises ValueError."""
    each = tuple(name.strip() for name in recipients.split(",") if name.strip())
    if not each or not all("@" in name and name.isprintable() for name in (*each, sender)):
        raise ValueError("needs a sender and recipients, each an address with @")
    return sinks.place(url, sender, each)
