"""docs/protocol.md as a conversation: what it says is sent is sent, and what it says is answered is compared."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import wire
from replication.catalog import Catalog
from tests.tidy import sources

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE: Final = sources.CHECKOUT / "docs" / "protocol.md"
BLOCK: Final = re.compile(r"^```json (?P<head>[^\n]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
ASKED: Final = re.compile(
    r"(?P<who>device|office) (?P<method>GET|POST|PATCH) (?P<path>/\S+)(?: If-Match (?P<rev>\d+))?"
)
STANDS_FOR: Final = re.compile(r"[A-Z]{4,}")
"""A word in capitals stands for what was given before, or will differ each time."""

REQUESTS: Final[dict[str, Any]] = {
    wire.PATH_ENROL: wire.EnrolRequest,
    wire.PATH_REFRESH: wire.RefreshRequest,
    wire.PATH_PULL: wire.PullRequest,
}
ANSWERS: Final[dict[str, Any]] = {
    wire.PATH_ENROL: wire.EnrolAnswer,
    wire.PATH_REFRESH: wire.RefreshAnswer,
    wire.PATH_PUSH: wire.PushAnswer,
    wire.PATH_PULL: wire.PullAnswer,
    "/v1/catalog": Catalog,
}


class Turn(msgspec.Struct, frozen=True):
    """One request of the page, and the answer that it promises."""

    place: int
    who: str
    method: str
    path: str
    rev: str | None
    body: Any
    status: int
    answer: Any

    @property
    def name(self) -> str:
        """What the turn is called in a failure."""
        return f"{self.place} {self.who} {self.method} {self.path}"


def turns(page: str | None = None) -> list[Turn]:
    """Return the conversation of the page, each request with its answer."""
    text = PAGE.read_text(encoding="utf-8") if page is None else page
    blocks = [(found["head"], found["body"]) for found in BLOCK.finditer(text)]
    assert len(blocks) % 2 == 0, "each request has an answer"
    made = []
    for place, ((head, body), (status, answer)) in enumerate(zip(blocks[::2], blocks[1::2], strict=True), 1):
        asked = ASKED.fullmatch(head)
        assert asked, f"not understood: {head}"
        told = json.loads(answer) if answer.strip() else {}
        who, method, path, rev = asked.group("who", "method", "path", "rev")
        made.append(Turn(place, who, method, path, rev, json.loads(body), int(status), told))
    return made


def filled(body: Any, known: Mapping[str, str]) -> Any:
    """Return a request with the words in capitals replaced by what they stand for."""
    if isinstance(body, dict):
        return {name: filled(part, known) for name, part in body.items()}
    if isinstance(body, list):
        return [filled(part, known) for part in body]
    return known.get(body, body) if isinstance(body, str) else body


def differences(shown: Any, real: Any, place: str = "answer") -> list[str]:
    """Say where an answer is not what the page shows of it; the page may leave parts out."""
    if isinstance(shown, str) and STANDS_FOR.fullmatch(shown):
        return [] if isinstance(real, str) and real else [f"{place}: no text"]
    if isinstance(shown, dict) and isinstance(real, dict):
        missing = [f"{place}.{name}: not there" for name in shown.keys() - real.keys()]
        both = [differences(shown[name], real[name], f"{place}.{name}") for name in shown if name in real]
        return [*missing, *(each for found in both for each in found)]
    if isinstance(shown, list) and isinstance(real, list) and len(shown) == len(real):
        pairs = zip(shown, real, strict=True)
        return [each for i, pair in enumerate(pairs) for each in differences(*pair, f"{place}[{i}]")]
    return [] if shown == real and type(shown) is type(real) else [f"{place}: {real!r}, the page says {shown!r}"]


def section(page: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def codes_in(text: str) -> list[str]:
    """Return the codes that the tables of a section explain, in their first column."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return [code for row in rows for code in re.findall(r"`([a-z_]+)`", row)]
