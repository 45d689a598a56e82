"""How answers look on a screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from cli.console import console, printable
from cli.report import Report
from solver.solution import Solution


def number(value: int) -> str:
    """Return an integer with its thousands set apart."""
    return f"{value:,}"


def table(columns: Sequence[str], left: Sequence[str] = ()) -> Table:
    """Return an empty table whose columns are numbers, apart from those named in `left`."""
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        result.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return result


def layer_table(report: Report) -> Table:
    """Return the table of a plan, a row for each layer."""
    columns = ("layer", "banks", "lanes busy", "start", "end", "waited", "for")
    result = table(columns, left=("layer", "for"))
    for line in report.layers:
        times = (number(line.start), number(line.end), number(line.waited))
        waited_for = printable(line.waited_for) or "-"
        result.add_row(printable(line.name), str(line.banks), f"{line.busy:.1%}", *times, waited_for)
    return result


def summary(report: Report, solution: Solution, sequential: int | None = None) -> str:
    """Return the lines that stand below the table of a plan."""
    ms = solution.latency * solution.hardware.clock_ns * 1e-6
    faster = ""
    if sequential is not None:
        faster = f", {sequential / solution.latency:.2f}x as fast as sequential ({number(sequential)})"
    lines = (
        ("latency", f"{number(solution.latency)} cycles = {ms:.4g} ms{faster}"),
        ("bound", bound_text(solution)),
        ("bottleneck", f"{number(report.bottleneck)} cycles is the longest that one bank is held"),
        ("utilisation", f"{report.utilisation:.2%} of all lanes' time is multiply-accumulates"),
    )
    return "\n".join(f"{name:<12}{text}" for name, text in lines)


def bound_text(solution: Solution) -> str:
    """Return what is known of how much better a solution could be."""
    if solution.bound is None:
        return f"no bound yet: method '{solution.method}' has proved none"
    scope = {"mapspace": "any valid solution", "pool": "the mappings that were considered"}
    gap = (solution.latency - solution.bound) / max(solution.latency, 1)
    known = "proved optimal" if solution.status == "optimal" else f"gap {gap:.2%}"
    return f"{number(solution.bound)} cycles, {known}, over {scope[solution.bound_scope]}"


def show(report: Report, solution: Solution, sequential: int | None = None) -> None:
    """Print a solution: its layers, then what it adds up to."""
    answers = console()
    answers.print(layer_table(report))
    answers.print()
    answers.print(summary(report, solution, sequential), soft_wrap=True)
