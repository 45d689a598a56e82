"""BERT-base and GPT-2 (small) for one sequence of tokens: twelve blocks of eight matrix products.

A tensor has the width of the model, or all heads, on its channels and the tokens on its rows. Both networks
read what was embedded, and both add the result of every half of a block to its input and normalise each token
over all channels, BERT after the addition and GPT-2 before the next product. That comes to the same for the
order of things: every product that begins half a block reads all that was added up until then, part by part,
and of each token all channels at once (a window `all`).

The two products of attention have no weights: scores read queries and keys, the context reads scores and
values, and each head is a group. The softmax makes the context read the scores of all keys of a head at once
(a window `block`). GPT-2's mask spares no product: the scores of later tokens are computed and then set
aside, and a token waits for all keys and values, which is more than it needs.

Post-operations for each output element: one for a bias, an activation, the scaling of the scores or a mask;
two for softmax (exponential, division) and for normalisation (by the token's own mean and deviation, by gain
and bias). Those of a normalisation are counted at the product whose result was added last, and what
normalises the embeddings before the first product is not counted.
"""

from __future__ import annotations

from models.build import network
from models.network import Axes, AxisAccess, Layer, Network, NetworkInput, Operand, Terms, Window

BLOCKS = 12
WIDTH = 768
HEADS = 12
HEAD = WIDTH // HEADS
INNER = 3072
VOCABULARY = 50257

BIAS, ACTIVATION, SCALING, MASK, SOFTMAX, NORMALISATION = 1, 1, 1, 1, 2, 2
LAST = BIAS + NORMALISATION
"""Post-operations of the product whose result is added to the input of its half of a block."""

_IMAGES = AxisAccess(terms={"N": 1})
_TOKENS = AxisAccess(terms={"P": 1})


def bert_base(name: str, tokens: int) -> Network:
    """Return the encoder of BERT-base: from the embeddings to what the last block adds to them."""
    layers, _ = _blocks(tokens, SCALING + SOFTMAX)
    return network(name, [_embeddings(tokens)], layers)


def gpt2(name: str, tokens: int) -> Network:
    """Return one forward pass of GPT-2: from the embeddings to the scores of all words after each token."""
    layers, added = _blocks(tokens, SCALING + MASK + SOFTMAX)
    head = _product("head", _normalised(added), (tokens, WIDTH, VOCABULARY), post=0)
    return network(name, [_embeddings(tokens)], [*layers, head])


def _embeddings(tokens: int) -> NetworkInput:
    return NetworkInput(name="embeddings", shape=(1, WIDTH, tokens, 1))


def _blocks(tokens: int, scoring: int) -> tuple[list[Layer], tuple[str, ...]]:
    """Return the layers of all blocks, and the tensors whose sum comes out of the last one."""
    layers: list[Layer] = []
    added: tuple[str, ...] = ("embeddings",)
    for number in range(BLOCKS):
        layers += _attention(f"block{number}", tokens, _normalised(added), scoring)
        added += (layers[-1].name,)
        layers += _feed_forward(f"block{number}", tokens, _normalised(added))
        added += (layers[-1].name,)
    return layers, added


def _attention(name: str, tokens: int, x: tuple[Operand, ...], scoring: int) -> list[Layer]:
    size = (tokens, WIDTH, WIDTH)
    query, key, value = (_product(f"{name}.{role}", x, size, BIAS) for role in ("query", "key", "value"))
    scores = _scores(f"{name}.scores", query, key, scoring)
    context = _context(f"{name}.context", scores, value)
    return [query, key, value, scores, context, _product(f"{name}.out", _all_of(context), size, LAST)]


def _feed_forward(name: str, tokens: int, x: tuple[Operand, ...]) -> list[Layer]:
    widen = _product(f"{name}.widen", x, (tokens, WIDTH, INNER), BIAS + ACTIVATION)
    return [widen, _product(f"{name}.narrow", _all_of(widen), (tokens, INNER, WIDTH), LAST)]


def _product(name: str, x: tuple[Operand, ...], size: tuple[int, int, int], post: int) -> Layer:
    """Return the product of tokens with weights; `size` is (tokens, channels read, channels written)."""
    tokens, read, written = size
    return Layer(name=name, dims={"P": tokens, "C": read, "K": written}, post=post, operands=x)


def _scores(name: str, query: Layer, key: Layer, post: int) -> Layer:
    """Return the products of each query with each key: for each head a channel for each key."""
    tokens = query.bound("P")
    heads = AxisAccess(terms={"G": HEAD, "C": 1})
    operands = (_read(query, heads, _TOKENS), _read(key, heads, AxisAccess(terms={"K": 1})))
    dims: Terms = {"G": HEADS, "P": tokens, "C": HEAD, "K": tokens}
    return Layer(name=name, dims=dims, post=post, operands=operands)


def _context(name: str, scores: Layer, value: Layer) -> Layer:
    """Return the sum of all values, each times the softmax of its score."""
    tokens = scores.bound("P")
    softmax = (Window(block=tokens),)
    weighing = AxisAccess(terms={"G": tokens, "C": 1}, extent=HEADS * tokens, windows=softmax)
    weighed = AxisAccess(terms={"G": HEAD, "K": 1})
    operands = (_read(scores, weighing, _TOKENS), _read(value, weighed, AxisAccess(terms={"C": 1})))
    return Layer(name=name, dims={"G": HEADS, "P": tokens, "C": tokens, "K": HEAD}, operands=operands)


def _read(producer: Layer, ch: AxisAccess, h: AxisAccess) -> Operand:
    return Operand(producer=producer.name, axes=Axes(n=_IMAGES, ch=ch, h=h))


def _all_of(producer: Layer) -> tuple[Operand, ...]:
    """Return how a product reads the whole of one tensor."""
    return (_read(producer, AxisAccess(terms={"C": 1}), _TOKENS),)


def _normalised(added: tuple[str, ...]) -> tuple[Operand, ...]:
    """Return how a product reads a sum of tensors that is normalised over the channels of each token."""
    ch = AxisAccess(terms={"C": 1}, extent=WIDTH, windows=(Window(all=True),))
    axes, together = Axes(n=_IMAGES, ch=ch, h=_TOKENS), "residual" if len(added) > 1 else None
    return tuple(Operand(producer=name, axes=axes, sum=together) for name in added)
