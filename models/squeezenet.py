"""SqueezeNet 1.0 for one image of 224 x 224.

A fire module squeezes its input into few channels and expands them twice, by 1x1 and by 3x3 convolutions; the
next layer reads both results behind each other. Every convolution has two post-operations for each output
element, its bias and the ReLU. The last one is followed by global pooling only, which no layer reads.
"""

from __future__ import annotations

from models.build import FeatureMaps, concat, conv, image, network, output, pool
from models.network import Layer, Network

FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Channels of each fire module: squeezed, and of each of the two expansions."""
POOLED = (4, 8)
"""The fire modules, counted from 2, after which there is pooling."""


def squeezenet() -> Network:
    """Return SqueezeNet 1.0: 26 convolutions."""
    source, x = image(3, 224)
    layers = [conv("conv1", x, 96, kernel=7, stride=2)]
    x = _pool(output(layers[0]))
    for number, (squeezed, expanded) in enumerate(FIRES, 2):
        fire = _fire(f"fire{number}", x, squeezed, expanded)
        layers += fire
        x = concat([output(layer) for layer in fire[1:]])
        x = _pool(x) if number in POOLED else x
    layers.append(conv("conv10", x, 1000, kernel=1))
    return network("squeezenet", [source], layers)


def _pool(x: FeatureMaps) -> FeatureMaps:
    """Return the tensor after 3x3 pooling by two, with padding at the far end if there is a rest."""
    return pool(x, kernel=3, stride=2, after=1 - x.size % 2)


def _fire(name: str, x: FeatureMaps, squeezed: int, expanded: int) -> list[Layer]:
    squeeze = conv(f"{name}.squeeze", x, squeezed, kernel=1)
    x = output(squeeze)
    small = conv(f"{name}.expand1x1", x, expanded, kernel=1)
    return [squeeze, small, conv(f"{name}.expand3x3", x, expanded, kernel=3, pad=1)]
