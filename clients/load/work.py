"""What a technician does on a device, and how often: a table of acts with their weights.

Each act makes one mutation or a few. What is added to notes bears a mark of its own, and parts are
counted in steps, so that at the end each of them can be found again, once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from clients.office import WORK_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from clients.load.fleet import Member

TIME_ENTRIES: Final = "time_entries"
PARTS: Final = "parts_used"
TASKS: Final = "tasks"

STATUSES: Final = ("travelling", "on site", "in progress", "waiting for parts", "done")
PRIORITIES: Final = ("low", "normal", "high")
ACTIVITIES: Final = ("work", "travel", "break", "standby")
STRANGERS_JOBS: Final = 0.1
"""How often somebody works on a job that is mostly another device's of the same person."""


def mark(rid: int | None, n: int) -> str:
    """Return what makes a line unique: the dot of its edit."""
    return f"[{rid}.{n}]"


def do_something(member: Member, random: Random) -> None:
    """Do one of the acts on one of the jobs that the device shows."""
    job = _job(member, random)
    if job is None:
        member.create(WORK_ORDERS, {"title": "Found on site", "status": "in progress", "priority": "normal"})
        return
    (act,) = random.choices(tuple(ACTS), weights=tuple(ACTS.values()))
    act(member, job, random)


def _job(member: Member, random: Random) -> str | None:
    """Choose a job: mostly one that falls to this device among those of the same person."""
    jobs = list(member.device.list(WORK_ORDERS))
    own = [job for job in jobs if UUID(job).int % member.siblings == member.slot]
    chosen = own if own and random.random() >= STRANGERS_JOBS else jobs
    return random.choice(chosen) if chosen else None


def _status(member: Member, job: str, random: Random) -> None:
    member.edit(WORK_ORDERS, job, status=random.choice(STATUSES))


def _note(member: Member, job: str, _random: Random) -> None:
    member.append(WORK_ORDERS, job, "notes", "looked at it")


def _title(member: Member, job: str, random: Random) -> None:
    member.edit(WORK_ORDERS, job, title=f"Job {job[:8]}, looked at {random.randrange(1_000)} times")


def _priority(member: Member, job: str, random: Random) -> None:
    member.edit(WORK_ORDERS, job, priority=random.choice(PRIORITIES))


def _summary(member: Member, job: str, random: Random) -> None:
    member.edit(WORK_ORDERS, job, summary=f"Replaced {random.randrange(1, 9)} seals, {random.randrange(60)} minutes.")


def _hour(member: Member, job: str, random: Random) -> None:
    began = datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(minutes=random.randrange(100_000))
    ended = began + timedelta(minutes=random.randrange(5, 240))
    fields: dict[str, Any] = {
        "work_order_id": job,
        "technician_id": member.person.id,
        "activity": random.choice(ACTIVITIES),
        "started_at": _instant(began),
        "ended_at": _instant(ended),
        "time_zone": "Europe/Zurich",
    }
    member.create(TIME_ENTRIES, fields)


def _part(member: Member, job: str, random: Random) -> None:
    """Count one part more, or begin with a new one."""
    if member.parts and random.random() < 0.5:
        member.count(PARTS, random.choice(member.parts), "quantity", str(random.randrange(1, 4)))
        return
    fields = {"work_order_id": job, "description": f"O-ring {random.randrange(10, 90)} mm", "quantity": "1"}
    member.parts.append(member.create(PARTS, fields))


def _task(member: Member, job: str, random: Random) -> None:
    member.create(TASKS, {"work_order_id": job, "title": f"Check valve {random.randrange(50)}", "done": False})


def _finish(member: Member, job: str, random: Random) -> None:
    """Say that the job is done, with the hour that it took, in one tx."""
    with member.device.transaction():
        member.edit(WORK_ORDERS, job, status="done", completed_at=_instant(datetime(2026, 3, 2, 16, tzinfo=UTC)))
        _hour(member, job, random)


def _instant(moment: datetime) -> str:
    """Return the canonical form, so that what is kept can be compared with what was sent."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


ACTS: Final[dict[Callable[[Member, str, Random], None], int]] = {
    _status: 28,
    _note: 24,
    _hour: 16,
    _part: 12,
    _task: 6,
    _title: 5,
    _priority: 3,
    _finish: 4,
    _summary: 2,
}
"""Each act and how often it is done, of a hundred."""
