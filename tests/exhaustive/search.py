"""Every state that a small world can come to, breadth first, and the shortest way to the first that is wrong.

A state is one moment of the hub and of each device, and what is under way between them. Moments and messages are
kept once and known by a number, and each step from one to another is taken once: a step of the real code costs a
hundred times as much as looking up where it led.

What need not be told apart is not: a push is made when it arrives, because what a device does in between is as well
done before or after; and a page that arrives late crosses one step of its own device. Whatever was settled is asked
again in every moment of the hub, and whatever was answered is told again in every moment of a device, so that
repeated messages need not be kept under way.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from tests.exhaustive import hub_side, keys, promises
from tests.exhaustive.device_side import Handset, Phone
from tests.exhaustive.hub_side import FIRST_DEVICE, Hub, Page, Reply, Request
from tests.exhaustive.truth import Broken
from tests.exhaustive.worlds import World

T = TypeVar("T")

Link: TypeAlias = tuple[int, tuple[int, ...]]
"""A device's moment, and the answers that may still reach it, oldest first; all by number."""

Node: TypeAlias = tuple[int, tuple[Link, ...]]
"""A state: the hub's moment, and each device."""


class Action(NamedTuple):
    """What happens. `which` chooses among edits, messages or lengths of a push; `how` is a variation of it."""

    name: str
    device: int = -1
    which: int = 0
    how: Any = None


START = Action("start")


class Kept(Generic[T]):
    """Things that are kept once and known by a number; `check` is made of each new one."""

    def __init__(self, key: Callable[[T], Hashable], check: Callable[[T], None] = lambda _: None) -> None:
        self._key = key
        self._check = check
        self._number: dict[Hashable, int] = {}
        self.all: list[T] = []

    def __call__(self, thing: T) -> int:
        """Return the number of a thing."""
        key = self._key(thing)
        if key not in self._number:
            self._check(thing)
            self._number[key] = len(self.all)
            self.all.append(thing)
        return self._number[key]

    def __getitem__(self, number: int) -> T:
        return self.all[number]


@dataclass(frozen=True)
class Fault:
    """A promise that was broken, and the shortest way there: states, each with what happens next."""

    broken: Broken
    path: tuple[tuple[Node, Action], ...]


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    world: World
    states: int
    transitions: int
    depth: int
    seconds: float
    moments: tuple[int, int]
    fault: Fault | None

    def __str__(self) -> str:
        hubs, phones = self.moments
        return (
            f"{self.world.name}: {self.states} states, {self.transitions} transitions, depth {self.depth}; "
            f"{hubs} moments of the hub, {phones} of devices; {self.seconds:.1f} s"
        )


class Search:
    """One world, searched to its bounds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._handsets = [Handset(world, FIRST_DEVICE + place) for place in range(world.devices)]
        self.hubs: Kept[Hub] = Kept(keys.of_hub, promises.check_hub)
        self.phones: Kept[Phone] = Kept(keys.of_phone, self._check_phone)
        self.requests: Kept[Request] = Kept(keys.of_request)
        self.replies: Kept[Reply] = Kept(keys.of_message)
        self.pages: Kept[Page] = Kept(keys.of_message)
        self._taken: dict[Hashable, Any] = {}
        self._paired: set[tuple[int, int]] = set()
        self._nodes: list[Node] = []
        self._parents = array("l")
        self._actions: list[Action] = []
        self._edges = array("l")

    def run(self) -> Found:
        """Visit every state; stop at the first promise that is broken."""
        begun = time.process_time()
        depth, fault = 0, None
        try:
            depth = self._spread()
            self._check_progress()
        except Met as met:
            fault = Fault(met.broken, tuple(self._path(met.place, met.action)))
            depth = len(fault.path)
        seconds = time.process_time() - begun
        moments = len(self.hubs.all), len(self.phones.all)
        return Found(self.world, len(self._nodes), len(self._edges) // 2, depth, seconds, moments, fault)

    def _spread(self) -> int:
        """Go from every state to all that follow from it; return the number of steps to the farthest."""
        number: dict[Node, int] = {}
        self._reach(number, self._start(), -1, START)
        place, depth, end = 0, 0, 1
        while place < len(self._nodes):
            if place == end:
                depth, end = depth + 1, len(self._nodes)
            node = self._nodes[place]
            for action in self._possible(node):
                try:
                    self._reach(number, self._take(node, action), place, action)
                except Broken as broken:
                    raise Met(place, action, broken) from broken
            place += 1
        return depth

    def _reach(self, number: dict[Node, int], node: Node, origin: int, action: Action) -> None:
        """Note a step, and the state that it leads to if that is new."""
        place = number.setdefault(node, len(self._nodes))
        if origin >= 0:
            self._edges.append(origin)
            self._edges.append(place)
        if place == len(self._nodes):
            self._check_pairs(node)
            self._nodes.append(node)
            self._parents.append(origin)
            self._actions.append(action)

    def _path(self, place: int, action: Action | None) -> list[tuple[Node, Action]]:
        """Return the states on the shortest way to one, each with what happens next."""
        path = [(self._nodes[place], action)] if action else []
        while self._parents[place] >= 0:
            path.append((self._nodes[self._parents[place]], self._actions[place]))
            place = self._parents[place]
        return path[::-1]

    # What may happen in a state.

    def _start(self) -> Node:
        """All devices have the record, and nothing else has happened."""
        hub = hub_side.begin(self.world)
        page = hub_side.page(hub, None)
        return self.hubs(hub), tuple((self.phones(each.begin(page)), ()) for each in self._handsets)

    def _possible(self, node: Node) -> Iterator[Action]:
        yield from self._once("office", self._office_may, node[0])
        begun = True
        for device, (phone, answers) in enumerate(node[1]):
            yield from self._once("edits", self._may_edit, device, phone) if begun else ()
            begun = self.phones[phone].last_n > 0 or not self.world.is_symmetric
            yield from self._once("contacts", self._contacts, device, phone, node[0], len(answers))

    def _office_may(self, hub: int) -> list[Action]:
        if self.hubs[hub].office_writes() == self.world.office:
            return []
        menu = range(len(self.world.office_menu))
        return [Action("office", which=which, how=how) for which in menu for how in ("fresh", "stale")]

    def _may_edit(self, device: int, phone: int) -> list[Action]:
        left = self.world.edits[device] - self.phones[phone].last_n
        return [Action("edit", device, which) for which, deed in enumerate(self.world.menu) if deed.edits <= left]

    def _contacts(self, device: int, phone: int, hub: int, answers: int) -> list[Action]:
        """Return what may pass between a device and the hub, and what may go wrong."""
        lengths = self._handsets[device].lengths(self.phones[phone])
        steps = range(len(hub_side.STEPS), -1, -1)
        found = [Action("push", device, length, how) for length in lengths for how in steps]
        found += [Action("answer", device, which) for which in range(answers)]
        if self.phones[phone].cursor < self.hubs[hub].seq:
            crossing = [*self._may_edit(device, phone), *(each for each in found if each.name == "answer")]
            found += [Action("pull", device), *(Action("pull", device, how=each) for each in crossing)]
        return [*found, Action("die", device)] if answers else found

    # What comes of it.

    def _take(self, node: Node, action: Action) -> Node:
        hub, links = node
        if action.name == "office":
            return self._once("write", self._write, hub, action.which, action.how), links
        if action.name == "push":
            return self._push(node, action)
        link = self._step(hub, links[action.device], action)
        return hub, (*links[: action.device], link, *links[action.device + 1 :])

    def _push(self, node: Node, action: Action) -> Node:
        """Let a push arrive. If the hub dies all connections go with it; only an answer that had left may arrive."""
        (hub, links), device = node, action.device
        request = self._once("request", self._request, device, links[device][0], action.which)
        after, reply = self._once("serve", self._serve, hub, request)
        done = hub_side.STEPS[: action.how]
        hub = after if "commit" in done else hub
        if len(done) < len(hub_side.STEPS):
            links = tuple((phone, ()) for phone, _ in links)
        if "answer" not in done:
            return hub, links
        phone, answers = links[device]
        answers = (*(each for each in answers if each != reply), reply)[-self.world.answers :]
        return hub, (*links[:device], (phone, answers), *links[device + 1 :])

    def _step(self, hub: int, link: Link, action: Action) -> Link:
        (phone, answers), device, which = link, action.device, action.which
        match action.name:
            case "edit":
                return self._once("edit", self._edit, device, phone, which), answers
            case "answer":
                after = self._once("answer", self._answer, device, phone, answers[which])
                return after, (*answers[:which], *answers[which + 1 :])
            case "pull":
                page = self._once("page", self._page, hub, self.phones[phone].cursor)
                phone, answers = self._step(hub, link, action.how) if action.how else link
                return self._once("pull", self._pull, device, phone, page), answers
            case _:
                self._once("die", self._die, device, phone)
                return phone, ()

    def _once(self, name: str, step: Callable[..., Any], *what: Any) -> Any:
        """Take a step of the real code, or remember where it led."""
        known = (name, *what)
        if known not in self._taken:
            self._taken[known] = step(*what)
        return self._taken[known]

    def _write(self, hub: int, which: int, how: str) -> int:
        return self.hubs(hub_side.office_write(self.hubs[hub], self.world.office_menu[which], stale=how == "stale"))

    def _serve(self, hub: int, request: int) -> tuple[int, int]:
        after, reply = hub_side.serve(self.hubs[hub], self.requests[request])
        return self.hubs(after), self.replies(reply)

    def _edit(self, device: int, phone: int, which: int) -> int:
        return self.phones(self._handsets[device].edit(self.phones[phone], self.world.menu[which]))

    def _request(self, device: int, phone: int, length: int) -> int:
        return self.requests(self._handsets[device].request(self.phones[phone], length))

    def _answer(self, device: int, phone: int, reply: int) -> int:
        return self.phones(self._handsets[device].take_answer(self.phones[phone], self.replies[reply]))

    def _page(self, hub: int, cursor: int) -> int:
        return self.pages(hub_side.page(self.hubs[hub], cursor))

    def _pull(self, device: int, phone: int, page: int) -> int:
        return self.phones(self._handsets[device].take_page(self.phones[phone], self.pages[page]))

    def _die(self, device: int, phone: int) -> None:
        self._handsets[device].die(self.phones[phone], self.world.menu[0])

    # What must hold.

    def _check_phone(self, phone: Phone) -> None:
        promises.check_phone(phone, self._handsets[phone.rid - FIRST_DEVICE])

    def _check_pairs(self, node: Node) -> None:
        for phone, _ in node[1]:
            if (node[0], phone) not in self._paired:
                self._paired.add((node[0], phone))
                promises.check_pair(self.hubs[node[0]], self.phones[phone])

    def _check_progress(self) -> None:
        """From every state there is a way to one in which every edit has its verdict and every device has heard all."""
        origins: list[list[int]] = [[] for _ in self._nodes]
        for origin, place in zip(self._edges[::2], self._edges[1::2], strict=True):
            origins[place].append(origin)
        reached = bytearray(self._is_settled(node) for node in self._nodes)
        ahead = [place for place, is_settled in enumerate(reached) if is_settled]
        while ahead:
            for origin in origins[ahead.pop()]:
                if not reached[origin]:
                    reached[origin] = 1
                    ahead.append(origin)
        stuck = reached.find(0)
        if stuck >= 0:
            raise Met(stuck, None, Broken("every edit can still get its verdict", "no way leads there from here"))

    def _is_settled(self, node: Node) -> bool:
        phones = [self.phones[phone] for phone, _ in node[1]]
        return all(not phone.unsent and phone.cursor == self.hubs[node[0]].seq for phone in phones)


class Met(Exception):
    """A broken promise, and where: in a state, or in what happens next there."""

    def __init__(self, place: int, action: Action | None, broken: Broken) -> None:
        super().__init__(str(broken))
        self.place, self.action, self.broken = place, action, broken
