"""Does a solution compute what its network does? Its schedule is executed, and compared layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.network import Layer, Network
from solver.execute.numbers import Drawn, Numbers, draw_in_a_row
from solver.execute.operators import TOLERANCE, OnnxModel, draw_inputs, run_blocks, run_whole
from solver.execute.run import Executed, execute_in_a_row
from solver.execute.schedule import stated
from solver.execute.size import check_size
from solver.execute.succession import Succession, follow_each_other, stated_interval
from solver.execute.whole import compute
from solver.solution import Solution


@dataclass(frozen=True)
class CheckedLayer:
    """What the execution of one layer came to.

    Attributes
    ----------
    tight : blocks that start in the very cycle in which the last of what they read becomes readable.
    start, end : of the first block, and the last finish.
    ready : the start with which the first block has all that it reads just when it runs; below 1 for nothing.
    elements : outputs that were compared; `difference` is the largest, `where` the first that differs.
    operators : largest difference between the operators of a file, run block by block, and onnxruntime on all
        of it, as a part of the largest number in the layer's tensor; None if they were not run.
    """

    name: str
    blocks: int
    tight: int
    start: int
    end: int
    ready: int
    elements: int
    difference: float
    where: tuple[int, ...] | None
    operators: float | None = None


@dataclass(frozen=True)
class Check:
    """What the execution of a solution came to, and every way in which that is not as it should be.

    Attributes
    ----------
    layers : of the first inference.
    elements : outputs that were compared in all inferences.
    """

    latency: int
    layers: tuple[CheckedLayer, ...]
    elements: int
    succession: Succession
    differences: tuple[str, ...]


def check_execution(
    solution: Solution,
    seed: int,
    doing: Callable[[str], None],
    model: OnnxModel | None = None,
    inferences: int = 1,
) -> Check:
    """Execute a solution with numbers drawn from a seed, and compare with the network layer by layer.

    Parameters
    ----------
    doing : called with a text whenever something else is done.
    model : the file that the network comes from, to run its operators too, for the first inference.
    inferences : how many are executed, each the stated interval after the one before.

    Raises
    ------
    InputError
        if a block reads what is not finished yet, if a mapping or an order is not valid, if it would take too
        much time or memory, or if several inferences are to follow an interval that is not stated; names the
        layer.
    """
    network, interval = solution.network, stated_interval(solution, inferences)
    schedules = stated(solution)
    check_size(network, schedules, inferences)
    drawn = draw_in_a_row(network, seed, inferences)
    blocks = inferences * sum(len(schedule.starts) for schedule in schedules)
    doing(f"{len(network.layers)} layers by themselves")

    def counted(done: int) -> None:
        doing(f"{done:,} of {blocks:,} blocks")

    rows = execute_in_a_row(network, solution.hardware, schedules, drawn, interval or 1, counted)
    doing("layer by layer")
    checked = [_compared(network, *own) for own in zip(rows, drawn, strict=True)]
    layers = checked[0]
    if model is not None:
        doing(f"onnxruntime on {model.path}")
        values = run_whole(model, draw_inputs(model, seed))
        transfer = solution.hardware.cycles.transfer
        off = run_blocks(model, network, rows[0], transfer, values, counted)
        layers = [replace(layer, operators=x) for layer, x in zip(layers, off, strict=True)]
    latency = max(layer.end for layer in layers)
    row = follow_each_other(solution, [(layer.start, layer.end) for layer in layers], interval, inferences)
    differences = [*_differences(solution, layers, latency), *row.differences]
    for turn, own in enumerate(checked[1:], 2):
        differences += [f"inference {turn}: {text}" for text in _wrong_values(own)]
    elements = sum(layer.elements for own in checked for layer in own)
    return Check(latency, tuple(layers), elements, row, tuple(differences))


def _compared(network: Network, executed: Sequence[Executed], drawn: Drawn) -> list[CheckedLayer]:
    """Compare an inference with the network computed layer by layer."""
    return [_checked(*x) for x in zip(network.layers, executed, compute(network, drawn), strict=True)]


def _checked(layer: Layer, executed: Executed, values: Numbers) -> CheckedLayer:
    off = np.abs(executed.values - values)
    return CheckedLayer(
        name=layer.name,
        blocks=len(executed.starts),
        tight=int(((executed.starts == executed.needs) & (executed.needs > 0)).sum()),
        start=executed.start,
        end=executed.end,
        ready=int(executed.needs[0]) - executed.lead,
        elements=off.size,
        difference=float(off.max()),
        where=tuple(np.argwhere(off)[0].tolist()) if off.any() else None,
    )


def _differences(solution: Solution, layers: Sequence[CheckedLayer], latency: int) -> Iterator[str]:
    yield from _wrong_values(layers)
    for layer in layers:
        record = solution.layers[layer.name]
        if layer.operators is not None and layer.operators > TOLERANCE:
            yield f"layer '{layer.name}': its operators differ by {layer.operators:.1e} from onnxruntime"
        start = max(record.release, layer.ready)
        for what, stated_, real in (("start", record.start, start), ("end", record.end, layer.end)):
            if stated_ != real:
                yield f"layer '{layer.name}': {what} is {real}, the file says {stated_}"
    if solution.latency != latency:
        yield f"latency is {latency}, the file says {solution.latency}"


def _wrong_values(layers: Sequence[CheckedLayer]) -> Iterator[str]:
    for layer in layers:
        if layer.where is not None:
            yield f"layer '{layer.name}': element {layer.where} is not what the network computes"
