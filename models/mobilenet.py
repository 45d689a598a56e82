"""MobileNetV2 (width 1) for one image of 224 x 224.

A block widens its input by a 1x1 convolution, convolves every channel by itself, and projects it to few
channels again. If it changes neither size nor channels, its last convolution adds the input of the block to
its results.

Every convolution has two post-operations for each output element, the scale and shift of batch normalisation
and the ReLU6, but projections have no ReLU6. The last layer has one, its bias.
"""

from __future__ import annotations

from models.build import FeatureMaps, add, conv, fc, global_pool, image, network, output
from models.network import Layer, Network

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Factor by which a block widens its input, output channels, number of blocks, stride of the first one."""


def mobilenetv2() -> Network:
    """Return MobileNetV2: 52 convolutions, 17 of them depthwise, and a fully connected layer."""
    source, x = image(3, 224)
    layers = [conv("conv1", x, 32, kernel=3, stride=2, pad=1)]
    x = output(layers[0])
    for stage, (widening, channels, blocks, stride) in enumerate(STAGES, 1):
        for block in range(blocks):
            name, step = f"block{stage}.{block}", 1 if block else stride
            body = _body(name, x, widening, channels, step)
            if step == 1 and x.channels == channels:
                body[-1] = add(body[-1], x)
            layers += body
            x = output(body[-1])
    layers.append(conv("conv2", x, 1280, kernel=1))
    layers.append(fc("fc", global_pool(output(layers[-1])), 1000))
    return network("mobilenetv2", [source], layers)


def _body(name: str, x: FeatureMaps, widening: int, channels: int, stride: int) -> list[Layer]:
    """Return the convolutions of a block; one that does not widen has no first one."""
    layers = []
    if widening > 1:
        layers.append(conv(f"{name}.expand", x, widening * x.channels, kernel=1))
        x = output(layers[-1])
    layers.append(conv(f"{name}.depthwise", x, x.channels, kernel=3, stride=stride, pad=1, groups=x.channels))
    return [*layers, conv(f"{name}.project", output(layers[-1]), channels, kernel=1, post=1)]
