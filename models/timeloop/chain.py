"""Timeloop problems one after the other as a network: which layer reads which, told by their extents.

A problem says nothing of padding, of pooling, or of where its inputs come from. The rules by which these are
found are in docs/timeloop.md.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from models.layer import AXES, AxisName, Dim, Flatten
from models.network import FORMAT, Axes, AxisAccess, Layer, Network, NetworkInput, Operand, Window
from models.timeloop.contraction import Contraction
from models.timeloop.problem import ProblemFile
from overlapim_files import InputError, load

SUFFIXES = (".yaml", ".yml")
MOST_FILES = 4096
MOST_CHARACTERS = 150


def load_directory(path: Path) -> Network:
    """Return the network of the problem files in a directory, in the order of their names (2 before 10).

    Raises
    ------
    InputError
        if there are none, or one of them is not a problem that can be imported.
    """
    try:
        files = [file for file in path.iterdir() if file.suffix in SUFFIXES]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    if not 0 < len(files) <= MOST_FILES:
        text = (
            f"has {len(files)} {' or '.join(SUFFIXES)} files; 1 to {MOST_FILES} Timeloop problems are needed"
        )
        raise InputError(f"{path}: the directory {text}")
    files.sort(key=lambda file: [int(x) if x.isdecimal() else x for x in re.split(r"(\d+)", file.name)])
    problems = [(layer_name(file), load(file, ProblemFile)) for file in files]
    return chained(layer_name(path.resolve()) or "network", problems, str(path))


def layer_name(path: Path) -> str:
    """Return what a file is called, fit for the name of a layer and, with more to it, of an input."""
    return path.stem.encode("utf-8", "replace").decode()[:MOST_CHARACTERS]


def chained(name: str, problems: Sequence[tuple[str, ProblemFile]], source: str) -> Network:
    """Return problems as a network; each reads the nearest one before it that fits, or an input of its own.

    Parameters
    ----------
    problems : the name of each layer, and its problem.
    source : stands for the files in errors.
    """
    layers: list[Layer] = []
    inputs: list[NetworkInput] = []
    for layer, file in problems:
        made = file.problem.contraction
        operand = _nearest(made, layers)
        if operand is None:
            operand = Operand(producer=f"{layer}.input", axes=_axes(made, {}))
            inputs.append(NetworkInput(name=operand.producer, shape=made.extents))
        layers.append(Layer(name=layer, dims=made.dims, operands=(operand,)))
    try:
        return Network(format=FORMAT, name=name, inputs=tuple(inputs), layers=tuple(layers))
    except ValidationError as error:
        raise InputError(f"{source}: {error.errors()[0]['msg']}") from None


def _nearest(made: Contraction, layers: Sequence[Layer]) -> Operand | None:
    operands = (_fitted(made, layer) for layer in reversed(layers))
    return next((operand for operand in operands if operand is not None), None)


def _fitted(made: Contraction, producer: Layer) -> Operand | None:
    """Return how a layer reads another one's output; None if the extents do not go together."""
    batch, channels, height, width = made.extents
    if batch != producer.shape[0]:
        return None
    if channels == producer.shape[1]:
        return _over_image(made, producer)
    if (height, width) == (1, 1) and made.forms.get("ch") == {"C": 1}:
        return _flattened(made, producer)
    return None


def _over_image(made: Contraction, producer: Layer) -> Operand | None:
    accesses = {}
    for axis, extent in zip(AXES[2:], producer.shape[2:], strict=True):
        access = _along(made, axis, extent)
        if access is None:
            return None
        accesses[axis] = access
    return Operand(producer=producer.name, axes=_axes(made, accesses))


def _pooled(extent: int, factor: int) -> tuple[int, tuple[Window, ...]]:
    """Return the extent that pooling by a factor leaves, and its window, which covers all that is pooled."""
    left = max(extent // factor, 1)
    if left == extent:
        return extent, ()
    covering = Window(scale=factor, shift=0, width=extent - factor * (left - 1))
    return left, (Window(all=True) if left == 1 else covering,)


def _along(made: Contraction, axis: AxisName, extent: int) -> AxisAccess | None:
    """Return the access on an image axis: pooling if need be, then a sliding kernel with padding.

    Padding is at most the kernel's reach on each side; less than a stride may be left over at the end.
    """
    terms = made.forms.get(axis, {})
    kernel = sum(c * (made.dims[dim] - 1) for dim, c in terms.items() if dim in ("R", "S"))
    stride = next((c for dim, c in terms.items() if dim in ("P", "Q")), 1)
    needed = made.extents[AXES.index(axis)]
    left, windows = _pooled(extent, extent // (needed + stride) + 1)
    padding = max(needed - left, 0)
    if padding > 2 * kernel:
        return None
    over = left if windows else None
    return AxisAccess(terms=terms, offset=-((padding + 1) // 2), extent=over, windows=windows)


def _flattened(made: Contraction, producer: Layer) -> Operand | None:
    """Return how a fully connected layer reads an image, which may be pooled by one factor on both axes."""
    _, channels, height, width = producer.shape

    def elements(factor: int) -> int:
        return channels * _pooled(height, factor)[0] * _pooled(width, factor)[0]

    factors = range(1, max(height, width) + 1)
    place = bisect_left(factors, -made.dims["C"], key=lambda factor: -elements(factor))
    if place == len(factors) or elements(factors[place]) != made.dims["C"]:
        return None
    (rows, row_windows), (columns, column_windows) = (_pooled(x, factors[place]) for x in (height, width))
    flatten = Flatten(terms=made.forms["ch"], shape=(channels, rows, columns))
    given = {"h": AxisAccess(windows=row_windows), "w": AxisAccess(windows=column_windows)}
    axes = Axes(n=AxisAccess(terms=made.forms.get("n", {})), **given)
    return Operand(producer=producer.name, axes=axes, flatten=flatten)


def _axes(made: Contraction, given: dict[AxisName, AxisAccess]) -> Axes:
    """Return the accesses, those of an input that is exactly as large as needed where none are given."""
    empty: dict[Dim, int] = {}
    accesses = {axis: AxisAccess(terms=made.forms.get(axis, empty)) for axis in AXES} | given
    return Axes(**accesses)
