"""`fieldsync catalog`, and the page that prints the shipped catalogue."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replication import catalog_file, kinds
from syncserver.catalogs import source
from syncserver.cli import catalog as command
from syncserver.cli import catalog_table

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "conflicts.md").read_text(encoding="utf-8")
SHIPPED = CHECKOUT / "syncserver" / "catalogs" / source.SHIPPED


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Give a file with two mistakes."""
    path = tmp_path / "wrong.toml"
    path.write_text(SHIPPED.read_text().replace('"manual"', '"person"', 1).replace('"bulk"', '"slow"', 1))
    return path


def test_check_says_that_a_correct_file_is_correct(capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 0."""
    code = command.check(SHIPPED)

    assert code == 0
    assert re.fullmatch(
        r".*default\.toml: correct: 24 collections, \d+ fields, hash [0-9a-f]{12}\n", capsys.readouterr().out
    )


def test_check_names_each_mistake(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and a line on the error stream for each mistake: line, key, what is allowed."""
    code = command.check(wrong)

    told = capsys.readouterr().err.splitlines()
    line = next(n for n, text in enumerate(wrong.read_text().splitlines(), 1) if '"person"' in text and "tie" in text)
    assert code == 1
    assert told[0].endswith("2 problems")
    assert told[1] == (
        f"line {line}: collections.work_orders.fields.summary.tie: "
        '"person" is not allowed here (allowed: first, last, clock, manual)'
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file, and one that is not text, end with exit code 1 and a sentence."""
    other = tmp_path / "latin.toml"
    other.write_bytes("# Zürich".encode("latin-1"))

    codes = [command.check(tmp_path / "none.toml"), command.check(other), command.show(other)]

    told = capsys.readouterr().err
    assert codes == [1, 1, 1]
    assert "No such file" in told
    assert "not UTF-8" in told


def test_show_prints_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file it is the shipped catalogue, with one row for each field."""
    assert command.show() == 0

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    collections = catalog_file.parse(source.text(None)).collections.values()
    assert sum(len(collection.fields) for collection in collections) == len(rows)


def test_diff_marks_what_needs_care(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each difference has a line, and the last line counts them."""
    new = tmp_path / "new.toml"
    new.write_text(SHIPPED.read_text().replace("limit = 500", "limit = 400", 1).replace('"bulk"', '"reference"', 1))

    code = command.diff(SHIPPED, new)

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "needs care  work_orders.title: limit: 500 -> 400",
        "safe        forms: priority: bulk -> reference",
        "2 differences, 1 of them need care",
    ]


def test_diff_of_a_wrong_file_says_what_is_wrong(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to compare a wrong file with."""
    assert command.diff(SHIPPED, wrong) == 1
    assert "2 problems" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "code"), [(["check", str(SHIPPED)], 0), (["check", "/none"], 1), (["show"], 0)])
def test_the_commands_are_reached_by_name(arguments: list[str], code: int) -> None:
    """The exit code of the command is the exit code of the program."""
    with pytest.raises(SystemExit) as ended:
        command.app(arguments)

    assert code == ended.value.code


def test_the_page_prints_the_shipped_catalogue() -> None:
    """The tables of docs/conflicts.md are what `fieldsync catalog show` prints; put them there anew if not."""
    printed = re.search(
        r"<!-- default catalogue: begin -->\n\n(.*)\n\n<!-- default catalogue: end -->", PAGE, re.DOTALL
    )

    assert printed
    assert catalog_table.tables(catalog_file.parse(source.text(None))) == printed[1]


def test_the_example_on_the_page_is_a_catalogue() -> None:
    """What the page shows to write can be written."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)

    assert catalog_file.parse(example).collections.keys() == {"work_orders"}


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Of a collection", set(catalog_file.COLLECTION_KEYS) - {"fields", "groups"}),
        ("Of a field", set(catalog_file.FIELD_KEYS)),
        ("Sources of scope", {*catalog_file.PLAIN_SOURCES}),
        ("Kinds of fields", {*kinds.KINDS}),
    ],
)
def test_the_page_explains_every_key(heading: str, words: set[str]) -> None:
    """No key of a catalogue is left to be guessed."""
    section = PAGE.split(f"\n{heading}", 1)[1].split("\n\n", 2)[1]

    assert words <= set(re.findall(r"`([a-z_]+)`", section))
