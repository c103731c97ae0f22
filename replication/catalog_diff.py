"""What changes for people when one catalogue takes the place of another.

Devices that are offline wrote under the old catalogue and are judged by the new one. A change
is *safe* if none of their edits can meet another fate because of it; everything else needs
care: somebody should know which edits are under way before it is put in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection as Words
    from collections.abc import Iterator

    from replication.catalog import Catalog, CellRule, Collection, Field, RankEntry


class Difference(msgspec.Struct, frozen=True):
    """One change between two catalogues: where, what, and whether it needs care."""

    path: str
    message: str
    needs_care: bool


def diff(old: Catalog, new: Catalog) -> tuple[Difference, ...]:
    """Return all changes that lead from the old catalogue to the new one."""
    return tuple(_catalogs(old, new))


def _catalogs(old: Catalog, new: Catalog) -> Iterator[Difference]:
    for name in _all(old.collections, new.collections):
        before, after = old.collections.get(name), new.collections.get(name)
        if before and after:
            yield from _collections(before, after)
        elif after:
            yield Difference(name, f"added, with {len(after.fields)} fields", needs_care=False)
        else:
            message = "removed: its records are kept and no longer reachable"
            yield Difference(name, message, needs_care=True)


def _collections(old: Collection, new: Collection) -> Iterator[Difference]:
    yield from _setting(old.name, "priority", old.priority, new.priority, needs_care=False)
    yield from _permission(old.name, "delete", old.delete, new.delete)
    yield from _setting(old.name, "against_edit", old.against_edit, new.against_edit)
    yield from _scope(old, new)
    for key in ("assignee_field", "crew_field"):
        yield from _setting(old.name, key, getattr(old, key), getattr(new, key))
    for name in _all(old.fields, new.fields):
        yield from _field(old, new, name)


def _scope(old: Collection, new: Collection) -> Iterator[Difference]:
    before = sorted(source.word for source in old.scope)
    after = sorted(source.word for source in new.scope)
    yield from _setting(old.name, "scope", ", ".join(before), ", ".join(after))


def _field(old: Collection, new: Collection, name: str) -> Iterator[Difference]:
    path = f"{old.name}.{name}"
    before, after = old.fields.get(name), new.fields.get(name)
    if before is None and after is not None:
        yield Difference(path, f"added, of kind {after.kind}", needs_care=False)
    elif after is None:
        yield Difference(path, "removed: its values are kept and no longer shown", needs_care=True)
    elif before is not None:
        yield from _shape(path, before, after)
        yield from _policy(path, old.cells[old.cell_of(name)], new.cells[new.cell_of(name)])


def _shape(path: str, old: Field, new: Field) -> Iterator[Difference]:
    for key in ("kind", "to", "of"):
        yield from _setting(path, key, getattr(old, key), getattr(new, key))
    if old.kind == new.kind:
        raised = new.size_max >= old.size_max
        yield from _setting(path, "limit", old.size_max, new.size_max, needs_care=not raised)
        yield from _choices(path, old.choices, new.choices)


def _choices(path: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[Difference]:
    # To list choices where there were none narrows what may be said; to drop the list widens it.
    narrowed = bool(new) and (not old or not set(old) <= set(new))
    yield from _setting(path, "choices", ", ".join(sorted(old)), ", ".join(sorted(new)), needs_care=narrowed)


def _policy(path: str, old: CellRule, new: CellRule) -> Iterator[Difference]:
    yield from _permission(path, "write", old.write, new.write)
    yield from _setting(path, "rank", _ranks(old.rank), _ranks(new.rank))
    yield from _setting(path, "tie", old.tie, new.tie)
    yield from _setting(path, "merge", old.merge, new.merge)
    yield from _setting(path, "cell", _cell(old), _cell(new))


def _permission(path: str, key: str, old: Words[str], new: Words[str]) -> Iterator[Difference]:
    """To let more classes write hurts nobody; to let fewer refuses what is under way."""
    narrowed = not set(old) <= set(new)
    yield from _setting(path, key, ", ".join(sorted(old)), ", ".join(sorted(new)), needs_care=narrowed)


def _setting(path: str, key: str, old: object, new: object, *, needs_care: bool = True) -> Iterator[Difference]:
    if old != new:
        yield Difference(path, f"{key}: {_said(old)} -> {_said(new)}", needs_care)


def _said(value: object) -> str:
    return "none" if value in (None, "") else str(value)


def _ranks(rank: tuple[RankEntry, ...]) -> str:
    return " > ".join(entry.word for entry in rank)


def _cell(rule: CellRule) -> str:
    return f"group {rule.name} ({', '.join(sorted(rule.members))})" if rule.is_group else "its own"


def _all(old: Words[str], new: Words[str]) -> list[str]:
    return list(dict.fromkeys([*old, *new]))
