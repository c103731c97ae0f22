"""What a device remembers, in one SQLite file that survives a kill at any moment.

Five things are kept apart, so that none can take another with it: *base* is what the hub told,
*outbox* the edits without a verdict, *view* what the screen shows (base with the outbox on top),
*acknowledged* the edits with their verdicts, kept for as long as the hub could still be
restored to a time before them, and *set_aside* what a former replica leaves to its person.

A step of the device is one SQLite transaction: the number of a mutation, its row in the outbox and
the view that shows it exist together or not at all.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from clients.errors import StoreTooNew
from replication import device, wire
from replication.catalog import Catalog
from replication.mutation import Mutation
from replication.verdict import KEEPS, MutationVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Key = tuple[str, str]
"""Collection and record id."""

BUSY_SECONDS_MAX: Final = 10.0
TABLES: Final = (
    """
    CREATE TABLE device (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        enrolment BLOB,
        catalog BLOB,
        cursor TEXT,
        last_n INTEGER NOT NULL DEFAULT 0,
        durable INTEGER NOT NULL DEFAULT 0,
        sweeping INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE base (
        collection TEXT, id TEXT, rev INTEGER NOT NULL, fields BLOB NOT NULL, raised BLOB NOT NULL,
        alive INTEGER NOT NULL, held INTEGER NOT NULL, told_at INTEGER NOT NULL,
        stale INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (collection, id)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE view (collection TEXT, id TEXT, fields BLOB NOT NULL, PRIMARY KEY (collection, id)) WITHOUT ROWID",
    """
    CREATE TABLE outbox (
        n INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL, mutation BLOB NOT NULL
    )
    """,
    "CREATE INDEX outbox_by_record ON outbox (collection, id, n)",
    "CREATE TABLE acknowledged (n INTEGER PRIMARY KEY, mutation BLOB NOT NULL, verdict BLOB NOT NULL)",
    "INSERT INTO device (one) VALUES (1)",
)
TABLES_OF_FORMER_REPLICAS: Final = (
    "ALTER TABLE device ADD COLUMN sent INTEGER NOT NULL DEFAULT 0",
    # What an older version of this program has sent is not known.
    "UPDATE device SET sent = last_n",
    "CREATE TABLE set_aside (place INTEGER PRIMARY KEY, mutation BLOB NOT NULL, verdict BLOB)",
)
TABLES_OF_WITHHELD: Final = (
    "CREATE TABLE withheld (n INTEGER PRIMARY KEY)",
    "ALTER TABLE base ADD COLUMN blind BLOB NOT NULL DEFAULT '{}'",
)
VERSIONS: Final = (TABLES, TABLES_OF_FORMER_REPLICAS, TABLES_OF_WITHHELD)

_MUTATION: Final = msgspec.json.Decoder(Mutation)
_VERDICT: Final = msgspec.json.Decoder(MutationVerdict)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])
_RAISED: Final = msgspec.json.Decoder(dict[str, int])
_CATALOG: Final = msgspec.json.Decoder(Catalog)
_encode: Final = msgspec.json.Encoder().encode


class Enrolment(msgspec.Struct, frozen=True):
    """Which replica this device is, how it proves it, and under which epoch it last spoke to the hub."""

    replica: str
    rid: int
    token: str
    refresh: str
    epoch: str
    schema: int
    limits: wire.Limits


class Answered(msgspec.Struct, frozen=True):
    """A mutation with its verdict."""

    mutation: Mutation
    verdict: MutationVerdict


class SetAside(msgspec.Struct, frozen=True):
    """A mutation of a former replica that is not sent again.

    It was not (all) taken, or without a verdict nobody knows whether it arrived.
    """

    mutation: Mutation
    verdict: MutationVerdict | None


_ENROLMENT: Final = msgspec.json.Decoder(Enrolment)


class Store:
    """The file. Every change of it happens inside `transaction`."""

    def __init__(self, path: Path | str, trace: Callable[[str], object] | None = None) -> None:
        """Open the file, or make it; `trace` is called before each statement."""
        self._catalog: Catalog | None = None
        self._db = sqlite3.connect(path, timeout=BUSY_SECONDS_MAX, isolation_level=None)
        if trace is not None:
            self._db.set_trace_callback(trace)
        # A number that was sent and then forgotten in a power cut would be given twice.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._make_tables()

    def _make_tables(self) -> None:
        with self.transaction():
            (version,) = self._one("PRAGMA user_version")
            if version > len(VERSIONS):
                raise StoreTooNew(version, len(VERSIONS))
            for statements in VERSIONS[version:]:
                for statement in statements:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(VERSIONS)}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def busy(self) -> bool:
        """Whether a transaction is open."""
        return self._db.in_transaction

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all changes made inside, or none. Inside another one it joins that."""
        if self.busy:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._catalog = None
            # SQLite ends the transaction by itself on some failures, a full disk for one.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # Who the device is.

    def enrolment(self) -> Enrolment | None:
        """Return which replica this is, if it was enrolled."""
        (stored,) = self._one("SELECT enrolment FROM device")
        return None if stored is None else _ENROLMENT.decode(stored)

    def enrol(self, enrolment: Enrolment) -> None:
        """Become this replica, whether a new one or the same with another token or epoch."""
        self._db.execute("UPDATE device SET enrolment = ?", (_encode(enrolment),))

    def begin_replica(self, unsure: int = 0) -> None:
        """Start the counter of a new replica: what is unsent is numbered anew, what was answered is not its.

        What is unsent up to the number `unsure` may have arrived, and would count twice: it is set aside for
        the person, with what is kept of the former replica that was not taken.
        """
        self._set_aside(unsure)
        waiting = self.unsent()
        self._db.execute("DELETE FROM outbox")
        self._db.execute("DELETE FROM acknowledged")
        self._db.execute("DELETE FROM withheld")
        self._db.execute("UPDATE device SET last_n = 0, durable = 0, sent = 0")
        for mutation in waiting:
            self.add(msgspec.structs.replace(mutation, n=self.next_n()))

    def _set_aside(self, unsure: int) -> None:
        rows = self._all("SELECT mutation, verdict FROM acknowledged ORDER BY n")
        rows = [row for row in rows if _VERDICT.decode(row[1]).verdict in KEEPS]
        rows += self._all("SELECT mutation, NULL FROM outbox WHERE n <= ? ORDER BY n", (unsure,))
        self._db.executemany("INSERT INTO set_aside (mutation, verdict) VALUES (?, ?)", rows)
        self._db.execute("DELETE FROM outbox WHERE n <= ?", (unsure,))

    def set_aside(self) -> list[SetAside]:
        """Return what former replicas leave to the person, oldest first."""
        rows = self._all("SELECT mutation, verdict FROM set_aside ORDER BY place")
        return [SetAside(_MUTATION.decode(asked), told and _VERDICT.decode(told)) for asked, told in rows]

    def sent(self) -> int:
        """Return the highest number of this replica that may have left the device."""
        (n,) = self._one("SELECT sent FROM device")
        return int(n)

    def mark_sent(self, n: int) -> None:
        """Keep that a push with mutations up to this number is about to leave the device."""
        self._db.execute("UPDATE device SET sent = max(sent, ?)", (n,))

    def catalog(self) -> Catalog | None:
        """Return the catalogue that the hub last gave; the same object until it gives another."""
        if self._catalog is None:
            (stored,) = self._one("SELECT catalog FROM device")
            self._catalog = None if stored is None else _CATALOG.decode(stored)
        return self._catalog

    def set_catalog(self, told: Catalog) -> None:
        """Keep the catalogue."""
        self._catalog = None
        self._db.execute("UPDATE device SET catalog = ?", (_encode(told),))

    def cursor(self) -> str | None:
        """Return the position up to which changes were taken."""
        (stored,) = self._one("SELECT cursor FROM device")
        return None if stored is None else str(stored)

    def set_cursor(self, cursor: str | None) -> None:
        """Move the position; in the same transaction as what was taken up to it."""
        self._db.execute("UPDATE device SET cursor = ?", (cursor,))

    # Edits.

    def next_n(self) -> int:
        """Give the next number; it is given only if the transaction is kept."""
        (n,) = self._one("UPDATE device SET last_n = last_n + 1 RETURNING last_n")
        return int(n)

    def add(self, mutation: Mutation) -> None:
        """Put a mutation into the outbox."""
        row = (mutation.n, mutation.collection, mutation.id, _encode(mutation))
        self._db.execute("INSERT INTO outbox (n, collection, id, mutation) VALUES (?, ?, ?, ?)", row)

    def replace(self, mutation: Mutation) -> None:
        """Put a mutation in the place of the unsent one with its number."""
        self._db.execute("UPDATE outbox SET mutation = ? WHERE n = ?", (_encode(mutation), mutation.n))

    def unsent(self, count: int = -1) -> list[Mutation]:
        """Return the oldest mutations without a verdict, or all of them."""
        rows = self._all("SELECT mutation FROM outbox ORDER BY n LIMIT ?", (count,))
        return [_MUTATION.decode(row) for (row,) in rows]

    def verdicts_seen(self) -> int:
        """Return the number up to which every mutation has its verdict here."""
        (seen,) = self._one("SELECT coalesce((SELECT min(n) - 1 FROM outbox), last_n) FROM device")
        return int(seen)

    def withhold(self, numbers: Iterable[int]) -> None:
        """Keep that the mutations of these numbers are never sent: something short stands for each of them.

        Whoever sent the mutation itself later would say two things under one number.
        """
        self._db.executemany("INSERT OR IGNORE INTO withheld (n) VALUES (?)", ((n,) for n in numbers))

    def withheld(self) -> set[int]:
        """Return the numbers of the mutations that are never sent."""
        return {n for (n,) in self._all("SELECT n FROM withheld")}

    def acknowledge(self, verdict: MutationVerdict) -> Mutation | None:
        """Move a mutation from the outbox to the acknowledged; None if it is not there any more."""
        row = self._one("SELECT mutation FROM outbox WHERE n = ?", (verdict.n,))
        if row is None:
            return None
        self._db.execute("DELETE FROM outbox WHERE n = ?", (verdict.n,))
        kept = (verdict.n, row[0], _encode(verdict))
        self._db.execute("INSERT OR REPLACE INTO acknowledged (n, mutation, verdict) VALUES (?, ?, ?)", kept)
        return _MUTATION.decode(row[0])

    def answered(self, count: int) -> list[Answered]:
        """Return the newest acknowledged mutations with their verdicts, oldest first."""
        rows = self._all("SELECT mutation, verdict FROM acknowledged ORDER BY n DESC LIMIT ?", (count,))
        return [Answered(_MUTATION.decode(mutation), _VERDICT.decode(verdict)) for mutation, verdict in rows[::-1]]

    def recall(self, above: int) -> int:
        """Move acknowledged mutations above a number back into the outbox: the hub has lost them.

        Return how many of those numbers are no longer kept here.
        """
        lost = self.verdicts_seen() - above
        for n, mutation in self._all("SELECT n, mutation FROM acknowledged WHERE n > ? ORDER BY n", (above,)):
            self.add(_MUTATION.decode(mutation))
            self._db.execute("DELETE FROM acknowledged WHERE n = ?", (n,))
            lost -= 1
        return max(lost, 0)

    def trim(self, durable: int) -> None:
        """Forget acknowledged mutations that every backup of the hub contains."""
        self._db.execute("DELETE FROM acknowledged WHERE n <= ?", (durable,))
        self._db.execute("DELETE FROM withheld WHERE n <= ?", (durable,))
        self._db.execute("UPDATE device SET durable = max(durable, ?)", (durable,))

    # Records.

    def copy(self, key: Key) -> device.Copy:
        """Return the device's copy of a record, its unanswered edits included."""
        rows = self._all("SELECT mutation FROM outbox WHERE collection = ? AND id = ? ORDER BY n", key)
        edits = tuple(_MUTATION.decode(row) for (row,) in rows)
        row = self._one(
            "SELECT rev, fields, raised, alive, held, told_at, blind FROM base WHERE collection = ? AND id = ?", key
        )
        if row is None:
            return device.Copy(*key, edits=edits)
        rev, fields, raised, alive, held, told_at, blind = row
        return device.Copy(
            *key,
            rev,
            _FIELDS.decode(fields),
            _RAISED.decode(raised),
            bool(alive),
            bool(held),
            told_at,
            edits,
            blind=_RAISED.decode(blind),
        )

    def save(self, copy: device.Copy, shown: dict[str, Any] | None, *, fresh: bool = False) -> None:
        """Keep what lies beneath a record's edits, and what the screen shows of it.

        `fresh` says that the hub itself has just told of the record.
        """
        told = (copy.rev, _encode(copy.fields), _encode(copy.raised))
        row = (*told, copy.alive, copy.held, copy.told_at, _encode(copy.blind))
        self._db.execute(
            """
            INSERT INTO base (collection, id, rev, fields, raised, alive, held, told_at, blind)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (collection, id) DO UPDATE SET
                rev = excluded.rev, fields = excluded.fields, raised = excluded.raised, alive = excluded.alive,
                held = excluded.held, told_at = excluded.told_at, blind = excluded.blind, stale = stale AND NOT ?
            """,
            (copy.collection, copy.id, *row, fresh),
        )
        self._show((copy.collection, copy.id), None if copy.gone else shown)

    def _show(self, key: Key, shown: dict[str, Any] | None) -> None:
        if shown is None:
            self._db.execute("DELETE FROM view WHERE collection = ? AND id = ?", key)
        else:
            self._db.execute(
                "INSERT OR REPLACE INTO view (collection, id, fields) VALUES (?, ?, ?)", (*key, _encode(shown))
            )

    def shown(self, key: Key) -> dict[str, Any] | None:
        """Return what the screen shows of a record."""
        row = self._one("SELECT fields FROM view WHERE collection = ? AND id = ?", key)
        return None if row is None else _FIELDS.decode(row[0])

    def shown_all(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return what the screen shows of a collection, by id."""
        rows = self._all("SELECT id, fields FROM view WHERE collection = ? ORDER BY id", (collection,))
        return {record_id: _FIELDS.decode(fields) for record_id, fields in rows}

    def records(self) -> list[Key]:
        """Return the records of which anything is known or asked."""
        rows = self._all("SELECT collection, id FROM base UNION SELECT collection, id FROM outbox ORDER BY 1, 2")
        return [(collection, record_id) for collection, record_id in rows]

    # Starting over with what is in scope.

    def doubt(self) -> None:
        """Mark every record as not yet heard of again, and pull from the start."""
        self._db.execute("UPDATE base SET stale = 1")
        self._db.execute("UPDATE device SET sweeping = 1")

    def sweeping(self) -> bool:
        """Return whether the pull from the start has yet to reach its end."""
        (sweeping,) = self._one("SELECT sweeping FROM device")
        return bool(sweeping)

    def doubted(self) -> list[Key]:
        """Return the records that were not heard of again, and mark none any more."""
        rows = self._all("SELECT collection, id FROM base WHERE stale AND (SELECT sweeping FROM device)")
        self._db.execute("UPDATE device SET sweeping = 0")
        return [(collection, record_id) for collection, record_id in rows]

    def purge(self) -> None:
        """Forget records that are out of scope or deleted, once nothing of theirs can come late."""
        self._db.execute(
            """
            DELETE FROM base WHERE NOT (held AND alive) AND NOT EXISTS (
                SELECT 1 FROM outbox WHERE outbox.collection = base.collection AND outbox.id = base.id
            )
            """
        )

    def _one(self, sql: str, parameters: tuple[object, ...] = ()) -> Any:
        # All rows are fetched, because a statement that is still open keeps its transaction open.
        rows = self._all(sql, parameters)
        return rows[0] if rows else None

    def _all(self, sql: str, parameters: tuple[object, ...] = ()) -> list[Any]:
        return self._db.execute(sql, parameters).fetchall()
