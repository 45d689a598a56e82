"""The loop nest as text: read as the program that it looks like, it is the mapping and takes its time."""

from __future__ import annotations

import itertools
import math
import random
import re
from dataclasses import dataclass, field

from generators import draw_instance
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.hardware import Hardware
from hw.library import load_hardware
from models.library import load_network
from models.network import DIMS, Dim, Layer
from solver.export.nest import loop_nest
from solver.timing.mapping import Kind, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile, profile

KINDS: dict[str, Kind] = {"time": "temporal", "channel": "channel", "bank": "bank", "column": "column"}
LINE = re.compile(r"( *)(.+?)(?:   +(time|channel|bank|column))?(?:   +([\d,]+))?")


@dataclass
class Statement:
    """One line of a nest and what is indented below it."""

    text: str
    level: str | None
    cycles: int | None
    inside: list[Statement] = field(default_factory=list)

    @property
    def bound(self) -> int:
        found = re.fullmatch(r"(?:parallel )?for \w+ in \[0:(\d+)\)", self.text)
        return int(found[1]) if found else 1

    def time(self) -> int:
        """Return the cycles of all iterations, and check those stated of one."""
        if not self.level:
            return self.cycles or 0
        once = sum(statement.time() for statement in self.inside)
        if self.level != "time":
            return once
        assert once == self.cycles
        return self.bound * once


def parsed(text: str) -> tuple[str, list[Statement]]:
    """Return the heading and the statements of a loop nest."""
    heading, nest = text.split("\n\n")
    root = Statement("", None, None)
    open_at = {-1: root}
    for line in nest.splitlines()[1:]:
        found = LINE.fullmatch(line)
        assert found is not None
        depth = len(found[1]) // 2
        cycles = int(found[4].replace(",", "")) if found[4] else None
        open_at[depth] = Statement(found[2], found[3], cycles)
        open_at[depth - 1].inside.append(open_at[depth])
    return heading, root.inside


def flat(statements: list[Statement]) -> list[Statement]:
    return [x for statement in statements for x in (statement, *flat(statement.inside))]


def loops(statements: list[Statement]) -> tuple[tuple[str, ...], tuple[Loop, ...]]:
    """Return the names of the indices and the loops."""
    found = [x for x in flat(statements) if x.level]
    for x in found:
        assert x.text.startswith("for" if x.level == "time" else "parallel for")
    names = tuple(x.text.removeprefix("parallel ").split()[1] for x in found)
    dims: list[Dim] = [next(d for d in DIMS if name.startswith(d.lower())) for name in names]
    return names, tuple(Loop(d, x.bound, KINDS[x.level or ""]) for d, x in zip(dims, found, strict=True))


def enclosing(statements: list[Statement], text: str, around: int = 1) -> int | None:
    """Return how often the first statement that begins with `text` happens."""
    for statement in statements:
        if statement.text.startswith(text):
            return around
        inside = statement.bound if statement.level == "time" else 1
        if (found := enclosing(statement.inside, text, around * inside)) is not None:
            return found
    return None


def nests(seed: int) -> list[tuple[Profile, str]]:
    instance = draw_instance(random.Random(seed))
    problem = Problem(instance.network, instance.hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(instance.mappings)]
    return [(mapped, loop_nest(mapped, instance.hardware)) for mapped in profiles]


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_the_text_is_the_mapping_and_takes_its_time(seed: int) -> None:
    for mapped, text in nests(seed):
        _, statements = parsed(text)
        assert loops(statements)[1] == mapped.mapping.loops
        assert sum(statement.time() for statement in statements) == mapped.total
        assert enclosing(statements, "wait") == mapped.blocks
        for begins, depth in (
            ("open a row", mapped.open_depth),
            ("load", mapped.load_depth),
            ("multiply", len(mapped.temporal)),
        ):
            outside = None if depth is None else [loop.bound for loop in mapped.temporal[:depth]]
            assert enclosing(statements, begins) == (None if outside is None else math.prod(outside))
        lines = [statement.text for statement in flat(statements)]
        assert ("write weights" in lines) == (mapped.t_weights > 0)
        assert any("add residuals" in line for line in lines) == bool(mapped.layer.residuals)


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_coordinates_are_put_together_as_it_says(seed: int) -> None:
    for mapped, text in nests(seed):
        heading, statements = parsed(text)
        names, found = loops(statements)
        where = dict(re.findall(r"(?:where|,) +([A-Z]) = ([^,\n]+)", heading))
        for dim in DIMS:
            own = [(n, loop) for n, loop in zip(names, found, strict=True) if loop.dim == dim]
            if not own:
                continue
            form, _, past = where.get(dim, own[0][0]).partition(" < ")
            digits = itertools.product(*(range(loop.bound) for _, loop in own))
            values = [eval(form, {}, dict(zip([n for n, _ in own], d, strict=True))) for d in digits]
            assert values == list(range(math.prod(loop.bound for _, loop in own)))
            assert (int(past) if past else len(values)) == mapped.layer.bound(dim)


def test_one_layer_line_by_line() -> None:
    layer = next(x for x in load_network("toy").layers if x.name == "right")
    mapping = Mapping(
        (
            Loop("C", 8, "temporal"),
            Loop("K", 3, "temporal"),
            Loop("P", 4, "bank"),
            Loop("K", 3, "column"),
            Loop("Q", 4, "column"),
        )
    )
    chip = load_hardware("toy")
    text = loop_nest(profile(layer, mapping, chip), chip)
    assert text.splitlines() == [
        "dims      K 8, P 4, Q 4, C 8",
        "where     K = 3*k1 + k0 < 8",
        "runs on   4 banks, 12 lanes in each: 1,176 cycles in 8 blocks, waiting left out",
        "",
        "                                                           level     cycles each",
        "for c in [0:8)                                             time              147",
        "  wait for data: a block begins",
        "  load inputs                                                                  9",
        "  for k1 in [0:3)                                          time               46",
        "    parallel for p in [0:4)                                bank",
        "      parallel for k0 in [0:3)                             column",
        "        parallel for q in [0:4)                            column",
        "          multiply-accumulate                                                 12",
        "    read partial sums back, add residuals, drain outputs                      34",
    ]


def test_what_the_second_version_of_the_model_adds_line_by_line() -> None:
    changed = load_hardware("toy").model_dump()
    changed["cycles"] |= {"load": 100, "drain": 200, "open": 60}
    changed |= {"steps_per_row": 16, "reduction": "host", "weights": "reload"}
    chip = Hardware.model_validate(changed)
    operands = [{"from": "x", "axes": {"ch": {"terms": {"C": 1}}}}, {"from": "y"}]
    layer = Layer.model_validate({"name": "one", "dims": {"C": 16, "K": 8}, "operands": operands})
    loops = (Loop("K", 8, "temporal"), Loop("C", 2, "column"), Loop("C", 8, "temporal"))
    mapped = profile(layer, Mapping(loops, 0), chip)
    _, statements = parsed(loop_nest(mapped, chip))
    assert [(x.text, x.cycles) for x in flat(statements)] == [
        ("write weights", mapped.t_weights),
        ("wait for data: a block begins", None),
        ("load inputs", mapped.t_in),
        ("for k in [0:8)", 60 + 8 * 12 + mapped.t_out),
        ("open a row of weights", 60),
        ("parallel for c1 in [0:2)", None),
        ("for c0 in [0:8)", 12),
        ("multiply-accumulate", 12),
        ("add residuals, drain partial results", mapped.t_out),
    ]


def test_a_layer_without_loops() -> None:
    layer = Layer.model_validate({"name": "one", "dims": {}, "operands": [{"from": "x"}]})
    chip = load_hardware("toy")
    heading, statements = parsed(loop_nest(profile(layer, Mapping(()), chip), chip))
    assert heading.startswith("dims      1\nruns on   1 bank, 1 lane in each: ")
    assert [x.text for x in statements] == [
        "wait for data: a block begins",
        "load inputs",
        "multiply-accumulate",
        "drain outputs",
    ]
