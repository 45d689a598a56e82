"""VGG-16 and VGG-19 for one image of 224 x 224.

Pooling is no layer: the layers after it read through windows. Every layer adds a bias and applies a ReLU, two
post-operations for each output element; the last one has no ReLU.
"""

from __future__ import annotations

from models.build import conv, fc, image, network, output, pool
from models.network import Layer, Network

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the convolutions before each pooling."""


def vgg16() -> Network:
    """Return VGG-16: 13 convolutions and three fully connected layers."""
    return _vgg("vgg16", (2, 2, 3, 3, 3))


def vgg19() -> Network:
    """Return VGG-19: 16 convolutions and three fully connected layers."""
    return _vgg("vgg19", (2, 2, 4, 4, 4))


def _vgg(name: str, stages: tuple[int, ...]) -> Network:
    source, x = image(3, 224)
    layers: list[Layer] = []
    for stage, (channels, convolutions) in enumerate(zip(CHANNELS, stages, strict=True), 1):
        for i in range(1, convolutions + 1):
            layers.append(conv(f"conv{stage}_{i}", x, channels, kernel=3, pad=1))
            x = output(layers[-1])
        x = pool(x, kernel=2, stride=2)
    for classifier, features, post in (("fc1", 4096, 2), ("fc2", 4096, 2), ("fc3", 1000, 1)):
        layers.append(fc(classifier, x, features, post))
        x = output(layers[-1])
    return network(name, [source], layers)
