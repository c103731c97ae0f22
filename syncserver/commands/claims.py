"""From the claims of an ID token to a role here: pure, and strict about who has no place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from syncserver.store.signins import Config

ROLES: Final = ("dispatcher", "integrator", "admin", "readonly")
"""Roles that a sign-in can give. Technicians have devices, which enrol; workers have no browser."""

NAME_CHARACTERS_MAX: Final = 200
NAMES: Final = ("name", "preferred_username", "email")


class NotAllowed(Exception):
    """The issuer knows the person, and they have no place here."""


def role_of(claims: dict[str, Any], config: Config) -> str:
    """Return the role that a person gets; raise `NotAllowed` if there is none for them."""
    if config.domains and _domain(claims) not in config.domains:
        raise NotAllowed("a verified address of an allowed domain is needed")
    had = _values(claims, config.role_claim)
    for value, role in config.roles:
        if value in had:
            return role
    raise NotAllowed(f"none of the values of {config.role_claim} gives a role here")


def name_of(claims: dict[str, Any], subject: str) -> str:
    """Return what to call a person."""
    for claim in NAMES:
        name = claims.get(claim)
        if isinstance(name, str) and name.strip() and name.isprintable():
            return name.strip()[:NAME_CHARACTERS_MAX]
    return subject


def _domain(claims: dict[str, Any]) -> str | None:
    address = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(address, str):
        return None
    name, at, domain = address.rpartition("@")
    return domain.lower() if name and at else None


def _values(claims: dict[str, Any], path: str) -> frozenset[str]:
    """Return the values of a claim. Its name may hold dots, and may be a way through objects."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    values = found if isinstance(found, list) else [found]
    return frozenset(value for value in values if isinstance(value, str))
