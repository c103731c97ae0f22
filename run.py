#!/usr/bin/env python3
"""Set everything up on a fresh machine, then run one verb.

Only the standard library is used, and the syntax stays old enough for Python 3.7 to read it, because this
is the file that has to work before anything is installed. A second start finds the stamp of the first and
goes straight to the verb.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).resolve().parent
LOCKS = CHECKOUT / "requirements"
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"

SERVER_READY_SECONDS = 120
STOP_SECONDS = 20

USAGE = """usage: python3 run.py VERB [OPTIONS]

  dev     start a server with everything it needs (dev --help for its options)
  demo    tell the story of two technicians and a dispatcher on real work orders
  load    drive a fleet of devices against a server, and prove that nothing is lost (load --help)
  test    lint, types, contracts and all tests  [--fast | --long | --planted]
  check   lint, types, contracts and the house rules, and what is longest
"""


def main() -> int:
    """Run the verb named on the command line, in an environment that is ready for it."""
    verb, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if verb in ("dev", "demo", "load"):
        python = ready_python("runtime")
        return become_server(python, arguments) if verb == "dev" else with_server(python, verb, arguments)
    if verb in ("test", "check"):
        return become(str(ready_python("dev")), str(CHECKOUT / "tests" / "tiers.py"), verb, *arguments)
    sys.stdout.write(USAGE)
    return 0 if verb in ("-h", "--help", "help") else 2


def become(*command: str) -> int:
    """Turn into the command, so that it answers to the process id that the caller knows."""
    sys.stdout.flush()
    os.execv(command[0], command)


# The verbs that need a server.


def become_server(python: Path, arguments: Sequence[str]) -> int:
    """Turn into the development server."""
    return become(str(python), "-m", "syncserver", "dev", *arguments)


def with_server(python: Path, verb: str, arguments: Sequence[str]) -> int:
    """Run a program of clients against the server that is named, or against one that lives as long as the program."""
    program = (str(python), "-m", "clients", verb)
    if any(word.split("=")[0] in ("--url", "--ready-file", "--help", "-h") for word in arguments):
        return become(*program, *arguments)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with own_server(python, verb) as ready_file:
        return run_to_its_end([*program, "--ready-file", str(ready_file), *arguments])


def run_to_its_end(command: Sequence[str]) -> int:
    """Run a program and wait for it; an interrupt is for the program, which then says what it has."""
    program = subprocess.Popen(command)
    try:
        while True:
            try:
                return program.wait()
            except KeyboardInterrupt:
                continue
    finally:
        if program.poll() is None:
            stop(program)


@contextlib.contextmanager
def own_server(python: Path, verb: str) -> Iterator[Path]:
    """Start a server on a free port with data of its own, give its ready file, stop it by its id."""
    with tempfile.TemporaryDirectory(prefix=f"fieldsync-{verb}-") as folder:
        # PostgreSQL refuses to run as root, so the account it runs as has to get through to its data.
        Path(folder).chmod(0o711)
        ready_file, log = Path(folder, "ready.json"), Path(folder, "server.log")
        options = ("--port", "0", "--data", str(Path(folder, "data")), "--ready-file", str(ready_file))
        say(f"Starting a server for the {verb}")
        with log.open("wb") as output:
            server = subprocess.Popen(
                [str(python), "-m", "syncserver", "dev", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt at the terminal is for the program alone
            )
        try:
            wait_for_file(ready_file, server, log)
            yield ready_file
        finally:
            stop(server)


def wait_for_file(ready_file: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server has said that it is ready; end with its log when it cannot be."""
    deadline = time.monotonic() + SERVER_READY_SECONDS
    while not ready_file.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            why = "did not become ready" if server.poll() is None else f"ended with {server.returncode}"
            sys.exit(f"{log.read_text(errors='replace')[-4000:]}\nThe server {why}; its last lines are above.")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and insist when it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# Setting up.


def ready_python(level: str) -> Path:
    """Give the Python of an environment that holds the locked packages of this level."""
    home = writable_home()
    os.environ["FIELDSYNC_CACHE_DIR"] = str(home / ".cache")
    for venv in (CHECKOUT / ".venv", home / ".venv"):
        if is_ready(venv, level):
            return venv / "bin" / "python"
    (home / ".cache").mkdir(parents=True, exist_ok=True)
    with (home / ".cache" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first starts at once would install over each other
        if not is_ready(home / ".venv", level):
            set_up(home / ".venv", level)
    return home / ".venv" / "bin" / "python"


def writable_home() -> Path:
    """Name the folder for the environment and the caches: the checkout, or the state folder of this user."""
    own = CHECKOUT / ".venv"
    if os.access(own if own.exists() else CHECKOUT, os.W_OK) and os.access(CHECKOUT, os.W_OK):
        return CHECKOUT
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    home = state / "fieldsync" / hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:12]
    if not home.exists():
        say(f"{CHECKOUT} cannot be written by this user: the environment goes to {home}")
    return home


def is_ready(venv: Path, level: str) -> bool:
    """Tell whether the environment was set up from exactly these files, and still works."""
    python = venv / "bin" / "python"
    try:
        done = stamp(venv, level).read_text() == fingerprint(level)
        probe = [str(python), "-c", "import syncserver"]
        return done and subprocess.call(probe, cwd="/", stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def stamp(venv: Path, level: str) -> Path:
    """Name the file that says what the environment was set up from."""
    return venv / f"fieldsync-{level}.stamp"


def fingerprint(level: str) -> str:
    """Digest all that decides what is installed, the place of the checkout included."""
    digest = hashlib.sha256(os.fsencode(CHECKOUT))
    for file in (LOCKS / f"{level}.txt", LOCKS / "data.txt", CHECKOUT / "pyproject.toml"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def set_up(venv: Path, level: str) -> None:
    """Make the environment, or bring it up to date, by uv where it can be had and by pip where not."""
    say(f"Setting up {venv}; this happens once")
    begun = time.monotonic()
    installer = Installer(venv)
    locked = ("--require-hashes", "-r", str(LOCKS / f"{level}.txt"))
    if not installer.install(*locked):
        sys.exit("The locked packages could not be installed; the reason is above.")
    # The build backend is among the locked packages, so the project itself needs no download.
    if not installer.install("--no-deps", "--no-build-isolation", "-e", str(CHECKOUT)):
        sys.exit("fieldsync itself could not be installed; the reason is above.")
    if not installer.install("--no-deps", "--require-hashes", "-r", str(LOCKS / "data.txt")):
        say(f"The real work orders could not be had; generated ones stand in. To try again, delete {venv}.")
    stamp(venv, level).write_text(fingerprint(level))
    say(f"Set up in {time.monotonic() - begun:.0f} s")


class Installer:
    """Installs into one environment, with uv first and pip when uv is not to be had or fails."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = str(venv / "bin" / "python")
        self.uv = shutil.which("uv")
        if not succeeds(self.python, "-c", NEW_ENOUGH, quiet=True):
            self.create()
        if self.uv is None:
            self.uv = self.own_uv()

    def create(self) -> None:
        """Make the environment; uv can do it where Debian's Python lacks the module for it."""
        options = ("venv", "--quiet", "--allow-existing", "--no-project", "--python", sys.executable)
        if self.uv and succeeds(self.uv, *options, str(self.venv)):
            return
        self.uv = None
        need_ensurepip()
        if not succeeds(sys.executable, "-m", "venv", "--clear", str(self.venv)):
            sys.exit(f"{self.venv} could not be made; the reason is above.")

    def own_uv(self) -> str | None:
        """Install uv into the environment, so that the rest takes seconds."""
        uv = self.venv / "bin" / "uv"
        if uv.exists() or self.pip("--require-hashes", "-r", str(LOCKS / "uv.txt")):
            return str(uv)
        return None

    def install(self, *what: str) -> bool:
        """Install with uv, or else with pip."""
        if self.uv and succeeds(self.uv, "pip", "install", "--quiet", "--python", self.python, *what):
            return True
        return self.pip(*what)

    def pip(self, *what: str) -> bool:
        """Install with pip, which an environment made by uv has to be given first."""
        if not succeeds(self.python, "-c", "import pip", quiet=True):
            need_ensurepip()
            if not succeeds(self.python, "-m", "ensurepip"):
                return False
        return succeeds(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)


def need_ensurepip() -> None:
    """End with the name of the missing package on a Debian that has Python without its venv module."""
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"This Python has no 'ensurepip', so no virtual environment can be made.\n"
            f"On Debian and Ubuntu:  apt-get install python{version}-venv   (or install uv), then start again."
        )


def succeeds(*command: str, quiet: bool = False) -> bool:
    """Run a command and print what it said only if it failed."""
    try:
        done = subprocess.run(  # capture_output would part the two streams, which belong together here
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as problem:
        if not quiet:
            say(f"{command[0]}: {problem}")
        return False
    if done.returncode and not quiet:
        say(f"{' '.join(command[:5])} … ended with {done.returncode}:\n{done.stdout.decode(errors='replace')}")
    return done.returncode == 0


def say(line: str) -> None:
    """Tell the person at the terminal, apart from what the verb itself prints."""
    sys.stderr.write(f"{line}\n")


def hand_over_to_newer_python() -> None:
    """Start again with a Python that is new enough, when this one is not."""
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        # A name on the PATH may be a version manager's shim that leads nowhere.
        if path and subprocess.call([path, "-c", NEW_ENOUGH], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, *sys.argv])
    sys.exit(f"fieldsync needs Python 3.11 or newer; this is {sys.version.split()[0]}, and the PATH has no newer one.")


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        hand_over_to_newer_python()
    sys.exit(main())
