"""How often inputs are loaded and rows of weights opened at least, whatever the mapping (docs/bound.md, "Durations")."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware, Level
from models.network import OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer, Operand
from solver.timing.mapping import WEIGHT_DIMS

Form = tuple[tuple[Dim, int], ...]
Floats = npt.NDArray[np.float64]
EPSILON = 1e-9
"""Allows for rounding where counts are floating-point numbers."""


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
        self._reads = [_reduced(x, layer) for x in layer.loaded]
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
            for other in (
                drained(rows) + loading,
                drained(parts) + opening,
                drained(np.maximum(parts, rows)),
            ):
                least = np.minimum(least, other)
        return least

    def _bus(self, loads: float, channels: int, banks: Floats) -> Floats:
        """Return the cycles that inputs take on the bus of a channel, without the first of each load."""
        width = np.minimum(banks, self._hardware.banks_per_channel) * float(self._hardware.bits_per_cycle.load)
        taken = [read * self._hardware.bits.activation / channels / width - loads for read in self._reads]
        return np.asarray(sum((np.maximum(own, 0) for own in taken), np.zeros_like(banks)))

    def _grows(self, dim: Dim) -> float:
        """Return by which factor a tile at least grows with a second value of an output dim."""
        total = sum(self._reads)
        grown = zip(self._layer.loaded, self._reads, strict=True)
        return sum(read * _growth(x, self._layer, dim) for x, read in grown) / total if total else 1.0


def units(layer: Layer, hardware: Hardware, level: Level, dims: Sequence[Dim]) -> int:
    """Return over how many channels, banks of each or columns some dims can be spread at most."""
    most = {
        "channel": hardware.channels,
        "bank": hardware.banks_per_channel,
        "column": hardware.columns_per_bank,
    }
    return min(most[level], math.prod(layer.bound(dim) for dim in dims if hardware.may_spread(level, dim)))


def _reduced(operand: Operand, layer: Layer) -> int:
    """Return the distinct elements that the iterations of all reduction dims read at least."""
    return math.prod(_longest(form, layer) for form in operand.terms)


def _longest(form: Form, layer: Layer) -> int:
    return max((layer.bound(dim) for dim, _ in form if dim in REDUCTION_DIMS), default=1)


def _growth(operand: Operand, layer: Layer, dim: Dim) -> float:
    """Return by which factor what is read at least grows with a second value of an output dim.

    A sum of two sets has at least as many values as both together, less one.
    """
    lengths = [_longest(form, layer) for form in operand.terms if any(own == dim for own, _ in form)]
    return 1 + 1 / min(lengths) if lengths else 1.0
