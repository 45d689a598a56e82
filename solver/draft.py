"""Solutions in which not all is stated: mappings and banks made by hand, whose times follow from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import FileModel, InputError, nearest
from solver.bank_list import BankList
from solver.maxplus.latest import postpone
from solver.schedule.plan import Plan, in_turn
from solver.schedule.transform import advance
from solver.solution import (
    BlockNumber,
    Cycle,
    LoopRecord,
    Recomputed,
    Solution,
    check_banks,
    check_holders,
    from_plan,
    recompute,
    stated_banks,
    stated_mapping,
)
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate
from solver.timing.validity import check_mapping


class DraftLayer(FileModel):
    """What a draft says of one layer; `start` and `end` are read over."""

    loops: tuple[LoopRecord, ...] = Field(strict=False, max_length=1024)
    load: Annotated[int, Field(ge=0, le=1024)] | None = None
    banks: BankList
    release: Cycle | None = None
    start: Any = None
    end: Any = None
    order: tuple[BlockNumber, ...] | None = Field(default=None, strict=False)


class Draft(FileModel):
    """A solution file of which network, hardware, mappings and banks count, and releases if it has them."""

    format: Literal["overlapim/solution/1"]
    network: Network
    hardware: Hardware
    latency: Any = None
    bound: Any = None
    bound_scope: Any = None
    status: Any = None
    interval: Any = None
    energy_pj: Any = None
    method: str = "by hand"
    seed: int = 0
    layers: dict[str, DraftLayer]


def completed(draft: Draft) -> tuple[Solution, Recomputed]:
    """Return the solution that a draft comes to, and what came out when it was computed anew as a check.

    Releases that it gives are kept. If it gives none, layers take their banks in the order of the network,
    as early as these and their data allow, and start as late as their ends let them.

    Raises
    ------
    InputError
        if a layer is missing, a mapping is not valid, or banks or orders are not as they must be; names the
        layer.
    """
    problem = Problem(draft.network, draft.hardware)
    names = list(draft.network.index)
    for name in (*draft.layers, *names):
        if name not in names:
            raise InputError(f"layers: '{name}' is no layer of the network{nearest(name, names)}")
        if name not in draft.layers:
            raise InputError(f"layers: '{name}' is missing")
    records = [draft.layers[layer.name] for layer in problem.layers]
    mappings = [stated_mapping(record.loops, record.load) for record in records]
    for layer, mapping in zip(problem.layers, mappings, strict=True):
        check_mapping(layer, mapping, problem.hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(mappings)]
    banks = stated_banks(problem, [record.banks for record in records])
    check_banks(problem, mappings, banks)
    orders = [None if record.order is None else np.array(record.order, np.int64) for record in records]
    releases = [record.release for record in records if record.release is not None]
    if releases and len(releases) < len(records):
        without = next(x.name for x, own in zip(problem.layers, records, strict=True) if own.release is None)
        raise InputError(
            f"layer '{without}' has no release, but others have: give one to all layers or to none"
        )
    if releases:
        plan = Plan(evaluate(problem, profiles, releases, orders), banks)
        check_holders(problem, plan.timeline, banks)
    else:
        apart = in_turn(problem, profiles, banks).releases
        plan = postpone(problem, advance(problem, Plan(evaluate(problem, profiles, apart, orders), banks)))
    solution = from_plan(problem, plan, draft.method, draft.seed)
    found = recompute(solution)
    if found.differences:
        raise RuntimeError(found.differences[0])
    return solution, found
