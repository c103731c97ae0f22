"""A manifest from its file: what comes out of a correct one, and what is said of a wrong one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import manifests
from tests.manifests import TEXT
from upstream import manifest_file
from upstream.errors import BadManifest
from upstream.manifest import ByPage, ClientCredentials


def problems(text: str) -> str:
    """Give what is wrong with a text, as one text of lines."""
    with pytest.raises(BadManifest) as refused:
        manifest_file.parse(text, "north/connector.toml")
    return "\n".join(refused.value.problems)


def line_of(piece: str, text: str = TEXT) -> int:
    """Give the line on which a piece of the correct text stands."""
    return text[: text.index(piece)].count("\n") + 1


def test_a_manifest_says_what_its_file_says():
    """Tables come out as they were written, tagged ones as their kind, and what is left out as its default."""
    made = manifests.north()

    assert (made.system, made.grade, made.is_assumed) == ("north", "A", False)
    assert isinstance(made.auth, ClientCredentials)
    assert made.operations["find_bill"].pagination == ByPage(param="page", size=50)
    assert made.operations["whoami"].success == (200, 201, 202, 204)
    assert made.targets["bill"].write == "native"


WRONG = [
    ('grade = "A"', 'grade = "E"', "grade", r'"E" is not allowed here \(allowed: A, A-, B'),
    ('title = "Northwind', 'titel = "Northwind', "titel", r'is no key of this table; did you mean "title"\?'),
    ('kind = "client_credentials"', 'kind = "oauth"', "auth.kind", r"is not allowed here.*client_credentials"),
    ("limit = 500", 'limit = "500"', "budgets.books.limit", r'"500" is not allowed here: it must be a whole number'),
    ('path = "/me"', "path = 3", "operations.whoami.path", "3 is not allowed here: it must be text"),
    ('path = "/me"', 'path = "me"', "operations.whoami.path", "begins with /"),
    ('path = "/me"', 'path = "/${config.nope}"', "operations.whoami.path", r"no setting of \[config\].*region"),
    ('path = "/me"', 'path = "/${user.id}"', "operations.whoami.path", r"is no hole here \(allowed: config, auth"),
    ('path = "/me"', 'path = "/${config.region"', "operations.whoami.path", "a hole that is not closed"),
    ('path = "/me"', 'seconds = 0\npath = "/me"', "operations.whoami.seconds", "must be above 0"),
    ('path = "/me"', 'success = [200, 500]\npath = "/me"', "operations.whoami.success", "from 200 to 399"),
    ('budgets = ["books"]', 'budgets = ["hooks"]', "operations.whoami.budgets", r"not there \(there are: books\)"),
    ('verify = "whoami"', 'verify = "whoamI"', "verify", r'not there; did you mean "whoami"\?'),
    (
        'create = "make_bill"',
        'create = "find_bill"',
        "targets.bill.create",
        'effect is "read"; here it must be "write"',
    ),
    ('find = "find_bill"\n', "", "targets.bill.write", '"native" cannot do without find'),
    ('marker = "mark"\n', "", "targets.bill.write", "cannot do without marker or natural_key"),
    ("handle = {", "# handle = {", "targets.bill.create", "has no handle"),
    ('fields = "fields"\n', "", "discovery.bill.fields", '"describe" cannot do without it'),
    ('since = "since"', 'since = "since"\nformat = "unix"', "sources.bill.format", "no way to write an instant"),
    (
        'kind = "local"\nzone',
        'kind = "local"\nformat = "epoch"\nzone',
        "time.bill.due.format",
        r"\(allowed: iso, space, us\)",
    ),
    ('[time."bill.due"]', '[time."bil.due"]', "time.bil.due", r"no field of an object.*objects: bill"),
    ("[config.time_zone]", "[config.zone]", "time.bill.due.zone", "setting time_zone"),
    ('path = "error.code"\n', "", "errors.0.equals", "needs path"),
    ("limit = 500\n", "", "budgets.books", "bounds nothing"),
    ("limit = 500\n", "adapts = true\n", "budgets.books.adapts", "has to begin somewhere"),
    ('title = "Northwind', 'title = "\\u0000Northwind', "title", r"has the character U\+0000"),
    ("size = 50", "size = 0", "operations.find_bill.pagination.size", "must be above 0"),
    (
        'kind = "page"\nparam = "page"\nsize = 50',
        'kind = "offset"\nparam = "page"\nsize = 50\noverlap = 50',
        "operations.find_bill.pagination.overlap",
        "must be 0 or more, and below size",
    ),
    ('header = "X-North-Signature"\n', "", "webhook.header", "is missing"),
    ('https://${config.region}.north.example"\nverify', 'ftp://north"\nverify', "base_url", "begins with https://"),
    ('method = "PUT"', 'method = "GET"', "operations.change_bill.effect", "could not be repeated"),
    ('system = "north"', 'system = "North!"', "system", "is no name"),
]


@pytest.mark.parametrize(
    ("right", "wrong", "key", "said"), WRONG, ids=[f"{key} {said[:24]}" for _, _, key, said in WRONG]
)
def test_a_mistake_is_told_with_file_line_key_and_what_is_allowed(right, wrong, key, said):
    """One wrong thing gives a sentence that names the file, a line, the key, and what would be right."""
    assert TEXT.count(right) >= 1

    found = problems(TEXT.replace(right, wrong, 1))

    assert re.search(rf"^north/connector\.toml, line \d+: {re.escape(key)}: .*{said}", found, re.MULTILINE), found


def test_a_mistake_is_told_on_its_own_line():
    """The line is the one on which the wrong key stands."""
    found = problems(
        TEXT.replace(
            'effect = "write"\nbody = { kind = "json", under', 'effect = "both"\nbody = { kind = "json", under'
        )
    )

    line = line_of('effect = "write"')
    assert f"line {line}: operations.make_bill.effect" in found


def test_all_mistakes_are_told_at_once():
    """Whoever corrects a file does it once: every wrong key is in the list."""
    wrong = TEXT.replace('grade = "A"', 'grade = "E"').replace("limit = 500", "limit = true").replace('"PUT"', '"POT"')

    assert problems(wrong).count("north/connector.toml, line") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "Invalid value"),
        ("x" * (manifest_file.TEXT_BYTES_MAX + 1), "is larger than 262144 bytes"),
        ("a = " + "[" * 5_000, "nested too deeply"),
        ("a = " + "1" * 5_000, "digits"),
        ("a = '\ud800'", "has a character that is none"),
        ("", "is missing"),
        ("operations = []", "must be a table"),
    ],
)
def test_a_text_that_is_no_manifest_is_refused(text, said):
    """No TOML, too large, too deep, too long a number, no characters, nothing at all: each is said."""
    assert said in problems(text)


def read(text: str) -> tuple[str, ...] | None:
    """Give what is wrong with a text, or None."""
    try:
        manifest_file.parse(text)
    except BadManifest as exc:
        return exc.problems
    return None


def is_refused_with(problems: tuple[str, ...] | None) -> bool:
    """Tell whether a text was taken, or refused with sentences that name it."""
    return problems is None or (bool(problems) and all(each.startswith("manifest") for each in problems))


PIECES = st.sampled_from(
    [*TEXT.splitlines(keepends=True), "= 1\n", "[[", "]\n", "'''", '"', "{", "nan\n", "[auth]\n", "\n"]
)


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200))
def test_no_text_makes_the_reader_stumble(text):
    """Whatever the text, it is a manifest or it is refused with sentences; nothing else is raised."""
    assert is_refused_with(read(text))


@given(
    place=st.integers(0, len(TEXT) - 1),
    length=st.integers(0, 12),
    put=st.sampled_from(["", "x", '"', "1", "nan", "[", "]", "\n", "= ", "${", "true", "-1", "inf"]),
)
def test_no_slip_of_the_pen_makes_the_reader_stumble(place, length, put):
    """A correct manifest with a piece replaced is a manifest or refused with sentences; nothing else is raised."""
    assert is_refused_with(read(TEXT[:place] + put + TEXT[place + length :]))


def test_what_a_person_brings_along_has_to_be_a_setting():
    """A sign-in that leads to a setting nobody declared is refused, with the settings there are."""
    before = TEXT[TEXT.index("[auth]") : TEXT.index("\n[", TEXT.index("[auth]"))]
    code = '[auth]\nkind = "oauth2_code"\nauthorize_url = "https://a.example"\ntoken_url = "https://t.example"\n'
    fine = manifest_file.parse(TEXT.replace(before, code + 'brings = { place = "region" }\n'))

    said = problems(TEXT.replace(before, code + 'brings = { place = "realm" }\n'))

    assert fine.auth.brings == {"place": "region"}
    assert re.search(r"auth\.brings\.place.*'realm' is no setting of \[config\] \(there are: region", said)
