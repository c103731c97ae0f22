"""Trying a mapping: what is said of rows that lead nowhere, values that do not fit, and versions that differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication import catalog_file
from tests import manifests
from upstream import compare, mapping_file, shadow, trial
from upstream.compare import Difference
from upstream.manifest import Target
from upstream.schema import Field, Schema, made_of
from upstream.trial import Known, Sample

CATALOG = catalog_file.parse("""
[collections.jobs]
priority = "job"
delete = []
scope = []
[collections.jobs.fields]
title = { kind = "text", write = ["office"] }
site_id = { kind = "reference", to = "sites", write = ["office"] }
assignee_id = { kind = "person", write = ["office"] }
[collections.sites]
priority = "reference"
delete = []
scope = []
fields.name = { kind = "text", write = ["office"] }
[collections.technicians]
priority = "reference"
delete = []
scope = []
fields.code = { kind = "text", write = ["office"] }
[collections.hours]
priority = "bulk"
delete = []
scope = []
[collections.hours.fields]
job_id = { kind = "reference", to = "jobs", write = ["office"] }
worked = { kind = "decimal", write = ["office"] }
began_at = { kind = "instant", write = ["office"] }
""")
BILL = made_of(
    "bill",
    "describe",
    [
        Field(path="id", type="text", writable=False),
        Field(path="title", type="text", required=True, length_max=10),
        Field(path="state", type="text", choices=("draft", "open")),
        Field(path="size", type="integer"),
        Field(path="customer", type="object"),
        Field(path="customer.id", type="text", required=True),
        Field(path="free", type="object"),
        Field(path="lines", type="list"),
        Field(path="lines.*.hours", type="number", required=True),
    ],
)
MAPPING = """
[[out]]
object = "bill"
collection = "jobs"
when = [{ path = "record.title" }]
[out.gather.hours]
collection = "hours"
match = { job_id = "record.id" }
[[out.rows]]
target = "title"
source = "record.title"
[[out.rows]]
target = "state"
action = "static"
value = "open"
[[out.rows]]
target = "customer.id"
source = "remote.site_id"
[[out.rows]]
target = "free.site"
source = "ref.site_id.name"
[[out.rows]]
target = "lines"
action = "each"
source = "rows.hours"
[[out.rows.rows]]
target = "hours"
source = "item.worked"
number = true
[[into]]
object = "bill"
collection = "jobs"
rows = [{ target = "title", source = "record.title" }]
"""


def issues(text: str = MAPPING, schema: Schema | None = BILL, catalog: Any = CATALOG) -> list[str]:
    """Give what is wrong with a mapping."""
    known = Known(manifest=manifests.north(), schemas={"bill": schema} if schema else {}, catalog=catalog)
    return [f"{issue.severity}: {issue}" for issue in trial.issues(mapping_file.parse(text), known)]


def test_a_mapping_that_leads_everywhere_has_no_issues():
    """Fields of ours and theirs, references, gathered records, settings: all there, all fitting."""
    assert issues() == []


ISSUES = [
    (
        'source = "record.title"\n[[out',
        'source = "record.titel"\n[[out',
        "error: out bill, row 'title': jobs has no field 'titel'; did you mean \"title\"?",
    ),
    (
        '"ref.site_id.name"',
        '"ref.site_id.nam"',
        "error: out bill, row 'free.site': sites has no field 'nam'; did you mean \"name\"?",
    ),
    (
        '"ref.site_id.name"',
        '"ref.title.name"',
        "error: out bill, row 'free.site': 'title' is no reference of jobs (there are: site_id, assignee_id)",
    ),
    (
        '"ref.site_id.name"',
        '"ref.assignee_id.name"',
        "error: out bill, row 'free.site': technicians has no field 'name'",
    ),
    (
        '"item.worked"',
        '"item.work"',
        "error: out bill, row 'hours': hours has no field 'work'; did you mean \"worked\"?",
    ),
    (
        '"item.worked"',
        '"item.ref.job_id.titl"',
        "error: out bill, row 'hours': jobs has no field 'titl'; did you mean \"title\"?",
    ),
    (
        '"remote.site_id"',
        '"config.shop"',
        "error: out bill, row 'customer.id': config.shop is not there (there are: region, time_zone)",
    ),
    ('"remote.site_id"', '"period.first"', "error: out bill, row 'customer.id': the mapping has no period"),
    (
        'source = "rows.hours"',
        'source = "rows.hour"',
        "error: out bill, row 'lines': rows.hour is not gathered (there are: hours)",
    ),
    (
        "match = { job_id",
        "match = { jobid",
        "error: out bill: hours has no field 'jobid'; did you mean \"job_id\"?",
    ),
    (
        'collection = "hours"',
        'collection = "hour"',
        "error: out bill: there is no collection 'hour'; did you mean \"hours\"?",
    ),
    (
        'collection = "jobs"\nwhen',
        'collection = "job"\nwhen',
        "error: out bill: there is no collection 'job'; did you mean \"jobs\"?",
    ),
    ('path = "record.title"', 'path = "record.name"', "error: out bill: jobs has no field 'name'"),
    (
        'target = "title"\nsource',
        'target = "titles"\nsource',
        "error: out bill, row 'titles': the object has no such field",
    ),
    ('target = "title"\nsource', 'target = "id"\nsource', "error: out bill, row 'id': the field cannot be written"),
    (
        'target = "title"\nsource',
        'target = "free.title"\nsource',
        "warning: out bill, row 'title': the object needs this field, and no row gives it",
    ),
    ('value = "open"', 'value = "paid"', "error: out bill, row 'state': 'paid' is none of draft, open"),
    ('value = "open"', "value = 3", "error: out bill, row 'state': '3' is not text"),
    ('target = "hours"', 'target = "more"', "error: out bill, row 'lines.*.more': the object has no such field"),
    (
        'target = "title", source = "record.title"',
        'target = "name", source = "record.title"',
        "error: into bill, row 'name': jobs has no field 'name'",
    ),
    (
        'target = "title", source = "record.title"',
        'target = "title", source = "record.name"',
        "warning: into bill, row 'title': their object has no field 'name'",
    ),
    (
        'target = "title", source = "record.title"',
        'target = "title", source = "local.x"',
        "error: into bill, row 'title': local.x is none of refs (there are: none)",
    ),
    (
        'object = "bill"\ncollection = "jobs"\nwhen',
        'object = "bil"\ncollection = "jobs"\nwhen',
        "error: out bil: the system has no target of this name (there are: bill)",
    ),
]


@pytest.mark.parametrize(
    ("right", "wrong", "said"), ISSUES, ids=[f"{place} {said[:40]}" for place, (_, _, said) in enumerate(ISSUES)]
)
def test_each_issue_names_its_row_and_what_there_is(right, wrong, said):
    """One thing that leads nowhere, or does not fit, is one issue with the object, the row and what would be right."""
    assert right in MAPPING

    assert said in issues(MAPPING.replace(right, wrong, 1))


def test_samples_do_not_show_what_is_missing():
    """Against fields that were only seen in samples, an unknown one is a warning, and none is missed."""
    seen = made_of("bill", "sample", [Field(path="title", type="text")])

    found = issues(schema=seen)

    assert found
    assert all(issue.startswith("warning: ") and issue.endswith("the object has no such field") for issue in found)
    assert issues(schema=None) == []


def sample(key: str = "j1", **record: Any) -> Sample:
    """Give what a bill was made of once."""
    context = {
        "record": {"id": key, **record},
        "config": {},
        "remote": {"site_id": "c"},
        "ref": {},
        "rows": {"hours": []},
    }
    return Sample(way="out", object="bill", key=key, collection="jobs", context=context)


def test_samples_show_what_cannot_be_made_and_what_does_not_fit():
    """A value that is too long, and a row that cannot be made, are errors with the sample that showed them."""
    hours = sample("j2", title="x")
    hours.context["rows"]["hours"] = [{"worked": "many"}]
    trials = trial.tried(
        mapping_file.parse(MAPPING), [sample(title="far too long"), hours, sample("j3")], manifests.north()
    )

    assert [(each.sample.key, each.applies) for each in trials] == [("j1", True), ("j2", True), ("j3", False)]
    assert [str(issue) for issue in trial.issues_of(trials, {"bill": BILL})] == [
        "out bill, row 'title': has 12 characters, more than 10 (sample j1)",
        "out bill, row 'lines.0.hours': 'many' is no number (sample j2)",
    ]


def test_times_are_tried_as_they_would_be_written():
    """A time rule of the manifest is part of what is tried, and what it cannot write is a problem of the field."""
    text = MAPPING.replace('target = "title"\nsource = "record.title"', 'target = "due"\nsource = "record.due"')
    due = sample(title="x", due="2026-03-29T00:30:00.000Z")
    due.context["config"]["time_zone"] = "Europe/Zurich"

    made = trial.tried(mapping_file.parse(text), [due, sample("j2", title="x", due="soon")], manifests.north())

    assert made[0].made.fields["due"] == "2026-03-29T01:30:00"
    assert [problem.target for problem in made[1].made.problems] == ["due"]


def test_what_another_version_makes_otherwise_is_shown_by_sample():
    """Fields that came, went or changed, and problems that are new, are shown for each sample they concern."""
    before = mapping_file.parse(MAPPING)
    after = mapping_file.parse(
        MAPPING.replace('value = "open"', 'value = "draft"').replace(
            'source = "remote.site_id"', 'source = "ref.x"\nrequired = true'
        )
    )
    samples = [sample(title="a"), sample("j2")]
    sides = [trial.tried(each, samples, manifests.north()) for each in (before, after)]

    shifts = trial.shifts(*sides)

    assert [each.key for each in shifts] == ["j1"]
    assert shifts[0].differences == (
        Difference("customer", "removed", {"id": "c"}, None),
        Difference("state", "changed", "open", "draft"),
    )
    assert shifts[0].problems_after == ("customer.id: nothing is found at ref.x, and it is required",)
    assert trial.shifts(sides[0], sides[0]) == ()
    assert {each.path for each in trial.rows_changed(before, after)} == {
        "out bill of jobs.customer.id.required",
        "out bill of jobs.customer.id.source",
        "out bill of jobs.state.value",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_two_values_differ_exactly_where_they_are_not_the_same(before, after):
    """There are differences exactly if the values are not the same, and the other way round they are the same ones."""
    found = compare.differences(before, after)

    assert (found == ()) == (repr(before) == repr(after) or compare.kinds.same(before, after))
    assert [(each.path, each.before, each.after) for each in compare.differences(after, before)] == [
        (each.path, each.after, each.before) for each in found
    ]


def test_what_would_be_sent_is_held_against_what_is_there():
    """Nothing there is new; the fields that would be sent decide, and of those only what the target compares."""
    there = {"title": "a", "total": 3, "lines": [{"n": 1, "id": 9}], "theirs": True}

    def against(would: dict[str, Any], *paths: str) -> tuple[str, list[str]]:
        target = Target(write="none", create="x", compare=paths)
        found = shadow.against("bill", "k", would, there, target)
        return found.verdict, [each.path for each in found.differences]

    assert shadow.against("bill", "k", {"a": 1}, None, None).verdict == "new"
    assert against({"title": "a", "lines": [{"n": 1}]}) == ("same", [])
    assert against({"title": "b", "total": 3}) == ("other", ["title"])
    assert against({"title": "b", "total": 3}, "total") == ("same", [])
    assert against({"lines": [{"n": 1}, {"n": 2}]}) == ("other", ["lines.1"])
    assert against({"lines": []}) == ("other", ["lines.0"])
    assert against({"new": 1}) == ("other", ["new"])
    assert shadow.summary([shadow.against("bill", "k", {}, None, None)]) == {"new": 1, "same": 0, "other": 0}
