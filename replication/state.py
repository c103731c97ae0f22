"""What the hub holds of one tenant while it settles a group, and what comes in and goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from replication import rows
from replication.mutation import Mutation
from replication.record import Record, unknown
from replication.tentative import Tentative
from replication.verdict import Malformed, MutationVerdict
from replication.versions import Dot, Vector

if TYPE_CHECKING:
    from replication.catalog import Catalog
    from replication.memberships import Memberships
    from replication.rows import Key

PRIORITIES: Final = ("assignment", "job", "reference", "bulk")
"""Classes of travel, most urgent first; a commit travels in the most urgent of its collections."""

SEQUENTIAL: Final = frozenset({"device", "hub"})
"""The kinds of replica whose own earlier writes count as seen."""

Problem = Literal["replica_forked", "fenced", "state_moved", "rev_ahead", "idempotency_key_reused", "not_waiting"]


class Replica(msgspec.Struct):
    """A writer with its own counter. `served` is the highest seq it was told in verdicts.

    `clock` is when its newest mutation was made as far as the hub can tell, in milliseconds since 1970.
    """

    rid: int
    kind: str
    applied: int = 0
    served: int = 0
    fenced: bool = False
    clock: int = 0


class Settled(msgspec.Struct, frozen=True):
    """A verdict given before: the hash it was given for, and the verdict itself."""

    hash: bytes
    verdict: MutationVerdict | msgspec.Raw


class Shown(msgspec.Struct, frozen=True):
    """The state of a cell that a person was shown and acts upon."""

    cell: str
    dot: Dot
    siblings: frozenset[Dot] = frozenset()


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One push of one replica. Devices number their mutations, the hub numbers all others.

    `relation` counts where the replica is no device: it is that of the value that is restored.
    `authorities` names, by collection and cell, where the class is another than `authority`.
    `served` comes from the sealed cursor; `persons` may be named by `by`. `shown` makes the
    answer depend on the state that a person was shown; `ends` is the conflict a write settles
    (True) or undoes (False). Whoever restores a value for somebody else acts in that one's class
    and `relation`; a device's relations follow from memberships.

    `schema` is the catalogue version that the writer went by (0: the present one). `received` is when
    the hub received it, `offset` how far the hub's clock was ahead of the writer's then, both in
    milliseconds. `rescue` hands over the work of a fenced replica, of which everything is held.
    `released` names the first of the held mutations that `releaser` lets be judged after all, one or a
    whole tx: the mutations are they, in order, `person` and `authority` their writer's.
    """

    rid: int
    person: str
    authority: str
    relation: str = ""
    authorities: dict[str, dict[str, str]] = {}
    mutations: tuple[Mutation | Malformed, ...]
    numbered: bool = True
    served: int = 0
    persons: frozenset[str] = frozenset()
    idempotency: str | None = None
    request_hash: bytes = b""
    want_fields: bool = False
    shown: Shown | None = None
    rev_shown: int | None = None
    ends: tuple[str, bool] | None = None
    schema: int = 0
    received: int = 0
    offset: int = 0
    rescue: bool = False
    released: Dot | None = None
    releaser: str = ""

    @property
    def lets_go(self) -> tuple[Dot, ...]:
        """The held mutations that it releases."""
        if self.released is None:
            return ()
        rid, first = self.released
        return tuple(Dot(rid, first + place) for place in range(len(self.mutations)))


class Answer(msgspec.Struct, frozen=True):
    """What the submitter is told. With a `problem` nothing was judged."""

    applied: int
    verdicts: tuple[MutationVerdict | msgspec.Raw, ...] = ()
    expected: int | None = None
    problem: Problem | None = None


class State(msgspec.Struct, kw_only=True):
    """All of one tenant that a group touches; `judge` moves it forward.

    `older` has the catalogues of former versions that submissions name. `held` are the records whose
    create waits for a person, `waiting` the held mutations that submissions release. `proof` says for
    each replica up to which of its mutations no vector is needed any more, `restored_to` to which
    position the tenant was last restored. `faults` are mistakes of ours that kept mutations from being judged.
    """

    seq: int
    hub_rid: int
    catalog: Catalog
    replicas: dict[int, Replica]
    records: dict[Key, Record]
    memberships: Memberships
    ledger: dict[Dot, Settled] = {}
    remembered: dict[str, rows.Remembered] = {}
    older: dict[int, Catalog] = {}
    held: set[Key] = set()
    waiting: set[Dot] = set()
    proof: Vector = {}
    restored_to: int = 0
    faults: list[Exception] = []
    tentative: Tentative = msgspec.field(default_factory=Tentative)
    effects: rows.Effects = msgspec.field(default_factory=rows.Effects)

    def record(self, key: Key) -> Record:
        """Return the record, or the one of which nothing is known."""
        return self.records.get(key) or unknown(*key)
