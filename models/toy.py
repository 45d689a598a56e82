"""A network that is solved in no time and has a bit of everything: a branch, a sum, padding and pooling."""

from __future__ import annotations

from models.build import add, conv, fc, global_pool, image, network, output, pool
from models.network import Network


def toy() -> Network:
    """Return three convolutions on 8 x 8 pixels, two of them in parallel, and a classifier."""
    source, x = image(3, 8)
    stem = conv("stem", x, 8, kernel=3, pad=1)
    x = pool(output(stem), kernel=2, stride=2)
    left = conv("left", x, 8, kernel=3, pad=1)
    right = conv("right", x, 8, kernel=1)
    right = add(right, output(left))
    head = fc("head", global_pool(output(right)), 10)
    return network("toy", [source], [stem, left, right, head])
