"""The stages of a full run leave nothing out."""

from __future__ import annotations

from tests import tiers
from tests.tidy import sources

TESTS = sources.CHECKOUT / "tests"


def test_every_folder_of_tests_is_in_a_stage() -> None:
    """There is no test that `run.py test` never runs."""
    staged = {*tiers.FAST, tiers.EXHAUSTIVE, *tiers.SERVED}
    folders = {f"tests/{file.relative_to(TESTS).parts[0]}" for file in TESTS.rglob("test_*.py")}

    sources.expect_none(sorted(folders - staged), "Put it into a stage of tests/tiers.py:")
    sources.expect_none(sorted(staged - folders), "Take out of tests/tiers.py what has no tests:")


def test_what_is_left_out_on_another_postgresql_is_there() -> None:
    """Each file that need not be run again on the oldest PostgreSQL exists, so that the list stays short."""
    found = [name for name in tiers.SAME_ON_ANY_POSTGRES if not (TESTS / "integration" / name).is_file()]

    sources.expect_none(found, "Take out of tests/tiers.py what is gone:")
