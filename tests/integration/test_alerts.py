"""Alerts: found by what is stored, told once to a webhook and by mail, told again when it is over."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from replication.mutation import Mutation
from syncserver.commands.upkeep import Rules, Upkeep
from tests.integration.crm_trial import CrmTrial
from tests.integration.test_inbound import trial, vendor
from tests.integration.world import seen
from tests.peers import certificates
from tests.peers.crm import changed
from tests.peers.post_office import post_office
from tests.peers.receiver import Receiver
from upstream import alerts, connections, noticing, signing, sinks
from upstream.alarms import Alarms
from upstream.alerts import Finding, Limits
from upstream.sinks import Mail, NotTold, Place, Told, Webhook
from upstream.transport import Http

__all__ = ["trial", "vendor"]  # fixtures of the folder

SECRET = b"s" * 32
LIMITS = Limits()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give the operator's own address."""
    made = Receiver()
    async with made.server:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """Give the way out."""
    made = Http(allow_loopback=True)
    yield made
    await made.close()


class Watchman:
    """Looks at one tenant, and tells."""

    def __init__(self, made: CrmTrial, *told: Any) -> None:
        self.trial = made
        self.alarms = Alarms(made.database, told, LIMITS)
        self.tenants = [made.world.tenant]

    async def watch(self) -> list[tuple[str, str]]:
        """Look and tell once; return rules and severities of what is open."""
        await self.alarms.look(self.tenants)
        while await self.alarms.tell(self.tenants):
            pass
        return await self.open()

    async def open(self) -> list[tuple[str, str]]:
        """Return rules and severities of what is open."""
        found = await alerts.listed(self.trial.database, self.trial.world.tenant, is_open=True)
        return sorted((alert.rule, alert.severity) for alert in found)


def webhook(http: Http, receiver: Receiver) -> Webhook:
    """Return the sink that the operator's address is."""
    return Webhook(http, receiver.url, SECRET, lambda: datetime.now(UTC).timestamp())


async def test_nothing_is_wrong_with_a_fresh_connection(trial):
    """No rule names a connection that is as it should be."""
    assert await Watchman(trial).watch() == []


async def test_what_is_odd_about_one_tenant_keeps_no_other_from_its_alerts(trial, monkeypatch):
    """A mistake of ours while the first tenant is looked at: the next one is looked at all the same."""
    watchman = Watchman(trial)
    await trial.run("UPDATE connections SET state = 'reauthorise', state_reason = 'invalid_grant'")
    look = alerts.look

    async def odd(database, tenant_id, *rest):
        if tenant_id != trial.world.tenant:
            raise KeyError(tenant_id)
        return await look(database, tenant_id, *rest)

    monkeypatch.setattr(alerts, "look", odd)
    await watchman.alarms.look([999, trial.world.tenant])

    assert await watchman.open() == [("connection_latched", "critical")]


async def test_a_refused_sign_in_is_told_once_and_told_when_it_is_over(trial, receiver, http):
    """The latch is critical; looking again tells nothing; putting it right is told too."""
    watchman = Watchman(trial, webhook(http, receiver))
    await trial.run("UPDATE connections SET state = 'reauthorise', state_reason = 'invalid_grant'")
    found = await watchman.watch()
    for _ in range(3):
        await watchman.watch()
    told = receiver.verified(signing.written(SECRET))["data"]["alerts"]
    await trial.run("UPDATE connections SET state = 'ok', state_reason = ''")
    over = await watchman.watch()

    assert found == [("connection_latched", "critical")]
    assert [(alert["state"], alert["message"]) for alert in told] == [
        ("opened", "crm has to be signed in again: invalid_grant")
    ]
    assert (over, len(receiver.came)) == ([], 2)
    assert receiver.verified(signing.written(SECRET))["data"]["alerts"][0]["state"] == "resolved"


async def test_dead_letters_and_deliveries_in_doubt_are_told_apart(trial):
    """What was given up is a warning, many of them and what nobody knows are critical."""
    await dead(trial, "rejected", 1)
    first = await Watchman(trial).watch()
    await dead(trial, "rejected", LIMITS.dead_many)
    await dead(trial, "unknown", 1)

    assert first == [("dead_letters", "warning")]
    assert await Watchman(trial).watch() == [("dead_letters", "critical"), ("deliveries_unknown", "critical")]


async def test_what_becomes_worse_is_told_again(trial, receiver, http):
    """A warning that has become critical is told, and resolved once."""
    watchman = Watchman(trial, webhook(http, receiver))
    await dead(trial, "rejected", 1)
    await watchman.watch()
    await dead(trial, "rejected", LIMITS.dead_many)
    await watchman.watch()
    await trial.run("DELETE FROM deliveries")
    await watchman.watch()
    said = [receiver.verified(signing.written(SECRET), place)["data"]["alerts"] for place in range(3)]

    assert [(each[0]["state"], each[0]["severity"]) for each in said] == [
        ("opened", "warning"),
        ("opened", "critical"),
        ("resolved", "critical"),
    ]
    assert len(receiver.came) == 3


async def test_an_end_is_told_before_it_comes(trial):
    """Certificates and passwords are told in time, more urgently shortly before; a token that renews itself never."""
    soon = datetime.now(UTC) + timedelta(days=10)
    await trial.run("UPDATE credentials SET token_expires_at = now(), renew_at = now()")
    nothing = await Watchman(trial).watch()
    await trial.run("UPDATE credentials SET certificate_expires_at = $1", soon)
    warning = await Watchman(trial).watch()
    await trial.run("UPDATE credentials SET certificate_expires_at = $1", soon - timedelta(days=8))

    assert (nothing, warning) == ([], [("expiry", "warning")])
    assert await Watchman(trial).watch() == [("expiry", "critical")]


async def test_a_change_that_is_not_told_for_long_is_lag(trial):
    """A quarter of an hour is a warning, an hour is critical; a paused connection is not late."""
    await trial.world.submit(trial.world.office(made_customer()))
    fresh = await Watchman(trial).watch()
    await trial.run("UPDATE outbox SET marked_at = now() - interval '20 minutes'")
    late = await Watchman(trial).watch()
    await trial.run("UPDATE outbox SET marked_at = now() - interval '2 hours'")
    very_late = await Watchman(trial).watch()
    await trial.run("UPDATE connections SET state = 'paused'")

    assert (fresh, late, very_late) == ([], [("lag", "warning")], [("lag", "critical")])
    assert await Watchman(trial).watch() == []


async def test_a_silent_stop_is_told_against_the_weeks_before(trial):
    """A connection with traffic at this hour in both weeks before, and none now, is silent; a quiet one is not."""
    await trial.run("UPDATE connections SET created_at = now() - interval '60 days'")
    await traffic(trial, weeks=(1,), pieces=50)
    one_week = await Watchman(trial).watch()
    await traffic(trial, weeks=(2,), pieces=6)
    stopped = await Watchman(trial).watch()
    await traffic(trial, weeks=(0,), pieces=1)

    assert one_week == []
    assert stopped == [("silent", "critical")]
    assert await Watchman(trial).watch() == []


async def test_what_has_been_silent_for_long_is_not_over(trial):
    """A silence that outlasts the weeks it is compared with, or lasts into the night, is over when something comes."""
    await trial.run("UPDATE connections SET created_at = now() - interval '60 days'")
    await traffic(trial, weeks=(1, 2), pieces=50)
    stopped = await Watchman(trial).watch()
    await trial.run("UPDATE inbox SET received_at = received_at - interval '1 week'")
    a_week_later = await Watchman(trial).watch()
    await traffic(trial, weeks=(0,), pieces=1)

    assert stopped == a_week_later == [("silent", "critical")]
    assert await Watchman(trial).watch() == []


async def test_a_young_connection_is_measured_by_the_weeks_that_it_has_seen(trial):
    """A connection ten days old has one week to be compared with; one of three days has none."""
    await trial.run("UPDATE connections SET created_at = now() - interval '3 days'")
    await traffic(trial, weeks=(1,), pieces=50)
    young = await Watchman(trial).watch()
    await trial.run("UPDATE connections SET created_at = now() - interval '10 days'")

    assert young == []
    assert await Watchman(trial).watch() == [("silent", "critical")]


async def test_webhooks_that_went_quiet_and_events_that_failed_are_told(trial):
    """Polling that took over says so; so does an event that could not be taken in."""
    await trial.poll()
    await trial.run("UPDATE polls SET is_quiet = true")
    await trial.tell({"event": "e1", "kind": "customer.changed", "id": "", "version": "1"})
    await trial.take_in()

    assert await Watchman(trial).watch() == [("inbox_failed", "warning"), ("webhooks_quiet", "warning")]


async def test_polls_that_fail_and_events_that_wait_are_told(trial, vendor):
    """Five polls in vain, and an event that waits for long."""
    vendor.broken_page = 1
    for _ in range(alerts.POLL_FAILURES_MAX):
        await trial.poll()
    await trial.tell(changed(vendor.put("c1", name="Meier"), "e1"))
    await trial.run("UPDATE inbox SET received_at = now() - interval '1 hour'")

    assert await Watchman(trial).watch() == [("inbox_late", "warning"), ("polling_failed", "warning")]


async def test_a_schema_that_is_another_than_the_mapping_knows_is_told(trial):
    """Fields found otherwise after the mapping was published are drift, until a mapping is published for them."""
    place = (trial.world.tenant, trial.connection.connection)
    version = trial.connection.mapping_version
    await trial.run(
        "INSERT INTO mappings"
        " (tenant_id, connection, version, digest, content, state, made_by, published_by, published_at)"
        " VALUES ($1, $2, $3, 'd', 'c', 'published', 'p', 'p', now() - interval '1 day')",
        *place,
        version,
    )
    for number in (1, 2):
        await trial.run(
            "INSERT INTO schemas (tenant_id, connection, object, version, digest, source, fields)"
            " VALUES ($1, $2, 'customer', $3, 'd', 's', '[]')",
            *place,
            number,
        )
    drifted = await Watchman(trial).watch()
    await trial.run("UPDATE mappings SET published_at = now() + interval '1 second'")

    assert drifted == [("schema_changed", "warning")]
    assert await Watchman(trial).watch() == []


async def test_what_somebody_else_found_stays_until_they_settle_it(trial):
    """The rules resolve only what they find."""
    tenant = trial.world.tenant
    found = Finding(rule="drift", subject="customer.name", severity="critical", message="the field is gone")
    async with trial.database.transaction(tenant) as session:
        await alerts.report(session, tenant, [found])
    open_then = await Watchman(trial).watch()
    async with trial.database.transaction(tenant) as session:
        settled = await alerts.settle(session, tenant, "drift", "customer.name")

    assert (open_then, [each["rule"] for each in settled]) == ([("drift", "critical")], ["drift"])
    assert await Watchman(trial).watch() == []


async def test_what_was_noticed_of_a_connection_is_over_with_it(trial):
    """What answers showed is settled by more answers; a connection that was removed gives none."""
    tenant, connection = trial.world.tenant, trial.connection.connection
    subject = f"{connection}/customer"
    found = Finding(rule=noticing.RULE, subject=subject, severity="critical", message="no name any more")
    async with trial.database.transaction(tenant) as session:
        await alerts.report(session, tenant, [found])
    open_then = await Watchman(trial).watch()
    async with trial.database.transaction(tenant) as session:
        await connections.remove(session, tenant, connection)

    assert open_then == [(noticing.RULE, "critical")]
    assert await Watchman(trial).watch() == []


async def test_a_mail_is_sent_about_all_that_is_new(trial):
    """A real mail server gets one mail for two alerts, with both in it and the worst in its subject."""
    async with post_office() as office:
        people = {"sender": "fieldsync@here.example", "recipients": ("ops@here.example",)}
        place = Place(host="127.0.0.1", port=office.port, **people)
        await dead(trial, "rejected", 1)
        await trial.run("UPDATE connections SET state = 'broken', state_reason = 'a line\r\nBcc: thief@there.example'")
        await Watchman(trial, Mail(place)).watch()
        [mail] = office.mails

    body = mail.get_content()
    assert mail["To"] == "ops@here.example"
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("[fieldsync] opened: crm cannot be used")
    assert mail["Subject"].endswith("(and 1 more)")
    assert "dead_letters" in body
    assert "connection_latched" in body


async def test_a_sink_that_fails_is_tried_again_and_the_other_is_not_told_twice(trial, receiver, http):
    """Mail that is refused is sent later; the webhook, which knows, hears nothing more."""
    async with post_office() as office:
        office.closed = True
        place = Place(host="127.0.0.1", port=office.port, sender="a@here.example", recipients=("b@here.example",))
        watchman = Watchman(trial, webhook(http, receiver), Mail(place))
        await trial.run("UPDATE connections SET state = 'broken'")
        await watchman.watch()
        [alert] = await alerts.listed(trial.database, trial.world.tenant)
        office.closed = False
        await trial.run("UPDATE alerts SET due_at = now()")
        await watchman.watch()

    assert alert.told == ("webhook:critical",)
    assert alert.trouble.startswith("mail: SMTPDataError")
    assert (len(receiver.came), len(office.mails)) == (1, 1)


async def test_a_password_goes_over_tls_only(tmp_path: Path):
    """With a user the server has to offer TLS, and is signed in at; one without it gets neither password nor mail.

    A password that the protocol cannot write down is a place that is not told, and no end of telling.
    """
    authority, identity = server_identity(tmp_path)
    alert = Told(
        alert_id=str(uuid4()),
        tenant_id=1,
        rule="lag",
        subject="c",
        severity="warning",
        message="late",
        state="opened",
        opened_at=datetime.now(UTC),
        resolved_at=None,
    )
    trust = ssl.create_default_context(cafile=str(authority))
    async with post_office("ops", "p", identity) as office:
        unwritable = sinks.place(f"smtp://ops:p%C3%A4ss@127.0.0.1:{office.port}", "a@here.example", ["b@here.example"])
        with pytest.raises(NotTold, match="ascii"):
            await Mail(unwritable, tls=trust).tell([alert])
    async with post_office("ops", "p:w@d", identity) as office:
        place = sinks.place(f"smtp://ops:p%3Aw%40d@127.0.0.1:{office.port}", "a@here.example", ["b@here.example"])
        await Mail(place, tls=trust).tell([alert])
    async with post_office() as plain:
        elsewhere = sinks.place(f"smtp://ops:secret@127.0.0.1:{plain.port}", "a@here.example", ["b@here.example"])
        with pytest.raises(NotTold, match="offers no TLS"):
            await Mail(elsewhere).tell([alert])

    assert len(office.mails) == 1
    assert plain.mails == []


async def test_a_tenant_may_be_told_of_alerts_by_its_own_webhook(trial):
    """What is opened and resolved is a message for endpoints that subscribe to it."""
    await trial.run(
        "INSERT INTO endpoints (tenant_id, endpoint_id, url, types, secret)"
        " VALUES ($1, $2, 'https://a', '{alert.opened}', '')",
        trial.world.tenant,
        str(uuid4()),
    )
    await trial.run("UPDATE connections SET state = 'broken'")
    await Watchman(trial).watch()

    found = await trial.ask("SELECT m.type FROM postings AS p JOIN messages AS m USING (tenant_id, message_id)")
    assert found == [{"type": "alert.opened"}]


def made_customer() -> Mutation:
    """Return the mutation that makes a customer."""
    return seen("customers", str(uuid4()), op="create", set={"name": "Meier"})


async def dead(made: CrmTrial, state: str, count: int) -> None:
    """Leave deliveries that wait for a person."""
    await made.run(
        "INSERT INTO deliveries (tenant_id, delivery_id, connection, object, key, collection, record_id, cause_seq,"
        " seen_seq, action, state, mode, idempotency_key, marker, fields, mapping_version, marked_at)"
        " SELECT $1, gen_random_uuid(), $2, 'customer', gen_random_uuid()::text, 'customers', gen_random_uuid(), 1, 1,"
        " 'upsert', $3, 'live', gen_random_uuid(), 'm', '{}', 1, now() FROM generate_series(1, $4)",
        made.world.tenant,
        made.connection.connection,
        state,
        count,
    )


async def traffic(made: CrmTrial, *, weeks: tuple[int, ...], pieces: int) -> None:
    """Leave events that came at this hour so many weeks ago."""
    for week in weeks:
        await made.run(
            "INSERT INTO inbox (tenant_id, inbox_id, connection, event, source, object, remote_id, remote_version,"
            " is_whole, body, state, received_at)"
            " SELECT $1, gen_random_uuid(), $2, gen_random_uuid()::text, 'hook', '', '', '', false, '{}', 'absorbed',"
            " now() - make_interval(weeks => $3, hours => 1) FROM generate_series(1, $4)",
            made.world.tenant,
            made.connection.connection,
            week,
            pieces,
        )


def server_identity(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return an authority, and what a server of its shows."""
    house = certificates.Authority("house")
    authority = folder / "authority.pem"
    authority.write_text(house.certificate)
    pair = folder / "server.pem"
    pair.write_text("".join(house.give("server")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return authority, context


async def test_what_is_over_is_forgotten_in_its_time(trial, vendor):
    """The upkeep takes events, messages and alerts away that came to an end long ago, and nothing that waits."""
    tenant = trial.world.tenant
    await trial.tell(changed(vendor.put("c1", name="a"), "old"), changed(vendor.put("c2", name="b"), "young"))
    await trial.take_in()
    await trial.tell({"event": "failed", "kind": "customer.changed", "id": "", "version": "1"})
    await trial.take_in()
    await trial.run("UPDATE inbox SET ended_at = now() - interval '31 days' WHERE event <> 'young'")
    old = "INSERT INTO messages VALUES ($1, gen_random_uuid(), 'ping', '{}', now() - interval '31 days')"
    await trial.run(old, tenant)
    await trial.run("UPDATE connections SET state = 'broken'")
    await Watchman(trial).watch()
    await trial.run("UPDATE connections SET state = 'ok'")
    await Watchman(trial).watch()
    await trial.run("UPDATE alerts SET resolved_at = now() - interval '91 days' WHERE rule = 'connection_latched'")

    keeping = Upkeep(trial.database, Rules(), lambda _: None)
    taken = {task: (await keeping.turn(tenant, task)).rows for task in ("events", "messages", "alerts")}

    assert taken == {"events": 1, "messages": 1, "alerts": 1}
    assert [row["event"] for row in await trial.ask("SELECT event FROM inbox ORDER BY event")] == ["failed", "young"]


def test_the_page_names_every_rule_and_no_other():
    """What may be opened stands in the table of docs/alerts.md, each rule once."""
    page = Path(__file__).resolve().parents[2].joinpath("docs", "alerts.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert sorted(named) == sorted((*alerts.FOUND, noticing.RULE))
