"""A manifest from the text of its TOML file.

`parse` either returns a manifest that the engine can rely on, or raises `BadManifest` with what is
wrong: the file, the line, the key and what would be right.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import toml_lines
from upstream import holes
from upstream.errors import BadManifest
from upstream.manifest import (
    NEEDED,
    Budget,
    Config,
    Discovery,
    Incremental,
    Manifest,
    Operation,
    Session,
    Target,
    TimeRule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from replication.toml_lines import Path

TEXT_BYTES_MAX: Final = 262_144
_PLACE: Final = re.compile(r"(?P<said>.*?) - at `\$(?P<path>.*)`\Z", re.DOTALL)
_STEP: Final = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+|\.\.\.)\]|\['([^']*)'\]")
KINDS: Final = ("config", "auth", "value", "remote", "page")
"""What a hole of an operation may name."""
SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "config": Config,
    "operations": Operation,
    "targets": Target,
    "sources": Incremental,
    "discovery": Discovery,
    "budgets": Budget,
    "time": TimeRule,
}
"""The tables whose entries have names of their own."""


def parse(text: str, name: str = "manifest") -> Manifest:
    """Return what the file says, or raise `BadManifest` with file, line, key and what would be right."""
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise BadManifest([f"{name}: is larger than {TEXT_BYTES_MAX} bytes"])
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BadManifest([f"{name}: {exc}"]) from exc
    lines = toml_lines.key_lines(text)
    problems = [_sentence(name, path, said, lines) for path, said in _misshapen(values)]
    if problems:
        raise BadManifest(problems)
    manifest = msgspec.convert(values, Manifest)
    problems = [f"{name}, line {_line(lines, path)}: {_dotted(path)}: {said}" for path, said in _check(manifest)]
    if problems:
        raise BadManifest(sorted(problems))
    return manifest


def _misshapen(values: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield what does not have the shape it should: of each named table the first, then of the rest."""
    rest = dict(values)
    for section, table in SECTIONS.items():
        entries = rest.get(section)
        if isinstance(entries, dict):
            rest[section] = {}
            for key, entry in entries.items():
                yield from ((((section, key)), said) for said in _unfit(entry, table))
    yield from (((), said) for said in _unfit(rest, Manifest))


def _unfit(value: Any, table: type[msgspec.Struct]) -> Iterator[str]:
    try:
        msgspec.convert(value, table)
    except msgspec.ValidationError as exc:
        yield str(exc)


def _sentence(name: str, at: Path, message: str, lines: dict[Path, int]) -> str:
    """Turn a message of the decoder into one that names the line."""
    match = _PLACE.fullmatch(message)
    steps = _STEP.findall(match["path"]) if match else []
    inner = tuple(int(place) if place.isdigit() else word or quoted for word, place, quoted in steps if place != "...")
    path: Path = (*at, *inner)
    said = match["said"] if match else message
    return f"{name}, line {_line(lines, path)}: {_dotted(path) or 'top'}: {said}"


def _line(lines: dict[Path, int], path: Path) -> int:
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _check(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Yield what no table can tell alone: names that lead nowhere, holes that nothing fills."""
    names = manifest.operations
    for path, name in _named(manifest):
        if name not in names:
            yield path, f"names the operation {name!r}, which is not there (there are: {', '.join(names)})"
    for name, operation in names.items():
        yield from _check_operation(manifest, name, operation)
    for name, target in manifest.targets.items():
        for need in NEEDED[target.write]:
            if not getattr(target, need):
                yield ("targets", name, "write"), f"{target.write} cannot do without {need}"


def _check_operation(manifest: Manifest, name: str, operation: Operation) -> Iterator[tuple[Path, str]]:
    path: Path = ("operations", name)
    for budget in operation.budgets:
        if budget not in manifest.budgets:
            yield (*path, "budgets"), f"names the budget {budget!r}, which is not there"
    if operation.method == "GET" and operation.effect == "write":
        yield (*path, "effect"), "a GET that changes something could not be repeated by anybody on the way"
    texts = {"path": operation.path, **operation.query, **operation.headers}
    for key, text in texts.items():
        for kind, hole in holes.named(text):
            if kind not in KINDS:
                yield (*path, key), f"${{{kind}.{hole}}} is no hole (there are: {', '.join(KINDS)})"
            elif kind == "config" and hole not in manifest.config:
                yield (*path, key), f"${{config.{hole}}} is no setting of [config]"


def _named(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Yield each place that names an operation."""
    yield ("verify",), manifest.verify
    if isinstance(manifest.auth, Session):
        yield ("auth", "operation"), manifest.auth.operation
    for name, target in manifest.targets.items():
        for verb in ("create", "update", "read", "find", "void"):
            if operation := getattr(target, verb):
                yield ("targets", name, verb), operation
    for name, source in manifest.sources.items():
        yield ("sources", name, "operation"), source.operation
    for name, discovery in manifest.discovery.items():
        yield ("discovery", name, "operation"), discovery.operation
    for name, operation in (manifest.webhook.fetch if manifest.webhook else {}).items():
        yield ("webhook", "fetch", name), operation
