"""What an execution takes in time and memory, counted before it begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from models.network import DIMS, Dim, Layer, Network
from overlapim_files import InputError
from solver.execute.numbers import MAX_TERMS, WEIGHT_DIMS
from solver.execute.run import block_digits
from solver.execute.schedule import LayerSchedule
from solver.reference import TouchedCoordinates

MAX_STEPS = 2**24
MAX_PRODUCTS = 2**37
MAX_BYTES = 2**32
ELEMENT_BYTES = 80
"""For each element of a tensor: its values and those compared with, its times, place, sum and residual."""
COPIES = 4
"""Arrays as large as what is read at once that are there at the same time."""


def check_size(network: Network, schedules: Sequence[LayerSchedule], inferences: int = 1) -> None:
    """Raise `InputError` that says what there is too much of, if an execution would not end or fit."""
    for layer in network.layers:
        terms = math.prod(layer.bound(dim) for dim in ("C", "R", "S"))
        if terms > MAX_TERMS:
            raise InputError(f"layer '{layer.name}': {terms:,} products in a sum; the limit is {MAX_TERMS:,}")
    steps = sum(schedule.mapping.product("temporal") for schedule in schedules)
    kept, once = _bytes(network, schedules)
    for each, shared, limit, what in (
        (steps, 0, MAX_STEPS, "steps in time"),
        (network.macs, 0, MAX_PRODUCTS, "multiply-accumulates"),
        (kept, once, MAX_BYTES, "bytes of memory"),
    ):
        if (count := inferences * each + shared) > limit:
            text = f"executing it takes {count:,} {what}; the limit is {limit:,}"
            most = (limit - shared) // each
            hint = (
                f"--inferences {most} would do"
                if most > 0
                else "a smaller network of the same kind shows the same"
            )
            raise InputError(f"{text} ({hint})")


def _bytes(network: Network, schedules: Sequence[LayerSchedule]) -> tuple[int, int]:
    """Return about how much memory each inference needs at most, and how much all of them together."""
    elements = {name: math.prod(shape) for name, shape in network.shapes.items()}
    tensors = ELEMENT_BYTES * sum(elements.values())
    tensors += 8 * sum(elements[x.producer] for layer in network.layers for x in layer.operands)
    weights = 2 * sum(layer.weights for layer in network.layers)
    return tensors, weights + max(map(_reading, network.layers, schedules))


def _reading(layer: Layer, schedule: LayerSchedule) -> int:
    """Return the bytes for what one layer reads at once, in a block or at one place of its kernel."""
    coordinates = TouchedCoordinates(layer, schedule.mapping)
    first = block_digits(coordinates, len(schedule.starts))[0]
    block = _numbers(layer, lambda dim: len(coordinates.touched(dim, first)))
    place = _numbers(layer, lambda dim: 1 if dim in ("R", "S") else layer.bound(dim))
    return 8 * COPIES * max(block, place)


def _numbers(layer: Layer, size: Callable[[Dim], int]) -> int:
    """Return how many numbers a layer reads and computes at once if it has this many coordinates of a dim."""
    read = [x.dims for x in layer.operands] + [frozenset(DIMS[:5])]
    if len(layer.factors) == 1:
        read.append(frozenset(WEIGHT_DIMS))
    return sum(math.prod(size(dim) for dim in dims) for dims in read)
