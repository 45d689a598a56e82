"""All that a sweep solves: every network on every chip, with every kind of weights, batch and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from hw.hardware import Hardware, Weights
from models.batch import batched
from models.library import load_network, network_names
from models.network import Network
from overlapim_files import InputError, Located, digest, load_located, parse_located
from solver.sweep.chips import DesignPoint, SpecError, chip_names, design_points, path_beside
from solver.sweep.expressions import ExpressionError, Formula, expression
from solver.sweep.spec import ChipSpec, Question, SweepSpec

MAX_CASES = 50_000

KEY_LENGTH = 16
"""Hexadecimal digits of a key: with 50,000 cases two share one with a probability of 7 in 10^11."""


class CaseRecord(BaseModel):
    """One case, as it stands in files and tables.

    Attributes
    ----------
    key : of what is solved and how: the same for everything that must come to the same.
    group : the key without the seed.
    chip : the preset, file or technology.
    name : of the very chip.
    settings : the fields of the chip that the specification sets.
    area : of the chip, if the specification says how to compute it.
    network_sha256, hardware_sha256 : of what their files say, the latter without name and source.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    key: str
    group: str
    network: str
    batch: int
    chip: str
    name: str
    settings: dict[str, Any]
    weights: Weights
    seed: int
    question: Question
    layers: int
    macs: int
    clock_ns: float
    channels: int
    banks: int
    lanes: int
    rows: int
    mac_cycles: int
    capacity_bits: int
    area: float | None
    network_sha256: str
    hardware_sha256: str


@dataclass(frozen=True)
class SweepCase:
    """One case with its network and its chip."""

    record: CaseRecord
    network: Network
    hardware: Hardware


@dataclass(frozen=True)
class SweepWorkload:
    """A network for so many inferences at once, as the specification calls it."""

    name: str
    batch: int
    network: Network
    sha256: str


@dataclass(frozen=True)
class Situation:
    """A network on a chip, and what is asked: all of a case but its seed."""

    workload: SweepWorkload
    point: DesignPoint
    hardware: Hardware
    area: float | None
    question: Question


@dataclass(frozen=True)
class Rules:
    """What decides which combinations are solved, and how large a chip is."""

    conditions: tuple[Formula, ...]
    area: Formula | None

    def area_of(self, names: Mapping[str, Any]) -> float | None:
        """Return the area of a chip. Raises SpecError if it comes to nothing above 0."""
        if self.area is None:
            return None
        try:
            value = self.area.value(names)
        except ExpressionError as error:
            raise SpecError(str(error), "area") from None
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise SpecError(f"comes to {value!r}, but must be a number above 0", "area")
        return float(value)

    def allow(self, names: Mapping[str, Any]) -> bool:
        """Return whether all conditions hold. Raises SpecError if one cannot be computed."""
        for i, condition in enumerate(self.conditions):
            try:
                if not condition.holds(names):
                    return False
            except ExpressionError as error:
                raise SpecError(str(error), "where", i) from None
        return True


def read_spec(source: str | Path | Mapping[str, Any]) -> Located[SweepSpec]:
    """Read a specification from a file or from what such a file says. Raises InputError."""
    if isinstance(source, Mapping):
        import yaml

        try:
            text = yaml.safe_dump(dict(source), sort_keys=False)
        except yaml.YAMLError:
            raise InputError("specification: only what a YAML file can say can be swept over") from None
        return parse_located(text, SweepSpec, "specification")
    return load_located(source, SweepSpec)


def sweep_cases(spec: Located[SweepSpec], folder: Path) -> list[SweepCase]:
    """Return all cases of a specification, seeds of one group beside each other.

    Parameters
    ----------
    folder : where the files are that it names, unless they are given in full.

    Raises
    ------
    InputError
        if a network, chip, field or value is wrong, or if no case is left; names the line.
    """
    try:
        found = _different(_cases(spec.record, folder))
    except SpecError as error:
        raise spec.error(error.text, *error.at) from None
    if not found:
        raise spec.error("no combination is left by the conditions")
    return found


def _different(cases: Iterator[SweepCase]) -> list[SweepCase]:
    """Return each case once. Raises SpecError if there are too many."""
    found: dict[str, SweepCase] = {}
    for case in cases:
        found.setdefault(case.record.key, case)
        if len(found) > MAX_CASES:
            raise SpecError(f"more than {MAX_CASES:,} cases")
    return list(found.values())


def _cases(spec: SweepSpec, folder: Path) -> Iterator[SweepCase]:
    rules = Rules(tuple(map(expression, spec.where)), None if spec.area is None else expression(spec.area))
    workloads = list(_workloads(spec, folder))
    points = list(_points(spec.chips, folder))
    combined = product(workloads, points, spec.weights or (None,), spec.questions)
    for workload, point, weights, question in combined:
        hardware = point.hardware if weights is None else point.hardware.with_weights(weights)
        names = chip_names(hardware) | _names(workload, point, question)
        area = rules.area_of(names)
        if rules.allow(names if area is None else names | {"area": area}):
            yield from _seeds(Situation(workload, point, hardware, area, question), spec.seeds)


def _names(workload: SweepWorkload, point: DesignPoint, question: Question) -> dict[str, Any]:
    """Return what conditions may say beside the fields of a chip."""
    network = workload.network
    return {
        "network": workload.name,
        "batch": workload.batch,
        "inferences": question.inferences,
        "objective": question.objective,
        "layers": len(network.layers),
        "macs": network.macs,
        "chip": point.base,
    }


def _workloads(spec: SweepSpec, folder: Path) -> Iterator[SweepWorkload]:
    for i, name in enumerate(spec.networks):
        try:
            network = load_network(path_beside(name, folder, network_names()))
        except InputError as error:
            raise SpecError(str(error), "networks", i) from None
        for j, batch in enumerate(spec.batch):
            try:
                whole = batched(network, batch) if batch > 1 else network
            except InputError as error:
                raise SpecError(str(error).removeprefix("--batch: "), "batch", j) from None
            yield SweepWorkload(name, batch, whole, digest(whole))


def _points(chips: Sequence[ChipSpec], folder: Path) -> Iterator[DesignPoint]:
    for i, chip in enumerate(chips):
        try:
            yield from design_points(chip, folder)
        except SpecError as error:
            raise SpecError(error.text, "chips", i, *error.at) from None


def _seeds(given: Situation, seeds: Sequence[int]) -> Iterator[SweepCase]:
    workload, hardware, question = given.workload, given.hardware, given.question
    network = workload.network
    sha256 = digest(hardware.model_copy(update={"name": "", "source": ""}))
    for seed in seeds:
        record = CaseRecord(
            key=_key(workload.sha256, sha256, digest(question), str(seed)),
            group=_key(workload.sha256, sha256, digest(question)),
            network=workload.name,
            batch=workload.batch,
            chip=given.point.base,
            name=hardware.name,
            settings=given.point.settings,
            weights=hardware.weights,
            seed=seed,
            question=question,
            layers=len(network.layers),
            macs=network.macs,
            clock_ns=hardware.clock_ns,
            channels=hardware.channels,
            banks=hardware.banks,
            lanes=hardware.lanes,
            rows=hardware.rows_per_bank,
            mac_cycles=hardware.mac_cycles,
            capacity_bits=hardware.lanes * hardware.rows_per_bank,
            area=given.area,
            network_sha256=workload.sha256,
            hardware_sha256=sha256,
        )
        yield SweepCase(record, network, hardware)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_LENGTH]
