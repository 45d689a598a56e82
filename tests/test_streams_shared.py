"""Streams on banks that layers share: every start is tried; layers are put off for other inferences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import pytest

from hw.hardware import Hardware
from models.network import Network
from solver.execute.succession import succeed
from solver.solve import Result, solve
from solver.stop import Stop
from solver.timing.limits import LayerLimits, Limits
from solver.timing.mapping import Loop, Mapping
from solver.timing.objective import Objective
from solver.timing.problem import Problem
from solver.timing.timeline import Timeline, evaluate


def reads(name: str, count: int) -> dict[str, object]:
    return {"from": name, "flatten": {"terms": {"C": 1}, "shape": [count, 1, 1]}}


CHAIN = Network.model_validate(
    {
        "format": "overlapim/network/1",
        "name": "chain",
        "inputs": [{"name": "x", "shape": [1, 1, 1, 1]}],
        "layers": [
            {"name": "a", "dims": {"K": 3, "C": 1}, "operands": [reads("x", 1)]},
            {"name": "b", "dims": {"K": 2, "C": 3}, "operands": [reads("a", 3)]},
            {"name": "c", "dims": {"K": 2, "C": 2}, "operands": [reads("b", 2)]},
        ],
    }
)
MAPPINGS = (
    Mapping((Loop("K", 3, "temporal"),)),
    Mapping((Loop("C", 3, "column"), Loop("K", 2, "temporal"))),
    Mapping((Loop("C", 2, "column"), Loop("K", 2, "temporal"))),
)
PAIRS = list(product((0, 1), repeat=2))
"""The banks of the second and of the third layer; the first has bank 0."""


def chip(weights: str) -> Hardware:
    return Hardware.model_validate(
        {
            "format": "overlapim/hardware/1",
            "name": "two",
            "clock_ns": 1.0,
            "channels": 1,
            "banks_per_channel": 2,
            "columns_per_bank": 3,
            "rows_per_bank": 100,
            "weights": weights,
            "bits": {"activation": 1, "weight": 1, "accumulator": 1},
            "cycles": {"multiply": 1, "add": 0, "move": 0, "row_write": 0, "post": 0, "transfer": 1},
            "bits_per_cycle": {"load": 100, "drain": 100, "bank": 100, "channel": 100},
            "sync_blocks": 8,
        }
    )


@cache
def started(weights: str, spacing: int) -> list[Timeline]:
    """Return the chain with every start of its layers up to a spacing after their data."""
    problem = Problem(CHAIN, chip(weights))
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(MAPPINGS)]

    def puts(releases: list[int]) -> Iterator[Timeline]:
        if len(releases) == len(profiles):
            yield evaluate(problem, profiles, releases)
            return
        rest = [0] * (len(profiles) - len(releases))
        natural = evaluate(problem, profiles, [*releases, *rest]).layers[len(releases)].start
        for later in range(spacing):
            yield from puts([*releases, natural + later])

    return list(puts([0]))


def least(weights: str, banks: Sequence[Sequence[int]], objective: Objective) -> int:
    """Return the least makespan over all starts and intervals."""
    alone = started(weights, 1)[0].latency
    most = objective.interval_at_most or alone
    found = []
    for spacing in range(1, min(most, alone) + 1):
        for timeline in started(weights, spacing):
            times = [(layer.start, layer.end) for layer in timeline.layers]
            if not succeed("abc", banks, times, spacing, 60).differences:
                found.append(objective.makespan(timeline.latency, spacing))
    return min(found)


def planned(weights: str, banks: Sequence[Sequence[int]], objective: Objective) -> Result:
    pairs = zip(MAPPINGS, banks, strict=True)
    limits = Limits(tuple([LayerLimits(mapping=x, banks=tuple(y)) for x, y in pairs]))
    stop = Stop.deterministic(3.0)
    return solve(CHAIN, chip(weights), objective=objective, limits=limits, stop=stop)


@pytest.mark.parametrize("weights", ["shared", "reload"])
@pytest.mark.parametrize(("b", "c"), PAIRS)
@pytest.mark.parametrize("inferences", [2, 3, 50])
def test_the_best_stream_of_all_starts_is_found(weights: str, b: int, c: int, inferences: int) -> None:
    banks, objective = [[0], [b], [c]], Objective(inferences=inferences)
    result = planned(weights, banks, objective)
    assert result.status == "optimal"
    assert result.value == least(weights, banks, objective)


def test_a_layer_is_put_off_until_another_inference_leaves_its_banks() -> None:
    """`a` and `c` fill bank 0 without a gap only if `c` begins an interval later than it could."""
    alone = planned("shared", [[0], [1], [0]], Objective())
    many = planned("shared", [[0], [1], [0]], Objective(inferences=50))
    a, _, c = (layer.profile.total for layer in many.plan.timeline.layers)
    assert many.solution.interval == a + c < alone.solution.interval
    assert many.latency > alone.latency
