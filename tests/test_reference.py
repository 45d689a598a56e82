"""The simulator on cases that are worked out by hand; the sums stand beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.reference import SimulatedLayer, simulate
from solver.timing.mapping import Kind, Loop, Mapping
from solver.timing.validity import problems

Json = dict[str, Any]
LETTERS: dict[str, Kind] = {"t": "temporal", "c": "channel", "b": "bank", "l": "column"}
BATCH = {"terms": {"N": 1}}


CYCLES = {"multiply": 5, "add": 2, "move": 3, "row_write": 4, "post": 10, "transfer": 7}


def chip(sync_blocks: int = 100, **changes: Any) -> Hardware:
    """A step takes 7 cycles; loading one or two elements takes 9, draining one or two of them 1."""
    return Hardware.model_validate(
        {
            "format": "overlapim/hardware/1",
            "name": "chip",
            "clock_ns": 1.0,
            "channels": 2,
            "banks_per_channel": 2,
            "columns_per_bank": 4,
            "rows_per_bank": 1000,
            "weights": "static",
            "bits": {"activation": 2, "weight": 1, "accumulator": 8},
            "cycles": CYCLES,
            "bits_per_cycle": {"load": 4, "drain": 8, "bank": 4, "channel": 2},
            "sync_blocks": sync_blocks,
            **changes,
        }
    )


def reads(producer: str, **axes: Json) -> Json:
    return {"from": producer, "axes": {"n": BATCH, **axes}}


def mapping(text: str) -> Mapping:
    """`P4t` is a temporal loop over P with bound 4; column loops are `l`, for lanes; `@1` is a load depth."""
    words, _, depth = text.partition("@")
    loops = tuple(Loop(x[0], int(x[1:-1]), LETTERS[x[-1]]) for x in words.split())
    return Mapping(loops, int(depth) if depth else None)


def run(
    shape: list[int],
    layers: list[Json],
    mappings: list[str],
    hardware: Hardware | None = None,
    releases: list[int] | None = None,
    orders: Sequence[Sequence[int] | None] | None = None,
) -> list[SimulatedLayer]:
    """Simulate layers that read an input `x` of the given shape, and each other."""
    network = Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "by hand",
            "inputs": [{"name": "x", "shape": shape}],
            "layers": layers,
        }
    )
    hardware = hardware or chip()
    chosen = [mapping(text) for text in mappings]
    for layer, its in zip(network.layers, chosen, strict=True):
        assert problems(layer, its, hardware) == []
    none = [None] * len(layers)
    return simulate(network, hardware, chosen, releases or [0] * len(layers), orders or none)


def rows(name: str, producer: str, bound: int = 4, **keys: Any) -> Json:
    """A layer that reads row p to make row p: 9 + 7 + 1 = 17 cycles for each if mapped to `P4t`."""
    return {
        "name": name,
        "dims": {"P": bound},
        "operands": [reads(producer, h={"terms": {"P": 1}})],
        **keys,
    }


def finish(layer: SimulatedLayer) -> list[int]:
    return layer.finish.ravel().tolist()


def test_one_step() -> None:
    layer = {
        "name": "a",
        "dims": {"K": 2, "C": 2},
        "post": 1,
        "operands": [reads("x", ch={"terms": {"C": 1}})],
    }
    (a,) = run([1, 2, 1, 1], [layer], ["C2l K2l"], releases=[100])
    # Load 2 elements of 2 bits over 4 bits a cycle, and 2 rows: 1 + 8. Step: 7. Reduce over 2 lanes: 3 + 2,
    # drain 2 elements of 2 bits over 8 bits a cycle: 1, one post-operation: 10.
    assert (a.start, a.end) == (100, 100 + 9 + 7 + 16)
    assert (a.block_starts, a.needs) == ([100], [0])
    assert a.finish.shape == (1, 2, 1, 1)
    assert finish(a) == [132, 132]


def test_sums_over_everything_that_are_read_back() -> None:
    layer = {"name": "a", "dims": {"K": 2, "C": 12}, "operands": [reads("x", ch={"terms": {"C": 1}})]}
    (a,) = run([1, 12, 1, 1], [layer], ["C2t K2t C2c C2b C2l"])
    # Load 8 elements into 4 banks: ceil(16 / 16) + 8 = 9, at each iteration of C, the only loop that is read.
    # Drain at each iteration of K: lanes 5, banks 8/4 + 2, channels 8/2 + 2, out 1, partial sum back 1: 17.
    # 9 + 7 + 17 + 7 + 17 = 57 for each half of C; the outputs are finished in the second one.
    assert a.block_starts == [0, 57]
    assert finish(a) == [57 + 9 + 7 + 17, 57 + 57]
    assert a.end == 114


def test_all_drained_at_the_end_and_all_loaded_at_the_start() -> None:
    channels = reads("x", ch={"terms": {"C": 1}})
    (a,) = run([1, 3, 1, 1], [{"name": "a", "dims": {"C": 3}, "operands": [channels]}], ["C3t"])
    assert (a.block_starts, finish(a)) == ([0, 16, 32], [3 * (9 + 7) + 1])
    (b,) = run([1, 1, 1, 1], [{"name": "b", "dims": {"K": 3}, "operands": [reads("x")]}], ["K3t"])
    assert (b.block_starts, finish(b)) == ([0], [9 + 8, 9 + 16, 9 + 24])


def test_a_tile_of_a_sum_with_a_concatenation() -> None:
    """The concatenation counts as one operand of 4 channels, though each part has only 2."""

    def copy(name: str) -> Json:
        dims = {"K": 4} if name == "d" else {"K": 2}
        return {"name": name, "dims": dims, "operands": [reads("x")]}

    operands = [
        {**reads("b", ch={"terms": {"C": 1}}), "concat": "c", "sum": "s"},
        {**reads("c", ch={"terms": {"C": 1}, "offset": -2}), "concat": "c", "sum": "s"},
        {**reads("d", ch={"terms": {"C": 1}}), "sum": "s"},
    ]
    layers = [copy("b"), copy("c"), copy("d"), {"name": "a", "dims": {"C": 4}, "operands": operands}]
    *_, a = run([1, 1, 1, 1], layers, ["K2l", "K2l", "K4l", "C4l"])
    # The others take 9 + 7 + 1. Two tiles of ceil(8 / 4) + 8, one addition of 2; 7; two halvings of 5, and 1.
    assert a.needs == [17 + 7]
    assert a.end == 24 + 22 + 7 + 11


def test_a_kernel_waits_for_rows() -> None:
    kernel = {
        "name": "b",
        "dims": {"P": 4, "R": 3},
        "operands": [reads("a", h={"terms": {"P": 1, "R": 1}, "offset": -1})],
    }
    layers = [rows("a", "x"), kernel]
    a, b = run([1, 1, 4, 1], layers, ["P4t", "P4t R3t"], chip(sync_blocks=4))
    assert finish(a) == [17, 34, 51, 68]
    # 4 blocks of 3 * (9 + 7) + 1; the first one reads rows 0 and 1, the last one rows 2, 3 and padding.
    assert b.needs == [34 + 7, 51 + 7, 68 + 7, 68 + 7]
    assert b.block_starts == [41, 90, 139, 188]
    assert b.end == 237

    _, b = run([1, 1, 4, 1], layers, ["P4t", "P4t R3t"], chip(sync_blocks=12))
    # A block is one kernel row now; the first one reads padding only and does not wait for anything.
    assert b.needs == [0, 24, 41, 24, 41, 58, 41, 58, 75, 58, 75, 0]
    assert b.block_starts == [0, 24, 41, 58, 74, 90, 107, 123, 139, 156, 172, 188]
    assert finish(b) == [58, 107, 156, 205]


def test_a_fast_layer_waits_before_every_block() -> None:
    layers = [rows("b", "a"), rows("a", "x", post=2)]
    b, a = run([1, 1, 4, 1], layers, ["P4t", "P4t"])
    assert finish(a) == [37, 74, 111, 148]
    assert b.needs == b.block_starts == [44, 81, 118, 155]
    assert (b.start, b.end) == (44, 172)
    # Released later, it waits for the later rows only.
    b, a = run([1, 1, 4, 1], layers, ["P4t", "P4t"], releases=[100, 0])
    assert b.block_starts == [100, 117, 134, 155]
    b, a = run([1, 1, 4, 1], layers, ["P4t", "P4t"], chip(sync_blocks=3))
    assert b.block_starts == b.needs == [155]
    assert finish(b) == [155 + 17 * i for i in (1, 2, 3, 4)]


def test_orders() -> None:
    layers = [rows("a", "x", post=2), rows("b", "a")]
    backwards = [3, 2, 1, 0]
    a, b = run([1, 1, 4, 1], layers, ["P4t", "P4t"], orders=[backwards, None])
    assert a.block_starts == [0, 37, 74, 111]
    assert finish(a) == [148, 111, 74, 37]
    assert b.needs == [155, 118, 81, 44]
    assert b.block_starts == [155, 172, 189, 206]
    a, b = run([1, 1, 4, 1], layers, ["P4t", "P4t"], orders=[backwards, backwards])
    assert b.needs == b.block_starts == [44, 81, 118, 155]
    assert finish(b) == [172, 135, 98, 61]


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4], []])
def test_an_order_is_a_permutation(order: list[int]) -> None:
    with pytest.raises(InputError, match="layer 'a': order is not a permutation of its 4 blocks"):
        run([1, 1, 4, 1], [rows("a", "x")], ["P4t"], orders=[order])


def test_an_order_needs_blocks_that_finish_their_outputs() -> None:
    layer = {
        "name": "a",
        "dims": {"P": 2, "C": 2},
        "operands": [reads("x", ch={"terms": {"C": 1}}, h={"terms": {"P": 1}})],
    }
    (a,) = run([1, 2, 2, 1], [layer], ["P2t C2t"], chip(sync_blocks=2), orders=[[1, 0]])
    assert finish(a) == [66, 33]
    with pytest.raises(InputError, match="layer 'a': order"):
        run([1, 2, 2, 1], [layer], ["P2t C2t"], chip(sync_blocks=4), orders=[[2, 3, 0, 1]])


def test_idle_lanes_take_time_and_store_nothing() -> None:
    (a,) = run([1, 1, 3, 1], [rows("a", "x", 3)], ["P2t P2l"])
    assert finish(a) == [17, 17, 34]
    (a,) = run([1, 1, 3, 1], [rows("a", "x", 3)], ["P2l P2t"])
    assert finish(a) == [17, 34, 17]


def test_idle_blocks_take_time_and_read_nothing() -> None:
    wide = {"name": "b", "dims": {"K": 3, "P": 2}, "operands": [reads("a", h={"terms": {"P": 1}})]}
    _, b = run([1, 1, 2, 1], [rows("a", "x", 2), wide], ["P2t", "K2t K2t P2t"])
    assert b.needs == [24, 41, 24, 41, 24, 41, 0, 0]
    assert b.block_starts == [24 + 17 * i for i in range(8)]
    # Row 1 of the last channel is the last output; the idle blocks after it do not delay the end.
    assert finish(b) == [41, 58, 75, 92, 109, 126]
    assert b.end == 126


def test_idle_reduction_steps_add_too() -> None:
    layer = {"name": "a", "dims": {"P": 2, "C": 3}, "operands": [reads("x", ch={"terms": {"C": 1}})]}
    (a,) = run([1, 3, 1, 1], [layer], ["C2t C2t P2t"])
    # Load before each of 4 C, the last one idle; drain with reading back after each step: 9 + 2 * (7 + 2).
    assert finish(a) == [3 * 27 + 18, 4 * 27]


def test_windows() -> None:
    pooled = {"terms": {"P": 1}, "extent": 2, "windows": [{"scale": 2, "shift": 0, "width": 2}]}

    def needs(bound: int, access: Json) -> list[int]:
        layer = {"name": "b", "dims": {"P": bound}, "operands": [reads("a", h=access)]}
        return run([1, 1, 4, 1], [rows("a", "x"), layer], ["P4t", f"P{bound}t"])[1].needs

    assert needs(2, pooled) == [34 + 7, 68 + 7]
    assert needs(4, {**pooled, "extent": 4, "windows": [{"all": True}]}) == [75] * 4
    assert needs(4, {**pooled, "extent": 4, "windows": [{"block": 3}]}) == [58, 58, 58, 75]
    # 3 rows of the first window reach -1..1, 1..3 and 3..5 of 4; what is outside does not count.
    first = {"scale": 2, "shift": -1, "width": 3}
    assert needs(3, {**pooled, "extent": 3, "windows": [first]}) == [41, 75, 75]
    # Of rows p and p + 1 the last window reads rows 2p - 1 to 2p + 1, the last row aside.
    chain = [{"scale": 1, "shift": 0, "width": 2, "extent": 3}, {**first, "width": 1}]
    assert needs(3, {**pooled, "extent": 3, "windows": chain}) == [41, 75, 75]
    # What the first window leaves nothing of, the second one does not bring back.
    chain = [{"scale": 1, "shift": -1, "width": 1, "extent": 3}, {"scale": 1, "shift": 0, "width": 3}]
    assert needs(3, {**pooled, "extent": 3, "windows": chain}) == [0, 58, 75]


def test_flatten() -> None:
    def needs(bound: int, axes: Json, flatten: list[int]) -> list[int]:
        operand = {
            "from": "a",
            "axes": {"n": BATCH, **axes},
            "flatten": {"terms": {"C": 1}, "shape": flatten},
        }
        layers = [rows("a", "x"), {"name": "b", "dims": {"C": bound}, "operands": [operand]}]
        return run([1, 1, 4, 1], layers, ["P4t", f"C{bound}t"])[1].needs

    assert needs(4, {}, [1, 4, 1]) == [24, 41, 58, 75]
    assert needs(2, {"h": {"windows": [{"scale": 2, "shift": 0, "width": 2}]}}, [1, 2, 1]) == [41, 75]


# The second version of the model


def test_inputs_are_loaded_at_the_load_depth() -> None:
    def times(text: str, hardware: Hardware | None = None) -> tuple[list[int], list[int]]:
        _, b = run([1, 1, 4, 1], [rows("a", "x"), rows("b", "a")], ["P4t", text], hardware)
        return b.needs, finish(b)

    # A tile of one row: ceil(2 / 4) + 2 * 4; of two rows as many bits in a cycle, and 16; of four 2 + 32.
    assert times("P2t P2t @2") == ([24, 41, 58, 75], [41, 58, 75, 92])
    # Two blocks, each with both its rows: 41 + 17 + 8 and 8 more; the second one at 75.
    assert times("P2t P2t @1") == ([41, 75], [66, 74, 100, 108])
    assert times("P2t P2t @0") == ([75], [75 + 34 + 8 * i for i in (1, 2, 3, 4)])
    # A load is never inside the blocks' loops, but may be inside the blocks.
    assert times("P2t P2t @2", chip(sync_blocks=2))[0] == [41, 75]


def test_a_tile_has_each_element_once() -> None:
    """3 kernel rows over 4 rows read 6 rows; through the form alone, so padding counts."""
    kernel = {"name": "a", "dims": {"P": 4, "R": 3}}
    kernel["operands"] = [reads("x", h={"terms": {"P": 1, "R": 1}, "offset": -1})]
    (a,) = run([1, 1, 4, 1], [kernel], ["P4t R3t @0"])
    # 12 bits at 4 a cycle, and 6 rows of 2 bits at 4: 3 + 48; then 3 steps of 7 and a drain of 1 each time.
    assert finish(a) == [51 + 22 * i for i in (1, 2, 3, 4)]
    (a,) = run([1, 1, 4, 1], [kernel], ["P4t R3t @1"])
    # Three rows for each: ceil(6 / 4) + 24.
    assert finish(a) == [(26 + 22) * i for i in (1, 2, 3, 4)]


def test_fixed_costs_of_loads_and_drains() -> None:
    fixed = chip(cycles={**CYCLES, "load": 100, "drain": 30})
    (a,) = run([1, 1, 4, 1], [rows("a", "x")], ["P4t"], fixed)
    assert finish(a) == [(100 + 17 + 30) * i for i in (1, 2, 3, 4)]
    (a,) = run([1, 1, 4, 1], [rows("a", "x")], ["P4t @0"], fixed)
    assert finish(a) == [100 + 34 + (7 + 30 + 1) * i for i in (1, 2, 3, 4)]


def channels(k: int, c: int, **keys: Any) -> Json:
    """A layer that reads channels c to make channels k."""
    return {
        "name": "a",
        "dims": {"K": k, "C": c},
        "operands": [reads("x", ch={"terms": {"C": 1}})],
        **keys,
    }


@pytest.mark.parametrize(
    ("steps", "finished", "blocks"),
    [
        # All 6 weights in one row, which is opened before the first block: 60.
        (6, [60 + 49, 60 + 49 * 2], [60, 60 + 16, 60 + 32, 60 + 49, 60 + 65, 60 + 81]),
        # One row for each K, opened before its first block too, as the next one is on the way: 60 + 49 each.
        (3, [109, 218], [60, 76, 92, 169, 185, 201]),
        (5, [109, 218], [60, 76, 92, 169, 185, 201]),
        # One row for each step, opened inside the block: 60 + 9 + 7, three times, and 1.
        (1, [229, 458], [0, 76, 152, 229, 305, 381]),
        (2, [229, 458], [0, 76, 152, 229, 305, 381]),
    ],
)
def test_rows_are_opened(steps: int, finished: list[int], blocks: list[int]) -> None:
    opening = chip(cycles={**CYCLES, "open": 60}, steps_per_row=steps)
    (a,) = run([1, 3, 1, 1], [channels(2, 3)], ["K2t C3t"], opening)
    assert (a.start, finish(a), a.block_starts) == (0, finished, blocks)
    # Without weights, nothing is opened: two activations are multiplied.
    pair = [reads("x", ch={"terms": {"C": 1}}), reads("x", ch={"terms": {"K": 1, "C": 1}})]
    (b,) = run([1, 4, 1, 1], [channels(2, 3, operands=pair)], ["K2t C3t"], opening)
    assert b.block_starts[:2] == [0, 9 + 9 + 7]


def test_the_first_row_is_opened_in_time_for_the_data() -> None:
    opening = chip(cycles={**CYCLES, "open": 60}, steps_per_row=8)
    made = {"name": "m", "dims": {"K": 3}, "operands": [reads("x")]}
    layer = channels(2, 3, operands=[reads("m", ch={"terms": {"C": 1}})])
    m, a = run([1, 1, 1, 1], [made, layer], ["K3l", "K2t C3t"], opening)
    # `m` opens its row, loads, steps and drains 3 elements of 2 bits at 8 a cycle: 60 + 9 + 7 + 1. It is one
    # block, which that belongs to.
    assert (m.start, m.block_starts, m.end) == (0, [0], 77)
    assert (a.start, a.block_starts[0], a.needs[0]) == (84 - 60, 84, 84)
    # Released later than that, it opens its row then.
    m, a = run([1, 1, 1, 1], [made, layer], ["K3l", "K2t C3t"], opening, releases=[0, 100])
    assert (a.start, a.block_starts[0]) == (100, 160)


def test_weights_are_written_first_where_they_are_loaded_anew() -> None:
    reload = chip(weights="reload")
    made = {"name": "m", "dims": {"K": 3}, "operands": [reads("x")]}
    layer = channels(2, 3, operands=[reads("m", ch={"terms": {"C": 1}})])
    m, a = run([1, 1, 1, 1], [made, layer], ["K3l", "K2t C3t"], reload)
    # 3 weights of 1 bit, one for each lane: ceil(3 / 4) + 4. 6 weights in one lane: ceil(6 / 4) + 24.
    assert (m.start, m.block_starts, m.end) == (0, [5], 5 + 17)
    assert (a.start, a.block_starts[0]) == (22 + 7 - 26, 29)
    assert a.end == 29 + 2 * (3 * (9 + 7) + 1)
    # Over 2 channels a channel loads 3 of them, over 2 banks each of which takes 4 bits a cycle all 6.
    for text, cycles in (("K2c C3t", 1 + 12), ("K2b C3t", 1 + 12), ("C3t K2l", 2 + 12)):
        (b,) = run([1, 3, 1, 1], [channels(2, 3)], [text], reload)
        assert b.block_starts[0] == cycles
    # A product of two activations has no weights.
    pair = [reads("x", ch={"terms": {"C": 1}}), reads("x", ch={"terms": {"K": 1, "C": 1}})]
    (b,) = run([1, 4, 1, 1], [channels(2, 3, operands=pair)], ["K2t C3t"], reload)
    assert b.block_starts[0] == 0


def test_the_host_adds_up_lanes() -> None:
    layer = channels(2, 8, post=1)
    (a,) = run([1, 8, 1, 1], [layer], ["C2l K2l C2b C2c"], chip(reduction="host"))
    # Load 4 elements into 2 banks: ceil(8 / 8) + 8. 4 partial results of 8 bits leave at 8 a cycle.
    assert finish(a) == [9 + 7 + 4 + 10] * 2
    # On the chip: lanes 3 + 2, banks 16 / 4 + 2, channels 16 / 2 + 2, and 4 bits leave.
    (b,) = run([1, 8, 1, 1], [layer], ["C2l K2l C2b C2c"])
    assert finish(b) == [9 + 7 + 5 + 6 + 10 + 1 + 10] * 2
    # Nothing is read back, where the chip reads 8 bits back.
    (c,) = run([1, 2, 1, 1], [channels(2, 2)], ["C2t K2t"], chip(reduction="host"))
    (d,) = run([1, 2, 1, 1], [channels(2, 2)], ["C2t K2t"])
    assert (c.end, d.end) == (2 * (9 + 2 * (7 + 1)), 2 * (9 + 2 * (7 + 1 + 1)))


def test_a_buffer_takes_no_row_writes_and_no_rows() -> None:
    buffer = chip(inputs={"store": "buffer", "buffer_bits": 8}, rows_per_bank=9)
    (a,) = run([1, 1, 4, 1], [rows("a", "x")], ["P4t"], buffer)
    assert finish(a) == [(1 + 7 + 1) * i for i in (1, 2, 3, 4)]
    (a,) = run([1, 1, 4, 1], [rows("a", "x")], ["P4t @0"], buffer)
    assert finish(a) == [2 + 8 * i for i in (1, 2, 3, 4)]
    layer = Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "by hand",
            "inputs": [{"name": "x", "shape": [1, 1, 5, 1]}],
            "layers": [rows("a", "x", 5)],
        }
    ).layers[0]
    assert problems(layer, mapping("P5t @0"), buffer) == ["a tile takes 10 bits of the buffer of 8"]
    assert problems(layer, mapping("P2t P3t @1"), buffer) == []
    assert problems(layer, mapping("P2t P3l"), buffer) == []
    held = chip(rows_per_bank=28)
    assert problems(layer, mapping("P5t @0"), held) == ["a lane needs 29 rows, and there are 28"]
    assert problems(layer, mapping("P5t"), held) == []
    inside = "its inputs are loaded at depth 2, and the last that reads is 1"
    assert problems(layer, mapping("P5t @2"), held) == [inside]


def test_loops_in_space_keep_to_their_dims() -> None:
    layer = Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "by hand",
            "inputs": [{"name": "x", "shape": [1, 4, 1, 1]}],
            "layers": [channels(2, 4)],
        }
    ).layers[0]
    near_bank = chip(spread={"bank": ["K"], "column": ["C", "R", "S"]})
    assert problems(layer, mapping("K2b C4l"), near_bank) == []
    assert problems(layer, mapping("C2c K2t C2t"), near_bank) == []
    assert problems(layer, mapping("C2b K2t C2t"), near_bank) == [
        "a bank loop is over C, and on this chip bank loops may not be"
    ]
    assert problems(layer, mapping("K2l C4t"), near_bank) == [
        "a column loop is over K, and on this chip column loops may not be"
    ]


def test_bandwidths_may_be_fractions() -> None:
    slow = chip(bits_per_cycle={"load": "1/3", "drain": 0.5, "bank": 4, "channel": 2})
    (a,) = run([1, 1, 4, 1], [rows("a", "x")], ["P4t"], slow)
    # 2 bits take 6 cycles in and 4 out.
    assert finish(a) == [(6 + 8 + 7 + 4) * i for i in (1, 2, 3, 4)]


def test_a_residual_is_added_at_the_drain_and_awaited_by_the_block_that_finishes() -> None:
    made = {"name": "r", "dims": {"K": 2}, "operands": [reads("x")], "post": 9}
    residual = reads("r", ch={"terms": {"K": 1}})
    operands = [reads("x", ch={"terms": {"C": 1}}), residual]
    r, a = run([1, 3, 1, 1], [made, channels(2, 3, operands=operands)], ["K2l", "C3t K2l"])
    # `r` takes 9 + 7 + 1 and 9 post-operations. `a` loads and steps for each C: 16. The residual adds 2
    # elements of 2 bits at 4 a cycle, 2 rows at 4 and one addition to its only drain: 1 + (1 + 8 + 2).
    assert r.end == 107
    assert a.needs == [0, 0, 107 + 7]
    assert (a.block_starts, a.end) == ([0, 16, 114], 114 + 16 + 12)
    # With K outside, every third block finishes a channel, with one element at a time.
    r, a = run([1, 3, 1, 1], [made, channels(2, 3, operands=operands)], ["K2l", "K2t C3t"])
    assert a.needs == [0, 0, 114, 0, 0, 114]
    assert (a.block_starts[2], finish(a)) == (114, [114 + 16 + 12, 114 + 16 + 12 + 60])
    # The idle steps of a reduction over 4 of 3 channels read no input, and the last of them the residual.
    r, a = run([1, 3, 1, 1], [made, channels(2, 3, operands=operands)], ["K2l", "C2t C2t K2l"])
    assert a.needs == [0, 0, 0, 114]


def test_a_sum_is_a_residual_of_all_its_operands() -> None:
    made = [{"name": x, "dims": {"K": 2}, "operands": [reads("x")], "post": i} for i, x in enumerate("rs")]
    added = [{**reads(x, ch={"terms": {"K": 1}}), "sum": "s"} for x in "rs"]
    layer = channels(2, 3, operands=[reads("x", ch={"terms": {"C": 1}}), *added])
    *_, a = run([1, 3, 1, 1], [*made, layer], ["K2l", "K2l", "C3t K2l"])
    # `s` ends after 17 + 10; both are added at the drain: 1 + 2 * 11.
    assert (a.needs, a.end) == ([0, 0, 34], 34 + 16 + 1 + 22)


def test_an_order_needs_rows_that_are_opened_inside_the_blocks() -> None:
    def ordered(steps: int) -> list[int]:
        opening = chip(cycles={**CYCLES, "open": 60}, steps_per_row=steps)
        layer = {"name": "a", "dims": {"K": 2, "P": 2}, "operands": [reads("x", h={"terms": {"P": 1}})]}
        (a,) = run([1, 1, 2, 1], [layer], ["P2t K2t"], opening, orders=[[1, 0]])
        return finish(a)

    # A row for each of 2 K: 9 + 2 * (60 + 7 + 1) for each P. A row for both is opened before all blocks.
    assert ordered(1) == [2 * 145 - 68, 145 - 68, 2 * 145, 145]
    with pytest.raises(InputError, match="layer 'a': order, but a row is opened outside the blocks"):
        ordered(2)


def test_layers_are_reported_as_they_are_done() -> None:
    network = Network.model_validate(
        {
            "format": "overlapim/network/1",
            "name": "by hand",
            "inputs": [{"name": "x", "shape": [1, 1, 4, 1]}],
            "layers": [rows("b", "a"), rows("a", "x")],
        }
    )
    seen: list[tuple[int, int]] = []
    simulate(
        network,
        chip(),
        [mapping("P4t")] * 2,
        [0, 0],
        [None, None],
        lambda i, layer: seen.append((i, layer.end)),
    )
    assert seen == [(1, 68), (0, 92)]
