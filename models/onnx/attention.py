"""Attention in one node: products of queries with keys, a softmax, and a product with values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.onnx.lower import CASTS_ALIKE, FLOAT, Lowering, Nodes
from models.onnx.rotary import Turn, apart, turned

RAW, CAPPED, MASKED, CHANCES = range(4)
"""Scores of which the operator may make an output, by the step after which they are taken."""


@dataclass
class AttentionHeads:
    """Queries, keys and values, each (batch, heads, tokens, width), and what is done to the scores.

    `shown` says after which of these steps scores are the node's fourth output.
    """

    query: str
    key: str
    value: str
    shape: tuple[int, int, int, int]
    keys: tuple[int, int, int, int]
    width: int
    scale: float
    added: list[str] = field(default_factory=list)
    cap: float = 0.0
    shown: int = RAW

    @property
    def scores(self) -> tuple[int, int, int, int]:
        """The extents of the scores."""
        return (*self.shape[:3], self.keys[2])


def attend(nodes: Nodes, heads: AttentionHeads) -> str:
    """Add the nodes of attention; return its result, (batch, heads, tokens, width)."""
    batch, count, _, _ = heads.shape
    if heads.keys[0] != batch or count % heads.keys[1] or heads.keys[3] != heads.shape[3]:
        raise nodes.build.wrong(f"queries {list(heads.shape)} do not fit keys {list(heads.keys)}")
    key = nodes.add("Transpose", _shared(nodes, heads.key, heads.keys, count), perm=[0, 1, 3, 2])
    value = _shared(nodes, heads.value, (*heads.keys[:3], heads.width), count)
    scores = nodes.add("MatMul", heads.query, key, name=f"{nodes.node.name}/scores")
    outputs = nodes.node.outputs
    made = {heads.shown: outputs[3]} if len(outputs) > 3 else {}
    scores = nodes.add("Mul", scores, nodes.number(heads.scale, scores), output=made.get(RAW, ""))
    if heads.cap:
        limit = nodes.number(heads.cap, scores)
        tanh = nodes.add("Tanh", nodes.add("Div", scores, limit))
        scores = nodes.add("Mul", tanh, limit)
    if CAPPED in made:
        scores = nodes.add("Identity", scores, output=made[CAPPED])
    for added in heads.added:
        scores = nodes.add("Add", scores, added)
    if MASKED in made:
        scores = nodes.add("Identity", scores, output=made[MASKED])
    chances = nodes.add("Softmax", scores, axis=-1, output=made.get(CHANCES, ""))
    return nodes.add("MatMul", chances, value, name=f"{nodes.node.name}/values")


def _shared(nodes: Nodes, x: str, shape: Sequence[int], count: int) -> str:
    """Return keys or values with as many heads as the queries: several of those read the same."""
    batch, own, tokens, width = shape
    if own == count:
        return x
    apart = nodes.reshape(x, batch, own, 1, tokens, width)
    size = nodes.constant((batch, own, count // own, tokens, width), np.int64)
    return nodes.reshape(nodes.add("Expand", apart, size), batch, count, tokens, width)


def _together(nodes: Nodes, x: str, heads: AttentionHeads) -> None:
    """Give the node's output: (batch, tokens, channels)."""
    batch, count, tokens, _ = heads.shape
    turned = nodes.add("Transpose", x, perm=[0, 2, 1, 3])
    shape = nodes.constant((batch, tokens, count * heads.width), np.int64)
    nodes.add("Reshape", turned, shape, output=nodes.node.outputs[0])


def _with_past(nodes: Nodes, x: str, past: int, present: int) -> tuple[str, int]:
    """Return keys or values behind those of earlier tokens, and how many these are; make them an output."""
    made = nodes.node.outputs[present] if present < len(nodes.node.outputs) else ""
    if nodes.given(past):
        return nodes.add("Concat", nodes.given(past), x, axis=2, output=made), nodes.shape(past)[2]
    return (nodes.add("Identity", x, output=made) if made else x), 0


def _causal(nodes: Nodes, shape: Sequence[int], past: int) -> str:
    """Return what is added to scores (.., queries, keys) so that no query meets a later key."""
    from onnx import helper

    low = helper.make_tensor("low", FLOAT, [1], [float("-inf")])
    full = nodes.add("ConstantOfShape", nodes.constant(shape[-2:], np.int64), value=low)
    nodes.build.widen("later keys are read, too, and then left out")
    if nodes.node.version >= CASTS_ALIKE:
        full = nodes.add("CastLike", full, nodes.given(0))
    return nodes.add("Trilu", full, nodes.constant(past + 1, np.int64), upper=1)


def attention(nodes: Nodes) -> None:
    """Replace the operator Attention of ONNX."""
    node = nodes.node
    if max(int(node.get(f"{side}_window_size", -1)) for side in ("left", "right")) >= 0:
        raise nodes.build.wrong("windows of keys are not known")
    if nodes.given(6):
        raise nodes.build.wrong("lengths of the keys are not known before it runs")
    counts = int(node.get("q_num_heads", 0)), int(node.get("kv_num_heads", 0))
    query, shape = apart(nodes, nodes.given(0), nodes.shape(0), counts[0])
    key, keys = apart(nodes, nodes.given(1), nodes.shape(1), counts[1])
    value, values = apart(nodes, nodes.given(2), nodes.shape(2), counts[1])
    key, past = _with_past(nodes, key, 4, 1)
    value, _ = _with_past(nodes, value, 5, 2)
    keys = (*keys[:2], keys[2] + past, keys[3])
    scale = float(node.get("scale") or 1 / math.sqrt(shape[3]))
    heads = AttentionHeads(
        query, key, value, shape, keys, values[3], scale, cap=float(node.get("softcap", 0.0))
    )
    heads.shown = int(node.get("qk_matmul_output_mode", RAW))
    if node.get("is_causal", 0):
        heads.added.append(_causal(nodes, heads.scores, past))
    if nodes.given(3):
        heads.added.append(_as_numbers(nodes, 3))
    result = attend(nodes, heads)
    if len(nodes.shape(0)) == 3:
        _together(nodes, result, heads)
    else:
        nodes.add("Identity", result, output=node.outputs[0])


def _as_numbers(nodes: Nodes, place: int) -> str:
    """Return a mask as what is added to scores, if it says by truth values what may be met."""
    mask = nodes.given(place)
    if mask not in nodes.truths:
        return mask
    zero, low = (nodes.number(x, nodes.given(0)) for x in (0.0, float("-inf")))
    return nodes.add("Where", mask, zero, low)


def _added_bias(nodes: Nodes, parts: Sequence[str], bias: int, widths: Sequence[int]) -> list[str]:
    """Return queries, keys and values with the parts of a bias added to them."""
    if not nodes.given(bias):
        return [*parts]
    pieces = nodes.split(nodes.given(bias), 0, *widths)
    return [nodes.add("Add", x, b) for x, b in zip(parts, pieces, strict=True)]


def _padding(nodes: Nodes, place: int, keys: Sequence[int]) -> list[str]:
    """Return what is added to scores where a mask over keys, (batch, keys), is zero."""
    if not nodes.given(place):
        return []
    if nodes.shape(place) != (keys[0], keys[2]):
        raise nodes.build.wrong(f"a mask of shape {list(nodes.shape(place))} is not known; (batch, keys) is")
    mask = nodes.add("Cast", nodes.given(place), to=FLOAT)
    low = nodes.add(
        "Mul", nodes.add("Sub", mask, nodes.constant(1, np.float32)), nodes.constant(1e4, np.float32)
    )
    return [nodes.reshape(low, keys[0], 1, 1, keys[2])]


def multi_head(nodes: Nodes) -> None:
    """Replace com.microsoft.MultiHeadAttention of queries, keys and values that are apart."""
    node, count = nodes.node, int(nodes.node.get("num_heads", 0))
    if not nodes.given(1) or not nodes.given(2) or len(nodes.shape(0)) != 3 or len(node.inputs) > 8:
        raise nodes.build.wrong("queries, keys and values in one tensor are not known")
    shapes = [nodes.shape(i) for i in range(3)]
    parts = [nodes.given(i) for i in range(3)]
    if nodes.given(3):
        if any(len(shape) != 3 for shape in shapes):
            raise nodes.build.wrong("a bias of keys with heads is not known")
        parts = _added_bias(nodes, parts, 3, [shape[2] for shape in shapes])
    (query, shape), (key, keys), (value, values) = (
        apart(nodes, x, s, count) for x, s in zip(parts, shapes, strict=True)
    )
    key, past = _with_past(nodes, key, 6, 1)
    value, _ = _with_past(nodes, value, 7, 2)
    keys = (*keys[:2], keys[2] + past, keys[3])
    scale = float(node.get("scale") or 1 / math.sqrt(shape[3]))
    heads = AttentionHeads(query, key, value, shape, keys, values[3], scale, _padding(nodes, 4, keys))
    heads.added += [nodes.given(5)] if nodes.given(5) else []
    heads.added += [_causal(nodes, heads.scores, past)] if node.get("unidirectional", 0) else []
    _together(nodes, attend(nodes, heads), heads)


def projected(nodes: Nodes) -> None:
    """Replace com.microsoft.Attention, which makes queries, keys and values itself by one product."""
    node, count = nodes.node, int(nodes.node.get("num_heads", 0))
    batch, tokens, _ = nodes.shape(0)
    if nodes.given(4) or len(node.outputs) > 1:
        raise nodes.build.wrong("keys of earlier tokens are not known")
    made = nodes.shape(1)[1]
    widths = [int(x) for x in node.get("qkv_hidden_sizes") or [made // 3] * 3]
    whole = nodes.add("MatMul", nodes.given(0), nodes.given(1), name=f"{node.name}/projection")
    if nodes.given(2):
        whole = nodes.add("Add", whole, nodes.given(2))
    parts = nodes.split(whole, 2, *widths)
    (query, shape), (key, keys), (value, values) = (
        apart(nodes, x, (batch, tokens, width), count) for x, width in zip(parts, widths, strict=True)
    )
    scale = float(node.get("scale") or 1 / math.sqrt(shape[3]))
    heads = AttentionHeads(query, key, value, shape, keys, values[3], scale, _padding(nodes, 3, keys))
    heads.added += [nodes.given(5)] if nodes.given(5) else []
    heads.added += [_causal(nodes, heads.scores, 0)] if node.get("unidirectional", 0) else []
    _together(nodes, attend(nodes, heads), heads)


def grouped_query(nodes: Nodes) -> None:
    """Replace com.microsoft.GroupQueryAttention, whose keys are all there and which is causal."""
    node = nodes.node
    count, own = int(node.get("num_heads", 0)), int(node.get("kv_num_heads", 0))
    if len(nodes.shape(0)) != 3 or count < 1 or own < 1:
        raise nodes.build.wrong("queries (batch, tokens, channels) and numbers of heads are needed")
    batch, tokens, channels = nodes.shape(0)
    parts = [nodes.given(i) for i in range(3)]
    width = channels // (count if parts[1] else count + 2 * own)
    if not parts[1]:
        parts = nodes.split(parts[0], 2, count * width, own * width, own * width)
    query, shape = apart(nodes, parts[0], (batch, tokens, count * width), count)
    key, keys = apart(nodes, parts[1], (batch, tokens, own * width), own)
    value, _ = apart(nodes, parts[2], (batch, tokens, own * width), own)
    if node.get("do_rotary", 0):
        before = nodes.shape(3)[2] if nodes.given(3) else 0
        query, key = _rotated(nodes, query, shape, before), _rotated(nodes, key, keys, before)
    key, past = _with_past(nodes, key, 3, 1)
    value, _ = _with_past(nodes, value, 4, 2)
    keys = (*keys[:2], keys[2] + past, keys[3])
    scale = float(node.get("scale") or 1 / math.sqrt(width))
    heads = AttentionHeads(query, key, value, shape, keys, width, scale, cap=float(node.get("softcap", 0.0)))
    heads.added.append(_causal(nodes, heads.scores, past))
    _together(nodes, attend(nodes, heads), heads)


def _rotated(nodes: Nodes, x: str, shape: tuple[int, int, int, int], past: int) -> str:
    """Return queries or keys turned by their places, which follow on those of earlier tokens."""
    if nodes.shape(7)[1] * 2 != shape[3]:
        raise nodes.build.wrong("only channels of the whole width are turned by their places")
    begin, end, rows = (nodes.constant([i], np.int64) for i in (past, past + shape[2], 0))
    cos, sin = (nodes.add("Slice", nodes.given(i), begin, end, rows) for i in (7, 8))
    return turned(nodes, Turn(x, shape, cos, sin, bool(nodes.node.get("rotary_interleaved", 0))))


LOWERED: Mapping[str, Lowering] = {
    "Attention": attention,
    "com.microsoft.MultiHeadAttention": multi_head,
    "com.microsoft.Attention": projected,
    "com.microsoft.GroupQueryAttention": grouped_query,
}
