"""Plays a story: devices, an office and the ERP around a hub in memory, driven by plain sentences.

The devices are the real device half, the hub is the real hub; only wires and database are left out.
A pull takes the whole feed of its person, which is what a store would serve.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import msgspec

from replication import catalog_file, device, hub
from replication.memberships import Memberships
from replication.mutation import Mutation
from replication.record import fields
from replication.state import Answer, Replica, State, Submission
from replication.verdict import MutationVerdict

if TYPE_CHECKING:
    from replication.device import Copy
    from replication.rows import FeedRow

ROOT: Final = UUID(int=0xF1E1D)
HUB, OFFICE, ERP = 1, 2, 3
OTHERS: Final = {"office": OFFICE, "erp": ERP}


class Phone(msgspec.Struct):
    """A person's device: its copies, what is unanswered, and how far it has pulled."""

    rid: int
    person: str
    copies: dict[str, Copy] = {}
    outbox: list[Mutation] = []
    position: int = 0
    n: int = 0


class Stage:
    """The hub and everybody around it, by name."""

    def __init__(self, catalogue: str) -> None:
        replicas = {HUB: Replica(HUB, "hub"), OFFICE: Replica(OFFICE, "office"), ERP: Replica(ERP, "connection")}
        self.state = State(
            seq=0,
            hub_rid=HUB,
            catalog=catalog_file.parse(catalogue),
            replicas=replicas,
            records={},
            memberships=Memberships(),
        )
        self.phones: dict[str, Phone] = {}
        self.records: dict[str, tuple[str, str]] = {}
        self.opened: dict[str, int] = {}
        self.told: list[MutationVerdict] = []

    def play(self, line: str) -> None:
        """Do or check what one sentence says."""
        words = shlex.split(line)
        if words[0] == "hub":
            self._check_hub(words[1:])
        elif words[0] in OTHERS:
            self._act_elsewhere(words[0], words[1], words[2:])
        else:
            self._act_on_phone(self._phone(words[0]), words[1], words[2:])

    def verdicts(self) -> list[str]:
        """Return what the last push or write was told, one line for each cell."""
        lines = []
        for verdict in self.told:
            name = next(name for name, key in self.records.items() if key[1] == verdict.id)
            if verdict.code and not verdict.cells:
                lines.append(f"{name} {verdict.verdict} {verdict.code}")
            lines += [
                " ".join(filter(None, (f"{name}.{cell}", told.verdict, told.code or told.rule)))
                for cell, told in verdict.cells.items()
            ]
        return lines

    def _phone(self, name: str) -> Phone:
        if name not in self.phones:
            rid = 10 + len(self.phones)
            self.phones[name] = Phone(rid, self._person(name))
            self.state.replicas[rid] = Replica(rid, "device")
        return self.phones[name]

    def _person(self, name: str) -> str:
        return str(uuid5(ROOT, name))

    def _values(self, words: list[str]) -> dict[str, Any]:
        """Read `field=value`; a value is JSON, a person's name, a record's name, or plain text."""
        return {name: self._value(text) for name, _, text in (word.partition("=") for word in words)}

    def _value(self, text: str) -> Any:
        if text in self.records:
            return self.records[text][1]
        if text.startswith("@"):
            return self._person(text[1:])
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _act_elsewhere(self, who: str, verb: str, words: list[str]) -> None:
        if verb == "creates":
            self.records[words[1]] = (words[0], str(uuid5(ROOT, words[1])))
            self._submit(who, "create", words[1], words[2:], base=0)
        elif verb == "opens":
            self.opened[words[0]] = self.state.record(self.records[words[0]]).rev
        elif verb == "saves":
            self._submit(who, "set", words[0], words[1:], base=self.opened[words[0]])
        else:
            op = {"sets": "set", "deletes": "delete", "restores": "restore"}[verb]
            self._submit(who, op, words[0], words[1:], base=self.state.record(self.records[words[0]]).rev)

    def _submit(self, who: str, op: str, name: str, words: list[str], *, base: int) -> None:
        collection, record_id = self.records[name]
        mutation = Mutation(n=0, op=op, collection=collection, id=record_id, base=base, set=self._values(words))
        self._take(
            hub.judge(
                self.state,
                Submission(rid=OTHERS[who], person=who, authority=who, mutations=(mutation,), numbered=False),
            )
        )

    def _take(self, answer: Answer) -> None:
        assert answer.problem is None, answer.problem
        self.told = [verdict for verdict in answer.verdicts if isinstance(verdict, MutationVerdict)]

    def _act_on_phone(self, phone: Phone, verb: str, words: list[str]) -> None:
        match verb:
            case "creates":
                self.records[words[1]] = (words[0], str(uuid5(ROOT, words[1])))
                self._edit(phone, words[1], device.Act(op="create", fields=self._values(words[2:])))
            case "sets" | "deletes":
                op = verb.removesuffix("s")
                self._edit(phone, words[0], device.Act(op=op, fields=self._values(words[1:])))
            case "does":
                self._edit(phone, words[0], device.Act(do={words[1]: self._values(words[2:])}))
            case "pushes":
                self._push(phone, lost="lost" in words)
            case "pulls":
                self._pull(phone)
            case "sees":
                self._check_fields(self._view(phone, words[0]) or {}, words[1:])
            case "misses":
                assert self._view(phone, words[0]) is None, f"{words[0]} is still there"
            case _:
                raise AssertionError(f"nobody knows how somebody {verb!r}")

    def _copy(self, phone: Phone, name: str) -> Copy:
        return phone.copies.get(name) or device.Copy(*self.records[name])

    def _layout(self, name: str) -> device.Layout:
        return device.layout_of(self.state.catalog.collections[self.records[name][0]])

    def _view(self, phone: Phone, name: str) -> dict[str, Any] | None:
        copy = self._copy(phone, name)
        return None if copy.gone else device.view(copy, self._layout(name))

    def _edit(self, phone: Phone, name: str, act: device.Act) -> None:
        phone.n += 1
        copy, mutation = device.edit(self._copy(phone, name), self._layout(name), act, phone.n)
        phone.copies[name] = copy
        phone.outbox.append(mutation)

    def _push(self, phone: Phone, *, lost: bool) -> None:
        push = Submission(
            rid=phone.rid,
            person=phone.person,
            authority="device",
            mutations=tuple(phone.outbox),
            served=phone.position,
        )
        self._take(hub.judge(self.state, push))
        if lost:
            return
        for mutation, verdict in zip(phone.outbox, self.told, strict=True):
            name = next(name for name, key in self.records.items() if key[1] == mutation.id)
            phone.copies[name] = device.settle(phone.copies[name], self._layout(name), mutation, verdict)
        phone.outbox.clear()

    def _pull(self, phone: Phone) -> None:
        for row in self.state.effects.feed:
            if row.seq > phone.position and row.reader in {phone.person, "all"}:
                self._deliver(phone, row)
        phone.position = self.state.seq

    def _deliver(self, phone: Phone, row: FeedRow) -> None:
        named = {key: name for name, key in self.records.items()}
        name = named[row.collection, row.record_id]
        copy, layout = self._copy(phone, name), self._layout(name)
        log = [c for c in self.state.effects.changes if (c.collection, c.record_id) == (row.collection, row.record_id)]
        newest = [change for change in log if change.seq <= row.seq][-1]
        match row.op:
            case "leave":
                phone.copies[name] = device.leave(copy, row.commit_seq)
            case "delete":
                phone.copies[name] = device.delete(copy, newest.seq, row.commit_seq)
            case _:
                phone.copies[name] = device.put(copy, layout, newest.seq, newest.state, row.commit_seq)

    def _check_hub(self, words: list[str]) -> None:
        match words:
            case ["shows", name, *wanted]:
                record = self.state.record(self.records[name])
                shown = fields(record, self.state.catalog.collections[record.collection])
                self._check_fields({**shown, "$alive": record.alive}, wanted)
            case ["keeps", place, value]:
                name, _, cell = place.partition(".")
                kept = [
                    row.entry.loser.value
                    for row in self.state.effects.conflicts
                    if (row.entry.record_id, row.entry.cell) == (self.records[name][1], cell)
                ]
                assert self._value(value) in kept, f"of {place} is kept: {kept}"
            case ["has", count, "conflicts"]:
                assert len(self.state.effects.conflicts) == int(count), self.state.effects.conflicts
            case _:
                raise AssertionError(f"nobody knows what the hub {' '.join(words)!r}")

    def _check_fields(self, shown: dict[str, Any], wanted: list[str]) -> None:
        for name, value in self._values(wanted).items():
            assert shown.get(name) == value, f"{name} is {shown.get(name)!r} and not {value!r}"
