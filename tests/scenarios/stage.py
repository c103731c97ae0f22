"""Plays a story: devices, an office and the ERP around a hub in memory, driven by plain sentences.

The devices are the real device half, the hub is the real hub; only wires and database are left out.
A pull takes the whole feed of its person, which is what a store would serve.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import msgspec

from replication import catalog_file, device, hub
from replication.memberships import Memberships
from replication.mutation import Mutation
from replication.record import ALIVE, fields
from replication.state import Answer, Replica, Shown, State, Submission
from replication.verdict import MutationVerdict
from tests.scenarios.books import Books
from tests.scenarios.phones import Phone
from tests.scenarios.story import catalogue

if TYPE_CHECKING:
    from replication.catalog import Catalog
    from replication.rows import HeldRow
    from replication.verdict import Conflict

ROOT: Final = UUID(int=0xF1E1D)
HUB, OFFICE, ERP = 1, 2, 3
OTHERS: Final = {"office": OFFICE, "erp": ERP}
MINUTE_MS: Final = 60_000
TIME_OF_DAY: Final = re.compile(r"(\d\d):(\d\d)")


class Stage:
    """The hub and everybody around it, by name."""

    def __init__(self, catalogue_text: str) -> None:
        replicas = {HUB: Replica(HUB, "hub"), OFFICE: Replica(OFFICE, "office"), ERP: Replica(ERP, "connection")}
        first = catalog_file.parse(catalogue_text, version=1)
        self.state = State(seq=0, hub_rid=HUB, catalog=first, replicas=replicas, records={}, memberships=Memberships())
        self.catalogs: dict[int, Catalog] = {1: first}
        self.backup: State | None = None
        self.phones: dict[str, Phone] = {}
        self.books = Books()
        self.records: dict[str, tuple[str, str]] = {}
        self.opened: dict[str, int] = {}
        self.told: list[MutationVerdict] = []
        self.now_ms: int | None = None

    def play(self, line: str) -> None:
        """Do or check what one sentence says. It may begin with the time of day."""
        who, *words = shlex.split(line)
        time = TIME_OF_DAY.fullmatch(who)
        if time is not None:
            self.now_ms = (int(time[1]) * 60 + int(time[2])) * MINUTE_MS
            who, *words = words
        if who == "hub":
            self._act_in_the_hub(words)
        elif who in OTHERS:
            self._act_elsewhere(who, words[0], words[1:])
        else:
            self._act_on_phone(self._phone(who), words[0], words[1:])

    def verdicts(self) -> list[str]:
        """Return what the last push or write was told, one line for each cell."""
        lines = []
        for verdict in self.told:
            name = self._name_of((verdict.collection, verdict.id))
            if verdict.code and not verdict.cells:
                lines.append(f"{name} {verdict.verdict} {verdict.code}")
            lines += [
                " ".join(filter(None, (f"{name}.{cell}", told.verdict, told.code or told.rule)))
                for cell, told in verdict.cells.items()
            ]
        return lines

    # Names and values.

    def _name_of(self, key: tuple[str, str]) -> str:
        return next(name for name, each in self.records.items() if each == key)

    def _phone(self, name: str) -> Phone:
        if name not in self.phones:
            rid = 10 + len(self.phones)
            # Two devices of one person: `Ana` and `Ana/tablet`.
            person = self._person(name.partition("/")[0])
            self.phones[name] = Phone(rid, person, self.state.catalog.version, self._layout)
            self.state.replicas[rid] = Replica(rid, "device")
        return self.phones[name]

    def _layout(self, version: int, collection: str) -> device.Layout:
        return device.layout_of(self.catalogs[version].collections[collection])

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
            value = json.loads(text)
        except ValueError:
            return text
        return [self._value(each) for each in value] if isinstance(value, list) else value

    # The office and the ERP.

    def _act_elsewhere(self, who: str, verb: str, words: list[str]) -> None:
        if verb == "creates":
            self.records[words[1]] = (words[0], str(uuid5(ROOT, words[1])))
            self._write(who, "create", words[1], words[2:], base=0)
        elif verb == "opens":
            self.opened[words[0]] = self._rev(words[0])
        elif verb in ("saves", "removes", "recalls"):
            op = {"saves": "set", "removes": "delete", "recalls": "restore"}[verb]
            self._write(who, op, words[0], words[1:], base=self.opened[words[0]])
        elif verb in ("undoes", "settles"):
            self._decide(*words[0].split("."), chosen=words[1] if verb == "settles" else None)
        elif verb == "releases":
            self._release(words[0], words[1:])
        elif verb == "shows":
            self._take_in(words[0], self._values(words[1:]))
        else:
            op = {"sets": "set", "deletes": "delete", "restores": "restore"}[verb]
            self._write(who, op, words[0], words[1:], base=self._rev(words[0]))

    def _rev(self, name: str) -> int:
        return self.state.record(self.records[name]).rev

    def _write(self, who: str, op: str, name: str, words: list[str], *, base: int) -> None:
        mutation = Mutation(
            n=0, op=op, collection=self.records[name][0], id=self.records[name][1], base=base, set=self._values(words)
        )
        self._submit(rid=OTHERS[who], person=who, authority=who, mutations=(mutation,), numbered=False)

    def _take_in(self, name: str, values: dict[str, Any]) -> None:
        """Write what the ERP changed, if it changed anything, with the base that follows from what it was told."""
        self.told, edit = [], self.books.shown(name, values)
        if edit.set:
            key = self.records[name]
            mutation = Mutation(n=0, op="set", collection=key[0], id=key[1], base=edit.base, set=edit.set, was=edit.was)
            self._submit(rid=ERP, person="erp", authority="erp", mutations=(mutation,), numbered=False)
        self.books.judged(name, values, self.told[0] if self.told else None)

    def _decide(self, name: str, cell: str, *, chosen: str | None) -> None:
        """Undo the newest conflict of a cell, or settle it for a side: its `winner` or its `loser`."""
        key = self.records[name]
        entry = self._conflicts(name, cell)[-1]
        side = entry.winner if chosen == "winner" else entry.loser
        now = self.state.record(key).cells[cell]
        siblings = frozenset(sibling.stamp.dot for sibling in now.siblings)
        ops = {True: "restore", False: "delete"}
        mutation = Mutation(
            n=0,
            op=ops[side.value] if cell == ALIVE else "set",
            collection=key[0],
            id=key[1],
            base=self._rev(name),
            set={} if cell == ALIVE else {cell: side.value},
            closes={cell: sorted(siblings)} if siblings else {},
        )
        self._submit(
            rid=OFFICE,
            person="office",
            authority="office" if cell == ALIVE else side.authority,
            relation=side.relation,
            mutations=(mutation,),
            numbered=False,
            shown=Shown(cell, now.stamp.dot, siblings),
            ends=(entry.id, chosen is not None),
        )

    def _release(self, name: str, words: list[str]) -> None:
        """Let the oldest held mutation of a record be judged; with values of its own, if any are given."""
        held = self._waiting(name)[0]
        kept = next(row for row in self.state.effects.ledger if row.dot == held.dot)
        assert isinstance(kept.payload, Mutation)
        values = self._values(words)
        self._submit(
            rid=OFFICE,
            person=kept.person,
            authority="device",
            mutations=(msgspec.structs.replace(kept.payload, tx=None, set=values or kept.payload.set),),
            numbered=False,
            released=held.dot,
            releaser="office",
        )

    # The devices.

    def _act_on_phone(self, phone: Phone, verb: str, words: list[str]) -> None:
        match verb:
            case "creates" | "sets" | "deletes" | "restores" | "does":
                self._act(phone, verb, words)
            case "begins" | "ends":
                phone.tx = f"tx {self.state.seq}" if verb == "begins" else None
            case "clock":
                phone.skew_ms = int(words[0]) * MINUTE_MS
            case "sees":
                self._check_fields(phone.view(self.records[words[0]]) or {}, words[1:])
            case "misses":
                assert phone.view(self.records[words[0]]) is None, f"{words[0]} is still there"
            case _:
                self._exchange(phone, verb, words)

    def _exchange(self, phone: Phone, verb: str, words: list[str]) -> None:
        match verb:
            case "pushes":
                count = next((int(word) for word in words if word.isdecimal()), None)
                self._push(phone, phone.to_send(count), lost="lost" in words)
            case "resends":
                applied = self.state.replicas[phone.rid].applied
                self._push(phone, phone.to_send_again(applied), lost=False)
            case "pulls":
                self._pull(phone)
            case _:
                raise AssertionError(f"nobody knows how somebody {verb!r}")

    def _act(self, phone: Phone, verb: str, words: list[str]) -> None:
        match verb:
            case "creates":
                self.records[words[1]] = (words[0], str(uuid5(ROOT, words[1])))
                self._edit(phone, words[1], device.Act(op="create", fields=self._values(words[2:])))
            case "does":
                self._edit(phone, words[0], device.Act(do={words[1]: self._values(words[2:])}))
            case _:
                self._edit(phone, words[0], device.Act(op=verb.removesuffix("s"), fields=self._values(words[1:])))

    def _edit(self, phone: Phone, name: str, act: device.Act) -> None:
        at = None if self.now_ms is None else self.now_ms + phone.skew_ms
        phone.edit(self.records[name], msgspec.structs.replace(act, tx=phone.tx, at=at))

    def _push(self, phone: Phone, mutations: tuple[Mutation, ...], *, lost: bool) -> None:
        self._submit(
            rid=phone.rid,
            person=phone.person,
            authority="device",
            mutations=mutations,
            served=phone.position,
            schema=phone.schema,
            offset=-phone.skew_ms,
        )
        if not lost:
            phone.answered(self.told)

    def _pull(self, phone: Phone) -> None:
        for row in self.state.effects.feed:
            if row.seq > phone.position and row.reader in {phone.person, "all"}:
                key = (row.collection, row.record_id)
                log = [each for each in self.state.effects.changes if (each.collection, each.record_id) == key]
                phone.deliver(row, [each for each in log if each.seq <= row.seq][-1], self.state.record(key))
        phone.position, phone.schema = self.state.seq, self.state.catalog.version

    # The hub.

    def _submit(self, **given: Any) -> None:
        answer: Answer = hub.judge(self.state, Submission(received=self.now_ms or 0, **given))
        assert answer.problem is None, answer.problem
        self.told = [verdict for verdict in answer.verdicts if isinstance(verdict, MutationVerdict)]
        ended = {update.dot for update in self.state.effects.released}
        self.state.waiting |= {row.dot for row in self.state.effects.held if row.dot not in ended}

    def _waiting(self, name: str) -> list[HeldRow]:
        rows = [row for row in self.state.effects.held if (row.collection, row.record_id) == self.records[name]]
        return [row for row in rows if row.dot in self.state.waiting]

    def _conflicts(self, name: str, cell: str) -> list[Conflict]:
        entries = [row.entry for row in self.state.effects.conflicts]
        key = self.records[name]
        return [each for each in entries if ((each.collection, each.record_id), each.cell) == (key, cell)]

    def _restore(self) -> None:
        """Begin a new epoch with what the backup has; numbers jump above all that was ever given."""
        assert self.backup is not None
        lost, position = self.state, self.backup.seq
        self.state = copy.deepcopy(self.backup)
        self.state.seq, self.state.restored_to = lost.seq, position
        for rid in (HUB, *OTHERS.values()):
            self.state.replicas[rid].applied = lost.replicas[rid].applied
        for phone in self.phones.values():
            self.state.replicas.setdefault(phone.rid, Replica(phone.rid, "device"))
            phone.restart(position)

    def _adopt(self, name: str) -> None:
        self.state.older[self.state.catalog.version] = self.state.catalog
        self.state.catalog = catalog_file.parse(catalogue(name), version=self.state.catalog.version + 1)
        self.catalogs[self.state.catalog.version] = self.state.catalog

    def _act_in_the_hub(self, words: list[str]) -> None:
        match words:
            case ["adopts", name]:
                self._adopt(name)
            case ["backs", "up"]:
                self.backup = copy.deepcopy(self.state)
            case ["restores"]:
                self._restore()
            case ["tells", "the", "erp", name]:
                self.books.take(name, self._shown(name), self.state.seq)
            case _:
                self._check_hub(words)

    def _check_hub(self, words: list[str]) -> None:
        match words:
            case ["shows", name, *wanted]:
                alive = self.state.record(self.records[name]).alive
                self._check_fields({**self._shown(name), ALIVE: alive}, wanted)
            case ["wrote", "nothing"]:
                assert not self.told, self.told
            case ["keeps", place, value]:
                kept = [entry.loser.value for entry in self._conflicts(*place.split("."))]
                assert self._value(value) in kept, f"of {place} is kept: {kept}"
            case ["has", count, "conflicts"]:
                assert len(self.state.effects.conflicts) == int(count), self.state.effects.conflicts
            case ["holds", count, name]:
                assert len(self._waiting(name)) == int(count), self._waiting(name)
            case _:
                raise AssertionError(f"nobody knows what the hub {' '.join(words)!r}")

    def _shown(self, name: str) -> dict[str, Any]:
        record = self.state.record(self.records[name])
        return fields(record, self.state.catalog.collections[record.collection])

    def _check_fields(self, shown: dict[str, Any], wanted: list[str]) -> None:
        for name, value in self._values(wanted).items():
            assert shown.get(name) == value, f"{name} is {shown.get(name)!r} and not {value!r}"
