"""`fieldsync connections draft`: what an OpenAPI document offers, and a manifest of what is chosen of it."""

from __future__ import annotations

import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncserver.commands.upstream import folder
from upstream import openapi
from upstream.errors import BadManifest
from upstream.vendors.openapi import drafting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.vendors.openapi.choices import Offer

FINE, FAULTY = 0, 1


def draft(document: Path, *, choice: Path | None = None) -> int:
    """Print what an OpenAPI document offers, or the manifest of what is chosen of it.

    Parameters
    ----------
    document
        The document, in JSON or YAML.
    choice
        A TOML file with what is chosen; upstream/vendors/openapi/README.md shows one.
    """
    try:
        found = drafting.read(document.read_bytes())
        if choice is None:
            return _offers(document, drafting.offered(found))
        chosen = drafting.choice(_table(choice))
        sys.stdout.write(drafting.draft(found, chosen).manifest)
    except BadManifest as error:
        sys.stderr.write(f"{error}\n")
        return FAULTY
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return FAULTY
    return FINE


def folder_of(place: Path, document: Path, choice: Path | None) -> int:
    """Make the folder of a system from its document and what is chosen of it, and print its files."""
    if choice is None:
        sys.stderr.write(f"choice: is missing; `fieldsync connections draft {document}` prints what is on offer\n")
        return FAULTY
    try:
        made = folder.make_from(place, document.read_bytes(), _table(choice), today=date.today())  # noqa: DTZ011  (the day of whoever writes it down)
    except BadManifest as error:
        sys.stderr.write(f"{error}\n")
        return FAULTY
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return FAULTY
    sys.stdout.writelines(f"{file}\n" for file in made)
    sys.stdout.write(f"then: fieldsync connections check {place}\n")
    return FINE


def _table(choice: Path) -> dict[str, Any]:
    """Return the table that a TOML file says, or raise `BadManifest` with the name of the file."""
    try:
        return tomllib.loads(choice.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or a number that is too long to be read
        raise BadManifest([f"{choice}: {error}"]) from error


def _offers(document: Path, offers: Sequence[Offer]) -> int:
    """Print a line for each operation; a document without any is of no use."""
    if not offers:
        methods = ", ".join(openapi.METHODS)
        sys.stderr.write(f"{document}: paths: has no operation to choose; under each path stands one of {methods}\n")
        return FAULTY
    sys.stdout.writelines(f"{_line(offer)}\n" for offer in offers)
    return FINE


def _line(offer: Offer) -> str:
    """Return an operation in a line: what it is, what it does, what it sends."""
    unusable = f"(not usable: {offer.unusable})" if offer.unusable else ""
    parts = [offer.operation, offer.summary, "lists" if offer.lists else "", ", ".join(offer.fields), unusable]
    return "  ".join(part for part in parts if part)
