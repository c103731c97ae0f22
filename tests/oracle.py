"""A deliberately dumb model of the rules, to be compared with them.

It has no seqs, no bases and no vectors. Each write comes with the explicit set of all writes of
that cell which its writer had been shown; each cell keeps every write that ever reached it, for
ever, in the order in which the hub took them. Who holds a record is worked out anew from the
values after every write. It reads the catalogue as plain TOML and shares no code with
`replication`: where the two agree, they agree for different reasons.

What is slow, long-winded or wasteful here is so on purpose.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests import oracle_alive, oracle_cell
from tests.oracle_alive import Rec, Stakes
from tests.oracle_cell import ALIVE, MISSING, Asked, Dot, Draft, Key, Known, Line, Told, Turn, Write
from tests.oracle_scope import Scope
from tests.oracle_values import Nonsense, Table, done, tidy, tidy_op

STAYS = frozenset({"overwritten knowingly", "merged", "contained", "in the ledger", "settled"})
"""What may have become of a write that counts no more."""


@dataclass(frozen=True)
class Answer:
    """The verdicts by cell; or the code for which none of the mutation was looked at, now or for ever."""

    cells: dict[str, Told] = field(default_factory=dict)
    code: str | None = None
    held: bool = False

    @property
    def refused(self) -> str | None:
        """The code for which the mutation cannot be meant; of a value that outgrew its field as of any other."""
        invalid = any(told.code == "invalid" for told in self.cells.values())
        return "invalid" if invalid else None if self.held else self.code


class Oracle:
    """One tenant. `judge` takes what the hub takes, in the hub's order. `editions` are catalogues by version."""

    def __init__(self, editions: Mapping[int, Table], hub_rid: int) -> None:
        self.editions = editions
        self.edition = min(editions)
        self.records: dict[Key, Rec] = {}
        self.scope = Scope(self.collections)
        self.waiting: dict[Dot, Asked] = {}
        self.clocks: dict[int, int] = {}
        self.restored = False
        self.moment = 0
        self.hub: Dot = (hub_rid, 0)
        self.tally: Counter[str] = Counter()
        self.after: dict[Dot, tuple[dict[str, Known], int]] = {}

    @property
    def collections(self) -> dict[str, Table]:
        """The present catalogue."""
        found: dict[str, Table] = self.editions[self.edition]["collections"]
        return found

    # What a writer or a reader may ask.

    def state(self, key: Key) -> dict[str, Known]:
        """Return what somebody has seen who is shown the whole record now."""
        rec = self.records.get(key)
        return {name: line.known() for name, line in rec.lines.items()} if rec else {}

    def fields(self, key: Key) -> Table:
        """Return the record as it is shown, groups flat, by the present catalogue."""
        shown: Table = {}
        for name, line in self.records[key].lines.items():
            if name in self._cells(key[0]) and line.current is not None:
                shown.update(line.current.value if self._members(key[0], name) else {name: line.current.value})
        return shown

    def held_by(self, key: Key, person: str) -> bool:
        """Tell whether the person has the record in hand."""
        return "all" in self.collections[key[0]]["scope"] or self.scope.holds(key, person)

    def lost(self) -> list[Write]:
        """Return the writes of which it is not known what became: there must be none."""
        lines = [line for rec in self.records.values() for line in rec.lines.values()]
        return [write for line in lines for write in line.history if not self._accounted(line, write)]

    def _accounted(self, line: Line, write: Write) -> bool:
        return write in line.standing() or write in line.siblings or write.fate in STAYS

    # What happens to the hub as a whole.

    def publish(self, edition: int) -> None:
        """Let another catalogue hold from now on."""
        self.edition = edition
        self.scope = self.scope.copy(self.collections)

    def copy(self, keys: set[Key] | None = None) -> Oracle:
        """Return the same again, of which these records (else all) can be changed without harm to this one."""
        twin = copy.copy(self)
        twin.records = {key: rec.copy() if keys is None or key in keys else rec for key, rec in self.records.items()}
        twin.scope, twin.waiting = self.scope.copy(self.collections), dict(self.waiting)
        twin.clocks = dict(self.clocks)
        return twin

    def back_to(self, then: Oracle) -> None:
        """Be put back to an earlier copy. What was given out since is not given out again."""
        moment, hub = self.moment, self.hub
        self.__dict__.update(then.copy().__dict__)
        self.moment, self.hub, self.restored = moment, max(hub, self.hub), True

    # Judging.

    def judge(self, run: Sequence[Asked], *, tx: bool) -> list[Answer]:
        """Judge one mutation, or the several of a tx: if one cannot be meant, none is done."""
        trial = self.copy({asked.key for asked in run}) if tx else self
        before = Counter(self.tally)
        answers = [trial._one(asked, tx=tx) for asked in run]
        together = _together(answers) if tx else answers
        if together is not answers:
            self.tally = before
            self.moment += len(run)
            for asked in run:
                self._tick(asked)
        else:
            self.__dict__.update(trial.__dict__)
        for asked, answer in zip(run, together, strict=True):
            if answer.held:
                self.waiting[asked.dot] = asked
        return together

    def _one(self, asked: Asked, *, tx: bool) -> Answer:
        answer = self._looked_at(asked, tx=tx)
        self._tick(asked)
        return answer

    def _tick(self, asked: Asked) -> None:
        """Note how far a device's own time has come."""
        if asked.in_order and asked.at is not None:
            self.clocks[asked.dot[0]] = self._time(asked)

    def _looked_at(self, asked: Asked, *, tx: bool) -> Answer:
        self.moment += 1
        if asked.rescue:
            return self._wait(asked, "held_fenced")
        drafts, bad = self._drafts(asked, self.edition)
        if 0 < asked.edition < self.edition and self._was_fine(asked, bad):
            return self._wait(asked, "held_schema")
        if "" in bad:
            return Answer(code="unknown_collection")
        return self._presupposed(asked, drafts, bad, tx=tx) or self._carry_out(asked, drafts, bad)

    def _was_fine(self, asked: Asked, bad: set[str]) -> bool:
        """Tell whether something that cannot be meant now could be by the catalogue that the writer went by."""
        before = self._drafts(asked, asked.edition)[1]
        return "" not in before and bool(bad - before)

    def _wait(self, asked: Asked, code: str) -> Answer:
        """Keep a mutation for a person."""
        self.waiting[asked.dot] = asked
        return Answer(code=code, held=True)

    def _presupposed(self, asked: Asked, drafts: Mapping[str, Draft], bad: set[str], *, tx: bool) -> Answer | None:
        """Return why a mutation cannot be judged by what there is; None if it can."""
        rec = self.records.get(asked.key)
        if asked.op != "create" and rec is None:
            return self._missing(asked, asked.key, "unknown_record")
        dead = rec is not None and not rec.value(ALIVE)
        if dead and rec and asked.op in ("create", "set") and oracle_cell.saw(asked, ALIVE, rec.lines[ALIVE]):
            return Answer(code="record_deleted")
        if tx and bad:
            return Answer(code="invalid")
        for parent in self._parents_named(asked.key, drafts):
            if parent not in self.records:
                return self._missing(asked, parent, "missing_parent")
        return None

    def _missing(self, asked: Asked, key: Key, code: str) -> Answer:
        """Wait with those who wait to make the record, as far as a device can; without any, it is not there."""
        unborn = any(each.op == "create" and each.key == key for each in self.waiting.values())
        return self._wait(asked, "held_before") if unborn and asked.in_order else Answer(code=code)

    def _carry_out(self, asked: Asked, drafts: Mapping[str, Draft], bad: set[str]) -> Answer:
        cells = len(drafts) + len(bad) + (asked.op in ("delete", "restore"))
        self.tally.update({"judged": cells, "cells": 0 if asked.dot in self.after else cells})
        told = {name: Told("refused", "invalid") for name in bad}
        told |= self._settle(self.records.get(asked.key), asked, drafts, bad)
        if any(each.dot == self._next() for each in told.values()):
            self.hub = self._next()
        if asked.released is not None and not (told and all(each.verdict == "refused" for each in told.values())):
            self.waiting.pop(asked.released)
        self.scope.settle(self.records, self.moment)
        self.after[asked.dot] = self.state(asked.key), self.moment
        return Answer(told)

    def _settle(self, rec: Rec | None, asked: Asked, drafts: Mapping[str, Draft], bad: set[str]) -> dict[str, Told]:
        if rec is None:
            return self._create(asked, drafts, bad)
        stakes = self._stakes(asked)
        if asked.op in ("delete", "restore"):
            return {ALIVE: oracle_alive.declare(rec, asked, stakes)}
        if not rec.value(ALIVE):
            return oracle_alive.edit_of_dead(rec, asked, stakes, lambda trial: self._edit(trial, asked, drafts))
        return self._edit(rec, asked, drafts)

    def _stakes(self, asked: Asked) -> Stakes:
        collection = self.collections[asked.key[0]]
        return Stakes(
            rule=collection.get("against_edit", "keep_edit"),
            room=self._room(),
            time=self._time(asked),
            cells=frozenset({*self._cells(asked.key[0]), ALIVE}),
            allowed=asked.authority in collection["delete"],
            in_scope=bool(self._relations(asked)),
            hub=self._next(),
            restored=self.restored,
        )

    def _create(self, asked: Asked, drafts: Mapping[str, Draft], bad: set[str]) -> dict[str, Told]:
        """A create stands if one of its cells does, or if it names none and the class may write one."""
        rec = Rec(maker=asked.person if asked.by_device else None)
        told = self._edit(rec, asked, drafts)
        stands = any(each.verdict == "applied" for each in told.values())
        if not drafts and not bad:
            fields = self.collections[asked.key[0]]["fields"].items()
            stands = any(asked.authorities.get(name, asked.authority) in each["write"] for name, each in fields)
        if not stands:
            return told or ({} if bad else {ALIVE: Told("refused", "not_owner")})
        oracle_alive.bring_into_being(rec, asked, self._stakes(asked))
        self.records[asked.key] = rec
        return told or {ALIVE: Told("applied", dot=asked.dot, value=True)}

    def _edit(self, rec: Rec, asked: Asked, drafts: Mapping[str, Draft]) -> dict[str, Told]:
        return {name: self._cell(rec, name, asked, draft) for name, draft in drafts.items()}

    def _cell(self, rec: Rec, name: str, asked: Asked, draft: Draft) -> Told:
        """Sent again, scope, authority; then what the cell itself has to say."""
        rule, line = self._rule(asked.key[0], name), rec.lines.get(name, Line())
        plain = draft.op is None and "merge" not in rule
        if oracle_cell.is_in_past(asked, line) or (plain and oracle_cell.is_outlived(asked, line)):
            return Told("absorbed", None, *oracle_cell.shown_pair(line))
        relations = self._relations(asked)
        if not relations:
            return Told("refused", "out_of_scope")
        authority = asked.authorities.get(name, asked.authority)
        if authority not in rule["write"]:
            return Told("refused", "not_owner", *oracle_cell.shown_pair(line))
        rec.lines[name] = line
        self.tally.update(f"as {each or authority}" for each in relations)
        best = min(
            (oracle_cell.who(authority, each) for each in relations), key=lambda each: oracle_cell.place(rule, each)
        )
        known = oracle_cell.saw(asked, name, line, unites="merge" in rule)
        self.tally["concurrent"] += not known
        try:
            value = self._value(asked, name, line, draft, known=known)
        except Nonsense:
            return Told("refused", "invalid", *oracle_cell.shown_pair(line))
        write = Write(asked.dot, value, (best,), self._time(asked), asked.in_order, held=asked.released)
        members = self._members(asked.key[0], name)
        whole = draft.op is None and (not members or set(draft.value) >= set(members))
        turn = Turn(name, asked, draft, rule, line, write, self._next(), whole, self._room())
        return oracle_cell.judge(turn, known=known)

    # The catalogue, and who is who.

    def _cells(self, collection: str) -> set[str]:
        """Return the cells that the present catalogue knows."""
        if collection not in self.collections:
            return set()
        groups: dict[str, list[str]] = self.collections[collection].get("groups", {})
        grouped = {member for members in groups.values() for member in members}
        return {*groups, *(self.collections[collection]["fields"].keys() - grouped)}

    def _rule(self, collection: str, cell: str) -> Table:
        members = self._members(collection, cell)
        return dict(self.collections[collection]["fields"][members[0] if members else cell])

    def _members(self, collection: str, cell: str) -> list[str]:
        return list(self.collections[collection].get("groups", {}).get(cell, []))

    def _room(self) -> int:
        """Return how many values may wait for a person in one cell."""
        room: int = self.editions[self.edition].get("limits", {}).get("siblings", oracle_cell.WAITING_MAX)
        return room

    def _next(self) -> Dot:
        """Return the dot under which the hub writes next."""
        return (self.hub[0], self.hub[1] + 1)

    def _time(self, asked: Asked) -> int:
        """Return when a write was made, as far as the hub can tell: not before the one before it, not after now."""
        if not asked.in_order or asked.at is None:
            return asked.received
        return max(self.clocks.get(asked.dot[0], 0), min(asked.at + asked.behind, asked.received))

    def _value(self, asked: Asked, name: str, line: Line, draft: Draft, *, known: bool) -> Any:
        """Return the whole value that is asked for; MISSING if half of it is not known."""
        current = line.current.value if line.current else None
        if draft.op is not None:
            # What an unseen value becomes is for the merge to say.
            return done(self._rule(asked.key[0], name), current, draft.op) if known else MISSING
        members = self._members(asked.key[0], name)
        if not members or set(draft.value) == set(members):
            return draft.value
        if known:
            return {**dict.fromkeys(members), **(current or {}), **draft.value}
        if draft.was is not MISSING and set(draft.was) == set(members):
            return {**draft.was, **draft.value}
        return MISSING

    def _relations(self, asked: Asked) -> set[str]:
        """Return how the person is related to the record; nothing: out of scope."""
        if not asked.by_device:
            return {asked.relation}
        if asked.key not in self.records:
            return {"creator"}
        return self.scope.relations(asked.key, asked.person, asked.held)

    def _parents_named(self, key: Key, drafts: Mapping[str, Draft]) -> list[Key]:
        fields = self.collections[key[0]]["fields"]
        named = [(name, drafts[name].value) for name in self.scope.parents(key[0]) if name in drafts]
        return [(fields[name]["to"], value) for name, value in named if value]

    # What is asked for, in its one form.

    def _drafts(self, asked: Asked, edition: int) -> tuple[dict[str, Draft], set[str]]:
        """Return what is asked for by cell, and what cannot be meant: "" is the collection itself."""
        collection = self.editions[edition]["collections"].get(asked.key[0])
        drafts: dict[str, Draft] = {}
        bad: set[str] = set()
        if collection is None:
            return drafts, {""}
        if asked.op in ("delete", "restore"):
            return drafts, bad
        for name in [*asked.set, *asked.do]:
            try:
                drafts[name] = draft_of(asked, name, collection)
            except Nonsense:
                bad.add(name)
        return drafts, bad


def _together(answers: list[Answer]) -> list[Answer]:
    """Return the answers to a tx: if one was turned away all are, and if one waits all do."""
    if any(answer.refused for answer in answers):
        return [Answer(code=answer.refused or "tx_refused") for answer in answers]
    if any(answer.held for answer in answers):
        return [replace(answer, held=True, cells={}, code=answer.code or "held_tx") for answer in answers]
    return answers


def draft_of(asked: Asked, name: str, collection: Table) -> Draft:
    """Return what one cell is asked to become, if it can be meant."""
    fields, members = collection["fields"], collection.get("groups", {}).get(name, [])
    if not members and name not in fields:
        raise Nonsense(name)
    if name in asked.do:
        return Draft(op=tidy_op(fields[name], asked.do[name]))
    value = asked.set[name]
    if not members:
        before = {name: asked.was[name]} if name in asked.was else {}
        return Draft(tidy(fields[name], value), was=fitting(before, fields).get(name, MISSING))
    was = fitting(asked.was[name], fields) if name in asked.was else MISSING
    return Draft({each: tidy(fields[each], part) for each, part in value.items()}, was=was)


def fitting(was: Table, fields: Table) -> Table:
    """Return what a screen showed before, without what cannot be: nobody had refused that yet."""
    found: Table = {}
    for name, value in was.items():
        try:
            found[name] = tidy(fields[name], value)
        except Nonsense:
            continue
    return found
