"""How a stream of work is cut into database transactions changes nothing of what comes out."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from replication.mutation import Mutation
from replication.state import Submission
from syncserver.catalogs import source
from syncserver.commands import catalog, commit
from tests.integration.test_commit import together
from tests.integration.world import ANA, BEN, DORA, World, job, told

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBMISSIONS = 200
MINUTE = 60_000
RENAMED = source.text(None).replace(
    'priority = { kind = "text", limit = 60', 'urgency = { kind = "text", limit = 60', 1
)
PEOPLE = [ANA, BEN, None]
ORDERS = [job(number) for number in range(5)]
TASKS = [job(100 + number) for number in range(8)]
NOTES = [job(200 + number) for number in range(6)]
CUSTOMERS = [str(UUID(int=0xC00 + number)) for number in range(3)]
SITES = [str(UUID(int=0x5E0 + number)) for number in range(3)]

EVERYTHING = {
    "counters": "seq, last_rid, hub_rid, catalog_version",
    "replicas": "rid, kind, applied, served, clock",
    "records": "collection, record_id, rev, alive, fields, cells",
    "changes": "seq, commit_seq, class, collection, record_id, op, rid, n, tx, person, authority, at, state, cells",
    "feed": "reader, class, seq, commit_seq, op, collection, record_id, lifted",
    "ledger": "rid, n, seq, person, digest, verdict, payload",
    "held": "rid, n, seq, person, collection, record_id, op, code, schema, time, state",
    "conflicts": "conflict_id, seq, collection, record_id, cell, rule, state, entry, ended_rid, ended_n",
    "memberships": "collection, record_id, key, from_seq, to_seq, refcount, person",
    "edges": "giver_collection, giver_id, field, taker_collection, taker_id, kind",
}
"""All that a group writes, but for times and the tenant."""


class Story:
    """Work of an office and of two technicians on a few records, so that much of it collides."""

    def __init__(self, seed: int, office: int, phones: dict[str, int]) -> None:
        self.dice = random.Random(seed)
        self.office = office
        self.phones = phones
        self.counters = dict.fromkeys(phones.values(), 0)
        self.about = 0

    def submissions(self) -> Iterator[Submission]:
        """Yield what the three of them send."""
        for _ in range(SUBMISSIONS):
            self.about += 3
            if self.dice.random() < 0.4:
                made = tuple(self.arrange(0) for _ in range(self.dice.randint(1, 3)))
                yield Submission(
                    rid=self.office,
                    person=DORA,
                    authority="office",
                    mutations=made,
                    numbered=False,
                    received=self.about * MINUTE,
                )
            else:
                yield self.push(self.dice.choice([ANA, BEN]))

    def push(self, person: str) -> Submission:
        """Return a push of up to four mutations, some of them one tx."""
        rid = self.phones[person]
        tx = self.dice.choice([None, None, f"tx {self.about}"])
        made = []
        for _ in range(self.dice.randint(1, 4)):
            self.counters[rid] += 1
            made.append(self.work(self.counters[rid], tx))
        return Submission(
            rid=rid,
            person=person,
            authority="device",
            mutations=tuple(made),
            served=2**40,
            schema=self.dice.choice([0, 1, 2]),
            received=self.about * MINUTE,
        )

    def base(self) -> int:
        """Return how far a writer had read: not at all, a while ago, or to the end."""
        return self.dice.choice([0, max(0, self.about - self.dice.randint(0, 60)), 2**40])

    def arrange(self, n: int) -> Mutation:
        """Return something that the office does."""
        pick, about = self.dice.choice, self.about
        crew = self.dice.sample([ANA, BEN], self.dice.randint(0, 2))
        order = {"title": f"t{about}", "assignee_id": pick(PEOPLE), "customer_id": pick(CUSTOMERS)}
        does: list[tuple[str, str, list[str], dict[str, Any]]] = [
            ("create", "work_orders", ORDERS, order),
            ("create", "work_orders", ORDERS, order),
            ("set", "work_orders", ORDERS, {"assignee_id": pick(PEOPLE), "crew": crew}),
            ("set", "work_orders", ORDERS, {"assignee_id": pick(PEOPLE)}),
            ("set", "work_orders", ORDERS, {"customer_id": pick([*CUSTOMERS, None]), "site_id": pick([*SITES, None])}),
            ("create", "customers", CUSTOMERS, {"name": f"c{about}"}),
            ("create", "sites", SITES, {"name": f"s{about}", "customer_id": pick(CUSTOMERS)}),
            ("create", "tasks", TASKS, {"work_order_id": pick(ORDERS), "title": f"k{about}"}),
            (pick(["delete", "restore"]), "work_orders", ORDERS, {}),
            (pick(["delete", "restore"]), "tasks", TASKS, {}),
        ]
        op, collection, ids, fields = pick(does)
        return Mutation(n=n, op=op, collection=collection, id=pick(ids), set=fields, base=pick([self.base(), 2**40]))

    def work(self, n: int, tx: str | None) -> Mutation:
        """Return something that a technician does."""
        pick = self.dice.choice
        does: list[tuple[str, str, list[str], dict[str, Any], dict[str, Any]]] = [
            ("set", "work_orders", ORDERS, {"status": f"s{n}"}, {}),
            ("set", "work_orders", ORDERS, {}, {"notes": {"append": f" and {n}"}}),
            ("set", "work_orders", ORDERS, {"summary": f"{n}"}, {}),
            ("set", "work_orders", ORDERS, {"summary": f"{n}"}, {}),
            ("create", "work_orders", ORDERS, {"title": f"t{n}", "priority": "high"}, {}),
            ("create", "tasks", TASKS, {"work_order_id": pick(ORDERS), "tags": [f"g{n % 3}"]}, {}),
            ("set", "tasks", TASKS, {}, {"tags": {"add": [f"g{n}"]}}),
            ("create", "notes", NOTES, {"work_order_id": pick(ORDERS), "body": f"b{n}"}, {}),
            ("set", "notes", NOTES, {"body": f"b{n}", "work_order_id": pick(ORDERS)}, {}),
            ("delete", "tasks", TASKS, {}, {}),
        ]
        op, collection, ids, fields, do = pick(does)
        place = {"tx": tx, "base": self.base(), "rev": self.dice.randint(0, self.about)}
        return Mutation(n=n, op=op, collection=collection, id=pick(ids), set=fields, do=do, **place)


async def rows(world: World, tenant: int) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that groups have written for a tenant."""
    async with world.database.transaction(tenant) as connection:
        return {
            table: [tuple(row) for row in await connection.fetch(f"SELECT {what} FROM {table} ORDER BY {what}")]
            for table, what in EVERYTHING.items()
        }


async def play(world: World, tenant: int, office: int, seed: int, sizes: list[int]) -> list[Any]:
    """Play the story in groups of these sizes, over and over, and return the verdicts."""
    phones = {person: (await world.phone(person, tenant)).rid for person in (ANA, BEN)}
    waiting = list(Story(seed, office, phones).submissions())
    answers = []
    while waiting:
        for size in sizes:
            now, waiting = waiting[:size], waiting[size:]
            committers = commit.Committers(world.database, count=1)
            answers += await together(committers, [(tenant, each) for each in now])
    return [(answer.applied, answer.problem, [*map(told, answer.verdicts)]) for answer in answers]


@pytest.mark.parametrize("seed", [1, 2])
async def test_groups_of_any_size_leave_the_same_rows(world, seed):
    """Alone, in small groups and in large ones: the same verdicts, and the same in every table."""
    tenants = [(world.tenant, world.office_rid), *[await world.add_tenant(name) for name in ("Small", "Large")]]

    outcomes = []
    for (tenant, office), sizes in zip(tenants, ([1], [2, 5, 3], [32]), strict=True):
        await catalog.publish(world.database, world.catalogs, tenant, RENAMED)
        verdicts = await play(world, tenant, office, seed, sizes)
        outcomes.append((verdicts, await rows(world, tenant)))

    alone, small, large = outcomes
    assert alone[0] == small[0] == large[0]
    for table in EVERYTHING:
        assert alone[1][table] == small[1][table] == large[1][table], table
    kinds = {each.verdict for _, _, verdicts in alone[0] for each in verdicts}
    assert kinds >= {"applied", "superseded", "merged", "parked", "refused", "converged", "held"}
    assert min(len(alone[1][table]) for table in ("feed", "memberships", "edges", "conflicts", "held")) > 10
