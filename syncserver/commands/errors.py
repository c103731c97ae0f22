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
├── UnknownConnection  the tenant has no such connection
├── BadConnection      what was given for a connection cannot work
├── ConnectionInUse    a connection that has told or been told something was to be removed
├── UnknownDelivery    the tenant has no such delivery
├── NotDead            a delivery that waits for nobody was to be acted on
├── Overtaken          an old state was to be sent over a newer one
├── StillInDoubt       something was asked for that could make an object twice
├── BadPayload         fields were to be sent that cannot be
├── BadManifest        the description of a system cannot be used
├── MappingUnusable    a mapping cannot be used
├── UnknownMapping     a connection has no such version of its mapping
├── MappingRefused     a version with problems was to be published
├── NotReady           a connection was to go live that has something open
├── CodeUnavailable    the code of a mapping cannot be run just now
├── KeyReused          an Idempotency-Key stands for another request
├── HookRefused        a call that is not a vendor's, or for no connection that takes any
├── TooManyEvents      a vendor's call brings more events than are taken at once
├── UnknownEndpoint    the tenant has no such endpoint
├── BadEndpoint        an endpoint cannot be like that
├── NotDiscovered      it could not be found out which fields an object has there
├── AuthorizationBroken  a sign-in at a system that was begun by somebody else, or too long ago
├── AuthorizationRefused  a system did not let a person in, or gave no token
└── BadFilter          a list was asked for with a field or value that cannot be meant
"""

from __future__ import annotations

from typing import ClassVar


class CommandError(Exception):
    """Something that the caller must hear of. `code` is in docs/errors.md."""

    code: ClassVar[str] = "command_error"

    def __init__(self, message: str, *, retry_after_ms: int | None = None, **members: str | int | list[str]) -> None:
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


class UnknownConnection(CommandError):
    """The tenant has no connection of this id."""

    code = "unknown_connection"


class BadConnection(CommandError):
    """What was given for a connection cannot work; the message names the part."""

    code = "bad_connection"


class ConnectionInUse(CommandError):
    """Something was told to the system, or is on its way: removing it forgets what stands there."""

    code = "connection_in_use"


class UnknownDelivery(CommandError):
    """The tenant has no delivery of this id."""

    code = "unknown_delivery"


class NotDead(CommandError):
    """The delivery waits for nobody: it is on its way, has arrived, or was decided on before."""

    code = "not_dead"


class Overtaken(CommandError):
    """A newer state of the same object is on its way or there."""

    code = "overtaken"


class StillInDoubt(CommandError):
    """Nobody knows whether it stands there, and what was asked for could make it twice."""

    code = "still_in_doubt"


class BadPayload(CommandError):
    """The fields cannot be sent like that; `problems` names each."""

    code = "bad_payload"


class BadManifest(CommandError):
    """The description of a system cannot be used; `problems` says where."""

    code = "bad_manifest"


class MappingUnusable(CommandError):
    """The mapping cannot be used; `problems` says where."""

    code = "mapping_unusable"


class UnknownMapping(CommandError):
    """The connection has no such version of its mapping."""

    code = "unknown_mapping"


class MappingRefused(CommandError):
    """The version has problems; `problems` names them."""

    code = "mapping_refused"


class NotReady(CommandError):
    """Something is open that has to be seen to before the connection goes live; `problems` says what."""

    code = "not_ready"


class CodeUnavailable(CommandError):
    """The code of the mapping cannot be run just now."""

    code = "code_unavailable"


class KeyReused(CommandError):
    """The Idempotency-Key stands for another request of the same person."""

    code = "idempotency_key_reused"


class HookRefused(CommandError):
    """A call that is not a vendor's, or not for a connection that takes any; which of the two is not told."""

    code = "hook_refused"


class TooManyEvents(CommandError):
    """A call brings more events than are taken at once."""

    code = "too_many_events"


class UnknownEndpoint(CommandError):
    """The tenant has no endpoint of this id."""

    code = "unknown_endpoint"


class BadEndpoint(CommandError):
    """An endpoint cannot be like that; the message names the part."""

    code = "bad_endpoint"


class NotDiscovered(CommandError):
    """It could not be found out which fields an object has there."""

    code = "not_discovered"


class AuthorizationBroken(CommandError):
    """What came back belongs to no sign-in at a system that this person began lately."""

    code = "authorization_broken"


class AuthorizationRefused(CommandError):
    """The system did not let the person in, or gave no token for its code."""

    code = "authorization_refused"
