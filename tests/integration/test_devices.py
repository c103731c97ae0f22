"""People and the devices they enrol."""

from __future__ import annotations

import pytest

from syncserver.store import devices, people
from syncserver.store.errors import EnrolmentRefused, NoSuchPerson, NotATechnician, PersonDiffers
from syncserver.store.people import Grant, Person
from tests.integration.world import ANA, BEN, DORA


async def enrol(world, code: str) -> devices.Enrolled:
    """Enrol a phone with this code."""
    return await devices.enrol(world.database, code, name="phone", platform="android")


async def test_each_enrolment_is_a_new_replica(world):
    """A device that is set up again begins with new counters, and its tokens name it."""
    code = await devices.create_code(world.database, world.tenant, ANA, reusable=True)

    first, second = await enrol(world, code), await enrol(world, code)
    principal = await people.find_token(world.database, second.token)

    assert second.rid == first.rid + 1
    assert first.replica != second.replica
    assert (principal.tenant_id, principal.person, principal.rid) == (world.tenant, ANA, second.rid)
    assert (principal.role, principal.fenced) == ("technician", False)


async def test_a_code_is_used_once_unless_it_says_otherwise(world):
    """A code that somebody finds on the desk opens nothing any more; case and spaces do not matter."""
    code = await devices.create_code(world.database, world.tenant, ANA)

    await enrol(world, f" {code.lower()} ")

    with pytest.raises(EnrolmentRefused):
        await enrol(world, code)


@pytest.mark.parametrize("code", ["", "nonsense", "7.AAAA", "999999999999.AAAA", "-1.AAAA"])
async def test_what_is_no_code_enrols_nobody(world, code):
    """Whatever is typed, the answer is the same."""
    with pytest.raises(EnrolmentRefused):
        await enrol(world, code)


async def test_a_code_that_is_too_old_enrols_nobody(world):
    """A code has an end."""
    code = await devices.create_code(world.database, world.tenant, ANA, lifetime_seconds=-1)

    with pytest.raises(EnrolmentRefused):
        await enrol(world, code)


async def test_refreshing_may_be_repeated(world):
    """A device whose answer was lost asks again and gets a token that works."""
    enrolled = await enrol(world, await devices.create_code(world.database, world.tenant, ANA))

    answers = [await devices.refresh(world.database, enrolled.refresh) for _ in range(2)]

    for principal, token in answers:
        assert principal.rid == enrolled.rid
        assert (await people.find_token(world.database, token)).rid == enrolled.rid
    assert await devices.refresh(world.database, enrolled.token) is None
    assert await people.find_token(world.database, enrolled.refresh) is None


async def test_a_revoked_device_is_shut_out_and_others_are_not(world):
    """Its tokens are void at once, and it cannot get new ones."""
    code = await devices.create_code(world.database, world.tenant, ANA, reusable=True)
    lost, kept = await enrol(world, code), await enrol(world, code)

    assert await devices.revoke(world.database, world.tenant, lost.rid)

    assert await people.find_token(world.database, lost.token) is None
    assert await devices.refresh(world.database, lost.refresh) is None
    assert await people.find_token(world.database, kept.token) is not None
    assert not await devices.revoke(world.database, world.tenant, 999)


async def test_a_fenced_device_is_known_as_such(world):
    """A device that is only fenced keeps its token, which says so, and can be let in again."""
    enrolled = await enrol(world, await devices.create_code(world.database, world.tenant, ANA))

    await devices.fence(world.database, world.tenant, enrolled.rid)
    assert (await people.find_token(world.database, enrolled.token)).fenced
    assert await devices.refresh(world.database, enrolled.refresh) is None

    await devices.fence(world.database, world.tenant, enrolled.rid, fenced=False)
    assert not (await people.find_token(world.database, enrolled.token)).fenced


async def test_a_device_is_never_more_than_a_technicians(world):
    """Whoever gets another role gets no further by an old phone, an old code or a new one."""
    code = await devices.create_code(world.database, world.tenant, ANA, reusable=True)
    enrolled = await enrol(world, code)
    await people.put_person(world.database, world.tenant, Person(ANA, "Ana", "admin"))

    _, token = await devices.refresh(world.database, enrolled.refresh)

    assert (await people.find_token(world.database, token)).role == "technician"
    with pytest.raises(EnrolmentRefused):
        await enrol(world, code)
    with pytest.raises(NotATechnician, match="the role admin"):
        await devices.create_code(world.database, world.tenant, ANA)
    with pytest.raises(NoSuchPerson):
        await devices.create_code(world.database, world.tenant, "nobody")


@pytest.mark.parametrize("other", [Person(ANA, "Ana", "admin"), Person(ANA, "Anna", "technician")])
async def test_nobody_is_changed_unawares(world, other):
    """Another name or role for an id that is known is refused, unless a change is meant."""
    with pytest.raises(PersonDiffers, match="--change"):
        await people.put_person(world.database, world.tenant, other, may_change=False)
    before = await people.person(world.database, world.tenant, ANA)
    await people.put_person(world.database, world.tenant, before, may_change=False)

    await people.put_person(world.database, world.tenant, other)

    assert (before.name, before.role) == ("Ana", "technician")
    assert await people.person(world.database, world.tenant, ANA) == other


async def test_a_tablet_may_be_shared(world):
    """A replica knows who may act from it."""
    enrolled = await enrol(world, await devices.create_code(world.database, world.tenant, ANA))

    await devices.share(world.database, world.tenant, enrolled.rid, BEN)

    assert await devices.persons_of(world.database, world.tenant, enrolled.rid) == {ANA, BEN}


async def test_a_writer_that_exists_once_is_found_again(world):
    """An import or a label gets one replica, however often it is asked for."""
    source = devices.Source(kind="import", authority="erp", handle="import:a", person="", label="a")

    rids = {await devices.replica(world.database, world.tenant, source) for _ in range(2)}

    assert len(rids) == 1


async def test_tokens_are_for_people_whom_the_tenant_knows(world):
    """A token carries the person's role unless another is given."""
    given = await people.create_token(world.database, world.tenant, Grant(person=DORA, role="readonly"))

    assert (await people.find_token(world.database, given)).role == "readonly"
    assert {each.name for each in await people.persons(world.database, world.tenant)} == {"Ana", "Ben", "Dora"}
    with pytest.raises(NoSuchPerson):
        await people.create_token(world.database, world.tenant, Grant(person="nobody"))
