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
from dataclasses import dataclass, field
from typing import Any, Final

from tests import oracle_cell
from tests.oracle_cell import MISSING, Asked, Clash, Dot, Draft, Key, Known, Line, Told, Turn, Write
from tests.oracle_values import Nonsense, Table, done, same, tidy, tidy_op

ALIVE: Final = "$alive"


@dataclass
class Rec:
    """One record. `maker` is who made it on a device, as long as that counts."""

    lines: dict[str, Line] = field(default_factory=dict)
    maker: str | None = None

    def value(self, cell: str) -> Any:
        """Return what the cell shows."""
        line = self.lines.get(cell)
        return line.current.value if line and line.current else None


@dataclass(frozen=True)
class Answer:
    """The verdicts by cell; or the code for which none of the mutation was looked at."""

    cells: dict[str, Told] = field(default_factory=dict)
    code: str | None = None


class Oracle:
    """One tenant. `judge` takes what the hub takes, in the hub's order."""

    def __init__(self, catalogue: Table, hub_rid: int) -> None:
        self.collections: dict[str, Table] = catalogue["collections"]
        self.records: dict[Key, Rec] = {}
        self.holders: dict[Key, set[str]] = {}
        self.ended: list[tuple[int, Key, str]] = []
        self.moment = 0
        self.hub: Dot = (hub_rid, 0)
        self.tally: Counter[str] = Counter()
        self.after: dict[Dot, tuple[dict[str, Known], int]] = {}

    # What a writer or a reader may ask.

    def state(self, key: Key) -> dict[str, Known]:
        """Return what somebody has seen who is shown the whole record now."""
        rec = self.records.get(key)
        return {name: line.known() for name, line in rec.lines.items()} if rec else {}

    def fields(self, key: Key) -> Table:
        """Return the record as it is shown, groups flat."""
        shown: Table = {}
        for name, line in self.records[key].lines.items():
            if name != ALIVE and line.current is not None:
                shown.update(line.current.value if self._members(key[0], name) else {name: line.current.value})
        return shown

    def held_by(self, key: Key, person: str) -> bool:
        """Tell whether the person has the record in hand."""
        if "all" in self.collections[key[0]]["scope"]:
            return key in self.records
        return any(each.endswith(f":{person}") for each in self.holders.get(key, ()))

    def lost(self) -> list[Write]:
        """Return the writes of which it is not known what became: there must be none."""
        lines = [line for rec in self.records.values() for line in rec.lines.values()]
        return [write for line in lines for write in line.history if not self._accounted(line, write)]

    def _accounted(self, line: Line, write: Write) -> bool:
        if write in line.standing() or write in line.siblings:
            return True
        return write.fate in {"overwritten knowingly", "merged", "contained", "in the ledger", "settled"}

    # Judging.

    def judge(self, run: list[Asked], *, tx: bool) -> list[Answer]:
        """Judge one mutation, or the several of a tx: if one cannot be meant, none is done."""
        trial = self._copy({asked.key for asked in run}) if tx else self
        answers = [trial._one(asked, tx=tx) for asked in run]
        if tx and any(answer.code for answer in answers):
            self.moment += len(run)
            return [answer if answer.code else Answer(code="tx_refused") for answer in answers]
        self.__dict__.update(trial.__dict__)
        return answers

    def _copy(self, keys: set[Key]) -> Oracle:
        """Return a copy in which these records can be changed without harm to the original."""
        trial = copy.copy(self)
        trial.records = {key: copy.deepcopy(rec) if key in keys else rec for key, rec in self.records.items()}
        trial.ended, trial.tally = [*self.ended], Counter(self.tally)
        return trial

    def _one(self, asked: Asked, *, tx: bool) -> Answer:
        self.moment += 1
        rec = self.records.get(asked.key)
        if asked.key[0] not in self.collections:
            return Answer(code="unknown_collection")
        drafts, bad = self._drafts(asked)
        if asked.op != "create" and rec is None:
            return Answer(code="unknown_record")
        dead = rec is not None and not rec.value(ALIVE)
        if dead and rec and asked.op in ("create", "set") and oracle_cell.saw(asked, ALIVE, rec.lines[ALIVE]):
            return Answer(code="record_deleted")
        if tx and bad:
            return Answer(code="invalid")
        if self._parent_missing(asked.key, drafts):
            return Answer(code="missing_parent")
        self.tally["cells"] += len(drafts) + len(bad)
        refusals = {name: Told("refused", "invalid") for name in bad}
        answer = Answer(refusals | self._settle(rec, dead, asked, drafts, bad))
        self._hold()
        self.after[asked.dot] = self.state(asked.key), self.moment
        return answer

    def _settle(
        self, rec: Rec | None, dead: bool, asked: Asked, drafts: dict[str, Draft], bad: set[str]
    ) -> dict[str, Told]:
        if rec is None:
            return self._create(asked, drafts, bad)
        if asked.op in ("delete", "restore"):
            return {ALIVE: self._alive(rec, asked)}
        return self._edit_dead(rec, asked, drafts) if dead else self._edit(rec, asked, drafts)

    def _create(self, asked: Asked, drafts: dict[str, Draft], bad: set[str]) -> dict[str, Told]:
        """A create stands if one of its cells does, or if it names none and the class may write one."""
        rec = Rec(maker=asked.person if asked.sequential else None)
        told = self._edit(rec, asked, drafts)
        stands = any(each.verdict == "applied" for each in told.values())
        if not drafts and not bad:
            fields = self.collections[asked.key[0]]["fields"].items()
            stands = any(asked.authorities.get(name, asked.authority) in each["write"] for name, each in fields)
        if not stands:
            return told or ({} if bad else {ALIVE: Told("refused", "not_owner")})
        rec.lines[ALIVE] = Line()
        oracle_cell.install(rec.lines[ALIVE], Write(asked.dot, True, (asked.authority,)), "")
        self.records[asked.key] = rec
        return told or {ALIVE: Told("applied", dot=asked.dot, value=True)}

    def _edit(self, rec: Rec, asked: Asked, drafts: dict[str, Draft]) -> dict[str, Told]:
        hub = (self.hub[0], self.hub[1] + 1)
        told = {name: self._cell(rec, name, asked, draft, hub) for name, draft in drafts.items()}
        if any(each.verdict == "merged" for each in told.values()):
            self.hub = hub
        return told

    def _edit_dead(self, rec: Rec, asked: Asked, drafts: dict[str, Draft]) -> dict[str, Told]:
        """An edit whose writer did not know that the record was deleted: judged as if it were not."""
        before, hub = copy.deepcopy(rec), self.hub
        told = self._edit(rec, asked, drafts)
        granted = {name for name, each in told.items() if each.verdict != "refused"}
        survives = any(told[name].verdict in ("applied", "merged") for name in granted)
        rule = "against_edit:" + self.collections[asked.key[0]].get("against_edit", "keep_edit")
        line = rec.lines[ALIVE]
        assert line.current is not None, "a record that exists has been alive"
        if survives and rule == "against_edit:keep_edit":
            self.hub = (hub[0], hub[1] + 1)
            clash = Clash(ALIVE, rule, oracle_cell.dots(line.standing()), value=False)
            oracle_cell.absorb(line, Write(asked.dot, True, (asked.authority,), "merged"))
            oracle_cell.install(line, Write(self.hub, True, (asked.authority,)), "in the ledger")
            return told | {ALIVE: Told("merged", dot=self.hub, value=True, clash=clash)}
        rec.lines, self.hub = before.lines, hub
        if not granted:
            return told
        clash = Clash(ALIVE, rule, frozenset({asked.dot}), {**asked.set, **asked.do})
        for name in granted:
            rec.lines.setdefault(name, Line()).history.append(Write(asked.dot, None, (), "in the ledger"))
            told[name] = Told("superseded", None, *oracle_cell.shown_pair(rec.lines[name]), clash=clash)
        return told

    def _alive(self, rec: Rec, asked: Asked) -> Told:
        """Delete or restore: who may, whether it is so already, and what was not seen."""
        wanted, line = asked.op == "restore", rec.lines[ALIVE]
        if not self._relations(asked):
            return Told("refused", "out_of_scope")
        if asked.authority not in self.collections[asked.key[0]]["delete"]:
            return Told("refused", "not_owner", *oracle_cell.shown_pair(line))
        write = Write(asked.dot, wanted, (asked.authority,))
        if rec.value(ALIVE) is wanted:
            oracle_cell.join(line, write)
            return Told("converged", None, *oracle_cell.shown_pair(line))
        read = {ALIVE: line} if wanted else {n: each for n, each in rec.lines.items() if each.current}
        unseen = {name: each for name, each in read.items() if not oracle_cell.saw(asked, name, each)}
        if not unseen:
            oracle_cell.install(line, write, "overwritten knowingly")
            return Told("applied", None, *oracle_cell.shown_pair(line))
        rule = self.collections[asked.key[0]].get("against_edit", "keep_edit")
        if (rule == "keep_edit") is not wanted:
            oracle_cell.keep(line, write)
            clash = Clash(ALIVE, f"against_edit:{rule}", frozenset({asked.dot}), wanted)
            return Told("superseded", None, *oracle_cell.shown_pair(line), clash=clash)
        standing = [write for each in unseen.values() for write in each.standing()]
        edited = {name: oracle_cell.shown_pair(each)[1] for name, each in unseen.items() if name != ALIVE}
        clash = Clash(ALIVE, f"against_edit:{rule}", oracle_cell.dots(standing), edited or not wanted)
        oracle_cell.install(line, write, "in the ledger")
        return Told("applied", None, *oracle_cell.shown_pair(line), clash=clash)

    def _cell(self, rec: Rec, name: str, asked: Asked, draft: Draft, hub: Dot) -> Told:
        """Scope, authority, equal, seen, merge, rank and tie: in this order, the first that decides."""
        rule, line = self._rule(asked.key[0], name), rec.lines.get(name, Line())
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
        write = Write(asked.dot, self._whole(asked, name, line, draft), (best,))
        turn = Turn(name, asked, draft, rule, line, write, hub)
        known = oracle_cell.saw(asked, name, line)
        self.tally["concurrent"] += not known
        if line.current and (known or oracle_cell.may_repeat(turn)) and same(write.value, line.current.value):
            oracle_cell.close(turn)
            oracle_cell.join(line, write)
            return Told("converged", None, *oracle_cell.shown_pair(line))
        if known:
            oracle_cell.close(turn)
            oracle_cell.install(line, write, "overwritten knowingly")
            return Told("applied", None, *oracle_cell.shown_pair(line))
        return oracle_cell.merge(turn) or oracle_cell.contend(turn)

    # The catalogue, and who is who.

    def _rule(self, collection: str, cell: str) -> Table:
        members = self._members(collection, cell)
        return dict(self.collections[collection]["fields"][members[0] if members else cell])

    def _members(self, collection: str, cell: str) -> list[str]:
        return list(self.collections[collection].get("groups", {}).get(cell, []))

    def _whole(self, asked: Asked, name: str, line: Line, draft: Draft) -> Any:
        """Return the whole value that is asked for; MISSING if half of it is not known."""
        current = line.current.value if line.current else None
        if draft.op is not None:
            return done(self._rule(asked.key[0], name)["kind"], current, draft.op)
        members = self._members(asked.key[0], name)
        if not members or set(draft.value) == set(members):
            return draft.value
        if oracle_cell.saw(asked, name, line):
            return {**(current or {}), **draft.value}
        if draft.was is not MISSING and set(draft.was) == set(members):
            return {**draft.was, **draft.value}
        return MISSING

    def _relations(self, asked: Asked) -> set[str]:
        """Return how the person is related to the record; nothing: out of scope."""
        if not asked.sequential:
            return {""}
        if asked.key not in self.records:
            return {"creator"}
        if "all" in self.collections[asked.key[0]]["scope"]:
            return {"linked"}
        mine = {each.split(":")[0] for each in self.holders[asked.key] if each.endswith(f":{asked.person}")}
        late = any(
            key == asked.key and each.endswith(f":{asked.person}") and moment > asked.held
            for moment, key, each in self.ended
        )
        return mine or ({"former"} if late else set())

    def _hold(self) -> None:
        """Work out from nothing who holds what, parents first, and note what has ended."""
        before, self.holders = self.holders, {}
        for key in sorted(self.records, key=lambda each: len(self._parents(each[0]))):
            self.holders[key] = self._holders(key)
            ended = before.get(key, set()) - self.holders[key]
            self.ended += [(self.moment, key, each) for each in sorted(ended)]

    def _holders(self, key: Key) -> set[str]:
        rec, scope = self.records[key], self.collections[key[0]]["scope"]
        assignee, found = rec.value("assignee_id"), set()
        if "creator_until_assigned" in scope and assignee:
            rec.maker = None
        if "assignee" in scope and assignee:
            found.add(f"assignee:{assignee}")
        if "crew" in scope:
            found |= {f"crew:{person}" for person in rec.value("crew") or []}
        if rec.maker and {"creator", "creator_until_assigned"} & set(scope):
            found.add(f"creator:{rec.maker}")
        for name in self._parents(key[0]):
            found |= self.holders.get((self.collections[key[0]]["fields"][name]["to"], rec.value(name)), set())
        return found

    def _parents(self, collection: str) -> list[str]:
        return [each.split(":")[1] for each in self.collections[collection]["scope"] if each.startswith("parent:")]

    def _parent_missing(self, key: Key, drafts: dict[str, Draft]) -> bool:
        named = [(name, drafts[name].value) for name in self._parents(key[0]) if name in drafts]
        fields = self.collections[key[0]]["fields"]
        return any(value and (fields[name]["to"], value) not in self.records for name, value in named)

    # What is asked for, in its one form.

    def _drafts(self, asked: Asked) -> tuple[dict[str, Draft], set[str]]:
        drafts: dict[str, Draft] = {}
        bad: set[str] = set()
        if asked.op in ("delete", "restore"):
            return drafts, bad
        for name in [*asked.set, *asked.do]:
            try:
                drafts[name] = self._draft(asked, name)
            except Nonsense:
                bad.add(name)
        return drafts, bad

    def _draft(self, asked: Asked, name: str) -> Draft:
        fields = self.collections[asked.key[0]]["fields"]
        members = self._members(asked.key[0], name)
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
