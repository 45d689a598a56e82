"""`overlapim solve`: find mappings, starts and banks for a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand

from cli.amounts import Amount, cycles_or_time, picojoules, size
from cli.answers import answer, answering
from cli.interrupt import Interrupt, interruptible
from cli.limits import FixedLayers, GivenLimits, LimitOptions, LimitsPath
from cli.networks import (
    AsPost,
    BatchSize,
    DimNames,
    EdgesFile,
    Extents,
    FileOptions,
    Strict,
    Until,
    WeightsFrom,
    given_network,
)
from cli.options import (
    ALL_CORES,
    DEFAULT_HARDWARE,
    DEFAULT_SECONDS,
    MAX_INFERENCES,
    MEASURES,
    HardwareName,
    MemoryLimit,
    NetworkName,
    OutDirectory,
    Seed,
    TimeLimit,
    WeightsOption,
    Workers,
    integer,
    one_of,
    seconds,
    share,
)

if TYPE_CHECKING:
    from hw.hardware import Hardware, Weights
    from models.network import Network
    from solver.params import Params
    from solver.schedule.plan import Plan
    from solver.stop import Stop
    from solver.timing.limits import Limits
    from solver.timing.objective import Objective

MARGIN = 0.5
"""Seconds of the time limit that are kept for the last check, the table and the files."""

LAYER_MARGIN = 0.003
"""The same for each layer: half of it for the check, half for the table and the files."""


class SolveCommand(TyperCommand):
    """Names the methods in its help; they are looked up only then, because that imports the solver."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from solver.methods import DEFAULT_METHOD, METHODS

        option: Any = next(parameter for parameter in self.params if parameter.name == "method")
        option.help = f"{option.help} One of {', '.join(METHODS)}; {DEFAULT_METHOD} unless given."
        super().format_help(ctx, formatter)


Method = Annotated[str | None, typer.Option("--method", "-m", metavar="METHOD", help="How to search.")]
STRATEGIES = ("forward", "backward", "middle", "best")
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        parser=one_of(*STRATEGIES),
        metavar="|".join(STRATEGIES),
        help="Which way the method layerwise walks: from the first layer, the last one, or the one with the "
        "largest output; or all three, which is what it does unless given.",
    ),
]
Gap = Annotated[
    float | None,
    typer.Option(
        "--gap",
        parser=share,
        metavar="SHARE",
        help="Stop once the proven gap is at most this share, such as 0.05 or 5%; cpsat proves one.",
    ),
]
Patience = Annotated[
    float | None,
    typer.Option(
        "--patience",
        parser=seconds,
        metavar="SECONDS",
        help="Stop when neither the latency nor the bound has improved for so long, counted as the time "
        "limit is.",
    ),
]
WarmStart = Annotated[
    Path | None,
    typer.Option(
        "--warm-start",
        "-W",
        metavar="SOLUTION",
        help="Go on from the solution in this file, whichever method it is from.",
    ),
]
Inferences = Annotated[
    int,
    typer.Option(
        "--inferences",
        "-N",
        parser=integer(1, MAX_INFERENCES),
        metavar="N",
        help="How many inferences follow each other; the time until the last of them ends is minimised.",
    ),
]
ObjectiveOption = Annotated[
    str,
    typer.Option(
        "--objective",
        parser=one_of(*MEASURES),
        metavar="|".join(MEASURES),
        help="What is minimised: the time of all inferences, the energy of one, or the product of both.",
    ),
]
LatencyAtMost = Annotated[
    Amount | None,
    typer.Option(
        "--latency-at-most",
        parser=cycles_or_time,
        metavar="CYCLES|TIME",
        help="Only plans of at most this latency: cycles, or a time such as 1.5ms.",
    ),
]
IntervalAtMost = Annotated[
    Amount | None,
    typer.Option(
        "--interval-at-most",
        parser=cycles_or_time,
        metavar="CYCLES|TIME",
        help="Only plans in which an inference can follow after so many cycles, or such a time.",
    ),
]
EnergyAtMost = Annotated[
    Amount | None,
    typer.Option(
        "--energy-at-most",
        parser=picojoules,
        metavar="ENERGY",
        help="Only plans in which an inference takes at most this energy: pJ, or such as 2.5mJ.",
    ),
]
Top = Annotated[
    int,
    typer.Option(
        "--top",
        parser=integer(1, 100),
        metavar="K",
        help="Keep the K best solutions that the search comes upon, each with another mapping somewhere.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        "-D",
        help="Give the same solution for the same seed on any machine: in one process, and with a time "
        "limit that counts work, in nominal seconds.",
    ),
]


@dataclass(frozen=True)
class Task:
    """What is to be solved, how, and from which plan on."""

    network: Network
    hardware: Hardware
    method: str
    warm_start: Plan | None
    seed: int
    workers: int
    objective: Objective
    params: Params
    limits: Limits
    top: int


@dataclass(frozen=True)
class Wish:
    """What is minimised, and within which limits, as the options say."""

    measure: str
    inferences: int
    latency: Amount | None
    interval: Amount | None
    energy: Amount | None

    def on(self, hardware: Hardware) -> Objective:
        """Return the objective on a chip, whose clock says how many cycles a time has."""
        from solver.timing.objective import MEASURES, Objective

        def cycles(own: Amount | None) -> int | None:
            return None if own is None else own.cycles(hardware.nanoseconds(1))

        measure = next(x for x in MEASURES if x == self.measure)
        energy = None if self.energy is None else self.energy.value
        return Objective(measure, self.inferences, cycles(self.latency), cycles(self.interval), energy)


@answering
def solve_command(
    context: typer.Context,
    network: NetworkName,
    hw: HardwareName = DEFAULT_HARDWARE,
    weights: WeightsOption = None,
    dim: Extents = None,
    until: Until = None,
    as_post: AsPost = None,
    weights_from: WeightsFrom = None,
    strict: Strict = False,
    batch: BatchSize = 1,
    dims: DimNames = None,
    edges: EdgesFile = None,
    method: Method = None,
    strategy: StrategyOption = None,
    time_limit: TimeLimit = DEFAULT_SECONDS,
    gap: Gap = None,
    patience: Patience = None,
    seed: Seed = 0,
    workers: Workers = None,
    memory: MemoryLimit = None,
    deterministic: Deterministic = False,
    inferences: Inferences = 1,
    objective: ObjectiveOption = "makespan",
    latency_at_most: LatencyAtMost = None,
    interval_at_most: IntervalAtMost = None,
    energy_at_most: EnergyAtMost = None,
    warm_start: WarmStart = None,
    fix: FixedLayers = None,
    limit: LimitOptions = None,
    limits: LimitsPath = None,
    top: Top = 1,
    out: OutDirectory = None,
) -> None:
    """Map a network onto a chip so that its layers overlap and it ends as early as possible.

    The table shows for each layer its banks; the share of their lanes' time, from start to end, that goes
    into multiply-accumulates; when it starts and ends; how long it held its banks and waited for data; and
    for which layer it waited longest. All times are in cycles.

    The first of --time-limit, --gap, --patience and --memory to be reached ends the search, as does a proof
    that nothing is faster. Ctrl-C ends it with the best answer so far; a second Ctrl-C gives up. Nothing is
    written without --out.

    Examples:

      overlapim solve resnet18
      overlapim solve resnet18 --hw reram-aritpim -t 60 -o results
      overlapim solve resnet18 --hw reram-aritpim -t 600 -W results/solution.yaml -o better
      overlapim solve net.onnx --dim batch=1
      overlapim solve resnet18 --batch 8
      overlapim solve resnet18 --inferences 1000
      overlapim solve resnet18 --objective energy --latency-at-most 30ms
      overlapim solve net.yaml --hw chip.yaml --method layerwise --weights static
      overlapim solve resnet18 -W results/solution.yaml --fix 'layer1*' --limit 'fc:most_banks=4'
    """
    from solver.memory import Memory

    if deterministic and (workers or 1) > 1:
        raise typer.BadParameter(f"--deterministic takes one process, not --workers {workers}")
    with interruptible() as interrupt:
        processes = workers or (1 if deterministic else ALL_CORES)
        options = FileOptions(dim, until, as_post, weights_from, dims, edges)
        load = partial(given_network, network, options, strict, batch)
        wish = Wish(objective, inferences, latency_at_most, interval_at_most, energy_at_most)
        given = GivenLimits(limits, limit or (), fix or (), warm_start)
        task = _task(load, hw, weights, method, strategy, given, seed, processes, wish, top)
        stop = replace(
            _time_limit(deterministic, time_limit, len(task.network.layers), interrupt, context.obj),
            gap=gap,
            patience=patience,
            memory=Memory() if memory is None else Memory(memory),
        )
        _solve(task, stop, None if deterministic else time_limit, out, interrupt)


def _task(
    load: Callable[[], Network],
    hw: str,
    weights: str | None,
    method: str | None,
    strategy: str | None,
    given: GivenLimits,
    seed: int,
    workers: int,
    wish: Wish,
    top: int,
) -> Task:
    from hw.library import load_hardware
    from overlapim_files import InputError, nearest
    from solver import params
    from solver.methods import DEFAULT_METHOD, METHODS
    from solver.solution import read_plan

    if method is not None and method not in METHODS:
        raise InputError(f"--method: there is no method '{method}'{nearest(method, list(METHODS))}")
    if strategy is not None and method != "layerwise":
        raise InputError(f"--strategy: only the method layerwise walks, not '{method or DEFAULT_METHOD}'")
    chip = load_hardware(hw)
    if weights is not None:
        chip = chip.with_weights(cast("Weights", weights))
    loaded = load()
    plan = None if given.solution is None else read_plan(given.solution, loaded, chip)
    walk = next(x for x in params.STRATEGIES if x == (strategy or "best"))
    tuning = params.Params(layerwise=params.LayerwiseParams(walk))
    limits, objective = given.of(loaded, chip), wish.on(chip)
    return Task(loaded, chip, method or DEFAULT_METHOD, plan, seed, workers, objective, tuning, limits, top)


def _time_limit(
    deterministic: bool, seconds: float, layers: int, interrupt: Interrupt, started: float
) -> Stop:
    from solver.stop import Stop

    if deterministic:
        return Stop.deterministic(seconds, interrupt, started)
    margin = MARGIN + layers * LAYER_MARGIN
    return Stop(seconds=max(seconds - margin, 0.0), interrupt=interrupt, started=started)


def _solve(task: Task, stop: Stop, limit: float | None, out: Path | None, interrupt: Interrupt) -> None:
    from cli.output import output_directory
    from cli.records.result_file import write_run
    from cli.records.solution import run_record
    from cli.show.console import say
    from cli.show.progress import moving, search_progress
    from cli.show.tables import show_result, show_runners_up
    from solver import core
    from solver.account.plan import account
    from solver.solve import solve
    from solver.timing.problem import Problem

    network, hardware = task.network, task.hardware
    with output_directory(out):
        with moving(search_progress(stop.started, limit, task.objective.measure)) as progress:
            result = solve(
                network,
                hardware,
                method=task.method,
                params=task.params,
                stop=stop,
                seed=task.seed,
                workers=task.workers,
                objective=task.objective,
                warm_start=task.warm_start,
                observer=progress,
                limits=task.limits,
                top=task.top,
            )
        found = account(Problem(network, hardware, task.objective), result.plan)
        record = run_record(result, found, time.monotonic() - stop.started, interrupt.is_set())
        written = [] if out is None else write_run(out, result, record)

    def show() -> None:
        show_result(found, result)
        if record.runners_up:
            show_runners_up(result.latency, record.runners_up)

    answer(record, show)
    if core.native is None:
        say("searched in Python: the compiled core is missing or out of date, which is several times as fast")
    if interrupt.is_set():
        say(f"interrupted by {interrupt.name}: this is the best answer up to then")
    elif result.ending in ("gap", "patience"):
        say(f"ended by --{result.ending}")
    elif stop.memory is not None and result.ending == "memory":
        say(
            f"ended by --memory: {size(stop.memory.limit)} do not suffice; this is the best answer up to then"
        )
    if (count := 1 + len(record.runners_up)) < task.top:
        say(f"the search came upon {count} solution{'s' * (count > 1)}, not {task.top}")
    if written:
        say(f"written: {', '.join(map(str, written))}")
