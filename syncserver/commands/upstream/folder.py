"""A system's folder: made to begin from, and checked before it is used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from upstream import contract, judging, manifest_file, mapping_file, vendors
from upstream.errors import BadContract, BadManifest, BadMapping
from upstream.vendors.openapi import beginnings, drafting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from pathlib import Path

    from upstream.contract import Contract
    from upstream.manifest import Manifest

T = TypeVar("T")

PAGE: Final = "README.md"
NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,39}", re.ASCII)

_HOLE: Final = re.compile(r"\$\{[^{}]*\}")

MANIFEST: Final = """\
# {title}: how it is spoken to. What each key means stands in upstream/manifest.py.

system = "{name}"
title = "{title}"
grade = "{grade}"
authority = "portal"
base_url = "https://api.{name}.example"
verify = "whoami"

# The way to sign in. Others: basic, bearer, oauth2_code, client_credentials, jwt_bearer, oauth1, session, mtls.
[auth]
kind = "bearer"

# The cheap call by which a connection is checked, and a system that was down is asked again.
[operations.whoami]
method = "GET"
path = "/me"
effect = "read"

[operations.make_job]
method = "POST"
path = "/jobs"
effect = "write"
body = {{ kind = "json" }}
answer = {{ id = "id", version = "version" }}

[operations.change_job]
method = "PUT"
path = "/jobs/${{remote.id}}"
effect = "write"
body = {{ kind = "json" }}
answer = {{ id = "id", version = "version" }}

[operations.find_job]
method = "GET"
path = "/jobs"
query = {{ reference = "${{value.reference}}" }}
effect = "read"
answer = {{ items = "items", id = "id", version = "version" }}

# How it is made sure that an object is written once: here it bears our mark, by which it is found again.
[targets.job]
write = "search"
create = "make_job"
update = "change_job"
find = "find_job"
marker = "reference"
index_lag_seconds = 5.0

[budgets.all]
limit = 60
window_seconds = 60
"""
CONTRACT: Final = """\
# What is used of {title}, in our own words: fields, types, where it is known from, and how surely.

system = "{name}"
title = "{title}"
grade = "{grade}"
checked = {today}

[operations.whoami]
method = "GET"
path = "/me"
does = "Says whose credentials these are."
source = "To be filled in: the page, or the description, that says so."
grade = "{grade}"

[operations.make_job]
method = "POST"
path = "/jobs"
does = "Makes a job."
source = "To be filled in."
grade = "{grade}"
form = "json"

[operations.make_job.body]
reference = {{ type = "text", required = true, note = "Our mark." }}
name = {{ type = "text", required = true }}

[operations.change_job]
method = "PUT"
path = "/jobs/{{id}}"
does = "Changes a job."
source = "To be filled in."
grade = "{grade}"
form = "json"

[operations.change_job.body]
reference = {{ type = "text", required = true, note = "Our mark." }}
name = {{ type = "text", required = true }}

[operations.find_job]
method = "GET"
path = "/jobs"
does = "Lists jobs with a reference."
source = "To be filled in."
grade = "{grade}"
query = {{ reference = {{ type = "text", required = true }} }}
"""
MAPPING: Final = """\
# Work orders to jobs of {title}. The mark goes into `reference` by itself.

[[out]]
object = "job"
collection = "work_orders"

[[out.rows]]
target = "name"
source = "record.title"
required = true
"""
README: Final = """\
# {title}

Grade {grade}{assumed}.

## What is done

| | how |
|---|---|
| jobs | one for each work order, found again by its reference |

## Where each fact is known from

| fact | known from | sure? |
|---|---|---|
| addresses, fields, types | to be filled in | no |

## Connecting it

To be filled in: what has to be set up there, and which credentials are given here.
"""
README_FROM: Final = """\
# {title}

Grade {grade}{assumed}. Drafted from the OpenAPI document that lies beside this page (`openapi.json`).

## Where each fact is known from

| fact | known from | sure? |
|---|---|---|
| addresses, fields, types, signing in | the document {system!r} | as the document |
| what a path names, how lists are paged, where ids stand | usual names | assumed; read connector.toml |
| how much may be asked, what errors mean | nowhere | to be filled in |
"""
FILES: Final = {
    vendors.MANIFEST: MANIFEST,
    vendors.CONTRACT: CONTRACT,
    f"{vendors.MAPPINGS}/standard.toml": MAPPING,
    PAGE: README,
}


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What checking a folder came to. Without a manifest that can be read there is no title."""

    name: str
    title: str = ""
    grade: str = ""
    problems: tuple[str, ...] = ()

    @property
    def is_assumed(self) -> bool:
        """Whether what is known of the system is known at second hand."""
        return self.grade in ("C", "D")

    @property
    def sentence(self) -> str:
        """Return it as one line for a person."""
        marks = f"grade {self.grade}{', *assumed*' if self.is_assumed else ''}" if self.grade else "not readable"
        count = f"{len(self.problems)} problem{'s' * (len(self.problems) != 1)}" if self.problems else "fine"
        return f"{self.name}: {self.title or 'no title'} ({marks}): {count}"


def make(folder: Path, *, title: str, grade: str, today: date) -> list[Path]:
    """Make a system's folder that `check` accepts, and return its files; raises `FileExistsError`."""
    folder.mkdir(parents=True)
    (folder / vendors.MAPPINGS).mkdir()
    assumed = ", *assumed*" if grade in ("C", "D") else ""
    values = {"name": folder.name, "title": title, "grade": grade, "today": today, "assumed": assumed}
    made = []
    for name, text in FILES.items():
        file = folder / name
        file.write_text(text.format(**values), encoding="utf-8")
        made.append(file)
    return made


def make_from(folder: Path, document: bytes, choice: dict[str, Any], *, today: date) -> list[Path]:
    """Make the folder of a system from its OpenAPI document, which is kept as JSON, and what is chosen of it.

    Raises `BadManifest` with what cannot be used, and `FileExistsError`.
    """
    read = drafting.read(document)
    chosen = drafting.choice({"system": folder.name, **choice})
    if chosen.system != folder.name:
        raise BadManifest([f"choice: system is {chosen.system!r}, but the folder is {folder.name!r}; leave it away"])
    made = drafting.draft(read, chosen)
    manifest = made.parsed
    assumed = ", *assumed*" if manifest.is_assumed else ""
    about = {"title": manifest.title, "grade": manifest.grade, "assumed": assumed, "system": drafting.title(read)}
    texts = {
        vendors.MANIFEST: made.manifest,
        vendors.CONTRACT: beginnings.contract(read, manifest, today),
        f"{vendors.MAPPINGS}/standard.toml": beginnings.mapping(
            made.schemas, {name: target.marker for name, target in manifest.targets.items()}
        ),
        PAGE: README_FROM.format(**about),
    }
    folder.mkdir(parents=True)
    (folder / vendors.MAPPINGS).mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / vendors.DOCUMENT).write_bytes(msgspec.json.format(msgspec.json.encode(read), indent=1))
    return [*(folder / name for name in texts), folder / vendors.DOCUMENT]


def check(folder: Path) -> Checked:
    """Return what is wrong with a system's folder: each file alone, and whether they speak of the same."""
    problems: list[str] = []
    manifest = _read(folder / vendors.MANIFEST, manifest_file.parse, problems)
    agreed = _read(folder / vendors.CONTRACT, contract.parse, problems)
    files = sorted((folder / vendors.MAPPINGS).glob("*.toml")) if (folder / vendors.MAPPINGS).is_dir() else []
    if not files:
        problems.append(f"{vendors.MAPPINGS}: has no mapping to begin from")
    parsed = [(file, _read(file, mapping_file.parse, problems)) for file in files]
    if not (folder / PAGE).is_file():
        problems.append(f"{PAGE}: is missing; say what is done, where each fact is known from, how it is connected")
    if manifest is not None:
        if manifest.system != folder.name:
            problems.append(f"{vendors.MANIFEST}: system is {manifest.system!r}, but the folder is {folder.name!r}")
        for file, mappings in parsed:
            strange = {each.object for each in mappings.out} - set(manifest.targets) if mappings else set()
            problems += [f"{file.name}: makes {name!r}, which is no target of the manifest" for name in sorted(strange)]
        if agreed is not None:
            problems += _unlike(manifest, agreed)
    return Checked(
        name=folder.name,
        title=manifest.title if manifest else "",
        grade=manifest.grade if manifest else "",
        problems=tuple(problems),
    )


def _read(file: Path, parse: Callable[[str, str], T], problems: list[str]) -> T | None:
    try:
        return parse(file.read_text(encoding="utf-8"), file.name)
    except (BadManifest, BadContract, BadMapping) as exc:
        problems.extend(exc.problems)
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"{file.name}: cannot be read: {getattr(exc, 'strerror', None) or exc}")
    return None


def _unlike(manifest: Manifest, agreed: Contract) -> Iterator[str]:
    """Yield where manifest and contract do not speak of the same."""
    if agreed.system != manifest.system:
        yield f"{vendors.CONTRACT}: system is {agreed.system!r}, but the manifest's is {manifest.system!r}"
    if agreed.grade != manifest.grade:
        yield f"{vendors.CONTRACT}: grade is {agreed.grade}, but the manifest's is {manifest.grade}"
    for name, operation in manifest.operations.items():
        path = _HOLE.sub("x", operation.path)
        if judging.operation_of(agreed, operation.method, path) is None:
            said = f"{operation.method} {operation.path} ({name} of the manifest)"
            yield f"{vendors.CONTRACT}: has no operation for {said}"
