"""An OpenID Connect issuer over real HTTP that keeps its side of the protocol, unless it is told to misbehave.

It remembers what it was asked, gives each code once, and checks client, redirect address and PKCE as an issuer does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwk, jws

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CLIENT, SECRET = "fieldsync", "issuer-client-secret-7f3a"
PERSON = {"sub": "u-17", "name": "Olga Issuer", "email": "olga@example.com", "email_verified": True}

Claims = dict[str, Any]


class Signer:
    """One key of the issuer."""

    def __init__(self, kid: str, alg: str = "RS256", bits: int = 2_048) -> None:
        self.kid, self.alg = kid, alg
        private = ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else rsa.generate_private_key(65_537, bits)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.key: Any = jwk.import_key(pem, "EC" if alg == "ES256" else "RSA")

    def public(self) -> dict[str, Any]:
        """Give the key as the issuer publishes it."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.alg}

    def sign(self, claims: Claims, **header: Any) -> str:
        """Give a signed token."""
        head = {"alg": self.alg, "kid": self.kid, "typ": "JWT", **header}
        return jws.serialize_compact(head, json.dumps(claims).encode(), self.key, algorithms=[self.alg])


KEYS = [Signer("k1"), Signer("k2"), Signer("stranger")]
"""Made once: an RSA key takes a while."""


class Issuer:
    """The issuer. Its attributes are the ways in which it can be told to misbehave."""

    def __init__(self) -> None:
        self.url = ""
        self.signer = KEYS[0]
        self.published = [KEYS[0]]
        self.person: Claims = {**PERSON, "roles": ["planner"]}
        self.change: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = lambda claims: self.signer.sign(claims)  # noqa: PLW0108  (the signer may be another one by then)
        self.metadata: Claims = {}
        self.status: dict[str, int] = {}
        self.denies = False
        self.iss: str | None = None
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def rotate(self) -> None:
        """Sign with another key from now on, and publish it alone."""
        self.signer = KEYS[1]
        self.published = [KEYS[1]]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        path, body = scope["path"], await received(receive)
        self.asked.append(path)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if path in self.status:
            await answer(send, self.status[path], {"error": "told_to"})
        elif path == "/.well-known/openid-configuration":
            await answer(send, 200, self.described())
        elif path == "/jwks":
            await answer(send, 200, {"keys": [signer.public() for signer in self.published]})
        elif path == "/authorize":
            await answer(send, 302, {}, location=self.authorize(firsts(scope["query_string"])))
        elif path == "/token":
            await answer(send, *self.token(firsts(body), headers.get("authorization", "")))
        else:
            await answer(send, 404, {})

    def described(self) -> Claims:
        """Give what the issuer says of itself."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            **self.metadata,
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Let the person in, and give where their browser goes with the code."""
        assert query["client_id"] == CLIENT
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        told = {"state": query["state"], "iss": self.iss, "error" if self.denies else "code": code}
        known = {name: value for name, value in told.items() if value is not None}
        return f"{query['redirect_uri']}?{urlencode(known)}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, Claims]:
        """Give an ID token for a code that was given before, once."""
        asked = self._codes.pop(form.get("code", ""), None)
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        by_form = form.get("client_secret") == SECRET and form.get("client_id") == CLIENT
        if asked is None or (authorization != basic and not by_form):
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        assert form["redirect_uri"] == asked["redirect_uri"]
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person}
        token = self.sign(self.change(claims))
        self.tokens.append(token)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}


async def received(receive: Any) -> bytes:
    """Give the body of a request."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def firsts(text: bytes) -> dict[str, str]:
    """Give the first value of each name of a form."""
    return {name: values[0] for name, values in parse_qs(text.decode()).items()}


async def answer(send: Any, status: int, body: Claims, *, location: str | None = None) -> None:
    """Send JSON."""
    headers = [(b"content-type", b"application/json")]
    if location:
        headers.append((b"location", location.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def unsigned(claims: Claims) -> str:
    """Give a token that says it needs no signature."""
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (NONE, claims))
    return f"{head}.{body}."


NONE = {"alg": "none", "kid": "k1"}


def shared_secret(claims: Claims) -> str:
    """Give a token that is signed with the public key as if it were a shared secret."""
    public = json.dumps(KEYS[0].public()).encode()
    key = jwk.import_key(public, "oct")
    return jws.serialize_compact({"alg": "HS256", "kid": "k1"}, json.dumps(claims).encode(), key, algorithms=["HS256"])


@asynccontextmanager
async def running(issuer: Issuer | None = None) -> AsyncIterator[Issuer]:
    """Run an issuer on a free port until the block ends."""
    issuer = issuer or Issuer()
    config = uvicorn.Config(issuer, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as on the sockets that asyncio itself opens
    issuer.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        assert not task.done(), "the issuer did not start"
        await asyncio.sleep(0.01)
    yield issuer
    server.should_exit = True
    await task
    listener.close()


def is_at(url: str, issuer: Issuer) -> bool:
    """Tell whether an address is one of the issuer's."""
    return urlsplit(url).netloc == urlsplit(issuer.url).netloc
