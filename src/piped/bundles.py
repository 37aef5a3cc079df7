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
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from piped.document import Document, Mapping, Node, Scalar, Sequence, plain
from piped.errors import Place, Problem
from piped.shipped import PROCESSORS, PROVIDERS
from piped.spec import Spec, spec_of
from piped.spec.imports import BROKEN, import_shipped, may_import, told

ANCESTORS: Final = ("piped.plugins", "piped.processing", "zope", "twisted")


class Components(MappingOf[str, Spec]):
    """Specs by name: those of Piped, imported when they are asked for, and those of bundles.

    Asking for one whose library is missing raises NotInstalled.
    """

    def __init__(self, shipped: MappingOf[str, str]) -> None:
        self._modules = shipped
        self._found: dict[str, Spec] = {}

    def __getitem__(self, name: str) -> Spec:
        if name not in self._found and name in self._modules:
            for spec in specs_in(import_shipped(self._modules[name])):
                self._found.setdefault(spec.name, spec)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._modules, **self._found})

    def __len__(self) -> int:
        return len(self._modules.keys() | self._found.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._modules or name in self._found

    def add(self, spec: Spec) -> Spec:
        """Add a component, unless there is one of its name; return the one that is known by it."""
        if spec.name not in self:
            self._found[spec.name] = spec
        return self[spec.name]


@dataclass(slots=True)
class Catalog:
    """The components that a document may use, by name."""

    processors: Components = field(default_factory=lambda: Components(PROCESSORS))
    providers: Components = field(default_factory=lambda: Components(PROVIDERS))
    problems: list[Problem] = field(default_factory=list)
    is_complete: bool = True  # all bundles were imported

    def add(self, module: ModuleType, place: Place | None = None, at: str = "") -> None:
        """Collect the marked classes that a module of a bundle defines."""
        for spec in specs_in(module):
            known = self.processors if spec.kind == "processor" else self.providers
            other = known.add(spec)
            if other.component is not spec.component:
                first, second = (
                    f"{c.__module__}.{c.__name__}" for c in (other.component, spec.component)
                )
                what = f"two {spec.kind}s are named '{spec.name}': {first} and {second}"
                self.problems.append(Problem("duplicate-component", what, place, at))


def specs_in(module: ModuleType) -> Iterator[Spec]:
    """Yield what the processors and providers that a module defines say of themselves."""
    for component in vars(module).values():
        spec = spec_of(component) if isinstance(component, type) else None
        if spec and spec.kind != "part" and component.__module__ == module.__name__:
            yield spec


def catalog_of(document: Document) -> Catalog:
    """Return the components of Piped and of the document's bundles."""
    catalog = Catalog()
    plugins = document.root.get("plugins")
    if plugins is not None:
        catalog.is_complete = may_import() or _is_null(plugins)
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
        if not may_import():
            return None
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
