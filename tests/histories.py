"""Random histories: who does what when, carried out against the hub and the oracle at once.

A history is a list of events, each a verb, a number that picks the actor, and a seed for all that
is left open. An event means something in every history (where it has nothing to work on, nothing
happens), so that events can be left out one by one until only those remain that a failure needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests import editions
from tests.compare import Disagreement, check
from tests.desk import Desk, Sheet, without_repeats
from tests.oracle_cell import Key
from tests.oracle_values import Table
from tests.phone import Phone
from tests.scribble import PEOPLE, UNKNOWN, Page, scribble
from tests.tenant import ERP, FIRST_DEVICE, IMPORT, OFFICE, Tally, Tenant
from tests.upheaval import FENCED_MAX, Upheavals

ANA, BEN, EVA = PEOPLE
PHONES: Final = ((ANA,), (BEN,), (EVA, ANA), (ANA,))
CLOCKS: Final = ((0, 0), (40_000, -35_000), (-90_000, 90_000), (3_600_000, -3_600_500))
"""How wrong the clock of each device is, and what the hub takes that for, in milliseconds."""

WRITES_MAX: Final = 300
WRITES_UNTIL_REST: Final = 230
HOT_MAX: Final = 4
HOT_SHARE: Final = 0.8
NEWS: Final = {"jobs": 3, "facts": 2, "stock": 1, "crates": 2, "memos": 1}
"""How many records of each collection there are: few, so that people meet."""

GHOSTS: Final = "ghosts"
"""A collection that no catalogue has."""

GHOST_SHARE: Final = 0.02

WEIGHTS: Final[dict[str, float]] = {
    "edit": 38,
    "tx": 3,
    "erase": 1,
    "make": 6,
    "push": 11,
    "push_lost": 2,
    "push_unanswered": 4,
    "push_twice": 2,
    "late_request": 2,
    "late_answer": 2,
    "pull": 7,
    "pull_lost": 1,
    "office_look": 5,
    "office_edit": 16,
    "office_assign": 4,
    "office_make": 5,
    "office_erase": 1,
    "office_restore": 1,
    "office_settle": 3,
    "vendor_look": 3,
    "vendor_edit": 5,
    "import_": 2,
}

UPHEAVALS: Final[dict[str, float]] = {
    "publish": 1.5,
    "upgrade": 1,
    "back_up": 2,
    "restore": 2,
    "night": 0.7,
    "fence": 0.3,
    "prove": 2,
    "office_release": 3,
    "office_undo": 3,
}
"""What is rare."""

RESTLESS: Final[dict[str, float]] = {
    "edit": 34,
    "push": 12,
    "push_unanswered": 3,
    "late_answer": 2,
    "pull": 16,
    "office_edit": 6,
    "office_assign": 1,
    "back_up": 3,
    "restore": 4,
    "night": 3,
    "prove": 4,
}
"""A time in which the hub is put back again and again, while everybody writes the same."""

FAULTS: Final = ("push_lost", "push_unanswered", "push_twice", "late_request", "late_answer", "pull_lost")


class Event(NamedTuple):
    """Something that happens. `actor` is taken modulo however many there are."""

    verb: str
    actor: int
    seed: int


def generate(seed: int, length: int, *, calm: bool = False) -> list[Event]:
    """Return a history. The same seed gives the same one.

    Of four, one is restless and one is never put back to a backup. A calm one has no upheavals at all.
    """
    rng = random.Random(seed)
    weights = WEIGHTS if calm else {**WEIGHTS, **UPHEAVALS}
    if seed % 4 == 0:
        weights = {verb: weight for verb, weight in weights.items() if verb != "restore"}
    restless = seed % 4 == 1 and not calm
    weights = RESTLESS if restless else weights
    verbs = rng.choices(list(weights), list(weights.values()), k=length)
    heat = "focus" if restless else "heat"
    start = [Event(verb, 0, rng.randrange(2**32)) for verb in (heat, "office_make", "office_make", "office_make")]
    return start + [Event(verb, rng.randrange(12), rng.randrange(2**32)) for verb in verbs]


@dataclass
class World(Upheavals):
    """Everybody who takes part. After so many writes of cells all come to rest, whatever else was to happen."""

    tenant: Tenant = field(default_factory=lambda: Tenant(len(PHONES) + FENCED_MAX))
    log: list[tuple[Event, int]] = field(default_factory=list)
    writes_until_rest: int = WRITES_UNTIL_REST

    def __post_init__(self) -> None:
        tenant = self.tenant
        self.phones = [
            Phone(FIRST_DEVICE + place, persons, tenant, *clock)
            for place, (persons, clock) in enumerate(zip(PHONES, CLOCKS, strict=True))
        ]
        self.desks = [Desk(OFFICE, person, "office", tenant) for person in ("dora", "emil")]
        self.vendor = Desk(ERP, "erp", "erp", tenant)
        self.importer = Desk(IMPORT, "import", "office", tenant, {"jobs": {"cost": "erp", "level": "erp"}})
        self.made: dict[str, list[Key]] = {name: [] for name in NEWS}
        self.hot: set[str] = set()
        self.focused = False

    def run(self, events: Sequence[Event]) -> None:
        """Let the events happen, then let everybody come to rest, and compare once more."""
        for event in events:
            if self.tenant.oracle.tally["cells"] >= self.writes_until_rest:
                break
            self.log.append((event, len(self.tenant.steps)))
            self.tenant.tally.happened[event.verb] += 1
            rng = random.Random(event.seed)
            self.tenant.now += rng.choice((0, 500, 20_000))
            getattr(self, event.verb)(event.actor, rng)
        self.rest()

    def story(self) -> list[str]:
        """Tell in words what happened: each event, and what the hub was sent because of it."""
        ends = [*(mark for _, mark in self.log[1:]), len(self.tenant.steps)]
        lines: list[str] = []
        for (event, start), end in zip(self.log, ends, strict=True):
            lines.append(f"{event.verb} {event.actor}")
            lines += (f"    {line}" for each in self.tenant.steps[start:end] for line in self.tenant.tell(each))
        return lines

    def heat(self, _: int, rng: random.Random) -> None:
        """From now on everybody wants to write the same few fields."""
        for collection in NEWS:
            names = sorted(self._fields(collection))
            self.hot.update(rng.sample(names, min(HOT_MAX, len(names))))

    def focus(self, actor: int, rng: random.Random) -> None:
        """From now on nearly all that anybody writes is one field, or two, of a few records."""
        self.heat(actor, rng)
        self.hot = {name for name in sorted(self.hot) if rng.random() < 0.4}
        self.focused = True

    # Devices.

    def edit(self, actor: int, rng: random.Random) -> None:
        """A person changes something on the screen."""
        self._edit(self._hands(actor), rng, tx=None)

    def tx(self, actor: int, rng: random.Random) -> None:
        """A person changes several records as one."""
        phone = self._hands(actor)
        for _ in range(rng.randrange(2, 5)):
            self._edit(phone, rng, tx=f"t{rng.randrange(2)}{phone.n // 5}")

    def erase(self, actor: int, rng: random.Random) -> None:
        """A person deletes a record."""
        phone = self._hands(actor)
        if screen := phone.screen():
            phone.edit(rng, rng.choice(sorted(screen)), Page(), op="delete")

    def make(self, actor: int, rng: random.Random) -> None:
        """A person makes a record on site, mostly a fact of a job."""
        phone = self._hands(actor)
        collection = rng.choice(("jobs", "facts", "facts", "crates", "crates", "memos"))
        if rng.random() < GHOST_SHARE:
            ghost = (GHOSTS, f"{phone.rid:08}-0000-4000-8000-{phone.n:012}")
            return phone.edit(rng, ghost, Page({UNKNOWN: "red"}), op="create")
        if (key := self._new(collection)) is None:
            return None
        page = self._page(rng, collection, {}, phone=phone)
        jobs = [each for each in phone.screen() if each[0] == "jobs"]
        if collection == "facts" and jobs:
            page.set["job_id"] = rng.choice(sorted(jobs))[1]
        elif collection == "facts" and rng.random() < 0.3:
            page.set["job_id"] = "00000000-0000-4000-8000-0000000000ff"
        return phone.edit(rng, key, page, op="create")

    def push(self, actor: int, rng: random.Random) -> None:
        """A device sends some of its outbox and hears the answer."""
        phone = self._phone(actor)
        letter = phone.letter(rng.choice((1, 2, 5, 50)))
        phone.hear(self.tenant.submit(letter.submission, letter.asked))

    def push_lost(self, actor: int, rng: random.Random) -> None:
        """The request goes astray, and may arrive later."""
        phone = self._phone(actor)
        phone.limbo.append(phone.letter(rng.choice((1, 3, 50))))

    def push_unanswered(self, actor: int, rng: random.Random) -> None:
        """The request arrives and the answer goes astray."""
        phone = self._phone(actor)
        letter = phone.letter(rng.choice((1, 3, 50)))
        phone.limbo.append(letter)
        phone.late.append(self.tenant.submit(letter.submission, letter.asked))

    def push_twice(self, actor: int, rng: random.Random) -> None:
        """The network delivers one request twice, and the answers in either order."""
        phone = self._phone(actor)
        letter = phone.letter(rng.choice((1, 3, 50)))
        answers = [self.tenant.submit(letter.submission, letter.asked) for _ in range(2)]
        for answer in rng.sample(answers, 2):
            phone.hear(answer)

    def late_request(self, actor: int, rng: random.Random) -> None:
        """An old request arrives at last, perhaps with a gap before it; nobody waits for its answer."""
        phone = self._phone(actor)
        if phone.limbo:
            letter = rng.choice(phone.limbo)
            phone.late.append(self.tenant.submit(letter.submission, letter.asked))

    def late_answer(self, actor: int, rng: random.Random) -> None:
        """An old answer arrives at last."""
        phone = self._phone(actor)
        if phone.late:
            phone.hear(phone.late.pop(rng.randrange(len(phone.late))))

    def pull(self, actor: int, rng: random.Random) -> None:
        """A device reads a page."""
        self._phone(actor).pull(rng, rng.choice((1, 3, 50)))

    def pull_lost(self, actor: int, rng: random.Random) -> None:
        """A page goes astray: the device has not moved."""

    # The office and the others.

    def office_look(self, actor: int, rng: random.Random) -> None:
        """Somebody in the office opens a record."""
        self._look(self._desk(actor), rng)

    def office_edit(self, actor: int, rng: random.Random) -> None:
        """Somebody in the office saves a page that may be long out of date."""
        desk = self._desk(actor)
        if sheet := self._sheet(desk, rng):
            desk.write(rng, sheet, self._page(rng, sheet.key[0], sheet.shown))

    def office_assign(self, actor: int, rng: random.Random) -> None:
        """The office gives a job to somebody else."""
        desk = self._desk(actor)
        if sheet := self._sheet(desk, rng, "jobs"):
            names = rng.choice((["assignee_id"], ["crew"], ["assignee_id", "crew"]))
            desk.write(rng, sheet, scribble(rng, self._fields("jobs"), names, sheet.shown))

    def office_make(self, actor: int, rng: random.Random) -> None:
        """The office makes a record."""
        collection = rng.choice([*NEWS]) if self.made["jobs"] else "jobs"
        if (key := self._new(collection)) is None:
            return
        page = self._page(rng, collection, {})
        if collection == "jobs":
            page.set["assignee_id"] = rng.choice((*PEOPLE, None))
        if collection == "facts":
            page.set["job_id"] = rng.choice(self.made["jobs"])[1]
        self._desk(actor).create(key, page)

    def office_erase(self, actor: int, rng: random.Random) -> None:
        """The office deletes a record."""
        desk = self._desk(actor)
        if sheet := self._sheet(desk, rng):
            desk.write(rng, sheet, Page(), op="delete")

    def office_restore(self, actor: int, rng: random.Random) -> None:
        """The office brings a deleted record back."""
        desk = self._desk(actor)
        dead = [key for key in self._known() if not self.tenant.oracle.records[key].value("$alive")]
        if dead:
            key = rng.choice(dead)
            if rng.random() < 0.7 or key not in desk.sheets:
                desk.look(key)
            desk.write(rng, desk.sheets[key], Page(), op="restore")

    def office_settle(self, actor: int, rng: random.Random) -> None:
        """Somebody in the office chooses among the values that wait."""
        desk = self._desk(actor)
        waits = [(sheet, cell) for sheet in desk.sheets.values() for cell in sheet.siblings if self._waits(sheet, cell)]
        if not waits:
            return self._look(desk, rng)
        sheet, cell = rng.choice(waits)
        value = rng.choice(sheet.siblings[cell])[1]
        page = Page(dict(value) if isinstance(value, dict) else {cell: value})
        return desk.write(rng, sheet, page, settle=True)

    def _waits(self, sheet: Sheet, cell: str) -> bool:
        """Tell whether a page shows that values of a field, or of a group, wait for a person."""
        names = {*self._fields(sheet.key[0]), *editions.groups_of(sheet.key[0], self.tenant.edition)}
        return bool(sheet.siblings[cell]) and cell in names

    def vendor_look(self, _: int, rng: random.Random) -> None:
        """The vendor's system confirms a state of a record."""
        self._look(self.vendor, rng)

    def vendor_edit(self, _: int, rng: random.Random) -> None:
        """The vendor's system has changed some fields since that state."""
        if sheet := self._sheet(self.vendor, rng):
            fields = self._fields(sheet.key[0])
            names = [name for name, rule in fields.items() if "erp" in rule["write"]]
            if names:
                page = scribble(rng, fields, rng.sample(names, 1), sheet.shown)
                self.vendor.write(rng, sheet, without_repeats(sheet.key[0], page, sheet, self.tenant.edition))

    def import_(self, _: int, rng: random.Random) -> None:
        """A file is read again, from which some values have changed."""
        if sheet := self._sheet(self.importer, rng, "jobs"):
            names = ["cost", *rng.sample(["level", "urgent", "place"], 1)]
            page = scribble(rng, self._fields("jobs"), names, sheet.shown)
            self.importer.write(rng, sheet, without_repeats("jobs", page, sheet, self.tenant.edition))

    # At rest.

    def rest(self) -> None:
        """Let every device send and read all, and compare what each of them shows with the hub."""
        rng = random.Random(0)
        for phone in self.phones:
            phone.come_to_rest(rng)
        for phone in self.phones:
            check("state", [], phone.outbox, f"device {phone.rid} has nothing left to send")
            check("lost value", phone.n, self.tenant.store.replicas[phone.rid].applied, f"all of {phone.rid} is known")
            phone.pull(rng, 10**6)
            self._compare_screen(phone)
        self.tenant.compare_open()
        for write in self.tenant.oracle.lost():
            raise Disagreement("lost value", f"{write} is nowhere")

    def _compare_screen(self, phone: Phone) -> None:
        oracle = self.tenant.oracle
        held = [key for key in self._known() if oracle.held_by(key, phone.person)]
        expected = {key: oracle.fields(key) for key in held if oracle.records[key].value("$alive")}
        screen = {key: view for key, view in phone.screen().items() if self._fields(key[0])}
        check("state", sorted(expected), sorted(screen), f"device {phone.rid} shows these records")
        for key, view in screen.items():
            present = {name: value for name, value in view.items() if name in self._fields(key[0])}
            check("state", expected[key], present, f"device {phone.rid} shows {key}")

    # Picking.

    def _phone(self, actor: int) -> Phone:
        return self.phones[actor % len(self.phones)]

    def _hands(self, actor: int) -> Phone:
        """Return a device that somebody uses: one that was revoked lies in a drawer."""
        used = [phone for phone in self.phones if not phone.fenced]
        return used[actor % len(used)]

    def _known(self, collection: str | None = None) -> list[Key]:
        """Return the records that there are, of a collection or of all that there are."""
        known = sorted(key for key in self.tenant.oracle.records if self._fields(key[0]))
        return [key for key in known if collection in (None, key[0])]

    def _fields(self, collection: str) -> dict[str, Table]:
        return editions.fields_of(collection, self.tenant.edition)

    def _desk(self, actor: int) -> Desk:
        return self.desks[actor % len(self.desks)]

    def _new(self, collection: str) -> Key | None:
        made = self.made[collection]
        if sum(key in self.tenant.oracle.records for key in made) >= NEWS[collection] or not self._fields(collection):
            return None
        made.append((collection, f"{[*NEWS].index(collection) + 1:08}-0000-4000-8000-{len(made):012}"))
        return made[-1]

    def _look(self, desk: Desk, rng: random.Random) -> None:
        if known := self._known():
            desk.look(rng.choice(known))

    def _sheet(self, desk: Desk, rng: random.Random, collection: str | None = None) -> Sheet | None:
        """Return something that lies before the writer, perhaps looked at anew."""
        known = self._known(collection)
        if not known:
            return None
        key = rng.choice(known)
        if key not in desk.sheets or rng.random() < 0.15:
            desk.look(key)
        return desk.sheets[key]

    def _edit(self, phone: Phone, rng: random.Random, tx: str | None) -> None:
        screen = {key: view for key, view in phone.screen().items() if editions.fields_of(key[0], phone.edition)}
        if screen:
            key = rng.choice(sorted(screen)[-2:] if self.focused else sorted(screen))
            by = rng.choice(phone.persons)
            phone.edit(rng, key, self._page(rng, key[0], screen[key], phone=phone), tx=tx, by=by)

    def _page(self, rng: random.Random, collection: str, shown: Any, *, phone: Phone | None = None) -> Page:
        """Return an edit of a few fields, mostly such as the writer may write."""
        rules = editions.fields_of(collection, phone.edition if phone else self.tenant.edition)
        mine = "device" if phone else "office"
        names = [name for name, rule in rules.items() if rule["kind"] not in ("person", "reference") and name != "crew"]
        allowed = [name for name in names if mine in rules[name]["write"]]
        hot = [name for name in allowed if name in self.hot]
        pool = hot if hot and rng.random() < HOT_SHARE else allowed
        picked = rng.sample(pool, min(len(pool), rng.choice((1, 1, 2, 3))))
        if rng.random() < 0.05:
            picked = sorted({*picked, rng.choice(sorted({*names, "assignee_id"} & rules.keys())), UNKNOWN})
        return scribble(rng, rules, picked, shown)


def play(events: Sequence[Event]) -> tuple[Tally, Disagreement | None, list[str]]:
    """Carry a history out. Return what it held, the first difference if there is one, and the story."""
    world = World()
    fault = None
    try:
        world.run(events)
    except Disagreement as found:
        fault = found
    world.tenant.tally.happened.update(world.tenant.oracle.tally)
    return world.tenant.tally, fault, [] if fault is None else world.story()


def shrink(events: Sequence[Event], fails: Callable[[Sequence[Event]], bool]) -> list[Event]:
    """Leave out events, first many at once and then one by one, as long as it still fails."""
    kept = list(events)
    size = len(kept) // 2
    while size:
        place = 0
        while place < len(kept):
            fewer = kept[:place] + kept[place + size :]
            if fails(fewer):
                kept = fewer
            else:
                place += size
        size //= 2
    return kept
