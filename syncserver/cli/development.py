"""`fieldsync dev`: a whole service on this machine, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from cyclopts import validators

from syncserver.cli import catalog as catalogs
from syncserver.commands.errors import ScopeChanged
from syncserver.dev import folder, start
from syncserver.dev.errors import DevError
from syncserver.services.errors import ServiceError
from syncserver.store.errors import MigrationChanged, MigrationUnknown, StoreError

DONE, FAILED = 0, 1
PORT: Final = 8_080
OTHER_RELEASE: Final = "{} is of another release: --data takes another folder, --fresh empties this one"
Port = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=0, lte=65_535))]

app = cyclopts.App(name="dev", help="Start everything on this machine, to try out and to write against.")


@app.default
def run(
    *,
    port: Port = PORT,
    data: Path | None = None,
    fresh: bool = False,
    seed: bool = True,
    catalog: Path | None = None,
    ready_file: Path | None = None,
) -> int:
    """Start databases, server and worker; Ctrl-C ends them. What was done is kept for the next start.

    Parameters
    ----------
    port
        Where the server listens on this machine; 0 takes a free port.
    data
        The state folder; without it, fieldsync/dev among the user's state files.
    fresh
        Begin with an empty state folder.
    seed
        Give the first tenant work orders: real ones where their package is installed, else made-up ones.
    catalog
        A catalogue file in place of the one for field service.
    ready_file
        Written when the server is ready: address, process ids, tenants and tokens, as JSON. Removed at the end.
    """
    read = catalogs.read(catalog)
    if read is None:
        return FAILED
    options = start.Options(
        port=port,
        data=(data or folder.default()).absolute(),
        fresh=fresh,
        seed=seed,
        catalog=read.text,
        ready_file=ready_file.absolute() if ready_file else None,
    )
    try:
        start.run(options)
    except (MigrationChanged, MigrationUnknown) as error:
        sys.stderr.write(f"{error}\n{OTHER_RELEASE.format(options.data)}\n")
        return FAILED
    except (DevError, ServiceError, ScopeChanged, StoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return DONE
