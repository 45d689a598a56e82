"""How often methods find the optimum of networks so small that every plan can be tried."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Literal

from overlapim_files import InputError
from solver.bench.cases import Case, Measured, Record, Results
from solver.bench.small import draw_small
from solver.params import ExhaustiveParams
from solver.search.exhaustive import exhaustive
from solver.solve import solve
from solver.stop import Flag, Stop
from solver.timing.problem import Problem


class SmallCase(Record):
    """One method on one random network and chip.

    Attributes
    ----------
    instance : seed of the network and its chip; the seed of the search is the same.
    seconds : nominal ones, so that every machine has the same answer.
    """

    instance: int
    method: str
    seconds: float

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"network {self.instance}, {self.method}"


class SmallRun(Record):
    """What a method found; no latency if the chip was refused.

    Attributes
    ----------
    optimum : the latency of the best of all plans; None if there is no plan.
    """

    optimum: int | None
    latency: int | None
    bound: int | None

    @property
    def excess(self) -> float | None:
        """By which share of the optimum the answer lies above it."""
        if self.latency is None or self.optimum is None:
            return None
        return self.latency / self.optimum - 1

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return "refused" if self.excess is None else f"{self.excess:.1%} above the optimum"


MeasuredSmall = Measured[SmallCase, SmallRun]


class ExhaustiveResults(Results[SmallCase, SmallRun]):
    """The file `exhaustive.json`."""

    format: Literal["overlapim/bench-exhaustive/1"] = "overlapim/bench-exhaustive/1"

    def by_method(self) -> dict[str, list[SmallRun]]:
        """Return the runs of each method on networks for which there is a plan."""
        found: dict[str, list[SmallRun]] = {}
        for case in self.cases:
            if case.result.optimum is not None:
                found.setdefault(case.what.method, []).append(case.result)
        return found


def exhaustive_cases(
    instances: Iterable[int], methods: Iterable[str], seconds: float
) -> Iterator[Case[SmallCase, SmallRun]]:
    """Yield a run for each combination."""
    optima: dict[int, int | None] = {}
    for instance, method in product(instances, methods):
        yield _case(SmallCase(instance=instance, method=method, seconds=seconds), optima)


def _case(what: SmallCase, optima: dict[int, int | None]) -> Case[SmallCase, SmallRun]:
    return Case(what, lambda interrupt: _measure(what, optima, interrupt))


def _measure(what: SmallCase, optima: dict[int, int | None], interrupt: Flag) -> SmallRun | None:
    """Solve one instance; None if interrupted. The optimum of each instance is found once."""
    network, chip = draw_small(random.Random(what.instance))
    if what.instance not in optima:
        limit = ExhaustiveParams().combinations
        best = exhaustive(Problem(network, chip), limit, Stop(interrupt=interrupt)).plan
        optima[what.instance] = None if best is None else best.latency
    latency = bound = None
    try:
        stop = Stop.deterministic(what.seconds, interrupt)
        result = solve(network, chip, method=what.method, stop=stop, seed=what.instance)
        latency, bound = result.latency, int(result.bound)
    except InputError:
        pass  # refused, although there is a plan
    if interrupt.is_set():
        return None
    return SmallRun(optimum=optima[what.instance], latency=latency, bound=bound)
