"""Devices as the office sees them: who carries them, how far behind they are, and shutting one out."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from syncserver.commands.access import Device
from syncserver.http import body, parts
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking, Parts
from syncserver.http.problems import Problem


class DeviceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A device. `lag` counts the numbers it has not pulled, `lag_seconds` the age of the first of them."""

    id: str
    rid: int
    label: str
    person: str
    person_name: str | None
    platform: str | None
    applied: int
    fenced: bool
    lag: int
    lag_seconds: float
    created_at: datetime
    pushed_at: datetime | None
    pulled_at: datetime | None


class DevicePage(msgspec.Struct, frozen=True):
    """All devices of the tenant."""

    items: list[DeviceItem]
    cursor: str | None = None


LIST: Final = Operation(summary="List devices, and how far behind each is.", right="watch", gives=DevicePage)
REVOKE: Final = Operation(
    summary="Shut a device out: whatever it sends is answered with `fenced`.",
    right="revoke",
    gives=DeviceItem,
    problems=("unknown_replica",),
)


@get("/v1/devices", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List devices."""
    own = parts.found(request)
    return body.answer(request, msgspec.json.encode(DevicePage(await _devices(own, request.auth.tenant_id))))


@post("/v1/devices/{device_id:str}/revoke", opt=opt(REVOKE), status_code=200)
async def revoke(request: Asking, device_id: FromPath[str]) -> Response[bytes]:
    """Shut a device out."""
    own, tenant_id = parts.found(request), request.auth.tenant_id
    device = next((each for each in await _devices(own, tenant_id) if each.id == device_id.lower()), None)
    if device is None:
        raise Problem("unknown_replica", f"no device {device_id} is known")
    await own.access.fence(request.auth, device.rid)
    return body.answer(request, msgspec.json.encode(msgspec.structs.replace(device, fenced=True)))


async def _devices(own: Parts, tenant_id: int) -> list[DeviceItem]:
    lags = await own.access.lags(tenant_id)
    known = await own.access.devices(tenant_id)
    return [_listed(device, lags.get(device.rid, 0.0)) for device in known if device.kind == "device"]


def _listed(device: Device, lag_seconds: float) -> DeviceItem:
    return DeviceItem(
        id=device.replica,
        rid=device.rid,
        label=device.label,
        person=device.person,
        person_name=device.person_name,
        platform=device.platform,
        applied=device.applied,
        fenced=device.fenced,
        lag=device.lag,
        lag_seconds=round(lag_seconds, 1),
        created_at=device.created_at,
        pushed_at=device.pushed_at,
        pulled_at=device.pulled_at,
    )


ROUTER: Final = Router("/", route_handlers=[listed, revoke])
