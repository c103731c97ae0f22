"""Deliveries: each thing that a system has to be told, in which state it is, and all its attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath

from syncserver.commands.upstream.letters import LIMIT, LIMIT_MAX, STATES, Delivery, Detail, Sought
from syncserver.http import body, parts, query
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking


class DeliveryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery. `due_at` is when it is looked at next by itself; null: never, or only for a person."""

    id: str
    connection: str
    object: str
    key: str
    collection: str
    record_id: str
    cause_seq: int
    action: str
    lane: str
    mode: str
    state: str
    idempotency_key: str
    marker: str
    mapping_version: int
    late_object: str | None
    late_key: str | None
    sends: int
    reads: int
    first_sent_at: datetime | None
    last_sent_at: datetime | None
    due_at: datetime | None
    remote_id: str | None
    remote_version: str | None
    error_class: str
    error_code: str
    error_message: str
    marked_at: datetime
    made_at: datetime
    ended_at: datetime | None
    superseded_by: str | None


class DeliveryPage(msgspec.Struct, frozen=True):
    """A page of deliveries, newest first."""

    items: list[DeliveryItem]
    cursor: str | None


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a delivery, redacted. `outcome` is what kind of answer it got, `sent` where none was noted."""

    n: int
    at: datetime
    operation: str
    request: str
    status: int
    reply: str
    outcome: str
    took_ms: int


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the fields that differs."""

    path: str
    change: str
    before: Any
    after: Any


class DeliveryIntervention(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did about a delivery; an edit says what it changed."""

    n: int
    at: datetime
    person: str
    action: str
    reason: str
    changes: list[FieldChange]


class DeliveryDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with the fields that are sent, all attempts, and what people did about it.

    For a dead letter: what usually helps, and what is wrong with its fields as they are.
    """

    delivery: DeliveryItem
    fields: dict[str, Any]
    attempts: list[DeliveryAttempt]
    interventions: list[DeliveryIntervention]
    is_dead: bool
    suggestion: str
    problems: list[str]


class StateCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries of a connection are in a state."""

    connection: str
    state: str
    deliveries: int


class StateCounts(msgspec.Struct, frozen=True):
    """How many deliveries there are by connection and state, without those that were overtaken."""

    items: list[StateCount]
    cursor: str | None = None


NAMES: Final = {
    "limit": "how many at most",
    "cursor": "the cursor of the answer before",
    "connection": "only those of a connection",
    "state": f"only those in a state: {', '.join(STATES)}",
    "object": "only those of an object of the system",
    "key": "only those of one object, by our key",
    "collection": "only those caused by records of a collection",
    "record_id": "only those caused by a record",
    "error_class": "only those with this kind of trouble, like data",
    "error_code": "only those with this code of the system",
    "mode": "shadow or live",
    "since": "only those that ended, or were last sent, from this instant on",
    "until": "only those that ended, or were last sent, before this instant",
}
LIST: Final = Operation(
    summary="List deliveries, newest first.",
    right="inspect",
    gives=DeliveryPage,
    query=NAMES,
    problems=("bad_filter",),
)
COUNTS: Final = Operation(
    summary="Count deliveries by connection and state.", right="inspect", gives=StateCounts, problems=()
)
ONE: Final = Operation(
    summary="See a delivery with all its attempts.",
    right="inspect",
    gives=DeliveryDetail,
    problems=("unknown_delivery", "keys_missing"),
)


@get("/v1/deliveries", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List deliveries."""
    return await page(request, dead=False)


@get("/v1/deliveries/counts", opt=opt(COUNTS))
async def counts(request: Asking) -> Response[bytes]:
    """Count deliveries."""
    found = await parts.found(request).letters.counts(request.auth)
    items = [StateCount(connection=place[0], state=place[1], deliveries=number) for place, number in found.items()]
    items.sort(key=lambda each: (each.connection, each.state))
    return body.answer(request, msgspec.json.encode(StateCounts(items)))


@get("/v1/deliveries/{delivery_id:str}", opt=opt(ONE))
async def one(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Show a delivery."""
    return body.answer(request, await told(request, delivery_id))


async def page(request: Asking, *, dead: bool) -> Response[bytes]:
    """Return the page of deliveries, or dead letters, that is asked for."""
    asked = query.known(request, NAMES)
    limit = query.number(asked.get("limit"), LIMIT, LIMIT_MAX - 1)
    found = await parts.found(request).letters.listed(request.auth, sought(asked), limit=limit + 1, dead=dead)
    cursor = found[limit - 1].delivery_id if len(found) > limit else None
    return body.answer(request, msgspec.json.encode(DeliveryPage([_item(each) for each in found[:limit]], cursor)))


def sought(asked: dict[str, str]) -> Sought:
    """Return what a query asks for."""
    texts = {name: text for name, text in asked.items() if name not in ("limit", "cursor", "since", "until")}
    return Sought(
        before=asked.get("cursor", ""),
        since=query.instant("since", asked.get("since")),
        until=query.instant("until", asked.get("until")),
        **texts,
    )


async def told(request: Asking, delivery_id: str) -> bytes:
    """Return a delivery with all that is known of it."""
    return msgspec.json.encode(_detail(await parts.found(request).letters.one(request.auth, delivery_id)))


def _item(each: Delivery) -> DeliveryItem:
    names = [name for name in DeliveryItem.__struct_fields__ if name != "id"]
    return DeliveryItem(id=each.delivery_id, **{name: getattr(each, name) for name in names})


def _detail(found: Detail) -> DeliveryDetail:
    return DeliveryDetail(
        delivery=_item(found.delivery),
        fields=found.delivery.fields,
        attempts=[DeliveryAttempt(**msgspec.structs.asdict(each)) for each in found.attempts],
        interventions=[
            DeliveryIntervention(
                **{
                    **msgspec.structs.asdict(each),
                    "changes": [FieldChange(**msgspec.structs.asdict(change)) for change in each.changes],
                }
            )
            for each in found.interventions
        ],
        is_dead=found.is_dead,
        suggestion=found.suggestion,
        problems=list(found.problems),
    )


ROUTER: Final = Router("/", route_handlers=[listed, counts, one])
