"""How often methods find the optimum of networks so small that every plan can be tried."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from typing import Literal

from hw.hardware import Hardware, Weights
from models.network import Network
from overlapim_files import InputError
from solver.bench.cases import Case, Measured, Record, Results
from solver.bench.small import draw_energy, draw_small
from solver.params import ExhaustiveParams
from solver.schedule.goal import Goal
from solver.search.exhaustive import exhaustive
from solver.solution import ENERGY_TOLERANCE
from solver.solve import solve
from solver.stop import Flag, Stop
from solver.timing.objective import Measure, Objective
from solver.timing.problem import Problem

TRIED_SECONDS = 60.0
"""Nominal seconds after which trying all plans is given up."""


class SmallCase(Record):
    """One method on one random network and chip.

    Attributes
    ----------
    instance : seed of the network and its chip; the seed of the search is the same.
    weights : of the chip. Streams are planned for static ones, whichever were drawn.
    seconds : nominal ones, so that every machine has the same answer.
    """

    instance: int
    weights: Weights
    measure: Measure
    inferences: int
    method: str
    seconds: float

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"network {self.instance}, {self.weights}, {self.measure} of {self.inferences}, {self.method}"


class SmallRun(Record):
    """What a method found; no value if the chip was refused.

    Attributes
    ----------
    optimum : value of the best of all plans; None if there is no plan.
    tried : whether all plans were tried; otherwise there may be a better one than that.
    value, bound : of the objective.
    """

    optimum: int | float | None
    tried: bool
    value: int | float | None
    bound: int | float | None

    @property
    def excess(self) -> float | None:
        """By which share of the optimum the answer lies above it."""
        if self.value is None or self.optimum is None:
            return None
        return 0.0 if _alike(self.value, self.optimum) else self.value / self.optimum - 1

    @property
    def proved(self) -> bool:
        """Whether the bound is the value."""
        return self.value is not None and self.bound is not None and _alike(self.value, self.bound)

    @property
    def wrong(self) -> bool:
        """Whether the bound is above the optimum, which cannot be, or the value below it."""
        if self.optimum is None:
            return False
        over = self.bound is not None and self.bound > self.optimum and not _alike(self.bound, self.optimum)
        return over or (self.tried and self.excess is not None and self.excess < 0)

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        if self.excess is None:
            return "refused"
        text = f"{self.excess:.1%} above the optimum{'' if self.proved else ', not proved'}"
        return "WRONG" if self.wrong else text if self.tried else f"{text} as far as plans were tried"


def _alike(a: float, b: float) -> bool:
    """Whether two values are the same but for the rounding of energies."""
    return math.isclose(a, b, rel_tol=ENERGY_TOLERANCE * 10)


MeasuredSmall = Measured[SmallCase, SmallRun]


class ExhaustiveResults(Results[SmallCase, SmallRun]):
    """The file `exhaustive.json`."""

    format: Literal["overlapim/bench-exhaustive/2"] = "overlapim/bench-exhaustive/2"

    def alike(self) -> dict[tuple[str, Objective, Weights], list[SmallRun]]:
        """Return the runs of each method, objective and kind of weights, where there is a plan."""
        found: dict[tuple[str, Objective, Weights], list[SmallRun]] = {}
        for case in self.cases:
            if case.result.optimum is not None:
                what = case.what
                key = what.method, Objective(what.measure, what.inferences), what.weights
                found.setdefault(key, []).append(case.result)
        return found


def exhaustive_cases(
    instances: Iterable[int], objectives: Iterable[Objective], methods: Iterable[str], seconds: float
) -> Iterator[Case[SmallCase, SmallRun]]:
    """Yield a run for each combination; streams only where every layer can have a bank of its own."""
    methods = list(methods)
    for instance, objective in product(instances, objectives):
        best = _Best(instance, objective)
        if not best.posed:
            continue
        for method in methods:
            what = SmallCase(
                instance=instance,
                weights=best.chip.weights,
                measure=objective.measure,
                inferences=objective.inferences,
                method=method,
                seconds=seconds,
            )
            yield Case(what, partial(_measure, what, best))


class _Best:
    """The best of all plans of a network and chip, which is looked for when it is needed first."""

    def __init__(self, instance: int, objective: Objective) -> None:
        self.network, self.chip = _drawn(instance)
        self.objective = objective
        if objective.streams:
            self.chip = self.chip.with_weights("static")
        self._found: tuple[int | float | None, bool] | None = None

    @property
    def posed(self) -> bool:
        """Whether static weights leave a bank for each layer."""
        return self.chip.weights != "static" or self.chip.banks >= len(self.network.layers)

    def value(self, interrupt: Flag) -> tuple[int | float | None, bool]:
        """Return its value, None if there is no plan, and whether all plans were tried."""
        if self._found is None:
            problem = Problem(self.network, self.chip, self.objective)
            stop = Stop.deterministic(TRIED_SECONDS, interrupt)
            found = exhaustive(problem, ExhaustiveParams().combinations, stop)
            best = None if found.plan is None else Goal(problem).value(found.plan)
            self._found = best, found.complete
        return self._found


def _drawn(instance: int) -> tuple[Network, Hardware]:
    """Return a network and a chip with energies."""
    rng = random.Random(instance)
    network, chip = draw_small(rng)
    return network, chip.model_copy(update={"energy": draw_energy(rng)})


def _measure(what: SmallCase, best: _Best, interrupt: Flag) -> SmallRun | None:
    """Solve one instance; None if interrupted."""
    optimum, tried = best.value(interrupt)
    value = bound = None
    try:
        result = solve(
            best.network,
            best.chip,
            method=what.method,
            stop=Stop.deterministic(what.seconds, interrupt),
            seed=what.instance,
            objective=best.objective,
        )
        value, bound = result.value, result.bound
    except InputError:
        pass  # refused, although there is a plan
    if interrupt.is_set():
        return None
    return SmallRun(optimum=optimum, tried=tried, value=value, bound=bound)
