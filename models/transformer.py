"""BERT-base and GPT-2 (small) for one sequence of tokens: twelve blocks of eight matrix products.

A tensor has the width of the model, or all heads, on its channels and the tokens on its rows. The last
product of each half of a block adds the input of the half to its results; so its output is the sum of all
that came before. Such a sum is normalised for each token over all channels, so it is read through a window
`all`. BERT adds up what is normalised, GPT-2 what is not.

The two products of attention have no weights: scores read queries and keys, the context reads scores and
values, and each head is a group. The softmax makes the context read the scores of all keys of a head at once
(a window `block`). GPT-2's mask spares no product: the scores of later tokens are computed and then set
aside, and a token waits for all keys and values, which is more than it needs.

Post-operations for each output element: one for a bias, an activation, the scaling of the scores or a mask;
two for softmax (exponential, division) and for normalisation (by the token's own mean and deviation, by gain
and bias). The addition of the input is none, as a residual brings its own. Those of a normalisation are
counted at the product before it, and what normalises the embeddings before the first product is not counted.
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

_TOKENS = AxisAccess(terms={"P": 1})
_NORMALISED = (Window(all=True),)


def bert_base(name: str, tokens: int) -> Network:
    """Return the encoder of BERT-base: from the embeddings to the output of the last block."""
    added = AxisAccess(terms={"K": 1}, extent=WIDTH, windows=_NORMALISED)
    return network(name, [_embeddings(tokens)], _blocks(tokens, SCALING + SOFTMAX, added))


def gpt2(name: str, tokens: int) -> Network:
    """Return one forward pass of GPT-2: from the embeddings to the scores of all words after each token."""
    layers = _blocks(tokens, SCALING + MASK + SOFTMAX, AxisAccess(terms={"K": 1}))
    head = _product("head", (_normalised(layers[-1].name),), (tokens, WIDTH, VOCABULARY), post=0)
    return network(name, [_embeddings(tokens)], [*layers, head])


def _embeddings(tokens: int) -> NetworkInput:
    return NetworkInput(name="embeddings", shape=(1, WIDTH, tokens, 1))


def _blocks(tokens: int, scoring: int, added: AxisAccess) -> list[Layer]:
    """Return the layers of all blocks.

    Parameters
    ----------
    scoring : post-operations of each score.
    added : how the channels of the input are read where it is added to the results.
    """
    layers: list[Layer] = []
    x = "embeddings"
    for number in range(BLOCKS):
        layers += _attention(f"block{number}", tokens, scoring, _normalised(x), _residual(x, added))
        x = layers[-1].name
        layers += _feed_forward(f"block{number}", tokens, _normalised(x), _residual(x, added))
        x = layers[-1].name
    return layers


def _attention(name: str, tokens: int, scoring: int, x: Operand, residual: Operand) -> list[Layer]:
    size = (tokens, WIDTH, WIDTH)
    query, key, value = (_product(f"{name}.{role}", (x,), size, BIAS) for role in ("query", "key", "value"))
    scores = _scores(f"{name}.scores", query, key, scoring)
    context = _context(f"{name}.context", scores, value)
    out = _product(f"{name}.out", (_whole(context), residual), size, BIAS + NORMALISATION)
    return [query, key, value, scores, context, out]


def _feed_forward(name: str, tokens: int, x: Operand, residual: Operand) -> list[Layer]:
    widen = _product(f"{name}.widen", (x,), (tokens, WIDTH, INNER), BIAS + ACTIVATION)
    size, post = (tokens, INNER, WIDTH), BIAS + NORMALISATION
    return [widen, _product(f"{name}.narrow", (_whole(widen), residual), size, post)]


def _product(name: str, x: tuple[Operand, ...], size: tuple[int, int, int], post: int) -> Layer:
    """Return the product of tokens with weights; `size` is (tokens, channels read, channels written)."""
    tokens, read, written = size
    return Layer(name=name, dims={"P": tokens, "C": read, "K": written}, post=post, operands=x)


def _scores(name: str, query: Layer, key: Layer, post: int) -> Layer:
    """Return the products of each query with each key: for each head a channel for each key."""
    tokens = query.bound("P")
    heads = AxisAccess(terms={"G": HEAD, "C": 1})
    operands = (_read(query.name, heads), _read(key.name, heads, AxisAccess(terms={"K": 1})))
    dims: Terms = {"G": HEADS, "P": tokens, "C": HEAD, "K": tokens}
    return Layer(name=name, dims=dims, post=post, operands=operands)


def _context(name: str, scores: Layer, value: Layer) -> Layer:
    """Return the sum of all values, each times the softmax of its score."""
    tokens = scores.bound("P")
    softmax = (Window(block=tokens),)
    weighing = AxisAccess(terms={"G": tokens, "C": 1}, extent=HEADS * tokens, windows=softmax)
    weighed = AxisAccess(terms={"G": HEAD, "K": 1})
    operands = (_read(scores.name, weighing), _read(value.name, weighed, AxisAccess(terms={"C": 1})))
    return Layer(name=name, dims={"G": HEADS, "P": tokens, "C": tokens, "K": HEAD}, operands=operands)


def _read(producer: str, ch: AxisAccess, h: AxisAccess = _TOKENS) -> Operand:
    return Operand(producer=producer, axes=Axes(n=AxisAccess(terms={"N": 1}), ch=ch, h=h))


def _whole(layer: Layer) -> Operand:
    """Return how a product reads the whole of an output."""
    return _read(layer.name, AxisAccess(terms={"C": 1}))


def _normalised(producer: str) -> Operand:
    """Return how a product reads a tensor that is normalised over the channels of each token."""
    return _read(producer, AxisAccess(terms={"C": 1}, extent=WIDTH, windows=_NORMALISED))


def _residual(producer: str, ch: AxisAccess) -> Operand:
    """Return how a product reads what it adds to its results: `K` and the token alone say what that is."""
    return _read(producer, ch)
