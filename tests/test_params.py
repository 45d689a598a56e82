"""What methods are tuned by: values that travel, that are all read, and that change what they name."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import solver
from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from overlapim_files import InputError
from solver import params as package
from solver.account.remedies import remedies
from solver.bench.small import draw_small
from solver.bound.model import BoundModel
from solver.mapspace.pools import Pools
from solver.maxplus.heads import budget, lag_graph
from solver.maxplus.through import as_candidate
from solver.params import (
    BoundParams,
    CpsatParams,
    DescentParams,
    ExhaustiveParams,
    LagParams,
    LayerwiseParams,
    MoveParams,
    NearbyParams,
    Params,
    PoolParams,
    RandomParams,
    RemedyParams,
    StaticParams,
    WholeParams,
)
from solver.search.nearby import Nearby
from solver.search.sequential import sequential
from solver.search.static import StaticMoves
from solver.solve import Result, solve
from solver.stop import Stop
from solver.timing.problem import Problem

TOY = load_network("toy")
STATIC = load_hardware("toy").with_weights("static")
SHARED = STATIC.with_weights("shared")


def pieces(params: Any) -> Iterator[Any]:
    """Yield all pieces of params, and itself."""
    yield params
    for field in fields(params):
        value = getattr(params, field.name)
        if is_dataclass(value):
            yield from pieces(value)


def changed(params: Any) -> Any:
    """Return params of which every number is a little larger."""
    return replace(params, **{field.name: _larger(getattr(params, field.name)) for field in fields(params)})


def _larger(value: Any) -> Any:
    if is_dataclass(value):
        return changed(value)
    if isinstance(value, tuple):
        return value[:-1]
    if isinstance(value, str):
        return "middle"
    return value + 1 if isinstance(value, int) else value * 1.01


def run(params: Params, method: str, hardware: Any = STATIC, seconds: float = 2.0) -> Result:
    return solve(TOY, hardware, method=method, params=params, stop=Stop.deterministic(seconds), seed=1)


# Values


def test_params_travel_and_can_be_keys() -> None:
    params = changed(Params())
    assert pickle.loads(pickle.dumps(params)) == params != Params()
    assert len({params, changed(Params()), Params(), Params()}) == 2
    pools = Pools(Problem(TOY, STATIC), params.pools)
    assert pickle.loads(pickle.dumps(pools)).params == params.pools


def test_every_field_is_read() -> None:
    root = Path(solver.__path__[0])
    text = "\n".join(f.read_text() for f in root.rglob("*.py") if f.parent.name != "params")
    named = [field for piece in pieces(Params(cpsat=CpsatParams())) for field in fields(piece)]
    named += fields(RemedyParams)
    assert len(named) > 80
    assert [f.name for f in named if not re.search(rf"\.{f.name}\b", text)] == []


# Nothing falls back on defaults


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All params of which something is read."""
    found: list[Any] = []

    def spy(names: frozenset[str]) -> Callable[[Any, str], Any]:
        def read(self: Any, name: str) -> Any:
            if name in names:
                found.append(self)
            return object.__getattribute__(self, name)

        return read

    for kind in vars(package).values():
        if isinstance(kind, type) and is_dataclass(kind):
            own: tuple[Field[Any], ...] = fields(kind)
            monkeypatch.setattr(kind, "__getattribute__", spy(frozenset(f.name for f in own)))
    return found


def test_all_parts_are_given_what_the_call_says(used: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    params, remedy_params = changed(Params()), changed(RemedyParams())
    defaults = [*pieces(Params()), RemedyParams()]
    used.clear()
    # All kinds of moves get a turn.
    brief = replace(params, cpsat=replace(params.cpsat, shortest_turn=0.1, latest_bound=1.0))
    # Seven banks in each of two channels: layers have to be cut otherwise to fit side by side.
    odd = STATIC.model_copy(update={"channels": 2, "banks_per_channel": 7})
    # With so few rows mappings and banks have to be chosen together.
    run(params, "sequential", SHARED.model_copy(update={"rows_per_bank": 200}))
    # Where a load costs something by itself, loops are cut.
    run(
        params,
        "sequential",
        SHARED.model_copy(update={"cycles": SHARED.cycles.model_copy(update={"load": 9})}),
    )
    for hardware in (odd, SHARED):
        for method in ("random", "layerwise", "descent", "cpsat"):
            run(brief, method, hardware, 6.0)
    network, chip = draw_small(random.Random(1))
    solve(network, chip, method="exhaustive", params=params)
    solve(network, chip, method="cpsat", params=params, stop=Stop.deterministic(2))
    plan = run(params, "sequential").plan
    remedies(Problem(TOY, STATIC), plan, [0, 1, 2, 3], Stop(iterations=60), remedy_params)
    monkeypatch.undo()
    assert {type(piece) for piece in used} == {type(piece) for piece in defaults}
    assert {type(piece) for piece in used if piece in defaults} == set()


# An ablation changes what it names


def pool(params: PoolParams) -> int:
    return len(Pools(Problem(TOY, STATIC), params).pool(0, (1, 4)))


def ranked(params: MoveParams) -> int:
    problem = Problem(TOY, STATIC)
    moves = StaticMoves(Pools(problem), random.Random(0), params)
    timeline = sequential(moves.pools, Stop()).timeline
    return len(moves.ranked(1, moves.pools.size(2), timeline))


def candidates(params: NearbyParams) -> int:
    pools = Pools(Problem(TOY, STATIC))
    plan = sequential(pools, Stop())
    return sum(len(own) > 1 for own in Nearby(pools, 3, params).candidates(plan, (), Stop()))


def budgets(params: LagParams) -> int:
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd").with_weights("static"))
    plan = sequential(Pools(problem), Stop(seconds=0))
    graph = lag_graph(problem, [[as_candidate(times)] for times in plan.timeline.layers], Stop(), params)
    return budget(graph, params).total


def test_fewer_splits_make_smaller_pools() -> None:
    assert pool(PoolParams(splits=1, slowest=1.0)) < pool(PoolParams())


def test_moves_choose_from_as_many_profiles_as_are_ranked() -> None:
    assert (ranked(MoveParams()), ranked(MoveParams(static=StaticParams(ranked=2)))) == (6, 2)


def test_candidates_are_drawn_for_as_many_layers() -> None:
    assert candidates(NearbyParams(first=1)) == 1 < candidates(NearbyParams(first=4))


def test_budgets_are_told_apart_as_finely() -> None:
    assert 0 < budgets(LagParams(budgets=16)) < budgets(LagParams())


def test_the_grid_of_the_bound_is_as_fine() -> None:
    grids = [BoundModel(Problem(TOY, STATIC), 10**6, BoundParams(fine=n)).grid for n in (10, 56)]
    assert grids == [10, BoundParams().fine]


def test_the_walk_is_the_one_that_is_named() -> None:
    both = [run(Params(layerwise=LayerwiseParams(walk)), "layerwise").latency for walk in ("best", "forward")]
    assert both[0] <= both[1]
    none = Params(layerwise=LayerwiseParams(sizes=1))
    assert run(none, "layerwise").plan.profiles != run(Params(), "layerwise").plan.profiles


def test_the_random_mapper_draws_as_many() -> None:
    few, many = (run(Params(random=RandomParams(mappings=n)), "random").steps for n in (5, 50))
    assert many == few + 45


def test_exhaustive_search_refuses_as_many_combinations() -> None:
    network, chip = draw_small(random.Random(1))
    with pytest.raises(InputError, match="more than the 1 that"):
        solve(network, chip, method="exhaustive", params=Params(exhaustive=ExhaustiveParams(1)))


def test_small_networks_are_solved_to_the_end_only_if_asked() -> None:
    network, chip = draw_small(random.Random(3))
    endings = []
    for pairs in (0, 20_000):
        params = Params(cpsat=CpsatParams(whole=WholeParams(pairs=pairs)), bound=BoundParams(small=0))
        endings.append(solve(network, chip, method="cpsat", params=params, stop=Stop.deterministic(1)).ending)
    assert endings == ["time", "optimal"]


def test_a_descent_without_restarts_goes_another_way() -> None:
    restless = Params(descent=DescentParams(moves=MoveParams(static=StaticParams(patience=5))))
    found, usual = (run(params, "descent", seconds=4.0).solution for params in (restless, Params()))
    assert found != usual


# The defaults are those of all results so far

KNOWN = {
    ("sequential", "static"): (9056, 3487, 0),
    ("random", "static"): (11238, 3487, 1000),
    ("layerwise", "static"): (7853, 3487, 0),
    ("descent", "static"): (7533, 3487, 1200),
    ("cpsat", "static"): (7225, 3557, 1046),
    ("sequential", "shared"): (3420, 2323, 0),
    ("random", "shared"): (4153, 2323, 1000),
    ("layerwise", "shared"): (3415, 2323, 0),
    ("descent", "shared"): (3199, 2323, 1200),
    ("cpsat", "shared"): (3199, 2323, 696),
}
"""Latency, bound and steps of four nominal seconds on the toy network and chip with seed 1."""


@pytest.mark.parametrize(("method", "weights"), KNOWN)
def test_defaults_find_and_prove_what_they_always_did(method: str, weights: Weights) -> None:
    result = run(Params(), method, STATIC.with_weights(weights), 4.0)
    assert (result.latency, result.bound, result.steps) == KNOWN[method, weights]
