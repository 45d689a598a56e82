"""The best choice among given candidates: propose, evaluate exactly, forbid what was overlooked, again.

The model is a relaxation, so its optimum is a lower bound. Each proposal that turns out later than the model
says adds its critical path, after which the model says the same of it. There are finitely many, so the bound
ends at the latency of the best plan (docs/formulation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ortools.sat.python.cp_model import INFEASIBLE, MODEL_INVALID, OPTIMAL, CpSolver, CpSolverSolutionCallback

from solver.bound.quick import quick_floor
from solver.cpsat import model as cpsat
from solver.cpsat.aims import Aim, add_aim, latest
from solver.cpsat.banks import BankVariables, add_shared, add_static, forbid_shapes, hint_banks
from solver.cpsat.model import Model
from solver.cpsat.proposals import Choice, Proposal, assess
from solver.maxplus.chains import Chain, decisive_chain
from solver.maxplus.checkpoints import Candidates
from solver.maxplus.heads import Bounds, LagGraph, lag_graph, reduce
from solver.params import ModelParams
from solver.run import ROUNDING
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.stop import Stop, StoppedError, interrupting
from solver.timing.objective import Floor, Value
from solver.timing.problem import Problem


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best plan known, and a lower bound on the objective of it and of every choice of candidates.

    Attributes
    ----------
    refuted : whether no choice keeps to the limits, which the plan does not either.
    """

    plan: Plan
    bound: Value
    optimal: bool
    refuted: bool = False


def optimise(
    problem: Problem,
    candidates: Candidates,
    incumbent: Plan,
    stop: Stop,
    seed: int,
    workers: int,
    found: Callable[[Plan], None],
    bounded: Callable[[Value], None],
    params: ModelParams = ModelParams(),
) -> Optimum:
    """Find the best choice of one candidate for each layer, with starts and banks.

    Parameters
    ----------
    incumbent : a valid plan, of candidates or not; nothing later than it is looked for.
    stop : one iteration is one solve; with a limit on these and none on seconds the result is repeatable.
    found, bounded : called with every better plan and every better lower bound.

    Returns
    -------
    Its bound holds for the incumbent and for all choices; it is optimal if nothing is left to be found.
    """
    search = _Search(
        problem, stop, seed, workers, found, bounded, params, incumbent, slice=params.first_slice
    )
    return search.run(candidates)


@dataclass
class _Search:
    """One search: the best plan and bound so far, and what the proposals have taught.

    Attributes
    ----------
    slice : deterministic time of the next solve.
    """

    problem: Problem
    stop: Stop
    seed: int
    workers: int
    found: Callable[[Plan], None]
    bounded: Callable[[Value], None]
    params: ModelParams
    plan: Plan
    slice: float
    bound: Value = 0
    refuted: bool = False
    chains: list[Chain] = field(default_factory=list)
    misfits: list[Choice] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make what plans are compared by."""
        self.goal = Goal(self.problem)
        plain = self.problem.objective.plain
        self.floor = Floor() if plain else quick_floor(self.problem)

    @property
    def value(self) -> Value:
        """The value of the best plan."""
        return self.goal.value(self.plan)

    def run(self, candidates: Candidates) -> Optimum:
        with suppress(StoppedError):
            graph = lag_graph(self.problem, candidates, self.stop, self.params.lags)
            while self.going():
                # As late as the best plan may be, so that that one can be the hint.
                limit = latest(self.problem, graph.candidates, self.plan)
                graph, bounds = reduce(graph, limit, self.stop, self.params.lags)
                if _too_late(bounds, limit):
                    self.nothing_else()
                    break
                self.raise_bound(self.floor.value(self.problem.objective, bounds.latency))
                if self.going() and not self.exhaust(graph, bounds, limit):
                    break
        return Optimum(self.plan, self.bound, self.closed(), self.refuted)

    def closed(self) -> bool:
        """Whether the bound is the value of the best plan, which keeps to all limits."""
        return self.bound >= self.value and self.goal.rank(self.plan)[0] == 0

    def going(self) -> bool:
        """Whether there may be something to find, and time to find it."""
        return not self.closed() and not self.refuted and not self.stop.reached()

    def nothing_else(self) -> None:
        """Note that no choice is better than the best plan, or within the limits if that one is not."""
        if self.goal.rank(self.plan)[0] == 0:
            self.raise_bound(self.value)
        else:
            self.refuted = True

    def raise_bound(self, bound: Value) -> None:
        """Report a bound if it is better; what is as bad as the best plan need not be looked for."""
        value = self.value
        close = isinstance(value, float) and math.isclose(bound, value, rel_tol=ROUNDING)
        bound = value if close else min(bound, value)
        if bound > self.bound:
            self.bound = bound
            self.bounded(bound)

    def improve(self, plan: Plan) -> None:
        """Report a plan if it is better."""
        if self.goal.rank(plan) < self.goal.rank(self.plan):
            self.plan = plan
            self.found(plan)

    def exhaust(self, graph: LagGraph, bounds: Bounds, limit: int) -> bool:
        """Solve one model, adding to it, until there is a better plan; return whether to go on after that."""
        start = self.plan
        model = cpsat.build_model(graph, bounds, limit, cpsat.places(graph, start), self.stop)
        held = None if model.static else add_shared(model, self.params)
        if held is None:
            add_static(model)
        aim = add_aim(model, held, start)
        chains, misfits = 0, 0
        while not self.stop.step():
            for chain in self.chains[chains:]:
                cpsat.add_chain(model, chain)
            for choice in self.misfits[misfits:]:
                forbid_shapes(model, choice)
            chains, misfits = len(self.chains), len(self.misfits)
            status = self.solve(model, held, aim)
            if self.closed() or self.refuted or self.plan is not start:
                return True
            if (chains, misfits) == (len(self.chains), len(self.misfits)):
                if status == OPTIMAL:
                    return False
                self.slice *= 2
        return True

    def solve(self, model: Model, held: Sequence[BankVariables] | None, aim: Aim) -> int:
        """Solve the model for a slice of time, learning from every solution; return the status."""
        if cpsat.hint(model, self.plan) and held is not None:
            hint_banks(model, held, self.plan)
        solver = CpSolver()
        solver.parameters.random_seed = self.seed
        solver.parameters.num_workers = self.workers
        solver.parameters.catch_sigint_signal = False  # or no one else would hear of it
        solver.parameters.interleave_search = self.stop.iterations is not None and self.workers > 1
        solver.parameters.max_deterministic_time = self.slice
        solver.parameters.max_time_in_seconds = max(0.0, min(self.stop.remaining(), 1e9))
        with interrupting(solver, self.stop):
            status = solver.solve(model.cp, _Listener(self, model, held))
        if not self.problem.objective.plain:
            # Products and turns take far longer to prove than latencies.
            self.stop.worked(solver.response_proto.deterministic_time)
        if status == MODEL_INVALID:
            raise RuntimeError(model.cp.validate())
        if status == INFEASIBLE:
            self.nothing_else()
        else:
            self.raise_bound(aim.bound(solver.best_objective_bound))
        return int(status)

    def learn(self, model: Model, held: Sequence[BankVariables] | None, proposal: Proposal) -> None:
        """Evaluate what the model proposes and keep what it has overlooked."""
        known = assess(self.problem, proposal, self.params, self.stop)
        if known.misfit:
            self.misfits.append(proposal.choice)
        if known.plan is not None:
            self.improve(known.plan)
        timeline = known.timeline
        if timeline is None:
            return
        ends = [times.end for times in timeline.layers]
        at_once = model.begun_at_once
        layers = [ends.index(max(ends))] if at_once else range(len(ends))
        for last in layers:
            chain = decisive_chain(self.problem, proposal.choice, timeline, last)
            late = proposal.latency if at_once else proposal.ends[last] - proposal.starts[chain[0].layer]
            length = _length(self.problem, chain, proposal.choice)
            length += timeline.layers[chain[0].layer].earliest if at_once else 0
            if late < length // model.unit * model.unit:
                self.chains.append(chain)


def _too_late(bounds: Bounds, limit: int) -> bool:
    """Whether no plan passes every checkpoint in time."""
    pairs = zip(bounds.heads, bounds.tails, strict=True)
    return bounds.latency > limit or any(
        (heads.min(axis=0) + tails.min(axis=0) > limit).any() for heads, tails in pairs
    )


def _length(problem: Problem, chain: Chain, choice: Choice) -> int:
    """Return the cycles that a chain of reads takes with the candidates of a choice."""
    transfer = problem.hardware.cycles.transfer
    return sum(step.lag(choice[step.layer], transfer) for step in chain)


class _Listener(CpSolverSolutionCallback):
    """Is called with every solution of the model."""

    def __init__(self, search: _Search, model: Model, held: Sequence[BankVariables] | None) -> None:
        super().__init__()
        self.search, self.model, self.held = search, model, held

    def on_solution_callback(self) -> None:
        """Evaluate the solution unless it is time to stop, and stop at once if it is good enough."""
        if not self.search.stop.reached():
            self.search.learn(self.model, self.held, self._proposal())
        if self.search.stop.reached():
            self.stop_search()

    def _proposal(self) -> Proposal:
        model, held = self.model, self.held
        choice = tuple(
            next(c for c, x in zip(own, layer.takes, strict=True) if self.boolean_value(x))
            for own, layer in zip(model.graph.candidates, model.layers, strict=True)
        )
        banks = tuple(
            tuple(b for b, x in enumerate(layer.on) if self.boolean_value(x))
            for layer in held or ()
            if layer.on
        )
        return Proposal(
            choice,
            tuple(self.value(layer.start) * model.unit for layer in model.layers),
            tuple(self.value(layer.end) * model.unit for layer in model.layers),
            self.value(model.latency) * model.unit,
            banks,
        )
