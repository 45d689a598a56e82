"""The mappings of a solution on another chip: where a search may begin."""

from __future__ import annotations

import numpy as np

from hw.hardware import Hardware
from overlapim_files import InputError, parse
from solver.bank_list import bank_list, listed_banks
from solver.draft import Draft, DraftLayer, completed
from solver.schedule.banks import Banks
from solver.schedule.plan import Plan
from solver.solution import LayerRecord, Solution
from solver.timing.problem import Problem


def retargeted(text: str, problem: Problem) -> Plan | None:
    """Return a plan with the mappings of a solution and, channel by channel, banks of the same numbers.

    Parameters
    ----------
    text : of a solution file, of the same network on another chip.

    Returns
    -------
    None if they do not fit.
    """
    try:
        known = parse(text, Solution, "solution.yaml")
        layers = {
            name: _layer(layer, known.hardware, problem.hardware) for name, layer in known.layers.items()
        }
        draft = Draft(
            format="overlapim/solution/1", network=problem.network, hardware=problem.hardware, layers=layers
        )
        return completed(draft)[1].plan
    except InputError:
        return None


def _layer(layer: LayerRecord, own: Hardware, other: Hardware) -> DraftLayer:
    banks = moved_banks(listed_banks(layer.banks, own, "banks"), own, other)
    return DraftLayer(loops=layer.loops, load=layer.load, banks=bank_list(banks, other))


def moved_banks(banks: Banks, own: Hardware, other: Hardware) -> Banks:
    """Return the banks of the same numbers in the same channels. Raises InputError if there are none."""
    channels, numbers = np.divmod(banks, own.banks_per_channel)
    if channels.max() >= other.channels or numbers.max() >= other.banks_per_channel:
        raise InputError("the other chip has fewer banks")
    return channels * other.banks_per_channel + numbers
