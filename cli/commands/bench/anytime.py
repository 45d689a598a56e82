"""`overlapim bench anytime`: latency, bound and gap of methods over time."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import typer

from cli.commands.bench.options import (
    BUILT_IN_CHIPS,
    BUILT_IN_NETWORKS,
    WEIGHTS,
    ChipsOption,
    Methods,
    NetworksOption,
    OnlyWeights,
    Seeds,
    TimeLimits,
    listed,
)
from cli.commands.bench.publish import Benchmark, Plot, Sheet, Table, conduct
from cli.options import ALL_CORES, MAX_SEED, OutDirectory, Workers, integer, one_of
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.anytime import AnytimeResults, MeasuredRun, Spread


_ABOUT = """\
What methods have after some time: the best latency, the best proved bound, and the gap between the two, with
several seeds. The plots show the median of the seeds as a line, their range as a band, and the bound dashed;
what lies above twice the best latency is cut off.
The primal integral is the mean, over the time that all methods of a row were given, of the share by which the
latency lies above the best that any run of the table ended with; before the first answer that share is 1.
It says in one number how soon answers are good.

Methods are compared in wall time on the same cores. `sequential`, `layerwise` and `random` end when they are
done; their latency stays the same from then on.
"""


def _empty() -> AnytimeResults:
    from solver.bench.anytime import AnytimeResults

    return AnytimeResults()


def _sheet(results: AnytimeResults) -> Sheet:
    """Return a row for each method on each network and chip, and a plot of all of them."""
    from cli.commands.bench.curves import curves

    plots = (Plot("anytime", "Latency and bound over time", lambda: curves(results)),)
    return Sheet((_table(results),), _notes(results), plots if results.by_subject() else ())


def _table(results: AnytimeResults) -> Table:
    from solver.bench.anytime import best_latency

    limits = sorted({limit for case in results.cases for limit in case.what.limits})
    columns = ["network", "chip", "weights", "method", "seeds"]
    columns += [f"{limit:g} s {what}" for limit in limits for what in ("latency", "bound", "gap")]
    columns += ["integral", "candidates", "their gap", "MiB"]
    rows = []
    for on, methods in results.by_subject().items():
        best = best_latency(methods)
        seconds = min(case.what.seconds for runs in methods.values() for case in runs)
        for method, runs in methods.items():
            integral = median(case.result.primal_integral(best, seconds) for case in runs)
            names = on.network, on.hardware, on.weights, method, f"{len(runs)}"
            rows.append((*names, *_read(runs, limits), f"{integral:.4f}", *_candidates(runs)))
    return Table("Latency and bound in M cycles", tuple(columns), tuple(rows), names=4)


def _read(runs: Sequence[MeasuredRun], limits: Sequence[float]) -> list[str]:
    """Return latency, bound and gap at each limit: medians, and the range of the latencies."""
    from solver.bench.anytime import spread

    cells = []
    for limit in limits:
        # The last step may end a little after the limit, and what it found is the answer all the same.
        readings = [
            case.result.at(limit) if limit < case.what.seconds else case.result.answer
            for case in runs
            if limit <= case.what.seconds
        ]
        latency = spread(reading.latency for reading in readings)
        bound, gap = (spread(getattr(reading, what) for reading in readings) for what in ("bound", "gap"))
        cells += [_range(latency), _middle(bound), "-" if gap is None else f"{gap.median:.1%}"]
    return cells


def _candidates(runs: Sequence[MeasuredRun]) -> tuple[str, str, str]:
    from solver.bench.anytime import spread

    number = spread(case.result.candidates for case in runs)
    gap = spread(case.result.pool_gap for case in runs)
    return (
        "-" if number is None else f"{number.median:,.0f}",
        "-" if gap is None else f"{gap.median:.1%}",
        f"{max(case.result.peak_mib for case in runs):,}",
    )


def _millions(cycles: float) -> str:
    return f"{cycles / 1e6:,.2f}" if cycles >= 1e8 else f"{cycles / 1e6:.4g}"


def _middle(spread: Spread | None) -> str:
    return "-" if spread is None else _millions(spread.median)


def _range(spread: Spread | None) -> str:
    if spread is None or spread.least == spread.most:
        return _middle(spread)
    return f"{_middle(spread)} ({_millions(spread.least)} to {_millions(spread.most)})"


def _notes(results: AnytimeResults) -> tuple[str, ...]:
    notes = [
        "Medians of the seeds, in brackets their range; shorter limits are read from the traces.",
        "MiB: the most that the process, or one it started, had had by the end of any of the runs.",
    ]
    refused = dict.fromkeys(
        f"refused: {case.what.on}: {case.result.refused}" for case in results.cases if case.result.refused
    )
    return (*notes, *refused)


ANYTIME = Benchmark("anytime", "Answers and bounds over time", _empty, _sheet, _ABOUT)


def anytime_command(
    context: typer.Context,
    network: NetworksOption = BUILT_IN_NETWORKS,
    hw: ChipsOption = BUILT_IN_CHIPS,
    limits: TimeLimits = "10,60",
    methods: Methods = "cpsat,descent,layerwise,random",
    seeds: Seeds = "0,1,2",
    weights: OnlyWeights = None,
    workers: Workers = ALL_CORES,
    out: OutDirectory = None,
) -> None:
    """Latency, bound and gap of methods over time, with several seeds and both kinds of weights.

    Each run takes the longest limit at most; what it had at shorter ones is read from its trace. Writes
    anytime.json, anytime.md and plots. With the defaults it takes three hours and can be stopped at any time.
    """
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.anytime import anytime_cases
    from solver.methods import METHODS

    chips = [load_hardware(name) for name in hw]
    kinds = [kind for kind in WEIGHTS if weights in (None, kind)]
    cases = anytime_cases(
        networks=[load_network(name) for name in network],
        chips=[chip.with_weights(kind) for chip in chips for kind in kinds],
        methods=listed("--methods", methods, one_of(*METHODS)),
        seeds=listed("--seeds", seeds, integer(0, MAX_SEED)),
        workers=workers or ALL_CORES,
        limits=listed("--limits", limits, parse_seconds),
    )
    conduct(ANYTIME, list(cases), out, context)
