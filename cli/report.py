"""What a table or a result file says of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from solver.problem import Problem
from solver.schedule import Plan


@dataclass(frozen=True)
class LayerLine:
    """One layer of a plan.

    Attributes
    ----------
    busy : share of the lanes' time, as long as the layer holds them, that goes into its multiply-accumulates.
    waited : cycles that the layer holds its banks and waits for data.
    waited_for : the layer that it waits for longest; empty if it never waits.
    """

    name: str
    banks: int
    busy: float
    start: int
    end: int
    waited: int
    waited_for: str


@dataclass(frozen=True)
class Report:
    """A plan as a person looks at it.

    Attributes
    ----------
    bottleneck : the longest time that one bank is held, over all its layers: no interval between two
        inferences can be shorter.
    utilisation : share of all lanes' time up to the latency that goes into multiply-accumulates.
    """

    layers: tuple[LayerLine, ...]
    latency: int
    bottleneck: int
    utilisation: float


def report(problem: Problem, plan: Plan) -> Report:
    """Return the report of a plan."""
    hardware = problem.hardware
    held: dict[int, int] = {}
    lines = []
    for layer, times, banks in zip(problem.layers, plan.timeline.layers, plan.banks, strict=True):
        length = times.end - times.start
        for bank in banks.tolist():
            held[bank] = held.get(bank, 0) + length
        waited = times.waited_for()
        line = LayerLine(
            name=layer.name,
            banks=len(banks),
            busy=layer.macs * hardware.mac_cycles / (len(banks) * hardware.columns_per_bank * length),
            start=times.start,
            end=times.end,
            waited=times.waited,
            waited_for=problem.layers[max(waited, key=waited.__getitem__)].name if waited else "",
        )
        lines.append(line)
    work = problem.network.macs * hardware.mac_cycles
    return Report(
        layers=tuple(lines),
        latency=plan.latency,
        bottleneck=max(held.values()),
        utilisation=work / (hardware.lanes * plan.latency),
    )
