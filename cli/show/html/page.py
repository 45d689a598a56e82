"""The page: everything that a report says, in the order in which it stands, and its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cli.records.catalogue import network_summary
from cli.show.facts import Fact, chip_facts, cost_facts, network_facts
from cli.show.html import figures
from cli.show.html.document import filled
from cli.show.html.text import bank_list, full_name, loops
from cli.show.tables import SCOPES, aim, dims, duration, joules, measured, number, per_second, rate
from solver.account.plan import Account, LayerAccount
from solver.export.nest import loop_nest
from solver.run import gap
from solver.solution import Solution

if TYPE_CHECKING:
    from cli.records.result_file import Found


@dataclass(frozen=True)
class Tile:
    """A number of the summary and what it means."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class LayerText:
    """One layer in the table and among the loop nests."""

    name: str
    dims: str
    numbers: tuple[str, ...]
    banks: str
    waited_for: str
    mapping: str
    nest: str


@dataclass(frozen=True)
class EdgeText:
    """One operand that reads a layer."""

    producer: str
    reader: str
    waited: str
    slack: str


@dataclass(frozen=True)
class Page:
    """All text of the page that depends on the plan; the template escapes it."""

    title: str
    found: str
    tiles: tuple[Tile, ...]
    cut: str
    together: str
    multiplying: str
    utilisation: str
    edges: tuple[EdgeText, ...]
    rows: str
    bottleneck: str
    interval: str
    energy: str
    layers: tuple[LayerText, ...]
    searched: str
    network: tuple[Fact, ...]
    hardware: tuple[Fact, ...]
    commands: tuple[Fact, ...]


def render(
    account: Account, solution: Solution, found: Found | None, commands: Sequence[Fact], library: str = ""
) -> str:
    """Return the report as one HTML file that loads nothing.

    Parameters
    ----------
    found : what the search left behind, if it is known.
    commands : what to run to get the same again, as (what it does, command).
    library : the address of plotly.js, from which many reports can load it; it is in the page unless given.
    """
    pieces = figures.cut(account)
    edges = figures.edges(account)
    charts = {
        "layers": figures.layers(account, pieces),
        "banks": figures.banks(account, pieces),
        "whole_chip": figures.whole_chip(account),
        "energy": figures.energy(account) if account.energy else None,
        "cycles": figures.cycles(account),
        "bank_use": figures.bank_use(account),
        "search": figures.search(found.trace, solution.objective) if found else None,
        "edge": figures.edge(),
        "edges": [asdict(edge) for edge in edges],
    }
    texts = tuple(
        EdgeText(full_name(x.producer), full_name(x.reader), number(x.waited), number(x.slack)) for x in edges
    )
    page = _page(account, solution, found, commands, pieces, texts)
    return filled("page.html.jinja", "page.js", charts, library, page=page)


def _page(
    account: Account,
    solution: Solution,
    found: Found | None,
    commands: Sequence[Fact],
    pieces: figures.Cut,
    edges: tuple[EdgeText, ...],
) -> Page:
    hardware, network = account.hardware, account.problem.network
    source = hardware.source.strip() or "not given"
    lanes = account.spent.multiply * hardware.columns_per_bank
    return Page(
        title=f"{full_name(network.name)} on {full_name(hardware.name)}",
        found=_found(solution, found),
        tiles=tuple(_tiles(account, solution, found)),
        cut=_cut(pieces.resolution),
        together=_together(figures.banks_together(account, pieces)),
        multiplying=f"{account.work / lanes:.1%}",
        utilisation=f"{account.utilisation:.2%}",
        edges=edges,
        rows=number(hardware.rows_per_bank),
        bottleneck=number(account.bottleneck),
        interval=number(account.interval),
        energy=_energy(account),
        layers=tuple(_layer(account, line) for line in account.layers),
        searched=_searched(found) if found else "",
        network=tuple(network_facts(network_summary(network))),
        hardware=(*chip_facts(hardware), *cost_facts(hardware), ("source", source)),
        commands=tuple(commands),
    )


def _energy(account: Account) -> str:
    """Return what the chart of energies shows; nothing on a chip without figures."""
    if account.energy is None:
        return ""
    layers, standby = joules(account.energy.parts.total), joules(account.energy.standby)
    return (
        f"Where the {layers} of the layers go in one inference; beside, the chip takes {standby} to stand by."
    )


def _found(solution: Solution, found: Found | None) -> str:
    weights = f"{solution.hardware.weights} weights"
    text = f"{weights}; found by method {full_name(solution.method)}, seed {solution.seed}"
    if found is None:
        return text
    return f"{text}, in {found.wall_s:.1f} s{', interrupted' if found.interrupted else ''}"


def _cut(resolution: int) -> str:
    if resolution == 1:
        return "Every wait is drawn."
    return f"Stretches of work and waits shorter than {number(resolution)} cycles are drawn together."


def _together(banks: int) -> str:
    if banks == 1:
        return ""
    return f" {number(banks)} neighbouring banks are drawn together: what one of them does stands for all."


def _searched(found: Found) -> str:
    last = found.trace[-1]
    return f"{len(found.trace)} improvements of latency or bound; the last after {last[0]:.1f} s."


def _tiles(account: Account, solution: Solution, found: Found | None) -> list[Tile]:
    latency, hardware = account.latency, account.hardware
    tiles = [
        *(Tile(name, text, "is minimised") for name, text in aim(account, "")),
        Tile("latency", number(latency), f"cycles = {duration(latency, hardware)}"),
        _bound(solution, account),
    ]
    if found is not None:
        name, better = ("speed-up", "fast") if solution.objective == "makespan" else ("gain", "good")
        own = f"{measured(found.sequential, solution.objective)}, each layer's own fastest mapping"
        ratio = found.sequential / solution.problem.objective.value(account.figures)
        tiles.append(Tile(name, f"{ratio:.2f}x", f"as {better} as sequential: {own}"))
    if account.without_overlap is not None:
        apart = f"as fast as the same mappings without overlap: {number(account.without_overlap)} cycles"
        tiles.append(Tile("overlap", f"{account.without_overlap / latency:.2f}x", apart))
    busy = "of all lanes' time is multiply-accumulates"
    tiles.append(Tile("utilisation", f"{account.utilisation:.2%}", busy))
    tiles.append(Tile("interval", number(account.interval), f"cycles from one to the next: {rate(account)}"))
    if account.energy is not None:
        tiles.append(Tile("energy", joules(account.energy.total), "an inference, with standby"))
    if (pace := account.tokens_per_second) is not None:
        each = account.energy_per_token
        energy = "" if each is None else f", {joules(each)} each"
        tiles.append(Tile("tokens", per_second(pace), f"a second, from the latency{energy}"))
    return tiles


def _bound(solution: Solution, account: Account) -> Tile:
    if solution.bound is None:
        return Tile("bound", "none", "nothing is proved of how much better it could be")
    share = gap(solution.problem.objective.value(account.figures), solution.bound)
    value = "optimal" if solution.status == "optimal" else f"{share:.1%} gap"
    over = f"over {SCOPES[solution.bound_scope]}, says the file"
    return Tile("bound", value, f"{measured(solution.bound, solution.objective)} {over}")


def _layer(account: Account, line: LayerAccount) -> LayerText:
    waited_for = next((account.layers[i].name for i in line.waited_for), "-")
    counts = (line.profile.rows, line.start, line.end, line.waited)
    return LayerText(
        name=full_name(line.name),
        dims=dims(line.layer.dims),
        numbers=(number(len(line.banks)), f"{line.busy:.1%}", *map(number, counts)),
        banks=bank_list(line),
        waited_for=full_name(waited_for),
        mapping=loops(line.profile.mapping),
        nest=loop_nest(line.profile, account.hardware),
    )
