"""ResNet-18 and ResNet-50 (v1.5: the stride is in the 3x3 convolution) for one image of 224 x 224.

An addition is no layer: the last convolution of a block adds the shortcut to its results. That is the input
of the block, or its projection where the block changes the shape; in the first block of ResNet-18 it is the
pooled output of the stem.

Every convolution has two post-operations for each output element, the scale and shift of batch normalisation
and the ReLU. The ReLU after an addition is counted at the last convolution of its block, so a projection has
only one. The last layer has one, its bias.
"""

from __future__ import annotations

from models.build import FeatureMaps, add, conv, fc, global_pool, image, network, output, pool
from models.network import Layer, Network


def resnet18() -> Network:
    """Return ResNet-18: 20 convolutions and a fully connected layer."""
    return _resnet("resnet18", (2, 2, 2, 2), 1)


def resnet50() -> Network:
    """Return ResNet-50 v1.5: 53 convolutions and a fully connected layer."""
    return _resnet("resnet50", (3, 4, 6, 3), 4)


def _resnet(name: str, stages: tuple[int, ...], expansion: int) -> Network:
    source, x = image(3, 224)
    layers = [conv("conv1", x, 64, kernel=7, stride=2, pad=3)]
    x = pool(output(layers[0]), kernel=3, stride=2, pad=1)
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            body = _body(f"layer{stage + 1}.{block}", x, 64 << stage, stride, expansion)
            shortcut = _projection(f"layer{stage + 1}.{block}", x, (64 << stage) * expansion, stride)
            body[-1] = add(body[-1], output(shortcut[0]) if shortcut else x)
            layers += body + shortcut
            x = output(body[-1])
    layers.append(fc("fc", global_pool(x), 1000))
    return network(name, [source], layers)


def _body(name: str, x: FeatureMaps, channels: int, stride: int, expansion: int) -> list[Layer]:
    """Return the convolutions of a block: two of 3x3, or with an expansion 1x1, 3x3 and 1x1."""
    if expansion == 1:
        first = conv(f"{name}.conv1", x, channels, kernel=3, stride=stride, pad=1)
        return [first, conv(f"{name}.conv2", output(first), channels, kernel=3, pad=1)]
    first = conv(f"{name}.conv1", x, channels, kernel=1)
    second = conv(f"{name}.conv2", output(first), channels, kernel=3, stride=stride, pad=1)
    return [first, second, conv(f"{name}.conv3", output(second), channels * expansion, kernel=1)]


def _projection(name: str, x: FeatureMaps, channels: int, stride: int) -> list[Layer]:
    """Return the convolution of the shortcut, if the block changes the shape."""
    if stride == 1 and x.channels == channels:
        return []
    return [conv(f"{name}.downsample", x, channels, kernel=1, stride=stride, post=1)]
