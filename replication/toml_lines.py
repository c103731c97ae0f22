"""On which line of a TOML text each key and each list element stands.

The standard parser gives values without places, but somebody whose catalogue is refused
needs to know where to look. The text has been accepted by the standard parser before it
comes here, so this scanner only walks over its shapes and checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys, and positions in lists, from the top of the file."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[^\s,\]}#]+(?: \d\d:[^\s,\]}#]+)?")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # the longest end first: quotes may stand before the last three
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def key_lines(text: str) -> dict[Path, int]:
    """Return the line of each key and list element, counted from 1."""
    return _Scanner(text).scan()


class _Scanner:
    """A walk through the text: `at` is where it stands, `lines` what it has met."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {(): 1}
        self.tables: dict[Path, int] = {}
        self.counted = (0, 1)

    def scan(self) -> dict[Path, int]:
        """Walk over the whole text."""
        inside: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                inside = self.header()
            else:
                self.pair(inside)
            self.skip(_BLANK)
        return self.lines

    def header(self) -> Path:
        """Walk over `[table]` or `[[table]]` and return the path that its keys stand under."""
        line = self.line()
        is_list = self.text.startswith("[[", self.at)
        self.at += 2 if is_list else 1
        path = self.resolved(self.dotted())
        if is_list:
            count = self.tables.get(path, 0)
            self.tables[path] = count + 1
            self.note(path, line)
            path = (*path, count)
        self.note(path, line)
        self.at += 2 if is_list else 1
        return path

    def resolved(self, names: list[str]) -> Path:
        """Return a header's path: a list of tables on the way means its last one."""
        path: Path = ()
        for name in names[:-1]:
            path = (*path, name)
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
        return (*path, names[-1])

    def pair(self, inside: Path) -> None:
        """Walk over `key = value`."""
        line = self.line()
        path = (*inside, *self.dotted())
        self.note(path, line)
        self.at += 1
        self.skip(_SPACE)
        self.value(path)

    def dotted(self) -> list[str]:
        """Walk over a key of one or more parts and the space after it."""
        names = [self.key()]
        while self.text.startswith(".", self.at):
            self.at += 1
            names.append(self.key())
        return names

    def key(self) -> str:
        """Walk over one part of a key, quoted or bare, and the space around it."""
        self.skip(_SPACE)
        quoted = self.text[self.at] in "\"'"
        part = self.skip(_STRING if quoted else _BARE_KEY)
        self.skip(_SPACE)
        return str(tomllib.loads(f"key = {part}")["key"]) if quoted else part

    def value(self, path: Path) -> None:
        """Walk over one value; what is nested in it is noted too."""
        match self.text[self.at]:
            case "[":
                self.elements(path)
            case "{":
                self.pairs(path)
            case '"' | "'":
                self.skip(_STRING)
            case _:
                self.skip(_BARE)

    def elements(self, path: Path) -> None:
        """Walk over a list."""
        index = 0
        while not self.closed("]"):
            self.note((*path, index), self.line())
            self.value((*path, index))
            index += 1

    def pairs(self, path: Path) -> None:
        """Walk over a table written in braces."""
        while not self.closed("}"):
            self.pair(path)

    def closed(self, end: str) -> bool:
        """Step over the bracket or comma and the space after it; tell whether it was the end."""
        self.skip(_BLANK)
        if self.text[self.at] != end:
            if self.text[self.at] in "[{,":
                self.at += 1
                self.skip(_BLANK)
            if self.text[self.at] != end:
                return False
        self.at += 1
        return True

    def note(self, path: Path, line: int) -> None:
        """Keep the first line of a path, and of the tables that its dots imply."""
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def line(self) -> int:
        """Return the line that the walk stands on, counting on from the last time."""
        seen, line = self.counted
        line += self.text.count("\n", seen, self.at)
        self.counted = (self.at, line)
        return line

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Walk over what the pattern matches here and return it."""
        found = pattern.match(self.text, self.at)
        assert found is not None, "the standard parser accepted this text"
        self.at = found.end()
        return found[0]
