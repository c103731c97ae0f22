"""A story file as it is told: what it says of itself, and its sentences with the verdicts below them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from syncserver.catalogs import source

FOLDER: Final = Path(__file__).parent
CATALOGUES: Final = FOLDER / "catalogues"

_ABOUT: Final = re.compile(r"(catalogue|example|due): (.+)")


class Sentence(msgspec.Struct, frozen=True):
    """One line that somebody does or checks something in, and what they are told."""

    number: int
    text: str
    verdicts: list[str]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A story. `example` is the letter of the worked example it tells; `due` says what it waits for."""

    name: str
    sentences: list[Sentence]
    catalogue: str = ""
    example: str = ""
    due: str = ""


def catalogue(name: str) -> str:
    """Return the text of a catalogue: that of the trade, or a small one beside the stories."""
    return (CATALOGUES / f"{name}.toml").read_text(encoding="utf-8") if name else source.text(None)


def read(path: Path) -> Story:
    """Return the story that a file tells."""
    about: dict[str, str] = {}
    sentences: list[Sentence] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        found = _ABOUT.fullmatch(line)
        if found is not None:
            about[found[1]] = found[2]
        elif line.startswith("  >"):
            sentences[-1].verdicts.append(line.removeprefix("  >").strip())
        elif line.strip() and not line.startswith("#"):
            sentences.append(Sentence(number, line, []))
    return Story(name=path.stem, sentences=sentences, **about)


def everything() -> list[Story]:
    """Return all stories there are, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]
