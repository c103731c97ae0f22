"""Which calls are counted together."""

from __future__ import annotations

import pytest

from tests import manifests
from upstream import budgets, manifest_file
from upstream.bucket import Heard
from upstream.manifest import Manifest

DAY_MS = 24 * 3_600_000


def whole(title: str = "Northwind Ledger") -> Manifest:
    """Give a manifest whose limit is that of the system as a whole."""
    text = manifests.TEXT.replace("limit = 500\n", 'limit = 500\nscope = "system"\n', 1)
    return manifest_file.parse(text.replace("Northwind Ledger", title))


def takes(manifest: Manifest, tenant_id: int, connection: str, **how: bool) -> tuple[budgets.Take, ...]:
    """Give the buckets of a call."""
    return budgets.takes(manifest, manifest.operations["whoami"], tenant_id, connection, **how)


@pytest.mark.parametrize("title", ["Northwind Ledger", "Another North"])
async def test_what_one_tenants_own_system_says_holds_no_other_tenant(title):
    """Two tenants brought a manifest under the same name: a pause of a day there is none of the other's."""
    local = budgets.Local(lambda: 0)
    first, second, third = takes(whole(), 1, "a"), takes(whole(title), 2, "b"), takes(whole(), 1, "c")

    await local.take(first, "normal", "s")
    await local.settle(first, budgets.heard(whole(), first, {}, 0, ok=False, hold_ms=DAY_MS), "s")

    assert await local.take(second, "normal", "s") == 0
    assert await local.take(third, "normal", "s") == DAY_MS


async def test_a_limit_of_a_shipped_system_is_counted_for_all():
    """Where the limit is the application's, all tenants share it, and those with manifests of their own do not."""
    local = budgets.Local(lambda: 0)
    first, second = (takes(whole(), tenant, "a", is_shipped=True) for tenant in (1, 2))

    await local.take(first, "normal", "s")
    await local.settle(first, [Heard(hold_ms=DAY_MS, throttled=True)], "s")

    assert await local.take(second, "normal", "s") == DAY_MS
    assert await local.take(takes(whole(), 1, "a"), "normal", "s") == 0
