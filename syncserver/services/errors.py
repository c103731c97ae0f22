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
├── StatePathTooLong        the folder's path is longer than the servers can take
└── ServiceAccountMissing   started by root, and there is no account to give the servers to
"""

from __future__ import annotations

from typing import ClassVar, Final


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


class StatePathTooLong(ServiceError):
    """The state folder's path leaves the servers no room for their own file names."""

    code = "state_path_too_long"


class ServiceAccountMissing(ServiceError):
    """Root may not run PostgreSQL, and the machine has no account `nobody`."""

    code = "service_account_missing"


CODES: Final = {
    PostgresNotFound.code: "no PostgreSQL that runs on this machine was found",
    PostgresStartFailed.code: "PostgreSQL was found, but did not come up",
    PostgresDataVersion.code: "the data folder was made by another major version of PostgreSQL",
    PostgresTooOld.code: "the PostgreSQL server is older than the schema needs",
    PostgresUnreachable.code: "the PostgreSQL server named by the user does not answer or refuses the login",
    RedisStartFailed.code: "Valkey or Redis was found, but did not come up",
    RedisUnreachable.code: "the Redis server named by the user does not answer or refuses the login",
    StateFolderInUse.code: "another process works in the state folder and cannot be joined",
    StateFolderBlocked.code: "the account of the database servers cannot enter the state folder",
    StatePathTooLong.code: "the path of the state folder is too long for the database servers",
    ServiceAccountMissing.code: "started by root, but there is no account to run the database servers as",
}
