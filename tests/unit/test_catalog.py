"""Look-ups in a catalogue: ranks, cells, scope, and the digest of its content."""

from __future__ import annotations

import msgspec
import pytest

from replication import catalog_file
from replication.catalog import AUTHORITIES, Catalog, CellRule, RankEntry
from syncserver.catalogs import source

CATALOG = catalog_file.parse(source.text(None))
DESIGNED = CATALOG.collections["work_orders"]


def rule(*rank: RankEntry) -> CellRule:
    """Give the rule of a cell that everybody may write."""
    return CellRule(name="state", members=("state",), write=frozenset(AUTHORITIES), rank=rank)


@pytest.mark.parametrize(
    ("authority", "relation", "place"),
    [
        ("device", "assignee", 0),
        ("office", "", 1),
        ("office", "assignee", 1),
        ("device", "crew", 2),
        ("device", "former", 2),
        ("device", "linked", 2),
        ("device", "all", 2),
        ("device", "", 2),
        ("crm", "", 3),
        ("crm", "assignee", 3),
        ("hub", "", 3),
    ],
)
def test_a_writer_has_the_place_of_the_first_entry_that_fits(authority: str, relation: str, place: int) -> None:
    """A bare class means any relation; whoever is not listed comes after the whole list."""
    listed = rule(RankEntry("device", "assignee"), RankEntry("office"), RankEntry("device"))

    assert place == listed.rank_of(authority, relation)


def test_without_a_bare_class_other_relations_are_unlisted() -> None:
    """To list some relations of devices says nothing of the others."""
    listed = rule(RankEntry("device", "assignee"), RankEntry("device", "former"))

    assert [listed.rank_of("device", how) for how in ("assignee", "crew", "former", "linked")] == [0, 2, 1, 2]


def test_without_a_rank_all_are_equal() -> None:
    """Nobody is believed more than anybody else unless the catalogue says so."""
    assert {0} == {rule().rank_of(authority, "assignee") for authority in AUTHORITIES}


def test_ranks_follow_a_changed_rule() -> None:
    """What was worked out for one rule is not kept for another that was made from it."""
    before = rule(RankEntry("office"))
    assert before.rank_of("device") == 1

    after = msgspec.structs.replace(before, rank=(RankEntry("device"), RankEntry("office")))

    assert [after.rank_of(authority) for authority in ("device", "office")] == [0, 1]


def test_scope_looks_are_what_the_collections_say() -> None:
    """Parents, carried references and the fields that matter to scope, as the design has them."""
    carried = {("customer_id", "customers"), ("site_id", "sites"), ("asset_id", "assets")}

    assert carried == set(CATALOG.carried("work_orders"))
    assert {"assignee_id", "crew", "customer_id", "site_id", "asset_id"} == CATALOG.scope_fields("work_orders")
    assert CATALOG.parents("time_entries") == ("work_order_id",)
    assert {"work_order_id"} == CATALOG.scope_fields("time_entries")
    assert CATALOG.carried("contacts") == ()


def test_what_everybody_sees_carries_nothing_and_has_no_scope_fields() -> None:
    """A collection for all is nobody's in particular."""
    for_all = [name for name, collection in CATALOG.collections.items() if collection.is_for_all]

    assert for_all
    assert {((), frozenset())} == {(CATALOG.carried(name), CATALOG.scope_fields(name)) for name in for_all}


def test_givers_of_scope_come_before_their_takers() -> None:
    """In the order of scope each collection stands after all that bring it into sight."""
    order = CATALOG.scope_order

    for name in CATALOG.collections:
        fields = CATALOG.collections[name].fields
        assert all(order[fields[parent].to] < order[name] for parent in CATALOG.parents(name))
        assert all(order[name] < order[target] for _, target in CATALOG.carried(name))


def test_the_digest_is_of_the_content_alone() -> None:
    """Layout, comments, the order of keys and the version do not make another catalogue; a tie does."""
    text = source.text(None)
    reordered = dict(reversed(CATALOG.collections.items()))

    same = {
        catalog_file.parse(f"# note\n{text}\n\n", version=7).hash,
        Catalog(collections=reordered, version=2).hash,
        catalog_file.parse(text.replace('write = ["device", "office"]', 'write = ["office", "device"]')).hash,
    }

    assert {CATALOG.hash} == same
    assert CATALOG.hash != catalog_file.parse(text.replace('tie = "manual"', 'tie = "last"')).hash
    assert len(CATALOG.hash) == 64


def test_the_version_is_the_one_given() -> None:
    """A text has no version in it; the tenant numbers it."""
    assert catalog_file.parse(source.text(None), version=3).version == 3


COLLECTIONS = {
    "customers", "contacts", "sites", "assets", "technicians", "teams", "job_types", "service_areas", "bookings",
    "leads", "work_orders", "appointments", "tasks", "forms", "notes", "messages", "files", "time_entries",
    "parts_used", "stock_items", "price_items", "invoices", "payments", "service_agreements",
}  # fmt: skip
WORK_ORDER_FIELDS = {
    "title", "status", "priority", "notes", "summary", "job_type_id", "customer_id", "site_id", "asset_id",
    "assignee_id", "crew", "window_start", "window_end", "time_zone", "reported_at", "completed_at", "cost", "lead_id",
}  # fmt: skip


def test_the_shipped_catalogue_has_all_of_field_service() -> None:
    """The collections, and the fields of a work order, that others rely on by name."""
    assert CATALOG.collections.keys() == COLLECTIONS
    assert DESIGNED.fields.keys() == WORK_ORDER_FIELDS
    assert {"assignee", "crew", "creator_until_assigned"} == DESIGNED.sources


@pytest.mark.parametrize(
    ("authority", "fields"),
    [
        ("device", {"title", "status", "priority", "notes", "summary", "completed_at"}),
        ("erp", {"cost"}),
    ],
)
def test_devices_and_the_erp_write_what_is_theirs_of_a_work_order(authority: str, fields: set[str]) -> None:
    """Devices write what happened on site, the ERP the cost, and neither anything else."""
    writable = {name for name in DESIGNED.fields if authority in DESIGNED.cells[DESIGNED.cell_of(name)].write}

    assert fields == writable


@pytest.mark.parametrize("field", ["window_start", "window_end", "time_zone", "assignee_id", "crew"])
def test_the_office_owns_the_plan(field: str) -> None:
    """When and who: the office alone writes it and is believed."""
    cell = DESIGNED.cells[DESIGNED.cell_of(field)]

    assert cell.write == {"office"}
    assert cell.rank == (RankEntry("office"),)


def test_the_window_is_one_cell() -> None:
    """Start, end and zone of a window are never mixed from two writers."""
    assert DESIGNED.cells["window"].members == ("window_start", "window_end", "time_zone")


def test_the_status_is_believed_to_whoever_is_on_site() -> None:
    """Assignee, crew, office, former assignee, in this order; then the first to arrive."""
    status = DESIGNED.cells["status"]

    assert [entry.word for entry in status.rank] == ["device.assignee", "device.crew", "office", "device.former"]
    assert status.tie == "first"


def test_the_shipped_catalogue_uses_every_rule_there_is() -> None:
    """Each merge and each tie has a field by which a newcomer can see it work."""
    rules = [cell for collection in CATALOG.collections.values() for cell in collection.cells.values()]

    assert {each.merge for each in rules} == {None, "append", "union", "counter"}
    assert {each.tie for each in rules} == {"first", "last", "manual"}
    assert {"keep_edit", "delete_wins"} == {each.against_edit for each in CATALOG.collections.values()}
    assert DESIGNED.cells["summary"].tie == "manual"
    assert CATALOG.collections["stock_items"].cells["quantity"].merge == "counter"
