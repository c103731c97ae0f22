"""Gusto as far as it is used: employees, pay periods, payrolls with a slot for each earning and job.

Writes name the version of an employee's compensation, else 409; a payroll that was processed takes none.
Nothing is known again by a key: a slot has what was put there last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from tests.peers.vendor.company import Company
from tests.peers.vendor.server import Request, Response

EARNINGS = ("Regular Hours", "Overtime", "Double overtime")


@dataclass
class Employee:
    """An employee, with the titles of the jobs; the first one is the primary one."""

    uuid: str
    first_name: str
    last_name: str
    work_email: str
    jobs: dict[str, str]
    terminated: bool = False
    version: str = "1"

    @property
    def shown(self) -> dict[str, Any]:
        """The employee as the vendor shows it."""
        names = ("uuid", "first_name", "last_name", "work_email", "terminated", "version")
        return {**{name: getattr(self, name) for name in names}, "employee_code": self.uuid[:6]}


@dataclass
class Payroll:
    """The payroll of a period: hours by employee, earning and job; memos and versions by employee."""

    uuid: str
    start: date
    processed: bool = False
    hours: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)
    memos: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    writes: int = 0


class Gusto(Company):
    """The vendor."""

    system = "gusto"

    def __init__(self, *args: Any, first: date = date(2026, 1, 5), days: int = 14, **more: Any) -> None:
        super().__init__(*args, **more)
        self.company = str(uuid4())
        self.schedule = str(uuid4())
        self.days = days
        self.employees: dict[str, Employee] = {}
        self.payrolls = {
            start: Payroll(str(uuid4()), start) for start in (first + timedelta(days=days * n) for n in range(40))
        }

    def hire(self, name: str, email: str = "", jobs: tuple[str, ...] = ("Technician",)) -> str:
        """Let somebody be an employee; return the id."""
        first, _, last = name.partition(" ")
        employee = Employee(str(uuid4()), first, last, email, {str(uuid4()): title for title in jobs})
        self.employees[employee.uuid] = employee
        return employee.uuid

    def run(self, start: date) -> None:
        """Run the payroll of a period."""
        self.payrolls[start].processed = True

    def slots(self) -> dict[tuple[str, str, str, str], Decimal]:
        """Return the hours there are, by employee, first day of the period, earning and title of the job."""
        return {
            (employee, start.isoformat(), earning, self.employees[employee].jobs[job]): hours
            for start, payroll in self.payrolls.items()
            for (employee, earning, job), hours in payroll.hours.items()
            if hours
        }

    def event(self, kind: str, entity: str, secret: str) -> tuple[bytes, dict[str, str]]:
        """Return a webhook call: which record has changed, not how."""
        body = {
            "uuid": str(uuid4()),
            "event_type": f"{kind.lower()}.updated",
            "resource_type": "Company",
            "resource_uuid": self.company,
            "entity_type": kind,
            "entity_uuid": entity,
        }
        raw, signature = self.signed(body, secret)
        return raw, {"x-gusto-signature": signature.hex(), "content-type": "application/json"}

    def answer(self, operation: str, request: Request) -> Response:
        """Do what is asked."""
        match operation:
            case "token_info":
                return Response(body={"scope": "payrolls:write", "resource": {"type": "Company", "uuid": self.company}})
            case "employees":
                return self._paged([each.shown for each in self.employees.values()], request)
            case "employee":
                found = self.employees.get(request.path[-1])
                return Response(body=found.shown) if found else self.no(404, "not_found", "no such employee")
            case "employee_jobs":
                jobs = list(self.employees[request.path[2]].jobs.items())
                shown = [{"uuid": job, "title": title, "primary": job == jobs[0][0]} for job, title in jobs]
                return Response(body=shown)
            case "pay_periods":
                return Response(body=self._periods(request.query))
            case _:
                return self._of_payroll(operation, request)

    def no(self, status: int, code: str, message: str) -> Response:
        """Say no in the vendor's own way."""
        return Response(status, {"errors": [{"error_key": "base", "category": code, "message": message}]})

    def throttled(self) -> Response:
        """Say that it is too much."""
        headers = {"retry-after": "1", "x-ratelimit-limit": "200"}
        return Response(429, {"errors": [{"error_key": "base", "category": "rate_limit_exceeded"}]}, headers)

    def lie(self) -> Response:
        """Say yes in the status and no in the body."""
        error = {"error_key": "base", "category": "invalid_resource_version", "message": "no"}
        return Response(200, {"errors": [error]})

    def changes(self, operation: str, _request: Request) -> bool:
        """Tell whether a request changes something."""
        return operation == "update_payroll"

    def _paged(self, rows: list[Any], request: Request) -> Response:
        page, per = int(request.query.get("page", 1)), int(request.query.get("per", 25))
        pages = max(1, -(-len(rows) // per))
        return Response(body=rows[(page - 1) * per : page * per], headers={"X-Total-Pages": str(pages)})

    def _periods(self, query: dict[str, str]) -> list[dict[str, Any]]:
        first, last = query["start_date"], query["end_date"]
        found = []
        for start, payroll in self.payrolls.items():
            end = start + timedelta(days=self.days - 1)
            if start.isoformat() <= last and end.isoformat() >= first:
                inside = {"payroll_uuid": payroll.uuid, "processed": payroll.processed, "payroll_type": "regular"}
                period = {"start_date": start.isoformat(), "end_date": end.isoformat(), "payroll": inside}
                found.append({**period, "pay_schedule_uuid": self.schedule})
        return found

    def _of_payroll(self, operation: str, request: Request) -> Response:
        payroll = next((each for each in self.payrolls.values() if each.uuid == request.path[4]), None)
        if payroll is None or request.path[2] != self.company:
            return self.no(404, "not_found", "no such payroll")
        if operation == "payroll":
            return self._paid(payroll, request)
        if payroll.processed:
            return self.no(422, "invalid_operation", "The payroll has been processed.")
        return self._prepare(payroll, request.json) if operation == "prepare" else self._update(payroll, request.json)

    def _paid(self, payroll: Payroll, request: Request) -> Response:
        shown = [self._compensation(payroll, employee) for employee in self.employees]
        if payroll.processed:
            for each in shown:
                del each["version"]
                paid = [slot for slot in each["hourly_compensations"] if Decimal(slot["hours"])]
                each["hourly_compensations"] = paid
        page = self._paged(shown, request)
        body = {"processed": payroll.processed, "employee_compensations": page.body}
        return Response(body=body, headers=page.headers)

    def _prepare(self, payroll: Payroll, body: dict[str, Any]) -> Response:
        wanted = body.get("employee_uuids") or list(self.employees)
        found = [self._compensation(payroll, uuid) for uuid in wanted if uuid in self.employees]
        return Response(body={"processed": False, "employee_compensations": found})

    def _compensation(self, payroll: Payroll, employee: str) -> dict[str, Any]:
        slots = [
            {"name": earning, "hours": _text(payroll.hours.get((employee, earning, job))), "job_uuid": job}
            for job in self.employees[employee].jobs
            for earning in EARNINGS
        ]
        return {
            "employee_uuid": employee,
            "excluded": False,
            "memo": payroll.memos.get(employee),
            "version": f"v{payroll.versions.get(employee, 0)}",
            "hourly_compensations": slots,
        }

    def _update(self, payroll: Payroll, body: dict[str, Any]) -> Response:
        for given in body["employee_compensations"]:
            employee = given["employee_uuid"]
            if given["version"] != f"v{payroll.versions.get(employee, 0)}":
                return self.no(409, "invalid_resource_version", "The version is not the last.")
            slots = {(employee, slot["name"], slot["job_uuid"]) for slot in given.get("hourly_compensations", ())}
            known = {(employee, earning, job) for earning in EARNINGS for job in self.employees[employee].jobs}
            if slots - known:
                return self.no(422, "invalid_attribute_value", "hourly_compensations: no such slot")
        for given in body["employee_compensations"]:
            employee = given["employee_uuid"]
            for slot in given.get("hourly_compensations", ()):
                payroll.hours[employee, slot["name"], slot["job_uuid"]] = Decimal(slot["hours"])
            if "memo" in given:
                payroll.memos[employee] = given["memo"]
            payroll.versions[employee] = payroll.versions.get(employee, 0) + 1
            payroll.writes += 1
        shown = [self._compensation(payroll, given["employee_uuid"]) for given in body["employee_compensations"]]
        return Response(body={"employee_compensations": shown})


def _text(hours: Decimal | None) -> str:
    """Return hours as they are shown, to the thousandth."""
    return format((hours or Decimal(0)).quantize(Decimal("0.001")), "f")
