"""A small business on a real database: two technicians, an office, committers that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from replication.mutation import Mutation
from replication.state import Answer, Submission
from replication.verdict import MutationVerdict
from syncserver import notify
from syncserver.catalogs import source
from syncserver.commands import catalog, commit, pull
from syncserver.commands.page import Asked, Page, Reader
from syncserver.store import devices, people
from syncserver.store.catalogs import Catalogs
from syncserver.store.people import Person

if TYPE_CHECKING:
    from syncserver.store.db import Database

ANA = str(UUID(int=0xA0A))
BEN = str(UUID(int=0xBE0))
DORA = str(UUID(int=0xD00))
NAMES = {ANA: "Ana", BEN: "Ben", DORA: "Dora"}
EPOCH = "1"
CUSTOMER = str(UUID(int=0xC))


def job(number: int) -> str:
    """Return the id of a work order."""
    return str(UUID(int=0x10_0000 + number))


def seen(collection: str, record_id: str, n: int = 0, **rest: Any) -> Mutation:
    """Return a mutation whose writer has seen everything."""
    return Mutation(n=n, collection=collection, id=record_id, **{"op": "set", "base": 2**40, **rest})


class Phone(msgspec.Struct):
    """A device that numbers its mutations and has seen what its cursor says."""

    rid: int
    person: str
    n: int = 0
    at: Any = None

    def edit(self, record_id: str, *, collection: str = "work_orders", **rest: Any) -> Mutation:
        """Return the next mutation of the device."""
        self.n += 1
        return seen(collection, record_id, self.n, **rest)

    def push(self, *mutations: Mutation) -> Submission:
        """Return a push of the device."""
        return Submission(rid=self.rid, person=self.person, authority="device", mutations=mutations, served=2**40)


class World:
    """One tenant, its office and devices, and what settles and answers them."""

    def __init__(self, url: str, database: Database, committers: commit.Committers) -> None:
        self.url = url
        self.database = database
        self.catalogs = Catalogs()
        self.committers = committers
        self.hints = notify.Hints(url)
        self.pulls = pull.Pulls(database, self.hints, self.catalogs)
        self.tenant = 0
        self.office_rid = 0

    @classmethod
    async def make(cls, url: str, database: Database) -> World:
        """Make a tenant and start what serves it."""
        world = cls(url, database, commit.Committers(database))
        world.tenant, world.office_rid = await world.add_tenant("Northwind Plumbing")
        await world.committers.start()
        await world.hints.start()
        return world

    async def stop(self) -> None:
        """End what was started."""
        await self.committers.stop()
        await self.hints.stop()
        await self.pulls.stop()

    async def add_tenant(self, name: str) -> tuple[int, int]:
        """Return the numbers of another tenant with the same people, and of its office."""
        tenant = (await devices.create_tenant(self.database, name)).tenant_id
        for person, called in NAMES.items():
            role = "dispatcher" if person == DORA else "technician"
            await people.put_person(self.database, tenant, Person(person, called, role))
        await catalog.publish(self.database, self.catalogs, tenant, source.text(None))
        office = devices.Source(kind="office", authority="office", handle="office", person="", label="")
        return tenant, await devices.replica(self.database, tenant, office)

    async def phone(self, person: str, tenant: int | None = None) -> Phone:
        """Enrol a device."""
        code = await devices.create_code(self.database, tenant or self.tenant, person)
        enrolled = await devices.enrol(self.database, code, name=f"phone of {NAMES[person]}", platform=None)
        return Phone(enrolled.rid, person)

    def office(self, *mutations: Mutation, rid: int | None = None, **rest: Any) -> Submission:
        """Return a submission of the office."""
        return Submission(
            rid=rid or self.office_rid, person=DORA, authority="office", mutations=mutations, numbered=False, **rest
        )

    async def submit(self, submission: Submission, tenant: int | None = None) -> Answer:
        """Have a submission settled."""
        return await self.committers.submit(tenant or self.tenant, submission)

    async def order(self, number: int, **fields: Any) -> str:
        """Have the office create a work order, and return its id."""
        await self.submit(self.office(seen("work_orders", job(number), op="create", set={"title": "Boiler", **fields})))
        return job(number)

    async def pull(self, phone: Phone, **asked: Any) -> Page:
        """Let a phone take one page."""
        reader = Reader(self.tenant, phone.rid, phone.person)
        page = await self.pulls.pull(reader, phone.at, Asked(**asked), epoch=EPOCH)
        phone.at = page.cursor
        return page

    async def pull_all(self, phone: Phone, **asked: Any) -> list[Page]:
        """Let a phone take pages until nothing is left."""
        pages = [await self.pull(phone, **asked)]
        while pages[-1].more:
            pages.append(await self.pull(phone, **asked))
        return pages


def verdicts(answer: Answer) -> list[str]:
    """Return the verdict of each mutation, stored or new."""
    return [told(each).verdict for each in answer.verdicts]


def told(verdict: MutationVerdict | msgspec.Raw) -> MutationVerdict:
    """Return a verdict as a struct, also one that comes as it was stored."""
    return msgspec.json.decode(msgspec.json.encode(verdict), type=MutationVerdict)


def changes(*pages: Page) -> list[tuple[str, str, str]]:
    """Return (op, collection, id) of all that these pages tell, in order."""
    return [(each.op, each.collection, each.id) for page in pages for told in page.commits for each in told.changes]
