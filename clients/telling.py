"""The storyteller: lines for people, and the verdicts of devices and office among them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from clients import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.cast import Cast, Technician
    from clients.office import Explained, Told
    from replication.mutation import Mutation
    from replication.verdict import CellVerdict

COLUMNS: Final = 110
INDENT: Final = "   "
CELL_COLUMNS: Final = 28


class Teller:
    """Tells a story to `write`, scene by scene."""

    def __init__(self, cast: Cast, write: Callable[[str], object]) -> None:
        self._cast = cast
        self._write = write
        self._scenes = 0

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        self._write(f"\n{self._scenes}. {title}\n")

    def say(self, text: str) -> None:
        """Tell something."""
        self._lines(text, INDENT, INDENT + "  ")

    def offline(self, technician: Technician, relation: str) -> None:
        """Tell what a technician did that nobody else knows of yet."""
        self.say(f"{technician.name} ({relation}), offline:")
        for mutation in technician.device.unsent:
            self._lines(f"{mutation.op} {words.asked(mutation)}", INDENT * 2, INDENT * 3)

    async def answers(self, technician: Technician) -> None:
        """Tell the verdicts that a device got since it was last spoken of."""
        self.say(f"{technician.name} syncs and is told:")
        for answered in technician.device.verdicts:
            if answered.mutation.n > technician.told:
                technician.told = answered.mutation.n
                await self._verdict(answered.mutation, answered.verdict.cells)

    async def _verdict(self, mutation: Mutation, cells: dict[str, CellVerdict]) -> None:
        for name, told in cells.items():
            done = words.operation(mutation.do[name]) if name in mutation.do else words.value(mutation.set.get(name))
            await self._cell(name, told, done)

    async def office(self, told: Told, asked: dict[str, object]) -> None:
        """Tell what became of a write of the office."""
        for name, verdict in told.cells.items():
            await self._cell(name, verdict, words.value(asked.get(name)))

    async def _cell(self, name: str, told: CellVerdict, sent: str) -> None:
        page = await self._page(told)
        text = words.cell(told, sent, page, self._cast.name)
        head = f"{INDENT * 2}{name + ' ' + told.verdict:<{CELL_COLUMNS}} "
        self._lines(text, head, " " * len(head))

    async def _page(self, told: CellVerdict) -> Explained | None:
        return await self._cast.office.conflict(told.conflict) if told.conflict else None

    def _lines(self, text: str, first: str, rest: str) -> None:
        self._write(textwrap.fill(text, COLUMNS, initial_indent=first, subsequent_indent=rest) + "\n")
