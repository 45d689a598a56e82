"""The account of a plan, from which tables, reports, plots and traces are made: all say the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hw.hardware import Hardware
from models.network import Layer
from solver.account.blocks import Blocks, BlockWait, block_waits, just_in_time, layer_blocks
from solver.account.cycles import Spent, spent
from solver.account.edges import Readiness, readiness
from solver.schedule.banks import Banks
from solver.schedule.energy import PlanEnergy, plan_energy
from solver.schedule.plan import Plan, in_turn
from solver.timing.energy import EnergyParts
from solver.timing.objective import PlanFigures
from solver.timing.own_bits import own_chip
from solver.timing.problem import Problem
from solver.timing.profile import Cycles, Profile
from solver.timing.timeline import LayerTimes


@dataclass(frozen=True, eq=False)
class LayerAccount:
    """One layer of a plan.

    Attributes
    ----------
    index : position in the network.
    banks : the numbers of its banks.
    busy : share of the lanes' time, as long as the layer holds them, that goes into its multiply-accumulates.
    spent : where the cycles from start to end go.
    energy : picojoules by kind of event; None on a chip without figures.
    begins_after : what its first block waits for; None if it begins at its release.
    just_in_time : the first block that would wait for data if the layer began earlier than its release; None
        if there is none before its first wait.
    waits : the waits for data once it has started.
    """

    index: int
    layer: Layer
    times: LayerTimes
    banks: Banks
    busy: float
    spent: Spent
    energy: EnergyParts | None
    begins_after: BlockWait | None
    just_in_time: BlockWait | None
    waits: tuple[BlockWait, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def profile(self) -> Profile:
        """The layer under its mapping."""
        return self.times.profile

    @property
    def start(self) -> int:
        """The cycle from which on it holds its banks."""
        return self.times.start

    @property
    def end(self) -> int:
        """The cycle in which its last output is finished."""
        return self.times.end

    @property
    def held(self) -> int:
        """Cycles for which it holds its banks."""
        return self.end - self.start

    @property
    def waited(self) -> int:
        """Cycles that it holds its banks and waits for data."""
        return self.times.waited

    @cached_property
    def waited_for(self) -> dict[int, int]:
        """For each producer that it waits for the cycles, the longest first."""
        total: dict[int, int] = {}
        for wait in self.waits:
            total[wait.producer] = total.get(wait.producer, 0) + wait.cycles
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @cached_property
    def blocks(self) -> Blocks:
        """Its blocks in the order of execution."""
        return layer_blocks(self.times)


@dataclass(frozen=True, eq=False)
class Account:
    """All of a plan that people are shown.

    Attributes
    ----------
    layers : in the order of the network.
    bank_times : cycles for which each bank is held; shape (banks of the chip,).
    bank_rows : rows that the layers of each bank need in it at a time; shape (banks of the chip,).
    energy : that of one of the inferences; None on a chip without figures.
    """

    problem: Problem
    plan: Plan
    layers: tuple[LayerAccount, ...]
    bank_times: Cycles
    bank_rows: Cycles
    energy: PlanEnergy | None

    @property
    def hardware(self) -> Hardware:
        """The chip."""
        return self.problem.hardware

    @property
    def latency(self) -> int:
        """Cycles from time 0 to the end of the last layer."""
        return self.plan.latency

    @property
    def bottleneck(self) -> int:
        """The longest time that one bank is held: no interval between two inferences can be shorter."""
        return int(self.bank_times.max())

    @property
    def interval(self) -> int:
        """The least number of cycles by which inferences can follow each other."""
        return self.plan.interval

    @property
    def figures(self) -> PlanFigures:
        """What an objective is made of."""
        energy = self.energy.total if self.energy else 0.0
        return PlanFigures(self.latency, self.interval, self.makespan, energy)

    @property
    def makespan(self) -> int:
        """Cycles until the last of all inferences ends."""
        return self.problem.objective.makespan(self.latency, self.interval)

    @property
    def inferences_per_second(self) -> float:
        """How many inferences a second end if they follow each other at the interval."""
        return 1e9 / self.hardware.nanoseconds(self.interval)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of one run over its latency; None if the network is no language model."""
        tokens = self.problem.network.tokens
        return None if tokens is None else tokens * 1e9 / self.hardware.nanoseconds(self.latency)

    @property
    def energy_per_token(self) -> float | None:
        """Picojoules of one run by its tokens; None without figures, or if it is no language model."""
        tokens = self.problem.network.tokens
        return None if tokens is None or self.energy is None else self.energy.total / tokens

    @cached_property
    def work(self) -> int:
        """Lane-cycles of all multiply-accumulates."""
        return sum(x.macs * own_chip(x, self.hardware).mac_cycles for x in self.problem.layers)

    @property
    def utilisation(self) -> float:
        """Share of all lanes' time up to the latency that goes into multiply-accumulates."""
        return self.work / (self.hardware.lanes * self.latency)

    @cached_property
    def spent(self) -> Spent:
        """Where the bank-cycles go for which banks are held; their total is that of `bank_times`."""
        return sum((layer.spent * len(layer.banks) for layer in self.layers), Spent())

    @property
    def idle(self) -> int:
        """Bank-cycles up to the latency in which no layer holds the bank."""
        return self.hardware.banks * self.latency - self.spent.total

    @cached_property
    def without_overlap(self) -> int:
        """Latency of the same mappings, on the same banks, one after the other."""
        return in_turn(self.problem, self.plan.profiles, self.plan.banks).latency

    def holders(self, bank: int) -> list[LayerAccount]:
        """Return the layers that hold a bank, in the order of time."""
        return sorted((x for x in self.layers if bank in x.banks), key=lambda x: (x.start, x.end))

    def readiness(self, layer: int, operand: int) -> Readiness:
        """Return when an operand, counted as in `Problem.edges`, is ready and needed, block by block."""
        edge = self.problem.edges[layer][operand]
        times = self.plan.timeline.layers
        transfer = self.hardware.cycles.transfer
        return readiness(times[layer], times[edge.producer], edge, transfer)


def account(problem: Problem, plan: Plan) -> Account:
    """Return the account of a plan."""
    energy = plan_energy(problem.hardware, plan, problem.objective.inferences)
    energies = [None] * len(plan.banks) if energy is None else energy.layers
    layers = tuple(_layer(problem, plan, i, own) for i, own in enumerate(energies))
    bank_times, bank_rows = np.zeros((2, problem.hardware.banks), np.int64)
    for layer in layers:
        bank_times[layer.banks] += layer.held
        own = bank_rows[layer.banks]
        reloaded = problem.hardware.weights == "reload"
        bank_rows[layer.banks] = np.maximum(own, layer.profile.rows) if reloaded else own + layer.profile.rows
    return Account(problem, plan, layers, bank_times, bank_rows, energy)


def _layer(problem: Problem, plan: Plan, i: int, energy: EnergyParts | None) -> LayerAccount:
    hardware, layer = problem.hardware, problem.layers[i]
    times, banks = plan.timeline.layers[i], plan.banks[i]
    waits = block_waits(times, problem.edges[i], plan.timeline.layers, hardware.cycles.transfer)
    lanes = len(banks) * hardware.columns_per_bank
    return LayerAccount(
        index=i,
        layer=layer,
        times=times,
        banks=banks,
        busy=layer.macs * own_chip(layer, hardware).mac_cycles / (lanes * (times.end - times.start)),
        spent=spent(times, hardware),
        energy=energy,
        begins_after=next((wait for wait in waits if wait.block == 0), None),
        just_in_time=just_in_time(times, plan.timeline.layers, hardware.cycles.transfer),
        waits=tuple(wait for wait in waits if wait.block > 0),
    )


def runs(banks: Sequence[int] | Banks) -> list[tuple[int, int]]:
    """Return bank numbers as runs (first, last) of neighbours, in order."""
    ordered = np.sort(np.asarray(banks, np.int64))
    gaps = np.flatnonzero(np.diff(ordered) > 1)
    firsts, lasts = np.append(ordered[:1], ordered[gaps + 1]), np.append(ordered[gaps], ordered[-1:])
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
