"""The file of a sweep: networks, chips whose fields take several values, and how each case is solved."""

from __future__ import annotations

import math
from itertools import product
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from hw.hardware import Weights
from overlapim_files import FileModel, fault, nearest
from solver.methods import DEFAULT_METHOD, METHODS
from solver.solution import MAX_INFERENCES
from solver.sweep.expressions import ExpressionError, Formula, expression
from solver.timing.objective import Measure

FORMAT: Final = "overlapim/sweep/1"

MAX_VALUES = 10_000
"""Values of one field."""

RANGE_KEYS = ("from", "to", "step", "times")


def in_range(
    first: int | float, last: int | float, step: int | float | None, times: int | float | None
) -> list[int | float]:
    """Return the values from the first up to the last: each a step more, or so many times the one before."""
    if (step is None) == (times is None):
        raise fault("a range has `from`, `to`, and either `step` or `times`")
    if first > last:
        raise fault(f"a range goes up: `from` is {first}, but `to` is {last}")
    if step is not None and step <= 0:
        raise fault(f"must be more than 0, found {step}", "step")
    if times is not None and (times <= 1 or first <= 0):
        raise fault(f"multiplies by more than 1, from more than 0, not by {times} from {first}", "times")
    steps = (last - first) / step if step is not None else math.log(last / first, times or 2)
    count = math.floor(steps + 1e-9) + 1
    if count > MAX_VALUES:
        raise fault(f"a range of {count:,} values; at most {MAX_VALUES:,} are taken")
    return [first + i * step if step is not None else first * (times or 2) ** i for i in range(count)]


def _range(given: dict[str, Any]) -> list[int | float]:
    """Return the values of a range that stands in a file."""
    for key, value in given.items():
        if key not in RANGE_KEYS:
            raise fault(
                f"a value, a list or a range is needed; a range has no {key!r} "
                "(a field inside another is written as `outer.inner: ..`)",
                key,
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise fault(f"must be a number such as 4 or 0.5, found {value!r}", key)
    for key in ("from", "to"):
        if key not in given:
            raise fault(f"a range needs the key '{key}'")
    return in_range(given["from"], given["to"], given.get("step"), given.get("times"))


def values(given: Any) -> list[Any]:
    """Return the values of a list, a range or a single value of a file."""
    if isinstance(given, dict):
        return _range(given)
    listed = given if isinstance(given, list | tuple) else [given]
    if not listed:
        raise fault("an empty list leaves nothing to sweep over")
    if len(listed) > MAX_VALUES:
        raise fault(f"a list of {len(listed):,} values; at most {MAX_VALUES:,} are taken")
    return list(listed)


def _listed(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


def _read(text: str) -> Formula:
    try:
        return expression(text)
    except ExpressionError as error:
        raise fault(str(error)) from None


def computed(given: Any) -> Formula | None:
    """Return the expression that a value of a field is, written with a `=` in front; None if it is none."""
    return _read(given[1:]) if isinstance(given, str) and given.startswith("=") else None


def _conditions(given: Any) -> Any:
    """Check that all conditions can be read; what they come to is seen later."""
    for i, text in enumerate(_listed(given)):
        if not isinstance(text, str):
            raise fault("must be a condition, as text", i)
        try:
            expression(text)
        except ExpressionError as error:
            raise fault(str(error), i) from None
    return _listed(given)


def _expression_text(given: Any) -> Any:
    if isinstance(given, str):
        _read(given)
    return given


Conditions = Annotated[tuple[str, ...], BeforeValidator(_conditions), Field(strict=False)]
"""What must be so of a combination; it is left out otherwise."""

ShortText = Annotated[str, Field(min_length=1, max_length=1000)]
NetworkAxis = Annotated[tuple[ShortText, ...], BeforeValidator(values), Field(strict=False)]
BatchAxis = Annotated[
    tuple[Annotated[int, Field(ge=1, le=2**20)], ...], BeforeValidator(values), Field(strict=False)
]
SeedAxis = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], BeforeValidator(values), Field(strict=False)
]
InferenceCount = Annotated[int, Field(ge=1, le=MAX_INFERENCES)]
InferenceAxis = Annotated[tuple[InferenceCount, ...], BeforeValidator(values), Field(strict=False)]
ObjectiveAxis = Annotated[tuple[Measure, ...], BeforeValidator(values), Field(strict=False)]
WeightsAxis = Annotated[tuple[Weights, ...], BeforeValidator(values), Field(strict=False)]


def _settings(given: Any) -> Any:
    """Return for each field the list of its values; expressions stay text."""
    if not isinstance(given, dict):
        return given
    listed = {}
    for field, value in given.items():
        try:
            listed[field] = values(value)
            for item in listed[field]:
                computed(item)
        except Exception as error:
            context = getattr(error, "context", None)
            if not context:
                raise
            raise fault(context["text"], field, *context["at"]) from None
    return listed


class ChipSpec(FileModel):
    """A preset or a file, or a technology to derive chips from, and values for fields of it.

    Attributes
    ----------
    base : a preset or a hardware file.
    derive : a technology of `overlapim hw derive`.
    name : as tables call it; that of the preset, the file or the technology unless given.
    set : for each field, or option of the technology, its values; text that begins with `=` is computed.
    where : conditions over these fields.
    """

    base: ShortText | None = Field(default=None, alias="from")
    derive: ShortText | None = None
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    set: Annotated[dict[str, list[Any]], BeforeValidator(_settings)] = Field(default={})
    where: Conditions = ()

    @model_validator(mode="before")
    @classmethod
    def _only_a_name(cls, data: Any) -> Any:
        return {"from": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_origin(self) -> ChipSpec:
        if (self.base is None) == (self.derive is None):
            raise fault("a chip has either `from`, a preset or a file, or `derive`, a technology")
        return self


class SearchSpec(FileModel):
    """How each case is searched.

    Attributes
    ----------
    method : of the search.
    seconds : that a search may take, nominal ones if it is deterministic.
    """

    method: str = DEFAULT_METHOD
    seconds: Annotated[float, Field(ge=0.1, le=1e6)] = 10.0
    deterministic: bool = False

    @model_validator(mode="after")
    def _known_method(self) -> SearchSpec:
        if self.method not in METHODS:
            raise fault(f"there is no method '{self.method}'{nearest(self.method, list(METHODS))}", "method")
        return self


class Question(SearchSpec):
    """What is asked of a case; only what is not as by default takes part in its key.

    Attributes
    ----------
    objective, inferences : what is minimised, of so many inferences that follow each other.
    """

    objective: Measure = "makespan"
    inferences: InferenceCount = 1


class SweepSpec(SearchSpec):
    """A sweep: every network on every chip, with every kind of weights, batch and seed.

    Attributes
    ----------
    weights : as the chips' files say unless given.
    warm_start : whether a search begins with the mappings of the nearest chip that is solved; unless given,
        if searches are not deterministic.
    where : conditions over the fields of a chip, `banks`, `lanes`, `area`, `network`, `batch` and the like.
    area : an expression over the same that says how large a chip is, in a unit of one's own.
    """

    format: Literal["overlapim/sweep/1"]
    networks: NetworkAxis
    chips: Annotated[tuple[ChipSpec, ...], Field(strict=False, min_length=1, max_length=MAX_VALUES)]
    weights: WeightsAxis | None = None
    batch: BatchAxis = (1,)
    inferences: InferenceAxis = (1,)
    objective: ObjectiveAxis = ("makespan",)
    seeds: SeedAxis = (0,)
    warm_start: bool | None = None
    where: Conditions = ()
    area: Annotated[str, BeforeValidator(_expression_text)] | None = None

    @property
    def questions(self) -> list[Question]:
        """What is asked of each network on each chip."""
        search = {key: getattr(self, key) for key in SearchSpec.model_fields}
        pairs = product(self.objective, self.inferences)
        return [Question(objective=measure, inferences=count, **search) for measure, count in pairs]

    @property
    def warms(self) -> bool:
        """Whether searches begin with the mappings of other chips."""
        return not self.deterministic if self.warm_start is None else self.warm_start
