"""What a value is, as plainly as it can be said: the oracle's own forms, operations and differences.

Only the kinds that the test catalogue uses. Shares no code with `replication.kinds`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

Table: TypeAlias = dict[str, Any]

OPS: Final = {"append": {"append"}, "counter": {"inc"}, "union": {"add", "remove"}}
"""The operations of each merge; the other merges have none."""

UUID_LENGTH: Final = 36


class Nonsense(ValueError):
    """A value or an operation that its field cannot have."""


def tidy(rule: Table, value: Any) -> Any:
    """Bring a value into the one form in which equal values are the same."""
    kind = rule["kind"]
    if value is None:
        return None
    if kind in ("text", "person", "reference", "choice"):
        return words(rule, value)
    if kind == "decimal":
        return plain(value)
    if kind in ("instant", "date"):
        return calendar(kind, value)
    if kind == "set" and isinstance(value, list):
        return sorted({words({"kind": "text"}, each) for each in value})
    if type(value) is {"boolean": bool, "integer": int}.get(kind):
        return value
    raise Nonsense(f"{value!r} is no {kind}")


def words(rule: Table, value: Any) -> str:
    """Bring a text or an id into its one form. Where people append, the space between them counts."""
    if not isinstance(value, str):
        raise Nonsense(f"{value!r} is no {rule['kind']}")
    text = unicodedata.normalize("NFC", value)
    text = text if rule.get("merge") == "append" else text.strip()
    if rule["kind"] == "choice" and text not in rule["choices"]:
        raise Nonsense(f"{value!r} is not to be chosen")
    if rule["kind"] in ("person", "reference") and len(text) != UUID_LENGTH:
        raise Nonsense(f"{value!r} is no {rule['kind']}")
    if len(text) > rule.get("limit", 20_000):
        raise Nonsense(f"{value!r} is too long")
    return text if rule["kind"] in ("text", "choice") else text.lower()


def plain(value: Any) -> str:
    """Write a decimal number without an exponent and without zeros at its end."""
    try:
        number = Decimal("no number" if isinstance(value, bool) else str(value).strip())
    except ArithmeticError as exc:
        raise Nonsense(str(value)) from exc
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def calendar(kind: str, value: Any) -> str:
    """Write a day as it is, and a moment in the time of Greenwich."""
    try:
        if kind == "date":
            return date.fromisoformat(value.strip()).isoformat()
        moment = datetime.fromisoformat(value.strip()).astimezone(UTC)
    except (AttributeError, TypeError, ValueError) as exc:
        raise Nonsense(f"{value!r} is no {kind}") from exc
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def tidy_op(rule: Table, op: Mapping[str, Any]) -> Table:
    """Bring an operation into its one form, if the field has a merge and such an operation."""
    if not op or not set(op) <= OPS.get(rule.get("merge", ""), set()):
        raise Nonsense(str(op))
    if "append" in op:
        return {"append": unicodedata.normalize("NFC", op["append"])}
    return {name: tidy(rule, value) for name, value in op.items()}


def done(rule: Table, current: Any, op: Mapping[str, Any]) -> Any:
    """Return the value after an operation, if the field has room for it and fitted what was there."""
    kind, current = rule["kind"], tidy(rule, current)
    if kind == "text":
        return tidy(rule, (current or "") + op["append"])
    if kind == "integer":
        return (current or 0) + op["inc"]
    if kind == "decimal":
        return plain(Decimal(current or "0") + Decimal(op["inc"]))
    return sorted((set(current or []) | set(op.get("add", []))) - set(op.get("remove", [])))


def difference(kind: str, was: Any, value: Any) -> Table | None:
    """Return what was done to get from one value to the other, if that is an operation at all."""
    if kind == "text":
        return {"append": value[len(was or "") :]} if value.startswith(was or "") else None
    if kind == "integer":
        return {"inc": value - (was or 0)}
    if kind == "decimal":
        return {"inc": str(Decimal(value) - Decimal(was or "0"))}
    return {"add": sorted(set(value) - set(was or [])), "remove": sorted(set(was or []) - set(value))}


def same(one: Any, other: Any) -> bool:
    """Tell whether two tidy values are one: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same(one[each], other[each]) for each in one)
    return type(one) is type(other) and bool(one == other)
