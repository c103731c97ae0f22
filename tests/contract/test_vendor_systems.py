"""One suite for every system that comes with the service: its folder is whole, and its parts agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from replication import catalog_file
from syncserver.catalogs import source
from upstream import judging, mapping_file, vendors
from upstream.manifest import Manifest

SPECS = Path(__file__).resolve().parents[3] / "shared" / "specs"
CATALOG = catalog_file.parse(source.text(None))
SYSTEMS = vendors.names()

NOT_DESCRIBED = {
    ("quickbooks", "token"): "signing in is no part of it",
    ("quickbooks", "company_info"): "left out there",
    ("quickbooks", "item"): "left out there",
    ("quickbooks", "credit_memo"): "left out there",
    ("quickbooks", "put_credit_memo"): "left out there",
    ("salesforce", "token"): "signing in is no part of it",
    ("salesforce", "query"): "it has a POST, which the vendor does not have",
    ("salesforce", "upsert_work_order"): "it has the form by id only",
}
"""Operations that the descriptions at hand do not have, and why that is known."""
NOT_LISTED = {("gusto", "token"): {"code", "code_verifier"}}
"""Fields that are sent although no description at hand has them: signing in is by the standard."""


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_is_whole(system: str) -> None:
    """Manifest, contract and mappings can be read, and a page says where each fact is known from."""
    page = Path(vendors.__file__).parent.joinpath(system, "README.md").read_text()

    assert vendors.manifest(system).system == vendors.agreement(system).system == system
    assert vendors.mappings(system)
    assert all(word in page for word in ("known from", "assumed"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_operation_is_in_the_contract(system: str) -> None:
    """What the manifest can ask for is an operation of the contract, by method and path."""
    contract, found = vendors.agreement(system), vendors.manifest(system)
    for name, operation in found.operations.items():
        path = re.sub(r"\$\{[^}]*\}", "x", operation.path)
        assert judging.operation_of(contract, operation.method, path) is not None, name


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_list_shows_the_version_that_a_change_names(system: str) -> None:
    """What is read in a list is what the next change of the same object says to replace, so both are the same field."""
    found = vendors.manifest(system)
    for name in found.sources.keys() & found.targets.keys():
        looks = [look for look in (found.targets[name].read, found.targets[name].find) if look]
        wanted = {found.operations[look].answer.version for look in looks} - {""}
        assert not wanted or {found.sources[name].version} == wanted, name


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_mappings_fit_the_manifest_and_the_catalogue(system: str) -> None:
    """Mappings name targets and sources that there are, and fields of ours that this class may write."""
    manifest = vendors.manifest(system)
    for text in vendors.mappings(system).values():
        mapping = mapping_file.parse(text)
        for out in mapping.out:
            assert out.object in manifest.targets
            assert out.collection in CATALOG.collections
        for into in mapping.into:
            assert into.object in {*manifest.sources, *(manifest.webhook.fetch if manifest.webhook else {})}
            fields = CATALOG.collections[into.collection].fields
            assert {row.target for row in into.rows} <= set(fields)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_written_is_in_the_contract(system: str) -> None:
    """Each target's writes are operations whose body the contract lists."""
    contract, manifest = vendors.agreement(system), vendors.manifest(system)
    for target in manifest.targets.values():
        for verb in (target.create, target.update, target.void):
            if verb:
                operation = manifest.operations[verb]
                name = judging.operation_of(contract, operation.method, re.sub(r"\$\{[^}]*\}", "x", operation.path))
                assert name is not None
                assert contract.operations[name].body


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_contract_holds_against_the_vendors_description(system: str) -> None:
    """Each operation is in the vendor's description with the same method, and so are the fields that are sent."""
    contract = vendors.agreement(system)
    paths = [SPECS / spec for spec in contract.specs]
    if not paths:
        pytest.skip(f"nobody else describes {contract.title}")
    if not all(path.is_file() for path in paths):
        pytest.skip(f"the descriptions of {contract.title} are not at hand: {SPECS}")
    described = [yaml.load(path.read_text(), Loader=_Loader) for path in paths if path.suffix in (".yaml", ".yml")]
    names = _schema_names([path.read_text() for path in paths if path.suffix == ".xsd"])
    missing = {}
    for name, operation in contract.operations.items():
        entry = _entry(described, operation.method, operation.spec or operation.path)
        if entry is None:
            missing[system, name] = NOT_DESCRIBED.get((system, name), "")
            continue
        document, found = entry
        known = {"*", *_sent(document, found), *names}
        lacking = {path for path in operation.body if path.rpartition(".")[2] not in known}
        assert lacking == NOT_LISTED.get((system, name), set()), f"{name}: no request of {operation.path} has these"
        assert (system, name) not in NOT_DESCRIBED, f"{name} is described after all"

    assert missing == {key: why for key, why in NOT_DESCRIBED.items() if key[0] == system}


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # the library has no annotations
    """Reads a description; dates in its examples stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _entry(documents, method, path):
    """Return the document that has an operation, and the operation; holes are alike whatever they are called."""
    wanted = re.sub(r"\{[^}]*\}", "{}", path)
    for document in documents:
        for each, item in document["paths"].items():
            if re.sub(r"\{[^}]*\}", "{}", each) == wanted and method.lower() in item:
                return document, item[method.lower()]
    return None


def _sent(document, operation):
    """Return the names of all fields that a request can have, however deep."""
    names, seen, left = set(), set(), [operation.get("requestBody", {})]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict) and id(node) not in seen:
            seen.add(id(node))
            names.update(node["properties"] if isinstance(node.get("properties"), dict) else ())
            left += [*node.values(), *_referred(document, node)]
    return names


def _referred(document, node):
    """Yield what a reference leads to."""
    if isinstance(node.get("$ref"), str):
        found = document
        for step in node["$ref"].split("/")[1:]:
            found = found[step]
        yield found


def _schema_names(texts):
    """Return the names of elements and attributes of XML schemas."""
    return {name for text in texts for name in re.findall(r'<xs:(?:element|attribute) name="(\w+)"', text)}


def test_a_manifest_is_the_same_each_time() -> None:
    """Reading is done once, and asking for what is not there says what is."""
    assert vendors.manifest("gusto") is vendors.manifest("gusto")
    assert isinstance(vendors.manifest("gusto"), Manifest)
    with pytest.raises(vendors.BadConnection, match="there are: csv, gusto, quickbooks, salesforce"):
        vendors.manifest("none")
