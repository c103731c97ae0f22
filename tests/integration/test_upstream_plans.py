"""How PostgreSQL finds the rows of the back door: by the right index, also as long as its tables are empty.

A plan is made once for all arguments, often while a table is empty and all its indexes seem alike, and stays while
it fills. One that goes by the tenant alone reads all that the tenant ever sent for each single delivery.
"""

from __future__ import annotations

import pytest

from upstream import store

BY_KEY = "deliveries_of_key"
BY_ID = "deliveries_pkey"
EXPECTED = {
    ("deliveries", "newest"): {BY_KEY},
    ("deliveries", "supersede"): {BY_KEY},
    ("deliveries", "drop_late"): {"deliveries_late"},
    ("deliveries", "lates"): {"deliveries_late"},
    ("deliveries", "lease"): {"deliveries_due", BY_KEY},
    ("deliveries", "leased"): {BY_ID, BY_KEY, "remotes_of_key", "attempts_pkey"},
    ("deliveries", "sent"): {BY_ID, "changes_of_record", "inbox_lane"},
    ("deliveries", "drop_obsolete"): {BY_KEY, "deliveries_late"},
    ("deliveries", "answered"): {"attempts_pkey"},
    ("deliveries", "looked"): {BY_ID},
    ("deliveries", "rest"): {BY_ID},
    ("deliveries", "reject"): {BY_ID},
    ("deliveries", "confirm"): {BY_ID},
    ("deliveries", "settle_unknown"): {BY_KEY},
    ("deliveries", "get"): {BY_ID},
    ("deliveries", "of_record"): {"deliveries_of_record"},
    ("deliveries", "attempts"): {"attempts_pkey"},
    ("outbox", "lease"): {"outbox_due"},
    ("outbox", "hold"): {"outbox_pkey"},
    ("outbox", "take_out"): {"outbox_pkey"},
    ("outbox", "renew"): {"outbox_pkey"},
    ("outbox", "put_off"): {"outbox_pkey", "deliveries_confirmed"},
    ("outbox", "wake"): {"outbox_waiting"},
    ("planning", "records"): {"records_pkey"},
    ("planning", "former"): {"changes_of_record"},
    ("planning", "gathered"): {"lookups_pkey", "records_pkey"},
    ("planning", "untold"): {"records_pkey", "outbox_pkey", "deliveries_of_record", "interventions_pkey"},
    ("connections", "fill_lookups"): {"records_pkey"},
    ("connections", "fill_changed"): {"changes_pkey", "records_pkey"},
    ("planning", "moved"): {"changes_of_record"},
    ("remotes", "get"): {"remotes_of_key"},
    ("remotes", "ids"): {"remotes_of_key"},
    ("remotes", "by_remote_id"): {"remotes_by_id"},
    ("remotes", "link"): {"remotes_by_id"},
    ("worker", "outbox_backlog"): {"outbox_due", "connections_tenant_id_name_key", "tenants_pkey"},
    ("worker", "deliveries_backlog"): {
        "deliveries_due",
        "deliveries_leased",
        "connections_tenant_id_name_key",
        "tenants_pkey",
    },
    ("worker", "flounder"): {BY_ID},
}


ANY_OF_CONNECTIONS = {"connections_pkey", "connections_tenant_id_name_key"}
"""A tenant has few of them: it does not matter how one is found."""


@pytest.mark.parametrize(("topic", "name"), EXPECTED)
async def test_each_piece_of_work_is_found_by_its_own_index(database, topic, name):
    """On empty tables the plan goes by the index whose columns the statement names."""
    text = store.statements(topic)[name]
    async with database.transaction(1) as session:
        prepared = await session.prepare(text)
        arguments = ", ".join("NULL" for _ in prepared.get_parameters())
        await session.execute(f"PREPARE asked AS {text}")
        lines = [row[0] for row in await session.fetch(f"EXPLAIN (COSTS off) EXECUTE asked({arguments})")]
        await session.execute("DEALLOCATE asked")

    used = {line.partition(" using ")[2].split(" ")[0] for line in lines if " using " in line}
    assert used - ANY_OF_CONNECTIONS == EXPECTED[topic, name] - ANY_OF_CONNECTIONS
    assert not [line for line in lines if "Seq Scan" in line]
