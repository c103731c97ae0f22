"""Verdicts in plain words: what became of a write, by which rule, and where what lost is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from clients.office import Explained
    from replication.mutation import Mutation
    from replication.verdict import CellVerdict, Side

TEXT_CHARACTERS: Final = 60
OPERATIONS: Final = {"append": "add {}", "inc": "{} more", "add": "put in {}", "remove": "take out {}"}


class Words:
    """Tells values and verdicts, with names for the ids that it has heard of."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def know(self, identity: str, name: str) -> None:
        """Hear of a person or a record."""
        self._known[identity] = name

    def person(self, identity: str) -> str:
        """Return the name of a person; whoever is no technician speaks for the office."""
        return self._known.get(identity, "the dispatcher")

    def value(self, found: Any) -> str:
        """Return a value as it is told; a long text by its end, which is where additions are."""
        if found is None:
            return "nothing"
        if isinstance(found, dict):
            return ", ".join(f"{name} {self.value(part)}" for name, part in found.items())
        if isinstance(found, list):
            return f"[{', '.join(map(self.value, found))}]"
        if found in self._known:
            return self._known[found]
        text = " / ".join(str(found).strip().split("\n"))
        return f'"{text}"' if len(text) <= TEXT_CHARACTERS else f'"…{text[-TEXT_CHARACTERS:]}"'

    def asked(self, mutation: Mutation) -> str:
        """Return what a mutation asks for."""
        parts = [f"{cell} = {self.value(sent)}" for cell, sent in mutation.set.items()]
        parts += [f"{cell}: {self._operation(op)}" for cell, op in mutation.do.items()]
        return "; ".join(parts)

    def sent(self, mutation: Mutation, cell: str) -> str:
        """Return what a mutation asks for one cell."""
        return self._operation(mutation.do[cell]) if cell in mutation.do else self.value(mutation.set.get(cell))

    def _operation(self, op: dict[str, Any]) -> str:
        told = {name: str(operand) if name == "inc" else self.value(operand) for name, operand in op.items()}
        return " and ".join(OPERATIONS[name].format(operand) for name, operand in told.items())

    def outcome(self, told: CellVerdict, sent: str, page: Explained | None) -> str:
        """Return what became of one cell. `page` is the conflict that the verdict names, if it names one."""
        return self._unopposed(told, sent) if page is None else self._opposed(told, page)

    def _opposed(self, told: CellVerdict, page: Explained) -> str:
        entry = page.conflict
        winner, loser = self._side(entry.winner), self._side(entry.loser)
        match told.verdict:
            case "merged":
                return (
                    f"{page.sentence} The record has {self.value(told.value)}; both parts are in conflict {entry.id}."
                )
            case "parked":
                return f"{page.sentence} {winner} is shown meanwhile; {loser} waits beside it as conflict {entry.id}."
            case _:
                return f"{winner} stands against {loser}: {page.sentence} What lost is kept in conflict {entry.id}."

    def _unopposed(self, told: CellVerdict, sent: str) -> str:
        match told.verdict:
            case "applied":
                return f"{sent}: done; what stood there had been seen."
            case "merged":
                return f"{sent}: taken in beside what others wrote; the record has {self.value(told.value)}."
            case "converged":
                return f"{sent}: the record says so already."
            case "absorbed":
                return f"{sent}: known from before."
            case _:
                return f"{sent}: {told.code}, {told.message}. It is kept with its verdict."

    def _side(self, side: Side) -> str:
        return f"{self.person(side.person)}'s {self.value(side.value)}"
