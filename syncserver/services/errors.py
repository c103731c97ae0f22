"""What can go wrong before a server answers, each with the code under which docs/errors.md explains it.

ServiceError
├── PostgresNotFound        no PostgreSQL that runs here
├── PostgresStartFailed     found, but it did not come up
├── PostgresDataVersion     the data folder belongs to another major version
├── PostgresTooOld          older than the schema needs
├── PostgresUnreachable     the user's own server does not answer
├── RedisStartFailed        found, but it did not come up
├── RedisUnreachable        the user's own server does not answer
├── StateFolderInUse        somebody holds the folder and does not let go
├── StateFolderBlocked      the account of the servers cannot enter the folder
├── StateFolderForeign      the folder belongs to another user
├── StatePathTooLong        the folder's path is longer than the servers can take
└── ServiceAccountMissing   started by root, and there is no account to give the servers to
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """A database server could not be had; the message says what was tried and what to do."""

    code: ClassVar[str]


class PostgresNotFound(ServiceError):
    """No PostgreSQL was found that runs on this machine."""

    code = "postgres_not_found"


class PostgresStartFailed(ServiceError):
    """PostgreSQL was found, but its cluster could not be made or it did not come up."""

    code = "postgres_start_failed"


class PostgresDataVersion(ServiceError):
    """The data folder was made by a major version that is not to be had here."""

    code = "postgres_data_version"


class PostgresTooOld(ServiceError):
    """The server is older than the schema can work with."""

    code = "postgres_too_old"


class PostgresUnreachable(ServiceError):
    """The PostgreSQL the user named does not answer, or does not let us in."""

    code = "postgres_unreachable"


class RedisStartFailed(ServiceError):
    """Valkey or Redis was found, but did not come up."""

    code = "redis_start_failed"


class RedisUnreachable(ServiceError):
    """The Redis the user named does not answer, or does not let us in."""

    code = "redis_unreachable"


class StateFolderInUse(ServiceError):
    """Another process works in the folder, cannot be joined and does not end."""

    code = "state_folder_in_use"


class StateFolderBlocked(ServiceError):
    """A parent of the state folder is closed to the account the servers run as."""

    code = "state_folder_blocked"


class StateFolderForeign(ServiceError):
    """The state folder belongs to another user, who has to be the one to start fieldsync on it."""

    code = "state_folder_foreign"


class StatePathTooLong(ServiceError):
    """The state folder's path leaves the servers no room for their own file names."""

    code = "state_path_too_long"


class ServiceAccountMissing(ServiceError):
    """Root may not run PostgreSQL, and the machine has no account `nobody`."""

    code = "service_account_missing"
