"""Each family of constraints of the bound's model, and each term behind it, with numbers worked out by hand.

What a family forbids is infeasible although everything else would allow it, and what it allows is feasible.
Real plans satisfy all of them; together they prove no bound above the latency.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from generators import draw_hardware, draw_mapping, draw_network
from hypothesis import given
from hypothesis import strategies as st
from ortools.sat.python.cp_model import FEASIBLE, INFEASIBLE, OPTIMAL, CpSolver, IntVar

from hw.hardware import Hardware, LevelDims
from hw.library import load_hardware
from models.network import REDUCTION_DIMS, Layer, Network
from solver.bench.small import draw_small
from solver.bound.durations import Lanes, block_tail, lane_ranges, useful_cycles
from solver.bound.model import BoundModel
from solver.bound.modes import Mode, extreme
from solver.bound.quick import bank_numbers, quick_bound
from solver.bound.reading import enabled, needed, needed_by_shares
from solver.bound.relaxation import linear_bound
from solver.params import BoundParams
from solver.reference import simulate
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Edge, Problem
from solver.timing.timeline import evaluate

Json = dict[str, Any]
Fixed = Iterable[tuple[IntVar, int]]

ROWS = 56
"""As many as the model tells shares of a layer apart, so that one share is one row."""


def chip(**changes: Any) -> Hardware:
    """Return the toy chip, with static weights: 12 cycles for a product, 9 to load, 5 to transfer."""
    return load_hardware("toy").model_copy(update={"weights": "static", **changes})


def rows_layer(name: str, read: str, **keys: Any) -> Json:
    """Return a layer whose every row reads the same row, and nothing else."""
    axes = {"n": {"terms": {"N": 1}}, "h": {"terms": {"P": 1}}}
    return {"name": name, "dims": {"P": ROWS}, "operands": [{"from": read, "axes": axes}], **keys}


def network(*layers: Json) -> Network:
    inputs = [{"name": "x", "shape": [1, 1, ROWS, 1]}]
    tree = {"format": "overlapim/network/1", "name": "rows", "inputs": inputs, "layers": list(layers)}
    return Network.model_validate(tree)


def one_layer(**changes: Any) -> BoundModel:
    """Return the model of one layer."""
    return BoundModel(Problem(network(rows_layer("a", "x")), chip(**changes)), 1000)


def two_layers(**changes: Any) -> BoundModel:
    """Return the model of two layers; the second one reads the first row by row."""
    rows = network(rows_layer("a", "x"), rows_layer("b", "a"))
    return BoundModel(Problem(rows, chip(**changes)), 1000)


def feasible(made: BoundModel, *fixed: tuple[IntVar, int]) -> bool:
    """Whether the model has a solution in which these variables have these values."""
    made.model.clear_hints()
    for variable, value in fixed:
        made.model.add_hint(variable, value)
    solver = CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.fix_variables_to_their_hinted_value = True
    status = solver.solve(made.model)
    assert status in (OPTIMAL, FEASIBLE, INFEASIBLE), made.model.validate()
    return status != INFEASIBLE


def taken(made: BoundModel, layer: int, banks: int) -> list[tuple[IntVar, int]]:
    """Take a number of banks for a layer."""
    variables = made.layers[layer]
    assert banks in {mode.banks for mode in variables.modes}
    return [(x, mode.banks == banks) for mode, x in zip(variables.modes, variables.chosen, strict=True)]


# What a layer takes at least

TIMES = {1: 55, 2: 27, 3: 18, 4: 15, 6: 14, 8: 13}
"""56 rows in as many steps as 16 lanes of each bank need, each 12 + 4 cycles, or less with idle lanes.

One load may serve all steps, so none is counted. What is an integer, such as 56, is stated as one less, so as
to stay below it in spite of rounding.

With 4 banks and more one step does them all, and each bank drains 56 / banks * 8 bits at 32 a cycle.
"""

FIRST = 9 + 12
"""A row takes a load and a step at least."""


def test_times_of_rows() -> None:
    (layer,) = network(rows_layer("a", "x")).layers
    for banks, cycles in TIMES.items():
        step = 12 + min(16, ROWS / banks) * 8 / 32
        assert cycles == math.ceil(ROWS / min(16 * banks, ROWS) * step) - 1
        assert useful_cycles(layer, chip(), [banks]).tolist() == [cycles]


CHANNELS = {"n": {"terms": {"N": 1}}, "ch": {"terms": {"C": 1}}, "h": {"terms": {"P": 1}}}
SUM: Json = {"name": "a", "dims": {"P": 2, "C": 4}, "operands": [{"from": "x", "axes": CHANNELS}]}
"""Two sums of four products; a lane needs 32 bits for one, 16 for two tiles, and 8 for each weight."""

OF_ONE_BANK = [
    # One step for all: 12, then two levels of 2 + 4, and 2 * 8 bits drained at 32 a cycle.
    ({"columns_per_bank": 16}, 12 + 12 + 0.5, {}),
    # One lane for each sum: 4 steps, and nothing to reduce.
    ({"columns_per_bank": 2}, 4 * 12 + 0.5, {}),
    # Rows for one weight only: two sums one after the other.
    ({"columns_per_bank": 4, "rows_per_bank": 56}, 2 * (12 + 12 + 0.25), {}),
    # No row for a weight: it cannot be done.
    ({"columns_per_bank": 16, "rows_per_bank": 55}, math.inf, {}),
    # Two post-operations of 2 cycles.
    ({"columns_per_bank": 16}, 12 + 12 + 0.5 + 4, {"post": 2}),
    # A second operand is loaded and added as seldom as the first.
    (
        {"columns_per_bank": 16},
        12 + 12 + 0.5,
        {
            "operands": [
                {"from": "x", "axes": CHANNELS, "sum": "s"},
                {"from": "y", "axes": CHANNELS, "sum": "s"},
            ]
        },
    ),
]


@pytest.mark.parametrize(("changes", "cycles", "keys"), OF_ONE_BANK)
def test_times_of_sums(changes: Json, cycles: float, keys: Json) -> None:
    layer = Layer.model_validate({**SUM, **keys})
    expected = math.inf if math.isinf(cycles) else math.floor(cycles)
    assert useful_cycles(layer, chip(**changes), [1]).tolist() == [expected]


def test_times_of_sums_over_banks() -> None:
    """One sum of four on four banks of one lane: two levels between at least three banks, in one step.

    Each bank then has 3/4 of the output to pass on, 32 bits of it, twice, and 8 to drain. The load serves
    nothing else.
    """
    layer = Layer.model_validate({**SUM, "dims": {"C": 4}})
    between = 9 + 12 + 2 * (4 + 3 / 4 * 32 / 32) + 3 / 4 * 8 / 32
    assert useful_cycles(layer, chip(columns_per_bank=1), [4]).tolist() == [math.floor(between)]


def test_times_where_not_every_output_dim_is_read() -> None:
    """Four outputs at once: 4 steps of 12 and one drain of 1, 49 exactly."""
    layer = Layer.model_validate({**SUM, "dims": {"P": 2, "K": 2, "C": 4}})
    assert useful_cycles(layer, chip(columns_per_bank=4), [1]).tolist() == [48]


def test_times_where_not_every_dim_is_read() -> None:
    """Steps over what is not read, 4 rows of a kernel, share a load and a drain."""
    layer = Layer.model_validate({**SUM, "dims": {"P": 2, "R": 4}})
    assert useful_cycles(layer, chip(columns_per_bank=2), [1]).tolist() == [math.floor(4 * 12 + 2 * 8 / 32)]


AIM = [
    # One output: 4 loads of 52 + 1, 4096 inputs of 16 bits at 8 a cycle, less the first cycle of each load,
    # 4 rows opened, and a drain.
    ({}, 2 * 256 + 4 * 53 + (8192 - 4) + 4 * 100 + 54),
    # Seven that read other inputs: a tile of two has half the room for each, so each is drained 8 times, and
    # partial sums are read back. What loads and rows take beside that is no less than a drain.
    ({"P": 7}, 7 * (2 * 256 + 8 * (54 + 2) + 54)),
    # Five with other weights: half of a row for each.
    ({"K": 5}, 5 * (2 * 256 + 8 * (54 + 2) + 54)),
]
"""Sums of 4096 products in a bank of AiM: 256 steps of 2 cycles, 64 to a row, and 1024 inputs in a tile."""


@pytest.mark.parametrize(("outputs", "cycles"), AIM)
def test_times_with_loads_and_rows(outputs: Json, cycles: int) -> None:
    layer = Layer.model_validate({**SUM, "dims": {"C": 4096, **outputs}})
    assert useful_cycles(layer, load_hardware("gddr6-aim"), [1]).tolist() == [cycles - 1]


@pytest.mark.parametrize(("lanes", "cycles"), [(Lanes(2, 2), 30), (Lanes(3, 16), 48)])
def test_times_of_sums_over_so_many_lanes(lanes: Lanes, cycles: int) -> None:
    """Four lanes do two sums over two of them in 2 * 12 + 6 + 0.5, or one over four in 12 + 2 * 6 + 0.25."""
    layer = Layer.model_validate(SUM)
    assert useful_cycles(layer, chip(columns_per_bank=4), [1], spread=lanes).tolist() == [cycles]


def test_tail_of_a_block() -> None:
    layer = Layer.model_validate({**SUM, "post": 3, "operands": [*OF_ONE_BANK[-1][2]["operands"]]})
    assert block_tail(layer, chip()) == 2 * 9 + 4 + 12 + 3 * 2


def test_tail_of_a_sum() -> None:
    """Four products, 9 + 12 cycles for one, 12 for each other; a level is an addition, 4, and at least 1.

    What is an integer is stated as one less, as above.
    """
    layer = Layer.model_validate(SUM)
    assert lane_ranges(layer, chip(), 2) == [Lanes(1, 1), Lanes(2, 2), Lanes(3, 16)]
    for lanes, one, four in (
        (Lanes(1, 1), 21, 57),
        (Lanes(2, 2), 25, 37),
        (Lanes(3, 16), 30, 30),
        (None, 21, 30),
    ):
        assert (block_tail(layer, chip(), 1, lanes), block_tail(layer, chip(), 4, lanes)) == (one, four)
    by_host = chip(reduction="host", bits_per_cycle=chip().bits_per_cycle.model_copy(update={"drain": 2}))
    assert block_tail(layer, by_host, 4) == 9 + 12 + 32 * 4 // 8 // 2 - 1


# The families


def test_one_number_of_banks() -> None:
    made = one_layer()
    (layer,) = made.layers
    assert {mode.banks: mode.time for mode in layer.modes} == TIMES
    assert feasible(made, *taken(made, 0, 4))
    assert not feasible(made, *((x, 0) for x in layer.chosen))
    both = [(x, mode.banks in (1, 2)) for mode, x in zip(layer.modes, layer.chosen, strict=True)]
    assert not feasible(made, *both)


def test_numbers_that_take_longer_than_what_is_known_are_left_out() -> None:
    rows = network(rows_layer("a", "x"))
    (layer,) = BoundModel(Problem(rows, chip()), 16).layers
    assert [mode.banks for mode in layer.modes] == [4, 6, 8]


def test_every_number_of_banks_is_in_a_range() -> None:
    ranges = bank_numbers(chip(), 8)
    assert ranges == [(x, x) for x in (1, 2, 3, 4, 6, 8)]


def test_work_is_that_of_the_banks() -> None:
    made = one_layer()
    for work, allowed in ((26, False), (27, True), (28, False)):
        assert feasible(made, *taken(made, 0, 2), (made.layers[0].work, work)) == allowed


@pytest.mark.parametrize("share", [1, 28, ROWS])
def test_a_share_of_the_outputs_takes_its_share_of_the_work(share: int) -> None:
    made = one_layer()
    least = max(math.ceil(share * TIMES[1] / ROWS - 1), FIRST)
    for time, allowed in ((least, True), (least - 1, False)):
        assert feasible(made, *taken(made, 0, 1), (made.layers[0].finished[share], time)) == allowed


@pytest.mark.parametrize("share", [1, 28, ROWS])
def test_work_that_waits_is_done_later(share: int) -> None:
    made = one_layer()
    (layer,) = made.layers
    least = 100 + math.ceil(share * TIMES[1] / ROWS - 1)
    for time, allowed in ((least, True), (least - 1, False)):
        fixed = (layer.idle[share], 100), (layer.finished[share], time)
        assert feasible(made, *taken(made, 0, 1), *fixed) == allowed


def test_shares_are_finished_one_after_the_other() -> None:
    made = one_layer()
    (layer,) = made.layers
    for variables in (layer.finished, layer.idle):
        assert feasible(made, (variables[5], 300), (variables[6], 300))
        assert not feasible(made, (variables[5], 300), (variables[6], 299))


def test_the_end_is_that_of_the_last_share() -> None:
    made = one_layer()
    last = made.layers[0].finished[ROWS]
    assert feasible(made, (last, 500), (made.end, 500))
    assert not feasible(made, (last, 500), (made.end, 499))


def test_static_layers_share_out_the_banks() -> None:
    made = two_layers()
    assert feasible(made, *taken(made, 0, 4), *taken(made, 1, 4))
    assert not feasible(made, *taken(made, 0, 4), *taken(made, 1, 6))


def test_a_static_layer_leaves_a_bank_for_each_other_one() -> None:
    for weights, most in (("static", 6), ("shared", 8)):
        assert max(mode.banks for mode in two_layers(weights=weights).layers[0].modes) == most


def test_shared_layers_hold_banks_for_as_long_as_they_work() -> None:
    """14 cycles on 6 banks and 13 on 8 are 188 bank-cycles; 8 banks have 184 in 22 + 1 cycles."""
    apart = network(rows_layer("a", "x"), rows_layer("b", "x"))
    made = BoundModel(Problem(apart, chip(weights="shared")), 1000)
    for end, allowed in ((23, True), (22, False)):
        assert feasible(made, *taken(made, 0, 6), *taken(made, 1, 8), (made.end, end)) == allowed


def summed() -> Network:
    """Return a layer of four channels and one that sums them up."""
    channels = {"name": "a", "dims": {"K": 4, "P": 2}, "operands": [{"from": "x"}]}
    return network(channels, {**SUM, "name": "b", "operands": [{"from": "a", "axes": CHANNELS}]})


def test_a_first_output_takes_its_whole_sum() -> None:
    """Four products come 5 cycles after a channel: 9 to load, 12 to multiply, two levels of 5, less 1."""
    made = BoundModel(Problem(summed(), chip()), 1000)
    first, second = made.layers
    for time, allowed in ((200 + 5 + 30, True), (200 + 5 + 30 - 1, False)):
        assert feasible(made, (first.finished[0], 200), (second.finished[0], time)) == allowed


def test_first_outputs_follow_each_other() -> None:
    """The first takes a load and a step; the second its whole sum after that."""
    assert quick_bound(Problem(summed(), chip())) == FIRST + 5 + 30


def test_an_output_needs_all_that_what_it_reads_has_been_made_of() -> None:
    """As in attention, a sum over all rows of one channel needs all that the layer before has made.

    To each of the two layers it is 5 cycles, from there to an output at least 9 + 12.
    """
    rows = {"name": "a", "dims": {"K": 2, "P": 4}, "operands": [{"from": "x"}]}
    mixed = {"name": "b", "dims": {"K": 2, "P": 4, "C": 2}, "operands": [{"from": "a", "axes": CHANNELS}]}
    columns = {"n": {"terms": {"N": 1}}, "ch": {"terms": {"K": 1}}, "h": {"terms": {"C": 1}}}
    summed = {"name": "c", "dims": {"K": 2, "P": 3, "C": 4}, "operands": [{"from": "b", "axes": columns}]}
    made = BoundModel(Problem(network(rows, mixed, summed), chip()), 1000)
    last, first = made.layers[0].finished[made.grid], made.layers[2].finished[0]
    for time, allowed in ((200 + 2 * (5 + FIRST), True), (200 + 2 * (5 + FIRST) - 1, False)):
        assert feasible(made, (last, 200), (first, time)) == allowed


def test_what_follows_a_first_output_has_the_time_that_is_left() -> None:
    """Three layers of 104 bank-cycles after a row at 30: 8 banks have 312 up to 68 + 1."""
    rows = network(rows_layer("a", "x"), *(rows_layer(name, "a") for name in "bcd"))
    made = BoundModel(Problem(rows, chip(weights="shared")), 1000)
    banks = [x for layer in (1, 2, 3) for x in taken(made, layer, 8)]
    for end, allowed in ((68, True), (67, False)):
        fixed = *banks, *taken(made, 0, 8), (made.layers[0].finished[0], 30), (made.end, end)
        assert feasible(made, *fixed) == allowed


def test_outputs_that_do_not_read_a_layer_do_not_follow_it() -> None:
    """Rows of two layers one after the other: the first row is there without the second layer.

    So may be nearly all that 20 layers do with them, 260 cycles on 8 banks, when that finishes its first row.
    """
    parts = [
        {
            "from": name,
            "concat": "both",
            "axes": {"n": {"terms": {"N": 1}}, "h": {"terms": {"P": 1}, **offset}},
        }
        for name, offset in (("a", {}), ("b", {"offset": -ROWS}))
    ]
    both = rows_layer("both", "a") | {"dims": {"P": 2 * ROWS}, "operands": parts}
    readers = [rows_layer(f"c{i}", "both") for i in range(20)]
    rows = network(rows_layer("a", "x"), rows_layer("b", "x"), both, *readers)
    made = BoundModel(Problem(rows, chip(weights="shared")), 1000, BoundParams(windows=100))
    banks = [x for layer in range(len(made.layers)) for x in taken(made, layer, 8)]
    assert feasible(made, *banks, (made.layers[1].finished[0], 500), (made.end, 600))
    assert not feasible(made, *banks, (made.layers[2].finished[0], 500), (made.end, 600))


@pytest.mark.parametrize("share", [0, 1, 28, ROWS])
def test_outputs_are_finished_after_what_they_read(share: int) -> None:
    """So many rows need as many: 5 cycles to transfer the last, 9 to load it and 12 to multiply it."""
    made = two_layers()
    first, second = made.layers
    for time, allowed in ((200 + 5 + 9 + 12, True), (200 + 5 + 9 + 12 - 1, False)):
        assert feasible(made, (first.finished[share], 200), (second.finished[share], time)) == allowed


@pytest.mark.parametrize("share", [1, 28, ROWS])
def test_work_waits_for_what_it_reads(share: int) -> None:
    """Before the share is finished, one row less can be worked on: idle until 200 + 5, less that work.

    Shares are rounded up to thousandths, times down to units of one cycle.
    """
    made = two_layers()
    first, second = made.layers
    done = math.ceil(1000 * (share - 1) / ROWS + 1e-9) if share > 1 else 1
    idle = math.ceil(200 + 5 - 1 - done / 1000 * TIMES[1])
    for time, allowed in ((idle, True), (idle - 1, False)):
        fixed = (first.finished[share], 200), (second.idle[share], time)
        assert feasible(made, *taken(made, 1, 1), *fixed) == allowed


def replaced(mode: Mode, kept: list[Mode]) -> bool:
    """Whether a mixture of two modes takes no more time and no more of the chip than a mode."""
    if any(one.time <= mode.time and one.held <= mode.held for one in kept):
        return True
    return any(
        (slow.time - mode.time) * fast.held + (mode.time - fast.time) * slow.held
        <= mode.held * (slow.time - fast.time)
        for slow, fast in itertools.permutations(kept, 2)
        if slow.time > mode.time > fast.time
    )


MODES = st.builds(Mode, st.just(1), st.integers(0, 60), st.integers(1, 60), st.just(Lanes(1, 1)))


@given(st.lists(MODES, min_size=1, max_size=12))
def test_no_mode_is_better_than_a_mixture_of_those_that_are_kept(drawn: list[Mode]) -> None:
    kept = extreme(drawn)
    assert all(replaced(mode, kept) for mode in drawn)
    assert not any(replaced(mode, [x for x in kept if x is not mode]) for mode in kept)


# Their bounds, before anything else is known


def least(made: BoundModel) -> int:
    """Return the optimum of the model."""
    solver = CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(made.model) == OPTIMAL
    return round(solver.objective_value)


NARROW = {4: 59, 6: 39, 8: 29}
"""Times of 56 rows where a bank has three lanes: 12.75 cycles for as many of them as all banks have."""


def test_the_bound_of_one_layer_is_its_time_on_all_banks() -> None:
    made = one_layer(columns_per_bank=3)
    assert least(made) == linear_bound(made, Stop()) == NARROW[8] - 1


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({"columns_per_bank": 3}, NARROW[4] - 1 + 26),
        ({"weights": "static"}, FIRST + 26),
        ({"weights": "shared"}, FIRST + 26),
    ],
)
def test_the_bound_of_two_layers(changes: Json, bound: int) -> None:
    """The second ends 26 cycles after the first, which has half of the banks; so does its first row."""
    made = two_layers(**changes)
    assert least(made) == bound


# What is known at once


@pytest.mark.parametrize(
    ("columns", "layers", "bound"),
    [(3, 1, NARROW[8]), (3, 2, NARROW[6] + 26), (16, 1, FIRST), (16, 2, FIRST + 26), (16, 8, FIRST + 7 * 26)],
)
def test_along_a_chain_each_layer_ends_after_the_one_that_it_reads(
    columns: int, layers: int, bound: int
) -> None:
    """Each ends 26 cycles after the one before: 5 to transfer its last row, 9 to load it, 12 to multiply.

    So does its first row where one step is enough for all.
    """
    names = ["x", *(f"layer{i}" for i in range(layers))]
    rows = network(*(rows_layer(own, read) for read, own in itertools.pairwise(names)))
    weights = "static" if columns == 3 else "shared"
    assert quick_bound(Problem(rows, chip(weights=weights, columns_per_bank=columns))) == bound


@pytest.mark.parametrize(("weights", "bound"), [("static", TIMES[2]), ("shared", math.ceil(3 * 54 / 8))])
def test_layers_apart_share_the_banks(weights: str, bound: int) -> None:
    """Three layers have 2 of 8 banks each in 27 cycles, or 54 bank-cycles each, one after the other."""
    apart = network(*(rows_layer(name, "x") for name in "abc"))
    assert quick_bound(Problem(apart, chip(weights=weights))) == bound


def test_a_part_of_a_producer_is_there_after_its_share_of_the_work() -> None:
    """The second layer reads 50 of 56 rows, there after as much of 39 cycles, and ends 26 later."""
    most = rows_layer("b", "a") | {"dims": {"P": 50}}
    rows = network(rows_layer("a", "x"), most)
    assert quick_bound(Problem(rows, chip(columns_per_bank=3))) == NARROW[6] * 50 // ROWS + 26


# What is read


def convolution() -> tuple[Layer, Edge]:
    """Return a layer of 3 x 3 positions that each read 2 x 2 of two channels, of 4 x 4 each."""
    axes = {
        "n": {"terms": {"N": 1}},
        "ch": {"terms": {"C": 1}},
        "h": {"terms": {"P": 1, "R": 1}},
        "w": {"terms": {"Q": 1, "S": 1}},
    }
    dims = {"K": 1, "P": 3, "Q": 3, "C": 2, "R": 2, "S": 2}
    pixels = {"name": "a", "dims": {"K": 2, "P": 4, "Q": 4}, "operands": [{"from": "x"}]}
    drawn = network(pixels, {"name": "b", "dims": dims, "operands": [{"from": "a", "axes": axes}]})
    return drawn.layers[1], Problem(drawn, chip()).edges[1][0]


def test_needed() -> None:
    """Positions next to each other: the first, then a row, a square, two rows, all."""
    one_channel = [0, 4, 6, 8, 9, 11, 12, 14, 15, 16]
    assert needed(*convolution()).tolist() == [2 * x for x in one_channel]


def test_needed_by_shares() -> None:
    assert needed_by_shares(*convolution(), 3).tolist() == [8, 16, 24, 32]
    assert needed_by_shares(*convolution(), 18).tolist()[:4] == [8, 8, 8, 12]


def test_needed_of_windows_that_are_cut() -> None:
    """The last of three windows reads one row only."""
    axes = {"h": {"terms": {"P": 1}, "windows": [{"scale": 2, "shift": 0, "width": 3}], "extent": 3}}
    rows = {"name": "a", "dims": {"P": 5}, "operands": [{"from": "x"}]}
    drawn = network(rows, {"name": "b", "dims": {"P": 3}, "operands": [{"from": "a", "axes": axes}]})
    assert needed(drawn.layers[1], Problem(drawn, chip()).edges[1][0]).tolist() == [0, 1, 3, 5]


def test_needed_of_rows_apart() -> None:
    """Each row reads two that are two apart, and none is read by more than two."""
    axes = {"h": {"terms": {"P": 1, "R": 2}}}
    rows = {"name": "a", "dims": {"P": 6}, "operands": [{"from": "x"}]}
    layer = {"name": "b", "dims": {"P": 4, "R": 2}, "operands": [{"from": "a", "axes": axes}]}
    drawn = network(rows, layer)
    assert needed(drawn.layers[1], Problem(drawn, chip()).edges[1][0]).tolist() == [0, 2, 2, 3, 6]


def test_enabled() -> None:
    """Two rows of two channels that are all read alike: as much of the work as there is of the elements."""
    pixels = {"name": "a", "dims": {"K": 2, "P": 2}, "operands": [{"from": "x"}]}
    layer = {"name": "b", "dims": {"P": 2, "C": 2}, "operands": [{"from": "a", "axes": CHANNELS}]}
    drawn = network(pixels, layer)
    edge = Problem(drawn, chip()).edges[1][0]
    assert enabled(drawn.layers[1], edge, np.arange(5.0)).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_enabled_through_windows_over_channels() -> None:
    """What is normalized over the channels of a row needs its own one at least."""
    pixels = {"name": "a", "dims": {"K": 2, "P": 2}, "operands": [{"from": "x"}]}
    axes = CHANNELS | {"ch": {"terms": {"C": 1}, "windows": [{"all": True}], "extent": 2}}
    layer = {"name": "b", "dims": {"P": 2, "C": 2}, "operands": [{"from": "a", "axes": axes}]}
    drawn = network(pixels, layer)
    edge = Problem(drawn, chip()).edges[1][0]
    assert enabled(drawn.layers[1], edge, np.arange(5.0)).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_enabled_through_windows_that_share_channels() -> None:
    """Two values are made of each channel, so half of the channels are enough for half of the work."""
    pixels = {"name": "a", "dims": {"K": 2}, "operands": [{"from": "x"}]}
    axes = CHANNELS | {"ch": {"terms": {"C": 1}, "windows": [{"divide": 2}], "extent": 4}}
    drawn = network(pixels, {"name": "b", "dims": {"C": 4}, "operands": [{"from": "a", "axes": axes}]})
    edge = Problem(drawn, chip()).edges[1][0]
    assert (enabled(drawn.layers[1], edge, np.arange(3.0)) >= [0, 0.5, 1]).all()


# Real plans


def draw_problem(rng: random.Random) -> Problem:
    """Draw a network, small or varied, on a chip where all its layers may run at the same time."""
    if rng.random() < 0.5:
        drawn, hardware = draw_small(rng)
    else:
        drawn = draw_network(rng, rng.randint(1, 3))
        hardware = draw_hardware(rng, drawn)
    return Problem(drawn, hardware)


def draw_mappings(rng: random.Random, problem: Problem) -> list[Mapping] | None:
    """Draw mappings that leave each layer banks of its own; None if there are none among a few."""
    for _ in range(20):
        mappings = [draw_mapping(rng, layer, problem.hardware) for layer in problem.layers]
        if sum(mapping.banks for mapping in mappings) <= problem.hardware.banks:
            return mappings
    return None


def values(made: BoundModel, mappings: list[Mapping], latency: int) -> list[tuple[IntVar, int]]:
    """Return what a plan in which no layer is released late says of the model's variables."""
    problem = made.problem
    free = [0] * len(mappings)
    simulated = simulate(problem.network, problem.hardware, mappings, free, [None] * len(mappings))
    assert max(x.end for x in simulated) == latency
    fixed = [(made.end, latency // made.unit)]
    for variables, mapping, times in zip(made.layers, mappings, simulated, strict=True):
        finish = np.sort(times.finish.ravel())
        for i in range(made.grid + 1):
            last = int(finish[max(-(-i * len(finish) // made.grid), 1) - 1])
            fixed.append((variables.finished[i], last // made.unit))
        sums = math.prod(x.bound for x in mapping.loops if x.kind != "temporal" and x.dim in REDUCTION_DIMS)
        ways = [
            m for m in variables.modes if m.banks <= mapping.banks and m.lanes.least <= sums <= m.lanes.most
        ]
        taken = max(ways, key=lambda mode: mode.banks)
        fixed += [(x, mode is taken) for mode, x in zip(variables.modes, variables.chosen, strict=True)]
    return fixed


def satisfied(problem: Problem, mappings: list[Mapping], params: BoundParams = BoundParams()) -> BoundModel:
    """Return the model of a problem, having checked that a plan without releases satisfies it."""
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(mappings)]
    latency = evaluate(problem, profiles, [0] * len(profiles)).latency
    made = BoundModel(problem, latency, params)
    assert feasible(made, *values(made, mappings, latency))
    assert linear_bound(made, Stop()) <= latency
    return made


@pytest.mark.parametrize("resolution", [BoundParams.resolution, 40])
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_every_plan_satisfies_the_model(first: int, resolution: int) -> None:
    """Also where times are counted in coarse units."""
    checked = 0
    for seed in range(first, first + 20):
        rng = random.Random(seed)
        problem = draw_problem(rng)
        mappings = draw_mappings(rng, problem)
        if mappings is not None:
            satisfied(problem, mappings, BoundParams(resolution=resolution))
            checked += 1
    assert checked >= 10


@pytest.mark.parametrize("weights", ["static", "shared"])
@pytest.mark.parametrize("layers", [1, 2])
def test_plans_that_leave_nothing_to_gain_satisfy_the_model(layers: int, weights: str) -> None:
    """Each layer has all the banks there are for it, takes one step, loads and drains in 1 cycle each.

    Its rows are just enough, and it takes 9 + 12 + 1 cycles, of which the load is not counted. What is left
    is an integer, so it stays 1 below.
    """
    count = 32 // layers
    made = [{**rows_layer(*pair), "dims": {"P": count}} for pair in ("ax", "ba")[:layers]]
    problem = Problem(network(*made), chip(weights=weights, rows_per_bank=8 + 16 + 32))
    spread = Loop("P", 2 // layers, "channel"), Loop("P", 4, "bank"), Loop("P", 4, "column")
    model = satisfied(problem, [Mapping(spread)] * layers)
    assert model.horizon - 1 == (22 if layers == 1 else 22 + 5 + 22)
    for layer in model.layers:
        assert [mode.time for mode in layer.modes if mode.banks == 8 // layers] == [12]


@pytest.mark.parametrize(
    ("spread", "banks", "cycles"),
    [
        ({}, 2, TIMES[2]),
        ({"column": ("C",)}, 2, 28 * (12 + 1 / 4)),
        ({"bank": ("C",), "channel": ("C",)}, 2, 3.5 * (12 + 16 / 4)),
        ({"bank": ("C",), "channel": ("C",), "column": ("C",)}, 8, 56 * (12 + 1 / 4)),
    ],
)
def test_levels_are_spread_over_what_they_may_be(spread: Json, banks: int, cycles: int) -> None:
    """Rows are outputs, done 1 at a time by each bank, or by one bank, 16 or 1 at a time."""
    layer = network(rows_layer("a", "x")).layers[0]
    hardware = chip(spread=LevelDims.model_validate(spread))
    assert useful_cycles(layer, hardware, [banks])[0] == (math.ceil(cycles) - 1 if spread else cycles)


def test_sums_are_spread_over_what_levels_may_be() -> None:
    """Two sums of four: in four steps of 12 cycles where no level may be spread over what is summed up."""
    layer = Layer.model_validate(SUM)
    rows_only = LevelDims.model_validate(dict.fromkeys(("channel", "bank", "column"), ("P",)))
    assert useful_cycles(layer, chip(spread=rows_only), [1])[0] == 4 * 12
    assert useful_cycles(layer, chip(), [1])[0] < 4 * 12
