"""Runs the Jsonnet of mappings, in a process of its own that its parent may kill at any moment.

The code comes from a tenant, so nothing is trusted to it: it can import nothing, its memory and
processor time end, and its environment is empty. A thread listens to the parent all the while; when the
parent is gone, this process ends, whatever it is doing.

Started as a file, with nothing of the project: it has what the interpreter and gojsonnet bring.
A frame is its length in four bytes and then its content. In: the JSON `{"hash", "code"?, "context"}`,
`context` being JSON text. Out: one letter and then text: `v` a value, `e` what is wrong with the code,
`b` too big, `u` this code was never sent.
"""

from __future__ import annotations

import json
import os
import queue
import re
import resource
import struct
import sys
import threading
import time
from collections import OrderedDict
from typing import Any

import _gojsonnet

SOURCES_MAX = 200
NAME = "row"
RENAMED = {"local": "ours"}
"""Roots whose name is a word of the language, and what they are called in it."""

_LINE = re.compile(rf"{NAME}:(\d+):")
_SPAN = re.compile(rf"{NAME}:\((\d+):(\d+)\)-\((\d+):(\d+)\)")


def main() -> None:
    """Answer frames until the parent is gone."""
    data_bytes, processor_seconds, output_bytes = (int(word) for word in sys.argv[1:4])
    bound = (f"{RENAMED.get(root, root)} = std.get(std.extVar('context'), '{root}')" for root in sys.argv[4:])
    prefix = f"local {', '.join(bound)};\n"
    _confine(data_bytes)
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(frames,), daemon=True).start()
    sources: OrderedDict[str, str] = OrderedDict()
    while True:
        asked = json.loads(frames.get())
        if "code" in asked:
            sources[asked["hash"]] = prefix + asked["code"]
            if len(sources) > SOURCES_MAX:
                sources.popitem(last=False)
        _give_processor_time(processor_seconds)
        _answer(_run(asked, sources, output_bytes))


def _confine(data_bytes: int) -> None:
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_DATA, data_bytes)):
        _, hard = resource.getrlimit(limit)
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (wanted, wanted))


def _give_processor_time(seconds: int) -> None:
    """Let the kernel end this process after so much more work, should the parent be too busy to."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds, hard))


def _listen(frames: queue.SimpleQueue[bytes]) -> None:
    while len(head := _read(4)) == 4 and len(body := _read(struct.unpack(">I", head)[0])):
        frames.put(body)
    os._exit(0)


def _read(size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := os.read(0, size - len(found))):
        found += piece
    return found


def _answer(said: str) -> None:
    body = said.encode("utf-8", "replace")
    frame = struct.pack(">I", len(body)) + body
    while frame:
        frame = frame[os.write(1, frame) :]


def _run(asked: dict[str, Any], sources: OrderedDict[str, str], output_bytes: int) -> str:
    if asked["hash"] not in sources:
        return "u"
    sources.move_to_end(asked["hash"])
    imports: list[str] = []

    def refuse(_folder: str, name: str) -> tuple[str, bytes]:
        # Raising here would be plainer, but the library's error for it has stray bytes in it.
        imports.append(name)
        return name, b"null"

    try:
        made = _gojsonnet.evaluate_snippet(
            NAME, sources[asked["hash"]], ext_codes={"context": asked["context"]}, import_callback=refuse
        )
        said = "b" if len(made.encode()) > output_bytes else f"v{made}"
    except (RuntimeError, UnicodeDecodeError) as exc:
        said = f"e{_in_own_lines(str(exc))}"
    return f"eimports are not allowed here ({imports[0]!r})" if imports else said


def _in_own_lines(message: str) -> str:
    """Return a message with the lines as the author counts them, without the one that is put before."""
    message = _LINE.sub(lambda match: f"line {int(match[1]) - 1}:", message)
    message = _SPAN.sub(lambda match: f"line {int(match[1]) - 1}:{match[2]} to {int(match[3]) - 1}:{match[4]}", message)
    said, _, _ = message.partition("\n\n")  # behind it comes the code again
    return " ".join(said.split())[:1_000]


if __name__ == "__main__":
    main()
