"""A catalogue from its file: what comes out of a correct one, and what is said of a wrong one."""

from __future__ import annotations

import re

import pytest

from replication import catalog_file
from replication.catalog import (
    COLLECTIONS_MAX,
    FIELDS_PER_COLLECTION_MAX,
    GROUP_MEMBERS_MAX,
    ROUTE_NAMES,
    Collection,
    RankEntry,
    ScopeSource,
)
from replication.catalog_file import BadCatalog
from replication.catalog_sheet import Problem

JOBS = """\
[collections.jobs]
priority = "job"
delete = ["office"]
scope = ["assignee", "crew", "creator_until_assigned"]
groups.window = ["starts_at", "ends_at"]

[collections.jobs.fields]
title = { kind = "text", limit = 50, write = ["device", "office"], rank = ["device.assignee", "office", "device"] }
starts_at = { kind = "instant", write = ["office"], owner = "office" }
ends_at = { kind = "instant", write = ["office"], rank = ["office"] }
assignee_id = { kind = "person", write = ["office"] }
crew = { kind = "set", of = "person", write = ["office"] }
site_id = { kind = "reference", to = "sites", write = ["office"] }
state = { kind = "choice", choices = ["open", "done"], write = ["device"], tie = "manual" }
notes = { kind = "text", write = ["device"], merge = "append" }
"""
SITES = """\
[collections.sites]
priority = "reference"
delete = []
against_edit = "delete_wins"
scope = ["references"]
fields.name = { kind = "text", write = ["crm"] }
"""


def jobs() -> Collection:
    """Give the first collection of the correct catalogue."""
    return catalog_file.parse(JOBS + SITES).collections["jobs"]


def problems(text: str) -> tuple[Problem, ...]:
    """Give what is wrong with a text."""
    with pytest.raises(BadCatalog) as refused:
        catalog_file.parse(text)
    return refused.value.problems


def line_of(piece: str, text: str = JOBS + SITES) -> int:
    """Give the line on which a piece of the correct text stands."""
    return text[: text.index(piece)].count("\n") + 1


def test_a_collection_says_what_its_table_says() -> None:
    """Keys of a collection come out as they were written, and the missing ones as their defaults."""
    jobs_, sites = jobs(), catalog_file.parse(JOBS + SITES).collections["sites"]

    assert ("job", frozenset({"office"}), "keep_edit") == (jobs_.priority, jobs_.delete, jobs_.against_edit)
    assert ("reference", frozenset(), "delete_wins") == (sites.priority, sites.delete, sites.against_edit)
    assert (jobs_.assignee_field, jobs_.crew_field) == ("assignee_id", "crew")
    assert (sites.assignee_field, sites.crew_field) == (None, None)
    assert (ScopeSource("references"),) == sites.scope


def test_a_field_says_what_its_table_says() -> None:
    """Kind, limit, choices, members and target of a field come out as written."""
    fields = jobs().fields

    assert (fields["title"].kind, fields["title"].limit) == ("text", 50)
    assert fields["notes"].limit == 20_000
    assert fields["state"].choices == ("open", "done")
    assert fields["crew"].of == "person"
    assert fields["site_id"].to == "sites"


def test_a_rule_says_who_writes_and_who_is_believed() -> None:
    """Write, rank, tie and merge belong to the cell; owner is short for a rank of one."""
    cells = jobs().cells

    assert (RankEntry("device", "assignee"), RankEntry("office"), RankEntry("device")) == cells["title"].rank
    assert frozenset({"device", "office"}) == cells["title"].write
    assert ((RankEntry("office"),), "first", None) == (cells["window"].rank, cells["window"].tie, cells["window"].merge)
    assert (cells["state"].rank, cells["state"].tie) == ((), "manual")
    assert cells["notes"].merge == "append"


def test_a_group_is_one_cell_and_its_members_have_none() -> None:
    """Each field belongs to exactly one cell."""
    collection = jobs()

    assert collection.cells["window"].members == ("starts_at", "ends_at")
    assert collection.cells["window"].is_group
    assert (collection.cell_of("ends_at"), collection.cell_of("title")) == ("window", "title")
    assert collection.fields.keys() == collection.cell_names.keys()
    assert collection.cells.keys() == set(collection.cell_names.values())


def test_another_field_can_name_the_assignee_and_the_crew() -> None:
    """A collection whose people are named otherwise says so."""
    text = JOBS.replace("assignee_id =", "technician_id =").replace("crew =", "helpers =")
    text = text.replace("groups.", 'assignee_field = "technician_id"\ncrew_field = "helpers"\ngroups.')

    collection = catalog_file.parse(text + SITES).collections["jobs"]

    assert (collection.assignee_field, collection.crew_field) == ("technician_id", "helpers")


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ('priority = "job"', 'priority = "jobs"', "jobs.priority", '"jobs" is not allowed here; did you mean "job"?'),
        ('delete = ["office"]', 'delete = "office"', "jobs.delete", "must be a list"),
        ('delete = ["office"]', "delete = [1]", "jobs.delete", "1 is no text"),
        ('delete = ["office"]', 'delete = ["office", "office"]', "jobs.delete", "there twice"),
        ('delete = ["office"]', 'deletes = ["office"]', "jobs.deletes", 'did you mean "delete"?'),
        ('against_edit = "delete_wins"', 'against_edit = "ask"', "sites.against_edit", "not allowed here"),
        ('"creator_until_assigned"]', '"creators"]', "jobs.scope", 'did you mean "creator"?'),
        ('"creator_until_assigned"]', '"parent"]', "jobs.scope", '"parent" is not allowed here'),
        ('"creator_until_assigned"]', '"parent:FIELD"]', "jobs.scope", "must name a field of kind reference"),
        ('kind = "choice"', 'kind = "Choice"', "jobs.fields.state.kind", "not allowed here"),
        ('choices = ["open", "done"], ', "", "jobs.fields.state.choices", "is missing: a field of kind choice"),
        ('choices = ["open", "done"]', 'choices = [" open"]', "jobs.fields.state.choices", "outer white space"),
        ("limit = 50", "limit = 0", "jobs.fields.title.limit", "from 1 to 200000"),
        ("limit = 50", "limit = true", "jobs.fields.title.limit", "from 1 to 200000"),
        ("limit = 50", "limit = 1e2", "jobs.fields.title.limit", "from 1 to 200000"),
        ("limit = 50", 'to = "sites"', "jobs.fields.title.to", "means nothing for a field of kind text"),
        ("limit = 50", 'of = "person"', "jobs.fields.title.of", "means nothing for a field of kind text"),
        ("limit = 50", 'choices = ["a"]', "jobs.fields.title.choices", "means nothing for a field of kind text"),
        ("limit = 50", 'owner = "office"', "jobs.fields.title.owner", "not both"),
        ("limit = 50", "limits = 50", "jobs.fields.title.limits", 'did you mean "limit"?'),
        ('to = "sites", ', "", "jobs.fields.site_id.to", "is missing: a reference names the collection"),
        ('to = "sites"', 'to = "site"', "jobs.fields.site_id.to", 'did you mean "sites"?'),
        ('write = ["crm"]', "write = []", "sites.fields.name.write", "is empty"),
        ('write = ["crm"]', 'write = ["crn"]', "sites.fields.name.write", 'did you mean "crm"?'),
        (', write = ["crm"]', "", "sites.fields.name.write", "is missing"),
        ('write = ["crm"]', 'write = ["crm"], owner = "erp"', "sites.fields.name.owner", "may not write"),
        ('write = ["crm"]', 'write = ["crm"], owner = "erb"', "sites.fields.name.owner", 'did you mean "erp"?'),
        ('write = ["crm"]', 'write = ["crm"], tie = "newest"', "sites.fields.name.tie", "not allowed here"),
        ('write = ["crm"]', 'write = ["crm"], merge = "text2"', "sites.fields.name.merge", "not allowed here"),
        ('write = ["crm"]', 'write = ["crm"], order = [["a"]]', "sites.fields.name.order", "means something only"),
        ('write = ["crm"]', 'write = ["crm"], merge = "union"', "sites.fields.name.merge", "union needs kind set"),
        ('"office", "device"] }', '"office", "crm"] }', "jobs.fields.title.rank", '"crm" ranks here but may not write'),
        ('"office", "device"] }', '"device.assignee"] }', "jobs.fields.title.rank", "there twice"),
        ('"device"] }', '"office.crew"] }', "jobs.fields.title.rank", '"office.crew" is not allowed here'),
        ('"device.assignee", "office", "device"', '"device", "device.crew"', "jobs.fields.title.rank", "never reached"),
        ('rank = ["office"]', 'tie = "last", rank = ["office"]', "jobs.fields.ends_at.tie", "differs from starts_at"),
        (', rank = ["office"] }', "}", "jobs.fields.ends_at.rank", "differs from starts_at (line 9)"),
        ('"starts_at", "ends_at"]', '"starts_at", "end_at"]', "jobs.groups.window", 'did you mean "ends_at"?'),
        ('["starts_at", "ends_at"]', '["starts_at"]', "jobs.groups.window", f"2 to {GROUP_MEMBERS_MAX} fields"),
        ("groups.window", "groups.title", "jobs.groups.title", "is the name of a field too"),
        ("groups.window", "groups.Window", "jobs.groups.Window", "is no name"),
        ("groups.window =", 'crew_field = "crews" #', "jobs.crew_field", 'did you mean "crew"?'),
        ('crew = { kind = "set", of = "person"', 'crew = { kind = "set"', "jobs.fields.crew", "names the crew"),
        ('kind = "person"', 'kind = "text"', "jobs.fields.assignee_id", "names the assignee"),
        ("title = {", "Title = {", "jobs.fields.Title", "is no name"),
        ("title = {", "rev = {", "jobs.fields.rev", "is a key of the protocol"),
        ("title = {", '"$alive" = {', "jobs.fields.$alive", "is no name"),
        ("fields.name = {", "fields.name = 3 #", "sites.fields.name", "must be a table"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_its_key_and_what_is_right(old: str, new: str, key: str, message: str) -> None:
    """One mistake is one problem, on the line where it was made."""
    assert (JOBS + SITES).count(old) == 1

    found = [each for each in problems((JOBS + SITES).replace(old, new)) if message in each.sentence]

    assert [(line_of(old), f"collections.{key}")] == [(each.line, each.key) for each in found]


def test_one_mistake_is_one_problem() -> None:
    """A reader is not sent after the consequences of a mistake that is named already."""
    text = (JOBS + SITES).replace('write = ["crm"]', 'write = ["crn"], merge = "append"')

    (found,) = problems(text)

    allowed = ("device", "office", "crm", "erp", "payroll", "telematics", "portal", "hub")
    message = '"crn" is not allowed here; did you mean "crm"?'
    assert Problem(line_of("fields.name"), "collections.sites.fields.name.write", message, allowed) == found
    assert f"(allowed: {', '.join(allowed)})" in found.sentence


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file() -> None:
    """Nobody has to run the check once for each mistake."""
    text = (JOBS + SITES).replace('"job"', '"jobb"').replace("limit", "limits").replace('"crm"', '"crn"')

    found = problems(text)

    assert [line_of('"job"'), line_of("limit"), line_of('"crm"')] == [each.line for each in found]


@pytest.mark.parametrize("key", ["priority", "delete", "scope", "fields"])
def test_a_missing_key_is_named_on_the_line_of_its_table(key: str) -> None:
    """What a collection must say, it must say; the line is that of its heading."""
    text = re.sub(rf"^{key}\b.*$", "", SITES.replace("references", "creator"), flags=re.MULTILINE)

    assert (1, f"collections.sites.{key}") in {(each.line, each.key) for each in problems(text)}


def test_an_element_of_a_list_is_named_on_its_own_line() -> None:
    """A list over many lines does not hide which of its elements is wrong."""
    text = SITES.replace("references", "creator").replace('["crm"]', '[\n  "crm", # theirs\n\n  "erq",\n]')
    text = text.replace("fields.name = {", "[collections.sites.fields.name]").replace(" }", "").replace(", w", "\nw")
    text = text.replace("]kind", "]\nkind").replace("] kind", "]\nkind")

    (found,) = problems(text)

    assert text[: text.index('"erq"')].count("\n") + 1 == found.line


def test_a_field_is_in_one_group_only() -> None:
    """A field that two groups claim is named with the second of them."""
    text = (JOBS + SITES).replace("groups.window", 'groups.first = ["ends_at", "starts_at"]\ngroups.window')

    assert {(6, "collections.jobs.groups.window")} == {(each.line, each.key) for each in problems(text)}


def test_a_group_has_no_merge() -> None:
    """Halves of a group are never mixed, so none of them can be merged."""
    text = (JOBS + SITES).replace('"starts_at", "ends_at"]', '"notes", "state"]')

    found = {(each.line, each.key) for each in problems(text)}

    assert (line_of("notes = {"), "collections.jobs.fields.notes.merge") in found
    assert (line_of("state = {"), "collections.jobs.fields.state.tie") in found


@pytest.mark.parametrize(
    "name", ["id", "rev", "set", "do", "was", "limit", "cursor", "verdict", "cells", "updated_since_rev"]
)
def test_no_field_bears_the_name_of_a_key_of_the_protocol(name: str) -> None:
    """In a body or a query such a field could not be told from the key that stands beside it."""
    (found,) = problems(JOBS.replace("title = {", f"{name} = {{") + SITES)

    assert found.key == f"collections.jobs.fields.{name}"
    assert found.message == f'"{name}" is a key of the protocol, beside which the fields stand'


@pytest.mark.parametrize("name", sorted(ROUTE_NAMES))
def test_no_collection_bears_the_name_of_a_route(name: str) -> None:
    """A collection is reached at /v1/NAME, where the service's own routes are too."""
    (found,) = problems(SITES.replace("sites", name).replace("references", "creator"))

    assert (1, f"collections.{name}", f'"{name}" is the name of a route of the service') == (
        found.line,
        found.key,
        found.message,
    )


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ('["all", "creator"]', '"all" stands alone'),
        ('["creator", "creator_until_assigned", "assignee"]', '"creator" holds on'),
        ('["references"]', '"references" has no effect'),
        ('["parent:name"]', '"parent:name" must name a field of kind reference (allowed: site_id)'),
        ('["parent:nothing"]', '"parent:nothing" must name a field of kind reference (allowed: site_id)'),
        ('["parent:site_id"]', 'everybody sees sites, so "parent:site_id" has no scope to give'),
        ('["assignee"]', 'needs a field of kind person named "assignee_id"'),
        ('["creator_until_assigned"]', 'needs a field of kind person named "assignee_id"'),
        ('["crew"]', 'needs a set of persons named "crew"'),
    ],
)
def test_a_scope_that_cannot_work_is_refused(scope: str, message: str) -> None:
    """A scope by which nobody would see a record, or which nothing could compute, is named."""
    text = f"""\
[collections.visits]
priority = "job"
delete = []
scope = {scope}
fields.name = {{ kind = "text", write = ["office"] }}
fields.site_id = {{ kind = "reference", to = "sites", write = ["office"] }}
{SITES.replace("references", "all")}"""

    found = [each for each in problems(text) if message in each.sentence]

    assert [(each.line, each.key) for each in found] == [(4, "collections.visits.scope")]


def chained(scope: str, **references: str) -> str:
    """Give a catalogue of collections that refer to each other: `a="b"` is a reference from a to b."""
    return "\n".join(
        f"""[collections.{name}]
priority = "job"
delete = []
scope = {scope if name != "top" else '["creator"]'}
fields.up = {{ kind = "reference", to = "{to}", write = ["office"] }}"""
        for name, to in references.items()
    )


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        (chained('["references"]', top="a", a="b", b="a"), "a -> b -> a"),
        (chained('["references"]', top="a", a="b", b="c", c="b"), "b -> c -> b"),
        (chained('["references"]', top="a", a="a"), "a -> a"),
        (chained('["parent:up"]', a="b", b="a"), "a -> b -> a"),
        (chained('["parent:up"]', a="a"), "a -> a"),
        (
            chained('["references"]', top="a", a="b", b="top")
            + "\n"
            + chained('["parent:up"]', c="b")
            + '\nfields.other = { kind = "reference", to = "a", write = ["office"] }',
            "a -> b -> c -> a",
        ),
    ],
)
def test_sight_that_runs_in_a_circle_is_refused_with_the_circle(text: str, circle: str) -> None:
    """Seeing one record may bring others into sight, but never without end."""
    found = [each for each in problems(text) if "without end" in each.message]

    assert [f"{circle}: who sees one would see the next without end"] == [each.message for each in found]
    assert f"collections.{circle[0]}.scope" == found[0].key


def test_a_child_may_name_a_parent_that_is_seen_by_reference() -> None:
    """Between parent and child scope goes down only, so this is no circle."""
    text = chained('["references"]', top="a", a="top") + "\n" + chained('["parent:up"]', child="a")

    catalog = catalog_file.parse(text)

    assert (catalog.parents("child"), catalog.carried("child")) == (("up",), ())


def test_sight_by_two_ways_is_no_circle() -> None:
    """A customer that is reached by its site and by the job itself is reached twice, not for ever."""
    text = (
        chained('["references"]', top="b", b="c", c="d", d="e", e="f", f="leaf")
        + "\n"
        + SITES.replace("references", "creator").replace("sites", "leaf")
    )
    text += 'fields.d = { kind = "reference", to = "d", write = ["office"] }\n'

    catalog = catalog_file.parse(text)

    assert {"c", "d", "leaf"} <= catalog.collections.keys()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[collections.a]\nx = \n", 2, "Invalid value"),
        ("a = 1\na = 2", 2, "Cannot overwrite a value"),
        ("[a\nb = 1", 1, "Expected"),
        ('x = "', 1, "Unterminated string"),
        ("\n\nx = [1,\n", 4, "Invalid value"),
        ("x = " + "[" * 5_000, 1, "nested too deeply"),
        ("# " + "é" * 600_000, 1, "larger than 1048576 bytes"),
        ("", 1, "at least one [collections.NAME]"),
        ("collections = 3", 1, "must be a table"),
        ("[collection.a]", 1, 'did you mean "collections"?'),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_a_text_that_is_no_toml_or_nothing_like_a_catalogue_is_refused(text: str, line: int, message: str) -> None:
    """What the TOML parser says is kept, with its line."""
    found = problems(text)

    assert any(message in each.sentence and line == each.line for each in found), found


@pytest.mark.parametrize(
    ("key", "count", "most"),
    [("collections", COLLECTIONS_MAX + 1, COLLECTIONS_MAX), ("fields", FIELDS_PER_COLLECTION_MAX + 1, 200)],
)
def test_a_catalogue_has_limits(key: str, count: int, most: int) -> None:
    """More collections, or more fields in one, than the limit are refused."""
    head = 'priority = "job"\ndelete = []\nscope = []\n'
    field = '= { kind = "text", write = ["crm"] }\n'
    texts = {
        "collections": "".join(f"[collections.c{place}]\n{head}fields.x {field}" for place in range(count)),
        "fields": f"[collections.c]\n{head}" + "".join(f"fields.f{place} {field}" for place in range(count)),
    }

    (found,) = problems(texts[key])

    assert f"has {count} entries, more than {most}" == found.message


def test_the_exception_tells_everything() -> None:
    """Who only prints the exception still sees each problem on a line of its own."""
    with pytest.raises(BadCatalog) as refused:
        catalog_file.parse((JOBS + SITES).replace('"job"', '"jobb"').replace('"crm"', '"crn"'))

    assert [each.sentence for each in refused.value.problems] == str(refused.value).splitlines()
