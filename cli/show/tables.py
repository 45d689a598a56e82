"""How answers look on a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from cli.records.solution import RunnerUp
from cli.show.console import console, printable
from cli.show.facts import Fact, fact_lines
from hw.hardware import Hardware
from models.layer import Dim
from solver.account.plan import Account
from solver.execute.succession import Succession
from solver.solution import Solution
from solver.solve import Result
from solver.timing.objective import Measure, Value

SHOWN_LAYERS = 6
"""Layers that are named of each of the next best solutions."""

SCOPES = {"mapspace": "all valid solutions", "pool": "the mappings that were considered"}
"""What a bound holds for, in words."""


def number(value: int) -> str:
    """Return an integer with its thousands set apart."""
    return f"{value:,}"


def duration(cycles: int, hardware: Hardware) -> str:
    """Return how long so many cycles of a chip take."""
    return time_taken(hardware.nanoseconds(cycles))


def time_taken(nanoseconds: float) -> str:
    """Return a time with four digits."""
    ms = nanoseconds * 1e-6
    return f"{ms:.4g} ms" if ms < 1000 else f"{ms / 1000:,.4g} s"


def table(columns: Sequence[str], left: Sequence[str] = ()) -> Table:
    """Return an empty table whose columns are numbers, apart from those named in `left`."""
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        result.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return result


def dims(bounds: Mapping[Dim, int]) -> str:
    """Return the dims of a layer that are more than 1, with their bounds."""
    return " ".join(f"{dim}{bound}" for dim, bound in bounds.items() if bound > 1) or "1"


def follow(account: Account) -> str:
    """Return how soon inferences can follow each other, in words."""
    return f"{number(account.interval)} cycles from one to the next: {rate(account)}"


def rate(account: Account) -> str:
    """Return how many inferences a second follow each other, in words."""
    return f"{per_second(account.inferences_per_second)} inferences a second"


def per_second(count: float) -> str:
    """Return how many there are in a second, with four digits at least."""
    return f"{count:,.0f}" if count >= 1000 else f"{count:.4g}"


PARTS = {
    "steps": "multiplying",
    "rows": "opening rows",
    "weights": "weights",
    "load": "loading",
    "write": "writing inputs",
    "reduce": "adding up",
    "drain": "draining",
    "post": "post-operations",
}
"""The parts of the energy of layers (`EnergyParts`), in words."""


def joules(picojoules: float) -> str:
    """Return an energy with four digits, in the unit that suits it."""
    power, unit = next((p, u) for p, u in UNITS if picojoules >= 10**p or p == 0)
    return f"{picojoules / 10**power:.4g} {unit}"


UNITS = ((12, "J"), (9, "mJ"), (6, "uJ"), (3, "nJ"), (0, "pJ"))
"""Powers of ten of a picojoule, and their names."""


def energy_facts(account: Account, most: int = 3) -> list[Fact]:
    """Return the energy of an inference with its largest parts; nothing on a chip without figures."""
    energy = account.energy
    if energy is None:
        return []
    parts = {name: getattr(energy.parts, part) for part, name in PARTS.items()} | {"standby": energy.standby}
    largest = sorted(parts, key=lambda name: -parts[name])[:most]
    shares = [f"{parts[name] / energy.total:.1%} {name}" for name in largest if parts[name]]
    return [("energy", f"{joules(energy.total)} an inference: {', '.join(shares)}")]


def token_facts(account: Account) -> list[Fact]:
    """Return how fast a language model is and what a token takes; nothing of other networks."""
    pace, tokens = account.tokens_per_second, account.problem.network.tokens
    if pace is None or tokens is None:
        return []
    energy = account.energy_per_token
    each = "" if energy is None else f", {joules(energy)} each"
    return [("tokens", f"{number(tokens)} in the latency: {per_second(pace)} a second{each}")]


def layer_table(account: Account) -> Table:
    """Return the table of a plan, a row for each layer."""
    columns = ("layer", "banks", "lanes busy", "start", "end", "waited", "for")
    result = table(columns, left=("layer", "for"))
    for line in account.layers:
        times = (number(line.start), number(line.end), number(line.waited))
        waited_for = next((printable(account.layers[i].name) for i in line.waited_for), "-")
        result.add_row(printable(line.name), str(len(line.banks)), f"{line.busy:.1%}", *times, waited_for)
    return result


MEASURED = {"makespan": "cycles", "energy": "pJ", "edp": "pJ cycles"}
"""In what the value of each objective is."""


def measured(value: Value, measure: Measure) -> str:
    """Return the value of an objective with its unit."""
    if measure == "energy":
        return joules(value)
    return f"{value:,} cycles" if measure == "makespan" else f"{value:.5g} {MEASURED[measure]}"


def aim(account: Account, faster: str) -> list[Fact]:
    """Return what was minimised, unless that is the latency.

    Parameters
    ----------
    faster : a comparison to stand behind it.
    """
    objective = account.problem.objective
    if objective.measure == "makespan" and objective.inferences == 1:
        return []
    makespan = f"{number(account.makespan)} cycles = {duration(account.makespan, account.hardware)}"
    many = [("makespan", f"{makespan} for {number(objective.inferences)} inferences")]
    if objective.measure == "makespan":
        return [("makespan", many[0][1] + faster)]
    value = objective.value(account.figures)
    return [
        *many[: objective.inferences - 1],
        (objective.measure, measured(value, objective.measure) + faster),
    ]


def summary(account: Account, hardware: Hardware, known: Sequence[Fact], faster: str = "") -> str:
    """Return the lines that stand below the table of a plan.

    Parameters
    ----------
    known : what is known of how much better a solution could be.
    faster : a comparison to stand behind what was minimised.
    """
    aimed = aim(account, faster)
    latency = f"{number(account.latency)} cycles = {duration(account.latency, hardware)}"
    facts = (
        *aimed,
        ("latency", latency if aimed else latency + faster),
        *known,
        ("interval", follow(account)),
        *energy_facts(account),
        *token_facts(account),
        ("utilisation", f"{account.utilisation:.2%} of all lanes' time is multiply-accumulates"),
    )
    return fact_lines(facts)


def proved(result: Result) -> list[Fact]:
    """Return what a run has proved of how much better a solution could be."""
    measure, plain = result.objective.measure, result.objective.measure == "makespan"
    optimal = "the latency is optimal" if result.objective.plain else "this is optimal"
    rest = optimal if result.status == "optimal" else f"the gap is {result.gap:.1%}"
    none = "no valid solution is faster" if plain else "no valid solution takes less"
    known = [("bound", f"{measured(result.bound, measure)}: {none}; {rest}")]
    if result.bound_within is not None and result.status != "optimal":
        rest = f"the gap is {result.gap_within:.1%}" if result.gap_within else "this is optimal within them"
        within = f"{measured(result.bound_within, measure)}: {none} within the limits; {rest}"
        known.append(("within", within))
    if result.candidate_bound is not None and result.candidates is not None:
        over = f"over {number(result.candidates)} candidate mappings, gap {result.candidate_gap:.1%}"
        bound = measured(result.candidate_bound, measure).removesuffix(" cycles")
        known.append(("candidates", f"bound {bound} {over}"))
    return known


def stated(solution: Solution) -> list[Fact]:
    """Return what a solution file says of how much better a solution could be, which cannot be recomputed."""
    if solution.bound is None:
        return [("bound", "the file states none")]
    bound = measured(solution.bound, solution.objective)
    return [("bound", f"{bound} over {SCOPES[solution.bound_scope]}, says the file")]


def show_result(account: Account, result: Result) -> None:
    """Print what a run has found: its layers, then what it adds up to."""
    measure, ratio = result.objective.measure, result.sequential / result.value
    own = measured(result.sequential, measure).removesuffix(" cycles")
    how = f"{ratio:.2f}x as fast as sequential" if measure == "makespan" else f"{1 / ratio:.1%} of sequential"
    faster = f", {how} ({own})"
    _show(account, summary(account, result.solution.hardware, proved(result), faster))


def show_runners_up(latency: int, others: Sequence[RunnerUp]) -> None:
    """Print the next best solutions: how much later each is, and which layers have other mappings."""
    rows = table(("solution", "latency", "later", "other mappings"), left=("other mappings",))
    for i, own in enumerate(others, 2):
        names = ", ".join(map(printable, own.differs[:SHOWN_LAYERS]))
        more = f" and {len(own.differs) - SHOWN_LAYERS} more" if len(own.differs) > SHOWN_LAYERS else ""
        rows.add_row(f"{i}", number(own.latency), f"{own.latency / latency - 1:.2%}", names + more)
    console().print()
    console().print(rows)


def in_a_row(row: Succession) -> None:
    """Print how inferences followed each other, if there was more than one and no bank was held twice."""
    if row.interval is None or row.differences:
        return
    way = f"one every {number(row.interval)} cycles: the last ends at {number(row.makespan)}"
    pauses = f"{number(row.handovers)} go to the next inference without a pause"
    console().print()
    text = f"{number(row.inferences)} in a row, {way}"
    console().print(f"{text}\nno bank is held twice at a time; {pauses}", soft_wrap=True)


def show_solution(account: Account, solution: Solution) -> None:
    """Print the solution of a file as it was recomputed."""
    _show(account, summary(account, solution.hardware, stated(solution)))


def _show(account: Account, text: str) -> None:
    answers = console()
    answers.print(layer_table(account))
    answers.print()
    answers.print(text, soft_wrap=True)
