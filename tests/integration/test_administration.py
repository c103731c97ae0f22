"""The tasks of an administrator at the command line, each as docs/administration.md tells it."""

from __future__ import annotations

import json
import re
import shlex
import stat
from pathlib import Path

import pytest

from syncserver.__main__ import app
from tests.integration.service import ANA
from tests.integration.test_command_line import KEY, USAGE, fieldsync
from tests.peers import issuer as peer
from tests.peers.issuer import CLIENT, SECRET
from upstream import sealing

SIGNIN = ("signin", "configure", "--client-id", CLIENT, "--role", "planner=dispatcher", "--role", "boss=admin")
LOOPBACK = {"FIELDSYNC_ALLOW_LOOPBACK_VENDORS": "1"}


@pytest.fixture
async def url(bare_url: str) -> str:
    """Give a database with one tenant."""
    assert (await fieldsync(bare_url, "migrate"))[0] == 0
    assert (await fieldsync(bare_url, "tenant", "create", "Acme"))[0] == 0
    return bare_url


async def done(url: str, *words: str, **settings: str) -> str:
    """Run a command that has to succeed, and return what it says."""
    code, told, complaint = await fieldsync(url, *words, **settings)
    assert code == 0, complaint
    return told


async def test_people_and_tokens_are_listed_and_ended(url: str) -> None:
    """Whoever came in can be found, and put out, by what the lists show; no list shows a token."""
    _, token, _, ana = (await done(url, "token", "create", "Ana", "--role", "technician", "--person", ANA)).split()
    made = (await done(url, "token", "create", "Reports", "--role", "readonly", "--days", "30")).split()
    await done(url, "tenant", "create", "Harbour Lifts")

    tenants = await done(url, "tenant", "list")
    persons = await done(url, "person", "list")
    before = await done(url, "token", "list")
    token_id = next(line.split()[0] for line in before.splitlines() if "readonly" in line)
    revoked = await done(url, "token", "revoke", token_id)
    removed = await done(url, "person", "remove", ana)
    after = await done(url, "token", "list")

    assert [line.split(None, 1) for line in tenants.splitlines()[1:]] == [["1", "Acme"], ["2", "Harbour Lifts"]]
    assert [line.split()[0] for line in persons.splitlines()[1:]] == [ANA, made[3]]
    assert len(before.splitlines()) == 3
    assert not {token, made[1]} & set((before + after + revoked).split())
    assert revoked == f"token   {token_id} is revoked"
    assert removed == f"person  {ANA} is removed"
    assert all(len(re.findall(r"\d{4}-\d\d-\d\d", line)) >= 2 for line in after.splitlines()[1:])


async def test_a_person_changes_only_when_that_is_meant(url: str) -> None:
    """A token in another role is refused for somebody who is known, and so is a code for who is no technician."""
    who = ("--person", ANA)
    await done(url, "token", "create", "Ana", "--role", "technician", *who)

    refused = await fieldsync(url, "token", "create", "Ana", "--role", "admin", *who)
    await done(url, "device", "code", ANA)
    await done(url, "token", "create", "Ana", "--role", "technician", *who)
    await done(url, "token", "create", "Ana", "--role", "admin", *who, "--change")
    no_code = await fieldsync(url, "device", "code", ANA)

    assert (refused[0], "add --change" in refused[2]) == (1, True)
    assert (no_code[0], "only a technician" in no_code[2]) == (1, True)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb"])
@pytest.mark.parametrize("words", [("tenant", "create"), ("token", "create", "--role", "readonly")])
async def test_a_name_is_one_that_can_be_shown(words: tuple[str, ...], name: str) -> None:
    """What cannot stand in a list is refused before the database is asked."""
    code, _, told = await fieldsync("postgresql://nobody@127.0.0.1:1/none", *words, name)

    assert (code, "1 to 200 printable characters" in " ".join(told.replace("│", " ").split())) == (USAGE, True)


async def test_what_is_not_there_is_told_in_a_sentence(url: str) -> None:
    """An unknown person, token or tenant, and a token in place of its id, end with one line."""
    _, token, *_ = (await done(url, "token", "create", "Ana", "--role", "admin")).split()

    answers = {
        "no person": await fieldsync(url, "person", "remove", "nobody"),
        "no token ffffff": await fieldsync(url, "token", "revoke", "ffffff"),
        "has no sign-in": await fieldsync(url, "signin", "show"),
        "allowed: backfill_paused": await fieldsync(url, "audit", "--action", "anything"),
        "FIELDSYNC_SECRET_KEYS": await fieldsync(url, "keys", "check", FIELDSYNC_SECRET_KEYS="short"),
    }
    code, _, told = await fieldsync(url, "token", "revoke", token)

    for words, (exit_code, _, complaint) in answers.items():
        assert (exit_code, words in complaint, "Traceback" in complaint) == (1, True, False), complaint
    assert (code, "fieldsync token list" in told) == (USAGE, True)


async def test_a_sign_in_is_set_up_shown_and_taken_away(url: str, tmp_path: Path) -> None:
    """The issuer is asked first; the secret comes from a file and is never shown."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    words = (*SIGNIN, "--secret-file", str(file), "--public-url", "https://sync.example.com")
    async with peer.running() as issuer:
        at = ("--issuer", issuer.url)
        closed = await fieldsync(url, *words, *at)
        told = await done(url, *words, *at, "--domain", "example.com", **LOOPBACK)
        again = await done(url, *words, *at, "--session-hours", "2", **LOOPBACK)
    away = await fieldsync(url, *words, *at, **LOOPBACK)
    unchecked = await fieldsync(url, *words, *at, "--no-check", **LOOPBACK)
    lost = await fieldsync(
        url, *SIGNIN, *at, "--public-url", "https://x.example", "--secret-file", str(tmp_path / "no")
    )
    nowhere = await fieldsync(url, *words, *at, "--tenant", "77", "--no-check", **LOOPBACK)
    shown = await done(url, "signin", "show")

    assert (closed[0], closed[2].partition(":")[0]) == (1, "--issuer")
    assert "https://sync.example.com/v1/auth/callback/1\n" in told
    assert told == again
    assert (away[0], "--no-check" in away[2], unchecked[0]) == (1, True, 0)
    assert (lost[0], lost[2].partition(":")[0]) == (1, "--secret-file")
    assert (nowhere[0], nowhere[2]) == (1, "there is no tenant 77; `fieldsync tenant list` prints those there are")
    assert sealing.key_id(KEY.encode()) in shown
    assert "planner=dispatcher, boss=admin" in shown
    everything = (told, again, shown, *(part for answer in (closed, away, unchecked, nowhere) for part in answer[1:]))
    assert SECRET not in "".join(everything)

    removed = await done(url, "signin", "remove")

    assert "no sign-in any more" in removed
    assert (await fieldsync(url, "signin", "remove"))[0] == 1


async def test_keys_are_rotated_to_the_end(url: str, tmp_path: Path) -> None:
    """Make a key, put it first, wrap anew, check, take the old one away."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    words = (*SIGNIN, "--secret-file", str(file), "--public-url", "https://sync.example.com", "--no-check")
    await done(url, *words, "--issuer", "https://issuer.example.com")

    told = await done(url, "keys", "rotate")
    value = next(line for line in told.splitlines() if line.endswith(f",{KEY}"))
    new = value.partition(",")[0]
    early = await done(url, "keys", "check", FIELDSYNC_SECRET_KEYS=value)
    too_early = await done(url, "keys", "check", FIELDSYNC_SECRET_KEYS=new)
    broken = await fieldsync(url, "keys", "rewrap", FIELDSYNC_SECRET_KEYS=new)
    wrapped = await done(url, "keys", "rewrap", FIELDSYNC_SECRET_KEYS=value)
    late = await done(url, "keys", "check", FIELDSYNC_SECRET_KEYS=value)

    old_id, new_id = sealing.key_id(KEY.encode()), sealing.key_id(new.encode())
    assert len(new) == 64
    assert f"{old_id}: fieldsync keys rewrap first" in early
    assert f"{old_id}: not set, and 1 secrets are sealed with it" in too_early
    assert (broken[0], old_id in broken[2]) == (1, True)
    assert wrapped == f"1 sealed secrets wrapped anew; all depend on the key {new_id}"
    assert f"{old_id}: nothing depends on it; take it away" in late
    assert not {new, KEY} & set(re.split(r"[\s,;:]+", early + too_early + wrapped + late))
    await done(url, "keys", "check", FIELDSYNC_SECRET_KEYS=new)


async def test_a_file_of_keys_gets_the_new_one_in_front(url: str, tmp_path: Path) -> None:
    """As a state folder keeps it: whole, and for its owner alone."""
    file = tmp_path / "secret_keys"
    file.write_text(KEY)
    file.chmod(0o644)

    told = await done(url, "keys", "rotate", "--file", str(file))
    missing = await fieldsync(url, "keys", "rotate", "--file", str(tmp_path / "none"))

    new, old = file.read_text().split(",")
    assert (old, len(new)) == (KEY, 64)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert new not in told
    assert missing[0] == 1


async def test_the_audit_log_is_read_at_the_terminal_and_by_programs(url: str) -> None:
    """Newest first, by action and time; as JSON one object a line."""
    await done(url, "token", "create", "Ana", "--role", "technician", "--person", ANA)
    await done(url, "device", "code", ANA)

    table = (await done(url, "audit")).splitlines()
    lines = [json.loads(line) for line in (await done(url, "audit", "--json", "--action", "code_created")).splitlines()]
    limited = (await done(url, "audit", "--limit", "2")).splitlines()
    none = await done(url, "audit", "--since", "2999-01-01T00:00:00", "--json")

    assert table[0].split() == ["at", "by", "action", "object", "outcome", "request"]
    assert [line.split()[3] for line in table[1:3]] == ["code_created", "token_created"]
    assert [(line["action"], line["object"], line["system"]) for line in lines] == [
        ("code_created", f"person:{ANA}", "operator")
    ]
    assert len(limited) == 3
    assert none == ""


def test_the_page_names_only_commands_that_there_are() -> None:
    """Every command of the page is understood, word by word, by the command line."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "administration.md").read_text(encoding="utf-8")
    told = re.findall(r"^ *\$ fieldsync (.*)$", page, re.MULTILINE)

    assert len(told) >= 15
    for words in told:
        command, *_ = app.parse_args(shlex.split(words), exit_on_error=False, print_error=False)
        assert command is not None, words
