"""Language models that generate: GPT-2, Llama and Qwen, as they read a text and as they write one.

`forward` scores all words after every token of a text, `prefill` after the last one, as when a text is about
to be continued. `decode` is the pass for one more token: it reads the keys and values of those before it from
a cache, to which it adds its own. What they have in common stands in `models/transformer.py`.

A rotary embedding turns queries and keys: an element depends on all of its head (a window `block`) and takes
two operations, one for each product. In a gated feed-forward the gate is multiplied with the results of `up`
element by element. The format has no such thing; the gate is a residual of `up`, which costs an addition, and
the multiplication is a post-operation. Normalisations by the root mean square cost as much as others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.build import network
from models.network import AxisAccess, Layer, Network, Operand, Window
from models.transformer import (
    ACTIVATION,
    BIAS,
    MASK,
    NORMALISATION,
    SCALING,
    SOFTMAX,
    Heads,
    attention,
    cached_attention,
    embeddings,
    normalised,
    product,
    projection,
    residual,
    whole,
)

ROTARY, GATING = 2, 1

_ADDED = AxisAccess(terms={"K": 1})

FeedForward = Callable[[str, "Decoder", int, str], list[Layer]]
"""Given the name of a block, the model, the number of tokens and the tensor that is read, its layers."""

Attend = Callable[[str, Heads, tuple[Layer, Layer, Layer], int], tuple[Layer, Layer]]


@dataclass(frozen=True)
class Decoder:
    """What is published of a model.

    Attributes
    ----------
    width, inner : channels between the blocks and inside of a feed-forward.
    longest : the most tokens of a text.
    projecting : post-operations of each element of queries, keys and values.
    turning : further ones of queries and keys.
    ending : of the last product of each half of a block.
    """

    blocks: int
    width: int
    inner: int
    heads: Heads
    vocabulary: int
    longest: int
    projecting: int
    turning: int
    ending: int
    feed_forward: FeedForward


def forward(model: Decoder, name: str, tokens: int) -> Network:
    """Return the pass over a text that scores all words after each of its tokens, as in training.

    It generates nothing, so that no tokens are counted.
    """
    layers = _blocks(model, tokens, attention, SCALING + MASK + SOFTMAX)
    head = _head(model, layers[-1], tokens)
    return network(name, [embeddings(model.width, tokens)], [*layers, head])


def prefill(model: Decoder, name: str, tokens: int) -> Network:
    """Return the pass over a text that scores all words after its last token."""
    layers = _blocks(model, tokens, attention, SCALING + MASK + SOFTMAX)
    head = _head(model, layers[-1], 1)
    return network(name, [embeddings(model.width, tokens)], [*layers, head], tokens)


def decode(model: Decoder, name: str, cached: int) -> Network:
    """Return the pass for one token, which reads so many keys and values, its own among them."""

    def attend(block: str, heads: Heads, x: tuple[Layer, Layer, Layer], scoring: int) -> tuple[Layer, Layer]:
        return cached_attention(block, heads, x, scoring, cached)

    layers = _blocks(model, 1, attend, SCALING + SOFTMAX)
    head = _head(model, layers[-1], 1)
    return network(name, [embeddings(model.width, 1)], [*layers, head], 1)


def plain(block: str, model: Decoder, tokens: int, x: str) -> list[Layer]:
    """Return a feed-forward of two products with biases."""
    operands: tuple[Operand, ...] = (normalised(x, model.width),)
    widen = product(f"{block}.widen", operands, (tokens, model.width, model.inner), BIAS + ACTIVATION)
    operands = (whole(widen), residual(x, _ADDED))
    return [widen, product(f"{block}.narrow", operands, (tokens, model.inner, model.width), model.ending)]


def gated(block: str, model: Decoder, tokens: int, x: str) -> list[Layer]:
    """Return a feed-forward in which one product gates another."""
    operands: tuple[Operand, ...] = (normalised(x, model.width),)
    size = (tokens, model.width, model.inner)
    gate = product(f"{block}.gate", operands, size, ACTIVATION)
    up = product(f"{block}.up", (*operands, residual(gate.name, _ADDED)), size, GATING)
    operands = (whole(up), residual(x, _ADDED))
    return [gate, up, product(f"{block}.down", operands, (tokens, model.inner, model.width), model.ending)]


def _blocks(model: Decoder, tokens: int, attend: Attend, scoring: int) -> list[Layer]:
    layers: list[Layer] = []
    x = "embeddings"
    for block in (f"block{number}" for number in range(model.blocks)):
        projected = _projections(block, model, tokens, x)
        scores, context = attend(block, model.heads, projected, scoring)
        added = residual(x, _ADDED)
        out = projection(f"{block}.out", model.heads, context, model.width, model.ending, added)
        layers += [*projected, scores, context, out, *model.feed_forward(block, model, tokens, out.name)]
        x = layers[-1].name
    return layers


def _projections(block: str, model: Decoder, tokens: int, x: str) -> tuple[Layer, Layer, Layer]:
    """Return queries, keys and values."""

    def project(role: str, channels: int, post: int) -> Layer:
        size = (tokens, model.width, channels)
        return product(f"{block}.{role}", (normalised(x, model.width),), size, post)

    heads, turned = model.heads, model.projecting + model.turning
    query, key = project("query", heads.queries, turned), project("key", heads.keys, turned)
    return query, key, project("value", heads.keys, model.projecting)


def _head(model: Decoder, last: Layer, scored: int) -> Layer:
    """Return the product that scores all words after the last tokens, so many of them."""
    rows = AxisAccess(terms={"P": 1}, offset=last.bound("P") - scored)
    operands = (normalised(last.name, model.width, rows),)
    return product("head", operands, (scored, model.width, model.vocabulary), post=0)


def _turned(groups: int, shared: int, size: int) -> Heads:
    """Return heads whose queries and keys are turned."""
    return Heads(groups, shared, size, (Window(block=size),))


GPT2 = Decoder(
    blocks=12,
    width=768,
    inner=3072,
    heads=Heads(12, 1, 64),
    vocabulary=50257,
    longest=1024,
    projecting=BIAS,
    turning=0,
    ending=BIAS + NORMALISATION,
    feed_forward=plain,
)
LLAMA_3_2_1B = Decoder(
    blocks=16,
    width=2048,
    inner=8192,
    heads=_turned(8, 4, 64),
    vocabulary=128_256,
    longest=131_072,
    projecting=0,
    turning=ROTARY,
    ending=NORMALISATION,
    feed_forward=gated,
)
LLAMA_2_7B = Decoder(
    blocks=32,
    width=4096,
    inner=11_008,
    heads=_turned(32, 1, 128),
    vocabulary=32_000,
    longest=4096,
    projecting=0,
    turning=ROTARY,
    ending=NORMALISATION,
    feed_forward=gated,
)
QWEN_2_5_05B = Decoder(
    blocks=24,
    width=896,
    inner=4864,
    heads=_turned(2, 7, 64),
    vocabulary=151_936,
    longest=32_768,
    projecting=BIAS,
    turning=ROTARY,
    ending=NORMALISATION,
    feed_forward=gated,
)
