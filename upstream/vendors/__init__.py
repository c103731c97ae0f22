"""The systems that come with the service, by name: what describes each, and the hook where one is odd.

A system is a folder: `connector.toml` (how it is spoken to), `contract.toml` (what is used of it),
`mappings/` (to begin from), `README.md` (where each fact is known from). Adding one is adding a folder,
and a line here only if it needs a hook.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from upstream import contract, manifest_file
from upstream.errors import BadConnection
from upstream.vendors.csv import hooks as csv
from upstream.vendors.gusto import hooks as gusto
from upstream.vendors.quickbooks import hooks as quickbooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.resources.abc import Traversable

    from upstream.connector import Connector
    from upstream.contract import Contract
    from upstream.manifest import Manifest
    from upstream.vendors.csv.feed import Limits
    from upstream.writing import Caller

HOOKS: Final[dict[str, Callable[[Connector, Mapping[str, str]], Caller]]] = {
    "gusto": gusto.Hooks,
    "quickbooks": quickbooks.Hooks,
}
"""What stands before the connector of a system that is odd."""

FILES: Final = "csv"
MANIFEST: Final = "connector.toml"
CONTRACT: Final = "contract.toml"
MAPPINGS: Final = "mappings"
DOCUMENT: Final = "openapi.json"


@cache
def names() -> tuple[str, ...]:
    """Return the systems there are."""
    return tuple(sorted(each.name for each in _home().iterdir() if each.joinpath(MANIFEST).is_file()))


@cache
def manifest(name: str) -> Manifest:
    """Return how a system is spoken to; raises `BadConnection` if there is none of this name."""
    return manifest_file.parse(_text(name, MANIFEST), f"{name}/{MANIFEST}")


@cache
def agreement(name: str) -> Contract:
    """Return what is used of a system; raises `BadConnection` if there is none of this name."""
    return contract.parse(_text(name, CONTRACT), f"{name}/{CONTRACT}")


def document(name: str) -> bytes | None:
    """Return the OpenAPI document that a system's folder has; None if it has none."""
    _known(name)
    file = _home().joinpath(name, DOCUMENT)
    return file.read_bytes() if file.is_file() else None


@cache
def mappings(name: str) -> dict[str, str]:
    """Return the texts of the mappings to begin from, by name."""
    _known(name)
    folder = _home().joinpath(name, MAPPINGS)
    files = sorted(folder.iterdir(), key=lambda each: each.name) if folder.is_dir() else []
    return {each.name.removesuffix(".toml"): each.read_text() for each in files if each.name.endswith(".toml")}


def dressed(
    name: str,
    connector: Connector,
    config: Mapping[str, str],
    *,
    exchange_dir: str = "",
    files: Limits | None = None,
) -> Caller:
    """Return what carries out a system's operations: its hook, with the connector behind it, or the connector.

    `exchange_dir` is the folder that the operator set aside for files; empty: there is none. `files`: how large one
    may be that is taken.
    """
    if name == FILES:
        return csv.Hooks(connector, config, exchange_dir, files)
    return HOOKS[name](connector, config) if name in HOOKS else connector


def _text(name: str, file: str) -> str:
    _known(name)
    return _home().joinpath(name, file).read_text()


def _known(name: str) -> None:
    if name not in names():
        raise BadConnection(f"{name!r} is no system that comes with the service (there are: {', '.join(names())})")


def _home() -> Traversable:
    return resources.files("upstream.vendors")
