"""A batch of inferences as one network, and one inference of a batch."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from models.network import Network
from overlapim_files import InputError


def batched(network: Network, count: int) -> Network:
    """Return the network of so many inferences at once, each of which reads its own elements.

    Raises
    ------
    InputError
        if the network has a batch already, or would be too large; names the layer or the limit.
    """
    for given in network.inputs:
        if given.shape[0] > 1:
            raise InputError(f"--batch: input '{given.name}' has a batch of {given.shape[0]} already")
    for layer in network.layers:
        if layer.bound("N") > 1:
            raise InputError(f"--batch: layer '{layer.name}' has a batch of {layer.bound('N')} already")
        if any(operand.axes.n.offset or operand.axes.n.windows for operand in layer.operands):
            raise InputError(f"--batch: layer '{layer.name}' does not read its axis n as it stands")
    record = _record(network)
    record["name"] = f"{network.name}, batch of {count}"
    for layer_record in record["layers"]:
        layer_record["dims"]["N"] = count
        for operand_record in layer_record["operands"]:
            operand_record.setdefault("axes", {})["n"] = {"terms": {"N": 1}}
    for input_record in record["inputs"]:
        input_record["shape"] = [count, *input_record["shape"][1:]]
    try:
        return Network.model_validate(record)
    except ValidationError as error:
        raise InputError(
            f"--batch: {count} inferences of '{network.name}': {error.errors()[0]['msg']}"
        ) from None


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
    record = _record(network)
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


def _record(network: Network) -> dict[str, Any]:
    return network.model_dump(mode="json", by_alias=True, exclude_none=True)
