"""Hours at Gusto: each slot of a payroll has what was approved, whatever happens on the way."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tests.integration.firm import Firm
from tests.integration.world import ANA, BEN, job, seen
from tests.peers.gusto import Gusto
from tests.peers.vendor.faults import Faults

REGULAR = "Regular Hours"
JANUARY = date(2026, 1, 5)
NEXT = date(2026, 1, 19)


@pytest.fixture
async def gusto():
    """Give the company that runs the payroll."""
    async with Gusto() as made:
        yield made
        made.assert_kept()


@pytest.fixture
async def firm(world, gusto):
    """Give the business with Ana and Ben on its payroll."""
    made = Firm(world)
    await made.tie(gusto)
    for person in (ANA, BEN):
        await made.link("gusto", "employee", person, gusto.hire("Ana Lopez" if person == ANA else "Ben Ode"))
    yield made
    await made.close()


async def worked(firm, number, start, end, *, person=ANA, **fields):
    """Have a stretch of work written down and approved; return its id."""
    record = job(900_000 + number)
    told = {"technician_id": person, "activity": "work", "started_at": start, "ended_at": end}
    told |= {"time_zone": "America/Denver", "pay_code": REGULAR, "approved": True, **fields}
    told = {name: value for name, value in told.items() if value is not None}
    await firm.world.submit(firm.world.office(seen("time_entries", record, op="create", set=told)))
    return record


async def changed(firm, record, **fields):
    """Have the office change an entry."""
    await firm.world.submit(firm.world.office(seen("time_entries", record, set=fields)))


def hours(gusto):
    """Return the hours there are, by first name, period, earning and job."""
    named = {employee.uuid: employee.first_name for employee in gusto.employees.values()}
    return {(named[who], *rest): total for (who, *rest), total in gusto.slots().items()}


async def test_approved_hours_are_told_as_a_sum(firm, gusto):
    """Two entries of one period, earning and job are one number; what is not approved is none."""
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:20:00Z")
    await worked(firm, 2, "2026-01-07T15:00:00Z", "2026-01-07T16:00:00Z")
    await worked(firm, 3, "2026-01-07T18:00:00Z", "2026-01-07T19:00:00Z", approved=False)
    await worked(firm, 4, "2026-01-08T15:00:00Z", "2026-01-08T15:30:00Z", pay_code="Overtime")
    await worked(firm, 5, "2026-01-20T15:00:00Z", "2026-01-20T16:00:00Z", person=BEN)
    assert await firm.work()

    assert hours(gusto) == {
        ("Ana", "2026-01-05", REGULAR, "Technician"): Decimal("3.333"),
        ("Ana", "2026-01-05", "Overtime", "Technician"): Decimal("0.5"),
        ("Ben", "2026-01-19", REGULAR, "Technician"): Decimal(1),
    }
    assert {state for _, state, _ in await firm.told()} == {"confirmed"}


async def test_a_change_is_told_and_a_withdrawal_clears_the_slot(firm, gusto):
    """An entry that grows, changes its earning or loses its approval leaves the slots as they should be."""
    first = await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:00:00Z")
    second = await worked(firm, 2, "2026-01-07T15:00:00Z", "2026-01-07T16:00:00Z")
    assert await firm.work()
    await changed(firm, first, pay_code="Overtime")
    assert await firm.work()

    assert hours(gusto) == {
        ("Ana", "2026-01-05", REGULAR, "Technician"): Decimal(1),
        ("Ana", "2026-01-05", "Overtime", "Technician"): Decimal(2),
    }

    await changed(firm, second, approved=False)
    assert await firm.work()

    assert hours(gusto) == {("Ana", "2026-01-05", "Overtime", "Technician"): Decimal(2)}


async def test_the_night_on_which_clocks_change_has_the_hours_that_it_had(firm, gusto):
    """From eight in the evening to four in the morning is seven hours in March and nine in November."""
    await worked(firm, 1, "2026-03-08T03:00:00Z", "2026-03-08T10:00:00Z")
    await worked(firm, 2, "2026-11-01T02:00:00Z", "2026-11-01T11:00:00Z")
    # Sunday evening in Denver is Monday by UTC: it belongs to the period that ends on that Sunday.
    await worked(firm, 3, "2026-02-02T01:00:00Z", "2026-02-02T03:00:00Z")
    assert await firm.work()

    assert hours(gusto) == {
        ("Ana", "2026-03-02", REGULAR, "Technician"): Decimal(7),
        ("Ana", "2026-10-26", REGULAR, "Technician"): Decimal(9),
        ("Ana", "2026-01-19", REGULAR, "Technician"): Decimal(2),
    }


async def test_one_of_several_jobs_is_chosen_by_its_title(firm, gusto):
    """Hours go to the job that the entry names, and to the primary one where it names none."""
    dora = gusto.hire("Dora Kim", jobs=("Technician", "Trainer"))
    await firm.link("gusto", "employee", job(77), dora)
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T16:00:00Z", person=job(77), pay_job="Trainer")
    await worked(firm, 2, "2026-01-06T17:00:00Z", "2026-01-06T19:00:00Z", person=job(77))
    assert await firm.work()

    assert hours(gusto) == {
        ("Dora", "2026-01-05", REGULAR, "Trainer"): Decimal(1),
        ("Dora", "2026-01-05", REGULAR, "Technician"): Decimal(2),
    }


async def test_what_cannot_be_paid_is_said_aloud(firm, gusto):
    """Without a pay code, with one that payroll does not have, or of somebody unknown there: rejected by name."""
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T16:00:00Z", pay_code=None)
    await worked(firm, 2, "2026-01-06T15:00:00Z", "2026-01-06T16:00:00Z", pay_code="Night")
    await worked(firm, 3, "2026-01-06T15:00:00Z", "2026-01-06T16:00:00Z", person=job(5))
    assert await firm.work()

    found = await firm.ask("SELECT error_message FROM deliveries WHERE state = 'rejected' ORDER BY error_message")
    said = [row["error_message"] for row in found]
    assert len(said) == 3
    assert any("'Night' is no pay code of this employee" in each for each in said)
    assert any("name: nothing is found at record.pay_code" in each for each in said)
    assert any("employee_uuid: nothing is found at remote.technician_id" in each for each in said)
    assert hours(gusto) == {}


@pytest.mark.parametrize("fault", ["drop", "drop_before", "late", "fail", "throttle", "lie"])
async def test_lost_answers_change_nothing(firm, gusto, fault):
    """However a write goes wrong, each slot ends with what was approved."""
    gusto.faults = Faults({fault: 0.4}, seed=7)
    firm.seconds, gusto.late_seconds = (0.5, 1.0) if fault == "late" else (10.0, 0.0)
    for number in range(6):
        day = f"2026-01-{6 + number:02d}"
        await worked(firm, number, f"{day}T15:00:00Z", f"{day}T16:00:00Z")
        assert await firm.work()

    assert gusto.faults.met[fault] > 0
    assert hours(gusto) == {("Ana", "2026-01-05", REGULAR, "Technician"): Decimal(6)}
    assert {state for _, state, _ in await firm.told()} == {"confirmed"}


async def test_somebody_in_the_office_there_changes_something_else_meanwhile(firm, gusto):
    """A version that moved is read again; the other's edit stays."""
    payroll = gusto.payrolls[JANUARY]
    ana = next(iter(gusto.employees))
    answer = gusto.answer

    def interfered(operation, request):
        if operation == "update_payroll" and payroll.versions.get(ana, 0) == 0:
            payroll.versions[ana] = 1
            payroll.memos[ana] = "A note of the bookkeeper's"
        return answer(operation, request)

    gusto.answer = interfered
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T16:00:00Z")
    assert await firm.work()

    assert hours(gusto) == {("Ana", "2026-01-05", REGULAR, "Technician"): Decimal(1)}
    assert payroll.memos[ana] == "A note of the bookkeeper's"


async def test_what_comes_after_payroll_has_run_goes_into_the_next_open_period(firm, gusto):
    """Hours approved too late are added to the next slot once, with a line that says what for."""
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:00:00Z")
    await worked(firm, 2, "2026-01-20T15:00:00Z", "2026-01-20T16:00:00Z")
    assert await firm.work()
    gusto.run(JANUARY)
    late = await worked(firm, 3, "2026-01-07T15:00:00Z", "2026-01-07T16:30:00Z")
    assert await firm.work()

    january, following = ("Ana", "2026-01-05", REGULAR, "Technician"), ("Ana", "2026-01-19", REGULAR, "Technician")
    assert hours(gusto) == {january: Decimal(2), following: Decimal("2.5")}
    [memo] = gusto.payrolls[NEXT].memos.values()
    assert memo.startswith("Late +1.500 h Regular Hours for 2026-01-05 (FS")

    # The period's own hours change afterwards, and what was added stays.
    await worked(firm, 4, "2026-01-21T15:00:00Z", "2026-01-21T19:00:00Z")
    assert await firm.work()
    assert hours(gusto)[following] == Decimal("6.5")

    # Too much was approved: the next period takes it back.
    await changed(firm, late, approved=False)
    assert await firm.work()
    assert hours(gusto) == {january: Decimal(2), following: Decimal(5)}


MOVED = {"started_at": "2026-01-21T15:00:00Z", "ended_at": "2026-01-21T17:00:00Z"}


@pytest.mark.parametrize(
    ("edit", "left"),
    [(MOVED, 7), ({"pay_code": "Overtime"}, 7), ({"approved": False}, 5), (None, 5)],
    ids=["into the next period", "under another earning", "not approved any more", "deleted"],
)
async def test_what_was_paid_is_not_paid_again_elsewhere(firm, gusto, edit, left):
    """Hours that payroll has paid and that belong elsewhere, or to nobody, are taken back from the next period."""
    entry = await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:00:00Z")
    await worked(firm, 2, "2026-01-20T15:00:00Z", "2026-01-20T20:00:00Z")
    assert await firm.work()
    gusto.run(JANUARY)
    if edit is None:
        await firm.world.submit(firm.world.office(seen("time_entries", entry, op="delete")))
    else:
        await changed(firm, entry, **edit)
    assert await firm.work()

    assert hours(gusto)["Ana", "2026-01-05", REGULAR, "Technician"] == Decimal(2)
    assert sum(hours(gusto).values()) == left


async def test_two_payrolls_have_run_meanwhile(firm, gusto):
    """Who comes back after weeks has the hours in the first period that is still open."""
    gusto.run(JANUARY)
    gusto.run(NEXT)
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:00:00Z")
    await worked(firm, 2, "2026-01-20T15:00:00Z", "2026-01-20T16:00:00Z")
    assert await firm.work()

    assert hours(gusto) == {("Ana", "2026-02-02", REGULAR, "Technician"): Decimal(3)}
    [memo] = gusto.payrolls[date(2026, 2, 2)].memos.values()
    assert memo.count("Late +") == 2


@pytest.mark.parametrize("fault", ["drop", "late", "fail", "lie"])
async def test_a_late_fact_is_added_once_whatever_happens(firm, gusto, fault):
    """The mark in the memo tells whether it was added, so a lost answer adds nothing twice."""
    gusto.run(JANUARY)
    gusto.faults = Faults({fault: 0.5}, seed=3)
    firm.seconds, gusto.late_seconds = (0.5, 1.0) if fault == "late" else (10.0, 0.0)
    for number in range(5):
        day = f"2026-01-{6 + number:02d}"
        await worked(firm, number, f"{day}T15:00:00Z", f"{day}T16:00:00Z")
        assert await firm.work()

    assert gusto.faults.met[fault] > 0
    assert hours(gusto) == {("Ana", "2026-01-19", REGULAR, "Technician"): Decimal(5)}


async def test_payroll_runs_while_an_answer_is_awaited(firm, gusto):
    """Whether the hours were in time is looked up in what was paid; what was not goes to the next period."""
    answer = gusto.answer

    def hurried(operation, request):
        found = answer(operation, request)
        if operation == "update_payroll":
            gusto.run(JANUARY)
        return found

    gusto.answer = hurried
    gusto.faults = Faults({"drop": 1.0})
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:00:00Z")
    await firm.work(rounds=1)
    gusto.faults.stop()
    assert await firm.work()

    assert hours(gusto) == {("Ana", "2026-01-05", REGULAR, "Technician"): Decimal(2)}


async def test_a_refresh_token_is_shown_once(firm, gusto):
    """When the token has ended a new pair is asked for once, and the work goes on."""
    gusto.expire()
    for number in range(4):
        await worked(firm, number, f"2026-01-{6 + number:02d}T15:00:00Z", f"2026-01-{6 + number:02d}T16:00:00Z")
    assert await firm.work()

    assert (gusto.calls["token"], gusto.reused) == (1, 0)
    assert hours(gusto) == {("Ana", "2026-01-05", REGULAR, "Technician"): Decimal(4)}


async def test_employees_come_in_by_poll_and_by_call(firm, gusto):
    """What payroll changes of an employee is written to the technician in payroll's name."""
    await firm.world.submit(firm.world.office(seen("technicians", ANA, op="create", set={"name": "Ana"})))
    await firm.poll()
    assert (await firm.records("technicians"))[ANA]["name"] == "Ana Lopez"

    employee = next(each for each in gusto.employees.values() if each.first_name == "Ana")
    employee.last_name, employee.version = "Lopez-Ruiz", "2"
    told = await firm.hook("gusto", gusto.event("Employee", employee.uuid, "shared-with-the-vendor"))

    assert told.new == 1
    assert (await firm.records("technicians"))[ANA]["name"] == "Ana Lopez-Ruiz"


async def test_an_employee_is_known_by_the_address(firm, gusto):
    """An employee with a technician's e-mail address is that technician; one whom nobody is like is nobody here."""
    eve, twin = job(50), job(51)
    for record, email in ((eve, "eve@firm.example"), (twin, "two@firm.example"), (job(52), "two@firm.example")):
        told = seen("technicians", record, op="create", set={"name": "Eve", "email": email})
        await firm.world.submit(firm.world.office(told))
    gusto.hire("Eve Stone", "eve@firm.example")
    gusto.hire("Ivo Blank", "nobody@firm.example")
    gusto.hire("Two Persons", "two@firm.example")
    await firm.poll()
    await worked(firm, 1, "2026-01-06T15:00:00Z", "2026-01-06T17:00:00Z", person=eve)
    assert await firm.work()

    assert {record: fields["name"] for record, fields in (await firm.records("technicians")).items()} == {
        eve: "Eve Stone",
        twin: "Eve",
        job(52): "Eve",
    }
    assert hours(gusto) == {("Eve", "2026-01-05", REGULAR, "Technician"): Decimal(2)}
