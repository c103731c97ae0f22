"""Mappings over HTTP: drafted, validated, compared, published, put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncserver.commands.upstream import mappings
from tests.integration.front import MAPPING, front
from tests.integration.service import ANA, problem
from upstream.errors import CodeUnavailable

if TYPE_CHECKING:
    from tests.integration.service import Service

OTHER = MAPPING.replace('target = "name", source = "record.title"', 'target = "name", source = "record.summary"')


async def test_versions_are_drafted_compared_published_and_put_back(service: Service) -> None:
    """The same text makes no new version; what a version changes is named; an older one holds again as a new one."""
    async with front(service) as door:
        await door.connect()
        place = f"/v1/mappings/{door.id}"

        same = await door.ask("post", "/v1/mappings", connection=door.id, content=MAPPING)
        second = await door.ask("post", "/v1/mappings", connection=door.id, content=OTHER, note="the summary")
        report = await door.ask("get", f"{place}/2/validate")
        diff = await door.ask("get", f"{place}/2/diff")
        published = await door.ask("post", f"{place}/2/publish")
        back = await door.ask("post", f"{place}/roll_back", version=1, note="the title was right")
        listed = await door.client.get("/v1/mappings", params={"connection": door.id, "limit": "2"})

        assert (same["version"], second["version"], second["state"]) == (1, 2, "draft")
        assert (report["publishable"], report["issues"]) == (True, [])
        assert any("name" in each["path"] for each in diff["rows"])
        assert published["state"] == "published"
        assert (back["version"], back["restores"]) == (3, 1)
        assert [each["version"] for each in listed.json()["items"]] == [3, 2]
        older = await door.client.get("/v1/mappings", params={"connection": door.id, "cursor": listed.json()["cursor"]})
        assert [each["version"] for each in older.json()["items"]] == [1]
        assert (await door.ask("get", f"{place}/3"))["content"] == MAPPING
        assert (await door.ask("get", f"/v1/connections/{door.id}"))["mapping_version"] == 3
        assert (await door.actions())[-3:] == ["mapping_drafted", "mapping_published", "mapping_rolled_back"]


async def test_what_is_wrong_with_a_text_is_named_and_never_published(service: Service) -> None:
    """A text that cannot be read is no version; one that names what is not there cannot hold."""
    async with front(service) as door:
        await door.connect()
        place = f"/v1/mappings/{door.id}"
        unreadable = {"connection": door.id, "content": MAPPING.replace('source = "record.id"', 'colour = "red"')}
        strange = {"connection": door.id, "content": MAPPING.replace("record.title", "record.titel")}

        bad = await door.client.post("/v1/mappings", json=unreadable)
        drafted = (await door.client.post("/v1/mappings", json=strange)).json()
        report = await door.ask("get", f"{place}/{drafted['version']}/validate")
        refused = await door.client.post(f"{place}/{drafted['version']}/publish")

        assert problem(bad) == (422, "mapping_unusable")
        assert any("colour" in each for each in bad.json()["problems"])
        assert report["publishable"] is False
        assert problem(refused) == (422, "mapping_refused")
        assert any("titel" in each for each in refused.json()["problems"])
        assert await door.refused("post", f"{place}/roll_back", version=2) == (422, "mapping_refused")
        for version in ("99", "none", "0"):
            assert await door.refused("get", f"{place}/{version}") == (404, "unknown_mapping")
        assert await door.refused("get", "/v1/mappings") == (400, "bad_filter")
        assert await door.refused("get", f"/v1/mappings/{ANA}/1") == (404, "unknown_connection")
        assert problem(await door.client.get(f"{place}/1/diff", params={"against": "x"})) == (400, "bad_filter")


async def test_code_that_cannot_be_run_now_may_be_later(service: Service) -> None:
    """Nobody is free to run the code of a mapping: told as that, with 503."""
    async with front(service) as door:
        await door.connect()

        async def busy(*_: object) -> None:
            raise CodeUnavailable("all who run code are busy")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mappings.mappings, "validate", busy)
            answer = await door.refused("get", f"/v1/mappings/{door.id}/1/validate")

        assert answer == (503, "code_unavailable")
