"""The records of a Timeloop problem file, version 0.4 and the flat form before it."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from models.layer import MAX_EXTENT, Dim, Extent, Name
from models.timeloop.contraction import Contraction, DataSpaces, Expression, contraction
from overlapim_files import FileModel, Step, fault, nearest, shorten

Term = tuple[str, str | None]
"""A dimension and the name of its coefficient."""

SYMBOLS = 64
"""Dimensions, coefficients and data-spaces that a shape may have; more than any shape needs."""

IGNORED = ("densities", "commonDensity", "H", "W", "Hpad", "Wpad", "Padding")
"""Keys of an instance that say nothing about the loops: densities, and extents that are derived here."""

DESCRIPTIVE = (
    *("name", "names", "layer", "layer_name", "layer_type", "type", "operator", "operator_type"),
    *("dnn", "dnn_name", "network", "network_name", "model", "model_name", "histograms", "densities"),
    *("note", "notes", "comment", "comments", "description", "attribution", "author", "authors", "source"),
    *("reference", "references", "citation", "license", "licence", "copyright", "url", "date"),
)
"""Keys of a problem and of its shape that describe it to people or to models of energy."""


def _underscores(data: Any) -> Any:
    """Return the keys of a mapping in the newer spelling: data-spaces is data_spaces."""
    if not isinstance(data, dict):
        return data
    return {key.replace("-", "_") if isinstance(key, str) else key: value for key, value in data.items()}


def _told(data: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return a mapping without the keys that only describe it."""
    return {key: value for key, value in data.items() if key in known or key not in DESCRIPTIVE}


class Coefficient(FileModel):
    """A stride or a dilation, with the value that it has unless the instance gives one."""

    name: Name
    default: Extent = 1


class DataSpace(FileModel):
    """A tensor, and for each of its axes the sum of dimensions that is the coordinate."""

    name: Name
    projection: tuple[Any, ...] = Field(strict=False, max_length=SYMBOLS)
    read_write: bool = False
    ranks: Any = None

    _spelling = model_validator(mode="before")(_underscores)

    @model_validator(mode="after")
    def _affine(self) -> Self:
        _ = self.expressions
        return self

    @cached_property
    def expressions(self) -> tuple[tuple[Term, ...], ...]:
        """The terms of each axis."""
        return tuple(self._terms(i, expression) for i, expression in enumerate(self.projection))

    def _terms(self, axis: int, expression: Any) -> tuple[Term, ...]:
        if isinstance(expression, str):
            return ((expression, None),)
        if not isinstance(expression, list) or not 0 < len(expression) <= SYMBOLS:
            raise fault("an axis is a dimension or a list of terms", "projection", axis)
        return tuple(self._term(term, ("projection", axis, i)) for i, term in enumerate(expression))

    def _term(self, term: Any, at: tuple[Step, ...]) -> Term:
        words = isinstance(term, list) and all(isinstance(word, str) for word in term)
        if not words or not 1 <= len(term) <= 2:
            shown = shorten(str(term))
            raise fault(
                f"{shown} is no term of a sum: [dimension] or [dimension, coefficient] is needed", *at
            )
        return term[0], term[1] if len(term) == 2 else None


class ProblemShape(FileModel):
    """Dimensions, coefficients and data-spaces."""

    name: str = ""
    dimensions: tuple[Name, ...] = Field(strict=False, min_length=1, max_length=SYMBOLS)
    coefficients: tuple[Coefficient, ...] = Field(default=(), strict=False, max_length=SYMBOLS)
    data_spaces: tuple[DataSpace, ...] = Field(strict=False, min_length=2, max_length=SYMBOLS)

    _spelling = model_validator(mode="before")(_underscores)

    @model_validator(mode="before")
    @classmethod
    def _no_flattening(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if "flatten" in data:
            raise fault("flattened dimensions are not read; give the dimensions themselves", "flatten")
        return _told(data, cls.model_fields)

    @model_validator(mode="after")
    def _known_symbols(self) -> Self:
        coefficients = [coefficient.name for coefficient in self.coefficients]
        for i, space in enumerate(self.data_spaces):
            for axis, terms in enumerate(space.expressions):
                for j, (dimension, coefficient) in enumerate(terms):
                    at = ("data_spaces", i, "projection", axis, j)
                    if dimension not in self.dimensions:
                        hint = nearest(dimension, self.dimensions)
                        raise fault(f"{shorten(repr(dimension))} is no dimension{hint}", *at)
                    if coefficient is not None and coefficient not in coefficients:
                        hint = nearest(coefficient, coefficients) if coefficients else "; there are none"
                        raise fault(f"{shorten(repr(coefficient))} is no coefficient{hint}", *at)
        return self

    def outputs(self) -> DataSpace:
        """Return the data-space that is written. Raises a fault if there is not one."""
        written = [space for space in self.data_spaces if space.read_write]
        if len(written) != 1:
            raise fault(f"{len(written)} data-spaces are read_write; it must be one", "shape", "data_spaces")
        return written[0]

    def operands(self) -> tuple[DataSpace, DataSpace | None]:
        """Return the data-space of the activations, and that of the weights. Raises a fault for others.

        The weights are what is called so; else, if only one operand has an axis with a sum, the other one;
        else the second.
        """
        read = [space for space in self.data_spaces if not space.read_write]
        if len(read) > 2:
            text = f"{len(read)} data-spaces are read; inputs and weights can be imported, not more"
            raise fault(text, "shape", "data_spaces")
        if len(read) < 2:
            return read[0], None
        named = [_is_weights(space.name.lower()) for space in read]
        sums = [any(len(terms) > 1 for terms in space.expressions) for space in read]
        first = named == [True, False] or (named == [False, False] and sums == [False, True])
        return (read[1], read[0]) if first else (read[0], read[1])


def _is_weights(name: str) -> bool:
    """Return whether a data-space is called weights, in small letters."""
    return name == "w" or name.startswith(("weight", "filter", "kernel"))


class TimeloopProblem(FileModel):
    """A shape and its bounds, and which of our dims its dimensions are, where that is given."""

    version: Any = None
    shape: ProblemShape
    instance: Annotated[dict[str, Any], Field(max_length=1024)]
    dims: dict[str, Dim] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        """Bring the older form, in which bounds stand beside the shape or without one, into the newer."""
        if not isinstance(data, dict):
            return data
        data = _told(data, cls.model_fields)
        if "instance" not in data:
            rest = {key: value for key, value in data.items() if key not in cls.model_fields}
            data = {key: value for key, value in data.items() if key in cls.model_fields}
            data["instance"] = rest
        shape, instance = data.get("shape", "cnn_layer"), data["instance"]
        if isinstance(shape, str):
            data = {**data, "shape": named_shape(shape, instance if isinstance(instance, dict) else {})}
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        known = [*self.shape.dimensions, *(x.name for x in self.shape.coefficients)]
        for key, value in self.instance.items():
            if key in known or key in self.respelt:
                _check_count(key, value, least=1 if key in self.shape.dimensions else 0)
            elif key not in IGNORED and value != 1:
                text = f"unknown key {shorten(repr(key))}{nearest(key, [*known, 'shape', 'instance'])}"
                raise fault(text, "instance", key)
        for dimension in self.shape.dimensions:
            if dimension not in self.instance:
                raise fault(f"the bound of dimension {dimension} is missing", "instance")
        self._check_respelt()
        _ = self.contraction
        return self

    def _check_respelt(self) -> None:
        for key, name in self.respelt.items():
            other = self.instance.get(name, 1)
            if other not in (1, self.instance[key]):
                raise fault(f"{key} is {self.instance[key]} and {name} is {other}; give one", "instance", key)

    @cached_property
    def respelt(self) -> dict[str, str]:
        """The keys that are a coefficient but for upper and lower case, and which one."""
        plain = {x.name.lower(): x.name for x in self.shape.coefficients}
        exact = {*self.shape.dimensions, *plain.values(), *IGNORED}
        return {key: plain[key.lower()] for key in self.instance if key not in exact and key.lower() in plain}

    @cached_property
    def coefficients(self) -> dict[str, int]:
        """The value of each coefficient."""
        values = {x.name: x.default for x in self.shape.coefficients}
        values |= {name: self.instance[name] for name in values if name in self.instance}
        return values | {name: self.instance[key] for key, name in self.respelt.items()}

    @cached_property
    def contraction(self) -> Contraction:
        """What the problem computes, in our dims."""
        bounds = {name: self.instance[name] for name in self.shape.dimensions if self.instance[name] > 1}
        outputs, (inputs, weights) = self.shape.outputs(), self.shape.operands()
        spaces = (inputs, weights, outputs)
        return contraction(bounds, DataSpaces(*(self._expressions(space) for space in spaces)), self.dims)

    def _expressions(self, space: DataSpace | None) -> tuple[Expression, ...]:
        """Return the axes of a data-space in numbers, dimensions of bound 1 left out."""
        values: dict[str | None, int] = {None: 1}
        values |= dict(self.coefficients.items())
        found = tuple(
            tuple((name, values[coefficient]) for name, coefficient in terms if self.instance[name] > 1)
            for terms in (space.expressions if space else ())
        )
        if still := next((name for terms in found for name, value in terms if value == 0), None):
            raise fault(f"a coefficient of dimension {still} is 0, which has more than one value", "instance")
        return found


class ProblemFile(BaseModel):
    """A file with a problem; what else it holds, such as an architecture, is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    problem: TimeloopProblem


def _check_count(key: str, value: Any, least: int) -> None:
    if type(value) is not int or not least <= value <= MAX_EXTENT:
        text = f"must be an integer from {least} to {MAX_EXTENT}, found {shorten(str(value))}"
        if isinstance(value, str) and value.isidentifier():
            text += f"; if that is a name, give its value with --dim {shorten(value)}=1"
        raise fault(text, "instance", key)


def named_shape(name: str, instance: dict[str, Any]) -> dict[str, Any]:
    """Return one of the shapes that Timeloop has by name: a convolution or a matrix product.

    The output channels of the convolution are M if the instance says so, else K; it has groups if the
    instance has G.
    """
    plain = name.lower().replace("-", "_").removesuffix(".yaml").removesuffix(".cfg")
    if plain in ("gemm_abz", "gemm"):
        return _shape("MNK", {"A": ["M", "K"], "B": ["N", "K"], "Z": ["M", "N"]}, ())
    if plain != "cnn_layer":
        text = f"no shape is called {shorten(repr(name))}{nearest(plain, ['cnn_layer', 'gemm_ABZ'])}"
        raise _shape_fault(text)
    out, groups = "M" if "M" in instance else "K", ["G"] if "G" in instance else []
    rows = [["R", "Wdilation"], ["P", "Wstride"]]
    columns = [["S", "Hdilation"], ["Q", "Hstride"]]
    spaces: dict[str, list[Any]] = {
        "Weights": [*groups, "C", out, "R", "S"],
        "Inputs": ["N", *groups, "C", rows, columns],
        "Outputs": ["N", *groups, out, "Q", "P"],
    }
    return _shape(["C", out, *"RSNPQ", *groups], spaces, ("Wstride", "Hstride", "Wdilation", "Hdilation"))


def _shape(
    dimensions: str | list[str], spaces: dict[str, list[Any]], coefficients: tuple[str, ...]
) -> dict[str, Any]:
    """Return a shape as it stands in a file; the last data-space is the output."""
    last = list(spaces)[-1]
    return {
        "dimensions": list(dimensions),
        "coefficients": [{"name": name, "default": 1} for name in coefficients],
        "data_spaces": [
            {"name": name, "projection": axes, "read_write": name == last} for name, axes in spaces.items()
        ],
    }


def _shape_fault(text: str) -> PydanticCustomError:
    return fault(text, "shape")
