"""What a run found, and what is so of a solution file, as records for scripts to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from cli.process import COMMAND
from overlapim_files import digest
from solver.account.cycles import Spent
from solver.account.plan import Account
from solver.solution import Solution
from solver.solve import Result
from solver.stop import Ending
from solver.timing.energy import EnergyParts
from solver.timing.objective import Value
from solver.versions import versions


@dataclass(frozen=True)
class LayerLine:
    """One layer of a plan.

    Attributes
    ----------
    banks : how many it has.
    busy : share of its lanes' time that goes into its multiply-accumulates.
    waited_for : cycles for each layer that it waits for, the longest first.
    spent : where the cycles from start to end go.
    energy_pj : picojoules by kind of event; None on a chip without figures.
    """

    name: str
    banks: int
    busy: float
    start: int
    end: int
    waited: int
    waited_for: dict[str, int]
    spent: Spent
    energy_pj: EnergyParts | None


def layer_lines(account: Account) -> tuple[LayerLine, ...]:
    """Return a line for each layer of a plan."""
    return tuple(
        LayerLine(
            name=layer.name,
            banks=len(layer.banks),
            busy=layer.busy,
            start=layer.start,
            end=layer.end,
            waited=layer.waited,
            waited_for={account.layers[i].name: cycles for i, cycles in layer.waited_for.items()},
            spent=layer.spent,
            energy_pj=layer.energy,
        )
        for layer in account.layers
    )


class InputDigests(BaseModel):
    """What the network and the chip of a solution were, as `digest` has it."""

    model_config = ConfigDict(frozen=True)

    network: str
    hardware: str


def input_digests(solution: Solution) -> InputDigests:
    """Return the digests of what was solved."""
    return InputDigests(network=digest(solution.network), hardware=digest(solution.hardware))


@dataclass(frozen=True)
class RunnerUp:
    """One of the next best solutions.

    Attributes
    ----------
    differs : the layers whose mappings are others than in the best one.
    """

    latency: int
    differs: tuple[str, ...]


def runners_up(result: Result) -> tuple[RunnerUp, ...]:
    """Return the next best solutions of a run, the best first."""
    best = result.solution.layers
    return tuple(
        RunnerUp(
            own.latency,
            tuple(
                name
                for name, layer in own.layers.items()
                if (layer.loops, layer.load) != (best[name].loops, best[name].load)
            ),
        )
        for own in result.runners_up
    )


@dataclass(frozen=True)
class RunRecord:
    """What a run found and how: `result.json`, and what `solve --json` prints."""

    network: str
    hardware: str
    clock_ns: float
    latency: int
    latency_s: float
    objective: str
    inferences: int
    value: Value
    makespan: int
    bound: Value
    bound_scope: str
    gap: float
    bound_within_limits: Value | None
    gap_within_limits: float | None
    pool_bound: Value | None
    pool_gap: float | None
    candidates: int | None
    status: str
    method: str
    seed: int
    wall_s: float
    interrupted: bool
    ending: Ending
    sequential: Value
    bottleneck: int
    interval: int
    inferences_per_s: float
    energy_pj: float | None
    standby_pj: float | None
    tokens_per_s: float | None
    energy_per_token_pj: float | None
    utilisation: float
    layers: tuple[LayerLine, ...]
    trace: tuple[tuple[float, Value, Value], ...]
    runners_up: tuple[RunnerUp, ...]
    inputs: InputDigests
    versions: dict[str, str | None]
    command: str


def run_record(result: Result, account: Account, wall_s: float, interrupted: bool) -> RunRecord:
    """Return the record of a run."""
    solution = result.solution
    return RunRecord(
        network=solution.network.name,
        hardware=solution.hardware.name,
        clock_ns=solution.hardware.clock_ns,
        latency=solution.latency,
        latency_s=account.hardware.nanoseconds(solution.latency) * 1e-9,
        objective=solution.objective,
        inferences=solution.inferences,
        value=result.value,
        makespan=account.makespan,
        bound=result.bound,
        bound_scope=solution.bound_scope,
        gap=result.gap,
        bound_within_limits=result.bound_within,
        gap_within_limits=result.gap_within,
        pool_bound=result.candidate_bound,
        pool_gap=result.candidate_gap,
        candidates=result.candidates,
        status=solution.status,
        method=solution.method,
        seed=solution.seed,
        wall_s=round(wall_s, 3),
        interrupted=interrupted,
        ending=result.ending,
        sequential=result.sequential,
        bottleneck=account.bottleneck,
        interval=account.interval,
        inferences_per_s=account.inferences_per_second,
        energy_pj=account.energy.total if account.energy else None,
        standby_pj=account.energy.standby if account.energy else None,
        tokens_per_s=account.tokens_per_second,
        energy_per_token_pj=account.energy_per_token,
        utilisation=account.utilisation,
        layers=layer_lines(account),
        trace=tuple((step.seconds, step.value, step.bound) for step in result.trace),
        runners_up=runners_up(result),
        inputs=input_digests(solution),
        versions=versions(),
        command=COMMAND.get(),
    )


@dataclass(frozen=True)
class FileRecord:
    """What is so of a solution file: as recomputed, apart from its bound, which is what the file states."""

    network: str
    hardware: str
    clock_ns: float
    latency: int
    latency_s: float
    objective: str
    inferences: int
    makespan: int
    bound: Value | None
    bound_scope: str
    status: str
    method: str
    seed: int
    bottleneck: int
    interval: int
    inferences_per_s: float
    energy_pj: float | None
    standby_pj: float | None
    tokens_per_s: float | None
    energy_per_token_pj: float | None
    utilisation: float
    layers: tuple[LayerLine, ...]
    differences: tuple[str, ...]


def file_record(solution: Solution, account: Account, differences: Sequence[str] = ()) -> FileRecord:
    """Return the record of a solution file, with every way in which it disagrees with what was recomputed."""
    return FileRecord(
        network=solution.network.name,
        hardware=solution.hardware.name,
        clock_ns=solution.hardware.clock_ns,
        latency=account.latency,
        latency_s=account.hardware.nanoseconds(account.latency) * 1e-9,
        objective=solution.objective,
        inferences=solution.inferences,
        makespan=account.makespan,
        bound=solution.bound,
        bound_scope=solution.bound_scope,
        status=solution.status,
        method=solution.method,
        seed=solution.seed,
        bottleneck=account.bottleneck,
        interval=account.interval,
        inferences_per_s=account.inferences_per_second,
        energy_pj=account.energy.total if account.energy else None,
        standby_pj=account.energy.standby if account.energy else None,
        tokens_per_s=account.tokens_per_second,
        energy_per_token_pj=account.energy_per_token,
        utilisation=account.utilisation,
        layers=layer_lines(account),
        differences=tuple(differences),
    )


@dataclass(frozen=True)
class WrittenPicture:
    """A picture of a solution that was written."""

    file: str
    bytes: int
    latency: int
