"""How often a layer loads inputs and opens rows at least (docs/bound.md, "Loads and rows")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer, Operand
from solver.timing.mapping import WEIGHT_DIMS
from solver.timing.validity import units

FormTerms = tuple[tuple[Dim, int], ...]
Floats = npt.NDArray[np.float64]
EPSILON = 1e-9
"""Allows for rounding where counts are floating-point numbers."""

VALUES = [*range(1, 9), *(2**i for i in range(4, 64))]
"""Numbers of values of an output dim that are told apart in a tile."""


def least_load(layer: Layer, hardware: Hardware) -> int:
    """Return the least cycles of loading one tile of every operand."""
    one = 1 + hardware.bits.activation * hardware.input_row_write
    additions = sum(len(group) - 1 for group in layer.sums)
    return hardware.cycles.load + len(layer.loaded) * one + additions * hardware.cycles.add


class Reuse:
    """What loads, open rows and drains of a layer take together, for all outputs that are worked on at once.

    Few loads need large tiles, and few open rows much that is done with their weights. Either all steps
    inside are reductions, and both are done anew for the next outputs; or they take in several outputs, and
    then what does not fit is left for later, and partial sums are drained each time.
    """

    def __init__(self, layer: Layer, hardware: Hardware) -> None:
        self._hardware = hardware
        self._layer = layer
        self._load = least_load(layer, hardware) if layer.loaded else 0
        self._reads: list[float] = [_reduced(x, layer) for x in layer.loaded]
        streams = hardware.steps_per_row is not None and layer.weights > 0
        self._room = hardware.steps_per_row if streams else None
        self._open = hardware.cycles.open or 0 if streams else 0
        self._apart = tuple(units(layer, hardware, level, REDUCTION_DIMS) for level in ("channel", "bank"))
        bits = sum(self._reads) * hardware.bits.activation
        buffer = hardware.inputs.buffer_bits
        self._tiles = 0.0 if buffer is None else bits / buffer
        self._growth = {dim: self._grows(dim) for dim in OUTPUT_DIMS if layer.bound(dim) > 1}

    def cycles(self, steps: Floats, drain: Floats, back: Floats, banks: Floats, between: int) -> Floats:
        """Return the least cycles of loads, rows and drains for what is worked on at once.

        Parameters
        ----------
        steps : of each reduction.
        drain, back : cycles of one drain, and those of reading partial sums back.
        banks : of the layer.
        between : levels of adding up that lie between banks or channels.
        """
        channels, within = self._apart
        apart = min(2**between, channels * within)
        tiles = self._tiles / apart
        loads = max(1.0, math.ceil(tiles - EPSILON))
        opens = np.ones_like(steps) if self._room is None else np.ceil(steps / self._room - EPSILON)
        loading = loads * self._load + self._bus(loads, min(2**between, channels), banks)
        opening = opens * self._open

        def drained(times: Floats | float) -> Floats:
            return np.asarray(times * drain + np.where(np.asarray(times) > 1, times * back, 0))

        least = drain + loading + opening
        for dim, growth in self._growth.items():
            # The loop of an output dim inside both, or inside one of them, with at least two of its values.
            rows = opens
            if self._room is not None and dim in WEIGHT_DIMS:
                rows = np.ceil(2 * steps / self._room - EPSILON)
            parts = max(1.0, math.ceil(tiles * growth - EPSILON))
            both = np.maximum(parts, rows)
            for other in (
                drained(rows) + loading,
                drained(parts) + opening,
                drained(both) + np.minimum(self._inside(steps, both, tiles), drain),
            ):
                least = np.minimum(least, other)
        return np.asarray(least)

    @cached_property
    def _several(self) -> tuple[Floats, Floats]:
        """Return how many outputs a tile can have at most, by its size.

        Of each dim without weights a tile has some values, and reads the more the more these are.

        Returns
        -------
        Sizes in units of the tile of one output, rising, and the most outputs of tiles that are no larger.
        """
        found = [(1.0, self._reads)]
        for dim in (d for d in self._growth if d not in WEIGHT_DIMS):
            bound = self._layer.bound(dim)
            values = [n for n in VALUES if n <= bound]
            last = [*(n - 1 for n in values[1:]), bound]
            found = [
                (most * upto, [r * _growth(x, self._layer, dim, n) for x, r in self._with(reads)])
                for most, reads in found
                for n, upto in zip(values, last, strict=True)
            ]
        pairs = sorted((sum(reads) / (sum(self._reads) or 1), most) for most, reads in found)
        return np.array([size for size, _ in pairs]), np.maximum.accumulate([most for _, most in pairs])

    def _with(self, reads: Sequence[float]) -> Iterator[tuple[Operand, float]]:
        return zip(self._layer.loaded, reads, strict=True)

    def _inside(self, steps: Floats, times: Floats, tiles: float) -> Floats:
        """Return the least cycles of loads or rows, if both serve several outputs that are drained so often.

        The one that is done more often lies inside the other, so its outputs share the weights of a row and
        the inputs of a tile. As fewer are enough where more is drained, they count no more than a drain.
        """
        if self._room is None or not tiles:
            return np.zeros_like(steps)
        weights = np.maximum(np.floor(self._room * times / steps + EPSILON), 1)
        sizes, most = self._several
        place = np.searchsorted(sizes, times / tiles + EPSILON, side="right") - 1
        outputs = np.where(place < 0, np.inf, most[np.maximum(place, 0)])
        return np.asarray(times / (outputs * weights) * min(self._open, self._load))

    def _bus(self, loads: float, channels: int, banks: Floats) -> Floats:
        """Return the cycles that inputs take on the bus of a channel, without the first of each load."""
        width = np.minimum(banks, self._hardware.banks_per_channel) * float(
            self._hardware.bits_per_cycle.load
        )
        taken = [read * self._hardware.bits.activation / channels / width - loads for read in self._reads]
        return np.asarray(sum((np.maximum(own, 0) for own in taken), np.zeros_like(banks)))

    def _grows(self, dim: Dim) -> float:
        """Return by which factor a tile at least grows with a second value of an output dim."""
        grown = sum(read * _growth(x, self._layer, dim, 2) for x, read in self._with(self._reads))
        return grown / sum(self._reads) if self._reads else 1.0


def _reduced(operand: Operand, layer: Layer) -> int:
    """Return the distinct elements that the iterations of all reduction dims read at least."""
    return math.prod(_longest(form, layer) for form in operand.terms)


def _longest(form: FormTerms, layer: Layer) -> int:
    return max((layer.bound(dim) for dim, _ in form if dim in REDUCTION_DIMS), default=1)


def _growth(operand: Operand, layer: Layer, dim: Dim, values: int) -> float:
    """Return by which factor what is read at least grows with so many values of an output dim.

    A sum of two sets has at least as many values as both together, less one.
    """
    lengths = [_longest(form, layer) for form in operand.terms if any(own == dim for own, _ in form)]
    return 1 + (values - 1) / min(lengths) if lengths else 1.0
