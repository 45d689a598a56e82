"""Hardware files: what is refused and how, and whether the presets are what their sources say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.main import run
from hw.derive.bitserial import (
    BitSimdTiming,
    Rows,
    bitsimd,
    bitsimd_accumulate,
    bitsimd_add,
    bitsimd_multiply,
    simdram,
)
from hw.derive.chip import Chip
from hw.derive.nearbank import HbmPim, NearBank, aim, hbm_pim
from hw.derive.reram import aritpim
from hw.hardware import BitWidths, Hardware
from hw.library import load_hardware, preset_names
from models.library import load_network
from overlapim_files import InputError, dump, parse

CHIP = """\
format: overlapim/hardware/1
name: chip
clock_ns: 1.0
channels: 2
banks_per_channel: 4
columns_per_bank: 16
rows_per_bank: 1024
weights: shared
bits: {activation: 8, weight: 8, accumulator: 32}
cycles:
  multiply: 4
  add: 1
  move: 1
  row_write: 0
  post: 1
  transfer: 2
bits_per_cycle: {load: 8, drain: 8, bank: 8, channel: 4}
sync_blocks: 64
"""

WRONG = {
    "zero channels": ("channels: 2", "channels: 0", "4: channels: must be at least 1, found 0"),
    "too many": ("channels: 2", "channels: 9999999", "4: channels: must be at most 1048576, found 9999999"),
    "boolean": ("channels: 2", "channels: true", "4: channels: must be an integer, found true"),
    "float": ("channels: 2", "channels: 2.0", "4: channels: must be an integer, found 2.0"),
    "text": ("channels: 2", "channels: two", "4: channels: must be an integer, found 'two'"),
    "octal": ("channels: 2", "channels: 017", "4: channels: must be an integer, found '017'"),
    "nothing": ("channels: 2", "channels:", "4: channels: must be an integer, found nothing"),
    "misspelt key": ("channels: 2", "chanels: 2", "4: unknown key 'chanels'; did you mean 'channels'?"),
    "misspelt inner key": ("  add: 1", "  ad: 1", "12: cycles: unknown key 'ad'; did you mean 'add'?"),
    "missing key": ("channels: 2\n", "", "1: the key 'channels' is missing"),
    "missing inner key": ("  add: 1\n", "", "10: cycles: the key 'add' is missing"),
    "free multiply": ("multiply: 4", "multiply: 0", "11: cycles.multiply: must be at least 1, found 0"),
    "negative cost": ("  add: 1", "  add: -1", "12: cycles.add: must be at least 0, found -1"),
    "weights": (
        ": shared",
        ": shard",
        "8: weights: must be 'static', 'shared' or 'reload', found 'shard'; did you mean",
    ),
    "no clock": ("clock_ns: 1.0", "clock_ns: 0", "3: clock_ns: must be more than 0, found 0"),
    "steps without open": (
        ": shared",
        ": shared\nsteps_per_row: 3",
        "steps_per_row needs cycles.open, which is",
    ),
    "open without steps": (
        "  add: 1",
        "  add: 1\n  open: 3",
        "cycles.open needs steps_per_row, which is missing",
    ),
    "buffer without a size": (
        "weights: shared",
        "weights: shared\ninputs: {store: buffer}",
        "9: inputs: buffer_bits goes with {store: buffer}, and only with it",
    ),
    "no such dim": (
        "weights: shared",
        "weights: shared\nspread: {bank: [X]}",
        "9: spread.bank[0]: must be 'N', 'G', 'K', 'P', 'Q', 'C', 'R' or 'S', found 'X'",
    ),
    "refresh all the time": (
        "weights: shared",
        "weights: shared\nrefresh: {interval_ns: 5.0, busy_ns: 5.0}",
        "9: refresh: busy_ns must be below interval_ns",
    ),
    "misspelt energy": (
        "weights: shared",
        "weights: shared\nenergy: {macs: 1.0}",
        "9: energy: unknown key 'macs'; did you mean 'mac'?",
    ),
    "endless bandwidth": ("load: 8", "load: '1e999999999'", "17: bits_per_cycle.load: must be a number"),
    "negative bandwidth": ("load: 8", "load: -1/3", "17: bits_per_cycle.load: must be above 0"),
    "infinite clock": ("clock_ns: 1.0", "clock_ns: .inf", "3: clock_ns: must be a finite number, found inf"),
    "clock as text": ("clock_ns: 1.0", "clock_ns: fast", "3: clock_ns: must be a number, found 'fast'"),
    "empty name": ("name: chip", "name: ''", "2: name: must be non-empty text, found ''"),
    "number as name": ("name: chip", "name: 5", "2: name: must be text"),
    "list for mapping": (
        "{load: 8, drain: 8, bank: 8, channel: 4}",
        "[8]",
        "17: bits_per_cycle: must be a mapping of keys to values, found a list of 1",
    ),
    "network": ("hardware/1", "network/1", "1: format: 'format: overlapim/hardware/1' is needed here"),
    "later version": ("hardware/1", "hardware/2", "this file says 'overlapim/hardware/2'"),
    "control characters": (
        "shared",
        '"\\e[31m\\n"',
        r"8: weights: must be 'static', 'shared' or 'reload', found '\x1b[31m\n'",
    ),
    "very long": (": shared", f": {'x' * 9999}", "xxx ... xxx"),
}


def test_the_chip_is_valid() -> None:
    chip = parse(CHIP, Hardware, "chip.yaml")
    assert (chip.banks, chip.lanes, chip.mac_cycles) == (8, 128, 5)


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files(old: str, new: str, message: str) -> None:
    assert old in CHIP
    with pytest.raises(InputError) as error:
        parse(CHIP.replace(old, new, 1), Hardware, "chip.yaml")
    assert str(error.value).startswith("chip.yaml:")
    assert str(error.value).isprintable()
    assert message in str(error.value)
    assert "pydantic" not in str(error.value)
    assert len(str(error.value)) < 300


def test_integers_are_fine_where_a_number_is_needed() -> None:
    assert parse(CHIP.replace("clock_ns: 1.0", "clock_ns: 2"), Hardware, "chip.yaml").clock_ns == 2


# Presets


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_their_name_and_a_source(name: str) -> None:
    chip = load_hardware(name)
    assert chip.name == name
    assert len(chip.source) > 50


def test_there_are_presets() -> None:
    expected = {"hbm2-bitsimd", "hbm2-bitsimd-8stack", "hbm2-simdram", "reram-aritpim", "toy"}
    assert expected | {"hbm-pim", "gddr6-aim", "upmem-dpu"} <= set(preset_names())


def test_unknown_preset_names_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as error:
        load_hardware("hbm2-bitsim")
    assert "did you mean 'hbm2-bitsimd'?" in str(error.value)
    assert all(name in str(error.value) for name in preset_names())


def test_a_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "chip").write_text(CHIP)
    assert load_hardware(str(tmp_path / "chip")).name == "chip"
    with pytest.raises(InputError, match="no such file"):
        load_hardware("missing.yaml")


def test_bitsimd_counts() -> None:
    """An exact product and its addition: 176 rows read, 104 written, 353 steps of logic."""
    chip = load_hardware("hbm2-bitsimd")
    assert (chip.cycles.multiply, chip.cycles.add) == (9856, 3937)
    assert chip.mac_cycles == (176 + 104) * 48 + 353


def test_simdram_counts() -> None:
    chip = load_hardware("hbm2-simdram")
    assert chip.cycles.multiply == 663 * 45
    assert chip.cycles.add == (8 * 32 + 1) * 45


def test_eight_stacks_differ_in_channels_only() -> None:
    one, eight = load_hardware("hbm2-bitsimd"), load_hardware("hbm2-bitsimd-8stack")
    changed = {"channels": 64, "name": eight.name, "source": eight.source}
    assert one.model_copy(update=changed) == eight


def test_vgg16_fits_into_the_reram_chip() -> None:
    chip = load_hardware("reram-aritpim")
    bits = chip.bits
    needed = 0
    for layer in load_network("vgg16").layers:
        fixed = 2 * bits.activation * len(layer.loaded) + bits.accumulator
        per_bank = (chip.rows_per_bank - fixed) // bits.weight * chip.columns_per_bank
        needed += -(-layer.weights // per_bank)
    assert needed <= chip.banks


def test_weights_can_be_switched() -> None:
    chip = load_hardware("toy").with_weights("static")
    assert chip.weights == "static"
    assert "weights: static" in dump(chip)


def test_peaks_of_the_near_bank_chips() -> None:
    """About 1 TFLOPS for a stack of HBM-PIM and for each of the 16 chips of two channels of AiM."""
    stack, aim = load_hardware("hbm-pim"), load_hardware("gddr6-aim")
    for chip, parts in ((stack, 1), (aim, 16)):
        operations = 2 * chip.lanes / (chip.mac_cycles * chip.clock_ns * 1e-9)
        assert operations / parts == pytest.approx(1.024e12)
    assert stack.lanes * stack.rows_per_bank == 4 * 2**30 * 8
    assert load_hardware("upmem-dpu").lanes * load_hardware("upmem-dpu").rows_per_bank == 8 * 2**30 * 8
    assert aim.lanes * aim.rows_per_bank == 16 * 2**30 * 8


# Derived chips


def chip(preset: str) -> Chip:
    """What is given of a preset: all but its costs."""
    known = load_hardware(preset)
    return Chip(
        known.name,
        known.clock_ns,
        known.channels,
        known.banks_per_channel,
        known.columns_per_bank,
        known.rows_per_bank,
        known.weights,
        known.bits,
    )


HBM2_ROWS = Rows(copy_ns=125, channel_gb_per_s=32)
SAMSUNG = NearBank(
    tccd_ns=4,
    open_ns=14 + 14,
    load_ns=15 + 19 + 24 / 2,
    drain_ns=15 + 24 + 8 * 4,
    read_ns=22,
    write_ns=10,
    post_ns=4,
    channel_gb_per_s=16,
    row_bits=8192,
    buffer_bits=8 * 256,
)
ACCUMULATORS = HbmPim(accumulators=8, refresh_interval_ns=3900, refresh_busy_ns=350)
HYNIX = NearBank(
    tccd_ns=1,
    open_ns=(12 + 32 + 56) / 2,
    load_ns=(2 * 32 - 12) / 2,
    drain_ns=(2 * 32 - 12) / 2,
    read_ns=1,
    write_ns=3,
    post_ns=43,
    channel_gb_per_s=32,
    row_bits=16384,
    buffer_bits=16384,
)
EXCHANGE_NS = (5 + 14) / 2
DERIVED: dict[str, Callable[[Chip], Hardware]] = {
    "hbm2-bitsimd": lambda chip: bitsimd(chip, BitSimdTiming(34, 14, 1), HBM2_ROWS),
    "hbm2-bitsimd-8stack": lambda chip: bitsimd(chip, BitSimdTiming(34, 14, 1), HBM2_ROWS),
    "hbm2-simdram": lambda chip: simdram(chip, 45, HBM2_ROWS),
    "reram-aritpim": lambda chip: aritpim(chip, "serial", 64),
    "hbm-pim": lambda chip: hbm_pim(chip, SAMSUNG, ACCUMULATORS),
    "gddr6-aim": lambda chip: aim(chip, HYNIX, EXCHANGE_NS),
}


@pytest.mark.parametrize("preset", DERIVED)
def test_presets_are_what_is_derived_from_their_timing(preset: str) -> None:
    known, derived = load_hardware(preset), DERIVED[preset](chip(preset))
    assert derived.model_copy(update={"source": known.source}) == known


PRODUCTS = {4: (32, 20, 64), 8: (128, 72, 256)}
"""Reads, writes and steps of logic of an exact product, as counted in the micro-programs of both widths."""


@pytest.mark.parametrize("bits", PRODUCTS)
def test_exact_products_are_those_of_the_micro_programs(bits: int) -> None:
    product = bitsimd_multiply(bits)
    assert (product.reads, product.writes, product.logic) == PRODUCTS[bits]


@pytest.mark.parametrize("bits", (8, 16, 32))
def test_additions_of_all_widths_in_the_table(bits: int) -> None:
    assert bitsimd_add(bits).cycles(1000, 1).value == 3 * bits * 1000 + 3 * bits + 1


def test_a_product_is_added_as_it_is_not_widened() -> None:
    assert bitsimd_accumulate(8, 32).cycles(48, 1).value == 3937
    assert bitsimd_add(32).cycles(48, 1).value == 4705


def test_the_energy_of_a_multiply_accumulate() -> None:
    """30.8 pJ a lane of BitSIMD with its rows, 5.1 of AiM, 11.3 of AritPIM: the figures that sources give."""
    energies = {}
    for name in ("hbm2-bitsimd", "gddr6-aim", "reram-aritpim"):
        chip = load_hardware(name)
        assert chip.energy is not None
        energies[name] = chip.energy.step / chip.columns_per_bank + chip.energy.mac
    assert energies == pytest.approx(
        {"hbm2-bitsimd": 30.8, "gddr6-aim": 5.12, "reram-aritpim": 11.3}, rel=0.01
    )


def test_shares_of_a_bus_are_fractions() -> None:
    shared = aim(replace(chip("gddr6-aim"), banks_per_channel=512), HYNIX, EXCHANGE_NS)
    assert shared.bits_per_cycle.load == shared.bits_per_cycle.drain == Fraction(1, 4)
    assert shared.bits_per_cycle.channel == Fraction(16, 19)


def test_narrower_numbers_and_slower_rows() -> None:
    given = replace(
        chip("hbm2-bitsimd"), bits=BitWidths(activation=4, weight=2, accumulator=24), clock_ns=0.7
    )
    derived = bitsimd(given, BitSimdTiming(33.3, 14.1, 1.4), HBM2_ROWS)
    row, logic = 68, 2  # 47.4 and 1.4 ns in cycles of 0.7
    assert derived.cycles.multiply == 52 * row + 64 * logic
    assert derived.cycles.add == 56 * row + 73 * logic
    assert (derived.cycles.move, derived.cycles.transfer) == (48 * row + 72 * logic, 4 * 179)
    assert derived.bits_per_cycle.load == Fraction("11.2")  # 179.2 bits per cycle for 16 banks
    assert derived.bits_per_cycle.bank == Fraction(8192, 179)


def test_the_page_about_hardware_shows_what_is_derived() -> None:
    given = replace(chip("hbm2-bitsimd"), bits=BitWidths(activation=4, weight=4, accumulator=24))
    page = Path(__file__).parents[1] / "docs" / "hardware.md"
    assert bitsimd(given, BitSimdTiming(34, 14, 1), HBM2_ROWS).source in page.read_text(encoding="utf-8")


def test_bit_parallel_arithmetic_is_faster() -> None:
    derived = aritpim(chip("reram-aritpim"), "parallel", 64)
    assert (derived.cycles.multiply, derived.cycles.add) == (327, 95)


def test_what_cannot_be_derived() -> None:
    odd = BitWidths(activation=8, weight=12, accumulator=32)
    with pytest.raises(InputError, match="AritPIM gives latencies for 8, 16, 32 and 64 bits, not for 12"):
        aritpim(replace(chip("reram-aritpim"), bits=odd), "serial", 64)
    with pytest.raises(InputError, match=r"multiply comes to \d+, but must be at most 1073741824"):
        simdram(replace(chip("hbm2-simdram"), clock_ns=1e-6), 45, HBM2_ROWS)


@settings(max_examples=20)
@given(
    bits=st.integers(1, 64),
    accumulator=st.integers(1, 128),
    clock=st.floats(0.01, 100),
    banks=st.integers(1, 1024),
    columns=st.integers(1, 2**20),
)
@example(bits=1, accumulator=42, clock=0.01, banks=100, columns=165270)
def test_every_derived_chip_is_a_valid_file_or_refused(
    bits: int, accumulator: int, clock: float, banks: int, columns: int
) -> None:
    widths = BitWidths(activation=bits, weight=bits, accumulator=accumulator)
    given = Chip("drawn", clock, 4, banks, columns, 1024, "shared", widths)
    for derive in (
        lambda: bitsimd(given, BitSimdTiming(34, 14, 1), HBM2_ROWS),
        lambda: simdram(given, 45, HBM2_ROWS),
        lambda: hbm_pim(given, SAMSUNG, ACCUMULATORS),
        lambda: aim(given, HYNIX, EXCHANGE_NS),
    ):
        try:
            derived = derive()
        except InputError as error:
            assert "but must be at most 1073741824" in str(error)
            continue
        assert parse(dump(derived), Hardware, "chip.yaml") == derived
        assert derived.energy is not None
        for record in (derived.cycles, derived.bits_per_cycle, derived.energy):
            for key, value in record.model_dump(exclude_unset=True).items():
                assert f"\n  {key}: {value}, " in derived.source


RUNS = {
    "bitsimd": "hbm2-bitsimd",
    "simdram": "hbm2-simdram",
    "aritpim": "reram-aritpim",
    "hbm-pim": "hbm-pim",
    "aim": "gddr6-aim",
}


@pytest.mark.parametrize("technology", RUNS)
def test_without_options_the_command_gives_the_preset(
    technology: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, known = tmp_path / "chip.yaml", load_hardware(RUNS[technology])
    assert run(["hw", "derive", technology, "--name", known.name, "--out", str(file)], 0.0) == 0
    assert capsys.readouterr().out == ""
    assert load_hardware(str(file)).model_copy(update={"source": known.source}) == known
    assert run(["hw", "derive", technology, "--name", known.name], 0.0) == 0
    assert capsys.readouterr().out == file.read_text()


REFUSED = {
    "no bits": (["bitsimd", "--bits", "0"], "must be an integer from 1 to 1024, not '0'"),
    "no number": (["bitsimd", "--tras", "nan"], "must be a number of nanoseconds from 0.001 to 1000000"),
    "no name": (["simdram", "--name", ""], "must have 1 to 200 characters, not 0"),
    "unknown technology": (["bitsmd"], "No such command 'bitsmd'"),
    "foreign option": (["aritpim", "--tras", "34"], "No such option: --tras"),
    "odd width": (
        ["aritpim", "--bits", "12"],
        "AritPIM gives latencies for 8, 16, 32 and 64 bits, not for 12",
    ),
    "too slow": (["bitsimd", "--clock", "0.001", "--bits", "1024"], "multiply comes to"),
    "no directory": (["aim", "--out", "missing/chip.yaml"], "missing/chip.yaml: cannot be written"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_options_cost_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["hw", "derive", *arguments], 0.0) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err


OPTIONAL = {
    "gddr6-aim": [
        "row         serves 64 steps",
        "spread      bank K, column C R S",
        "buffer      16,384 bits",
    ],
    "hbm-pim": ["reduction   by the host", "refresh     350 of every 3900 ns", "load 46, drain 71, open 28"],
    "reram-aritpim": ["energy, pJ  mac 11.26, add 3.693, post 3.693"],
}


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_a_chip_says_beside_its_costs_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hw", "show", name], 0.0) == 0
    out = capsys.readouterr().out
    assert all(line in out for line in OPTIONAL[name])


def test_what_a_chip_does_not_say_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chip.yaml").write_text(CHIP)
    assert run(["hw", "show", str(tmp_path / "chip.yaml")], 0.0) == 0
    out = capsys.readouterr().out
    assert "energy, pJ  not given" in out
    assert not any(word in out for word in ("spread", "buffer", "reduction", "refresh", "open"))


def test_times_count_refreshes() -> None:
    chip = load_hardware("hbm-pim")
    assert chip.nanoseconds(3550) == pytest.approx(3900)


def test_weights_that_are_loaded_anew(tmp_path: Path) -> None:
    file = tmp_path / "chip.yaml"
    assert run(["hw", "derive", "bitsimd", "--weights", "reload", "--out", str(file)], 0.0) == 0
    assert load_hardware(str(file)).weights == "reload"
    arguments = [
        "solve",
        "toy",
        "--hw",
        "toy",
        "--weights",
        "reload",
        "-m",
        "sequential",
        "-o",
        str(tmp_path),
    ]
    assert run(arguments, 0.0) == 0
    assert "weights: reload" in (tmp_path / "solution.yaml").read_text()
