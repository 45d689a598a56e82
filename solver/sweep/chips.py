"""The chips of a specification: every combination of the values of its fields that its conditions allow."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hw.derive.technologies import TECHNOLOGIES, Technology
from hw.hardware import Hardware
from hw.library import load_hardware, preset_names
from overlapim_files import InputError, Step, in_words, nearest, shorten
from solver.sweep.expressions import ExpressionError, Formula, expression
from solver.sweep.spec import ChipSpec, computed

MAX_COMBINATIONS = 100_000
"""Combinations of values of one chip, before conditions leave some out."""

FIXED = ("format", "name", "source")
"""Fields of a hardware file that are no matter of design."""


class SpecError(Exception):
    """What a specification says cannot be used; `at` leads from its root to the culprit."""

    def __init__(self, text: str, *at: Step) -> None:
        super().__init__(text)
        self.text, self.at = text, at


@dataclass(frozen=True)
class DesignPoint:
    """One chip of a sweep.

    Attributes
    ----------
    base : the preset, file or technology that it is a variant of.
    settings : the fields that were set, with their values.
    """

    base: str
    settings: dict[str, Any]
    hardware: Hardware


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the fields of a record with those of records in it, such as `cycles` and `cycles.multiply`."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in _models(field.annotation):
            yield from fields_of(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the records that a value may be."""
    choices = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else [annotation]
    return [x for x in choices if isinstance(x, type) and issubclass(x, BaseModel)]


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted names."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def chip_names(hardware: Hardware) -> dict[str, Any]:
    """Return what conditions may say of a chip: the fields of its file, and what they add up to."""
    own = flat(hardware.model_dump(mode="json", exclude=set(FIXED)))
    sums = {
        "banks": hardware.banks,
        "lanes": hardware.lanes,
        "mac_cycles": hardware.mac_cycles,
        "capacity_bits": hardware.lanes * hardware.rows_per_bank,
    }
    return own | sums


class Origin(typing.Protocol):
    """What chips are variants of."""

    @property
    def name(self) -> str:
        """As tables call it."""

    @property
    def fields(self) -> Sequence[str]:
        """What can be set."""

    def problem(self, field: str, value: Any) -> str:
        """Return what is wrong with a value by itself; empty if nothing is, or that shows later."""

    def names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what expressions and conditions may name, with some fields set."""

    def build(self, settings: Mapping[str, Any], name: str) -> Hardware:
        """Return the chip. Raises InputError if there is none."""


@dataclass(frozen=True)
class FromFile:
    """A preset, or a chip from a file."""

    hardware: Hardware

    @property
    def name(self) -> str:
        """As tables call it."""
        return self.hardware.name

    @property
    def fields(self) -> Sequence[str]:
        """What can be set: all that a hardware file may say of a chip."""
        return [field for field in fields_of(Hardware) if field not in FIXED]

    def problem(self, field: str, value: Any) -> str:
        """Return nothing: a field is right or wrong together with the others."""
        return ""

    def _record(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the file with some fields set."""
        record = self.hardware.model_dump(mode="json", exclude_none=True)
        for field, value in settings.items():
            *outer, last = field.split(".")
            inside = record
            for key in outer:
                inside = inside.setdefault(key, {})
                if not isinstance(inside, dict):
                    raise SpecError(f"`{key}` is {inside!r}, which has no fields", "set", field)
            inside[last] = deepcopy(value)
        return record

    def names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields with their values, and how many banks and lanes these come to."""
        own = {k: v for k, v in flat(self._record(settings)).items() if k not in FIXED}
        banks = _product(own["channels"], own["banks_per_channel"])
        return own | {"banks": banks, "lanes": _product(banks, own["columns_per_bank"])}

    def build(self, settings: Mapping[str, Any], name: str) -> Hardware:
        """Return the chip. Raises InputError if these fields make no chip."""
        try:
            return Hardware.model_validate(self._record(settings) | {"name": name})
        except ValidationError as error:
            raise InputError(in_words(error)) from None


@dataclass(frozen=True)
class Derived:
    """A technology, of whose options costs follow."""

    technology: Technology

    @property
    def name(self) -> str:
        """As tables call it."""
        return self.technology.name

    @property
    def fields(self) -> Sequence[str]:
        """What can be set: its options."""
        return [option for option in self.technology.options if option not in FIXED]

    def problem(self, field: str, value: Any) -> str:
        """Return what is wrong with the value of an option."""
        return self.technology.options[field].limits.problem(value)

    def names(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return its options with their values, and how many lanes these come to."""
        own = {name: option.default for name, option in self.technology.options.items()} | dict(settings)
        return own | {"lanes": _product(own["channels"], _product(own["banks"], own["columns"]))}

    def build(self, settings: Mapping[str, Any], name: str) -> Hardware:
        """Return the chip. Raises InputError if nothing can be derived from these options."""
        return self.technology.hardware(dict(settings) | {"name": name})


def _product(a: Any, b: Any) -> Any:
    """Return a product; of what is no number, which shows when the chip is made, 0."""
    return a * b if isinstance(a, int | float) and isinstance(b, int | float) else 0


def origin(spec: ChipSpec, folder: Path) -> Origin:
    """Return what the chips of a specification are variants of; files lie in the folder or below.

    Raises
    ------
    SpecError
        if there is no such preset, file or technology.
    """
    if spec.derive is not None:
        if spec.derive not in TECHNOLOGIES:
            text = f"there is no technology {shorten(repr(spec.derive))}"
            raise SpecError(text + nearest(spec.derive, TECHNOLOGIES), "derive")
        return Derived(TECHNOLOGIES[spec.derive])
    try:
        return FromFile(load_hardware(path_beside(str(spec.base), folder, preset_names())))
    except InputError as error:
        raise SpecError(str(error), "from") from None


def path_beside(name: str, folder: Path, built_in: Sequence[str]) -> str:
    """Return the path of a file that a specification names, from its own folder; a built-in name as it is."""
    if name in built_in:
        return name
    try:
        path = folder / name
        return str(path) if path.exists() else name
    except (OSError, ValueError):
        return name


def design_points(spec: ChipSpec, folder: Path) -> Iterator[DesignPoint]:
    """Yield every chip of a specification that its conditions allow, in the order of its values.

    Raises
    ------
    SpecError
        if a field is unknown, a value is wrong, or there are too many combinations.
    """
    known = origin(spec, folder)
    _check(spec, known)
    expressions = {field: found for field, values in spec.set.items() if (found := _only_computed(values))}
    axes = {field: values for field, values in spec.set.items() if field not in expressions}
    varied = [field for field, values in axes.items() if len(values) > 1]
    conditions = [expression(text) for text in spec.where]
    for values in product(*axes.values()):
        settings = _complete(dict(zip(axes, values, strict=True)), expressions, known)
        if not _allowed(conditions, known.names(settings)):
            continue
        label = ", ".join(f"{field}={_short(settings[field])}" for field in varied)
        name = shorten(f"{spec.name or known.name} {label}".strip(), 200)
        yield DesignPoint(spec.name or known.name, settings, _built(known, settings, name))


def _only_computed(values: Sequence[Any]) -> Formula | None:
    return computed(values[0]) if len(values) == 1 else None


def _short(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _check(spec: ChipSpec, known: Origin) -> None:
    """Raise SpecError for unknown fields, wrong values, and too many combinations."""
    fields = known.fields
    for field, values in spec.set.items():
        if field not in fields:
            raise SpecError(f"there is no field {shorten(repr(field))}{nearest(field, fields)}", "set", field)
        if _only_computed(values):
            continue
        for i, value in enumerate(values):
            if computed(value):
                raise SpecError("an expression stands by itself, not in a list", "set", field, i)
            if problem := known.problem(field, value):
                raise SpecError(problem, "set", field, i)
    count = prod(len(values) for values in spec.set.values())
    if count > MAX_COMBINATIONS:
        text = f"{count:,} combinations of values; at most {MAX_COMBINATIONS:,} are tried"
        raise SpecError(text, "set")


def _complete(settings: dict[str, Any], expressions: Mapping[str, Formula], known: Origin) -> dict[str, Any]:
    """Return the settings with those that are computed, each once those are known that it names."""
    left = dict(expressions)
    while left:
        ready = [f for f, own in left.items() if not (own.names & set(left)) - {f}]
        if not ready:
            field = next(iter(left))
            circle = ", ".join(f"`{name}`" for name in left)
            raise SpecError(f"the expressions of {circle} need each other", "set", field)
        for field in ready:
            value = _computed(left.pop(field), known.names(settings), field)
            if problem := known.problem(field, value):
                raise SpecError(f"{problem}{_listing(settings)}", "set", field)
            settings = settings | {field: value}
    return settings


def _computed(own: Formula, names: Mapping[str, Any], field: str) -> Any:
    try:
        return own.value(names)
    except ExpressionError as error:
        raise SpecError(str(error), "set", field) from None


def _allowed(conditions: Sequence[Formula], names: Mapping[str, Any]) -> bool:
    for i, condition in enumerate(conditions):
        try:
            if not condition.holds(names):
                return False
        except ExpressionError as error:
            raise SpecError(str(error), "where", i) from None
    return True


def _built(known: Origin, settings: dict[str, Any], name: str) -> Hardware:
    try:
        return known.build(settings, name)
    except InputError as error:
        raise SpecError(f"{error}{_listing(settings)}", "set") from None


def _listing(settings: Mapping[str, Any]) -> str:
    """Return in words for which settings something is wrong; nothing if there are none."""
    listed = ", ".join(f"{field}={_short(value)}" for field, value in settings.items())
    return f", with {listed}" if listed else ""
