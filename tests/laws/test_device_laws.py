"""Laws of the device half, over random histories of one record that arrive out of order and twice.

The hub here is a log and no more: it numbers the writes it is given and remembers what each cell
held at each number. Whether a device's write wins is drawn at random, because the device must end
up with the hub's state whatever the policy says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from replication import device, kinds
from replication.device import Act, Copy, Layout
from replication.record import ALIVE
from replication.verdict import CellVerdict, MutationVerdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from replication.mutation import Mutation

LAYOUT = Layout(
    {
        "a": kinds.Shape(kind="text"),
        "b": kinds.Shape(kind="text"),
        "x": kinds.Shape(kind="text"),
        "y": kinds.Shape(kind="text"),
    },
    {"g": ("x", "y")},
)
CELLS = ("a", "b", "g")
START = 10


@dataclass
class Log:
    """What each cell held from which number on; the first state is common knowledge."""

    seq: int = START
    cells: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with one value in each cell."""
        self.cells = {"a": [(START, "a0")], "b": [(START, "b0")], "g": [(START, {"x": "x0", "y": "y0"})]}

    def at(self, cell: str, seq: int) -> Any:
        """The value of the cell up to a number."""
        return next(value for since, value in reversed(self.cells[cell]) if since <= seq)

    def write(self, cell: str, value: Any) -> int:
        """Install a value under the next number."""
        self.seq += 1
        self.cells[cell].append((self.seq, value))
        return self.seq

    def state(self, seq: int) -> dict[str, Any]:
        """The visible state up to a number, flat."""
        return {"a": self.at("a", seq), "b": self.at("b", seq), **self.at("g", seq)}

    def judge(self, mutation: Mutation, *, wins: bool, names_value: bool) -> MutationVerdict:
        """Install the device's write or leave what is there, and tell it of the winner."""
        told: dict[str, CellVerdict] = {}
        for cell, sent in mutation.set.items():
            whole = {**self.at(cell, self.seq), **sent} if cell == "g" else sent
            if wins:
                self.write(cell, whole)
            since, stored = self.cells[cell][-1]
            differs = not wins or stored != sent or names_value
            verdict = "applied" if wins else "superseded"
            told[cell] = CellVerdict(verdict=verdict, seq=since, **({"value": stored} if differs else {}))
        name = "applied" if wins else "superseded"
        return MutationVerdict(
            n=mutation.n,
            verdict=name,
            schema=1,
            collection=mutation.collection,
            id=mutation.id,
            rev=self.seq,
            cells=told,
        )


class World:
    """One device, the log, and the messages on their way between them."""

    def __init__(self) -> None:
        """Begin with a device that holds the first state."""
        self.log = Log()
        self.copy = device.put(Copy("c", "r"), LAYOUT, START, self.log.state(START), START)
        self.waiting: list[Callable[[Copy], Copy]] = []
        self.unsent: list[Mutation] = []
        self.made: list[Mutation] = []

    def edit(self, name: str, value: str) -> None:
        """The person edits a field."""
        self.copy, mutation = device.edit(self.copy, LAYOUT, Act(fields={name: value}), len(self.made) + 1)
        self.unsent.append(mutation)
        self.made.append(mutation)

    def push(self, *, wins: bool, names_value: bool) -> None:
        """The oldest unsent edit reaches the hub; the verdict is on its way."""
        if self.unsent:
            mutation = self.unsent.pop(0)
            verdict = self.log.judge(mutation, wins=wins, names_value=names_value)
            self.waiting.append(lambda copy: device.settle(copy, LAYOUT, mutation, verdict))

    def office(self, cell: str, value: str) -> None:
        """Somebody else writes."""
        self.log.write(cell, {"x": value, "y": value} if cell == "g" else value)

    def publish(self) -> None:
        """The present state goes out as a put."""
        rev = self.log.seq
        state = self.log.state(rev)
        self.waiting.append(lambda copy: device.put(copy, LAYOUT, rev, state, rev))

    def deliver(self, place: int, *, again: bool) -> None:
        """Some message arrives, not the oldest, perhaps not for the last time."""
        if self.waiting:
            place %= len(self.waiting)
            message = self.waiting[place] if again else self.waiting.pop(place)
            self.copy = message(self.copy)


VALUES = st.text("pqr", min_size=1, max_size=2)
STEPS = st.one_of(
    st.tuples(st.just("edit"), st.sampled_from(["a", "b", "x", "y"]), VALUES),
    st.tuples(st.just("push"), st.booleans(), st.booleans()),
    st.tuples(st.just("office"), st.sampled_from(CELLS), VALUES),
    st.tuples(st.just("publish"), st.none(), st.none()),
    st.tuples(st.just("deliver"), st.integers(0, 20), st.booleans()),
)
HISTORIES = st.lists(STEPS, max_size=40)


def walk(world: World, step: tuple[str, Any, Any]) -> None:
    """Carry out one step."""
    match step:
        case ("edit", name, value):
            world.edit(name, value)
        case ("push", wins, names_value):
            world.push(wins=wins, names_value=names_value)
        case ("office", cell, value):
            world.office(cell, value)
        case ("publish", _, _):
            world.publish()
        case ("deliver", place, again):
            world.deliver(place, again=again)


def beneath(copy: Copy, cell: str) -> Any:
    """What the device holds of a cell, its own edits apart."""
    return {member: copy.fields[member] for member in LAYOUT.groups[cell]} if cell == "g" else copy.fields[cell]


def written(mutation: Mutation, cell: str) -> bool:
    """Whether the mutation writes the cell."""
    return cell in mutation.set


@given(HISTORIES)
def test_base_tells_the_truth(steps: list[tuple[str, Any, Any]]) -> None:
    """What the device holds of a cell is what the hub had at the cell's base, at every moment."""
    world = World()
    for step in steps:
        walk(world, step)

        for cell in CELLS:
            assert beneath(world.copy, cell) == world.log.at(cell, world.copy.base(cell))


@given(HISTORIES)
def test_bases_never_fall(steps: list[tuple[str, Any, Any]]) -> None:
    """Nothing that arrives, late or twice, makes the device know less."""
    world = World()
    for step in steps:
        before = world.copy
        walk(world, step)

        assert world.copy.rev >= before.rev
        assert all(world.copy.base(cell) >= before.base(cell) for cell in (*CELLS, ALIVE))


@given(HISTORIES)
def test_device_ends_where_the_hub_is(steps: list[tuple[str, Any, Any]]) -> None:
    """With all verdicts and a last put, in any order, the screen shows the hub's state."""
    world = World()
    for step in steps:
        walk(world, step)
    while world.unsent:
        world.push(wins=True, names_value=False)
    world.publish()
    while world.waiting:
        world.deliver(len(steps), again=False)

    assert device.view(world.copy, LAYOUT) == world.log.state(world.log.seq)
    assert world.copy.edits == ()


@given(HISTORIES)
def test_unanswered_edits_share_their_base(steps: list[tuple[str, Any, Any]]) -> None:
    """An edit of a cell has the base of the earliest one still unanswered, else what is held then."""
    world = World()
    for step in steps:
        before = world.copy
        walk(world, step)
        if step[0] != "edit":
            continue
        made = world.made[-1]
        (cell,) = made.set
        earlier = [edit for edit in before.edits if written(edit, cell)]
        assert made.base_of(cell) == (earlier[0].base_of(cell) if earlier else before.base(cell))
        assert made.base_of(ALIVE) == (before.edits[0].base_of(ALIVE) if before.edits else before.base(ALIVE))
        assert made.rev == before.rev


@given(HISTORIES)
def test_was_is_what_the_screen_showed(steps: list[tuple[str, Any, Any]]) -> None:
    """`was` of each edit is the cell as shown just before, through all edits still unanswered."""
    world = World()
    for step in steps:
        shown = device.view(world.copy, LAYOUT) or {}
        walk(world, step)
        if step[0] != "edit":
            continue
        (cell,) = world.made[-1].set
        before = {member: shown[member] for member in LAYOUT.members(cell)}
        assert world.made[-1].was == {cell: before if cell == "g" else before[cell]}


@given(HISTORIES)
def test_own_edits_stay_on_the_screen(steps: list[tuple[str, Any, Any]]) -> None:
    """Until its verdict, the last edit of a field is what the person sees in it."""
    world = World()
    for step in steps:
        walk(world, step)

        shown = device.view(world.copy, LAYOUT)
        assert shown is not None
        mine: dict[str, Any] = {}
        for edit in world.copy.edits:
            for cell, value in edit.set.items():
                mine.update(LAYOUT.flat(cell, value))
        assert {name: shown[name] for name in mine} == mine


@given(HISTORIES, st.integers(0, 60))
def test_restart_forgets_what_the_hub_forgot(steps: list[tuple[str, Any, Any]], position: int) -> None:
    """After a restore no base is above the restored position, and no edit is lost."""
    world = World()
    for step in steps:
        walk(world, step)

    again = device.restart(world.copy, position)

    assert all(again.base(cell) <= position for cell in (*CELLS, ALIVE))
    assert all(edit.base_of(cell) <= position for edit in again.edits for cell in (*CELLS, ALIVE))
    assert [edit.set for edit in again.edits] == [edit.set for edit in world.copy.edits]
    assert device.view(again, LAYOUT) == device.view(world.copy, LAYOUT)


@given(st.permutations([("put", 20), ("leave", 30), ("put", 40), ("leave", 50), ("put", 60)]), st.booleans())
def test_scope_follows_the_newest_commit(order: list[tuple[str, int]], repeated: bool) -> None:
    """Whatever the order in which commits of different classes arrive, the newest says who holds it."""
    copy = Copy("c", "r")
    for op, seq in order * (1 + repeated):
        copy = device.leave(copy, seq) if op == "leave" else device.put(copy, LAYOUT, seq, {"a": str(seq)}, seq)

    assert copy.held
    assert copy.fields == {"a": "60"}
