"""A push is read mutation by mutation: what cannot be read is answered by number."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from replication import wire
from replication.mutation import Mutation, digest
from replication.verdict import Malformed
from replication.versions import Dot

LIMITS = wire.Limits(mutations=5, fields=3, tx=2)
ID = "0190c5d4-7f2a-7000-8000-000000000001"


def good(n: int, **other: Any) -> dict[str, Any]:
    """A mutation that can be read."""
    return {"n": n, "op": "set", "collection": "work_orders", "id": ID, "base": 4, "set": {"title": "a"}} | other


def body(*mutations: Any, **head: Any) -> bytes:
    """A push as a device sends it."""
    return json.dumps({"epoch": "e", "schema": 1, "verdicts_seen": 0, "mutations": mutations} | head).encode()


def decode(*mutations: Any) -> tuple[Mutation | Malformed, ...]:
    """The mutations of a push, decoded."""
    return wire.decode_push(body(*mutations), LIMITS).mutations


def packed(*mutations: Any, **head: Any) -> bytes:
    """The same push in MessagePack."""
    return msgspec.msgpack.encode({"epoch": "e", "schema": 1, "verdicts_seen": 0, "mutations": mutations} | head)


def unpack(*mutations: Any) -> tuple[Mutation | Malformed, ...]:
    """The mutations of a push in MessagePack, decoded."""
    return wire.decode_push(packed(*mutations), LIMITS, "msgpack").mutations


def test_reads_all_that_the_protocol_names() -> None:
    """Each name of a mutation arrives with its type."""
    sent = {
        "n": 7,
        "tx": "t",
        "op": "create",
        "collection": "notes",
        "id": ID,
        "base": {"title": 3, "window": 5},
        "rev": 6,
        "set": {"title": "a", "window": {"window_start": None}},
        "do": {"notes": {"append": "b"}},
        "was": {"notes": ""},
        "context": {"title": {"4": 9}},
        "closes": {"title": [[4, 9]]},
        "by": ID,
        "at": 1_700_000_000_000,
    }

    (mutation,) = decode(sent)

    assert isinstance(mutation, Mutation)
    assert mutation.context == {"title": {4: 9}}
    assert mutation.closes == {"title": [Dot(4, 9)]}
    assert mutation.base_of("window") == 5
    assert msgspec.json.decode(msgspec.json.encode(mutation)) == sent


def test_what_a_newer_device_adds_is_passed_over() -> None:
    """An unknown key is no mistake, in a mutation or beside them."""
    push = wire.decode_push(body(good(1, colour="red"), shiny=True), LIMITS)

    assert isinstance(push.mutations[0], Mutation)


@pytest.mark.parametrize(
    "bad",
    [
        {"n": 2},
        good(2, base="four"),
        good(2, base=None),
        good(2, base=-1),
        good(2, rev=2**63),
        good(2, at=2**70),
        good(2, set=None),
        good(2, set=[1]),
        good(2, set={"a": 1, "b": 2, "c": 3, "d": 4}),
        good(2, set={"na\0me": 1}),
        good(2, set={"title": "half \ud83d a pair"}),
        good(2, set={"title": json.loads("1e999")}),
        good(2, set={"title": json.loads("[" * 70 + "]" * 70)}),
        good(2, id="a\0b"),
        good(2, tx="t" * 201),
        good(2, do={"notes": "append"}),
        good(2, context={"title": {"x": 1}}),
        good(2, context={"title": {"1": 2**64}}),
        good(2, closes={"title": [[1, 2, 3]]}),
        good(2, collection=7),
    ],
)
def test_one_that_cannot_be_read_spoils_no_other(bad: dict[str, Any]) -> None:
    """Its neighbours are as if it were not there, and it is known by its number."""
    before, malformed, after = decode(good(1), bad, good(3))

    assert [before, after] == list(decode(good(1), good(3)))
    assert isinstance(malformed, Malformed)
    assert malformed.n == 2
    assert malformed.message
    assert msgspec.json.encode(malformed.message)


def test_a_malformed_one_keeps_what_was_sent() -> None:
    """The payload is kept whole, with where it was meant for, so that the office can see it."""
    (malformed,) = decode(good(1, rev="x"))

    assert isinstance(malformed, Malformed)
    assert (malformed.collection, malformed.id) == ("work_orders", ID)
    assert json.loads(malformed.payload) == good(1, rev="x")


def test_a_malformed_one_is_known_again() -> None:
    """A repeat in another order of keys is the same mutation; other content is another."""
    one, other = good(1, rev="x"), good(1, rev="x", set={"title": "b"})
    (first,), (again,), (third,) = decode(one), decode(dict(reversed(one.items()))), decode(other)

    assert isinstance(first, Malformed)
    assert isinstance(again, Malformed)
    assert isinstance(third, Malformed)
    assert first.digest() == again.digest()
    assert first.digest() != third.digest()


@pytest.mark.parametrize("n", [None, "1", 1.5, True, 0, -4, 2**63])
def test_a_mutation_without_a_number_spoils_the_push(n: object) -> None:
    """It cannot be answered, so nothing is judged and the device is told at once."""
    with pytest.raises(wire.BadRequest, match="number"):
        decode(good(1), good(2) | {"n": n})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"mutations": 3}',
        b'{"mutations": [7]}',
        b"[" * 100_000,
        b"\xff",
        b'{"a":NaN}',
    ],
)
def test_a_body_that_is_no_push_is_refused(raw: bytes) -> None:
    """Whatever comes over the wire gives one kind of refusal and no crash."""
    with pytest.raises(wire.BadRequest):
        wire.decode_push(raw, LIMITS)


def test_a_number_that_fills_pages_is_not_computed() -> None:
    """Reading a very long number is refused by number too, not by exhausting the machine."""
    raw = body(good(1), good(2, set={"title": 0})).replace(b'"title": 0', b'"title": ' + b"9" * 100_000)

    first, second = wire.decode_push(raw, LIMITS).mutations

    assert isinstance(first, Mutation)
    assert isinstance(second, Malformed)


def test_a_tx_beyond_the_limit_is_refused_whole() -> None:
    """No part of a tx that is too long is carried out; what stands around it is."""
    mutations = decode(good(1), good(2, tx="t"), good(3, tx="t"), good(4, tx="t"), good(5))

    assert [isinstance(mutation, Malformed) for mutation in mutations] == [False, True, True, True, False]


def test_more_than_the_limit_is_cut_where_no_tx_is() -> None:
    """The hub settles a prefix and never tears a tx apart."""
    alone = decode(*(good(n) for n in range(1, 10)))
    bound = decode(*(good(n, tx="t" if n in (5, 6) else None) for n in range(1, 10)))

    assert len(wire.within(alone, 5)) == 5
    assert len(wire.within(bound, 5)) == 6
    assert wire.within(alone, 50) == alone


def test_a_push_that_names_no_base_is_recognised() -> None:
    """Only such a push means the same in any epoch."""
    bare = {"n": 1, "op": "create", "collection": "notes", "id": ID}

    assert wire.decode_push(body(bare), LIMITS).names_no_base
    assert not wire.decode_push(body(bare, good(2)), LIMITS).names_no_base
    assert not wire.decode_push(body(bare | {"rev": 3}), LIMITS).names_no_base


def test_the_hash_looks_at_what_was_asked_for() -> None:
    """A re-send with another base is the same mutation; with another value it is not."""
    (one,), (rebased,), (other) = (
        decode(good(1)),
        decode(good(1, base=9, context={"title": {"1": 1}})),
        decode(good(1, set={"title": "b"})),
    )

    assert isinstance(one, Mutation)
    assert isinstance(rebased, Mutation)
    assert isinstance(other[0], Mutation)
    assert digest(one) == digest(rebased) != digest(other[0])


def test_answers_carry_stored_bytes_unchanged() -> None:
    """A stored verdict and a stored record travel as the bytes they are kept as."""
    kept = b'{"n":1,"verdict":"applied","schema":1,"collection":"notes","id":"x","rev":9}'
    answer = wire.PushAnswer(epoch="e", applied=1, verdicts=(msgspec.Raw(kept),), now=0, limits=LIMITS, durable=0)
    change = wire.Change(op="put", collection="notes", id="x", rev=9, fields=msgspec.Raw(b'{"title":"a"}'))

    assert kept in msgspec.json.encode(answer)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=wire.PushAnswer).verdicts[0].rev == 9
    assert msgspec.json.decode(msgspec.json.encode(change), type=wire.Change).fields == {"title": "a"}


NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
NESTED: Any = [1]
for _ in range(wire.forms.VALUE_DEPTH_MAX):
    NESTED = [NESTED]


def deep(levels: int) -> msgspec.Raw:
    """A list in a list, so many times: deeper than anything that reads by calling itself."""
    return msgspec.Raw(b"\x91" * levels + b"\xc0")


def test_both_forms_are_read_alike() -> None:
    """What a mutation says does not depend on the form that carried it, and neither does its hash."""
    sent = good(7, tx="t", set={"title": "ä", "x": [1.5, None, True, {"y": 2**40}]}, closes={"title": [[4, 9]]})
    vectors = ({"title": {"4": 9}}, {"title": {4: 9}})

    (plain,) = decode(sent | {"context": vectors[0]})
    read = [unpack(sent | {"context": context})[0] for context in vectors]

    assert read == [plain, plain]
    assert isinstance(plain, Mutation)
    assert digest(plain) == digest(Mutation(**{**msgspec.structs.asdict(plain), "context": {}}))


def test_a_good_neighbour_keeps_its_context() -> None:
    """What had been seen is read the same beside a mutation that cannot be read."""
    sent = good(1, context={"title": {"4": 9}})

    assert decode(sent, {"n": 2})[0] == decode(sent)[0] == unpack(sent, {"n": 2})[0]


@pytest.mark.parametrize(
    "bad",
    [
        good(2, set={"title": b"bytes"}),
        good(2, set={"title": NOW}),
        good(2, set={"title": msgspec.msgpack.Ext(7, b"abc")}),
        good(2, set={"title": msgspec.Raw(b"\xd7\xff" + b"\xff" * 8)}),
        good(2, set={"title": msgspec.Raw(b"\xa2\xff\xfe")}),
        good(2, set={"title": msgspec.Raw(b"\x81\x80\x01")}),
        good(2, set={"title": float("nan")}),
        good(2, set={"title": float("inf")}),
        good(2, set={"title": {1: 2}}),
        good(2, set={"title": {None: 2}}),
        good(2, set={"title": {(1, 2): 2}}),
        good(2, set={"title": NESTED}),
        good(2, set={"title": deep(900)}),
        good(2, set={"title": deep(50_000)}),
        good(2, set={1: 2}),
        good(2, was={"title": NOW}),
        good(2, context={"title": {True: 2}}),
        good(2, context={"title": {"x": 2}}),
        good(2, context={"title": {1: 2**64 - 1}}),
        good(2, context={"title": deep(50_000)}),
        good(2, base=b"4"),
        good(2, rev=2**63),
        good(2, at=NOW),
        good(2, id=b"x"),
        good(2, op=None),
        good(2) | {3: 4},
    ],
)
def test_one_that_cannot_be_read_in_messagepack_spoils_no_other(bad: dict[Any, Any]) -> None:
    """MessagePack can say more than JSON; whatever it is, the mutation is answered by its number, alone."""
    before, malformed, after = unpack(good(1), bad, good(3))

    assert [before, after] == list(decode(good(1), good(3)))
    assert isinstance(malformed, Malformed)
    assert malformed.n == 2
    assert malformed.message
    assert json.loads(malformed.payload)["n"] == 2
    assert malformed.digest() == unpack(bad, good(3))[0].digest()  # type: ignore[union-attr]  # it is the same one


def test_what_json_cannot_say_is_kept_as_text() -> None:
    """The office sees what was sent, and two that differ are known as two."""
    one, other = (
        unpack(good(1, set={"a": NOW, "b": byte, "c": msgspec.msgpack.Ext(7, b"x")}))[0] for byte in (b"a", b"b")
    )

    assert isinstance(one, Malformed)
    assert isinstance(other, Malformed)
    assert json.loads(one.payload)["set"] == {
        "a": "2026-03-01 08:00:00+00:00",
        "b": "base64:YQ==",
        "c": "extension 7 base64:eA==",
    }
    assert one.digest() != other.digest()


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    """In both forms, in a push that is sound and in one that is not."""
    twice = body(good(1)).replace(b'"title": "a"', b'"title": "a", "title": "b"')
    packed_twice = packed(good(1)).replace(b"\x81\xa5title\xa1a", b"\x82\xa5title\xa1a\xa5title\xa1b")
    spoiled = twice.replace(b'"mutations": [', b'"mutations": [{"n": 9}, ')

    (wanted,) = decode(good(1, set={"title": "b"}))

    assert wire.decode_push(twice, LIMITS).mutations == (wanted,)
    assert wire.decode_push(packed_twice, LIMITS, "msgpack").mutations == (wanted,)
    assert wire.decode_push(spoiled, LIMITS).mutations[1] == wanted


@pytest.mark.parametrize("n", [None, "1", 1.5, True, 0, -4, 2**63, b"x", NOW, [1]])
def test_a_mutation_without_a_number_spoils_the_push_in_messagepack_too(n: object) -> None:
    """It cannot be answered, so nothing is judged and the device is told at once."""
    with pytest.raises(wire.BadRequest, match="number"):
        unpack(good(1), good(2) | {"n": n})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0",
        b"\x80",
        b"\x90",
        b"\xc1",
        b"\x81",
        packed(good(1))[:-1],
        packed(good(1)) + b"\xc0",
        packed(7),
        packed(epoch=5),
        b"\x91" * 100_000,
        b"\x81\xa1a" * 100_000,
        b"\xdd\xff\xff\xff\xff" * 100_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x81\xa9mutations\xdd\xff\xff\xff\xff",
        b"\x81\xa9mutations\x91" + b"\x91" * 50_000 + b"\xc1",
        body(good(1)),
    ],
    ids=range(18),
)
def test_bytes_that_are_no_push_in_messagepack_are_refused(raw: bytes) -> None:
    """Whatever comes over the wire gives one kind of refusal, whatever length it claims."""
    with pytest.raises(wire.BadRequest):
        wire.decode_push(raw, LIMITS, "msgpack")


def test_a_tx_beyond_the_limit_is_refused_whole_in_messagepack() -> None:
    """The bounds are those of JSON."""
    assert unpack(good(1, tx="t"), good(2, tx="t"), good(3, tx="t")) == decode(
        good(1, tx="t"), good(2, tx="t"), good(3, tx="t")
    )
