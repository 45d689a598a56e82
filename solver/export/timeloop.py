"""Mappings as Timeloop writes them: the text for a mapped layer, and the mapping that such a text means.

Our loops stand in one list in which time and space may alternate as they like. Timeloop has levels, each with
one loop nest in time and below it one in space. So the list is cut into as few levels as can hold it in its
order; docs/timeloop.md says how they are named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.network import DIMS, Dim, Layer
from models.timeloop.write import problem_dims
from overlapim_files import FileModel, InputError, Step, dump, fault, load, shorten
from solver.timing.mapping import SPATIAL, Kind, Loop, Mapping
from solver.timing.tiles import innermost_read, load_depth

UNSPREAD = ("time", "lane")
"""Names of levels below which nothing is spread: one inside the nest, and the innermost."""

MAX_LOOP = 2**40
MOST_DIRECTIVES = 4096


@dataclass
class StorageLevel:
    """One of Timeloop's levels; loops stand outermost first, those in time outside those in space."""

    kind: Kind | None = None
    temporal: list[Loop] = field(default_factory=list)
    spatial: list[Loop] = field(default_factory=list)

    def takes(self, loop: Loop) -> bool:
        """Return whether a loop can be the next one here: one of its dim at most, and no time below space."""
        if loop.kind == "temporal":
            return not self.spatial and all(other.dim != loop.dim for other in self.temporal)
        return self.kind in (None, loop.kind) and all(other.dim != loop.dim for other in self.spatial)

    def add(self, loop: Loop) -> None:
        """Put a loop inside the others of its sort."""
        if loop.kind == "temporal":
            self.temporal.append(loop)
        else:
            self.kind = loop.kind
            self.spatial.append(loop)


def levels(mapping: Mapping) -> list[StorageLevel]:
    """Return the levels that hold a mapping's loops, outermost first; the last one spreads nothing."""
    found = [StorageLevel()]
    for loop in mapping.loops:
        if not found[-1].takes(loop):
            found.append(StorageLevel())
        found[-1].add(loop)
    return [*found, StorageLevel()] if found[-1].spatial else found


def level_names(found: Sequence[StorageLevel]) -> list[str]:
    """Return the name of each level: what its loops in space run over, and its number from the outside."""
    return [f"{_sort(level, i == len(found) - 1)}{i}" for i, level in enumerate(found)]


def _sort(level: StorageLevel, last: bool) -> str:
    return level.kind or UNSPREAD[last]


# Writing


class MappingText(BaseModel):
    """A mapping file to be written."""

    mapping: list[dict[str, Any]]


class ArchitectureText(BaseModel):
    """An architecture file to be written."""

    arch: dict[str, Any]


def mapping_text(layer: Layer, mapping: Mapping) -> str:
    """Return the text of a mapping file, outermost level first; `read_mapping` reads its loops back.

    Where inputs are not loaded at the innermost loop that reads them, a comment says so: the levels cannot.
    """
    dims, found = problem_dims(layer), levels(mapping)
    rests = iter(_remainders(layer, mapping))
    directives = []
    for level, name in zip(found, level_names(found), strict=True):
        directives.append(_directive(name, "temporal", level.temporal, dims, rests))
        if level.spatial:
            spread = _directive(name, "spatial", level.spatial, dims, rests)
            directives.append({**spread, "split": len(dims)})
    text, depth = dump(MappingText(mapping=directives)), load_depth(layer, mapping)
    if depth == innermost_read(layer, mapping):
        return text
    return (
        f"# Inputs are loaded inside the {depth} outermost loops in time; the levels do not say so.\n{text}"
    )


def _remainders(layer: Layer, mapping: Mapping) -> list[int]:
    """Return how many iterations each loop has while those of its dim outside it are in their last."""
    rests = []
    left = {dim: layer.bound(dim) - 1 for dim in DIMS}
    for loop in reversed(mapping.loops):
        left[loop.dim], digit = divmod(left[loop.dim], loop.bound)
        rests.append(digit + 1)
    return rests[::-1]


def _directive(
    name: str, sort: str, loops: Sequence[Loop], dims: Sequence[Dim], rests: Iterator[int]
) -> dict[str, Any]:
    """Return a nest as it stands in a file; takes the remainders of its loops from `rests`."""
    factors = {dim: f"{dim}1" for dim in dims}
    for loop in loops:
        rest = next(rests)
        factors[loop.dim] = f"{loop.dim}{loop.bound}" + (f",{rest}" if rest != loop.bound else "")
    here = [loop.dim for loop in loops]
    order = "".join([*reversed(here), *(dim for dim in dims if dim not in here)])
    return {"target": name, "type": sort, "factors": " ".join(factors.values()), "permutation": order}


def architecture_text(mapping: Mapping, word_bits: int) -> str:
    """Return the text of an architecture with the levels of a mapping, of endless room and bandwidth."""
    found = levels(mapping)
    instances, storage = 1, []
    for level, name in zip(found, level_names(found), strict=True):
        size = {"instances": instances, "meshX": instances}
        storage.append({"name": name, "technology": "DRAM", "word_bits": word_bits, **size})
        instances *= math.prod(loop.bound for loop in level.spatial)
    arithmetic = {"name": "mac", "word_bits": word_bits, "instances": instances, "meshX": instances}
    return dump(ArchitectureText(arch={"arithmetic": arithmetic, "storage": storage[::-1]}))


# Reading


class Directive(FileModel):
    """What a mapping says of one level, in time or in space."""

    target: Annotated[str, Field(max_length=200)]
    type: Literal["temporal", "spatial", "datatype", "bypass", "dataspace"]
    factors: Any = ""
    permutation: Any = ""
    split: Any = None
    keep: Any = None
    bypass: Any = None

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if not re.fullmatch(rf"({'|'.join((*SPATIAL, *UNSPREAD))})[0-9]{{1,9}}", self.target):
            names = ", ".join((*SPATIAL, *UNSPREAD))
            text = f"{shorten(repr(self.target))} is none of the levels that are read: {names}, with a number"
            raise fault(text, "target")
        if self.type == "spatial" and self.kind is None:
            raise fault(f"level {self.target} spreads over nothing, so it can have no spatial loops", "type")
        _ = self.loops
        return self

    @property
    def number(self) -> int:
        """The place of the level from the outside."""
        return int(re.sub("[a-z]", "", self.target))

    @property
    def kind(self) -> Kind | None:
        """What loops in space at this level run over."""
        return next((kind for kind in SPATIAL if self.target.startswith(kind)), None)

    @property
    def loops(self) -> list[tuple[str, int, int]]:
        """Dimension, bound and last remainder of each loop, outermost first."""
        factors = {name: (bound, rest) for name, bound, rest in self._factors() if bound > 1}
        order = "".join(_words(self.permutation, "permutation"))
        for name in factors:
            if order.count(name) != 1:
                text = f"{name} must stand once in it, as it has a factor of {factors[name][0]}"
                raise fault(text, "permutation")
        return [(name, *factors[name]) for name in reversed(order) if name in factors]

    def _factors(self) -> Iterable[tuple[str, int, int]]:
        words = _words(self.factors, "factors")
        seen = set()
        for word in words:
            found = re.fullmatch(r"([A-Za-z])=?([0-9]{1,15})(?:,([0-9]{1,15}))?", word)
            if not found:
                raise fault(f"{shorten(repr(word))} is no factor such as P5, P=5 or P5,1", "factors")
            name, bound, rest = found[1], int(found[2]), int(found[3] or found[2])
            if not 1 <= rest <= bound <= MAX_LOOP:
                text = f"{word}: needed are 1 <= remainder <= factor <= {MAX_LOOP}"
                raise fault(text, "factors")
            if name in seen:
                raise fault(f"{name} has two factors", "factors")
            seen.add(name)
            yield name, bound, rest


def _words(text: Any, key: str) -> list[str]:
    """Return the words of a string or of a list of strings."""
    words = text.split() if isinstance(text, str) else text
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise fault(f"must be text or a list of texts, found {shorten(str(text))}", key)
    return [word for part in words for word in part.split()]


class MappingFile(BaseModel):
    """A file with a mapping; what else it holds is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    mapping: tuple[Directive, ...] = Field(strict=False, min_length=1, max_length=MOST_DIRECTIVES)

    @model_validator(mode="after")
    def _once(self) -> Self:
        seen: set[tuple[int, str]] = set()
        for i, directive in enumerate(self.mapping):
            at: tuple[Step, ...] = ("mapping", i, "target")
            if (directive.number, directive.type) in seen:
                raise fault(f"level {directive.number} has two {directive.type} nests", *at)
            seen.add((directive.number, directive.type))
        return self

    def loops(self) -> list[tuple[Directive, str, int, int]]:
        """Return the loops, outermost first: where they stand, dimension, bound and last remainder."""
        nests = [x for x in self.mapping if x.type in ("temporal", "spatial")]
        nests.sort(key=lambda x: (x.number, x.type == "spatial"))
        return [(nest, *loop) for nest in nests for loop in nest.loops]


def read_mapping(path: str | Path, layer: Layer) -> Mapping:
    """Read the mapping of a layer from a Timeloop mapping whose levels have names as in `mapping_text`.

    Raises
    ------
    InputError
        if the file cannot be read, or its factors do not make up the layer's bounds; names the dimension.
    """
    file = load(path, MappingFile)
    try:
        return mapping_of(file, layer)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def mapping_of(file: MappingFile, layer: Layer) -> Mapping:
    """Return the mapping that a file means for a layer. Raises `InputError` if it is one of another layer."""
    dims = problem_dims(layer)
    loops, last = [], dict.fromkeys(dims, 0)
    for nest, name, bound, rest in file.loops():
        dim = next((dim for dim in dims if dim == name), None)
        if dim is None:
            raise InputError(f"{nest.target}: factors: {name} is no dimension of layer '{layer.name}'")
        loops.append(Loop(dim, bound, (nest.kind if nest.type == "spatial" else None) or "temporal"))
        last[dim] = last[dim] * bound + rest - 1
    for dim, coordinate in last.items():
        if coordinate + 1 != layer.bound(dim):
            reached = f"the factors of {dim} multiply to {coordinate + 1}"
            raise InputError(f"{reached}, and layer '{layer.name}' has {layer.bound(dim)}")
    return Mapping(tuple(loops))
