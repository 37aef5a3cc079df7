"""Finds the components of a document: those of Piped, and those of the user's bundles.

A bundle is a list of Python packages: each is imported with all its modules, and its marked
classes are collected. Nothing registers itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from piped.document import Document, Mapping, Node, Scalar, Sequence, plain
from piped.errors import Place, Problem
from piped.spec import Spec, spec_of
from piped.spec.imports import BROKEN, told

PROCESSORS: Final = ("piped.processors", "piped.status")
PROVIDERS: Final = {  # imported only where the document has their section
    "contexts": "piped.providers.contexts",
    "system-events": "piped.providers.events",
    "ticks": "piped.providers.ticks",
    "web": "piped.providers.web",
    "zmq": "piped.providers.zmq",
}
ANCESTORS: Final = ("piped.plugins", "piped.processing", "zope", "twisted")


@dataclass(slots=True)
class Catalog:
    """The components that a document may use, by name."""

    processors: dict[str, Spec] = field(default_factory=dict)
    providers: dict[str, Spec] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, module: ModuleType, place: Place | None = None, at: str = "") -> None:
        """Collect the marked classes that a module defines."""
        for component in vars(module).values():
            spec = spec_of(component) if isinstance(component, type) else None
            if spec is None or component.__module__ != module.__name__ or spec.kind == "part":
                continue
            known = self.processors if spec.kind == "processor" else self.providers
            other = known.setdefault(spec.name, spec)
            if other.component is not component:
                first, second = (
                    f"{c.__module__}.{c.__name__}" for c in (other.component, component)
                )
                what = f"two {spec.kind}s are named '{spec.name}': {first} and {second}"
                self.problems.append(Problem("duplicate-component", what, place, at))


def catalog_of(document: Document) -> Catalog:
    """Return the components of Piped and of the document's bundles."""
    catalog = Catalog()
    for package in PROCESSORS:
        for module in _modules(importlib.import_module(package)):
            catalog.add(module)
    for section, name in PROVIDERS.items():
        if section in document.root.entries:
            catalog.add(importlib.import_module(name))
    plugins = document.root.get("plugins")
    if plugins is not None:
        _BundleReader(catalog).read(plugins)
    return catalog


class _BundleReader:
    """Reads the ``plugins`` section and imports what it names."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.disabled: list[re.Pattern[str]] = []

    def read(self, plugins: Node) -> None:
        if _is_null(plugins):
            return None
        if not isinstance(plugins, Mapping):
            return self._report("expected a mapping with 'bundles'", plugins.place, "plugins")
        for key, entry in plugins.items():
            if key not in ("bundles", "disabled"):
                what = f"plugins has no parameter '{key}'"
                self._report(what, entry.key_place, f"plugins.{key}", "unknown-parameter")
        self._read_disabled(plugins.get("disabled"))
        bundles = plugins.get("bundles")
        if bundles is None or _is_null(bundles):
            return None
        if not isinstance(bundles, Mapping):
            what = "expected bundles, each a list of packages"
            return self._report(what, bundles.place, "plugins.bundles")
        for name, entry in bundles.items():
            self._read_bundle(entry.node, f"plugins.bundles.{name}")
        return None

    def _read_disabled(self, node: Node | None) -> None:
        if node is None or _is_null(node):
            return None
        if not isinstance(node, Sequence):
            what = f"expected a list of regular expressions, got {plain(node)!r}"
            return self._report(what, node.place, "plugins.disabled")
        for i, item in enumerate(node.items):
            try:
                self.disabled.append(re.compile(str(plain(item))))
            except re.error as error:
                what = f"expected a regular expression, got {plain(item)!r}: {error}"
                self._report(what, item.place, f"plugins.disabled[{i}]")
        return None

    def _read_bundle(self, node: Node, at: str) -> None:
        if not isinstance(node, Sequence):
            return self._report(f"expected a list of packages, got {plain(node)!r}", node.place, at)
        for i, item in enumerate(node.items):
            name = plain(item)
            if not isinstance(name, str):
                self._report(f"expected a package, got {name!r}", item.place, f"{at}[{i}]")
            elif not self._is_disabled(name):
                self._import_package(name, item.place, f"{at}[{i}]")
        return None

    def _is_disabled(self, name: str) -> bool:
        return any(pattern.match(name) for pattern in self.disabled)

    def _import_package(self, name: str, place: Place, at: str) -> None:
        package = self._import(name, place, at)
        if package is None:
            return
        if not hasattr(package, "__path__"):
            parent = name.rpartition(".")[0]
            hint = f"name the package '{parent}'" if parent else f"make '{name}' a package"
            what = f"expected a package, not a module: '{name}'"
            self._report(what, place, at, "not-a-package", hint)
            return
        self.catalog.add(package, place, at)
        for each in pkgutil.iter_modules(package.__path__, f"{name}."):
            if self._is_disabled(each.name):
                continue
            if each.ispkg:
                self._import_package(each.name, place, at)
            elif (module := self._import(each.name, place, at)) is not None:
                self.catalog.add(module, place, at)

    def _import(self, name: str, place: Place, at: str) -> ModuleType | None:
        try:
            return importlib.import_module(name)
        except BROKEN as error:
            what = f"cannot import '{name}': {told(error, name.partition('.')[0])}"
            hint = "the document's folder and PYTHONPATH are searched"
            wanted = getattr(error, "name", None) or ""
            if any(f"{wanted}.".startswith(f"{old}.") for old in ANCESTORS) or "0.x" in str(error):
                hint = "this module was written for Piped 0.x: see docs/differences.md"
            elif wanted != name:
                hint = ""
            self._report(what, place, at, "cannot-import", hint)
            return None

    def _report(
        self, what: str, place: Place, at: str, code: str = "wrong-value", hint: str = ""
    ) -> None:
        self.catalog.problems.append(Problem(code, what, place, at, hint=hint))


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(each.name)
