"""Limits as files and options: reading them, bringing those of each layer together, checking an answer.

docs/limits.md describes the file. Each entry is for a layer or for a pattern of names. What several say of
one layer all holds, or is refused if it cannot.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from hw.hardware import Count, Hardware, Level, LevelDims
from models.network import DIMS, Dim, Layer, LayerBits, Network
from overlapim_files import FileModel, InputError, load, nearest, parse, shorten
from solver.bank_list import BankList, listed_banks
from solver.draft import Draft
from solver.solution import Cycle, LoopRecord, Solution, stated_mapping
from solver.timing.limits import LayerLimits, Limits
from solver.timing.mapping import SPATIAL, Loop, Mapping
from solver.timing.tiles import innermost_read

FORMAT = "overlapim/limits/1"
T = TypeVar("T")

Loops = Annotated[tuple[LoopRecord, ...], Field(strict=False, max_length=1024)]


class KeptMapping(FileModel):
    """A mapping: its loops and load depth, or the solution file that has it."""

    loops: Loops | None = None
    load: Annotated[int, Field(ge=0, le=1024)] | None = None
    solution: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.loops is None) == (self.solution is None):
            raise ValueError("give either loops or the solution that has them")
        if self.solution is not None and self.load is not None:
            raise ValueError("load goes with loops; a solution has its own")
        return self


class LimitEntry(FileModel):
    """What layers of a name, or of names that a pattern matches, may have."""

    layer: Annotated[str, Field(min_length=1, max_length=1000)]
    mapping: KeptMapping | None = None
    loops: Loops | None = None
    most_banks: Count | None = None
    exact_banks: Count | None = None
    banks: Annotated[BankList, Field(min_length=1)] | None = None
    earliest: Cycle | None = None
    spread: LevelDims | None = None
    no_spread: LevelDims | None = None
    bits: LayerBits | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if len(self.model_fields_set) < 2:
            keys = ", ".join(key for key in type(self).model_fields if key != "layer")
            raise ValueError(f"it limits nothing; give one of {keys}")
        return self


class LimitsFile(FileModel):
    """A limits file."""

    format: Literal["overlapim/limits/1"]
    layers: Annotated[tuple[LimitEntry, ...], Field(strict=False, max_length=10_000)]


@dataclass(frozen=True)
class StatedLimit:
    """An entry, where it stands, and the folder that files it names are looked up in."""

    where: str
    entry: LimitEntry
    folder: Path = Path()

    def matching(self, names: Sequence[str]) -> list[str]:
        """Return the layers that the entry is for, of all. Raises InputError if it is for none."""
        found = [x for x in names if x == self.entry.layer or fnmatchcase(x, self.entry.layer)]
        if not found:
            hint = nearest(self.entry.layer, names)
            raise InputError(f"{self.where}: no layer is called '{shorten(self.entry.layer)}'{hint}")
        return found


def limits_file(path: str | Path) -> list[StatedLimit]:
    """Read the entries of a limits file. Raises InputError that names the line and the key."""
    entries = load(path, LimitsFile).layers
    return [StatedLimit(f"{path}: layers[{i}]", x, Path(path).parent) for i, x in enumerate(entries)]


def limit_option(text: str) -> StatedLimit:
    """Return the entry that an option states as LAYER:KEY=VALUE, the value as in a file.

    Raises
    ------
    InputError
        if it is not of that form; says what it would have to be.
    """
    where = f"--limit {shorten(text)}"
    parts = re.fullmatch(r"(.+?):([a-z_]+)=(.+)", text, re.DOTALL)
    keys = [key for key in LimitEntry.model_fields if key != "layer"]
    if parts is None:
        raise InputError(
            f"{where}: must be LAYER:KEY=VALUE, such as conv1:most_banks=4; keys: {', '.join(keys)}"
        )
    layer, key, value = parts.groups()
    if key not in keys:
        raise InputError(f"{where}: there is no limit '{key}'{nearest(key, keys)}")
    return StatedLimit(where, parse(f"layer: {json.dumps(layer)}\n{key}: {value}", LimitEntry, where))


def fixed(layer: str, solution: Path) -> StatedLimit:
    """Return the entry with which layers keep the mappings that they have in a solution file."""
    kept = LimitEntry(layer=layer, mapping=KeptMapping(solution=str(solution)))
    return StatedLimit(f"--fix {shorten(layer)}", kept)


def read_limits(path: str | Path, network: Network, hardware: Hardware) -> Limits:
    """Read the limits of a network's layers from a file.

    Raises
    ------
    InputError
        if the file is not right, no layer is called as it says, or two of its entries contradict each other.
    """
    return bring_together(limits_file(path), network, hardware)


def bring_together(stated: Sequence[StatedLimit], network: Network, hardware: Hardware) -> Limits:
    """Return what entries come to for each layer of a network.

    Raises
    ------
    InputError
        if an entry is for no layer, or two contradict each other; names them.
    """
    names = [layer.name for layer in network.layers]
    entries: dict[str, list[StatedLimit]] = {name: [] for name in names}
    for one in stated:
        for name in one.matching(names):
            entries[name].append(one)
    solutions = _Solutions()
    found = [_of_layer(layer, entries[layer.name], solutions, hardware) for layer in network.layers]
    return Limits(tuple(found)) if stated else Limits()


class _Solutions:
    """Solution files that entries name, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, Draft] = {}

    def mapping(self, one: StatedLimit, layer: Layer) -> Mapping | None:
        """Return the mapping that an entry keeps for a layer, None if it keeps none."""
        kept = one.entry.mapping
        if kept is None:
            return None
        if kept.loops is not None:
            return _plain(layer, stated_mapping(kept.loops, kept.load))
        path = one.folder / str(kept.solution)
        if path not in self._read:
            self._read[path] = load(path, Draft)
        layers = self._read[path].layers
        if layer.name not in layers:
            raise InputError(f"{one.where}: {path} has no layer '{layer.name}'{nearest(layer.name, layers)}")
        record = layers[layer.name]
        return _plain(layer, stated_mapping(record.loops, record.load))


def _plain(layer: Layer, mapping: Mapping) -> Mapping:
    """Return a mapping with the load depth left out if it is what it would be anyway."""
    usual = mapping.load is not None and mapping.load == innermost_read(layer, mapping)
    return replace(mapping, load=None) if usual else mapping


def _of_layer(
    layer: Layer, stated: Sequence[StatedLimit], solutions: _Solutions, hardware: Hardware
) -> LayerLimits:
    """Return what the entries for a layer come to."""
    if not stated:
        return LayerLimits()
    mapping = _agreed(layer, "mapping", [(x.where, solutions.mapping(x, layer)) for x in stated])
    loops = _agreed(layer, "loops", [(x.where, _loops(x.entry)) for x in stated])
    exact = _agreed(layer, "exact_banks", [(x.where, x.entry.exact_banks) for x in stated])
    bits = _agreed(layer, "bits", [(x.where, x.entry.bits) for x in stated])
    banks = _agreed(layer, "banks", [(x.where, _numbers(x, layer, hardware)) for x in stated])
    most = [x.entry.most_banks for x in stated if x.entry.most_banks is not None]
    return LayerLimits(
        mapping=mapping,
        loops=loops or (),
        most_banks=min(most, default=None),
        exact_banks=exact,
        banks=banks or (),
        bits=bits,
        earliest=max(x.entry.earliest or 0 for x in stated),
        spread=LevelDims(**{level: _dims(level, [x.entry for x in stated], hardware) for level in SPATIAL}),
    )


def _agreed(layer: Layer, key: str, values: Sequence[tuple[str, T | None]]) -> T | None:
    """Return the one value that entries state; None if none does."""
    given = [(where, value) for where, value in values if value is not None]
    for where, value in given[1:]:
        if value != given[0][1]:
            raise InputError(
                f"{where}: {key} of layer '{layer.name}' is otherwise in {given[0][0]}; leave one out"
            )
    return given[0][1] if given else None


def _loops(entry: LimitEntry) -> tuple[Loop, ...] | None:
    return None if entry.loops is None else stated_mapping(entry.loops, None).loops


def _numbers(one: StatedLimit, layer: Layer, hardware: Hardware) -> tuple[int, ...] | None:
    """Return the numbers of the banks that an entry gives, ascending; refuses what no mapping can have."""
    if one.entry.banks is None:
        return None
    where = f"{one.where}: banks of layer '{layer.name}'"
    banks = sorted(listed_banks(one.entry.banks, hardware, where).tolist())
    if twice := [a for a, b in pairwise(banks) if a == b]:
        raise InputError(f"{where}: bank {twice[0]} is there twice; name each once")
    counts = Counter(bank // hardware.banks_per_channel for bank in banks)
    if len(set(counts.values())) > 1:
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        raise InputError(
            f"{where}: {counts[many]} of channel {many} and {counts[few]} of channel {few}, and a layer has "
            f"as many in each; {counts[few]} of each would do"
        )
    return tuple(banks)


def _dims(level: Level, entries: Sequence[LimitEntry], hardware: Hardware) -> tuple[Dim, ...] | None:
    """Return the dims that all entries together leave a level, None if none of them speaks of it."""
    may = [dims for x in entries if x.spread and (dims := getattr(x.spread, level)) is not None]
    not_over = [dims for x in entries if x.no_spread and (dims := getattr(x.no_spread, level)) is not None]
    if not may and not not_over:
        return None
    every = [dim for dim in DIMS if hardware.may_spread(level, dim)]
    kept = (dim for dim in every if all(dim in own for own in may))
    return tuple(dim for dim in kept if not any(dim in own for own in not_over))


# An answer


def broken_limit(limits: Limits, solution: Solution) -> str | None:
    """Return which limit a solution does not keep to, None if it keeps to all; asks the solution alone."""
    for layer, own in zip(solution.network.layers, limits.layers, strict=False):
        record = solution.layers[layer.name]
        mapping = _plain(layer, stated_mapping(record.loops, record.load))
        used = sorted(listed_banks(record.banks, solution.hardware, layer.name).tolist())
        for key, kept in _kept(own, layer, mapping, used, record.start):
            if not kept:
                return f"layer '{layer.name}' does not keep to its limit {key}"
    return None


def _kept(
    own: LayerLimits, layer: Layer, mapping: Mapping, banks: Sequence[int], start: int
) -> Iterator[tuple[str, bool]]:
    """Yield each limit that is given, and whether it is kept."""
    if own.bits is not None:
        yield "bits", layer.bits == own.bits
    if own.mapping is not None:
        yield "mapping", mapping == own.mapping
    if own.loops:
        parts = [[x for x in own.loops if x.dim == dim] for dim in DIMS]
        parts.append([x for x in own.loops if x.kind == "temporal"])
        yield "loops", all(_in_order(part, mapping.loops) for part in parts)
    if own.most_banks is not None:
        yield "most_banks", len(banks) <= own.most_banks
    if own.exact_banks is not None:
        yield "exact_banks", len(banks) == own.exact_banks
    if own.banks:
        yield "banks", tuple(banks) == own.banks
    yield "earliest", start >= own.earliest
    for level in SPATIAL:
        dims = getattr(own.spread, level)
        over = {loop.dim for loop in mapping.loops if loop.kind == level}
        yield f"spread of {level}", dims is None or over <= set(dims)


def _in_order(part: Sequence[Loop], loops: Sequence[Loop]) -> bool:
    """Whether some loops come up one after the other among all."""
    left = iter(loops)
    return all(loop in left for loop in part)
