"""What the environment says, read once into one frozen struct.

Every variable is named FIELDSYNC_…; a value that cannot be meant ends the start with a sentence
that names its variable. Everything has a limit with a name, and here is where limits are set.
"""

from __future__ import annotations

import os
import re
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec

from replication.packing import WINDOW_LOG_MAX, Compression
from replication.wire import Limits
from syncserver.commands.upkeep import Rules
from syncserver.commands.upstream import alarming
from syncserver.commands.upstream.alarming import Alarming
from upstream import addresses, jsonnet, worker
from upstream.sinks import Place
from upstream.vendors.csv import feed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LogLevel = Literal["debug", "info", "warning", "error"]

HOST: Final = "127.0.0.1"
PORT: Final = 8_080
KEY_CHARACTERS_MIN: Final = 32
KEYS_FILE: Final = "secret_keys"
LIMIT_MAX: Final = 2**30
UPKEEP_MAX: Final = 100_000

LIMITS: Final = {
    "mutations": "FIELDSYNC_PUSH_MUTATIONS_MAX",
    "bytes": "FIELDSYNC_BODY_BYTES_MAX",
    "compressed_bytes": "FIELDSYNC_COMPRESSED_BYTES_MAX",
    "fields": "FIELDSYNC_MUTATION_FIELDS_MAX",
    "tx": "FIELDSYNC_TX_MUTATIONS_MAX",
    "page": "FIELDSYNC_PAGE_CHANGES_MAX",
    "page_bytes": "FIELDSYNC_PAGE_BYTES_MAX",
}
"""The variable that sets each of the limits that devices are told."""

WINDOW: Final = "FIELDSYNC_ZSTD_WINDOW_LOG_MAX"
WINDOW_LOGS: Final = range(10, 28)
"""The logarithms of the narrowest window that zstd has and of the widest that may be read: 128 MB."""

COMPRESS: Final = "FIELDSYNC_COMPRESS_BYTES_MIN"

UPKEEP: Final = {
    "seconds": "FIELDSYNC_UPKEEP_SECONDS",
    "rows": "FIELDSYNC_UPKEEP_ROWS_MAX",
    "answers_days": "FIELDSYNC_ANSWERS_KEPT_DAYS",
    "credentials_days": "FIELDSYNC_CREDENTIALS_KEPT_DAYS",
    "marks_hours": "FIELDSYNC_MARKS_KEPT_HOURS",
    "inbox_days": "FIELDSYNC_INBOX_KEPT_DAYS",
    "messages_days": "FIELDSYNC_MESSAGES_KEPT_DAYS",
    "alerts_days": "FIELDSYNC_ALERTS_KEPT_DAYS",
}
"""The variable that sets each of the worker's rules: how often, how much at once, how long things are kept."""

WORK: Final = {
    "planning": "FIELDSYNC_PLANNING_MAX",
    "carrying": "FIELDSYNC_CARRYING_MAX",
    "tenant": "FIELDSYNC_TENANT_CARRYING_MAX",
}
"""The variable that sets how much a worker plans and carries at once, and how much of it for one tenant."""
WORK_MAX: Final = 10_000
LEASE: Final = "FIELDSYNC_LEASE_SECONDS"
LEASE_MIN: Final = 60
"""Twice what a request may take where its manifest says nothing: only what may take longer has its lease prolonged."""
LEASE_MAX: Final = 10_000

CODE: Final = {
    "processor_ms": "FIELDSYNC_CODE_MS_MAX",
    "waiting_ms": "FIELDSYNC_CODE_WAITING_MS_MAX",
    "memory_bytes": "FIELDSYNC_CODE_MEMORY_BYTES_MAX",
    "input_bytes": "FIELDSYNC_CODE_INPUT_BYTES_MAX",
    "output_bytes": "FIELDSYNC_CODE_OUTPUT_BYTES_MAX",
}
"""The variable that sets what the code in a mapping may take."""
CODE_CHILDREN: Final = "FIELDSYNC_CODE_CHILDREN"
CODE_CHILDREN_MAX: Final = 64

HOOK_BYTES: Final = "FIELDSYNC_HOOK_BYTES_MAX"
HOOK_BYTES_MAX: Final = 1_048_576
"""The largest call of a vendor that is taken."""

DOCUMENT_BYTES: Final = "FIELDSYNC_DOCUMENT_BYTES_MAX"
DOCUMENT_BYTES_MAX: Final = 8_388_608
"""The largest OpenAPI document that is taken, with what is chosen of it."""

FILES: Final = {"bytes": "FIELDSYNC_FILE_BYTES_MAX", "rows": "FIELDSYNC_FILE_ROWS_MAX"}
"""The variable that sets how large a file of rows may be that is taken, and how many rows it may have."""

SERVING: Final = {"body_seconds_max": "FIELDSYNC_BODY_SECONDS_MAX", "connections_max": "FIELDSYNC_CONNECTIONS_MAX"}
"""The variable that sets for how long a body is waited for, and how many connections one server process has."""
SERVING_MAX: Final = 100_000

ALERT_WEBHOOK: Final = "FIELDSYNC_ALERT_WEBHOOK"
ALERT_SECRET: Final = "FIELDSYNC_ALERT_SECRET"  # noqa: S105  (the name of a variable)
SMTP: Final = "FIELDSYNC_SMTP_URL"
ALERT_FROM: Final = "FIELDSYNC_ALERT_FROM"
ALERT_TO: Final = "FIELDSYNC_ALERT_TO"
ALERTS: Final = {
    "late_seconds": "FIELDSYNC_ALERT_LATE_SECONDS",
    "very_late_seconds": "FIELDSYNC_ALERT_VERY_LATE_SECONDS",
    "expiry_days": "FIELDSYNC_ALERT_EXPIRY_DAYS",
    "urgent_expiry_days": "FIELDSYNC_ALERT_URGENT_EXPIRY_DAYS",
    "silence_seconds": "FIELDSYNC_ALERT_SILENCE_SECONDS",
    "silence_pieces_min": "FIELDSYNC_ALERT_SILENCE_PIECES_MIN",
    "inbox_seconds": "FIELDSYNC_ALERT_INBOX_SECONDS",
    "dead_many": "FIELDSYNC_ALERT_DEAD_MANY",
}
"""The variable that sets from when on something is wrong."""

REQUIRED: Final = ("FIELDSYNC_DATABASE_URL", "FIELDSYNC_SECRET_KEYS")
VARIABLES: Final = (
    *REQUIRED,
    "FIELDSYNC_REDIS_URL",
    "FIELDSYNC_HOST",
    "FIELDSYNC_PORT",
    "FIELDSYNC_WORKER_PORT",
    "FIELDSYNC_STATE_DIR",
    "FIELDSYNC_CATALOG",
    "FIELDSYNC_LOG_LEVEL",
    "FIELDSYNC_ALLOW_LOOPBACK_VENDORS",
    "FIELDSYNC_EXCHANGE_DIR",
    *LIMITS.values(),
    COMPRESS,
    WINDOW,
    *UPKEEP.values(),
    *WORK.values(),
    LEASE,
    *CODE.values(),
    CODE_CHILDREN,
    HOOK_BYTES,
    DOCUMENT_BYTES,
    *FILES.values(),
    *SERVING.values(),
    ALERT_WEBHOOK,
    ALERT_SECRET,
    SMTP,
    ALERT_FROM,
    ALERT_TO,
    *ALERTS.values(),
)
"""Every variable that is read; a test holds this to what `load` reads."""
PREFIX: Final = "FIELDSYNC_"
OTHERS: Final = frozenset(("FIELDSYNC_CACHE_DIR", "FIELDSYNC_TEST_POSTGRES"))
"""What `run.py` and the tests read, and hand on to what they start."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(:\d{0,5})?")

T = TypeVar("T")


class SettingsInvalid(Exception):
    """An environment variable is missing or cannot be meant; the message names it."""

    code: ClassVar[str] = "settings_invalid"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the environment decides. The first of `secret_keys` seals, all of them open.

    At `worker_port` a worker tells how it is; 0 is nowhere. Below `exchange_dir` connections may put files and
    fetch them; without it none may.
    """

    database_url: str
    secret_keys: tuple[bytes, ...]
    redis_url: str | None = None
    host: str = HOST
    port: int = PORT
    worker_port: int = 0
    state_dir: Path | None = None
    catalog: Path | None = None
    log_level: LogLevel = "info"
    allow_loopback_vendors: bool = False
    exchange_dir: Path | None = None
    limits: Limits = Limits()
    compression: Compression = Compression()
    upkeep: Rules = Rules()
    hook_bytes_max: int = HOOK_BYTES_MAX
    document_bytes_max: int = DOCUMENT_BYTES_MAX
    files: feed.Limits = feed.Limits()
    body_seconds_max: int = 30
    connections_max: int = 4_000
    alarming: Alarming = Alarming()
    work: worker.Limits = worker.Limits()
    code: jsonnet.Limits = jsonnet.Limits()

    def __repr__(self) -> str:
        """Return a text without the secrets: settings are shown when a start fails."""
        return f"Settings(host={self.host!r}, port={self.port}, log_level={self.log_level!r})"


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings, or raise `SettingsInvalid`."""
    return Settings(
        database_url=database_url(environ),
        secret_keys=secret_keys(environ=environ),
        redis_url=_given(environ, "FIELDSYNC_REDIS_URL", _redis_url, None),
        host=environ.get("FIELDSYNC_HOST") or HOST,
        port=_given(environ, "FIELDSYNC_PORT", _port, PORT),
        worker_port=_given(environ, "FIELDSYNC_WORKER_PORT", _port, 0),
        state_dir=_given(environ, "FIELDSYNC_STATE_DIR", _path, None),
        catalog=_given(environ, "FIELDSYNC_CATALOG", _file, None),
        log_level=_given(environ, "FIELDSYNC_LOG_LEVEL", _log_level, "info"),
        allow_loopback_vendors=_given(environ, "FIELDSYNC_ALLOW_LOOPBACK_VENDORS", _switch, default=False),
        exchange_dir=_given(environ, "FIELDSYNC_EXCHANGE_DIR", _path, None),
        limits=Limits(**_numbers(environ, LIMITS, LIMIT_MAX)),
        compression=_compression(environ),
        upkeep=Rules(**_numbers(environ, UPKEEP, UPKEEP_MAX)),
        hook_bytes_max=_numbers(environ, {"bytes": HOOK_BYTES}, LIMIT_MAX).get("bytes", HOOK_BYTES_MAX),
        document_bytes_max=_numbers(environ, {"bytes": DOCUMENT_BYTES}, LIMIT_MAX).get("bytes", DOCUMENT_BYTES_MAX),
        files=feed.Limits(**_numbers(environ, FILES, LIMIT_MAX)),
        alarming=_alarming(environ),
        **_numbers(environ, SERVING, SERVING_MAX),
        work=_work(environ),
        code=_code(environ),
    )


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of variables that look like ours and that nobody reads."""
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in OTHERS.union(VARIABLES))


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return where the database is: all that the commands need which never serve."""
    return _parsed("FIELDSYNC_DATABASE_URL", _required(environ, "FIELDSYNC_DATABASE_URL"), _postgres_url)


def secret_keys(text: str | None = None, *, environ: Mapping[str, str] = os.environ) -> tuple[bytes, ...]:
    """Return the keys that a text holds; without one, those of the environment."""
    return _keys(text or _required(environ, "FIELDSYNC_SECRET_KEYS"))


def keep_secret_keys(state_dir: Path) -> str:
    """Return the keys kept in the state directory, making one the first time; for development."""
    file = state_dir / KEYS_FILE
    if not file.exists():
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(KEY_CHARACTERS_MIN))
    return file.read_text(encoding="ascii").strip()


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise SettingsInvalid(f"{name} is not set")
    return value


def _given(environ: Mapping[str, str], name: str, parse: Callable[[str], T], default: T) -> T:
    value = environ.get(name)
    return _parsed(name, value, parse) if value else default


def _parsed(name: str, value: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(value)
    except ValueError as exc:
        # The value itself is not shown: some of them are secrets.
        raise SettingsInvalid(f"{name} {exc}") from None


def _postgres_url(value: str) -> str:
    if not value.startswith(("postgres://", "postgresql://")):
        raise ValueError("must be a URL that begins with postgresql://")
    # A password with a slash would be taken for a port, and quoted by whoever finds that it is none.
    hosts = re.split(r"[/?#]", value.partition("://")[2])[0].rpartition("@")[2]
    if any(_HOST.fullmatch(host) is None for host in hosts.split(",")):
        raise ValueError("must name its hosts as HOST or HOST:PORT; in a password write / as %2F, @ as %40, # as %23")
    return value


def _redis_url(value: str) -> str:
    if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must be a URL that begins with redis://, rediss:// or unix://")
    return value


def _keys(value: str) -> tuple[bytes, ...]:
    keys = tuple(key.strip() for key in value.split(","))
    if any(len(key) < KEY_CHARACTERS_MIN for key in keys):
        raise SettingsInvalid(
            f"FIELDSYNC_SECRET_KEYS must be keys of at least {KEY_CHARACTERS_MIN} characters, separated by commas"
        )
    return tuple(key.encode() for key in keys)


def _port(value: str) -> int:
    if not value.isdecimal() or not 0 <= int(value) <= 65_535:
        raise ValueError("must be a port, 0 to 65535")
    return int(value)


def _path(value: str) -> Path:
    return Path(value).absolute()


def _file(value: str) -> Path:
    if not Path(value).is_file():
        raise ValueError("must be the path of a file that exists")
    return Path(value).absolute()


def _log_level(value: str) -> LogLevel:
    levels: tuple[LogLevel, ...] = get_args(LogLevel)
    for level in levels:
        if level == value.lower():
            return level
    raise ValueError(f"must be one of {', '.join(levels)}")


def _switch(value: str) -> bool:
    switches = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if value.lower() not in switches:
        raise ValueError("must be 1 or 0")
    return switches[value.lower()]


def _compression(environ: Mapping[str, str]) -> Compression:
    window = _given(environ, WINDOW, _window_log, WINDOW_LOG_MAX)
    return Compression(**_numbers(environ, {"bytes_min": COMPRESS}, LIMIT_MAX), window_log_max=window)


def _alarming(environ: Mapping[str, str]) -> Alarming:
    """Return who is told what is wrong; a webhook needs a secret, a mail server a sender and recipients."""
    # The operator's own address may be within, where nobody has a certificate.
    url = _given(environ, ALERT_WEBHOOK, partial(addresses.checked, allow_plain=True), None)
    secret = _given(environ, ALERT_SECRET, alarming.secret, b"")
    if url is not None and not secret:
        raise SettingsInvalid(f"{ALERT_SECRET} is not set, and what {ALERT_WEBHOOK} is told has to be signed")

    sender, recipients = environ.get(ALERT_FROM, ""), environ.get(ALERT_TO, "")

    def mail(value: str) -> Place:
        return alarming.mail(value, sender, recipients)

    numbers = _numbers(environ, ALERTS, LIMIT_MAX)
    limits = msgspec.structs.replace(Alarming().limits, **numbers)
    return Alarming(webhook_url=url, webhook_secret=secret, mail=_given(environ, SMTP, mail, None), limits=limits)


def _window_log(value: str) -> int:
    if not value.isdecimal() or int(value) not in WINDOW_LOGS:
        raise ValueError(f"must be a whole number from {WINDOW_LOGS.start} to {WINDOW_LOGS.stop - 1}")
    return int(value)


def _work(environ: Mapping[str, str]) -> worker.Limits:
    lease = _numbers(environ, {"lease_seconds": LEASE}, LEASE_MAX, least=LEASE_MIN)
    return worker.Limits(**_numbers(environ, WORK, WORK_MAX), **lease)


def _code(environ: Mapping[str, str]) -> jsonnet.Limits:
    children = _numbers(environ, {"children": CODE_CHILDREN}, CODE_CHILDREN_MAX)
    return jsonnet.Limits(**_numbers(environ, CODE, LIMIT_MAX), **children)


def _numbers(environ: Mapping[str, str], names: Mapping[str, str], most: int, *, least: int = 1) -> dict[str, int]:
    """Return what is given of numbers that each have a variable; the others keep their defaults."""

    def number(value: str) -> int | None:
        if not value.isdecimal() or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    given = {key: _given(environ, name, number, None) for key, name in names.items()}
    return {key: value for key, value in given.items() if value is not None}
