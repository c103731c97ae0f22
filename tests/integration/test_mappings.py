"""Mappings through their life: drafted, validated, compared, published, put back; fields found out; going live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from replication import catalog_file
from syncserver.catalogs import source
from tests import manifests
from tests.integration.backdoor import Trial
from tests.integration.world import job, seen
from upstream import (
    connections,
    discovery,
    jsonnet,
    manifest_file,
    mapping_file,
    mappings,
    shadow,
    store,
    trial,
)
from upstream.errors import (
    BadMapping,
    MappingRefused,
    NotDiscovered,
    NotReady,
    UnknownConnection,
    UnknownMapping,
)
from upstream.mappings import Surroundings
from upstream.replies import Reply
from upstream.sampling import Sampling
from upstream.schema import Field, made_of
from upstream.trial import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.integration.world import World

TITLE = """
[[out]]
object = "bill"
collection = "work_orders"
rows = [{ target = "text", source = "record.title" }, { target = "mark", source = "record.id" }]
"""
SHOUTED = TITLE.replace('source = "record.title"', 'action = "jsonnet", code = "std.asciiUpper(record.title)"')
DAN = "dan"
BILL = made_of("bill", "describe", [Field(path="text", type="text", length_max=20), Field(path="mark", type="text")])


@pytest.fixture(scope="module")
def pool() -> Iterator[jsonnet.Pool]:
    """Give somebody who runs Jsonnet."""
    with jsonnet.Pool(jsonnet.Limits(children=1, waiting_ms=60_000)) as made:
        yield made


@pytest.fixture
def around(pool: jsonnet.Pool) -> Surroundings:
    """Give what mappings are tried in."""
    return Surroundings(
        manifest=manifests.north(), catalog=catalog_file.parse(source.text(None)), jsonnet=pool.evaluate
    )


@pytest.fixture
async def connection(world: World) -> str:
    """Give a connection in shadow mode, without a mapping."""
    connection_id = str(uuid4())
    new = connections.New(system="north", name="north", manifest="north", authority="erp")
    await connections.make(world.database, world.tenant, connection_id, new)
    return connection_id


def sample(key: str, title: str, **rest: Any) -> Sample:
    """Give what a bill was made of once."""
    context = {"record": {"id": key, "title": title}, "config": {}, "ref": {}, "remote": {}, "rows": {}}
    return Sample(way="out", object="bill", key=key, collection="work_orders", context=context, **rest)


async def keep(world: World, connection: str, *samples: Sample) -> None:
    """Keep samples."""
    async with world.database.transaction(world.tenant) as session:
        for each in samples:
            await mappings.take_sample(session, world.tenant, connection, each)


async def interests(world: World) -> list[str]:
    """Give of which collections some connection is told."""
    async with world.database.transaction(world.tenant) as session:
        return [row["collection"] for row in await session.fetch("SELECT collection FROM interests ORDER BY 1")]


async def test_a_draft_is_published_and_the_connection_follows_it(world, connection, around):
    """A version is kept as a draft, published by name of who did it, and from then on it holds and is told of."""
    place = (world.database, world.tenant, connection)

    draft = await mappings.save(*place, TITLE, by=DAN, note="first")
    before = await interests(world)
    published = await mappings.publish(*place, draft.version, around, by="erin")

    assert (draft.version, draft.state, draft.made_by, draft.note, draft.content) == (1, "draft", DAN, "first", TITLE)
    assert (published.state, published.published_by, before) == ("published", "erin", [])
    assert (await connections.get(*place)).mapping_version == 1
    assert await interests(world) == ["work_orders"]
    assert await mappings.publish(*place, 1, around, by=DAN) == published


async def test_a_version_whose_publication_died_is_still_a_draft(world, connection, around, monkeypatch):
    """Killed while it is noted by what records are looked up, it does not hold; published again it does."""
    place = (world.database, world.tenant, connection)
    await mappings.save(*place, TITLE, by=DAN)

    async def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connections, "fill_lookups", killed)
        with pytest.raises(KeyboardInterrupt):
            await mappings.publish(*place, 1, around, by=DAN)
    before = ((await mappings.get(*place, 1)).state, await interests(world))
    published = await mappings.publish(*place, 1, around, by=DAN)

    assert before == ("draft", [])
    assert (published.state, await interests(world)) == ("published", ["work_orders"])


async def test_the_same_text_makes_no_new_version_and_a_wrong_one_none_at_all(world, connection):
    """Saving what the newest version says gives that version; a text with mistakes is refused with all of them."""
    place = (world.database, world.tenant, connection)
    first = await mappings.save(*place, TITLE, by=DAN)

    again = await mappings.save(*place, TITLE, by="erin")
    with pytest.raises(BadMapping) as refused:
        await mappings.save(*place, TITLE.replace("record.", "recrd.").replace("text", "1"), by=DAN)

    assert again == first
    assert len(refused.value.problems) == 3
    assert [each.version for each in await mappings.listed(*place)] == [1]


async def test_versions_made_at_once_get_numbers_of_their_own(world, connection):
    """Ten people who save at the same time make ten versions."""
    texts = [TITLE.replace('"text"', f'"text{number}"') for number in range(10)]

    made = await asyncio.gather(
        *(mappings.save(world.database, world.tenant, connection, text, by=DAN) for text in texts)
    )

    assert sorted(each.version for each in made) == list(range(1, 11))
    assert {each.content for each in made} == set(texts)


async def test_a_version_never_changes(world, connection, around):
    """Neither what a version says nor that it held can be taken back, not even by a statement of our own."""
    place = (world.database, world.tenant, connection)
    await mappings.save(*place, TITLE, by=DAN)
    await mappings.publish(*place, 1, around, by=DAN)

    for change in ("content = 'other'", "state = 'draft', published_at = NULL"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="never changes"):
            async with world.database.transaction(world.tenant) as session:
                await session.execute(f"UPDATE mappings SET {change}")


async def test_to_go_back_an_older_version_is_published_as_a_new_one(world, connection, around):
    """After a roll back the connection follows a new number with the old text, which says what it repeats."""
    place = (world.database, world.tenant, connection)
    for text in (TITLE, SHOUTED):
        version = (await mappings.save(*place, text, by=DAN)).version
        await mappings.publish(*place, version, around, by=DAN)

    with pytest.raises(MappingRefused, match="version 1 held before; roll back to it"):
        await mappings.publish(*place, 1, around, by=DAN)
    back = await mappings.roll_back(*place, 1, by="erin", note="too loud")

    assert (back.version, back.restores, back.state, back.content, back.note) == (3, 1, "published", TITLE, "too loud")
    assert (await connections.get(*place)).mapping_version == 3
    assert [each.version for each in await mappings.listed(*place)] == [3, 2, 1]
    assert [each.version for each in await mappings.listed(*place, below=3, limit=1)] == [2]


async def test_only_what_held_can_be_gone_back_to(world, connection):
    """A draft that never held is published, not rolled back to."""
    await mappings.save(world.database, world.tenant, connection, TITLE, by=DAN)

    with pytest.raises(MappingRefused, match="version 1 never held"):
        await mappings.roll_back(world.database, world.tenant, connection, 1, by=DAN)


async def test_a_version_with_errors_is_not_published(world, connection, around):
    """Fields that are not there, on either side, and samples that cannot be made are errors that name the row."""
    place = (world.database, world.tenant, connection)
    await discovery.keep(
        *place, BILL, await mappings.Parsed().get(*place, (await mappings.save(*place, TITLE, by=DAN)).version)
    )
    await keep(world, connection, sample("s1", "short"), sample("s2", "a title that is far too long for them"))
    wrong = TITLE.replace('"mark"', '"marc"').replace("record.id", "record.colour")
    version = (await mappings.save(*place, wrong, by=DAN)).version

    report = await mappings.validate(*place, version, around)
    with pytest.raises(MappingRefused) as refused:
        await mappings.publish(*place, version, around, by=DAN)

    assert (report.samples, report.applied) == (2, 2)
    assert (
        refused.value.problems
        == report.errors
        == (
            "out bill, row 'marc': work_orders has no field 'colour'",
            "out bill, row 'marc': the object has no such field",
            "out bill, row 'text': has 37 characters, more than 20 (sample s2)",
        )
    )
    assert (await connections.get(*place)).mapping_version is None


async def test_versions_are_compared_on_samples(world, connection, around):
    """What another version makes otherwise is shown field by field, before and after, and which rows changed."""
    place = (world.database, world.tenant, connection)
    await keep(world, connection, sample("s1", "boiler"), sample("s2", "PUMP"))
    for text in (TITLE, SHOUTED):
        await mappings.save(*place, text, by=DAN)

    found = await mappings.diff(*place, 2, around, before=1)
    new = await mappings.diff(*place, 1, around, before=0)

    assert [(each.key, [(d.path, d.before, d.after) for d in each.differences]) for each in found.shifts] == [
        ("s1", [("text", "boiler", "BOILER")])
    ]
    assert {each.path.split(".")[1] for each in found.rows} == {"text"}
    assert (found.samples, len(new.shifts)) == (2, 2)


async def test_the_newest_samples_of_each_object_are_kept(world, connection):
    """Of one object only the newest are kept, one for each key, and none that is too large."""
    limit = mappings.SAMPLES_PER_OBJECT
    for number in range(limit + 5):
        await keep(world, connection, sample(f"s{number:02}", "x"))
    await keep(world, connection, sample("s24", "again"), sample("big", "x" * mappings.SAMPLE_BYTES_MAX))

    found = await mappings.samples(world.database, world.tenant, connection, way="out", object_name="bill")

    assert sorted(each.key for each in found) == [f"s{number:02}" for number in range(5, limit + 5)]
    assert found[0].context["record"] == {"id": "s24", "title": "again"}
    assert await mappings.samples(world.database, world.tenant, connection, way="into") == []


async def test_a_pinned_version_is_found_whatever_holds_now(world, connection, around):
    """A delivery's version gives the mapping that planned it, from memory once it was read."""
    place = (world.database, world.tenant, connection)
    for text in (TITLE, SHOUTED):
        version = (await mappings.save(*place, text, by=DAN)).version
        await mappings.publish(*place, version, around, by=DAN)
    parsed = mappings.Parsed()

    first = await parsed.get(*place, 1)

    assert first.out[0].rows[0].action == "copy"
    assert (await parsed.get(*place, 2)).out[0].rows[0].action == "jsonnet"
    assert await parsed.get(*place, 1) is first
    with pytest.raises(UnknownMapping):
        await parsed.get(*place, 3)


async def test_nothing_is_found_of_a_connection_that_is_not_there(world):
    """A connection of nobody, or of another tenant, has no mapping and takes none."""
    with pytest.raises(UnknownConnection):
        await mappings.save(world.database, world.tenant, str(uuid4()), TITLE, by=DAN)
    with pytest.raises(UnknownMapping):
        await mappings.get(world.database, world.tenant, str(uuid4()), 1)


class Answering:
    """A vendor's answers to what is asked of it."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)

    async def call(self, _operation: str, _values: Mapping[str, Any], **_options: Any) -> Reply:
        """Give the next answer."""
        return self.replies.pop(0)

    async def pages(self, _operation: str, _values: Mapping[str, Any], **_options: Any) -> AsyncIterator[Reply]:
        """Give the answers, one a page."""
        for reply in self.replies:
            yield reply


async def test_found_fields_are_kept_and_what_changed_is_told(world, connection):
    """The same fields again are the same version; others are a new one, with the rows that the change hits."""
    place = (world.database, world.tenant, connection)
    mapping = await mappings.Parsed().get(*place, (await mappings.save(*place, TITLE, by=DAN)).version)
    listed = [{"name": "text", "type": "string"}, {"name": "mark", "type": "string"}]
    now = [{"name": "text", "type": "int"}, {"name": "mark", "type": "string"}]
    vendor = Answering(*(Reply(kind="ok", status=200, body={"fields": fields}) for fields in (listed, listed, now)))

    assert await discovery.current(*place, "bill") is None
    found = [
        await discovery.keep(*place, await discovery.discover(vendor, manifests.north(), "bill"), mapping)
        for _ in range(3)
    ]
    cached = await discovery.current(*place, "bill")

    assert [(each.version, len(each.findings)) for each in found] == [(1, 0), (1, 0), (2, 1)]
    assert str(found[2].findings[0]) == "bill.text: was text, is integer; hits out bill text"
    assert found[2].findings[0].connection == connection
    assert cached is not None
    assert (cached.version, cached.schema, cached.is_fresh) == (2, found[2].schema, False)
    assert (await discovery.known(*place))["bill"] == found[2].schema


async def test_what_was_found_out_grows_old(world, connection):
    """Fields that were found out too long ago are asked for again, and are still what drift is held against."""
    place = (world.database, world.tenant, connection)
    mapping = await mappings.Parsed().get(*place, (await mappings.save(*place, TITLE, by=DAN)).version)
    await discovery.keep(*place, BILL, mapping)

    async with world.database.transaction(world.tenant) as session:
        await session.execute("UPDATE schemas SET seen_at = now() - interval '25 hours'")

    assert await discovery.current(*place, "bill") is None
    assert (await discovery.known(*place))["bill"] == BILL


async def test_a_vendor_that_does_not_answer_is_no_vendor_without_fields():
    """An answer that is none, or that lists nothing, is an error; nothing is kept for it."""
    north = manifests.north()

    with pytest.raises(NotDiscovered, match="describe_bill was answered with throttled: later"):
        await discovery.discover(Answering(Reply(kind="throttled", message="later")), north, "bill")
    with pytest.raises(NotDiscovered, match="stands no list of fields"):
        await discovery.discover(Answering(Reply(kind="ok", body={"other": []})), north, "bill")
    with pytest.raises(NotDiscovered, match="no field of bill was found"):
        await discovery.discover(Answering(Reply(kind="ok", body={"fields": []})), north, "bill")
    with pytest.raises(NotDiscovered, match=r"nothing says how the fields of cow are found out \(there are: bill\)"):
        await discovery.discover(Answering(), north, "cow")


async def test_fields_are_read_off_an_openapi_document():
    """The request that a target sends is looked up in the document; without one it is said, and nothing is asked."""
    text = manifests.TEXT.replace(
        'operation = "describe_bill"\nfields = "fields"', 'kind = "openapi"\ndescribes = "make_bill"'
    )
    north = manifest_file.parse(text)
    shape = {"type": "object", "required": ["mark"], "properties": {"mark": {"type": "string"}}}
    document = {"paths": {"/bills": {"post": {"requestBody": {"content": {"application/json": {"schema": shape}}}}}}}

    found = await discovery.discover(Answering(), north, "bill", document=document)

    assert found.fields == (Field(path="mark", type="text", required=True),)
    assert found.source == "openapi"
    with pytest.raises(NotDiscovered, match="no OpenAPI document at hand"):
        await discovery.discover(Answering(), north, "bill")
    with pytest.raises(NotDiscovered, match="the document has no operation POST /bills"):
        await discovery.discover(Answering(), north, "bill", document={})


async def record_shadow(world: World, connection: str, number: int, *, problem: str = "", version: int = 1) -> None:
    """Leave a delivery that was recorded and not sent."""
    made = seen("work_orders", job(number), op="create", set={"title": f"Job {number}"})
    await world.submit(world.office(made, idempotency=f"once {number}"))
    async with world.database.transaction(world.tenant) as session:
        await session.execute(
            """
            INSERT INTO deliveries (tenant_id, delivery_id, connection, object, key, collection, record_id, cause_seq,
              seen_seq, action, state, mode, idempotency_key, marker, fields, mapping_version, marked_at, error_class,
              error_message)
            VALUES ($1, $2, $3, 'bill', $4::text, 'work_orders', $4::uuid, 1, 1, 'upsert',
              CASE WHEN $6 = '' THEN 'planned' ELSE 'rejected' END, 'shadow', $5, '', '{}', $7, now(),
              CASE WHEN $6 = '' THEN '' ELSE 'config' END, $6)
            """,
            world.tenant, str(uuid4()), connection, job(number), str(uuid4()), problem, version,
        )  # fmt: skip


async def test_a_connection_goes_live_when_its_list_is_done(world, connection, around):
    """Without a mapping, recordings, or with a problem among them it stays; then it goes live and catches up."""
    place = (world.database, world.tenant, connection)
    with pytest.raises(NotReady) as bare:
        await shadow.promote(*place, least=2)
    await mappings.save(*place, TITLE, by=DAN)
    await mappings.publish(*place, 1, around, by=DAN)
    await record_shadow(world, connection, 1, problem="no value in the map", version=0)
    await record_shadow(world, connection, 2)
    with pytest.raises(NotReady) as few:
        await shadow.promote(*place, least=2)
    await record_shadow(world, connection, 3, problem="text is required")
    with pytest.raises(NotReady) as wrong:
        await shadow.promote(*place, least=2)
    for number in (4, 5):
        await record_shadow(world, connection, number)
    checks = await shadow.checks(*place, least=2)
    async with world.database.transaction(world.tenant) as session:
        await session.execute("DELETE FROM outbox")

    caught_up = await shadow.promote(*place, least=2)

    assert bare.value.problems == (
        "mapping: no version is published",
        "recorded: 0 of 2 deliveries were recorded under it",
    )
    assert few.value.problems == ("recorded: 1 of 2 deliveries were recorded under it",)
    assert wrong.value.problems == (f"problems: 1 of them could not have been sent: bill {job(3)}: text is required",)
    assert all(check.passed for check in checks)
    assert caught_up == 5
    assert (await connections.get(*place)).mode == "live"
    async with world.database.transaction(world.tenant) as session:
        assert await session.fetchval("SELECT count(*) FROM outbox WHERE lane = 'backfill'") == 5
    with pytest.raises(NotReady, match="mode: the connection is live"):
        await shadow.promote(*place, least=2)


async def test_two_who_let_it_go_live_do_it_once(world, connection, around):
    """Going live twice at the same time is going live once: the other is told that it is live."""
    place = (world.database, world.tenant, connection)
    await mappings.save(*place, TITLE, by=DAN)
    await mappings.publish(*place, 1, around, by=DAN)
    await record_shadow(world, connection, 1)

    came = await asyncio.gather(*(shadow.promote(*place, least=1) for _ in range(2)), return_exceptions=True)

    assert sorted(type(each).__name__ for each in came) == ["NotReady", "int"]


async def test_the_columns_hold_what_was_written(world, connection, around):
    """A sample comes back as it was captured, and trying a mapping on it makes of it what planning would."""
    await keep(world, connection, sample("s1", "boiler"))
    found = await mappings.samples(world.database, world.tenant, connection)
    text = TITLE.replace('target = "text"', 'target = "text", default = "none"')
    parsed = mapping_file.parse(text)

    trials = trial.tried(parsed, found, around.manifest, around.jsonnet)

    assert [each.made.fields for each in trials] == [{"text": "boiler", "mark": "s1"}]
    assert store.from_json(store.as_json(found[0].context)) == found[0].context


async def test_planning_keeps_samples_now_and_then(world, around):
    """What objects are planned of is kept, the first of each at once and further ones after a pause."""
    given = Trial(world.database, manifests.TEXT, TITLE)
    connection = await given.connect(world.tenant, "http://127.0.0.1:9")
    await connections.set_mode(world.database, world.tenant, connection.connection, "shadow")
    for number in range(3):
        made = seen("work_orders", job(number), op="create", set={"title": f"Job {number}"})
        await world.submit(world.office(made, idempotency=f"once {number}"))

    await given.worker().drain()
    await given.close()

    found = await mappings.samples(world.database, world.tenant, connection.connection)
    assert [(each.object, each.collection) for each in found] == [("bill", "work_orders")]
    trials = trial.tried(mapping_file.parse(TITLE), found, around.manifest, around.jsonnet)
    assert trials[0].made.fields["mark"] == found[0].key


def test_a_sample_is_due_once_in_a_while():
    """The first of each object is due, then none until the pause is over; what was forgotten is due again."""
    now = [0.0]
    sampling = Sampling(seconds=60, clock=lambda: now[0])

    due = [sampling.is_due("c", name) for name in ("bill", "bill", "customer")]
    now[0] = 61

    assert due == [True, False, True]
    assert sampling.is_due("c", "bill")
    assert not sampling.is_due("c", "bill")
