"""Traces for aim_simulator: executed command by command, they do what the mapping does, in its order.

What is expected comes from a walk over all iterations, which shares nothing with the export.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from generators import draw_mapping
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import run
from hw.hardware import Hardware
from hw.library import load_hardware
from models.network import DIMS, REDUCTION_DIMS, Network
from overlapim_files import InputError, dump
from solver.export import aim
from solver.export.aim import AimLayer, aim_layers, aim_trace
from solver.schedule.plan import Plan, overlap_static
from solver.timing.mapping import WEIGHT_DIMS, Kind, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile

Json = dict[str, Any]
Digits = tuple[int, ...]

CHIP = load_hardware("gddr6-aim").model_copy(update={"channels": 5})


# Drawing


def draw_layer(rng: random.Random) -> Json:
    """Draw a convolution or a product of two activations, a residual and some work on the results."""

    def bounds(**most: int) -> dict[str, int]:
        return {
            dim: rng.randint(1, bound if bound > 9 or rng.random() < 0.6 else 1)
            for dim, bound in most.items()
        }

    kind = rng.choice(("convolution", "convolution", "scores", "apart"))
    if kind == "convolution":
        dims = bounds(N=2, G=2, K=30, P=5, Q=4, C=40, R=5, S=3)
        h, w = ({spot: rng.randint(1, 2), kernel: 1} for spot, kernel in ("PR", "QS"))
        axes = {"n": {"N": 1}, "ch": {"G": dims["C"], "C": 1}, "h": h, "w": w}
        operands = [_operand("x", **axes)]
    elif kind == "apart":  # Each factor is summed over a dim that the other does not have.
        dims = bounds(K=5, P=3, C=200, R=3)
        apart = [{"ch": {"C": 1}, "h": {"P": 1}}, {"ch": {"R": 1}}]
        rng.shuffle(apart)
        operands = [_operand("x", **apart[0]), _operand("y", w={"K": 1}, **apart[1])]
    else:
        dims = bounds(G=3, K=30, P=6, C=40)
        ch = {"G": dims["C"], "C": 1}
        operands = [_operand("x", ch=ch, h={"P": 1}), _operand("y", ch=ch, h={"K": 1})]
        rng.shuffle(operands)
    if math.prod(dims.values()) > 3000:
        return draw_layer(rng)
    if rng.random() < 0.3 and math.prod(dims[dim] for dim in REDUCTION_DIMS if dim in dims) > 1:
        operands.append(_operand("z", h={"P": 1}))
    return {"name": "one", "dims": dims, "operands": operands, "post": rng.choice((0, 0, 1, 3))}


def _operand(tensor: str, **axes: dict[str, int]) -> Json:
    return {"from": tensor, "axes": {axis: {"terms": terms} for axis, terms in axes.items()}}


def network(*layers: Json) -> Network:
    inputs = [{"name": name, "shape": [9, 4096, 200, 200]} for name in "xyz"]
    return Network.model_validate(
        {"format": "overlapim/network/1", "name": "drawn", "inputs": inputs, "layers": list(layers)}
    )


def planned(layer: Json, mapping: Mapping, chip: Hardware) -> tuple[Problem, Plan]:
    problem = Problem(network(layer), chip)
    plan = overlap_static(problem, [problem.profile(0, mapping)])
    assert plan is not None
    return problem, plan


def drawn(seed: int) -> tuple[Walk, AimLayer]:
    """Draw a layer that AiM can run, and return it in both forms."""
    rng = random.Random(seed)
    while True:
        with suppress(InputError):
            return _drawn(rng)


def _drawn(rng: random.Random) -> tuple[Walk, AimLayer]:
    chip = CHIP.with_weights(rng.choice(("static", "reload")))
    layer = draw_layer(rng)
    mapping = draw_mapping(rng, network(layer).layers[0], chip)
    problem, plan = planned(layer, mapping, chip)
    (exported,) = aim_layers(problem, plan)
    return Walk(plan.profiles[0], plan.banks[0].tolist(), chip), exported


# What a mapping does


Event = tuple[str, int]


@dataclass(frozen=True)
class Step:
    """A step that is not idle, at the coordinate of its first lane."""

    digits: Digits
    at: dict[str, int]

    def of(self, dims: Collection[str]) -> Digits:
        return tuple(self.at[dim] for dim in DIMS if dim in dims)


class Walk:
    """All iterations of a mapped layer, one after the other.

    Attributes
    ----------
    channels : the numbers of its channels; other methods take indices into them.
    """

    def __init__(self, profile: Profile, banks: list[int], hardware: Hardware) -> None:
        self.profile, self.layer, self.reload = profile, profile.layer, hardware.weights == "reload"
        self.loops = profile.mapping.loops
        self.channels = sorted({bank // 16 for bank in banks})
        self.numbers = [[bank % 16 for bank in sorted(banks) if bank // 16 == c] for c in self.channels]
        slow_first = sorted(self._of("channel"), key=lambda i: self.loops[i].dim not in REDUCTION_DIMS)
        self.places = self._digits(slow_first)
        groups, spread = self.layer.factors, self._of("bank")
        i = next(i for i, group in enumerate(groups) if not spread or "K" not in group[0].dims)
        self.forms = groups[i][0].terms
        second = groups[1 - i][0].dims if len(groups) == 2 else None
        self.product = second is not None
        self.held = WEIGHT_DIMS if second is None else {*REDUCTION_DIMS, *second}

    def _of(self, kind: Kind) -> list[int]:
        return [i for i, loop in enumerate(self.loops) if loop.kind == kind]

    def _digits(self, places: list[int]) -> list[dict[int, int]]:
        """Return all digits of the loops at some places of the mapping."""
        ranges = [range(self.loops[i].bound) for i in places]
        return [dict(zip(places, digits, strict=True)) for digits in itertools.product(*ranges)]

    def steps(self, channel: int, bank: int = 0) -> Iterator[Step]:
        """Yield the steps in which a bank of a channel is not idle."""
        here = self.places[channel] | self._digits(self._of("bank"))[bank]
        for digits in self._digits(self._of("temporal")):
            at = dict.fromkeys(DIMS, 0)
            for i, loop in enumerate(self.loops):
                at[loop.dim] = at[loop.dim] * loop.bound + (here | digits).get(i, 0)
            if all(at[dim] < self.layer.bound(dim) for dim in DIMS):
                yield Step(tuple(digits.values()), at)

    def tiles(self, channel: int, bank: int = 0) -> dict[Digits, list[Step]]:
        """Return the steps of a bank by the load before them."""
        found: dict[Digits, list[Step]] = defaultdict(list)
        for step in self.steps(channel, bank):
            found[step.digits[: self.profile.load_depth]].append(step)
        return found

    def entries(self, tile: list[Step]) -> int:
        """Return how many entries of the buffer the steps of a tile read."""
        return len({tuple(sum(c * step.at[dim] for dim, c in form) for form in self.forms) for step in tile})

    def does(self, channel: int) -> list[Event]:
        """Return what a channel does, without writing rows and without work on complete results."""
        load, drain = self.profile.load_depth, self.profile.drain_depth
        tiles, found, last = self.tiles(channel), [], None
        for step in self.steps(channel):
            begun: list[Event] = []
            if last is None or step.digits[:drain] != last[:drain]:
                found += [("read", 0)] if last is not None else []
                begun.append(("bias", 0))
            if last is None or step.digits[:load] != last[:load]:
                fill = ("load", self.entries(tiles[step.digits[:load]]))
                begun.insert(0 if load <= drain else len(begun), fill)
            found += [*begun, ("step", 0)]
            last = step.digits
        return [*found, ("read", 0)] if last is not None else []

    def writes(self, channel: int) -> list[Counter[int]]:
        """Return the columns that are written into each bank of a channel before each load."""
        found: list[Counter[int]] = [Counter() for _ in self.tiles(channel)]
        for bank, number in enumerate(self.numbers[channel]):
            tiles = self.tiles(channel, bank)
            if not self.product:  # Weights that are loaded anew come before the first load.
                tiles = {(): list(self.steps(channel, bank))} if self.reload else {}
            for columns, place in zip(found, self.tiles(channel), strict=True):
                if used := tiles.get(place, tiles.pop((), [])):
                    columns[number] = len({step.of(self.held) for step in used})
        return found


# What a trace does


class Machine:
    """What each channel does when a trace is executed; channels by number.

    Attributes
    ----------
    events : loads, writes to and reads of accumulators, and steps, each with its row.
    writes : rows of banks that are written before each load, with how many columns.
    worked : how often an activation function is applied.
    """

    def __init__(self, outputs: dict[int, Digits]) -> None:
        self.outputs = outputs
        self.events: dict[int, list[Event]] = {channel: [] for channel in outputs}
        self.writes: dict[int, list[Counter[tuple[int, int]]]] = {channel: [Counter()] for channel in outputs}
        self.worked: Counter[int] = Counter()
        self.registers: list[tuple[Digits, set[int]]] = []
        self.additions = 0

    def run(self, lines: list[str]) -> None:
        assert (lines[0], lines[1], lines[-1]) == ("W CFR 0 1", "# one", "AiM EOC")
        for line in lines[2:-1]:
            words = line.split()
            if words[:3] != ["W", "CFR", "2"]:
                assert words[0] == "AiM"
                numbers = [int(word, 0) for word in words[2:]]
                getattr(self, words[1].lower())(*numbers)
        self.all_summed_up()

    def channels(self, mask: int) -> list[int]:
        found = [channel for channel in range(32) if mask >> channel & 1]
        assert found and set(found) <= set(self.events)
        return found

    def wr_sbk(self, register: int, mask: int, bank: int, row: int) -> None:
        for channel in self.channels(mask):
            self.writes[channel][-1][bank, row] += 1

    def wr_gb(self, entries: int, register: int, mask: int) -> None:
        assert 1 <= entries <= 64
        for channel in self.channels(mask):
            self.events[channel].append(("load", entries))
            self.writes[channel].append(Counter())

    def wr_bias(self, register: int, mask: int) -> None:
        self.all_summed_up()
        for channel in self.channels(mask):
            self.events[channel].append(("bias", 0))

    def mac_abk(self, columns: int, mask: int, row: int) -> None:
        assert 1 <= columns <= 64
        for channel in self.channels(mask):
            self.events[channel] += [("step", row)] * columns

    def rd_mac(self, register: int, mask: int) -> None:
        self.all_summed_up()
        self.additions = 0
        self.registers = [(self.outputs[channel], {channel}) for channel in self.channels(mask)]
        for channel in self.channels(mask):
            self.events[channel].append(("read", 0))

    def ewadd(self, count: int, to: int, more: int) -> None:
        self.additions += 1
        for i in range(count):
            (output, channels), (other, added) = self.registers[to - 64 + i], self.registers[more - 64 + i]
            assert output == other and not channels & added
            channels |= added

    def all_summed_up(self) -> None:
        """Check that the first registers hold the sum of each output, of all channels, by halves."""
        outputs = {output for output, _ in self.registers}
        each = self.registers[: len(outputs)]
        assert {output for output, _ in each} == outputs
        if each:
            assert self.additions == (len(self.registers) // len(each) - 1).bit_length()
        assert sorted(x for _, xs in each for x in xs) == sorted({x for _, xs in self.registers for x in xs})

    def af(self, mask: int) -> None:
        """Work on results in accumulators; those that were read before have been written back for it."""
        for channel in self.channels(mask):
            self.worked[channel] += 1
            if self.events[channel][-1] == ("bias", 0):
                self.events[channel].pop()

    def rd_af(self, register: int, mask: int) -> None:
        for channel in self.channels(mask):
            if self.events[channel][-1] != ("read", 0):
                self.events[channel].append(("read", 0))


def executed(walk: Walk, layer: AimLayer) -> Machine:
    outputs = [
        tuple(digit for i, digit in place.items() if walk.loops[i].dim not in REDUCTION_DIMS)
        for place in walk.places
    ]
    machine = Machine(dict(zip(walk.channels, outputs, strict=True)))
    machine.run("".join(aim_trace([layer], ["one"])).splitlines())
    return machine


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_trace_does_what_the_mapping_does(seed: int) -> None:
    walk, layer = drawn(seed)
    machine = executed(walk, layer)
    for i, channel in enumerate(walk.channels):
        events = machine.events[channel]
        assert [(what, 0 if what == "step" else n) for what, n in events] == walk.does(i)
        written = [Counter[int]() for _ in machine.writes[channel]]
        for columns, each in zip(written, machine.writes[channel], strict=True):
            for (bank, _), count in each.items():
                columns[bank] += count
        assert written == [*walk.writes(i), Counter()]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_weights_lie_in_rows_as_the_mapping_opens_them(seed: int) -> None:
    walk, layer = drawn(seed)
    machine = executed(walk, layer)
    opens = walk.profile.open_depth
    for i, channel in enumerate(walk.channels):
        rows = [row for what, row in machine.events[channel] if what == "step"]
        steps = list(walk.steps(i))
        assert set(rows) <= set(range(layer.first_row, layer.first_row + layer.stored.rows))
        held: dict[int, set[Digits]] = defaultdict(set)
        for row, step in zip(rows, steps, strict=True):
            held[row].add(step.of(walk.held))
        if not walk.product:
            assert max(map(len, held.values()), default=0) <= 64
            assert sum(map(len, held.values())) == len({step.of(walk.held) for step in steps})
        for (row, step), (after, later) in pairwise(zip(rows, steps, strict=True)):
            if opens is not None and step.digits[:opens] == later.digits[:opens]:
                assert row == after
            elif opens and step.digits[: opens - 1] == later.digits[: opens - 1]:
                assert row != after
        if walk.product or walk.reload:
            written = {row for each in machine.writes[channel] for _, row in each}
            assert set(rows) <= written


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_complete_results_are_worked_on_once_each(seed: int) -> None:
    walk, layer = drawn(seed)
    machine = executed(walk, layer)
    slow = [dim for dim in DIMS if dim not in REDUCTION_DIMS]
    results = {step.of(slow) for i in range(len(walk.channels)) for step in walk.steps(i)}
    assert machine.worked.total() == walk.layer.post * len(results)


def test_what_is_drawn_has_all_that_matters() -> None:
    walks = [drawn(seed)[0] for seed in range(150)]
    profiles = [walk.profile for walk in walks]
    assert sum(bool(profile.open_depth) for profile in profiles) > 5
    assert sum(walk.product for walk in walks) > 20
    assert sum(walk.reload for walk in walks) > 20
    assert sum(profile.mapping.product("channel", REDUCTION_DIMS) > 2 for profile in profiles) > 3
    assert sum(profile.load_depth > profile.drain_depth for profile in profiles) > 5
    assert sum(math.prod(loop.bound for loop in x.mapping.loops) > x.layer.macs for x in profiles) > 20


# Refusals


def changed(**keys: Any) -> Hardware:
    return Hardware.model_validate(CHIP.model_dump() | keys)


GEMV: Json = {"name": "one", "dims": {"K": 32, "C": 64}, "operands": [_operand("x", ch={"C": 1})]}
COLUMN = Loop("C", 16, "column")
BANK = Loop("K", 16, "bank")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"banks_per_channel": 8}, "banks_per_channel: must be 16 as on AiM, found 8"),
        ({"columns_per_bank": 32}, "columns_per_bank: must be 16 as on AiM, found 32"),
        ({"channels": 33}, "channels: must be at most 32 as on AiM, found 33"),
        ({"steps_per_row": 32}, "steps_per_row: must be 64 as on AiM, found 32"),
        ({"reduction": "host"}, "reduction: must be chip as on AiM, found host"),
        ({"inputs": {"store": "rows"}}, "inputs.store: must be buffer as on AiM, found rows"),
        (
            {"inputs": {"store": "buffer", "buffer_bits": 4096}},
            "inputs.buffer_bits: must be 16384 as on AiM, found 4096",
        ),
        (
            {"bits": {"activation": 8, "weight": 8, "accumulator": 32}},
            "bits.activation: must be 16 as on AiM, found 8",
        ),
        (
            {"spread": {"bank": ["K"], "column": ["C", "Q"]}},
            "spread.column: must be [C, R, S] as on AiM, and allows Q",
        ),
        (
            {"spread": {"column": ["C"]}},
            "spread.bank: must be [K] as on AiM, and allows N, G, P, Q, C, R, S",
        ),
    ],
)
def test_other_chips_are_refused_with_the_key(keys: Json, message: str) -> None:
    chip = changed(**keys)
    mapping = Mapping((Loop("K", 32, "temporal"), Loop("C", 64, "temporal")))
    with pytest.raises(InputError, match=re.escape(f"hardware: {message}")):
        aim_layers(*planned(GEMV, mapping, chip))


def test_layers_are_refused_that_aim_cannot_run() -> None:
    each = {"name": "one", "dims": {"K": 16, "P": 2}, "operands": [_operand("x", ch={"K": 1})]}
    with pytest.raises(
        InputError, match=r"layer 'one': what it loads differs between banks, .* over K, so AiM"
    ):
        aim_layers(*planned(each, Mapping((Loop("P", 2, "temporal"), BANK)), CHIP))
    three = {**GEMV, "operands": [_operand(tensor, ch={"C": 1}) for tensor in "xyz"]}
    loops = (Loop("K", 2, "temporal"), BANK, Loop("C", 4, "temporal"), COLUMN)
    with pytest.raises(InputError, match="layer 'one': it multiplies 3 tensors, so AiM cannot"):
        aim_layers(*planned(three, Mapping(loops), CHIP))
    # 8 lanes of 100 steps fit into the bits of the buffer, and not into its entries.
    wide = {**GEMV, "dims": {"C": 800}}
    loops = (Loop("C", 100, "temporal"), Loop("C", 8, "column"))
    with pytest.raises(InputError, match="layer 'one': a tile takes 100 entries of the buffer, which has 64"):
        aim_layers(*planned(wide, Mapping(loops, 0), CHIP))


def test_rows_and_commands_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    given = planned(GEMV, Mapping((Loop("K", 32, "temporal"), Loop("C", 64, "temporal"))), CHIP)
    (layer,) = aim_layers(*given)
    assert layer.most_commands >= sum(1 for _ in layer.commands())
    monkeypatch.setattr(aim, "MOST_COMMANDS", layer.most_commands - 1)
    with pytest.raises(
        InputError, match=r"layer 'one': up to here there are about 4,160 commands, and 4,159 are"
    ):
        aim_layers(*given)
    monkeypatch.setattr(aim, "ROWS", 31)
    with pytest.raises(InputError, match="layer 'one': its rows end at 32, and a bank of AiM has 31"):
        aim_layers(*given)


def test_rows_are_filled_and_still_change_at_each_iteration_that_opens_one() -> None:
    loops = (Loop("C", 100, "temporal"), Loop("C", 8, "column"))
    (layer,) = aim_layers(*planned({**GEMV, "dims": {"C": 800}}, Mapping(loops), CHIP))
    rows = [int(line.split()[-1]) for line in layer.commands() if "MAC_ABK" in line]
    assert rows == [0, 1] * 50


def test_what_windows_have_in_common_is_in_the_buffer_once() -> None:
    layer = {
        **GEMV,
        "dims": {"P": 4, "R": 3, "C": 16},
        "operands": [_operand("x", ch={"C": 1}, h={"P": 1, "R": 1})],
    }
    mapping = Mapping((Loop("P", 4, "temporal"), Loop("R", 3, "temporal"), COLUMN), 0)
    (exported,) = aim_layers(*planned(layer, mapping, CHIP))
    assert next(exported.commands()) == "AiM WR_GB 6 0 0x1"


# Files


def test_the_simulators_own_mapping_line_by_line() -> None:
    layer = {**GEMV, "dims": {"K": 160, "C": 2048}}
    spread = (Loop("K", 5, "channel"), BANK, COLUMN)
    mapping = Mapping(
        (Loop("C", 2, "temporal"), Loop("K", 2, "temporal"), Loop("C", 64, "temporal"), *spread), 1
    )
    text = "".join(aim_trace(aim_layers(*planned(layer, mapping, CHIP)), ["one"]))
    drains = [
        line
        for row in range(4)
        for line in (
            *([] if row % 2 else ["AiM WR_GB 64 0 0x1f"]),
            "AiM WR_BIAS 64 0x1f",
            f"AiM MAC_ABK 64 0x1f {row}",
            "AiM RD_MAC 64 0x1f",
        )
    ]
    assert text.splitlines() == ["W CFR 0 1", "# one", *drains, "AiM EOC"]


def test_layers_follow_each_other_in_rows_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = {**GEMV, "name": "two\n", "operands": [_operand("one", ch={"C": 1})], "dims": {"K": 4, "C": 32}}
    (tmp_path / "net.yaml").write_text(dump(network(second, GEMV)))
    results, traces = tmp_path / "results", tmp_path / "traces"

    def call(*arguments: str) -> int:
        return run(arguments, time.monotonic())

    solved = ["--hw", "gddr6-aim", "-m", "sequential", "-o", str(results)]
    assert call("solve", str(tmp_path / "net.yaml"), *solved) == 0
    solution = str(results / "solution.yaml")
    assert call("export", solution, "--to", "aim", "-o", str(traces)) == 0
    names = ["1-one.trace", "2-two_.trace", "network.trace"]
    assert sorted(path.name for path in traces.iterdir()) == names
    one, two, both = ((traces / name).read_text().splitlines() for name in names)
    assert both == [*one[:-1], *two[1:]]
    assert two[1] == r"# two\n"
    rows = [{line.split()[-1] for line in lines if "MAC_ABK" in line} for lines in (one, two)]
    assert not rows[0] & rows[1]

    assert call("solve", str(tmp_path / "net.yaml"), *solved, "--weights", "reload") == 0
    assert call("export", solution, "--to", "aim", "-o", str(traces)) == 0
    for name in names[:2]:
        assert re.search(r"WR_SBK 0 0x\w+ 0 0\n", (traces / name).read_text())

    capsys.readouterr()
    assert call("export", solution, "--to", "aim") == 2
    assert capsys.readouterr().err == "error: --to aim writes several files; say where with --out DIR\n"
    assert call("solve", "toy", "--hw", "toy", "-m", "sequential", "-t", "1", "-o", str(results)) == 0
    capsys.readouterr()
    assert call("export", solution, "--to", "aim", "-o", str(tmp_path / "none")) == 2
    text = "hardware: banks_per_channel: must be 16 as on AiM, found 4"
    assert capsys.readouterr().err == f"error: {solution}: {text}\n"
    assert not (tmp_path / "none").exists()
