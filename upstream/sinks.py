"""Where alerts go to: a signed webhook of the operator's, and mail.

A sink either knows an alert afterwards or raises `NotTold`. It is told all that is new at once, so that
an outage is one mail and not a hundred.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

import msgspec

from upstream import signing
from upstream.calls import Answer, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upstream.transport import Http

SEND_SECONDS: Final = 20.0
IDS: Final = UUID("c2f0b2a0-5c2b-4a2e-9a39-6a3c9f0b7d11")
SUBJECT_CHARACTERS_MAX: Final = 120
SUBMISSION_PORT: Final = 587
SMTPS_PORT: Final = 465


class NotTold(Exception):
    """The sink does not know it; the message says why, without secrets."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as a sink is told it. `state` is opened or resolved."""

    alert_id: str
    tenant_id: int
    rule: str
    subject: str
    severity: str
    message: str
    state: str
    opened_at: datetime
    resolved_at: datetime | None


class Sink(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str:
        """By which it is noted who knows."""
        ...

    async def tell(self, alerts: Sequence[Told]) -> None:
        """Tell it all of these; raises `NotTold`."""
        ...


class Webhook:
    """An address of the operator's. Signed as Standard Webhooks has it; its id is the same for the same alerts."""

    name = "webhook"

    def __init__(self, http: Http, url: str, secret: bytes, clock: Callable[[], float]) -> None:
        self._http = http
        self._url = url
        self._secret = secret
        self._clock = clock

    async def tell(self, alerts: Sequence[Told]) -> None:
        """Post them; any status of 200 to 299 is success."""
        now = self._clock()
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = msgspec.json.encode({"type": "alerts", "timestamp": at, "data": {"alerts": alerts}})
        headers = signing.headers(batch_id(alerts), int(now), body, [self._secret])
        call = Call(method="POST", url=self._url, headers={"content-type": "application/json", **headers}, body=body)
        exchange = await self._http.send(call, seconds=SEND_SECONDS)
        if not isinstance(exchange, Answer):
            raise NotTold(exchange.reason)
        if not 200 <= exchange.status < 300:
            raise NotTold(f"it answered {exchange.status}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A mail server, and who writes to whom. `secure`: TLS from the first byte; else STARTTLS where it is offered."""

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    password: str = ""
    secure: bool = False
    insists: bool = False
    """Whether nothing is sent without TLS: so wherever a password is."""

    def __repr__(self) -> str:
        """Return a text without the password."""
        return f"Place({self.host}:{self.port}, {len(self.recipients)} recipients)"


def place(url: str, sender: str, recipients: Sequence[str]) -> Place:
    """Return the place that smtp://user:password@host:port, or smtps://, means; raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("must be a URL that begins with smtp:// or smtps:// and names a host")
    secure = parts.scheme == "smtps"
    return Place(
        host=parts.hostname,
        port=parts.port or (SMTPS_PORT if secure else SUBMISSION_PORT),
        sender=sender,
        recipients=tuple(recipients),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        secure=secure,
        insists=bool(parts.username),
    )


class Mail:
    """Mail by SMTP, sent in a thread."""

    name = "mail"

    def __init__(self, where: Place, *, tls: ssl.SSLContext | None = None) -> None:
        self._place = where
        self._tls = tls or ssl.create_default_context()

    async def tell(self, alerts: Sequence[Told]) -> None:
        """Send one mail about all of them."""
        try:
            await asyncio.to_thread(self._send, letter(alerts, self._place))
        except UnicodeError as exc:
            # Its own text would quote what could not be written, which may be the password.
            raise NotTold("user, password and addresses of mail can only be written in ascii") from exc
        except (OSError, ValueError, smtplib.SMTPException) as exc:
            # The library quotes the server, never the password.
            raise NotTold(f"{type(exc).__name__}: {exc}") from exc

    def _send(self, written: EmailMessage) -> None:
        with self._connected() as server:
            if not self._place.secure:
                server.ehlo()
                if server.has_extn("starttls"):
                    server.starttls(context=self._tls)
                elif self._place.insists:
                    raise smtplib.SMTPNotSupportedError("the server offers no TLS, and a password is not sent without")
            if self._place.user:
                server.login(self._place.user, self._place.password)
            server.send_message(written)

    def _connected(self) -> smtplib.SMTP:
        if self._place.secure:
            return smtplib.SMTP_SSL(self._place.host, self._place.port, timeout=SEND_SECONDS, context=self._tls)
        return smtplib.SMTP(self._place.host, self._place.port, timeout=SEND_SECONDS)


def letter(alerts: Sequence[Told], where: Place) -> EmailMessage:
    """Return the mail about these alerts."""
    written = EmailMessage()
    written["From"] = where.sender
    written["To"] = ", ".join(where.recipients)
    written["Subject"] = _subject(alerts)
    written["Message-ID"] = f"<{batch_id(alerts)}@fieldsync>"
    written["Auto-Submitted"] = "auto-generated"
    lines = [
        f"[{alert.state} · {alert.severity}] {alert.message}\n  {alert.rule} {alert.subject}, tenant {alert.tenant_id},"
        f" since {alert.opened_at.isoformat(timespec='seconds')}"
        for alert in alerts
    ]
    written.set_content("\n\n".join(lines) + "\n")
    return written


def batch_id(alerts: Sequence[Told]) -> str:
    """Return the id that the same alerts in the same states have each time."""
    return str(uuid5(IDS, ",".join(sorted(f"{alert.alert_id}:{alert.state}:{alert.severity}" for alert in alerts))))


def _subject(alerts: Sequence[Told]) -> str:
    worst = min(alerts, key=lambda alert: (alert.state != "opened", alert.severity != "critical"))
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    # A line break in a subject would begin another header.
    said = " ".join(worst.message.split())[:SUBJECT_CHARACTERS_MAX]
    return f"[fieldsync] {worst.state}: {said}{more}"
