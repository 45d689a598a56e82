"""Hardware files: what is refused and how, and whether the presets are what their sources say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.hardware import Hardware
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
    assert expected <= set(preset_names())


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
