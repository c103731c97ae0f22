"""docker-compose.yml, the Dockerfile and .env.example agree with the program they start."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from syncserver import __main__ as command_line
from syncserver import settings
from syncserver.http import ops, watch
from tests import compose
from tests.tidy import sources

SECRETS = dict.fromkeys(("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "FIELDSYNC_SECRET_KEYS"), "0123456789abcdef" * 4)
DOCKERFILE = (sources.CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
EXAMPLE = (sources.CHECKOUT / ".env.example").read_text(encoding="utf-8")
PINNED = re.compile(r"[a-z0-9/-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*")
ASKED = re.compile(r"http://127\.0\.0\.1:(\d+)(/\w+)")


def service(name: str) -> dict[str, Any]:
    """Give a service as it is with all secrets set."""
    return compose.services(SECRETS)[name]


@pytest.mark.parametrize("name", compose.OURS)
def test_every_variable_is_one_that_the_program_reads(name: str) -> None:
    """No setting is misspelt, none that is needed is missing, and all of them can be meant."""
    environment = service(name)["environment"]

    assert set(environment) <= set(settings.VARIABLES)
    assert set(settings.REQUIRED) <= set(environment)
    settings.load(environment)


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_without_a_secret_nothing_starts(missing: str) -> None:
    """A secret that is not set is told by its name, and there is none to fall back on."""
    with pytest.raises(compose.NotSet, match=f"^{missing} is not set"):
        compose.services(SECRETS | {missing: ""})


@pytest.mark.parametrize("name", compose.OURS)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    """The parser of the command line takes what the service is told to run, to the last word."""
    given = service(name)["command"]

    command, bound, _ = command_line.app.parse_args(given, exit_on_error=False, print_error=False)

    assert command.__name__ == given[0]
    assert not bound.arguments


@pytest.mark.parametrize(
    ("name", "variable", "routes"),
    [
        ("server", "FIELDSYNC_PORT", {route.path for route in ops.ROUTER.routes}),
        ("worker", "FIELDSYNC_WORKER_PORT", set(watch.ROUTES)),
    ],
)
def test_health_is_asked_where_it_is_answered(name: str, variable: str, routes: set[str]) -> None:
    """The check of a service asks the port that it listens on, by a route that there is."""
    found = service(name)

    asked = ASKED.search(found["healthcheck"]["test"][-1])

    assert asked is not None
    assert asked[1] == found["environment"][variable]
    assert asked[2] in routes
    assert asked[1] in re.findall(r"\d+", re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[0])


def test_the_published_port_is_the_one_that_the_server_listens_on() -> None:
    """What is published leads to the server, and on this machine only."""
    found = service("server")

    assert found["ports"] == [f"127.0.0.1:8080:{found['environment']['FIELDSYNC_PORT']}"]
    assert "ports" not in service("postgres") | service("valkey") | service("worker")


def test_services_start_after_what_they_need() -> None:
    """Server and worker wait for the migration, and the migration for the database."""
    everything = compose.services(SECRETS)

    assert everything["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("server", "worker"):
        assert everything[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert all("healthcheck" in found for name, found in everything.items() if name != "migrate")
    assert everything["migrate"]["restart"] == "no"


def test_data_lie_in_volumes_that_are_declared() -> None:
    """What the databases keep outlives their containers; ours keep nothing and may not write."""
    everything = compose.services(SECRETS)
    mounted = {volume.partition(":")[0] for found in everything.values() for volume in found.get("volumes", [])}

    assert mounted == compose.volumes() == {"postgres", "valkey"}
    assert all(everything[name]["read_only"] for name in compose.OURS)


def test_images_are_pinned() -> None:
    """No image is whatever happens to be the newest."""
    images = {found["image"] for found in compose.services(SECRETS).values()}
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert len(bases) == 2
    assert all(PINNED.fullmatch(image) for image in [*images, *bases])


def test_what_the_image_copies_is_there() -> None:
    """Every source of a COPY exists and is not kept back, and all packages are among them."""
    copied = [shlex.split(line)[:-1] for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)]
    named = {source for line in copied for source in line}
    sent = {
        line.removeprefix("!")
        for line in (sources.CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }

    assert set(sources.PACKAGES) <= named
    assert named == sent
    assert all((sources.CHECKOUT / source).exists() for source in named)


def test_the_image_holds_no_secret_and_runs_as_nobody_special() -> None:
    """No FIELDSYNC_ variable is baked in, what is installed is locked, and the last user is not root."""
    users = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)

    assert "FIELDSYNC_" not in DOCKERFILE
    assert "--require-hashes" in DOCKERFILE
    assert users
    assert int(users[-1][0]) > 0


def test_the_example_names_every_variable_that_the_file_asks_for() -> None:
    """Whoever fills in the example has what the file insists on; secrets are left for them to make."""
    asked = set(re.findall(r"\$\{(\w+)", compose.FILE.read_text(encoding="utf-8")))
    named = dict(re.findall(r"^#?(\w+)=(.*)$", EXAMPLE, re.MULTILINE))

    assert set(named) == asked
    assert {name for name, value in named.items() if not value} == set(SECRETS)
    assert "/.env" in (sources.CHECKOUT / ".gitignore").read_text(encoding="utf-8").splitlines()
