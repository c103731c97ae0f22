"""Verdicts in plain words: what became of a write, by which rule, and where what lost is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.office import Explained
    from replication.mutation import Mutation
    from replication.verdict import CellVerdict, Side

TEXT_CHARACTERS: Final = 60

OPERATIONS: Final = {"append": "add {}", "inc": "count {} more", "add": "put in {}", "remove": "take out {}"}


def value(found: Any) -> str:
    """Return a value as it is told; a long text by its last words, where additions are."""
    if found is None:
        return "nothing"
    if isinstance(found, dict):
        return ", ".join(f"{name} {value(part)}" for name, part in found.items())
    if isinstance(found, list):
        return f"[{', '.join(map(value, found))}]"
    text = " / ".join(str(found).split("\n"))
    return f'"{text}"' if len(text) <= TEXT_CHARACTERS else f'"…{text[-TEXT_CHARACTERS:]}"'


def operation(op: dict[str, Any]) -> str:
    """Return an operation as it is told."""
    return " and ".join(OPERATIONS[name].format(value(operand)) for name, operand in op.items())


def asked(mutation: Mutation) -> str:
    """Return what a mutation asks for."""
    parts = [f"{cell} = {value(sent)}" for cell, sent in mutation.set.items()]
    parts += [f"{cell}: {operation(op)}" for cell, op in mutation.do.items()]
    return "; ".join(parts)


def cell(told: CellVerdict, sent: str, page: Explained | None, name: Callable[[str], str]) -> str:
    """Return what became of one cell. `page` is the conflict that the verdict names, if it names one."""
    if page is None:
        return _unopposed(told, sent)
    entry = page.conflict
    winner, loser = _side(entry.winner, name), _side(entry.loser, name)
    match told.verdict:
        case "merged":
            return f"{page.sentence} The record has {value(told.value)}, the entry both parts: conflict {entry.id}."
        case "parked":
            return f"{page.sentence} Shown meanwhile is {winner}; {loser} waits beside it in conflict {entry.id}."
        case _:
            return f"{winner} stands against {loser}. {page.sentence} The other is kept in conflict {entry.id}."


def _unopposed(told: CellVerdict, sent: str) -> str:
    match told.verdict:
        case "applied":
            return f"{sent}: done. Whatever stood there had been seen, so there is nothing to decide."
        case "merged":
            return f"{sent}: taken in beside what others wrote; the record has {value(told.value)}."
        case "converged":
            return f"{sent}: the record says so already."
        case "absorbed":
            return f"{sent}: known from before."
        case _:
            return f"{sent}: {told.verdict}, {told.code}. {told.message or ''} It is kept with its verdict."


def _side(side: Side, name: Callable[[str], str]) -> str:
    who = name(side.person)
    return f"{who}'s {value(side.value)}"
