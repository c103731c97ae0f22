"""Who acts on connections and dead letters: a person of the tenant, or whoever runs commands beside the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from syncserver.store import audit
from syncserver.store.people import Principal

if TYPE_CHECKING:
    from syncserver.store.audit import Action, Actor
    from syncserver.store.db import Connection as Session

OPERATOR: Final = "operator"


def operator(tenant_id: int) -> Principal:
    """Return whoever runs commands beside the database, for a tenant."""
    return Principal(tenant_id=tenant_id, person=OPERATOR, role="admin", kind=OPERATOR)


async def note(session: Session, who: Principal, action: Action, place: str) -> None:
    """Write an entry of the audit log in the caller's transaction; `place` is a kind and an id."""
    by: Actor = audit.OPERATOR if who.kind == OPERATOR else audit.person(who.person)
    await audit.record(session, audit.Entry(tenant_id=who.tenant_id, by=by, action=action, object=place))
