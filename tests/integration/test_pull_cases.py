"""Cases in which a pull once kept something back."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from tests.integration.world import ANA, seen

if TYPE_CHECKING:
    from syncserver.commands.page import Page
    from tests.integration.world import World


def uid(number: int) -> str:
    """Return an id."""
    return str(UUID(int=0x77_0000 + number))


def newest(pages: list[Page], record_id: str) -> tuple[int, str]:
    """Return rev and fields of the last that these pages tell of a record."""
    told = [each for page in pages for commit in page.commits for each in commit.changes if each.id == record_id]
    return told[-1].rev, msgspec.json.encode(told[-1].fields).decode()


async def test_a_reference_to_nobody_ends_no_snapshot(world: World) -> None:
    """Work orders may name a customer that is not there; those behind it in the snapshot still come."""
    for number in range(2, 7):
        made = seen("customers", uid(number), op="create", set={"name": f"Customer {number}"})
        await world.submit(world.office(made))
    for number in range(1, 7):
        await world.order(number, assignee_id=ANA, customer_id=uid(number))
    phone = await world.phone(ANA)

    pages = await world.pull_all(phone, limit=3)

    customers = [
        each.id for page in pages for told in page.commits for each in told.changes if each.collection == "customers"
    ]
    assert sorted(customers) == [uid(number) for number in range(2, 7)]


async def test_an_update_behind_an_enter_of_another_class_is_told(world: World) -> None:
    """A message enters with its job, which travels less urgently; a later edit of the message still arrives."""
    order = await world.order(1)
    message = seen("messages", uid(9), op="create", set={"work_order_id": order, "body": "old"})
    await world.submit(world.office(message))
    phone = await world.phone(ANA)
    await world.pull_all(phone)

    await world.submit(world.office(seen("work_orders", order, set={"assignee_id": ANA})))
    await world.submit(world.office(seen("messages", uid(9), set={"body": "new"})))
    pages = await world.pull_all(phone, limit=1)

    assert '"new"' in newest(pages, uid(9))[1]
