"""Specifications of sweeps: expressions can only compute, cases are what is said, errors name their lines."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.library import load_hardware
from overlapim_files import InputError, parse_located
from solver.sweep.cases import SweepCase, read_spec, sweep_cases
from solver.sweep.expressions import ExpressionError, expression
from solver.sweep.spec import SweepSpec

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "sweep" / "hbm2.yaml"
HEAD = "format: overlapim/sweep/1\nnetworks: [toy]\n"


def cases(rest: str, folder: Path = Path()) -> list[SweepCase]:
    return sweep_cases(parse_located(HEAD + rest, SweepSpec, "s.yaml"), folder)


# Expressions

NAMES = {"a": 3, "b": -2, "c": 0.5, "d.e": 7}
LEAVES = st.sampled_from(["a", "b", "c", "0", "1", "2", "17", "0.25"])


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    numbers = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    two = st.builds(lambda x, op, y: f"({x} {op} {y})", inner, numbers, inner)
    call = st.builds(lambda f, x, y: f"{f}({x}, {y})", st.sampled_from(["min", "max"]), inner, inner)
    chosen = st.builds(lambda x, y, p, q: f"({x} if {p} < {q} else {y})", inner, inner, inner, inner)
    return two | call | chosen | st.builds(lambda x: f"-{x}", inner)


@given(st.recursive(LEAVES, _joined, max_leaves=12))
def test_an_expression_is_what_python_makes_of_it(text: str) -> None:
    try:
        wanted = eval(text, {"__builtins__": {}}, {**NAMES, "min": min, "max": max})
    except (ZeroDivisionError, OverflowError):
        with pytest.raises(ExpressionError):
            expression(text).value(NAMES)
        return
    assert expression(text).value(NAMES) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("d.e + 1", 8),
        ("8192 / 2", 4096),
        ("7 / 2", 3.5),
        ("1 < a <= 3 and not b > 0", True),
        ("a in (1, 2, 3) or 1 / 0 > 1", True),
        ("'x' == 'x'", True),
        ("ceil(log2(a)) + round(c) + abs(b)", 4),
    ],
)
def test_what_expressions_come_to(text: str, value: Any) -> None:
    found = expression(text).value(NAMES)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.__class__",
        "(1).real",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "f'{a}'",
        "open('x')",
        "min(*(1, 2))",
        "round(number=1)",
        "'a' * 10**9",
        "(1,) * 10**9",
        "9**9**9",
        "2**255 * 2**255",
        "10.0**400",
        "(-8)**0.5",
        "1 / 0",
        "log2(0)",
        "a < 'x'",
        "nothing",
        "a(1)",
        "a[0]",
        "(" * 450,
        "-" * 450 + "1",
        "1+" * 240 + "1",
        "1" * 501,
        "0x" + "f" * 400,
        "",
        "\0",
    ],
)
def test_an_expression_can_do_nothing_but_compute_small_numbers(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ExpressionError) as error:
        expression(text).value(NAMES)
    assert str(error.value) and time.monotonic() - began < 1


# Chips and cases


def test_a_chip_has_every_combination_that_its_conditions_allow() -> None:
    found = cases("""\
chips:
  - from: toy
    set:
      banks_per_channel: [2, 4]
      columns_per_bank: {from: 8, to: 32, times: 2}
      rows_per_bank: "= 2 * rows_per_bank"
      cycles.multiply: "= columns_per_bank / 4"
    where: banks * columns_per_bank != 4 * 8
""")
    sizes = [(x.hardware.banks_per_channel, x.hardware.columns_per_bank) for x in found]
    assert sizes == [(2, 16), (2, 32), (4, 8), (4, 16), (4, 32)]
    assert all(x.hardware.rows_per_bank == 2 * load_hardware("toy").rows_per_bank for x in found)
    assert [x.hardware.cycles.multiply for x in found] == [4, 8, 2, 4, 8]
    assert found[0].hardware.name == "toy banks_per_channel=2, columns_per_bank=16"


def test_costs_of_a_derived_chip_follow_its_widths() -> None:
    from hw.derive.technologies import BITSIMD

    found = cases("chips:\n  - derive: bitsimd\n    set: {bits: [4, 8], accumulator: '= 4 * bits'}\n")
    for case, bits in zip(found, (4, 8), strict=True):
        known = BITSIMD.hardware({"bits": bits, "accumulator": 4 * bits, "name": case.hardware.name})
        assert case.hardware == known
    assert found[0].hardware.mac_cycles < found[1].hardware.mac_cycles


def test_everything_is_combined_and_conditions_see_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "format: overlapim/hardware/1\n"
        + "\n".join(
            f"{key}: {value}"
            for key, value in load_hardware("toy")
            .model_dump(mode="json", exclude_none=True, exclude={"format", "spread", "source"})
            .items()
        )
    )
    found = cases(
        """\
chips: [toy, mine.yaml]
weights: [static, shared]
batch: [1, 4]
seeds: {from: 0, to: 2, step: 1}
where:
  - batch == 1 or weights == 'shared'
  - area < 2 and network == 'toy' and layers == 4
area: lanes / 100
""",
        tmp_path,
    )
    kinds = [(x.record.weights, x.record.batch, x.record.seed) for x in found]
    # the file says what the preset says, so its cases are the same and solved once
    assert kinds == [(w, b, s) for b, w in ((1, "static"), (1, "shared"), (4, "shared")) for s in (0, 1, 2)]
    assert {x.record.area for x in found} == {1.28}
    assert len({x.record.group for x in found}) == 3


def test_a_key_is_of_what_is_solved_not_of_how_it_is_called() -> None:
    key = {x.record.key for x in cases("chips: [toy]\n")}
    other = "chips: [{from: toy, name: other, set: {columns_per_bank: [16, 32]}}]\nwhere: lanes < 200\n"
    assert {x.record.key for x in cases(other)} == key
    for changed in (
        "seconds: 5\n",
        "method: layerwise\n",
        "seeds: 1\n",
        "batch: 2\n",
        "weights: static\n",
        "inferences: 9\n",
        "objective: edp\n",
    ):
        assert {x.record.key for x in cases(f"chips: [toy]\n{changed}")}.isdisjoint(key)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("chips: [toyy]\n", r"s.yaml:3: chips\[0\].from: no preset .* 'toyy'; did you mean 'toy'\?"),
        ("chips:\n  - derive: bitsmd\n", r"s.yaml:4: chips\[0\].derive: .*; did you mean 'bitsimd'\?"),
        ("chips: [{}]\n", r"s.yaml:3: chips\[0\]: a chip has either `from`.* or `derive`"),
        ("chips: [toy]\nsedes: 1\n", r"s.yaml:4: unknown key 'sedes'; did you mean 'seeds'\?"),
        ("chips: [toy]\nmethod: cpst\n", r"s.yaml:4: method: .*; did you mean 'cpsat'\?"),
        (
            "chips: [toy]\nobjective: [makespan, enrgy]\n",
            r"s.yaml:4: objective\[1\]: .*; did you mean 'energy'\?",
        ),
        ("chips: [toy]\nweights: statc\n", r"s.yaml:4: weights.*; did you mean 'static'\?"),
        ("chips: [toy]\nnetworks: [toy]\n", r"s.yaml:4: the key 'networks' is given twice"),
        ("chips: [toy]\nwhere: lane < 1\n", r"s.yaml:4: where\[0\]: .*'lane'.*; did you mean 'lanes'\?"),
        ("chips: [toy]\nwhere: open('x')\n", r"s.yaml:4: where\[0\]: there is no function 'open'"),
        ("chips: [toy]\nwhere: lanes\n", r"s.yaml:4: where\[0\]: .* 128; a condition is true or false"),
        ("chips: [toy]\nwhere: lanes < 1\n", r"s.yaml:1: no combination is left"),
        ("chips: [toy]\narea: 0 * lanes\n", r"s.yaml:4: area: comes to 0, but must be .* above 0"),
        ("chips: [toy]\nbatch: 9999999\n", r"s.yaml:4: batch\[0\]: must be at most 1048576"),
    ],
)
def test_an_error_names_the_line_and_the_nearest_choice(rest: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        cases(rest)
    assert re.match(message, str(error.value)), str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{columns_per_bnk: 8}", r"set.columns_per_bnk: .*; did you mean 'columns_per_bank'\?"),
        ("{columns_per_bank: [16, 0]}", r"set: columns_per_bank: must be at least 1, found 0, with col"),
        ("{columns_per_bank: '= 7 / 2'}", r"set: columns_per_bank: must be an integer, found 3.5"),
        ("{columns_per_bank: '= 3 *'}", r"set.columns_per_bank: .* is no expression"),
        ("{columns_per_bank: '= rows_per_bank', rows_per_bank: '= columns_per_bank'}", ".*need each other"),
        ("{columns_per_bank: [1, '= 2']}", r"set.columns_per_bank\[1\]: an expression stands by itself"),
        ("{columns_per_bank: []}", "set.columns_per_bank: an empty list"),
        ("{cycles: {multiply: 8}}", r"set.cycles.multiply: .*`outer.inner: ..`"),
        ("{cycles: 3, cycles.multiply: 8}", "set.cycles.multiply: `cycles` is 3, which has no fields"),
        ("{columns_per_bank: {from: 1, to: 8}}", "set.columns_per_bank: a range has .* `step` or `times`"),
        ("{columns_per_bank: {from: 8, to: 1, step: 1}}", "set.columns_per_bank: a range goes up"),
        ("{columns_per_bank: {from: 1, to: 8, step: 0}}", "set.columns_per_bank.step: must be more than 0"),
        ("{columns_per_bank: {from: 1, to: 99999, step: 1}}", "set.columns_per_bank: .* at most 10,000"),
        (
            "{columns_per_bank: {from: 1, to: 999, step: 1}, rows_per_bank: {from: 1, to: 999, step: 1}}",
            "set: 998,001 combinations",
        ),
    ],
)
def test_an_error_in_a_chip_names_its_field(given: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        cases(f"chips:\n  - from: toy\n    set: {given}\n")
    assert re.match(rf"s.yaml:5: chips\[0\].{message}", str(error.value)), str(error.value)


def test_options_of_a_technology_have_limits() -> None:
    with pytest.raises(InputError, match=r"s.yaml:5: chips\[0\].set.columns\[1\]: must be an integer from 1"):
        cases("chips:\n  - derive: bitsimd\n    set: {columns: [8, x]}\n")


def test_a_specification_may_be_data() -> None:
    spec = read_spec({"format": "overlapim/sweep/1", "networks": "toy", "chips": ["toy"], "seeds": [0, 1]})
    assert len(sweep_cases(spec, Path())) == 2
    with pytest.raises(InputError, match="only what a YAML file can say"):
        read_spec({"format": object()})


def test_the_example_is_200_chips_for_three_networks() -> None:
    found = sweep_cases(read_spec(EXAMPLE), EXAMPLE.parent)
    assert len({case.record.hardware_sha256 for case in found}) == 200
    assert len(found) == 600
