"""The failures of the store, as a family.

StoreError
├── WallMissing        the database user would not be bound by row-level security
├── MigrationChanged   a migration that was applied reads differently now
├── MigrationUnknown   the database was migrated by a newer release
├── EnrolmentRefused   an enrolment code that is unknown, used up or too old
├── NoSuchPerson       a token or code for somebody the tenant does not know
├── NotATechnician     a code for somebody whose role has no devices
├── PersonDiffers      the id is that of somebody with another name or role
├── NoSuchToken        the tenant has no such token that still opens something
├── AmbiguousToken     several tokens begin with what was given of the id
└── NoSuchTenant       there is no tenant of this number
"""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """Something about the store that the caller has to decide. `code` is in docs/errors.md."""

    code: ClassVar[str] = "store_error"


class WallMissing(StoreError):
    """The database user bypasses row-level security and there is no role to step down to."""

    code = "wall_missing"


class MigrationChanged(StoreError):
    """A migration that was applied has another content now."""

    code = "migration_changed"


class MigrationUnknown(StoreError):
    """The database has a migration that this release does not know."""

    code = "migration_unknown"


class EnrolmentRefused(StoreError):
    """The enrolment code is unknown, used up or too old."""

    code = "enrolment_refused"


class NoSuchPerson(StoreError):
    """The tenant has no person of this id."""

    code = "no_such_person"


class NotATechnician(StoreError):
    """Only technicians carry devices: what a device may do is what a technician may."""

    code = "not_a_technician"


class PersonDiffers(StoreError):
    """The id is that of somebody with another name or role, and nobody said that they change."""

    code = "person_differs"


class NoSuchToken(StoreError):
    """The tenant has no such token, or it has ended."""

    code = "no_such_token"


class AmbiguousToken(StoreError):
    """What was given of a token's id fits several."""

    code = "ambiguous_token"


class NoSuchTenant(StoreError):
    """There is no tenant of this number."""

    code = "no_such_tenant"
