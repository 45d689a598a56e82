"""The method `cpsat` as a whole: never worse than the baselines, repeatable, interruptible, warm started."""

from __future__ import annotations

import random
import threading

import pytest
from generators import check_by_simulation, draw_solvable

from hw.library import load_hardware
from models.library import load_network
from solver.run import Improvement, Observer
from solver.solve import solve
from solver.stop import Stop


@pytest.mark.parametrize("weights", ["static", "shared"])
@pytest.mark.parametrize("seed", range(12))
def test_never_worse_than_the_baselines(seed: int, weights: str) -> None:
    network, chip = draw_solvable(random.Random(seed), 5, weights)  # type: ignore[arg-type]
    result = solve(network, chip, method="cpsat", stop=Stop.deterministic(3), seed=seed)
    check_by_simulation(result)
    for method in ("sequential", "layerwise"):
        assert (
            result.latency
            <= solve(network, chip, method=method, stop=Stop.deterministic(3), seed=seed).latency
        )
    assert 0 < result.bound <= result.latency


def test_the_same_seed_gives_the_same_solution() -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    first = solve(network, chip, method="cpsat", stop=Stop.deterministic(2), seed=3)
    again = solve(network, chip, method="cpsat", stop=Stop.deterministic(2), seed=3)
    assert first.solution == again.solution
    assert first.candidate_bound == again.candidate_bound


def test_bounds_over_everything_and_over_candidates() -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    result = solve(network, chip, method="cpsat", stop=Stop.deterministic(3))
    assert result.bound is not None and 0 < result.bound <= result.latency
    assert result.candidate_bound is not None and result.candidates is not None
    assert result.candidate_gap is not None and result.candidate_gap <= 0.05


@pytest.mark.parametrize("workers", [1, 2])
def test_a_warm_start_is_gone_on_from(workers: int) -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    worse = solve(network, chip, method="layerwise").plan
    result = solve(network, chip, method="cpsat", stop=Stop(seconds=2), warm_start=worse, workers=workers)
    again = solve(
        network, chip, method="cpsat", stop=Stop(seconds=1), warm_start=result.plan, workers=workers
    )
    assert again.latency <= result.latency <= worse.latency
    for found in (result, again):
        assert 0 < found.bound <= found.latency


class Interrupting(Observer):
    """Interrupts as soon as the search does something in particular."""

    def __init__(self, text: str) -> None:
        self.text, self.flag = text, threading.Event()
        self.late: list[str] = []

    def improved(self, improvement: Improvement) -> None:
        """Let it go on."""

    def doing(self, text: str) -> None:
        if self.flag.is_set():
            self.late.append(text)
        elif self.text in text:
            threading.Timer(0.3, self.flag.set).start()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("step", ["among candidates", "changes mappings"])
def test_an_interrupt_keeps_the_best(step: str, workers: int) -> None:
    observer = Interrupting(step)
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    stop = Stop(seconds=20, interrupt=observer.flag)
    result = solve(network, chip, method="cpsat", stop=stop, workers=workers, observer=observer)
    check_by_simulation(result)
    assert observer.flag.is_set() and result.seconds < 20
    assert observer.late == ["checks the answer"]
