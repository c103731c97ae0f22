"""What does not happen every day: restores, other catalogues, devices that are revoked, words on conflicts.

These are events of a history like all others (`histories.py`), in a part of their own.
"""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from replication.mutation import Mutation
from replication.record import ALIVE
from replication.state import Shown, Submission
from replication.verdict import Conflict, Side
from replication.versions import Dot, Vector
from tests import editions
from tests.desk import Desk
from tests.oracle_cell import Asked, Known
from tests.phone import Phone
from tests.tenant import HUB, OFFICE, Tenant

FENCED_MAX: Final = 1


class Upheavals:
    """Events that change the hub as a whole, or bring back what was turned away or lost."""

    tenant: Tenant
    phones: list[Phone]
    desks: list[Desk]

    def publish(self, _: int, rng: random.Random) -> None:
        """Another catalogue is put in force; some devices go by it at once."""
        self.tenant.publish()
        for phone in self.phones:
            if rng.random() < 0.2:
                phone.upgrade()

    def upgrade(self, actor: int, _: random.Random) -> None:
        """A device hears of the present catalogue."""
        self.phones[actor % len(self.phones)].upgrade()

    def back_up(self, _: int, __: random.Random) -> None:
        """The hub is backed up."""
        self.tenant.back_up()

    def restore(self, _: int, rng: random.Random) -> None:
        """The hub is put back to one of the backups that are offered."""
        if self.tenant.backups:
            self.tenant.restore(rng.choice([self.tenant.backups[0], *self.tenant.backups]))

    def night(self, _: int, rng: random.Random) -> None:
        """All devices send and read all; then the hub is backed up, and needs less in its vectors."""
        for phone in self.phones:
            if rng.random() < 0.95:
                phone.come_to_rest(rng)
        self.tenant.back_up()
        if rng.random() < 0.3:
            self.tenant.backups = self.tenant.backups[-1:]
        self.tenant.prove(proof_of(self.tenant, self.phones))

    def fence(self, actor: int, _: random.Random) -> None:
        """A device is revoked, and its people get another."""
        fenced = [phone for phone in self.phones if phone.fenced]
        phone = self.phones[actor % len(self.phones)]
        if len(fenced) < FENCED_MAX and not phone.fenced:
            self.tenant.fence(phone.rid)
            rid = max(each.rid for each in self.phones) + 1
            self.phones.append(Phone(rid, phone.persons, self.tenant, edition=self.tenant.edition))
            self.phones[-1].epoch = self.tenant.epoch

    def prove(self, _: int, rng: random.Random) -> None:
        """The hub finds out what its vectors need not say any more, and uses some of it."""
        proof = proof_of(self.tenant, self.phones)
        picked = rng.sample(sorted(proof), rng.randrange(len(proof) + 1))
        self.tenant.prove({rid: proof[rid] - rng.choice((0, 0, 1)) for rid in picked})

    # What waits before it is judged.

    def office_release(self, _: int, rng: random.Random) -> None:
        """Somebody in the office lets a held mutation be judged after all, perhaps without what was wrong in it."""
        if not self.tenant.store.held:
            return
        dot = rng.choice(sorted(self.tenant.store.held))
        row = self.tenant.store.ledger[dot][2]
        assert isinstance(row.payload, Mutation), "what is held is kept"
        payload = msgspec.structs.replace(row.payload, by=None, tx=None)
        if rng.random() < 0.7:
            payload = self._mended(payload)
        self._release(dot, payload, self.tenant.oracle.waiting[dot])

    def _mended(self, payload: Mutation) -> Mutation:
        """Leave out what the present catalogue has no field for, and say otherwise what it has no word for."""
        fields = editions.fields_of(payload.collection, self.tenant.edition)
        groups = editions.groups_of(payload.collection, self.tenant.edition)
        kept = {name: value for name, value in payload.set.items() if name in fields or name in groups}
        kept |= {name: fields[name]["choices"][0] for name in kept if fields.get(name, {}).get("kind") == "choice"}
        return msgspec.structs.replace(payload, set=kept)

    def _release(self, dot: Dot, payload: Mutation, before: Asked) -> None:
        n = self.tenant.store.replicas[OFFICE].applied + 1
        submission = Submission(
            rid=OFFICE,
            person=before.person,
            authority="device",
            mutations=(payload,),
            numbered=False,
            received=self.tenant.now,
            released=dot,
        )
        asked = Asked(
            dot=(OFFICE, n),
            chain=before.dot,
            released=before.dot,
            op=payload.op,
            key=before.key,
            person=before.person,
            authority="device",
            set=payload.set,
            do=payload.do,
            was=payload.was,
            seen=before.seen,
            said=before.said,
            held=before.held,
            received=self.tenant.now,
        )
        self.tenant.submit(submission, {n: asked})

    # Words on conflicts.

    def office_undo(self, actor: int, rng: random.Random) -> None:
        """Somebody in the office puts back what lost, or chooses for what waits."""
        ended = {row.id for row in self.tenant.store.updates}
        known = editions.CATALOGS[self.tenant.edition].collections
        entries = [row.entry for row in self.tenant.store.conflicts if row.entry.id not in ended]
        entries = [entry for entry in entries if entry.collection in known]
        desk = self.desks[actor % len(self.desks)]
        if not entries:
            return
        picked = [each for each in entries if each.cell == ALIVE] if rng.random() < 0.3 else entries
        entry = rng.choice(picked or entries)
        key = (entry.collection, entry.record_id)
        if key not in desk.sheets or rng.random() < 0.8:
            desk.look(key)
        record = self.tenant.store.record(key)
        if key not in desk.sheets or record is None or entry.cell not in record.cells:
            return
        side = entry.winner if entry.state == "open" and rng.random() < 0.3 else entry.loser
        if entry.cell == ALIVE:
            self._decide_alive(desk, entry, side)
        elif record.alive and not (entry.rule.startswith("merge:") and isinstance(side.value, dict)):
            self._decide(desk, entry, side)

    def _decide(self, desk: Desk, entry: Conflict, side: Side) -> None:
        """Put a value in its place, as the class and the relation that it came from."""
        shown = self._shown(desk, entry)
        if shown is None:
            return
        mutation = Mutation(
            n=0,
            op="set",
            collection=entry.collection,
            id=entry.record_id,
            set={entry.cell: side.value},
            context={entry.cell: {shown.dot.rid: shown.dot.n}},
            closes={entry.cell: sorted(shown.siblings)},
        )
        submission = self._word(desk, entry, shown, side.authority, side.relation)
        seen: dict[str, Known] = {entry.cell: frozenset({(shown.dot.rid, shown.dot.n)})}
        desk.send([mutation], seen, seen, submission)

    def _decide_alive(self, desk: Desk, entry: Conflict, side: Side) -> None:
        """Delete or restore; with an edit that lost, bring back what it would have written too."""
        shown, sheet = self._shown(desk, entry), desk.sheets[entry.collection, entry.record_id]
        if shown is None or sheet.epoch != self.tenant.epoch:
            return
        op = "delete" if side.value is False else "restore"
        common: dict[str, Any] = {
            "n": 0,
            "collection": entry.collection,
            "id": entry.record_id,
            "base": sheet.rev,
            "rev": sheet.rev,
            "tx": "word" if isinstance(side.value, dict) else None,
        }
        context, closes = {ALIVE: {shown.dot.rid: shown.dot.n}}, {ALIVE: sorted(shown.siblings)}
        mutations = [Mutation(op=op, context=context, closes=closes, **common)]
        submission = self._word(desk, entry, shown, "office", "")
        kept = self.tenant.store.ledger.get(side.dot)
        if isinstance(side.value, dict) and side is entry.loser and kept and isinstance(kept[2].payload, Mutation):
            payload = kept[2].payload
            mutations.append(Mutation(op="set", set=payload.set, do=payload.do, was=payload.was, **common))
            cells = dict.fromkeys({*payload.set, *payload.do}, side.authority)
            submission = msgspec.structs.replace(
                submission, relation=side.relation, authorities={entry.collection: cells}
            )
        said: dict[str, Known] = {ALIVE: frozenset({(shown.dot.rid, shown.dot.n)})}
        desk.send(mutations, said, {**sheet.state, **said}, submission)

    def _shown(self, desk: Desk, entry: Conflict) -> Shown | None:
        """Return the state of the cell that lies before somebody, perhaps out of date."""
        sheet = desk.sheets[entry.collection, entry.record_id]
        if entry.cell not in sheet.winners:
            return None
        waiting = frozenset(dot for dot, _ in sheet.siblings.get(entry.cell, ()))
        return Shown(entry.cell, sheet.winners[entry.cell], waiting)

    def _word(self, desk: Desk, entry: Conflict, shown: Shown, authority: str, relation: str) -> Submission:
        return Submission(
            rid=OFFICE,
            person=desk.person,
            authority=authority,
            relation=relation,
            mutations=(),
            shown=shown,
            ends=(entry.id, entry.state == "open"),
        )


def proof_of(tenant: Tenant, phones: list[Phone]) -> Vector:
    """Return for each replica its newest write that is in every backup and that every device has read past."""
    live = [phone for phone in phones if not phone.fenced]
    read = min((phone.read_up_to() for phone in live), default=0)
    stores = [tenant.store, *(backup.store for backup in tenant.backups)]
    wrote = [(dot, row.seq) for dot, (_, _, row) in tenant.store.ledger.items()]
    wrote += [(each.dot, row.seq) for row in tenant.store.changes for each in row.cells.values() if each.dot.rid == HUB]
    proof: Vector = {}
    for dot, seq in wrote:
        if seq <= read and all(dot.n <= store.replicas[dot.rid].applied for store in stores):
            proof[dot.rid] = max(dot.n, proof.get(dot.rid, 0))
    return proof
