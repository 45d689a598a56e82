"""Additive envelopes: a number for each producer and one for each consumer whose sum is below the pair's lag.

With them a constraint on all pairs needs one term for each candidate and none for the pairs. An envelope is
exact on the pairs that it is anchored at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solver.maxplus.heads import Bounds, Link
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.profile import Cycles


@dataclass(frozen=True, eq=False)
class Envelope:
    """One time is at least another one plus `producers[m] + consumers[n]`, whatever pair (m, n) is chosen."""

    producers: Cycles
    consumers: Cycles


def effective(link: Link, bounds: Bounds, limit: int) -> Cycles:
    """Return the lags, raised to what heads and tails ask for in a plan no later than `limit`.

    A checkpoint `q` of the producer is passed at `limit - tail` at the latest, one of the consumer at its
    head at the earliest, so their difference may be asked for. It stands in for lags that are minus infinity.
    """
    latest = limit - bounds.tails[link.producer]
    asked = bounds.heads[link.consumer][None, :, None, :] - latest[:, None, :, None]
    raised: Cycles = np.maximum(link.lags, asked)
    return raised


def relevant(link: Link, bounds: Bounds) -> list[tuple[int, int]]:
    """Return the pairs of checkpoints (q, r) whose lag decides about r for some pair of candidates."""
    allowed = (link.lags[:, :, 0, -1] < INFINITY)[:, :, None, None]
    reached = np.where(allowed, link.lags, MINUS_INFINITY) + bounds.heads[link.producer][:, None, :, None]
    first = reached.argmax(axis=2)
    decides = reached.max(axis=2) >= 0
    last = link.lags.shape[3]
    codes = np.unique((first * last + np.arange(last))[decides])
    return [divmod(code, last) for code in codes.tolist()]


def at_consumer(lags: Cycles, consumer: int) -> Envelope:
    """Return the envelope that is exact for a consumer with any producer; lags of shape (m, n)."""
    exact = lags[:, consumer]
    start = np.where(exact < INFINITY, exact, lags.min(axis=1))
    return _tight(lags, np.minimum(start, _most(lags)))


def at_producer(lags: Cycles, producer: int) -> Envelope:
    """Return the envelope that is exact for a producer with any consumer."""
    turned = at_consumer(lags.T, producer)
    return Envelope(turned.consumers, turned.producers)


def _most(lags: Cycles) -> int:
    return int(lags[lags < INFINITY].max(initial=0))


def _tight(lags: Cycles, producers: Cycles) -> Envelope:
    """Raise an envelope as far as the lags allow; barred pairs do not raise it above the rest."""
    most = _most(lags)
    consumers = np.minimum((lags - producers[:, None]).min(axis=0), 2 * most + 1)
    producers = np.minimum((lags - consumers).min(axis=1), 2 * most + 1)
    return Envelope(producers, consumers)
