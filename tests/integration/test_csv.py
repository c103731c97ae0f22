"""Rows in files, over a folder and over SFTP: each row handed over once, each file taken once."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
from types import SimpleNamespace

import paramiko
import pytest

from tests.peers import sftp
from upstream import vendors
from upstream.vendors.csv import feed, hooks, places
from upstream.vendors.csv.places import Unreachable

ROW = {"mark": "FSAAAAAAAAAAAAAAAA", "id": "7", "hours": "7.500", "note": 'two "halves", one; line'}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let a file go as soon as its rows are there, and take one as soon as it is seen."""
    monkeypatch.setattr(hooks, "BATCH_SECONDS", 0.05)
    monkeypatch.setattr(hooks, "SETTLED_SECONDS", 0.0)


@pytest.fixture
def server(tmp_path):
    """Give an SFTP server with an empty folder."""
    (tmp_path / "1").mkdir()
    with sftp.serving(tmp_path / "1") as made:
        yield made


def over_sftp(server, given=None, **config):
    """Return what speaks to the server."""
    named = {"host": "127.0.0.1", "port": str(server.port), "host_key": server.key_line, "folder": "firm"}
    given = {"user": sftp.USER, "password": sftp.PASSWORD} if given is None else given
    return _caller(given, named | config)


def over_folder(tmp_path, tenant=1, **config):
    """Return what uses a folder, which lies in the tenant's part of the one that was set aside."""
    return _caller({}, {"folder": "firm"} | config, str(tmp_path), tenant)


def _caller(given, config, exchange_dir="", tenant=1):
    async def credential():
        return SimpleNamespace(given=given)

    inner = SimpleNamespace(place=(tenant, config["folder"] + config.get("port", "")), allow_loopback=True)
    inner.credential = credential
    return vendors.dressed("csv", inner, config, exchange_dir=exchange_dir)


@pytest.fixture(params=["folder", "sftp"])
def caller(request, tmp_path):
    """Give both ways to the same files."""
    if request.param == "folder":
        (tmp_path / "1").mkdir()
        yield over_folder(tmp_path)
    else:
        yield over_sftp(request.getfixturevalue("server"))


def out(tmp_path):
    """Return the rows of all files that are vouched for, in order, checked as whoever fetches would."""
    found = []
    for manifest in sorted((tmp_path / "1" / "firm" / "out").glob("*.manifest.json")):
        told = json.loads(manifest.read_text())
        file = manifest.with_name(told["file"])
        assert hashlib.sha256(file.read_bytes()).hexdigest() == told["sha256"]
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert (len(rows), file.stat().st_size) == (told["rows"], told["bytes"])
        found += rows
    return found


def marks_of_all_files(tmp_path):
    """Return the marks of all rows that lie there, vouched for or not."""
    found = []
    for file in (tmp_path / "1" / "firm" / "out").glob("[!.]*.csv"):
        with file.open(newline="") as lines:
            found += [row["mark"] for row in csv.DictReader(lines)]
    return found


def bring(tmp_path, name, text, *, manifest=None):
    """Put a file where it is taken from."""
    folder = tmp_path / "1" / "firm" / "in"
    folder.mkdir(parents=True, exist_ok=True)
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    if manifest is not None:
        whole = {"file": name, "rows": 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / f"{name}.manifest.json").write_text(json.dumps(whole | manifest))


async def taken(caller, name="customers"):
    """Return the rows of all files that wait, and how reading ended."""
    rows, kinds = [], set()
    async for reply in caller.pages(f"list_{name}", {"since": ""}):
        rows += reply.items
        kinds.add(reply.kind)
    return rows, kinds


def files(tmp_path, folder):
    """Return the names of the files in a folder."""
    there = tmp_path / "1" / "firm" / folder
    return sorted(each.name for each in there.iterdir()) if there.exists() else []


async def test_rows_of_a_moment_go_into_one_file(caller, tmp_path):
    """Whatever is in a cell comes out again, and the manifest vouches for the file."""
    told = [{**ROW, "mark": f"FS{number:016d}", "id": str(number)} for number in range(20)]
    answers = await asyncio.gather(*(caller.call("put_hours", row) for row in told))

    assert {reply.kind for reply in answers} == {"ok"}
    assert out(tmp_path) == [{"action": "upsert", **row} for row in told]
    assert len(files(tmp_path, "out")) == 2
    assert not any(name.startswith(".") for name in files(tmp_path, "out"))


async def test_what_was_handed_over_is_found_again(caller):
    """The manifests tell whether a row was handed over as it is, as something else, or not at all."""
    assert (await caller.call("find_hours", ROW)).kind == "not_found"
    await caller.call("put_hours", ROW)
    same, other = await caller.call("find_hours", ROW), await caller.call("find_hours", {**ROW, "hours": "8.000"})

    assert same.items == [ROW]
    assert other.items == [{"mark": ROW["mark"]}]
    await caller.call("put_hours", {**ROW, "hours": "8.000"})
    assert (await caller.call("find_hours", {**ROW, "hours": "8.000"})).items[0]["hours"] == "8.000"


async def test_what_is_not_seen_is_not_said_to_be_missing(caller, tmp_path, monkeypatch):
    """Of too many files the newest are looked at; whether a row is in another one cannot be told."""
    monkeypatch.setattr(places, "FILES_MAX", 6)
    rows = [{**ROW, "mark": f"FS{number}"} for number in range(8)]
    there = tmp_path / "1" / "firm" / "out"
    for number, row in enumerate(rows):
        assert (await caller.call("put_hours", row)).kind == "ok"
        put_at(there, number + 1, [name for name in files(tmp_path, "out") if name > "hours"][-2:])
    for name in ("zebras.csv", "zebras.csv.manifest.json", "zoo.txt"):
        (there / name).touch()
        put_at(there, 0, [name])

    found = [await caller.call("find_hours", row) for row in rows]
    assert [reply.kind for reply in found] == ["transient"] * 5 + ["ok"] * 3
    assert found[0].code == "too_many_files"
    assert "move away what is older than three days" in found[0].message

    monkeypatch.setattr(places, "FILES_MAX", 19)
    assert {(await caller.call("find_hours", row)).kind for row in rows} == {"ok"}
    assert (await caller.call("find_hours", {**ROW, "mark": "FS8"})).kind == "not_found"


def put_at(folder, hour, names):
    """Let files have been put there in some hour."""
    for name in names:
        os.utime(folder / name, (hour * 3_600, hour * 3_600))


@pytest.mark.parametrize("text", ["{}", "{", '{"x":' + "[" * 50_000 + "]" * 50_000 + "}", b'{"file": "\xff"}'])
async def test_a_manifest_that_is_none_of_ours_hides_no_row(caller, tmp_path, text):
    """What somebody else put there is passed over, whatever is in it."""
    await caller.call("put_hours", ROW)
    for name in ("hours-zzz.csv.manifest.json", "hours-000.csv.manifest.json"):
        (tmp_path / "1" / "firm" / "out" / name).write_bytes(text.encode() if isinstance(text, str) else text)

    assert (await caller.call("find_hours", ROW)).items == [ROW]
    assert (await caller.call("find_hours", {**ROW, "mark": "FS8"})).kind == "not_found"


async def test_of_too_many_files_that_wait_the_first_are_taken_first(caller, tmp_path, monkeypatch):
    """In their order, and none whose manifest is not seen."""
    monkeypatch.setattr(places, "FILES_MAX", 3)
    for number in range(4):
        bring(tmp_path, f"customers-{number}.csv", f"id,name\n{number},One\n", manifest={})
    said = (await caller.call("look", {})).message
    found = [[row["id"] for row in (await taken(caller))[0]] for _ in range(5)]

    assert said == "more than 3 files wait in in/, 0 lie in bad/ for a person"
    assert found == [["0"], ["1"], ["2"], ["3"], []]


async def test_nothing_is_written_over_however_many_files_lie_there(caller, tmp_path, monkeypatch):
    """A file of a name that lies in the folder already gets another, also where its list would not show it."""
    monkeypatch.setattr(places, "FILES_MAX", 1)
    for number in range(3):
        bring(tmp_path, "customers-9.csv", f"id,name\n{number},One\n")
        await taken(caller)

    kept = [name for name in files(tmp_path, "done") if name.endswith("customers-9.csv")]
    assert len(kept) == 3


async def test_a_line_that_is_cut_leaves_nothing_half(server, tmp_path):
    """However far it came, whoever fetches sees a whole file that is vouched for, or none."""
    caller = over_sftp(server)
    assert (await caller.call("look", {})).kind == "ok"
    for changes in range(5):
        server.drops_after = changes
        row = {**ROW, "mark": f"FS{changes:016d}"}
        reply = await caller.call("put_hours", row)
        server.drops_after = None
        there = (await caller.call("find_hours", row)).kind == "ok"

        assert reply.kind in ("transient", "unknown", "ok")
        assert not (there and reply.kind == "transient")
        assert there == (row["mark"] in {each["mark"] for each in out(tmp_path)})
        if not there:
            assert (await caller.call("put_hours", row)).kind == "ok"
    assert sorted(each["mark"] for each in out(tmp_path)) == [f"FS{number:016d}" for number in range(5)]
    assert sorted(marks_of_all_files(tmp_path)) == [f"FS{number:016d}" for number in range(5)]


async def test_a_writer_that_went_down_before_its_last_step_leaves_no_second_file(caller, tmp_path, monkeypatch):
    """A file without a manifest is whole: whoever looks for its rows vouches for it, and writes no other."""

    async def down(*_):
        raise Unreachable("the machine went down")

    with monkeypatch.context() as patched:
        patched.setattr(hooks.Hooks, "_vouch", down)
        reply = await caller.call("put_hours", {**ROW, "hours": True, "note": "=1+1"})
    assert reply.kind == "unknown"
    assert out(tmp_path) == []
    found = await caller.call("find_hours", {**ROW, "hours": True, "note": "=1+1"})

    assert found.items[0]["note"] == "=1+1"
    assert [(row["mark"], row["note"], row["hours"]) for row in out(tmp_path)] == [(ROW["mark"], "'=1+1", "true")]
    assert marks_of_all_files(tmp_path) == [ROW["mark"]]


async def test_the_same_file_again_is_noticed_and_another_of_its_name_is_taken(caller, tmp_path):
    """Same name and content: put aside with when it was taken. Another content is taken, and both are kept."""
    first, second = "id,name\n1,One\n", "id,name\n1,Uno\n"
    bring(tmp_path, "customers.csv", first)
    taken_first = await taken(caller)
    bring(tmp_path, "customers.csv", first)
    taken_again = await taken(caller)
    bring(tmp_path, "customers.csv", second)
    taken_other = await taken(caller)
    bring(tmp_path, "customers.csv", first)
    taken_back = await taken(caller)

    assert [rows for rows, _ in (taken_first, taken_again, taken_other, taken_back)] == [
        [{"id": "1", "name": "One"}],
        [],
        [{"id": "1", "name": "Uno"}],
        [{"id": "1", "name": "One"}],
    ]
    assert files(tmp_path, "again") == ["customers.csv", "customers.csv.reason.txt"]
    said = (tmp_path / "1" / "firm" / "again" / "customers.csv.reason.txt").read_text()
    assert "is the same file that was taken at 20" in said
    kept = [(tmp_path / "1" / "firm" / "done" / name).read_text() for name in files(tmp_path, "done")]
    assert {first, second} <= set(kept)


async def test_a_row_that_cannot_be_written_keeps_no_other_back(tmp_path):
    """What the encoding does not have is told as a mistake of that row; the others of the moment arrive."""
    (tmp_path / "1").mkdir()
    caller = over_folder(tmp_path, encoding="latin-1")
    good, bad = await asyncio.gather(
        caller.call("put_hours", ROW), caller.call("put_hours", {**ROW, "mark": "FSB", "note": "\u2603"})
    )

    assert (good.kind, bad.kind, bad.sent) == ("ok", "data", False)
    assert "cannot be written in latin-1" in bad.message
    assert [row["mark"] for row in out(tmp_path)] == [ROW["mark"]]


async def test_a_file_is_taken_once_and_put_away(caller, tmp_path):
    """All rows of all files come in, whatever is in them; afterwards nothing waits."""
    bring(tmp_path, "customers-1.csv", 'id,name,phone\r\n1,"Meier, ""Heinz""",+41\r\n2,"Two\r\nlines",\r\n')
    bring(tmp_path, "customers-2.csv", "id,name\n3,Ödön\n", manifest={})
    bring(tmp_path, "price_items.csv", "id,name\n9,Gasket\n")

    rows, kinds = await taken(caller)
    assert kinds == {"ok"}
    assert rows == [
        {"id": "1", "name": 'Meier, "Heinz"', "phone": "+41"},
        {"id": "2", "name": "Two\r\nlines"},
        {"id": "3", "name": "Ödön"},
    ]
    assert await taken(caller) == ([], set())
    noted = [name for name in files(tmp_path, "done") if name.endswith(".taken.json")]
    rest = [name for name in files(tmp_path, "done") if name not in noted]
    assert rest == ["customers-1.csv", "customers-2.csv", "customers-2.csv.manifest.json"]
    assert noted == ["customers-1.csv.taken.json", "customers-2.csv.taken.json"]
    assert files(tmp_path, "in") == ["price_items.csv"]


async def test_bad_rows_are_put_aside_and_the_others_taken(caller, tmp_path):
    """A row without id or with cells missing is in a file of its own, with line and reason."""
    bring(tmp_path, "customers.csv", "id,name\n1,One\n,Nobody\n3\n4,Four,More\n5,Five\n")
    rows, _ = await taken(caller)
    with (tmp_path / "1" / "firm" / "bad" / "customers.csv.rows.csv").open(newline="") as lines:
        bad = list(csv.reader(lines))

    assert [row["id"] for row in rows] == ["1", "5"]
    assert bad == [
        ["line", "reason", "cells"],
        ["3", "has nothing in id", "", "Nobody"],
        ["4", "has 1 cells, and the heading has 2", "3"],
        ["5", "has 3 cells, and the heading has 2", "4", "Four", "More"],
    ]


@pytest.mark.parametrize(
    ("text", "manifest", "reason"),
    [
        ("id,name\n1,One\n", {"sha256": "0" * 64}, "has another SHA-256 than its manifest says"),
        ("id,name\n1,One\n", {"bytes": 99}, "has 14 bytes, and its manifest says 99"),
        ("id,name\n1,One\n", {"rows": 2}, "has 1 rows, and its manifest says 2"),
        ("name\nOne\n", None, "has no column 'id' (there are: name)"),
        ("id,id\n1,1\n", None, "has a column without a name, or two of the same name"),
        ("", None, "has no heading, or one of more than 500 columns"),
        (b"id,name\n1,\xff\n", None, "is not written in utf-8: invalid start byte at byte 10"),
        ('id,name\n1,"One\n', None, "line 2: unexpected end of data"),
    ],
)
async def test_a_file_that_cannot_be_vouched_for_is_put_aside_whole(caller, tmp_path, text, manifest, reason):
    """Nothing of it is taken, and beside it stands why."""
    bring(tmp_path, "customers.csv", text, manifest=manifest)
    rows, _ = await taken(caller)

    assert rows == []
    assert reason in (tmp_path / "1" / "firm" / "bad" / "customers.csv.reason.txt").read_text()
    assert files(tmp_path, "in") == []


async def test_a_file_beyond_what_the_operator_allows_is_put_aside(tmp_path):
    """The limits are the operator's, and the reason names the setting."""
    caller = over_folder(tmp_path)
    limited = hooks.Hooks(caller._inner, caller._config, str(tmp_path), feed.Limits(bytes=40, rows=2))
    bring(tmp_path, "customers-1.csv", "id,name\n1,a\n2,b\n3,c\n")
    bring(tmp_path, "customers-2.csv", "id,name\n1,a\n" + " " * 40)
    bring(tmp_path, "customers-3.csv", "id,name\n1,a\n2,b\n")

    rows, _ = await taken(limited)
    bad = tmp_path / "1" / "firm" / "bad"
    assert [row["id"] for row in rows] == ["1", "2"]
    assert "FIELDSYNC_FILE_ROWS_MAX" in (bad / "customers-1.csv.reason.txt").read_text()
    assert "FIELDSYNC_FILE_BYTES_MAX" in (bad / "customers-2.csv.reason.txt").read_text()


async def test_a_file_is_not_put_away_before_its_rows_are_kept(caller, tmp_path):
    """Whoever reads only the beginning, because the machine went down, finds the file again."""
    bring(tmp_path, "customers.csv", "id\n" + "".join(f"{number}\n" for number in range(1_200)))
    pages = caller.pages("list_customers", {"since": ""})
    assert len((await anext(pages)).items) == 500
    await pages.aclose()

    rows, _ = await taken(caller)
    assert len(rows) == 1_200


async def test_who_the_server_is_and_who_we_are_is_made_sure_of(server, tmp_path):
    """Another key, no key, a wrong password, no port: nothing is sent; a private key is as good as a password."""
    stranger = paramiko.RSAKey.generate(2048)
    line = f"{stranger.get_name()} {stranger.get_base64()}"
    for caller in (
        over_sftp(server, host_key=line),
        over_sftp(server, host_key=""),
        over_sftp(server, {"user": sftp.USER, "password": "wrong"}),
        over_sftp(server, port="ssh"),
        over_sftp(server, port="70000"),
    ):
        reply = await caller.call("put_hours", ROW)
        assert (reply.kind, reply.sent) == ("config", False)
    assert (server.logins, files(tmp_path, "out")) == (0, [])

    folder = tmp_path / "key"
    server.client_key.write_private_key_file(str(folder))
    known = over_sftp(server, {"user": sftp.USER, "private_key": folder.read_text()})
    assert (await known.call("put_hours", ROW)).kind == "ok"


@pytest.mark.parametrize("folder", ["..", "../elsewhere", "/etc", "", "a/../.."])
async def test_no_folder_outside_of_the_one_that_was_set_aside(tmp_path, folder):
    """A connection cannot name a place of this machine that is not meant for it."""
    reply = await over_folder(tmp_path, folder=folder).call("put_hours", ROW)

    assert (reply.kind, reply.code) == ("config", "refused")


async def test_a_tenant_reaches_no_files_of_another(caller, tmp_path):
    """The same name of a folder is another folder for another tenant; none leads to the first one's."""
    bring(tmp_path, "customers-1.csv", "id,name\n7,Meier\n")
    for name in ("firm", "../1/firm", "1/firm"):
        other = over_folder(tmp_path, tenant=2, folder=name)
        assert (await taken(other))[0] == []
        await other.call("put_hours", ROW)

    assert (files(tmp_path, "in"), files(tmp_path, "out")) == (["customers-1.csv"], [])
    assert (await taken(caller))[0] == [{"id": "7", "name": "Meier"}]


async def test_a_folder_is_off_unless_the_operator_says_where():
    """Without a folder that was set aside there is none."""
    reply = await _caller({}, {"folder": "firm"}).call("look", {})

    assert (reply.kind, reply.code) == ("config", "refused")


def test_a_spreadsheet_finds_no_formula():
    """What looks like one is written with an apostrophe; numbers are numbers, with the comma that was asked for."""
    cells = {"a": "=1+1", "b": "+41 44", "c": "-2.5", "d": "@x", "e": True, "f": None}
    found = feed.written([cells], feed.Dialect(delimiter=";", decimal=","))

    assert found.decode().splitlines()[1] == "'=1+1;'+41 44;-2,5;'@x;true;"
