"""A front as a figure: one plot for each pair of figures, drawn with matplotlib."""

from __future__ import annotations

import io
from itertools import combinations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cli.show.colours import BLUE, GREY
from cli.show.gantt import STYLE, WIDTH
from hw.hardware import Hardware
from solver.front import Front, FrontAxis

SCALES: dict[FrontAxis, str] = {"latency": "latency, ms", "interval": "interval, ms", "energy": "energy, mJ"}


def front_figure(front: Front, hardware: Hardware, kind: str) -> bytes:
    """Return the file of the figure.

    Parameters
    ----------
    kind : `svg` or `png`. The same front gives the same file.
    """
    pairs = list(combinations(front.over, 2))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        for axes, pair in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
            _draw(axes, front, hardware, *pair)
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {}, dpi=200)
    return file.getvalue()


def _draw(axes: Axes, front: Front, hardware: Hardware, x: FrontAxis, y: FrontAxis) -> None:
    """Draw the points, numbered as in the table, and the line that none can be below."""

    def scaled(axis: FrontAxis, value: float) -> float:
        return value * 1e-9 if axis == "energy" else hardware.nanoseconds(int(value)) * 1e-6

    points = [(scaled(x, p.figure(x)), scaled(y, p.figure(y))) for p in front.points]
    across, up = zip(*points, strict=True)
    axes.scatter(across, up, s=14, color=BLUE)
    for number, point in enumerate(points, 1):
        axes.annotate(str(number), point, (3, 3), textcoords="offset points")
    axes.axvline(scaled(x, front.least[x]), color=GREY, linestyle="--", linewidth=0.8)
    axes.axhline(scaled(y, front.least[y]), color=GREY, linestyle="--", linewidth=0.8)
    axes.set(xlabel=SCALES[x], ylabel=SCALES[y], xlim=(0, None), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
