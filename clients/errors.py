"""What can go wrong for a client, as one family.

ClientError
├── Unreachable         no usable answer after all attempts; try again later
│   └── TooSlow         the body did not arrive in the time that the server gives it
├── Refused             the server answered with a problem, and says which
│   ├── NotAuthorised   the token is no longer good, and could not be renewed
│   ├── Fenced          this device was revoked
│   ├── ReplicaForked   another copy of this device used the same numbers
│   ├── TooMuch         the body is larger than the server takes
│   ├── EpochChanged    the server was restored; carries what it still knows
│   └── BadCursor       the server does not know its own position any more
├── Unintelligible      the answer is not of the protocol
├── NotEnrolled         the device has no replica yet
├── NotShown            an edit of a record that is not on the screen
├── TooLarge            an edit, or a transaction of edits, that no push could carry
├── HistoryLost         the server forgot mutations which this device keeps no longer
├── NoProgress          the server asks for the same mutations again and again
├── StoreTooNew         the file was written by a later version of the device
└── Unplayable          the server has not the people or the jobs that the story needs
"""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """The root of the family."""


class Unreachable(ClientError):
    """No usable answer after all attempts. Nothing is lost: what was to be sent is kept."""


class TooSlow(Unreachable):
    """The body did not arrive in the time that the server gives it: a smaller one may."""


class Refused(ClientError):
    """The server answered with a problem document."""

    def __init__(self, status: int, code: str, detail: str, document: dict[str, Any]) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.document = document


class NotAuthorised(Refused):
    """The token is no longer good, and could not be renewed: enrol again."""


class Fenced(Refused):
    """This device was revoked; its unsent work is kept until somebody decides about it."""


class ReplicaForked(Refused):
    """Another copy of this device used the same numbers for other work: enrol again.

    The outbox is kept. Enrolling takes the verdicts of what was settled, and numbers anew what never arrived.
    """


class TooMuch(Refused):
    """The body is larger than the server takes: a smaller one may be taken."""


class EpochChanged(Refused):
    """The server was restored from a backup."""


class BadCursor(Refused):
    """The server does not know its own position any more: begin to pull anew."""


class Unintelligible(ClientError):
    """The answer is not of the protocol."""


class NotEnrolled(ClientError):
    """The device has no replica yet: enrol it first."""


class NotShown(ClientError):
    """An edit of a record that is not on the screen."""

    def __init__(self, collection: str, record_id: str) -> None:
        super().__init__(f"{collection} {record_id} is not on this device")


class TooLarge(ClientError):
    """An edit, or a transaction of edits, that no push could carry. It was not made."""


class HistoryLost(ClientError):
    """The server forgot mutations which this device, told that they were safe, keeps no longer."""


class NoProgress(ClientError):
    """The server asks for the same mutations again and again."""


class StoreTooNew(ClientError):
    """The file was written by a later version of the device."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the file has version {found}; this program knows versions up to {known}")


class Unplayable(ClientError):
    """The server has not the people or the jobs that the story needs."""
