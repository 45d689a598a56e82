"""The critical path of a plan: what decides its latency, from its end back to time 0, without a gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from solver.account.blocks import BlockWait
from solver.account.plan import Account, LayerAccount
from solver.account.plan import account as account_of
from solver.schedule.transform import advance


@dataclass(frozen=True)
class Computes:
    """A layer runs blocks one after the other without waiting.

    Attributes
    ----------
    layer : position in the network.
    first, last : blocks, counted from 0 in the order of execution; the last one only as far as it matters.
    waited : cycles that the layer stood still before the first of them, while it held its banks.
    """

    start: int
    end: int
    layer: int
    first: int
    last: int
    waited: int


@dataclass(frozen=True)
class Transfers:
    """What a block has finished is on its way to the block that needs it."""

    start: int
    end: int
    layer: int
    block: int
    producer: int
    producer_block: int


@dataclass(frozen=True)
class Queues:
    """A layer does not begin before its release, although its data is there.

    Attributes
    ----------
    after : the layer whose end it goes by; None if it goes by no other layer.
    banks : whether that layer leaves banks to it.
    """

    start: int
    end: int
    layer: int
    after: int | None
    banks: bool


Piece = Computes | Transfers | Queues


def critical_path(account: Account) -> tuple[Piece, ...]:
    """Return what decides the latency, the last piece first; each ends where the one before it starts.

    The first one ends with the latency and the last one starts at 0, so their lengths add up to the latency.
    Where data and a release allow a layer to begin at the same time, the path follows the data.

    A layer that starts as late as it can waits for little, and all of its data seems to come just in time.
    So the causes are those of the plan begun as early as banks and data allow, unless that is faster. Nothing
    is later in it, and what decides the latency takes as long, so every piece is at the same time in both. If
    it is faster, the releases decide, and the causes are those of the plan as it is.
    """
    early = advance(account.problem, account.plan)
    causes = account_of(account.problem, early) if early.latency == account.latency else account
    pieces = _back(causes, max(causes.layers, key=lambda layer: layer.end))
    return tuple(_as_waited(piece, account.layers[piece.layer]) for piece in pieces)


def _as_waited(piece: Piece, layer: LayerAccount) -> Piece:
    """Return the piece with the time that its layer, which may start later, really waited before it."""
    if not isinstance(piece, Computes):
        return piece
    return replace(piece, waited=int(layer.blocks.waits[piece.first]))


def _back(account: Account, layer: LayerAccount) -> Iterator[Piece]:
    transfer, time = account.hardware.cycles.transfer, layer.end
    while time > 0:
        run, cause = _run(layer, time)
        yield run
        if cause is not None:
            if transfer:
                ends = run.start - transfer, run.start
                yield Transfers(*ends, layer.index, cause.block, cause.producer, cause.producer_block)
            layer, time = account.layers[cause.producer], run.start - transfer
        elif run.start:
            queue = _queue(account, layer)
            yield queue
            layer, time = account.layers[queue.after or 0], queue.start
        else:
            return


def _run(layer: LayerAccount, time: int) -> tuple[Computes, BlockWait | None]:
    """Return what a layer did without waiting up to a time, and the data with which that began, if any."""
    starts, waits = layer.blocks.starts, layer.blocks.waits
    last = int(np.searchsorted(starts, time)) - 1
    first = int(np.flatnonzero(waits[: last + 1]).max(initial=0))
    cause = layer.begins_after if first == 0 else next(w for w in layer.waits if w.block == first)
    exact = layer.just_in_time
    if cause is None and starts[0] and exact is not None and exact.block <= last:
        cause, first = exact, exact.block
    start = layer.start if cause is None else int(starts[first])
    return Computes(start, time, layer.index, first, last, int(waits[first])), cause


def _queue(account: Account, layer: LayerAccount) -> Queues:
    """Return after which layer a layer is released: one that leaves it banks, or else one that just ended."""
    start, own = layer.start, set(layer.banks.tolist())
    others = [x for x in account.layers if x.index != layer.index and x.end <= start]
    holders = [x for x in others if not own.isdisjoint(x.banks.tolist())]
    ended = [x for x in others if x.end in (start, start - account.hardware.cycles.transfer)]
    for before in (max(holders, key=lambda x: x.end, default=None), *ended[:1]):
        if before is not None and (before.end == start or before in ended):
            return Queues(before.end, start, layer.index, before.index, before in holders)
    if holders:
        last = max(holders, key=lambda x: x.end)
        return Queues(last.end, start, layer.index, last.index, True)
    return Queues(0, start, layer.index, None, False)


@dataclass(frozen=True)
class Share:
    """What a layer has of the critical path.

    Attributes
    ----------
    computes : cycles of the path in which it runs.
    waited : cycles that it stood still, before the pieces of the path in which it runs.
    """

    layer: int
    computes: int
    waited: int


def shares(path: tuple[Piece, ...]) -> list[Share]:
    """Return the shares of all layers that run on a path, the largest first."""
    runs = [piece for piece in path if isinstance(piece, Computes)]
    layers = dict.fromkeys(piece.layer for piece in runs)
    found = [
        Share(
            i,
            sum(run.end - run.start for run in runs if run.layer == i),
            sum(run.waited for run in runs if run.layer == i),
        )
        for i in layers
    ]
    return sorted(found, key=lambda share: -share.computes)
