"""Write the reference pages: `make docs`.

They come from the declarations of the components and of the command line, and are committed, so
that they can be read where nothing is installed. A test compares them with what this writes.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from piped.cli import COMMANDS
from piped.cli import piped as group
from piped.shipped import PROCESSORS, PROVIDERS
from piped.spec import InputOutputProcessor, Processor, Provider, Spec, markdown, spec_of
from piped.spec.described import prose_of
from piped.spec.markdown import in_cells, links, listed

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
NOTE = (
    "<!-- Written by `make docs` from the declarations in the source:"
    " change those, not this page. -->"
)
MAX_OTHERS = 2  # more of them make a sentence that nobody reads


@dataclass(frozen=True)
class Topic:
    """A page of processors: those of some modules, in this order."""

    slug: str
    title: str
    modules: str


TOPICS = (
    Topic("flow", "Flow", "choices pipelines for_each scatter flow"),
    Topic("code", "Code", "code calls"),
    Topic("batons", "Batons", "values merging validating"),
    Topic("lists", "Lists", "lists"),
    Topic("text", "Text and dates", "text templates dates"),
    Topic("formats", "Formats", "formats json_text"),
    Topic(
        "resilience",
        "Resilience",
        "catching retrying deadlines breaking limits failures taps letters",
    ),
    Topic("workers", "Workers", "jobs parts"),
    Topic("batches", "Batches and repeats", "batching repeats"),
    Topic("web", "Web", "web web_headers web_streams websocket"),
    Topic("http-client", "HTTP client", "http_client"),
    Topic("queues", "Queues", "zmq nats"),
    Topic("state", "Contexts, ticks and files", "contexts ticks files"),
    Topic("logs", "Logs", "logs"),
    Topic("tests", "Tests", "status.processors collecting"),
)

PROCESSORS_INTRO = """\
A step of a pipeline is `name`, or `{name: {parameter: value}}`; how steps are put together is told
in [pipelines](../../pipelines.md). `piped list processors` prints this list, and `piped describe
NAME` a section of these pages; both know the processors of your own bundles too.

Where an example has `in` and `out`, those are a baton before the step and after it. Where a type
says `(or !path)`, the value may come from the baton: `!path customer.name`.
"""

GENERAL_INTRO = """\
Many processors work on one value of the baton. They take it from one path and put what they make of
it at another; such a processor has these parameters beside its own:
"""

EVERY_INTRO = """\
And every processor has this one. What a step says beside its parameters (`id`, `consumers`,
`error_consumers` ...) is told in [pipelines](../../pipelines.md).
"""

PROVIDERS_INTRO = """\
A provider is a section of the document: it brings batons, or resources that others depend on, or
both. The sections that belong to the document itself (`includes`, `pipelines`, `plugins`, `drain`)
are told in [documents](../documents.md#the-sections-of-a-document). What `<name>` stands for is a
name of your own.
"""

PROVIDER_INTRO = """\
Every section, and every entry below a `<name>` that runs by itself, has this parameter too, unless
the section consists of nothing but your own names:
"""

COMMANDS_INTRO = """\
`piped COMMAND --help` says the same. Options without a command belong to `run`: `piped -nc FILE` is
`piped run FILE`.
"""


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    topics = {topic: specs_of(topic) for topic in TOPICS}
    named = {module.__name__ for by_module in topics.values() for module in by_module}
    if lost := {*PROCESSORS.values()} - named:
        raise LookupError(f"no topic has {', '.join(sorted(lost))}: name them in TOPICS")
    found = {
        FOLDER / "processors" / f"{topic.slug}.md": topic_page(topic, by_module)
        for topic, by_module in topics.items()
    }
    return found | {
        FOLDER / "processors" / "index.md": processors_page(topics),
        FOLDER / "providers.md": providers_page(),
        FOLDER / "commands.md": commands_page(),
    }


def specs_of(topic: Topic) -> dict[ModuleType, list[Spec]]:
    """Return the processors of a topic's modules, in the order of their definition."""
    found = {}
    for name in topic.modules.split():
        full = f"piped.{name}" if "." in name else f"piped.processors.{name}"
        module = importlib.import_module(full)
        found[module] = [*specs_in(module, "processor")]
    return found


def processors_page(topics: dict[Topic, dict[ModuleType, list[Spec]]]) -> str:
    """Return the page that leads to all processors, and tells what they have in common."""
    blocks = []
    for topic, by_module in topics.items():
        blocks.append(f"## [{topic.title}]({topic.slug}.md)")
        every = [spec for specs in by_module.values() for spec in specs]
        rows = zip(links(every, f"{topic.slug}.md"), map(summary, every), strict=True)
        blocks.append(in_cells(["processor", "what it does"], rows))
    return page(
        "Processors",
        PROCESSORS_INTRO,
        *blocks,
        "## What many of them take",
        GENERAL_INTRO,
        markdown.table(markdown.general(InputOutputProcessor), on_page=True),
        EVERY_INTRO,
        markdown.table(markdown.general(Processor), on_page=True),
        types="../../documents.md#types-of-values",
    )


def summary(spec: Spec) -> str:
    """Return what a component does, in a line."""
    note = f" Deprecated: {spec.deprecated}." if spec.deprecated else ""
    return prose_of(spec.component).summary + note


def topic_page(topic: Topic, by_module: dict[ModuleType, list[Spec]]) -> str:
    """Return the page of the processors of a topic."""
    every = [spec for specs in by_module.values() for spec in specs]
    subjects = [(subject(module), ", ".join(links(specs))) for module, specs in by_module.items()]
    return page(
        topic.title,
        in_cells(["what they are about", "processors"], subjects),
        common(every),
        *(markdown.component(spec, on_page=True) for spec in every),
        types="../../documents.md#types-of-values",
    )


def subject(module: ModuleType) -> str:
    """Return what a module is about."""
    return (inspect.getdoc(module) or "").partition("\n")[0].removesuffix(".")


def common(specs: list[Spec]) -> str:
    """Return a sentence on those of some processors that work on one value of the baton."""
    takers = [spec for spec in specs if issubclass(spec.component, InputOutputProcessor)]
    others = [spec for spec in specs if spec not in takers]
    if not takers:
        return ""
    if len(specs) == 1:
        who, verb = "It", "takes"
    elif not others:
        who, verb = "All of these", "take"
    elif len(others) <= MAX_OTHERS:
        who, verb = f"All of these but {listed(links(others))}", "take"
    else:
        who, verb = listed(links(takers)), "takes" if len(takers) == 1 else "take"
    keys = listed(f"`{each.key}`" for each in markdown.general(InputOutputProcessor))
    return f"{who} {verb} {keys} too, as [the index](index.md#what-many-of-them-take) tells."


def providers_page() -> str:
    """Return the page of all providers that come with Piped, with the mappings inside them."""
    every = [
        spec
        for name in sorted(PROVIDERS)
        for spec in specs_in(importlib.import_module(PROVIDERS[name]), "provider")
    ]
    rows = zip(links(every), map(summary, every), strict=True)
    return page(
        "Providers",
        PROVIDERS_INTRO,
        in_cells(["section", "what it does"], rows),
        PROVIDER_INTRO,
        markdown.table(markdown.general(Provider), on_page=True),
        *(markdown.component(spec, on_page=True) for spec in every),
        types="../documents.md#types-of-values",
    )


def commands_page() -> str:
    """Return the page of the command line."""
    context = click.Context(group, info_name="piped")
    rows = [(f"[piped {name}](#piped-{name})", said) for name, said in COMMANDS.items()]
    sections = []
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        sections.append(command_section(command, name, context))
    return page("Commands", COMMANDS_INTRO, in_cells(["command", "what it does"], rows), *sections)


def command_section(command: click.Command, name: str, parent: click.Context) -> str:
    """Return the section of one command."""
    context = click.Context(command, parent, name, **command.context_settings)
    usage = command.get_usage(context).removeprefix("Usage: ")
    options = [each for each in command.params if isinstance(each, click.Option)]
    records = [record for each in options if (record := each.get_help_record(context))]
    rows = [(option(flags), said) for flags, said in records]
    return "\n\n".join(
        [
            f"## piped {name}",
            f"```text\n{' '.join(usage.split())}\n```",
            inspect.cleandoc(command.help or ""),
            in_cells(["option", "meaning"], rows) if rows else "",
        ]
    ).rstrip()


def option(flags: str) -> str:
    """Return an option as Markdown: ``--format [a|b|c]`` is followed by its choices in words."""
    name, _, choices = flags.partition(" [")
    *others, last = choices.removesuffix("]").split("|")
    return f"`{name}` {', '.join(others)} or {last}" if others else f"`{flags}`"


def specs_in(module: ModuleType, kind: str) -> Iterator[Spec]:
    """Yield what the components that a module defines say of themselves."""
    for each in vars(module).values():
        spec = spec_of(each) if isinstance(each, type) else None
        if spec and spec.kind == kind and spec.component.__module__ == module.__name__:
            yield spec


def page(title: str, *blocks: str, types: str = "") -> str:
    """Return a page of blocks, with its title and the note that nobody shall edit it.

    Args:
        types: Where types are explained: those in brackets become links to it.
    """
    text = "\n\n".join([NOTE, f"# {title}", *(each.strip() for each in blocks if each)])
    used = [word for word in markdown.TYPES if types and f"[{word}]" in text]
    references = "\n".join(f"[{word}]: {types}" for word in used)
    return f"{text}\n\n{references}\n" if references else f"{text}\n"


def main() -> None:
    """Write each page that is not yet as it should be, remove those that are no more, and tell."""
    found = pages()
    for path, text in found.items():
        path.parent.mkdir(exist_ok=True, parents=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    for path in {*(FOLDER / "processors").glob("*.md")} - {*found}:
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
