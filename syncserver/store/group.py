"""One group of submissions against the database: lock, two reads, one write.

Each is one statement, whatever the group holds. The lock comes first and alone: a read in the same
statement would see the moment before the lock was got, and could miss what the holder wrote.
What the reads give is a `State` for each tenant, which the hub moves forward; the write puts down
all that it then holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from replication import hub, validity
from replication.memberships import Memberships
from replication.rows import Remembered
from replication.state import Replica, Settled, State, Submission
from replication.versions import Dot
from syncserver.store import changes, conflicts, corrections, held, memberships, proofs, records, statements
from syncserver.store.catalogs import NO_VERSION, Catalogs
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asyncpg import Record

    from replication.catalog import Catalog
    from replication.hub import Needs
    from replication.versions import Vector
    from syncserver.store.db import Connection

_SQL: Final = statements.of("group")
_VERDICTS: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_LOCKS: Final = 1718839411
"""The first half of each tenant's advisory lock: tells our locks from those of others."""


class Asked(msgspec.Struct, frozen=True):
    """A submission on its way into a group. The mark is there if it does not number itself."""

    tenant_id: int
    submission: Submission
    mark: str | None


class Read(msgspec.Struct):
    """What the reads gave: a State for each tenant, the numbers as they were, the marks found."""

    states: dict[int, State] = {}
    seqs: dict[int, int] = {}
    counters: dict[tuple[int, int], tuple[int, int, int]] = {}
    marks: set[str] = set()


async def lock(connection: Connection, tenants: Iterable[int]) -> list[int]:
    """Take the locks of these tenants; return those that were got, the first always among them."""
    row = await connection.fetchrow(_SQL["lock"], sorted(tenants), _LOCKS)
    assert row is not None, "an aggregate without groups gives one row"
    return list(row["tenants"])


async def read(connection: Connection, asked: Sequence[Asked], catalogs: Catalogs) -> Read:
    """Load all that judging these submissions will look at."""
    found = Read()
    await _read_heads(connection, asked, catalogs, found)
    await _read_records(connection, asked, found)
    return found


async def write(
    connection: Connection, found: Read, marks: Iterable[tuple[int, str]], *, prune: str, hint: str
) -> None:
    """Put down what the hub made of the group. `prune` is the oldest mark worth keeping."""
    states = found.states
    row = await connection.fetchrow(
        _SQL["write"],
        *columns(((tenant, found.seqs[tenant], state.seq) for tenant, state in states.items()), 3),
        *columns(_heard(found), 5),
        *records.columns_of(states),
        *changes.columns_of(states),
        *changes.feed_columns_of(states),
        *changes.ledger_columns_of(states),
        *conflicts.columns_of(states),
        *memberships.columns_of(states),
        *changes.remembered_columns_of(states),
        *columns(marks, 2),
        prune,
        hint,
        *held.columns_of(states),
        *held.released_columns_of(states),
        *corrections.columns_of(states),
    )
    assert row is not None, "an aggregate without groups gives one row"
    assert row["counted"] == len(states), "a number line moved without its lock"


async def _read_heads(connection: Connection, asked: Sequence[Asked], catalogs: Catalogs, found: Read) -> None:
    """Load counters, catalogues and replicas, and what was settled before under the same names."""
    tenants = sorted({each.tenant_id for each in asked})
    numbered = [each for each in asked if each.submission.numbered]
    older = {(each.tenant_id, each.submission.schema) for each in asked if each.submission.schema}
    row = await connection.fetchrow(
        _SQL["read_heads"],
        tenants,
        [catalogs.newest(tenant) for tenant in tenants],
        *columns({(each.tenant_id, each.submission.rid) for each in asked}, 2),
        *columns({dot for each in numbered for dot in _dots(each)}, 3),
        *columns({(each.tenant_id, key) for each in asked if (key := each.submission.idempotency)}, 2),
        *columns(((each.tenant_id, each.mark) for each in asked if each.mark), 2),
        *columns((each for each in older if each[1] not in catalogs.held(each[0])), 2),
        *columns({(each.tenant_id, *dot) for each in asked for dot in each.submission.lets_go}, 3),
    )
    assert row is not None, "a SELECT without FROM gives one row"
    for tenant, seq, hub_rid, version, content, proof in row["counters"]:
        if version != NO_VERSION:
            found.states[tenant] = _state(seq, hub_rid, catalogs.take(tenant, version, content), proofs.decode(proof))
            found.seqs[tenant] = seq
    _take_older(found, older, row["older"], catalogs)
    for tenant, rid, kind, applied, served, fenced, clock in row["replicas"]:
        if tenant in found.states:
            found.states[tenant].replicas[rid] = Replica(rid, kind, applied, served, fenced, clock)
            found.counters[tenant, rid] = applied, served, clock
    _read_settled(row, found)


def _take_older(
    found: Read, wanted: Iterable[tuple[int, int]], rows: Iterable[tuple[int, int, str]], catalogs: Catalogs
) -> None:
    """Give each state the former catalogues by which some of its writers went."""
    for tenant, version, content in rows:
        catalogs.take(tenant, version, content)
    for tenant, version in wanted:
        state = found.states.get(tenant)
        if state is not None and version < state.catalog.version and version in catalogs.held(tenant):
            state.older[version] = catalogs.take(tenant, version, None)


def _read_settled(row: Record, found: Read) -> None:
    """Take what was settled before under the same names, and what of the held still waits."""
    for tenant, rid, n, digest, verdict in row["ledger"]:
        found.states[tenant].ledger[Dot(rid, n)] = Settled(digest, msgspec.Raw(verdict))
    for tenant, key, request_hash, verdicts in row["remembered"]:
        found.states[tenant].remembered[key] = Remembered(key, request_hash, _VERDICTS.decode(verdicts))
    for tenant, rid, n in row["waiting"]:
        found.states[tenant].waiting.add(Dot(rid, n))
    found.marks = set(row["marks"])


async def _read_records(connection: Connection, asked: Sequence[Asked], found: Read) -> None:
    """Load the records that are named and all through which a change of scope may flow."""
    named: dict[tuple[int, str, str], bool] = {}
    persons: set[str] = set()
    for each in asked:
        if each.tenant_id in found.states:
            persons |= {each.submission.person, *each.submission.persons}
            _name(named, each.tenant_id, hub.needs(each.submission, found.states[each.tenant_id].catalog))
    rows = ((*key, walk) for key, walk in named.items())
    row = await connection.fetchrow(_SQL["read_records"], *columns(rows, 4), sorted(persons))
    assert row is not None, "a SELECT without FROM gives one row"
    records.load(found.states, row["records"])
    memberships.load(found.states, row["memberships"], row["edges"])
    for tenant, collection, record_id in row["held"]:
        found.states[tenant].held.add((collection, record_id))


def _state(seq: int, hub_rid: int, catalog: Catalog, proof: Vector) -> State:
    return State(
        seq=seq, hub_rid=hub_rid, catalog=catalog, replicas={}, records={}, memberships=Memberships(), proof=proof
    )


def _dots(asked: Asked) -> Iterator[tuple[int, int, int]]:
    for mutation in asked.submission.mutations:
        yield asked.tenant_id, asked.submission.rid, mutation.n


def _name(named: dict[tuple[int, str, str], bool], tenant_id: int, needs: Needs) -> None:
    """Add what one submission needs. An id that is no UUID names nothing and is refused later."""
    for key in needs.records | needs.walk:
        if validity.UUID.fullmatch(key[1]):
            place = (tenant_id, *key)
            named[place] = named.get(place, False) or key in needs.walk


def _heard(found: Read) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield the replicas whose counters moved."""
    for tenant, state in found.states.items():
        for rid, replica in state.replicas.items():
            stands = (replica.applied, replica.served, replica.clock)
            if found.counters[tenant, rid] != stands:
                yield tenant, rid, *stands
