"""What a layer reads: operands as edges say, or by the nearest output that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from models.checks import Shape
from models.layer import REDUCTION_DIMS, Axes, AxisName, Dim, Operand, Terms
from models.timeloop.contraction import Contraction
from models.timeloop.edges import Edges, Sources
from models.timeloop.fit import Fit, exact, fitted, fitted_factor, reach
from overlapim_files import InputError, shorten


@dataclass
class Joining:
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


def fault_of(chain: Joining, layer: str, text: str) -> InputError:
    """Return the error for what edges say of a layer."""
    return InputError(f"{chain.source}: reads.{shorten(layer)}: {text}")


def given_operands(chain: Joining, layer: str, sources: Sources) -> tuple[Operand, ...]:
    """Return the operands of the producers that a layer is said to read; none if it is not said."""
    if sources.concat:
        return _concatenated(chain, layer, sources.concat)
    together = "sum" if len(sources.sum) > 1 else None
    return tuple(
        _read(chain, layer, chain.made[layer], other).operand(other, together) for other in sources.sum
    )


def _read(chain: Joining, layer: str, made: Contraction, other: str) -> Fit:
    """Return how what a layer makes of its operands, or its results, goes with an output or an input."""
    if other in chain.edges.inputs:
        return _input(chain, layer, made, other)
    fit = fitted(made, chain.shapes[other])
    if fit is None:
        raise _misfit(chain, layer, made, f"{other} of {_shown(chain.shapes[other])}")
    return fit


def factor_operand(chain: Joining, layer: str, sources: Sources) -> tuple[Operand, ...]:
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
        raise fault_of(chain, layer, text)
    return (fit.operand(other),)


def _misfit(chain: Joining, layer: str, made: Contraction, what: str) -> InputError:
    needed = _shown(made.extents)
    return fault_of(chain, layer, f"what goes with {needed} is needed, which {what} does not")


def _shown(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _concatenated(chain: Joining, layer: str, names: Sequence[str]) -> tuple[Operand, ...]:
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


def _input(chain: Joining, layer: str, made: Contraction, name: str) -> Fit:
    """Return how a layer reads an input, which is as large as its largest reader needs."""
    needed = made.extents
    known = chain.inputs.get(name, needed)
    if known[:2] != needed[:2]:
        raise _misfit(chain, layer, made, f"input {name} of {_shown(known)}")
    n, ch, *image = (max(pair) for pair in zip(known, needed, strict=True))
    chain.inputs[name] = (n, ch, image[0], image[1])
    return exact(made)


def added_operand(chain: Joining, layer: str, other: str) -> Operand:
    """Return the operand by which an output or an input is added to the results of a layer."""
    made = chain.made[layer]
    if not adds_up(made):
        raise fault_of(chain, layer, "it adds nothing up, so nothing can be added to its results")
    channels: dict[Dim, int] = {"G": made.dims.get("K", 1), "K": 1}
    forms: dict[AxisName, Terms] = {"n": {"N": 1}, "ch": channels, "h": {"P": 1}, "w": {"Q": 1}}
    kept = {axis: {d: c for d, c in form.items() if d in made.dims} for axis, form in forms.items()}
    return _read(chain, layer, replace(made, forms=kept), other).operand(other)


def adds_up(made: Contraction) -> bool:
    """Return whether a layer has results to which something can be added at the end."""
    return any(dim in made.dims for dim in REDUCTION_DIMS)


def nearest_operand(chain: Joining, layer: str) -> tuple[Operand, ...]:
    """Return the operand of the nearest output that a layer can read, else of an input of its own."""
    made = chain.made[layer]
    for shape, other in reversed(chain.latest.items()):
        if fit := fitted(made, shape):
            chain.guessed[layer] = other
            return (fit.operand(other),)
    name = f"{layer}.input"
    chain.inputs[name] = made.extents
    return (exact(made).operand(name),)
