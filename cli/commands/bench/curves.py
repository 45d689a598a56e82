"""Curves of latency and bound over time, a small plot for each network and chip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cli.show.colours import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from solver.bench.anytime import AnytimeResults, MeasuredRun, Reading

COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")

POINTS = 200
COLUMNS = 3
FIRST_SECOND = 0.3
HIGHEST = 2.0
"""How many times the best latency the plots reach; first answers may lie far above."""
TICKS = (1, 3, 10, 30, 60, 120, 300, 600)


def curves(results: AnytimeResults) -> Figure:
    """Draw for each method the median of its seeds as a line, their range as a band, the bound dashed."""
    from matplotlib.figure import Figure

    from solver.bench.anytime import best_latency

    subjects = results.by_subject()
    names = list(dict.fromkeys(method for methods in subjects.values() for method in methods))
    rows = -(-len(subjects) // COLUMNS)
    figure = Figure(figsize=(4.2 * min(COLUMNS, len(subjects)), 2.9 * rows + 0.4), layout="constrained")
    grid = list(figure.subplots(rows, min(COLUMNS, len(subjects)), squeeze=False).flat)
    for axes, (on, methods) in zip(grid, subjects.items(), strict=False):
        for method, runs in methods.items():
            _method(axes, runs, method, COLOURS[names.index(method) % len(COLOURS)])
        axes.set_title(str(on), fontsize=9)
        axes.set_xscale("log")
        axes.set_xticks(TICKS, map(str, TICKS))
        axes.minorticks_off()
        longest = max(case.what.seconds for runs in methods.values() for case in runs)
        axes.set_xlim(FIRST_SECOND, max(longest, 2 * FIRST_SECOND))
        axes.set_ylim(0, min(axes.get_ylim()[1], HIGHEST * best_latency(methods) / 1e6))
    for axes in grid[len(subjects) :]:
        axes.set_visible(False)
    figure.supxlabel("seconds", fontsize=9)
    figure.supylabel("M cycles", fontsize=9)
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), fontsize=9
    )
    return figure


def _method(axes: Axes, runs: Sequence[MeasuredRun], method: str, colour: str) -> None:
    times = _times(max(case.what.seconds for case in runs))
    line = _drawn(runs, times, lambda reading: reading.latency)
    axes.plot(line[0], line[2], color=colour, linewidth=1.4, label=method)
    axes.fill_between(line[0], line[1], line[3], color=colour, alpha=0.2, linewidth=0)
    bound = _drawn(runs, times, lambda reading: reading.bound)
    if bound[0]:
        axes.plot(bound[0], bound[2], color=colour, linewidth=1.2, linestyle="--", label=f"{method}, bound")


def _times(seconds: float) -> list[float]:
    ratio = max(seconds, 2 * FIRST_SECOND) / FIRST_SECOND
    return [FIRST_SECOND * ratio ** (i / POINTS) for i in range(POINTS + 1)]


def _drawn(
    runs: Sequence[MeasuredRun], times: Sequence[float], what: Callable[[Reading], int | None]
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return times, and least, median and largest at them, where all runs have something."""
    from solver.bench.anytime import spread

    found = [(t, spread(what(case.result.at(t)) for case in runs)) for t in times]
    known = [(t, s) for t, s in found if s is not None]
    return (
        [t for t, _ in known],
        [s.least / 1e6 for _, s in known],
        [s.median / 1e6 for _, s in known],
        [s.most / 1e6 for _, s in known],
    )
