"""Building networks: convolutions and matrix products over square images, with what lies between them.

`FeatureMaps` are what a layer may read. They are not always the output of one layer: a concatenation puts
several behind each other, and pooling reads them through windows. So they are a list of parts, and every
layer that reads them gets one operand for each part. An addition is a residual of the layer that computes one
of its sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

_IMAGES = AxisAccess(terms={"N": 1})


@dataclass(frozen=True)
class Source:
    """One producer, and how it is read.

    Attributes
    ----------
    windows : on both image axes.
    mixed : windows on the channels.
    first : its first channel in the concatenation `concat`, if it is a part of one.
    """

    producer: str
    windows: tuple[Window, ...] = ()
    mixed: tuple[Window, ...] = ()
    first: int = 0
    concat: str | None = None


@dataclass(frozen=True)
class FeatureMaps:
    """Its part, or all of them behind each other: `channels` images of `size` x `size`."""

    parts: tuple[Source, ...]
    channels: int
    size: int


def image(channels: int, size: int, name: str = "image") -> tuple[NetworkInput, FeatureMaps]:
    """Return a network input of one image, and the tensor that it is."""
    tensor = FeatureMaps((Source(name),), channels, size)
    return NetworkInput(name=name, shape=(1, channels, size, size)), tensor


def output(layer: Layer) -> FeatureMaps:
    """Return what a layer computes."""
    _, channels, size, _ = layer.shape
    return FeatureMaps((Source(layer.name),), channels, size)


def add(layer: Layer, x: FeatureMaps) -> Layer:
    """Return a layer that adds a tensor to its results; that tensor may be no concatenation."""
    (part,) = x.parts
    extent = x.size if part.windows else None

    def along(dim: Dim) -> AxisAccess:
        return AxisAccess(terms={dim: 1}, extent=extent, windows=part.windows)

    axes = Axes(n=_IMAGES, ch=_channels(x, part, {"K": 1}), h=along("P"), w=along("Q"))
    operands = (*layer.operands, Operand(producer=part.producer, axes=axes))
    return layer.model_copy(update={"operands": operands})


def concat(tensors: Sequence[FeatureMaps]) -> FeatureMaps:
    """Return tensors behind each other along the channels; none of them may be a concatenation."""
    parts: list[Source] = []
    channels = 0
    for x in tensors:
        (part,) = x.parts
        parts.append(replace(part, first=channels, concat="channels"))
        channels += x.channels
    return FeatureMaps(tuple(parts), channels, tensors[0].size)


def pool(x: FeatureMaps, kernel: int, stride: int, pad: int = 0, after: int = 0) -> FeatureMaps:
    """Return the tensor after pooling; `after` adds to the padding at the far ends."""
    window = Window(scale=stride, shift=-pad, width=kernel)
    return _through(x, window, (x.size + 2 * pad + after - kernel) // stride + 1)


def normalise(x: FeatureMaps, channels: int) -> FeatureMaps:
    """Return an output after local response normalisation over an odd number of neighbouring channels."""
    window = Window(scale=1, shift=-(channels // 2), width=channels)
    (part,) = x.parts
    return replace(x, parts=(replace(part, mixed=(window,)),))


def global_pool(x: FeatureMaps) -> FeatureMaps:
    """Return the tensor with every channel pooled into one value."""
    return _through(x, Window(all=True), 1)


def _through(x: FeatureMaps, window: Window, size: int) -> FeatureMaps:
    """Put a window before those of each part; it reads what the form ranged over until now."""
    inner = window.model_copy(update={"extent": x.size})
    parts = (replace(p, windows=(inner if p.windows else window, *p.windows)) for p in x.parts)
    return FeatureMaps(tuple(parts), x.channels, size)


def conv(
    name: str,
    x: FeatureMaps,
    channels: int,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    groups: int = 1,
    post: int = 2,
) -> Layer:
    """Return a square convolution of a tensor into `channels` channels."""
    size = (x.size + 2 * pad - kernel) // stride + 1
    dims: dict[Dim, int] = {"K": channels // groups, "C": x.channels // groups, "P": size, "Q": size}
    if groups > 1:
        dims |= {"G": groups}
    if kernel > 1:
        dims |= {"R": kernel, "S": kernel}
    slid = (_slid(x, part, kernel, stride, pad, groups) for part in x.parts)
    return Layer(name=name, dims=dims, post=post, operands=_operands(x, slid))


def fc(name: str, x: FeatureMaps, features: int, post: int = 1) -> Layer:
    """Return a fully connected layer; an image larger than one value is flattened, channels first."""
    flatten = Flatten(terms={"C": 1}, shape=(x.channels, x.size, x.size)) if x.size > 1 else None
    dims: dict[Dim, int] = {"K": features, "C": x.channels * x.size**2}
    operands = _operands(x, (_whole(x, part) for part in x.parts), flatten)
    return Layer(name=name, dims=dims, post=post, operands=operands)


def network(
    name: str, inputs: Sequence[NetworkInput], layers: Sequence[Layer], tokens: int | None = None
) -> Network:
    """Return the network of these layers, checked; `tokens` as in `Network`."""
    return Network(format=FORMAT, name=name, tokens=tokens, inputs=tuple(inputs), layers=tuple(layers))


def _operands(x: FeatureMaps, axes: Iterable[Axes], flatten: Flatten | None = None) -> tuple[Operand, ...]:
    """Return one operand for each part of a tensor, given the axes of each."""
    return tuple(
        Operand(producer=part.producer, axes=read, flatten=flatten, concat=part.concat)
        for part, read in zip(x.parts, axes, strict=True)
    )


def _slid(x: FeatureMaps, part: Source, kernel: int, stride: int, pad: int, groups: int) -> Axes:
    """Return how a sliding kernel reads one part."""
    extent = x.size if part.windows else None

    def along(out: Dim, inside: Dim) -> AxisAccess:
        terms = {out: stride, inside: 1} if kernel > 1 else {out: stride}
        return AxisAccess(terms=terms, offset=-pad, extent=extent, windows=part.windows)

    terms: dict[Dim, int] = {"G": x.channels // groups, "C": 1} if groups > 1 else {"C": 1}
    return Axes(n=_IMAGES, ch=_channels(x, part, terms), h=along("P", "R"), w=along("Q", "S"))


def _whole(x: FeatureMaps, part: Source) -> Axes:
    """Return how a fully connected layer reads one part; a flattened image has no forms of its own."""
    if x.size > 1:
        seen = AxisAccess(windows=part.windows)
        return Axes(n=_IMAGES, ch=AxisAccess(windows=part.mixed), h=seen, w=seen)
    pooled = AxisAccess(extent=1 if part.windows else None, windows=part.windows)
    return Axes(n=_IMAGES, ch=_channels(x, part, {"C": 1}), h=pooled, w=pooled)


def _channels(x: FeatureMaps, part: Source, terms: dict[Dim, int]) -> AxisAccess:
    """Return how the channels of one part are read."""
    extent = x.channels if part.mixed else None
    return AxisAccess(terms=terms, offset=-part.first, extent=extent, windows=part.mixed)
