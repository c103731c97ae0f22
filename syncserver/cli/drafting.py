"""`fieldsync connections draft`: what an OpenAPI document offers, and a manifest of what is chosen of it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from upstream.errors import BadManifest
from upstream.vendors.openapi import drafting
from upstream.vendors.openapi.choices import Offer

FINE, FAULTY = 0, 1


def draft(document: Path, *, choice: Path | None = None) -> int:
    """Print what an OpenAPI document offers, or the manifest of what is chosen of it.

    Parameters
    ----------
    document
        The document, as JSON.
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


def _line(offer: Offer) -> str:
    """Return an operation in a line: what it is, what it does, what it sends."""
    parts = [offer.operation, offer.summary, "lists" if offer.lists else "", ", ".join(offer.fields)]
    return "  ".join(part for part in parts if part)
