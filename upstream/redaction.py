"""What of a request and an answer is kept for people to look at: no secrets, little about persons, not much.

It is for finding out why a delivery failed, and it stands in the database for weeks. So secrets that
are known are taken out wherever they stand, values whose names speak of secrets or of what nobody
has to see are taken out too, and what is long is cut.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HIDDEN: Final = "***"
REPLACED: Final = "\ufffd"
"""What stands for a character that was there and cannot be kept."""
TEXT_CHARACTERS_MAX: Final = 8_192
VALUE_CHARACTERS_MAX: Final = 512
ITEMS_MAX: Final = 20
SECRET_CHARACTERS_MIN: Final = 4
"""Anything shorter would be found in every other word."""

_SECRET: Final = re.compile(
    r"authorization|cookie|token|secret|passw|pwd|api.?key|signature|assertion|session.?id|client_id|private.?key",
    re.IGNORECASE,
)
_PRIVATE: Final = re.compile(
    r"ssn|social.?sec|birth|tax.?id|bank|iban|account.?num|routing|card.?num|cvv|passport|licen[cs]e.?num",
    re.IGNORECASE,
)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, in any of the ways they are written on the wire, as it can be stored."""
    return storable(_without(text, _longest_first(secrets)))


def storable(text: str) -> str:
    """Return the text without the one character that the database does not take."""
    return text.replace("\0", REPLACED)


def told(body: bytes, secrets: Iterable[str]) -> str:
    """Return a body for people: names that speak of secrets hidden, long things cut."""
    forms = _longest_first(secrets)
    try:
        said = msgspec.json.encode(shown(msgspec.json.decode(body), secrets=forms)).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return cut(hidden(body[: 4 * TEXT_CHARACTERS_MAX].decode("utf-8", "replace"), secrets))
    return cut(storable(_without(said, forms)))


def shown(value: Any, name: str = "", secrets: Sequence[str] = ()) -> Any:
    """Return a value with what its names forbid taken out, and lists and texts cut.

    The secrets are taken out before a text is cut: the beginning of one would not be known for what it is.
    """
    if isinstance(value, dict):
        return {key: shown(part, str(key), secrets) for key, part in value.items()}
    if isinstance(value, list):
        rest = len(value) - ITEMS_MAX
        return [shown(part, name, secrets) for part in value[:ITEMS_MAX]] + ([f"… {rest} more"] if rest > 0 else [])
    if value is not None and not isinstance(value, bool) and is_hidden(name):
        return HIDDEN
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS_MAX:
        return f"{_without(value, secrets)[:VALUE_CHARACTERS_MAX]}… ({len(value)} characters)"
    return value


def pairs(given: Iterable[tuple[str, str]] | Mapping[str, str]) -> dict[str, str]:
    """Return headers or parameters with those hidden whose name forbids it."""
    return {name: HIDDEN if is_hidden(name) else value for name, value in dict(given).items()}


def is_hidden(name: str) -> bool:
    """Whether what has this name is not shown."""
    return bool(_SECRET.search(name) or _PRIVATE.search(name))


def cut(text: str) -> str:
    """Return the text, or its beginning and how much there was."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return f"{text[:TEXT_CHARACTERS_MAX]}… ({len(text)} characters)"


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _longest_first(secrets: Iterable[str]) -> list[str]:
    return sorted(_forms(secrets), key=len, reverse=True)


def _forms(secrets: Iterable[str]) -> set[str]:
    plain = {secret for secret in secrets if len(secret) >= SECRET_CHARACTERS_MIN}
    written = {msgspec.json.encode(secret).decode()[1:-1] for secret in plain}
    coded = {base64.b64encode(secret.encode()).decode() for secret in plain}
    return plain | written | coded | {quote(secret, safe="") for secret in plain} | {quote_plus(s) for s in plain}
