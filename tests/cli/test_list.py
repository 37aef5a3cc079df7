"""`piped list`: what a document may use, and what is in it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from piped.cli import COMMANDS, piped
from piped.shipped import PROCESSORS, PROVIDERS
from piped.spec.imports import NotInstalled
from tests.cli.conftest import Invoke, Write

SERVICE = """\
plugins: {bundles: {shop: [bundle_list]}}
contexts: {stock: {bread: 3}}
ticks: {interval: {hourly: {interval: 1h, processor: pipeline.count}}}
pipelines:
    count:
        - fetch-context: {context: stock}
        - run-pipeline: {pipeline: .inner.one}
    inner:
        one: [slice-bread, shutdown]
"""

BUNDLE = '''\
from piped import Processor, processor

@processor("slice-bread", deprecated="buy toast")
class SliceBread(Processor):
    """Slice ``bread``."""

    def process(self, baton):
        return baton
'''


@pytest.fixture
def service(write: Write) -> str:
    write(BUNDLE, "bundle_list/__init__.py")
    return write(SERVICE)


def test_without_a_document_it_lists_what_comes_with_piped(invoke: Invoke) -> None:
    result = invoke("list")

    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert (lines[0], lines.count("")) == ("processors", 1)
    names = {line.split()[0] for line in lines if line}
    assert names == {"processors", "providers", *PROCESSORS, *PROVIDERS}


def test_lines_are_aligned_and_sorted(invoke: Invoke) -> None:
    lines = invoke("list", "providers").stdout.splitlines()

    assert lines[0].startswith("background      ") or lines == sorted(lines)
    columns = {line.index(line.split("  ")[-1].strip()) for line in lines}
    assert len(columns) == 1
    assert lines == sorted(lines)


def test_processors_of_bundles_are_listed_deprecated_ones_marked(
    invoke: Invoke, service: str
) -> None:
    result = invoke("list", "processors", service)

    [line] = [each for each in result.stdout.splitlines() if each.startswith("slice-bread ")]
    assert line.split(maxsplit=1)[1] == "(deprecated: buy toast) Slice bread."
    assert result.exit_code == 0


def test_pipelines_are_listed_with_their_places(invoke: Invoke, service: str) -> None:
    result = invoke("list", "pipelines", service)

    assert result.stdout == "count      service.yaml:6:9\ninner.one  service.yaml:9:14\n"


def test_resources_are_listed_with_those_who_provide_and_who_use_them(
    invoke: Invoke, service: str
) -> None:
    result = invoke("list", "resources", service)

    assert result.stdout == (
        "context.stock          from contexts               used by pipeline.count\n"
        "pipeline.count         from pipelines              used by ticks.interval.hourly\n"
        "pipeline.inner.one     from pipelines              used by pipeline.count\n"
        "pipelines              from piped                  used by nobody\n"
        "service                from piped                  used by pipeline.inner.one\n"
        "ticks.interval.hourly  from ticks.interval.hourly  used by nobody\n"
    )


def test_the_kind_may_be_left_out_before_a_document(invoke: Invoke, service: str) -> None:
    result = invoke("list", service)

    titles = [each for each in result.stdout.splitlines() if each and not each.startswith(" ")]
    assert titles == ["processors", "providers", "pipelines", "resources"]


def test_json_has_the_same_and_more(invoke: Invoke, service: str) -> None:
    processors = json.loads(invoke("list", "processors", service, "--format", "json").stdout)
    every = json.loads(invoke("list", service, "--format", "json").stdout)

    assert every["processors"] == processors
    assert {
        "name": "slice-bread",
        "summary": "Slice bread.",
        "deprecated": "buy toast",
        "module": "bundle_list",
    } in processors
    assert every["pipelines"][0] == {
        "name": "count",
        "file": "service.yaml",
        "line": 6,
        "column": 9,
    }
    assert every["resources"][0] == {
        "name": "context.stock",
        "provider": "contexts",
        "used_by": ["pipeline.count"],
    }


def test_a_wrong_document_is_told_and_components_are_listed_even_so(
    invoke: Invoke, write: Write
) -> None:
    write("pipelines: {p: [pasthrough]}\n")

    result = invoke("list", "service.yaml")

    assert result.exit_code == 1
    assert "service.yaml:1:17: error[unknown-processor]" in result.stderr
    titles = [each for each in result.stdout.splitlines() if each and not each.startswith(" ")]
    assert titles == ["processors", "providers"]


def test_pipelines_of_a_wrong_document_are_not_listed(invoke: Invoke, write: Write) -> None:
    write("pipelines: {p: [pasthrough], q: [passthrough]}\n")

    result = invoke("list", "pipelines", "service.yaml")

    assert (result.stdout, result.exit_code) == ("", 1)


def test_a_document_without_pipelines_has_none(invoke: Invoke, write: Write) -> None:
    write("{}\n")

    result = invoke("list", "pipelines", "service.yaml")

    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)


@pytest.mark.parametrize("kind", ["pipelines", "resources"])
def test_what_only_documents_have_needs_a_document(invoke: Invoke, kind: str) -> None:
    result = invoke("list", kind)

    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: name a document: 'piped list {kind} FILE'\n")


def test_an_unknown_kind_is_refused(invoke: Invoke) -> None:
    result = invoke("list", "procesors", "service.yaml")

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: expected one of processors, providers, pipelines, resources, got 'procesors'\n"
    )


def test_a_component_whose_library_is_missing_says_how_to_install_it(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(module: str) -> object:
        raise NotInstalled("nowhere")

    monkeypatch.setattr("piped.bundles.import_shipped", fail)

    lines = invoke("list", "providers").stdout.splitlines()

    assert lines[-1].split(maxsplit=1) == [
        "zmq",
        "(the library 'nowhere' is not installed: install nowhere)",
    ]


def test_on_a_terminal_the_last_column_ends_where_the_terminal_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from piped.cli import list as listing

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("COLUMNS", "40")

    lines = listing.aligned([("a", "short"), ("bcd", "a text that is much too long for this")])

    assert lines == ["a    short", "bcd  a text that is much too long for…"]


def test_the_module_named_list_does_not_hide_the_builtin(invoke: Invoke) -> None:
    invoke("list", "providers")

    result = invoke("--help")

    assert (result.exit_code, piped.list_commands(None)) == (0, [*COMMANDS])  # type: ignore[arg-type] # it looks at no context
