"""A manifest that uses most of what manifests have, for tests that change one thing of it."""

from __future__ import annotations

from typing import Final

from upstream import manifest_file
from upstream.manifest import Manifest

TEXT: Final = """\
system = "north"
title = "Northwind Ledger"
grade = "A"
base_url = "https://${config.region}.north.example"
verify = "whoami"

[config.region]
title = "Region"
[config.time_zone]
title = "Time zone of the books"

[auth]
kind = "client_credentials"
token_url = "https://${config.region}.north.example/token"

[budgets.books]
limit = 500
window_seconds = 60

[operations.whoami]
method = "GET"
path = "/me"
effect = "read"
budgets = ["books"]

[operations.find_bill]
method = "GET"
path = "/bills"
query = { mark = "${value.mark}" }
effect = "read"
[operations.find_bill.pagination]
kind = "page"
param = "page"
size = 50

[operations.make_bill]
method = "POST"
path = "/bills"
effect = "write"
body = { kind = "json", under = "bill" }
handle = { place = "header", name = "Idempotency-Key" }

[operations.change_bill]
method = "PUT"
path = "/bills/${remote.id}"
effect = "write"
body = { kind = "json" }

[operations.describe_bill]
method = "GET"
path = "/bills/fields"
effect = "read"

[targets.bill]
write = "native"
create = "make_bill"
find = "find_bill"
marker = "mark"

[sources.bill]
operation = "find_bill"
since = "since"

[discovery.bill]
operation = "describe_bill"
fields = "fields"

[[errors]]
status = [400]
path = "error.code"
equals = ["stale"]
kind = "conflict"

[time."bill.due"]
kind = "local"
zone = "config"

[webhook]
verify = "hmac-sha256"
header = "X-North-Signature"
"""


def north() -> Manifest:
    """Give the manifest."""
    return manifest_file.parse(TEXT)
