"""The sources as the house rules see them: which files there are, and what stands in them."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("replication", "syncserver", "upstream", "clients")
NOT_OURS = "node_modules"
FOLDERS = (*PACKAGES, "tests", "benchmarks", "docs", "requirements", ".ci")


@dataclass(frozen=True)
class Function:
    """A function or method, and how long it is from its `def` to its last line."""

    name: str
    place: str
    lines: int


def python_files(*folders: str) -> list[Path]:
    """Give all Python files of the project, or those of some folders."""
    found = [file for folder in folders or FOLDERS for file in (CHECKOUT / folder).rglob("*.py")]
    return sorted(found if folders else [*found, CHECKOUT / "run.py"])


def pages() -> list[Path]:
    """Give every page that a person reads."""
    found = [page for folder in FOLDERS for page in (CHECKOUT / folder).rglob("*.md") if NOT_OURS not in page.parts]
    return sorted([*CHECKOUT.glob("*.md"), *found])


@cache
def tree(file: Path) -> ast.Module:
    """Parse a file once."""
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def comments(file: Path) -> dict[int, str]:
    """Map each line that has a comment to that comment."""
    with file.open("rb") as source:
        tokens = list(tokenize.tokenize(source.readline))
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def line_count(file: Path) -> int:
    """Count the lines of a file."""
    return len(file.read_text(encoding="utf-8").splitlines())


def place(file: Path, node: ast.AST | None = None) -> str:
    """Say where something stands, in the form that editors open."""
    line = f":{getattr(node, 'lineno', 1)}" if node else ""
    return f"{file.relative_to(CHECKOUT)}{line}"


def functions(*folders: str) -> Iterator[Function]:
    """Yield every function of the project, or of some folders."""
    for file in python_files(*folders):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(node.name, place(file, node), (node.end_lineno or node.lineno) - node.lineno + 1)


def identifiers(file: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield each name that a file itself gives to something, with the place where it does."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.arg):
            yield node.arg, node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node


def expect_none(found: list[str], advice: str) -> None:
    """Fail with what to do and with every place where it is to be done."""
    assert not found, "\n".join([advice, *found])
