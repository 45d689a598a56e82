"""What integers have not read, or operators lose: valid values stand in for it, and what needs it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper
from test_operators import solved, weight

from models.onnx.graph import Choices
from overlapim_files import InputError
from solver.execute.check import check_execution
from solver.execute.missing import another
from solver.execute.numbers import draw_numbers
from solver.execute.operators import draw_inputs, load_model, run_blocks, run_whole
from solver.execute.run import Executed, execute
from solver.execute.schedule import stated
from solver.timing.infinity import INFINITY

Nodes = list[tuple[str, str, str, dict[str, Any]]]


def _saved(nodes: Nodes, inputs: dict[str, tuple[int, list[int]]], weights: list[Any], path: Path) -> Path:
    made = [helper.make_node(op, read.split(), [out], name=out, **keys) for op, read, out, keys in nodes]
    given = [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
    outputs = [onnx.ValueInfoProto(name=nodes[-1][2])]
    graph = helper.make_graph(made, "graph", given, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _tokens(path: Path) -> Path:
    """Tokens and their kinds are looked up, those that a mask leaves out are zero."""
    nodes: Nodes = [
        ("Gather", "table ids", "found", {}),
        ("Cast", "mask", "kept", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", "kept last", "column", {}),
        ("Mul", "found column", "masked", {}),
        ("MatMul", "masked w1", "first", {}),
        ("Relu", "first", "relu", {}),
        ("MatMul", "relu w2", "second", {}),
    ]
    inputs = {name: (TensorProto.INT64, [1, 12]) for name in ("ids", "mask")}
    last = numpy_helper.from_array(np.array([2]), "last")
    return _saved(nodes, inputs, [weight("table", 3, 8), weight("w1", 8, 8), weight("w2", 8, 4), last], path)


def _quantised(path: Path) -> Path:
    """Between two convolutions there are integers of eight bits."""
    nodes: Nodes = [
        ("Conv", "x w1", "first", {"pads": [1, 1, 1, 1]}),
        ("QuantizeLinear", "first scale zero", "bytes", {}),
        ("MaxPool", "bytes", "pool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("DequantizeLinear", "pool scale zero", "numbers", {}),
        ("Conv", "numbers w2", "second", {"pads": [1, 1, 1, 1]}),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0.02), "scale"),
        numpy_helper.from_array(np.int8(3), "zero"),
    ]
    weights = [weight("w1", 4, 2, 3, 3), weight("w2", 4, 4, 3, 3), *constants]
    return _saved(nodes, {"x": (TensorProto.FLOAT, [1, 2, 8, 8])}, weights, path)


MODELS = {"tokens": _tokens, "quantised": _quantised}


@pytest.mark.parametrize("name", MODELS)
def test_integers_agree(name: str, tmp_path: Path) -> None:
    path = MODELS[name](tmp_path / "model.onnx")
    solution = solved(path, {})
    found = check_execution(solution, 0, lambda text: None, load_model(path, Choices(), solution.network))
    assert found.differences == ()
    assert all(x.operators is not None and x.operators < 1e-5 for x in found.layers)


def _without(executed: Executed, tensor: str) -> Executed:
    """Let a layer never have read the first element of a tensor."""
    loaded = executed.loaded[tensor].copy()
    loaded.ravel()[0] = INFINITY
    return replace(executed, loaded={**executed.loaded, tensor: loaded})


@pytest.mark.parametrize(
    ("name", "layer", "tensor"),
    [
        ("tokens", "masked", "ids"),
        ("tokens", "masked", "mask"),
        ("tokens", "second", "first"),
        ("quantised", "second", "first"),
    ],
)
def test_an_element_that_is_not_read_is_missed(name: str, layer: str, tensor: str, tmp_path: Path) -> None:
    path = MODELS[name](tmp_path / "model.onnx")
    solution = solved(path, {})
    network, hardware = solution.network, solution.hardware
    model = load_model(path, Choices(), network)
    values = run_whole(model, draw_inputs(model, 0))
    executed = execute(network, hardware, stated(solution), draw_numbers(network, 0))
    own = network.index[layer]
    executed[own] = _without(executed[own], tensor)
    with pytest.raises(InputError, match=rf"layer '{layer}'.*miss something"):
        run_blocks(model, network, executed, hardware.cycles.transfer, values, lambda done: None)


KINDS = st.sampled_from([np.dtype(x) for x in ("int64", "uint8", "bool", "float32")])
TENSORS = KINDS.flatmap(
    lambda kind: arrays.arrays(kind, (2, 3), elements=st.integers(0, 1 if kind.kind == "b" else 9))
)


@given(TENSORS)
def test_every_element_has_another_valid_value(values: np.ndarray[Any, Any]) -> None:
    others = another(values)
    assert others.shape == values.shape and others.dtype == values.dtype
    assert (others != values).all()
    assert others.min() >= 0 and others.max() <= max(values.max(), 1)
    if len(np.unique(values)) > 1:
        assert set(others.ravel().tolist()) == set(values.ravel().tolist())
