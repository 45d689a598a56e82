"""Batches from one inference: its network, and its plan with the loop over the batch outside all others."""

from __future__ import annotations

from pydantic import ValidationError

from models.network import Network
from solver.mapspace.pools import lifted
from solver.schedule.plan import Plan, by_start, overlap_shared, overlap_static
from solver.timing.problem import Problem
from solver.timing.validity import problems


def single(network: Network) -> Network | None:
    """Return the network of one inference; None if it has no batch, or if one cannot be told apart."""
    batches = {layer.bound("N") for layer in network.layers}
    if len(batches) > 1 or batches == {1}:
        return None
    for layer in network.layers:
        for operand in layer.operands:
            n = operand.axes.n
            if n.terms != {"N": 1} or n.offset or n.windows:
                return None
    record = network.model_dump(mode="json", by_alias=True, exclude_none=True)
    for layer_record in record["layers"]:
        layer_record["dims"].pop("N")
        for operand_record in layer_record["operands"]:
            operand_record["axes"]["n"].pop("extent", None)
    for network_input in record["inputs"]:
        network_input["shape"] = [1, *network_input["shape"][1:]]
    try:
        return Network.model_validate(record)
    except ValidationError:
        return None


def lift(problem: Problem, plan: Plan) -> Plan | None:
    """Return the plan of a batch whose layers take one inference after the other; None if it is not valid."""
    mappings = [
        lifted(p.mapping, layer.bound("N")) for p, layer in zip(plan.profiles, problem.layers, strict=True)
    ]
    if any(
        problems(layer, own, problem.hardware) for layer, own in zip(problem.layers, mappings, strict=True)
    ):
        return None
    profiles = [problem.profile(i, own) for i, own in enumerate(mappings)]
    if problem.hardware.weights == "static":
        return overlap_static(problem, profiles)
    line = by_start(problem, plan)
    return overlap_shared(problem, profiles, line, frozenset(line))
