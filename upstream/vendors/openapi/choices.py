"""What a person chooses of a document, and what there is to choose from."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from upstream.manifest import Grade, WriteClass


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the choice: a key that nobody knows is refused."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of a document. `fields` are those that a request has, a `*` for those that must be there.

    `unusable` is why it cannot be chosen; empty: it can.
    """

    operation: str
    summary: str
    effect: Literal["read", "write"]
    fields: tuple[str, ...] = ()
    lists: bool = False
    unusable: str = ""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A way of signing in that a document names: its kind in a manifest, or why it cannot be spoken."""

    name: str
    kind: str = ""
    unusable: str = ""


class Written(_Table, frozen=True, kw_only=True):
    """An object that is told, by operations like `POST /jobs`. Without a class it follows from what is chosen."""

    create: str
    update: str = ""
    read: str = ""
    find: str = ""
    void: str = ""
    write: WriteClass | None = None
    key_header: str = ""
    """The header, or `?name` for the query, by which the system knows a repeated request."""
    find_by: str = ""
    """The parameter of `find` that is given the mark."""
    marker: str = ""
    natural_key: str = ""
    id: str = ""
    version: str = ""
    index_lag_seconds: float = 2.0


class Told(_Table, frozen=True, kw_only=True):
    """An object that is read: an operation that lists, and the parameter for what has changed since."""

    list: str
    since: str = ""
    format: str = "iso"
    modified: str = ""
    id: str = ""
    items: str | None = None


class Budget(_Table, frozen=True, kw_only=True):
    """How much may be asked, as the vendor's pages say it: documents have no place for that."""

    limit: int = 0
    window_seconds: float = 60.0
    concurrency: int = 0


class Choice(_Table, frozen=True, kw_only=True):
    """What is chosen of a document. `auth` is a table of a manifest, or the name of a scheme of the document.

    `authority` is the class in which the system's own edits are judged.
    """

    system: str
    title: str = ""
    grade: Grade = "B"
    authority: str = "portal"
    base_url: str = ""
    auth: str | dict[str, Any] = ""
    verify: str
    written: dict[str, Written] = {}
    told: dict[str, Told] = {}
    budget: Budget | None = None
