"""Windows compiled for arithmetic: each maps intervals of coordinates to intervals on what it reads.

docs/model.md, "What a layer reads". `extent` is that of the axis that a window reads; intervals are clipped
to it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.network import AxisAccess

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Interval = tuple[Indices, Indices]
"""First and last coordinates, one of each for each value; the first is larger where nothing is read."""


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """`[lo, hi]` becomes `[lo * scale + shift, hi * scale + shift + width - 1]`, as pooling reads."""

    scale: int
    shift: int
    width: int
    extent: int

    def read(self, low: Indices, high: Indices) -> Interval:
        """Return what intervals become."""
        return low * self.scale + self.shift, high * self.scale + self.shift + self.width - 1


@dataclass(frozen=True, slots=True)
class WholeAxis:
    """Every interval becomes the whole axis, as global pooling and normalisation read."""

    extent: int

    def read(self, low: Indices, high: Indices) -> Interval:
        """Return what intervals become."""
        return np.zeros_like(low), np.full_like(high, self.extent - 1)


@dataclass(frozen=True, slots=True)
class AlignedBlocks:
    """Intervals are widened to whole blocks of `size` coordinates, as softmax within one head reads."""

    size: int
    extent: int

    def read(self, low: Indices, high: Indices) -> Interval:
        """Return what intervals become."""
        return low - low % self.size, high - high % self.size + self.size - 1


@dataclass(frozen=True, slots=True)
class Quotients:
    """Coordinates are divided, rounding down, as where every element stands several times in a row.

    The innermost `keep` values stay as they are, and what counts them is divided. An interval in which they
    do not stay together becomes the least one that has all of them.
    """

    divisor: int
    keep: int
    extent: int

    def read(self, low: Indices, high: Indices) -> Interval:
        """Return what intervals become."""
        together = low // self.keep == high // self.keep
        least = np.where(together, low % self.keep, 0)
        most = np.where(together, high % self.keep, self.keep - 1)
        whole = self.divisor * self.keep
        return low // whole * self.keep + least, high // whole * self.keep + most


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Every so many coordinates, from the first on, are numbered; those between lead nowhere."""

    every: int
    first: int
    extent: int

    def read(self, low: Indices, high: Indices) -> Interval:
        """Return what intervals become."""
        return (low - self.first + self.every - 1) // self.every, (high - self.first) // self.every


CompiledWindow = SlidingWindow | WholeAxis | AlignedBlocks | Quotients | Interleaved


def compile_windows(access: AxisAccess, extent: int) -> tuple[CompiledWindow, ...]:
    """Return the windows of an axis access that ends on a producer axis of the given extent."""
    compiled: list[CompiledWindow] = []
    for window in access.windows:
        read = window.extent or extent
        if window.block is not None:
            compiled.append(AlignedBlocks(window.block, read))
        elif window.divide is not None:
            compiled.append(Quotients(window.divide, window.keep or 1, read))
        elif window.every is not None:
            compiled.append(Interleaved(window.every, window.first or 0, read))
        elif window.all:
            compiled.append(WholeAxis(read))
        else:
            compiled.append(SlidingWindow(window.scale or 1, window.shift or 0, window.width or 1, read))
    return tuple(compiled)


def window_interval(extent: int, windows: tuple[CompiledWindow, ...]) -> Interval:
    """Return what each value of a form, from 0 to `extent - 1`, reads through a chain of windows.

    Where that is nothing, it is from 0 to -1.
    """
    low = np.arange(extent, dtype=np.int64)
    high = low.copy()
    for window in windows:
        empty = low > high
        low, high = window.read(low, high)
        low, high = np.maximum(low, 0), np.minimum(high, window.extent - 1)
        empty |= low > high
        low[empty], high[empty] = 0, -1
    return low, high
