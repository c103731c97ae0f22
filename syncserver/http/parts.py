"""What the handlers work with: put together once by the app, found by each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import msgspec
from litestar import Litestar, Request
from litestar.datastructures import State

from replication.catalog import Catalog
from replication.packing import Compression
from replication.wire import Limits
from syncserver.commands.absorb import Hooks
from syncserver.commands.access import Access, Principal
from syncserver.commands.audit import AuditLog
from syncserver.commands.held import Held
from syncserver.commands.office import Office
from syncserver.commands.pull import Pulls
from syncserver.commands.push import Pushes
from syncserver.commands.review import Review
from syncserver.commands.signin import SignIns
from syncserver.commands.upstream.authorizing import Authorizing
from syncserver.commands.upstream.canaries import Canaries
from syncserver.commands.upstream.connections import Connections
from syncserver.commands.upstream.documents import Documents
from syncserver.commands.upstream.endpoints import Endpoints
from syncserver.commands.upstream.incoming import Inboxes
from syncserver.commands.upstream.letters import Letters
from syncserver.commands.upstream.mappings import Mappings
from syncserver.commands.upstream.once import Once
from syncserver.commands.upstream.receipts import Receipts
from syncserver.http.metrics import Metrics

Asking: TypeAlias = Request[None, Principal, State]
"""A request; once its right was checked, `auth` says who asks."""

_KEY = "parts"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The commands, what bounds them, and the clock."""

    access: Access
    office: Office
    review: Review
    held: Held
    pushes: Pushes
    pulls: Pulls
    signins: SignIns
    audit: AuditLog
    connections: Connections
    documents: Documents
    canaries: Canaries
    letters: Letters
    mappings: Mappings
    receipts: Receipts
    authorizing: Authorizing
    once: Once
    hooks: Hooks
    inboxes: Inboxes
    endpoints: Endpoints
    hook_bytes_max: int
    document_bytes_max: int
    body_seconds_max: int
    metrics: Metrics
    limits: Limits
    compression: Compression
    epoch: str
    shipped: Catalog
    now_ms: Callable[[], int]
    is_ready: Callable[[], Awaitable[bool]]


def put(app: Litestar, parts: Parts) -> None:
    """Give the app its parts, when it starts."""
    app.state[_KEY] = parts


def of(app: Litestar) -> Parts:
    """Return the parts of the app that answers."""
    return cast("Parts", app.state[_KEY])


def found(request: Request[Any, Any, Any]) -> Parts:
    """Return the parts for a request."""
    return of(request.app)
