"""Does a solution compute what its network does? Its schedule is executed, and compared layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.network import Layer
from solver.execute.numbers import Numbers, draw_numbers
from solver.execute.operators import TOLERANCE, OnnxModel, draw_inputs, run_blocks, run_whole
from solver.execute.run import Executed, execute
from solver.execute.schedule import stated
from solver.execute.size import check_size
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
    """What the execution of a solution came to, and every way in which that is not as it should be."""

    latency: int
    layers: tuple[CheckedLayer, ...]
    differences: tuple[str, ...]


def check_execution(
    solution: Solution, seed: int, doing: Callable[[str], None], model: OnnxModel | None = None
) -> Check:
    """Execute a solution with numbers drawn from a seed, and compare with the network layer by layer.

    Parameters
    ----------
    doing : called with a text whenever something else is done.
    model : the file that the network comes from, to run its operators too.

    Raises
    ------
    InputError
        if a block reads what is not finished yet, if a mapping or an order is not valid, or if it would take
        too much time or memory; names the layer.
    """
    network = solution.network
    schedules = stated(solution)
    check_size(network, schedules)
    drawn = draw_numbers(network, seed)
    blocks = sum(len(schedule.starts) for schedule in schedules)
    doing(f"{len(network.layers)} layers by themselves")

    def counted(done: int) -> None:
        doing(f"{done:,} of {blocks:,} blocks")

    executed = execute(network, solution.hardware, schedules, drawn, counted)
    doing("layer by layer")
    whole = compute(network, drawn)
    layers = [_checked(*x) for x in zip(network.layers, executed, whole, strict=True)]
    if model is not None:
        doing(f"onnxruntime on {model.path}")
        values = run_whole(model, draw_inputs(model, seed))
        transfer = solution.hardware.cycles.transfer
        off = run_blocks(model, network, executed, transfer, values, counted)
        layers = [replace(layer, operators=x) for layer, x in zip(layers, off, strict=True)]
    latency = max(layer.end for layer in layers)
    return Check(latency, tuple(layers), tuple(_differences(solution, layers, latency)))


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
    for layer in layers:
        record = solution.layers[layer.name]
        if layer.where is not None:
            yield f"layer '{layer.name}': element {layer.where} is not what the network computes"
        if layer.operators is not None and layer.operators > TOLERANCE:
            yield f"layer '{layer.name}': its operators differ by {layer.operators:.1e} from onnxruntime"
        start = max(record.release, layer.ready)
        for what, stated_, real in (("start", record.start, start), ("end", record.end, layer.end)):
            if stated_ != real:
                yield f"layer '{layer.name}': {what} is {real}, the file says {stated_}"
    if solution.latency != latency:
        yield f"latency is {latency}, the file says {solution.latency}"
