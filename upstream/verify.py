"""Whether a call that comes in was made by the vendor: over its raw bytes, in constant time.

Nothing here decodes a body before it is believed. Each way of verifying is one function that is given
one secret; several secrets are tried, so that one can be changed for another without a gap. What the
time header says is held to a tolerance, in both directions, because a signature alone is good for ever.

Pure: the request, the secrets and the time are arguments.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from upstream import signing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from upstream.manifest import Webhook

SIGNATURES_MAX: Final = 16
"""How many signatures of one request are looked at: vendors send one for each secret that they hold."""
HEADER_CHARACTERS_MAX: Final = 8_192
FORM_FIELDS_MAX: Final = 1_000
SECOND_MS: Final = 1_000
YEAR_5138_SECONDS: Final = 100_000_000_000
"""A number above this is a time in milliseconds."""
ANY: Final = "*"
"""At the end of a header's name: every header that begins like this."""
IN_QUERY: Final = "?"
"""At the start of a header's name: it is a parameter of the address."""
KEY_PREFIX: Final = "whpk_"

_HOLE: Final = re.compile(rb"\$\{(body|timestamp|url|method|form|id|config\.[\w.-]+)\}")
_APART: Final = re.compile(r"[\s,]+")


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came: names of headers in lower case, `url` as the caller wrote it, the raw body."""

    method: str = "POST"
    url: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""
    config: dict[str, str] = {}
    """The connection's settings, which some signatures cover: the address as the vendor was given it."""


class Refused(msgspec.Struct, frozen=True):
    """Why it is not believed, for the log; whoever sent it is not told."""

    reason: str


class _NoKey(ValueError):
    """A secret cannot be the key that this way of verifying needs."""


def check(rule: Webhook, request: Incoming, secrets: Sequence[str], now_ms: int) -> Refused | None:
    """Return why a request is not the vendor's; None if it is."""
    if not secrets:
        return Refused("no secret is set")
    late = _out_of_time(rule, request, now_ms)
    if late is not None:
        return late
    # Every secret is tried, so that the time taken does not tell which of them was right.
    fits = [_fits(rule, request, secret) for secret in secrets]
    return None if any(fits) else Refused("the signature is not the vendor's")


def _fits(rule: Webhook, request: Incoming, secret: str) -> bool:
    """Tell whether a secret verifies a request; one that is no key verifies none, and takes nothing from the others."""
    try:
        return _WAYS[rule.verify](rule, request, secret)
    except _NoKey:
        return False


def unfit(rule: Webhook, secret: str) -> str:
    """Return why a secret can never verify a call; empty if it may."""
    try:
        _WAYS[rule.verify](rule, Incoming(), secret)
    except _NoKey as exc:
        return str(exc)
    return ""


def _out_of_time(rule: Webhook, request: Incoming, now_ms: int) -> Refused | None:
    header = signing.TIMESTAMP if rule.verify == "standard" else rule.timestamp_header.lower()
    if not header:
        return None
    then_ms = moment_ms(request.headers.get(header, ""))
    if then_ms is None:
        return Refused(f"{header} is no time")
    if abs(now_ms - then_ms) > rule.tolerance_seconds * SECOND_MS:
        return Refused(f"{header} is {round((now_ms - then_ms) / SECOND_MS)} s off")
    return None


def moment_ms(text: str) -> int | None:
    """Return the time that a header says: seconds or milliseconds since 1970, ISO, or a date of HTTP."""
    if re.fullmatch(r"\d{1,16}", text, re.ASCII):
        return int(text) if int(text) > YEAR_5138_SECONDS else int(text) * SECOND_MS
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            then = parse(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return round(then.timestamp() * SECOND_MS) if then.tzinfo else None
    return None


# The ways.


def _hmac(algorithm: str) -> Callable[[Webhook, Incoming, str], bool]:
    def verifies(rule: Webhook, request: Incoming, secret: str) -> bool:
        digest = hmac.new(_key(rule, secret), _signed(rule, request), algorithm).digest()
        wanted = digest.hex() if rule.encoding == "hex" else base64.b64encode(digest).decode()
        return _among(wanted, _given(rule, request))

    return verifies


def _basic(_rule: Webhook, request: Incoming, secret: str) -> bool:
    wanted = "Basic " + base64.b64encode(secret.encode()).decode()
    return _same(wanted, request.headers.get("authorization", ""))


def _token(rule: Webhook, request: Incoming, secret: str) -> bool:
    return _among(rule.prefix + secret, _headers(rule.header, request))


def _ecdsa(rule: Webhook, request: Incoming, secret: str) -> bool:
    key = _public_key(secret)
    signed = _signed(rule, request)
    fits = [_is_signed(key, _decoded(given), signed) for given in _given(rule, request)]
    return any(fits)


def _standard(_rule: Webhook, request: Incoming, secret: str) -> bool:
    signed = signing.content(
        request.headers.get(signing.ID, ""), request.headers.get(signing.TIMESTAMP, ""), request.body
    )
    given = request.headers.get(signing.SIGNATURE, "")[:HEADER_CHARACTERS_MAX].split(" ")[:SIGNATURES_MAX]
    if secret.startswith(KEY_PREFIX):
        key = _edwards_key(secret.removeprefix(KEY_PREFIX))
        fits = [_is_edwards(key, _decoded(each[4:]), signed) for each in given if each.startswith("v1a,")]
        return any(fits)
    try:
        wanted = signing.sign(signing.read(secret), signed)
    except signing.BadSecret as exc:
        raise _NoKey(str(exc)) from exc
    return _among(wanted, given)


_WAYS: Final[dict[str, Callable[[Webhook, Incoming, str], bool]]] = {
    "hmac-sha256": _hmac("sha256"),
    "hmac-sha1": _hmac("sha1"),
    "basic": _basic,
    "token": _token,
    "ecdsa": _ecdsa,
    "standard": _standard,
}


# Parts.


def _signed(rule: Webhook, request: Incoming) -> bytes:
    """Return the bytes that the signature is over; holes are filled with what came, never with a re-writing of it."""

    def filled(match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        if name.startswith("config."):
            return request.config.get(name.removeprefix("config."), "").encode()
        return _PARTS[name](rule, request)

    return _HOLE.sub(filled, rule.signed.encode())


_PARTS: Final[dict[str, Callable[[Webhook, Incoming], bytes]]] = {
    "body": lambda _, request: request.body,
    "timestamp": lambda rule, request: request.headers.get(rule.timestamp_header.lower(), "").encode(),
    "url": lambda _, request: request.url.encode(),
    "method": lambda _, request: request.method.upper().encode(),
    "form": lambda _, request: b"".join(name + value for name, value in sorted(_form(request.body))),
    "id": lambda _, request: request.headers.get(signing.ID, "").encode(),
}


def _form(body: bytes) -> list[tuple[bytes, bytes]]:
    try:
        found = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return []
    return [(name.encode(), value.encode()) for name, value in found]


def _query(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return []


def _given(rule: Webhook, request: Incoming) -> list[str]:
    """Return the signatures that came, without the prefix that says which kind they are."""
    parts = [part for value in _headers(rule.header, request) for part in _APART.split(value)]
    return [part.removeprefix(rule.prefix) for part in parts if part.startswith(rule.prefix)][:SIGNATURES_MAX]


def _headers(name: str, request: Incoming) -> list[str]:
    """Return the values of a header, of all that begin alike, or of a parameter of the address."""
    if name.startswith(IN_QUERY):
        return [value for key, value in _query(request.url) if key == name[1:]]
    lower = name.lower()
    if lower.endswith(ANY):
        found = [value for key, value in request.headers.items() if key.startswith(lower[:-1])]
    else:
        found = [request.headers[lower]] if lower in request.headers else []
    return [value[:HEADER_CHARACTERS_MAX] for value in found[:SIGNATURES_MAX]]


def _among(wanted: str, given: Sequence[str]) -> bool:
    fits = [_same(wanted, each) for each in given]
    return any(fits)


def _same(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode(), given.encode(errors="replace"))


def _key(rule: Webhook, secret: str) -> bytes:
    try:
        match rule.key_form:
            case "text":
                return secret.encode()
            case "hex":
                return bytes.fromhex(secret)
            case "base64":
                return base64.b64decode(secret, validate=True)
    except (ValueError, binascii.Error) as exc:
        raise _NoKey(f"the secret is no {rule.key_form}") from exc


def _decoded(text: str) -> bytes:
    """Return what base64 says; of two ways to write the same bytes only the usual one counts."""
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return found if base64.b64encode(found).decode() == text else b""


def _public_key(secret: str) -> ec.EllipticCurvePublicKey:
    try:
        if secret.lstrip().startswith("-----"):
            key = load_pem_public_key(secret.encode())
        else:
            key = load_der_public_key(base64.b64decode(secret, validate=True))
    except (ValueError, binascii.Error) as exc:
        raise _NoKey("the secret is no public key, in PEM or base64") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _NoKey("the public key is of no elliptic curve")
    return key


def _edwards_key(text: str) -> ed25519.Ed25519PublicKey:
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as exc:
        raise _NoKey(f"the secret is no {KEY_PREFIX} and base64") from exc


def _is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _is_edwards(key: ed25519.Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def digest(*parts: bytes) -> str:
    """Return the hash that stands for an event without an id of its own."""
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8) + part)
    return f"sha256:{made.hexdigest()}"


def each_header(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield headers as `Incoming` has them: one that comes twice is one with both values."""
    joined: dict[str, list[str]] = {}
    for name, value in headers:
        joined.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    yield from ((name, ", ".join(values)) for name, values in joined.items())
