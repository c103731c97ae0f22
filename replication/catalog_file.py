"""A catalogue from the text of its TOML file.

`parse` either returns a catalogue that every rule can rely on, or raises `BadCatalog` with
all that is wrong, line by line. Nothing is read from disk here: the text is an argument.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final, cast, get_args

import msgspec

from replication import catalog_check, kinds, toml_lines
from replication.catalog import (
    AGAINST_EDIT,
    AUTHORITIES,
    CHOICES_MAX,
    COLLECTIONS_MAX,
    FIELD_NAMES_TAKEN,
    FIELDS_PER_COLLECTION_MAX,
    KINDS_OF_MERGE,
    MERGES,
    PRIORITIES,
    RELATIONS,
    ROUTE_NAMES,
    SIBLINGS_LIMIT_MAX,
    SIBLINGS_MAX,
    SIZE_MAX,
    TIES,
    AgainstEdit,
    Authority,
    Catalog,
    CellRule,
    Collection,
    Field,
    Merge,
    Priority,
    RankEntry,
    Relation,
    ScopeSource,
    Source,
    Tie,
)
from replication.catalog_sheet import Notes, Problem, Sheet, did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from replication.toml_lines import Path

TEXT_BYTES_MAX: Final = 1_048_576
COLLECTION_KEYS: Final = (
    "priority",
    "delete",
    "against_edit",
    "scope",
    "assignee_field",
    "crew_field",
    "groups",
    "fields",
)
FIELD_KEYS: Final = (
    "kind",
    "write",
    "rank",
    "owner",
    "tie",
    "merge",
    "order",
    "choices",
    "to",
    "of",
    "limit",
)
PLAIN_SOURCES: Final = tuple(source for source in get_args(Source) if source != "parent")
_RANK_WORDS: Final = (*AUTHORITIES, *(f"device.{relation}" for relation in RELATIONS))
_AT_LINE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


class BadCatalog(ValueError):
    """The text is no catalogue; `problems` says all that is wrong with it, by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems in the order of their lines."""
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(problem.sentence for problem in self.problems))


def parse(text: str, *, version: int = 0) -> Catalog:
    """Return the catalogue that the text describes, or raise `BadCatalog`."""
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise BadCatalog([Problem(1, "file", f"is larger than {TEXT_BYTES_MAX} bytes")])
    try:
        values, lines = tomllib.loads(text), toml_lines.key_lines(text)
    except tomllib.TOMLDecodeError as exc:
        raise BadCatalog([_syntax_problem(text, str(exc))]) from exc
    except RecursionError as exc:
        raise BadCatalog([Problem(1, "file", "is nested too deeply to be read")]) from exc
    notes = Notes(lines)
    catalog = _catalog(Sheet(notes, (), values), version)
    catalog_check.check(catalog, notes)
    if notes.problems:
        raise BadCatalog(notes.problems)
    return catalog


def _syntax_problem(text: str, message: str) -> Problem:
    match = _AT_LINE.fullmatch(message)
    line = int(match[2]) if match and match[2] else text.count("\n") + 1
    return Problem(line, "TOML", match[1] if match else message)


def _catalog(top: Sheet, version: int) -> Catalog:
    top.refuse_others(("collections", "limits"))
    tables = top.tables("collections", COLLECTIONS_MAX)
    if not tables:
        top.note("collections", "is missing: a catalogue has at least one [collections.NAME]")
    collections = {name: _collection(name, sheet) for name, sheet in tables}
    return Catalog(collections=collections, version=version, siblings=_siblings(top))


def _siblings(top: Sheet) -> int:
    """Return how many values may wait in one cell: the one limit that belongs to the rules."""
    limits = Sheet(top.notes, ("limits",), top.values.get("limits", {}))
    limits.refuse_others(("siblings",))
    most = limits.values.get("siblings", SIBLINGS_MAX)
    if type(most) is not int or not 1 <= most <= SIBLINGS_LIMIT_MAX:
        limits.note("siblings", f"must be a whole number from 1 to {SIBLINGS_LIMIT_MAX}")
        return SIBLINGS_MAX
    return most


def _collection(name: str, sheet: Sheet) -> Collection:
    if name in ROUTE_NAMES:
        sheet.notes.add(sheet.path, f"{shown(name)} is the name of a route of the service")
    sheet.refuse_others(COLLECTION_KEYS)
    fields, rules = _fields(sheet)
    return Collection(
        name=name,
        priority=cast("Priority", sheet.one_of("priority", PRIORITIES)),
        delete=_authorities(sheet, "delete"),
        against_edit=cast("AgainstEdit", sheet.one_of("against_edit", AGAINST_EDIT, "keep_edit")),
        scope=_scope(sheet),
        assignee_field=_person_field(sheet, "assignee_field", "assignee_id", fields),
        crew_field=_person_field(sheet, "crew_field", "crew", fields),
        fields=fields,
        cells=_cells(sheet, rules),
    )


def _fields(sheet: Sheet) -> tuple[dict[str, Field], dict[str, CellRule]]:
    fields: dict[str, Field] = {}
    rules: dict[str, CellRule] = {}
    for name, table in sheet.tables("fields", FIELDS_PER_COLLECTION_MAX):
        if name in FIELD_NAMES_TAKEN:
            table.notes.add(table.path, f"{shown(name)} is a key of the protocol, beside which the fields stand")
        table.refuse_others(FIELD_KEYS)
        fields[name] = _field(name, table)
        rules[name] = _rule(name, table, fields[name].kind)
        fields[name] = msgspec.structs.replace(fields[name], order=_order(table, fields[name], rules[name].merge))
        if rules[name].merge == "append":
            fields[name] = msgspec.structs.replace(fields[name], keeps_space=True)
    if not fields:
        sheet.note("fields", "is missing: a collection has at least one field")
    return fields, rules


def _field(name: str, sheet: Sheet) -> Field:
    kind = cast("kinds.Kind", sheet.one_of("kind", kinds.KINDS))
    of = "person" if sheet.one_of("of", ("text", "person"), "text") == "person" else "text"
    _refuse_misplaced(sheet, "of", kind, ("set",))
    field = Field(name=name, kind=kind, limit=_limit(sheet, kind), to=_target(sheet, kind))
    return msgspec.structs.replace(field, choices=_choices(sheet, kind), of=of)


def _refuse_misplaced(sheet: Sheet, key: str, kind: str, fitting: Sequence[str]) -> bool:
    if sheet.has(key) and kind not in fitting:
        sheet.note(key, f"means nothing for a field of kind {kind}", [f"kind {each}" for each in fitting])
        return True
    return False


def _choices(sheet: Sheet, kind: kinds.Kind) -> tuple[str, ...]:
    choices = sheet.words("choices")
    if _refuse_misplaced(sheet, "choices", kind, ("choice", "set")):
        return ()
    if kind == "choice" and not choices:
        sheet.note("choices", "is missing: a field of kind choice lists what may be chosen")
    if len(choices) > CHOICES_MAX:
        sheet.note("choices", f"has more than {CHOICES_MAX} entries")
    for choice in choices:
        _check_choice(sheet, choice)
    return choices


def _check_choice(sheet: Sheet, choice: str) -> None:
    # A choice that is not in canonical form could never be chosen.
    try:
        kept = kinds.canonical(kinds.Shape(kind="text", limit=kinds.MEMBER_CHARACTERS_MAX), choice)
    except kinds.BadValue as exc:
        sheet.note("choices", f"{shown(choice)}: {exc}")
        return
    if kept != choice or not choice:
        sheet.note("choices", f"{shown(choice)} is empty, has outer white space or is not in form NFC")


def _target(sheet: Sheet, kind: str) -> str:
    _refuse_misplaced(sheet, "to", kind, ("reference",))
    target = sheet.values.get("to", "")
    if kind == "reference" and not target:
        sheet.note("to", "is missing: a reference names the collection that it points to")
    return str(target)


def _limit(sheet: Sheet, kind: kinds.Kind) -> int:
    default = kinds.LIMIT_OF_KIND.get(kind, 0)
    if _refuse_misplaced(sheet, "limit", kind, tuple(SIZE_MAX)) or not sheet.has("limit"):
        return default
    limit = sheet.values["limit"]
    if type(limit) is not int or not 1 <= limit <= SIZE_MAX[kind]:
        sheet.note("limit", f"must be a whole number from 1 to {SIZE_MAX[kind]}")
        return default
    return limit


def _rule(name: str, sheet: Sheet, kind: kinds.Kind) -> CellRule:
    write = _authorities(sheet, "write")
    if sheet.has("write") and not sheet.values["write"]:
        sheet.note("write", "is empty: a field that nobody may write stays empty", AUTHORITIES)
    return CellRule(
        name=name,
        members=(name,),
        write=write,
        rank=_rank(sheet, write),
        tie=cast("Tie", sheet.one_of("tie", TIES, "first")),
        merge=_merge(sheet, kind),
    )


def _authorities(sheet: Sheet, key: str) -> frozenset[Authority]:
    if not sheet.has(key):
        sheet.note(key, "is missing: it lists the authority classes that may", AUTHORITIES)
    return frozenset(cast("tuple[Authority, ...]", sheet.words_in(key, AUTHORITIES)))


def _rank(sheet: Sheet, write: frozenset[Authority]) -> tuple[RankEntry, ...]:
    if not sheet.has("owner"):
        return _ranks(sheet, write)
    if sheet.has("rank"):
        sheet.note("owner", "is short for a rank with one entry: give owner or rank, not both")
    entry = RankEntry(cast("Authority", sheet.one_of("owner", AUTHORITIES)))
    _check_writes(sheet, ("owner",), entry, write)
    return (entry,)


def _ranks(sheet: Sheet, write: frozenset[Authority]) -> tuple[RankEntry, ...]:
    entries: list[RankEntry] = []
    for place, word in sheet.items("rank"):
        known = sheet.word_in(_RANK_WORDS, word, "rank", place)
        if known is None:
            continue
        entry = _rank_entry(known)
        _check_writes(sheet, ("rank", place), entry, write)
        if RankEntry(entry.authority) in entries:
            message = f"{shown(known)} is never reached: {shown(entry.authority)} above it means any"
            sheet.notes.add((*sheet.path, "rank", place), message)
        entries.append(entry)
    return tuple(entries)


def _rank_entry(word: str) -> RankEntry:
    authority, _, relation = word.partition(".")
    return RankEntry(cast("Authority", authority), cast("Relation", relation) if relation else None)


def _check_writes(sheet: Sheet, at: Path, entry: RankEntry, write: frozenset[Authority]) -> None:
    if write and entry.authority not in write:
        message = f"{shown(entry.word)} ranks here but may not write this field"
        sheet.notes.add((*sheet.path, *at), message, sorted(write))


def _merge(sheet: Sheet, kind: kinds.Kind) -> Merge | None:
    if not sheet.has("merge"):
        return None
    merge = cast("Merge", sheet.one_of("merge", MERGES))
    fitting = KINDS_OF_MERGE[merge]
    if sheet.values["merge"] == merge and kind not in fitting:
        allowed = [each for each in MERGES if kind in KINDS_OF_MERGE[each]]
        sheet.note("merge", f"{merge} needs kind {' or '.join(fitting)}, this field is {kind}", allowed)
    return merge


def _order(sheet: Sheet, field: Field, merge: Merge | None) -> tuple[tuple[str, ...], ...]:
    """Return the chains of a lattice: lists of choices, each from the lowest to the highest."""
    if merge != "lattice":
        if sheet.has("order"):
            sheet.note("order", 'means something only beside merge = "lattice"')
        return ()
    chains = sheet.values.get("order")
    if not isinstance(chains, list) or not chains or not all(isinstance(chain, list) for chain in chains):
        sheet.note("order", "is missing or no list of lists: a lattice lists chains of choices, from low to high")
        return ()
    order = tuple(tuple(str(step) for step in chain) for chain in chains)
    catalog_check.check_order(sheet, field, order)
    return order


def _scope(sheet: Sheet) -> tuple[ScopeSource, ...]:
    allowed = (*PLAIN_SOURCES, "parent:FIELD")
    if not sheet.has("scope"):
        sheet.note("scope", "is missing: it lists who sees a record; [] is nobody in the field", allowed)
    found = []
    for place, word in sheet.items("scope"):
        source, _, field = str(word).partition(":")
        if source == "parent" and field:
            found.append(ScopeSource("parent", field))
        elif sheet.word_in(allowed, word if word != "parent:FIELD" else "parent", "scope", place):
            found.append(ScopeSource(cast("Source", str(word))))
    return tuple(found)


def _person_field(sheet: Sheet, key: str, usual: str, fields: dict[str, Field]) -> str | None:
    if not sheet.has(key):
        return usual if usual in fields else None
    name = sheet.values[key]
    if isinstance(name, str) and name in fields:
        return name
    sheet.note(key, f"{shown(name)} is no field of this collection{did_you_mean(name, tuple(fields))}")
    return None


def _cells(sheet: Sheet, rules: dict[str, CellRule]) -> dict[str, CellRule]:
    """Return the cells: each group under its own name, each other field under its."""
    cells = dict(rules)
    groups = Sheet(sheet.notes, (*sheet.path, "groups"), sheet.values.get("groups", {}))
    for name in groups.values:
        groups.refuse_bad_name(name)
        members = catalog_check.group_members(groups, name, rules, cells)
        if members:
            first = rules[members[0]]
            cells = {each: rule for each, rule in cells.items() if each not in members}
            cells[name] = msgspec.structs.replace(first, name=name, members=members, is_group=True)
    return cells
