"""The energy that every valid solution takes at least (docs/bound.md, "Other objectives").

Every multiply-accumulate takes one lane for one step, every output is drained once from a bank that holds it,
and whatever is read of an operand is loaded at least once into some channel.
"""

from __future__ import annotations

import math

import numpy as np

from hw.hardware import Hardware
from models.network import Layer, Operand
from solver.timing.cache import cached
from solver.timing.own_bits import own_chip

MOST_VALUES = 2**20
"""Values of a form up to which they are counted exactly."""

ROUNDING = 1 - 1e-9
"""Keeps a sum of floating-point numbers below the exact one."""


def least_energy(layer: Layer, hardware: Hardware) -> float:
    """Return the pJ that one inference of a layer takes at least, standby aside; 0 on a chip without figures.

    Nothing is counted for opening and writing rows, nor for adding up within a bank.
    """
    costs, bits = hardware.energy, own_chip(layer, hardware).bits
    if costs is None:
        return 0.0
    outputs = math.prod(layer.shape)
    drained = bits.accumulator if hardware.reduction == "host" else bits.activation
    parts = (
        layer.macs * costs.mac,
        -(-layer.macs // hardware.columns_per_bank) * costs.step,
        outputs * (drained * costs.drain + layer.post * costs.post + len(layer.residuals) * costs.add),
        sum(_values(x, layer) for x in layer.loaded) * bits.activation * costs.load,
        layer.weights * bits.weight * costs.load if hardware.weights == "reload" else 0.0,
    )
    return math.fsum(parts) * ROUNDING


def _values(operand: Operand, layer: Layer) -> int:
    """Return how many elements an operand reads at least, as its forms count them."""
    return math.prod(_distinct(tuple((layer.bound(d), c) for d, c in own)) for own in operand.terms)


@cached
def _distinct(form: tuple[tuple[int, int], ...]) -> int:
    """Return how many values the sum of (bound, coefficient) terms has, or at least has if these are many."""
    values, number = np.zeros(1, np.int64), max((bound for bound, _ in form), default=1)
    for bound, coefficient in form:
        if len(values) * bound > MOST_VALUES:
            return number
        values = np.unique((values[:, None] + coefficient * np.arange(bound)).ravel())
    return len(values)
