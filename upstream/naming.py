"""Whether what a mapping names is there on our side: collections, fields, references, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.catalog_sheet import did_you_mean
from upstream import holes, making

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from replication.catalog import Catalog, Collection
    from upstream.manifest import Manifest
    from upstream.mapping import IntoMapping, ObjectMapping, Row

PEOPLE: Final = "technicians"
"""The collection that a field of the kind `person` points into."""
PERIOD: Final = ("first", "last")
LATE: Final = ("before", "now", "difference", "sign", "amount", "key", "period")


class Names:
    """What there is: the settings of a system, and our collections if a catalogue is given."""

    def __init__(self, manifest: Manifest, catalog: Catalog | None) -> None:
        self.manifest = manifest
        self.catalog = catalog

    def outward(self, each: ObjectMapping) -> Iterator[tuple[str, str]]:
        """Yield row and sentence for each name in a mapping that leads nowhere; the row is empty for the rest of it."""
        if self.catalog is not None and each.collection not in self.catalog.collections:
            yield "", self._no_collection(each.collection)
            return
        for collection in (*each.triggers, *(gather.collection for gather in each.gather.values())):
            if self.catalog is not None and collection not in self.catalog.collections:
                yield "", self._no_collection(collection)
        for gather in each.gather.values():
            fields = (*gather.match, *((gather.period_field,) if gather.period_field else ()))
            yield from (("", said) for field in fields for said in self._in_record([field], gather.collection))
        if each.period is not None:
            yield from (("", said) for said in self._in_record([each.period.field], each.collection))
        texts = [text for _, text in holes.texts(each.key)]
        conditions = [condition.path for condition in (*each.when, *each.void_when)]
        named = [f"{kind}.{name}" for text in texts for kind, name in holes.named(text)]
        for path in (*named, *conditions, *(path for gather in each.gather.values() for path in gather.match.values())):
            yield from (("", said) for said in self._path(path, each, ""))
        yield from self._rows(each.rows, each, "")

    def inward(self, inward: IntoMapping) -> Iterator[tuple[str, str]]:
        """Yield row and sentence for each name in a mapping of what comes in that leads nowhere."""
        if self.catalog is None:
            return
        collection = self.catalog.collections.get(inward.collection)
        if collection is None:
            yield "", self._no_collection(inward.collection)
            return
        for row in inward.rows:
            if row.target not in collection.fields:
                yield row.target, _no_field(row.target, collection)
            root, _, name = row.source.partition(".")
            if root == "local" and name not in inward.refs:
                yield row.target, f"local.{name} is none of refs (there are: {', '.join(inward.refs) or 'none'})"

    def _rows(self, rows: tuple[Row, ...], each: ObjectMapping, items: str) -> Iterator[tuple[str, str]]:
        """Yield what rows name; `items` is the collection that `item` is of, where that is known."""
        for row in rows:
            inner = self._items_of(row, each)
            outer = [row.source.partition(":")[0], *(part for part in row.sources if "${" not in part)]
            outer += [condition.path for condition in row.when]
            texts = [text for value in (*row.sources, row.value, row.zone) for _, text in holes.texts(value)]
            outer += [f"{kind}.{name}" if name else kind for text in texts for kind, name in holes.named(text)]
            yield from ((row.target, said) for path in outer if path for said in self._path(path, each, items))
            within = [condition.path for condition in row.where]
            factors = making.factors(row.source.partition(":")[2]) if row.action == "sum" else []
            within += [path if path.startswith("config.") else f"item.{path}" for path in factors]
            yield from ((row.target, said) for path in within for said in self._path(path, each, inner))
            yield from self._rows(row.rows, each, inner)

    def _items_of(self, row: Row, each: ObjectMapping) -> str:
        """Return the collection that the items of a row are of, or nothing where that is not known."""
        steps = row.source.partition(":")[0].split(".")
        if len(steps) == 2 and steps[0] == "rows" and steps[1] in each.gather:
            return each.gather[steps[1]].collection
        return ""

    def _path(self, path: str, each: ObjectMapping, items: str) -> Iterator[str]:
        root, *rest = path.split(".")
        if root == "record" and rest:
            yield from self._in_record(rest, each.collection)
        elif root in ("ref", "remote"):
            yield from self._in_record([root, *rest], each.collection)
        elif root == "item" and rest and items:
            yield from self._in_record(rest, items)
        elif root == "rows" and rest and rest[0] not in each.gather:
            yield f"rows.{rest[0]} is not gathered (there are: {', '.join(each.gather) or 'none'})"
        elif root == "period" and each.period is None and not _is_late(each):
            yield "the mapping has no period"
        elif root in ("config", "period", "late"):
            yield from self._in_words(root, rest)

    def _in_words(self, root: str, rest: Sequence[str]) -> Iterator[str]:
        words = {"config": [*self.manifest.config], "period": [*PERIOD], "late": [*LATE]}[root]
        if rest and rest[0] not in words:
            hint = did_you_mean(rest[0], words)
            yield f"{root}.{rest[0]} is not there{hint} (there are: {', '.join(words) or 'none'})"

    def _in_record(self, steps: Sequence[str], collection_name: str) -> Iterator[str]:
        """Yield what is wrong with a path into a record of a collection, following references."""
        collection = self.catalog.collections.get(collection_name) if self.catalog is not None else None
        if collection is None or not steps or steps[0] == "id":
            return
        if steps[0] not in ("ref", "remote"):
            if steps[0] not in collection.fields:
                yield _no_field(steps[0], collection)
            return
        field = collection.fields.get(steps[1]) if len(steps) > 1 else None
        if field is None or field.kind not in ("reference", "person"):
            there = [name for name, each in collection.fields.items() if each.kind in ("reference", "person")]
            wanted = steps[1] if len(steps) > 1 else ""
            yield f"{wanted!r} is no reference of {collection_name} (there are: {', '.join(there) or 'none'})"
        elif steps[0] == "ref":
            yield from self._in_record(steps[2:], field.to or PEOPLE)

    def _no_collection(self, name: str) -> str:
        there: list[Any] = list(self.catalog.collections) if self.catalog is not None else []
        return f"there is no collection {name!r}{did_you_mean(name, there)}"


def _is_late(each: ObjectMapping) -> bool:
    """Tell whether an object carries what came too late: it is made of the context of the closed one."""
    return any(text.startswith(("late.", "${late.")) for _, text in holes.texts(msgspec.to_builtins(each)))


def _no_field(name: str, collection: Collection) -> str:
    return f"{collection.name} has no field {name!r}{did_you_mean(name, list(collection.fields))}"
