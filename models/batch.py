"""A batch of inferences as one network, and one inference of a batch.

Weights serve all inferences of a batch, and one layer computes them all. A cache of keys or values belongs to
one of them. So a layer that reads one stands there once for each inference, with weights of its own.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from pydantic import ValidationError

from models.network import MAX_LAYERS, Network
from overlapim_files import InputError

_Fields = dict[str, Any]


def batched(network: Network, count: int) -> Network:
    """Return the network of so many inferences at once; each reads its own elements and its own cache.

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
    caches = {layer.name for layer in network.layers if layer.cache}
    layers = len(network.layers) + (count - 1) * len(caches)
    if layers > MAX_LAYERS:
        text = f"{count} inferences of '{network.name}' are {layers} layers, as each has its own caches"
        raise InputError(f"--batch: {text}; the limit is {MAX_LAYERS}")
    record = _record(network)
    record["name"] = f"{network.name}, batch of {count}"
    if network.tokens is not None:
        record["tokens"] = network.tokens * count
    record["layers"] = [
        own
        for layer in record["layers"]
        for own in (
            _copies(layer, count, caches) if layer["name"] in caches else [_all(layer, count, caches)]
        )
    ]
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


def _all(layer: _Fields, count: int, caches: Set[str]) -> _Fields:
    """Return the layer that computes all inferences."""
    operands = []
    for i, operand in enumerate(layer["operands"]):
        if operand["from"] in caches:
            operands += _parts(operand, count, f"inferences {i}")
        else:
            operands.append(_reading(operand, {"terms": {"N": 1}}))
    return layer | {"dims": layer["dims"] | {"N": count}, "operands": operands}


def _parts(operand: _Fields, count: int, concat: str) -> list[_Fields]:
    """Return how the outputs of the copies of a layer are read: as one tensor, an inference of each."""
    named = {"concat": concat} | operand
    return [
        _reading(named, {"terms": {"N": 1}, "offset": -i}) | {"from": _copy(operand["from"], i)}
        for i in range(count)
    ]


def _copies(layer: _Fields, count: int, caches: Set[str]) -> list[_Fields]:
    """Return a layer for each inference."""

    def own(operand: _Fields, i: int) -> _Fields:
        if operand["from"] in caches:
            return operand | {"from": _copy(operand["from"], i)}
        return _reading(operand, {"offset": i})

    return [
        layer | {"name": _copy(layer["name"], i), "operands": [own(x, i) for x in layer["operands"]]}
        for i in range(count)
    ]


def _copy(name: str, i: int) -> str:
    """Return the name of the layer of one inference."""
    return f"{name}.{i}"


def _reading(operand: _Fields, n: _Fields) -> _Fields:
    """Return an operand that reads its axis n so."""
    return operand | {"axes": operand.get("axes", {}) | {"n": n}}


def _record(network: Network) -> _Fields:
    return network.model_dump(mode="json", by_alias=True, exclude_none=True)
