"""Hardware files: what is refused and how, and whether the presets are what their sources say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.main import run
from hw.derive import (
    BitSimdTiming,
    Chip,
    NearBank,
    Rows,
    aim,
    aritpim,
    bitsimd,
    bitsimd_add,
    bitsimd_multiply,
    hbm_pim,
    simdram,
)
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
        "8: weights: must be 'static' or 'shared', found 'shard'; did you mean",
    ),
    "no clock": ("clock_ns: 1.0", "clock_ns: 0", "3: clock_ns: must be more than 0, found 0"),
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
        r"8: weights: must be 'static' or 'shared', found '\x1b[31m\n'",
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
    assert expected | {"hbm-pim", "gddr6-aim"} <= set(preset_names())


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
    row, logic, n, acc = 48, 1, 8, 32
    chip = load_hardware("hbm2-bitsimd")
    assert chip.cycles.multiply == (n * (n + 1) * 3 // 2) * row + (2 * n * n + n) * logic
    assert chip.cycles.add == 3 * acc * row + (3 * acc + 1) * logic


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
        fixed = 2 * bits.activation * layer.operand_count + bits.accumulator
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
SAMSUNG = NearBank(tccd_ns=4, read_ns=22, write_ns=10, post_ns=4, channel_gb_per_s=16)
HYNIX = NearBank(tccd_ns=1, read_ns=1, write_ns=3, post_ns=43, channel_gb_per_s=32)
DERIVED: dict[str, Callable[[Chip], Hardware]] = {
    "hbm2-bitsimd": lambda chip: bitsimd(chip, BitSimdTiming(34, 14, 1), HBM2_ROWS),
    "hbm2-bitsimd-8stack": lambda chip: bitsimd(chip, BitSimdTiming(34, 14, 1), HBM2_ROWS),
    "hbm2-simdram": lambda chip: simdram(chip, 45, HBM2_ROWS),
    "reram-aritpim": lambda chip: aritpim(chip, "serial", 64),
    "hbm-pim": lambda chip: hbm_pim(chip, SAMSUNG),
    "gddr6-aim": lambda chip: aim(chip, HYNIX),
}


@pytest.mark.parametrize("preset", DERIVED)
def test_presets_are_what_is_derived_from_their_timing(preset: str) -> None:
    known, derived = load_hardware(preset), DERIVED[preset](chip(preset))
    assert derived.model_copy(update={"source": known.source}) == known


COUNTS = {8: (72, 36, 136), 16: (272, 136, 528), 32: (1056, 528, 2080)}
"""Reads, writes and steps of logic of a BitSIMD-V product, as PIMeval's table has them."""


@pytest.mark.parametrize("bits", COUNTS)
def test_bitsimd_products_of_all_widths_in_the_table(bits: int) -> None:
    reads, writes, steps = COUNTS[bits]
    assert bitsimd_multiply(bits, 1000, 1).value == (reads + writes) * 1000 + steps
    assert bitsimd_add(bits, 1000, 1).value == 3 * bits * 1000 + 3 * bits + 1


def test_narrower_numbers_and_slower_rows() -> None:
    given = replace(
        chip("hbm2-bitsimd"), bits=BitWidths(activation=4, weight=2, accumulator=24), clock_ns=0.7
    )
    derived = bitsimd(given, BitSimdTiming(33.3, 14.1, 1.4), HBM2_ROWS)
    row, logic = 68, 2  # 47.4 and 1.4 ns in cycles of 0.7
    assert derived.cycles.multiply == (4 * 5 * 3 // 2) * row + 36 * logic
    assert derived.cycles.add == 72 * row + 73 * logic
    assert (derived.cycles.move, derived.cycles.transfer) == (24 * 2 * row, 4 * 179)
    assert derived.bits_per_cycle.load == 11  # 179.2 bits per cycle for 16 banks
    assert derived.bits_per_cycle.bank == 32  # 8192 bits in 179 cycles


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
        lambda: hbm_pim(given, SAMSUNG),
        lambda: aim(given, HYNIX),
    ):
        try:
            derived = derive()
        except InputError as error:
            assert "but must be at most 1073741824" in str(error)
            continue
        assert parse(dump(derived), Hardware, "chip.yaml") == derived
        for key, value in (derived.cycles.model_dump() | derived.bits_per_cycle.model_dump()).items():
            assert f"\n{key}: {value}, " in derived.source


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
