"""Finding the components of Piped and of the user's bundles."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from piped.bundles import Catalog, catalog_of, specs_in
from piped.document import load
from piped.shipped import PROCESSORS, PROVIDERS

PROCESSOR = """
from piped import Processor, processor

@processor("{name}")
class {cls}(Processor):
    def process(self, baton):
        return baton
"""

Files: TypeAlias = dict[str, str]
Found: TypeAlias = Callable[[Files, str], Catalog]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Found]:
    """Write the files of bundles, and return the catalog of a document with a `plugins` section."""
    known = set(sys.modules)

    def found(files: Files, plugins: str) -> Catalog:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "service.yaml").write_text(f"plugins: {plugins}")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        return catalog_of(load("service.yaml"))

    yield found
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def problems(catalog: Catalog) -> list[str]:
    return [str(each) for each in catalog.problems]


BUNDLE = {
    "mine/__init__.py": PROCESSOR.format(name="top", cls="Top"),
    "mine/one.py": PROCESSOR.format(name="one", cls="One"),
    "mine/sub/__init__.py": "",
    "mine/sub/two.py": PROCESSOR.format(name="two", cls="Two"),
}


def test_the_processors_of_piped_are_always_there() -> None:
    catalog = catalog_of(load("/dev/null"))

    assert {"passthrough", "eval-lambda", "run-pipeline"} <= set(catalog.processors)
    assert {"web", "ticks"} <= set(catalog.providers)
    assert catalog.problems == []


def declared(kind: str, *packages: str) -> dict[str, str]:
    """Return the names of components, and the modules that declare them."""
    found: dict[str, str] = {}
    for name in packages:
        package = importlib.import_module(name)
        modules = [each.name for each in pkgutil.walk_packages(package.__path__, f"{name}.")]
        for module in [name, *modules]:
            specs = specs_in(importlib.import_module(module))
            found.update({each.name: module for each in specs if each.kind == kind})
    return found


def test_the_tables_of_what_comes_with_piped_are_what_is_declared() -> None:
    missing = "enter it in src/piped/shipped.py"
    assert declared("processor", "piped.processors", "piped.status") == PROCESSORS, missing
    rooms = ("piped.providers", "piped.workers", "piped.observe")
    assert declared("provider", *rooms) == PROVIDERS, missing


def test_nothing_is_imported_that_a_document_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(
        "contexts: {pending: {}}\npipelines: {p: [{fetch-context: {context: pending}}]}"
    )
    code = (
        "import sys; from piped.app import blueprint_of;"
        f"assert not blueprint_of({str(path)!r}).problems;"
        "print(*(name for name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    names = set(done.stdout.split())
    topics = {
        name
        for name in names
        if re.fullmatch(r"piped\.((processors|providers)\.[a-z]\w*|(workers|observe)\b.*)", name)
    }
    assert topics == {"piped.processors.contexts", "piped.providers.contexts"}
    heavy = {"httpx", "jinja2", "jsonschema", "zmq", "httptools", "click", "uvloop", "cronsim"}
    heavy |= {"nats", "prometheus_client", "sqlite3", "multiprocessing"}
    assert names & heavy == set()


def test_a_bundle_is_imported_with_all_its_modules_and_packages(found: Found) -> None:
    catalog = found(BUNDLE, "{bundles: {my: [mine]}}")

    assert problems(catalog) == []
    assert {"top", "one", "two"} <= set(catalog.processors)


def test_what_is_disabled_is_not_even_imported(found: Found) -> None:
    files = {**BUNDLE, "mine/sub/__init__.py": "raise RuntimeError", "mine/one.py": "1 / 0"}

    catalog = found(files, "{bundles: {my: [mine, other]}, disabled: [mine.sub, 'mine.o', other]}")

    assert problems(catalog) == []
    assert {"top", "one", "two"} & set(catalog.processors) == {"top"}


def test_a_name_that_is_imported_from_elsewhere_is_found_once(found: Found) -> None:
    files = {
        "mine/__init__.py": "from mine.one import One\nfrom piped.processors.flow import Stop",
        "mine/one.py": PROCESSOR.format(name="one", cls="One"),
    }

    assert problems(found(files, "{bundles: {my: [mine, mine]}}")) == []


@pytest.mark.parametrize(
    "plugins", ["null", "{}", "{bundles: null}", "{bundles: {}, disabled: null}"]
)
def test_there_may_be_no_bundles(found: Found, plugins: str) -> None:
    assert problems(found({}, plugins)) == []


def test_two_components_of_one_name_are_told(found: Found) -> None:
    files = {"mine/__init__.py": PROCESSOR.format(name="stop", cls="Mine")}

    assert problems(found(files, "{bundles: {my: [mine]}}")) == [
        "service.yaml:1:26: error[duplicate-component]: two processors are named 'stop':"
        " piped.processors.flow.Stop and mine.Mine\n"
        "    at: plugins.bundles.my[0]"
    ]


FAILING = {
    "1 / 0": "ZeroDivisionError: division by zero",
    "import no_such_thing": "ModuleNotFoundError: No module named 'no_such_thing'",
    "raise ImportError('no')": "ImportError: no",
    "x = (": "SyntaxError: '(' was never closed",
    "raise SystemExit(3)": "SystemExit: 3",
}


@pytest.mark.parametrize("text", FAILING)
def test_a_module_that_cannot_be_imported_is_told_and_the_others_are_found(
    found: Found, text: str
) -> None:
    catalog = found({**BUNDLE, "mine/one.py": text}, "{bundles: {my: [mine]}}")

    assert problems(catalog) == [
        "service.yaml:1:26: error[cannot-import]: cannot import 'mine.one':"
        f" {FAILING[text]} (mine/one.py:1)\n"
        "    at: plugins.bundles.my[0]"
    ]
    assert {"top", "two"} <= set(catalog.processors)


def test_a_bundle_of_the_ancestor_is_told_where_to_read_on(found: Found) -> None:
    files = {"mine/__init__.py": "from zope import interface"}

    [problem] = problems(found(files, "{bundles: {my: [mine]}}"))

    assert problem.splitlines()[-1] == (
        "    hint: this module was written for Piped 0.x: see docs/differences.md"
    )


WRONG = {
    "5": (
        "service.yaml:1:10: error[wrong-value]: expected a mapping with 'bundles'\n    at: plugins"
    ),
    "{bundels: {}}": (
        "service.yaml:1:11: error[unknown-parameter]: plugins has no parameter 'bundels'\n"
        "    at: plugins.bundels"
    ),
    "{bundles: [mine]}": (
        "service.yaml:1:20: error[wrong-value]: expected bundles, each a list of packages\n"
        "    at: plugins.bundles"
    ),
    "{bundles: {my: mine}}": (
        "service.yaml:1:25: error[wrong-value]: expected a list of packages, got 'mine'\n"
        "    at: plugins.bundles.my"
    ),
    "{bundles: {my: [5]}}": (
        "service.yaml:1:26: error[wrong-value]: expected a package, got 5\n"
        "    at: plugins.bundles.my[0]"
    ),
    "{bundles: {my: [mine.one]}}": (
        "service.yaml:1:26: error[not-a-package]: expected a package, not a module: 'mine.one'\n"
        "    at: plugins.bundles.my[0]\n"
        "    hint: name the package 'mine'"
    ),
    "{bundles: {my: [alone]}}": (
        "service.yaml:1:26: error[not-a-package]: expected a package, not a module: 'alone'\n"
        "    at: plugins.bundles.my[0]\n"
        "    hint: make 'alone' a package"
    ),
    "{bundles: {my: [nowhere]}}": (
        "service.yaml:1:26: error[cannot-import]: cannot import 'nowhere':"
        " ModuleNotFoundError: No module named 'nowhere'\n"
        "    at: plugins.bundles.my[0]\n"
        "    hint: the document's folder and PYTHONPATH are searched"
    ),
    "{disabled: mine}": (
        "service.yaml:1:21: error[wrong-value]: expected a list of regular expressions,"
        " got 'mine'\n"
        "    at: plugins.disabled"
    ),
    "{disabled: [mine, '(']}": (
        "service.yaml:1:28: error[wrong-value]: expected a regular expression, got '(':"
        " missing ), unterminated subpattern at position 0\n"
        "    at: plugins.disabled[1]"
    ),
}


@pytest.mark.parametrize("plugins", WRONG)
def test_a_wrong_section_is_told_with_its_place(found: Found, plugins: str) -> None:
    assert problems(found({**BUNDLE, "alone.py": ""}, plugins)) == [WRONG[plugins]]
