"""The storyteller: lines for people, the verdicts of devices and office, and what was promised of them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from clients.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.cast import Cast, Technician
    from clients.office import Told
    from clients.store import Answered
    from replication.verdict import CellVerdict

COLUMNS: Final = 110
INDENT: Final = "   "
CELL_COLUMNS: Final = 22


class Teller:
    """Tells a story to `write`, scene by scene, and keeps the promises that did not come true."""

    def __init__(self, cast: Cast, write: Callable[[str], object]) -> None:
        self._office = cast.office
        self._write = write
        self._scenes = 0
        self.words = Words()
        self.broken: list[str] = []
        for technician in cast.technicians:
            self.words.know(technician.id, technician.name)

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        self._write(f"\n{self._scenes}. {title}\n")

    def say(self, text: str) -> None:
        """Tell something."""
        self._lines(text, INDENT, INDENT * 2)

    def promise(self, text: str, *, kept: bool) -> None:
        """Tell what had to come true; if it did not, it counts at the end."""
        self.say(text if kept else f"NOT SO: {text}")
        if not kept:
            self.broken.append(text)

    def offline(self, technician: Technician, relation: str) -> None:
        """Tell what a technician did that nobody else knows of yet."""
        self.say(f"{technician.name} ({relation}), offline:")
        for mutation in technician.device.unsent:
            done = "" if mutation.op == "set" else f"{mutation.op} in {mutation.collection}: "
            self._lines(done + self.words.asked(mutation), INDENT * 2, INDENT * 3)

    async def answers(self, technician: Technician) -> None:
        """Tell the verdicts that a device got since it was last spoken of."""
        self.say(f"{technician.name} syncs and is told:")
        for answered in technician.device.verdicts:
            if answered.mutation.n > technician.told:
                technician.told = answered.mutation.n
                await self._answer(answered)

    async def _answer(self, answered: Answered) -> None:
        mutation, cells = answered.mutation, answered.verdict.cells
        if mutation.op == "create" and {told.verdict for told in cells.values()} == {"applied"}:
            self._told("created applied", f"all {len(cells)} fields are in the record.")
            return
        for name, told in cells.items():
            await self._cell(name, told, self.words.sent(mutation, name))

    async def office(self, manner: str, told: Told, asked: dict[str, Any]) -> None:
        """Tell what the dispatcher did, and what became of it."""
        self.say(f"The dispatcher {manner} and is told:")
        for name, verdict in told.cells.items():
            await self._cell(name, verdict, self.words.value(asked.get(name)))

    async def _cell(self, name: str, told: CellVerdict, sent: str) -> None:
        page = await self._office.conflict(told.conflict) if told.conflict else None
        self._told(f"{name} {told.verdict}", self.words.outcome(told, sent, page))

    def _told(self, head: str, text: str) -> None:
        first = f"{INDENT * 2}{head:<{CELL_COLUMNS}} "
        self._lines(text, first, " " * len(first))

    def _lines(self, text: str, first: str, rest: str) -> None:
        self._write(textwrap.fill(text, COLUMNS, initial_indent=first, subsequent_indent=rest) + "\n")
