"""Computes a network layer by layer, whole tensors at once: what a schedule must come to, however it runs.

Nothing here knows of mappings, blocks or times. Windows are differences of running sums, and a layer is a sum
over the places of its kernel; the execution of schedules reads and adds in other ways.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from models.network import AXES, DIMS, OUTPUT_DIMS, AxisAccess, Dim, Flatten, Layer, Network, Operand
from solver.execute.numbers import PRIME, Drawn, Numbers, output, products, residuals
from solver.execute.reading import ranges
from solver.timing.windows import Indices

KERNEL: tuple[Dim, ...] = ("R", "S")


def compute(network: Network, drawn: Drawn) -> list[Numbers]:
    """Return the output of each layer, in the order of the network's layers; shape (n, ch, h, w)."""
    tensors = {name: values.astype(np.float64) for name, values in drawn.inputs.items()}
    for i in network.topological:
        layer = network.layers[i]
        tensors[layer.name] = _layer(layer, tensors, drawn.weights[i])
    return [tensors[layer.name] for layer in network.layers]


def _layer(layer: Layer, tensors: dict[str, Numbers], weights: npt.NDArray[np.int16] | None) -> Numbers:
    """Return the output of a layer: a sum over the places of the kernel."""
    views = [_view(operand, tensors[operand.producer]) for operand in layer.operands]
    sizes = [1 if dim in KERNEL else layer.bound(dim) for dim in DIMS]
    sums: Numbers = np.zeros(layer.bounds[: len(OUTPUT_DIMS)])
    for r, s in itertools.product(range(layer.bound("R")), range(layer.bound("S"))):
        fixed: dict[Dim, int] = {"R": r, "S": s}
        read = [_read(layer, x, view, fixed) for x, view in zip(layer.operands, views, strict=True)]
        own = None
        if weights is not None:
            own = weights[None, :, :, None, None, :, r : r + 1, s : s + 1].astype(np.float64)
        sums = (sums + products(layer, read, own, sizes)) % PRIME
    # No residual depends on the place of the kernel, so any place tells what is added.
    return output(layer, sums + residuals(layer, read)).reshape(layer.shape)


def _view(operand: Operand, tensor: Numbers) -> Numbers:
    """Return the tensor as the forms see it: on each axis every window added up."""
    for axis, (name, read) in enumerate(zip(AXES, tensor.shape, strict=True)):
        extent = operand.axes[name].extent or read
        if operand.flatten is not None and axis:
            extent = operand.flatten.shape[axis - 1]
        running = np.insert(np.cumsum(tensor, axis), 0, 0, axis)
        low, high = ranges(operand, name, extent, read)
        tensor = (running.take(high, axis) - running.take(low, axis)) % PRIME
    return tensor


def _read(layer: Layer, operand: Operand, view: Numbers, fixed: dict[Dim, int]) -> Numbers:
    """Return what is read at one place of the kernel: an axis for each dim, 1 long if it is not read."""
    if operand.flatten is not None:
        view = view.reshape(len(view), -1)
    dims: list[Dim] = []
    for axis, (_, form) in enumerate(operand.forms()):
        own = [dim for dim in form.terms if dim not in fixed]
        index = _values(layer, form, own, fixed)
        outside = (index < 0) | (index >= view.shape[axis])
        padding = np.zeros((*view.shape[:axis], 1, *view.shape[axis + 1 :]))
        view = np.concatenate((view, padding), axis).take(np.where(outside, -1, index), axis)
        dims += own
    view = view.reshape([layer.bound(dim) for dim in dims])
    order = sorted(range(len(dims)), key=lambda axis: DIMS.index(dims[axis]))
    return view.transpose(order).reshape([layer.bound(dim) if dim in dims else 1 for dim in DIMS])


def _values(layer: Layer, form: AxisAccess | Flatten, own: list[Dim], fixed: dict[Dim, int]) -> Indices:
    """Return the values of a form over all coordinates of its own dims, the last one the fastest."""
    value = np.array([form.offset + sum(c * fixed[dim] for dim, c in form.terms.items() if dim in fixed)])
    for dim in own:
        value = (value[:, None] + form.terms[dim] * np.arange(layer.bound(dim))).ravel()
    return value
