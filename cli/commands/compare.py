"""`overlapim compare`: two solutions layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answer, answering
from cli.solutions import read_account

if TYPE_CHECKING:
    from cli.records.solution import LayerLine
    from cli.show.facts import Fact
    from solver.account.plan import Account, LayerAccount
    from solver.solution import Solution
    from solver.timing.mapping import Loop
    from solver.timing.objective import Value

First = Annotated[Path, typer.Argument(metavar="A", help="A solution file.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another one, what has changed.")]


@dataclass(frozen=True)
class Mapped:
    """A layer in one of two solutions.

    Attributes
    ----------
    loops : outermost first.
    load : loops in time outside the load of its inputs.
    """

    line: LayerLine
    loops: str
    load: int
    ordered: bool


@dataclass(frozen=True)
class Compared:
    """A layer in both solutions; None where it is missing.

    Attributes
    ----------
    changed : what differs: mapping, order, banks, times or waits.
    """

    name: str
    a: Mapped | None
    b: Mapped | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Total:
    """What a solution adds up to."""

    file: str
    network: str
    hardware: str
    method: str
    latency: int
    bound: Value | None
    bottleneck: int
    interval: int
    energy_pj: float | None
    utilisation: float


@dataclass(frozen=True)
class Comparison:
    """Two solutions.

    Attributes
    ----------
    differing : where network and hardware differ first, in words; empty if they do not.
    """

    a: Total
    b: Total
    differing: tuple[str, ...]
    layers: tuple[Compared, ...]


@answering
def compare_command(a: First, b: Second) -> None:
    """Show in what two solutions differ: latency, and for each layer banks, times, waits and mapping.

    Both files are recomputed first. Layers are matched by their names; if networks or chips differ, that is
    said.

    Example:

      overlapim compare results/solution.yaml better/solution.yaml
    """
    from solver.solution import difference

    solutions, accounts = zip(*map(read_account, (a, b)), strict=True)
    pairs = [(what, *(getattr(given, what) for given in solutions)) for what in ("network", "hardware")]
    differing = [
        f"{what}: {text}"
        for what, one, other in pairs
        if (text := difference(one.model_dump(), other.model_dump()))
    ]
    totals = [_total(*given) for given in zip((a, b), solutions, accounts, strict=True)]
    record = Comparison(totals[0], totals[1], tuple(differing), tuple(_layers(*accounts)))
    answer(record, lambda: _show(record))


def _total(file: Path, solution: Solution, account: Account) -> Total:
    return Total(
        file=str(file),
        network=solution.network.name,
        hardware=solution.hardware.name,
        method=solution.method,
        latency=account.latency,
        bound=solution.bound,
        bottleneck=account.bottleneck,
        interval=account.interval,
        energy_pj=account.energy.total if account.energy else None,
        utilisation=account.utilisation,
    )


def _layers(a: Account, b: Account) -> Iterator[Compared]:
    """Yield the layers of both, in the order of the first and then of the second."""
    ones, others = ({layer.name: layer for layer in account.layers} for account in (a, b))
    lines = [_mapped(account) for account in (a, b)]
    for name in dict.fromkeys([*ones, *others]):
        one, other = ones.get(name), others.get(name)
        changed = tuple(_changed(one, other)) if one and other else ()
        yield Compared(name, lines[0].get(name), lines[1].get(name), changed)


def _mapped(account: Account) -> dict[str, Mapped]:
    from cli.records.solution import layer_lines

    return {
        line.name: Mapped(line, _loops(layer), layer.profile.load_depth, layer.times.order is not None)
        for line, layer in zip(layer_lines(account), account.layers, strict=True)
    }


def _loops(layer: LayerAccount) -> str:
    """Return the loops of a mapping, outermost first; the kind stands before those that are not in time."""
    loops = layer.profile.mapping.loops
    named = (f"{dim}{bound}" if kind == "temporal" else f"{kind}:{dim}{bound}" for dim, bound, kind in loops)
    return " ".join(named) or "none"


def _changed(a: LayerAccount, b: LayerAccount) -> Iterator[str]:
    if _mapping(a) != _mapping(b):
        yield "mapping"
    if _ordered(a) != _ordered(b):
        yield "order"
    if a.banks.tolist() != b.banks.tolist():
        yield "banks"
    if (a.start, a.end) != (b.start, b.end):
        yield "times"
    if a.waited != b.waited:
        yield "waits"


def _mapping(layer: LayerAccount) -> tuple[tuple[Loop, ...], int]:
    """Return the loops and the load depth, which may be given or left to what it is then."""
    return layer.profile.mapping.loops, layer.profile.load_depth


def _ordered(layer: LayerAccount) -> list[int] | None:
    return None if layer.times.order is None else layer.times.order.tolist()


def _show(record: Comparison) -> None:
    from cli.show.console import console, printable
    from cli.show.facts import fact_lines
    from cli.show.tables import table

    answers = console()
    for line in record.differing:
        answers.print(f"not the same {printable(line, 400)}", soft_wrap=True)
    columns = ("layer", "banks", "start", "end", "waited", "changed")
    rows = table(columns, left=("layer", "changed"))
    for layer in record.layers:
        rows.add_row(printable(layer.name), *_cells(layer), _verdict(layer))
    answers.print(rows)
    mappings = [layer for layer in record.layers if "mapping" in layer.changed]
    if mappings:
        answers.print()
        answers.print("\n".join(_mappings(mappings)), soft_wrap=True)
    answers.print()
    answers.print(fact_lines(_totals(record.a, record.b)), soft_wrap=True)


def _cells(layer: Compared) -> Iterator[str]:
    """Yield banks, start, end and waiting: one number where both are the same."""
    for field in ("banks", "start", "end", "waited"):
        values = ["-" if x is None else f"{getattr(x.line, field):,}" for x in (layer.a, layer.b)]
        yield values[0] if values[0] == values[1] else " → ".join(values)


def _verdict(layer: Compared) -> str:
    if layer.a is None or layer.b is None:
        return "only in B" if layer.a is None else "only in A"
    return ", ".join(layer.changed) or "-"


def _mappings(layers: Sequence[Compared]) -> Iterator[str]:
    """Yield the loops of both mappings of each layer, one below the other."""
    from cli.show.console import printable

    yield "mappings, outermost loop first"
    for layer in layers:
        if layer.a and layer.b:
            yield f"  {printable(layer.name)}"
            for letter, mapped in (("A", layer.a), ("B", layer.b)):
                yield f"    {letter}  {mapped.loops}; inputs are loaded inside {_loops_in_time(mapped.load)}"


def _loops_in_time(count: int) -> str:
    return f"{count} loop{'s' * (count != 1)} in time"


def _totals(a: Total, b: Total) -> Iterator[Fact]:
    from cli.show.tables import joules

    change = b.latency / a.latency - 1
    yield "latency", f"{a.latency:,} → {b.latency:,} cycles, {change:+.1%}"
    bounds = ["none" if x.bound is None else f"{x.bound:,.12g}" for x in (a, b)]
    yield "bound", f"{bounds[0]} → {bounds[1]}, say the files"
    yield "interval", f"{a.interval:,} → {b.interval:,} cycles"
    if a.energy_pj is not None or b.energy_pj is not None:
        yield "energy", " → ".join("unknown" if x is None else joules(x) for x in (a.energy_pj, b.energy_pj))
    yield "utilisation", f"{a.utilisation:.2%} → {b.utilisation:.2%}"
    yield "method", f"{a.method} → {b.method}"
