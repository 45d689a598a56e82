"""Layers, and what they read, in the form in which the compiled core takes them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from types import ModuleType
from typing import Any

from hw.hardware import Hardware
from models.network import DIMS, Layer, Operand
from solver.memory import Cache

MEMORY = 2**12
"""Layers that are kept at most."""

_known: Cache[tuple[int, int], tuple[Layer, Hardware, Any]] = Cache()


def compiled_layer(native: ModuleType, layer: Layer, hardware: Hardware) -> Any:
    """Return the `Layer` of the compiled core for a layer on the chip with its bits."""
    # Records compare and hash all that is in them, which takes longer than a profile.
    key = id(layer), id(hardware)
    known = _known.get(key)
    if known is None:
        if len(_known) >= MEMORY:
            _known.clear()
        known = _known[key] = layer, hardware, native.Layer(_costs(layer, hardware))
    return known[2]


def _costs(layer: Layer, hardware: Hardware) -> dict[str, object]:
    cycles, bits, bandwidth = hardware.cycles, hardware.bits, hardware.bits_per_cycle
    return {
        "bounds": layer.bounds,
        "read": [dim in layer.read_dims for dim in DIMS],
        "loaded": _operands(layer.loaded),
        "residuals": _operands(layer.residuals),
        "sums": layer.sums,
        "has_weights": bool(layer.weights),
        "post": layer.post,
        "activation": bits.activation,
        "weight": bits.weight,
        "accumulator": bits.accumulator,
        "mac": hardware.mac_cycles,
        "add": cycles.add,
        "move": cycles.move,
        "row_write": cycles.row_write,
        "post_cycles": cycles.post,
        "load": cycles.load,
        "drain": cycles.drain,
        "open": cycles.open or 0,
        "input_row_write": hardware.input_row_write,
        "steps_per_row": -1 if hardware.steps_per_row is None else hardware.steps_per_row,
        "sync_blocks": hardware.sync_blocks,
        "load_width": _parts(bandwidth.load),
        "drain_width": _parts(bandwidth.drain),
        "bank_width": _parts(bandwidth.bank),
        "channel_width": _parts(bandwidth.channel),
        "reloaded": hardware.weights == "reload",
        "host": hardware.reduction == "host",
        "channels": hardware.channels,
        "banks_per_channel": hardware.banks_per_channel,
        "columns": hardware.columns_per_bank,
        "most_banks": hardware.most_banks,
        "rows": hardware.rows_per_bank,
        "buffer_bits": -1 if hardware.inputs.buffer_bits is None else hardware.inputs.buffer_bits,
        "spread": [
            [hardware.may_spread(level, dim) for dim in DIMS] for level in ("channel", "bank", "column")
        ],
    }


def _operands(operands: Iterable[Operand]) -> list[list[list[tuple[int, int]]]]:
    """Return the (position in `DIMS`, coefficient) of each term of each form of each operand."""
    return [[[(DIMS.index(dim), c) for dim, c in terms] for terms in own.terms] for own in operands]


def _parts(value: Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator
