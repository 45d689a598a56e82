"""Operators of ONNX files run through schedules: they agree with onnxruntime, and one cycle decides."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cli.main import run
from hw.library import load_hardware
from models.onnx.graph import Choices
from models.onnx.load import import_onnx
from overlapim_files import InputError, dump
from solver.execute import operators
from solver.execute.check import check_execution
from solver.execute.numbers import draw_numbers
from solver.execute.operators import draw_inputs, load_model, run_blocks, run_whole
from solver.execute.run import execute
from solver.execute.schedule import stated
from solver.solution import Solution
from solver.solve import solve
from solver.stop import Stop
from solver.timing.infinity import INFINITY
from tests.onnx_graphs import light

RNG = np.random.default_rng(0)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


def model(nodes: list[Any], shape: list[Any], weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    """Return a model from `x` to the last node's output; nodes are (operator, inputs, output, attributes)."""
    made = [helper.make_node(op, read.split(), [out], name=out, **keys) for op, read, out, keys in nodes]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [onnx.ValueInfoProto(name=nodes[-1][2])]
    graph = helper.make_graph(made, "graph", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolutions() -> onnx.ModelProto:
    """Pooling, a residual, a depthwise convolution, a concatenation and a flattened classifier."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        ("Conv", "x w1 b1", "conv1", same),
        ("Relu", "conv1", "relu1", {}),
        ("MaxPool", "relu1", "pool", {"kernel_shape": [3, 3], "strides": [2, 2], **same}),
        ("Conv", "pool w2", "conv2", same),
        ("Clip", "conv2 zero six", "relu2", {}),
        ("Add", "relu2 pool", "sum", {}),
        ("Conv", "sum w3", "depthwise", {"group": 8, **same}),
        ("Conv", "sum w4", "pointwise", {}),
        ("Concat", "depthwise pointwise", "both", {"axis": 1}),
        ("AveragePool", "both", "small", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", "small", "flat", {}),
        ("Gemm", "flat w5 b5", "classes", {}),
    ]
    limits = [numpy_helper.from_array(np.float32(x), name) for x, name in ((0, "zero"), (6, "six"))]
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "w3": (8, 1, 3, 3), "w4": (4, 8, 1, 1)}
    shapes |= {"w5": (108, 10), "b5": (10,)}
    return model(nodes, ["batch", 3, 12, 12], [*limits, *(weight(x, *y) for x, y in shapes.items())])


def residuals() -> onnx.ModelProto:
    """Two residuals, one of which is the result of the layer that adds the other."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        ("Conv", "x w1", "conv1", same),
        ("Conv", "conv1 w2", "conv2", same),
        ("Add", "conv2 conv1", "sum", {}),
        ("Relu", "sum", "relu", {}),
        ("Conv", "relu w3", "conv3", same),
        ("Add", "conv3 sum", "again", {}),
        ("Conv", "again w4", "conv4", {}),
    ]
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), "w3": (4, 4, 3, 3), "w4": (2, 4, 1, 1)}
    return model(nodes, [1, 3, 6, 6], [weight(x, *y) for x, y in shapes.items()])


def attention() -> onnx.ModelProto:
    """One block of a transformer: heads as a reshape and a transposition, softmax, a residual, a norm."""
    split = numpy_helper.from_array(np.array([0, 0, 2, 4]), "split")
    merge = numpy_helper.from_array(np.array([0, 0, 8]), "merge")
    nodes: list[Any] = []
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            ("MatMul", f"x w{part}", part, {}),
            ("Reshape", f"{part} split", f"{part}.heads", {}),
            ("Transpose", f"{part}.heads", f"{part}.turned", {"perm": order}),
        ]
    nodes += [
        ("MatMul", "q.turned k.turned", "scores", {}),
        ("Softmax", "scores", "weights", {"axis": -1}),
        ("MatMul", "weights v.turned", "context", {}),
        ("Transpose", "context", "turned", {"perm": [0, 2, 1, 3]}),
        ("Reshape", "turned merge", "merged", {}),
        ("MatMul", "merged wo", "out", {}),
        ("Add", "out x", "sum", {}),
        ("LayerNormalization", "sum scale", "norm", {"axis": -1}),
        ("MatMul", "norm wi", "widen", {}),
        ("Relu", "widen", "relu", {}),
        ("MatMul", "relu wn", "narrow", {}),
    ]
    weights = [weight(x, 8, 8) for x in ("wq", "wk", "wv", "wo")] + [weight("wi", 8, 16), weight("wn", 16, 8)]
    return model(nodes, [1, 6, 8], [split, merge, *weights, weight("scale", 8)])


def small_squeezenet() -> onnx.ModelProto:
    """SqueezeNet of the onnx package, whose weights are all alike, for a small image."""
    proto = light("squeezenet")
    weights = {tensor.name for tensor in proto.graph.initializer}
    (image,) = (value for value in proto.graph.input if value.name not in weights)
    for axis in (2, 3):
        image.type.tensor_type.shape.dim[axis].dim_value = 40
    del proto.graph.value_info[:]
    proto.graph.output[0].CopyFrom(onnx.ValueInfoProto(name=proto.graph.output[0].name))
    return proto


GRAPHS: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, int]]] = {
    "convolutions": (convolutions, {"batch": 2}),
    "residuals": (residuals, {}),
    "attention": (attention, {}),
    "squeezenet": (small_squeezenet, {}),
}


def solved(path: Path, dims: dict[str, int]) -> Solution:
    """Solve a graph of few layers so that they overlap; one of many with its layers one after the other."""
    network = import_onnx(path, dims).network
    narrow = {"columns_per_bank": 16, "sync_blocks": 24}
    chip, method = load_hardware("toy"), "layerwise"
    if len(network.layers) > chip.banks:
        chip, method = load_hardware("hbm2-bitsimd").model_copy(update=narrow), "sequential"
    chip = chip.with_weights("static")
    return solve(network, chip, method=method, stop=Stop.deterministic(0.1), workers=1).solution


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph(name: str, tmp_path: Path) -> None:
    make, dims = GRAPHS[name]
    path = tmp_path / "model.onnx"
    onnx.save(make(), path)
    solution = solved(path, dims)
    found = check_execution(solution, 0, lambda text: None, load_model(path, Choices(dims), solution.network))
    assert found.differences == ()
    assert all(x.operators is not None and x.operators < 1e-5 for x in found.layers)


def test_residuals_belong_to_the_layers_before_the_additions(tmp_path: Path) -> None:
    onnx.save(residuals(), tmp_path / "model.onnx")
    imported = import_onnx(tmp_path / "model.onnx")
    reads = {x.name: [operand.producer for operand in x.operands] for x in imported.network.layers}
    assert reads == {
        "conv1": ["x"],
        "conv2": ["conv1", "conv1"],
        "conv3": ["conv2", "conv2"],
        "conv4": ["conv3"],
    }
    assert [imported.placed[name].tensor for name in reads] == ["conv1", "sum", "again", "conv4"]
    assert imported.nodes["conv3"] == (3, 4, 5)


@pytest.mark.parametrize("name", ["convolutions", "residuals", "attention"])
def test_operators_that_read_a_cycle_too_early(name: str, tmp_path: Path) -> None:
    """All that one layer finishes is a cycle later than it should be; readers that were just in time fail."""
    make, dims = GRAPHS[name]
    onnx.save(make(), tmp_path / "model.onnx")
    solution = solved(tmp_path / "model.onnx", dims)
    network, hardware = solution.network, solution.hardware
    proto = load_model(tmp_path / "model.onnx", Choices(dims), network)
    executed = execute(network, hardware, stated(solution), draw_numbers(network, 0))
    values = run_whole(proto, draw_inputs(proto, 0))
    caught = set()
    for i, times in enumerate(executed):
        late = [*executed[:i], replace(times, finish=times.finish + 1), *executed[i + 1 :]]
        try:
            run_blocks(proto, network, late, hardware.cycles.transfer, values, lambda done: None)
        except InputError as error:
            block = r"layer '(.*)': block \d+ of \d+: at \d+ the operators for element \(.*\) miss something"
            told = re.match(block, str(error))
            assert told and i in network.producers[network.index[told[1]]]
            caught.add(i)
    assert caught


def test_without_their_guard_maxima_lose_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooled maximum comes out of onnxruntime as a number; with the guard it does not."""
    nodes = [
        ("Conv", "x w1", "first", {}),
        ("MaxPool", "first", "pool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", "pool w2", "second", {}),
    ]
    graph = model(nodes, [1, 1, 2, 2], [weight("w1", 1, 1, 1, 1), weight("w2", 1, 1, 1, 1)])
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    solution = solved(path, {})
    network, hardware = solution.network, solution.hardware
    proto = load_model(path, Choices(), network)
    values = run_whole(proto, draw_inputs(proto, 0))
    first, second = execute(network, hardware, stated(solution), draw_numbers(network, 0))
    loaded = second.loaded["first"].copy()
    loaded[0, 0, 0, 0] = INFINITY
    missing = [first, replace(second, loaded={**second.loaded, "first": loaded})]
    check = partial(
        run_blocks, proto, network, missing, hardware.cycles.transfer, values, doing=lambda done: None
    )
    with pytest.raises(InputError, match=r"layer 'second'.*miss something"):
        check()
    monkeypatch.setattr(operators, "MAXIMA", frozenset[str]())
    check()


# The command


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    onnx.save(convolutions(), tmp_path / "model.onnx")
    (tmp_path / "solution.yaml").write_text(dump(solved(tmp_path / "model.onnx", {"batch": 1})))
    return str(tmp_path / "solution.yaml"), str(tmp_path / "model.onnx")


def command(*words: str) -> int:
    return run(["execute", *words], time.monotonic())


def test_the_command(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    assert command(files[0], "--onnx", files[1], "--dim", "batch=1") == 0
    lines = capfd.readouterr().out.split("\n")
    assert lines[0].endswith("operators") and lines[-2] == "agrees"

    assert command(files[0], "--onnx", files[1], "--dim", "batch=2") == 2
    assert "is imported to another network than that of the solution: " in capfd.readouterr().err
    assert command(files[0], "--dim", "batch=1") == 2
    assert "--dim: only" in capfd.readouterr().err


def test_a_file_without_its_weights(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    proto = onnx.load(files[1])
    for tensor in proto.graph.initializer:
        if tensor.name == "w2":
            tensor.data_location = TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value="weights.bin")
            tensor.ClearField("raw_data")
    Path(files[1]).write_bytes(proto.SerializeToString())
    assert command(files[0], "--onnx", files[1], "--dim", "batch=1") == 2
    error = capfd.readouterr().err
    assert "its weights cannot be read" in error and len(error.strip().splitlines()) == 1
