"""A tenant whose people sign in at an issuer of the tests, and the browser that one of them uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from syncserver.commands import audit, setup
from tests.integration.service import KEYS
from tests.peers import issuer as peer
from tests.peers.issuer import CLIENT, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncserver.store.db import Database
    from tests.integration.service import Service
    from tests.peers.issuer import Issuer

ROLES = ("boss=admin", "planner=dispatcher", "guest=readonly")


async def configure(database: Database, tenant: int, issuer: Issuer, url: str, /, **changed: Any) -> str:
    """Set the sign-in of a tenant up."""
    wanted = {
        "tenant_id": tenant,
        "issuer": issuer.url,
        "client_id": CLIENT,
        "secret": SECRET,
        "public_url": url,
        "roles": ROLES,
        "role_claim": "roles",
        "domains": (),
        "algorithms": ("RS256", "ES256"),
        "scopes": ("openid", "profile", "email"),
        "session_hours": 1.0,
        **changed,
    }
    return await setup.configure(database, setup.Wanted(**wanted), keys=KEYS, allow_loopback=True, check=True)


async def noted(service: Service, action: str = "sign_in") -> list[tuple[str | None, str]]:
    """Give person and outcome of the newest entries of the audit log."""
    found = await audit.page(service.database, service.tenant, audit.Sought(limit=10, action=action))
    return [(row.person, row.outcome) for row in found.rows]


class Browser:
    """Goes where it is sent, keeps cookies, and shows them where they belong."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.client = service.client()

    async def leave(self, **query: str) -> str:
        """Begin to sign in, and give the address at the issuer."""
        asked = {"tenant": str(self.service.tenant), **query}
        answer = await self.client.get("/v1/auth/signin", params=asked)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def let_in(self, there: str) -> str:
        """Go to the issuer, and give the address that it sends the browser back to."""
        async with httpx.AsyncClient() as stranger:
            answer = await stranger.get(there)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def come_back(self, there: str) -> httpx.Response:
        """Come back from the issuer."""
        parts = urlsplit(there)
        return await self.client.get(f"{parts.path}?{parts.query}")

    async def sign_in(self, **query: str) -> httpx.Response:
        """Go all the way."""
        return await self.come_back(await self.let_in(await self.leave(**query)))

    async def session(self) -> dict[str, Any]:
        """Give what the service says of the session."""
        answer = await self.client.get("/v1/auth/session")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def csrf(self) -> dict[str, str]:
        """Give the header that a write needs beside the cookie."""
        return {"x-csrf-token": (await self.session())["csrf"]}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Give an issuer that behaves."""
    async with peer.running() as made:
        yield made


@pytest.fixture
async def browser(service: Service, issuer: Issuer) -> Browser:
    """Give a browser of somebody whose tenant signs in at the issuer."""
    await configure(service.database, service.tenant, issuer, service.url)
    return Browser(service)
