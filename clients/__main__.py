"""`python -m clients demo | load`: the story, and a fleet of devices, against a running server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import cyclopts
import msgspec

from clients import cast, demo
from clients.errors import ClientError

DONE, FAILED, MISUSED = 0, 1, 2

app = cyclopts.App(name="clients", help="Programs that reach a server by its URL like anybody else.")
app.command("clients.load.command:load", name="load", help="Drive a fleet of devices, and prove that nothing is lost.")


@app.command(name="demo")
def tell(*, ready_file: Path | None = None, url: str | None = None) -> int:
    """Tell the story of 25 technicians and a dispatcher; ends with 1 if anything differs or is missing.

    Parameters
    ----------
    ready_file
        What `fieldsync dev --ready-file` wrote: where the server is, and who there is.
    url
        Another way to the same server, such as a proxy.
    """
    if ready_file is None:
        sys.stderr.write("The story needs people with tokens: name the --ready-file of `fieldsync dev`.\n")
        return MISUSED
    try:
        ready = cast.read(ready_file)
        well = asyncio.run(demo.run(msgspec.structs.replace(ready, url=url) if url else ready))
    except (ClientError, OSError, msgspec.DecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return DONE if well else FAILED


if __name__ == "__main__":
    sys.exit(app())
