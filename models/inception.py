"""Inception v1 (GoogLeNet) for one image of 224 x 224, without the auxiliary classifiers used in training.

A module has four branches, whose results the next layers read behind each other: 1x1, 3x3 and 5x5
convolutions, the larger ones after a reduction by 1x1, and a 1x1 convolution of the pooled input. Local
response normalisation over five channels is a window on the channels of what it reads. Every convolution has
two post-operations for each output element, its bias and the ReLU, and one more where normalisation follows.
"""

from __future__ import annotations

from models.build import FeatureMaps, concat, conv, fc, global_pool, image, network, normalise, output, pool
from models.network import Layer, Network

NEIGHBOURS = 5
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each module: 1x1, reduction and 3x3, reduction and 5x5, and after pooling."""
POOLED = ("3b", "4e")


def inception_v1() -> Network:
    """Return Inception v1: 57 convolutions and a fully connected layer."""
    source, x = image(3, 224)
    conv1 = conv("conv1", x, 64, kernel=7, stride=2, pad=3, post=3)
    x = normalise(_pool(output(conv1)), NEIGHBOURS)
    reduce = conv("conv2.reduce", x, 64, kernel=1)
    conv2 = conv("conv2", output(reduce), 192, kernel=3, pad=1, post=3)
    x = _pool(normalise(output(conv2), NEIGHBOURS))
    layers = [conv1, reduce, conv2]
    for name, channels in MODULES.items():
        module, x = _module(name, x, channels)
        layers += module
        x = _pool(x) if name in POOLED else x
    layers.append(fc("fc", global_pool(x), 1000))
    return network("inception-v1", [source], layers)


def _pool(x: FeatureMaps) -> FeatureMaps:
    return pool(x, kernel=3, stride=2, after=1)


def _module(name: str, x: FeatureMaps, channels: tuple[int, ...]) -> tuple[list[Layer], FeatureMaps]:
    single, reduced3, wide3, reduced5, wide5, pooled = channels
    one = conv(f"{name}.1x1", x, single, kernel=1)
    reduce3 = conv(f"{name}.3x3.reduce", x, reduced3, kernel=1)
    three = conv(f"{name}.3x3", output(reduce3), wide3, kernel=3, pad=1)
    reduce5 = conv(f"{name}.5x5.reduce", x, reduced5, kernel=1)
    five = conv(f"{name}.5x5", output(reduce5), wide5, kernel=5, pad=2)
    last = conv(f"{name}.pool", pool(x, kernel=3, stride=1, pad=1), pooled, kernel=1)
    branches = concat([output(layer) for layer in (one, three, five, last)])
    return [one, reduce3, three, reduce5, five, last], branches
