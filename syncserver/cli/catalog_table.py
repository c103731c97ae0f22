"""A catalogue as tables in Markdown, for a terminal and for docs/conflicts.md alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from replication.catalog import Catalog, CellRule, Collection, Field

COLUMNS = ("field", "kind", "written by", "when concurrent")
TIES = {
    "first": "the first to arrive stays",
    "last": "the last to arrive wins",
    "manual": "a person decides",
}


def tables(catalog: Catalog) -> str:
    """Return one heading, one line and one table for each collection."""
    return "\n\n".join(map(_collection, catalog.collections.values()))


def _collection(collection: Collection) -> str:
    rows = [_row(collection, rule, member) for rule in collection.cells.values() for member in rule.members]
    facts = (
        f"priority {collection.priority}",
        f"deleted by {_list(sorted(collection.delete))}",
        f"against an edit {collection.against_edit}",
        f"scope {_list(_code(source.word) for source in collection.scope)}",
    )
    return f"### {collection.name}\n\n{_capital('; '.join(facts))}.\n\n{_table(rows)}"


def _row(collection: Collection, rule: CellRule, member: str) -> tuple[str, ...]:
    group = f" (in {_code(rule.name)})" if rule.is_group else ""
    written_by = _list(sorted(rule.write))
    return f"{_code(member)}{group}", _kind(collection.fields[member]), written_by, _settled(rule)


def _kind(field: Field) -> str:
    if field.to:
        return f"{field.kind} to {_code(field.to)}"
    if field.choices:
        return f"{field.kind}: {', '.join(field.choices)}"
    return f"{field.kind} of persons" if field.of == "person" else field.kind


def _settled(rule: CellRule) -> str:
    """Return what settles two writes, in the order in which it is asked."""
    steps = [f"merge: {rule.merge}"] if rule.merge else []
    steps += [" > ".join(_code(entry.word) for entry in rule.rank)] if rule.rank else []
    return "; then ".join([*steps, TIES[rule.tie]])


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    line = tuple("-" * width for width in widths)
    return "\n".join(_line(row, widths) for row in (COLUMNS, line, *rows))


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return f"| {' | '.join(cells)} |"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "nobody"


def _code(word: str) -> str:
    return f"`{word}`"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
