"""Kinds of graphs whose layers read exactly what their operators need, with the products of their shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_random import OPSET, needs, reads

from models.onnx.load import Imported, import_onnx

Node = tuple[str, str, str, dict[str, Any]]
"""Operator, what it reads, what it makes, attributes."""


class Kind:
    """A graph from inputs of given shapes; constants are made as their names are used."""

    def __init__(self, **inputs: tuple[int, ...]) -> None:
        self.inputs = inputs
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def weight(self, *shape: int) -> str:
        return self._constant(self.rng.uniform(0.5, 2, shape))

    def integers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def floats(self, *values: float) -> str:
        return self._constant(np.array(values, np.float32))

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *read: str, outputs: int = 1, **attributes: Any) -> Any:
        made = [f"{operator.lower()}{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, read, made, name=made[0], **attributes))
        return made[0] if outputs == 1 else made

    def shaped(self, x: str, *shape: int, order: tuple[int, ...] = ()) -> str:
        """Reshape, and transpose if an order is given."""
        y = self.add("Reshape", x, self.integers(*shape))
        return str(self.add("Transpose", y, perm=order) if order else y)

    def conv(self, x: str, made: int, read: int, kernel: int = 1, **attributes: Any) -> str:
        pads = [kernel // 2] * 4
        return str(self.add("Conv", x, self.weight(made, read, kernel, kernel), pads=pads, **attributes))

    def imported(self, output: str, path: Path) -> tuple[onnx.ModelProto, Imported]:
        kind = onnx.TensorProto.DOUBLE
        given = [helper.make_tensor_value_info(name, kind, shape) for name, shape in self.inputs.items()]
        made = [helper.make_tensor_value_info(output, kind, None)]
        graph = helper.make_graph(self.nodes, "kind", given, made, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        onnx.save(model, path / "kind.onnx")
        return model, import_onnx(path / "kind.onnx")


def _check(net: Kind, output: str, path: Path, macs: list[int], weights: int) -> Imported:
    """Check that a graph is exact: no note, the given products, and read is what changes an output."""
    model, imported = net.imported(output, path)
    assert [note for note in imported.notes if note.widened] == []
    assert [layer.macs for layer in imported.network.layers] == macs
    assert imported.network.weights == weights
    for layer in imported.network.layers:
        found = reads(imported.network, layer)
        for name, need in needs(model, imported, layer.name, seed=1).items():
            assert name in found and (found[name] == need).all(), f"{layer.name} of {name}"
    return imported


def test_halves_of_every_head_change_places(tmp_path: Path) -> None:
    net = Kind(x=(4, 18))
    heads = net.shaped(net.add("MatMul", "x", net.weight(18, 18)), 4, 3, 6)
    left, right = net.add("Split", heads, outputs=2, axis=2)
    turned = net.add("Concat", net.add("Neg", right), left, axis=2)
    mixed = net.add(
        "Add", net.add("Mul", heads, net.weight(4, 1, 6)), net.add("Mul", turned, net.weight(4, 1, 6))
    )
    y = net.add("MatMul", net.shaped(mixed, 4, 18), net.weight(18, 5))
    _check(net, y, tmp_path, [4 * 18 * 18, 4 * 18 * 5], 18 * 18 + 18 * 5)


def test_neighbours_in_every_head_change_places(tmp_path: Path) -> None:
    net = Kind(x=(3, 8))
    heads = net.shaped(net.add("MatMul", "x", net.weight(8, 8)), 3, 2, 4)
    even, odd = (
        net.add("Slice", heads, net.integers(i), net.integers(4), net.integers(2), net.integers(2))
        for i in (0, 1)
    )
    pairs = [net.add("Unsqueeze", x, net.integers(3)) for x in (net.add("Neg", odd), even)]
    turned = net.shaped(net.add("Concat", *pairs, axis=3), 3, 2, 4)
    y = net.add("MatMul", net.shaped(net.add("Add", heads, turned), 3, 8), net.weight(8, 2))
    _check(net, y, tmp_path, [192, 48], 64 + 16)


@pytest.mark.parametrize("channels", [12, 20, 14])
def test_channels_are_shuffled_and_split_over_and_over(channels: int, tmp_path: Path) -> None:
    half = channels // 2
    net = Kind(x=(1, channels, 2, 1))
    x = net.conv("x", channels, channels)
    for _ in range(3):
        kept, changed = net.add("Split", x, outputs=2, axis=1)
        x = net.add("Concat", kept, net.conv(changed, half, half), axis=1)
        apart = net.shaped(x, 1, 2, half, 2, 1, order=(0, 2, 1, 3, 4))
        x = net.shaped(apart, 1, channels, 2, 1)
    y = net.conv(x, 2, channels)
    macs = [2 * channels**2, *[2 * half**2] * 3, 4 * channels]
    _check(net, y, tmp_path, macs, sum(macs) // 2)


@pytest.mark.parametrize("mode", ["align_corners", "half_pixel", "asymmetric"])
@pytest.mark.parametrize("factor", [2.0, 1.5, 3.0])
def test_images_are_resized_between_old_places(mode: str, factor: float, tmp_path: Path) -> None:
    net = Kind(x=(1, 2, 4, 6))
    first = net.conv("x", 2, 2)
    keys = {"mode": "linear", "coordinate_transformation_mode": mode}
    larger = net.add("Resize", first, "", net.floats(1, 1, factor, factor), **keys)
    y = net.conv(larger, 3, 2, 3)
    places = int(4 * factor) * int(6 * factor)
    _check(net, y, tmp_path, [4 * 24, places * 3 * 2 * 9], 4 + 54)


def test_windows_of_an_axis_are_taken_by_a_table_of_places(tmp_path: Path) -> None:
    net = Kind(x=(1, 2, 7, 1))
    places = net.shaped(net.integers(0, 1, 2, 2, 3, 4, 4, 5, 6), 3, 3)
    windows = net.add("Gather", net.conv("x", 2, 2), places, axis=2)
    rows = net.shaped(net.add("Transpose", windows, perm=(0, 2, 1, 3, 4)), 3, 6)
    y = net.add("MatMul", rows, net.weight(6, 4))
    _check(net, y, tmp_path, [7 * 2 * 2, 3 * 6 * 4], 4 + 24)


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_within_windows_of_an_image(heads: int, tmp_path: Path) -> None:
    net, each = Kind(x=(1, 6, 4, 4)), 4 // heads
    cut = net.shaped("x", 1, 3, 2, 2, 2, 4, order=(0, 1, 3, 2, 4, 5))
    tokens = net.add("MatMul", net.shaped(cut, 6, 4, 4), net.weight(4, 4))
    q = net.shaped(tokens, 6, 4, heads, each, order=(0, 2, 1, 3))
    scores = net.add("MatMul", q, net.shaped(tokens, 6, 4, heads, each, order=(0, 2, 3, 1)))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), q)
    back = net.shaped(net.add("Transpose", mixed, perm=[0, 2, 1, 3]), 6, 4, 4)
    whole = net.shaped(net.shaped(back, 1, 3, 2, 2, 2, 4, order=(0, 1, 3, 2, 4, 5)), 1, 6, 4, 4)
    y = net.add("MatMul", whole, net.weight(4, 2))
    product = 6 * heads * 4 * 4 * each
    _check(net, y, tmp_path, [6 * 4 * 16, product, product, 24 * 8], 16 + 8)


def test_means_over_tokens_behind_a_class_token(tmp_path: Path) -> None:
    net = Kind(x=(1, 2, 3, 2), token=(1, 1, 4))
    patches = net.shaped(net.conv("x", 4, 2), 1, 4, 6, order=(0, 2, 1))
    tokens = net.add("Concat", "token", patches, axis=1)
    mixed = net.add("Add", tokens, net.add("MatMul", tokens, net.weight(4, 4)))
    y = net.add("MatMul", net.add("ReduceMean", mixed, net.integers(1), keepdims=0), net.weight(4, 3))
    imported = _check(net, y, tmp_path, [6 * 8, 7 * 16, 12], 8 + 16 + 12)
    assert sum(x.producer != "token" for x in imported.network.layers[1].loaded) <= 3


def test_tokens_behind_a_class_token_are_an_image(tmp_path: Path) -> None:
    net = Kind(x=(1, 11, 3))
    tokens = net.add("MatMul", "x", net.weight(3, 3))
    patches = net.add("Slice", tokens, net.integers(1), net.integers(11), net.integers(1))
    image = net.shaped(net.add("Transpose", patches, perm=[0, 2, 1]), 1, 3, 2, 5)
    y = net.conv(image, 3, 1, 3, group=3)
    _check(net, y, tmp_path, [99, 10 * 27], 9 + 27)


def test_softmax_over_all_places_of_an_image(tmp_path: Path) -> None:
    net = Kind(x=(1, 2, 2, 5))
    places = net.add("Softmax", net.shaped(net.conv("x", 2, 2), 1, 2, 10), axis=-1)
    y = net.conv(net.shaped(places, 1, 2, 2, 5), 3, 2)
    _check(net, y, tmp_path, [40, 60], 10)


def test_axes_that_do_not_nest_become_parts(tmp_path: Path) -> None:
    net = Kind(x=(1, 3, 4, 1))
    turned = net.add("Transpose", net.shaped(net.conv("x", 3, 3), 3, 4), perm=[1, 0])
    y = net.add("MatMul", net.shaped(turned, 2, 6), net.weight(6, 2))
    _check(net, y, tmp_path, [36, 24], 9 + 12)


# Transposed convolutions


def _transposed(net: Kind, x: str, read: int, made: int, kernel: int, **attributes: Any) -> str:
    return str(net.add("ConvTranspose", x, net.weight(read, made, kernel, kernel), **attributes))


def test_a_transposed_convolution_of_one_element_has_one_product_for_each_weight(tmp_path: Path) -> None:
    net = Kind(x=(1, 3, 1, 1))
    larger = _transposed(net, "x", 3, 2, 5)
    y = net.conv(larger, 1, 2, 3)
    _check(net, y, tmp_path, [3 * 2 * 25, 25 * 18], 150 + 18)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (4, 2, 1), (3, 3, 0), (6, 3, 2)])
def test_strided_transposed_convolutions_have_their_weights_once(
    kernel: int, stride: int, pad: int, tmp_path: Path
) -> None:
    net = Kind(x=(1, 2, 3, 4))
    padding = {"output_padding": [2 * pad + stride - kernel] * 2} if 2 * pad + stride > kernel else {}
    larger = _transposed(net, "x", 2, 3, kernel, strides=[stride] * 2, pads=[pad] * 4, **padding)
    y = net.conv(larger, 1, 3, 3)
    macs = [12 * 2 * 3 * kernel**2, 12 * stride**2 * 27]
    _check(net, y, tmp_path, macs, 6 * kernel**2 + 27)


def test_a_transposed_convolution_of_every_channel(tmp_path: Path) -> None:
    net = Kind(x=(1, 3, 2, 3))
    y = _transposed(net, "x", 3, 1, 4, strides=[2, 2], pads=[1] * 4, group=3)
    _check(net, y, tmp_path, [6 * 3 * 16], 48)


def test_what_meets_fewer_weights_is_noted(tmp_path: Path) -> None:
    net = Kind(x=(1, 1, 4, 4))
    y = _transposed(net, "x", 1, 1, 3, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1])
    _, imported = net.imported(y, tmp_path)
    assert "fewer weights than others" in imported.notes[0].text
    assert imported.network.macs == 8 * 8 * 4
