"""What a layer reads through another one, of the layer before it.

In attention an output sums over all positions of a single channel: few of the elements that there are.
But each has been made of another position of the layer before, so that is needed whole.
"""

from __future__ import annotations

from models.network import AXIS_DIMS, DIMS, OUTPUT_DIMS, REDUCTION_DIMS, Layer
from solver.bound.reading import coordinates, reading_products
from solver.timing.problem import Edge


def needed_through(layer: Layer, edge: Edge, producer: Layer, further: Edge) -> int:
    """Return how many elements any one output needs at least of what its producer reads through another edge.

    Parameters
    ----------
    edge : through which the layer reads the producer.
    further : through which the producer reads the layer before.

    Returns
    -------
    0 if nothing can be said, or not more than what is known of both edges by themselves.
    """
    axes = [axis for group in further.groups for axis in group.axes]
    dims = [dim for group in further.groups for dim in group.dims]
    if len(axes) > len(further.groups) or len(dims) > len(set(dims)) or not reading_products(layer, edge):
        return 0
    # Of the other axes an output reads at least one coordinate, together with each of these.
    whole = [axis for group in edge.groups for axis in group.axes if _whole(layer, edge, axis)]
    if not 0 < len(whole) < len(AXIS_DIMS):
        return 0
    free = {dim for axis in whole for dim in AXIS_DIMS[axis]} | set(REDUCTION_DIMS)
    count = 1
    for group in further.groups:
        fixed = [dim for dim in group.dims if DIMS[dim] not in free]
        if len(fixed) > 1:
            return 0
        count *= int(coordinates(group, producer, fixed[0] if fixed else None).sum(axis=1).min())
    return count


def _whole(layer: Layer, edge: Edge, axis: int) -> bool:
    """Whether every output reads all coordinates of an axis, as far as is easily seen."""
    (group,) = [group for group in edge.groups if axis in group.axes]
    if len(group.axes) > 1 or any(DIMS[dim] in OUTPUT_DIMS for dim in group.dims):
        return False
    return bool(coordinates(group, layer, None).all())
