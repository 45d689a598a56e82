"""The built-in chips held against simulators that others wrote: the same work, its cycles there and here.

The figures stand in `figures.yaml`, with the revision and the configuration of each simulator. Of a GEMV they
also give the mapping that the simulator runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field

from hw.hardware import Hardware
from hw.library import load_hardware
from models.layer import Axes, AxisAccess, Layer, Operand
from models.library import load_network
from models.network import Network, NetworkInput
from overlapim_files import FileModel, digest, parse
from solver.account.cycles import spent
from solver.bench.cases import Case, Measured, Record, Results
from solver.schedule.energy import plan_energy
from solver.schedule.plan import Plan, overlap_static
from solver.solution import LoopRecord, Solution, from_plan
from solver.solve import solve
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.validity import check_mapping

Positive = Annotated[int, Field(ge=1, le=2**40)]
SplitCost = Literal["multiply", "add", "move", "row_write", "post", "transfer"]
METHOD = "cpsat"


class Parts(FileModel):
    """Cycles by what they are spent on; None where they are not known. Turning the bus is part of `load`."""

    multiply: float | None = None
    rows: float | None = None
    load: float | None = None
    drain: float | None = None
    refresh: float | None = None


class EnergySplit(FileModel):
    """Microjoules of a GEMV by what they are spent on; inputs and results are `pins`."""

    total: float
    multiply: float
    rows: float
    standby: float
    pins: float


class Gemv(FileModel):
    """A product of a matrix and a vector: the simulator's cycles, and the mapping that it runs."""

    outputs: Positive
    inputs: Positive
    channels: Positive
    cycles: Positive
    parts: Parts = Parts()
    energy: EnergySplit | None = None
    load: Annotated[int, Field(ge=0)]
    loops: tuple[LoopRecord, ...] = Field(strict=False)

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"GEMV {self.outputs} x {self.inputs}, {self.channels} channels"

    @property
    def file(self) -> str:
        """The name of the solution file of its mapping."""
        return f"gemv-{self.outputs}x{self.inputs}-{self.channels}.yaml"

    def network(self) -> Network:
        """Return it as a network of one layer."""
        ch = AxisAccess(terms={"C": 1})
        operand = Operand(producer="vector", axes=Axes(n=AxisAccess(terms={"N": 1}), ch=ch))
        return Network(
            format="overlapim/network/1",
            name=f"gemv-{self.outputs}x{self.inputs}",
            inputs=(NetworkInput(name="vector", shape=(1, self.inputs, 1, 1)),),
            layers=(Layer(name="gemv", dims={"K": self.outputs, "C": self.inputs}, operands=(operand,)),),
        )


class Operation(FileModel):
    """An operation of all lanes: the simulator's cycles, and the costs that stand for it here."""

    work: str
    cycles: Positive
    costs: tuple[SplitCost, ...] = Field(strict=False)


class Decoding(FileModel):
    """A block of a language model for one token, with so many keys and values: its cycles elsewhere."""

    network: str
    cached: Positive
    cycles: Positive

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"block of {self.network}, {self.cached} keys"

    def block(self) -> Network:
        """Return the network of the first block."""
        whole = load_network(f"{self.network}:decode@{self.cached}")
        layers = tuple(layer for layer in whole.layers if layer.name.startswith("block0."))
        return Network(format=whole.format, name=self.name, inputs=whole.inputs, layers=layers)


class Simulator(FileModel):
    """A simulator, how it was run, and which chip it is that it simulates."""

    name: str
    revision: str
    configuration: str
    chip: str
    mapping: str = ""
    left_out: str
    gemvs: tuple[Gemv, ...] = Field(default=(), strict=False)
    operations: tuple[Operation, ...] = Field(default=(), strict=False)
    decodings: tuple[Decoding, ...] = Field(default=(), strict=False)

    def hardware(self, gemv: Gemv) -> Hardware:
        """Return the chip with as many channels as the simulator had."""
        return load_hardware(self.chip).model_copy(update={"channels": gemv.channels})


class Figures(FileModel):
    """The file of all figures."""

    format: Literal["overlapim/figures/1"]
    simulators: tuple[Simulator, ...] = Field(strict=False)


def figures() -> tuple[Simulator, ...]:
    """Return what the simulators say."""
    text = (files("solver.bench") / "figures.yaml").read_text(encoding="utf-8")
    return parse(text, Figures, "figures.yaml").simulators


class ValidationCase(Record):
    """A row of a table: a GEMV on a chip, an operation of it, or decoding.

    Attributes
    ----------
    hardware_sha256 : of what the chip's file says.
    simulated : cycles of the simulator.
    seconds : of the search for the best mapping.
    """

    simulator: str
    chip: str
    hardware_sha256: str
    work: str
    simulated: int
    parts: Parts
    seconds: float
    energy: EnergySplit | None = None

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.simulator}: {self.work}"


class Validated(Record):
    """Our cycles, with refreshes: of the simulator's own mapping, by parts, and of the best one found.

    Attributes
    ----------
    own : None where that mapping is not known.
    post : cycles of post-operations in the best mappings of all layers; None of a GEMV or an operation.
    """

    own: float | None
    best: float
    parts: Parts
    energy: EnergySplit | None = None
    post: int | None = None

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        own = "" if self.own is None else f"{self.own:,.0f}, "
        return f"{own}best {self.best:,.0f} cycles"


MeasuredWork = Measured[ValidationCase, Validated]


class ValidationResults(Results[ValidationCase, Validated]):
    """The file `validation.json`."""

    format: Literal["overlapim/bench-validation/1"] = "overlapim/bench-validation/1"


def own_plan(gemv: Gemv, chip: Hardware) -> tuple[Problem, Plan]:
    """Return the plan in which a GEMV has the simulator's own mapping.

    Raises
    ------
    InputError
        if that mapping is not valid on the chip.
    """
    problem = Problem(gemv.network(), chip)
    mapping = Mapping(tuple(Loop(x.dim, x.bound, x.kind) for x in gemv.loops), gemv.load)
    check_mapping(problem.layers[0], mapping, chip)
    plan = overlap_static(problem, [problem.profile(0, mapping)])
    assert plan is not None, "a valid mapping of one layer has its banks"
    return problem, plan


def solutions() -> Iterator[tuple[str, Solution]]:
    """Yield the solution file of the simulator's own mapping of each GEMV, by its name."""
    for simulator in figures():
        for gemv in simulator.gemvs:
            problem, plan = own_plan(gemv, simulator.hardware(gemv))
            yield f"{simulator.chip}-{gemv.file}", from_plan(problem, plan, simulator.name, 0)


def validation_cases(seconds: float) -> Iterator[Case[ValidationCase, Validated]]:
    """Yield all rows."""
    for simulator in figures():
        for gemv in simulator.gemvs:
            yield _gemv_case(simulator, gemv, seconds)
        for operation in simulator.operations:
            yield _operation_case(simulator, operation)
        for decoding in simulator.decodings:
            yield _decoding_case(simulator, decoding, seconds)


def _gemv_case(simulator: Simulator, gemv: Gemv, seconds: float) -> Case[ValidationCase, Validated]:
    chip = simulator.hardware(gemv)
    what = ValidationCase(
        simulator=simulator.name,
        chip=simulator.chip,
        hardware_sha256=digest(chip),
        work=gemv.name,
        simulated=gemv.cycles,
        parts=gemv.parts,
        seconds=seconds,
        energy=gemv.energy,
    )
    return Case(what, lambda interrupt: measure_gemv(gemv, chip, Stop(seconds=seconds, interrupt=interrupt)))


def measure_gemv(gemv: Gemv, chip: Hardware, stop: Stop) -> Validated | None:
    """Return our cycles of a GEMV, searching from the simulator's own mapping; None if interrupted."""
    problem, plan = own_plan(gemv, chip)
    best = solve(problem.network, chip, method=METHOD, stop=stop, warm_start=plan).latency
    if stop.interrupt.is_set():
        return None
    own = with_refresh(plan.latency, chip)
    return Validated(
        own=own, best=with_refresh(best, chip), parts=parts(plan, chip), energy=energy_split(plan, chip)
    )


def with_refresh(cycles: int, chip: Hardware) -> float:
    """Return cycles and those of the refreshes in the same time."""
    return chip.nanoseconds(cycles) / chip.clock_ns


def parts(plan: Plan, chip: Hardware) -> Parts:
    """Return what the cycles of a plan of one layer are spent on; reducing and `post` are part of `drain`."""
    here = spent(plan.timeline.layers[0], chip)
    refresh = with_refresh(plan.latency, chip) - plan.latency
    drain = here.reduce + here.drain + here.post
    return Parts(multiply=here.multiply, rows=here.rows, load=here.load, drain=drain, refresh=refresh)


def energy_split(plan: Plan, chip: Hardware) -> EnergySplit | None:
    """Return what the energy of a plan of one layer is spent on; None on a chip without figures."""
    found = plan_energy(chip, plan)
    if found is None:
        return None
    here = found.parts
    pins = here.load + here.write + here.reduce + here.drain + here.post
    picojoules = (found.total, here.steps, here.rows, found.standby, pins)
    total, multiply, rows, standby, pins = (round(1e-6 * x, 3) for x in picojoules)
    return EnergySplit(total=total, multiply=multiply, rows=rows, standby=standby, pins=pins)


def _operation_case(simulator: Simulator, operation: Operation) -> Case[ValidationCase, Validated]:
    chip = load_hardware(simulator.chip)
    cycles = float(sum(getattr(chip.cycles, key) for key in operation.costs))
    what = ValidationCase(
        simulator=simulator.name,
        chip=simulator.chip,
        hardware_sha256=digest(chip),
        work=operation.work,
        simulated=operation.cycles,
        parts=Parts(),
        seconds=0.0,
    )
    return Case(what, lambda interrupt: Validated(own=cycles, best=cycles, parts=Parts()))


def _decoding_case(
    simulator: Simulator, decoding: Decoding, seconds: float
) -> Case[ValidationCase, Validated]:
    chip = load_hardware(simulator.chip)
    what = ValidationCase(
        simulator=simulator.name,
        chip=simulator.chip,
        hardware_sha256=digest(chip),
        work=decoding.name,
        simulated=decoding.cycles,
        parts=Parts(),
        seconds=seconds,
    )
    return Case(
        what, lambda interrupt: measure_decoding(decoding, chip, Stop(seconds=seconds, interrupt=interrupt))
    )


def measure_decoding(decoding: Decoding, chip: Hardware, stop: Stop) -> Validated | None:
    """Return our cycles of a block; None if interrupted."""
    plan = solve(decoding.block(), chip, method=METHOD, stop=stop).plan
    if stop.interrupt.is_set():
        return None
    post = sum(spent(times, chip).post for times in plan.timeline.layers)
    return Validated(own=None, best=with_refresh(plan.latency, chip), parts=Parts(), post=post)
