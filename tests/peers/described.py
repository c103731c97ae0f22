"""A system that is known by its OpenAPI document alone: jobs of an account, behind any way of signing in.

It keeps what it is told, lets in whom the document's scheme lets in, and refuses a request that the document
does not allow: a field that nobody knows, one that is missing, a value of another type.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from tests.peers.vendor.faults import Faults
from tests.peers.vendor.server import DROP, Drop, Request, Response, Server
from tests.peers.vendor.shelf import Shelf

CLIENT, SECRET, USER, PASSWORD, KEY, TOKEN = "us", "hush-hush", "ana", "pa:ss", "key-77", "tok-77"
CODE: Final = "good-code"
TYPES: Final = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "array": list, "object": dict}
JOB: Final = {
    "type": "object",
    "required": ["title", "number"],
    "properties": {
        "id": {"type": "string", "readOnly": True},
        "version": {"type": "string", "readOnly": True},
        "number": {"type": "string", "maxLength": 40},
        "title": {"type": "string", "maxLength": 80},
        "status": {"type": "string", "enum": ["open", "done"]},
        "reference": {"type": "string"},
    },
}
JOBS: Final = "/accounts/{account}/jobs"


class Described:
    """The system. `scheme` is the way of signing in as its document has it; `version` that of OpenAPI."""

    def __init__(self, scheme: dict[str, Any], *, version: str = "3.1.0", faults: Faults | None = None) -> None:
        self.scheme, self.version = scheme, version
        self.faults = faults or Faults()
        self.shelf = Shelf("j-", lag_seconds=0.2)
        self.refused: list[str] = []
        self.tokens = 0
        self.challenge = ""
        self.server = Server(self.handle)

    @property
    def document(self) -> dict[str, Any]:
        """What it says of itself."""
        one = {"200": _said({"$ref": "#/components/schemas/Job"})}
        listed = {"type": "object", "properties": {"items": {"type": "array", "items": _ref("Job")}}}
        sent = {"required": True, "content": {"application/json": {"schema": _ref("Job")}}}
        account = {"name": "account", "in": "path", "required": True, "schema": {"type": "string"}}
        job = {"name": "job", "in": "path", "required": True, "schema": {"type": "string"}}
        by = [{"name": "reference", "in": "query", "schema": {"type": "string"}}]
        return {
            "openapi": self.version,
            "info": {"title": "Described jobs", "version": "1"},
            "servers": [{"url": self.server.url}],
            "security": [{"it": ["jobs"] if self.scheme["type"] == "oauth2" else []}],
            "paths": {
                "/me": {"get": {"summary": "Who I am", "responses": {"200": {"description": "me"}}}},
                JOBS: {
                    "parameters": [account],
                    "get": {"summary": "Jobs", "parameters": by, "responses": {"200": _said(listed)}},
                    "post": {"summary": "A new job", "requestBody": sent, "responses": one},
                },
                f"{JOBS}/{{job}}": {
                    "parameters": [account, job],
                    "get": {"responses": one},
                    "put": {"requestBody": sent, "responses": one},
                    "delete": {"responses": {"204": {"description": "gone"}}},
                },
            },
            "components": {"schemas": {"Job": JOB}, "securitySchemes": {"it": self._placed()}},
        }

    def _placed(self) -> dict[str, Any]:
        """The scheme, its addresses being here."""
        flows = {
            name: {**flow, "tokenUrl": f"{self.server.url}/token", "authorizationUrl": f"{self.server.url}/in"}
            for name, flow in self.scheme.get("flows", {}).items()
        }
        return {**self.scheme, **({"flows": flows} if flows else {})}

    async def handle(self, request: Request) -> Response | Drop:
        """Answer one request."""
        if request.path == ("token",):
            return self._token(request)
        if not self._is_let_in(request):
            self.refused.append("sign-in")
            return Response(401, {"error": "who are you?"})
        if request.path == ("me",):
            return Response(body={"name": "us"})
        if request.path[:3] != ("accounts", "a1", "jobs"):
            self.refused.append(request.target)
            return Response(404, {"error": "no such place"})
        if request.method == "GET":
            return self._read(request)
        fault = self.faults.next()
        answer = self._write(request)
        return DROP if fault == "drop" and answer.status < 300 else answer

    def _is_let_in(self, request: Request) -> bool:
        kind, name = self.scheme["type"], self.scheme.get("name", "")
        if kind == "apiKey":
            shown = {"header": request.headers.get(name.lower()), "query": request.query.get(name)}
            return (shown | {"cookie": request.headers.get("cookie")})[self.scheme["in"]] in (KEY, f"{name}={KEY}")
        if self.scheme.get("scheme") == "basic":
            return request.headers.get("authorization") == f"Basic {_basic(USER, PASSWORD)}"
        return request.headers.get("authorization") == f"Bearer {TOKEN}"

    def _token(self, request: Request) -> Response:
        """Give a token to the program itself, or for a code whose verifier fits."""
        form = request.form
        known = request.headers.get("authorization") == f"Basic {_basic(CLIENT, SECRET)}"
        fits = form.get("grant_type") == "client_credentials" and form.get("scope") == "jobs"
        if form.get("grant_type") == "authorization_code":
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            fits = form.get("code") == CODE and base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.challenge
        if not (known and fits):
            self.refused.append("token")
            return Response(400, {"error": "invalid_grant"})
        self.tokens += 1
        return Response(body={"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})

    def _read(self, request: Request) -> Response:
        if len(request.path) == 3:
            found = self.shelf.search("reference", request.query.get("reference", ""))
            return Response(body={"items": [row.shown for row in found]})
        row = self.shelf.rows.get(request.path[3])
        return Response(body=row.shown) if row is not None and not row.voided else Response(404, {"error": "none"})

    def _write(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.shelf.rows[request.path[3]].voided = True
            return Response(204)
        if said := _misfit(request.json):
            self.refused.append(said)
            return Response(422, {"error": said})
        if request.method == "POST":
            return Response(body=self.shelf.add(request.json).shown)
        return Response(body=self.shelf.change(self.shelf.rows[request.path[3]], request.json).shown)


def _misfit(fields: dict[str, Any]) -> str:
    """Return what a request has that its document does not allow."""
    allowed = {name: shape for name, shape in JOB["properties"].items() if not shape.get("readOnly")}
    for name, value in fields.items():
        if name not in allowed:
            return f"{name}: nobody knows it"
        if not isinstance(value, TYPES[allowed[name]["type"]]) or value not in allowed[name].get("enum", [value]):
            return f"{name}: does not fit"
    return next((f"{name}: is missing" for name in JOB["required"] if name not in fields), "")


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _said(shape: dict[str, Any]) -> dict[str, Any]:
    return {"description": "said", "content": {"application/json": {"schema": shape}}}
