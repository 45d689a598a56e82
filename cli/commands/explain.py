"""`overlapim explain`: what decides the latency of a solution, and what would lower it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from cli.answers import answer, answering
from cli.interrupt import interruptible
from cli.limits import FixedLayers, GivenLimits, LimitOptions, LimitsPath
from cli.options import DEFAULT_SECONDS, OutDirectory, SolutionFile, TimeLimit
from cli.solutions import read_account

if TYPE_CHECKING:
    from solver.account.critical import Computes, Piece
    from solver.account.cycles import Spent
    from solver.account.plan import Account, LayerAccount
    from solver.account.remedies import Remedies, Remedy, RemedyKind

SHOWN_RUNS = 24
"""Runs of a path that are shown if there are more; --json has all."""

SHOWN_CHANGES = 10
"""Changes that are shown."""

WORK = {
    "weights": "loading weights",
    "multiply": "multiplying",
    "rows": "opening rows",
    "load": "loading inputs",
    "reduce": "adding up",
    "drain": "draining",
    "post": "post-operations",
}
"""What layers spend cycles on (`Spent`), in words."""

REMEDIES: dict[RemedyKind, str] = {
    "loops": "other orders of the loops of",
    "banks": "more banks for",
    "mapping": "other mappings of",
    "order": "other orders of the blocks of",
}


@dataclass(frozen=True)
class PathRun:
    """A run of a layer on the critical path, with what comes between the run before it and this one.

    Attributes
    ----------
    start, begins, end : cycles; the layer computes from `begins` on.
    blocks : the first and the last one, counted from 1 in the order of execution.
    waited : cycles that the layer stood still before `begins`, which others on the path spent computing.
    reason : why it did not begin earlier: `data`, `banks` or its `release`; None at time 0.
    after, after_block : the layer, and for data the block, that it began after.
    about : the same in words.
    """

    layer: str
    start: int
    begins: int
    end: int
    blocks: tuple[int, int]
    waited: int
    reason: str | None
    after: str | None
    after_block: int | None
    about: str


@dataclass(frozen=True)
class PathShare:
    """What a layer has of the critical path.

    Attributes
    ----------
    waited : cycles that it stood still before its pieces of the path.
    spent : where all its cycles go, on the path or not.
    """

    layer: str
    computes: int
    waited: int
    spent: Spent


@dataclass(frozen=True)
class Change:
    """A change of one layer that lowers the latency; `about` says it in words."""

    kind: str
    layer: str
    about: str
    latency: int
    less: int


@dataclass(frozen=True)
class Explained:
    """Why a solution takes as long as it does.

    Attributes
    ----------
    path : from the end back to the start, without a gap.
    earlier : latency if layers begin as early as their banks and data allow; `changes` start from there.
    tried : plans that were evaluated.
    changes : those that help, the best one first.
    """

    latency: int
    path: tuple[PathRun, ...]
    layers: tuple[PathShare, ...]
    earlier: int
    tried: int
    changes: tuple[Change, ...]


@answering
def explain_command(
    context: typer.Context,
    solution: SolutionFile,
    time_limit: TimeLimit = DEFAULT_SECONDS,
    fix: FixedLayers = None,
    limit: LimitOptions = None,
    limits: LimitsPath = None,
    out: OutDirectory = None,
) -> None:
    """Tell what decides the latency, from the end back to the start, and what would lower it.

    The runs of layers on the critical path add up to the latency. Then single changes of these layers are
    tried: more banks, another order of loops or of blocks, another mapping. Each is evaluated as a whole plan
    and checked, so the latency that is shown is what it brings. No change breaks a limit of a layer. With
    --out, DIR/solution.yaml is the solution with the best of them.

    Example:

      overlapim explain results/solution.yaml
    """
    from cli.output import output_directory
    from cli.show.console import say
    from cli.show.progress import Progress, moving
    from overlapim_files import InputError, dump, write_text
    from solver.account.critical import critical_path, shares
    from solver.account.remedies import remedies
    from solver.limits import broken_limit
    from solver.maxplus.latest import postpone
    from solver.solution import from_plan
    from solver.stop import Stop

    with interruptible() as interrupt, output_directory(out):
        given, account = read_account(solution)
        kept = GivenLimits(limits, limit or (), fix or (), solution).of(given.network, given.hardware)
        if (broken := broken_limit(kept, given)) is not None:
            raise InputError(f"{solution}: {broken}; solve with it first")
        problem, plan = replace(account.problem, limits=kept), account.plan
        path = critical_path(account)
        stop = Stop(seconds=time_limit, interrupt=interrupt, started=context.obj)
        progress = Progress(stop.started, time_limit)
        progress.text = "tries changes"
        with moving(progress):
            found = remedies(problem, plan, [share.layer for share in shares(path)], stop)
        best = found.best[0].plan if found.best else found.base
        if out is not None:
            better = from_plan(problem, postpone(problem, best), "explain", given.seed)
            write_text(out / "solution.yaml", dump(better))
    record = _explained(account, path, found)
    answer(record, lambda: _show(record, found))
    if out is not None:
        say(f"written: {out / 'solution.yaml'}, with {best.latency:,} cycles")


def _explained(account: Account, path: Sequence[Piece], found: Remedies) -> Explained:
    from solver.account.critical import shares

    layers = [layer.name for layer in account.layers]
    on_path = ((x, account.layers[x.layer]) for x in shares(tuple(path)))
    changes = (
        Change(
            kind=x.kind,
            layer=layers[x.layer],
            about=_change(account, found, x),
            latency=x.plan.latency,
            less=account.latency - x.plan.latency,
        )
        for x in found.best
    )
    return Explained(
        latency=account.latency,
        path=tuple(_runs(account, path)),
        layers=tuple(PathShare(own.name, x.computes, x.waited, own.spent) for x, own in on_path),
        earlier=found.base.latency,
        tried=sum(found.tried.values()),
        changes=tuple(changes),
    )


def _runs(account: Account, path: Sequence[Piece]) -> Iterator[PathRun]:
    """Yield the runs of a path, each with the piece that comes before it in time."""
    from solver.account.critical import Computes, Queues, Transfers

    for run, before in zip(path, [*path[1:], None], strict=True):
        if not isinstance(run, Computes):
            continue
        layer = account.layers[run.layer]
        reason = after = block = None
        start = run.start
        if isinstance(before, Transfers):
            reason, after, block, start = "data", before.producer, before.producer_block, before.start
        elif isinstance(before, Queues):
            reason, after, start = "banks" if before.banks else "release", before.after, before.start
        elif isinstance(before, Computes):
            reason, after, block = "data", before.layer, before.last  # nothing takes time in between
        yield PathRun(
            layer=layer.name,
            start=start,
            begins=run.start,
            end=run.end,
            blocks=(run.first + 1, run.last + 1),
            waited=run.waited,
            reason=reason,
            after=None if after is None else account.layers[after].name,
            after_block=None if block is None else block + 1,
            about=f"{_blocks(layer, run)}{_reason(account, run, reason, after, block)}",
        )


def _blocks(layer: LayerAccount, run: Computes) -> str:
    from cli.show.console import printable

    name, total = printable(layer.name), layer.profile.blocks
    if total == 1:
        return f"{name} computes its only block"
    if (run.first, run.last) == (0, total - 1):
        return f"{name} computes all its {total:,} blocks"
    numbers = f"{run.first + 1:,}" if run.first == run.last else f"{run.first + 1:,}-{run.last + 1:,}"
    return f"{name} computes block{'s' * (run.first < run.last)} {numbers} of {total:,}"


def _reason(account: Account, run: Computes, reason: str | None, after: int | None, block: int | None) -> str:
    """Say in words why a run did not begin earlier."""
    from cli.show.console import printable
    from solver.export.trace import tile

    if after is None:
        return "" if reason is None else ", before which it is not released"
    before = account.layers[after]
    name = printable(before.name)
    if block is None:
        return f" once {name} leaves it banks" if reason == "banks" else f" once {name} has ended"
    if before.profile.blocks > 1:
        name = f"block {block + 1:,} of {name} ({tile(before.times, block)})"
    return f", after waiting {run.waited:,} for {name}" if run.waited else f" once {name} is there"


def _change(account: Account, found: Remedies, remedy: Remedy) -> str:
    """Say in words what a change is."""
    from cli.show.console import printable

    def banks(layer: int) -> str:
        return f"{remedy.plan.profiles[layer].banks:,} banks instead of {found.base.profiles[layer].banks:,}"

    name = printable(account.layers[remedy.layer].name)
    if remedy.kind == "banks":
        donor = remedy.donor
        paid = "" if donor is None else f", and {banks(donor)} for {printable(account.layers[donor].name)}"
        return f"{banks(remedy.layer)} for {name}{paid}"
    if remedy.kind == "order":
        pairs = zip(found.base.orders, remedy.plan.orders, strict=True)
        others = sum(old is not new for old, new in pairs) - 1
        more = f" and of {others:,} after it" if others > 0 else ""
        return f"another order of the blocks of {name}{more}"
    if remedy.kind == "loops":
        return f"another order of the loops of {name}"
    return f"another mapping of {name} on the same banks"


def _show(record: Explained, found: Remedies) -> None:
    from cli.show.console import console
    from cli.show.tables import number, table

    answers = console()
    transfer = found.problem.hardware.cycles.transfer
    answers.print(
        f"latency     {number(record.latency)} cycles; from its end back to its start, with {transfer:,} for "
        "each transfer of data:\n",
        soft_wrap=True,
    )
    rows = table(("from", "to", "cycles", "share", "what"), left=("what",))
    for start, end, about in _folded(record.path):
        share = f"{(end - start) / record.latency:.1%}"
        rows.add_row(number(start), number(end), number(end - start), share, about)
    answers.print(rows)
    answers.print()
    answers.print("\n".join(_layers(record)), soft_wrap=True)
    answers.print()
    answers.print("\n".join(_advice(record, found)), soft_wrap=True)


def _folded(path: Sequence[PathRun]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, words) of the runs; the shortest of very many are put together."""
    longest = sorted(path, key=lambda run: run.start - run.end)[:SHOWN_RUNS]
    folded: list[PathRun] = []
    for run in path:
        if run in longest:
            yield from _together(folded)
            folded = []
            yield run.start, run.end, run.about
        else:
            folded.append(run)
    yield from _together(folded)


def _together(runs: Sequence[PathRun]) -> Iterator[tuple[int, int, str]]:
    if len(runs) == 1:
        yield runs[0].start, runs[0].end, runs[0].about
    elif runs:
        layers = len({run.layer for run in runs})
        about = f"({len(runs):,} shorter runs of {layers:,} layer{'s' * (layers > 1)})"
        yield runs[-1].start, runs[0].end, about


def _layers(record: Explained) -> Iterator[str]:
    """Say which layers have the largest shares of the path, and what these mostly do."""
    from cli.show.console import printable

    yield "on the path"
    for share in record.layers[:5]:
        waited = f", and had waited {share.waited:,}" if share.waited else ""
        part, work = share.computes / record.latency, share.spent.total - share.spent.wait
        most = max(WORK, key=lambda name: getattr(share.spent, name))
        mostly = f": {getattr(share.spent, most) / work:.1%} of its work is {WORK[most]}"
        yield f"  {printable(share.layer)} computes {share.computes:,} cycles ({part:.1%}){waited}{mostly}"
    if rest := sum(share.computes for share in record.layers[5:]):
        yield f"  {len(record.layers) - 5:,} others compute {rest:,} ({rest / record.latency:.1%})"


def _advice(record: Explained, found: Remedies) -> Iterator[str]:
    """Say what was tried, and what each change that helps makes of the latency."""
    kinds = Counter(kind for kind, _ in found.tried)
    tried = ", ".join(f"{REMEDIES[kind]} {n:,} layer{'s' * (n > 1)}" for kind, n in kinds.items())
    yield f"tried {record.tried:,} changes, one at a time: {tried or 'there was no time for any'}"
    earlier = record.earlier < record.latency
    if earlier:
        yield _line(record, record.earlier, "layers begin as early as their banks and data allow; then also")
    for change in record.changes[:SHOWN_CHANGES]:
        yield _line(record, change.latency, change.about)
    if len(record.changes) > SHOWN_CHANGES:
        yield f"  and {len(record.changes) - SHOWN_CHANGES:,} that help less"
    if not record.changes:
        yield "none of them lowers the latency" + " further" * earlier


def _line(record: Explained, latency: int, about: str) -> str:
    return f"  {latency:>15,} cycles, {latency / record.latency - 1:>6.1%}  {about}"
