"""A receipt as a device is given it: what became of a record, and of what belongs to it, at each system."""

from __future__ import annotations

from datetime import datetime

import msgspec

PATH = "/v1/receipts/{collection}/{record_id}"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one object at one system; `reason` says why it has not arrived.

    Stages: not_told, waiting, on_its_way, delivered, recorded, rejected, unknown, skipped.
    """

    system: str
    name: str
    stage: str
    object: str = ""
    reason: str = ""
    since: datetime | None = None
    delivered_at: datetime | None = None
    remote_id: str = ""
    late: bool = False


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a record: when its last change was received, under which rev it holds, where it arrived.

    `is_settled`: nothing of it waits, and nothing needs a person. `parts` are the records that belong to it.
    """

    collection: str
    id: str
    applied: int
    received_at: datetime | None
    systems: tuple[Arrival, ...]
    parts: tuple[Receipt, ...] = ()
    is_settled: bool
