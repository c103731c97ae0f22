"""The small worlds that are searched to the end: who is there, what they may do, and how often.

A world has one record, written by the office and already on every device, and a short menu of edits that is the same
for all devices.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeAlias

from replication import catalog_file
from replication.catalog import Catalog
from tests.exhaustive.truth import Rule

JOB: Final = "00000000-0000-4000-8000-000000000001"
JOBS: Final = "jobs"

Value: TypeAlias = Any
"""A value to set, or what makes one of the mark of this edit and of what the screen shows."""


@dataclass(frozen=True)
class Deed:
    """What somebody may do in one go: fields to set, or things to do to them; in a tx an edit for each field."""

    name: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    do: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    tx: bool = False

    @property
    def edits(self) -> int:
        """How many numbers it takes."""
        return len(self.fields) if self.tx else 1


@dataclass(frozen=True)
class World:
    """The bounds of a search.

    `edits` counts what each device may do, `office` the writes in the office, each upon a page that was opened just
    now or before everything. `page`: commits in a page at most. `answers`: so many may be under way to each device.
    Fewer states than `states_min` are a fault of the search.
    """

    name: str
    catalogue: str
    start: Mapping[str, Any]
    menu: tuple[Deed, ...]
    office_menu: tuple[Deed, ...] = ()
    edits: tuple[int, ...] = (2, 1)
    office: int = 1
    page: int = 100
    answers: int = 1
    states_min: int = 1

    @property
    def devices(self) -> int:
        """How many there are."""
        return len(self.edits)

    @property
    def is_symmetric(self) -> bool:
        """Whether all devices are alike, so that the one that edits first can be called the first."""
        return len(set(self.edits)) == 1

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue that both sides have."""
        return catalog_file.parse(self.catalogue, version=1)

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """What the catalogue says of each cell, read by other eyes than the hub's."""
        table = tomllib.loads(self.catalogue)["collections"][JOBS]
        groups: dict[str, list[str]] = table.get("groups", {})
        grouped = {member for members in groups.values() for member in members}
        rules = {name: _rule(said) for name, said in table["fields"].items() if name not in grouped}
        return rules | {name: _rule(table["fields"][members[0]], *members) for name, members in groups.items()}

    def cell_of(self, name: str) -> str:
        """Return the cell of a field."""
        return next((cell for cell, rule in self.rules.items() if name in rule.members), name)


def _rule(said: Mapping[str, Any], *members: str) -> Rule:
    return Rule(said["kind"], said.get("tie", "first"), said.get("merge"), tuple(said.get("rank", ())), members)


def own(mark: str, _: Any) -> str:
    """Make a value that nobody else writes, and another one each time."""
    return mark


def typed_on(mark: str, shown: Any) -> str:
    """Make a text that begins with what the screen shows."""
    return f"{shown}{mark}"


def five_more(_: str, shown: Any) -> int:
    """Make a number by adding to the one on the screen."""
    return int(shown) + 5


Made: TypeAlias = Callable[[str, Any], Any]


def catalogue(*lines: str) -> str:
    """Write the catalogue of a world: lines of the collection, then one for each field."""
    head = [line for line in lines if line.startswith("groups.")]
    fields = [line for line in lines if not line.startswith("groups.")]
    start = ["[collections.jobs]", 'priority = "job"', 'delete = ["office"]', 'scope = ["all"]']
    return "\n".join([*start, *head, "[collections.jobs.fields]", *fields])


BOTH: Final = 'write = ["device", "office"]'

FIRST: Final = World(
    name="first",
    catalogue=catalogue(f'title = {{ kind = "text", {BOTH} }}'),
    start={"title": "?"},
    menu=(Deed("title", {"title": own}), Deed("same", {"title": "same"})),
    office_menu=(Deed("title", {"title": own}),),
)
LAST: Final = World(
    name="last",
    catalogue=catalogue(f'place = {{ kind = "text", {BOTH}, tie = "last" }}'),
    start={"place": "?"},
    menu=(Deed("place", {"place": own}),),
    office_menu=(Deed("place", {"place": own}),),
)
MANUAL: Final = World(
    name="manual",
    catalogue=catalogue(f'summary = {{ kind = "text", {BOTH}, tie = "manual" }}'),
    start={"summary": "?"},
    menu=(Deed("summary", {"summary": own}),),
    office_menu=(Deed("summary", {"summary": own}),),
)
MERGES: Final = World(
    name="merges",
    catalogue=catalogue(
        f'notes = {{ kind = "text", {BOTH}, merge = "append" }}',
        f'visits = {{ kind = "integer", {BOTH}, merge = "counter" }}',
    ),
    start={"notes": "?", "visits": 0},
    menu=(Deed("visit", do={"visits": {"inc": 1}}), Deed("typing", {"notes": typed_on})),
    office_menu=(Deed("visit", do={"visits": {"inc": 10}}),),
)
RANKED_GROUP: Final = World(
    name="ranked group",
    catalogue=catalogue(
        'groups.window = ["starts", "ends"]',
        f'starts = {{ kind = "text", {BOTH}, rank = ["office", "device"], tie = "last" }}',
        f'ends = {{ kind = "text", {BOTH}, rank = ["office", "device"], tie = "last" }}',
    ),
    start={"starts": "?", "ends": "?"},
    menu=(Deed("starts", {"starts": own}), Deed("ends", {"ends": own})),
    office_menu=(Deed("ends", {"ends": own}),),
)
TX: Final = World(
    name="tx",
    catalogue=catalogue(
        f'title = {{ kind = "text", {BOTH} }}',
        f'place = {{ kind = "text", {BOTH}, tie = "last" }}',
        f'floors = {{ kind = "integer", {BOTH} }}',
    ),
    start={"title": "?", "place": "?", "floors": 0},
    menu=(
        Deed("both", {"title": own, "place": own}, tx=True),
        Deed("one bad", {"place": own, "floors": "many"}, tx=True),
        Deed("bad", {"title": own, "floors": "many"}),
    ),
    edits=(2, 2),
    office=0,
    page=1,
)

QUICK: Final = (
    replace(FIRST, states_min=250_000),
    replace(LAST, states_min=100_000),
    replace(LAST, name="three devices", edits=(1, 1, 1), office=0, states_min=25_000),
    replace(MANUAL, states_min=100_000),
    replace(MERGES, office=0, states_min=40_000),
    replace(MERGES, name="merges with the office", edits=(1, 1), states_min=5_000),
    replace(RANKED_GROUP, office=0, states_min=25_000),
    replace(RANKED_GROUP, name="ranked group with the office", edits=(1, 1), states_min=9_000),
    replace(TX, states_min=50_000),
)
LONG: Final = (
    replace(FIRST, name="first, two edits each", edits=(2, 2), office=0, states_min=500_000),
    replace(LAST, name="last, two edits each", edits=(2, 2), states_min=2_500_000),
    replace(LAST, name="three devices with the office", edits=(1, 1, 1), states_min=600_000),
    replace(MERGES, states_min=650_000),
    replace(RANKED_GROUP, states_min=500_000),
    replace(TX, name="tx, and one edit more", edits=(3, 2), states_min=1_200_000),
)
