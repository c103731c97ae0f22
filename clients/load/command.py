"""The command line of a run: every option with its bounds, so that what cannot be meant is refused by name."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from clients import cast
from clients.errors import ClientError
from clients.load import running
from clients.load.plan import CONNECTIONS_MAX, DEVICES_MAX, EDITS_PER_SECOND_MAX, SECONDS_MAX, Options
from clients.load.progress import Progress

DONE, FAILED, MISUSED = 0, 1, 2
USUAL: Final = Options(ready_file=Path())

Seconds = Annotated[float, Parameter(validator=Number(gt=0, lte=SECONDS_MAX))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says; a dataclass, because that is what its reader can fill.

    Parameters
    ----------
    ready_file
        What `fieldsync dev --ready-file` wrote: where the server is, and who there is.
    url
        Another way to the same server, such as a proxy.
    devices
        How many devices; technicians of all tenants get them in turn.
    seconds
        How long edits are made.
    edits_per_second
        How many edits are due in a second, of all devices together. They never wait for the server.
    dispatcher_share
        Writes at the office for each edit, on what devices have just worked on.
    away_share
        Share of the devices that are out of reach for a part of the run.
    lost_share
        Share of the answers to pushes that get lost on the way back.
    pull_every
        Seconds after which a device that does nothing looks for news; half to one and a half of it.
    batch_seconds
        Seconds that a device waits for more before it pushes.
    connections
        Connections that all devices share.
    drain_seconds
        Seconds within which every outbox has to be empty after the work.
    seed
        Begins the same schedule again.
    json
        Where the report is written.
    """

    ready_file: Path | None = None
    url: str | None = None
    devices: Annotated[int, Parameter(validator=Number(gte=1, lte=DEVICES_MAX))] = USUAL.devices
    seconds: Seconds = USUAL.seconds
    edits_per_second: Annotated[float, Parameter(validator=Number(gte=0, lte=EDITS_PER_SECOND_MAX))] = (
        USUAL.edits_per_second
    )
    dispatcher_share: Share = USUAL.dispatcher_share
    away_share: Share = USUAL.away_share
    lost_share: Share = USUAL.lost_share
    pull_every: Seconds = USUAL.pull_every
    batch_seconds: Seconds = USUAL.batch_seconds
    connections: Annotated[int, Parameter(validator=Number(gte=1, lte=CONNECTIONS_MAX))] = USUAL.connections
    drain_seconds: Seconds = USUAL.drain_seconds
    seed: int = USUAL.seed
    json: Path | None = None


NOTHING_ASKED: Final = Asked()


def load(asked: Asked = NOTHING_ASKED) -> int:
    """Drive a fleet of devices against a server, then prove that nothing acknowledged is missing.

    Ends with 1 if anything differs or could not be checked. Ctrl-C ends the work early and checks what
    was done; a second one ends everything with a report.
    """
    if asked.ready_file is None:
        sys.stderr.write("A run needs people with codes: name the --ready-file of `fieldsync dev`.\n")
        return MISUSED
    if asked.json is not None and (asked.json.is_dir() or not asked.json.absolute().parent.is_dir()):
        sys.stderr.write(f"--json {asked.json}: a report needs a file in a folder that is there.\n")
        return MISUSED
    try:
        options, ready = Options(**asdict(asked)), cast.read(asked.ready_file)
        well = asyncio.run(running.run(options, ready, Progress()))
    except msgspec.DecodeError as error:
        sys.stderr.write(f"{asked.ready_file} is no ready file: {error}\n")
        return FAILED
    except (ClientError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return DONE if well else FAILED
