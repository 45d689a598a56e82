"""Random networks and chips so tiny that every plan can be tried: the yardstick of exact methods."""

from __future__ import annotations

import math
import random
from typing import Any

from hw.hardware import Energy, Hardware, Level
from models.network import DIMS, Network
from solver.mapspace.enumeration import count, mappings

Json = dict[str, Any]
TensorShape = tuple[int, int, int]
"""Channels, rows and columns."""

MAX_MAPPINGS = 400
MAX_COMBINATIONS = 10**6
"""Of one layer, and of all together: so few that exhaustive search takes no longer than a moment."""


def draw_small(rng: random.Random) -> tuple[Network, Hardware]:
    """Draw a network of 2 to 4 layers, with branches, sums, windows and vectors, and a chip of few banks."""
    while True:
        network, hardware = _network(rng), _hardware(rng)
        if hardware.weights == "static" and hardware.banks < len(network.layers):
            continue
        numbers = [count(layer, hardware) for layer in network.layers]
        most = [number.most for number in numbers]
        if not all(number.complete for number in numbers) or max(most) > MAX_MAPPINGS:
            continue
        if math.prod(most) > MAX_COMBINATIONS:
            continue
        if all(any(True for _ in mappings(layer, hardware)) for layer in network.layers):
            return network, hardware


def draw_energy(rng: random.Random) -> Energy:
    """Draw the energies of a chip, which decide nothing about its latencies."""
    return Energy(**{name: rng.choice((0.0, 0.5, 1.0, 3.0, 10.0)) for name in Energy.model_fields})


def _hardware(rng: random.Random) -> Hardware:
    names = ("add", "move", "row_write", "post", "transfer", *rng.choice(((), ("load", "drain"))))
    cycles = {"multiply": rng.randint(1, 9), **{name: rng.randint(0, 9) for name in names}}
    optional: Json = {}
    if rng.random() < 0.4:
        cycles["open"] = rng.randint(1, 9)
        optional["steps_per_row"] = rng.choice((1, 2, 4))
    if rng.random() < 0.3:
        levels: tuple[Level, ...] = ("channel", "bank", "column")
        optional["spread"] = {level: rng.sample(DIMS, 6) for level in levels}
    if rng.random() < 0.3:
        optional["inputs"] = {"store": "buffer", "buffer_bits": rng.choice((6, 12, 100))}
    if rng.random() < 0.3:
        optional["reduction"] = "host"
    return Hardware.model_validate(
        {
            "format": "overlapim/hardware/1",
            "name": "tiny",
            "clock_ns": 1.0,
            "channels": rng.choice((1, 1, 2)),
            "banks_per_channel": rng.randint(1, 3),
            "columns_per_bank": rng.randint(1, 3),
            "rows_per_bank": rng.choice((60, 120, 400)),
            "weights": rng.choice(("static", "static", "shared", "reload")),
            "bits": {"activation": rng.randint(1, 3), "weight": rng.randint(1, 2), "accumulator": 4},
            "cycles": cycles,
            "bits_per_cycle": {name: rng.randint(1, 8) for name in ("load", "drain", "bank", "channel")},
            "sync_blocks": rng.randint(1, 5),
            **optional,
        }
    )


def _network(rng: random.Random) -> Network:
    shape = rng.randint(1, 2), rng.randint(2, 4), rng.choice((1, 1, 2))
    tensors: list[tuple[str, TensorShape]] = [("image", shape)]
    layers: list[Json] = []
    for i in range(rng.choice((2, 2, 3, 3, 4))):
        # Mostly the tensors that were made last, so that there are chains as well as branches.
        name, shape = rng.choice(tensors[-2:])
        layer, made = rng.choice(KINDS)(rng, name, shape, tensors)
        layers.append({"name": f"layer{i}", "post": rng.randint(0, 1), **layer})
        tensors.append((f"layer{i}", made))
    return Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "small",
            "inputs": [{"name": "image", "shape": [1, *tensors[0][1]]}],
            "layers": layers,
        }
    )


def _reads(name: str, **axes: Json) -> Json:
    return {"from": name, "axes": axes}


DrawnLayer = tuple[Json, TensorShape]
Tensors = list[tuple[str, TensorShape]]


def _convolution(rng: random.Random, name: str, shape: TensorShape, tensors: Tensors) -> DrawnLayer:
    """A kernel of two or three rows, perhaps with padding and a stride."""
    c, height, width = shape
    kernel = min(rng.choice((2, 3)), height)
    pad, stride = rng.choice((0, 1)) if kernel > 1 else 0, rng.choice((1, 1, 2))
    made = rng.randint(1, 2), (height + 2 * pad - kernel) // stride + 1, width
    dims = {"K": made[0], "C": c, "P": made[1], "Q": width, "R": kernel}
    rows = {"terms": {"P": stride, "R": 1}, "offset": -pad}
    operand = _reads(name, ch={"terms": {"C": 1}}, h=rows, w={"terms": {"Q": 1}})
    return {"dims": dims, "operands": [operand]}, made


def _pointwise(rng: random.Random, name: str, shape: TensorShape, tensors: Tensors) -> DrawnLayer:
    return _mixed(name, shape, rng.randint(1, 3))


def _mixed(name: str, shape: TensorShape, k: int) -> DrawnLayer:
    """A pointwise convolution with so many output channels."""
    dims = {"K": k, "C": shape[0], "P": shape[1], "Q": shape[2]}
    operand = _reads(name, ch={"terms": {"C": 1}}, h={"terms": {"P": 1}}, w={"terms": {"Q": 1}})
    return {"dims": dims, "operands": [operand]}, (k, *shape[1:])


def _sum(rng: random.Random, name: str, shape: TensorShape, tensors: Tensors) -> DrawnLayer:
    """Add the last tensor of the same shape, as a residual connection does; then a pointwise convolution."""
    layer, made = _pointwise(rng, name, shape, tensors)
    others = [other for other, its in tensors if its == shape and other != name]
    operands = [{**layer["operands"][0], "from": x} for x in (name, *others[-1:])]
    if len(operands) > 1:
        operands = [{**operand, "sum": "s"} for operand in operands]
    return {**layer, "operands": operands}, made


def _residual(rng: random.Random, name: str, shape: TensorShape, tensors: Tensors) -> DrawnLayer:
    """A pointwise convolution to whose results another tensor of their rows and columns is added."""
    other, its = rng.choice([(other, its) for other, its in tensors if its[1:] == shape[1:]])
    layer, made = _mixed(name, shape, its[0])
    added = _reads(other, ch={"terms": {"K": 1}}, h={"terms": {"P": 1}}, w={"terms": {"Q": 1}})
    return {**layer, "operands": [*layer["operands"], added]}, made


def _pooled(rng: random.Random, name: str, shape: TensorShape, tensors: Tensors) -> DrawnLayer:
    """A pointwise convolution behind pooling over two rows."""
    height = max(shape[1] // 2, 1)
    layer, made = _pointwise(rng, name, (shape[0], height, shape[2]), tensors)
    pooling = {"windows": [{"scale": 2, "shift": 0, "width": 2}], "extent": height, "terms": {"P": 1}}
    layer["operands"][0]["axes"]["h"] = pooling
    return layer, made


def _vector(rng: random.Random, name: str, shape: TensorShape, tensors: Tensors) -> DrawnLayer:
    """A matrix product with the whole tensor as one vector."""
    k = rng.randint(1, 3)
    flat = shape[0] * shape[1] * shape[2]
    operand = {"from": name, "flatten": {"terms": {"C": 1}, "shape": list(shape)}}
    return {"dims": {"K": k, "C": flat}, "operands": [operand]}, (k, 1, 1)


KINDS = (_convolution, _convolution, _pointwise, _sum, _residual, _residual, _pooled, _vector)
