"""Invoices at QuickBooks: one for each completed job, and what comes after it was sent on top."""

from __future__ import annotations

import msgspec
import pytest

from tests.integration.firm import HOOK_SECRET, Firm
from tests.integration.world import ANA, job, seen
from tests.peers.quickbooks import QuickBooks
from tests.peers.vendor.company import Drift
from tests.peers.vendor.faults import Faults
from upstream.connector import Connector

CUSTOMER = job(800_000)
GASKET = job(810_000)
ORDER = job(1)


@pytest.fixture
async def books():
    """Give the company that keeps the books."""
    async with QuickBooks() as made:
        yield made
        made.assert_kept()


@pytest.fixture
async def firm(world, books):
    """Give the business, with a customer of its own and a part that the books know."""
    made = Firm(world)
    await made.tie(books)
    books.stock("Gasket", "4.10", "G-1")
    await made.poll()
    yield made
    await made.close()


async def office(firm, collection, record, **fields):
    """Have the office create a record."""
    await firm.world.submit(firm.world.office(seen(collection, record, op="create", set=fields)))


async def changed(firm, collection, record, **fields):
    """Have the office change a record."""
    await firm.world.submit(firm.world.office(seen(collection, record, set=fields)))


async def gasket(firm):
    """Return the id of the part."""
    items = await firm.records("price_items")
    return next(record for record, fields in items.items() if fields["name"] == "Gasket")


async def completed(firm, number=1, *, hours=2, parts="3", name="Meier AG"):
    """Have a job done for a customer, with hours and parts; return its id."""
    order, customer = job(number), job(800_000 + number)
    await office(firm, "customers", customer, name=name if number == 1 else f"{name} {number}")
    await office(firm, "work_orders", order, title="Boiler", customer_id=customer, time_zone="America/Denver")
    await entry(firm, order, number * 10, hours)
    item = await gasket(firm)
    await office(firm, "parts_used", job(860_000 + number), work_order_id=order, price_item_id=item, quantity=parts)
    # An hour before midnight where the work was done, which is the next day by UTC.
    await changed(firm, "work_orders", order, status="completed", completed_at="2026-03-08T05:00:00Z")
    return order


async def entry(firm, order, number, hours, activity="work"):
    """Have hours written down for a job; return the id."""
    record = job(850_000 + number)
    span = {"started_at": "2026-03-07T15:00:00Z", "ended_at": f"2026-03-07T{15 + hours}:00:00Z"}
    told = {"work_order_id": order, "technician_id": ANA, "activity": activity, "time_zone": "America/Denver"}
    await office(firm, "time_entries", record, **told, **span)
    return record


def amounts(rows):
    """Return the amounts of the lines of each transaction."""
    return [[line["Amount"] for line in row["Line"]] for row in rows]


async def test_a_completed_job_becomes_one_invoice_with_hours_and_parts(firm, books):
    """The customer is made first, then an invoice with a line for the work and one for the part."""
    await completed(firm)
    assert await firm.work()

    [customer], [invoice] = books.listed("Customer"), books.listed("Invoice")
    assert customer["DisplayName"] == "Meier AG"
    assert invoice["CustomerRef"]["value"] == customer["Id"]
    assert (invoice["TxnDate"], invoice["TotalAmt"]) == ("2026-03-07", 202.3)
    assert amounts([invoice]) == [[190, 12.3]]
    assert len(invoice["DocNumber"]) == 18
    assert {state for _, state, _ in await firm.told()} == {"confirmed"}


async def test_no_cent_is_lost_by_rounding_the_hours(firm, books):
    """Twenty minutes at 95 are 31.67, whatever they are as a number of hours."""
    order = await completed(firm)
    times = {"started_at": "2026-03-07T20:00:00Z", "ended_at": "2026-03-07T20:20:00Z"}
    told = {"work_order_id": order, "technician_id": ANA, "time_zone": "America/Denver"}
    await office(firm, "time_entries", job(850_100), **told, **times)
    await office(firm, "time_entries", job(850_101), activity="travel", **told, **times)
    assert await firm.work()

    [invoice] = books.listed("Invoice")
    assert sorted(amounts([invoice])[0]) == [12.3, 31.67, 31.67, 190]


async def test_a_list_leaves_the_version_that_a_change_names(firm, books):
    """A customer that was read in a list, and changed there, is changed from here at the first go."""
    await completed(firm)
    assert await firm.work()
    [customer] = books.listed("Customer")
    versions = []
    for _ in range(2):
        await firm.poll()
        await firm.take_in()
        versions += await firm.ask("SELECT remote_version FROM remotes WHERE object = 'customer'")
        books.rename(customer["Id"], "Meier & Sons AG")
    await firm.poll()
    await firm.take_in()
    await changed(firm, "customers", job(800_001), phone="+1 303 555 01 99")
    assert await firm.work()

    assert [row["remote_version"] for row in versions] == ["0", "1"]
    assert books.listed("Customer")[0]["PrimaryPhone"]["FreeFormNumber"] == "+1 303 555 01 99"
    rounds = await firm.ask("SELECT sends, reads FROM deliveries WHERE object = 'customer'")
    assert [(row["sends"], row["reads"]) for row in rounds] == [(1, 0), (1, 0)]


async def test_before_it_is_sent_an_invoice_is_changed(firm, books):
    """Another hour before the invoice goes out is on the same invoice; breaks are not."""
    order = await completed(firm)
    assert await firm.work()
    await entry(firm, order, 2, 1)
    await entry(firm, order, 3, 1, "break")
    assert await firm.work()

    [invoice] = books.listed("Invoice")
    assert (invoice["TotalAmt"], invoice["SyncToken"]) == (297.3, "1")


@pytest.mark.parametrize("how", ["sent", "paid"])
async def test_what_comes_after_it_was_posted_goes_onto_another(firm, books, how):
    """More becomes a supplementary invoice, less a credit memo; the invoice itself is never touched again."""
    order = await completed(firm)
    assert await firm.work()
    [invoice] = books.listed("Invoice")
    if how == "sent":
        books.send(invoice["Id"])
    else:
        books.pay(invoice["Id"], 50.0)
    posted = dict(books.rows["Invoice"][invoice["Id"]])

    record = await entry(firm, order, 2, 1)
    assert await firm.work()
    first, second = books.listed("Invoice")
    assert (first, amounts([second]), second["TotalAmt"]) == (posted, [[95]], 95)

    await changed(firm, "time_entries", record, activity="break")
    await changed(firm, "parts_used", job(860_001), quantity="1")
    assert await firm.work()
    [credit] = books.listed("CreditMemo")
    assert books.listed("Invoice")[0] == posted
    assert sum(row["TotalAmt"] for row in books.listed("Invoice")) - credit["TotalAmt"] == pytest.approx(194.1)

    found = {name: state for name, state, _ in await firm.told()}
    assert found == dict.fromkeys(("customer", "invoice", "supplementary_invoice", "credit_memo"), "confirmed")


async def test_what_is_no_line_makes_no_other_invoice(firm, books):
    """Another title after the invoice was sent is nothing to bill; another day is for a person, no empty invoice."""
    order = await completed(firm)
    assert await firm.work()
    books.send(books.listed("Invoice")[0]["Id"])
    await changed(firm, "work_orders", order, title="Boiler, cellar")
    await firm.work()
    renamed = await firm.told()
    await changed(firm, "work_orders", order, completed_at="2026-03-09T05:00:00Z")
    await firm.work()

    assert {state for _, state, _ in renamed} == {"confirmed"}
    assert ("invoice", "rejected", "no_late_object") in await firm.told()
    assert len(books.listed("Invoice")) == 1


async def test_what_is_taken_away_here_is_taken_away_there(firm, books):
    """The vendor keeps what an update does not name; a number that was told and is no more is emptied, once."""
    await completed(firm)
    await changed(firm, "customers", job(800_001), email="a@example.org", phone="1")
    assert await firm.work()
    await changed(firm, "customers", job(800_001), phone=None)
    assert await firm.work()
    [there] = books.listed("Customer")
    assert (there["PrimaryEmailAddr"], there["PrimaryPhone"]) == (
        {"Address": "a@example.org"},
        {"FreeFormNumber": ""},
    )

    await changed(firm, "customers", job(800_001), email="b@example.org")
    assert await firm.work()
    [again] = books.listed("Customer")
    assert again["SyncToken"] == str(int(there["SyncToken"]) + 1)


async def test_a_voided_invoice_is_not_a_paid_one(firm, books):
    """Both have nothing due; what was voided says so in its note."""
    first, second = await completed(firm, 1), await completed(firm, 2)
    assert await firm.work()
    by_order = {row["PrivateNote"].split()[2].rstrip(":"): row["Id"] for row in books.listed("Invoice")}
    books.pay(by_order[second], 202.3)
    await changed(firm, "work_orders", first, status="cancelled")
    assert await firm.work()
    await firm.poll()

    found = await firm.records("invoices")
    assert {each["work_order_id"]: each["status"] for each in found.values()} == {first: "void", second: "paid"}


async def test_a_cancelled_job_is_voided_or_credited(firm, books):
    """An invoice that nobody has seen is voided; one that was sent is credited in full."""
    await completed(firm, 1)
    await completed(firm, 2)
    assert await firm.work()
    first, second = books.listed("Invoice")
    books.send(second["Id"])
    for order in (job(1), job(2)):
        await changed(firm, "work_orders", order, status="cancelled")
    assert await firm.work()

    by_id = books.rows["Invoice"]
    sent = 202.3
    assert by_id[first["Id"]]["TotalAmt"] + by_id[second["Id"]]["TotalAmt"] == sent
    assert [credit["TotalAmt"] for credit in books.listed("CreditMemo")] == [sent]


@pytest.mark.parametrize("fault", ["drop", "drop_before", "late", "fail"])
@pytest.mark.parametrize("forgets", [False, True], ids=["keys", "no keys"])
async def test_each_job_is_invoiced_once_whatever_happens(firm, books, fault, forgets):
    """However a write goes wrong, and also where the vendor forgets its keys, there is one invoice for each job."""
    books.faults = Faults({fault: 0.5}, seed=3)
    books.forgets_keys, books.allows_twins, books.lag_seconds = forgets, True, 0.3
    firm.seconds, books.late_seconds = (0.5, 1.0) if fault == "late" else (10.0, 0.0)
    for number in range(1, 4):
        await completed(firm, number)
    await firm.work(rounds=50)
    books.faults.stop()
    firm.seconds = 10.0
    assert await firm.work()

    assert books.faults.met[fault] > 0
    assert [row["TotalAmt"] for row in books.listed("Invoice")] == [202.3] * 3
    assert len(books.listed("Customer")) == 3
    assert {state for _, state, _ in await firm.told()} == {"confirmed"}


async def test_a_yes_with_a_no_in_it_is_a_no(firm, books):
    """An answer whose status is 200 and whose body has an error rejects the delivery with that error."""
    await completed(firm)
    books.faults = Faults({"lie": 1.0})
    assert await firm.work()

    assert await firm.told() == [("customer", "rejected", "6000")]
    assert books.listed("Customer") == []


async def test_nothing_is_asked_while_the_vendor_wants_a_pause(firm, books):
    """After a 429, which does not say how long, no request reaches the company for a minute."""
    await completed(firm, 1)
    await completed(firm, 2)
    books.throttled_calls = 1_000
    assert not await firm.work(rounds=1)
    asked = books.calls.total()
    assert not await firm.work(rounds=10)

    assert books.calls.total() == asked
    assert {state for _, state, _ in await firm.told()} == {"planned"}


async def test_a_customer_of_this_name_is_there_already(firm, books):
    """The vendor takes a name once: the one that is there is ours from then on, and no second is made."""
    books._put("Customer", {"DisplayName": "Meier AG"})
    await completed(firm)
    assert await firm.work()

    [customer], [invoice] = books.listed("Customer"), books.listed("Invoice")
    assert invoice["CustomerRef"]["value"] == customer["Id"]


async def test_the_books_of_that_day_are_closed(firm, books):
    """What cannot be invoiced on its day any more is invoiced on the day it is told, as a supplement."""
    books.closed_until = "2026-06-30"
    await completed(firm)
    assert await firm.work()

    [invoice] = books.listed("Invoice")
    assert (invoice["TotalAmt"], invoice["TxnDate"] > books.closed_until) == (202.3, True)
    assert [(name, state) for name, state, _ in await firm.told()] == [
        ("customer", "confirmed"),
        ("supplementary_invoice", "confirmed"),
    ]


async def test_customers_items_and_invoices_come_in(firm, books):
    """What the books know is written in their name: by poll, and by a thin call that is fetched."""
    books._put("Customer", {"DisplayName": "Huber", "PrimaryPhone": {"FreeFormNumber": "+1 303 555 01 00"}})
    order = await completed(firm)
    assert await firm.work()
    await firm.poll()

    names = sorted(fields["name"] for fields in (await firm.records("customers")).values())
    assert names == ["Huber", "Meier AG"]
    [invoice] = (await firm.records("invoices")).values()
    assert (invoice["work_order_id"], invoice["total"], invoice["status"]) == (order, "202.3", "open")

    [remote] = books.listed("Invoice")
    books.pay(remote["Id"], 202.3)
    told = await firm.hook("quickbooks", books.event("Invoice", remote["Id"], HOOK_SECRET))
    assert told.new == 1
    [invoice] = (await firm.records("invoices")).values()
    assert invoice["status"] == "paid"


@pytest.mark.parametrize(("overlap", "missed"), [(1, set()), (0, {"Customer 3"})])
async def test_a_row_that_moves_while_a_list_is_read_hides_no_other(firm, books, monkeypatch, overlap, missed):
    """A customer that is changed there goes to the end, and the next one forward; without an overlap it is missed."""
    known = firm.manifest("quickbooks")
    listing = known.operations["changed_customers"]
    pages = msgspec.structs.replace(listing.pagination, size=3, overlap=overlap)
    operations = {**known.operations, "changed_customers": msgspec.structs.replace(listing, pagination=pages)}
    monkeypatch.setattr(firm, "manifest", lambda _: msgspec.structs.replace(known, operations=operations))
    ids = [books._put("Customer", {"DisplayName": f"Customer {number}"})["Id"] for number in range(5)]
    original = Connector.pages

    async def moving(self, operation, values, **how):
        first = operation == "changed_customers"
        async for reply in original(self, operation, values, **how):
            if first:
                books._put("Customer", {**books.rows["Customer"][ids[0]], "Notes": "again"})
            first = False
            yield reply

    monkeypatch.setattr(Connector, "pages", moving)
    for _ in range(2):
        await firm.poll()
        monkeypatch.setattr(Connector, "pages", original)
        await firm.ask("UPDATE polls SET since = now() + interval '1 hour' RETURNING object")

    found = {fields["name"] for fields in (await firm.records("customers")).values()}
    assert {f"Customer {number}" for number in range(5)} - found == missed


async def test_their_edit_is_taken_in_before_ours_is_written_over_it(firm, books):
    """A customer that somebody there renamed while we changed the phone has both afterwards."""
    await completed(firm)
    assert await firm.work()
    [customer] = books.listed("Customer")
    books.rename(customer["Id"], "Meier & Sons AG")
    await changed(firm, "customers", job(800_001), phone="+1 303 555 01 99")
    assert await firm.work()
    await firm.take_in()
    assert await firm.work()

    [customer] = books.listed("Customer")
    assert customer["DisplayName"] == "Meier & Sons AG"
    assert customer["PrimaryPhone"]["FreeFormNumber"] == "+1 303 555 01 99"
    assert (await firm.records("customers"))[job(800_001)]["name"] == "Meier & Sons AG"


@pytest.mark.parametrize(
    "drift",
    [
        Drift("put_invoice", "removed", "Invoice.DocNumber"),
        Drift("put_invoice", "renamed", "Invoice.SyncToken", "Version"),
        Drift("put_invoice", "retyped", "Invoice.TotalAmt"),
        Drift("put_invoice", "required", "DueDate"),
        Drift("put_invoice", "unknown", "PrivateNote"),
    ],
    ids=lambda drift: f"{drift.kind}-{drift.path}",
)
async def test_a_vendor_that_changed_over_night_loses_nothing(firm, books, drift):
    """However the shape of an invoice changes, there is one, or a rejected delivery that says why."""
    books.drifts = [drift]
    await completed(firm)
    assert await firm.work()

    invoices = [(state, code) for name, state, code in await firm.told() if name == "invoice"]
    if drift.kind in ("required", "unknown"):
        assert (invoices, books.listed("Invoice")) == ([("rejected", drift.kind)], [])
    else:
        assert (invoices, len(books.listed("Invoice"))) == ([("confirmed", "")], 1)


async def test_a_refresh_token_is_shown_once(firm, books):
    """When the token has ended a new pair is asked for once, and the work goes on."""
    books.expire()
    await completed(firm)
    assert await firm.work()

    assert (books.calls["token"], books.reused, len(books.listed("Invoice"))) == (1, 0, 1)
