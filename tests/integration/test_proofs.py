"""Vectors that shrink by proof: what is in every backup and behind every device leaves no entry, and no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from replication.verdict import MutationVerdict
from replication.versions import Dot, Vector
from syncserver.store import devices, proofs, shown
from tests.integration.world import ANA, Phone, World, job, seen, told

if TYPE_CHECKING:
    from replication.state import Answer

PHONES = 5


class Team:
    """Some phones that have all written the status of one work order, each having seen the one before."""

    def __init__(self, world: World, tenant: int, office: int) -> None:
        self.world = world
        self.tenant = tenant
        self.office = office
        self.phones: list[Phone] = []

    @classmethod
    async def make(cls, world: World, tenant: int, office: int) -> Team:
        """Let each phone write once."""
        team = cls(world, tenant, office)
        made = seen("work_orders", job(1), op="create", set={"title": "Boiler", "assignee_id": ANA})
        await world.submit(world.office(made, rid=office), tenant)
        team.phones = [await world.phone(ANA, tenant) for _ in range(PHONES)]
        for place, phone in enumerate(team.phones):
            await world.submit(phone.push(phone.edit(job(1), set={"status": f"step {place}"})), tenant)
        return team

    async def vector(self) -> Vector:
        """Return the version vector of the status."""
        found = await shown.record(self.world.database, self.tenant, "work_orders", job(1))
        assert found is not None
        return found.cells["status"].vv

    async def back_up(self, n: int = 99) -> None:
        """Let every replica's mutations up to `n` be in the oldest backup."""
        async with self.world.database.transaction(self.tenant) as connection:
            await connection.execute(
                "INSERT INTO seen_verdicts (tenant_id, rid, n, durable) SELECT tenant_id, rid, 0, $2 FROM replicas"
                " WHERE tenant_id = $1 ON CONFLICT (tenant_id, rid) DO UPDATE SET durable = excluded.durable",
                self.tenant,
                n,
            )

    async def read_past(self, *phones: Phone, seq: int | None = None) -> None:
        """Let phones have pulled up to a number, or everything there is."""
        async with self.world.database.transaction(self.tenant) as connection:
            for phone in phones:
                await connection.execute(
                    "INSERT INTO positions (tenant_id, rid, seq, pulled_at)"
                    " SELECT tenant_id, $2, coalesce($3, seq), now() FROM counters WHERE tenant_id = $1"
                    " ON CONFLICT (tenant_id, rid) DO UPDATE SET seq = excluded.seq",
                    self.tenant,
                    phone.rid,
                    seq,
                )

    async def refresh(self) -> Vector:
        """Work out the proof."""
        return await proofs.refresh(self.world.database, self.tenant)

    async def write(self, phone: Phone, **rest: Any) -> Answer:
        """Let a phone write the status."""
        return await self.world.submit(phone.push(phone.edit(job(1), **rest)), self.tenant)


@pytest.fixture
async def team(world: World) -> Team:
    """Give a team in the world's tenant."""
    return await Team.make(world, world.tenant, world.office_rid)


async def test_nothing_is_pruned_without_a_proof(team: Team) -> None:
    """Until a backup is registered every entry stays, however far the devices have read."""
    await team.read_past(*team.phones)

    proof = await team.refresh()
    await team.write(team.phones[0], set={"status": "more"})

    assert proof == {}
    assert set(await team.vector()) == {phone.rid for phone in team.phones}


async def test_proven_entries_leave_at_the_next_write(team: Team) -> None:
    """The stored vector stays as it is until the cell is written, and then has what is new alone."""
    await team.back_up()
    await team.read_past(*team.phones)

    proof = await team.refresh()
    before = await team.vector()
    await team.write(team.phones[2], set={"status": "more"})

    assert {phone.rid: 1 for phone in team.phones}.items() <= proof.items()
    assert len(before) == PHONES
    assert await team.vector() == {team.phones[2].rid: 2}


async def test_verdicts_are_the_same_with_and_without(world: World, team: Team) -> None:
    """Seen, unseen, merged and sent again: a pruned tenant answers as one that keeps everything."""
    plain = await Team.make(world, *await world.add_tenant("Southwind Heating"))
    await team.back_up()
    await team.read_past(*team.phones)
    await team.refresh()

    answers = [await _next_writes(each) for each in (team, plain)]

    assert answers[0] == answers[1]
    assert {cell for cells in answers[0] for cell in cells} >= {("applied", None), ("superseded", "tie:first")}
    assert len(await team.vector()) < len(await plain.vector())


async def _next_writes(team: Team) -> list[list[tuple[str, str | None]]]:
    """Let the team write on: having seen all, nothing, by context, and once more what was sent before."""
    one, two, three, *_ = team.phones
    newest = Dot(team.phones[-1].rid, 1)
    found = [
        await team.write(one, set={"status": "seen"}, context={"status": {newest.rid: newest.n}}),
        await team.write(two, set={"status": "unseen"}, base=0, context={"status": {}}),
        await team.write(three, set={"status": "seen again"}),
        await team.write(two, do={"notes": {"append": " two"}}, base=0),
        await team.write(three, do={"notes": {"append": " three"}}, base=0),
    ]
    one.n -= 1
    found.append(await team.write(one, set={"status": "seen"}, context={"status": {newest.rid: newest.n}}))
    return [_cells(told(verdict)) for answer in found for verdict in answer.verdicts]


def _cells(verdict: MutationVerdict) -> list[tuple[str, str | None]]:
    return [(cell.verdict, cell.rule) for cell in verdict.cells.values()]


async def test_one_device_that_has_not_read_on_keeps_the_entries(team: Team) -> None:
    """What a device has not passed is kept for it; what it has passed is proven."""
    await team.back_up()
    await team.read_past(*team.phones)
    await team.read_past(team.phones[0], seq=4)

    proof = await team.refresh()

    # The record was made at 1; after the enter at 2 the phones wrote at 3, 4, 5 and so on.
    assert [phone.rid for phone in team.phones if phone.rid in proof] == [phone.rid for phone in team.phones[:2]]


async def test_a_device_that_never_pulled_blocks_until_it_is_shut_out(world: World, team: Team) -> None:
    """A phone in a drawer keeps every entry; revoking it lets them go."""
    await team.back_up()
    await team.read_past(*team.phones)
    drawer = await world.phone(ANA)

    blocked = await team.refresh()
    await devices.fence(world.database, world.tenant, drawer.rid)
    released = await team.refresh()

    assert blocked == {}
    assert {phone.rid for phone in team.phones} <= released.keys()


async def test_what_is_in_no_backup_keeps_its_entry(team: Team) -> None:
    """A mutation after the backup is not proven, even if all have read it; the one before it is."""
    await team.write(team.phones[0], set={"status": "more"})
    await team.back_up(1)
    await team.read_past(*team.phones)

    await team.refresh()
    await team.write(team.phones[1], set={"status": "after"})

    assert await team.vector() == {team.phones[0].rid: 2, team.phones[1].rid: 2}


async def test_a_proof_never_goes_back(world: World, team: Team) -> None:
    """A device that comes new, or falls behind, brings no entry back that is gone already."""
    await team.back_up()
    await team.read_past(*team.phones)
    proof = await team.refresh()
    await world.phone(ANA)

    assert await team.refresh() == proof
