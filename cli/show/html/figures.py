"""The charts of a report, as Plotly figures in the form of plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from cli.show.colours import BLUE, GREEN, INK, ORANGE, PALE, PURPLE, SKY, VERMILION, YELLOW
from cli.show.console import printable
from cli.show.html.text import LABEL, layer_text, safe, stretch_text
from cli.show.tables import MEASURED, joules, number
from solver.account.blocks import Stretch, drawable
from solver.account.edges import decimated
from solver.account.plan import Account, LayerAccount, runs
from solver.timing.objective import Measure, Value
from solver.timing.profile import Cycles

Figure = dict[str, Any]
"""`data` and `layout`, as plotly.js takes them."""

BARS = 5000
BANKS = 2000
"""Banks of a chip from which on neighbours that are alike are drawn together."""

POINTS = 160
ROW = 18
TALLEST = 12_000
NAME = 10
"""Pixels of a row that has room for a name."""

NAMES = 1000
"""Runs of banks up to which each has the name of its layer on it; laying out names takes browsers long."""


@dataclass(frozen=True)
class Look:
    """How one kind of time is drawn: the pattern tells it apart where colours do not."""

    name: str
    colour: str
    pattern: str = ""
    stripes: str = INK

    @property
    def marker(self) -> Figure:
        """As Plotly's `marker`."""
        pattern = {"shape": self.pattern, "fgcolor": self.stripes, "size": 6, "solidity": 0.25}
        return {"color": self.colour, "line": {"width": 0}, "pattern": {**pattern, "fillmode": "overlay"}}


STRETCHES = {
    "compute": Look("computes", BLUE),
    "wait": Look("waits", ORANGE, "/"),
    "both": Look("computes and waits in turn", SKY, "\\", ORANGE),
}
PARTS = {
    "weights": Look("load weights", INK),
    "multiply": Look("multiply", BLUE),
    "rows": Look("open rows", VERMILION, "+"),
    "load": Look("load", GREEN, "."),
    "reduce": Look("reduce", PURPLE, "x"),
    "drain": Look("drain", SKY, "-"),
    "post": Look("post-operations", YELLOW, "|"),
    "wait": Look("wait", ORANGE, "/"),
}
IDLE = Look("no layer", PALE)
ENERGY_LOOKS = {
    "steps": PARTS["multiply"],
    "rows": PARTS["rows"],
    "weights": PARTS["weights"],
    "load": PARTS["load"],
    "write": Look("write inputs", ORANGE, "\\"),
    "reduce": PARTS["reduce"],
    "drain": PARTS["drain"],
    "post": PARTS["post"],
}


def styled(traces: Sequence[Any], **layout: Any) -> Figure:
    """Return a figure with the look that all of them have."""
    axis = {"gridcolor": "#E0E0E0", "zerolinecolor": "#BBBBBB", "linecolor": "#888888", "automargin": True}
    base: Figure = {
        "template": None,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "margin": {"l": 60, "r": 20, "t": 34, "b": 46},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "hoverlabel": {"align": "left", "bgcolor": "#FFFFFF", "font": {"size": 12, "color": INK}},
        "hovermode": "closest",
        "dragmode": "zoom",
        "paper_bgcolor": "#FFFFFF",
        "plot_bgcolor": "#FFFFFF",
    }
    for name in [name for name in layout if name.startswith(("xaxis", "yaxis"))]:
        layout[name] = {**axis, **layout[name]}
    figure = go.Figure(traces, {**base, **layout})
    plain: Figure = json.loads(figure.to_json())
    return plain


def _time_axis(account: Account) -> Figure:
    return {
        "title": {"text": "cycles"},
        "range": [0, account.latency],
        "tickformat": "~s",
        "hoverformat": ",d",
    }


def _rows(account: Account) -> Figure:
    """Return the axis with a row for each layer, the first at the top."""
    count = len(account.layers)
    size = 11 if count <= 60 else 9
    # Where rows are lower than a name, some layers are named.
    named = account.layers[:: math.ceil(count * NAME / _height(account))]
    return {
        "tickvals": [line.index for line in named],
        "ticktext": [safe(line.name, LABEL) for line in named],
        "tickfont": {"size": size},
        "range": [count - 0.5, -0.5],
        "showgrid": False,
        "zeroline": False,
        "automargin": False,
    }


def _margin(account: Account) -> Figure:
    """Return the margins of charts over time: the same for all, so that they stand below each other."""
    longest = max(len(printable(line.name, LABEL)) for line in account.layers)
    return {"l": max(70, 14 + 7 * longest), "r": 20, "t": 34, "b": 46}


def _height(account: Account) -> int:
    count = len(account.layers)
    return min(100 + count * (ROW if count <= 60 else 13), TALLEST)


@dataclass(frozen=True)
class Cut:
    """The time of all layers, cut into stretches that are drawn as one bar each."""

    resolution: int
    stretches: list[list[Stretch]]

    def each(self, account: Account) -> Iterator[tuple[LayerAccount, Stretch, str]]:
        """Yield every stretch with its layer and what hovering tells."""
        for line, own in zip(account.layers, self.stretches, strict=True):
            about = layer_text(account, line)
            for stretch in own:
                yield line, stretch, stretch_text(account, line, stretch, about)


def cut(account: Account, most: int = BARS) -> Cut:
    """Return the stretches of a plan, few enough to be drawn."""
    return Cut(*drawable([line.blocks for line in account.layers], most))


def layers(account: Account, pieces: Cut) -> Figure:
    """Return the layers over time, a row each."""
    traces = []
    every = list(pieces.each(account))
    for kind, look in STRETCHES.items():
        bars = [bar for bar in every if bar[1].kind == kind]
        traces.append(
            go.Bar(
                name=look.name,
                orientation="h",
                y=[line.index for line, _, _ in bars],
                base=[stretch.start for _, stretch, _ in bars],
                x=[stretch.end - stretch.start for _, stretch, _ in bars],
                hovertext=[text for _, _, text in bars],
                hoverinfo="text",
                marker=look.marker,
            )
        )
    return styled(
        traces,
        barmode="overlay",
        bargap=0.25,
        height=_height(account),
        margin=_margin(account),
        xaxis=_time_axis(account),
        yaxis=_rows(account),
    )


def banks_together(account: Account, pieces: Cut) -> int:
    """Return of how many neighbouring banks one is drawn for all, so that there are not too many bars."""
    together, most = 1, account.hardware.banks
    while (
        together < most
        and sum(
            len(own) * len(_bank_runs(line, together))
            for line, own in zip(account.layers, pieces.stretches, strict=True)
        )
        > 2 * BARS
    ):
        together = 2 * together if together > 1 else account.hardware.banks_per_channel
    return together


def _bank_runs(line: LayerAccount, together: int) -> list[tuple[int, int]]:
    """Return the runs of banks, in which so many are held if one of them is."""
    if together == 1:
        return runs(line.banks)
    return [(a * together, (b + 1) * together - 1) for a, b in runs(np.unique(line.banks // together))]


def banks(account: Account, pieces: Cut) -> Figure:
    """Return the banks over time: every layer's stretches on the runs of its banks, and its name."""
    traces = []
    together = banks_together(account, pieces)
    found = [_bank_runs(line, together) for line in account.layers]
    every = [(bar, run) for bar in pieces.each(account) for run in found[bar[0].index]]
    for kind, look in STRETCHES.items():
        bars = [(bar, run) for bar, run in every if bar[1].kind == kind]
        traces.append(
            go.Bar(
                name=look.name,
                orientation="h",
                y=[(first + last) / 2 for _, (first, last) in bars],
                width=[last - first + 1 for _, (first, last) in bars],
                base=[stretch.start for (_, stretch, _), _ in bars],
                x=[stretch.end - stretch.start for (_, stretch, _), _ in bars],
                hovertext=[text for (_, _, text), _ in bars],
                hoverinfo="text",
                marker=look.marker,
            )
        )
    top = account.hardware.banks - 0.5
    return styled(
        [*traces, _outlines(account, found)],
        barmode="overlay",
        height=min(120 + 5 * account.hardware.banks, 760),
        margin=_margin(account),
        xaxis=_time_axis(account),
        yaxis={
            "title": {"text": "bank"},
            "range": [top, -0.5],
            "tickformat": ",d",
            "showgrid": False,
            "zeroline": False,
            "automargin": False,
        },
        uniformtext={"minsize": 8, "mode": "hide"},
        plot_bgcolor=IDLE.colour,
    )


def _outlines(account: Account, found: Sequence[Sequence[tuple[int, int]]]) -> Any:
    """Return a frame with the layer's name around every run of banks that it holds."""
    held = [(line, run) for line, own in zip(account.layers, found, strict=True) for run in own]
    return go.Bar(
        orientation="h",
        y=[(first + last) / 2 for _, (first, last) in held],
        width=[last - first + 1 for _, (first, last) in held],
        base=[line.start for line, _ in held],
        x=[line.held for line, _ in held],
        text=[safe(line.name, LABEL) for line, _ in held] if len(held) <= NAMES else None,
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={"color": "#FFFFFF", "size": 11},
        hoverinfo="skip",
        showlegend=False,
        marker={"color": "rgba(0,0,0,0)", "line": {"color": INK, "width": 0.8}},
    )


def whole_chip(account: Account) -> Figure:
    """Return where the bank-cycles of the whole chip go up to the latency, as one bar."""
    values = [(look, value) for part, look in PARTS.items() if (value := getattr(account.spent, part))]
    total = account.hardware.banks * account.latency
    traces = [
        go.Bar(
            name=look.name,
            orientation="h",
            y=[0],
            x=[value / total],
            text=[f"{value / total:.1%}" if value / total > 0.03 else ""],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            insidetextfont={"color": "#FFFFFF"},
            hovertext=[f"{look.name}: {number(value)} bank-cycles, {value / total:.2%}"],
            hoverinfo="text",
            marker=look.marker,
        )
        for look, value in [*values, (IDLE, account.idle)]
    ]
    return styled(
        traces,
        barmode="stack",
        height=150,
        xaxis={"tickformat": ".0%", "range": [0, 1], "showgrid": False},
        yaxis={"visible": False},
    )


def cycles(account: Account) -> Figure:
    """Return where the cycles of each layer go from its start to its end."""
    traces = []
    for part, look in PARTS.items():
        values = [getattr(line.spent, part) for line in account.layers]
        if not any(values):
            continue
        texts = [
            f"<b>{safe(line.name)}</b><br>{look.name}: {number(value)} of {number(line.held)} cycles "
            f"({value / line.held:.1%})<br>on {len(line.banks)} banks"
            for line, value in zip(account.layers, values, strict=True)
        ]
        traces.append(_bars(account, look, values, texts))
    axis = {"title": {"text": "cycles for which the layer holds its banks"}, "tickformat": "~s"}
    return _layer_by_layer(account, traces, axis)


def energy(account: Account) -> Figure:
    """Return where the energy of each layer goes in one inference, on a chip that has figures."""
    own = [(line, line.energy) for line in account.layers if line.energy is not None]
    traces = []
    for part, look in ENERGY_LOOKS.items():
        values = [getattr(parts, part) for _, parts in own]
        if not any(values):
            continue
        texts = [
            f"<b>{safe(line.name)}</b><br>{look.name}: {joules(value)} of {joules(parts.total)}"
            for (line, parts), value in zip(own, values, strict=True)
        ]
        traces.append(_bars(account, look, [value * 1e-12 for value in values], texts))
    axis = {"title": {"text": "energy of one inference in J"}, "tickformat": "~s"}
    return _layer_by_layer(account, traces, axis)


def _bars(account: Account, look: Look, values: Sequence[float], texts: Sequence[str]) -> Any:
    """Return one part of what each layer takes."""
    return go.Bar(
        name=look.name,
        orientation="h",
        y=[line.index for line in account.layers],
        x=values,
        hovertext=texts,
        hoverinfo="text",
        marker=look.marker,
    )


def _layer_by_layer(account: Account, traces: Sequence[Any], axis: Figure) -> Figure:
    """Return a chart with a bar of parts for each layer."""
    return styled(
        traces,
        barmode="stack",
        bargap=0.25,
        height=_height(account),
        margin=_margin(account),
        xaxis=axis,
        yaxis=_rows(account),
    )


def bank_use(account: Account) -> Figure:
    """Return for how long each bank is held, and how many of its rows are used."""
    hardware, times, rows = account.hardware, account.bank_times, account.bank_rows
    changes = np.flatnonzero((np.diff(times) != 0) | (np.diff(rows) != 0))
    # Of many banks, those that are neighbours and alike are drawn by the first and the last of them.
    first, last = np.append(0, changes + 1), np.append(changes, hardware.banks - 1)
    numbers = np.unique([first, last]) if hardware.banks > BANKS else np.arange(hardware.banks)
    texts = [
        f"bank {bank}: held {number(time)} cycles ({time / account.latency:.1%}), "
        f"{number(own)} of {number(hardware.rows_per_bank)} rows"
        for bank, time, own in zip(
            numbers.tolist(), times[numbers].tolist(), rows[numbers].tolist(), strict=True
        )
    ]
    step: Figure = {"x": numbers, "line": {"shape": "hvh", "width": 1}, "fill": "tozeroy", "mode": "lines"}
    hover: Figure = {"hovertext": texts, "hoverinfo": "text"}
    counts: Figure = {"rangemode": "tozero", "tickformat": "~s"}
    return styled(
        [
            go.Scatter(name="cycles held", y=times[numbers], line_color=BLUE, **step, **hover),
            go.Scatter(name="rows used", y=rows[numbers], line_color=VERMILION, yaxis="y2", **step, **hover),
        ],
        height=380,
        hovermode="x",
        showlegend=False,
        xaxis={"title": {"text": "bank"}, "tickformat": ",d", "anchor": "y2"},
        yaxis={"title": {"text": "cycles held"}, "domain": [0.56, 1], **counts},
        yaxis2={"title": {"text": "rows used"}, "domain": [0, 0.44], **counts},
    )


def search(trace: Sequence[tuple[float, Value, Value | None]], measure: Measure) -> Figure:
    """Return value and bound of the objective over the seconds of the search."""
    unit, name = MEASURED[measure], "latency" if measure == "makespan" else measure
    seconds = [step[0] for step in trace]
    curves = [go.Scatter(name=name, x=seconds, y=[step[1] for step in trace], line_color=BLUE)]
    if any(step[2] is not None for step in trace):
        bound = [step[2] for step in trace]
        curves.append(go.Scatter(name="bound", x=seconds, y=bound, line={"color": VERMILION, "dash": "dash"}))
    for curve in curves:
        curve.update(mode="lines+markers", line_shape="hv", hovertemplate=f"%{{y:,d}} {unit} at %{{x:.1f}} s")
    return styled(
        curves,
        height=300,
        showlegend=True,
        xaxis={"title": {"text": "seconds"}, "rangemode": "tozero"},
        yaxis={"title": {"text": unit}, "rangemode": "tozero", "tickformat": "~s"},
    )


def edge() -> Figure:
    """Return the chart of one edge without its curves: `EdgeCurves` of the edge that is chosen go into it."""
    looks = (
        (
            "done by the producer",
            "its block %{customdata:,d} of %{meta:,d} is done: %{x:,d}",
            "#777777",
            "dot",
        ),
        ("ready", "data of block %{customdata:,d} of %{meta:,d} is there: %{x:,d}", GREEN, "dash"),
        ("needed", "block %{customdata:,d} of %{meta:,d} begins: %{x:,d}", BLUE, "solid"),
    )
    curves = [
        go.Scatter(
            name=name,
            mode="lines",
            line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{text}<extra></extra>",
        )
        for name, text, colour, dash in looks
    ]
    waits = go.Scatter(
        name="waits for it",
        mode="lines",
        line={"color": ORANGE, "width": 5},
        hovertemplate="waits %{customdata[1]:,d} cycles before block %{customdata[0]:,d}<extra></extra>",
    )
    return styled(
        [*curves, waits],
        height=420,
        xaxis={"title": {"text": "cycles"}, "tickformat": "~s"},
        yaxis={"title": {"text": "share of blocks"}, "tickformat": ".0%", "range": [-0.02, 1.03]},
    )


@dataclass(frozen=True)
class Curve:
    """How many of `count` blocks are reached at rising times."""

    times: list[int]
    blocks: list[int]
    count: int


@dataclass(frozen=True)
class EdgeCurves:
    """One operand of a layer.

    Attributes
    ----------
    waited : cycles that the reader, once started, waits for this operand.
    span : the cycles that its chart shows.
    done, ready, needed : blocks of the producer; blocks of the reader whose data is there, and that begin.
    waits : (block, cycles, end) of the longest waits.
    """

    reader: str
    producer: str
    waited: int
    slack: int
    span: tuple[int, int]
    done: Curve
    ready: Curve
    needed: Curve
    waits: list[tuple[int, int, int]]


def edges(account: Account) -> list[EdgeCurves]:
    """Return every operand that reads a layer, those that are waited for longest first."""
    found = [
        _curves(account, line, operand, account.layers[edge.producer])
        for line, operands in zip(account.layers, account.problem.edges, strict=True)
        for operand, edge in enumerate(operands)
    ]
    return sorted(found, key=lambda edge: -edge.waited)


def _curves(account: Account, line: LayerAccount, operand: int, producer: LayerAccount) -> EdgeCurves:
    times = account.readiness(line.index, operand)
    waits = sorted((wait for wait in line.waits if wait.operand == operand), key=lambda wait: -wait.cycles)
    starts = line.blocks.starts
    return EdgeCurves(
        reader=line.name,
        producer=producer.name,
        waited=sum(wait.cycles for wait in waits),
        slack=times.slack,
        span=(min(producer.start, line.start), line.end),
        done=_curve(producer.blocks.starts + producer.blocks.lengths),
        ready=_curve(np.maximum.accumulate(times.ready)),
        needed=_curve(times.needed),
        waits=[(wait.block + 1, wait.cycles, int(starts[wait.block])) for wait in waits[:POINTS]],
    )


def _curve(times: Cycles) -> Curve:
    count = len(times)
    kept = decimated(times, np.arange(count), POINTS)
    return Curve(times[kept].tolist(), (kept + 1).tolist(), count)
