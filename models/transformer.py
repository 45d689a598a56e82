"""Parts of transformers, and BERT for one sequence of tokens: blocks of eight matrix products.

A tensor has the width of the model, or all heads, on its channels and the tokens on its rows. The last
product of each half of a block adds the input of the half to its results; so its output is the sum of all
that came before. Such a sum is normalised for each token over all channels, so it is read through a window
`all`. BERT adds up what is normalised.

Attention has a group for each head of keys and values. The heads of queries that share one are columns, so
the product behind attention, which sums over all heads, has them as kernel columns. Where keys and values
are computed by the same pass, the two products of attention have no weights: scores read queries and keys,
the context reads scores and values. Where they were computed before (`cached_attention`), they lie in the
banks as weights do. The softmax makes the context read the scores of all keys of a head at once (a window
`block`). A mask spares no product: the scores of later tokens are computed and then set aside, and a token
waits for all keys and values, which is more than it needs.

Post-operations for each output element: one for a bias, an activation, the scaling of the scores or a mask;
two for softmax (exponential, division) and for normalisation (by the token's own mean and deviation, by gain
and bias). The addition of the input is none, as a residual brings its own. Those of a normalisation are
counted at the product before it, and what normalises the embeddings before the first product is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.build import network
from models.network import Axes, AxisAccess, Dim, Layer, Network, NetworkInput, Operand, Terms, Window

BIAS, ACTIVATION, SCALING, MASK, SOFTMAX, NORMALISATION = 1, 1, 1, 1, 2, 2

_TOKENS = AxisAccess(terms={"P": 1})
_NORMALISED = (Window(all=True),)


@dataclass(frozen=True)
class Heads:
    """The heads of attention.

    Attributes
    ----------
    groups : heads of keys and values.
    shared : heads of queries for each of them.
    size : channels of a head.
    mixed : windows on the channels of a query or key: what an element of it depends on.
    """

    groups: int
    shared: int
    size: int
    mixed: tuple[Window, ...] = ()

    @property
    def queries(self) -> int:
        """Channels of all queries."""
        return self.shared * self.keys

    @property
    def keys(self) -> int:
        """Channels of all keys, and of all values."""
        return self.groups * self.size

    def columns(self, dim: Dim) -> Terms:
        """Return a dim over the queries that share a key; nothing if each has its own."""
        return {dim: self.shared} if self.shared > 1 else {}

    def column(self, dim: Dim) -> AxisAccess:
        """Return how the query heads of a group are read along a dim."""
        return AxisAccess(terms={dim: 1}) if self.shared > 1 else AxisAccess()


@dataclass(frozen=True)
class Encoder:
    """What is published of an encoder; `width` and `inner` as in `models.decoder.Decoder`."""

    blocks: int
    width: int
    inner: int
    heads: Heads


BERT_BASE = Encoder(12, 768, 3072, Heads(12, 1, 64))


def encode(model: Encoder, name: str, tokens: int) -> Network:
    """Return an encoder as BERT is one: from the embeddings to the output of the last block."""
    width, inner, heads = model.width, model.inner, model.heads
    added = AxisAccess(terms={"K": 1}, extent=width, windows=_NORMALISED)
    end = BIAS + NORMALISATION
    layers: list[Layer] = []
    x = "embeddings"
    for block in (f"block{number}" for number in range(model.blocks)):
        query, key, value = (
            product(f"{block}.{role}", (normalised(x, width),), (tokens, width, width), BIAS)
            for role in ("query", "key", "value")
        )
        scores, context = attention(block, heads, (query, key, value), SCALING + SOFTMAX)
        out = projection(f"{block}.out", heads, context, width, end, residual(x, added))
        operands: tuple[Operand, ...] = (normalised(out.name, width),)
        widen = product(f"{block}.widen", operands, (tokens, width, inner), BIAS + ACTIVATION)
        operands = (whole(widen), residual(out.name, added))
        narrow = product(f"{block}.narrow", operands, (tokens, inner, width), end)
        layers += [query, key, value, scores, context, out, widen, narrow]
        x = narrow.name
    return network(name, [embeddings(width, tokens)], layers)


def embeddings(width: int, tokens: int) -> NetworkInput:
    """Return the input of a transformer."""
    return NetworkInput(name="embeddings", shape=(1, width, tokens, 1))


def product(name: str, x: tuple[Operand, ...], size: tuple[int, int, int], post: int) -> Layer:
    """Return the product of tokens with weights; `size` is (tokens, channels read, channels written)."""
    tokens, read, written = size
    return Layer(name=name, dims={"P": tokens, "C": read, "K": written}, post=post, operands=x)


def attention(name: str, heads: Heads, x: tuple[Layer, Layer, Layer], scoring: int) -> tuple[Layer, Layer]:
    """Return the products of each query with each key and of their softmax with the values.

    Parameters
    ----------
    x : queries, keys and values.
    scoring : post-operations of each score.
    """
    query, key, value = x
    tokens, keys = query.bound("P"), key.bound("P")
    columns = heads.columns("Q")
    ch = _mixed({"G": heads.size, "C": 1}, heads, heads.keys)
    operands = (_query(query.name, heads), _read(key.name, ch, AxisAccess(terms={"K": 1})))
    dims: Terms = {"G": heads.groups, "P": tokens, "C": heads.size, "K": keys, **columns}
    scores = Layer(name=f"{name}.scores", dims=dims, post=scoring, operands=operands)
    weighed = AxisAccess(terms={"G": heads.size, "K": 1})
    operands = (_softmax(scores, heads), _read(value.name, weighed, AxisAccess(terms={"C": 1})))
    dims = {"G": heads.groups, "P": tokens, "C": keys, "K": heads.size, **columns}
    return scores, Layer(name=f"{name}.context", dims=dims, operands=operands)


def cached_attention(
    name: str, heads: Heads, x: tuple[Layer, Layer, Layer], scoring: int, cached: int
) -> tuple[Layer, Layer]:
    """Return the products of one query with cached keys and of their softmax with cached values.

    The key and the value that were computed last are written to the cache first. A residual stands for that:
    it makes the product wait, and at each drain one value for each head is read and written.

    Parameters
    ----------
    x : the query, the last key and the last value.
    scoring : post-operations of each score.
    cached : keys and values for each head, with the last ones.
    """
    query, key, value = x
    every = Window(scale=heads.size, shift=0, width=heads.size)
    new = AxisAccess(terms={"G": 1}, extent=heads.groups, windows=(every,))
    columns = heads.columns("Q")
    operands = (_query(query.name, heads), _read(key.name, new))
    dims: Terms = {"G": heads.groups, "C": heads.size, "K": cached, **columns}
    scores = Layer(name=f"{name}.scores", dims=dims, post=scoring, operands=operands, cache=True)
    new = AxisAccess(terms={"G": heads.size, "K": 1})
    operands = (_softmax(scores, heads), _read(value.name, new))
    dims = {"G": heads.groups, "C": cached, "K": heads.size, **columns}
    return scores, Layer(name=f"{name}.context", dims=dims, operands=operands, cache=True)


def projection(name: str, heads: Heads, context: Layer, width: int, post: int, added: Operand) -> Layer:
    """Return the product of all heads' contexts with weights, and what is added to its results."""
    dims: Terms = {"P": context.bound("P"), "C": heads.keys, "K": width, **heads.columns("S")}
    x = _read(context.name, AxisAccess(terms={"C": 1}), w=heads.column("S"))
    return Layer(name=name, dims=dims, post=post, operands=(x, added))


def whole(layer: Layer) -> Operand:
    """Return how a product reads the whole of an output."""
    return _read(layer.name, AxisAccess(terms={"C": 1}))


def normalised(producer: str, width: int, rows: AxisAccess = _TOKENS) -> Operand:
    """Return how a product reads a tensor that is normalised over the channels of each token."""
    return _read(producer, AxisAccess(terms={"C": 1}, extent=width, windows=_NORMALISED), rows)


def residual(producer: str, ch: AxisAccess) -> Operand:
    """Return how a product reads what it adds to its results: `K` and the token alone say what that is."""
    return _read(producer, ch)


def _query(producer: str, heads: Heads) -> Operand:
    terms: Terms = {"G": heads.shared * heads.size, "C": 1}
    if heads.shared > 1:
        terms["Q"] = heads.size
    return _read(producer, _mixed(terms, heads, heads.queries))


def _mixed(terms: Terms, heads: Heads, channels: int) -> AxisAccess:
    """Return how the channels of a query or key are read."""
    extent = channels if heads.mixed else None
    return AxisAccess(terms=terms, extent=extent, windows=heads.mixed)


def _softmax(scores: Layer, heads: Heads) -> Operand:
    """Return how the scores of all keys of a head are read at once."""
    keys = scores.bound("K")
    windows = (Window(block=keys),)
    ch = AxisAccess(terms={"G": keys, "C": 1}, extent=heads.groups * keys, windows=windows)
    return _read(scores.name, ch, w=heads.column("Q"))


def _read(producer: str, ch: AxisAccess, h: AxisAccess = _TOKENS, w: AxisAccess | None = None) -> Operand:
    axes = Axes(n=AxisAccess(terms={"N": 1}), ch=ch, h=h, w=w or AxisAccess())
    return Operand(producer=producer, axes=axes)
