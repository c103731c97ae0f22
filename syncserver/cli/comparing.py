"""What differs between two versions of a mapping, for a terminal: only what somebody has written, a key a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream.mapping import Condition, Gather, IntoMapping, ObjectMapping, Period, Ref, Row, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from upstream.compare import Difference

ITSELF: Final = ", itself"
"""What the comparison puts after the name of a mapping, where it speaks of all but its rows."""
NAMED: Final = frozenset(("target", "object", "collection"))
"""Keys that stand in the path of what they are keys of."""
TABLES: Final = (Row, Condition, Step, Gather, Period, Ref)
"""What a table within a mapping can be, told by its keys."""


def lines(found: Iterable[Difference]) -> Iterator[str]:
    """Yield what differs, in lines: a table that is new or gone has one for each key that was written."""
    for each in found:
        if each.change == "changed":
            yield line(each)
        else:
            yield from _whole(each.path, each.change, each.after if each.change == "added" else each.before)


def line(each: Difference) -> str:
    """Return what differs in one line."""
    return f"{each.path}  {each.change}  {json(each.before)}  {json(each.after)}"


def json(value: Any) -> str:
    """Return a value as JSON."""
    return msgspec.json.encode(value).decode()


def _whole(path: str, change: str, value: Any) -> Iterator[str]:
    """Yield what a part says that is new or gone."""
    if isinstance(value, dict) and _is_of_rows(path):
        for target, row in value.items():
            yield from _whole(f"{path}.{target}", change, row)
        return
    written = _written(_typed(path, value)) if isinstance(value, dict) else value
    if path.endswith(ITSELF):
        written.pop("rows")
    if not isinstance(written, dict):
        yield f"{path}  {change}  {json(written)}"
        return
    yield f"{path}  {change}"
    # What the path names already is not said twice.
    yield from (f"  {name}  {json(part)}" for name, part in written.items() if name not in NAMED)


def _is_of_rows(path: str) -> bool:
    """Whether a path is that of a whole mapping, which has its rows by their targets."""
    return "." not in path and not path.endswith(ITSELF)


def _typed(path: str, value: dict[str, Any]) -> Any:
    """Return a table as what it is, so that what was not written can be told from what was."""
    if path.endswith(ITSELF):
        return msgspec.convert({**value, "rows": ()}, ObjectMapping if path.startswith("out ") else IntoMapping)
    kind = next((each for each in TABLES if value.keys() == set(each.__struct_fields__)), None)
    return value if kind is None else msgspec.convert(value, kind)


def _written(value: Any) -> Any:
    """Return a value without what holds in each part of it if nothing is written."""
    if isinstance(value, (list, tuple)):
        return [_written(each) for each in value]
    if isinstance(value, dict):
        return {name: _written(each) for name, each in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    usual = {each.name for each in msgspec.structs.fields(value) if getattr(value, each.name) == _default(each)}
    whole = msgspec.to_builtins(value)
    return {name: _written(getattr(value, name, part)) for name, part in whole.items() if name not in usual}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
