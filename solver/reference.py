"""The reference simulator: executes every mapped layer loop by loop and stamps every output element.

It is slow and plain on purpose. Nothing here is derived: a clock advances through loads, steps and drains,
and a block waits for the stamps of the very elements that it reads. The closed forms are tested against it,
so it uses none of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt

from hw.hardware import Energy, Hardware
from models.network import AXES, DIMS, OUTPUT_DIMS, AxisName, Dim, Flatten, Layer, Network, Operand, Terms
from overlapim_files import InputError
from solver.timing.mapping import Kind, Loop, Mapping

Stamps = npt.NDArray[np.int64]
ElementPlaces = npt.NDArray[np.int64]
OuterDigits = Sequence[int]
"""Digits of the outermost temporal loops, outermost first; the others run over all of theirs."""


@dataclass(frozen=True, eq=False)
class SimulatedLayer:
    """When one layer really runs, in cycles.

    Attributes
    ----------
    start, end : when its banks are taken, so that all is ready for the first block when that starts, and the
        last stamp of an output.
    block_starts : in the order of execution.
    needs : for each block, in the order of execution, when all that it reads may be used, or 0.
    finish : stamp of each output element; shape (n, ch, h, w).
    """

    start: int
    end: int
    block_starts: list[int]
    needs: list[int]
    finish: Stamps


def simulate(
    network: Network,
    hardware: Hardware,
    mappings: Sequence[Mapping],
    releases: Sequence[int],
    orders: Sequence[Sequence[int] | npt.NDArray[np.int64] | None],
    on_layer: Callable[[int, SimulatedLayer], None] | None = None,
) -> list[SimulatedLayer]:
    """Execute a network; all sequences are in the order of `network.layers`.

    Parameters
    ----------
    releases : no layer starts earlier than this.
    orders : for each layer None or a permutation of its blocks, counted from 0.
    on_layer : called with the position of each layer and its times as soon as they are known.

    Raises
    ------
    InputError
        if an order is not a permutation of the layer's blocks, or its blocks do not finish what they work on.
    """
    done: dict[str, SimulatedLayer] = {}
    for i in network.topological:
        layer = network.layers[i]
        run = _Run(layer, mappings[i], hardware)
        readers = [
            _OperandReader(_reader(operand, run.coordinates, done[operand.producer].finish), residual)
            for operand, residual in zip(layer.operands, _residuals(layer), strict=True)
            if operand.producer in done
        ]
        order = orders[i]
        done[layer.name] = run.execute(
            readers, releases[i], None if order is None else [int(k) for k in order]
        )
        if on_layer is not None:
            on_layer(i, done[layer.name])
    return [done[layer.name] for layer in network.layers]


def simulated_energy(layer: Layer, mapping: Mapping, hardware: Hardware) -> float:
    """Execute one layer that never waits and return the picojoules of all that it does, standby aside."""
    run, costs = _Run(layer, mapping, hardware), _Energies(layer, mapping, hardware)
    run.execute([], 0, None)
    done = run.needed
    return (
        costs.weights_anew()
        + done["opens"] * costs.opening()
        + done["loads"] * costs.loading()
        + done["steps"] * costs.step()
        + done["drains"] * costs.draining(run.reads_back)
    )


class TouchedCoordinates:
    """Which coordinates of each dim are touched while the outermost temporal loops stand at given digits."""

    def __init__(self, layer: Layer, mapping: Mapping) -> None:
        self.layer = layer
        self.temporal = [loop for loop in mapping.loops if loop.kind == "temporal"]
        self.loops: dict[Dim, list[tuple[int, int, int]]] = {dim: [] for dim in DIMS}
        """For each dim, innermost first, (bound, stride, depth of a temporal loop from 1 or 0 if spatial)."""
        depth = len(self.temporal)
        stride = dict.fromkeys(DIMS, 1)
        for loop in reversed(mapping.loops):
            temporal = loop.kind == "temporal"
            self.loops[loop.dim].append((loop.bound, stride[loop.dim], depth if temporal else 0))
            stride[loop.dim] *= loop.bound
            depth -= temporal
        self._touched: dict[Hashable, tuple[int, ...]] = {}

    def key(self, dim: Dim, digits: OuterDigits) -> tuple[int, ...]:
        """Return the digits that decide what is touched in a dim; -1 for a loop that runs over all."""
        return tuple([digits[d - 1] if 0 < d <= len(digits) else -1 for _, _, d in self.loops[dim]])

    def touched(self, dim: Dim, digits: OuterDigits) -> tuple[int, ...]:
        """Return the coordinates below the bound that some lane of some step has in a dim."""
        key = self.key(dim, digits)
        found = self._touched.get((dim, key))
        if found is None:
            choices = [
                [digit * stride] if digit >= 0 else [d * stride for d in range(bound)]
                for digit, (bound, stride, _) in zip(key, self.loops[dim], strict=True)
            ]
            coordinates = sorted(map(sum, itertools.product(*choices)))
            found = tuple(x for x in coordinates if x < self.layer.bound(dim))
            self._touched[dim, key] = found
        return found

    def form_key(self, terms: Terms, digits: OuterDigits) -> Hashable:
        """Return the digits that decide which values a form takes."""
        return tuple([self.key(dim, digits) for dim in terms])

    def form_values(self, terms: Terms, offset: int, digits: OuterDigits) -> set[int]:
        """Return the values that a form takes."""
        products = [[c * x for x in self.touched(dim, digits)] for dim, c in terms.items()]
        return {sum(point) + offset for point in itertools.product(*products)}


class _Run:
    """One layer that is executed: its clock, the digits of its temporal loops (from 1) and its stamps."""

    def __init__(self, layer: Layer, mapping: Mapping, hardware: Hardware) -> None:
        self.layer = layer
        self.coordinates = TouchedCoordinates(layer, mapping)
        temporal = self.coordinates.temporal
        self.bounds = [0, *(loop.bound for loop in temporal)]
        costs = _Costs(layer, mapping, hardware)
        self.load_depth = costs.load_depth
        self.drain_depth = max((i for i, x in enumerate(temporal, 1) if x.dim in OUTPUT_DIMS), default=0)
        self.open_depth = costs.open_depth
        self.block_depth, blocks = 0, 1
        for depth in range(1, self.load_depth + 1):
            blocks *= self.bounds[depth]
            if blocks <= hardware.sync_blocks:
                self.block_depth = depth
        self.transfer = hardware.cycles.transfer
        self.step_cycles = costs.cycles("multiply") + costs.cycles("add")
        self.weight_cycles = costs.weights()
        self.open_cycles = hardware.cycles.open or 0
        self.load_cycles = costs.load()
        self.reads_back = any(loop.dim not in OUTPUT_DIMS for loop in temporal[: self.drain_depth])
        self.drain_cycles = costs.drain(self.reads_back)

        self.clock = self.lead = 0
        self.digits = [0] * len(self.bounds)
        self.readers: list[_OperandReader] = []
        self.block_starts: list[int] = []
        self.needs: list[int] = []
        self.finish: Stamps = np.full(layer.shape, -1, np.int64)
        self.counts = dict.fromkeys(("opens", "loads", "steps", "drains"), 0)
        self.needed = self.counts
        """What has been done up to the last drain of an output."""
        self._outputs: dict[Hashable, tuple[ElementPlaces, ElementPlaces, ElementPlaces, ElementPlaces]] = {}

    def execute(self, readers: list[_OperandReader], release: int, order: list[int] | None) -> SimulatedLayer:
        """Run all blocks, in the loops' own order or the given one."""
        self.readers, self.clock = readers, release + self.weight_cycles
        self.lead = -release
        if order is None:
            self.iteration(0)
        else:
            for block in self.permuted(order):
                self.digits[1 : self.block_depth + 1] = block
                self.iteration(self.block_depth)
        start = self.block_starts[0] - self.lead
        return SimulatedLayer(start, int(self.finish.max()), self.block_starts, self.needs, self.finish)

    def permuted(self, order: list[int]) -> list[tuple[int, ...]]:
        """Return the digits of the blocks in the given order."""
        outer = self.coordinates.temporal[: self.block_depth]
        blocks = list(itertools.product(*(range(loop.bound) for loop in outer)))
        if sorted(order) != list(range(len(blocks))):
            raise InputError(
                f"layer '{self.layer.name}': order is not a permutation of its {len(blocks)} blocks"
            )
        if any(loop.dim not in OUTPUT_DIMS for loop in outer):
            raise InputError(f"layer '{self.layer.name}': order, but a reduction loop is outside the blocks")
        if self.open_depth is not None and self.open_depth < self.block_depth:
            raise InputError(f"layer '{self.layer.name}': order, but a row is opened outside the blocks")
        return [blocks[k] for k in order]

    def iteration(self, depth: int) -> None:
        """Run one iteration of the temporal loop of a depth; depth 0 is the whole layer."""
        if depth == self.block_depth:
            self.wait()
        if depth == self.open_depth:
            self.clock += self.open_cycles
            self.counts["opens"] += 1
        if depth == self.load_depth:
            self.clock += self.load_cycles
            self.counts["loads"] += 1
        if depth == len(self.bounds) - 1:
            self.clock += self.step_cycles
            self.counts["steps"] += 1
        else:
            for digit in range(self.bounds[depth + 1]):
                self.digits[depth + 1] = digit
                self.iteration(depth + 1)
        if depth == self.drain_depth:
            self.drain()

    def wait(self) -> None:
        """Wait at the beginning of a block until all that it reads may be used."""
        if not self.block_starts:
            # What has been done so far since the release needs no data, so it is done just in time.
            self.lead += self.clock
        digits = self.digits[1 : self.block_depth + 1]
        stamp = max((reader.read(digits) for reader in self.readers if self.reads(reader, digits)), default=0)
        need = stamp + self.transfer if stamp else 0
        self.clock = max(self.clock, need)
        self.block_starts.append(self.clock)
        self.needs.append(need)

    def reads(self, reader: _OperandReader, digits: OuterDigits) -> bool:
        """Whether a block reads an operand: idle ones do not, and residuals only the last to add."""
        if not reader.residual:
            return all(self.coordinates.touched(dim, digits) for dim in DIMS)
        for digit, loop in zip(digits, self.coordinates.temporal, strict=False):
            if loop.dim not in OUTPUT_DIMS and digit < loop.bound - 1:
                return False
        return all(self.coordinates.touched(dim, digits) for dim in OUTPUT_DIMS)

    def drain(self) -> None:
        """Drain the outputs of the current digits: they are finished, unless more is added to them later."""
        self.clock += self.drain_cycles
        self.counts["drains"] += 1
        digits = self.digits[1 : self.drain_depth + 1]
        key = tuple([self.coordinates.key(dim, digits) for dim in OUTPUT_DIMS])
        if key not in self._outputs:
            n, g, k, p, q = (self.coordinates.touched(dim, digits) for dim in OUTPUT_DIMS)
            channels = [i * self.layer.bound("K") + j for i in g for j in k]
            self._outputs[key] = _open(n, channels, p, q)
        if self.finish[self._outputs[key]].size:
            self.finish[self._outputs[key]] = self.clock
            self.needed = dict(self.counts)


def _open(*coordinates: Sequence[int]) -> tuple[ElementPlaces, ElementPlaces, ElementPlaces, ElementPlaces]:
    n, ch, h, w = (np.array(x, np.int64) for x in coordinates)
    return n[:, None, None, None], ch[:, None, None], h[:, None], w


_Reader = Callable[[OuterDigits], int]
"""Given the digits of a block, the latest stamp of what it reads of one operand; 0 if that is nothing."""


@dataclass(frozen=True)
class _OperandReader:
    """How one operand is read, and whether it is added to the results."""

    read: _Reader
    residual: bool


def _reader(operand: Operand, coordinates: TouchedCoordinates, finish: Stamps) -> _Reader:
    return (_separate if operand.flatten is None else _flattened)(operand, coordinates, finish)


def walk_windows(operand: Operand, axis: AxisName, value: int, extent: int) -> range:
    """Return the coordinates of a producer axis that a value of the form leads to, window by window."""
    low = high = value
    windows = operand.axes[axis].windows
    for i, window in enumerate(windows):
        last = i == len(windows) - 1
        read = extent if last or window.extent is None else window.extent
        if window.all:
            low, high = 0, read - 1
        elif window.block is not None:
            low, high = low - low % window.block, high - high % window.block + window.block - 1
        elif window.divide is not None:
            low, high = _quotients(low, high, window.divide, window.keep or 1)
        elif window.every is not None:
            numbered = [x for x in range(low, high + 1) if x % window.every == window.first]
            low, high = (numbered[0] // window.every, numbered[-1] // window.every) if numbered else (0, -1)
        elif window.scale is not None and window.shift is not None and window.width is not None:
            low, high = (
                low * window.scale + window.shift,
                high * window.scale + window.shift + window.width - 1,
            )
        low, high = max(low, 0), min(high, read - 1)
        if low > high:
            return range(0)
    return range(low, min(high, extent - 1) + 1)


def _quotients(low: int, high: int, divisor: int, keep: int) -> tuple[int, int]:
    """Return the ends of an interval as numbers (a, b, c) without b; c is below `keep`, b below `divisor`.

    If (a, b) is not the same at both ends, c runs through all its values.
    """
    (outer, inner), (outer_end, inner_end) = divmod(low, keep), divmod(high, keep)
    if outer != outer_end:
        inner, inner_end = 0, keep - 1
    return outer // divisor * keep + inner, outer_end // divisor * keep + inner_end


def _separate(operand: Operand, coordinates: TouchedCoordinates, finish: Stamps) -> _Reader:
    """Return the reader of an operand that has one form for each axis."""
    known: dict[Hashable, Sequence[int]] = {}
    latest: dict[Hashable, int] = {}

    def axis_reads(axis: AxisName, extent: int, digits: OuterDigits) -> Sequence[int]:
        access = operand.axes[axis]
        key = axis, coordinates.form_key(access.terms, digits)
        if key not in known:
            values = coordinates.form_values(access.terms, access.offset, digits)
            valid = [i for i in values if 0 <= i < (access.extent or extent)]
            known[key] = sorted({x for i in valid for x in walk_windows(operand, axis, i, extent)})
        return known[key]

    def read(digits: OuterDigits) -> int:
        key = tuple([coordinates.form_key(operand.axes[axis].terms, digits) for axis in AXES])
        if key not in latest:
            reads = [
                axis_reads(axis, extent, digits) for axis, extent in zip(AXES, finish.shape, strict=True)
            ]
            latest[key] = int(finish[_open(*reads)].max()) if all(reads) else 0
        return latest[key]

    return read


def _flattened(operand: Operand, coordinates: TouchedCoordinates, finish: Stamps) -> _Reader:
    """Return the reader of an operand of which one form decides the coordinates on the axes ch, h and w."""
    form = operand.flatten
    assert isinstance(form, Flatten)
    batch = operand.axes.n
    latest: dict[Hashable, int] = {}
    elements: dict[tuple[Hashable, int], int] = {}

    def element(value: int, images: list[int]) -> int:
        """Return the latest stamp of what one value of the form reads."""
        rows, columns = form.shape[1:]
        place = value // (rows * columns), value // columns % rows, value % columns
        boxes = [
            walk_windows(operand, axis, i, extent)
            for axis, i, extent in zip(AXES[1:], place, finish.shape[1:], strict=True)
        ]
        if not all(boxes):
            return 0
        ch, h, w = (slice(box.start, box.stop) for box in boxes)
        return int(finish[images, ch, h, w].max())

    def read(digits: OuterDigits) -> int:
        batch_key = coordinates.form_key(batch.terms, digits)
        key = batch_key, coordinates.form_key(form.terms, digits)
        if key in latest:
            return latest[key]
        first = coordinates.form_values(batch.terms, batch.offset, digits)
        first = {i for i in first if 0 <= i < (batch.extent or finish.shape[0])}
        images = sorted({x for i in first for x in walk_windows(operand, "n", i, finish.shape[0])})
        size = form.shape[0] * form.shape[1] * form.shape[2]
        values = [i for i in coordinates.form_values(form.terms, form.offset, digits) if 0 <= i < size]
        if not images:
            values = []
        for i in values:
            if (batch_key, i) not in elements:
                elements[batch_key, i] = element(i, images)
        latest[key] = max((elements[batch_key, i] for i in values), default=0)
        return latest[key]

    return read


def _bundles(layer: Layer) -> list[list[int]]:
    """Return the positions of the operands of each sum or concatenation, and of each operand by itself."""
    bundles: dict[tuple[str, str | int], list[int]] = {}
    for i, operand in enumerate(layer.operands):
        name: tuple[str, str | int] = ("alone", i)
        if operand.sum is not None:
            name = ("sum", operand.sum)
        elif operand.concat is not None:
            name = ("concat", operand.concat)
        bundles.setdefault(name, []).append(i)
    return list(bundles.values())


def _residuals(layer: Layer) -> list[bool]:
    """Return which operands are added to the results: the reduction depends on others, and not on them."""
    reducing = {
        i
        for i, operand in enumerate(layer.operands)
        if any(dim in form.terms and layer.bound(dim) > 1 for _, form in operand.forms() for dim in "CRS")
    }
    multiplied = [bundle for bundle in _bundles(layer) if reducing.intersection(bundle)]
    kept = {i for bundle in multiplied for i in bundle} if multiplied else set(range(len(layer.operands)))
    return [i not in kept for i in range(len(layer.operands))]


class _Costs:
    """What loading, draining and preparing cost one mapped layer, counted coordinate by coordinate."""

    def __init__(self, layer: Layer, mapping: Mapping, hardware: Hardware) -> None:
        self.layer, self.mapping, self.hardware = layer, mapping, hardware
        self.bits = layer.bits or hardware.bits
        residual = _residuals(layer)
        distinct: dict[str | int, int] = {}
        for i, operand in enumerate(layer.operands):
            distinct.setdefault(operand.concat or i, i)
        self.loaded = [layer.operands[i] for i in distinct.values() if not residual[i]]
        self.added = [layer.operands[i] for i in distinct.values() if residual[i]]
        temporal = [loop for loop in mapping.loops if loop.kind == "temporal"]
        reading = {
            dim
            for operand, own in zip(layer.operands, residual, strict=True)
            if not own
            for _, form in operand.forms()
            for dim in form.terms
        }
        innermost = max((i for i, loop in enumerate(temporal, 1) if loop.dim in reading), default=0)
        self.load_depth = innermost if mapping.load is None else mapping.load
        self.weighted = len([bundle for bundle in _bundles(layer) if not residual[bundle[0]]]) == 1
        self.open_depth = self._open_depth(temporal)

    def _open_depth(self, temporal: list[Loop]) -> int | None:
        """Return the least depth inside which one row holds all weights; None if no rows are opened."""
        most = self.hardware.steps_per_row
        if most is None or not self.weighted:
            return None
        for depth in range(len(temporal) + 1):
            steps = 1
            for loop in temporal[depth:]:
                steps *= loop.bound if loop.dim in "GKCRS" else 1
            if steps <= most:
                return depth
        return None

    def _reached(self, dim: Dim, free: Callable[[Kind, int], bool]) -> list[int]:
        """Return the coordinates of a dim while the loops that are free run and all others stand at 0.

        `free` is given the kind of a loop and, for a temporal one, its depth from 1.
        """
        coordinates, stride = [0], 1
        depth = sum(loop.kind == "temporal" for loop in self.mapping.loops)
        for loop in reversed(self.mapping.loops):
            if loop.dim == dim:
                if free(loop.kind, depth):
                    coordinates = [x + digit * stride for x in coordinates for digit in range(loop.bound)]
                stride *= loop.bound
            depth -= loop.kind == "temporal"
        return [x for x in coordinates if x < self.layer.bound(dim)]

    def _elements(self, operand: Operand, free: Callable[[Kind, int], bool]) -> int:
        count = 1
        for _, form in operand.forms():
            values = [[c * x for x in self._reached(dim, free)] for dim, c in form.terms.items()]
            count *= len({sum(point) for point in itertools.product(*values)})
        return count

    def _bus(self, bits: int) -> int:
        """Return the cycles in which the banks of a channel take bits from its bus."""
        banks = 1
        for loop in self.mapping.loops:
            banks *= loop.bound if loop.kind == "bank" else 1
        return _ceil(bits, banks * self.hardware.bits_per_cycle.load)

    def _tile(self, operand: Operand) -> tuple[int, int]:
        """Return the elements of a tile that one lane reads, and that the banks of one channel do."""
        depth = self.load_depth
        lane = self._elements(operand, lambda kind, at: kind == "temporal" and at > depth)
        channel = self._elements(
            operand, lambda kind, at: at > depth if kind == "temporal" else kind != "channel"
        )
        return lane, channel

    def _weights(self) -> tuple[int, int]:
        """Return the distinct weights that the banks of one channel use, and those that a lane holds."""
        used = held = 1
        for dim in ("G", "K", "C", "R", "S"):
            used *= len(self._reached(dim, lambda kind, _: kind != "channel"))
            for loop in self.mapping.loops:
                held *= loop.bound if loop.dim == dim and loop.kind == "temporal" else 1
        return used, held

    def cycles(self, operation: str) -> int:
        """Return the cycles of an operation, those of the layer's own bits if it states any."""
        own: int | None = getattr(self.layer.bits, operation, None)
        usual: int = getattr(self.hardware.cycles, operation)
        return usual if own is None else own

    def load(self) -> int:
        """Return the cycles of loading one tile of every operand and adding up the operands of each sum."""
        bits, cycles = self.bits.activation, self.hardware.cycles
        write = 0 if self.hardware.inputs.store == "buffer" else cycles.row_write
        time = cycles.load
        sums: dict[str, list[int]] = {}
        for operand in self.loaded:
            lane, channel = self._tile(operand)
            time += self._bus(channel * bits) + bits * write * lane
            if operand.sum is not None:
                sums.setdefault(operand.sum, []).append(lane)
        return time + sum((len(lanes) - 1) * self.cycles("add") * max(lanes) for lanes in sums.values())

    def drain(self, read_back: bool) -> int:
        """Return the cycles of reducing results and draining them; partial sums may be read back."""
        reduced: dict[Kind, int] = {"temporal": 1, "column": 1, "bank": 1, "channel": 1}
        outputs = 1
        for loop in self.mapping.loops:
            if loop.dim not in OUTPUT_DIMS:
                reduced[loop.kind] *= loop.bound
            elif loop.kind == "column":
                outputs *= loop.bound
        bits, t, bw = self.bits, self.hardware.cycles, self.hardware.bits_per_cycle
        move, add = self.cycles("move"), self.cycles("add")
        cycles = t.drain + self._residual() + self.layer.post * self.cycles("post")
        if self.hardware.reduction == "host":
            return cycles + _ceil(outputs * reduced["column"] * bits.accumulator, bw.drain)
        partial = outputs * bits.accumulator
        cycles += _halvings(reduced["column"]) * (move + add)
        cycles += _halvings(reduced["bank"]) * (_ceil(partial, bw.bank) + add)
        cycles += _halvings(reduced["channel"]) * (_ceil(partial, bw.channel) + add)
        cycles += _ceil(outputs * bits.activation, bw.drain)
        return cycles + (_ceil(partial, bw.drain) if read_back else 0)

    def _residual(self) -> int:
        """Return the cycles of adding the residuals to the outputs of one drain."""
        bits = self.bits.activation
        write = 0 if self.hardware.inputs.store == "buffer" else self.hardware.cycles.row_write
        time = 0
        for operand in self.added:
            elements = self._elements(operand, lambda kind, _: kind in ("column", "bank"))
            time += self._bus(elements * bits) + bits * write + self.cycles("add")
        return time

    def weights(self) -> int:
        """Return the cycles of writing the weights, where they are loaded anew."""
        if self.hardware.weights != "reload" or not self.weighted:
            return 0
        bits, (used, held) = self.bits.weight, self._weights()
        return self._bus(used * bits) + bits * held * self.hardware.cycles.row_write


class _Energies(_Costs):
    """What single events of one mapped layer take, in picojoules, counted bank by bank and lane by lane."""

    def __init__(self, layer: Layer, mapping: Mapping, hardware: Hardware) -> None:
        super().__init__(layer, mapping, hardware)
        self.costs = hardware.energy or Energy()
        self.written = 0.0 if hardware.inputs.store == "buffer" else self.costs.row_write
        self.width = {
            (kind, output): math.prod(
                loop.bound for loop in mapping.loops if (loop.kind, loop.dim in OUTPUT_DIMS) == (kind, output)
            )
            for kind in ("channel", "bank", "column")
            for output in (True, False)
        }
        self.channels, banks, self.lanes = (
            self.width[kind, True] * self.width[kind, False] for kind in ("channel", "bank", "column")
        )
        self.banks = self.channels * banks

    def step(self) -> float:
        """Return the energy of one step of all banks."""
        return self.banks * (self.costs.step + self.lanes * self.costs.mac)

    def opening(self) -> float:
        """Return the energy of opening one row in each bank."""
        return self.banks * self.costs.open

    def loading(self) -> float:
        """Return the energy of loading one tile."""
        bits = self.bits.activation
        energy, sums = 0.0, dict[str, list[int]]()
        for operand in self.loaded:
            lane, channel = self._tile(operand)
            energy += (
                self.channels * channel * bits * self.costs.load + self.banks * bits * lane * self.written
            )
            if operand.sum is not None:
                sums.setdefault(operand.sum, []).append(lane)
        for lanes in sums.values():
            energy += self.banks * self.lanes * (len(lanes) - 1) * max(lanes) * self.costs.add
        return energy

    def draining(self, read_back: bool) -> float:
        """Return the energy of one drain, as results go up from lanes to banks, channels and out."""
        bits, costs, width = self.bits, self.costs, self.width
        results = width["column", True]
        energy, holders = 0.0, self.banks
        if self.hardware.reduction == "host":
            energy += holders * self.lanes * bits.accumulator * costs.drain
            holders = holders // width["bank", False] // width["channel", False]
        else:
            energy += holders * self.lanes * _halvings(width["column", False]) * (costs.move + costs.add)
            for kind, wire in (("bank", costs.bank), ("channel", costs.channel)):
                left = holders // width[cast(Kind, kind), False]
                energy += (holders - left) * results * (bits.accumulator * wire + costs.add)
                holders = left
            energy += holders * results * bits.activation * costs.drain
            energy += holders * results * bits.accumulator * costs.drain if read_back else 0.0
        energy += holders * results * self.layer.post * costs.post
        for operand in self.added:
            elements = self._elements(operand, lambda kind, _: kind in ("column", "bank"))
            energy += self.channels * elements * bits.activation * costs.load
            energy += self.banks * bits.activation * self.written + holders * results * costs.add
        return energy

    def weights_anew(self) -> float:
        """Return the energy of writing the weights, where they are loaded anew."""
        if self.hardware.weights != "reload" or not self.weighted:
            return 0.0
        bits, (used, held) = self.bits.weight, self._weights()
        return self.channels * used * bits * self.costs.load + self.banks * bits * held * self.costs.row_write


def _ceil(a: int, b: int | Fraction) -> int:
    return math.ceil(Fraction(a) / b)


def _halvings(n: int) -> int:
    """Return how often n must be halved, rounding up, to come down to 1."""
    count = 0
    while 2**count < n:
        count += 1
    return count
