"""Reading delimited files: what becomes a record, what a reject, and which id it gets."""

from __future__ import annotations

from importlib import resources

import msgspec
import pytest

from replication import catalog_file
from syncserver.importer import mapping, table
from syncserver.importer.errors import BadMapping, BadTable

CATALOG = catalog_file.parse(resources.files("syncserver.catalogs").joinpath("default.toml").read_text())
MAPPING = mapping.parse(
    resources.files("syncserver.importer").joinpath("mappings/maintenance.toml").read_text(), CATALOG
)
HEADER = "BscStartDate,Asset,OriginalShorttext,PMType,Cost\n"


def rows(text: str, chosen: mapping.Mapping = MAPPING) -> tuple[list[table.Draft], list[table.Reject]]:
    """Return drafts made of rows, and rejects."""
    found = list(table.read(text, chosen, CATALOG))
    drafts = [row for row in found if isinstance(row, table.Draft)]
    return drafts, [row for row in found if isinstance(row, table.Reject)]


def test_a_row_becomes_a_record() -> None:
    """A row gives a record with canonical values, and one for each label it names."""
    drafts, rejects = rows(HEADER + "2004-07-01,A,BUCKET WON'T OPEN,PM01,183.050\n")

    asset, job_type, order = drafts
    assert rejects == []
    assert (asset.collection, asset.fields) == ("assets", {"name": "A"})
    assert (job_type.collection, job_type.fields) == ("job_types", {"code": "PM01"})
    assert order.line == 2
    assert order.fields == {
        "status": "closed",
        "reported_at": "2004-07-01T00:00:00.000Z",
        "asset_id": asset.id,
        "title": "BUCKET WON'T OPEN",
        "job_type_id": job_type.id,
        "cost": "183.05",
    }


def test_a_shifted_row_is_rejected_for_its_value() -> None:
    """An unquoted comma shifts the columns without changing their number; the cost gives it away."""
    text = HEADER + "2003-12-31,B,won,t swing,PM01\n2004-03-01,B,tighten panel,PM01,246.42\n"

    drafts, rejects = rows(text)

    assert [reject.line for reject in rejects] == [2]
    assert "Cost is 'PM01'" in rejects[0].reasons[0]
    assert [draft.fields["title"] for draft in drafts if draft.line] == ["tighten panel"]


def test_each_reason_is_told() -> None:
    """A row with three mistakes is told all three at once."""
    _, rejects = rows(HEADER + "31.12.2003,B,,PM01,none\n")

    assert len(rejects[0].reasons) == 3


def test_equal_rows_are_two_facts() -> None:
    """Equal rows get different ids, and the same file gives the same ids again."""
    text = HEADER + "2004-07-01,A,x,PM01,1\n" * 2

    first, _ = rows(text)
    again, _ = rows(text)

    ids = [draft.id for draft in first]
    assert len(set(ids)) == len(ids)
    assert [draft.id for draft in again] == ids


def test_identity_does_not_depend_on_the_row_s_place() -> None:
    """A row that moved to another line of the file is the same record."""
    one, other = "2004-07-01,A,x,PM01,1\n", "2005-07-01,A,y,PM01,2\n"

    forward, _ = rows(HEADER + one + other)
    backward, _ = rows(HEADER + other + one)

    assert {draft.id for draft in forward} == {draft.id for draft in backward}


def test_quoted_line_breaks_keep_line_numbers_right() -> None:
    """A value over several lines counts its lines, so that later rejects name the true line."""
    _, rejects = rows(HEADER + '2004-07-01,A,"two\nlines",PM01,1\n2004-07-02,A,x,PM01,bad\n')

    assert [reject.line for reject in rejects] == [4]


def test_an_unreadable_row_is_a_reject() -> None:
    """A row that breaks the quoting rules is rejected and the rest is read."""
    _, rejects = rows(HEADER + '2004-07-01,A,"x"y,PM01,1\n')

    assert "not readable" in rejects[0].reasons[0]


def test_times_without_offset_are_meant_in_the_mapping_s_zone() -> None:
    """Midnight in Perth is four in the afternoon of the day before in UTC."""
    perth = msgspec.structs.replace(MAPPING, zone="Australia/Perth")

    drafts, _ = rows(HEADER + "2004-07-01,A,x,PM01,1\n", perth)

    assert drafts[-1].fields["reported_at"] == "2004-06-30T16:00:00.000Z"


def test_decimal_comma() -> None:
    """With a comma as decimal mark, points group thousands."""
    columns = {**MAPPING.columns, "Cost": msgspec.structs.replace(MAPPING.columns["Cost"], decimal=",")}
    german = msgspec.structs.replace(MAPPING, columns=columns, delimiter=";")

    drafts, _ = rows(HEADER.replace(",", ";") + "2004-07-01;A;x;PM01;1.234,50\n", german)

    assert drafts[-1].fields["cost"] == "1234.5"


def test_wrong_encoding_names_line_and_byte() -> None:
    """Bytes that do not fit the encoding stop the import before anything is written."""
    with pytest.raises(BadTable, match=r"line 2: byte 0xfc is no utf-8-sig"):
        table.decode(HEADER.encode() + b"2004-07-01,A,T\xfcr,PM01,1\n", MAPPING)


def test_a_missing_column_is_named() -> None:
    """A file without a mapped column is refused whole, with the columns it has."""
    with pytest.raises(BadTable, match="no column Cost"):
        rows("BscStartDate,Asset,OriginalShorttext,PMType\n")


@pytest.mark.parametrize(
    ("find", "put", "said"),
    [
        ('"work_orders"', '"work_order"', "not in the catalogue"),
        ('"cost"', '"costs"', "has no field 'costs'"),
        ('"erp"', '"crm"', "'crm' may not write cost"),
        ('"UTC"', '"Mars/Base"', "no IANA time zone"),
        ('"assets"', '"sites"', "does not refer to 'sites'"),
        ("required", "requierd", "requierd"),
    ],
)
def test_a_bad_mapping_is_told_where(find: str, put: str, said: str) -> None:
    """Each mistake in a mapping is refused with the key and what is allowed."""
    text = resources.files("syncserver.importer").joinpath("mappings/maintenance.toml").read_text()

    with pytest.raises(BadMapping, match=said):
        mapping.parse(text.replace(find, put), CATALOG)
