"""`piped graph`: a document as a chart, for people and for what draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final

import click

from piped.app import blueprint_of
from piped.chart import Box, Chart, chart_of
from piped.cli._words import pipelines_of_the_file
from piped.cli.options import EXIT_CANNOT_START, EXIT_FAILED, FILE, overrides, show_problems
from piped.errors import suggest

MERMAID: Final = {
    "next": "-->",
    "error": "-. error .->",
    "calls": "-- calls -->",
    "uses": "-.->",
    "brings": "==>",
}
MERMAID_SHAPES: Final = {
    "source": '(["{}"])',
    "step": '["{}"]',
    "pipeline": '[["{}"]]',
    "resource": '[("{}")]',
}
DOT: Final = {
    "next": "",
    "error": ' [style=dashed, color=red, label="error"]',
    "calls": ' [label="calls"]',
    "uses": " [style=dotted]",
    "brings": " [style=bold]",
}
DOT_SHAPES: Final = {
    "source": "oval",
    "step": "box",
    "pipeline": "component",
    "resource": "cylinder",
}
TEXT: Final = {
    "next": "then",
    "error": "on error",
    "calls": "calls",
    "uses": "uses",
    "brings": "brings batons to",
}


@click.command("graph")
@click.argument("file", type=FILE)
@click.argument("pipeline", required=False, shell_complete=pipelines_of_the_file)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    help="How to print; dot is for Graphviz.",
)
@overrides
def command(file: str, pipeline: str | None, form: str, override: tuple[str, ...]) -> None:
    """Print the pipelines of a document as a graph: branches, errors, calls, and what they use.

    With PIPELINE: only that one. What is broken is left out; exit code 1 where something is.
    """
    blueprint = blueprint_of(file, override)
    show_problems(blueprint.errors)
    name = pipeline.removeprefix("pipeline.") if pipeline else None
    if name is not None and name not in blueprint.pipelines and name not in blueprint.broken:
        hint = suggest(name, blueprint.pipeline_names)
        click.echo(f"error: there is no pipeline '{name}'\n    hint: {hint}", err=True)
        raise SystemExit(EXIT_CANNOT_START)
    click.echo("\n".join(FORMATS[form](chart_of(blueprint, name))).rstrip("\n"))
    if blueprint.errors:
        raise SystemExit(EXIT_FAILED)


def as_text(chart: Chart) -> Iterator[str]:
    """Yield the lines of a chart for people: what brings batons, then each pipeline's steps."""
    labels = {box.name: box.label for box in chart.others}
    for boxes in chart.pipelines.values():
        is_alone = len(boxes) == 1
        labels |= {
            b.name: b.label if is_alone else f"{n} {b.label}" for n, b in enumerate(boxes, 1)
        }
    ways = _ways(chart, labels)
    for box in chart.others:
        if box.kind == "source":
            yield labels[box.name]
            yield from (f"    {each}" for each in ways.get(box.name, ()))
            yield ""
    for name, boxes in chart.pipelines.items():
        yield name
        for box, following in zip_longest(boxes, boxes[1:]):
            yield f"  {labels[box.name]}"
            usual = f"then: {labels[following.name]}" if following else ""
            yield from (f"      {each}" for each in ways.get(box.name, ()) if each != usual)
        yield ""


def _ways(chart: Chart, labels: dict[str, str]) -> dict[str, list[str]]:
    """Return in words where batons go from each box; another pipeline is named as a whole."""
    homes = {box.name: home for home, boxes in chart.pipelines.items() for box in boxes}
    found: dict[str, dict[str, dict[str, None]]] = {}
    for arrow in chart.arrows:
        home = homes.get(arrow.target)
        is_near = home is None or arrow.way in ("next", "error")
        target = labels[arrow.target] if is_near else f"{home}"
        found.setdefault(arrow.source, {}).setdefault(TEXT[arrow.way], {})[target] = None
    return {
        box: [f"{way}: {', '.join(targets)}" for way, targets in ways.items()]
        for box, ways in found.items()
    }


def as_mermaid(chart: Chart) -> Iterator[str]:
    """Yield the lines of a Mermaid flow chart."""
    ids = _ids(chart)
    yield "flowchart TD"
    for number, (name, boxes) in enumerate(chart.pipelines.items()):
        yield f'  subgraph p{number}["{_for_mermaid(name)}"]'
        for box in boxes:
            yield f"    {_mermaid_box(box, ids)}"
        yield "  end"
    for box in chart.others:
        yield f"  {_mermaid_box(box, ids)}"
    for arrow in chart.arrows:
        yield f"  {ids[arrow.source]} {MERMAID[arrow.way]} {ids[arrow.target]}"


def _mermaid_box(box: Box, ids: dict[str, str]) -> str:
    return ids[box.name] + MERMAID_SHAPES[box.kind].format(_for_mermaid(box.label))


def _for_mermaid(text: str) -> str:
    return "".join(f"#{ord(sign)};" if sign in '"<>#&`' else sign for sign in text)


def as_dot(chart: Chart) -> Iterator[str]:
    """Yield the lines of a Graphviz graph."""
    ids = _ids(chart)
    yield "digraph piped {"
    yield '  node [fontname="sans-serif"]'
    for number, (name, boxes) in enumerate(chart.pipelines.items()):
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={_for_dot(name)}"
        for box in boxes:
            yield f"    {_dot_box(box, ids)}"
        yield "  }"
    for box in chart.others:
        yield f"  {_dot_box(box, ids)}"
    for arrow in chart.arrows:
        yield f"  {ids[arrow.source]} -> {ids[arrow.target]}{DOT[arrow.way]}"
    yield "}"


def _dot_box(box: Box, ids: dict[str, str]) -> str:
    return f"{ids[box.name]} [label={_for_dot(box.label)}, shape={DOT_SHAPES[box.kind]}]"


def _for_dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _ids(chart: Chart) -> dict[str, str]:
    boxes = [*(box for each in chart.pipelines.values() for box in each), *chart.others]
    return {box.name: f"n{number}" for number, box in enumerate(boxes)}


FORMATS: Final[dict[str, Callable[[Chart], Iterator[str]]]] = {
    "text": as_text,
    "mermaid": as_mermaid,
    "dot": as_dot,
}
