"""House rules that no linter knows, read off the syntax trees. Each message says what to do instead."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.tidy import glossary, sources

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

MEANINGLESS = {"base", "common", "core", "helpers", "manager", "models", "utils"}
PROMISE = re.compile(r"[^a-z\s].*\.$", re.DOTALL)
EXCUSE = re.compile(r"#\s*(?:noqa|type:\s*ignore)")
CODE_AND_REASON = re.compile(r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[a-z, -]+\])(?P<reason>.*)")


def test_a_file_is_named_for_its_one_idea() -> None:
    """No file or folder of code carries a name that could hold anything."""
    found = [
        sources.place(file) for file in sources.python_files() if MEANINGLESS & {file.stem, *relative_parents(file)}
    ]

    sources.expect_none(found, "Name it after the one thing it is about:")


def relative_parents(file: Path) -> tuple[str, ...]:
    """Give the folders between the checkout and a file."""
    return file.relative_to(sources.CHECKOUT).parts[:-1]


def test_files_are_short() -> None:
    """No file of code is longer than a reader can hold."""
    lengths = [(sources.line_count(file), sources.place(file)) for file in sources.python_files()]
    found = [f"{place}: {lines}" for lines, place in lengths if lines > FILE_LINES_MAX]

    sources.expect_none(found, "Cut it at the idea it hides:")


def test_functions_are_short() -> None:
    """No function is longer than a screen."""
    found = [f"{f.place} {f.name}: {f.lines}" for f in sources.functions() if f.lines > FUNCTION_LINES_MAX]

    sources.expect_none(found, "Give its parts names of their own:")


def test_a_package_file_says_only_what_the_package_is() -> None:
    """An `__init__.py` holds a docstring and nothing else, so that importing one module imports one module."""
    files = [file for file in sources.python_files(*sources.PACKAGES) if file.name == "__init__.py"]
    register = sources.CHECKOUT / "upstream" / "vendors" / "__init__.py"
    found = [sources.place(file) for file in files if file != register and not is_docstring_only(file)]

    assert files
    sources.expect_none(found, "Move the code to a module and import that:")


def is_docstring_only(file: Path) -> bool:
    """Tell whether a file is one docstring."""
    tree = sources.tree(file)
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None


def test_no_handler_swallows_what_it_does_not_know() -> None:
    """A handler that catches everything raises again, or logs the exception whole."""
    found = [
        sources.place(file, node)
        for file in sources.python_files()
        for node in ast.walk(sources.tree(file))
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not gives_account(node)
    ]

    sources.expect_none(found, "Catch what you expect by name; let the rest rise, or log it with log.exception:")


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler is bare or names one of the roots of all exceptions."""
    named = (
        [node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)] if handler.type else ["Exception"]
    )
    return bool({"Exception", "BaseException"} & set(named))


def gives_account(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler raises, logs the exception, or hands the exception itself on."""
    inside = [node for statement in handler.body for node in ast.walk(statement)]
    logs = any(isinstance(node, ast.Attribute) and node.attr in ("exception", "aexception") for node in inside)
    passes_on = any(isinstance(node, ast.Name) and node.id == handler.name for node in inside)
    return logs or passes_on or any(isinstance(node, ast.Raise) for node in inside)


def test_an_excuse_from_a_tool_names_its_rule_and_its_reason() -> None:
    """Every `noqa` and `type: ignore` carries a code, and a reason behind it or in the line above."""
    found = []
    for file in sources.python_files():
        comments = sources.comments(file)
        excuses = {line: comment for line, comment in comments.items() if EXCUSE.match(comment)}
        found += [
            f"{sources.place(file)}:{line}"
            for line, comment in excuses.items()
            if not gives_reason(comment, above=comments.get(line - 1, ""))
        ]

    sources.expect_none(found, "Write `# noqa: CODE  (why)`:")


def gives_reason(excuse: str, *, above: str) -> bool:
    """Tell whether an excuse has a code, and words beside it or a comment above it."""
    parts = CODE_AND_REASON.match(excuse)
    return parts is not None and (len(parts["reason"].strip(" ()-")) > 8 or bool(above))


@pytest.mark.parametrize("package", sources.PACKAGES)
def test_one_thing_has_one_word(package: str) -> None:
    """No name in the code uses a word that the glossary gives up for another one."""
    banned = glossary.banned()
    found = [
        f"{sources.place(file, node)} {name}: say {instead!r}"
        for file in sources.python_files(package)
        for name, node in sources.identifiers(file)
        for word, instead in banned.items()
        if f"_{word}_" in f"_{snake(name)}_"
    ]

    assert len(banned) > 5
    sources.expect_none(found, "docs/glossary.md has another word for this:")


def snake(name: str) -> str:
    """Write a class name the way that functions are written."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_every_test_states_a_promise() -> None:
    """Each test function has one sentence as its docstring."""
    tests = [
        (sources.place(file, node), ast.get_docstring(node) or "")
        for file in sources.python_files("tests")
        for node in ast.walk(sources.tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    found = [place for place, text in tests if not PROMISE.match(text.split("\n\n")[0])]

    assert tests
    sources.expect_none(found, "Say in a sentence what the test promises:")
