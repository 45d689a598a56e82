"""When the blocks of a layer run, what they wait for, and how to draw many of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from solver.timing.problem import Edge
from solver.timing.profile import Cycles
from solver.timing.timeline import LayerTimes


class BlockWait(NamedTuple):
    """A block that begins just when its data is there.

    Attributes
    ----------
    block : its position in the order of execution, from 0.
    cycles : how long the layer stood still before it; 0 for its first block, before which it holds no banks,
        and where the layer begins so late that the data comes just in time.
    operand : position among the operands that read layers, as in `Problem.edges`.
    producer : position in the network of the layer that was waited for.
    producer_block : the block of the producer, in its order of execution, that finished the data last.
    """

    block: int
    cycles: int
    operand: int
    producer: int
    producer_block: int


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of a layer that begin before its end, in the order of execution; each array (blocks,).

    Attributes
    ----------
    numbers : the number of each block in the loops' own order.
    starts : real start.
    lengths : cycles of work; the last ends with the layer.
    waits : cycles that the layer holds its banks and stands still before the block; 0 for the first.
    lead : cycles before the first block in which weights are written and a row is opened.
    """

    numbers: Cycles
    starts: Cycles
    lengths: Cycles
    waits: Cycles
    lead: int

    @property
    def begins(self) -> Cycles:
        """Real start of each block, that of the first one with what has to be done before it."""
        begins = self.starts.copy()
        begins[0] -= self.lead
        return begins


def layer_blocks(times: LayerTimes) -> Blocks:
    """Return the blocks of a layer; the lead, lengths and waits add up to `end - start`."""
    profile, starts = times.profile, times.block_starts()
    count = int(np.searchsorted(starts, times.end))
    ideal = np.diff(profile.block_starts, append=profile.total - profile.lead)[:count]
    starts = starts[:count]
    lengths = np.minimum(ideal, times.end - starts)
    waits = np.diff(starts, prepend=starts[:1])
    waits[1:] -= lengths[:-1]
    numbers = np.arange(profile.blocks) if times.order is None else times.order
    return Blocks(numbers[:count], starts, lengths, waits, profile.lead)


def block_waits(
    times: LayerTimes, edges: Sequence[Edge], layers: Sequence[LayerTimes], transfer: int
) -> tuple[BlockWait, ...]:
    """Return every block that begins when data arrives, not when the block before it or the release says so.

    Of operands that arrive late for the same block, the one that arrives last is waited for.
    """
    if not edges:
        return ()
    ideal = np.concatenate([wait.steps for wait in times.waits])
    delays = np.concatenate([wait.delays for wait in times.waits])
    operands = np.repeat(np.arange(len(edges)), [len(wait.steps) for wait in times.waits])
    by_step = np.lexsort((operands, -delays, ideal))
    ideal, delays, operands = ideal[by_step], delays[by_step], operands[by_step]
    before = np.maximum.accumulate(np.concatenate(([times.earliest], delays)))[:-1]
    late = np.flatnonzero(delays > before)
    blocks = np.searchsorted(times.profile.block_starts, ideal[late])
    cycles = np.where(blocks == 0, 0, delays[late] - before[late])
    starts = {edge.producer: layers[edge.producer].block_starts() for edge in edges}
    rows = np.stack((blocks, cycles, operands[late], ideal[late] + delays[late] - transfer)).T.tolist()
    found = []
    for block, waited, operand, finish in rows:
        producer = edges[operand].producer
        producer_block = int(np.searchsorted(starts[producer], finish)) - 1
        found.append(BlockWait(block, waited, operand, producer, producer_block))
    return tuple(found)


def just_in_time(times: LayerTimes, layers: Sequence[LayerTimes], transfer: int) -> BlockWait | None:
    """Return the first block whose data comes as it begins, without a wait: the release decides too.

    With an earlier release the layer would begin earlier, but not this block and those after it.
    """
    waiting = times.steps[times.delays > times.earliest]
    found = []
    for operand, wait in enumerate(times.waits):
        exact = wait.steps[wait.delays == times.earliest]
        found += [(step, operand) for step in exact[:1].tolist() if not len(waiting) or step < waiting[0]]
    if not found:
        return None
    step, operand = min(found)
    producer = times.waits[operand].producer
    finish = times.earliest + step - transfer
    producer_block = int(np.searchsorted(layers[producer].block_starts(), finish)) - 1
    block = int(np.searchsorted(times.profile.block_starts, step))
    return BlockWait(block, 0, operand, producer, producer_block)


class Stretch(NamedTuple):
    """A part of a layer's time that is drawn as one.

    Attributes
    ----------
    kind : `compute`, `wait`, or `both` for work and waits that are too short to be told apart.
    start, end : cycles.
    waited : cycles of it that the layer waits.
    first, last : the blocks that run in it; for a wait, the block that waits.
    """

    kind: Literal["compute", "wait", "both"]
    start: int
    end: int
    waited: int
    first: int
    last: int


def stretches(blocks: Blocks, resolution: int) -> list[Stretch]:
    """Return a layer's time cut where it waits; what is shorter than `resolution` is put together."""
    found: list[Stretch] = []
    group: list[Stretch] = []
    for stretch in _exact(blocks):
        if stretch.end - stretch.start >= resolution:
            found += [*_together(group), stretch]
            group = []
            continue
        group.append(stretch)
        if stretch.end - group[0].start >= resolution:
            found += _together(group)
            group = []
    return found + _together(group)


def _together(group: list[Stretch]) -> list[Stretch]:
    if len(group) < 2:
        return group
    first, last = group[0], group[-1]
    waited = sum(stretch.waited for stretch in group)
    return [Stretch("both", first.start, last.end, waited, first.first, last.last)]


def _exact(blocks: Blocks) -> Iterator[Stretch]:
    """Yield the stretches between waits, and the waits."""
    begins, ends = blocks.begins, blocks.starts + blocks.lengths
    late = np.flatnonzero(blocks.waits).tolist()
    for first, after in zip([0, *late], [*late, len(ends)], strict=True):
        start, waited = int(begins[first]), int(blocks.waits[first])
        if waited:
            yield Stretch("wait", start - waited, start, waited, first, first)
        yield Stretch("compute", start, int(ends[after - 1]), 0, first, after - 1)


def drawable(layers: Sequence[Blocks], most: int) -> tuple[int, list[list[Stretch]]]:
    """Cut the time of all layers into about `most` stretches, or one a layer if there are more layers.

    Returns
    -------
    the resolution, which is 1 if the stretches are exact, and the stretches of each layer.
    """
    exact = sum(1 + 2 * int(np.count_nonzero(blocks.waits)) for blocks in layers)
    most = max(most, len(layers))
    length = sum(blocks.lead + int(blocks.lengths.sum() + blocks.waits.sum()) for blocks in layers)
    resolution = 1 if exact <= most else max(2, length // most)
    while True:
        found = [stretches(blocks, resolution) for blocks in layers]
        if resolution == 1 or sum(map(len, found)) <= most:
            return resolution, found
        resolution *= 2
