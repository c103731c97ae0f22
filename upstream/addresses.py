"""Addresses that people give: what is called there later has to be an address that can be called.

What is refused here would fail at each request, and the libraries that find that out quote what they were given.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

CHARACTERS_MAX: Final = 2_000
HOST_CHARACTERS_MAX: Final = 253
PORT_MAX: Final = 65_535
_PRINTABLE: Final = re.compile(r"[!-~]+")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBERS: Final = re.compile(r"[0-9.]+")


def checked(text: str, *, allow_plain: bool = False, is_base: bool = False) -> str:
    """Return an address as it was given; raises ValueError, which says what it must be and quotes nothing.

    `allow_plain` also allows http, for trials on one machine. A base has no query, since paths are put after it.
    """
    schemes = ("https", "http") if allow_plain else ("https",)
    if len(text) > CHARACTERS_MAX or _PRINTABLE.fullmatch(text) is None:
        raise ValueError(f"must have 1 to {CHARACTERS_MAX} characters, all of them printable ASCII but no space")
    parts = _parts(text)
    if parts is None:
        raise ValueError(f"must name a host that can be, in ASCII, and a port of 1 to {PORT_MAX} if any")
    if parts.scheme not in schemes or "@" in parts.netloc or parts.fragment or (is_base and parts.query):
        told = "no user, no query and no fragment" if is_base else "no user and no fragment"
        raise ValueError(f"must begin with {'://, or '.join(schemes)}://, and have {told}")
    return text


def _parts(text: str) -> SplitResult | None:
    """Return the parts of an address; None if its host or port cannot be."""
    try:
        parts = urlsplit(text)
        return parts if _is_host(parts) and parts.port != 0 else None
    except ValueError:
        return None


def _is_host(parts: SplitResult) -> bool:
    """Whether the host can be one; raises ValueError for numbers that are no address."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return ipaddress.IPv6Address(host).scope_id is None
    if _NUMBERS.fullmatch(host):
        return bool(ipaddress.IPv4Address(host))
    labels = host.removesuffix(".").split(".")
    return len(host) <= HOST_CHARACTERS_MAX and all(_LABEL.fullmatch(label) for label in labels)
