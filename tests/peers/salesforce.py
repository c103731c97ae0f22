"""Salesforce as far as it is used: accounts, contacts, work orders by an external id, and a query language.

Errors are a list, whatever the status. The limit of a day is a 403 without a word on how long to wait. A
work order whose external id is there twice answers 300.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.peers.vendor.company import Company
from tests.peers.vendor.server import Request, Response

PAGE: Final = 2
EXTERNAL: Final = "FieldsyncId__c"
STATUSES: Final = ("New", "In Progress", "On Hold", "Completed", "Closed", "Cannot Complete", "Canceled")
_QUERY: Final = re.compile(
    r"SELECT (?P<fields>[\w, ]+) FROM (?P<type>\w+)"
    r"(?: WHERE (?P<field>\w+) (?P<sign>=|>=) (?P<value>'(?:[^'\\]|\\.)*'|[\dTZ:.+-]+))?(?: ORDER BY (?P<order>\w+))?"
)


class Salesforce(Company):
    """The vendor."""

    system = "salesforce"
    user = "integration@example.com"

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.public_key: RSAKey | None = None
        self.day_limit = 15_000
        self.day_used = 0
        self.detects_duplicates = False
        self.locked_rows = 0
        """How many of the next writes find their row held by somebody else."""
        self.rows: dict[str, dict[str, dict[str, Any]]] = {"Account": {}, "Contact": {}, "WorkOrder": {}}
        self.picklists: dict[str, list[str]] = {"Status": list(STATUSES)}
        self.fields = {"Subject": "string", "Status": "picklist", "Description": "textarea", "StartDate": "datetime"}
        self.fields |= {"EndDate": "datetime", "AccountId": "reference", "Priority": "picklist"}
        self._pages: dict[str, list[dict[str, Any]]] = {}
        self._numbers = count(1)
        self._ticks = count()

    def account(self, name: str, **fields: Any) -> str:
        """Let there be an account; return its id."""
        return str(self.put("Account", {"Name": name, **fields})["Id"])

    def put(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Store a record, new or changed."""
        row_id = fields.get("Id") or f"{kind[:3].upper()}{next(self._numbers):015d}"
        row = {**self.rows[kind].get(row_id, {}), **fields, "Id": row_id, "SystemModstamp": self._now()}
        self.rows[kind][row_id] = row
        return row

    def answer(self, operation: str, request: Request) -> Response:
        """Do what is asked, and say how much of the day is used."""
        if self.day_used >= self.day_limit:
            return self.throttled()
        self.day_used += 1
        answer = self._answer(operation, request)
        usage = f"api-usage={self.day_used}/{self.day_limit}"
        return Response(answer.status, answer.body, {**answer.headers, "Sforce-Limit-Info": usage})

    def no(self, status: int, code: str, message: str) -> Response:
        """Say no in the vendor's own way."""
        return Response(status, [{"message": message, "errorCode": code, "fields": []}])

    def unauthorised(self) -> Response:
        """Say that the session has ended."""
        return self.no(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def throttled(self) -> Response:
        """Say that it is too much; how long to wait is not said."""
        return self.no(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    def lie(self) -> Response:
        """Say yes in the status and no in the body."""
        error = {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no", "fields": []}
        return Response(200, {"id": None, "success": False, "errors": [error]})

    def changes(self, _operation: str, request: Request) -> bool:
        """Tell whether a request changes something."""
        return request.method == "PATCH"

    def _token(self, form: dict[str, str]) -> Response:
        """Give a token for a statement that is signed, meant for here, and not old."""
        assert self.public_key is not None
        try:
            token = jwt.decode(form["assertion"], self.public_key, algorithms=["RS256"])
        except JoseError:
            return Response(400, {"error": "invalid_grant", "error_description": "invalid assertion"})
        claims, now = token.claims, datetime.now(UTC).timestamp()
        told = claims.get("sub") == self.user and claims.get("iss") == self.client[0] and claims.get("aud") == self.url
        if not told or not now < claims.get("exp", 0) <= now + 300:
            return Response(400, {"error": "invalid_grant", "error_description": "audience is invalid"})
        self._served += 1
        self.access = {f"session-{self._served}"}
        body = {"access_token": f"session-{self._served}", "instance_url": self.url, "token_type": "Bearer"}
        return Response(body=body)

    def _answer(self, operation: str, request: Request) -> Response:
        match operation:
            case "limits":
                left = self.day_limit - self.day_used
                return Response(body={"DailyApiRequests": {"Max": self.day_limit, "Remaining": left}})
            case "query":
                return self._query(request.query["q"])
            case "query_page":
                return self._page(request.path[-1])
            case "describe_work_order" | "describe_account":
                return Response(body=self._described(request.path[4]))
            case "account" | "contact":
                row = self.rows[request.path[4]].get(request.path[5])
                return Response(body=row) if row else self.no(404, "NOT_FOUND", "The requested resource does not exist")
            case _:
                return self._upsert(request.path[5], request.path[6], request.json)

    def _upsert(self, name: str, key: str, given: dict[str, Any]) -> Response:
        if name != EXTERNAL:
            return self.no(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {name}")
        if self.locked_rows:
            self.locked_rows -= 1
            return self.no(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if problem := self._problem(given):
            return problem
        found = [row for row in self.rows["WorkOrder"].values() if row.get(EXTERNAL) == key]
        if len(found) > 1:
            return Response(300, [f"/services/data/v63.0/sobjects/WorkOrder/{row['Id']}" for row in found])
        row = self.put("WorkOrder", {**({"Id": found[0]["Id"]} if found else {}), EXTERNAL: key, **given})
        body = {"id": row["Id"], "success": True, "errors": [], "created": not found}
        return Response(200 if found else 201, body)

    def _problem(self, given: dict[str, Any]) -> Response | None:
        unknown = sorted(set(given) - set(self.fields))
        if unknown:
            return self.no(400, "INVALID_FIELD", f"No such column '{unknown[0]}' on sobject of type WorkOrder")
        for name, allowed in self.picklists.items():
            if given.get(name) is not None and given[name] not in allowed:
                return self.no(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", f"{name}: bad value: {given[name]}")
        if given.get("AccountId") is not None and given["AccountId"] not in self.rows["Account"]:
            return self.no(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        return self.no(400, "DUPLICATES_DETECTED", "Use one of these records?") if self.detects_duplicates else None

    def _query(self, text: str) -> Response:
        match = _QUERY.fullmatch(text)
        if match is None or match["type"] not in self.rows:
            return self.no(400, "MALFORMED_QUERY", "unexpected token")
        names = [name.strip() for name in match["fields"].split(",")]
        rows = [row for row in self.rows[match["type"]].values() if _is_found(match, row)]
        if match["order"]:
            rows.sort(key=lambda row: row[match["order"]])
        shown = [{"attributes": {"type": match["type"]}, **{name: row.get(name) for name in names}} for row in rows]
        locator = f"01g{next(self._numbers):012d}"
        self._pages[locator] = shown
        return self._page(f"{locator}-0")

    def _page(self, place: str) -> Response:
        locator, _, first = place.partition("-")
        rows = self._pages[locator]
        end = int(first) + PAGE
        body = {"totalSize": len(rows), "done": end >= len(rows), "records": rows[int(first) : end]}
        if end < len(rows):
            body["nextRecordsUrl"] = f"/services/data/v63.0/query/{locator}-{end}"
        return Response(body=body)

    def _described(self, kind: str) -> dict[str, Any]:
        known = self.fields if kind == "WorkOrder" else {"Name": "string", "AccountNumber": "string", "Phone": "phone"}
        fields = [
            {
                "name": name,
                "type": type_,
                "nillable": True,
                "updateable": True,
                "picklistValues": [{"value": value} for value in self.picklists.get(name, [])],
            }
            for name, type_ in known.items()
        ]
        return {"name": kind, "fields": fields}

    def _now(self) -> str:
        """Return a time that grows with each call, as the vendor writes it."""
        now = datetime.now(UTC) + timedelta(milliseconds=next(self._ticks))
        return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}+0000"


def _is_found(match: re.Match[str], row: dict[str, Any]) -> bool:
    if not match["field"]:
        return True
    value = match["value"]
    if value.startswith("'"):
        return str(row.get(match["field"])) == re.sub(r"\\(.)", r"\1", value[1:-1])
    return _instant(row[match["field"]]) >= _instant(value)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text))
