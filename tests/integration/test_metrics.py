"""What Prometheus is told, by a real server and a real worker, and what the shipped rules make of it."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import yaml

from tests.integration.service import KEYS, Service
from tests.integration.test_worker import free_port, get, until, work
from upstream import connections, readings
from upstream.credentials import Keeper

RULES = Path(__file__).resolve().parents[2] / "ops" / "prometheus-rules.yml"
NAME = re.compile(r"\bfieldsync_[a-z_]+")
FAMILY = re.compile(r"^# TYPE (fieldsync_[a-z_]+) (\w+)$", re.MULTILINE)
SELECTED = re.compile(r"(fieldsync_[a-z_]+)\{([^}]+)\}")
CONDITION = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
SERIES = re.compile(r"^(?P<name>fieldsync_[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
BACK_DOOR = (
    "fieldsync_connection",
    "fieldsync_credentials",
    "fieldsync_deliveries",
    "fieldsync_token",
    "fieldsync_inbox",
    "fieldsync_alerts",
)
LABELS = {
    "connection",
    "state",
    "stage",
    "kind",
    "lane",
    "came",
    "object",
    "rule",
    "severity",
    "task",
    "outcome",
    "method",
    "route",
    "status",
    "verdict",
    "collection",
    "field",
    "le",
}
PERSON = "Ada Brunner"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def named() -> set[str]:
    """Return every metric that the rules name."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {name for group in groups for rule in group["rules"] for name in NAME.findall(rule["expr"])}


def shown(page: str) -> set[str]:
    """Return every name under which a page of metrics has numbers."""
    found = set()
    for family, kind in FAMILY.findall(page):
        base = family.removesuffix("_total") if kind == "counter" else family
        found |= {base + suffix for suffix in SUFFIXES[kind]}
    return found


@pytest.fixture
async def connection(service: Service) -> str:
    """Give a connection with credentials, one delivery behind it and one that waits."""
    new = connections.New(system="crm", name="crm", manifest="crm", authority="crm", mode="live")
    made = await connections.make(service.database, service.tenant, str(uuid4()), new)
    await Keeper(service.database, KEYS).put(service.tenant, made.connection, {"token": "t"})
    async with service.database.transaction(service.tenant) as session:
        await session.execute("UPDATE credentials SET certificate_expires_at = now() + interval '10 days'")
        for state, due, ended in (("confirmed", None, "now()"), ("planned", "now() + interval '1 hour'", None)):
            await session.execute(
                "INSERT INTO deliveries (tenant_id, delivery_id, connection, object, key, collection, record_id,"
                " cause_seq, seen_seq, action, state, mode, idempotency_key, marker, fields, mapping_version,"
                " marked_at, made_at, first_sent_at, ended_at, due_at)"
                " VALUES ($1, gen_random_uuid(), $2, 'o', $3, 'c',"
                " gen_random_uuid(), 1, 1, 'upsert', $3, 'live', gen_random_uuid(), 'm', '{}', 1,"
                " now() - interval '60 seconds', now() - interval '50 seconds', now() - interval '30 seconds',"
                f" {ended or 'NULL'}, {due or 'NULL'})",
                service.tenant,
                made.connection,
                state,
            )
    return made.connection


async def pages(service: Service, database_url: str) -> tuple[str, str]:
    """Return what a server and a worker show."""
    port = free_port()
    async with work(database_url, FIELDSYNC_WORKER_PORT=str(port)) as process:

        async def read() -> str:
            answer = await get(port, "/metrics")
            return answer[1] if answer and "fieldsync_connection_state{" in answer[1] else ""

        page = await until(read)
        process.terminate()
        await process.communicate()
    async with httpx.AsyncClient() as client:
        await client.get(f"{service.url}/health")
        return (await client.get(f"{service.url}/metrics")).text, page


@pytest.mark.usefixtures("connection")
async def test_the_shipped_rules_name_only_what_is_shown(service, postgres_url):
    """Every metric in the rules is one that a running server or worker has."""
    server, worker = await pages(service, await address(service, postgres_url))

    missing = named() - shown(server) - shown(worker)
    assert len(named()) >= 15
    assert not missing


async def test_a_worker_tells_how_each_connection_is(service, connection, postgres_url):
    """Age of what waits, deliveries by state, stages, freshness, ends of credentials, each with its connection."""
    _, page = await pages(service, await address(service, postgres_url))

    def number(name: str, **labels: str) -> float:
        wanted = {"connection": connection, **labels}
        for line in page.splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in wanted.items()):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"{name} {wanted} is not shown")

    assert number("fieldsync_deliveries", state="confirmed") == 1
    assert number("fieldsync_deliveries", state="planned") == 1
    assert number("fieldsync_undelivered_seconds") >= 60
    assert number("fieldsync_connection_state", state="ok") == 1
    assert number("fieldsync_connection_freshness_seconds") >= 0
    assert number("fieldsync_delivery_stage_seconds", stage="planned") == pytest.approx(10)
    assert number("fieldsync_delivery_stage_seconds", stage="sent") == pytest.approx(20)
    assert number("fieldsync_delivery_stage_seconds", stage="confirmed") == pytest.approx(30)
    assert 9 * 86_400 < number("fieldsync_token_expires_seconds", kind="certificate") <= 10 * 86_400


async def test_nobody_is_told_that_a_connection_in_shadow_mode_is_silent(service, connection):
    """Nothing is sent in shadow mode: its age is not shown, so the rule for silence finds nothing."""
    tenants = [service.tenant]

    async def fresh() -> list[str]:
        gauges = {gauge.name: gauge for gauge in await readings.read(service.database, tenants)}
        return [where for (where,), _ in gauges["fieldsync_connection_freshness_seconds"].samples]

    assert await fresh() == [connection]
    async with service.database.transaction(service.tenant) as session:
        await session.execute("UPDATE connections SET mode = 'shadow'")
    assert await fresh() == []


async def test_every_state_that_the_rules_ask_for_is_one_that_there_is(service, connection, postgres_url):
    """After a course of events that has all of it, each selector of a rule for connections fits a number."""
    other = await troubled(service, connection)
    server, worker = await pages(service, await address(service, postgres_url))
    shown_now = [*series(worker), *series(server)]

    missing = [
        f"{name}{{{key}{sign}{value}}}"
        for name, key, sign, value in selectors()
        if name.startswith(BACK_DOOR)
        and not any(each == name and _fits(labels.get(key, ""), sign, value) for each, labels, _ in shown_now)
    ]
    assert not missing
    assert [name for name, *_ in selectors() if name == "fieldsync_deliveries"] == ["fieldsync_deliveries"] * 2
    numbers = {(name, labels.get("state")): n for name, labels, n in shown_now if labels.get("connection") == other}
    assert numbers["fieldsync_deliveries", "rejected"] == 1
    assert numbers["fieldsync_deliveries", "in_doubt"] == 1
    assert numbers["fieldsync_connection_state", "reauthorise"] == 1
    assert numbers["fieldsync_inbox_events", "failed"] == 1


async def test_labels_are_few_and_tell_of_nobody(service, connection, postgres_url):
    """Each label is one of a closed list, and a method that nobody knows is counted as one word for all such."""
    await troubled(service, connection)
    async with httpx.AsyncClient() as client:
        for word in ("BREW", "WHEN"):
            await client.request(word, f"{service.url}/v1/work_orders")
    server, worker = await pages(service, await address(service, postgres_url))

    labels = {label for _, found, _ in [*series(server), *series(worker)] for label in found}
    methods = {found["method"] for _, found, _ in series(server) if "method" in found}
    assert labels <= LABELS
    assert not {"BREW", "WHEN"} & methods
    assert PERSON not in server + worker


async def troubled(service: Service, connection: str) -> str:
    """Have a second connection go wrong in every way that rules ask for; return its id."""
    new = connections.New(system="erp", name="erp", manifest="erp", authority="erp", mode="live")
    other = (await connections.make(service.database, service.tenant, str(uuid4()), new)).connection
    copied = (
        "INSERT INTO deliveries (tenant_id, delivery_id, connection, object, key, collection, record_id, cause_seq,"
        " seen_seq, action, state, mode, idempotency_key, marker, fields, mapping_version, marked_at)"
        " VALUES ($1, gen_random_uuid(), $2, 'o', $3, 'c', gen_random_uuid(), 1, 1, 'upsert', $4, $5,"
        " gen_random_uuid(), 'm', $6::text::jsonb, 1, now())"
    )
    named = f'{{"name": "{PERSON}"}}'
    async with service.database.transaction(service.tenant) as session:
        for key, state, mode in (("1", "rejected", "live"), ("2", "unknown", "live"), ("3", "rejected", "shadow")):
            await session.execute(copied, service.tenant, other, key, state, mode, named)
        await session.execute("UPDATE connections SET state = 'reauthorise' WHERE connection = $1", other)
        await session.execute(
            "INSERT INTO inbox (tenant_id, connection, inbox_id, event, source, object, remote_id, remote_version,"
            " is_whole, body, state) VALUES ($1, $2, gen_random_uuid(), 'e', 'hook', 'o', $3, '1', false, '{}',"
            " 'failed')",
            service.tenant,
            other,
            PERSON,
        )
        await session.execute(
            "INSERT INTO polls (tenant_id, connection, object, is_quiet) VALUES ($1, $2, 'o', true)",
            service.tenant,
            other,
        )
        await session.execute(
            "INSERT INTO alerts (tenant_id, alert_id, rule, subject, severity, message)"
            " VALUES ($1, gen_random_uuid(), 'trial', $2, 'critical', $3)",
            service.tenant,
            other,
            PERSON,
        )
    assert connection != other
    return other


def selectors() -> set[tuple[str, str, str, str]]:
    """Return each condition on a label in the rules: metric, label, sign and value."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    texts = [rule["expr"] for group in groups for rule in group["rules"]]
    found = set()
    for name, inside in (each for text in texts for each in SELECTED.findall(text)):
        found |= {(name, *each) for each in CONDITION.findall(inside)}
    return found


def series(page: str) -> list[tuple[str, dict[str, str], float]]:
    """Return every number of a page: name, labels, value."""
    return [
        (match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"]))
        for match in SERIES.finditer(page)
    ]


def _fits(found: str, sign: str, value: str) -> bool:
    match sign:
        case "=":
            return found == value
        case "!=":
            return found not in ("", value)
        case _:
            return re.fullmatch(value, found) is not None


async def address(service: Service, postgres_url: str) -> str:
    """Return the URL of the database that the service works on."""
    async with service.database.transaction(service.tenant) as session:
        name = await session.fetchval("SELECT current_database()")
    return f"{postgres_url.rpartition('/')[0]}/{name}"
