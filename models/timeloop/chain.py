"""Layers without producers as a network: which reads which, as edges say or as their extents tell.

The rules are in docs/timeloop.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from pydantic import ValidationError

from models.checks import Shape
from models.layer import REDUCTION_DIMS, Axes, AxisName, Dim, Terms
from models.network import FORMAT, Layer, Network, NetworkInput, Operand
from models.notes import Note
from models.timeloop.contraction import Contraction
from models.timeloop.edges import Edges, Sources
from models.timeloop.fit import Fit, exact, fitted, fitted_factor, reach
from overlapim_files import InputError, nearest, shorten


@dataclass(frozen=True)
class Chained:
    """A network, and what had to be guessed or cannot be known of it."""

    network: Network
    notes: tuple[Note, ...]


@dataclass
class _Chain:
    """A network on its way: what each layer computes, and what it reads as far as that is known.

    `guessed` has, of each layer whose producer was told by extents, that producer; `latest` of each shape the
    last layer so far whose output has it, in their order.
    """

    made: Mapping[str, Contraction]
    edges: Edges
    source: str
    shapes: dict[str, Shape]
    factors: Mapping[str, Axes]
    inputs: dict[str, Shape] = field(default_factory=dict)
    operands: dict[str, tuple[Operand, ...]] = field(default_factory=dict)
    guessed: dict[str, str] = field(default_factory=dict)
    latest: dict[Shape, str] = field(default_factory=dict)


def chained(
    name: str,
    made: Mapping[str, Contraction],
    source: str,
    edges: Edges,
    factors: Mapping[str, Axes] | None = None,
) -> Chained:
    """Return layers as a network.

    A layer reads what its edges say; else the nearest one before it that fits, or an input of its own.

    Parameters
    ----------
    made : what each layer computes, in their order.
    source : stands for the files in errors.
    factors : how layers read what stands for their weights, of those of which extents need not tell.

    Raises
    ------
    InputError
        if an edge joins what does not go together, or the layers make no network.
    """
    shapes = {layer: x.shape for layer, x in made.items()}
    chain = _Chain(made, edges, source, shapes, factors or {})
    _check_names(chain)
    for layer, sources in ((layer, edges.reads.get(layer, Sources())) for layer in made):
        reads = _given(chain, layer, sources) or _nearest(chain, layer)
        reads += _times(chain, layer, sources)
        chain.operands[layer] = (*reads, *(_added(chain, layer, other) for other in sources.add))
        chain.latest.pop(chain.shapes[layer], None)
        chain.latest[chain.shapes[layer]] = layer
    notes = (*_residuals(chain), *_unread(chain), *_ambiguous(chain))
    try:
        layers = [Layer(name=x, dims=made[x].dims, operands=chain.operands[x]) for x in made]
        inputs = [NetworkInput(name=x, shape=shape) for x, shape in chain.inputs.items()]
        found = Network(format=FORMAT, name=name, inputs=tuple(inputs), layers=tuple(layers))
    except ValidationError as error:
        raise InputError(f"{source}: {error.errors()[0]['msg']}") from None
    return Chained(found, notes)


def _check_names(chain: _Chain) -> None:
    """Check that the edges speak of layers and inputs that there are."""
    known = dict.fromkeys((*chain.made, *chain.edges.inputs))
    for layer, sources in chain.edges.reads.items():
        if layer not in chain.made:
            raise _fault(chain, layer, f"there is no such layer{nearest(layer, chain.made)}")
        for other in sources.names:
            if other not in known:
                raise _fault(chain, layer, f"there is no layer or input {other!r}{nearest(other, known)}")
        if inner := next((x for x in (*sources.concat, sources.times) if x in chain.edges.inputs), None):
            text = f"input {inner!r} can be read or added, but be no part of a concatenation and no weights"
            raise _fault(chain, layer, text)


def _fault(chain: _Chain, layer: str, text: str) -> InputError:
    return InputError(f"{chain.source}: reads.{shorten(layer)}: {text}")


# What edges say


def _given(chain: _Chain, layer: str, sources: Sources) -> tuple[Operand, ...]:
    """Return the operands of the producers that a layer is said to read; none if it is not said."""
    if sources.concat:
        return _concatenated(chain, layer, sources.concat)
    together = "sum" if len(sources.sum) > 1 else None
    return tuple(
        _read(chain, layer, chain.made[layer], other).operand(other, together) for other in sources.sum
    )


def _read(chain: _Chain, layer: str, made: Contraction, other: str) -> Fit:
    """Return how what a layer makes of its operands, or its results, goes with an output or an input."""
    if other in chain.edges.inputs:
        return _input(chain, layer, made, other)
    fit = fitted(made, chain.shapes[other])
    if fit is None:
        raise _misfit(chain, layer, made, f"{other} of {_shown(chain.shapes[other])}")
    return fit


def _times(chain: _Chain, layer: str, sources: Sources) -> tuple[Operand, ...]:
    """Return the operand that stands for the weights of a layer, if it is said that one does."""
    other = sources.times
    if other is None:
        return ()
    if layer in chain.factors:
        return (Fit(chain.factors[layer]).operand(other),)
    made, shape = chain.made[layer], chain.shapes[other]
    fit = fitted_factor(made, shape)
    if fit is None or not any(dim in form for form in made.weights for dim in REDUCTION_DIMS):
        sizes = " x ".join(str(reach(made, form)) for form in made.weights)
        text = f"its weights are {sizes}, which {other} of {_shown(shape)} does not go with"
        raise _fault(chain, layer, text)
    return (fit.operand(other),)


def _misfit(chain: _Chain, layer: str, made: Contraction, what: str) -> InputError:
    needed = _shown(made.extents)
    return _fault(chain, layer, f"what goes with {needed} is needed, which {what} does not")


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _concatenated(chain: _Chain, layer: str, names: Sequence[str]) -> tuple[Operand, ...]:
    """Return the operands of outputs behind each other along the channels."""
    shapes = [chain.shapes[name] for name in names]
    batch, _, height, width = shapes[0]
    whole = (batch, sum(shape[1] for shape in shapes), height, width)
    fit = fitted(chain.made[layer], whole)
    if fit is None or fit.flatten or any((*x[:1], *x[2:]) != (batch, height, width) for x in shapes):
        what = f"the concatenation of {shorten(', '.join(names))} of {_shown(whole)}"
        raise _misfit(chain, layer, chain.made[layer], what)
    firsts = accumulate((shape[1] for shape in shapes[:-1]), initial=0)
    return tuple(fit.part(name, first) for name, first in zip(names, firsts, strict=True))


def _input(chain: _Chain, layer: str, made: Contraction, name: str) -> Fit:
    """Return how a layer reads an input, which is as large as its largest reader needs."""
    needed = made.extents
    known = chain.inputs.get(name, needed)
    if known[:2] != needed[:2]:
        raise _misfit(chain, layer, made, f"input {name} of {_shown(known)}")
    n, ch, *image = (max(pair) for pair in zip(known, needed, strict=True))
    chain.inputs[name] = (n, ch, image[0], image[1])
    return exact(made)


def _added(chain: _Chain, layer: str, other: str) -> Operand:
    """Return the operand by which an output or an input is added to the results of a layer."""
    made = chain.made[layer]
    if not adds_up(made):
        raise _fault(chain, layer, "it adds nothing up, so nothing can be added to its results")
    channels: dict[Dim, int] = {"G": made.dims.get("K", 1), "K": 1}
    forms: dict[AxisName, Terms] = {"n": {"N": 1}, "ch": channels, "h": {"P": 1}, "w": {"Q": 1}}
    kept = {axis: {d: c for d, c in form.items() if d in made.dims} for axis, form in forms.items()}
    return _read(chain, layer, replace(made, forms=kept), other).operand(other)


def adds_up(made: Contraction) -> bool:
    """Return whether a layer has results to which something can be added at the end."""
    return any(dim in made.dims for dim in REDUCTION_DIMS)


# What extents tell


def _nearest(chain: _Chain, layer: str) -> tuple[Operand, ...]:
    made = chain.made[layer]
    for shape, other in reversed(chain.latest.items()):
        if fit := fitted(made, shape):
            chain.guessed[layer] = other
            return (fit.operand(other),)
    name = f"{layer}.input"
    chain.inputs[name] = made.extents
    return (exact(made).operand(name),)


def _readers(chain: _Chain) -> dict[str, list[str]]:
    """Return of each layer those that read it."""
    readers: dict[str, list[str]] = {layer: [] for layer in chain.made}
    for layer, operands in chain.operands.items():
        for operand in operands:
            if operand.producer in readers:
                readers[operand.producer].append(layer)
    return readers


def _alike(chain: _Chain) -> dict[Shape, list[str]]:
    """Return the layers whose outputs have one shape, of each shape."""
    alike: dict[Shape, list[str]] = {}
    for layer in chain.made:
        alike.setdefault(chain.shapes[layer], []).append(layer)
    return alike


def _residuals(chain: _Chain) -> list[Note]:
    """Add outputs that nobody reads to the output that is read instead of them, where that is one way only.

    A layer reads the nearest output that fits. If the one just before that, of the same shape, has no other
    reader, their sum is what remains; unless there are more such, which may as well be something else.
    """
    notes, readers = [], _readers(chain)
    for layers in _alike(chain).values():
        for place in range(1, len(layers)):
            before, other, layer = layers[max(place - 2, 0) : place - 1], layers[place - 1], layers[place]
            taken = any(chain.guessed.get(reader) == layer for reader in readers[layer])
            several = any(not readers[x] for x in before)
            if readers[other] or several or not taken or not adds_up(chain.made[layer]):
                continue
            if layer in chain.edges.reads or other in chain.edges.reads:
                continue
            chain.operands[layer] += (_added(chain, layer, other),)
            text = f"is added to what {shorten(layer)} computes: outputs alike, and no other reader fits"
            notes.append(Note(other, "residual", text, None))
    return notes


def _unread(chain: _Chain) -> list[Note]:
    """Say which layers nobody reads, but for the last one, which is an output of the network."""
    readers, last = _readers(chain), [*chain.made][-1]
    text = "nobody reads it, as far as shapes tell; --edges can say who does"
    return [Note(layer, "unread", text, None) for layer in chain.made if not readers[layer] and layer != last]


def _ambiguous(chain: _Chain) -> list[Note]:
    """Say in one note how many layers may as well read something else than the nearest that fits.

    Of convolutions only those are counted that may pass over an output without leaving it unread; of
    products of matrices all, since projections of the same tokens often stand in a row.
    """
    before = {x: other for layers in _alike(chain).values() for other, x in pairwise(layers)}
    inputs = {shape: name for name, shape in chain.inputs.items()}
    found = []
    for layer, producer in chain.guessed.items():
        other = before.get(producer) or inputs.get(chain.shapes[producer])
        first, *added = (x.producer for x in chain.operands[producer])
        if other and other not in added and (other != first or _is_of_tokens(chain.made[layer])):
            found.append((layer, producer, other))
    if not found:
        return []
    layer, producer, other = found[0]
    more = f"; so can {len(found) - 1} more, each another" if len(found) > 1 else ""
    text = f"reads {shorten(producer)}, the nearest, but can as well read {shorten(other)}{more}"
    return [Note(layer, "ambiguous", text, None)]


def _is_of_tokens(made: Contraction) -> bool:
    """Return whether a layer is a product of matrices, of which one has rows."""
    return "P" in made.dims and not {"Q", "R", "S"} & made.dims.keys()
