"""Laws of the wire: whatever is sent, each mutation is read as if it came alone."""

from __future__ import annotations

import json
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication import cursor, forms, packing, wire
from replication.mutation import Mutation, digest
from replication.verdict import Malformed

LIMITS = wire.Limits(mutations=100, fields=8, tx=100)
KEYS = ("op", "collection", "id", "tx", "base", "rev", "set", "do", "was", "context", "closes", "by", "at", "other")

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def sound_with(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Mutations that can be read, which write such values."""
    vectors = st.dictionaries(st.integers(1, 9).map(str), st.integers(0, 9), max_size=2)
    return st.fixed_dictionaries(
        {"op": st.sampled_from(["create", "set"]), "collection": st.just("notes"), "id": st.just("x")},
        optional={
            "set": st.dictionaries(st.sampled_from("abc"), values, max_size=3),
            "base": st.integers(0, 99),
            "context": st.dictionaries(st.sampled_from("abc"), vectors),
        },
    )


sound = sound_with(anything)
wild = st.dictionaries(st.sampled_from(KEYS), anything, max_size=8)


both = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
"""What can be said in both forms; JSON as Python writes it knows infinity, too."""

odd = st.recursive(
    both
    | st.binary(max_size=5)
    | st.floats()
    | st.builds(msgspec.msgpack.Ext, st.integers(0, 127), st.binary(max_size=4))
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(-9, 9) | st.binary(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
"""What can be said in MessagePack."""


def unpack(*mutations: object) -> tuple[Mutation | Malformed, ...]:
    """The mutations as the hub reads them out of a push in MessagePack."""
    return wire.decode_push(msgspec.msgpack.encode({"mutations": mutations}), LIMITS, "msgpack").mutations


def read(*mutations: object) -> tuple[Mutation | Malformed, ...]:
    """The mutations as the hub reads them out of a push."""
    return wire.decode_push(json.dumps({"mutations": mutations}).encode(), LIMITS).mutations


@given(st.lists(sound | wild, min_size=1, max_size=5))
def test_each_mutation_is_read_as_if_alone(parts: list[dict[str, object]]) -> None:
    """What stands beside a mutation never changes how it is read, and every number is answered."""
    numbered = [{**each, "n": n} for n, each in enumerate(parts, 1)]

    assert read(*numbered) == tuple(read(each)[0] for each in numbered)
    assert [mutation.n for mutation in read(*numbered)] == list(range(1, len(parts) + 1))


@given(sound | wild)
def test_whatever_is_read_can_be_hashed_and_kept(parts: dict[str, object]) -> None:
    """No mutation that passes the wire can fail later because it cannot be written down."""
    (mutation,) = read({**parts, "n": 1})

    if isinstance(mutation, Malformed):
        assert len(mutation.digest()) == 32
        assert json.loads(mutation.payload) == {**parts, "n": 1}
        assert msgspec.json.encode((mutation.message, mutation.collection, mutation.id))
    else:
        again = msgspec.json.decode(msgspec.json.encode(mutation), type=Mutation)
        assert digest(again) == digest(mutation)


@given(st.lists(sound_with(both) | st.dictionaries(st.sampled_from(KEYS), both, max_size=8), min_size=1, max_size=4))
def test_both_forms_are_read_alike(parts: list[dict[str, object]]) -> None:
    """Verdict, hash and what is kept cannot depend on the form that carried a mutation."""
    numbered = [{**each, "n": n} for n, each in enumerate(parts, 1)]

    plain, packed = read(*numbered), unpack(*numbered)

    assert [each.n for each in packed] == [each.n for each in plain]
    for one, other in zip(plain, packed, strict=True):
        assert type(one) is type(other)
        assert hashed(one) == hashed(other)
        assert one == other or isinstance(one, Malformed)


@given(sound_with(both) | st.dictionaries(st.sampled_from(KEYS), both, max_size=8), st.booleans())
def test_whole_numbers_are_known_however_they_are_written(parts: dict[str, object], as_floats: bool) -> None:
    """A language with one type of number cannot tell 3.0 from 3: a repeat from it is a repeat, in either form."""
    (first,) = read({**parts, "n": 1})
    changed = {name: rewritten(parts[name], as_floats) if name in WRITTEN else parts[name] for name in parts}

    for again in (*read({**changed, "n": 1}), *unpack({**changed, "n": 1})):
        assert type(again) is type(first)
        assert hashed(again) == hashed(first)


WRITTEN = ("set", "do", "was")


def rewritten(value: object, as_floats: bool) -> object:
    """The value with its whole numbers as floats, or as integers, as far as both can say them."""
    if isinstance(value, dict):
        return {name: rewritten(inner, as_floats) for name, inner in value.items()}
    if isinstance(value, list):
        return [rewritten(inner, as_floats) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**53 or value != int(value):
        return value
    if not as_floats:
        return int(value)
    return float(value) if value else -0.0


def hashed(mutation: Mutation | Malformed) -> bytes:
    """What a mutation is known by."""
    return mutation.digest() if isinstance(mutation, Malformed) else digest(mutation)


@given(st.lists(sound_with(odd) | st.dictionaries(st.sampled_from(KEYS), odd, max_size=8), min_size=1, max_size=4))
def test_what_only_messagepack_can_say_is_read_as_if_alone(parts: list[dict[str, object]]) -> None:
    """Whatever it is, it is answered by its number, can be kept and hashed, and spoils no other."""
    numbered = [{**each, "n": n} for n, each in enumerate(parts, 1)]

    mutations = unpack(*numbered)

    assert [mutation.n for mutation in mutations] == list(range(1, len(parts) + 1))
    for mutation, alone in zip(mutations, numbered, strict=True):
        (again,) = unpack(alone)
        assert type(again) is type(mutation)
        assert hashed(mutation) == hashed(again)
        if isinstance(mutation, Malformed):
            assert json.loads(mutation.payload)["n"] == mutation.n


@given(st.binary(max_size=60), st.sampled_from(["json", "msgpack"]))
def test_any_bytes_are_a_push_or_a_bad_request(raw: bytes, form: forms.Form) -> None:
    """There is no third way out of the decoder."""
    try:
        push = wire.decode_push(raw, LIMITS, form)
    except wire.BadRequest:
        return
    assert isinstance(push, wire.PushRequest)


@given(st.lists(sound_with(both), min_size=1, max_size=3), st.data(), st.sampled_from(["json", "msgpack"]))
def test_a_push_with_broken_bytes_is_a_push_or_a_bad_request(
    parts: list[dict[str, object]], data: st.DataObject, form: forms.Form
) -> None:
    """Nor for bytes that were a push until some of them were changed, added or lost."""
    sent = {"mutations": [{**each, "n": n} for n, each in enumerate(parts, 1)]}
    raw = bytearray(json.dumps(sent).encode() if form == "json" else msgspec.msgpack.encode(sent))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw)))
        raw[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))

    test_any_bytes_are_a_push_or_a_bad_request.hypothesis.inner_test(bytes(raw), form)


@given(both)
def test_an_answer_carried_over_comes_back_as_it_was(value: object) -> None:
    """What is told in JSON is told in MessagePack, and can be carried back."""
    told = msgspec.json.encode(value)

    assert forms.to_json(forms.to_msgpack(told)) == told


@given(st.binary(max_size=60), st.integers(0, 3))
def test_any_bytes_are_json_or_not_said(raw: bytes, cut: int) -> None:
    """There is no third way out of carrying a body over, nor of cutting it."""
    for each in (raw, forms.to_msgpack(b'[{"a":[1,"x"]}]')[cut:] + raw):
        for carry in (forms.to_json, lambda body: forms.shallow(body, "msgpack")):
            try:
                assert isinstance(carry(each), bytes)
            except forms.NotSaid:
                continue


@given(st.binary(max_size=60), st.sampled_from(packing.CODINGS), st.booleans())
def test_any_bytes_are_expanded_or_refused(raw: bytes, coding: packing.Coding, within: bool) -> None:
    """Nor out of expanding, for bytes that begin right and end anyhow."""
    sent = packing.compress(raw, coding)[: len(raw)] + raw if within else raw
    try:
        assert len(packing.expand(sent, coding, 1_000)) <= 1_000
    except (packing.BadPacking, packing.TooLarge):
        return


positions = st.dictionaries(st.text(max_size=12), st.integers(0, 2**63 - 1), max_size=8)


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.text(max_size=20), positions)
def test_a_cursor_survives_its_seal(tenant: int, rid: int, epoch: str, parts: dict[str, int]) -> None:
    """Every cursor comes back equal from the text that the device keeps, and from no other key."""
    whole = cursor.Cursor(tenant=tenant, rid=rid, epoch=epoch, person="ana", parts=parts)
    text = cursor.seal(whole, [b"k" * 32])

    assert cursor.unseal(text, [b"k" * 32]) == whole
    with pytest.raises(cursor.BadCursor):
        cursor.unseal(text, [b"q" * 32])
