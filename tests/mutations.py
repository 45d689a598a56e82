"""Do the tests notice what they claim to hold? Every family of constraints, every term of a bound is spoilt.

    python tests/mutations.py [--only WORD]

*Emptied* and *dropped* terms make a bound weaker, which no check of a result can see; *raised* ones make it
claim too much, by more than one cycle where rounding leaves that much, which a test of soundness must see.
The sources are copied, one of them is changed, and the tests that should notice run on the copy until one
fails. Prints a Markdown table; exits with 1 if a change was not noticed, and with 2 if the tests fail as it
is or if a change no longer fits the sources.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parent.parent
LIMIT_SECONDS = 120
"""For the tests of one change; one that makes them take so long is noticed."""

Edit = Callable[[str], str]
Item = TypeVar("Item")


class MisfitError(Exception):
    """A change that does not fit the sources any more."""


@dataclass(frozen=True)
class Mutation:
    """One change of one file, and the tests of which one must fail."""

    name: str
    file: str
    edit: Edit
    tests: tuple[str, ...]


def changed(file: str, tests: tuple[str, ...], changes: dict[str, Edit]) -> list[Mutation]:
    """Return changes of one file that the same tests must notice."""
    return [Mutation(name, file, edit, tests) for name, edit in changes.items()]


# Changes


def empty(function: str, result: str = "None") -> Edit:
    """Let a function do nothing but return something."""

    def edit(source: str) -> str:
        found = [
            x for x in ast.walk(ast.parse(source)) if isinstance(x, ast.FunctionDef) and x.name == function
        ]
        node = _only(found, f"functions '{function}'")
        return _replaced(source, node.body[0], node.body[-1], f"return {result}")

    return edit


def drop(statement: str) -> Edit:
    """Leave out the statement that begins with a text."""

    def edit(source: str) -> str:
        nodes, lines = ast.walk(ast.parse(source)), source.splitlines()
        statements = (x for x in nodes if isinstance(x, ast.stmt))
        found = [x for x in statements if lines[x.lineno - 1][x.col_offset :].startswith(statement)]
        node = _only(found, f"statements '{statement}'")
        return _replaced(source, node, node, "pass")

    return edit


def swap(old: str, new: str) -> Edit:
    """Replace a text."""

    def edit(source: str) -> str:
        _only([old] * source.count(old), f"places '{old}'")
        return source.replace(old, new)

    return edit


def _only(found: Sequence[Item], what: str) -> Item:
    if len(found) != 1:
        raise MisfitError(f"there are {len(found)} {what}, not one")
    return found[0]


def _replaced(source: str, first: ast.stmt, last: ast.stmt, text: str) -> str:
    """Replace the lines of some statements."""
    lines = source.splitlines(keepends=True)
    return "".join(
        [*lines[: first.lineno - 1], " " * first.col_offset + text + "\n", *lines[last.end_lineno :]]
    )


# What must be noticed, by which tests

FAMILIES = ("tests/test_cpsat_families.py",)

CPSAT_MODEL = changed(
    "solver/cpsat/model.py",
    FAMILIES,
    {
        "one_candidate": empty("one_candidate"),
        "within_layers": empty("within_layers"),
        "heads_and_tails": empty("heads_and_tails"),
        "barred_pairs": empty("barred_pairs"),
        "add_envelopes": empty("add_envelopes"),
        "add_chain": empty("add_chain"),
        "one_candidate, not called": drop("one_candidate(model)"),
        "within_layers, not called": drop("within_layers(model)"),
        "heads_and_tails, not called": drop("heads_and_tails(model)"),
        "barred_pairs, not called": drop("barred_pairs(model)"),
        "add_envelopes, not called": drop("add_envelopes(model"),
        "from the start to a checkpoint": drop("model.cp.add(time >= layer.start"),
        "from a checkpoint to the end": drop("model.cp.add(layer.end >="),
        "heads": drop("model.cp.add(time >= model.chosen(i, model.bounds.heads"),
        "tails": drop("model.cp.add(model.latency >= time"),
        "bounds of candidates": drop("model.cp.add(model.latency >= model.chosen"),
        "envelopes at consumers": swap("envelopes.at_consumer(of_pair, consumer),", ""),
        "envelopes at producers": swap("envelopes.at_producer(of_pair, producer),", ""),
        "broken chains, static": swap("model.bounds.layers[step.layer] - others", "own"),
        "broken chains, static, raised": swap("model.bounds.layers[step.layer] - others", "longest"),
        "broken chains, shared, raised": swap("-model.limit - max(0, others) - 1", "0"),
    },
)

CPSAT_BANKS = changed(
    "solver/cpsat/banks.py",
    FAMILIES,
    {
        "add_static": empty("add_static"),
        "forbid_shapes": empty("forbid_shapes"),
        "held_times": drop("model.cp.add(length =="),
        "count_banks": empty("count_banks"),
        "fit_rows": empty("fit_rows", "list(held)"),
        "match_shapes": empty("match_shapes"),
        "one_at_a_time": empty("one_at_a_time"),
        "first_banks_first": empty("first_banks_first"),
        "no_circles": empty("no_circles"),
        "count_banks, not called": drop("count_banks(model"),
        "fit_rows, not called": swap("fit_rows(model, held_banks(model, held))", "held_banks(model, held)"),
        "match_shapes, not called": drop("match_shapes(model"),
        "one_at_a_time, not called": drop("one_at_a_time(model"),
        "first_banks_first, not called": drop("first_banks_first(model"),
        "take_given": empty("take_given"),
        "take_given, not called": drop("take_given(model"),
        "no_circles, not called": drop("no_circles(model"),
        "banks at any time": drop("model.cp.add_cumulative"),
        "banks of a candidate": drop("model.cp.add(own.count =="),
        "all rows": drop("model.cp.add(LinearExpr.sum(rows) <="),
        "rows on one bank": drop("model.cp.add(LinearExpr.sum(here) <= hardware.rows"),
        "rows of a candidate": drop("model.cp.add(taken >= chosen)"),
        "number of channels": drop("model.cp.add(LinearExpr.sum(own.within) =="),
        "banks in each channel": drop("model.cp.add(LinearExpr.sum(here) == wide)"),
        "no banks elsewhere": drop("model.cp.add(LinearExpr.sum(here) == 0)"),
        "channels in order": drop("model.cp.add_implication(first.within"),
        "banks in order": drop("model.cp.add_implication(first.on"),
        "larger shapes": swap("a.channels >= b.channels", "a.channels == b.channels"),
        "larger shapes, raised": swap(" and a.banks_per_channel >= b.banks_per_channel", ""),
    },
)

WINDOWS = (
    "tests/test_windows.py::test_the_best_choice_of_modes_is_that_of_all_choices_and_orders",
    "tests/test_windows.py::test_what_a_window_says_is_no_earlier_than_what_comes_of_it",
)

MASTER = changed(
    "solver/cpsat/master.py",
    WINDOWS,
    {
        "_lags": empty("_lags"),
        "_banks": empty("_banks"),
        "_rows": empty("_rows"),
        "_ends": empty("_ends"),
        "one mode": drop("self.cp.add_exactly_one(takes)"),
        "producers before the window": drop("self.cp.add(task.start >= task.chosen(earliest))"),
        "producers in the window": swap(
            "= self.cp.add(consumer.start >= producer", "= self.cp.add(0 <= producer"
        ),
        "layers after the window": drop("self.cp.add(self.latency >= producer.start"),
        "ends of layers": drop("self.cp.add(self.latency >= task.end"),
        "lags, raised": swap("(consumer.start >= producer", "(consumer.start >= 1 + producer"),
        "banks, raised": swap("(intervals, banks, self.problem", "(intervals, banks, -1 + self.problem"),
        "rows, raised": swap("<= most - others", "<= most - others - most // 2"),
        "ends, raised": swap("self.latency >= task.end + left", "self.latency >= task.end + left + 1"),
    },
)

BY_HAND = ("tests/test_bound_families.py",)
SOUND = (
    "tests/test_bound.py::test_no_mapping_is_faster_than_its_banks_allow",
    "tests/test_bound_families.py::test_numbers_that_take_longer_than_what_is_known_are_left_out",
    "tests/test_bound_families.py::test_shared_layers_hold_banks_for_as_long_as_they_work",
    "tests/test_bound_families.py::test_plans_that_leave_nothing_to_gain_satisfy_the_model",
    "tests/test_bound_families.py::test_every_plan_satisfies_the_model",
)

BOUND_MODEL = changed(
    "solver/bound/model.py",
    BY_HAND,
    {
        "one number of banks": drop("self.model.add_exactly_one"),
        "work of the banks": drop("self.model.add(work =="),
        "share of the work": drop("self.model.add(self.grid * (layer.finished[i] - earliest + 1)"),
        "work that waits": drop("self.model.add(self.grid * (layer.finished[i] - layer"),
        "shares in order": drop("self.model.add(layer.finished[i] >="),
        "idle times in order": drop("self.model.add(layer.idle[i] >="),
        "the end": drop("self.model.add(self.end >="),
        "banks, static": drop("self.model.add(cp_model.LinearExpr.sum"),
        "bank-time, shared": drop("self.model.add(sum(held)"),
        "bank-time after a first output": drop("self.model.add(sum(work)"),
        "first outputs": drop("self.model.add(layer.finished[0] >="),
        "first outputs of a chain": drop("self.model.add(consumer.finished[0] >="),
        "needs": drop("self.model.add(consumer.finished[i] >="),
        "needs: transfer": swap("[before] + transfer // self.unit", "[before]"),
        "needs: tail": swap("arrival + consumer.tail", "arrival"),
        "needs through another layer": drop("self.model.add(self.layers[index].finished[0] >="),
        "needs through another layer: transfer": swap(".tail + transfer // self.unit for i", ".tail for i"),
        "needs through another layer: tails": swap("self.layers[i].tail + transfer", "transfer"),
        "needs through another layer, raised": swap("+ sum(hops)", "+ sum(hops) + 1"),
        "work enabled": drop("self.model.add(SCALE * late"),
        "work enabled: transfer": swap("+ (transfer - opened) // self.unit - 1 -", "- 1 -"),
    },
) + changed(
    "solver/bound/model.py",
    SOUND,
    {
        "share of the work, raised": swap("(layer.finished[i] - earliest + 1) >=", "layer.finished[i] >="),
        "work that waits, raised": swap("layer.idle[i] + 1) >=", "layer.idle[i] - 3) >="),
        "the end, raised": swap("self.end >= layer", "self.end >= 1 + layer"),
        "banks, static, raised": swap(") <= hardware.banks)", ") + 1 <= hardware.banks)"),
        "bank-time, shared, raised": swap("(self.end + 1)", "(self.end - 2)"),
        "first outputs, raised": swap("self.unit + sums", "self.unit + sums + 2"),
        "bank-time after a first output, raised": swap("self.end + 1 - self", "self.end - 4 - self"),
        "needs, raised": swap("arrival + consumer.tail", "arrival + consumer.tail + 2"),
        "work enabled, raised": swap("opened) // self.unit - 1 -", "opened) // self.unit + 3 -"),
    },
)

COMPOSED = changed(
    "solver/bound/composed.py",
    ("tests/test_bound.py::test_no_output_needs_less_through_another_layer",),
    {
        "elements through another layer": empty("needed_through", "0"),
        "elements through another layer, raised": swap("count *= int(", "count *= 1 + int("),
        "axes that are read in part, raised": swap("coordinates(group, layer, None).all()", "1"),
        "axes that outputs decide, raised": swap(
            " or any(DIMS[dim] in OUTPUT_DIMS for dim in group.dims)", ""
        ),
        "dims that are not free, raised": swap("if DIMS[dim] not in free", "if DIMS[dim] is free"),
    },
)

BOUND_MODES = changed(
    "solver/bound/modes.py",
    BY_HAND,
    {
        "slow numbers of banks": swap(
            "if cycles < (self._horizon + 1)", "if cycles < 10**9 * (self._horizon + 1)"
        ),
        "modes that are no better": swap("or _above(hull, mode)", ""),
        "modes that mixtures replace, raised": swap(
            "<= (one.time - mode.time)", "<= 2 * (one.time - mode.time)"
        ),
    },
) + changed(
    "solver/bound/modes.py",
    SOUND,
    {
        "rounding to units, raised": swap("int(cycles) // self._unit,", "int(cycles) // self._unit + 1,"),
        "slow numbers of banks, raised": swap(
            "if cycles < (self._horizon + 1)", "if cycles < (self._horizon - 2)"
        ),
    },
)

QUICK = changed(
    "solver/bound/quick.py",
    BY_HAND,
    {
        "a bank for each other layer": swap("hardware.banks - others", "hardware.banks"),
        "bank-time, shared": swap(
            "return math.ceil(math.fsum(own.work for own in durations) / banks)", "return 0"
        ),
        "banks, static": swap("<= banks:", "<= math.inf:"),
        "banks, static, raised": swap("<= banks:", "< banks:"),
        "each layer alone": swap("earliest[i] + max(fastest[i], _alone(problem, i))", "earliest[i]"),
        "first outputs of a chain": swap("firsts[i], ends[i] = first", "firsts[i], ends[i] = 0"),
        "all of a producer": swap("if read == total else", "if read > total else"),
        "a part of a producer": swap("if read == total else", "if read else"),
        "transfer and tail": swap("ready + after", "ready"),
        "transfer and tail, raised": swap("ready + after", "ready + after + 1"),
    },
)

DURATIONS = changed(
    "solver/bound/durations.py",
    BY_HAND,
    {
        "outputs by levels": drop("outputs = np.minimum(outputs, _widest"),
        "reductions by levels": swap(" & (lanes <= _widest(layer, hardware, REDUCTION_DIMS, numbers))", ""),
        "banks by levels": swap("np.minimum(banks, most)", "banks"),
        "columns by levels": swap('* units(layer, hardware, "column", dims)', "* hardware.columns_per_bank"),
        "multiplications": swap("each = steps * hardware.mac_cycles + reuse", "each = reuse"),
        "rows for weights": swap("fitting = rows <= hardware", "fitting = rows * 0 <= hardware"),
        "levels within a bank": swap("within * (cycles.move + cycles.add)", "0"),
        "levels between banks": swap(" + between * hop", ""),
        "banks that levels take": empty("_least_product", "1"),
        "drain of outputs": swap(" + drained * bits.activation / drained_at", ""),
        "fixed cost of a drain": swap("fixed = cycles.drain +", "fixed ="),
        "post-operations": swap(
            "fixed = cycles.drain + layer.post * cycles.post +", "fixed = cycles.drain +"
        ),
        "residuals": empty("_residual", "0"),
        "partial results for the host": swap("_Drain(partial / float", "_Drain(0 * partial / float"),
        "idle lanes": swap("/ lanes, everything)", "/ lanes, 10**9)"),
        "tail: load": swap("int(least_load(layer, hardware) + summing", "int(summing"),
        "tail: multiplication": swap("+ summing + drain", "+ drain"),
        "tail: drain": swap("+ summing + drain", "+ summing"),
        "tail: levels": swap(" * hardware.mac_cycles + _adding_up(n, hardware)", " * hardware.mac_cycles"),
        "lanes of a sum": swap("np.maximum(lanes[first:last], spread.least)", "lanes[first:last]"),
    },
) + changed(
    "solver/bound/durations.py",
    SOUND,
    {
        "time, raised": swap("initial=np.inf) * ROUNDING)", "initial=np.inf) * ROUNDING + 2)"),
        "levels, raised": swap("np.ceil(np.log2(lanes) - 1e-9)", "np.ceil(np.log2(lanes) - 1e-9) + 1"),
        "banks that levels take, raised": swap("2 ** (n - 1) + 1 if n", "2 ** n + 1 if n"),
        "post-operations, raised": swap(
            "fixed = cycles.drain + layer.post *", "fixed = cycles.drain + (layer.post + 1) *"
        ),
        "rows, raised": swap(
            "* steps + least_rows(layer, hardware)", "* steps + 1 + least_rows(layer, hardware)"
        ),
        "tail, raised": swap(
            "return int(least_load(layer, hardware) +", "return int(2 + least_load(layer, hardware) +"
        ),
    },
)

REUSE = changed(
    "solver/bound/reuse.py",
    BY_HAND,
    {
        "fixed cost of a load": swap("return hardware.cycles.load + len", "return len"),
        "one element loaded": swap(
            "hardware.input_row_write\n    additions", "hardware.input_row_write - 1\n    additions"
        ),
        "additions": swap(" + additions * hardware.cycles.add", ""),
        "operands loaded": swap("len(layer.loaded) * one", "one"),
        "loads of one output": swap("least = drain + loading + opening", "least = drain + opening"),
        "rows of one output": swap("least = drain + loading + opening", "least = drain + loading"),
        "bus": swap("loads * self._load + self._bus(", "loads * self._load + 0 * self._bus("),
        "room for inputs": swap("else bits / buffer", "else 0.0"),
        "several outputs": swap("drained(both) + np.minimum", "drained(1.0) + np.minimum"),
        "larger tiles": swap("math.ceil(tiles * growth", "math.ceil(tiles"),
        "both inside": swap(" + np.minimum(self._inside(steps, both, tiles), drain)", ""),
    },
) + changed(
    "solver/bound/reuse.py",
    SOUND,
    {
        "loads, raised": swap("loads = max(1.0, math.ceil(tiles - EPSILON))", "loads = 1 + math.ceil(tiles)"),
        "rows, raised": swap("np.ceil(steps / self._room - EPSILON)", "1 + np.ceil(steps / self._room)"),
        "bus, raised": swap("/ channels / width - loads", "/ channels / width * 2"),
    },
)

READS = (
    "tests/test_bound_families.py::test_needed",
    "tests/test_bound_families.py::test_needed_by_shares",
    "tests/test_bound_families.py::test_needed_of_windows_that_are_cut",
    "tests/test_bound_families.py::test_needed_of_rows_apart",
    "tests/test_bound_families.py::test_enabled",
    "tests/test_bound_families.py::test_enabled_through_windows_over_channels",
    "tests/test_bound_families.py::test_enabled_through_windows_that_share_channels",
    "tests/test_bound.py::test_no_union_of_rows_is_smaller",
    "tests/test_bound.py::test_least_unions_of_intervals_that_move_on",
    "tests/test_bound.py::test_positions_read_no_less_than_the_table_says",
    "tests/test_bound.py::test_no_share_of_the_outputs_reads_less",
    "tests/test_bound.py::test_no_work_is_done_beyond_what_is_enabled",
    "tests/test_bound.py::test_no_output_reads_in_fewer_products",
)

READING = changed(
    "solver/bound/reading.py",
    READS,
    {
        "needed": swap("_unions(rows, columns) * others", "_unions(rows, columns) * 0"),
        "needed: other axes": swap("_unions(rows, columns) * others", "_unions(rows, columns)"),
        "needed: rows": swap("            rows = gained", "            pass"),
        "needed: columns": swap("            columns = gained", "            pass"),
        "products": swap("    return count\n", "    return min(count, 1)\n"),
        "products, raised": swap(".sum(axis=1).min())", ".sum(axis=1).max())"),
        "needed by shares": swap("return counts[np.maximum", "return 0 * counts[np.maximum"),
        "enabled": empty("enabled", "np.ones_like(elements)"),
        "enabled: other axes": swap("elements / channels)", "elements)"),
        "needed, raised": swap("_unions(rows, columns) * others", "_unions(rows, columns) * others + 1"),
        "needed by shares, raised": swap(
            "* (len(counts) - 1) // grid), 1)]", "* (len(counts) - 1) // grid), 2)]"
        ),
        "unlike outputs, raised": empty("_alike", "True"),
        "least unions": empty("union_gains", "0 * read.sum(axis=1)"),
        "intervals that move on": swap("np.maximum(least, [int", "np.minimum(least, [int"),
        "rows that read what others do, raised": swap("rising.cumsum() // most", "rising.cumsum()"),
        "intervals with holes, raised": swap("(high - low + 1 == sizes).all()", "True"),
        "all rows": swap("    least[-1] = whole\n", ""),
        "windows over channels": empty("_each_its_own", "group.intervals[0] is None"),
        "windows over channels, raised": empty("_each_its_own", "True"),
        "enabled, raised": swap("1 - read + read * done", "0.99 * (1 - read + read * done)"),
        "work on padding, raised": swap("1 - read + read * done", "done"),
        "uneven work, raised": empty("_concave", "np.interp(at, x, y)"),
    },
)

RELAXATION = changed(
    "solver/bound/relaxation.py",
    BY_HAND,
    {
        "rows of sums": swap("if constraint.has_linear():", "if False:"),
        "rows of choices": swap("elif constraint.has_exactly_one():", "elif False:"),
        "multipliers": drop("value += multiplier * limit"),
        "rounding up": swap("return -(-value // SCALE)", "return value // SCALE - 1"),
        "the rest, raised": drop("value += sum(r *"),
        "what is proved, raised": swap("return -(-value // SCALE)", "return 1 - (-value // SCALE)"),
    },
)

IMPLIED = ("tests/test_maxplus.py",)

MAXPLUS = [
    *changed(
        "solver/maxplus/lags.py",
        IMPLIED,
        {
            "lags: what is needed at the checkpoint": swap("need >= passed", "need > passed"),
            "lags: what is needed before, raised": swap(
                "need >= passed[:, None]", "need >= passed[:, None] - 1"
            ),
            "lags: all blocks before": swap("np.maximum.accumulate(later, axis=1)", "later"),
            "lags: the first block": swap("np.maximum(reached, 1)", "reached"),
            "lags: a block that starts then, raised": swap("np.maximum(reached, 1)", "reached + 1"),
            "lags: transfer": swap("lags + transfer", "lags"),
            "lags, raised": swap("lags + transfer", "lags + transfer + 1"),
        },
    ),
    *changed(
        "solver/maxplus/heads.py",
        IMPLIED,
        {
            "heads: lags": drop("result[link.consumer] = np.maximum"),
            "heads: own times": swap("np.maximum(result[link.consumer], own)", "own"),
            "heads, raised": swap(
                "np.maximum(result[link.consumer], own)", "np.maximum(result[link.consumer], own + 1)"
            ),
            "tails: lags": drop("result[link.producer] = np.maximum"),
            "tails: own times": swap("np.maximum(result[link.producer], left)", "left"),
            "tails, raised": swap(
                "np.maximum(result[link.producer], left)", "np.maximum(result[link.producer], left + 1)"
            ),
            "budgets": empty("budget", "no_budget(graph)"),
            "budgets: own banks": drop("result[row, shift:] ="),
            "budgets, raised": swap("heads + tails[..., ::-1, :]", "heads + tails[..., :1, :]"),
            "bounds of pairs": swap(
                "reached = _after_lags(head[link.producer], link.lags, stop)",
                "reached = _after_lags(head[link.producer], link.lags * 0, stop)",
            ),
            "candidates that are late": swap("np.flatnonzero(own <= limit)", "np.flatnonzero(own <= own)"),
            "candidates as late as the limit, raised": swap(
                "np.flatnonzero(own <= limit)", "np.flatnonzero(own < limit)"
            ),
            "pairs that are late": swap("late = (own > limit) &", "late = (own > own) &"),
            "pairs as late as the limit, raised": swap("late = (own > limit) &", "late = (own >= limit) &"),
        },
    ),
    *changed(
        "solver/maxplus/envelopes.py",
        (*IMPLIED, *FAMILIES),
        {
            "effective lags": empty("effective", "link.lags"),
            "effective lags, raised": swap(
                "np.maximum(link.lags, asked)", "np.maximum(link.lags, asked + 1)"
            ),
            "relevant lags": empty("relevant", "[]"),
            "envelopes: other consumers": swap(
                "(lags - producers[:, None]).min(axis=0)", "(lags - producers[:, None]).min()"
            ),
            "envelopes: other producers": swap("(lags - consumers).min(axis=1)", "(lags - consumers).min()"),
            "envelopes, raised": swap("(lags - consumers).min(axis=1)", "(lags - consumers).min(axis=1) + 1"),
            "envelopes: barred pairs": swap("np.where(exact < INFINITY, exact, lags.min(axis=1))", "exact"),
        },
    ),
    *changed(
        "solver/maxplus/chains.py",
        IMPLIED,
        {
            "critical paths: transfer": swap("finish - first + transfer", "finish - first"),
            "critical paths, raised": swap("finish - first + transfer", "finish - first + transfer + 1"),
            "critical paths: broken, raised": swap("if first < finish else MINUS_INFINITY", ""),
            "critical paths: what a layer waits for": empty("_decisive"),
        },
    ),
    *changed(
        "solver/maxplus/candidates.py",
        IMPLIED,
        {
            "idle blocks, raised": swap("if idle is None or not idle[block]:", "if True:"),
            "first reads, raised": swap(
                "dense[np.ix_(*block_region(profile, edge, producer, block))] = starts[position]",
                "dense[np.ix_(*block_region(profile, edge, producer, block))] = starts[0]",
            ),
            "finish of candidates": swap(
                "return ElementTimes(profile.finish_base, tuple(parts))",
                "return ElementTimes(profile.finish_base - 1, tuple(parts))",
            ),
            "finish of candidates, raised": swap(
                "return ElementTimes(profile.finish_base, tuple(parts))",
                "return ElementTimes(profile.finish_base + 1, tuple(parts))",
            ),
        },
    ),
]

LATE = (
    "tests/test_limits.py::test_models_start_no_layer_before_it_may",
    "tests/test_limits.py::test_bounds_know_limits",
    "tests/test_limits.py::test_the_bound_counts_on_the_number_of_banks_that_is_given",
)
STARTS = [
    *changed(
        "solver/maxplus/heads.py",
        LATE,
        {"earliest starts": swap("self.problem.limits.of(i).earliest + leads", "leads")},
    ),
    *changed(
        "solver/bound/model.py",
        LATE,
        {"earliest starts": swap("self.problem.earliest[index] // self.unit", "0")},
    ),
    *changed(
        "solver/bound/quick.py",
        LATE,
        {
            "earliest starts": swap("problem.earliest[i] + max(", "max("),
            "numbers of banks": swap("limits.number, spread)", "None, spread)"),
            "the chip of a layer": swap("layer, self._problem.chips[index]", "layer, self._problem.hardware"),
        },
    ),
]

MODELS = [*CPSAT_MODEL, *CPSAT_BANKS, *MASTER, *BOUND_MODEL, *COMPOSED, *BOUND_MODES]
MUTATIONS = [*MODELS, *QUICK, *DURATIONS, *REUSE, *READING, *RELAXATION, *MAXPLUS, *STARTS]


# Running them


def copied(target: Path) -> None:
    """Copy the sources and the tests to a new folder."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("solver", "models", "hw", "cli", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for path in (*ROOT.glob("overlapim*"), ROOT / "pyproject.toml"):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, target / path.name)


def failing(folder: Path, tests: Iterable[str], seconds: float) -> str | None:
    """Run tests of a folder until one fails; return its name, None if none does."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=", "--tb=no", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"more than {seconds:g} s"
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) \S*?(\w+\.py)(?:::(\S+))?", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(done.stdout + done.stderr)
    return "::".join(filter(None, found.groups()))


def noticed(folder: Path, mutation: Mutation) -> str | None:
    """Change a copy of the sources; return which test fails, None if none does."""
    path = folder / mutation.file
    source = path.read_text()
    try:
        path.write_text(mutation.edit(source))
        return failing(folder, mutation.tests, LIMIT_SECONDS)
    finally:
        path.write_text(source)


def run(mutations: Sequence[Mutation]) -> int:
    """Print what notices each change; return 0 if all are noticed, else 1, or 2 if nothing can be said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(folder)
        tests = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
        if test := failing(folder, tests, 5 * LIMIT_SECONDS):
            print(f"without any change {test} fails", file=sys.stderr)
            return 2
        print("| file | family or term | noticed by | seconds |", "|---|---|---|---:|", sep="\n", flush=True)
        survived = 0
        for mutation in mutations:
            began = time.monotonic()
            try:
                test = noticed(folder, mutation)
            except MisfitError as error:
                print(f"{mutation.file}: {mutation.name}: {error}", file=sys.stderr)
                return 2
            survived += test is None
            told = "**nothing**" if test is None else f"`{test}`"
            where = mutation.file.removeprefix("solver/")
            print(f"| {where} | {mutation.name} | {told} | {time.monotonic() - began:.1f} |", flush=True)
    print(f"{len(mutations) - survived} of {len(mutations)} changes were noticed", file=sys.stderr)
    return 1 if survived else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the changes whose name or file contains a word."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="only changes with this in name or file")
    only = parser.parse_args(arguments).only
    chosen = [x for x in MUTATIONS if only in x.name or only in x.file]
    if not chosen:
        parser.error(f"no change has {only!r} in its name or file")
    return run(chosen)


if __name__ == "__main__":
    sys.exit(main())
