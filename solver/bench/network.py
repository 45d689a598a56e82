"""The experiment of overlap-driven mapping: what choosing by overlap, transforming and searching bring.

docs/search.md defines the columns. In the setting `equal` no layer may use more than an equal share of the
banks, in any column; in the setting `free` each may use as many as the chip allows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError
from solver.bench.cases import Case, Measured, Record, Results, Subject
from solver.mapspace.pools import Pools
from solver.memory import clear_caches
from solver.params import WALKS, LayerwiseParams
from solver.schedule.plan import Plan
from solver.schedule.transform import ready_order
from solver.search.layerwise import layerwise, overlapped
from solver.search.random_mapper import random_mapper
from solver.search.sequential import sequential
from solver.solution import from_plan, verify
from solver.solve import solve
from solver.stop import Flag, Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes, Order

Setting = Literal["equal", "free"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)

WALKED = "columns"
"""The method of the case that measures all columns without random choices."""

COMPARED = ("random", "descent", "cpsat")
"""Methods that are columns of their own, each with every seed."""

ORIGINAL = "best original"
WHOLE_CHIP = "whole chip"
COLUMNS = (
    ORIGINAL,
    "best original overlap",
    "best overlap",
    "original transform",
    "overlap transform",
    "best transform",
    *COMPARED,
    WHOLE_CHIP,
)


class NetworkCase(Record):
    """One method with one seed, or all columns without random choices; `seconds` are for each search."""

    on: Subject
    setting: Setting
    method: str
    seed: int
    workers: int
    seconds: float

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.on}, {self.setting} banks, {self.method}, seed {self.seed}"


class NetworkRun(Record):
    """What came of it; `refused` says why nothing did.

    Attributes
    ----------
    latencies : (column, cycles). Every one is that of a plan that was verified.
    seconds : wall time of all of it.
    """

    latencies: tuple[tuple[str, int], ...]
    seconds: float
    refused: str | None = None

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return self.refused or ", ".join(f"{cycles:,}" for _, cycles in self.latencies)


MeasuredNetwork = Measured[NetworkCase, NetworkRun]


class NetworkResults(Results[NetworkCase, NetworkRun]):
    """The file `network.json`."""

    format: Literal["overlapim/bench-network/1"] = "overlapim/bench-network/1"

    def latencies(self) -> dict[tuple[Subject, Setting], dict[str, list[int]]]:
        """Return the latencies of each column, one for each seed, on each network and chip."""
        found: dict[tuple[Subject, Setting], dict[str, list[int]]] = {}
        for case in self.cases:
            columns = found.setdefault((case.what.on, case.what.setting), {})
            for column, cycles in case.result.latencies:
                columns.setdefault(column, []).append(cycles)
        return {key: columns for key, columns in found.items() if ORIGINAL in columns}


def budgeted(network: Network, chip: Hardware, setting: Setting) -> Hardware:
    """Return the chip on which a layer may use at most what the setting allows."""
    if setting == "free":
        return chip
    return chip.model_copy(update={"banks_per_layer": max(1, chip.banks // len(network.layers))})


def network_cases(
    networks: Iterable[Network],
    chips: Iterable[Hardware],
    settings: Iterable[Setting],
    seeds: Iterable[int],
    seconds: float,
    workers: int,
) -> Iterator[Case[NetworkCase, NetworkRun]]:
    """Yield for each network and chip the columns without random choices, then each method with each seed."""
    for network, chip, setting in product(networks, chips, settings):
        for method, seed in [(WALKED, 0), *product(COMPARED, seeds)]:
            what = NetworkCase(
                on=Subject.of(network, chip),
                setting=setting,
                method=method,
                seed=seed,
                workers=workers,
                seconds=seconds,
            )
            yield _case(network, budgeted(network, chip, setting), what)


def _case(network: Network, chip: Hardware, what: NetworkCase) -> Case[NetworkCase, NetworkRun]:
    return Case(what, lambda interrupt: _measure(network, chip, what, interrupt))


def _measure(network: Network, chip: Hardware, what: NetworkCase, interrupt: Flag) -> NetworkRun | None:
    """Measure a case; None if it was interrupted."""
    clear_caches()
    began = time.monotonic()
    refused, found = None, dict[str, int]()
    try:
        if what.method == WALKED:
            found = walked(network, chip, interrupt)
        elif what.method == "random":
            found = {what.method: _random(network, chip, what.seed, interrupt)}
        else:
            stop = Stop(seconds=what.seconds, interrupt=interrupt)
            result = solve(network, chip, method=what.method, stop=stop, seed=what.seed, workers=what.workers)
            found = {what.method: result.latency}
    except InputError as error:
        refused = str(error)
    if interrupt.is_set():
        return None
    return NetworkRun(latencies=tuple(found.items()), seconds=time.monotonic() - began, refused=refused)


def _random(network: Network, chip: Hardware, seed: int, interrupt: Flag) -> int:
    problem = Problem(network, chip)
    start = sequential(Pools(problem), Stop(interrupt=interrupt))
    return _verified(problem, random_mapper(problem, start, Stop(interrupt=interrupt), seed))


def walked(network: Network, chip: Hardware, interrupt: Flag) -> dict[str, int]:
    """Return the latencies of all columns without random choices, and of each walk that `best overlap` tries.

    A column without which no banks were found for its mappings is left out.
    """
    problem = Problem(network, chip)
    pools = Pools(problem)
    stop = Stop(interrupt=interrupt)

    def ready(layer: int, profile: Profile, done: Mapping[int, LayerTimes]) -> Order | None:
        return ready_order(problem, layer, profile, 0, done)

    original = sequential(pools, stop)
    walks: dict[str, Plan] = {walk: layerwise(pools, original, stop, LayerwiseParams(walk)) for walk in WALKS}
    overlap = min(walks.values(), key=lambda plan: plan.latency)
    plans: dict[str, Plan | None] = {
        ORIGINAL: original,
        "best original overlap": overlapped(pools, original.profiles),
        **walks,
        "best overlap": overlap,
        "original transform": overlapped(pools, original.profiles, ready),
        "overlap transform": overlapped(pools, overlap.profiles, ready),
        "best transform": layerwise(pools, original, stop, ordering=ready),
    }
    found = {column: _verified(problem, plan) for column, plan in plans.items() if plan is not None}
    return found | _whole_chip(network, chip, interrupt)


def _whole_chip(network: Network, chip: Hardware, interrupt: Flag) -> dict[str, int]:
    """Return the latency of the layers one after the other, each with all banks; nothing if it is refused."""
    whole = chip.with_weights("shared").model_copy(update={"banks_per_layer": None})
    problem = Problem(network, whole)
    try:
        return {WHOLE_CHIP: _verified(problem, sequential(Pools(problem), Stop(interrupt=interrupt)))}
    except InputError:
        return {}


def _verified(problem: Problem, plan: Plan) -> int:
    verify(from_plan(problem, plan, "layerwise", 0))
    return plan.latency


@dataclass(frozen=True)
class Ingredient:
    """A step from mapping without overlap to the solver, and the column that shows it."""

    name: str
    column: str


INGREDIENTS = (
    Ingredient("no overlap", ORIGINAL),
    Ingredient("overlap", "best original overlap"),
    Ingredient("the same, blocks as they are ready", "original transform"),
    Ingredient("mappings chosen by overlap, forward", "forward"),
    Ingredient("best of three walks", "best overlap"),
    Ingredient("the same, blocks as they are ready", "overlap transform"),
    Ingredient("chosen with blocks as they are ready", "best transform"),
    Ingredient("local search", "descent"),
    Ingredient("solver", "cpsat"),
)
