"""Whether shapes fit on a chip side by side, decided by CP-SAT where the quick way finds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hw.hardware import Hardware
from solver.params import ModelParams
from solver.schedule.banks import NONE_GIVEN, Banks, pack
from solver.schedule.bins import banks_of, bins_of, item_of
from solver.schedule.packing import find
from solver.stop import Flag, Stop
from solver.timing.profile import Profile


def packed(
    hardware: Hardware,
    profiles: Sequence[Profile],
    params: ModelParams = ModelParams(),
    given: Mapping[int, Sequence[int]] = NONE_GIVEN,
    interrupt: Flag | None = None,
) -> tuple[Sequence[Banks] | None, bool]:
    """Return banks of its own for every layer, and whether it is proven that there are none.

    Parameters
    ----------
    given : the banks of some layers, which are theirs.
    interrupt : when set, the question stays open.
    """
    quick = pack(hardware, profiles, given)
    if quick is not None:
        return quick, False
    apart = hardware.with_weights("static")
    mappings = [profile.mapping for i, profile in enumerate(profiles) if i not in given]
    items = [item_of(apart, (x.channels, x.banks_per_channel), 0, 0) for x in mappings]
    stop = Stop() if interrupt is None else Stop(interrupt=interrupt)
    found = find(bins_of(apart, given), [[item] for item in items], params.packing_effort, stop)
    if found.packed is None:
        return None, found.impossible
    return banks_of(apart, items, found.packed.places, given), False
