"""The way to a fault, told so that it can be followed with a finger: one line for each thing that happens."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from clients.exchange import PushTold
from tests.exhaustive import hub_side
from tests.exhaustive.search import Action, Fault, Link, Node, Search
from tests.exhaustive.worlds import Deed


def story(search: Search, fault: Fault) -> str:
    """Return what happened, line by line, and which promise it broke."""
    lines = [line for node, action in fault.path for line in _told(search, node, action)]
    return "\n".join([*(f"{number:>3}. {line}" for number, line in enumerate(lines, 1)), f"BROKEN {fault.broken}"])


def _told(search: Search, node: Node, action: Action) -> Iterator[str]:
    hub, links = node
    if action.name == "office":
        deed = search.world.office_menu[action.which]
        page = "on a page from the beginning" if action.how == "stale" else "having seen everything"
        yield f"the office writes {_asked(deed)}, {page}"
        return
    link, who = links[action.device], f"device {action.device + 1}"
    match action.name:
        case "push":
            yield from _push(search, link, action)
        case "pull" if action.how:
            yield f"{who} asks for what is new (seq {search.hubs[hub].seq}); the page is slow"
            yield from _told(search, node, action.how)
            yield f"the page reaches {who}"
        case "pull":
            yield f"{who} pulls what is new, up to seq {search.hubs[hub].seq}"
        case "edit":
            n = search.phones[link[0]].last_n + 1
            yield f"{who} edits, n={n}: {_asked(search.world.menu[action.which])}"
        case "answer":
            yield f"the answer reaches {who}: {_verdicts(search.replies[link[1][action.which]].body)}"
        case _:
            yield f"{who} dies; what was on its way to it is lost"


def _push(search: Search, link: Link, action: Action) -> Iterator[str]:
    request = search.requests[search._request(action.device, link[0], action.which)]
    numbers = ", ".join(str(mutation.n) for mutation in request.submission.mutations)
    yield f"device {action.device + 1} pushes n={numbers}"
    done = hub_side.STEPS[: action.how]
    if len(done) == len(hub_side.STEPS):
        yield "the hub judges it, commits and answers"
    else:
        so_far = " and ".join(["judges it", *(f"does its {step}" for step in done)])
        yield f"the hub {so_far}, then dies; what was on its way to anybody is lost"


def _verdicts(body: bytes) -> str:
    told = msgspec.json.decode(body, type=PushTold)
    return ", ".join(f"{verdict.n} {verdict.verdict}" for verdict in told.verdicts) or "nothing"


def _asked(deed: Deed) -> str:
    return f"{deed.name} ({', '.join([*deed.fields, *deed.do])})"
