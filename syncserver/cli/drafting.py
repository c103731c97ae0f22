"""`fieldsync connections draft`: what an OpenAPI document offers, and a manifest of what is chosen of it."""

from __future__ import annotations

import sys
import tomllib
from datetime import date
from pathlib import Path

from syncserver.commands.upstream import folder
from upstream.errors import BadManifest
from upstream.vendors.openapi import drafting
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
            sys.stdout.writelines(f"{_line(offer)}\n" for offer in drafting.offered(found))
            return FINE
        chosen = drafting.choice(tomllib.loads(choice.read_text(encoding="utf-8")))
        sys.stdout.write(drafting.draft(found, chosen).manifest)
    except (BadManifest, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
        chosen = tomllib.loads(choice.read_text(encoding="utf-8"))
        made = folder.make_from(place, document.read_bytes(), chosen, today=date.today())  # noqa: DTZ011  (the day of whoever writes it down)
    except (BadManifest, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return FAULTY
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return FAULTY
    sys.stdout.writelines(f"{file}\n" for file in made)
    sys.stdout.write(f"then: fieldsync connections check {place}\n")
    return FINE


def _line(offer: Offer) -> str:
    """Return an operation in a line: what it is, what it does, what it sends."""
    unusable = f"(not usable: {offer.unusable})" if offer.unusable else ""
    parts = [offer.operation, offer.summary, "lists" if offer.lists else "", ", ".join(offer.fields), unusable]
    return "  ".join(part for part in parts if part)
