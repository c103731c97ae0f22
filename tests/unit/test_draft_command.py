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
    [('system = "small"', "missing required field"), ("system =", "Invalid value"), (None, "No such file")],
)
def test_what_is_wrong_is_said(document, tmp_path, capsys, text, said):
    """A choice that is none, or not there, ends with a sentence and no manifest."""
    choice = tmp_path / "choice.toml"
    if text is not None:
        choice.write_text(text)

    assert drafting.draft(document, choice=choice) == drafting.FAULTY
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
