"""What no table of a manifest can tell alone: names that lead nowhere, holes that nothing fills, idle rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.catalog_sheet import did_you_mean
from upstream import holes, time_formats, times
from upstream.manifest import (
    NEEDED,
    ByOffset,
    ByPage,
    ErrorRule,
    Handle,
    Manifest,
    OAuth2Code,
    Operation,
    Pagination,
    Session,
    Target,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from replication.toml_lines import Path

IN_OPERATIONS: Final = ("config", "auth", "value", "remote", "page")
"""What a hole of an operation may name."""
IN_ADDRESSES: Final = ("config", "auth")
"""What a hole of an address or of the sign-in may name."""
READS: Final = ("read", "find")
WRITES: Final = ("create", "update", "void")
OPERATIONS_MAX: Final = 200
NEEDED_TO_DISCOVER: Final[dict[str, tuple[str, ...]]] = {
    "describe": ("operation", "fields"),
    "metadata": ("operation", "fields"),
    "sample": ("operation",),
    "openapi": ("describes",),
}

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LOOSE: Final = re.compile(r"\$\{(?!\w+(?:\.[\w.-]+)?(?::[^{}]*)?\})")


def check(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong, with the place."""
    if not _NAME.fullmatch(manifest.system):
        yield ("system",), "is no name: a-z first, then a-z, 0-9 or _, 63 characters at most"
    if len(manifest.operations) > OPERATIONS_MAX:
        yield ("operations",), f"has {len(manifest.operations)} entries, more than {OPERATIONS_MAX}"
    yield from _addresses(manifest)
    yield from _operations(manifest)
    yield from _targets(manifest)
    yield from _discoveries(manifest)
    yield from _errors(manifest.errors)
    yield from _budgets(manifest)
    yield from _times(manifest)
    yield from _webhook(manifest)


def _operations(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    for path, name, wanted in _named(manifest):
        yield from _operation_named(manifest, path, name, wanted)
    for name, operation in manifest.operations.items():
        yield from _operation(manifest, name, operation)
        yield from _operation_texts(manifest, name, operation)


def _targets(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    for name, target in manifest.targets.items():
        yield from _target(manifest, name, target)


def _discoveries(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    for name, discovery in manifest.discovery.items():
        for need in NEEDED_TO_DISCOVER[discovery.kind]:
            if not getattr(discovery, need):
                yield ("discovery", name, need), f'is missing: "{discovery.kind}" cannot do without it'


def _addresses(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    if not manifest.base_url.startswith(("https://", "http://", "${")):
        yield ("base_url",), "begins with https:// or with a hole"
    yield from _holes(manifest, ("base_url",), manifest.base_url, IN_ADDRESSES)
    for key, value in msgspec.structs.asdict(manifest.auth).items():
        yield from _holes(manifest, ("auth", key), value, IN_ADDRESSES)
    for name, setting in (manifest.auth.brings if isinstance(manifest.auth, OAuth2Code) else {}).items():
        if setting not in manifest.config:
            there = ", ".join(manifest.config) or "none"
            yield ("auth", "brings", name), f"{setting!r} is no setting of [config] (there are: {there})"


def _holes(manifest: Manifest, path: Path, value: Any, kinds: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Yield the holes in a value that nothing would fill, however deep they are."""
    for place, text in holes.texts(value):
        if _LOOSE.search(text):
            yield (*path, *place), "has a hole that is not closed, or is none: write ${kind.name}"
        for kind, hole in holes.named(text):
            if kind not in kinds:
                yield (*path, *place), f"${{{kind}.{hole}}} is no hole here (allowed: {', '.join(kinds)})"
            elif kind == "config" and hole not in manifest.config:
                there = ", ".join(manifest.config) or "none"
                yield (*path, *place), f"${{config.{hole}}} is no setting of [config] (there are: {there})"


def _named(manifest: Manifest) -> Iterator[tuple[Path, str, str]]:
    """Yield each place that names an operation, and what that operation has to do there: read, write or either."""
    yield ("verify",), manifest.verify, "read"
    if isinstance(manifest.auth, Session):
        yield ("auth", "operation"), manifest.auth.operation, ""
    for name, target in manifest.targets.items():
        yield from ((("targets", name, verb), getattr(target, verb), "read") for verb in READS if getattr(target, verb))
        yield from (
            (("targets", name, verb), getattr(target, verb), "write") for verb in WRITES if getattr(target, verb)
        )
    for name, source in manifest.sources.items():
        yield ("sources", name, "operation"), source.operation, "read"
    for name, discovery in manifest.discovery.items():
        asked = {"operation": "read", "describes": ""}
        yield from (
            (("discovery", name, key), getattr(discovery, key), wanted)
            for key, wanted in asked.items()
            if getattr(discovery, key)
        )
    for name, operation in (manifest.webhook.fetch if manifest.webhook else {}).items():
        yield ("webhook", "fetch", name), operation, "read"


def _operation_named(manifest: Manifest, path: Path, name: str, wanted: str) -> Iterator[tuple[Path, str]]:
    there = manifest.operations
    if name not in there:
        hint = did_you_mean(name, [*there])
        yield path, f"names the operation {name!r}, which is not there{hint} (there are: {', '.join(there)})"
    elif wanted and there[name].effect != wanted:
        yield path, f'names the operation {name!r}, whose effect is "{there[name].effect}"; here it must be "{wanted}"'


def _operation(manifest: Manifest, name: str, operation: Operation) -> Iterator[tuple[Path, str]]:
    path: Path = ("operations", name)
    for budget in operation.budgets:
        if budget not in manifest.budgets:
            there = ", ".join(manifest.budgets) or "none"
            yield (*path, "budgets"), f"names the budget {budget!r}, which is not there (there are: {there})"
    if operation.method == "GET" and operation.effect == "write":
        yield (*path, "effect"), "a GET that changes something could not be repeated by anybody on the way"
    if not operation.path.startswith(("/", "https://", "http://", "${")) and operation.path:
        yield (*path, "path"), "begins with / (under base_url), https:// or a hole"
    if operation.seconds <= 0:
        yield (*path, "seconds"), "must be above 0: each call has an end"
    if not all(200 <= status <= 399 for status in operation.success):
        yield (*path, "success"), "only a status from 200 to 399 says that something went well"
    yield from _pagination(operation.pagination, (*path, "pagination"))


def _pagination(pagination: Pagination, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(pagination, ByOffset | ByPage) and pagination.size <= 0:
        yield (*path, "size"), "must be above 0"
    elif isinstance(pagination, ByOffset) and not 0 <= pagination.overlap < pagination.size:
        yield (*path, "overlap"), "must be 0 or more, and below size"


def _operation_texts(manifest: Manifest, name: str, operation: Operation) -> Iterator[tuple[Path, str]]:
    texts: dict[str, Any] = {"path": operation.path, "query": operation.query, "headers": operation.headers}
    texts["body"] = {"add": operation.body.add, "item_add": operation.body.item_add}
    for key, value in texts.items():
        yield from _holes(manifest, ("operations", name, key), value, IN_OPERATIONS)


def _target(manifest: Manifest, name: str, target: Target) -> Iterator[tuple[Path, str]]:
    path: Path = ("targets", name)
    for need in NEEDED[target.write]:
        if not getattr(target, need):
            yield (*path, "write"), f'"{target.write}" cannot do without {need}'
    create = manifest.operations.get(target.create)
    if target.write == "native" and create is not None and not isinstance(create.handle, Handle):
        yield (*path, "create"), f"{target.create!r} has no handle, so the vendor could not know a repeated key"
    if target.write == "native" and not (target.marker or target.natural_key):
        yield (*path, "write"), '"native" cannot do without marker or natural_key: by it what was found is known'
    if target.index_lag_seconds < 0:
        yield (*path, "index_lag_seconds"), "must not be below 0"


def _errors(rules: tuple[ErrorRule, ...]) -> Iterator[tuple[Path, str]]:
    for place, rule in enumerate(rules):
        if not (rule.status or rule.path or rule.contains):
            yield ("errors", place), "fits every answer; say status, path or contains"
        if rule.equals and not rule.path:
            yield ("errors", place, "equals"), "needs path: where in the body the text stands"


def _budgets(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    for name, budget in manifest.budgets.items():
        path: Path = ("budgets", name)
        headers = budget.remaining_header or budget.limit_header or budget.usage_header
        if not (budget.limit or budget.concurrency or headers or budget.adapts):
            yield path, "bounds nothing; say limit, concurrency, a header, or adapts"
        if budget.adapts and not (budget.limit or budget.limit_header or budget.usage_header):
            yield (*path, "adapts"), "has to begin somewhere: say limit, as much as could ever be, or the header of it"
        if min(budget.limit, budget.concurrency) < 0 or budget.window_seconds <= 0:
            yield path, "limit and concurrency must not be below 0, and window_seconds must be above it"


def _times(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    for key, said in times.unknown_formats(manifest.time):
        yield ("time", key, "format"), said
    fetched = manifest.webhook.fetch if manifest.webhook else {}
    objects = {*manifest.targets, *manifest.sources, *manifest.discovery, *fetched}
    for key, rule in manifest.time.items():
        name, _, field = key.partition(".")
        if name not in objects or not field:
            there = ", ".join(sorted(objects)) or "none"
            yield ("time", key), f'is no field of an object: write "OBJECT.path" (objects: {there})'
        if rule.zone == "config" and "time_zone" not in manifest.config:
            yield ("time", key, "zone"), "is that of the setting time_zone, which [config] does not have"
    for name, source in manifest.sources.items():
        if source.format not in time_formats.FORMATS["instant"]:
            allowed = ", ".join(time_formats.FORMATS["instant"])
            yield ("sources", name, "format"), f"{source.format!r} is no way to write an instant (allowed: {allowed})"


def _webhook(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    webhook = manifest.webhook
    if webhook is None:
        return
    if webhook.verify not in ("basic", "standard") and not webhook.header:
        yield ("webhook", "header"), f'is missing: "{webhook.verify}" needs the header that it stands in'
    if webhook.tolerance_seconds <= 0:
        yield ("webhook", "tolerance_seconds"), "must be above 0"
    if webhook.handshake != "none" and not webhook.handshake_path:
        yield ("webhook", "handshake_path"), f'is missing: "{webhook.handshake}" has to know where to look'
    if "${timestamp}" in webhook.signed and not webhook.timestamp_header:
        yield ("webhook", "timestamp_header"), "is missing: what is signed has a hole for what stands in it"
    kinds = ("body", "timestamp", "url", "method", "form", "id", "config")
    yield from _holes(manifest, ("webhook", "signed"), webhook.signed, kinds)
