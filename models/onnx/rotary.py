"""Rotary positions: pairs of channels of each token turned by an angle that depends on its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.onnx.lower import Lowering, Nodes


@dataclass(frozen=True)
class Turn:
    """A tensor (batch, heads, tokens, width), and cosines and sines (.., tokens, width / 2) that turn it."""

    x: str
    shape: tuple[int, int, int, int]
    cos: str
    sin: str
    interleaved: bool


def turned(nodes: Nodes, turn: Turn) -> str:
    """Add the nodes that turn a tensor; pairs are neighbours if interleaved, else half of the width apart."""
    batch, heads, tokens, width = turn.shape
    half = width // 2
    if turn.interleaved:
        end, axis, step = (nodes.constant([i], np.int64) for i in (width, 3, 2))
        a, b = (nodes.add("Slice", turn.x, nodes.constant([i], np.int64), end, axis, step) for i in (0, 1))
    else:
        a, b = nodes.split(turn.x, 3, half, half)
    left = nodes.add("Sub", nodes.add("Mul", a, turn.cos), nodes.add("Mul", b, turn.sin))
    right = nodes.add("Add", nodes.add("Mul", b, turn.cos), nodes.add("Mul", a, turn.sin))
    if not turn.interleaved:
        return nodes.add("Concat", left, right, axis=3)
    pairs = [nodes.reshape(x, batch, heads, tokens, half, 1) for x in (left, right)]
    return nodes.reshape(nodes.add("Concat", *pairs, axis=4), batch, heads, tokens, width)


def rotary(nodes: Nodes) -> None:
    """Replace RotaryEmbedding, of ONNX or of com.microsoft, whose inputs stand in another order."""
    node = nodes.node
    ids, cos, sin = (1, 2, 3) if node.operator.startswith("com.") else (3, 1, 2)
    x, shape = apart(nodes, nodes.given(0), nodes.shape(0), int(node.get("num_heads", 0)))
    batch, heads, tokens, width = shape
    size = int(node.get("rotary_embedding_dim", 0)) or width
    if size % 2 or size > width or nodes.shape(cos)[-1] * 2 != size:
        raise nodes.build.wrong(f"{size} channels of {width} are turned by {nodes.shape(cos)[-1]} angles")
    cosines, sines = (_angles(nodes, place, ids, (batch, tokens, size // 2)) for place in (cos, sin))
    part, *rest = nodes.split(x, 3, size, width - size) if size < width else [x]
    interleaved = bool(node.get("interleaved", 0))
    made = turned(nodes, Turn(part, (batch, heads, tokens, size), cosines, sines, interleaved))
    if rest:
        made = nodes.add("Concat", made, *rest, axis=3)
    if len(nodes.shape(0)) == 4:
        nodes.add("Identity", made, output=node.outputs[0])
        return
    back = nodes.add("Transpose", made, perm=[0, 2, 1, 3])
    nodes.add(
        "Reshape", back, nodes.constant((batch, tokens, heads * width), np.int64), output=node.outputs[0]
    )


def _angles(nodes: Nodes, place: int, ids: int, shape: tuple[int, int, int]) -> str:
    """Return cosines or sines, (batch, 1, tokens, width / 2), looked up by places if these are given."""
    batch, tokens, half = shape
    table = nodes.given(place)
    if nodes.given(ids):
        if nodes.shape(ids) != (batch, tokens):
            raise nodes.build.wrong("a place for each token is needed")
        table = nodes.add("Gather", table, nodes.given(ids))
    return nodes.reshape(table, batch, 1, tokens, half)


def apart(nodes: Nodes, x: str, shape: tuple[int, ...], heads: int) -> tuple[str, tuple[int, int, int, int]]:
    """Return a tensor (batch, tokens, channels) as (batch, heads, tokens, width), which it may be already."""
    if len(shape) == 4:
        a, b, c, d = shape
        return x, (a, b, c, d)
    if len(shape) != 3 or heads < 1 or shape[2] % heads:
        raise nodes.build.wrong(f"{list(shape)} does not divide into {heads} heads")
    batch, tokens, width = shape[0], shape[1], shape[2] // heads
    made = nodes.add("Transpose", nodes.reshape(x, batch, tokens, heads, width), perm=[0, 2, 1, 3])
    return made, (batch, heads, tokens, width)


LOWERED: Mapping[str, Lowering] = dict.fromkeys(("RotaryEmbedding", "com.microsoft.RotaryEmbedding"), rotary)
