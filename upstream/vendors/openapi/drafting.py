"""From an OpenAPI document and what is chosen of it to a manifest, and the fields of what is told.

The manifest is text, so that a person can read it, complete it and keep it: limits, what errors mean and how
a mark is looked for are nowhere in such documents. What is drafted here is checked as every manifest is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import manifest_check, manifest_file, openapi, replies, typed_toml
from upstream.errors import BadManifest
from upstream.manifest import Manifest
from upstream.schema import Schema, Unreadable
from upstream.vendors.openapi import checks, choice_check, guesses, toml, yaml_text
from upstream.vendors.openapi.choices import Choice, Offer, SignIn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from replication.toml_lines import Path
    from upstream.manifest import WriteClass
    from upstream.vendors.openapi.choices import Told, Written

DOCUMENT_BYTES_MAX: Final = 8_388_608
KEYS: Final = {"budgets": "budget", "targets": "written", "sources": "told"}
"""Which table of a choice becomes which table of a manifest, where their names differ."""
_DEEP: Final = f"the document goes deeper than {replies.DEPTH_MAX} levels; nothing that is meant does"
_HOLE: Final = re.compile(r"\{([^{}]+)\}")
_PLAIN: Final = re.compile(r"[^a-z0-9_]+")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as text, and the fields that each object that is told can have, as the document has them."""

    manifest: str
    schemas: dict[str, Schema]
    parsed: Manifest


def read(document: bytes | str | Mapping[str, Any], bytes_max: int = DOCUMENT_BYTES_MAX) -> dict[str, Any]:
    """Return a document that is given as its text, in JSON or YAML, or as what it says; or raise `BadManifest`."""
    text = _text(document)
    if len(text) > bytes_max:
        raise BadManifest([f"the document has {len(text)} bytes, more than {bytes_max}; take out what is not used"])
    try:
        found = msgspec.json.decode(text) if _is_json(text) else yaml_text.read(text)
    except RecursionError as exc:
        raise BadManifest([_DEEP]) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadManifest([f"the document is no JSON: {exc}"]) from exc
    problems = [_DEEP] if replies.depth(found) > replies.DEPTH_MAX else list(checks.structure(found))
    if problems:
        raise BadManifest(problems)
    return dict(found)


def _text(document: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(document, bytes):
        return document
    return document.encode() if isinstance(document, str) else msgspec.json.encode(document)


def _is_json(text: bytes) -> bool:
    """Tell JSON, whose every table begins with a brace, from YAML, which nobody begins like that."""
    return text.lstrip()[:1] in (b"{", b"[")


def offered(document: Mapping[str, Any]) -> tuple[Offer, ...]:
    """Return what can be chosen of a document, in its order, and why some of it cannot."""
    return tuple(_offer(document, method, path, found) for method, path, found in openapi.operations(document))


def title(document: Mapping[str, Any]) -> str:
    """Return what a document calls its system; empty if it does not."""
    about = document.get("info")
    return str(about.get("title", "")) if isinstance(about, dict) else ""


def base_url(document: Mapping[str, Any]) -> str:
    """Return where a document says that its system is; empty if it does not say it whole."""
    return guesses.base_url(document)


def sign_ins(document: Mapping[str, Any]) -> tuple[SignIn, ...]:
    """Return the ways of signing in that a document names, and which of them can be spoken."""
    return tuple(_sign_in(name, found) for name, found in guesses.schemes(document).items())


def choice(table: Any) -> Choice:
    """Return a choice as it was decoded, or raise `BadManifest` with the keys that are wrong and what is allowed."""
    problems = [f"{_dotted(path) or 'choice'}: {said}" for path, said in typed_toml.misfits(table, Choice)]
    if problems:
        raise BadManifest(problems[: checks.PROBLEMS_MAX])
    return msgspec.convert(table, Choice)


def draft(document: Mapping[str, Any], chosen: Choice) -> Draft:
    """Return the manifest of what is chosen, or raise `BadManifest` with what the document does not have."""
    problems = list(choice_check.check(document, chosen))
    if problems:
        raise BadManifest(problems[: checks.PROBLEMS_MAX])
    try:
        sketch = _Sketch(document, chosen)
        table = sketch.table()
    except Unreadable as exc:
        raise BadManifest([str(exc)]) from exc
    text = toml.written(table)
    return Draft(manifest=text, schemas=sketch.schemas, parsed=_parsed(table, text, chosen.system))


def _parsed(table: dict[str, Any], text: str, name: str) -> Manifest:
    """Return the manifest that a text says, or raise `BadManifest` by the keys of the choice: nobody has seen lines."""
    try:
        return manifest_file.parse(text, name)
    except BadManifest as exc:
        misfits = [*typed_toml.misfits(table, Manifest)]
        found = misfits or [*manifest_check.check(msgspec.convert(table, Manifest))]
        raise BadManifest([f"{_key(path)}: {said}" for path, said in found] or exc.problems) from exc


def _key(path: Path) -> str:
    """Return which key of a choice stands for a place in the manifest that is made of it."""
    first, *rest = path
    return _dotted((KEYS.get(str(first), first), *(rest[1:] if first == "budgets" else rest)))


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


class _Sketch:
    """The tables of a manifest as they come together."""

    def __init__(self, document: Mapping[str, Any], chosen: Choice) -> None:
        self.document = document
        self.chosen = chosen
        self.config: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.schemas: dict[str, Schema] = {}

    def table(self) -> dict[str, Any]:
        """Return the whole manifest as a table."""
        chosen = self.chosen
        verify = self._plain("verify", chosen.verify)
        targets = {name: self._target(name, each) for name, each in chosen.written.items()}
        sources = {name: self._source(name, each) for name, each in chosen.told.items()}
        auth = chosen.auth if isinstance(chosen.auth, dict) else self._auth(chosen.auth)
        made: dict[str, Any] = {
            "system": chosen.system,
            "title": chosen.title or title(self.document) or chosen.system,
            "grade": chosen.grade,
            "authority": chosen.authority,
            "base_url": chosen.base_url or guesses.base_url(self.document) or "${config.base_url}",
            "verify": verify,
        }
        if made["base_url"] == "${config.base_url}":
            self.config["base_url"] = {"title": "Where the system is"}
        made |= {"config": self.config, "auth": auth, "operations": self.operations}
        made |= {"targets": targets, "sources": sources, "discovery": self._discovery()}
        if chosen.budget is not None:
            made["budgets"] = {"all": msgspec.to_builtins(chosen.budget)}
        return {key: value for key, value in made.items() if value or key in ("auth", "operations")}

    def _auth(self, name: str) -> dict[str, Any]:
        used = [
            openapi.operation_at(self.document, *choice_check.split(said)) for _, said in choice_check.used(self.chosen)
        ]
        try:
            return guesses.auth(self.document, name, used)
        except Unreadable as exc:
            raise Unreadable(f"auth: {exc}") from exc

    def _target(self, name: str, each: Written) -> dict[str, Any]:
        create = self._write(f"create_{name}", each.create, each, changes=False)
        made: dict[str, Any] = {"write": each.write or _class(each), "create": create}
        if each.update:
            made["update"] = self._write(f"update_{name}", each.update, each, changes=True)
        if each.read:
            made["read"] = self._look(f"read_{name}", each.read, each)
        if each.find:
            made["find"] = self._find(f"find_{name}", each.find, each)
        if each.void:
            made["void"] = self._write(f"void_{name}", each.void, each, changes=True)
        made |= {key: value for key in ("marker", "natural_key") if (value := getattr(each, key))}
        if made["write"] in ("search", "versioned"):
            made["index_lag_seconds"] = each.index_lag_seconds
        method, path = choice_check.split(each.create)
        try:
            self.schemas[name] = openapi.request_schema(self.document, method, path, name)
        except Unreadable as exc:
            raise Unreadable(f"written.{name}.create: {exc}; give its request a schema in the document") from exc
        return made

    def _source(self, name: str, each: Told) -> dict[str, Any]:
        method, path = choice_check.split(each.list)
        fields = self._answer(method, path)
        query = openapi.parameters(self.document, method, path, "query")
        since = each.since or guesses.since(query)
        items = each.items if each.items is not None else guesses.list_path(fields)
        if items is None:
            raise Unreadable(f"told.{name}.items: {each.list}: no list is found in the answer; say items")
        within = f"{items}.*" if items else "*"
        made = self._operation(f"list_{name}", each.list)
        made["answer"] = {"items": items, "id": each.id or guesses.field_named(guesses.IDS, fields, within)}
        paging = guesses.pagination(query, fields, self._headers(method, path))
        if paging["kind"] != "single":
            made["pagination"] = paging
        if since:
            made.setdefault("query", {})[since] = "${value.since}"
        source: dict[str, Any] = {"operation": f"list_{name}", "since": "since", "format": each.format}
        source["id"] = made["answer"]["id"] or "id"
        modified = each.modified or guesses.field_named(guesses.VERSIONS, fields, within)
        # A change of what is also told names the version that was seen last, which may have been seen in a list.
        version = self.chosen.written[name].version if name in self.chosen.written else ""
        found = {"modified": modified, "version": version or modified}
        return {**source, **{key: value for key, value in found.items() if value}}

    def _discovery(self) -> dict[str, Any]:
        return {name: {"kind": "openapi", "describes": f"create_{name}"} for name in self.chosen.written}

    def _plain(self, name: str, operation: str) -> str:
        self._operation(name, operation)
        return name

    def _write(self, name: str, operation: str, each: Written, *, changes: bool) -> str:
        made = self._operation(name, operation, names=changes or _class(each) == "upsert")
        method, path = choice_check.split(operation)
        made["effect"] = "write"
        if method != "DELETE":
            made["body"] = {"kind": openapi.body_kind(self.document, method, path)}
            fields = self._answer(method, path)
            answer = {"id": each.id or guesses.field_named(guesses.IDS, fields)}
            answer["version"] = each.version or guesses.field_named(guesses.VERSIONS, fields)
            made["answer"] = {key: value for key, value in answer.items() if value}
        if each.key_header:
            place = "query" if each.key_header.startswith("?") else "header"
            made["handle"] = {"place": place, "name": each.key_header.removeprefix("?")}
        if changes and each.version and method != "DELETE":
            made["body"]["item_add"] = {each.version: "${remote.version}"}
        return name

    def _look(self, name: str, operation: str, each: Written) -> str:
        made = self._operation(name, operation, names=True)
        fields = self._answer(*choice_check.split(operation))
        answer = {"id": each.id or guesses.field_named(guesses.IDS, fields)}
        answer["version"] = each.version or guesses.field_named(guesses.VERSIONS, fields)
        made["answer"] = {key: value for key, value in answer.items() if value}
        return name

    def _find(self, name: str, operation: str, each: Written) -> str:
        made = self._operation(name, operation)
        method, path = choice_check.split(operation)
        fields = self._answer(method, path)
        items = guesses.list_path(fields)
        made.setdefault("query", {})[each.find_by] = f"${{value.{each.marker or each.natural_key}}}"
        within = (f"{items}.*" if items else "*") if items is not None else ""
        found = each.id or guesses.field_named(guesses.IDS, fields, within)
        made["answer"] = {**({"items": items} if items is not None else {}), "id": found}
        return name

    def _operation(self, name: str, operation: str, *, names: bool = False) -> dict[str, Any]:
        """Put an operation there. What its path names is a setting, the last of it the record if it names one."""
        method, path = choice_check.split(operation)
        openapi.operation_at(self.document, method, path)
        made: dict[str, Any] = {"method": method, "path": self._path(path, names=names)}
        made["effect"] = "read" if method in choice_check.READS else "write"
        for place, key in (("query", "query"), ("header", "headers")):
            needed = [each for each, must in openapi.parameters(self.document, method, path, place).items() if must]
            if needed:
                made[key] = {each: f"${{config.{self._setting(each)}}}" for each in needed}
        if self.chosen.budget is not None:
            made["budgets"] = ["all"]
        self.operations[name] = made
        return made

    def _path(self, path: str, *, names: bool) -> str:
        holes = _HOLE.findall(path)
        for place, hole in enumerate(holes):
            last = names and place == len(holes) - 1
            path = path.replace(f"{{{hole}}}", "${remote.id}" if last else f"${{config.{self._setting(hole)}}}")
        return path

    def _setting(self, hole: str) -> str:
        name = _PLAIN.sub("_", hole.lower()).strip("_") or "value"
        self.config.setdefault(name, {"title": hole})
        return name

    def _answer(self, method: str, path: str) -> list[str]:
        try:
            return [field.path for field in openapi.answer_schema(self.document, method, path, "answer").fields]
        except Unreadable:
            return []

    def _headers(self, method: str, path: str) -> Iterable[str]:
        answers = openapi.as_table(openapi.operation_at(self.document, method, path).get("responses"))
        for status, answer in answers.items():
            if str(status).startswith("2"):
                yield from openapi.as_table(openapi.resolved(self.document, answer).get("headers"))


def _class(each: Written) -> WriteClass:
    """Return the strongest class that what is chosen allows."""
    if each.key_header and each.find:
        return "native"
    if each.create.partition(" ")[0] in ("PUT", "PATCH"):
        return "upsert"
    if each.version and each.update and each.read:
        return "versioned"
    return "search" if each.find and each.marker else "none"


def _offer(document: Mapping[str, Any], method: str, path: str, found: Mapping[str, Any]) -> Offer:
    try:
        sent = (
            openapi.request_schema(document, method, path, "request", at_a_glance=True).fields
            if method not in choice_check.READS
            else ()
        )
    except Unreadable:
        sent = ()
    try:
        seen = openapi.answer_schema(document, method, path, "answer", at_a_glance=True)
        answer = [field.path for field in seen.fields]
    except Unreadable:
        answer = []
    return Offer(
        operation=f"{method} {path}",
        summary=str(found.get("summary") or found.get("operationId") or ""),
        effect="read" if method in choice_check.READS else "write",
        fields=tuple(f"{field.path}{'*' if field.required else ''}" for field in sent),
        lists=method in choice_check.READS and guesses.list_path(answer) is not None,
        unusable="; ".join(checks.operation(document, f"{method} {path}")),
    )


def _sign_in(name: str, found: Mapping[str, Any]) -> SignIn:
    try:
        return SignIn(name=name, kind=str(guesses.of_scheme(name, found, [])["kind"]))
    except Unreadable as exc:
        return SignIn(name=name, unusable=str(exc))
