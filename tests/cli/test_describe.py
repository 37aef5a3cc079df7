"""`piped describe`: what a component says of itself, for a terminal."""

from __future__ import annotations

import json
import re

import pytest

from piped.cli.catalog import everything
from piped.spec import markdown
from piped.spec.imports import NotInstalled
from piped.spec.types import ROWS
from tests.cli.conftest import Invoke, Write

BUNDLE = '''\
from dataclasses import field
from typing import Annotated

from piped import Meta, Processor, processor
from piped.spec import Duration, part


@part
class Crumb:
    """A crumb of *something*, with ``weight``."""

    weight: Annotated[int, Meta(ge=1, description="How heavy it is.")]


@processor("slice-bread", deprecated="buy toast")
class SliceBread(Processor):
    """Slice ``bread``, *thinly*.

    Takes ``bread`` of any kind, and cuts it into slices that are as thick as ``thickness`` says, or
    thinner.

    Example:
        slice-bread: {thickness: 2}
        in:  bread
        out: slices

    Raises:
        ValueError: It is no ``bread``.
    """

    wait: Annotated[Duration, Meta(description="How long to wait.")] = Duration(0.25)
    thickness: Annotated[int, Meta(ge=1, le=9, description="How thick a slice is.")]
    crumbs: Annotated[list[Crumb], Meta(description="What falls down.")] = field(
        default_factory=list
    )

    def process(self, baton):
        return baton
'''

SLICE_BREAD = """\
slice-bread (processor)

Slice bread, thinly.

Takes bread of any kind, and cuts it into slices that are as
thick as thickness says, or thinner.

Deprecated: buy toast

Parameters

  thickness  int, 1 to 9; required
             How thick a slice is.
  wait       duration; default 250ms
             How long to wait.
  crumbs     list of mapping; default []
             What falls down.

Parameters of every processor

  node_name  str or null; default null
             A label for graphs and traces instead of the
             name.

Inside

  crumbs[]  A crumb of something, with weight.

Example

  slice-bread: {thickness: 2}
  in:  bread
  out: slices

Errors

  ValueError  It is no bread.
"""


@pytest.fixture
def service(write: Write) -> str:
    write(BUNDLE, "bundle_describe/__init__.py")
    return write("plugins: {bundles: {shop: [bundle_describe]}}\n")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


def test_a_processor_is_described_as_its_declaration_says(invoke: Invoke, service: str) -> None:
    result = invoke("describe", "slice-bread", service)

    assert (result.stdout, result.stderr, result.exit_code) == (SLICE_BREAD, "", 0)


def test_json_has_the_same_in_fields(invoke: Invoke, service: str) -> None:
    result = invoke("describe", "slice-bread", service, "--format", "json")

    told = json.loads(result.stdout)
    parameters = told.pop("parameters")
    assert told == {
        "kind": "processor",
        "name": "slice-bread",
        "path": "",
        "summary": "Slice bread, thinly.",
        "paragraphs": [
            "Takes bread of any kind, and cuts it into slices that are as thick as thickness says,"
            " or thinner."
        ],
        "deprecated": "buy toast",
        "parts": [{"path": "crumbs[]", "name": "crumb"}],
        "example": "slice-bread: {thickness: 2}\nin:  bread\nout: slices",
        "errors": [{"name": "ValueError", "when": "It is no bread."}],
    }
    assert {each["name"] for each in parameters} == {"thickness", "wait", "crumbs", "node_name"}
    assert {
        "name": "wait",
        "type": "duration",
        "required": False,
        "default": "250ms",
        "description": "How long to wait.",
    } in parameters
    assert {
        "name": "thickness",
        "type": "int, 1 to 9",
        "required": True,
        "description": "How thick a slice is.",
    } in parameters


def test_markdown_is_that_of_the_reference(invoke: Invoke) -> None:
    known = everything().processors["set-value"]
    assert not isinstance(known, NotInstalled)

    result = invoke("describe", "set-value", "--format", "markdown")

    assert result.stdout == f"{markdown.component(known)}\n"


def test_a_provider_of_named_parts_leads_to_them(invoke: Invoke) -> None:
    result = invoke("describe", "web")

    assert result.stdout.splitlines()[0] == "web (provider)"
    assert "\nInside\n\n  web.<name>  A web site: " in result.stdout
    assert "Parameters" not in result.stdout


@pytest.mark.parametrize("name", ["site", "web.site", "web.<name>", "web.shop"])
def test_a_mapping_in_a_section_is_found_by_any_of_its_names(invoke: Invoke, name: str) -> None:
    result = invoke("describe", name)

    assert result.stdout.splitlines()[0] == "site (mapping at web.<name>)"
    assert "  routing " in result.stdout


def test_a_part_of_a_part_is_found_by_its_path(invoke: Invoke) -> None:
    result = invoke("describe", "web.shop.routing.__config__")

    assert result.stdout.splitlines()[0] == (
        "route-config (mapping at web.<name>.routing.__config__)"
    )


def test_a_part_in_markdown_has_its_path_as_its_title(invoke: Invoke) -> None:
    result = invoke("describe", "web.site", "--format", "markdown")

    assert result.stdout.startswith("## `web.<name>`\n")


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
@pytest.mark.parametrize("name", [row.words for row in ROWS.values()])
def test_every_type_is_described(invoke: Invoke, name: str, form: str) -> None:
    result = invoke("describe", name, "--format", form)

    assert result.exit_code == 0
    assert name in result.stdout


def test_a_type_tells_how_it_is_written(invoke: Invoke) -> None:
    result = invoke("describe", "duration")

    assert result.stdout == (
        "duration (type)\n\n"
        "A number of seconds, or a number with us, ms, s, m, h or d.\n\n"
        "Example\n\n"
        "  2s\n"
    )


def test_an_unknown_name_gets_a_suggestion(invoke: Invoke) -> None:
    result = invoke("describe", "set-valeu")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr == (
        "error: nothing is named 'set-valeu'\n    hint: did you mean 'set-value'?\n"
    )


def test_a_component_whose_library_is_missing_says_how_to_install_it(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(module: str) -> object:
        raise NotInstalled("nowhere")

    monkeypatch.setattr("piped.bundles.import_shipped", fail)

    result = invoke("describe", "zmq")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr == (
        "error: 'zmq' cannot be used: the library 'nowhere' is not installed\n"
        "    hint: install nowhere\n"
    )


def test_a_wrong_document_is_told_and_the_component_described_even_so(
    invoke: Invoke, write: Write
) -> None:
    write("pipelines: {p: [pasthrough]}\n")

    result = invoke("describe", "passthrough", "service.yaml")

    assert result.exit_code == 1
    assert "error[unknown-processor]" in result.stderr
    assert result.stdout.startswith("passthrough (processor)\n")


def test_every_component_is_described_without_markup_in_the_width_of_the_terminal(
    invoke: Invoke,
) -> None:
    for spec in everything().specs():
        shown = invoke("describe", spec.name).stdout
        prose, _, _ = shown.partition("\nExample\n")

        assert re.findall(r"`|\*\*|\]\(", prose) == [], spec.name
        assert max(map(len, prose.splitlines())) <= 60, spec.name
