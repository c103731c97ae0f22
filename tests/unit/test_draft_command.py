"""`fieldsync connections draft`, from a file to a manifest."""

from __future__ import annotations

import json

import pytest
import yaml

from syncserver.cli import drafting
from upstream import manifest_file

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Small"},
    "servers": [{"url": "https://small.example"}],
    "paths": {
        "/me": {"get": {"summary": "Who I am"}},
        "/jobs": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"required": ["title"], "properties": {"title": {"type": "string"}}}
                        }
                    }
                }
            }
        },
    },
}


@pytest.fixture
def document(tmp_path):
    """Give a document on the disk."""
    file = tmp_path / "document.json"
    file.write_text(json.dumps(DOCUMENT))
    return file


def test_without_a_choice_it_prints_what_is_on_offer(document, capsys):
    """Each operation is a line, with what it sends."""
    assert drafting.draft(document) == drafting.FINE
    assert sorted(capsys.readouterr().out.splitlines()) == ["GET /me  Who I am", "POST /jobs  title*"]


def test_a_document_in_yaml_is_read_as_well(tmp_path, capsys):
    """Most systems publish theirs so."""
    file = tmp_path / "document.yaml"
    file.write_text(yaml.safe_dump(DOCUMENT))

    assert drafting.draft(file) == drafting.FINE
    assert sorted(capsys.readouterr().out.splitlines()) == ["GET /me  Who I am", "POST /jobs  title*"]


def test_with_a_choice_it_prints_a_manifest(document, tmp_path, capsys):
    """What is printed is a manifest that the engine takes."""
    choice = tmp_path / "choice.toml"
    choice.write_text('system = "small"\nverify = "GET /me"\n[written.job]\ncreate = "POST /jobs"\n')

    assert drafting.draft(document, choice=choice) == drafting.FINE
    assert manifest_file.parse(capsys.readouterr().out).targets["job"].write == "none"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('system = "small"', "verify: is missing"),
        ("system =", "choice.toml: Invalid value"),
        ('system = "\xff"'.encode("latin-1"), "choice.toml: 'utf-8' codec can't decode"),
        (None, "No such file"),
    ],
)
def test_what_is_wrong_is_said(document, tmp_path, capsys, text, said):
    """A choice that is none, or not there, ends with a sentence and no manifest."""
    choice = tmp_path / "choice.toml"
    if text is not None:
        choice.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert drafting.draft(document, choice=choice) == drafting.FAULTY
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("paths", [{}, {"/x": 7}, {"/x": {"head": {}}}], ids=repr)
def test_a_document_without_an_operation_is_of_no_use(tmp_path, capsys, paths):
    """Nothing on offer is a fault that is told, and no empty page."""
    file = tmp_path / "document.json"
    file.write_text(json.dumps({**DOCUMENT, "paths": paths}))

    assert drafting.draft(file) == drafting.FAULTY
    printed = capsys.readouterr()
    assert printed.err.startswith(f"{file}: paths: has no operation to choose; under each path stands one of get, ")
    assert printed.out == ""


@pytest.mark.parametrize("text", ["system =", 'system = "small"'])
def test_a_folder_is_made_of_a_choice_that_can_be_read(document, tmp_path, capsys, text):
    """A choice that cannot be read is named, and no folder is left behind."""
    choice = tmp_path / "choice.toml"
    choice.write_text(text)

    assert drafting.folder_of(tmp_path / "small", document, choice) == drafting.FAULTY
    assert capsys.readouterr().err.startswith(("verify: is missing", f"{choice}: Invalid value"))
    assert not (tmp_path / "small").exists()
