"""The page of a sweep: its designs and their fronts, along any two axes and along all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cli.show.colours import BLUE, GREY, VERMILION
from cli.show.console import printable
from cli.show.html.document import filled
from cli.show.html.figures import Figure, styled
from cli.show.html.text import LABEL, MAX_NAME, safe
from cli.show.sweep import DesignMeasure, design_name, measures_of, varied, workload_name
from cli.show.tables import number
from solver.sweep.front import SweepFront
from solver.sweep.table import SETTING, Row

MOST = 1000
"""Designs of one network that are drawn: those on the front, then the fastest."""


@dataclass(frozen=True)
class DesignText:
    """A design as the page shows it.

    Attributes
    ----------
    hover : as Plotly takes it, so names in it are escaped.
    place : where it lies on each of the parallel axes, from 0 to 1; None where it has no value.
    report : the address of its report; empty if there is none.
    """

    name: str
    hover: str
    front: bool
    values: dict[str, float | None]
    place: tuple[float | None, ...]
    cells: tuple[str, ...]
    report: str
    solution: str


@dataclass(frozen=True)
class AxisText:
    """A parallel axis with the values at its ends."""

    title: str
    low: str
    high: str


@dataclass(frozen=True)
class GroupText:
    """The designs for one network, batch and number of inferences.

    Attributes
    ----------
    across, up : columns that can be shown along each axis, and their titles.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    across: tuple[tuple[str, str], ...]
    up: tuple[tuple[str, str], ...]
    axes: tuple[AxisText, ...]
    designs: tuple[DesignText, ...]


def render_sweep(title: str, note: str, fronts: Sequence[SweepFront], report: Callable[[Row], str]) -> str:
    """Return the page as one HTML file.

    Parameters
    ----------
    report : returns the address of the report of a design; empty if there is none.
    """
    groups = [_group(front, report) for front in fronts]
    data = {
        "groups": [asdict(group) for group in groups],
        "front": _front_figure(),
        "parallel": _parallel_figure(),
    }
    return filled("sweep.html.jinja", "sweep.js", data, title=title, note=note, groups=groups)


def _group(front: SweepFront, report: Callable[[Row], str]) -> GroupText:
    rows = _drawn(front)
    keys = {row["key"] for row in front.front}
    measures = measures_of(front)
    settings = varied(rows)
    axes = [*settings, *(measure.column for measure in measures)]
    scales = {column: _scale([row[column] for row in rows]) for column in axes}
    left = len(front.rows) - len(rows)
    return GroupText(
        title=workload_name(front),
        note=f"{number(len(front.rows))} designs, {number(len(front.front))} on the front"
        + (f"; the {number(left)} slowest are left out here" if left else ""),
        columns=("front", "design", "weights", *(measure.title for measure in measures), "gap", "seed"),
        across=(*_titles(measures[-1:]), *((x, _plain(x)) for x in settings if _numeric(rows, x))),
        up=_titles(measures[:-1]),
        axes=tuple(_axis(column, scales[column], measures) for column in axes),
        designs=tuple(
            _design(row, row["key"] in keys, measures, settings, scales, report(row)) for row in rows
        ),
    )


def _drawn(front: SweepFront) -> list[Row]:
    """Return the designs that are drawn, in the order of their latency."""
    keys = {row["key"] for row in front.front}
    others = [row for row in front.rows if row["key"] not in keys]
    others.sort(key=lambda row: float(row["latency_ns"]))
    rows = [*front.front, *others][: max(MOST, len(front.front))]
    return sorted(rows, key=lambda row: float(row["latency_ns"]))


def _titles(measures: Sequence[DesignMeasure]) -> tuple[tuple[str, str], ...]:
    return tuple((measure.column, measure.axis) for measure in measures)


def _plain(column: str) -> str:
    return printable(column.removeprefix(SETTING), LABEL)


def _numeric(rows: Sequence[Row], column: str) -> bool:
    return all(isinstance(row[column], int | float) for row in rows)


@dataclass(frozen=True)
class Scale:
    """How values lie on a parallel axis: numbers from the least to the most, other values in their order."""

    low: float
    high: float
    logarithmic: bool
    words: tuple[str, ...] = ()

    def place(self, value: Any) -> float | None:
        """Return where a value lies, from 0 to 1; None if there is none."""
        if value is None:
            return None
        position = float(self.words.index(_word(value)) if self.words else value)
        if self.logarithmic:
            position = math.log(position)
        return 0.5 if self.high == self.low else (position - self.low) / (self.high - self.low)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _scale(values: Sequence[Any]) -> Scale:
    """Return the scale of some values: logarithmic if they lie apart by more than a factor of ten."""
    known = [value for value in values if value is not None]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in known) or not known:
        words = tuple(sorted({_word(value) for value in known}))
        return Scale(0, max(len(words) - 1, 0), False, words)
    low, high = min(known), max(known)
    if low > 0 and high > 10 * low:
        return Scale(math.log(low), math.log(high), True)
    return Scale(low, high, False)


def _axis(column: str, scale: Scale, measures: Sequence[DesignMeasure]) -> AxisText:
    if scale.words:
        ends = safe(scale.words[0], LABEL), safe(scale.words[-1], LABEL)
        return AxisText(safe(_plain(column)), *ends)
    low, high = (math.exp(x) if scale.logarithmic else x for x in (scale.low, scale.high))
    for measure in measures:
        if measure.column == column:
            return AxisText(measure.title, measure.text(low), measure.text(high))
    return AxisText(safe(_plain(column)), f"{low:,.6g}", f"{high:,.6g}")


def _design(
    row: Row,
    front: bool,
    measures: Sequence[DesignMeasure],
    settings: Sequence[str],
    scales: Mapping[str, Scale],
    report: str,
) -> DesignText:
    name = design_name(row, MAX_NAME)
    values = {measure.column: measure.scaled(row[measure.column]) for measure in measures}
    texts = [measure.text(row[measure.column]) for measure in measures]
    about = [f"{measure.title} {text}" for measure, text in zip(measures, texts, strict=True)]
    own = [
        f"{safe(_plain(x))} {safe(_word(row[x]))}" for x in settings if x != "weights" and row[x] is not None
    ]
    lines = [f"<b>{safe(row['chip'])}</b>, {row['weights']} weights", *own, *about]
    return DesignText(
        name=name,
        hover="<br>".join(lines),
        front=front,
        values=values | {x: row[x] for x in settings if isinstance(row[x], int | float)},
        place=tuple(scale.place(row[column]) for column, scale in scales.items()),
        cells=("●" if front else "", name, row["weights"], *texts, f"{row['gap']:.1%}", str(row["seed"])),
        report=report,
        solution=row["solution"],
    )


def _front_figure() -> Figure:
    """Return the figure of designs along two axes; the script fills in the values."""
    import plotly.graph_objects as go

    text = {"hovertemplate": "%{text}<extra></extra>"}
    return styled(
        [
            go.Scatter(
                name="designs", mode="markers", marker={"color": GREY, "size": 7, "opacity": 0.6}, **text
            ),
            go.Scatter(name="on the front", mode="markers", marker={"color": BLUE, "size": 10}, **text),
            go.Scatter(
                name="best of these two", mode="lines", line={"color": BLUE, "width": 1}, hoverinfo="skip"
            ),
            go.Scatter(
                name="chosen",
                mode="markers",
                marker={"color": VERMILION, "size": 15, "symbol": "circle-open", "line": {"width": 3}},
                hoverinfo="skip",
                showlegend=False,
            ),
        ],
        height=460,
        xaxis={},
        yaxis={},
    )


def _parallel_figure() -> Figure:
    """Return the figure of designs along all axes; the script fills in the values."""
    import plotly.graph_objects as go

    text = {"hovertemplate": "%{text}<extra></extra>"}
    looks = [("designs", "#BBBBBB", 1), ("on the front", BLUE, 1.5), ("chosen", VERMILION, 4)]
    return styled(
        [
            go.Scatter(name=name, mode="lines+markers", line={"color": colour, "width": width}, **text)
            for name, colour, width in looks
        ],
        height=380,
        xaxis={"showgrid": False, "zeroline": False, "side": "top", "fixedrange": True},
        yaxis={"visible": False, "range": [-0.12, 1.08], "fixedrange": True},
        margin={"l": 70, "r": 70, "t": 70, "b": 20},
        legend={"orientation": "h", "x": 0, "y": 1.28, "yanchor": "top"},
        dragmode=False,
    )
