"""Who holds which record of the oracle: worked out anew from all values, and never kept up to date.

Shares no code with `replication`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.oracle_alive import Rec
from tests.oracle_cell import Key
from tests.oracle_values import Table


class Scope:
    """Who holds what at this moment, and what each person held at others."""

    def __init__(self, collections: Mapping[str, Table]) -> None:
        self.collections = collections
        self.holders: dict[Key, set[str]] = {}
        self.ended: list[tuple[int, Key, str]] = []

    def copy(self, collections: Mapping[str, Table]) -> Scope:
        """Return the same again, by this catalogue, to be changed without harm to this one."""
        twin = Scope(collections)
        twin.holders, twin.ended = self.holders, [*self.ended]
        return twin

    def holds(self, key: Key, person: str) -> bool:
        """Tell whether the person has the record in hand."""
        return any(each.endswith(f":{person}") for each in self.holders.get(key, ()))

    def relations(self, key: Key, person: str, held: int) -> set[str]:
        """Return how the person is related to a record; nothing: they are not, and were not since `held`."""
        if "all" in self._reasons(key[0]):
            return {"linked"}
        mine = {each.split(":")[0] for each in self.holders[key] if each.endswith(f":{person}")}
        late = any(
            record == key and each.endswith(f":{person}") and moment > held for moment, record, each in self.ended
        )
        return mine or ({"former"} if late else set())

    def settle(self, records: Mapping[Key, Rec], moment: int) -> None:
        """Work out from nothing who holds what, parents first, and note what has ended."""
        before, self.holders = self.holders, {}
        for key in sorted(records, key=lambda each: len(self.parents(each[0]))):
            self.holders[key] = self._holders(key, records[key])
            ended = before.get(key, set()) - self.holders[key]
            self.ended += [(moment, key, each) for each in sorted(ended)]

    def _holders(self, key: Key, rec: Rec) -> set[str]:
        scope = self._reasons(key[0])
        assignee, found = rec.value("assignee_id"), set()
        if "creator_until_assigned" in scope and assignee:
            rec.maker = None
        if "assignee" in scope and assignee:
            found.add(f"assignee:{assignee}")
        if "crew" in scope:
            found |= {f"crew:{person}" for person in rec.value("crew") or []}
        if rec.maker and {"creator", "creator_until_assigned"} & set(scope):
            found.add(f"creator:{rec.maker}")
        for name in self.parents(key[0]):
            found |= self.holders.get((self.collections[key[0]]["fields"][name]["to"], rec.value(name)), set())
        return found

    def parents(self, collection: str) -> list[str]:
        """Return the fields that name the records this one is seen together with."""
        return [each.split(":")[1] for each in self._reasons(collection) if each.startswith("parent:")]

    def _reasons(self, collection: str) -> list[str]:
        """Return for which reasons somebody sees a record; of a collection that is no more, for none."""
        return list(self.collections.get(collection, {}).get("scope", []))
