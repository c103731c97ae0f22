"""What is odd about Gusto: a write needs the payroll of a period, its version and a slot, none of which we keep.

A payroll has a slot for each (employee, earning, job). What is told is the content of a slot, so telling it
twice is telling it once. What comes after a payroll had run has to go into the slot of a later one, which
has hours of its own: it is added, and in the same request a line is put into the employee's memo that
says how much was added, for which period, and under which mark. So a look at the payroll tells whether it
was added, the employee reads on the pay stub why there is more or less, and the hours of the period itself
can still be set without losing it.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from upstream import replies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from upstream.bucket import Purpose
    from upstream.replies import Reply

MEMO_CHARACTERS_MAX: Final = 1_000
"""How long a memo may become; the vendor does not say, so a person is asked rather than a line cut."""
PLACES: Final = Decimal("0.001")
"""Hours are kept to the thousandth."""
NAME_CHARACTERS_MAX: Final = 100
"""How long the name of an earning may be that is written into a memo."""
CONFLICTS_MAX: Final = 3
"""How often it is tried again when the payroll was changed between reading and writing."""
PROCESSED: Final = "payroll_processed"

_LINE: Final = re.compile(
    r"Late ([+-]\d+\.\d{3}) h "
    rf"(.{{1,{NAME_CHARACTERS_MAX}}}?) "
    r"for (\d{4}-\d\d-\d\d) \((FS[A-Z2-7]{16}) ([0-9a-f]{8})\)"
)


class Caller(Protocol):
    """Whoever carries out the operations of the manifest."""

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,
        key: str | None = None,
        purpose: Purpose = "normal",
    ) -> Reply:
        """Carry one out."""
        ...

    def pages(self, operation: str, values: Mapping[str, Any], *, purpose: Purpose = "normal") -> AsyncIterator[Reply]:
        """Yield the pages of a list."""
        ...


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """What is told: the hours of a slot, or (with a mark) what is added to it."""

    employee_uuid: str
    period_start: str
    name: str
    hours: str = "0"
    job_title: str = ""
    of_period: str = ""
    marker: str = ""


class Payroll(msgspec.Struct, frozen=True):
    """The payroll of a period."""

    uuid: str
    processed: bool


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot of an employee as the payroll has it. `version` is empty where it cannot be changed any more."""

    payroll: str
    name: str
    job_uuid: str
    hours: Decimal
    memo: str = ""
    version: str = ""

    @property
    def tag(self) -> str:
        """What tells this slot from others in a line of the memo."""
        return hashlib.sha256(f"{self.name}|{self.job_uuid}".encode()).hexdigest()[:8]

    @property
    def lines(self) -> dict[str, Decimal]:
        """What was added to this slot, by mark."""
        return {mark: Decimal(hours) for hours, _, _, mark, tag in _LINE.findall(self.memo) if tag == self.tag}

    @property
    def own(self) -> Decimal:
        """The hours of the period itself."""
        return self.hours - sum(self.lines.values(), Decimal(0))

    @property
    def place(self) -> str:
        """The slot in one word."""
        return f"{self.payroll}/{self.tag}"


class Hooks:
    """Stands before the connector: carries out what the targets name, and hands on all else."""

    def __init__(self, inner: Caller, config: Mapping[str, str]) -> None:
        self._inner = inner
        self._schedule = config.get("pay_schedule_id", "")

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,
        key: str | None = None,
        purpose: Purpose = "normal",
    ) -> Reply:
        """Carry out an operation."""
        steps = _Steps(self._inner, self._schedule, operation, key, purpose)
        match operation:
            case "put_hours" | "add_late_hours":
                return await steps.change(_hours(values))
            case "clear_hours":
                return await steps.change(msgspec.structs.replace(_hours(values), hours="0"))
            case "read_hours":
                return await steps.read(_hours(values))
            case "read_late_hours":
                return await steps.read_added(_hours(values))
            case _:
                return await self._inner.call(operation, values, remote=remote, key=key, purpose=purpose)

    def pages(self, operation: str, values: Mapping[str, Any], *, purpose: Purpose = "normal") -> AsyncIterator[Reply]:
        """Yield the pages of a list."""
        return self._inner.pages(operation, values, purpose=purpose)


class _Stop(Exception):
    """There is nothing further to be done: the reply says why."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class _Steps:
    """The requests of one operation."""

    def __init__(self, inner: Caller, schedule: str, operation: str, key: str | None, purpose: Purpose) -> None:
        self._inner = inner
        self._schedule = schedule
        self._operation = operation
        self._key = key
        self._purpose: Purpose = purpose

    async def change(self, told: Hours) -> Reply:
        """Set the hours of the period, or add late ones; again if somebody else was quicker."""
        write = self._add if told.marker else self._set
        try:
            reply = await write(told, await self._open(told))
            for _ in range(CONFLICTS_MAX):
                if reply.kind != "conflict":
                    break
                reply = await write(told, await self._open(told))
        except _Stop as stop:
            return stop.reply
        return reply

    async def _set(self, told: Hours, slot: Slot) -> Reply:
        """Set the hours of the period; what was added to the slot stays."""
        return await self._write(told, slot, _exact(told.hours) + slot.hours - slot.own, slot.memo)

    async def _add(self, told: Hours, slot: Slot) -> Reply:
        """Add hours to the slot, once: its memo says whether that was done."""
        if told.marker in slot.lines:
            return _found(slot, told)
        line = f"Late {_exact(told.hours):+} h {told.name} for {told.of_period} ({told.marker} {slot.tag})"
        memo = "; ".join(part for part in (slot.memo, line) if part)
        lines = msgspec.structs.replace(slot, memo=memo).lines
        if lines != {**slot.lines, told.marker: _exact(told.hours)}:
            # A repeat would not find the line, and would add the hours once more.
            said = f"its line in the memo would not be known again; a name has at most {NAME_CHARACTERS_MAX} characters"
            raise _Stop(
                _no("data", "no_line", f"{said}, on one line, and nothing else there begins like a line of ours")
            )
        return await self._write(told, slot, slot.hours + _exact(told.hours), memo)

    async def read(self, told: Hours) -> Reply:
        """Return the hours of the period itself as they stand there."""
        try:
            return _found(await self._seen(told), told)
        except _Stop as stop:
            return stop.reply

    async def read_added(self, told: Hours) -> Reply:
        """Return whether something was added under the mark."""
        try:
            slot = await self._seen(told)
        except _Stop as stop:
            return stop.reply
        if told.marker in slot.lines:
            return _found(slot, told)
        return replies.Reply(kind="not_found", code="not_added", message="nothing was added under this mark")

    async def _write(self, told: Hours, slot: Slot, total: Decimal, memo: str) -> Reply:
        if total < 0:
            said = f"{told.name} would have {total} hours; a person has to correct that"
            raise _Stop(_no("data", "below_zero", said))
        if len(memo) > MEMO_CHARACTERS_MAX:
            raise _Stop(_no("data", "memo_full", f"the employee's memo would be longer than {MEMO_CHARACTERS_MAX}"))
        changed: dict[str, Any] = {"name": slot.name, "hours": format(total.quantize(PLACES), "f")}
        if slot.job_uuid:
            changed["job_uuid"] = slot.job_uuid
        asked: dict[str, Any] = {"payroll_uuid": slot.payroll, "employee_uuid": told.employee_uuid}
        asked |= {"version": slot.version, "hourly_compensations": [changed]}
        if memo != slot.memo:
            asked["memo"] = memo
        reply = await self._inner.call(self._operation, asked, key=self._key, purpose=self._purpose)
        if reply.kind == "ok":
            return msgspec.structs.replace(reply, id=_id(slot, told))
        if reply.kind == "data" and (await self._payroll(told)).processed:
            return _processed(told, reply)
        return reply

    async def _open(self, told: Hours) -> Slot:
        """Return the slot, ready to be changed."""
        payroll = await self._payroll(told)
        if payroll.processed:
            raise _Stop(_processed(told))
        return await self._prepared(told, payroll)

    async def _seen(self, told: Hours) -> Slot:
        """Return the slot as it stands, also of a payroll that was processed."""
        payroll = await self._payroll(told)
        if not payroll.processed:
            return await self._prepared(told, payroll)
        async for page in self._inner.pages("payroll", {"payroll_uuid": payroll.uuid}, purpose=self._purpose):
            found = _of_employee(_good(page).items, told)
            if found is not None:
                return await self._slot(told, payroll, found)
        raise _Stop(_no("not_found", "not_on_payroll", "the employee was not paid by this payroll"))

    async def _payroll(self, told: Hours) -> Payroll:
        asked = {"period_start": told.period_start}
        reply = _good(await self._inner.call("pay_periods", asked, purpose=self._purpose))
        found = [period for period in reply.items if period.get("start_date") == told.period_start]
        if self._schedule:
            found = [period for period in found if period.get("pay_schedule_uuid") == self._schedule]
        if len(found) != 1:
            said = "none" if not found else f"{len(found)} (name one by the setting pay_schedule_id)"
            message = f"{said} of the company's pay periods begins on {told.period_start}"
            raise _Stop(_no("config", "no_pay_period", f"{message}; the mapping's period must be the same"))
        payroll = found[0]["payroll"]
        return Payroll(str(payroll["payroll_uuid"]), bool(payroll["processed"]))

    async def _prepared(self, told: Hours, payroll: Payroll) -> Slot:
        asked = {"payroll_uuid": payroll.uuid, "employee_uuids": [told.employee_uuid]}
        reply = await self._inner.call("read_hours", asked, purpose=self._purpose)
        if reply.kind == "data" and (await self._payroll(told)).processed:
            raise _Stop(_processed(told, reply))
        found = _of_employee(_good(reply).items, told)
        if found is None:
            raise _Stop(_no("data", "not_on_payroll", "the employee is not on the payroll of this period"))
        if found.get("excluded"):
            said = "the employee is left out of this payroll, so the hours would not be paid"
            raise _Stop(_no("data", "left_out", said))
        return await self._slot(told, payroll, found)

    async def _slot(self, told: Hours, payroll: Payroll, found: Mapping[str, Any]) -> Slot:
        named = [each for each in found.get("hourly_compensations", ()) if each.get("name") == told.name]
        if told.job_title or len(named) > 1:
            job = await self._job(told)
            named = [each for each in named if each.get("job_uuid") == job]
        if payroll.processed and not named:
            raise _Stop(_no("not_found", "no_hours", "no hours of this kind were paid by this payroll"))
        if not named:
            there = ", ".join(sorted({str(each.get("name")) for each in found.get("hourly_compensations", ())}))
            said = f"{told.name!r} is no pay code of this employee (there are: {there})"
            raise _Stop(_no("data", "no_such_earning", said))
        return Slot(
            payroll=payroll.uuid,
            name=told.name,
            job_uuid=str(named[0].get("job_uuid") or ""),
            hours=_exact(named[0].get("hours") or "0"),
            memo=str(found.get("memo") or ""),
            version=str(found.get("version") or ""),
        )

    async def _job(self, told: Hours) -> str:
        asked = {"employee_uuid": told.employee_uuid}
        reply = _good(await self._inner.call("employee_jobs", asked, purpose=self._purpose))
        for job in reply.items:
            if job.get("title") == told.job_title or (not told.job_title and job.get("primary")):
                return str(job["uuid"])
        wanted = repr(told.job_title) if told.job_title else "a primary job"
        raise _Stop(_no("data", "no_such_job", f"the employee does not have {wanted}"))


def _hours(values: Mapping[str, Any]) -> Hours:
    return msgspec.convert({name: value for name, value in values.items() if value is not None}, Hours)


def _of_employee(compensations: list[Any], told: Hours) -> dict[str, Any] | None:
    return next((each for each in compensations if each.get("employee_uuid") == told.employee_uuid), None)


def _found(slot: Slot, told: Hours) -> Reply:
    """Return what stands there, in the shape in which it is told."""
    hours = slot.lines[told.marker] if told.marker else slot.own
    item = {"id": _id(slot, told), "version": slot.version, "hours": format(hours, "f"), "marker": told.marker}
    return replies.Reply(kind="ok", status=200, item=item, id=item["id"], version=slot.version)


def _id(slot: Slot, told: Hours) -> str:
    return f"{slot.place}/{told.employee_uuid}" + (f"/{told.marker}" if told.marker else "")


def _exact(hours: Any) -> Decimal:
    try:
        return Decimal(str(hours)).quantize(PLACES)
    except InvalidOperation as exc:
        raise _Stop(_no("data", "no_number", f"{str(hours)[:60]!r} is no number of hours")) from exc


def _good(reply: Reply) -> Reply:
    """Return a reply that has what was asked for. What was only looked up has changed nothing."""
    if reply.kind == "ok":
        return reply
    raise _Stop(msgspec.structs.replace(reply, sent=False) if reply.kind in ("transient", "throttled") else reply)


def _no(kind: Any, code: str, message: str) -> Reply:
    return replies.unsent(kind, code, message)


def _processed(told: Hours, reply: Reply | None = None) -> Reply:
    message = f"the payroll of the period that began on {told.period_start} has been processed"
    no = _no("locked", PROCESSED, message)
    return no if reply is None else msgspec.structs.replace(reply, kind="locked", code=PROCESSED, message=message)
