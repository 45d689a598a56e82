"""The chip as a layer computes on it: with bits of its own where it has some."""

from __future__ import annotations

from functools import lru_cache

from hw.hardware import BitWidths, Hardware
from models.network import Layer, LayerBits

OPERATIONS = ("multiply", "add", "move", "post")
KEPT = 64
"""Chips with other bits that are kept."""


def own_chip(layer: Layer, hardware: Hardware) -> Hardware:
    """Return the chip with the bits of a layer, and with what its operations take with these.

    All that depends on bits or on the cycles of operations asks for this chip first.
    """
    return hardware if layer.bits is None else _with_bits(layer.bits, hardware)


@lru_cache(KEPT)
def _with_bits(bits: LayerBits, hardware: Hardware) -> Hardware:
    widths = BitWidths(activation=bits.activation, weight=bits.weight, accumulator=bits.accumulator)
    costs = {key: cycles for key in OPERATIONS if (cycles := getattr(bits, key)) is not None}
    cycles = hardware.cycles.model_copy(update=costs)
    return hardware.model_copy(update={"bits": widths, "cycles": cycles})
