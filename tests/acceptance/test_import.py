"""`fieldsync import work-orders FILE`: a real file goes in, once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from clients.office import WORK_ORDERS, Office
from syncserver.importer import sample
from tests.acceptance.served import CHECKOUT, Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SECONDS_MAX = 120
REJECTS = 3
REAL = sample.real_file()
ROWS, REJECTED_LINE = 5_485, 3_454


@pytest.fixture(scope="module")
def empty() -> Iterator[Served]:
    """Give a server without work orders."""
    with Served("--no-seed") as server:
        yield server


@pytest.fixture
async def office_of(empty: Served) -> AsyncIterator[Office]:
    """Give the dispatcher of its first tenant."""
    async with Office.open(empty.ready.url, empty.tenant.office_token) as desk:
        yield desk


def bring_in(served: Served, file: Path, rejects: Path, tenant: int) -> subprocess.CompletedProcess[str]:
    """Import a file into a tenant."""
    command = [sys.executable, "-m", "syncserver", "import", "work-orders", str(file), "--rejects", str(rejects)]
    environment = {**os.environ, "FIELDSYNC_DATABASE_URL": served.facts["database_url"]}
    return subprocess.run(
        [*command, "--tenant", str(tenant)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=environment,
        timeout=SECONDS_MAX,
        check=False,
    )


def counts(told: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    """Return how many were imported, known already and rejected."""
    found = re.match(r"(\d+) imported, (\d+) known already, (\d+) rejected", told.stdout)
    assert found, told.stdout + told.stderr
    return int(found[1]), int(found[2]), int(found[3])


@pytest.mark.skipif(REAL is None, reason=f"{sample.PACKAGE} is not installed; the made-up file stands in")
async def test_the_real_file_goes_in_once(empty: Served, office_of: Office, tmp_path: Path) -> None:
    """Of 5,485 real work orders 5,484 go in, one is rejected by line and reason, and a second import writes nothing."""
    assert REAL is not None
    rejects = tmp_path / "rejects.csv"

    first = bring_in(empty, REAL, rejects, 1)

    assert (first.returncode, *counts(first)) == (REJECTS, ROWS - 1, 0, 1)
    (row,) = rejects.read_text().splitlines()[1:]
    assert row.startswith(f"{REJECTED_LINE},")
    assert "cost" in row.lower()
    before = await office_of.list(WORK_ORDERS)
    assert len(before) == ROWS - 1

    second = bring_in(empty, REAL, rejects, 1)

    assert (second.returncode, *counts(second)) == (REJECTS, 0, ROWS - 1, 1)
    assert await office_of.list(WORK_ORDERS) == before


async def test_a_cost_is_the_erps(empty: Served, office_of: Office, tmp_path: Path) -> None:
    """A file's writes bear the authority that its mapping names: the cost is the ERP's, the title the office's."""
    file = tmp_path / "one.csv"
    file.write_text(f"{sample.HEADER}\n2011-05-03,A,Bucket won't open,PM01,183.050\n")

    told = bring_in(empty, file, tmp_path / "rejects.csv", 1)

    assert (told.returncode, *counts(told)) == (0, 1, 0, 0)
    (found,) = (await office_of.list(WORK_ORDERS, title="Bucket won't open", cost="183.05")).values()
    history = await office_of.history(WORK_ORDERS, found.id)
    assert [write.authority for write in history["cost"]] == ["erp"]
    assert [write.authority for write in history["title"]] == ["office"]


def test_a_made_up_file_goes_in_once(empty: Served, tmp_path: Path) -> None:
    """Rows that repeat others are work orders of their own, and still none goes in twice."""
    file = tmp_path / "made_up.csv"
    file.write_text(sample.made_up(300, 7))
    rows = file.read_text().splitlines()[1:]
    assert len(set(rows)) < len(rows)

    first = bring_in(empty, file, tmp_path / "rejects.csv", 2)
    second = bring_in(empty, file, tmp_path / "rejects.csv", 2)

    assert (first.returncode, *counts(first)) == (0, 300, 0, 0)
    assert (second.returncode, *counts(second)) == (0, 0, 300, 0)


def test_a_file_that_is_not_there_is_said_in_a_sentence(empty: Served, tmp_path: Path) -> None:
    """A mistake on the command line ends with one line and no traceback."""
    told = bring_in(empty, tmp_path / "none.csv", tmp_path / "rejects.csv", 1)

    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)
