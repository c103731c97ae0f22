"""Work orders to try an import on: a published real file where it is installed, else made-up ones.

The real file is `excavators.csv` of the PyPI package nist-nestor: 5,485 maintenance work orders of
mining excavators, published by the US National Institute of Standards and Technology. It is used
as data; the package is never imported.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Final

PACKAGE: Final = "nist-nestor"
FILE: Final = "nestor/datasets/excavators.csv"
HEADER: Final = "BscStartDate,Asset,OriginalShorttext,PMType,Cost"

VERBS: Final = ("REPLACE", "Repair", "check", "adjust", "Inspect", "tighten", "Refit", "weld up")
SIDES: Final = ("L/H", "R/H", "rear", "front", "upper", "")
PARTS: Final = (
    "hydraulic hose",
    "BUCKET TOOTH",
    "engine temp sensor",
    "boom cyl",
    "track idler",
    "air con",
    "grease line",
    "cab light",
    "swing motor",
    "fuel filter",
)
BEGIN: Final = date(2001, 7, 5)


def real_file() -> Path | None:
    """Return the published file if its package is installed."""
    try:
        found = Path(str(metadata.distribution(PACKAGE).locate_file(FILE)))
    except metadata.PackageNotFoundError:
        return None
    return found if found.is_file() else None


def made_up(rows: int, seed: int) -> str:
    """Return a file of made-up work orders, always the same for the same arguments.

    As in real files, some rows repeat an earlier one, and costs are often missing or zero.
    """
    chance = random.Random(seed)  # noqa: S311  (made-up rows, no secret)
    lines: list[str] = []
    for _ in range(rows):
        if lines and chance.random() < 0.06:
            lines.append(chance.choice(lines))
        else:
            lines.append(_line(chance))
    return "\n".join([HEADER, *lines]) + "\n"


def _line(chance: random.Random) -> str:
    day = BEGIN + timedelta(days=chance.randrange(4_000))
    words = (chance.choice(VERBS), chance.choice(SIDES), chance.choice(PARTS))
    cost = chance.choice(("", "0", f"{chance.uniform(20, 900):.2f}"))
    kind = chance.choice(("PM01", "PM01", "PM02", "PM04"))
    return f"{day},{chance.choice('ABCDE')},{' '.join(filter(None, words))},{kind},{cost}"
