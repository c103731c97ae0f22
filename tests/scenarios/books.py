"""What a vendor was told in a story, and which edit follows from what it shows afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upstream import sighting
from upstream.sighting import Confirmed, Edit, Sighting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from replication.verdict import MutationVerdict


class Books:
    """The records of one vendor, who has our names for the fields."""

    def __init__(self) -> None:
        self._confirmed: dict[str, Confirmed] = {}
        self._sightings: dict[str, Sighting] = {}

    def take(self, name: str, fields: Mapping[str, Any], seq: int) -> None:
        """Be told a record, and confirm it."""
        self._confirmed[name] = Confirmed(fields=dict(fields), seq=seq)

    def shown(self, name: str, fields: Mapping[str, Any]) -> Edit:
        """Return what the vendor changed, if it shows these fields now and the others as it was told them."""
        told = self._confirmed[name]
        now = {**told.fields, **fields}
        cells = dict(zip(now, now, strict=True))
        seen = self._sightings.get(name, Sighting())
        return sighting.edit(now, told.fields, cells, sighting=seen, confirmed=told, told=frozenset(told.fields))

    def judged(self, name: str, fields: Mapping[str, Any], verdict: MutationVerdict | None) -> None:
        """Note what became of what it showed."""
        seen, told = self._sightings.get(name, Sighting()), self._confirmed[name]
        self._sightings[name] = sighting.after({**told.fields, **fields}, "", verdict, before=seen, confirmed=told)
