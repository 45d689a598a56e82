"""When the data of an edge is ready, and when its reader needs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.timing.problem import Edge
from solver.timing.profile import Cycles
from solver.timing.timeline import LayerTimes, real_need


@dataclass(frozen=True, eq=False)
class Readiness:
    """When one operand of a layer is there, for each block in the order of execution; arrays (blocks,).

    Attributes
    ----------
    ready : when all that the block reads of the producer may be used; 0 if it reads nothing.
    needed : when the block begins.
    """

    ready: Cycles
    needed: Cycles

    @property
    def slack(self) -> int:
        """Cycles by which the data could come later without any block of the reader beginning later."""
        return int((self.needed - self.ready).min())


def readiness(reader: LayerTimes, source: LayerTimes, edge: Edge, transfer: int) -> Readiness:
    """Return when the blocks of a layer find their data ready, and when they begin."""
    need = real_need(source, reader.profile, edge)
    ready = np.where(need < 0, 0, need + transfer)
    return Readiness(ready if reader.order is None else ready[reader.order], reader.block_starts())


def decimated(x: Cycles, y: Cycles, most: int) -> Cycles:
    """Return which points of a rising curve to keep, the first and last among them; at most about `most`.

    Drawn as steps, the curve is off by no more than its height over `most / 2 - 1`, and likewise in width.
    """
    if len(x) <= most:
        return np.arange(len(x))
    even = [np.searchsorted(axis, np.linspace(axis[0], axis[-1], most // 2)) for axis in (x, y)]
    return np.unique(np.concatenate([[0, len(x) - 1], *even]))
