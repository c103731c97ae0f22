"""What a new catalogue changes, and which of it needs care."""

from __future__ import annotations

import pytest

from replication import catalog_diff, catalog_file
from replication.catalog_diff import Difference
from syncserver.catalogs import source

TEXT = """\
[collections.jobs]
priority = "job"
delete = ["office"]
scope = ["assignee", "crew", "creator"]

[collections.jobs.fields]
title = { kind = "text", limit = 50, write = ["device", "office"] }
state = { kind = "choice", choices = ["open", "done"], write = ["device"] }
tags = { kind = "set", write = ["device"] }
starts_at = { kind = "instant", write = ["office"] }
ends_at = { kind = "instant", write = ["office"] }
assignee_id = { kind = "person", write = ["office"] }
second_id = { kind = "person", write = ["office"] }
crew = { kind = "set", of = "person", write = ["office"] }

[collections.notes]
priority = "bulk"
delete = []
scope = ["creator"]
fields.body = { kind = "text", write = ["device"] }
"""
STATE = 'choices = ["open", "done"], write'
MORE = """
[collections.more]
priority = "bulk"
delete = []
scope = []
fields.name = { kind = "text", write = ["office"] }
"""


def differences(old: str, new: str) -> tuple[Difference, ...]:
    """Give what changes between two texts."""
    return catalog_diff.diff(catalog_file.parse(old), catalog_file.parse(new))


@pytest.mark.parametrize(
    ("old", "new", "path", "message", "needs_care"),
    [
        ('priority = "job"', 'priority = "bulk"', "jobs", "priority: job -> bulk", False),
        ('delete = ["office"]', 'delete = ["crm", "office"]', "jobs", "delete: office -> crm, office", False),
        ('delete = ["office"]', 'delete = ["crm"]', "jobs", "delete: office -> crm", True),
        ('delete = ["office"]', "delete = []", "jobs", "delete: office -> none", True),
        ('["creator"]', '["creator"]\nagainst_edit = "delete_wins"', "notes",
         "against_edit: keep_edit -> delete_wins", True),
        (
            '["assignee", "crew", "creator"]',
            '["assignee", "creator"]',
            "jobs",
            "scope: assignee, creator, crew -> assignee, creator",
            True,
        ),
        ("\n\n[collections.jobs.f", '\nassignee_field = "second_id"\n\n[collections.jobs.f', "jobs",
         "assignee_field: assignee_id -> second_id", True),
        ("limit = 50", "limit = 60", "jobs.title", "limit: 50 -> 60", False),
        ("limit = 50", "limit = 40", "jobs.title", "limit: 50 -> 40", True),
        ('kind = "text", limit = 50', 'kind = "json"', "jobs.title", "kind: text -> json", True),
        (STATE, 'choices = ["open", "done", "late"], write', "jobs.state",
         "choices: done, open -> done, late, open", False),
        (STATE, 'choices = ["open"], write', "jobs.state", "choices: done, open -> open", True),
        ('tags = { kind = "set"', 'tags = { choices = ["a"], kind = "set"', "jobs.tags", "choices: none -> a", True),
        ('tags = { kind = "set"', 'tags = { of = "person", kind = "set"', "jobs.tags", "of: text -> person", True),
        ('tags = { kind = "set"', 'tags = { merge = "union", kind = "set"', "jobs.tags", "merge: none -> union", True),
        ('write = ["device", "office"]', 'write = ["device", "office", "crm"]', "jobs.title",
         "write: device, office -> crm, device, office", False),
        ('write = ["device", "office"]', 'write = ["office"]', "jobs.title", "write: device, office -> office", True),
        ('write = ["device", "office"]', 'write = ["device", "office"], rank = ["office", "device.crew"]', "jobs.title",
         "rank: none -> office > device.crew", True),
        ('write = ["device", "office"]', 'write = ["device", "office"], tie = "last"', "jobs.title",
         "tie: first -> last", True),
        ("tags = ", "new = ", "jobs.new", "added, of kind set", False),
        ("tags = ", "new = ", "jobs.tags", "removed: its values are kept and no longer shown", True),
        ("\n\n[collections.jobs.f", '\ngroups.span = ["starts_at", "ends_at"]\n\n[collections.jobs.f', "jobs.ends_at",
         "cell: its own -> group span (ends_at, starts_at)", True),
        ("[collections.notes]", "[collections.remarks]", "remarks", "added, with 1 fields", False),
        ("[collections.notes]", "[collections.remarks]", "notes",
         "removed: its records are kept and no longer reachable", True),
    ],
)  # fmt: skip
def test_a_change_is_told_and_weighed(old: str, new: str, path: str, message: str, needs_care: bool) -> None:
    """Whatever could give an edit under way another fate needs care; the rest is safe."""
    assert TEXT.count(old) == 1

    assert Difference(path, message, needs_care) in differences(TEXT, TEXT.replace(old, new))


def test_one_change_is_told_once() -> None:
    """A list of differences is as short as the change."""
    assert (Difference("jobs.title", "limit: 50 -> 60", needs_care=False),) == differences(
        TEXT, TEXT.replace("limit = 50", "limit = 60")
    )


@pytest.mark.parametrize("text", [TEXT, source.text(None)], ids=["small", "shipped"])
def test_a_catalogue_does_not_differ_from_itself(text: str) -> None:
    """No difference is told where there is none."""
    assert differences(text, f"# other layout\n{text}") == ()


def test_equal_digests_and_no_differences_are_one() -> None:
    """Two catalogues with nothing between them have one digest, and with something two."""
    other = TEXT.replace("limit = 50", "limit = 51")

    assert catalog_file.parse(TEXT).hash != catalog_file.parse(other).hash
    assert differences(TEXT, TEXT + MORE) == (Difference("more", "added, with 1 fields", needs_care=False),)
