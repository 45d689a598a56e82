"""The best plan of all, for tiny networks: every mapping, order of blocks, choice of banks and queue there.

Layers are placed one after the other. What counts of a choice is how the layer answers
(`solver.maxplus.response`) and which banks it takes; of choices that are the same in this only the first one
is followed. Nothing is dropped for being worse, except where a bound shows that the latency cannot be below
the best one known.

With static weights layers start as their inputs allow, or later, where that lets inferences follow each other
sooner (`solver.search.streaming`). With shared weights every order of placing layers is
tried in which producers come first, and a layer is released when the last one before it leaves its banks.
That is enough: whatever a valid plan does, no layer is on a bank before one that it needs something of, so
that such an order exists for it; and as finish times rise with releases, no later release does better.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from overlapim_files import InputError
from solver.mapspace.arrays import BankShape
from solver.maxplus.options import layer_options
from solver.maxplus.response import Response
from solver.schedule.banks import Banks
from solver.schedule.goal import Goal
from solver.schedule.plan import Plan
from solver.search.streaming import best_releases
from solver.stop import Stop
from solver.timing.energy import standby_energy
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.objective import PlanFigures, Value
from solver.timing.problem import Problem
from solver.timing.profile import Cycles
from solver.timing.timeline import evaluate

MOST_LAGS = 2**26
"""Lags of all options of one layer that are kept at most."""

SEEN = 2**20
"""States that are remembered at most, so as not to go on from them again."""


@dataclass(frozen=True, eq=False)
class Exhausted:
    """What an exhaustive search found.

    Attributes
    ----------
    plan : the best one; None if nothing fits, or the search was stopped before it found one.
    combinations : of the options of all layers, those that answer alike taken as one.
    complete : whether no better plan exists.
    """

    plan: Plan | None
    combinations: int
    complete: bool


def exhaustive(problem: Problem, limit: int, stop: Stop) -> Exhausted:
    """Return the best plan over all mappings, orders, banks and starts.

    Raises
    ------
    InputError
        if there are more than `limit` combinations, or more options of one layer than can be listed; or if
        inferences are to follow each other on banks that layers share.
    """
    if problem.objective.streams and problem.hardware.weights != "static":
        raise InputError(
            f"exhaustive search does not plan a stream of inferences with {problem.hardware.weights} "
            "weights, only with static ones"
        )
    options, goal = [], Goal(problem)
    price = goal.energy if problem.objective.weighs_energy else None
    for layer in range(len(problem.layers)):
        found = layer_options(problem, layer, stop, price)
        if found is None:
            return Exhausted(None, 0, False)
        options.append(found)
    combinations = math.prod(map(len, options))
    if combinations > limit:
        largest = max(range(len(options)), key=lambda i: len(options[i]))
        raise InputError(
            f"{combinations} combinations of mappings and orders are more than the {limit} that exhaustive "
            f"search is given; layer '{problem.layers[largest].name}' alone has {len(options[largest])}"
        )
    if combinations == 0:
        return Exhausted(None, 0, True)
    return search_options(problem, options, stop)


def search_options(problem: Problem, options: Sequence[Sequence[Response]], stop: Stop) -> Exhausted:
    """Return the best plan over the given options of each layer.

    Raises
    ------
    InputError
        with shared weights, if a layer may need nothing of one that it depends on.
    """
    goal = Goal(problem)
    least = [_Least.of(goal, own) for own in options]
    run = _Search(goal, [_tables(own) for own in options], _tails(problem, options), least, stop)
    if problem.hardware.weights != "static":
        _check_needs(problem, options)
    run.place(_empty(problem))
    plan = None if run.best is None else _plan(problem, run.best)
    return Exhausted(plan, math.prod(map(len, options)), not run.stopped)


@dataclass(frozen=True)
class _Least:
    """What a layer takes: pJ of an inference, and cycles for which it holds its banks at least."""

    energy: float = 0.0
    held: int = 0

    @classmethod
    def of(cls, goal: Goal, options: Sequence[Response]) -> _Least:
        """Return the least of some options."""
        energy = min(goal.energy(o.profile) for o in options) if goal.objective.weighs_energy else 0.0
        return cls(energy, min(int(o.finish.max()) for o in options))


@dataclass(frozen=True, eq=False)
class _Table:
    """The options of one layer on one shape of banks.

    Attributes
    ----------
    finish : shape (options, outputs).
    lags : for each edge; shape (options, elements, outputs).
    rows : shape (options,).
    """

    shape: BankShape
    options: tuple[Response, ...]
    finish: Cycles
    lags: tuple[Cycles, ...]
    rows: npt.NDArray[np.int64]


def _tables(options: Sequence[Response]) -> tuple[_Table, ...]:
    entries = sum(lag.size for lag in options[0].lags) * len(options)
    if entries > MOST_LAGS:
        name = options[0].profile.layer.name
        raise InputError(f"layer '{name}': {len(options)} options with {entries} lags are too many")
    tables = []
    for shape in sorted({option.shape for option in options}):
        own = tuple(option for option in options if option.shape == shape)
        lags = tuple(np.stack(edge) for edge in zip(*(option.lags for option in own), strict=True))
        rows = np.array([option.profile.rows for option in own])
        tables.append(_Table(shape, own, np.stack([option.finish for option in own]), lags, rows))
    return tuple(tables)


def _tails(problem: Problem, options: Sequence[Sequence[Response]]) -> list[Cycles]:
    """Return for each output of each layer the least time from its finish to the end of the network."""
    tails: list[Cycles] = [np.zeros_like(own[0].finish) for own in options]
    for i in reversed(problem.network.topological):
        for place, edge in enumerate(problem.edges[i]):
            least = np.min([option.lags[place] for option in options[i]], axis=0)
            tails[edge.producer] = np.maximum(tails[edge.producer], (least + tails[i]).max(axis=1))
    return tails


def _check_needs(problem: Problem, options: Sequence[Sequence[Response]]) -> None:
    """Refuse a layer that might go before one that it depends on, on the same banks."""
    for first in range(len(problem.layers)):
        # Which outputs of a layer need which outputs of the first one, whatever the mappings.
        needs = {first: np.eye(len(options[first][0].finish), dtype=np.bool_)}
        for i in problem.network.topological:
            for place, edge in enumerate(problem.edges[i]):
                if edge.producer not in needs:
                    continue
                always = np.min([option.lags[place] for option in options[i]], axis=0) > MINUS_INFINITY
                through = needs[edge.producer] @ always
                needs[i] = needs[i] | through if i in needs else through
        for i, needed in needs.items():
            if not needed.any():
                names = f"'{problem.layers[i].name}' may need nothing of '{problem.layers[first].name}'"
                raise InputError(
                    f"layer {names}, which it depends on; exhaustive search cannot share banks then"
                )


@dataclass(frozen=True, eq=False)
class _Choice:
    """A layer that has been placed."""

    option: Response
    release: int
    banks: Banks


@dataclass(frozen=True, eq=False)
class _State:
    """Layers that have been placed.

    Attributes
    ----------
    finish : real finish of each output of each of these layers.
    until : when each bank becomes free; `rows` are those it has left; shape (channels, banks of a channel).
    """

    chosen: dict[int, _Choice]
    finish: dict[int, Cycles]
    until: Cycles
    rows: npt.NDArray[np.int64]


def _empty(problem: Problem) -> _State:
    shape = problem.hardware.channels, problem.hardware.banks_per_channel
    return _State({}, {}, np.zeros(shape, np.int64), np.full(shape, problem.hardware.rows_per_bank, np.int64))


@dataclass
class _Search:
    goal: Goal
    tables: Sequence[tuple[_Table, ...]]
    tails: Sequence[Cycles]
    least: Sequence[_Least]
    stop: Stop
    best: dict[int, _Choice] | None = None
    value: Value = math.inf
    stopped: bool = False
    seen: set[Hashable] = field(default_factory=set)

    @property
    def problem(self) -> Problem:
        """What is solved."""
        return self.goal.problem

    def place(self, state: _State) -> None:
        """Place the remaining layers in every way that could be better than the best."""
        if (key := self.key(state)) in self.seen:
            return
        # With other starts what is finished at the same times may be so at different ones.
        if len(self.seen) < SEEN and not self.problem.objective.streams:
            self.seen.add(key)
        for layer in self.ready(state):
            edges = self.problem.edges[layer]
            for table in self.tables[layer]:
                arrive = np.full_like(table.finish, MINUS_INFINITY)
                for edge, lags in zip(edges, table.lags, strict=True):
                    times = state.finish[edge.producer][:, None]
                    arrive = np.maximum(arrive, (times + lags).max(axis=1))
                for banks in self.sites(state, layer, table):
                    self.place_on(state, layer, table, arrive, banks)

    def sites(self, state: _State, layer: int, table: _Table) -> Iterator[Banks]:
        """Yield the banks on which a layer may be placed with the options of a table."""
        given = self.problem.given_banks
        if layer in given:
            return iter((np.array(given[layer], np.int64),))
        static = self.problem.hardware.weights == "static"
        return _sites(state, self.kept_for(state), static, table.shape, int(table.rows.min()))

    def kept_for(self, state: _State) -> list[tuple[int, ...]]:
        """Return for each bank the layers that it is given to and that have not been placed."""
        to_come = [(i, own) for i, own in self.problem.given_banks.items() if i not in state.chosen]
        return [tuple(i for i, own in to_come if bank in own) for bank in range(state.rows.size)]

    def key(self, state: _State) -> Hashable:
        """Return all of a state on which the rest depends; banks that are alike may be exchanged."""
        left = [i for i in range(len(self.tables)) if i not in state.chosen]
        read = sorted({p for i in left for p in self.problem.network.producers[i]} - set(left))
        last = max((int(times.max()) for times in state.finish.values()), default=0)
        kinds = tuple(sorted(tuple(sorted(own)) for own in _bank_kinds(state, self.kept_for(state))))
        spent = self.known(state.chosen).energy
        return tuple(left), last, kinds, spent, tuple([state.finish[i].tobytes() for i in read])

    def known(self, chosen: Mapping[int, _Choice]) -> _Least:
        """Return what the layers take together, those that are chosen and the others at least."""
        if self.problem.objective.plain:
            return _Least()
        own = [
            _Least.of(self.goal, [chosen[i].option]) if i in chosen else least
            for i, least in enumerate(self.least)
        ]
        return _Least(math.fsum(x.energy for x in own), max(x.held for x in own))

    def worth(self, latency: int, known: _Least) -> Value:
        """Return the least value of the objective with a latency; infinite if limits are exceeded."""
        objective = self.problem.objective
        if objective.plain or latency >= INFINITY:
            return latency
        makespan = objective.makespan(latency, known.held)
        standby = standby_energy(self.problem.hardware, makespan) / objective.inferences
        figures = PlanFigures(latency, known.held, makespan, known.energy + standby)
        return math.inf if objective.excess(figures) else objective.value(figures)

    def ready(self, state: _State) -> list[int]:
        """Return the layers of which one comes next."""
        producers = self.problem.network.producers
        left = [i for i in self.problem.network.topological if i not in state.chosen]
        if self.problem.hardware.weights == "static":
            return left[:1]
        return [i for i in left if all(p in state.chosen for p in producers[i])]

    def place_on(self, state: _State, layer: int, table: _Table, arrive: Cycles, banks: Banks) -> None:
        """Place a layer on given banks with every option of a table."""
        release = max(self.problem.earliest[layer], int(state.until.ravel()[banks].max()))
        finish = np.maximum(arrive, release + table.finish)
        bounds = (finish + self.tails[layer]).max(axis=1)
        bounds[table.rows > state.rows.ravel()[banks].min()] = INFINITY
        tried = set()
        for i in np.argsort(bounds, kind="stable").tolist():
            if self.stopped or bounds[i] >= INFINITY:
                return
            choice = _Choice(table.options[i], release, banks)
            known = self.known(state.chosen | {layer: choice})
            if self.worth(int(bounds[i]), known) >= self.value:
                if self.problem.objective.plain:
                    return
                continue
            key = (finish[i].tobytes(), table.rows[i], known.energy)
            if key in tried:
                continue
            if not self.problem.objective.streams:
                tried.add(key)
            self.stopped = self.stop.reached()
            self.follow(state, layer, choice, finish[i])

    def keep(self, chosen: dict[int, _Choice], latency: int) -> None:
        """Keep the layers that have all been placed, with their best starts, if nothing better is known."""
        known = self.known(chosen)
        if self.problem.objective.streams:
            responses = [chosen[i].option for i in range(len(chosen))]
            paced = best_releases(self.problem, responses)
            if paced is None:
                return
            latency, known = paced.latency, replace(known, held=paced.held)
            chosen = {i: replace(own, release=paced.releases[i]) for i, own in chosen.items()}
        value = self.worth(latency, known)
        if value < self.value:
            self.best, self.value = chosen, value

    def follow(self, state: _State, layer: int, choice: _Choice, finish: Cycles) -> None:
        """Go on after a layer has been placed."""
        chosen = state.chosen | {layer: choice}
        times = state.finish | {layer: finish}
        if len(chosen) == len(self.tables):
            self.keep(chosen, max(int(t.max()) for t in times.values()))
            return
        until, rows = state.until.copy(), state.rows.copy()
        if self.problem.hardware.weights == "static":
            rows.ravel()[choice.banks] = 0
        else:
            until.ravel()[choice.banks] = finish.max()
            if self.problem.hardware.weights == "shared":
                rows.ravel()[choice.banks] -= choice.option.profile.rows
        self.place(_State(chosen, times, until, rows))


_BankKind = tuple[int, int, tuple[int, ...]]


def _bank_kinds(state: _State, kept_for: Sequence[tuple[int, ...]]) -> list[list[_BankKind]]:
    """Return for each channel what counts of its banks: when each is free, its rows, whom it waits for."""
    width = state.until.shape[1]
    rows = zip(state.until.tolist(), state.rows.tolist(), strict=True)
    return [
        list(zip(until, left, kept_for[c * width : (c + 1) * width], strict=True))
        for c, (until, left) in enumerate(rows)
    ]


def _sites(
    state: _State, kept_for: Sequence[tuple[int, ...]], static: bool, shape: BankShape, rows: int
) -> Iterator[Banks]:
    """Yield banks of a shape that have so many rows left; of choices among equal banks and channels, one.

    Parameters
    ----------
    kept_for : the layers that each bank is given to and that are still to come.
    static : whether a bank serves one layer, so that a bank that is given is no choice for others.
    """
    kinds = _bank_kinds(state, kept_for)
    channels, width = [tuple(sorted(own)) for own in kinds], len(kinds[0])
    usable = [
        [bank for bank, (_, left, kept) in enumerate(own) if left >= rows and not (static and kept)]
        for own in kinds
    ]
    seen = set()
    for picked in _choices(channels, range(len(channels)), shape[0]):
        for banks in itertools.product(*[_choices(kinds[c], usable[c], shape[1]) for c in picked]):
            sites = list(zip(picked, banks, strict=True))
            alike = tuple(sorted((channels[c], tuple(sorted(kinds[c][b] for b in own))) for c, own in sites))
            if alike not in seen:
                seen.add(alike)
                yield np.array([c * width + b for c, own in sites for b in own])


def _choices(kinds: Sequence[object], places: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Yield choices of `size` of the places, those of one kind being taken in turn."""
    classes: dict[object, list[int]] = {}
    for place in places:
        classes.setdefault(kinds[place], []).append(place)
    for taken in itertools.product(*[range(len(own) + 1) for own in classes.values()]):
        if sum(taken) == size:
            yield tuple(p for n, own in zip(taken, classes.values(), strict=True) for p in own[:n])


def _plan(problem: Problem, chosen: dict[int, _Choice]) -> Plan:
    """Return the plan of layers that have all been placed."""
    choices = [chosen[i] for i in range(len(chosen))]
    profiles = [choice.option.profile for choice in choices]
    orders = [choice.option.order for choice in choices]
    timeline = evaluate(problem, profiles, [choice.release for choice in choices], orders)
    return Plan(timeline, tuple(choice.banks for choice in choices))
