"""AlexNet for one image of 227 x 227, with the two groups of channels that it once had on two GPUs.

Local response normalisation over five channels is a window on the channels of what it reads, pooling one on
rows and columns, both read through by the next layer. Every layer has two post-operations for each output
element, its bias and the ReLU; one more where normalisation follows, one less at the end.
"""

from __future__ import annotations

from models.build import conv, fc, image, network, normalise, output, pool
from models.network import Network

NEIGHBOURS = 5


def alexnet() -> Network:
    """Return AlexNet: five convolutions and three fully connected layers."""
    source, x = image(3, 227)
    conv1 = conv("conv1", x, 96, kernel=11, stride=4, post=3)
    x = pool(normalise(output(conv1), NEIGHBOURS), kernel=3, stride=2)
    conv2 = conv("conv2", x, 256, kernel=5, pad=2, groups=2, post=3)
    x = pool(normalise(output(conv2), NEIGHBOURS), kernel=3, stride=2)
    conv3 = conv("conv3", x, 384, kernel=3, pad=1)
    conv4 = conv("conv4", output(conv3), 384, kernel=3, pad=1, groups=2)
    conv5 = conv("conv5", output(conv4), 256, kernel=3, pad=1, groups=2)
    fc6 = fc("fc6", pool(output(conv5), kernel=3, stride=2), 4096, post=2)
    fc7 = fc("fc7", output(fc6), 4096, post=2)
    fc8 = fc("fc8", output(fc7), 1000)
    return network("alexnet", [source], [conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8])
