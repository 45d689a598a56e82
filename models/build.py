"""Building networks: convolutions and matrix products over square images, with what lies between them.

A `Tensor` is what a layer may read. It is not always the output of one layer: an addition makes it a sum of
several outputs, and pooling reads them through windows. So it is a list of parts, and every layer that reads
it gets one operand for each part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.network import (
    FORMAT,
    Axes,
    AxisAccess,
    Dim,
    Flatten,
    Layer,
    Network,
    NetworkInput,
    Operand,
    Window,
)


@dataclass(frozen=True)
class Part:
    """One producer, and the windows through which it is read on both image axes."""

    producer: str
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True)
class Tensor:
    """The sum of its parts: `channels` images of `size` x `size`."""

    parts: tuple[Part, ...]
    channels: int
    size: int


def image(channels: int, size: int, name: str = "image") -> tuple[NetworkInput, Tensor]:
    """Return a network input of one image, and the tensor that it is."""
    tensor = Tensor((Part(name),), channels, size)
    return NetworkInput(name=name, shape=(1, channels, size, size)), tensor


def output(layer: Layer) -> Tensor:
    """Return what a layer computes."""
    _, channels, size, _ = layer.shape
    return Tensor((Part(layer.name),), channels, size)


def add(x: Tensor, y: Tensor) -> Tensor:
    """Return the element-wise sum; nothing computes it but the layers that read it."""
    return replace(x, parts=x.parts + y.parts)


def pool(x: Tensor, kernel: int, stride: int, pad: int = 0) -> Tensor:
    """Return the tensor after pooling."""
    window = Window(scale=stride, shift=-pad, width=kernel)
    return _through(x, window, (x.size + 2 * pad - kernel) // stride + 1)


def global_pool(x: Tensor) -> Tensor:
    """Return the tensor with every channel pooled into one value."""
    return _through(x, Window(all=True), 1)


def _through(x: Tensor, window: Window, size: int) -> Tensor:
    """Put a window before those of each part; it reads what the form ranged over until now."""
    inner = window.model_copy(update={"extent": x.size})
    parts = (Part(p.producer, (inner if p.windows else window, *p.windows)) for p in x.parts)
    return Tensor(tuple(parts), x.channels, size)


def conv(
    name: str, x: Tensor, channels: int, kernel: int, stride: int = 1, pad: int = 0, post: int = 2
) -> Layer:
    """Return a square convolution of a tensor into `channels` channels."""
    size = (x.size + 2 * pad - kernel) // stride + 1
    dims: dict[Dim, int] = {"K": channels, "C": x.channels, "P": size, "Q": size}
    if kernel > 1:
        dims |= {"R": kernel, "S": kernel}
    operands = tuple(
        Operand(producer=part.producer, axes=_slid(x, part, kernel, stride, pad), sum=_sum(x))
        for part in x.parts
    )
    return Layer(name=name, dims=dims, post=post, operands=operands)


def fc(name: str, x: Tensor, features: int, post: int = 1) -> Layer:
    """Return a fully connected layer; an image larger than one value is flattened, channels first."""
    flatten = Flatten(terms={"C": 1}, shape=(x.channels, x.size, x.size)) if x.size > 1 else None
    operands = tuple(
        Operand(producer=part.producer, axes=_whole(x, part), flatten=flatten, sum=_sum(x))
        for part in x.parts
    )
    dims: dict[Dim, int] = {"K": features, "C": x.channels * x.size**2}
    return Layer(name=name, dims=dims, post=post, operands=operands)


def network(name: str, inputs: Sequence[NetworkInput], layers: Sequence[Layer]) -> Network:
    """Return the network of these layers, checked."""
    return Network(format=FORMAT, name=name, inputs=tuple(inputs), layers=tuple(layers))


def _sum(x: Tensor) -> str | None:
    return "residual" if len(x.parts) > 1 else None


def _slid(x: Tensor, part: Part, kernel: int, stride: int, pad: int) -> Axes:
    """Return how a sliding kernel reads one part."""
    extent = x.size if part.windows else None

    def along(out: Dim, inside: Dim) -> AxisAccess:
        terms = {out: stride, inside: 1} if kernel > 1 else {out: stride}
        return AxisAccess(terms=terms, offset=-pad, extent=extent, windows=part.windows)

    n, ch = AxisAccess(terms={"N": 1}), AxisAccess(terms={"C": 1})
    return Axes(n=n, ch=ch, h=along("P", "R"), w=along("Q", "S"))


def _whole(x: Tensor, part: Part) -> Axes:
    """Return how a fully connected layer reads one part; a flattened image has no forms of its own."""
    flat = x.size > 1
    n, ch = AxisAccess(terms={"N": 1}), AxisAccess() if flat else AxisAccess(terms={"C": 1})
    pooled = AxisAccess(extent=None if flat or not part.windows else 1, windows=part.windows)
    return Axes(n=n, ch=ch, h=pooled, w=pooled)
