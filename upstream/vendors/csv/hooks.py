"""Carrying rows in files: what is told within a moment goes into one file, and what comes in is read file by file.

Out: `out/<object>-<time>-<id>.csv`, put there under another name until it is whole, then its manifest. Whoever
fetches takes a file when its manifest is there. A row has the action, the mark of its object, and the fields;
the last row of a mark holds. Whether a row was handed over is looked up in the manifests.

In: `in/<object>*.csv`. A file is moved to `done/` when all of its rows are kept here, or to `bad/` with the reason.
Rows that cannot be taken are put into `bad/` by themselves; the others are taken.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

import msgspec
import structlog

from upstream import replies
from upstream.vendors.csv import feed, places
from upstream.vendors.csv.feed import Dialect, Unreadable
from upstream.vendors.csv.places import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from upstream.bucket import Purpose
    from upstream.credentials import Credential
    from upstream.replies import Reply
    from upstream.vendors.csv.places import Entry, Listing, Place

BATCH_SECONDS: Final = 1.0
"""How long a row waits for others that go into the same file."""
BATCH_ROWS_MAX: Final = 1_000
PAGE_ROWS: Final = 500
SETTLED_SECONDS: Final = 5.0
"""A file without a manifest that was changed later than this may still be growing."""
OUT, IN, DONE, BAD, AGAIN = "out", "in", "done", "bad", "again"
TAKEN: Final = f"{OUT}/taken"
NOTE: Final = ".taken.json"
NOTE_BYTES_MAX: Final = 65_536
MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024

_UNREAD: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""How a file that should be JSON turns out to be none."""

log = structlog.get_logger()


class Inner(Protocol):
    """What is needed of the connector: whose connection it is, its credentials, which addresses may be called."""

    @property
    def place(self) -> tuple[int, str]:
        """Tenant and connection."""
        ...

    @property
    def allow_loopback(self) -> bool:
        """Whether this machine may be called."""
        ...

    async def credential(self) -> Credential | None:
        """Return what was given for signing in."""
        ...


class Hooks:
    """Stands in the connector's place: there is nothing to be called."""

    def __init__(
        self, inner: Inner, config: Mapping[str, str], exchange_dir: str = "", limits: feed.Limits | None = None
    ) -> None:
        self._inner = inner
        self._limits = limits or feed.Limits()
        self._config = config
        self._exchange_dir = exchange_dir

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,  # noqa: ARG002  (a row is addressed by its mark)
        key: str | None = None,  # noqa: ARG002  (likewise)
        purpose: Purpose = "normal",  # noqa: ARG002  (files have no budget)
    ) -> Reply:
        """Carry out an operation."""
        verb, _, name = operation.partition("_")
        match verb:
            case "put" | "void":
                return await self._put(name, "upsert" if verb == "put" else "void", values)
            case "find":
                return await self._guarded(self._find(name, values))
            case _:
                return await self._guarded(self._look())

    async def pages(
        self,
        operation: str,
        values: Mapping[str, Any],  # noqa: ARG002  (a file is read whole)
        *,
        purpose: Purpose = "normal",  # noqa: ARG002  (files have no budget)
    ) -> AsyncIterator[Reply]:
        """Yield the rows of all files of an object. A file is put away when its last rows have been asked beyond."""
        name = operation.partition("_")[2]
        try:
            async with self._opened(await self._given()) as place:
                waiting = await place.entries(IN)
                if waiting.is_cut:
                    log.warning("too_many_files", folder=IN, connection=self._inner.place[1], seen=places.FILES_MAX)
                manifests = {entry.name for entry in waiting.entries if entry.name.endswith(feed.SUFFIX)}
                for entry in waiting.entries:
                    if _is_of(name, entry, manifests) and not _is_next(entry, waiting):
                        async for reply in self._file(place, entry, entry.name + feed.SUFFIX in manifests):
                            yield reply
        except Refused as exc:
            yield replies.unsent("config", "refused", str(exc))
        except (Unreachable, FileNotFoundError) as exc:
            yield replies.unsent("transient", "unreachable", str(exc))

    # Out.

    async def _put(self, name: str, action: str, values: Mapping[str, Any]) -> Reply:
        """Put a row into the file that goes next, and wait until it is there."""
        row = {feed.ACTION: action, **values}
        try:
            problem = feed.misfit(row, self._dialect)
        except Refused as exc:
            return replies.unsent("config", "refused", str(exc))
        if problem:
            return replies.unsent("data", "cannot_be_written", problem)
        key = (*self._inner.place, name, tuple(row))
        batch = _BATCHES.get(key)
        if batch is None or len(batch.rows) >= BATCH_ROWS_MAX:
            batch = _BATCHES[key] = _Batch(name)
            batch.task = asyncio.create_task(self._flush(key, batch))
        batch.rows.append(row)
        began = time.monotonic()
        reply = await asyncio.shield(batch.task)
        took = round((time.monotonic() - began) * 1_000)
        return msgspec.structs.replace(reply, took_ms=took, id=str(row[feed.MARK]), request=repr(row))

    async def _flush(self, key: tuple[Any, ...], batch: _Batch) -> Reply:
        await asyncio.sleep(BATCH_SECONDS)
        if _BATCHES.get(key) is batch:
            del _BATCHES[key]
        return await self._guarded(self._publish(batch))

    async def _publish(self, batch: _Batch) -> Reply:
        now = datetime.fromtimestamp(time.time(), UTC)
        name = f"{batch.name}-{now:%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}.csv"
        content = feed.written(batch.rows, self._dialect)
        async with self._opened(await self._given()) as place:
            await place.write(f"{OUT}/{name}", content)
            try:
                await self._vouch(place, name, content)
            except (Unreachable, Refused, FileNotFoundError) as exc:
                # The rows are there, and are handed over by whoever looks for them next.
                raise Unreachable(str(exc), done=True) from exc
        return replies.Reply(kind="ok", status=200, item={"file": name}, raw=name)

    async def _vouch(self, place: Place, name: str, content: bytes) -> feed.Manifest:
        manifest = feed.vouched(name, content, self._dialect)
        await place.write(f"{OUT}/{name}{feed.SUFFIX}", msgspec.json.encode(manifest))
        return manifest

    async def _adopt(self, place: Place, name: str, there: Listing) -> Listing:
        """Vouch for files that have their name, so are whole, and whose writer went down before its last step.

        A writer that is only slow vouches for the same in the same words, whoever of the two is first.
        """
        names = {entry.name for entry in there.entries}
        ours = [each for each in names if each.startswith(f"{name}-") and each.endswith(".csv")]
        left = [each for each in ours if each + feed.SUFFIX not in names]
        for each in left:
            with suppress(Unreadable, FileNotFoundError):
                await self._vouch(place, each, await place.read(f"{OUT}/{each}", self._limits.bytes))
        return await place.entries(OUT, newest=True) if left else there

    async def _find(self, name: str, values: Mapping[str, Any]) -> Reply:
        """Tell whether a row was handed over: by the manifests, newest first."""
        mark = str(values[feed.MARK])
        dialect = self._dialect
        wanted = {feed.digest({feed.ACTION: action, **values}, dialect) for action in ("upsert", "void")}
        async with self._opened(await self._given()) as place:
            ours = await self._adopt(place, name, await place.entries(OUT, newest=True))
            lists = {OUT: ours, TAKEN: await place.entries(TAKEN, newest=True)}
            for folder, there in lists.items():
                async for marks in _marks(place, folder, name, there):
                    if mark in marks:
                        item = dict(values) if marks[mark] in wanted else {feed.MARK: mark}
                        return replies.Reply(kind="ok", status=200, items=[item], id=mark)
        if cut := [folder for folder, there in lists.items() if there.is_cut]:
            said = f"more than {places.FILES_MAX} files lie in {' and '.join(cut)}, so older ones are not seen"
            return replies.unsent("transient", "too_many_files", f"{said}; move away what is older than three days")
        return replies.Reply(kind="not_found", code="not_handed_over", message="no file of ours has this mark")

    async def _look(self) -> Reply:
        async with self._opened(await self._given()) as place:
            waiting, bad = await place.entries(IN), await place.entries(BAD)
            counts = {"waiting": len(waiting.entries), "bad": len(bad.entries)}
            many, more = (f"{'more than ' if each.is_cut else ''}{len(each.entries)}" for each in (waiting, bad))
            said = f"{many} files wait in {IN}/, {more} lie in {BAD}/ for a person"
            return replies.Reply(kind="ok", status=200, item=counts, message=said)

    # In.

    async def _file(self, place: Place, entry: Entry, has_manifest: bool) -> AsyncIterator[Reply]:  # noqa: FBT001  (one of two ways a file comes)
        path = f"{IN}/{entry.name}"
        content = await place.read(path, self._limits.bytes)
        digest = feed.sha256(content)
        before = await _note(place, entry.name)
        if before is not None and before.sha256 == digest:
            said = f"{entry.name} is the same file that was taken at {before.taken_at}; nothing of it is taken again\n"
            name = await self._put_away(place, entry, has_manifest, (AGAIN, digest))
            await place.write(f"{AGAIN}/{name}.reason.txt", said.encode())
            return
        try:
            manifest = await _manifest(place, path + feed.SUFFIX) if has_manifest else None
            if manifest is not None:
                feed.check(content, manifest)
            good, bad = feed.read(content, self._dialect, self._config.get("id_column") or "id", self._limits)
            if manifest is not None:
                feed.count(len(good) + len(bad), manifest)
        except Unreadable as exc:
            name = await self._put_away(place, entry, has_manifest, (BAD, digest))
            await place.write(f"{BAD}/{name}.reason.txt", f"{entry.name} {exc}\n".encode())
            return
        if bad:
            free = await _free(place, BAD, f"{entry.name}.rows.csv", digest)
            await place.write(f"{BAD}/{free}", feed.refused(bad, self._dialect))
        for first in range(0, len(good), PAGE_ROWS):
            yield replies.Reply(kind="ok", status=200, items=list(good[first : first + PAGE_ROWS]))
        await self._put_away(place, entry, has_manifest, (DONE, digest))
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        taken = feed.Taken(file=entry.name, sha256=digest, rows=len(good), bad=len(bad), taken_at=now)
        await place.write(f"{DONE}/{entry.name}{NOTE}", msgspec.json.encode(taken))

    async def _put_away(self, place: Place, entry: Entry, has_manifest: bool, where: tuple[str, str]) -> str:  # noqa: FBT001  (as the file's name says it)
        """Move a file and its manifest to a folder, under a name that no other file has there; return the name."""
        folder, digest = where
        name = await _free(place, folder, entry.name, digest)
        await place.move(f"{IN}/{entry.name}", f"{folder}/{name}")
        if has_manifest:
            await place.move(f"{IN}/{entry.name}{feed.SUFFIX}", f"{folder}/{name}{feed.SUFFIX}")
        return name

    # Both.

    @property
    def _dialect(self) -> Dialect:
        given = {name: self._config[name] for name in ("delimiter", "encoding", "decimal") if self._config.get(name)}
        if given.get("delimiter", ",") not in feed.DELIMITERS or given.get("encoding", "utf-8") not in feed.ENCODINGS:
            raise Refused(f"delimiter is one of {feed.DELIMITERS}, encoding one of {', '.join(feed.ENCODINGS)}")
        return Dialect(**given)

    @property
    def _own_dir(self) -> str:
        """The tenant's part of the folder that was set aside: no tenant names another's files."""
        return f"{self._exchange_dir}/{self._inner.place[0]}" if self._exchange_dir else ""

    def _opened(self, given: Mapping[str, str]) -> AbstractAsyncContextManager[Place]:
        if not self._config.get("host"):
            return places.folder(self._config.get("folder", ""), exchange_dir=self._own_dir)
        from upstream.vendors.csv import sftp  # noqa: PLC0415  (its library takes longer to load than all the rest)

        return sftp.opened(self._config, given, allow_loopback=self._inner.allow_loopback)

    async def _given(self) -> Mapping[str, str]:
        found = await self._inner.credential()
        return found.given if found is not None else {}

    async def _guarded(self, step: Any) -> Reply:
        """Return what came of a step, also where the place did not let it happen."""
        try:
            reply: Reply = await step
        except Refused as exc:
            return replies.unsent("config", "refused", str(exc))
        except Unreachable as exc:
            if exc.done:
                return replies.Reply(kind="unknown", code="unreachable", message=str(exc))
            return replies.unsent("transient", "unreachable", str(exc))
        except FileNotFoundError as exc:
            return replies.unsent("transient", "gone", f"{exc} is not there any more")
        return reply


class _Batch:
    """Rows that go into one file."""

    task: asyncio.Task[Reply]

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = []


_BATCHES: Final[dict[tuple[Any, ...], _Batch]] = {}
"""The files that are being filled, of all connections of this process: those who fill them do not know each other."""


async def _free(place: Place, folder: str, name: str, digest: str) -> str:
    """Return a name that nothing of other content has: files of each day may have the same one."""
    with suppress(FileNotFoundError):
        await place.read(f"{folder}/{name}", 0)
        return f"{digest[:12]}-{name}"
    return name


async def _note(place: Place, name: str) -> feed.Taken | None:
    """Return what is noted of the last file of this name that was taken; None if there is none."""
    try:
        return msgspec.json.decode(await place.read(f"{DONE}/{name}{NOTE}", NOTE_BYTES_MAX), type=feed.Taken)
    except (FileNotFoundError, *_UNREAD):
        return None


async def _manifest(place: Place, path: str) -> feed.Manifest:
    content = await place.read(path, MANIFEST_BYTES_MAX)
    try:
        return msgspec.json.decode(content, type=feed.Manifest)
    except _UNREAD as exc:
        raise Unreadable(f"has a manifest that is none: {exc}") from exc


async def _marks(place: Place, folder: str, name: str, there: Listing) -> AsyncIterator[Mapping[str, str]]:
    """Yield the marks of each file of an object, the newest first; what is no manifest is none of ours."""
    for entry in reversed(there.entries):
        if not entry.name.startswith(f"{name}-") or not entry.name.endswith(feed.SUFFIX):
            continue
        try:
            manifest = await _manifest(place, f"{folder}/{entry.name}")
        except Unreadable as exc:
            log.warning("no_manifest", file=f"{folder}/{entry.name}", reason=str(exc))
        else:
            yield manifest.marks


def _is_next(entry: Entry, there: Listing) -> bool:
    """Tell whether a file is left for the next time, because its manifest may be among those that are not seen."""
    return there.is_cut and entry.name + feed.SUFFIX > there.entries[-1].name


def _is_of(name: str, entry: Entry, manifests: set[str]) -> bool:
    """Tell whether a file is one of an object, and whole: vouched for, or not changed for a while."""
    if not entry.name.startswith(name) or not entry.name.lower().endswith(".csv"):
        return False
    return entry.name + feed.SUFFIX in manifests or time.time() - entry.changed >= SETTLED_SECONDS
