"""Who works at the two companies of a development server. Names are made up; ids never change."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

import msgspec

ROOT: Final = UUID("5b1b8d0e-3a6c-5f0e-8f60-2f7c6b1f5d11")

# fmt: off
FIRST: Final = (
    "Ana", "Berto", "Cleo", "Dario", "Elif", "Femi", "Gita", "Hugo", "Ines", "Jonas", "Kaya", "Luca", "Mira",
    "Nils", "Olga", "Pablo", "Quinn", "Rosa", "Sami", "Tara", "Udo", "Vera", "Wim", "Xenia", "Yara",
)
# fmt: on
LAST: Final = ("Moreno", "Okafor", "Lindqvist", "Tanaka", "Dubois")


class Person(msgspec.Struct, frozen=True):
    """Somebody who signs in: the id is also that of their `technicians` record."""

    id: str
    name: str
    role: str


class Company(msgspec.Struct, frozen=True):
    """A tenant of the development server."""

    name: str
    technicians: tuple[Person, ...]
    dispatcher: Person
    admin: Person


def companies() -> tuple[Company, ...]:
    """Return the companies, the larger first: that is the one that gets work orders."""
    return _company("Northpit Services", 25), _company("Harbour Lifts", 3)


def _company(name: str, technicians: int) -> Company:
    return Company(
        name,
        tuple(_person(name, _name(place), "technician") for place in range(technicians)),
        _person(name, "Dispatch Desk", "dispatcher"),
        _person(name, "Site Admin", "admin"),
    )


def _person(company: str, name: str, role: str) -> Person:
    return Person(str(uuid5(ROOT, f"{company}/{role}/{name}")), name, role)


def _name(place: int) -> str:
    return f"{FIRST[place % len(FIRST)]} {LAST[place % len(LAST)]}"
