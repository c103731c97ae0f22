"""QuickBooks Online as far as it is used: customers, items, invoices, credit memos, and a query language.

A repeated `requestid` is answered with what was answered before (unless `forgets_keys`, which users report);
a change names the SyncToken that it replaces, else 5010; names and document numbers are there once; a row shows
up in queries after a while.
"""

from __future__ import annotations

import base64
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import Any, Final

from tests.peers.vendor.company import Company
from tests.peers.vendor.server import Request, Response

KINDS: Final = {"customer": "Customer", "invoice": "Invoice", "creditmemo": "CreditMemo", "item": "Item"}
COMPANY_ZONE: Final = timezone(timedelta(hours=-8))
"""Times are shown with the offset of the company's own zone."""
_QUERY: Final = re.compile(
    r"select \* from (?P<entity>\w+)"
    r"(?: where (?P<field>[\w.]+) (?P<sign>=|>=) '(?P<value>(?:[^'\\]|\\.)*)'(?: and Active in \(true, false\))?)?"
    r"(?: orderby (?P<order>[\w.]+))?(?: startposition (?P<at>\d+))?(?: maxresults (?P<size>\d+))?"
)


class QuickBooks(Company):
    """The vendor."""

    system = "quickbooks"

    def __init__(self, *args: Any, lag_seconds: float = 0.0, **more: Any) -> None:
        super().__init__(*args, **more)
        self.realm = "4620816365"
        self.lag_seconds = lag_seconds
        self.forgets_keys = False
        self.allows_twins = False
        """Whether a document number may be there twice, as some companies have it."""
        self.closed_until = ""
        """The books up to this day are closed."""
        self.rows: dict[str, dict[str, dict[str, Any]]] = {entity: {} for entity in KINDS.values()}
        self._answers: dict[str, Response] = {}
        self._searchable: dict[tuple[str, str], float] = {}
        self._numbers = count(101)
        self._ticks = count()

    def stock(self, name: str, price: str, sku: str = "") -> str:
        """Let there be an item; return its id."""
        return str(self._put("Item", {"Name": name, "Sku": sku, "UnitPrice": float(price), "Active": True})["Id"])

    def meet(self, name: str, phone: str) -> str:
        """Let there be a customer; return its id."""
        number = {"FreeFormNumber": phone}
        return str(self._put("Customer", {"DisplayName": name, "PrimaryPhone": number})["Id"])

    def send(self, invoice: str) -> None:
        """Send an invoice to the customer."""
        self._put("Invoice", {**self.rows["Invoice"][invoice], "EmailStatus": "EmailSent"})

    def pay(self, invoice: str, amount: float) -> None:
        """Take a payment for an invoice."""
        row = self.rows["Invoice"][invoice]
        tie = [{"TxnId": "9001", "TxnType": "Payment"}]
        self._put("Invoice", {**row, "Balance": round(row["Balance"] - amount, 2), "LinkedTxn": tie})

    def rename(self, customer: str, name: str) -> None:
        """Let somebody in the office there change a customer's name."""
        self._put("Customer", {**self.rows["Customer"][customer], "DisplayName": name})

    def listed(self, entity: str) -> list[dict[str, Any]]:
        """Return the records of a kind."""
        return list(self.rows[entity].values())

    def event(self, entity: str, remote_id: str, secret: str) -> tuple[bytes, dict[str, str]]:
        """Return a webhook call: which record has changed, not how."""
        changed = {"name": entity, "id": remote_id, "operation": "Update", "lastUpdated": self._now()}
        body = {"eventNotifications": [{"realmId": self.realm, "dataChangeEvent": {"entities": [changed]}}]}
        raw, signature = self.signed(body, secret)
        shown = base64.b64encode(signature).decode()
        return raw, {"intuit-signature": shown, "content-type": "application/json"}

    def answer(self, operation: str, request: Request) -> Response:
        """Do what is asked."""
        if request.path[2] != self.realm:
            return self.no(403, "3100", "ApplicationAuthorizationFailed")
        if operation == "company_info":
            return Response(body={"CompanyInfo": {"CompanyName": "Trial", "Id": "1"}, "time": self._now()})
        if operation == "query":
            return self._query(request.query["query"])
        entity = KINDS[request.path[3]]
        if request.method == "GET":
            row = self.rows[entity].get(request.path[4])
            return self._shown(entity, row) if row else self.no(400, "610", "Object Not Found")
        key = request.query.get("requestid", "")
        if key in self._answers and not self.forgets_keys:
            return self._answers[key]
        answer = self._write(entity, request.json, request.query.get("operation", ""))
        if key and answer.status == 200:
            self._answers[key] = answer
        return answer

    def no(self, status: int, code: str, message: str) -> Response:
        """Say no in the vendor's own way."""
        kind = "AUTHENTICATION" if status == 401 else "ValidationFault"
        error = {"Message": message, "Detail": message, "code": code, "element": ""}
        return Response(status, {"Fault": {"Error": [error], "type": kind}, "time": self._now()})

    def throttled(self) -> Response:
        """Say that it is too much; how long to wait is not said."""
        error = {"Message": "ThrottleExceeded", "code": "003001"}
        return Response(429, {"Fault": {"Error": [error], "type": "THROTTLE"}})

    def lie(self) -> Response:
        """Say yes in the status and no in the body."""
        error = {"Message": "Business Validation Error", "Detail": "not now", "code": "6000"}
        return Response(200, {"Fault": {"Error": [error], "type": "ValidationFault"}})

    def changes(self, _operation: str, request: Request) -> bool:
        """Tell whether a request changes something."""
        return request.method == "POST"

    def consent(self, url: str) -> dict[str, str]:
        """Let a person choose this company; which one it is stands beside the code."""
        return {**super().consent(url), "realmId": self.realm}

    def granted(self, access: str, refresh: str) -> dict[str, Any]:
        """Return what a token request is answered with."""
        return {**super().granted(access, refresh), "x_refresh_token_expires_in": 8_726_400}

    def _query(self, text: str) -> Response:
        match = _QUERY.fullmatch(text)
        if match is None or match["entity"] not in self.rows:
            return self.no(400, "4000", "Error parsing query")
        found = [row for row in self.rows[match["entity"]].values() if self._is_found(match, row)]
        if match["order"]:
            found.sort(key=lambda row: str(_at(row, match["order"])))
        first, size = int(match["at"] or 1), int(match["size"] or 100)
        page = found[first - 1 : first - 1 + size]
        inside = {match["entity"]: [self._with_subtotal(row) for row in page], "maxResults": len(page)} if page else {}
        return Response(body={"QueryResponse": inside, "time": self._now()})

    def _is_found(self, match: re.Match[str], row: dict[str, Any]) -> bool:
        if self._searchable[match["entity"], row["Id"]] > time.monotonic():
            return False
        if not match["field"]:
            return True
        found, wanted = _at(row, match["field"]), re.sub(r"\\(.)", r"\1", match["value"])
        if match["sign"] == "=":
            return str(found) == wanted
        return datetime.fromisoformat(str(found)) >= datetime.fromisoformat(wanted)

    def _write(self, entity: str, given: dict[str, Any], operation: str) -> Response:
        if problem := self._problem(entity, given):
            return problem
        if "Id" not in given:
            return self._shown(entity, self._put(entity, given))
        row = self.rows[entity].get(given["Id"])
        if row is None:
            return self.no(400, "610", "Object Not Found")
        if given.get("SyncToken") != row["SyncToken"]:
            return self.no(400, "5010", "Stale Object Error")
        if operation == "void":
            lines = [{**line, "Amount": 0} for line in row["Line"]]
            return self._shown(entity, self._put(entity, {**row, "Line": lines, "PrivateNote": "Voided"}))
        assert given.get("sparse"), "what is not named would be cleared"
        return self._shown(entity, self._put(entity, {**row, **given}))

    def _problem(self, entity: str, given: dict[str, Any]) -> Response | None:
        """Return what keeps a record from being taken."""
        others = [row for row in self.rows[entity].values() if row["Id"] != given.get("Id")]
        if entity == "Customer":
            name = given.get("DisplayName")
            if name is None and "Id" not in given:
                return self.no(400, "2020", "Required parameter DisplayName is missing")
            twin = name is not None and any(row["DisplayName"] == name for row in others)
            return self.no(400, "6240", "Duplicate Name Exists Error") if twin else None
        number = given.get("DocNumber")
        if number and not self.allows_twins and any(row.get("DocNumber") == number for row in others):
            return self.no(400, "6140", "Duplicate Document Number Error")
        if given.get("TxnDate", "9999") <= self.closed_until:
            return self.no(400, "6210", "Account Period Closed, Cannot Update Through Services")
        if "Id" not in given and given["CustomerRef"]["value"] not in self.rows["Customer"]:
            return self.no(400, "2500", "Invalid Reference Id")
        return self._line_problem(given)

    def _line_problem(self, given: dict[str, Any]) -> Response | None:
        if "Id" not in given and not given.get("Line"):
            return self.no(400, "2020", "Required parameter Line is missing")
        for line in given.get("Line", ()):
            detail = line["SalesItemLineDetail"]
            if detail["ItemRef"]["value"] not in self.rows["Item"]:
                return self.no(400, "2500", "Invalid Reference Id: Item")
            product = Decimal(str(detail["Qty"])) * Decimal(str(detail["UnitPrice"]))
            if abs(product - Decimal(str(line["Amount"]))) > Decimal("0.005"):
                return self.no(400, "6070", "Amount is not equal to UnitPrice * Qty")
        total = sum(Decimal(str(line["Amount"])) for line in given.get("Line", ()))
        return self.no(400, "6000", "The total must be 0 or more") if total < 0 else None

    def _put(self, entity: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Store a record, new or changed."""
        row = {key: value for key, value in fields.items() if key != "sparse"}
        row_id = row.setdefault("Id", str(next(self._numbers)))
        before = self.rows[entity].get(row_id)
        row["SyncToken"] = str(int(before["SyncToken"]) + 1) if before else "0"
        row["MetaData"] = {"LastUpdatedTime": self._now()}
        if entity == "Customer":
            row.setdefault("Active", True)
        if "Line" in row:
            self._add_up(row, before)
        self.rows[entity][row_id] = row
        self._searchable.setdefault((entity, row_id), time.monotonic() + self.lag_seconds)
        return row

    def _add_up(self, row: dict[str, Any], before: dict[str, Any] | None) -> None:
        total = round(sum(line["Amount"] for line in row["Line"]), 2)
        if before is None or before["TotalAmt"] != total:
            row["Balance"] = total
        row["TotalAmt"] = total
        row.setdefault("TxnDate", datetime.now(UTC).date().isoformat())
        row.setdefault("LinkedTxn", [])

    def _shown(self, entity: str, row: dict[str, Any]) -> Response:
        return Response(body={entity: self._with_subtotal(row), "time": self._now()})

    def _with_subtotal(self, row: dict[str, Any]) -> dict[str, Any]:
        """Show a transaction with the line that the vendor adds up itself."""
        if "Line" not in row:
            return row
        lines = [{**line, "Id": str(place), "LineNum": place} for place, line in enumerate(row["Line"], 1)]
        return {**row, "Line": [*lines, {"Amount": row["TotalAmt"], "DetailType": "SubTotalLineDetail"}]}

    def _now(self) -> str:
        """Return a time that grows with each call, in the company's zone."""
        now = datetime.now(COMPANY_ZONE) + timedelta(milliseconds=next(self._ticks))
        return now.isoformat(timespec="milliseconds")


def _at(row: dict[str, Any], path: str) -> Any:
    found: Any = row
    for step in path.split("."):
        found = (found or {}).get(step)
    return found
