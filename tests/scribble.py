"""What people and systems write: random values and operations for any field of the test catalogue.

Few words and small numbers, so that two writers often mean the same; different spellings of one
value, so that equal is not always identical; now and then something that cannot be.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.oracle_values import OPS, Table

PEOPLE: Final = tuple(f"00000000-0000-4000-8000-00000000000{digit}" for digit in "abc")
WORDS: Final = ("open", "begun", "done", " done ", "caf\u00e9", "cafe\u0301")
NUMBERS: Final = ("1", "1.0", 2, "2.50", 2.5, "-3")
TAGS: Final = ("roof", "lift", "gas", "dog", "key", "bell")
DAYS: Final = ("2026-03-01", " 2026-03-02", "2026-02-27")
MOMENTS: Final = ("2026-03-01T08:00:00Z", "2026-03-01T09:00:00+01:00", "2026-02-01T08:00:00Z")
TEXTS: Final = ("the pump\tis  old", "the pump\tleaks", "a\t\tnew\t pump")
SPACES: Final = (" ", "\t", "\u00a0", "\u1680", *map(chr, range(0x2002, 0x200B)), "\u202f", "\u205f", "\u3000")
"""In texts that are merged word by word each word, and each space between two, is to be found once."""
NONSENSE: Final = ({"no": "field"}, [1], {"a": 1})
UNKNOWN: Final = "colour"


@dataclass
class Page:
    """What an edit asks for, flat: fields to set, operations, and what was there before."""

    set: Table = field(default_factory=dict)
    do: dict[str, Table] = field(default_factory=dict)


def scribble(rng: random.Random, fields: Mapping[str, Table], names: list[str], shown: Mapping[str, Any]) -> Page:
    """Return an edit of these fields by somebody who is shown these values."""
    page = Page()
    for name in names:
        if name == UNKNOWN:
            page.set[name] = "red"
        elif rng.random() < 0.02:
            page.set[name] = rng.choice(NONSENSE)
        else:
            _write(rng, page, name, fields[name], shown.get(name))
    return page


def _write(rng: random.Random, page: Page, name: str, rule: Table, current: Any) -> None:
    if rng.random() < 0.03:
        page.set[name] = None
    elif rule.get("merge") == "text3":
        page.set[name] = _reworded(rng, current)
    elif rule.get("merge") in OPS and rng.random() < 0.4:
        page.do[name] = _operation(rng, rule["kind"])
    elif rule.get("merge") in OPS:
        page.set[name] = _moved(rng, rule["kind"], current)
    else:
        page.set[name] = _value(rng, rule)


def _operation(rng: random.Random, kind: str) -> Table:
    if kind == "text":
        return {"append": f" x{rng.randrange(9)}"}
    if kind == "set":
        return {rng.choice(("add", "remove")): [rng.choice(TAGS)]}
    return {"inc": rng.choice((1, 2, -1, 0)) if kind == "integer" else rng.choice(NUMBERS)}


def _moved(rng: random.Random, kind: str, current: Any) -> Any:
    """Return what somebody makes of the value that is shown; of nonsense, as of nothing."""
    if not isinstance(current, {"set": list, "integer": int, "decimal": int | float | str}.get(kind, str)):
        current = None
    if kind == "text":
        return rng.choice(WORDS) if rng.random() < 0.2 else f"{current or ''} y{rng.randrange(9)}"
    if kind == "set":
        return sorted((set(TAGS) & set(current or [])) ^ {rng.choice(TAGS)})
    if kind == "integer":
        return (current or 0) + rng.choice((1, 2, -1))
    return float(current or 0) + rng.choice((0.5, 1, -2))


def _reworded(rng: random.Random, current: Any) -> str:
    """Return a text with a word more, less or other than the one that is shown."""
    words = re.findall(r"\s+|\S+", current) if isinstance(current, str) else []
    if not words or rng.random() < 0.1:
        return rng.choice(TEXTS)
    place, word = 2 * rng.randrange(len(words) // 2 + 1), f"w{rng.randrange(10**6)}"
    space = "".join(rng.choices(SPACES, k=6))
    taken, put = rng.choice(((0, [word, space]), (1, [word]), (2, [])))
    words[place : place + taken] = put
    return "".join(words) or word


def _value(rng: random.Random, rule: Table) -> Any:
    kind = rule["kind"]
    if kind == "choice":
        return rng.choice(rule["choices"])
    if kind == "set":
        return rng.sample(PEOPLE, rng.randrange(3))
    choices: dict[str, tuple[Any, ...]] = {
        "text": WORDS,
        "integer": (1, 2, 3),
        "decimal": NUMBERS,
        "boolean": (True, False),
        "date": DAYS,
        "instant": MOMENTS,
        "person": (*PEOPLE, PEOPLE[0].upper(), None),
    }
    return rng.choice(choices[kind])
