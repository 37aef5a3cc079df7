"""`piped schema`: the JSON Schema of documents, for editors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tests.cli.conftest import Invoke, Write

BUNDLE = '''\
from piped import Processor, Provider, processor, provider

@processor("slice-bread")
class SliceBread(Processor):
    """Slice bread."""

    thickness: int

    def process(self, baton):
        return baton

@provider("bakery")
class Bakery(Provider):
    """Bake bread."""

    ovens: int = 1
'''

SERVICE = "plugins: {bundles: {shop: [bundle_schema]}}\n"
USE = {
    "bakery": {"ovens": 2},
    "pipelines": {"p": [{"slice-bread": {"thickness": 2}}]},
}


@pytest.fixture
def service(write: Write) -> str:
    write(BUNDLE, "bundle_schema/__init__.py")
    return write(SERVICE)


def test_it_prints_the_schema_of_what_comes_with_piped(invoke: Invoke) -> None:
    result = invoke("schema")

    schema = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.validate({"pipelines": {"p": ["passthrough"]}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(USE, schema)


def test_with_a_document_its_bundles_are_in_the_schema(invoke: Invoke, service: str) -> None:
    schema = json.loads(invoke("schema", service).stdout)

    jsonschema.validate(USE, schema)
    with pytest.raises(jsonschema.ValidationError, match="'oven' was unexpected"):
        jsonschema.validate({"bakery": {"oven": 2}}, schema)


def test_two_calls_print_the_same(invoke: Invoke) -> None:
    assert invoke("schema").stdout == invoke("schema").stdout


def test_it_is_written_to_a_file(invoke: Invoke, folder: Path) -> None:
    result = invoke("schema", "-o", "schema.json")

    assert (result.stdout, result.exit_code) == ("", 0)
    assert (folder / "schema.json").read_text(encoding="utf-8") == invoke("schema").stdout


def test_a_file_that_is_right_is_not_touched(invoke: Invoke, folder: Path) -> None:
    invoke("schema", "-o", "schema.json")
    os.utime(folder / "schema.json", (1, 1))

    invoke("schema", "-o", "schema.json")

    assert (folder / "schema.json").stat().st_mtime == 1


def test_a_file_that_is_old_is_replaced(invoke: Invoke, write: Write, folder: Path) -> None:
    write("{}", "schema.json")

    invoke("schema", "-o", "schema.json")

    assert (folder / "schema.json").stat().st_size > 2


def test_a_file_that_cannot_be_written_is_told(invoke: Invoke, folder: Path) -> None:
    result = invoke("schema", "-o", "nowhere/schema.json")

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: cannot write 'nowhere/schema.json': no such file or directory\n"
    )


def test_errors_of_pipelines_are_no_matter(invoke: Invoke, write: Write) -> None:
    write("pipelines: {p: [pasthrough]}\n")

    result = invoke("schema", "service.yaml", "-o", "schema.json")

    assert (result.stderr, result.exit_code) == ("", 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("plugins: {bundles: {shop: [bundle_nowhere]}}\n", "cannot-import"),
        ("plugins: {bundles\n", "yaml-syntax"),
    ],
)
def test_where_a_bundle_cannot_be_read_nothing_is_written(
    invoke: Invoke, write: Write, folder: Path, text: str, code: str
) -> None:
    write(text)

    result = invoke("schema", "service.yaml", "-o", "schema.json")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert f"error[{code}]" in result.stderr
    assert not (folder / "schema.json").exists()
