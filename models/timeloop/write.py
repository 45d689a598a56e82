"""One layer as a Timeloop problem of version 0.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from models.layer import OUTPUT_DIMS, REDUCTION_DIMS, AxisName, Dim, Flatten, Layer
from models.network import AxisAccess, Network
from models.timeloop.edges import EDGES_FORMAT, Edges, Sources
from overlapim_files import dump

WEIGHT_DIMS: tuple[Dim, ...] = ("G", "K", "C", "R", "S")
COEFFICIENTS: dict[tuple[AxisName, Dim], str] = {
    ("h", "P"): "Wstride",
    ("h", "R"): "Wdilation",
    ("w", "Q"): "Hstride",
    ("w", "S"): "Hdilation",
}
"""Timeloop's names for the coefficients of a convolution, whose P and R it counts along the width."""


class ProblemText(BaseModel):
    """A problem file to be written; the records of `models.timeloop.problem` read it."""

    problem: dict[str, Any]


def problem_dims(layer: Layer) -> list[Dim]:
    """Return the dims of a layer that its problem has: all that Timeloop's convolution has, groups if any."""
    return [dim for dim in (*OUTPUT_DIMS, *REDUCTION_DIMS) if dim != "G" or layer.bound("G") > 1]


def problem_text(layer: Layer) -> str:
    """Return the text of a problem file for a layer: its dims, bounds, and the forms of what it reads.

    Of operands that are added or concatenated the first stands for all. Residuals, padding, windows and the
    producers have no place in a problem.
    """
    dims, coefficients = problem_dims(layer), dict[str, int]()
    spaces = _operands(layer, coefficients)
    if len(spaces) == 1:
        spaces.append(_space("Weights", [[[dim]] for dim in WEIGHT_DIMS if dim in dims]))
    outputs = _space("Outputs", [[[dim]] for dim in OUTPUT_DIMS if dim in dims])
    shape = {
        "name": "layer",
        "dimensions": dims,
        **({"coefficients": [{"name": name, "default": 1} for name in coefficients]} if coefficients else {}),
        "data_spaces": [*spaces, {**outputs, "read_write": True}],
    }
    instance = {dim: layer.bound(dim) for dim in dims} | coefficients
    return dump(ProblemText(problem={"version": 0.4, "shape": shape, "instance": instance}))


def edges_text(network: Network, names: Mapping[str, str]) -> str:
    """Return the text of a file of edges, by which the problems of all layers can be read as a network.

    Parameters
    ----------
    names : what each layer is called among the problems.
    """
    inputs = [x.name for x in network.inputs]
    reads = {names[layer.name]: _sources(layer, names) for layer in network.layers}
    return dump(Edges(format=EDGES_FORMAT, inputs=tuple(inputs), reads=reads))


def _sources(layer: Layer, names: Mapping[str, str]) -> Sources:
    """Return what a layer reads; of several operands in the second factor of a product the first."""
    first, *others = [[names.get(x.producer, x.producer) for x in group] for group in layer.factors]
    added = [names.get(x.producer, x.producer) for x in layer.operands if x in layer.residuals]
    one = tuple(dict.fromkeys(first))
    kinds = {"concat": one} if layer.factors[0][0].concat else {"sum": one}
    return Sources(**kinds, times=others[0][0] if others else None, add=tuple(dict.fromkeys(added)))


def _space(name: str, projection: list[Any]) -> dict[str, Any]:
    return {"name": name, "projection": projection}


def _operands(layer: Layer, coefficients: dict[str, int]) -> list[dict[str, Any]]:
    """Return a data-space for each factor of the product, and add the coefficients that they need."""
    spaces = []
    for i, (operand, *_) in enumerate(layer.factors):
        axes = [_expression(names[0], form, layer, coefficients) for names, form in operand.forms()]
        spaces.append(_space(f"Inputs{i + 1 if i else ''}", [axis for axis in axes if axis]))
    return spaces


def _expression(
    axis: AxisName, form: Flatten | AxisAccess, layer: Layer, coefficients: dict[str, int]
) -> list[list[str]]:
    """Return the sum of an axis; a coefficient has the first name that is free or has its value."""
    terms: list[list[str]] = []
    for dim, coefficient in form.terms.items():
        if dim not in problem_dims(layer):
            continue
        name = COEFFICIENTS.get((axis, dim), f"{dim}step")
        while coefficients.get(name, coefficient) != coefficient:
            name += "2"
        if coefficient > 1:
            coefficients[name] = coefficient
        terms.append([dim, name] if coefficient > 1 else [dim])
    return terms
