"""Charts of benchmarks as SVG: the same numbers make the same file, byte by byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLOURS = ("#00796b", "#8d6e63", "#5c6bc0")
SIZE_IN = (6.4, 3.6)
SETTINGS = {
    "svg.hashsalt": "piped",  # else ids in the file are of chance
    "svg.fonttype": "none",  # text stays text: small, and read out by screen readers
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # which comes with matplotlib, so all measure text alike
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e0e0e0",
    "legend.frameon": False,
}
NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # no date, and no version


class NoMatplotlib(Exception):
    """Raised when there is nothing to draw with."""


@dataclass(frozen=True)
class Axes:
    """What a chart says of itself. Sizes grow by factors on both axes where ``is_steep``."""

    title: str
    x: str
    y: str = "CPU µs per request"
    is_steep: bool = False


def draw(path: Path, axes: Axes, lines: Mapping[str, Mapping[int, float]]) -> None:
    """Write a chart with a line for each name: its values by where they stand on the x axis.

    Raises:
        NoMatplotlib: It is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise NoMatplotlib("no matplotlib: `pip install --group bench`") from None
    matplotlib.use("svg")
    with matplotlib.rc_context(SETTINGS):
        from matplotlib.figure import Figure

        figure = Figure(SIZE_IN, layout="constrained")
        chart = figure.add_subplot(xlabel=axes.x, ylabel=axes.y, xscale="log")
        chart.set_title(axes.title, loc="left", fontsize="medium")
        for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
            chart.plot([*values], [*values.values()], "o-", color=colour, label=name)
        scale = sorted({x for values in lines.values() for x in values})
        chart.set_xticks(scale, [readable(x) for x in scale], minor=False)
        chart.set_xticks([], minor=True)
        if axes.is_steep:
            chart.set_yscale("log")
        else:
            chart.set_ylim(bottom=0)
        if len(lines) > 1:
            chart.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata=NOTHING)
    tidy(path)


def tidy(path: Path) -> None:
    """Take the white space off the ends of lines, which would be found fault with."""
    lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")


def readable(number: int) -> str:
    """Return a number as people write it, sizes from 1024 on by their units.

    >>> readable(10240), readable(5000)
    ('10 Ki', '5,000')
    """
    for unit, size in (("Mi", 1 << 20), ("Ki", 1 << 10)):
        if number >= size and number % size == 0:
            return f"{number // size} {unit}"
    return f"{number:,}"
