"""Gzip and zstd, both ways: bounded where they come in, chosen by weight where they go out."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from replication import packing
from replication.packing import Compression
from replication.wire import Limits
from tests.integration.forms import read
from tests.integration.service import LIMITS, Service, problem, serving, uid

if TYPE_CHECKING:
    from syncserver.store.db import Database


def bomb(size: int) -> bytes:
    """A zstd frame of so many zeros, four bytes for each 128 kB."""
    count = size >> 17
    blocks = [(1 << 20 | 1 << 1 | (place == count - 1)).to_bytes(3, "little") + b"\0" for place in range(count)]
    return b"\x28\xb5\x2f\xfd\xc0\x38" + size.to_bytes(8, "little") + b"".join(blocks)


async def test_compressed_bodies_are_bounded_on_every_route(service: Service) -> None:
    """Ten gigabytes in a few bytes, what is cut off, followed by something, or twice compressed: all refused."""
    desk, ana = await service.office(), await service.device()
    sound = packing.compress(b"{}", "zstd")

    async def send(content: bytes, encoding: str, path: str = "/v1/sync/pull") -> httpx.Response:
        client = ana.client if "sync" in path else desk.client
        return await client.post(path, content=content, headers={"content-encoding": encoding})

    for path in ("/v1/sync/push", "/v1/sync/pull", "/v1/work_orders"):
        assert problem(await send(bomb(10 * 2**30), "zstd", path)) == (413, "too_large")
        assert problem(await send(gzip.compress(bytes(LIMITS.bytes + 1)), "x-gzip", path)) == (413, "too_large")
    assert (await send(sound * 3, "zstd")).status_code == 400  # three documents are none
    assert (await send(packing.compress(b"{", "zstd") + packing.compress(b"}", "zstd"), "zstd")).status_code == 200
    assert (await send(gzip.compress(b"{") + gzip.compress(b"}"), "gzip")).status_code == 200
    for spoiled, encoding in (
        (sound[:-1], "zstd"),
        (sound + b"x", "zstd"),
        (b"{}", "zstd"),
        (b"{}", "gzip"),
        (sound, "gzip"),
    ):
        assert problem(await send(spoiled, encoding)) == (400, "bad_request")
    for encoding in ("br", "gzip, zstd", "zstd, zstd", "deflate"):
        refused = await send(sound, encoding)
        assert problem(refused) == (415, "unsupported_encoding")
        assert "zstd, gzip, identity" in refused.json()["detail"]
    assert (await send(b"{}", "identity")).status_code == 200


async def test_each_limit_has_its_setting(database_url: str, database: Database) -> None:
    """What is sent compressed, what it expands to, and from where answers are compressed are set apart."""
    limits, compression = Limits(bytes=20_000, compressed_bytes=1_000), Compression(bytes_min=300, window_log_max=12)
    async with serving(database_url, limits, compression) as url:
        service = Service(url, database)
        await service.add_tenant()
        ana = await service.device()
        noise = msgspec.json.encode({"x": [hash((1, n)) for n in range(200)]})

        async def send(content: bytes, encoding: str = "zstd") -> httpx.Response:
            headers = {"content-encoding": encoding, "accept-encoding": "zstd"}
            return await ana.client.post("/v1/sync/pull", content=content, headers=headers)

        large, wide = await send(packing.compress(noise, "zstd")), await send(b"\x28\xb5\x2f\xfd\x00\x18\x01\0\0")
        plain = await send(noise, "identity")
        small = await send(b"{}", "identity")
        expanded = await send(packing.compress(bytes(20_001), "gzip"), "gzip")
        await service.close()

    assert ana.enrolled["limits"]["compressed_bytes"] == 1_000
    assert (problem(large), large.json()["limit"]) == ((413, "too_large"), 1_000)
    assert (problem(expanded), expanded.json()["limit"]) == ((413, "too_large"), 20_000)
    assert problem(wide) == (400, "bad_request")
    assert plain.status_code == small.status_code == 200
    assert small.headers["content-encoding"] == "zstd"


@pytest.mark.parametrize(
    ("accepted", "given"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("zstd;q=0, gzip;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("*", "zstd"),
        ("identity, gzip;q=0.5", None),
        ("br", None),
    ],
)
async def test_an_answer_is_compressed_as_the_weights_say(service: Service, accepted: str, given: str | None) -> None:
    """Zstd before gzip where both weigh the same; what is short goes as it is."""
    desk = await service.office()
    await desk.create(1, summary="t" * 3_000)

    long = await desk.client.get(f"/v1/work_orders/{uid(1)}", headers={"accept-encoding": accepted})
    short = await desk.client.get("/v1/teams", headers={"accept-encoding": accepted})

    assert long.headers.get("content-encoding") == given
    assert "content-encoding" not in short.headers
    assert long.headers["vary"] == short.headers["vary"] == "accept, accept-encoding"
    assert read(long)["summary"] == "t" * 3_000
