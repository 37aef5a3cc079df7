"""What the commands that look components up share: all there are, imported here, nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from piped.blueprint import Blueprint
from piped.bundles import Catalog
from piped.spec import Spec
from piped.spec.imports import NotInstalled

Found: TypeAlias = dict[str, Spec | NotInstalled]


@dataclass(frozen=True, slots=True)
class Everything:
    """The components that a document may use, in the order of their names.

    One whose library is not installed is represented by the error that says so.
    """

    processors: Found
    providers: Found

    def specs(self) -> Iterator[Spec]:
        """Yield what all components say that can be imported."""
        for each in (*self.processors.values(), *self.providers.values()):
            if isinstance(each, Spec):
                yield each


def everything(blueprint: Blueprint | None = None) -> Everything:
    """Return the components of Piped and, where there is a document, those of its bundles."""
    catalog = Catalog() if blueprint is None else blueprint.catalog
    return Everything(imported(catalog.processors), imported(catalog.providers))


def imported(components: Mapping[str, Spec]) -> Found:
    """Return components that are imported when they are asked for."""
    found: Found = {}
    for name in sorted(components):
        try:
            found[name] = components[name]
        except NotInstalled as error:
            found[name] = error
    return found
