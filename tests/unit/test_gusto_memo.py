"""Late hours at Gusto: what is added is known again by its line in the memo, or it is not added."""

from __future__ import annotations

from decimal import Decimal

import pytest

from upstream.replies import Reply
from upstream.vendors.gusto import hooks

MARK = "FSAAAAAAAAAAAAAAAA"
LONG = "Standby on call, weekend, region north (collective agreement 2024, group B, supplement for remote sites only)"


class Paying:
    """A payroll of one employee with one earning, which keeps what is written to it."""

    def __init__(self, name: str, memo: str = "") -> None:
        self.slot = {"name": name, "hours": "8.000"}
        self.memo = memo
        self.writes = 0

    async def call(self, operation, values, **_):
        """Answer as the vendor would."""
        if operation == "pay_periods":
            payroll = {"payroll_uuid": "p", "processed": False}
            return Reply(kind="ok", items=[{"start_date": "2026-01-19", "payroll": payroll}])
        if operation == "add_late_hours":
            self.writes += 1
            [self.slot] = values["hourly_compensations"]
            self.memo = values["memo"]
            return Reply(kind="ok")
        paid = {"employee_uuid": "e", "memo": self.memo, "version": "v", "hourly_compensations": [self.slot]}
        return Reply(kind="ok", items=[paid])


def late(name):
    """Give two hours that came late."""
    told = {"employee_uuid": "e", "period_start": "2026-01-19", "name": name, "hours": "2"}
    return {**told, "of_period": "2026-01-05", "marker": MARK}


@pytest.mark.parametrize("name", ["Overtime", "Ü" * hooks.NAME_CHARACTERS_MAX])
async def test_what_was_added_is_known_again(name):
    """A repeat finds the line, and adds nothing."""
    paying = Paying(name)
    hours = hooks.Hooks(paying, {})

    for _ in range(2):
        assert (await hours.call("add_late_hours", late(name))).kind == "ok"

    assert (paying.writes, Decimal(paying.slot["hours"])) == (1, Decimal(10))
    assert (await hours.call("read_late_hours", late(name))).item["hours"] == "2.000"


@pytest.mark.parametrize(
    ("name", "memo"),
    [(LONG, ""), ("On\ncall", ""), ("Overtime", "Late +1.000 h by train")],
    ids=["a long name", "two lines", "a memo that begins like a line of ours"],
)
async def test_what_would_not_be_known_again_is_refused_before_it_is_written(name, memo):
    """A repeat would add it twice, so a person is told what is wrong with the name."""
    paying = Paying(name, memo)

    reply = await hooks.Hooks(paying, {}).call("add_late_hours", late(name))

    assert (reply.kind, reply.code, reply.sent, paying.writes) == ("data", "no_line", False, 0)
    assert "at most 100 characters" in reply.message
