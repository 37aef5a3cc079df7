"""Write the reference pages: `make docs`.

They come from the declarations of the components and of the command line, and are committed, so
that they can be read where nothing is installed. A test compares them with what this writes.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import click

from piped.bundles import PROCESSORS, PROVIDERS
from piped.cli import COMMANDS
from piped.cli import piped as group
from piped.spec import Spec, markdown, spec_of

FOLDER = Path(__file__).parent / "reference"
NOTE = (
    "<!-- Written by `make docs` from the declarations in the source:"
    " change those, not this page. -->"
)

PROCESSORS_INTRO = """\
A step of a pipeline is `name`, or `{name: {parameter: value}}`; [pipelines](../pipelines.md) tells
how steps are put together. The types are explained in [documents](../documents.md#types-of-values).
"""

PROVIDERS_INTRO = """\
A provider is a section of the document: it brings batons, or resources that others depend on, or
both. The sections that belong to the document itself (`includes`, `pipelines`, `plugins`, `drain`)
are told in [documents](../documents.md#the-sections-of-a-document).
"""

COMMANDS_INTRO = """\
`piped COMMAND --help` says the same. Options without a command belong to `run`: `piped -nc FILE` is
`piped run FILE`.
"""


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    return {
        FOLDER / "processors.md": processors_page(),
        FOLDER / "providers.md": providers_page(),
        FOLDER / "commands.md": commands_page(),
    }


def processors_page() -> str:
    """Return the page of all processors that come with Piped, by name."""
    topics: dict[str, list[Spec]] = {}
    for module in modules(PROCESSORS):
        found = sorted(specs_in(module, "processor"), key=lambda spec: spec.name)
        if found:
            topics[(inspect.getdoc(module) or "").partition("\n")[0].rstrip(".")] = found
    every = sorted((s for specs in topics.values() for s in specs), key=lambda spec: spec.name)
    lists = [f"**{topic}**\n\n{markdown.contents(specs)}" for topic, specs in topics.items()]
    sections = [markdown.component(spec) for spec in every]
    bases = markdown.shared(markdown.bases_of(every))
    return page("Processors", PROCESSORS_INTRO, *lists, *sections, bases)


def providers_page() -> str:
    """Return the page of all providers that come with Piped, with the mappings inside them."""
    found = [
        spec
        for name in PROVIDERS.values()
        for spec in specs_in(importlib.import_module(name), "provider")
    ]
    every = sorted(found, key=lambda spec: spec.name)
    sections = [markdown.component(spec) for spec in every]
    bases = markdown.shared(markdown.bases_of(every))
    return page("Providers", PROVIDERS_INTRO, markdown.contents(every), *sections, bases)


def commands_page() -> str:
    """Return the page of the command line."""
    context = click.Context(group, info_name="piped")
    sections = []
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        sections.append(command_section(command, name, context))
    return page("Commands", COMMANDS_INTRO, *sections)


def command_section(command: click.Command, name: str, parent: click.Context) -> str:
    """Return the section of one command."""
    context = click.Context(command, parent, name, **command.context_settings)
    usage = command.get_usage(context).removeprefix("Usage: ")
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    rows = [row for each in options if (row := each.get_help_record(context))]
    table = [
        f"| `{flags}` | {said} |".replace("[text|json]", "text\\|json") for flags, said in rows
    ]
    return "\n\n".join(
        [
            f"## piped {name}",
            f"```text\n{' '.join(usage.split())}\n```",
            inspect.cleandoc(command.help or ""),
            "\n".join(["| option | meaning |", "|---|---|", *table]),
        ]
    )


def modules(packages: Iterable[str]) -> Iterator[ModuleType]:
    """Yield packages and all modules inside them."""
    for name in packages:
        package = importlib.import_module(name)
        yield package
        for each in pkgutil.walk_packages(package.__path__, f"{name}."):
            yield importlib.import_module(each.name)


def specs_in(module: ModuleType, kind: str) -> Iterator[Spec]:
    """Yield what the components that a module defines say of themselves."""
    for each in vars(module).values():
        spec = spec_of(each) if isinstance(each, type) else None
        if spec and spec.kind == kind and spec.component.__module__ == module.__name__:
            yield spec


def page(title: str, *blocks: str) -> str:
    """Return a page of blocks, with its title and the note that nobody shall edit it."""
    return "\n\n".join([NOTE, f"# {title}", *(each.strip() for each in blocks if each)]) + "\n"


def main() -> None:
    """Write each page that is not yet as it should be, and tell which."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        is_old = not path.exists() or path.read_text(encoding="utf-8") != text
        if is_old:
            path.write_text(text, encoding="utf-8")
        print(f"{'wrote' if is_old else 'is right:'} {path.relative_to(FOLDER.parent.parent)}")


if __name__ == "__main__":
    main()
