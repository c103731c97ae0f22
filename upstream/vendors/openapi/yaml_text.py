"""Documents that are written in YAML, as the values that the same document has in JSON.

A document comes from outside: it is read event by event in a loop, so that how deep it goes, and what its
aliases amount to when each is put in, is bounded before it is built. Plain words mean what they mean in the
core schema of YAML 1.2 (yaml.org/spec/1.2.2, 10.3), which OpenAPI asks for: `no` and `2026-11-21` are text.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml

from upstream import replies
from upstream.errors import BadManifest

if TYPE_CHECKING:
    from collections.abc import Callable

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its parser is used. The one in C is ten times as fast, and not in every build."""
EXPANSION: Final = 4
"""How many times as long as its text a document may be when its aliases are put in."""
NUMBER_CHARACTERS_MAX: Final = 40
TAG_DIRECTIVES_MAX: Final = 20
"""The parser holds each of them against all before it, in one step that no other thread can run beside."""
_TAG_DIRECTIVE: Final = b"%TAG"
_TAGS: Final = "tag:yaml.org,2002:"
_NULL: Final = ("", "~", "null", "Null", "NULL")
_TRUE: Final = ("true", "True", "TRUE")
_FALSE: Final = ("false", "False", "FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def read(text: bytes) -> Any:
    """Return what a document in YAML says; raises `BadManifest` with the line of what cannot be read."""
    # Without the zeros, this is found in UTF-16 as well, which the parser reads too.
    if text.replace(b"\0", b"").count(_TAG_DIRECTIVE) > TAG_DIRECTIVES_MAX:
        raise BadManifest([f"%TAG stands there more than {TAG_DIRECTIVES_MAX} times; take it out, no tag is read"])
    building = _Building(EXPANSION * len(text))
    try:
        for event in yaml.parse(text, Loader=LOADER):
            building.take(event)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        raise BadManifest([f"line {mark.line + 1 if mark else 1}: {exc.problem}: neither JSON nor YAML"]) from exc
    except yaml.YAMLError as exc:
        said = str(exc).partition("\n")[0]
        raise BadManifest([f"the document is no text that YAML could be: {said}"]) from exc
    return building.root


class _Open(msgspec.Struct):
    """A table or list whose end has not come; `began`: how long the document was before it."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    began: int
    key: str | None = None


class _Building:
    """A document as its events come in."""

    def __init__(self, length_max: int) -> None:
        self.root: Any = None
        self._documents = 0
        self._length = 0
        self._length_max = length_max
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._takes: dict[type, Callable[[Any], None]] = {
            yaml.DocumentStartEvent: self._document,
            yaml.MappingStartEvent: self._begin,
            yaml.SequenceStartEvent: self._begin,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
        }

    def take(self, event: Any) -> None:
        """Put in what an event says."""
        if (taking := self._takes.get(type(event))) is not None:
            taking(event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _refused(event, "a second document begins; give one")

    def _begin(self, event: Any) -> None:
        if self._wants_key():
            raise _refused(event, "the name of a field is a table or a list; write a text")
        if len(self._open) >= replies.DEPTH_MAX:
            raise _refused(event, f"goes deeper than {replies.DEPTH_MAX} levels; nothing that is meant does")
        table = isinstance(event, yaml.MappingStartEvent)
        _known_tag(event, "map" if table else "seq")
        self._open.append(_Open({} if table else [], event.anchor, self._length))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        self._named(done.anchor, done.value, self._length - done.began)
        self._put(event, done.value, 2)

    def _scalar(self, event: Any) -> None:
        if self._wants_key():
            if event.value == "<<" and event.implicit[0]:
                raise _refused(event, "`<<` is no part of YAML 1.2; write the fields out")
            self._named(event.anchor, event.value, len(event.value))
            self._key(event, event.value, len(event.value))
            return
        value = _meaning(event)
        self._named(event.anchor, value, len(event.value) + 1)
        self._put(event, value, len(event.value) + 1)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise _refused(event, f"*{event.anchor[:40]} repeats what has no end or is not there")
        value, length = self._anchors[event.anchor]
        if not self._wants_key():
            self._put(event, value, length + 1)
        elif isinstance(value, str):
            self._key(event, value, length)
        else:
            raise _refused(event, "the name of a field is no text; write a text")

    def _key(self, event: Any, name: str, length: int) -> None:
        """Take a text for the name of the field that comes next."""
        place = self._open[-1]
        if name in place.value:
            raise _refused(event, f"{name[:80]!r} stands there a second time; take one of them out")
        place.key = name
        self._longer(event, length)

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _named(self, anchor: str | None, value: Any, length: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, length)

    def _put(self, event: Any, value: Any, length: int) -> None:
        """Put a value where the document has come to."""
        self._longer(event, length)
        if not self._open:
            self.root = value
            return
        place = self._open[-1]
        if isinstance(place.value, list):
            place.value.append(value)
        else:
            place.value[str(place.key)], place.key = value, None

    def _longer(self, event: Any, length: int) -> None:
        self._length += length
        if self._length > self._length_max:
            said = f"with its aliases put in, the document is over {EXPANSION} times as long as its text"
            raise _refused(event, f"{said}; write what it says as $ref")


def _meaning(event: Any) -> Any:
    """Return what a scalar means: what is quoted or tagged as text is text, all else as the core schema says."""
    if event.tag is not None:
        _known_tag(event, "str", "int", "float", "bool", "null")
    return _plain(event.value) if event.implicit[0] or event.tag not in (None, f"{_TAGS}str") else event.value


def _plain(word: str) -> Any:
    """Return what a plain word means. A number that no JSON can have stays text."""
    if word in _NULL:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if len(word) > NUMBER_CHARACTERS_MAX:
        return word
    if _INTEGER.fullmatch(word):
        return int(word)
    if _BASED.fullmatch(word):
        return int(word, 0)
    number = float(word) if _NUMBER.fullmatch(word) else math.nan
    return number if math.isfinite(number) else word


def _known_tag(event: Any, *names: str) -> None:
    if event.tag not in (None, "!", *(f"{_TAGS}{name}" for name in names)):
        raise _refused(event, f"the tag {event.tag[:80]} is not read; write the value without it")


def _refused(event: Any, said: str) -> BadManifest:
    return BadManifest([f"line {event.start_mark.line + 1}: {said}"])
