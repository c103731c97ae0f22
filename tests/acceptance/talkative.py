"""Somebody who shows a service everything that must not be written down: by every route, well and badly.

What was shown is remembered, to be looked for in the logs afterwards.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from tests.peers import issuer as peer

if TYPE_CHECKING:
    from tests.peers.issuer import Issuer

BROKEN = ('{{"title": "{0}"', '"{0}"', '{{"code": "{0}", "name": 5}}', '{{"refresh": ["{0}"]}}', "{0}\x00{0}")
FORMS = ("application/json", "application/msgpack", "application/vnd.msgpack", "text/plain")


class Talkative:
    """Talks to one service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.shown: dict[str, str] = {}
        self.statuses: dict[int, int] = {}
        self.client = httpx.AsyncClient(base_url=url, timeout=30)

    def told(self, what: str, value: str) -> str:
        """Remember a value that must not be found again, and return it."""
        assert len(value) >= 6, what
        self.shown[value] = what
        return value

    def made_up(self, what: str) -> str:
        """Return a value that stands nowhere else."""
        return self.told(what, f"Zq{secrets.token_hex(6)}")

    async def ask(self, method: str, path: str, token: str | None = None, **rest: Any) -> httpx.Response:
        """Ask, and count what came of it."""
        headers = {**rest.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
        answer = await self.client.request(method, path, headers=headers, **rest)
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        return answer

    async def routes(self) -> list[tuple[str, str]]:
        """Return method and path of every route."""
        paths = (await self.ask("GET", "/openapi.json")).json()["paths"]
        return [(method.upper(), path) for path, methods in paths.items() for method in methods]

    async def everywhere(self, tokens: list[str]) -> None:
        """Use every route with every token, and put what is personal wherever something can be put."""
        for method, path in await self.routes():
            if path.endswith("/stream"):
                continue  # does not end by itself; used by whoever tests it
            for token in (*tokens, self.made_up("an invented token"), f"1.{self.made_up('a wrong token')}"):
                await self._use(method, path, token)

    async def _use(self, method: str, path: str, token: str) -> None:
        word = self.made_up("a word in a path, query, header or body")
        place = path.replace("{collection}", "work_orders")
        for name in ("record_id", "conflict_id", "device_id", "held_id", "id"):
            place = place.replace(f"{{{name}}}", word)
        headers = {
            "x-device-label": word,
            "idempotency-key": word,
            "if-match": f'"{word}"',
            "cookie": f"fieldsync={word}",
        }
        query = {"cursor": word, "status": word, "tenant": word, "state": word, "code": word, "person": word}
        await self.ask(method, place, token, params=query, headers=headers)
        if method == "GET":
            return
        for text in BROKEN:
            form = FORMS[len(text) % len(FORMS)]
            body = text.format(word).encode()
            await self.ask(method, place, token, content=body, headers={"content-type": form})
        note = {"id": word, "title": word, "notes": word, "code": word, "name": word, "refresh": word, "dot": [1, 1]}
        await self.ask(method, place, token, json=note)
        await self.ask(
            method,
            place,
            token,
            content=gzip.compress(json.dumps(note).encode())[:-4],
            headers={"content-encoding": "gzip"},
        )

    async def nonsense(self) -> None:
        """Send what is no HTTP."""
        parts = urlsplit(self.url)
        word = self.made_up("a word outside of HTTP")
        for said in (
            f"{word}\r\n\r\n",
            f"GET /{word} HTTP/9.9\r\nHost: {word}\r\n\r\n",
            f"POST / HTTP/1.1\r\n{word}\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(said.encode())
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 5)
            writer.close()

    async def field(self, office: str, technician: str, code: str) -> None:
        """Enrol, work, meet conflicts, and be refused in every way that a device can be."""
        name = self.made_up("the name of a device")
        enrolled = (await self.ask("POST", "/v1/devices/enrol", json={"code": code, "name": name})).json()
        token, refresh = self.told("a token", enrolled["token"]), self.told("a refresh token", enrolled["refresh"])
        renewed = await self.ask("POST", "/v1/devices/refresh", json={"refresh": refresh})
        self.told("a token", renewed.json()["token"])
        await self.ask("POST", "/v1/devices/enrol", json={"code": f"1.{self.made_up('a code')}", "name": name})
        await self.ask("POST", "/v1/devices/refresh", json={"refresh": f"1.{self.made_up('a refresh token')}"})
        note, epoch = self.made_up("a note of a customer"), enrolled["epoch"]
        job = "018f0000-0000-7000-8000-" + secrets.token_hex(6)
        poison = [
            {"n": 1, "op": "create", "collection": "work_orders", "id": job, "base": 0, "set": {"title": note}},
            {"n": 2, "op": "set", "collection": "work_orders", "id": job, "base": 1, "set": {"notes": f"{note}\x00"}},
            {"n": 3, "op": "set", "collection": "work_orders", "id": note, "base": 1, "set": {note: note}},
            {"n": 4, "op": note, "collection": note, "id": job, "base": 0},
            {
                "n": 5,
                "op": "set",
                "collection": "work_orders",
                "id": job,
                "base": 1,
                "set": {"cost": 10**30},
                "by": note,
            },
        ]
        clock = {"wall_ms": 1, "mono_ms": 1, "zone": note}
        push = {"epoch": epoch, "schema": 1, "verdicts_seen": 0, "clock": clock}
        for mutations in (
            poison,
            poison[:1],
            [{**poison[0], "set": {"title": f"{note} again"}}],
            [note],
            [{"n": note}],
        ):
            await self.ask("POST", "/v1/sync/push", token, json={**push, "mutations": mutations})
        pulled = await self.ask("POST", "/v1/sync/pull", token, json={})
        await self.ask("POST", "/v1/sync/pull", token, json={"cursor": pulled.json()["cursor"][:-4] + "AAAA"})
        written = await self.ask("GET", f"/v1/work_orders/{job}", office)
        assert written.json()["title"] == note
        stale = {"if-match": f'"{written.json()["rev"]}"', "idempotency-key": self.made_up("an idempotency key")}
        for _ in range(2):
            await self.ask("PATCH", f"/v1/work_orders/{job}", office, json={"title": f"{note}?"}, headers=stale)
        await self.ask("POST", f"/v1/devices/{enrolled['replica']}/revoke", office)
        await self.ask("POST", "/v1/sync/push", token, json={**push, "mutations": poison})
        await self.ask("POST", "/v1/devices/refresh", json={"refresh": refresh})
        await self.ask("GET", "/v1/sync/pull", technician)

    async def sign_in(self, issuer: Issuer, tenant: int) -> None:
        """Sign in, work by cookie, hand a token on, sign out; then fail in every way that an issuer can."""
        self.told("the client secret", peer.SECRET)
        for what in ("name", "email"):
            self.told(f"the {what} of a person", peer.PERSON[what])
        assert await self._through(tenant) == 302
        session = (await self.ask("GET", "/v1/auth/session")).json()
        csrf = {"x-csrf-token": self.told("a csrf token", session["csrf"])}
        tool = await self.ask("POST", "/v1/auth/token", headers=csrf)
        self.told("a tool's token", tool.json()["token"])
        await self.ask("POST", "/v1/work_orders", json={"title": self.made_up("a title")})
        await self.ask("POST", "/v1/auth/logout", headers=csrf)
        issuer.change = lambda claims: {**claims, "nonce": "wrong"}
        assert await self._through(tenant) == 401
        issuer.change, issuer.sign = (lambda claims: claims), peer.unsigned
        assert await self._through(tenant) == 401
        issuer.sign, issuer.denies = issuer.signer.sign, True
        assert await self._through(tenant) == 403
        issuer.denies, issuer.status = False, {"/token": 500}
        assert await self._through(tenant) == 502
        for token in issuer.tokens:
            self.told("an ID token", token)

    async def _through(self, tenant: int) -> int:
        away = await self.ask("GET", "/v1/auth/signin", params={"tenant": tenant})
        asked = dict(part.split("=", 1) for part in urlsplit(away.headers["location"]).query.split("&"))
        for what in ("state", "nonce"):
            self.told(f"the {what} of a sign-in", asked[what])
        async with httpx.AsyncClient() as browser:
            back = (await browser.get(away.headers["location"])).headers["location"]
        there = urlsplit(back)
        code = dict(part.split("=", 1) for part in there.query.split("&")).get("code")
        if code:
            self.told("a code of the issuer", code)
        answer = await self.ask("GET", f"{there.path}?{there.query}")
        for name, cookie in self.client.cookies.items():
            self.told(f"the cookie {name}", cookie)
        return answer.status_code

    def found_in(self, text: str) -> list[str]:
        """Return what of all that was shown stands in a text."""
        return sorted({what for value, what in self.shown.items() if value in text})
