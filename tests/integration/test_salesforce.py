"""The outcome of jobs at Salesforce, and its customers here."""

from __future__ import annotations

import pytest

from tests.integration.firm import Firm
from tests.integration.world import job, seen
from tests.peers.salesforce import EXTERNAL, Salesforce
from tests.peers.vendor.company import Drift
from tests.peers.vendor.faults import Faults


@pytest.fixture
async def crm():
    """Give the company that keeps the customers."""
    async with Salesforce() as made:
        yield made
        made.assert_kept()


@pytest.fixture
async def firm(world, crm):
    """Give the business with its customers in."""
    made = Firm(world)
    await made.tie(crm)
    yield made
    await made.close()


async def changed(firm, record, op="set", **fields):
    """Have the office write a work order."""
    await firm.world.submit(firm.world.office(seen("work_orders", record, op=op, set=fields)))


async def completed(firm, number=1, **fields):
    """Have a job done; return its id."""
    done = {"title": "Boiler", "status": "completed", "completed_at": "2026-11-01T07:30:00Z", **fields}
    await changed(firm, job(number), "create", **done)
    return job(number)


def outcomes(crm):
    """Return the status there of each of our work orders, by our id; as often as it is there."""
    return sorted((row[EXTERNAL], row["Status"]) for row in crm.rows["WorkOrder"].values())


async def test_the_outcome_of_a_job_goes_back_to_its_customer(firm, crm):
    """A completed job is a work order there, addressed by our id, on the account that the customer is."""
    account = crm.account("Huber GmbH", Phone="+1 303 555 01 00", BillingCity="Boulder")
    await firm.poll()
    [(customer, fields)] = (await firm.records("customers")).items()
    order = await completed(firm, customer_id=customer, summary="Descaled.")
    assert await firm.work()

    assert (fields["name"], fields["billing_city"]) == ("Huber GmbH", "Boulder")
    [row] = crm.rows["WorkOrder"].values()
    assert {name: row[name] for name in ("Subject", "Status", "Description", "AccountId", EXTERNAL)} == {
        "Subject": "Boiler",
        "Status": "Completed",
        "Description": "Descaled.",
        "AccountId": account,
        EXTERNAL: order,
    }
    assert row["EndDate"] == "2026-11-01T07:30:00.000+0000"

    await changed(firm, order, title="Boiler, again", summary=None)
    assert await firm.work()
    [row] = crm.rows["WorkOrder"].values()
    assert (row["Subject"], row["Description"]) == ("Boiler, again", None)

    await changed(firm, order, status="cancelled")
    assert await firm.work()
    assert outcomes(crm) == [(order, "Canceled")]


@pytest.mark.parametrize("fault", ["drop", "drop_before", "late", "fail", "lie"])
async def test_each_job_is_there_once_whatever_happens(firm, crm, fault):
    """However a write goes wrong, there is one work order for each job."""
    crm.faults = Faults({fault: 0.4}, seed=5)
    firm.seconds, crm.late_seconds = (0.5, 1.0) if fault == "late" else (10.0, 0.0)
    for number in range(1, 9):
        await completed(firm, number)
    await firm.work(rounds=50)
    crm.faults.stop()
    firm.seconds = 10.0
    assert await firm.work()

    told = {state for _, state, _ in await firm.told()}
    assert crm.faults.met[fault] > 0
    if fault == "lie":
        assert len(outcomes(crm)) == [state for _, state, _ in await firm.told()].count("confirmed")
        assert told <= {"confirmed", "rejected"}
    else:
        assert outcomes(crm) == [(job(number), "Completed") for number in range(1, 9)]
        assert told == {"confirmed"}


async def test_the_limit_of_the_day_is_no_429_and_is_kept(firm, crm):
    """After the 403 nothing more is asked for a while, and nothing is lost."""
    await completed(firm, 1)
    assert await firm.work()
    crm.day_limit = crm.day_used
    asked = crm.calls.total()
    await completed(firm, 2)
    await completed(firm, 3)
    assert not await firm.work(rounds=5)

    assert crm.calls.total() - asked <= 2
    assert {state for _, state, _ in await firm.told()} == {"confirmed", "planned"}


async def test_an_id_that_is_there_twice_is_for_a_person(firm, crm):
    """Where the administrator has not made the field unique, nothing is guessed."""
    for _ in range(2):
        crm.put("WorkOrder", {EXTERNAL: job(1), "Status": "New"})
    await completed(firm, 1)
    assert await firm.work()

    assert await firm.told() == [("work_order", "rejected", "300")]
    assert {status for _, status in outcomes(crm)} == {"New"}


async def test_a_row_that_somebody_holds_is_tried_again(firm, crm):
    """Nothing was done when the row was locked, so the same is sent once more."""
    crm.locked_rows = 2
    await completed(firm, 1)
    assert await firm.work()

    assert outcomes(crm) == [(job(1), "Completed")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda crm: setattr(crm, "detects_duplicates", True), "DUPLICATES_DETECTED"),
        (lambda crm: crm.fields.pop("Description"), "INVALID_FIELD"),
        (lambda crm: crm.picklists.update(Status=["Done"]), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
    ],
    ids=["duplicate rule", "field removed", "choice removed"],
)
async def test_what_they_will_not_take_is_rejected_with_their_word_for_it(firm, crm, change, code):
    """A rule of theirs, or a shape that changed over night, rejects one delivery and names the reason."""
    change(crm)
    await completed(firm, 1, summary="Descaled.")
    assert await firm.work()

    assert await firm.told() == [("work_order", "rejected", code)]


async def test_more_customers_than_fit_on_a_page(firm, crm):
    """All pages of a query are read, and contacts wait for their customer."""
    accounts = [crm.account(f"Customer {number}") for number in range(7)]
    crm.put("Contact", {"AccountId": accounts[6], "Name": "Ida Kern", "Email": "ida@example.com"})
    await firm.poll()
    await firm.look_again()
    await firm.take_in()

    customers = await firm.records("customers")
    assert sorted(fields["name"] for fields in customers.values()) == [f"Customer {number}" for number in range(7)]
    [contact] = (await firm.records("contacts")).values()
    assert customers[contact["customer_id"]]["name"] == "Customer 6"


async def test_times_without_an_offset_are_not_guessed(firm, crm):
    """A vendor whose times lost their offset over night has records that wait, and none with a wrong time."""
    crm.drifts = [Drift("query", "unzoned", "records.*.SystemModstamp")]
    crm.account("Huber GmbH")
    await firm.poll()

    assert await firm.records("customers") == {}


async def test_a_session_that_ended_is_begun_anew(firm, crm):
    """The vendor does not say how long a token is good: it is renewed when it is refused."""
    await completed(firm, 1)
    assert await firm.work()
    crm.expire()
    await completed(firm, 2)
    assert await firm.work()

    assert len(outcomes(crm)) == 2
    assert crm.calls["token"] == 2
