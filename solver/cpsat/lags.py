"""What a pair of candidates on an edge implies: the least time from each checkpoint to each other one.

If the producer passes checkpoint `q` at real time `a`, then what it finishes later in ideal time is later
by as much or more in real time. So a block that needs something not earlier than `q` delays all that the
consumer does after the start of that block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.cpsat.candidates import Candidate, records
from solver.problem import Edge
from solver.profile import Cycles
from solver.stop import Stop

NEVER = -(2**60)
"""Lag where nothing is implied; plus any time it is still below every time."""

BARRED = 2**60
"""Lag of a pair that no better plan contains."""


class StoppedError(Exception):
    """It is time to stop, before there is a result."""


def check(stop: Stop) -> None:
    """Raise `StoppedError` if it is time to stop."""
    if stop.reached():
        raise StoppedError


def pair_lags(starts: Cycles, need: Cycles, passed: Cycles, reached: Cycles) -> Cycles:
    """Return the lag from each checkpoint of the producer to each of the consumer.

    Parameters
    ----------
    starts, need : the blocks that can wait, as in `records`.
    passed, reached : ideal times of the checkpoints of the producer and of the consumer.

    Returns
    -------
    (checkpoints of the producer, of the consumer), NEVER where nothing is implied.
    """
    later = np.where(need >= passed[:, None], need - starts, NEVER)
    longest = np.maximum.accumulate(later, axis=1)
    longest = np.concatenate((np.full((len(passed), 1), NEVER), longest), axis=1)
    # A block counts if it starts before the checkpoint; the first one counts for the start of the layer.
    found = longest[:, starts.searchsorted(np.maximum(reached, 1))]
    return np.where(found == NEVER, NEVER, found + reached - passed[:, None])


def edge_lags(
    edge: Edge,
    producers: Sequence[Candidate],
    consumers: Sequence[Candidate],
    passed: Cycles,
    reached: Cycles,
    transfer: int,
    stop: Stop,
) -> Cycles:
    """Return the lags of all pairs; shape (producers, consumers, checkpoints of the one, of the other).

    Raises
    ------
    StoppedError
        if it is time to stop.
    """
    lags = np.empty((len(producers), len(consumers), passed.shape[1], reached.shape[1]), np.int64)
    for i, producer in enumerate(producers):
        check(stop)
        for j, consumer in enumerate(consumers):
            lags[i, j] = pair_lags(*records(producer, consumer, edge), passed[i], reached[j])
    return np.where(lags == NEVER, NEVER, lags + transfer)
