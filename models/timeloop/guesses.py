"""What extents leave open of a network: residuals where there is one way, and notes on the rest."""

from __future__ import annotations

from itertools import pairwise

from models.checks import Shape
from models.notes import Note
from models.timeloop.contraction import Contraction
from models.timeloop.joining import Joining, added_operand, adds_up
from overlapim_files import shorten


def _readers(chain: Joining) -> dict[str, list[str]]:
    """Return of each layer those that read it."""
    readers: dict[str, list[str]] = {layer: [] for layer in chain.made}
    for layer, operands in chain.operands.items():
        for operand in operands:
            if operand.producer in readers:
                readers[operand.producer].append(layer)
    return readers


def _alike(chain: Joining) -> dict[Shape, list[str]]:
    """Return the layers whose outputs have one shape, of each shape."""
    alike: dict[Shape, list[str]] = {}
    for layer in chain.made:
        alike.setdefault(chain.shapes[layer], []).append(layer)
    return alike


def add_residuals(chain: Joining) -> list[Note]:
    """Add outputs that nobody reads to the output that is read instead of them, where that is one way only.

    A layer reads the nearest output that fits. If the one just before that, of the same shape, has no other
    reader, their sum is what remains; unless there are more such, which may as well be something else.
    """
    notes, readers = [], _readers(chain)
    for layers in _alike(chain).values():
        for place in range(1, len(layers)):
            before, other, layer = layers[max(place - 2, 0) : place - 1], layers[place - 1], layers[place]
            taken = any(chain.guessed.get(reader) == layer for reader in readers[layer])
            several = any(not readers[x] for x in before)
            if readers[other] or several or not taken or not adds_up(chain.made[layer]):
                continue
            if layer in chain.edges.reads or other in chain.edges.reads:
                continue
            chain.operands[layer] += (added_operand(chain, layer, other),)
            text = f"is added to what {shorten(layer)} computes: outputs alike, and no other reader fits"
            notes.append(Note(other, "residual", text, None))
    return notes


def unread_notes(chain: Joining) -> list[Note]:
    """Say which layers nobody reads, but for the last one, which is an output of the network."""
    readers, last = _readers(chain), [*chain.made][-1]
    text = "nobody reads it, as far as shapes tell; --edges can say who does"
    return [Note(layer, "unread", text, None) for layer in chain.made if not readers[layer] and layer != last]


def ambiguous_notes(chain: Joining) -> list[Note]:
    """Say in one note how many layers may as well read something else than the nearest that fits.

    Of convolutions only those are counted that may pass over an output without leaving it unread; of
    products of matrices all, since projections of the same tokens often stand in a row.
    """
    before = {x: other for layers in _alike(chain).values() for other, x in pairwise(layers)}
    inputs = {shape: name for name, shape in chain.inputs.items()}
    found = []
    for layer, producer in chain.guessed.items():
        other = before.get(producer) or inputs.get(chain.shapes[producer])
        first, *added = (x.producer for x in chain.operands[producer])
        if other and other not in added and (other != first or _is_of_tokens(chain.made[layer])):
            found.append((layer, producer, other))
    if not found:
        return []
    layer, producer, other = found[0]
    more = f"; so can {len(found) - 1} more, each another" if len(found) > 1 else ""
    text = f"reads {shorten(producer)}, the nearest, but can as well read {shorten(other)}{more}"
    return [Note(layer, "ambiguous", text, None)]


def _is_of_tokens(made: Contraction) -> bool:
    """Return whether a layer is a product of matrices, of which one has rows."""
    return "P" in made.dims and not {"Q", "R", "S"} & made.dims.keys()
