"""`fieldsync demo` and `fieldsync load`: handed over to `clients`, which this package may not import.

The process turns into `python -m clients`, so that it answers to the same process id and to Ctrl-C,
and its exit code is the one that the caller sees.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import cyclopts

Words = Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True, show=False)]

# What is asked for, `--help` included, is for the program that is handed over to.
demo_app = cyclopts.App(name="demo", help_flags=(), version_flags=())
load_app = cyclopts.App(name="load", help_flags=(), version_flags=())


@demo_app.default
def demo(*words: Words) -> None:
    """Tell the story of two technicians and a dispatcher."""
    _become("demo", words)


@load_app.default
def load(*words: Words) -> None:
    """Drive a fleet of devices against a server."""
    _become("load", words)


def _become(program: str, words: tuple[str, ...]) -> None:
    """Turn into a program of `clients`; what was written so far is seen first."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "clients", program, *words])
