"""A plan as Chrome trace events, which Perfetto and chrome://tracing draw: docs/trace.md.

Channels are processes and banks are threads. On each bank a layer is a slice, and in it lie its blocks and
waits; an arrow leads from the block that finished the data to the block that waited for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from overlapim_files import InputError
from solver.account.blocks import Blocks, BlockWait, Stretch, layer_blocks, stretches
from solver.account.plan import Account, LayerAccount, runs
from solver.schedule.interval import bank_classes
from solver.timing.timeline import LayerTimes

MOST_BYTES = 50_000_000
"""Bytes that a trace may take."""

MOST_CYCLES = 2**53
"""Larger times are no exact numbers for those who read traces."""

EACH_BLOCK, RUNS = 0, 1
"""Resolutions that lose nothing: a slice for each block, and one for all blocks between two waits."""

COARSER = (16, 12, 8, 6, 4, 2, 0)
"""Halvings of the latency that further resolutions are."""

LEAST_BYTES = 90
"""No slice takes fewer."""

Key = tuple[int, int]
Grouping = Callable[[int, int, int], Key]
"""Says which banks share a thread, given a channel, a bank and its class
(that of the banks which serve the same layers): those of equal (channel or -1, anything)."""


def _apart(channel: int, bank: int, alike: int) -> Key:
    return channel, bank


def _alike(channel: int, bank: int, alike: int) -> Key:
    return channel, alike


def _alike_anywhere(channel: int, bank: int, alike: int) -> Key:
    return -1, alike


ALIKE = {
    _alike: "the banks of a channel that serve the same layers share a thread",
    _alike_anywhere: "all banks that serve the same layers share a thread",
}


@dataclass(frozen=True)
class Track:
    """A thread of the trace: banks that do the same at all times."""

    channel: int
    banks: tuple[int, ...]

    @property
    def name(self) -> str:
        """The banks in words."""
        parts = [str(a) if a == b else f"{a}-{b}" for a, b in runs(self.banks)]
        more = f" and {len(self.banks):,} in all" if len(parts) > 8 else ""
        return f"bank{'s' * (len(self.banks) > 1)} {', '.join(parts[:8])}{more}"

    @property
    def process(self) -> str:
        """The channel in words."""
        return "all channels" if self.channel < 0 else f"channel {self.channel}"


Tracks = list[tuple[Track, list[int]]]
"""Threads, each with the layers that its banks serve."""


def _tracks(account: Account, grouping: Grouping) -> Tracks:
    """Return the threads of all banks that are used."""
    classes = bank_classes([layer.banks for layer in account.layers])
    layers: list[list[int]] = [[] for _ in range(int(classes.max()) + 1)]
    for layer in account.layers:
        for alike in np.flatnonzero(np.bincount(classes[layer.banks])).tolist():
            layers[alike].append(layer.index)
    banks: dict[Key, list[int]] = {}
    width = account.hardware.banks_per_channel
    for bank, alike in enumerate(classes.tolist()):
        if layers[alike]:
            banks.setdefault(grouping(bank // width, bank, alike), []).append(bank)
    return [(Track(key[0], tuple(own)), layers[classes[own[0]]]) for key, own in banks.items()]


@dataclass(frozen=True)
class Trace:
    """The trace of a plan at a level of detail.

    Attributes
    ----------
    resolution : `EACH_BLOCK`, `RUNS`, or cycles below which waits are not told apart from work.
    grouping : which banks share a thread.
    tracks : the threads that this makes.
    """

    account: Account
    resolution: int
    grouping: Grouping
    tracks: Tracks

    @cached_property
    def _of_layer(self) -> list[list[Track]]:
        """For each layer the tracks of its banks."""
        found: list[list[Track]] = [[] for _ in self.account.layers]
        for track, layers in self.tracks:
            for i in layers:
                found[i].append(track)
        return found

    @property
    def merged(self) -> tuple[str, ...]:
        """What was put together for the file to stay small enough, in words."""
        notes = [ALIKE[self.grouping]] if self.grouping in ALIKE else []
        if self.resolution == RUNS:
            notes.append("blocks that run without a wait between them are one slice")
        elif self.resolution > RUNS:
            notes.append(f"blocks and waits shorter than {self.resolution:,} cycles are put together")
        return tuple(notes)

    def fits(self, limit: int) -> bool:
        """Whether the file is smaller than the limit; rows and arrows are counted generously."""
        size = 10_000 + 600 * len(self.tracks)
        for layer in self.account.layers:
            copies, blocks = len(self._of_layer[layer.index]), layer_blocks(layer.times)
            if self.resolution == EACH_BLOCK and size + copies * len(blocks.starts) * LEAST_BYTES > limit:
                return False
            for body in self._slices(layer, blocks):
                size += copies * (len(body) + 40)
                if size > limit:
                    return False
            size += 400 * (len(layer.waits) + 1)
        return size <= limit

    def lines(self) -> Iterator[str]:
        """Yield the text of the file, line by line."""
        yield f'{{"displayTimeUnit":"ns","otherData":{json.dumps(self._about())},"traceEvents":[\n'
        yield ",\n".join(self._names())
        for layer in self.account.layers:
            bodies = list(self._slices(layer, layer_blocks(layer.times)))
            for track in self._of_layer[layer.index]:
                ids = self._ids(track)
                yield "".join(f",\n{body},{ids}}}" for body in bodies)
        for arrow in self._arrows():
            yield f",\n{arrow}"
        yield "\n]}\n"

    def _about(self) -> dict[str, Any]:
        account = self.account
        return {
            "network": account.problem.network.name,
            "hardware": account.hardware.name,
            "scale": f"1 microsecond of the trace is 1 cycle, which takes {account.hardware.clock_ns:g} ns",
            "latency": account.latency,
            "bottleneck": account.bottleneck,
            "merged": "; ".join(self.merged) or "nothing",
        }

    def _ids(self, track: Track) -> str:
        """Return process and thread of a track; 0 means something else to Perfetto, so they begin at 1."""
        return f'"pid":{self.account.hardware.banks + track.channel + 2},"tid":{track.banks[0] + 1}'

    def _names(self) -> Iterator[str]:
        processes: set[int] = set()
        for track, _ in self.tracks:
            ids, (pid, tid) = self._ids(track), (track.channel, track.banks[0])
            if pid not in processes:
                processes.add(pid)
                yield _named("process_name", "name", track.process, ids)
                yield _named("process_sort_index", "sort_index", pid, ids)
            yield _named("thread_name", "name", track.name, ids)
            yield _named("thread_sort_index", "sort_index", tid, ids)

    def _slices(self, layer: LayerAccount, blocks: Blocks) -> Iterator[str]:
        """Yield the slices of a layer on one track, as JSON objects without their ends."""
        facts = {"layer": layer.name, "banks": len(layer.banks), "waited": layer.waited}
        yield _slice(layer.name, "layer", layer.start, layer.end, facts)
        waits = {wait.block: wait for wait in layer.waits}
        pieces = _blocks(blocks) if self.resolution == EACH_BLOCK else stretches(blocks, self.resolution)
        for piece in pieces:
            if piece.kind == "wait":
                told = self._waited(layer, waits[piece.first])
                yield _slice("wait", "wait", piece.start, piece.end, told)
            else:
                yield _slice(*_computed(layer, piece))

    def _waited(self, layer: LayerAccount, wait: BlockWait) -> dict[str, Any]:
        producer = self.account.layers[wait.producer]
        return {
            "layer": layer.name,
            "block": wait.block + 1,
            "tile": tile(layer.times, wait.block),
            "for": producer.name,
            "for block": wait.producer_block + 1,
            "for tile": tile(producer.times, wait.producer_block),
        }

    def _arrows(self) -> Iterator[str]:
        """Yield arrows to blocks whose waits are drawn, and to those that data lets a layer begin with."""
        number = 0
        transfer = self.account.hardware.cycles.transfer
        for layer in self.account.layers:
            blocks = layer_blocks(layer.times)
            begun = layer.begins_after or layer.just_in_time
            drawn = {begun.block} if begun else set()
            if self.resolution > RUNS:
                drawn |= {x.first for x in stretches(blocks, self.resolution) if x.kind == "wait"}
            else:
                drawn |= {wait.block for wait in layer.waits}
            for wait in (*([begun] if begun else []), *layer.waits):
                if wait.block in drawn:
                    start = int(blocks.starts[wait.block])
                    ends = (
                        (wait.producer, start - transfer - 1, "s", ""),
                        (layer.index, start, "f", ',"bp":"e"'),
                    )
                    for index, time, phase, binding in ends:
                        ids = self._ids(self._of_layer[index][0])
                        yield (
                            f'{{"ph":"{phase}","name":"data","cat":"data","id":{number},"ts":{time}'
                            f"{binding},{ids}}}"
                        )
                    number += 1


def trace(account: Account, limit: int = MOST_BYTES) -> Trace:
    """Return the trace of a plan with as much detail as the limit on its bytes allows.

    Raises
    ------
    InputError
        if the latency is more than a trace can hold, or there are too many banks and layers for any trace.
    """
    if account.latency > MOST_CYCLES:
        raise InputError(f"{account.latency} cycles, and a trace can tell {MOST_CYCLES} at most")
    coarser = [max(account.latency >> halvings, RUNS + 1) for halvings in COARSER]
    levels = {_apart: [EACH_BLOCK, RUNS], **{alike: [EACH_BLOCK, RUNS, *coarser] for alike in ALIKE}}
    for grouping, resolutions in levels.items():
        tracks = _tracks(account, grouping)
        for resolution in resolutions:
            found = Trace(account, resolution, grouping, tracks)
            if found.fits(limit):
                return found
    raise InputError(f"too many layers on too many banks for a trace of {limit:,} bytes")


def tile(times: LayerTimes, block: int) -> str:
    """Return which tile a block, counted from 0 in the order of execution, works on: its loops' digits."""
    number = block if times.order is None else int(times.order[block])
    digits = []
    for loop, bound in reversed(list(zip(times.profile.temporal, times.profile.block_shape, strict=False))):
        number, digit = divmod(number, bound)
        digits.append(f"{loop.dim}={digit}")
    return " ".join(reversed(digits)) or "all"


def _blocks(blocks: Blocks) -> Iterator[Stretch]:
    """Yield every block and every wait."""
    ends = blocks.starts + blocks.lengths
    columns = (blocks.begins.tolist(), ends.tolist(), blocks.waits.tolist())
    for i, (start, end, waited) in enumerate(zip(*columns, strict=True)):
        if waited:
            yield Stretch("wait", start - waited, start, waited, i, i)
        yield Stretch("compute", start, end, 0, i, i)


def _computed(layer: LayerAccount, piece: Stretch) -> tuple[str, str, int, int, dict[str, Any]]:
    """Return name, category, start, end and arguments of a slice of work."""
    tiles = [tile(layer.times, block) for block in dict.fromkeys((piece.first, piece.last))]
    one = piece.first == piece.last
    name = f"block {piece.first + 1}" if one else f"blocks {piece.first + 1}-{piece.last + 1}"
    facts = {"layer": layer.name, "tile": " to ".join(tiles)}
    if piece.kind == "both":
        return name, "merged", piece.start, piece.end, facts | {"waited": piece.waited}
    return name, "compute", piece.start, piece.end, facts


def _slice(name: str, category: str, start: int, end: int, facts: dict[str, Any]) -> str:
    """Return a complete event as a JSON object that lacks its process, its thread and its end."""
    event = {"ph": "X", "name": name, "cat": category, "ts": start, "dur": end - start, "args": facts}
    return json.dumps(event, separators=(",", ":"))[:-1]


def _named(what: str, key: str, value: str | int, ids: str) -> str:
    facts = json.dumps({key: value}, separators=(",", ":"))
    return f'{{"ph":"M","name":"{what}","args":{facts},{ids}}}'
