"""What is odd about QuickBooks: an invoice can be changed there for ever, and comes back with a line more.

The vendor would let an invoice that was sent or paid be rewritten. Nobody who keeps books wants that, so
before an invoice is changed or voided it is looked at: one that was sent, paid in part, or tied to another
transaction is closed, and what came later goes into a supplementary invoice or a credit memo.

A transaction that is read has a line with the subtotal that nobody sent; it is left out, so that what
stands there can be compared with what was told.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from upstream import replies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from upstream.bucket import Purpose
    from upstream.replies import Reply

CHANGES: Final = ("update_invoice", "void_invoice")
SENT: Final = "EmailSent"
POSTED: Final = "invoice_posted"
SUBTOTAL: Final = "SubTotalLineDetail"


class Caller(Protocol):
    """Whoever carries out the operations of the manifest."""

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,
        key: str | None = None,
        purpose: Purpose = "normal",
    ) -> Reply:
        """Carry one out."""
        ...

    def pages(self, operation: str, values: Mapping[str, Any], *, purpose: Purpose = "normal") -> AsyncIterator[Reply]:
        """Yield the pages of a list."""
        ...


class Hooks:
    """Stands before the connector: looks before an invoice is changed, and hands on all else."""

    def __init__(self, inner: Caller, _config: Mapping[str, str]) -> None:
        self._inner = inner

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,
        key: str | None = None,
        purpose: Purpose = "normal",
    ) -> Reply:
        """Carry out an operation."""
        if operation in CHANGES:
            seen = await self._inner.call("read_invoice", {}, remote=remote, purpose=purpose)
            if seen.kind != "ok":
                return seen if seen.kind in ("gone", "not_found", "auth", "config") else _later(seen)
            reason = _closed(seen.item)
            if reason:
                return replies.unsent("locked", POSTED, f"the invoice {seen.item.get('DocNumber', '')} {reason}")
        # A void names nothing but the invoice: what is in it does not matter any more.
        given = {} if operation in ("void_invoice", "retire_customer") else values
        reply = await self._inner.call(operation, given, remote=remote, key=key, purpose=purpose)
        return msgspec.structs.replace(reply, item=_own(reply.item), items=[_own(each) for each in reply.items])

    def pages(self, operation: str, values: Mapping[str, Any], *, purpose: Purpose = "normal") -> AsyncIterator[Reply]:
        """Yield the pages of a list."""
        return self._inner.pages(operation, values, purpose=purpose)


def _closed(invoice: Mapping[str, Any]) -> str:
    """Return why an invoice must not be changed any more; empty if it may."""
    if invoice.get("EmailStatus") == SENT:
        return "has been sent to the customer"
    if invoice.get("LinkedTxn"):
        kinds = ", ".join(sorted({str(each.get("TxnType", "")) for each in invoice["LinkedTxn"]}))
        return f"is tied to other transactions ({kinds})"
    total, balance = (Decimal(str(invoice.get(name) or 0)) for name in ("TotalAmt", "Balance"))
    return "has been paid in part" if balance != total else ""


def _own(item: Any) -> Any:
    """Return a transaction without the lines that the vendor adds up itself."""
    if not isinstance(item, dict) or not isinstance(item.get("Line"), list):
        return item
    return {**item, "Line": [line for line in item["Line"] if line.get("DetailType") != SUBTOTAL]}


def _later(seen: Reply) -> Reply:
    """Return a look that failed as what it is for the write: nothing was sent yet."""
    return replies.unsent("transient", seen.code, seen.message, retry_after_ms=seen.retry_after_ms)
