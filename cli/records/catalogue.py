"""What chips and networks add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw.hardware import Hardware
from models.layer import Dim
from models.network import Layer, Network

if TYPE_CHECKING:
    from models.notes import Note


@dataclass(frozen=True)
class ChipSummary:
    """What a chip adds up to; `rows` are bits of a lane, `peak` multiply-accumulates per second."""

    name: str
    channels: int
    banks: int
    lanes: int
    rows: int
    mac_cycles: int
    weights: str
    capacity_bits: int
    peak: float


@dataclass(frozen=True)
class NetworkSummary:
    """What a network adds up to.

    Attributes
    ----------
    cached : keys and values of a language model that lie in the banks beside the `weights`.
    tokens : of one run of a language model; None of other networks.
    inputs, outputs : their shapes.
    notes : on nodes of an ONNX file.
    """

    name: str
    layers: int
    macs: int
    weights: int
    cached: int
    tokens: int | None
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class LayerSummary:
    """A layer as `models show` lists it; dims of bound 1 are left out."""

    name: str
    dims: dict[Dim, int]
    output: tuple[int, ...]
    macs: int
    weights: int
    reads: tuple[str, ...]


def chip_summary(chip: Hardware) -> ChipSummary:
    """Return what a chip adds up to."""
    return ChipSummary(
        name=chip.name,
        channels=chip.channels,
        banks=chip.banks,
        lanes=chip.lanes,
        rows=chip.rows_per_bank,
        mac_cycles=chip.mac_cycles,
        weights=chip.weights,
        capacity_bits=chip.lanes * chip.rows_per_bank,
        peak=chip.lanes / (chip.mac_cycles * chip.clock_ns * 1e-9),
    )


def network_summary(network: Network) -> NetworkSummary:
    """Return what a network adds up to."""
    layers = zip(network.layers, network.consumers, strict=True)
    return NetworkSummary(
        name=network.name,
        layers=len(network.layers),
        macs=network.macs,
        weights=network.weights,
        cached=network.cached,
        tokens=network.tokens,
        inputs={x.name: x.shape for x in network.inputs},
        outputs={layer.name: layer.shape for layer, consumers in layers if not consumers},
    )


def layer_summary(layer: Layer) -> LayerSummary:
    """Return a layer as `models show` lists it."""
    return LayerSummary(
        name=layer.name,
        dims={dim: bound for dim, bound in layer.dims.items() if bound > 1},
        output=layer.shape,
        macs=layer.macs,
        weights=layer.weights,
        reads=tuple(dict.fromkeys(operand.producer for operand in layer.operands)),
    )
