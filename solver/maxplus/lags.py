"""What a pair of candidates on an edge implies: the least time from each checkpoint to each other one.

If the producer passes checkpoint `q` at real time `a`, then what it finishes later in ideal time is later
by as much or more in real time. So a block that needs something not earlier than `q` delays all that the
consumer does after the start of that block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.maxplus.candidates import Candidate, records
from solver.stop import Stop
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.problem import Edge
from solver.timing.profile import Cycles, Profile
from solver.timing.timeline import edge_records


def pair_lags(starts: Cycles, need: Cycles, passed: Cycles, reached: Cycles) -> Cycles:
    """Return the lag from each checkpoint of the producer to each of the consumer.

    Parameters
    ----------
    starts, need : the blocks that can wait, as in `records`.
    passed, reached : ideal times of the checkpoints of the producer and of the consumer.

    Returns
    -------
    (checkpoints of the producer, of the consumer), minus infinity where nothing is implied.
    """
    later = np.where(need >= passed[:, None], need - starts, MINUS_INFINITY)
    longest = np.maximum.accumulate(later, axis=1)
    longest = np.concatenate((np.full((len(passed), 1), MINUS_INFINITY), longest), axis=1)
    # A block counts if it starts before the checkpoint; the first one counts for the start of the layer.
    found = longest[:, starts.searchsorted(np.maximum(reached, 1))]
    return np.where(found == MINUS_INFINITY, MINUS_INFINITY, found + reached - passed[:, None])


def rigid_lag(producer: Profile, consumer: Profile, edge: Edge, transfer: int) -> int | None:
    """Return how long after its producer a layer starts, at least, if neither of them ever waits.

    None if it reads nothing.
    """
    _, _, lags = edge_records(producer, consumer, edge)
    return int(lags.max()) + transfer + producer.lead - consumer.lead if len(lags) else None


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
        for j, consumer in enumerate(consumers):
            stop.check()
            lags[i, j] = pair_lags(*records(producer, consumer, edge), passed[i], reached[j])
    return np.where(lags == MINUS_INFINITY, MINUS_INFINITY, lags + transfer)
