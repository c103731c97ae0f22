"""The pages agree with the code: what they name exists, and what must be explained is explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from tests.tidy import glossary, sources

FOLDER = "|".join(map(re.escape, sources.FOLDERS))
NAMED_PATH = re.compile(rf"`((?:{FOLDER})/[\w./*<>-]*|[\w-]+\.(?:py|md|toml))(?:[:#][^`]*)?`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGE_IN_CODE = re.compile(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?")
EXPLAINED_CODE = re.compile(r"^(?:\|\s*|#{2,4}\s+)`([a-z_]+)`", re.MULTILINE)
ERRORS = sources.CHECKOUT / "docs" / "errors.md"


class Text(ast.Constant):
    """A constant that is known to be text."""

    value: str


def test_every_path_named_in_a_page_exists() -> None:
    """Whoever follows a path from a page finds the file."""
    named = [(page, path) for page in sources.pages() for path in NAMED_PATH.findall(page.read_text(encoding="utf-8"))]
    found = [f"{sources.place(page)}: {path}" for page, path in named if not path_exists(page, path)]

    assert named
    sources.expect_none(found, "Name a path that exists:")


def path_exists(page: Path, path: str) -> bool:
    """Tell whether a path leads somewhere, from the checkout or from beside the page; `<name>` stands for any.

    A bare file name is enough for a kind of file that several folders have.
    """
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    found = any(any(folder.glob(pattern)) for folder in (sources.CHECKOUT, page.parent))
    return found or path in {file.name for file in sources.python_files()}


def test_every_relative_link_resolves() -> None:
    """A link between pages leads to a page, and its fragment to a heading of that page."""
    found = [
        f"{sources.place(page)}: {target}"
        for page in sources.pages()
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not resolves(page, target)
    ]

    sources.expect_none(found, "Link to a page, or a heading of one, that exists:")


def test_every_page_cited_in_the_code_exists() -> None:
    """A comment that sends the reader to a page, or to a heading of it, sends them somewhere."""
    found = [
        f"{sources.place(file)}: {target}"
        for file in sources.python_files()
        for target in PAGE_IN_CODE.findall(file.read_text(encoding="utf-8"))
        if not resolves(sources.CHECKOUT / "README.md", target)
    ]

    sources.expect_none(found, "Cite a page, or a heading of one, that exists:")


def resolves(page: Path, target: str) -> bool:
    """Tell whether a link from a page leads to a file and, with a fragment, to one of its headings."""
    path, _, fragment = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not fragment or file.suffix != ".md" or fragment in anchors(file))


def anchors(page: Path) -> set[str]:
    """Give the fragments by which the headings of a page can be reached."""
    headings = re.findall(r"^#+\s+(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_code_is_explained_and_no_other() -> None:
    """The page of errors explains exactly the codes that somebody can be shown."""
    given = {code for file in sources.python_files(*sources.PACKAGES) for code in codes_in(sources.tree(file))}
    explained = EXPLAINED_CODE.findall(ERRORS.read_text(encoding="utf-8"))

    assert given
    sources.expect_none(sorted(given - set(explained)), f"Explain in {sources.place(ERRORS)}:")
    sources.expect_none(
        sorted(set(explained) - given), f"Nobody is shown this any more; drop from {sources.place(ERRORS)}:"
    )
    sources.expect_none(sorted(code for code in given if explained.count(code) > 1), "Explain once:")


def codes_in(tree: ast.Module) -> Iterator[str]:
    """Yield the codes of a file: the keys of a `CODES` table, and the `code` of an exception class."""
    for node in ast.walk(tree):
        table = value_given_to("CODES", node)
        if isinstance(table, ast.Dict):
            yield from (key.value for key in table.keys if is_text(key))
        elif isinstance(node, ast.ClassDef):
            yield from (
                code.value
                for code in (value_given_to("code", line) for line in node.body)
                if is_text(code) and code.value
            )


def value_given_to(name: str, node: ast.AST) -> ast.expr | None:
    """Give what a statement assigns to a name, if it does."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.value
    return None


def is_text(node: ast.expr | None) -> TypeGuard[Text]:
    """Tell whether an expression is a text written out."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_glossary_gives_each_word_one_meaning() -> None:
    """No word stands in the glossary twice, and none is both used and given up."""
    words = [word.strip() for row in glossary.rows() for word in re.split(r"[,/]", row[0])]

    assert len(words) == len(set(words))
    assert not set(words) & set(glossary.banned())
