"""Operators of every kind against counts of their shapes, what they need, and what onnxruntime makes."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import Net
from onnx_random import needs, reads

from cli.main import run
from models.network import Network
from models.onnx.graph import Choices
from models.onnx.load import Imported, import_onnx
from overlapim_files import InputError
from solver.execute.check import check_execution
from solver.execute.operators import draw_inputs, load_model, run_whole
from solver.solve import solve
from solver.stop import Stop

MICROSOFT = "com.microsoft"
RECENT = tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 23)
"""Whether onnxruntime has the operators of opset 23."""
QUANT = "qonnx.custom_op.general"


class Filled(Net):
    """A graph whose weights are random numbers, so that each of them matters."""

    def weight(self, *shape: int) -> str:
        name = f"weight_{len(self.constants)}"
        value = np.random.default_rng(len(self.constants)).uniform(0.5, 2, shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def _saved(model: onnx.ModelProto, tmp_path: Path) -> Path:
    for domain in (MICROSOFT, QUANT):
        model.opset_import.append(helper.make_opsetid(domain, 1))
    model.ir_version = 8
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def _fused(net: Net, operator: str, *inputs: str, **attributes: Any) -> Any:
    return net.add(operator, *inputs, domain=MICROSOFT, **attributes)


def _needed_exactly(imported: Imported, model: onnx.ModelProto) -> None:
    """Check that each layer reads what its operators need, and nothing else."""
    for layer in imported.network.layers:
        found, needed = reads(imported.network, layer), needs(model, imported, layer.name, 3, np.float32)
        for name, need in needed.items():
            assert np.array_equal(found.get(name, np.zeros_like(need)), need), (layer.name, name)


def _agrees(path: Path, imported: Imported) -> None:
    """Run a solution's blocks, and the file's operators in their order."""
    from hw.library import load_hardware

    result = solve(
        imported.network, load_hardware("toy"), method="layerwise", stop=Stop.deterministic(0.1), workers=1
    )
    model = load_model(path, Choices(), imported.network)
    checked = check_execution(result.solution, 0, lambda text: None, model)
    assert checked.differences == ()
    assert all(layer.operators is not None for layer in checked.layers)


def _comes_to_what_the_operators_do(
    path: Path, imported: Imported, dims: dict[str, int] | None = None
) -> None:
    """Run what stands for operators, and the file itself; this fails unless both come to the same."""
    loaded = load_model(path, Choices(dims or {}), imported.network)
    run_whole(loaded, draw_inputs(loaded, 1))


def _macs(network: Network) -> list[int]:
    return [layer.macs for layer in network.layers]


# Attention


def _mask(net: Net, kind: int, *shape: int) -> str:
    return net.input(*shape, name="mask", kind=kind)


ATTENTION: dict[str, tuple[tuple[tuple[int, ...], ...], dict[str, Any], int | None]] = {
    "shared keys": (((1, 4, 3, 2), (1, 2, 5, 2), (1, 2, 5, 3)), {}, None),
    "no heads apart": (((2, 3, 4), (2, 5, 4), (2, 5, 6)), {"q_num_heads": 2, "kv_num_heads": 2}, None),
    "causal": (((1, 2, 4, 3),) * 3, {"is_causal": 1}, None),
    "truth values": (((1, 2, 3, 2), (1, 2, 4, 2), (1, 2, 4, 2)), {}, TensorProto.BOOL),
    "added": (((1, 2, 3, 2), (1, 2, 4, 2), (1, 2, 4, 2)), {"scale": 0.3, "softcap": 2.0}, TensorProto.FLOAT),
}


@pytest.mark.parametrize("case", ATTENTION)
def test_attention_is_two_products_and_a_softmax(case: str, tmp_path: Path) -> None:
    shapes, attributes, kind = ATTENTION[case]
    net = Filled("attention")
    given = [net.input(*shape, name=name) for name, shape in zip("qkv", shapes, strict=True)]
    given += [] if kind is None else [_mask(net, kind, shapes[0][-2], shapes[1][-2])]
    model = net.model(net.add("Attention", *given, **attributes))
    model.opset_import[0].version = 23
    path = _saved(model, tmp_path)
    imported = import_onnx(path)
    heads = attributes.get("q_num_heads") or shapes[0][1]
    scores = shapes[0][0] * heads * shapes[0][-2] * shapes[1][-2]
    widths = [x[-1] // (heads if len(x) == 3 else 1) for x in (shapes[0], shapes[2])]
    assert _macs(imported.network) == [scores * width for width in widths]
    assert any(note.widened for note in imported.notes) == (case == "causal")
    if kind is None and case != "causal":  # a mask that hides what it is added to would hide that it is read
        _needed_exactly(imported, model)
    if RECENT:
        _comes_to_what_the_operators_do(path, imported)


def test_heads_that_share_keys_read_the_same(tmp_path: Path) -> None:
    net = Filled("grouped")
    given = [net.input(1, n, 2, 2, name=name) for name, n in (("q", 4), ("k", 2), ("v", 2))]
    network = import_onnx(_saved(net.model(net.add("Attention", *given)), tmp_path)).network
    scores = reads(network, network.layers[0])["k"].reshape(
        4, 2, 2, 2, 2, 2
    )  # head, query, key; head, key, c
    for head in range(4):
        assert scores[head, 0, 1].any((1, 2)).tolist() == [head < 2, head >= 2]


@pytest.mark.parametrize("operator", ["MultiHeadAttention", "Attention", "GroupQueryAttention"])
def test_fused_attention(operator: str, tmp_path: Path) -> None:
    rng, net = np.random.default_rng(0), Filled("fused")
    x = net.input(1, 3, 64 if operator == "GroupQueryAttention" else 8)

    def table(*shape: int) -> str:
        net.constants.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), f"w{shape}"))
        return f"w{shape}"

    if operator == "Attention":
        x = _fused(net, operator, x, table(8, 24), table(24), num_heads=2, unidirectional=1)
        layers = [3 * 8 * 24, 3 * 3 * 8, 3 * 3 * 8]
    elif operator == "MultiHeadAttention":
        x = _fused(net, operator, x, x, x, table(24), num_heads=2)
        layers = [3 * 3 * 8, 3 * 3 * 8]
    else:
        few = net.add("MatMul", x, table(64, 32))
        ends = [net.constant(2), net.constant(3, scalar=True)]
        for tensor in net.constants[-2:]:
            value = numpy_helper.to_array(tensor).astype(np.int32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        tables = [table(5, 8)] * 2
        rotary = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1}
        x = _fused(net, operator, x, few, few, "", "", *ends, *tables, **rotary)
        layers = [3 * 64 * 32, 3 * 3 * 64, 3 * 3 * 64]
    path = _saved(net.model(x), tmp_path)
    imported = import_onnx(path)
    assert _macs(imported.network) == layers
    _comes_to_what_the_operators_do(path, imported)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("domain", ["", MICROSOFT])
def test_rotary_positions(domain: str, interleaved: int, tmp_path: Path) -> None:
    net = Filled("rotary")
    x = net.add("MatMul", net.input(1, 3, 8), net.weight(8, 8))
    net.constants.append(numpy_helper.from_array(np.array([[2, 0, 1]]), "places"))
    cos, sin = net.weight(4, 2), net.weight(4, 2)
    order = ["places", cos, sin] if domain else [cos, sin, "places"]
    x = net.add("RotaryEmbedding", x, *order, domain=domain, num_heads=2, interleaved=interleaved)
    model = net.model(net.add("MatMul", x, net.weight(8, 3)))
    model.opset_import[0].version = 23
    path = _saved(model, tmp_path)
    imported = import_onnx(path)
    assert _macs(imported.network) == [3 * 64, 3 * 24]
    if domain or RECENT:
        _comes_to_what_the_operators_do(path, imported)


# Conditions


def _branch(name: str, *nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.GraphProto:
    made = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    return helper.make_graph(nodes, name, [], made, stored)


def _conditional(net: Net, condition: str, x: str) -> str:
    inner = _branch("inner", helper.make_node("MatMul", ["t", "w"], ["r"]), w=np.ones((4, 5), np.float32))
    nested = helper.make_node("If", [condition], ["r"], then_branch=inner, else_branch=inner)
    one = _branch("one", helper.make_node("Relu", [x], ["t"]), nested)
    other = _branch("other", helper.make_node("Identity", [x], ["t"]))
    return str(net.add("If", condition, then_branch=one, else_branch=other))


@pytest.mark.parametrize("images", [1, 2])
def test_a_constant_condition_chooses_its_branch(images: int, tmp_path: Path) -> None:
    """It is computed from a shape; branches have names and weights of their own and read those outside."""
    net = Filled("if")
    x = net.add("MatMul", net.input("n", 4), net.weight(4, 4))
    size = net.add("Gather", net.add("Shape", x), net.constant(0, scalar=True))
    made = _conditional(net, net.add("Equal", size, net.constant(1, scalar=True)), x)
    path = _saved(net.model(net.add("MatMul", made, net.weight(5 if images == 1 else 4, 2))), tmp_path)
    imported = import_onnx(path, {"n": images})
    assert _macs(imported.exactly()) == ([16, 20, 10] if images == 1 else [32, 16])
    _comes_to_what_the_operators_do(path, imported, {"n": images})


def test_a_condition_that_is_computed_is_refused(tmp_path: Path) -> None:
    net = Filled("if")
    x = net.add("MatMul", net.input(1, 4), net.weight(4, 4))
    condition = net.add("Greater", net.add("ReduceMax", x, keepdims=0), net.constant(0.5, scalar=True))
    with pytest.raises(InputError, match=r"\(If\): loops and conditions .* unless a condition is constant"):
        import_onnx(_saved(net.model(_conditional(net, condition, x)), tmp_path))


# Products


def test_a_mask_brought_to_its_axes_by_places(tmp_path: Path) -> None:
    net = Filled("mask")
    x, mask = net.input(2, 4, 3), net.input(2, 4, name="mask")
    places = np.stack(np.indices((2, 4)), axis=-1).reshape(2, 1, 4, 2)
    net.constants.append(numpy_helper.from_array(places, "places"))
    scores = net.add("MatMul", x, net.add("Transpose", x, perm=[0, 2, 1]))
    total = net.add("Add", scores, net.add("GatherND", mask, "places"))
    model = net.model(net.add("MatMul", net.add("Softmax", total, axis=-1), x))
    imported = import_onnx(_saved(model, tmp_path))
    assert _macs(imported.exactly()) == [2 * 4 * 4 * 3] * 2
    _needed_exactly(imported, model)


@pytest.mark.parametrize(
    ("equation", "weights", "macs"),
    [
        ("bshd,bthd->bhst", None, 2 * 3 * 2 * 4 * 4),
        ("bshd,hde->bse", (2, 4, 5), 2 * 3 * 8 * 5),
        ("...d,ed", (6, 4), 0),
    ],
)
def test_contractions(equation: str, weights: tuple[int, ...] | None, macs: int, tmp_path: Path) -> None:
    net = Filled("einsum")
    x = net.input(2, 3, 2, 4)
    other = net.input(2, 4, 2, 4, name="other") if weights is None else net.weight(*weights)
    model = net.model(net.add("Einsum", x, other, equation=equation))
    imported = import_onnx(_saved(model, tmp_path))
    (layer,) = imported.exactly().layers
    assert layer.macs == (macs or 2 * 3 * 2 * 4 * 6)
    assert layer.weights == (0 if weights is None else math.prod(weights))
    _needed_exactly(imported, model)


def test_an_equation_that_is_no_contraction_is_refused(tmp_path: Path) -> None:
    net = Filled("einsum")
    model = net.model(net.add("Einsum", net.input(3, 3), net.weight(3, 3), equation="ii,ij->j"))
    with pytest.raises(InputError, match="'ii,ij->j' is no contraction of these tensors"):
        import_onnx(_saved(model, tmp_path))


@pytest.mark.parametrize(
    ("kernel", "groups", "pads"),
    [
        ((3, 3, 3), 1, (1,) * 6),
        ((3, 2, 2), 2, (2, 0, 1, 0, 0, 1)),
        ((1, 3, 3), 1, (0, 1, 1) * 2),
        ((2, 1, 3), 1, (0,) * 6),
    ],
)
def test_volumes(kernel: tuple[int, ...], groups: int, pads: tuple[int, ...], tmp_path: Path) -> None:
    net = Filled("volume")
    x = net.input(1, 2, 4, 3, 5)
    x = net.add(
        "Conv", x, net.weight(4, 2 // groups, *kernel), group=groups, pads=list(pads), strides=[2, 1, 1]
    )
    model = net.model(net.add("Conv", x, net.weight(2, 4, 1, 1, 1)))
    imported = import_onnx(_saved(model, tmp_path))
    first, second = imported.exactly().layers
    taps = math.prod(kernel) * 2 // groups
    assert (first.macs, first.weights) == (math.prod(first.shape) * taps, 4 * taps)
    assert second.macs == math.prod(first.shape) * 2
    _needed_exactly(imported, model)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (4, 2), (2, 1)])
def test_transposed_volumes(kernel: int, stride: int, tmp_path: Path) -> None:
    net = Filled("volume")
    strides, pads = [stride] * 3, [(kernel - stride) // 2] * 6
    x = net.add(
        "ConvTranspose", net.input(1, 2, 2, 3, 2), net.weight(2, 2, *[kernel] * 3), strides=strides, pads=pads
    )
    model = net.model(x)
    imported = import_onnx(_saved(model, tmp_path))
    (layer,) = imported.network.layers
    assert layer.macs == math.prod(layer.shape) * 2 * (kernel // stride) ** 3
    if not any(note.widened for note in imported.notes):
        _needed_exactly(imported, model)


def test_several_volumes_are_exact_or_noted(tmp_path: Path) -> None:
    net = Filled("volumes")
    model = net.model(net.add("Conv", net.input(2, 2, 4, 3, 5), net.weight(4, 2, 3, 3, 3), pads=[1] * 6))
    imported = import_onnx(_saved(model, tmp_path))
    assert imported.network.macs == 2 * 4 * 60 * 54
    if not any(note.widened for note in imported.notes):
        _needed_exactly(imported, model)


def test_a_long_signal(tmp_path: Path) -> None:
    net = Filled("signal")
    x = net.add("Conv", net.input(1, 1, 600_000), net.weight(2, 1, 2048), strides=[256], pads=[128, 128])
    network = import_onnx(_saved(net.model(x), tmp_path)).exactly()
    assert network.macs == 2 * ((600_000 + 256 - 2048) // 256 + 1) * 2048


def test_weights_that_a_layer_makes(tmp_path: Path) -> None:
    net = Filled("computed")
    weights = net.add("MatMul", net.input(1, 3, name="z"), net.weight(3, 16))
    kernel = net.add("Reshape", weights, net.constant(4, 1, 2, 2))
    model = net.model(net.add("Conv", net.input(1, 2, 4, 5), kernel, group=2))
    path = _saved(model, tmp_path)
    imported = import_onnx(path)
    assert _macs(imported.exactly()) == [48, 4 * 3 * 4 * 4]
    assert imported.network.weights == 48
    _needed_exactly(imported, model)
    _agrees(path, imported)


# Recurrent layers


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize("reset", [0, 1])
@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("operator", GATES)
def test_recurrent_layers_are_unrolled(operator: str, ways: int, reset: int, tmp_path: Path) -> None:
    """Each step reads its part of the sequence and all of the step before, and nothing else."""
    net, gates, hidden = Filled("recurrent"), GATES[operator], 3
    x = net.input(4, 2, 5)
    attributes: dict[str, Any] = {"linear_before_reset": reset} if operator == "GRU" else {}
    attributes |= {"direction": "bidirectional"} if ways == 2 else {}
    weights = net.weight(ways, gates * hidden, 5), net.weight(ways, gates * hidden, hidden)
    outputs = net.add(operator, x, *weights, hidden_size=hidden, outputs=2, **attributes)
    y = net.add("Reshape", net.add("Transpose", outputs[0], perm=[0, 2, 1, 3]), net.constant(0, 0, -1))
    imported = import_onnx(_saved(net.model(net.add("MatMul", y, net.weight(ways * hidden, 6))), tmp_path))
    network = imported.exactly()
    steps, last = network.layers[:-1], network.layers[-1]
    assert sum(_macs(network)[:-1]) == 4 * ways * 2 * gates * hidden * (5 + hidden)
    assert last.macs == 4 * 2 * ways * hidden * 6
    assert len({x.producer for x in last.operands}) == 4 * ways
    each = len(steps) // (4 * ways)
    assert each == (2 if operator == "GRU" and not reset else 1)
    chain = steps[: 4 * each]
    for before, layer in itertools.pairwise(chain):
        found = reads(network, layer)[before.name].reshape(2, -1, 2, before.bound("K"))
        assert [[found[i, :, j].all() for j in range(2)] for i in range(2)] == [[True, False], [False, True]]
        assert reads(network, layer)[network.inputs[0].name].any(axis=0).sum() == 2 * 5
    assert [note.text for note in imported.notes] == [
        f"unrolled: {len(steps)} layers, one after the other, each with weights of its own"
    ]


def test_quantised_lstm(tmp_path: Path) -> None:
    net = Filled("quantised")
    weights = _integers(net, 1, 5, 12), _integers(net, 1, 3, 12)
    scales = [x for _ in range(2) for x in _scale(net)]
    given = [net.input(4, 1, 5), *weights, "", "", "", "", "", *scales]
    x = _fused(net, "DynamicQuantizeLSTM", *given, hidden_size=3)
    network = import_onnx(_saved(net.model(x), tmp_path)).exactly()
    assert _macs(network) == [12 * (5 + 3)] * 4


def test_a_recurrent_layer_of_very_many_steps_says_how_many(tmp_path: Path) -> None:
    net = Filled("long")
    y = net.add("LSTM", net.input(9000, 1, 2), net.weight(1, 4, 2), net.weight(1, 4, 1), hidden_size=1)
    with pytest.raises(InputError, match=r"its 9000 steps would be 9000 layers; at most 4096 are built"):
        import_onnx(_saved(net.model(y), tmp_path))


# Quantised networks


def _integers(net: Net, *shape: int, kind: Any = np.uint8) -> str:
    value = np.random.default_rng(len(net.constants)).integers(0, 100, shape)
    name = f"integers_{len(net.constants)}"
    net.constants.append(numpy_helper.from_array(value.astype(kind), name))
    return name


def _scale(net: Net) -> tuple[str, str]:
    name = f"zero_{len(net.constants)}"
    net.constants.append(numpy_helper.from_array(np.array(50, np.uint8), name))
    return net.constant(0.02, scalar=True), name


def _quantised_conv(net: Net) -> str:
    x, k, y = (_scale(net) for _ in range(3))
    q = net.add("QuantizeLinear", net.input(1, 2, 5, 5), *x)
    made = net.add("QLinearConv", q, *x, _integers(net, 3, 2, 3, 3), *k, *y, pads=[1] * 4)
    return str(net.add("DequantizeLinear", made, *y))


def _quantised_product(net: Net) -> str:
    x, k, y = (_scale(net) for _ in range(3))
    q = net.add("QuantizeLinear", net.input(4, 6), *x)
    return str(net.add("DequantizeLinear", net.add("QLinearMatMul", q, *x, _integers(net, 6, 5), *k, *y), *y))


def _by_own_range(net: Net, operator: str, *weights: int) -> str:
    shape = (1, weights[1], 5, 5) if operator == "ConvInteger" else (3, weights[0])
    x = net.input(*shape)
    for _ in range(2):
        q, scale, zero = net.add("DynamicQuantizeLinear", x, outputs=3)
        own, other = _scale(net)
        made = net.add(operator, q, _integers(net, *weights), zero, other)
        both = net.add("Mul", scale, own)
        x = net.add("Relu", net.add("Mul", net.add("Cast", made, to=TensorProto.FLOAT), both))
    return str(x)


def _by_own_range_in_one(net: Net) -> str:
    x = net.input(3, 5)
    for bias in ([net.weight(5)], []):
        scale, zero = _scale(net)
        x = _fused(net, "DynamicQuantizeMatMul", x, _integers(net, 5, 5), scale, zero, *bias)
    return x


QUANTISED: dict[str, tuple[Callable[[Net], str], list[int]]] = {
    "convolution": (_quantised_conv, [3 * 25 * 18]),
    "product": (_quantised_product, [4 * 5 * 6]),
    "products by their own range": (lambda net: _by_own_range(net, "MatMulInteger", 5, 5), [75, 75]),
    "products by their own range in one": (_by_own_range_in_one, [75, 75]),
    "convolutions by their own range": (
        lambda net: _by_own_range(net, "ConvInteger", 2, 2, 1, 1),
        [2 * 25 * 2] * 2,
    ),
}


@pytest.mark.parametrize("case", QUANTISED)
def test_products_of_integers(case: str, tmp_path: Path) -> None:
    """Scales that depend on all that a layer reads are operations on what it makes, and complete it."""
    build, macs = QUANTISED[case]
    net = Filled("quantised")
    path = _saved(net.model(build(net)), tmp_path)
    imported = import_onnx(path)
    assert _macs(imported.exactly()) == macs
    if "range" in case:
        for layer in imported.network.layers:
            assert all(found.all() for found in reads(imported.network, layer).values())
    _agrees(path, imported)


def test_quantisers_of_other_tools_are_operations_on_each_element(tmp_path: Path) -> None:
    net = Filled("quantisers")
    scale, zero, bits = net.constant(0.1), net.constant(0.0), net.constant(4.0)
    weights = net.add("Quant", net.weight(4, 3), scale, zero, bits, domain=QUANT)
    x = net.add("Quant", net.add("MatMul", net.input(2, 4), weights), scale, zero, bits, domain=QUANT)
    network = import_onnx(_saved(net.model(net.add("MatMul", x, net.weight(3, 2))), tmp_path)).exactly()
    assert [(layer.macs, layer.weights, layer.post) for layer in network.layers] == [(24, 12, 1), (12, 6, 0)]


# What runtimes fuse


def _residual_conv(net: Net) -> str:
    x = net.input(1, 2, 5, 5)
    bias = net.weight(2)
    made = _fused(net, "FusedConv", x, net.weight(2, 2, 3, 3), bias, x, pads=[1] * 4, activation="Relu")
    return str(
        _fused(
            net, "FusedConv", made, net.weight(3, 2, 1, 1), activation="LeakyRelu", activation_params=[0.1]
        )
    )


def _normalised_sum(net: Net, operator: str) -> str:
    x, scale = net.input(2, 4, 6), net.weight(6)
    made = net.add("MatMul", x, net.weight(6, 6))
    simple = "Simplified" in operator
    weights = [scale, net.weight(6)] if simple else [scale, scale, net.weight(6)]
    return str(net.add("MatMul", _fused(net, operator, made, x, *weights), net.weight(6, 5)))


def _with_gelu(net: Net, operator: str) -> str:
    made = net.add("MatMul", net.input(2, 4, 6), net.weight(6, 8))
    return str(net.add("MatMul", _fused(net, operator, made, net.weight(8)), net.weight(8, 3)))


FUSED: dict[str, tuple[Callable[[Net], str], list[int]]] = {
    "FusedConv": (_residual_conv, [2 * 25 * 18, 3 * 25 * 2]),
    "FusedMatMul": (
        lambda net: _fused(net, "FusedMatMul", net.input(2, 4, 6), "input", alpha=0.5, transB=1),
        [2 * 4 * 4 * 6],
    ),
    "FusedMatMul, rows first": (
        lambda net: _fused(
            net, "FusedMatMul", net.input(4, 2, 6), "input", transBatchA=1, transBatchB=1, transB=1
        ),
        [2 * 4 * 4 * 6],
    ),
    "FusedGemm": (
        lambda net: _fused(
            net, "FusedGemm", net.input(4, 6), net.weight(6, 3), net.weight(3), activation="Relu"
        ),
        [4 * 6 * 3],
    ),
    "BiasGelu": (lambda net: _with_gelu(net, "BiasGelu"), [8 * 6 * 8, 8 * 8 * 3]),
    "FastGelu": (lambda net: _with_gelu(net, "FastGelu"), [8 * 6 * 8, 8 * 8 * 3]),
    "SkipLayerNormalization": (
        lambda net: _normalised_sum(net, "SkipLayerNormalization"),
        [8 * 36, 8 * 30],
    ),
    "SkipSimplifiedLayerNormalization": (
        lambda net: _normalised_sum(net, "SkipSimplifiedLayerNormalization"),
        [8 * 36, 8 * 30],
    ),
}


@pytest.mark.parametrize("case", FUSED)
def test_what_runtimes_fuse(case: str, tmp_path: Path) -> None:
    build, macs = FUSED[case]
    net = Filled("fused")
    model = net.model(build(net))
    for node in model.graph.node:
        node.name = ""
    path = _saved(model, tmp_path)
    imported = import_onnx(path)
    assert _macs(imported.exactly()) == macs
    _agrees(path, imported)


def test_embeddings_are_looked_up_and_added(tmp_path: Path) -> None:
    net = Filled("embedding")
    ids, segments = (net.input(1, 4, name=name, kind=TensorProto.INT32) for name in ("ids", "segments"))
    tables = [net.weight(n, 6) for n in (9, 8, 2)]
    x = _fused(
        net, "EmbedLayerNormalization", ids, segments, *tables, net.weight(6), net.weight(6), outputs=2
    )
    network = import_onnx(_saved(net.model(net.add("MatMul", x[0], net.weight(6, 2))), tmp_path)).exactly()
    assert network.macs == 4 * 6 * 2
    for name in ("ids", "segments"):
        found = reads(network, network.layers[0])[name].reshape(2, 4, 4)
        assert np.array_equal(found[0], np.eye(4, dtype=bool))


# Ends of graphs


def _detector(net: Net, behind: bool) -> str:
    x = net.conv(net.input(1, 3, 8, 8), 3, 4, 3)
    boxes = net.add("Reshape", net.add("Conv", x, net.weight(4, 4, 1, 1)), net.constant(1, 64, 4))
    scores = net.add("Reshape", net.add("Conv", x, net.weight(2, 4, 1, 1)), net.constant(1, 2, 64))
    chosen = net.add("NonMaxSuppression", boxes, scores, net.constant(5))
    picked = net.add("Gather", scores, net.add("Squeeze", net.add("Shape", chosen)), axis=2)
    return str(net.add("MatMul", picked, net.weight(4, 4)) if behind else picked)


def test_selections_behind_the_last_layers_take_none(tmp_path: Path) -> None:
    net = Filled("detector")
    network = import_onnx(_saved(net.model(_detector(net, False)), tmp_path)).exactly()
    assert _macs(network) == [64 * 4 * 27, 64 * 16, 64 * 8]
    net = Filled("detector")
    path = _saved(net.model(_detector(net, True)), tmp_path)
    with pytest.raises(
        InputError, match=r"\(NonMaxSuppression\) decides as it runs how much is read; --until"
    ):
        import_onnx(path)
    assert len(import_onnx(path, until="reshape_5_0").network.layers) == 2


def test_a_selection_out_of_a_selection_takes_no_layer(tmp_path: Path) -> None:
    net = Filled("selections")
    x = net.add("MatMul", net.input(3, 4), net.weight(4, 7))
    places = net.add("NonZero", net.add("Greater", x, net.constant(0.5)))
    chosen = net.add("NonZero", net.add("Greater", net.add("Transpose", places), net.constant(1)))
    assert _macs(import_onnx(_saved(net.model(chosen), tmp_path)).exactly()) == [3 * 4 * 7]


@pytest.mark.parametrize("read", [False, True])
def test_what_is_widened_is_noted_where_a_layer_reads_it(read: bool, tmp_path: Path) -> None:
    net = Filled("end")
    x = net.add("MatMul", net.input(3, 4), net.weight(4, 7))
    x = net.add("Relu", net.add("CumSum", x, net.constant(1, scalar=True)))
    x = net.add("MatMul", x, net.weight(7, 2)) if read else x
    notes = import_onnx(_saved(net.model(x), tmp_path)).notes
    assert [note.operator for note in notes if note.widened] == ["CumSum"] * read


def test_places_in_an_image_that_are_computed(tmp_path: Path) -> None:
    net = Filled("warped")
    x = net.add("Conv", net.input(1, 2, 5, 5), net.weight(2, 2, 1, 1))
    grid = net.add("MatMul", net.input(1, 4, 3, name="more"), net.weight(3, 4))
    grid = net.add("Reshape", grid, net.constant(1, 4, 2, 2))
    y = net.add("Conv", net.add("GridSample", x, grid), net.weight(3, 2, 1, 1))
    path = _saved(net.model(y), tmp_path)
    imported = import_onnx(path)
    assert _macs(imported.network) == [25 * 4, 4 * 12, 8 * 6]
    assert [note.operator for note in imported.notes if note.widened] == ["GridSample"]
    first, second, last = imported.network.layers
    found = reads(imported.network, last)
    assert found[first.name].all()
    places = found[second.name].reshape(3, 4, 2, 2, 2, 4)  # made, row, place in it, that place, side, row
    own = np.eye(2, dtype=bool)[:, :, None, None] & np.eye(4, dtype=bool)[:, None, None, None, :]
    assert np.array_equal(places, np.broadcast_to(own, places.shape))
    _agrees(path, imported)


def test_places_that_are_computed_read_all_that_decides_them(tmp_path: Path) -> None:
    net = Filled("places")
    x = net.add("MatMul", net.input(1, 4, 6), net.weight(6, 8))
    best = net.add("ArgMax", net.add("MatMul", "input", net.weight(6, 1)), axis=1, keepdims=0)
    places = net.add("Concat", net.add("Reshape", net.constant(0), net.constant(1, 1)), best, axis=1)
    y = net.add("MatMul", net.add("GatherND", x, places), net.weight(8, 3))
    imported = import_onnx(_saved(net.model(y), tmp_path))
    assert _macs(imported.network) == [4 * 6 * 8, 4 * 6, 8 * 3]
    assert [note.operator for note in imported.notes if note.widened] == ["GatherND"]
    first, second, last = imported.network.layers
    found = reads(imported.network, last)
    assert found[first.name].all()
    assert found[second.name].all()


def test_best_elements_depend_on_their_whole_axis(tmp_path: Path) -> None:
    net = Filled("best")
    x = net.add("MatMul", net.input(3, 4), net.weight(4, 7))
    best, _ = net.add("TopK", x, net.constant(2), axis=1, outputs=2)
    network = import_onnx(_saved(net.model(net.add("MatMul", best, net.weight(2, 5))), tmp_path)).exactly()
    assert _macs(network) == [3 * 4 * 7, 3 * 2 * 5]
    found = reads(network, network.layers[1])[network.layers[0].name].reshape(3, 5, 3, 7)
    assert all(
        np.array_equal(found[i, j], np.eye(3, dtype=bool)[i][:, None].repeat(7, 1))
        for i in range(3)
        for j in range(5)
    )


# What is said about a file


def _strange(net: Net) -> onnx.ModelProto:
    x = net.add("MatMul", net.input(2, 4), net.input(4, 3, name="w"))
    x = net.add("Strange", x, domain=QUANT)
    return net.model(net.add("MatMul", x, net.weight(3, 5)))


def test_files_need_not_be_taken_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(_saved(_strange(Filled("strange")), tmp_path))
    name = f"{QUANT}.Strange"
    assert run(["models", "check", path], time.monotonic()) == 2
    assert f"({name}): the operator is not known; --as-post {name} passes over it" in capsys.readouterr().err
    assert run(["models", "check", path, "--as-post", name], time.monotonic()) == 0
    shown = capsys.readouterr().out
    assert "'w' is an input, so an activation; --weights-from makes it a weight" in shown
    assert "passed over: counted as an operation on each element" in shown
    both = ["--as-post", name, "--weights-from", "w"]
    assert run(["models", "check", path, *both], time.monotonic()) == 0
    assert "is an input" not in capsys.readouterr().out
    network = import_onnx(path, as_post=[name], weights_from=["w"]).network
    assert [layer.weights for layer in network.layers] == [12, 15]
    assert [layer.post for layer in network.layers] == [1, 0]
    assert _macs(import_onnx(path, until="matmul_0_0").network) == [24]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--until", "matmul_0"],
            "--until matmul_0: there is no tensor that a node makes of this name; did you",
        ),
        (["--as-post", "Strnge"], "--as-post Strnge: there is no such operator in the file"),
        (["--weights-from", "W"], "--weights-from W: there is no input of this name; known: input, w"),
    ],
)
def test_what_is_not_in_the_file_is_named(
    options: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(_saved(_strange(Filled("strange")), tmp_path))
    assert run(["models", "check", path, *options], time.monotonic()) == 2
    assert text in capsys.readouterr().err
    assert run(["models", "check", "toy", *options], time.monotonic()) == 2
    assert f"{options[0]}: only for ONNX files" in capsys.readouterr().err
