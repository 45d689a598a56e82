"""A network on a chip: the pair that every method is given, with each operand compiled for arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hw.hardware import Hardware
from models.network import AXES, DIMS, Flatten, Layer, Network, Operand
from overlapim_files import InputError
from solver import core
from solver.timing.limits import UNLIMITED, Limits
from solver.timing.mapping import Mapping
from solver.timing.objective import LATENCY, Objective
from solver.timing.profile import MAX_LATENCY, Profile, profile
from solver.timing.validity import valid
from solver.timing.windows import CompiledWindow, Interval, compile_windows, window_interval

Windows = tuple[CompiledWindow, ...]
GroupKey = tuple[tuple[int, ...], tuple[tuple[int, int], ...], int, tuple[int, ...], tuple[Windows, ...]]
"""What a group is made of: axes, terms, offset, extents and windows."""


@dataclass(frozen=True, eq=False)
class Group:
    """One affine form of an operand and the producer axes that it alone decides.

    Attributes
    ----------
    axes : positions in `AXES`; one, or the three of a flattened read.
    terms : (position in `DIMS`, coefficient) of each dim of the form.
    extents : extents over which the form ranges, one for each axis.
    windows : for each axis its windows, in the order in which they apply.
    """

    axes: tuple[int, ...]
    terms: tuple[tuple[int, int], ...]
    offset: int
    extents: tuple[int, ...]
    windows: tuple[Windows, ...]

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """Positions in `DIMS` of the dims of the form."""
        return tuple(dim for dim, _ in self.terms)

    @cached_property
    def intervals(self) -> tuple[Interval | None, ...]:
        """What each value of the form reads on each axis; None where a value is its own coordinate."""
        return tuple(
            window_interval(extent, windows) if windows else None
            for extent, windows in zip(self.extents, self.windows, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Edge:
    """One operand that reads a layer.

    Attributes
    ----------
    producer : its position in the network.
    residual : whether it is added to the results, and so read only by the blocks that finish them.
    """

    producer: int
    operand: Operand
    groups: tuple[Group, ...]
    residual: bool

    @cached_property
    def compiled(self) -> Any:
        """The operand as the compiled core takes it."""
        assert core.native is not None
        groups = [(g.axes, g.terms, g.offset, g.extents, g.intervals) for g in self.groups]
        return core.native.Edge(groups, self.residual)

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what belongs to one process."""
        return {name: own for name, own in self.__dict__.items() if name != "compiled"}


def operand_groups(
    operand: Operand, shape: tuple[int, int, int, int], known: dict[GroupKey, Group]
) -> tuple[Group, ...]:
    """Return the groups of an operand that reads a tensor of this shape; of equal ones the known one."""
    groups = []
    for names, form in operand.forms():
        axes = tuple(AXES.index(name) for name in names)
        if isinstance(form, Flatten):
            extents: tuple[int, ...] = form.shape
        else:
            extents = (form.extent or shape[axes[0]],)
        windows = tuple(
            compile_windows(operand.axes[name], shape[axis]) for name, axis in zip(names, axes, strict=True)
        )
        terms = tuple((DIMS.index(dim), coefficient) for dim, coefficient in form.terms.items())
        made = axes, terms, form.offset, extents, windows
        groups.append(known.setdefault(made, Group(*made)))
    return tuple(groups)


@dataclass(frozen=True, eq=False)
class Problem:
    """A network and a chip, what layers may have of it, and what plans are compared by.

    The network's layers have the bits that limits give them.
    """

    network: Network
    hardware: Hardware
    objective: Objective = LATENCY
    limits: Limits = UNLIMITED

    def __post_init__(self) -> None:
        """Give the layers the bits that limits say."""
        network, limits = self.limits.applied(self.network)
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "limits", limits)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the network, in the order of the file."""
        return self.network.layers

    @cached_property
    def chips(self) -> tuple[Hardware, ...]:
        """For each layer the chip as its mappings may use it: the whole one unless limits say otherwise."""
        chips = {own: own.chip(self.hardware) for own in self.limits.layers}
        return tuple(chips.get(self.limits.of(i), self.hardware) for i in range(len(self.layers)))

    @property
    def free(self) -> bool:
        """Whether there are no limits of layers."""
        return not self.limits.layers

    @cached_property
    def earliest(self) -> tuple[int, ...]:
        """For each layer the cycle before which it may not start."""
        return tuple(self.limits.of(i).earliest for i in range(len(self.layers)))

    @cached_property
    def given_banks(self) -> dict[int, tuple[int, ...]]:
        """The banks of the layers whose banks are given, by layer."""
        return {i: own.banks for i, own in enumerate(self.limits.layers) if own.banks}

    def allows(self, layer: int, mapping: Mapping) -> bool:
        """Whether limits allow a layer a mapping that is valid on its own chip."""
        return self.free or self.limits.of(layer).allow(mapping, self.hardware)

    def permits(self, layer: int, mapping: Mapping) -> bool:
        """Whether a layer may have a mapping: it is valid, and limits allow it."""
        return valid(self.layers[layer], mapping, self.chips[layer]) and self.allows(layer, mapping)

    @cached_property
    def edges(self) -> tuple[tuple[Edge, ...], ...]:
        """For each layer the operands that read other layers; what reads alike has the very same groups."""
        index, shapes = self.network.index, self.network.shapes
        known: dict[GroupKey, Group] = {}
        return tuple(
            tuple(
                Edge(index[x.producer], x, operand_groups(x, shapes[x.producer], known), residual)
                for x, residual in zip(layer.operands, layer.is_residual, strict=True)
                if x.producer in index
            )
            for layer in self.layers
        )

    @cached_property
    def readers(self) -> tuple[tuple[tuple[int, Edge], ...], ...]:
        """For each layer the layers that read it, and how."""
        found: list[list[tuple[int, Edge]]] = [[] for _ in self.layers]
        for consumer, edges in enumerate(self.edges):
            for edge in edges:
                found[edge.producer].append((consumer, edge))
        return tuple(map(tuple, found))

    @cached_property
    def compiled(self) -> Any:
        """The reads between the layers as the compiled core takes them."""
        assert core.native is not None
        sources = [[(edge.producer, edge.compiled) for edge in edges] for edges in self.edges]
        return core.native.Network(sources, self.network.topological, self.hardware.cycles.transfer)

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what belongs to one process."""
        return {name: own for name, own in self.__dict__.items() if name != "compiled"}

    def profile(self, layer: int, mapping: Mapping) -> Profile:
        """Profile a valid mapping of a layer.

        Raises
        ------
        InputError
            if the layer would take longer than 64-bit arithmetic can add up over the network.
        """
        result = profile(self.layers[layer], mapping, self.hardware)
        limit = MAX_LATENCY // len(self.layers)
        if result.total > limit:
            name = self.layers[layer].name
            raise InputError(
                f"layer '{name}': {result.total} cycles, more than the {limit} that can be handled"
            )
        return result
