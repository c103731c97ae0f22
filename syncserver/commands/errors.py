"""Why a command gave no answer, as a family. What a mutation met is a verdict and never an error.

CommandError
├── Overloaded         more work is waiting than the queue takes; try again
├── Unavailable        the database could not be reached, or the server is stopping; try again
├── SubmissionFailed   a fault of ours in this submission alone; the rest of its group went on
├── UnknownReplica     the tenant has no such replica
└── NoCatalogue        the tenant has no catalogue yet, so nothing can be judged
"""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """Something that the caller must hear of. `code` is in docs/errors.md."""

    code: ClassVar[str] = "command_error"

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Overloaded(CommandError):
    """The queue is full: nothing of the submission was looked at."""

    code = "overloaded"


class Unavailable(CommandError):
    """The submission may or may not have been settled; sent again, it is settled once."""

    code = "unavailable"


class SubmissionFailed(CommandError):
    """The submission could not be judged or stored, alone, for a reason that lasts."""

    code = "submission_failed"


class UnknownReplica(CommandError):
    """The tenant has no replica of this number."""

    code = "unknown_replica"


class NoCatalogue(CommandError):
    """The tenant has no catalogue."""

    code = "no_catalogue"
