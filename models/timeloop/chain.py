"""Layers without producers as a network: which reads which, as edges say or as their extents tell.

The rules are in docs/timeloop.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from models.layer import Axes
from models.network import FORMAT, Layer, Network, NetworkInput
from models.notes import Note
from models.timeloop.contraction import Contraction
from models.timeloop.edges import Edges, Sources
from models.timeloop.guesses import add_residuals, ambiguous_notes, unread_notes
from models.timeloop.joining import (
    Joining,
    added_operand,
    factor_operand,
    fault_of,
    given_operands,
    nearest_operand,
)
from overlapim_files import InputError, nearest


@dataclass(frozen=True)
class Chained:
    """A network, and what had to be guessed or cannot be known of it."""

    network: Network
    notes: tuple[Note, ...]


def chained(
    name: str,
    made: Mapping[str, Contraction],
    source: str,
    edges: Edges,
    factors: Mapping[str, Axes] | None = None,
) -> Chained:
    """Return layers as a network.

    A layer reads what its edges say; else the nearest one before it that fits, or an input of its own.

    Parameters
    ----------
    made : what each layer computes, in their order.
    source : stands for the files in errors.
    factors : how layers read what stands for their weights, of those of which extents need not tell.

    Raises
    ------
    InputError
        if an edge joins what does not go together, or the layers make no network.
    """
    shapes = {layer: x.shape for layer, x in made.items()}
    chain = Joining(made, edges, source, shapes, factors or {})
    _check_names(chain)
    for layer, sources in ((layer, edges.reads.get(layer, Sources())) for layer in made):
        reads = given_operands(chain, layer, sources) or nearest_operand(chain, layer)
        reads += factor_operand(chain, layer, sources)
        chain.operands[layer] = (*reads, *(added_operand(chain, layer, other) for other in sources.add))
        chain.latest.pop(chain.shapes[layer], None)
        chain.latest[chain.shapes[layer]] = layer
    notes = (*add_residuals(chain), *unread_notes(chain), *ambiguous_notes(chain))
    try:
        layers = [Layer(name=x, dims=made[x].dims, operands=chain.operands[x]) for x in made]
        inputs = [NetworkInput(name=x, shape=shape) for x, shape in chain.inputs.items()]
        found = Network(format=FORMAT, name=name, inputs=tuple(inputs), layers=tuple(layers))
    except ValidationError as error:
        raise InputError(f"{source}: {error.errors()[0]['msg']}") from None
    return Chained(found, notes)


def _check_names(chain: Joining) -> None:
    """Check that the edges speak of layers and inputs that there are."""
    known = dict.fromkeys((*chain.made, *chain.edges.inputs))
    for layer, sources in chain.edges.reads.items():
        if layer not in chain.made:
            raise fault_of(chain, layer, f"there is no such layer{nearest(layer, chain.made)}")
        for other in sources.names:
            if other not in known:
                raise fault_of(chain, layer, f"there is no layer or input {other!r}{nearest(other, known)}")
        if inner := next((x for x in (*sources.concat, sources.times) if x in chain.edges.inputs), None):
            text = f"input {inner!r} can be read or added, but be no part of a concatenation and no weights"
            raise fault_of(chain, layer, text)
