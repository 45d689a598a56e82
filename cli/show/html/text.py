"""Words for charts. Plotly reads some HTML in all that it shows, so names from files are escaped here."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from cli.show.console import printable
from cli.show.tables import number
from solver.account.blocks import BlockWait, Stretch
from solver.account.plan import Account, LayerAccount, runs
from solver.timing.mapping import Kind, Mapping

LABEL = 28
"""Characters of a name at an axis."""

MAX_NAME = 200
"""Characters of the longest name that a file can have."""

LEVELS: dict[Kind, str] = {
    "temporal": "time",
    "channel": "channels",
    "bank": "banks",
    "column": "columns",
}


def full_name(name: str) -> str:
    """Return a name in full, printable on one line; the template escapes it."""
    return printable(name, MAX_NAME)


def safe(name: str, limit: int = 60) -> str:
    """Return a name as text for Plotly: printable, and nothing in it is taken for HTML."""
    return escape(printable(name, limit), quote=False)


def loops(mapping: Mapping) -> str:
    """Return a mapping on one line, each level outermost first: `time P4 C8; banks K2; columns Q16`."""
    levels = []
    for kind, name in LEVELS.items():
        bounds = [f"{loop.dim}{loop.bound}" for loop in mapping.loops if loop.kind == kind]
        levels += [f"{name} {' '.join(bounds)}"] if bounds else []
    return "; ".join(levels) or "one step"


def bank_list(line: LayerAccount) -> str:
    """Return the numbers of a layer's banks, neighbours as ranges, the first few of them."""
    ranges = [f"{a}" if a == b else f"{a}–{b}" for a, b in runs(line.banks.tolist())]
    return ", ".join(ranges[:6]) + (f" and {len(ranges) - 6} more ranges" if len(ranges) > 6 else "")


def layer_text(account: Account, line: LayerAccount) -> str:
    """Return what hovering tells of a layer as a whole."""
    return "<br>".join(_layer_lines(account, line))


def _layer_lines(account: Account, line: LayerAccount) -> Iterator[str]:
    yield f"mapping: {loops(line.profile.mapping)}"
    yield f"{len(line.banks)} banks: {bank_list(line)}"
    yield f"held {number(line.start)} to {number(line.end)}, {line.busy:.1%} of its lanes busy"
    if line.begins_after is not None:
        yield f"begins once {awaited(account, line.begins_after)} is there"
    if (exact := line.just_in_time) is not None:
        block = number(exact.block + 1)
        yield f"begins so that {awaited(account, exact)} is there just in time for block {block}"
    waits = [f"{number(cycles)} for {safe(account.layers[i].name)}" for i, cycles in line.waited_for.items()]
    yield f"waits in all: {', '.join(waits) or 'none'}"


def awaited(account: Account, wait: BlockWait) -> str:
    """Return which block of which layer was waited for."""
    producer = account.layers[wait.producer]
    blocks = number(producer.profile.blocks)
    return f"{safe(producer.name)}, block {number(wait.producer_block + 1)} of {blocks},"


def stretch_text(account: Account, line: LayerAccount, stretch: Stretch, about: str) -> str:
    """Return what hovering tells of a stretch of a layer; `about` is `layer_text`."""
    span = f"{number(stretch.start)} to {number(stretch.end)}: {number(stretch.end - stretch.start)} cycles"
    return f"<b>{safe(line.name)}</b> {_does(account, line, stretch)}<br>{span}<br>{about}"


def _does(account: Account, line: LayerAccount, stretch: Stretch) -> str:
    blocks = number(line.profile.blocks)
    run = f"{number(stretch.first + 1)} to {number(stretch.last + 1)} of {blocks}"
    if stretch.kind == "compute":
        return f"computes blocks {run}"
    waits = [wait for wait in line.waits if stretch.first <= wait.block <= stretch.last]
    longest = max(waits, key=lambda wait: wait.cycles)
    if stretch.kind == "wait":
        return (
            f"waits before block {number(stretch.first + 1)} of {blocks}<br>for {awaited(account, longest)}"
        )
    share = stretch.waited / (stretch.end - stretch.start)
    last = f"longest for {awaited(account, longest)} {number(longest.cycles)} cycles"
    return f"computes blocks {run} and waits {share:.0%} of the time,<br>{last}"
