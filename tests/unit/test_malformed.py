"""What an app's developer is told of a mutation that cannot be read: which, what part of it, the limit, what to do."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from replication import wire
from replication.forms import VALUE_DEPTH_MAX
from replication.malformed import COUNTER_MAX, NAME_CHARACTERS_MAX
from replication.mutation import Mutation
from replication.verdict import Malformed

JOB = "00000000-0000-4000-8000-000000000001"
SECRET = "Mrs Smith, 5 Mill Lane"
LIMITS = wire.Limits(fields=3, tx=2)
DEEP: Any = 1
for _ in range(VALUE_DEPTH_MAX + 1):
    DEEP = [DEEP]

# What is sent instead of, or beside, the parts of a good mutation | what is said of it.
SAID: list[tuple[dict[str, Any], str]] = [
    ({"set": dict.fromkeys("abcd", SECRET)}, "set, do: 4 fields, and at most 3 are taken; write the rest in another"),
    ({"collection": "c" * 201}, f"collection: a name has 201 characters, and at most {NAME_CHARACTERS_MAX} are taken"),
    ({"tx": "t\n1"}, "tx: t\\n1... has characters that cannot be printed; leave them out"),
    ({"do": {"a\0b": {"inc": 1}}}, "do: a\\x00b... has characters that cannot be printed; leave them out"),
    ({"rev": -1}, "rev: a number is negative or does not fit into 64 bits; send those that the hub gave"),
    ({"base": {"title": 2**63}}, "base: a number is negative or does not fit into 64 bits"),
    ({"closes": {"title": [[1, -1]]}}, "closes: a number is negative or does not fit into 64 bits"),
    ({"context": {"title": {"1": 2**63}}}, "context: a number is negative or does not fit into 64 bits"),
    ({"at": COUNTER_MAX + 1}, "at: it does not fit into 64 bits; send milliseconds since 1970"),
    ({"op": None}, "op: expected `str`, got `null`; send it as the protocol's table of a mutation says"),
    ({"set": [SECRET]}, "set: expected `object`, got `array`; send it as"),
    ({"base": SECRET}, "base: expected `int | object`, got `str`; send it as"),
    ({"context": {"title": SECRET}}, "context[...]: expected `object`, got `str`; send it as"),
    ({"set": {"title": DEEP}}, f"set.title: a value is nested deeper than {VALUE_DEPTH_MAX}; no field holds one"),
]
# The same for what JSON can only say in a way of its own | and MessagePack in another.
ONLY_JSON: list[tuple[str, str]] = [
    ('"set": {"title": NaN}', "set.title: a number is infinite or none at all; send one that JSON can say, or null"),
    ('"was": {"title": [1e999]}', "was.title: a number is infinite or none at all"),
    ('"set": {"title": "\\ud800"}', "set.title: half of a character that takes two, or no text at all"),
]
ONLY_MSGPACK: list[tuple[dict[Any, Any], str]] = [
    ({"set": {"title": float("nan")}}, "set.title: a number is infinite or none at all"),
    ({"set": {"title": SECRET.encode()}}, "set.title: a value is binary; send only what JSON can say"),
    ({"was": {"title": msgspec.msgpack.Ext(5, SECRET.encode())}}, "was.title: a value is the extension 5; send only"),
    ({"set": {5: SECRET}}, "set: a map has a key that is no text; send the names of fields as texts"),
    ({"do": {"title": {5: SECRET}}}, "do.title: a map has a key that is no text"),
    ({5: SECRET}, "a key is no text; a mutation has n, op, collection"),
    ({SECRET.encode(): 1}, "a key is no text; a mutation has n, op, collection"),
]


def good(n: int) -> dict[Any, Any]:
    """Return a mutation that nothing is wrong with."""
    return {"n": n, "op": "set", "collection": "jobs", "id": JOB, "set": {"title": SECRET}}


def said_of(body: bytes, form: Any) -> str:
    """Return what is said of the second of three mutations; the first and the third are read."""
    read = wire.decode_push(body, LIMITS, form).mutations
    assert [type(each) for each in read] == [Mutation, Malformed, Mutation]
    assert isinstance(read[1], Malformed)
    json.loads(read[1].payload, parse_constant=pytest.fail)
    return read[1].message


def packed(bad: dict[Any, Any]) -> bytes:
    """Return a push as MessagePack with this between two good mutations."""
    return msgspec.msgpack.encode({"epoch": "e", "mutations": [good(1), {**good(2), **bad}, good(3)]})


@pytest.mark.parametrize(("bad", "said"), SAID)
@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_the_message_names_mutation_part_limit_and_remedy(form: str, bad: dict[str, Any], said: str) -> None:
    """In either form, and what the person wrote is not repeated in it."""
    body = json.dumps({"epoch": "e", "mutations": [good(1), {**good(2), **bad}, good(3)]}).encode()
    message = said_of(body, form) if form == "json" else said_of(packed(bad), form)

    assert message.startswith(f"mutation 2: {said}")
    assert SECRET not in message


@pytest.mark.parametrize(("part", "said"), ONLY_JSON)
def test_what_json_cannot_say_is_named_by_its_field(part: str, said: str) -> None:
    """Some parsers read more than there is in JSON; the field is told in which it stands."""
    bad = json.dumps(good(2))[:-1] + ", " + part + "}"
    body = f'{{"epoch": "e", "mutations": [{json.dumps(good(1))}, {bad}, {json.dumps(good(3))}]}}'.encode()

    assert said_of(body, "json").startswith(f"mutation 2: {said}")


@pytest.mark.parametrize(("bad", "said"), ONLY_MSGPACK)
def test_what_only_messagepack_can_say_is_named_by_its_field(bad: dict[Any, Any], said: str) -> None:
    """Keys that are no text, bytes, extensions and numbers that are none spoil their own mutation alone."""
    message = said_of(packed(bad), "msgpack")

    assert message.startswith(f"mutation 2: {said}")
    assert SECRET not in message
    assert repr(SECRET.encode()) not in message


def test_a_missing_part_is_named() -> None:
    """Whoever forgot it reads which one it was."""
    bad = good(2)
    del bad["collection"]
    body = json.dumps({"epoch": "e", "mutations": [good(1), bad, good(3)]}).encode()

    assert said_of(body, "json") == "mutation 2: collection: it is missing; send it with each mutation"


def test_a_tx_that_is_too_long_says_how_long_it_is() -> None:
    """Each of its mutations says it, and what is to be done."""
    body = json.dumps({"mutations": [{**good(n), "tx": SECRET} for n in (1, 2, 3)]}).encode()

    for read in wire.decode_push(body, LIMITS).mutations:
        assert isinstance(read, Malformed)
        assert read.message == f"mutation {read.n}: tx: it has 3 mutations, and at most 2 are taken; make smaller ones"


def test_a_mutation_without_a_number_is_named_by_its_place() -> None:
    """Nothing else can name it, and nothing of the push is judged."""
    with pytest.raises(wire.BadRequest, match="mutation 2 of the push has no number n; send one"):
        wire.decode_push(json.dumps({"mutations": [good(1), {"op": "set"}]}).encode(), LIMITS)


UNREADABLE_KEYS = {
    "a map": msgspec.msgpack.encode({"a": 1}),
    "a list with a map": msgspec.msgpack.encode([{"a": 1}]),
    "an extension": msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"abc")),
    "a time that is none": msgspec.msgpack.encode(msgspec.msgpack.Ext(-1, b"\xff" * 12)),
    "no number": b"\xcb\x7f\xf8\0\0\0\0\0\0",
    "lists in lists": b"\x91" * 100 + b"\x01",
    "nothing": b"\xc0",
}


@pytest.mark.parametrize("key", UNREADABLE_KEYS.values(), ids=UNREADABLE_KEYS.keys())
@pytest.mark.parametrize("part", ["the mutation", "set", "do", "was", "base", "context", "closes"])
def test_a_key_that_nothing_can_look_up_spoils_one_mutation(part: str, key: bytes) -> None:
    """Whatever MessagePack takes as a key, and wherever it stands: the neighbours are read."""
    pairs = msgspec.msgpack.encode(good(2))[1:]
    if part == "the mutation":
        bad = b"\x86" + pairs + key + b"\x01"
    else:
        bad = b"\x86" + pairs + msgspec.msgpack.encode(part) + b"\x81" + key + b"\x01"
    around = [msgspec.msgpack.encode(good(n)) for n in (1, 3)]
    body = b"\x81" + msgspec.msgpack.encode("mutations") + b"\x93" + around[0] + bad + around[1]

    assert said_of(body, "msgpack").startswith("mutation 2: ")


def twice_in_json(after: dict[Any, Any]) -> bytes:
    """Return a push whose first mutation has its op, its set and a field of it twice."""
    twice = json.dumps(good(1))[:-1] + ', "op": "delete", "set": {"title": "a", "title": "b"}}'
    return f'{{"mutations": [{twice}, {json.dumps(after)}]}}'.encode()


def twice_packed(after: dict[Any, Any]) -> bytes:
    """Return the same as MessagePack."""
    encode = msgspec.msgpack.encode
    values = b"\x82" + encode("title") + encode("a") + encode("title") + encode("b")
    twice = b"\x87" + encode(good(1))[1:] + encode("op") + encode("delete") + encode("set") + values
    return b"\x81" + encode("mutations") + b"\x92" + twice + encode(after)


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("alone", [True, False])
def test_of_a_key_that_stands_twice_the_last_counts(form: Any, alone: bool) -> None:
    """In both forms, and whether its push was read at once or one mutation at a time."""
    fine = good(2) if alone else {**good(2), "rev": -1}
    body = twice_in_json(fine) if form == "json" else twice_packed(fine)

    read = wire.decode_push(body, LIMITS, form).mutations

    assert isinstance(read[0], Mutation)
    assert (read[0].op, read[0].set) == ("delete", {"title": "b"})
    assert isinstance(read[1], Mutation) == alone
