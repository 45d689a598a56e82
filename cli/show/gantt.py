"""The layers of a plan over time as a figure for print, drawn with matplotlib."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from cli.show.colours import BLUE, GREY, INK, ORANGE, SKY
from cli.show.console import printable
from cli.show.tables import number
from solver.account.blocks import drawable
from solver.account.plan import Account

WIDTH = 7.16
"""Inches of a figure across both columns of a page."""

TALLEST = 9.0
"""Inches that leave room for a caption."""

AROUND = 0.85
"""Inches above and below the rows."""

THIN = 0.02
"""Inches of a row below which bars would not be seen without a line around them."""

SMALLEST = 5.5
"""Points of a row in which a name is readable; where rows are lower, only some layers are named."""

STRETCHES = 4000
LABEL = 30
UNITS = ("", "thousand ", "million ", "billion ", "trillion ", "quadrillion ")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8,
    "axes.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "overlapim",
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "compute": ("computes", {"facecolor": BLUE}),
    "wait": ("waits", {"facecolor": ORANGE, "hatch": "//////", "edgecolor": INK}),
    "both": ("both in turn", {"facecolor": SKY, "hatch": r"\\\\\\", "edgecolor": INK}),
}


def gantt(account: Account, kind: str) -> bytes:
    """Return the file of a Gantt chart: rows of layers from top to bottom, what computes and what waits.

    Parameters
    ----------
    kind : `svg`, `png` or `pdf`. The same plan gives the same file.
    """
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names may be in any script
        figure = _figure(account)
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata=metadata, dpi=300)
    return file.getvalue()


def _figure(account: Account) -> Figure:
    count = len(account.layers)
    row = min(0.2, (TALLEST - AROUND) / count)
    figure = Figure(figsize=(WIDTH, AROUND + row * count), layout="constrained")
    axes = figure.add_subplot()
    kinds = draw_bars(axes, account, 0.0 if row >= THIN else 0.8)
    named = account.layers[:: math.ceil(SMALLEST / (72 * row))]
    names = [printable(line.name, LABEL) for line in named]
    size = min(8.0, max(SMALLEST, 72 * row) * 0.85)
    axes.set_yticks([line.index for line in named], names, fontsize=size)
    axes.set_ylim(count - 0.4, -0.6)
    _time_axis(axes, account)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _legend(axes, kinds)
    return figure


def _legend(axes: Axes, kinds: set[str]) -> None:
    """Put the legend above the axes, at the left."""
    looks = [look for kind, look in KINDS.items() if kind in kinds]
    patches = [Patch(label=label, linewidth=0, **look) for label, look in looks]
    axes.legend(
        handles=patches, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.2
    )


def draw_bars(axes: Axes, account: Account, frame: float = 0.0) -> set[str]:
    """Draw the stretches of all layers and return of which kinds there are some.

    Parameters
    ----------
    frame : the width of a line in the colour of a bar around it, by which bars that are too thin are seen.
    """
    _, cut = drawable([line.blocks for line in account.layers], STRETCHES)
    drawn = set()
    for line, stretches in zip(account.layers, cut, strict=True):
        for kind, (_, look) in KINDS.items():
            spans = [(x.start, x.end - x.start) for x in stretches if x.kind == kind]
            if spans:
                if frame:
                    look = {"facecolor": look["facecolor"], "edgecolor": look["facecolor"]}
                axes.broken_barh(spans, (line.index - 0.38, 0.76), linewidth=frame, **look)
                drawn.add(kind)
    return drawn


def _time_axis(axes: Axes, account: Account) -> None:
    """Count in thousands of cycles, millions, .., and mark the latency."""
    latency = account.latency
    thousands = int(math.log10(latency)) // 3
    axes.set_xlim(0, latency * 1.005)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000**thousands:g}")
    axes.set_xlabel(f"{UNITS[thousands]}cycles")
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.axvline(latency, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(
        f"{number(latency)} cycles",
        (latency, 1),
        (0, 7),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
    )
