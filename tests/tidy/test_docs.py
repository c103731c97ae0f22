"""The pages agree with the code: what they name exists, and what must be explained is explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy import glossary, sources

NAMED_PATH = re.compile(r"`((?:%s)/[\w./*<>-]*|[\w-]+\.(?:py|md|toml))(?:[:#][^`]*)?`" % "|".join(sources.FOLDERS))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGE_IN_CODE = re.compile(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?")
EXPLAINED_CODE = re.compile(r"^(?:\|\s*|#{2,4}\s+)`([a-z_]+)`", re.M)
ERRORS = sources.CHECKOUT / "docs" / "errors.md"


def test_every_path_named_in_a_page_exists() -> None:
    """Whoever follows a path from a page finds the file."""
    named = [(page, path) for page in sources.pages() for path in NAMED_PATH.findall(page.read_text(encoding="utf-8"))]
    found = [f"{sources.place(page)}: {path}" for page, path in named if not path_exists(page, path)]

    assert named
    assert found == []


def path_exists(page: Path, path: str) -> bool:
    """Tell whether a path leads somewhere, from the checkout or from beside the page; `<name>` stands for any."""
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    return any(any(folder.glob(pattern)) for folder in (sources.CHECKOUT, page.parent))


def test_every_relative_link_resolves() -> None:
    """A link between pages leads to a page, and its fragment to a heading of that page."""
    found = [
        f"{sources.place(page)}: {target}"
        for page in sources.pages()
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not resolves(page, target)
    ]

    assert found == []


def test_every_page_cited_in_the_code_exists() -> None:
    """A comment that sends the reader to a page, or to a heading of it, sends them somewhere."""
    found = [
        f"{sources.place(file)}: {target}"
        for file in sources.python_files()
        for target in PAGE_IN_CODE.findall(file.read_text(encoding="utf-8"))
        if not resolves(sources.CHECKOUT / "README.md", target)
    ]

    assert found == []


def resolves(page: Path, target: str) -> bool:
    """Tell whether a link from a page leads to a file and, with a fragment, to one of its headings."""
    path, _, fragment = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not fragment or file.suffix != ".md" or fragment in anchors(file))


def anchors(page: Path) -> set[str]:
    """Give the fragments by which the headings of a page can be reached."""
    headings = re.findall(r"^#+\s+(.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_code_is_explained_and_no_other() -> None:
    """docs/errors.md explains exactly the codes that somebody can be shown."""
    given = {code for file in sources.python_files(*sources.PACKAGES) for code in codes_in(sources.tree(file))}
    explained = EXPLAINED_CODE.findall(ERRORS.read_text(encoding="utf-8"))

    assert given
    assert sorted(explained) == sorted(given)


def codes_in(tree: ast.Module) -> Iterator[str]:
    """Yield the codes of a file: the keys of a `CODES` table, and the `code` of an exception class."""
    for node in ast.walk(tree):
        if is_assignment_to(node, "CODES") and isinstance(node.value, ast.Dict):
            yield from (key.value for key in node.value.keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.ClassDef):
            values = [line.value for line in node.body if is_assignment_to(line, "code")]
            yield from (value.value for value in values if isinstance(value, ast.Constant))


def is_assignment_to(node: ast.AST, name: str) -> bool:
    """Tell whether a statement gives a value to this name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def test_the_glossary_gives_each_word_one_meaning() -> None:
    """No word stands in the glossary twice, and none is both used and given up."""
    words = [word.strip() for row in glossary.rows() for word in re.split(r"[,/]", row[0])]

    assert len(words) == len(set(words))
    assert not set(words) & set(glossary.banned())
