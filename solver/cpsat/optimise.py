"""The best choice among given candidates: propose, evaluate exactly, forbid what was overlooked, again.

The model is a relaxation, so its optimum is a lower bound. Each proposal that turns out later than the model
says adds its critical path, after which the model says the same of it. There are finitely many, so the bound
ends at the latency of the best plan (docs/formulation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ortools.sat.python.cp_model import INFEASIBLE, MODEL_INVALID, OPTIMAL, CpSolver, CpSolverSolutionCallback

from solver.cpsat import model as cpsat
from solver.cpsat.banks import BankVariables, add_shared, add_static, forbid_shapes, hint_banks
from solver.cpsat.model import Model
from solver.cpsat.proposals import Choice, Proposal, assess
from solver.maxplus.chains import Chain, decisive_chain
from solver.maxplus.checkpoints import Candidates
from solver.maxplus.heads import Bounds, LagGraph, lag_graph, reduce
from solver.params import ModelParams
from solver.schedule.plan import Plan
from solver.stop import Stop, StoppedError, interrupting
from solver.timing.problem import Problem


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best plan known, and a lower bound on the latency of it and of every choice from the candidates."""

    plan: Plan
    bound: int
    optimal: bool


def optimise(
    problem: Problem,
    candidates: Candidates,
    incumbent: Plan,
    stop: Stop,
    seed: int,
    workers: int,
    found: Callable[[Plan], None],
    bounded: Callable[[int], None],
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
    bounded: Callable[[int], None]
    params: ModelParams
    plan: Plan
    slice: float
    bound: int = 0
    chains: list[Chain] = field(default_factory=list)
    misfits: list[Choice] = field(default_factory=list)

    @property
    def limit(self) -> int:
        """The latest plan that is looked for: as late as the best one, so that that one can be the hint."""
        return self.plan.latency

    def run(self, candidates: Candidates) -> Optimum:
        with suppress(StoppedError):
            graph = lag_graph(self.problem, candidates, self.stop, self.params.lags)
            while self.going():
                graph, bounds = reduce(graph, self.limit, self.stop, self.params.lags)
                self.raise_bound(bounds.latency)
                if self.going() and not self.exhaust(graph, bounds):
                    break
        return Optimum(self.plan, self.bound, self.bound == self.plan.latency)

    def going(self) -> bool:
        """Whether there may be something to find, and time to find it."""
        return self.bound < self.plan.latency and not self.stop.reached()

    def raise_bound(self, bound: int) -> None:
        """Report a bound if it is better; what is as late as the best plan need not be looked for."""
        bound = min(bound, self.plan.latency)
        if bound > self.bound:
            self.bound = bound
            self.bounded(bound)

    def improve(self, plan: Plan) -> None:
        """Report a plan if it is better."""
        if plan.latency < self.plan.latency:
            self.plan = plan
            self.found(plan)

    def exhaust(self, graph: LagGraph, bounds: Bounds) -> bool:
        """Solve one model, adding to it, until there is a better plan; return whether to go on after that."""
        model = cpsat.build_model(graph, bounds, self.limit, cpsat.places(graph, self.plan), self.stop)
        held = None if model.static else add_shared(model, self.params)
        if held is None:
            add_static(model)
        chains, misfits = 0, 0
        while not self.stop.step():
            for chain in self.chains[chains:]:
                cpsat.add_chain(model, chain)
            for choice in self.misfits[misfits:]:
                forbid_shapes(model, choice)
            chains, misfits = len(self.chains), len(self.misfits)
            status = self.solve(model, held)
            if self.bound == self.plan.latency or self.limit < model.limit:
                return True
            if (chains, misfits) == (len(self.chains), len(self.misfits)):
                if status == OPTIMAL:
                    return False
                self.slice *= 2
        return True

    def solve(self, model: Model, held: Sequence[BankVariables] | None) -> int:
        """Solve the model for a slice of time, learning from every solution; return the status."""
        if cpsat.hint(model, self.plan) and held is not None:
            hint_banks(model, held, self.plan)
        solver = CpSolver()
        solver.parameters.random_seed = self.seed
        solver.parameters.num_workers = self.workers
        solver.parameters.interleave_search = self.stop.iterations is not None and self.workers > 1
        solver.parameters.max_deterministic_time = self.slice
        solver.parameters.max_time_in_seconds = max(0.0, min(self.stop.remaining(), 1e9))
        with interrupting(solver, self.stop):
            status = solver.solve(model.cp, _Listener(self, model, held))
        if status == MODEL_INVALID:
            raise RuntimeError(model.cp.validate())
        if status == INFEASIBLE:
            self.raise_bound(model.limit + 1)
        else:
            self.raise_bound(round(solver.best_objective_bound) * model.unit)
        return int(status)

    def learn(self, model: Model, held: Sequence[BankVariables] | None, proposal: Proposal) -> None:
        """Evaluate what the model proposes and keep what it has overlooked."""
        known = assess(self.problem, proposal, self.params)
        if known.misfit:
            self.misfits.append(proposal.choice)
        if known.plan is not None:
            self.improve(known.plan)
        timeline = known.timeline
        if timeline is None:
            return
        ends = [times.end for times in timeline.layers]
        layers = [ends.index(max(ends))] if model.static else range(len(ends))
        for last in layers:
            chain = decisive_chain(self.problem, proposal.choice, timeline, last)
            late = proposal.latency if model.static else proposal.ends[last] - proposal.starts[chain[0].layer]
            length = _length(self.problem, chain, proposal.choice)
            length += timeline.layers[chain[0].layer].earliest if model.static else 0
            if late < length // model.unit * model.unit:
                self.chains.append(chain)


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
