"""The test vectors of `tests/vectors/`: cases by name, for our tests and for whoever writes a device or a hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from replication import catalog_file, hub, kinds
from replication.catalog import Catalog
from replication.memberships import Interval, Memberships
from replication.mutation import Mutation
from replication.record import ALIVE, Cell, Record, Sibling, Stamp
from replication.state import Answer, Replica, State, Submission
from replication.verdict import MutationVerdict
from replication.versions import Dot

Case: TypeAlias = dict[str, Any]

FOLDER: Final = Path(__file__).parent / "vectors"
HUB: Final = Replica(1, "hub", applied=5)


def read(name: str) -> Case:
    """Return a file of vectors."""
    found: Case = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def cases(name: str, group: str = "cases") -> list[Case]:
    """Return the cases of one group of a file."""
    found: list[Case] = read(name)[group]
    return found


def shape(told: Case) -> kinds.Shape:
    """Return what a case says of a field."""
    return msgspec.convert(told, kinds.Shape)


def entry(told: Case) -> str:
    """Return a part of a catalogue as TOML writes it."""
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in told.items()) + " }"


def only_field(told: Case) -> Catalog:
    """Return a catalogue of one collection `jobs` whose one field `cell` is this."""
    field = entry({"write": ["device", "office"], **told})
    head = '[collections.jobs]\npriority = "job"\ndelete = []\nscope = ["all"]\n[collections.jobs.fields]\n'
    return catalog_file.parse(f"{head}cell = {field}\n", version=1)


def concurrent(catalog: Catalog, case: Case) -> tuple[MutationVerdict, State]:
    """Return what becomes of a device's write on the cell, whose incumbent it had not seen."""
    key = ("jobs", "3f0e2f6a-93a5-4f5b-8f40-0f1b7f3c2d11")
    there = Stamp(Dot(2, 1), "office", "", "dora")
    cells = {ALIVE: Cell(True, there, 10, {2: 1}), "cell": Cell(case["current"], there, 10, {2: 1})}
    state = State(
        seq=10,
        hub_rid=1,
        catalog=catalog,
        replicas={1: msgspec.structs.replace(HUB), 10: Replica(10, "device")},
        records={key: Record(*key, 10, cells)},
        memberships=Memberships(),
    )
    parts: Case = {part: {"cell": case[part]} for part in ("set", "do", "was") if part in case}
    whole: Case = {"n": 1, "op": "set", "collection": key[0], "id": key[1], **parts}
    mutation = msgspec.convert(whole, Mutation)
    answer = hub.judge(state, Submission(rid=10, person="ana", authority="device", mutations=(mutation,)))
    return _only(answer), state


class Table:
    """The hub of `verdicts.json` before the write of one case."""

    def __init__(self, head: Case, case: Case) -> None:
        self.head, self.case = head, case
        self.key = (case.get("collection", "jobs"), head["record"])
        catalogue = "\n".join(head["catalogue"])
        self.state = State(
            seq=head["seq"],
            hub_rid=1,
            catalog=catalog_file.parse(catalogue, version=head["schema"]),
            replicas={1: msgspec.structs.replace(HUB)},
            records={},
            memberships=Memberships(),
            restored_to=case.get("restored_to", 0),
        )
        former = "\n".join(head["former_catalogue"])
        self.state.older = {head["schema"] - 1: catalog_file.parse(former, version=head["schema"] - 1)}
        for name, told in head["replicas"].items():
            rid = told["rid"]
            fenced = name in case.get("fenced", ())
            clock, applied = told.get("clock", 0), told.get("applied", 0)
            self.state.replicas[rid] = Replica(rid, told["kind"], applied, fenced=fenced, clock=clock)
            self._hold(name, told)
        if case.get("cells") is not None or case.get("known", True):
            self._know(case.get("cells", {}))

    def _hold(self, name: str, told: Case) -> None:
        """Give a person the intervals in which they held the record."""
        for relation, since, until in told.get("holds", ()):
            count = 0 if until else 1
            self.state.memberships.load(self.key, Interval(f"{relation}:{name}", since, until, count))

    def _know(self, told: Case) -> None:
        alive = {"value": True, "by": "office", "dot": [2, 1], "seq": 10}
        cells = {name: self._cell(cell) for name, cell in {ALIVE: alive, **told}.items()}
        rev = max(max(cell.seq, *(s.seq for s in cell.siblings), 0) for cell in cells.values())
        self.state.records[self.key] = Record(*self.key, rev, cells)

    def _cell(self, told: Case) -> Cell:
        dot = Dot(*told["dot"])
        vector = {int(rid): n for rid, n in told.get("vv", {dot.rid: dot.n}).items()}
        twins = tuple(map(self._stamp, told.get("twins", ())))
        siblings = tuple(Sibling(each["value"], self._stamp(each), each["seq"]) for each in told.get("siblings", ()))
        return Cell(told["value"], self._stamp(told), told["seq"], vector, twins, siblings)

    def _stamp(self, told: Case) -> Stamp:
        by = self.head["replicas"][told["by"]]
        relation = told.get("relation", by.get("relation", ""))
        return Stamp(Dot(*told["dot"]), by["authority"], relation, told["by"], None, told.get("time", 0))

    def push(self, writes: list[Case]) -> list[MutationVerdict]:
        """Submit writes of one replica together and return what they are told."""
        by = self.head["replicas"][writes[0]["by"]]
        replica = self.state.replicas[by["rid"]]
        numbered = replica.kind == "device"
        if numbered and replica.applied == 0:
            replica.applied = writes[0]["n"] - 1
        given: Case = {"rid": by["rid"], "person": writes[0]["by"], "authority": by["authority"], "numbered": numbered}
        head: Case = {name: writes[0][name] for name in ("schema", "received", "offset", "rescue") if name in writes[0]}
        served: int = {"served": self.head["seq"], **writes[0]}["served"]
        mutations = tuple(map(self._mutation, writes))
        answer = hub.judge(self.state, Submission(**given, **head, served=served, mutations=mutations))
        return [verdict for verdict in answer.verdicts if isinstance(verdict, MutationVerdict)]

    def _mutation(self, write: Case) -> Mutation:
        beside = {"by", "schema", "received", "offset", "rescue", "served", "acting"}
        parts = {name: value for name, value in write.items() if name not in beside}
        if "acting" in write:
            parts["by"] = write["acting"]
        whole = {"n": 0, "op": "set", "collection": self.key[0], "id": self.key[1], "base": 0, "rev": 0, **parts}
        for vector in whole.get("context", {}).values():
            vector.update({int(rid): vector.pop(rid) for rid in list(vector)})
        return msgspec.convert(whole, Mutation)

    def stored(self, name: str) -> Case:
        """Return what a cell holds now, in the words of the cases."""
        cell = self.state.record(self.key).cells[name]
        return {
            "value": cell.value,
            "dot": list(cell.stamp.dot),
            "seq": cell.seq,
            "vv": {str(rid): n for rid, n in cell.vv.items()},
            "twins": [list(twin.dot) for twin in cell.twins],
            "siblings": [[sibling.value, list(sibling.stamp.dot)] for sibling in cell.siblings],
        }

    def conflicts(self) -> list[Case]:
        """Return the entries that were made, in the words of the cases."""
        return [
            {
                "cell": row.entry.cell,
                "rule": row.entry.rule,
                "state": row.entry.state,
                "winner": row.entry.winner.value,
                "loser": row.entry.loser.value,
            }
            for row in self.state.effects.conflicts
        ]


def _only(answer: Answer) -> MutationVerdict:
    (verdict,) = answer.verdicts
    assert isinstance(verdict, MutationVerdict), answer
    return verdict
