"""The numbers that are run through a schedule: inputs and weights drawn from a seed, as residues of a prime.

Sums of residues are exact in any order, so two computations of one network must agree in every digit, and
nothing overflows however deep the network is. Every number counts: a sum of residues does not hide a wrong
operand, as a maximum or a ReLU would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.network import DIMS, OUTPUT_DIMS, REDUCTION_DIMS, Dim, Layer, Network, Operand

Numbers = npt.NDArray[np.float64]
"""Residues as floating-point numbers, which can be not-a-number."""

PRIME = 8191
MAX_TERMS = 2**27
"""Products of two residues whose sum is exact in 64-bit floating point."""

WEIGHT_DIMS: tuple[Dim, ...] = ("G", "K", "C", "R", "S")


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a network computes with.

    Attributes
    ----------
    inputs : each network input by name; shape (n, ch, h, w).
    weights : for each layer its weights, shape (G, K, C, R, S); None if it multiplies activations only.
    """

    inputs: dict[str, npt.NDArray[Any]]
    weights: tuple[npt.NDArray[np.int16] | None, ...]


def draw_numbers(network: Network, seed: int) -> Drawn:
    """Draw the inputs and the weights of a network."""
    return draw_in_a_row(network, seed, 1)[0]


def draw_in_a_row(network: Network, seed: int, inferences: int) -> list[Drawn]:
    """Draw the weights of a network, and for each inference inputs of its own."""
    rng = np.random.default_rng(seed)
    inputs = [_draw_inputs(network, rng)]
    shapes = [tuple([layer.bound(dim) for dim in WEIGHT_DIMS]) for layer in network.layers]
    weights = [
        rng.integers(0, PRIME, shape, np.int16) if len(layer.factors) == 1 else None
        for layer, shape in zip(network.layers, shapes, strict=True)
    ]
    inputs += [_draw_inputs(network, rng) for _ in range(1, inferences)]
    return [Drawn(own, tuple(weights)) for own in inputs]


def _draw_inputs(network: Network, rng: np.random.Generator) -> dict[str, npt.NDArray[np.int16]]:
    return {x.name: rng.integers(0, PRIME, x.shape, np.int16) for x in network.inputs}


def products(
    layer: Layer, operands: Sequence[Numbers], weights: Numbers | None, sizes: Sequence[int]
) -> Numbers:
    """Return the sums of a layer's products; all arrays have an axis for each dim, 1 long if it is not read.

    Parameters
    ----------
    operands : what each operand of the layer reads.
    weights : None if the layer multiplies activations only.
    sizes : of the dims; sums run over all of a reduction dim, even if nothing depends on it.

    Returns
    -------
    (n, g, k, p, q), an axis being 1 long if nothing depends on it.
    """
    terms = [_added(layer, members, operands) for members in layer.factors]
    if weights is not None:
        terms.append(weights)
    first = np.ones((1,) * len(DIMS))
    for term in terms[:-1]:
        first = first * term % PRIME
    return contract(first, terms[-1], sizes)


def residuals(layer: Layer, operands: Sequence[Numbers]) -> Numbers:
    """Return what is added to the complete sums: all that is no factor; shape as for `products`, or ()."""
    multiplied = [x for members in layer.factors for x in members]
    total = _added(layer, [x for x in layer.operands if not _among(x, multiplied)], operands)
    return total.reshape(total.shape[: len(OUTPUT_DIMS)])


def _added(layer: Layer, members: Sequence[Operand], operands: Sequence[Numbers]) -> Numbers:
    """Add up what some of a layer's operands read."""
    read = (x for operand, x in zip(layer.operands, operands, strict=True) if _among(operand, members))
    return sum(read, np.zeros(())) % PRIME


def _among(operand: Operand, members: Sequence[Operand]) -> bool:
    """Whether an operand itself is there: two that are equal are still multiplied with each other."""
    return any(operand is x for x in members)


def contract(a: Numbers, b: Numbers, sizes: Sequence[int]) -> Numbers:
    """Multiply two arrays and add up over the reduction dims; shape (n, g, k, p, q), perhaps 1 long."""
    own = ["".join(dim for dim, size in zip(DIMS, x.shape, strict=True) if size > 1) for x in (a, b)]
    kept = "".join(dim for dim in OUTPUT_DIMS if dim in own[0] + own[1])
    path = ["einsum_path", (0, 1)]
    total = np.einsum(f"{own[0]},{own[1]}->{kept}", a.squeeze(), b.squeeze(), optimize=path)
    equal = [dim for dim in REDUCTION_DIMS if dim not in own[0] + own[1]]
    times = math.prod(sizes[DIMS.index(dim)] for dim in equal)
    length = [size if dim in kept else 1 for dim, size in zip(OUTPUT_DIMS, sizes, strict=False)]
    return np.asarray(total % PRIME * times).reshape(length)


def output(layer: Layer, sums: Numbers) -> Numbers:
    """Return outputs from complete sums: they are scaled and shifted if there are post-operations.

    This must happen once, at the end: it would show if it happened to a part of a sum, or twice.
    """
    return np.asarray((sums * 3 + 1 if layer.post else sums) % PRIME)
