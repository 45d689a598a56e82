"""A model of layers that share the chip: a mode for each, its start, and enough banks at any time.

A layer that takes its banks as late as it can without ending later never waits. If its producers do not wait
either, a least difference of their starts follows from their two mappings (`rigid_lag`). So what the model
says is exact, apart from the question which banks those are that it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ortools.sat.python.cp_model import FEASIBLE, OPTIMAL, CpModel, CpSolver, IntervalVar, IntVar, LinearExpr

from solver.maxplus.lags import rigid_lag
from solver.schedule.plan import Plan
from solver.search.modes import length, rigid_start
from solver.stop import Stop, interrupting
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Profile
from solver.timing.timeline import layer_times


@dataclass(frozen=True, eq=False)
class PlanWindow:
    """What is decided anew, the rest of a plan being as it is.

    Attributes
    ----------
    before : layers that keep their mappings and times.
    modes : for each layer that is started anew, in order of their starts, the mappings that it may take: its
        own first. Those that have no other are started in the order in which they are now.
    after : layers that come after these, and end by as much earlier as these let them.
    rows : the share of the rows of the chip that all layers together may take.
    """

    plan: Plan
    before: Sequence[int]
    modes: Mapping[int, Sequence[Profile]]
    after: Sequence[int]
    rows: float = 1.0


@dataclass(frozen=True, eq=False)
class Answer:
    """The best modes and starts that were found.

    Attributes
    ----------
    chosen, starts : of each layer of the window.
    latency : of the plan if it is made so; without `after` exactly, if the banks can be given out so.
    optimal : whether nothing is better.
    """

    chosen: Mapping[int, Profile]
    starts: Mapping[int, int]
    latency: int
    optimal: bool


@dataclass(frozen=True, eq=False)
class _Task:
    """The variables of one layer: its start, its modes, and which of them it takes; literals if several."""

    start: IntVar
    modes: Sequence[Profile]
    takes: Sequence[IntVar]

    def chosen(self, values: Sequence[int]) -> LinearExpr:
        """Return the value of the mode that it takes, given one for each."""
        return LinearExpr.weighted_sum(self.takes, values) if self.takes else LinearExpr.sum([values[0]])

    @property
    def end(self) -> LinearExpr:
        """When it ends."""
        return self.start + self.chosen([length(mode) for mode in self.modes])


class Master:
    """The model of one window."""

    def __init__(self, problem: Problem, window: PlanWindow, stop: Stop) -> None:
        """Build the model.

        Raises
        ------
        StoppedError
            if it is time to stop before all of it is there.
        """
        self.problem, self.window, self.stop = problem, window, stop
        self.cp = CpModel()
        self.limit = window.plan.latency
        self.pairs = 0
        self.tasks = {i: self._task(i, modes) for i, modes in window.modes.items()}
        ended = max([0, *(window.plan.timeline.layers[i].end for i in window.before)])
        self.latency = self.cp.new_int_var(ended, self.limit, "latency")
        self._lags()
        self._banks()
        self._rows()
        self._in_order()
        self._ends()
        self.cp.minimize(self.latency)

    def solve(self, effort: float, seed: int) -> tuple[Answer | None, float]:
        """Return the best answer that is found with an effort, if any, and the effort that it took.

        Parameters
        ----------
        effort : deterministic time of the solver.
        """
        solver = CpSolver()
        solver.parameters.random_seed = seed
        solver.parameters.num_workers = 1
        solver.parameters.catch_sigint_signal = False  # or no one else would hear of it
        # Linear relaxations of so many tasks take longer than they save.
        solver.parameters.linearization_level = 0
        solver.parameters.max_deterministic_time = effort
        solver.parameters.max_time_in_seconds = max(0.0, min(self.stop.wall_remaining(), 1e9))
        with interrupting(solver, self.stop):
            status = solver.solve(self.cp)
        spent = solver.response_proto.deterministic_time
        if status not in (OPTIMAL, FEASIBLE):
            return None, spent
        chosen = {
            i: next(
                (m for m, x in zip(task.modes, task.takes, strict=False) if solver.boolean_value(x)),
                task.modes[0],
            )
            for i, task in self.tasks.items()
        }
        starts = {i: solver.value(task.start) for i, task in self.tasks.items()}
        return Answer(chosen, starts, solver.value(self.latency), status == OPTIMAL), spent

    def _task(self, layer: int, modes: Sequence[Profile]) -> _Task:
        """Return the variables of a layer, with its present mode and times as hints."""
        start = self.cp.new_int_var(self.problem.earliest[layer], self.limit, f"start{layer}")
        self.cp.add_hint(start, rigid_start(self.window.plan.timeline.layers[layer]))
        takes = [self.cp.new_bool_var(f"x{layer}_{m}") for m in range(len(modes))] if len(modes) > 1 else []
        if takes:
            self.cp.add_exactly_one(takes)
        for literal, mode in zip(takes, modes, strict=False):
            self.cp.add_hint(literal, mode is modes[0])
        return _Task(start, modes, takes)

    def _lags(self) -> None:
        """Start no layer before all that it reads is there in time."""
        for consumer, task in self.tasks.items():
            for edge in self.problem.edges[consumer]:
                if edge.producer in self.tasks:
                    self._between(self.tasks[edge.producer], task, edge)
                else:
                    earliest = [self._after_placed(mode, edge) for mode in task.modes]
                    self.cp.add(task.start >= task.chosen(earliest))

    def _between(self, producer: _Task, consumer: _Task, edge: Edge) -> None:
        for place, mode in enumerate(consumer.modes):
            lags = self._lags_of(producer.modes, mode, edge)
            self.pairs += len(lags)
            if all(lag is None for lag in lags):
                continue
            asked = producer.chosen([-self.limit if lag is None else lag for lag in lags])
            bound = self.cp.add(consumer.start >= producer.start + asked)
            if consumer.takes:
                bound.only_enforce_if(consumer.takes[place])

    def _lags_of(self, producers: Sequence[Profile], consumer: Profile, edge: Edge) -> list[int | None]:
        """Return the least difference of starts for each mode of a producer; None where nothing is read."""
        lags = []
        for own in producers:
            self.stop.check()
            lags.append(rigid_lag(own, consumer, edge, self.problem.hardware.cycles.transfer))
        return lags

    def _after_placed(self, mode: Profile, edge: Edge) -> int:
        """Return when a layer can start that never waits for a producer whose times are known."""
        self.stop.check()
        source = self.window.plan.timeline.layers[edge.producer]
        times = layer_times(mode, 0, [source], [edge], self.problem.hardware.cycles.transfer)
        return int(times.delays[-1]) - mode.lead

    def _banks(self) -> None:
        """Hold no more banks at any time than there are."""
        intervals: list[IntervalVar] = []
        banks: list[int] = []
        for i in self.window.before:
            times = self.window.plan.timeline.layers[i]
            intervals.append(
                self.cp.new_fixed_size_interval_var(times.start, times.end - times.start, f"hold{i}")
            )
            banks.append(times.profile.banks)
        for i, task in self.tasks.items():
            for place, mode in enumerate(task.modes):
                name = f"hold{i}_{place}"
                intervals.append(
                    self.cp.new_optional_fixed_size_interval_var(
                        task.start, length(mode), task.takes[place], name
                    )
                    if task.takes
                    else self.cp.new_fixed_size_interval_var(task.start, length(mode), name)
                )
                banks.append(mode.banks)
        self.cp.add_cumulative(intervals, banks, self.problem.hardware.banks)

    def _rows(self) -> None:
        """Take no more rows than there are, where the weights of all layers stay."""
        hardware, layers = self.problem.hardware, self.window.plan.timeline.layers
        if hardware.weights != "shared":
            return
        taken = [task.chosen([mode.banks * mode.rows for mode in task.modes]) for task in self.tasks.values()]
        others = sum(
            layers[i].profile.banks * layers[i].profile.rows
            for i in (*self.window.before, *self.window.after)
        )
        most = int(self.window.rows * hardware.banks * hardware.rows_per_bank)
        self.cp.add(LinearExpr.sum(taken) <= most - others)

    def _in_order(self) -> None:
        """Start layers whose mode is given in the order in which they start now."""
        times = self.window.plan.timeline.layers
        given = [i for i, task in self.tasks.items() if not task.takes]
        for first, second in pairwise(sorted(given, key=lambda i: rigid_start(times[i]))):
            self.cp.add(self.tasks[second].start >= self.tasks[first].start)

    def _ends(self) -> None:
        """End when all layers have ended; those after the window are as much earlier as it lets them be."""
        for i, task in self.tasks.items():
            left = 0
            if self.window.after and not task.takes:
                left = self.limit - self.window.plan.timeline.layers[i].end
            self.cp.add(self.latency >= task.end + left)
        for i in self.window.after:
            mode = self.window.plan.profiles[i]
            left = self.limit - rigid_start(self.window.plan.timeline.layers[i])
            for edge in self.problem.edges[i]:
                if edge.producer in self.tasks:
                    producer = self.tasks[edge.producer]
                    lags = self._lags_of(producer.modes, mode, edge)
                    asked = producer.chosen([-self.limit if lag is None else lag for lag in lags])
                    self.cp.add(self.latency >= producer.start + asked + left)
