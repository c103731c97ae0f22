"""Who wrote each cell, as a device is told it, and what a device says it has seen of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from replication.forms import Form
from tests.integration.forms import speaker
from tests.integration.service import ANA, BEN, DORA, Desk, Service, uid

if TYPE_CHECKING:
    from tests.integration.forms import Speaker


async def test_versions_are_told_in_both_forms(service: Service) -> None:
    """Each cell of a put or enter comes with who wrote it: fields, groups by their own name, and $alive."""
    desk = await service.office()
    plain, packed = await speaker(service, "json"), await speaker(service, "msgpack", "zstd")
    ben = await speaker(service, "json", person=BEN)
    made = await desk.create(
        1, title="Boiler", assignee_id=ANA, crew=[BEN], window_start="2026-01-01T08:00:00Z", time_zone="Europe/Zurich"
    )
    entered, also = [await phone.pull(versions=True) for phone in (plain, packed)]
    await ben.pull()
    await plain.settled(plain.edit(1, set={"summary": "The valve."}))
    await ben.settled(ben.edit(1, set={"summary": "The pump."}))
    put, put_too = [await phone.pull(versions=True) for phone in (packed, ben)]

    (change,) = entered["commits"][0]["changes"]
    office = change["versions"]["title"]["dot"]
    assert also["commits"] == entered["commits"]
    assert change["versions"].keys() == {"$alive", "title", "assignee_id", "crew", "window"}
    assert change["versions"]["window"] == {"dot": office, "seq": made["rev"], "vv": {str(office[0]): office[1]}}
    assert "versions" not in (await plain.pull())["commits"][0]["changes"][0]
    told = put["commits"][-1]["changes"][-1]
    mine, other = [plain.enrolled["rid"], 1], [ben.enrolled["rid"], 1]
    assert told["op"] == "put"
    assert told["fields"]["summary"] == "The valve."
    assert told["versions"]["summary"] == {
        "dot": mine,
        "seq": told["versions"]["summary"]["seq"],
        "vv": {str(mine[0]): mine[1]},
        "siblings": [{"dot": other, "value": "The pump."}],
    }
    assert told["versions"]["window"] == change["versions"]["window"]
    assert put_too["commits"][-1]["changes"][-1] == told


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_versions_count_in_the_size_of_a_page(service: Service, form: Form) -> None:
    """A page that carries them holds fewer records, in a snapshot as in the feed, and none is left out."""
    desk, ana = await service.office(), await speaker(service, form)
    await ana.pull()
    for number in range(12):
        await desk.create(number, title="Boiler", assignee_id=ANA)
    start = ana.cursor

    async def pages(**asked: Any) -> list[list[str]]:
        found = []
        while True:
            page = await ana.pull(max_bytes=2_000, **asked)
            found.append([change["id"] for commit in page["commits"] for change in commit["changes"]])
            if not page["more"]:
                return found

    for beginning in (start, None):
        ana.cursor = beginning
        bare = await pages()
        ana.cursor = beginning
        dressed = await pages(versions=True)
        assert [name for page in bare for name in page] == [name for page in dressed for name in page]
        assert len({name for page in dressed for name in page}) == 12
        assert len(dressed) > len(bare) > 1


VALUES: dict[str, list[Any]] = {
    "title": ["one", "two", "three"],
    "status": ["open", "on_site", "done"],
    "notes": ["a", "ab", "ac"],
    "crew": [[BEN], [], [BEN, DORA]],
    "window": [{"window_start": f"2026-01-0{day}T08:00:00Z"} for day in (1, 2, 3)],
}
"""A cell, what stands there at first, what the office makes of it, and what the device sets."""

UNSEEN = {"title": "superseded", "status": "applied", "notes": "superseded", "crew": "refused", "window": "refused"}


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("case", ["seen", "unseen", "twin", "never there"])
async def test_a_context_and_a_base_give_the_same_verdict(service: Service, form: Form, case: str) -> None:
    """Both say what the writer had seen of a cell; neither does the form change anything."""
    desk = await service.office()
    ana, ben = await speaker(service, form), await speaker(service, form, person=BEN)

    for place, cell in enumerate(VALUES):
        by_base, by_context = [
            await judged(desk, ana, ben, cell=cell, case=case, way=way, number=2 * place + (way == "base"))
            for way in ("base", "context")
        ]
        assert by_base == by_context, cell
        usual = "refused" if UNSEEN[cell] == "refused" else "applied"
        assert by_base["verdict"] == (UNSEEN[cell] if case == "unseen" else usual), cell
        assert by_base["conflicts"] == (case == "unseen" and UNSEEN[cell] != "refused"), cell


async def judged(
    desk: Desk, ana: Speaker, ben: Speaker, *, cell: str, case: str, way: str, number: int
) -> dict[str, Any]:
    """Let the office write a cell, and a device that saw it or did not; return what became of the device's write."""
    first, second, third = VALUES[cell]
    given = {} if case == "never there" else fields(cell, first)
    made = await desk.create(number, **{"assignee_id": ANA, "crew": [BEN], **given})
    version = version_of(await ana.pull(versions=True), number, cell)
    await ben.pull()
    if case in ("unseen", "twin"):
        await desk.change(number, made["rev"], **fields(cell, second))
    if case == "twin":
        # Ben writes what the office wrote: whoever saw the one has seen the other.
        await ben.pull()
        await ben.settled(ben.edit(number, set={cell: second}))
        version = version_of(await ana.pull(versions=True), number, cell)
    seen: dict[str, Any] = {"base": {cell: version["seq"] if version else 0}}
    if way == "context":
        vector = {str(ben.enrolled["rid"]): ben.n} if case == "twin" else version["vv"] if version else {}
        seen = {"base": {}, "context": {cell: vector}}
    before = len(await desk.conflicts(record_id=uid(number)))

    answer = await ana.settled(ana.edit(number, set={cell: third}, **seen))

    told = answer["verdicts"][0]["cells"][cell]
    kept = {name: told.get(name) for name in ("verdict", "rule", "value", "code")}
    conflicts = len(await desk.conflicts(record_id=uid(number)))
    return {**kept, "conflicts": conflicts - before, "stands": (await desk.show(number)).get(cell)}


def fields(cell: str, value: Any) -> dict[str, Any]:
    """Return the fields of a cell: a group's stand beside each other."""
    return value if cell == "window" else {cell: value}


def version_of(page: dict[str, Any], number: int, cell: str) -> dict[str, Any] | None:
    """Return the version of a cell as a page tells it, or None where the cell was never written."""
    changes = [each for commit in page["commits"] for each in commit["changes"] if each["id"] == uid(number)]
    return changes[-1]["versions"].get(cell)
