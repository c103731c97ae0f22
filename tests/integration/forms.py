"""Phones that speak MessagePack or JSON, compressed or not: the same words in other forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from replication import packing
from syncserver.store import devices
from tests.integration.service import ANA, Phone

if TYPE_CHECKING:
    import httpx

    from replication.forms import Form
    from tests.integration.service import Service

MEDIA_TYPES: dict[Form, str] = {"json": "application/json", "msgpack": "application/msgpack"}


class Speaker(Phone):
    """A device that speaks one form, and compresses what it says, or does not."""

    form: Form = "json"
    coding: packing.Coding | None = None

    async def push(self, *mutations: dict[str, Any], **head: Any) -> httpx.Response:
        """Send mutations."""
        given = {"epoch": self.enrolled.get("epoch"), "schema": 1, "verdicts_seen": 0, "cursor": self.cursor}
        return await self.post("/v1/sync/push", given | {"mutations": mutations} | head)

    async def settled(self, *mutations: dict[str, Any], **head: Any) -> dict[str, Any]:
        """Send mutations and return the answer."""
        answer = await self.push(*mutations, **head)
        assert answer.status_code == 200, answer.text
        return read(answer)

    async def pull(self, **asked: Any) -> dict[str, Any]:
        """Take one page and keep what it says."""
        answer = await self.post("/v1/sync/pull", {"cursor": self.cursor, **asked})
        assert answer.status_code == 200, answer.text
        page = read(answer)
        self.cursor = page["cursor"]
        for commit in page["commits"]:
            for change in commit["changes"]:
                self.take(change)
        return page

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Say something in the form of this device, and ask to be answered in it."""
        content, headers = said(body, self.form, self.coding)
        return await self.client.post(path, content=content, headers=headers)


async def speaker(service: Service, form: Form, coding: packing.Coding | None = None, person: str = ANA) -> Speaker:
    """Enrol a device that speaks this form."""
    code = await devices.create_code(service.database, service.tenant, person)
    content, headers = said({"code": code, "name": "phone"}, form, coding)
    answer = await service.client().post("/v1/devices/enrol", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    enrolled = read(answer)
    made = Speaker(service.client(enrolled["token"]), enrolled)
    made.form, made.coding = form, coding
    return made


def said(body: Any, form: Form, coding: packing.Coding | None = None) -> tuple[bytes, dict[str, str]]:
    """Return a body in a form, and the headers that tell so and ask for the same."""
    content = msgspec.json.encode(body) if form == "json" else msgspec.msgpack.encode(body)
    headers = {"content-type": MEDIA_TYPES[form], "accept": MEDIA_TYPES[form], "accept-encoding": coding or "identity"}
    if coding is None:
        return content, headers
    return packing.compress(content, coding), {**headers, "content-encoding": coding}


def read(answer: httpx.Response) -> Any:
    """Return what an answer says, in whichever form; gzip was expanded on the way."""
    content = answer.content
    if answer.headers.get("content-encoding") == "zstd":
        content = packing.expand(content, "zstd", 10_000_000)
    if answer.headers["content-type"] == MEDIA_TYPES["msgpack"]:
        return msgspec.msgpack.decode(content)
    return msgspec.json.decode(content)
