"""Settings are read once, and what cannot be meant is told by the name of its variable."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest

from replication.packing import Compression
from replication.wire import Limits
from syncserver import settings
from syncserver.commands.upkeep import Rules
from upstream import jsonnet, signing, worker
from upstream.vendors.csv import feed

README = Path(__file__).parents[2] / "README.md"
ENOUGH = {"FIELDSYNC_DATABASE_URL": "postgresql://u:secret@h/d", "FIELDSYNC_SECRET_KEYS": "k" * 32}


def test_two_variables_are_enough() -> None:
    """All others have a value that is right for a start."""
    given = settings.load(ENOUGH)

    assert given.secret_keys == (b"k" * 32,)
    assert (given.host, given.port, given.log_level, given.limits) == ("127.0.0.1", 8_080, "info", Limits())
    assert given.redis_url is given.state_dir is given.catalog is None


def test_every_variable_is_taken(tmp_path: Path) -> None:
    """Each one ends up in its place, in the type that the program works with."""
    file = tmp_path / "c.toml"
    file.touch()

    given = settings.load(
        ENOUGH
        | {
            "FIELDSYNC_SECRET_KEYS": f"{'n' * 40}, {'o' * 40}",
            "FIELDSYNC_REDIS_URL": "redis://h/0",
            "FIELDSYNC_HOST": "0.0.0.0",
            "FIELDSYNC_PORT": "0",
            "FIELDSYNC_WORKER_PORT": "8081",
            "FIELDSYNC_STATE_DIR": str(tmp_path),
            "FIELDSYNC_CATALOG": str(file),
            "FIELDSYNC_LOG_LEVEL": "WARNING",
            "FIELDSYNC_ALLOW_LOOPBACK_VENDORS": "1",
            "FIELDSYNC_EXCHANGE_DIR": str(tmp_path),
        }
        | {settings.COMPRESS: "5", settings.WINDOW: "20"}
        | {name: str(number) for number, name in enumerate(settings.LIMITS.values(), 7)}
        | {name: str(number) for number, name in enumerate(settings.UPKEEP.values(), 20)}
        | {name: str(number) for number, name in enumerate(settings.WORK.values(), 40)}
        | {settings.LEASE: "63"}
        | {name: str(number) for number, name in enumerate(settings.SERVING.values(), 50)}
        | {name: str(number) for number, name in enumerate((*settings.CODE.values(), settings.CODE_CHILDREN), 50)}
    )

    assert given.secret_keys == (b"n" * 40, b"o" * 40)
    assert (given.redis_url, given.host, given.port) == ("redis://h/0", "0.0.0.0", 0)
    assert (given.state_dir, given.catalog, given.log_level) == (tmp_path, file, "warning")
    assert given.allow_loopback_vendors is True
    assert given.exchange_dir == tmp_path
    assert given.worker_port == 8_081
    assert (given.body_seconds_max, given.connections_max) == (50, 51)
    kept = {"answers_days": 22, "credentials_days": 23, "marks_hours": 24}
    kept |= {"inbox_days": 25, "messages_days": 26, "alerts_days": 27}
    assert given.upkeep == Rules(seconds=20, rows=21, **kept)
    assert given.work == worker.Limits(planning=40, carrying=41, tenant=42, lease_seconds=63)
    code = {"processor_ms": 50, "waiting_ms": 51, "memory_bytes": 52, "input_bytes": 53, "output_bytes": 54}
    assert given.code == jsonnet.Limits(**code, children=55)
    assert given.compression == Compression(bytes_min=5, window_log_max=20)
    assert given.limits == Limits(mutations=7, bytes=8, compressed_bytes=9, fields=10, tx=11, page=12, page_bytes=13)


def test_who_is_told_what_is_wrong_is_taken() -> None:
    """An address with its secret, a mail server with sender and recipients, and from when on something is wrong."""
    given = settings.load(
        ENOUGH
        | {
            settings.HOOK_BYTES: "1000",
            settings.DOCUMENT_BYTES: "1000",
            "FIELDSYNC_FILE_BYTES_MAX": "2000",
            "FIELDSYNC_FILE_ROWS_MAX": "20",
            settings.ALERT_WEBHOOK: "https://ops.example/told",
        }
        | {settings.ALERT_SECRET: signing.written(b"s" * 32), settings.SMTP: "smtp://ops:p%40w@mail.example"}
        | {settings.ALERT_FROM: "a@b.example", settings.ALERT_TO: "c@d.example, e@f.example"}
        | {name: str(number) for number, name in enumerate(settings.ALERTS.values(), 60)}
    )
    told, mail = given.alarming, given.alarming.mail

    assert (given.hook_bytes_max, given.files) == (1_000, feed.Limits(bytes=2_000, rows=20))
    assert (told.webhook_url, told.webhook_secret) == ("https://ops.example/told", b"s" * 32)
    assert mail is not None
    assert (mail.host, mail.port, mail.user, mail.password) == ("mail.example", 587, "ops", "p@w")
    assert (mail.sender, mail.recipients, mail.insists) == ("a@b.example", ("c@d.example", "e@f.example"), True)
    assert (told.limits.late_seconds, told.limits.dead_many) == (60, 67)
    assert "p@w" not in repr(told)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"FIELDSYNC_ALERT_WEBHOOK": "https://ops.example"}, "FIELDSYNC_ALERT_SECRET"),
        ({"FIELDSYNC_ALERT_WEBHOOK": "ops.example", "FIELDSYNC_ALERT_SECRET": "whsec_" + "A" * 44}, "ALERT_WEBHOOK"),
        (
            {"FIELDSYNC_ALERT_WEBHOOK": "https://x:99999/", "FIELDSYNC_ALERT_SECRET": "whsec_" + "A" * 44},
            "ALERT_WEBHOOK must name a host",
        ),
        (
            {"FIELDSYNC_ALERT_WEBHOOK": "https://[::1", "FIELDSYNC_ALERT_SECRET": "whsec_" + "A" * 44},
            "ALERT_WEBHOOK must name a host",
        ),
        ({"FIELDSYNC_ALERT_SECRET": "whsec_short"}, "FIELDSYNC_ALERT_SECRET"),
        ({"FIELDSYNC_SMTP_URL": "smtp://mail.example"}, "FIELDSYNC_SMTP_URL"),
        (
            {"FIELDSYNC_SMTP_URL": "http://mail.example", "FIELDSYNC_ALERT_FROM": "a@b", "FIELDSYNC_ALERT_TO": "c@d"},
            "SMTP",
        ),
        ({"FIELDSYNC_HOOK_BYTES_MAX": "0"}, "FIELDSYNC_HOOK_BYTES_MAX"),
        ({"FIELDSYNC_DOCUMENT_BYTES_MAX": "0"}, "FIELDSYNC_DOCUMENT_BYTES_MAX"),
    ],
)
def test_what_cannot_be_told_to_anybody_ends_the_start(given: dict[str, str], named: str) -> None:
    """One sentence that names the variable."""
    with pytest.raises(settings.SettingsInvalid, match=named):
        settings.load(ENOUGH | given)


def test_alerts_may_go_to_an_address_within() -> None:
    """The operator's own receiver often stands beside the worker, and has no certificate."""
    within = "http://alert_manager:9093/told?team=a"

    given = settings.load(ENOUGH | {settings.ALERT_WEBHOOK: within, settings.ALERT_SECRET: signing.written(b"s" * 32)})

    assert given.alarming.webhook_url == within


class Noting(dict[str, str]):
    """An environment that notes which variables it was asked for."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Note the question and answer it."""
        self.asked.add(name)
        return super().get(name, default)


def test_the_known_variables_are_those_that_are_read() -> None:
    """Nothing is read that is not listed, nothing listed that is not read, and what is required is."""
    environment = Noting(ENOUGH)

    settings.load(environment)

    assert environment.asked == set(settings.VARIABLES)
    assert len(settings.VARIABLES) == len(set(settings.VARIABLES))
    assert set(settings.REQUIRED) == set(ENOUGH)


def test_every_variable_is_explained_in_the_readme() -> None:
    """Whoever looks for what can be set finds all of it in one table."""
    rows = re.findall(r"^\| (`FIELDSYNC_.*?`) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"FIELDSYNC_[A-Z_]+", row)]

    assert sorted(named) == sorted(settings.VARIABLES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FIELDSYNC_DATABASE_URL", ""),
        ("FIELDSYNC_DATABASE_URL", "mysql://h/d"),
        ("FIELDSYNC_SECRET_KEYS", ""),
        ("FIELDSYNC_SECRET_KEYS", "short"),
        ("FIELDSYNC_SECRET_KEYS", f"{'k' * 32},"),
        ("FIELDSYNC_REDIS_URL", "h:6379"),
        ("FIELDSYNC_PORT", "http"),
        ("FIELDSYNC_PORT", "65536"),
        ("FIELDSYNC_WORKER_PORT", "-1"),
        ("FIELDSYNC_LEASE_SECONDS", "59"),
        ("FIELDSYNC_ANSWERS_KEPT_DAYS", "-1"),
        ("FIELDSYNC_UPKEEP_SECONDS", "100001"),
        ("FIELDSYNC_CATALOG", "/nowhere/c.toml"),
        ("FIELDSYNC_LOG_LEVEL", "loud"),
        ("FIELDSYNC_ALLOW_LOOPBACK_VENDORS", "perhaps"),
        ("FIELDSYNC_BODY_BYTES_MAX", "-7"),
        ("FIELDSYNC_BODY_SECONDS_MAX", "-7"),
        ("FIELDSYNC_CONNECTIONS_MAX", "all"),
        ("FIELDSYNC_PUSH_MUTATIONS_MAX", "many"),
        ("FIELDSYNC_COMPRESS_BYTES_MIN", "-7"),
        ("FIELDSYNC_ZSTD_WINDOW_LOG_MAX", "28"),
    ],
)
def test_a_wrong_value_is_told_by_name_and_not_shown(name: str, value: str) -> None:
    """The message names the variable; the value may be a secret."""
    with pytest.raises(settings.SettingsInvalid, match=name) as caught:
        settings.load(ENOUGH | {name: value})

    assert not value or value not in str(caught.value).removeprefix(name)


def test_a_lease_that_no_request_fits_in_ends_the_start() -> None:
    """It would make a dead letter of each delivery; the sentence says how long a lease is at least."""
    with pytest.raises(settings.SettingsInvalid, match=r"^FIELDSYNC_LEASE_SECONDS must be .* from 60 to "):
        settings.load(ENOUGH | {"FIELDSYNC_LEASE_SECONDS": "1"})

    assert settings.load(ENOUGH).work.lease_seconds == 120
    assert settings.load(ENOUGH | {"FIELDSYNC_LEASE_SECONDS": "60"}).work.lease_seconds == 60


def test_settings_do_not_show_their_secrets() -> None:
    """They may be printed when a start fails."""
    shown = repr(settings.load(ENOUGH))

    assert "secret" not in shown
    assert "k" * 32 not in shown


def test_the_keys_of_a_development_server_are_kept(tmp_path: Path) -> None:
    """Made once, long enough, and readable by their owner alone."""
    made = settings.keep_secret_keys(tmp_path)

    assert settings.keep_secret_keys(tmp_path) == made
    assert settings.load(ENOUGH | {"FIELDSYNC_SECRET_KEYS": made}).secret_keys == (made.encode(),)
    assert stat.S_IMODE((tmp_path / settings.KEYS_FILE).stat().st_mode) == 0o600
