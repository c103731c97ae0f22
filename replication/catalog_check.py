"""What no table of a catalogue can tell alone: whether its parts fit together.

The last check is the one that keeps scopes computable: seeing a record may bring others
into sight (its children, what it refers to), and this flow must come to an end.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from replication import joins
from replication.catalog import GROUP_MEMBERS_MAX, Catalog, CellRule, Collection
from replication.catalog_sheet import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from replication.catalog import Field, Source
    from replication.catalog_sheet import Notes, Sheet
    from replication.toml_lines import Path


def check(catalog: Catalog, notes: Notes) -> None:
    """Note what is wrong between the collections of a catalogue."""
    for collection in catalog.collections.values():
        _check_references(catalog, collection, notes)
        _check_people(collection, notes)
        _check_scope(catalog, collection, notes)
        _check_makers(collection, notes)
    for cycle in _cycles(_flow(catalog)):
        message = f"{' -> '.join(cycle)}: who sees one would see the next without end"
        notes.add(_path(cycle[0], "scope"), message)


def group_members(groups: Sheet, name: str, rules: dict[str, CellRule], cells: dict[str, CellRule]) -> tuple[str, ...]:
    """Return the fields of a declared group, noting what keeps them from being one cell."""
    members = groups.words(name)
    if name in rules:
        groups.note(name, "is the name of a field too")
    if not 1 < len(members) <= GROUP_MEMBERS_MAX:
        groups.note(name, f"must have 2 to {GROUP_MEMBERS_MAX} fields, it has {len(members)}")
    for member in members:
        if member not in rules:
            groups.note(name, f"{shown(member)} is no field{did_you_mean(member, tuple(rules))}")
        elif member not in cells:
            groups.note(name, f"{shown(member)} is in another group already")
    known = tuple(member for member in members if member in rules)
    _check_alike(groups, known, rules)
    return known


def _check_alike(groups: Sheet, members: tuple[str, ...], rules: dict[str, CellRule]) -> None:
    """Note each member that is settled by other rules than the first: halves are never mixed."""
    fields: Path = (*groups.path[:-1], "fields")
    for member in members:
        rule, first = rules[member], rules[members[0]]
        for key in ("write", "rank", "tie"):
            if getattr(rule, key) != getattr(first, key):
                line = groups.notes.line_of((*fields, first.name, key))
                message = f"differs from {first.name} (line {line}), which is in the same group"
                groups.notes.add((*fields, member, key), message)
        if rule.merge:
            groups.notes.add((*fields, member, "merge"), "a field in a group has no merge of its own")


def check_order(sheet: Sheet, field: Field, order: tuple[tuple[str, ...], ...]) -> None:
    """Note what keeps chains of choices from being a lattice: any two need one least choice above both."""
    named = {step for chain in order for step in chain}
    for step in sorted(named - set(field.choices)):
        sheet.note("order", f"{shown(step)} is none of the choices{did_you_mean(step, field.choices)}")
    for choice in sorted(set(field.choices) - named):
        sheet.note("order", f"leaves out {shown(choice)}: each choice has its place in a chain")
    ups = joins.above(order)
    if circle := next((one for one in sorted(ups) for other in ups[one] if one != other and one in ups[other]), None):
        sheet.note("order", f"{shown(circle)} is above itself")
        return
    for one, other in combinations(sorted(named), 2):
        if joins.least_above(order, one, other) is joins.MISSING:
            sheet.note("order", f"{shown(one)} and {shown(other)} have no single least choice above both")
            return


def _check_references(catalog: Catalog, collection: Collection, notes: Notes) -> None:
    names = tuple(catalog.collections)
    for field in collection.fields.values():
        if field.to and field.to not in names:
            message = f"{shown(field.to)} is no collection{did_you_mean(field.to, names)}"
            notes.add(_path(collection.name, "fields", field.name, "to"), message, names)


def _check_people(collection: Collection, notes: Notes) -> None:
    """The fields that put people in scope must be able to name people."""
    assignee, crew = collection.assignee_field, collection.crew_field
    if assignee and collection.fields[assignee].kind != "person":
        notes.add(_path(collection.name, "fields", assignee), "names the assignee: its kind must be person")
    if crew and (collection.fields[crew].kind, collection.fields[crew].of) != ("set", "person"):
        message = 'names the crew: it must be kind = "set", of = "person"'
        notes.add(_path(collection.name, "fields", crew), message)


def _check_scope(catalog: Catalog, collection: Collection, notes: Notes) -> None:
    path, sources = _path(collection.name, "scope"), collection.sources
    if collection.is_for_all and len(collection.scope) > 1:
        notes.add(path, '"all" stands alone: everybody sees it already')
    if {"creator", "creator_until_assigned"} <= sources:
        notes.add(path, '"creator" holds on after somebody is assigned: give one of the two')
    if {"assignee", "creator_until_assigned"} & sources and not collection.assignee_field:
        notes.add(path, 'needs a field of kind person named "assignee_id", or assignee_field = "…"')
    if "crew" in sources and not collection.crew_field:
        notes.add(path, 'needs a set of persons named "crew", or crew_field = "…"')
    if "references" in sources and not _is_referred_to(catalog, collection.name):
        notes.add(path, '"references" has no effect: no collection that is in scope refers to it')
    for field in catalog.parents(collection.name):
        _check_parent(catalog, collection, field, notes)


def _check_makers(collection: Collection, notes: Notes) -> None:
    """Note a collection that devices write and whose makers would not hold what they made."""
    kept: set[Source] = {"creator", "creator_until_assigned", "all"}
    if kept.isdisjoint(collection.sources) and any("device" in rule.write for rule in collection.cells.values()):
        message = (
            'devices write here, so whoever makes a record must hold it: add "creator" or "creator_until_assigned"'
        )
        notes.add(_path(collection.name, "scope"), message)


def _is_referred_to(catalog: Catalog, name: str) -> bool:
    return any(target == name for each in catalog.collections for _, target in catalog.carried(each))


def _check_parent(catalog: Catalog, collection: Collection, name: str, notes: Notes) -> None:
    path = _path(collection.name, "scope")
    field = collection.fields.get(name)
    if field is None or field.kind != "reference":
        references = [each.name for each in collection.fields.values() if each.kind == "reference"]
        notes.add(path, f'"parent:{name}" must name a field of kind reference', references)
        return
    parent = catalog.collections.get(field.to)
    if parent and parent.is_for_all:
        notes.add(path, f'everybody sees {parent.name}, so "parent:{name}" has no scope to give; use "all"')


def _flow(catalog: Catalog) -> dict[str, list[str]]:
    """Return for each collection those that come into sight through its records."""
    flow: dict[str, list[str]] = {name: [target for _, target in catalog.carried(name)] for name in catalog.collections}
    for name, collection in catalog.collections.items():
        for field in catalog.parents(name):
            if field in collection.fields and collection.fields[field].to in flow:
                flow[collection.fields[field].to].append(name)
    return flow


def _cycles(flow: dict[str, list[str]]) -> Iterator[list[str]]:
    """Walk depth first; a step back onto the present path closes a cycle."""
    done: set[str] = set()

    def walk(path: list[str]) -> Iterator[list[str]]:
        for following in dict.fromkeys(flow[path[-1]]):
            if following in path:
                yield [*path[path.index(following) :], following]
            elif following not in done:
                yield from walk([*path, following])
        done.add(path[-1])

    for name in flow:
        if name not in done:
            yield from walk([name])


def _path(collection: str, *rest: str) -> Path:
    return ("collections", collection, *rest)
