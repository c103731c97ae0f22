"""Reading one table of a catalogue file, with an answer for each mistake in it.

A reading never stops at the first mistake: it notes the problem, goes on with something
harmless in its place, and the whole list is shown at the end. Each problem names the line,
the key and what would be allowed.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from replication.toml_lines import Path

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Problem(msgspec.Struct, frozen=True, order=True):
    """One mistake in a catalogue file."""

    line: int
    key: str
    message: str
    allowed: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The problem as one line for a person."""
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return f"line {self.line}: {self.key}: {self.message}{allowed}"


class Notes:
    """The problems met so far, and the lines they can point to."""

    def __init__(self, lines: dict[Path, int]) -> None:
        """Start with an empty list."""
        self.lines = lines
        self.problems: list[Problem] = []

    def line_of(self, path: Path) -> int:
        """Return the line of a path, or of the nearest thing around it that is written down."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def add(self, path: Path, message: str, allowed: Collection[str] = ()) -> None:
        """Note a problem."""
        key = ".".join(part for part in path if isinstance(part, str))
        self.problems.append(Problem(self.line_of(path), key, message, tuple(allowed)))


class Sheet:
    """One table: its values as the parser gave them, where it stands, where problems go."""

    def __init__(self, notes: Notes, path: Path, values: object) -> None:
        """Take anything for values; what is no table is noted and read as an empty one."""
        self.notes = notes
        self.path = path
        self.values: dict[str, object] = {}
        if isinstance(values, dict):
            self.values = values
        else:
            notes.add(path, "must be a table")

    def note(self, key: str, message: str, allowed: Collection[str] = ()) -> None:
        """Note a problem with one key of this table."""
        self.notes.add((*self.path, key), message, allowed)

    def has(self, key: str) -> bool:
        """Tell whether the key is written in this table."""
        return key in self.values

    def refuse_others(self, known: Sequence[str]) -> None:
        """Note each key that nobody knows: mostly a slip of the pen, and never without effect."""
        for key in self.values:
            if key not in known:
                self.note(key, f"is no key of this table{did_you_mean(key, known)}", known)

    def one_of(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """Return one word of a closed list; without a default the key must be there."""
        fallback = allowed[0] if default is None else default
        if not self.has(key):
            if default is None:
                self.note(key, "is missing", allowed)
            return fallback
        return self.word_in(allowed, self.values[key], key) or fallback

    def words_in(self, key: str, allowed: Sequence[str]) -> tuple[str, ...]:
        """Return a list of words of a closed list; what is not among them is left out."""
        words = (self.word_in(allowed, word, key, place) for place, word in self.items(key))
        return tuple(word for word in words if word)

    def word_in(self, allowed: Sequence[str], value: object, key: str, place: int | None = None) -> str | None:
        """Return the value if it is on the list."""
        if isinstance(value, str) and value in allowed:
            return value
        path = (*self.path, key) if place is None else (*self.path, key, place)
        hint = did_you_mean(value, allowed)
        self.notes.add(path, f"{shown(value)} is not allowed here{hint}", allowed)
        return None

    def words(self, key: str) -> tuple[str, ...]:
        """Return a list of any texts, none twice."""
        return tuple(str(word) for _, word in self.items(key))

    def items(self, key: str) -> list[tuple[int, object]]:
        """Return the texts of a list with their places; what is no text, or comes twice, is noted."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            self.note(key, f'must be a list, as in {key} = ["…"]')
            return []
        items = list(enumerate(cast("list[object]", value)))
        return [(place, item) for place, item in items if self._is_fresh(key, place, value)]

    def _is_fresh(self, key: str, place: int, value: list[object]) -> bool:
        item = value[place]
        if not isinstance(item, str):
            self.notes.add((*self.path, key, place), f"{shown(item)} is no text")
        elif item in value[:place]:
            self.notes.add((*self.path, key, place), f"{shown(item)} is there twice")
        else:
            return True
        return False

    def tables(self, key: str, most: int) -> list[tuple[str, Sheet]]:
        """Return the named tables of a table; one that cannot be used is noted."""
        outer = Sheet(self.notes, (*self.path, key), self.values.get(key, {}))
        if len(outer.values) > most:
            self.note(key, f"has {len(outer.values)} entries, more than {most}")
        for name in outer.values:
            outer.refuse_bad_name(name)
        inner = [(name, Sheet(self.notes, (*outer.path, name), values)) for name, values in outer.values.items()]
        return [(name, sheet) for name, sheet in inner if isinstance(outer.values[name], dict)]

    def refuse_bad_name(self, name: str) -> None:
        """Note a name that could not stand in a route or on the wire."""
        if not _NAME.fullmatch(name):
            self.note(name, "is no name: a-z first, then a-z, 0-9 or _, 63 characters at most")


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """Return the end of a sentence that names the nearest known word, if one is near."""
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


def shown(value: object) -> str:
    """Return a value of the file as a message shows it."""
    return f'"{value}"' if isinstance(value, str) else str(value)
