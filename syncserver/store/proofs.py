"""Which entries no version vector needs any more: worked out now and then, read by every group.

An entry (rid, n) may go once that mutation is in every backup that is offered for restore, and every
device that is not shut out has pulled past its place in the number line. Both are facts that only
grow, so what was proven once stays proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import statements

if TYPE_CHECKING:
    from replication.versions import Vector
    from syncserver.store.db import Database

_SQL: Final = statements.of("proofs")
_VECTOR: Final = msgspec.msgpack.Decoder(dict[int, int])


def decode(packed: bytes | None) -> Vector:
    """Return the proof of a tenant from the form in which it is stored; without any nothing is proven."""
    return {} if packed is None else _VECTOR.decode(packed)


async def refresh(database: Database, tenant_id: int) -> Vector:
    """Bring the proof of a tenant up to date, and return it. Takes no lock: an older one is right as well."""
    async with database.transaction(tenant_id) as connection:
        held = decode(await connection.fetchval(_SQL["held"], tenant_id))
        found = await connection.fetch(_SQL["provable"], tenant_id)
        proof = held | {row["rid"]: max(row["n"], held.get(row["rid"], 0)) for row in found}
        if proof != held:
            await connection.execute(_SQL["keep"], tenant_id, msgspec.msgpack.encode(proof))
    return proof
