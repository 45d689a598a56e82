"""Large networks and chips: made here, and what commands and their steps take on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from hw.hardware import Hardware
from models.build import FeatureMaps, add, conv, fc, image, network, output
from models.library import load_network
from models.network import Layer, Network
from overlapim_files import dump, write_text
from solver.bench.cases import Case, Measured, Record, Results, Subject
from solver.memory import clear_caches
from solver.solution import from_plan, read_verified, verify
from solver.solve import solve
from solver.stop import Flag
from solver.timing.problem import Problem

SHAPES = ("chain", "residual", "wide")

CHANNELS, SIZE = 64, 14
"""Of the images of `chain` and `residual`."""

WIDE = 10**6
"""Inputs and outputs of each layer of `wide`."""

ROWS = 2**20
"""Bits under a lane of the large chip, so that all layers may share its banks."""


def large_network(shape: str, layers: int) -> Network:
    """Return a network of so many layers.

    `chain` has 3 x 3 convolutions one after the other, `residual` adds what a pair of them reads to what it
    computes, `wide` multiplies vectors of a million elements by square matrices.
    """
    given, x = image(WIDE, 1) if shape == "wide" else image(CHANNELS, SIZE)
    made: list[Layer] = []
    for i in range(layers):
        if shape == "wide":
            made.append(fc(f"layer{i}", x, WIDE))
        else:
            made.append(_convolution(shape, i, x, made))
        x = output(made[-1])
    return network(f"{shape}-{layers}", [given], made)


def _convolution(shape: str, i: int, x: FeatureMaps, made: list[Layer]) -> Layer:
    layer = conv(f"layer{i}", x, CHANNELS, 3, pad=1)
    return add(layer, output(made[i - 2])) if shape == "residual" and i % 2 and i > 1 else layer


def large_chip(hardware: Hardware, banks: int) -> Hardware:
    """Return a chip with so many banks, or a few more, and rows for the weights of thousands of layers."""
    changed = {
        "name": f"{hardware.name}-{banks}",
        "channels": math.ceil(banks / hardware.banks_per_channel),
        "rows_per_bank": ROWS,
    }
    return hardware.model_copy(update=changed)


class LargeCase(Record):
    """A network and a chip; the search that is timed as a whole has so many seconds."""

    on: Subject
    shape: str
    layers: int
    banks: int
    seconds: float

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return str(self.on)


class CommandCost(Record):
    """What a command took, from outside: seconds of all processors and on the wall, its most memory."""

    cpu_s: float
    wall_s: float
    peak_mib: float


class LargeRun(Record):
    """What each step took within a process, and each command from outside.

    Attributes
    ----------
    steps : seconds of processor time: reading the network, a first plan, its verification, writing and
        reading the solution file.
    first_s : when the search had its first answer, on the wall.
    gap : of the answer of the search.
    sizes : bytes of what commands wrote.
    """

    steps: dict[str, float]
    commands: dict[str, CommandCost]
    first_s: float
    gap: float
    sizes: dict[str, int]

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{sum(self.steps.values()):.1f} s for all steps"


MeasuredLarge = Measured[LargeCase, LargeRun]
Commands = Callable[[Path, float], tuple[dict[str, CommandCost], float, float]]
"""Runs all commands on the files in a folder, with seconds for the search, and says what they took."""


class LargeResults(Results[LargeCase, LargeRun]):
    """The file `large.json`."""

    format: Literal["overlapim/bench-large/1"] = "overlapim/bench-large/1"

    def by_family(self) -> dict[tuple[str, str], list[MeasuredLarge]]:
        """Return the cases of each (shape, chip with weights), from few layers to many."""
        found: dict[tuple[str, str], list[MeasuredLarge]] = {}
        for case in sorted(self.cases, key=lambda case: case.what.layers):
            on = case.what.on
            found.setdefault((case.what.shape, f"{on.hardware}, {on.weights}"), []).append(case)
        return found


def exponent(small: tuple[int, float], large: tuple[int, float]) -> float:
    """Return x if a cost grows with the x-th power of the layers, given (layers, cost) twice."""
    return math.log(max(large[1], 1e-9) / max(small[1], 1e-9)) / math.log(large[0] / small[0])


def large_cases(
    sizes: Iterable[tuple[str, int]], chips: Iterable[Hardware], seconds: float, run: Commands
) -> Iterator[Case[LargeCase, LargeRun]]:
    """Yield a case for each network and chip; `run` runs the commands."""
    chips = list(chips)
    for shape, layers in sizes:
        made = large_network(shape, layers)
        for chip in chips:
            what = LargeCase(
                on=Subject.of(made, chip), shape=shape, layers=layers, banks=chip.banks, seconds=seconds
            )
            yield _case(made, chip, what, run)


def _case(made: Network, chip: Hardware, what: LargeCase, run: Commands) -> Case[LargeCase, LargeRun]:
    def measure(interrupt: Flag) -> LargeRun | None:
        with TemporaryDirectory() as folder:
            path = Path(folder)
            write_text(path / "network.yaml", dump(made))
            write_text(path / "chip.yaml", dump(chip))
            steps = _steps(path, chip)
            commands, first_s, gap = run(path, what.seconds)
            kept = ("solution.yaml", "report.html", "trace.json", "plot.pdf")
            sizes = {name: (path / name).stat().st_size for name in kept}
        if interrupt.is_set():
            return None
        return LargeRun(steps=steps, commands=commands, first_s=first_s, gap=gap, sizes=sizes)

    return Case(what, measure)


def _steps(folder: Path, chip: Hardware) -> dict[str, float]:
    """Return what each step takes of processor time, in seconds, with nothing at hand."""
    clear_caches()
    seconds: dict[str, float] = {}
    began = time.process_time()

    def lap(name: str) -> None:
        nonlocal began
        now = time.process_time()
        seconds[name], began = now - began, now

    own = load_network(str(folder / "network.yaml"))
    lap("read the network")
    result = solve(own, chip, method="sequential")
    lap("first plan and bound")
    solution = from_plan(Problem(own, chip), result.plan, "sequential", 0, result.bound)
    verify(solution)
    lap("verify")
    write_text(folder / "first.yaml", dump(solution))
    lap("write the solution")
    read_verified(folder / "first.yaml")
    lap("read and verify it")
    return seconds
