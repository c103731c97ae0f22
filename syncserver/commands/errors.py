"""Why a command gave no answer, as a family. What a mutation met is a verdict and never an error.

CommandError
├── Overloaded         more work is waiting than the queue takes; try again
├── Unavailable        the database could not be reached, or the server is stopping; try again
├── SubmissionFailed   a fault of ours in this submission alone; the rest of its group went on
├── UnknownReplica     the tenant has no such replica
├── NoCatalogue        the tenant has no catalogue yet, so nothing can be judged
├── UnknownCollection  the tenant's catalogue has no such collection
├── NotFound           the name belongs to the service's own routes, and none is there
├── UnknownRecord      the record is not known, or not the person's to see
├── RecordDeleted      a person's word on a cell of a record that was deleted since
├── UnknownTechnician  a work order given to somebody who is no technician of the tenant
├── BadMutation        a write whose values contradict each other
├── UnknownConflict    there is no conflict entry of this id
├── ConflictOpen       an undo of a conflict that still waits for a person
├── ConflictDecided    a settling of a conflict that does not wait
├── NothingToRestore   an undo of a merge in which nothing was lost
├── UnknownHeld        there is no held mutation of this id
├── NotWaiting         a held mutation that was released or discarded before
├── EnrolmentRefused   the enrolment code is unknown, used up or too old
├── RefreshRefused     the refresh token is unknown, revoked or too old
├── Fenced             the replica was revoked
├── ReplicaForked      a number that was settled stands for another mutation
├── EpochChanged       the push, or its cursor, is of another epoch
├── ScopeChanged       a catalogue that changes who holds the records that are there
├── SignInNotConfigured  the tenant's people do not sign in here
├── SignInBroken       the sign-in was begun in another browser, too long ago, or not at all
├── SignInDenied       the issuer did not let the person in
├── SignInUntrusted    what the issuer gave for the sign-in fails a check
├── SignInNotAllowed   the issuer knows the person, but they have no place here
├── IssuerFailed       the issuer could not be asked, or said what cannot be meant
├── SignInInvalid      a sign-in cannot be set up like that
├── NoSession          the token is of no session, so there is none to end or to hand on
├── KeysMissing        a secret was sealed with a key that is not set
└── BadFilter          a list was asked for with a field or value that cannot be meant
"""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """Something that the caller must hear of. `code` is in docs/errors.md."""

    code: ClassVar[str] = "command_error"

    def __init__(self, message: str, *, retry_after_ms: int | None = None, **members: str | int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms
        self.members = members


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


class UnknownCollection(CommandError):
    """The catalogue has no collection of this name; the message lists those there are."""

    code = "unknown_collection"


class NotFound(CommandError):
    """No collection may bear this name, because the service keeps it for itself."""

    code = "not_found"


class UnknownRecord(CommandError):
    """The record is not known, or the person may not see it; which of the two is not told."""

    code = "unknown_record"


class RecordDeleted(CommandError):
    """The record was deleted: a write of one of its cells would bring it back unasked."""

    code = "record_deleted"


class UnknownTechnician(CommandError):
    """The tenant has no living technician of this id."""

    code = "unknown_technician"


class BadMutation(CommandError):
    """The values of the write cannot hold together."""

    code = "bad_mutation"


class UnknownConflict(CommandError):
    """There is no conflict entry of this id."""

    code = "unknown_conflict"


class ConflictOpen(CommandError):
    """The conflict waits for a person: settle it, there is nothing to undo."""

    code = "conflict_open"


class ConflictDecided(CommandError):
    """The conflict was decided by a rule: undo it, there is nothing to settle."""

    code = "conflict_decided"


class NothingToRestore(CommandError):
    """The conflict was merged from operations: nothing was lost, so nothing can be put back."""

    code = "nothing_to_restore"


class UnknownHeld(CommandError):
    """There is no held mutation of this id."""

    code = "unknown_held"


class NotWaiting(CommandError):
    """The held mutation does not wait any more: somebody released or discarded it before."""

    code = "not_waiting"


class EnrolmentRefused(CommandError):
    """The enrolment code is unknown, used up or too old."""

    code = "enrolment_refused"


class RefreshRefused(CommandError):
    """The refresh token is unknown, revoked or too old."""

    code = "refresh_refused"


class Fenced(CommandError):
    """The replica was revoked: nothing that it sends is taken."""

    code = "fenced"


class ReplicaForked(CommandError):
    """A number of this replica stands for another mutation than the one that was settled."""

    code = "replica_forked"


class EpochChanged(CommandError):
    """The server counts anew: bases and positions of the other epoch mean nothing here."""

    code = "epoch_changed"


class ScopeChanged(CommandError):
    """A new catalogue changes who holds records that are there already; the message says where."""

    code = "scope_changed"


class BadFilter(CommandError):
    """A list cannot be filtered by this field, or by this value."""

    code = "bad_filter"


class SignInNotConfigured(CommandError):
    """There is no such tenant, or it has no issuer; which of the two is not told."""

    code = "signin_not_configured"


class SignInBroken(CommandError):
    """The answer of the issuer belongs to no sign-in that this browser began lately."""

    code = "signin_broken"


class SignInDenied(CommandError):
    """The issuer sent the person back without letting them in."""

    code = "signin_denied"


class SignInUntrusted(CommandError):
    """What the issuer gave for the sign-in fails a check; the message names the part."""

    code = "signin_untrusted"


class SignInNotAllowed(CommandError):
    """The person has no role here, an address of another company, or was removed."""

    code = "signin_not_allowed"


class IssuerFailed(CommandError):
    """The issuer is away or slow, may not be asked, or cannot be understood."""

    code = "signin_issuer_failed"


class SignInInvalid(CommandError):
    """A sign-in cannot be set up like that; the message names the option."""

    code = "signin_invalid"


class NoSession(CommandError):
    """The token was made by an administrator or for a device; only sessions end by signing out."""

    code = "no_session"


class KeysMissing(CommandError):
    """A secret was sealed with a key that FIELDSYNC_SECRET_KEYS does not have."""

    code = "keys_missing"
