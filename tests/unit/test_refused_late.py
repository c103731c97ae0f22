"""Cases that were got wrong once: refusals that show late, values that no longer fit, hashes of what is malformed."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from replication import catalog_file, hub, wire
from replication.memberships import Memberships
from replication.mutation import Mutation, digest
from replication.state import Replica, State, Submission
from replication.verdict import Malformed, MutationVerdict

HEAD = '[collections.jobs]\npriority = "job"\ndelete = ["office"]\nscope = ["all"]\n'
FIELDS = """
[collections.jobs.fields]
log = { kind = "text", limit = 10, write = ["device", "office"], merge = "append" }
state = { kind = "choice", choices = ["b", "c"], write = ["device", "office"] }
cost = { kind = "decimal", write = ["office"] }
"""
JOB = str(UUID(int=5))
LIMITS = wire.Limits()


def state() -> State:
    """Return a hub with one device."""
    replicas = {1: Replica(1, "hub"), 2: Replica(2, "office"), 3: Replica(3, "device")}
    catalog = catalog_file.parse(HEAD + FIELDS)
    made = State(seq=0, hub_rid=1, catalog=catalog, replicas=replicas, records={}, memberships=Memberships())
    push(made, 2, Mutation(n=1, op="create", collection="jobs", id=JOB, set={"log": "12345678", "state": "b"}))
    return made


def push(there: State, rid: int, *mutations: Mutation | Malformed) -> list[MutationVerdict]:
    """Settle mutations of a replica."""
    authority = "device" if rid == 3 else "office"
    answer = hub.judge(
        there, Submission(rid=rid, person="p", authority=authority, mutations=mutations, served=there.seq)
    )
    return [told for told in answer.verdicts if isinstance(told, MutationVerdict)]


def edit(n: int, **rest: Any) -> Mutation:
    """Return a mutation that has seen everything."""
    return Mutation(**{"op": "set", "collection": "jobs", "id": JOB, "base": 99, "n": n, **rest})


def test_a_tx_is_taken_back_when_a_value_outgrows_its_field() -> None:
    """That an append is too long shows when it is made; the rest of its tx is refused all the same."""
    there = state()

    told = push(there, 3, edit(1, tx="t", set={"state": "c"}), edit(2, tx="t", do={"log": {"append": "90123"}}))

    assert [(each.verdict, each.code) for each in told] == [("refused", "tx_refused"), ("refused", "invalid")]
    assert there.record(("jobs", JOB)).cells["state"].value == "b"
    assert there.seq == 1
    assert [row.dot.n for row in there.effects.ledger if row.dot.rid == 3] == [1, 2]


def test_an_old_value_that_fits_no_longer_can_be_replaced() -> None:
    """`was` holds a choice that the catalogue has dropped; the new value is taken."""
    (told,) = push(state(), 3, edit(1, set={"state": "c"}, was={"state": "a"}))

    assert told.verdict == "applied"


def test_a_create_that_may_write_nothing_makes_nothing() -> None:
    """An empty create by a class without any cell is refused, so that no device holds a phantom."""
    there = state()
    there.catalog = catalog_file.parse(
        HEAD + '[collections.jobs.fields]\ncost = { kind = "decimal", write = ["office"] }'
    )

    (told,) = push(there, 3, Mutation(n=1, op="create", collection="jobs", id=str(UUID(int=6))))

    assert (told.verdict, told.code, told.rev) == ("refused", "not_owner", 0)


def test_repeated_deletes_leave_no_trail() -> None:
    """The same replica that deletes again joins once."""
    there = state()
    for n in range(2, 40):
        push(there, 2, edit(n, op="delete"))

    assert len(there.record(("jobs", JOB)).cells["$alive"].twins) == 0


def test_appended_lines_stay_lines() -> None:
    """White space at the end of an addition parts it from the next."""
    there = state()
    push(there, 2, edit(2, set={"log": "a"}))
    push(there, 3, edit(1, do={"log": {"append": "\n8\n"}}))
    push(there, 3, edit(2, do={"log": {"append": "9\n"}}))

    assert there.record(("jobs", JOB)).cells["log"].value == "a\n8\n9\n"


def read(*parts: dict[str, Any]) -> tuple[Mutation | Malformed, ...]:
    """Decode a push of these mutations."""
    return wire.decode_push(json.dumps({"mutations": parts}).encode(), LIMITS).mutations


def test_what_is_malformed_is_known_again_beside_other_neighbours() -> None:
    """The hash does not depend on what else is in the push, nor on how that made it be read."""
    bad = {"n": 1, "op": "set", "collection": "jobs", "id": JOB, "base": -1, "do": {}, "set": {"log": "x"}}

    (alone,) = read(bad)
    beside, _ = read(bad, {"n": 2, "op": "set", "collection": "jobs", "id": JOB, "set": None})

    assert isinstance(alone, Malformed)
    assert isinstance(beside, Malformed)
    assert alone.digest() == beside.digest()


def test_what_is_malformed_is_known_again_with_another_base() -> None:
    """A re-send after a restore may carry another base, and is the same mutation."""
    bad: dict[str, Any] = {"n": 1, "op": "set", "collection": "jobs", "id": JOB, "set": None}

    ((one,), (other,)) = read({**bad, "base": 1}), read({**bad, "base": 2})

    assert isinstance(one, Malformed)
    assert isinstance(other, Malformed)
    assert one.digest() == other.digest()


def test_a_mutation_keeps_its_hash_when_its_tx_is_cut() -> None:
    """A tx over the limit is malformed, a part of it is not; each mutation is known again."""
    parts = [
        {"n": n, "op": "set", "collection": "jobs", "id": JOB, "tx": "t", "set": {"log": "x"}}
        for n in range(1, LIMITS.tx + 2)
    ]

    too_long, short = read(*parts)[0], read(*parts[:3])[0]

    assert isinstance(too_long, Malformed)
    assert isinstance(short, Mutation)
    assert too_long.digest() == digest(short)


def test_one_deep_value_spoils_its_own_mutation_alone() -> None:
    """A value nested too deeply to be read is refused; its neighbours are settled."""
    good = {"n": 1, "op": "set", "collection": "jobs", "id": JOB, "set": {"log": "x"}}
    head = json.dumps({"mutations": [good]}).encode()[:-2]
    deep = b',{"n":2,"op":"set","collection":"jobs","id":"%s","set":{"log":' % JOB.encode()

    first, second = wire.decode_push(head + deep + b"[" * 50_000 + b"]" * 50_000 + b"}}]}", LIMITS).mutations

    assert isinstance(first, Mutation)
    assert isinstance(second, Malformed)


def test_a_tx_with_a_gap_waits_for_its_missing_part() -> None:
    """Of a tx that goes on behind a gap nothing is judged; the answer says where to begin again."""
    there = state()
    cut = (edit(1, tx="t", set={"state": "c"}), edit(3, tx="t", set={"log": "x"}))

    answer = hub.judge(there, Submission(rid=3, person="p", authority="device", mutations=cut, served=there.seq))

    assert (answer.applied, answer.verdicts, answer.expected) == (0, (), 1)
