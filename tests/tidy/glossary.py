"""The glossary as data: which words are given up, and for what."""

from __future__ import annotations

import re

from tests.tidy import sources

GLOSSARY = sources.CHECKOUT / "docs" / "glossary.md"


def rows() -> list[list[str]]:
    """Give the cells of the glossary's table, without its heading."""
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def banned() -> dict[str, str]:
    """Map each word in code style in the third column to the word that takes its place."""
    return {word: row[0] for row in rows() for word in re.findall(r"`([a-z_]+)`", row[2])}
