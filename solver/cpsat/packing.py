"""Whether shapes fit on a chip side by side, decided by CP-SAT where the quick way finds nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hw.hardware import Hardware
from solver.params import ModelParams
from solver.schedule.banks import Banks, pack
from solver.schedule.bins import banks_of, bins_of, item_of
from solver.schedule.packing import find
from solver.stop import Flag, Stop
from solver.timing.profile import Profile


def packed(
    hardware: Hardware,
    profiles: Sequence[Profile],
    params: ModelParams = ModelParams(),
    interrupt: Flag | None = None,
) -> tuple[list[Banks] | None, bool]:
    """Return banks of its own for every layer, and whether it is proven that there are none.

    Parameters
    ----------
    interrupt : when set, the question stays open.
    """
    quick = pack(hardware, profiles)
    if quick is not None:
        return quick, False
    apart = hardware.with_weights("static")
    items = [item_of(apart, (p.mapping.channels, p.mapping.banks_per_channel), 0, 0) for p in profiles]
    stop = Stop() if interrupt is None else Stop(interrupt=interrupt)
    found = find(bins_of(apart), [[item] for item in items], params.packing_effort, stop)
    if found.packed is None:
        return None, found.impossible
    return banks_of(apart, items, found.packed.places), False
