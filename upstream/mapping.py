"""Mappings as data: how records of ours become an object of theirs.

A mapping names the object, the records it is made of, and a row for each field there: where the
value comes from and what is done to it. The same mapping and the same records give the same fields,
so that a mapping can be tried on samples, compared with another version, and pinned while a delivery
is under way.

A row takes its value from the *context*: `record` is the one the object is made from, `rows.<name>`
are those gathered beside it, `ref.<field>` is the record that a reference names, `remote.<field>` the
vendor's id of that record, `config` the connection's settings, `period` the pay period. What carries
a difference (see `late`) has `late.before` and `late.now`, the fields told and those that should be,
`late.difference` between them, `late.sign` ("more", "less", "same"), and `late.period`, the next open one.
`made` are the fields that the rows above this one have made.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal, TypeAlias

import msgspec

Action: TypeAlias = Literal["copy", "static", "map", "range", "date", "concat", "sum", "each", "jsonnet"]

ROOTS_OUT: Final = ("record", "rows", "ref", "remote", "config", "period", "late", "key", "item", "made")
ROOTS_INTO: Final = ("record", "local", "config", "item", "made")
"""What a path into the context can begin with, outward and inward; `item` only within a list."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that nobody knows is refused."""


class Condition(_Table, frozen=True, kw_only=True):
    """What must be so: a path into the context, and what may stand there, or what a text there begins with."""

    path: str
    equals: tuple[Any, ...] = ()
    begins: str = ""
    present: bool = True


class Step(_Table, frozen=True, kw_only=True):
    """Up to (and not including) `below` the value is this one; without it: from there on."""

    value: Any
    below: str | None = None


class Row(_Table, frozen=True, kw_only=True):
    """One field there. `default` is taken where nothing is found, `required` refuses that.

    Of a `sum` the source is a list and what is added up of each item: `LIST:quantity*unit_price`, factors
    with `*` between them. A factor is a number at a path of the item, the seconds from one instant to
    another, `started_at..ended_at`, or a setting, `config.rate`. Several `each` may make one list.

    `scale` is a number or a fraction like 1/60 by which a sum is multiplied, `places` to how many it is
    rounded, half up.
    """

    target: str
    action: Action = "copy"
    source: str = ""
    sources: tuple[str, ...] = ()
    value: Any = None
    values: dict[str, Any] = {}
    steps: tuple[Step, ...] = ()
    separator: str = " "
    to: Literal["date", "time", "local", "instant"] = "instant"
    zone: str = "UTC"
    scale: str = "1"
    places: int | None = None
    code: str = ""
    when: tuple[Condition, ...] = ()
    where: tuple[Condition, ...] = ()
    """Which items of a list count, for `sum` and `each`: paths begin with `item`."""
    rows: tuple[Row, ...] = ()
    default: Any = None
    required: bool = False
    number: bool = False


class Gather(_Table, frozen=True, kw_only=True):
    """Records beside the one that the object is made of: those whose field names the same."""

    collection: str
    match: dict[str, str]
    """Field of the gathered record -> path in the context that it must equal."""
    where: tuple[Condition, ...] = ()
    period_field: str = ""
    """The gathered record's instant that must lie in the period."""


class Period(_Table, frozen=True, kw_only=True):
    """Stretches of so many days, counted from a first day, in a time zone."""

    field: str
    days: int
    first: date
    zone: str = "UTC"


class ObjectMapping(_Table, frozen=True, kw_only=True):
    """How one object is made: from which collection, when, under which key, and its rows."""

    object: str
    collection: str
    key: str = "${record.id}"
    when: tuple[Condition, ...] = ()
    void_when: tuple[Condition, ...] = ()
    triggers: dict[str, str] = {}
    """Other collections whose records belong to it -> the field that names the record it is made of."""
    gather: dict[str, Gather] = {}
    period: Period | None = None
    late: tuple[str, ...] = ()
    """Objects that carry what comes after this one was closed there: the first whose `when` holds is made."""
    late_by: str = ""
    """Path in the fields of the number by which it is told whether there is more or less than before."""
    rows: tuple[Row, ...]

    @property
    def is_shared(self) -> bool:
        """Whether several records make one object, which is not gone when one of them is."""
        return "${record.id}" not in self.key


class MappingSet(_Table, frozen=True, kw_only=True):
    """All mappings of a connection: what goes out, and what comes in by (object -> collection)."""

    out: tuple[ObjectMapping, ...] = ()
    into: tuple[IntoMapping, ...] = ()


class Ref(_Table, frozen=True, kw_only=True):
    """A reference in their record: the object that it names, and the path where its id stands."""

    object: str
    path: str


class IntoMapping(_Table, frozen=True, kw_only=True):
    """How a record of theirs becomes fields of ours; `rows` name our fields as targets.

    The context has their record as `record`, `config`, and as `local.<name>` our id of what a reference
    in it names. What is not known here yet is tied to the one record of ours that has the same in all
    fields of `match`, else it is made if `create`; what is gone there is kept here, or deleted in the
    system's name.
    """

    object: str
    collection: str
    when: tuple[Condition, ...] = ()
    match: tuple[str, ...] = ()
    create: bool = True
    gone: Literal["keep", "delete"] = "keep"
    refs: dict[str, Ref] = {}
    rows: tuple[Row, ...]


class Problem(msgspec.Struct, frozen=True):
    """Why an object could not be made: the field there, and what is wrong."""

    target: str
    message: str


class Made(msgspec.Struct, frozen=True):
    """The fields that a mapping made of a context, and what kept it from making more."""

    fields: dict[str, Any]
    problems: tuple[Problem, ...] = ()
