"""The built-in chips against simulators that others wrote, and the page that shows it."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from cli.commands.bench.validate import sheet
from cli.main import run
from hw.library import load_hardware
from overlapim_files import digest, load, load_json
from solver.account.cycles import spent
from solver.bench.validation import (
    Decoding,
    Gemv,
    Operation,
    Simulator,
    ValidationResults,
    energy_split,
    figures,
    measure_decoding,
    measure_gemv,
    own_plan,
    parts,
    solutions,
    validation_cases,
    with_refresh,
)
from solver.solution import Solution, read_verified
from solver.stop import Stop
from solver.timing.timeline import LayerTimes

DOCS = Path(__file__).parents[1] / "docs"
TOLERANCE = 0.1
GEMVS = {f"{s.name} {g.name}": (s, g) for s in figures() for g in s.gemvs}
DECODINGS = {f"{s.name} {d.name}": (s, d) for s in figures() for d in s.decodings}
OPERATIONS = {f"{s.name} {o.work}": (s, o) for s in figures() for o in s.operations}


def ideal(times: LayerTimes) -> int:
    return times.end - times.start


@pytest.mark.parametrize(("simulator", "gemv"), GEMVS.values(), ids=GEMVS)
def test_gemvs_take_what_the_simulators_say(simulator: Simulator, gemv: Gemv) -> None:
    """Of the simulator's own mapping and of the best one; the latter is looked for from the former."""
    measured = measure_gemv(gemv, simulator.hardware(gemv), Stop.deterministic(1.0))
    assert measured is not None
    assert measured.best <= measured.own
    assert measured.own == pytest.approx(gemv.cycles, rel=TOLERANCE)
    assert measured.best == pytest.approx(gemv.cycles, rel=TOLERANCE)


@pytest.mark.parametrize(("simulator", "operation"), OPERATIONS.values(), ids=OPERATIONS)
def test_operations_cost_what_the_simulators_say(simulator: Simulator, operation: Operation) -> None:
    case = next(case for case in validation_cases(1.0) if case.what.work == operation.work)
    result = case.measure(Stop().interrupt)
    assert result is not None
    assert result.own == pytest.approx(operation.cycles, rel=0.001)


@pytest.mark.parametrize(("system", "decoding"), DECODINGS.values(), ids=DECODINGS)
def test_decoding_takes_up_to_a_third_more_than_published(system: Simulator, decoding: Decoding) -> None:
    measured = measure_decoding(decoding, load_hardware(system.chip), Stop.deterministic(1.0))
    assert measured is not None and measured.post is not None
    assert 1 < measured.best / decoding.cycles < 4 / 3
    assert measured.best - measured.post < 1.1 * decoding.cycles


def test_the_multiply_accumulate_of_bitsimd_is_exact() -> None:
    (operation,) = (o for s, o in OPERATIONS.values() if s.name == "PIMeval" and "product" in o.work)
    case = next(case for case in validation_cases(1.0) if case.what.work == operation.work)
    result = case.measure(Stop().interrupt)
    assert result is not None and result.own == operation.cycles == 13_793


@pytest.mark.parametrize(("simulator", "gemv"), GEMVS.values(), ids=GEMVS)
def test_parts_add_up(simulator: Simulator, gemv: Gemv) -> None:
    chip = simulator.hardware(gemv)
    _, plan = own_plan(gemv, chip)
    (times,) = plan.timeline.layers
    here = parts(plan, chip)
    assert sum(x for _, x in here if x is not None) == pytest.approx(with_refresh(plan.latency, chip))
    assert sum(astuple(spent(times, chip))) == ideal(times) == plan.latency


def test_the_energy_of_a_gemv_is_within_a_twentieth() -> None:
    (gemv, simulator) = next((g, s) for s in figures() for g in s.gemvs if g.energy is not None)
    chip = simulator.hardware(gemv)
    found = energy_split(own_plan(gemv, chip)[1], chip)
    assert found is not None and gemv.energy is not None
    assert found.total == pytest.approx(gemv.energy.total, rel=0.05)
    assert found.total == pytest.approx(found.multiply + found.rows + found.standby + found.pins, abs=0.01)
    for part in ("multiply", "rows", "standby"):
        assert getattr(found, part) == pytest.approx(getattr(gemv.energy, part), rel=0.05)


def test_work_is_spread_as_the_simulators_spread_it() -> None:
    """Every lane does the same number of multiply-accumulates, and none is idle."""
    for simulator, gemv in GEMVS.values():
        chip = simulator.hardware(gemv)
        here = parts(own_plan(gemv, chip)[1], chip)
        assert here.multiply == gemv.outputs * gemv.inputs * chip.mac_cycles / chip.lanes
        if gemv.parts.multiply is not None:
            assert here.multiply == gemv.parts.multiply


def test_the_solution_files_in_the_documentation_are_those_of_today() -> None:
    known = dict(solutions())
    assert {path.name for path in (DOCS / "validation").iterdir()} == set(known)
    for name, solution in known.items():
        read_verified(DOCS / "validation" / name)
        assert digest(load(DOCS / "validation" / name, Solution)) == digest(solution)


def test_the_page_shows_the_figures_and_chips_of_today() -> None:
    results = load_json(DOCS / "validation.json", ValidationResults)
    assert [case.what for case in results.cases] == [case.what for case in validation_cases(5.0)]
    assert sheet(results).markdown().strip() in (DOCS / "validation.md").read_text(encoding="utf-8")


def test_the_command_writes_page_results_and_solutions(tmp_path: Path) -> None:
    assert run(["bench", "validate", "-t", "0.1", "-q", "--out", str(tmp_path)], 0.0) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"validation", "validation.json", "validation.md"}
    assert len(list((tmp_path / "validation").iterdir())) == len(GEMVS)
    assert "# Against independent simulators" in (tmp_path / "validation.md").read_text()
