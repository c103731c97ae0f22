"""The stages of `run.py test` and `run.py check`: what runs, in which order, how long it took, what came out.

Every stage runs, also after one that failed, so that one start shows all there is to mend. The last line
counts the tests of all stages together.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.planted import plant
from tests.tidy import sources

BUDGET_SECONDS = 20 * 60
BUDGET_LONG_SECONDS = 60 * 60
STOP_SECONDS = 30
POSTGRES_OLDEST = 15

FAST = ("tests/tidy", "tests/laws", "tests/unit", "tests/scenarios")
EXHAUSTIVE = "tests/exhaustive"
BY_FILE = ("--dist=loadfile", "--no-loadscope-reorder")
SERVED = ("tests/acceptance", "tests/simulation", "tests/contract", "tests/integration")
"""What needs services, the longest files first: a worker that gets one of them last keeps everybody waiting."""

SAME_ON_ANY_POSTGRES = {
    "test_any_rest.py": "vendors over HTTP",
    "test_bounds.py": "what a socket bears before a token is shown",
    "test_budgets.py": "counting in Lua",
    "test_command_line.py": "words and sentences at the terminal",
    "test_compose.py": "the commands of a file",
    "test_connect_command.py": "files and sentences at the terminal",
    "test_connections_command.py": "words and sentences at the terminal",
    "test_connector.py": "vendors over HTTP",
    "test_connector_restraint.py": "vendors over HTTP",
    "test_csv.py": "files and SFTP",
    "test_every_code.py": "codes of HTTP and where they are documented",
    "test_fetch.py": "HTTP",
    "test_files_of_rows.py": "files and SFTP",
    "test_http_access.py": "routes and roles",
    "test_http_compression.py": "bodies of HTTP",
    "test_http_forms.py": "bodies of HTTP",
    "test_inward.py": "how the processes play together",
    "test_metrics.py": "names of gauges and of rules",
    "test_protocol_page.py": "a page of the documentation",
    "test_quickbooks.py": "the mapping of a vendor",
    "test_receipts_on_devices.py": "the client of a device",
    "test_roles.py": "routes and roles",
    "test_salesforce.py": "the mapping of a vendor",
    "test_services.py": "starting servers, this one among them, whatever the others run on",
    "test_services_crash.py": "processes and their guards",
    "test_signin.py": "issuers over HTTP",
    "test_vendor_signin.py": "tokens over HTTP",
    "test_worker.py": "a process and its signals",
    "test_writing.py": "what is asked of a vendor that misbehaves",
}
"""Files of `tests/integration` that are not run again on another PostgreSQL, and what they are about instead of SQL.

What statements they need is run by the other files too.
"""

CACHE = Path(os.environ.get("FIELDSYNC_CACHE_DIR") or sources.CHECKOUT / ".cache")
SUITE_COUNTS = ("tests", "failures", "errors", "skipped")
TOOL_CACHES = {
    "HYPOTHESIS_STORAGE_DIRECTORY": "hypothesis",
    "MYPY_CACHE_DIR": "mypy",
    "RUFF_CACHE_DIR": "ruff",
}


@dataclass(frozen=True)
class Stage:
    """Commands that succeed or fail together, within a time."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    seconds_max: float = 300
    environment: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    """Where pytest writes its counts; a stage without one runs no tests."""
    skipped: str = ""
    """Why the stage cannot run on this machine."""


@dataclass(frozen=True)
class Counts:
    """Tests of one stage, or of all of them."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Result:
    """What came out of a stage."""

    stage: Stage
    ok: bool
    seconds: float
    counts: Counts

    def __str__(self) -> str:
        word = f"skipped: {self.stage.skipped}" if self.stage.skipped else "ok" if self.ok else "FAILED"
        counts = f"   {self.counts}" if self.stage.report and not self.stage.skipped else ""
        return f"{self.stage.name:<26}{self.seconds:>7.1f} s   {word}{counts}"


def main() -> int:
    """Run the stages of the verb, print the table, and fail if any of them failed."""
    options = parsed_options()
    os.chdir(sources.CHECKOUT)
    os.environ.update({name: str(CACHE / folder) for name, folder in TOOL_CACHES.items()})
    CACHE.mkdir(parents=True, exist_ok=True)
    if getattr(options, "planted", False):
        return plant.main()
    stages = check_stages() if options.verb == "check" else test_stages(fast=options.fast, long=options.long)
    results = [run(stage) for stage in stages]
    if options.verb == "check":
        print_longest()
    print_table(results, BUDGET_LONG_SECONDS if options.long else BUDGET_SECONDS)
    return 0 if all(result.ok for result in results) else 1


def parsed_options() -> argparse.Namespace:
    """Read the command line that run.py passes on."""
    parser = argparse.ArgumentParser(prog="run.py")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="lint, types, contracts, house rules; no services").set_defaults(long=False)
    test = verbs.add_parser("test", help="everything")
    size = test.add_mutually_exclusive_group()
    size.add_argument("--fast", action="store_true", help="only what needs no services")
    size.add_argument("--long", action="store_true", help="also the tests that take minutes each")
    size.add_argument("--planted", action="store_true", help="whether the tests notice planted mistakes, one by one")
    return parser.parse_args()


# Which stages there are.


def static_stages() -> Iterator[Stage]:
    """Yield the stages that read the code without running it."""
    ruff = tool("ruff")
    yield Stage("lint", ((*ruff, "check", "--output-format=concise", "."), (*ruff, "format", "--check", ".")))
    yield Stage("types", (tool("mypy"),))
    lint_imports = (sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()")
    yield Stage("contracts", ((*lint_imports, "--no-logo", "--cache-dir", str(CACHE / "importlinter")),))


def check_stages() -> list[Stage]:
    """Give the stages of a commit: seconds, and no services."""
    return [*static_stages(), pytest_stage("house rules", "tests/tidy")]


def test_stages(*, fast: bool, long: bool) -> list[Stage]:
    """Give the stages of a full run, or of its fast or long form."""
    stages = list(static_stages())
    stages += [pytest_stage("tests without services", "-n2", "--dist=worksteal", *FAST, seconds_max=480)]
    if fast:
        return stages
    stages += [pytest_stage("exhaustive search", "-n2", "--dist=worksteal", EXHAUSTIVE, seconds_max=300)]
    stages += [pytest_stage("tests with services", "-n2", *BY_FILE, *SERVED, seconds_max=1_080)]
    stages += [system_postgres_stage()]
    if long:
        options = ("-m", "long", "--hypothesis-profile=long", "tests")
        stages += [pytest_stage("long tests", "-n2", *options, seconds_max=BUDGET_LONG_SECONDS - BUDGET_SECONDS)]
    return stages


def system_postgres_stage() -> Stage:
    """Give the run on the operating system's PostgreSQL, the oldest that the schema promises to work on."""
    environment = {"FIELDSYNC_TEST_POSTGRES": "system"}
    skipped = "" if has_system_postgres() else f"no PostgreSQL {POSTGRES_OLDEST} or newer is installed"
    ignored = [f"--ignore=tests/integration/{name}" for name in SAME_ON_ANY_POSTGRES]
    options = ("-n2", *BY_FILE, *ignored, "tests/integration")
    return pytest_stage("system PostgreSQL", *options, seconds_max=600, environment=environment, skipped=skipped)


def pytest_stage(
    name: str, *options: str, seconds_max: float = 300, environment: dict[str, str] | None = None, skipped: str = ""
) -> Stage:
    """Make a stage of one pytest run that leaves its counts in a file."""
    report = CACHE / f"{name.replace(' ', '-')}.xml"
    command = (*tool("pytest"), "-q", "-o", f"cache_dir={CACHE / 'pytest'}", f"--junit-xml={report}", *options)
    return Stage(name, (command,), seconds_max, environment or {}, report, skipped)


def tool(module: str) -> tuple[str, ...]:
    """Give the command that runs an installed tool."""
    return (sys.executable, "-m", module)


def has_system_postgres() -> bool:
    """Tell whether the operating system has a PostgreSQL server that is new enough."""
    on_path = shutil.which("postgres")
    found = [Path(on_path)] if on_path else []
    for program in [*found, *Path("/usr/lib/postgresql").glob("*/bin/postgres")]:
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        number = re.search(r"\d+", version)
        if number and int(number[0]) >= POSTGRES_OLDEST:
            return True
    return False


# Running them.


def run(stage: Stage) -> Result:
    """Run a stage and measure it."""
    if stage.skipped:
        return Result(stage, ok=True, seconds=0, counts=Counts())
    print(f"\n=== {stage.name}", flush=True)
    if stage.report:
        stage.report.unlink(missing_ok=True)
    begun = time.monotonic()
    codes = [run_command(command, stage) for command in stage.commands]
    seconds = time.monotonic() - begun
    counts = read_report(stage.report) if stage.report else Counts()
    ran_something = not stage.report or counts.passed + counts.failed > 0
    ok = not any(codes) and ran_something
    if stage.report and not ok and not counts.failed:
        counts += Counts(failed=1)  # a run that was cut off, or that ran nothing, must show in the last line
    return Result(stage, ok=ok, seconds=seconds, counts=counts)


def run_command(command: Sequence[str], stage: Stage) -> int:
    """Run one command to its end, or interrupt it when its time is over, so that it can say where it was."""
    child = subprocess.Popen(command, env={**os.environ, **stage.environment})
    try:
        return child.wait(stage.seconds_max)
    except subprocess.TimeoutExpired:
        print(f"{stage.name}: not done after {stage.seconds_max:.0f} s", flush=True)
        child.send_signal(signal.SIGINT)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return 1


def read_report(report: Path) -> Counts:
    """Count the tests of one run, which may have left no report."""
    total = Counts()
    if not report.exists():
        return total
    for suite in ElementTree.parse(report).iter("testsuite"):
        tests, failures, errors, skipped = (int(suite.get(key, 0)) for key in SUITE_COUNTS)
        failed = failures + errors
        total += Counts(max(tests - failed - skipped, 0), failed, skipped)
    return total


# Telling.


def print_table(results: Sequence[Result], budget_seconds: float) -> None:
    """Print a line for each stage, the whole time, and as the last line the count of tests."""
    seconds = sum(result.seconds for result in results)
    print("\n" + "\n".join(str(result) for result in results))
    verdict = "within" if seconds <= budget_seconds else "OVER"
    print(f"{'whole':<26}{seconds:>7.1f} s   {verdict} the {budget_seconds // 60} minutes it may take")
    print(sum((result.counts for result in results), Counts()))


def print_longest(shown: int = 10) -> None:
    """Print the longest functions and files, for somebody to ask why."""
    try:
        functions = sorted(sources.functions(), key=lambda function: -function.lines)
    except SyntaxError as problem:
        print(f"\nnothing is measured: {problem}")
        return
    files = sorted(((sources.line_count(file), file) for file in sources.python_files()), reverse=True)
    print("\nlongest functions")
    print("\n".join(f"{function.lines:>5}  {function.place}  {function.name}" for function in functions[:shown]))
    print("\nlongest files")
    print("\n".join(f"{lines:>5}  {sources.place(file)}" for lines, file in files[:shown]))


if __name__ == "__main__":
    sys.exit(main())
