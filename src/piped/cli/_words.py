"""The words that a shell completes, found without importing what they are the names of."""

from __future__ import annotations

import click


def pipelines_of_the_file(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of the pipelines in the document that stands before."""
    from piped.document import load
    from piped.engine import DefinitionReader

    file = context.params.get("file")
    if file is None:
        return []
    section = load(file, context.params.get("override") or ()).root.get("pipelines")
    reader = DefinitionReader()
    if section is not None:
        reader.read(section)
    return [name for name in reader.definitions if name.startswith(incomplete)]


def components(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the processors and providers that come with Piped."""
    from piped.shipped import PROCESSORS, PROVIDERS

    return sorted(name for name in {*PROCESSORS, *PROVIDERS} if name.startswith(incomplete))
