"""Why a development start ends: each with what to do."""

from __future__ import annotations


class DevError(Exception):
    """The development server cannot start, or not go on."""

    code = "dev_failed"


class ServerDied(DevError):
    """The server's process ended, or never answered; the message has the end of its log."""

    code = "server_died"


class NotOurFolder(DevError):
    """`--fresh` was asked for a folder that no development start has made."""

    code = "not_a_state_folder"


class AlreadyRuns(DevError):
    """Another development start works in the state folder."""

    code = "dev_already_runs"


class PortTaken(DevError):
    """The server cannot listen where it was told to."""

    code = "port_taken"
