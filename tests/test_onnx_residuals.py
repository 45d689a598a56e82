"""Additions in ONNX files: a layer that makes one of the terms adds the others, if nothing else reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx_networks import Net

from models.network import Layer, Network
from models.onnx.load import import_onnx

CHANNELS, SIZE = 6, 4


def conv(net: Net, x: str, groups: int = 1) -> str:
    return str(net.add("Conv", x, net.weight(CHANNELS, CHANNELS // groups, 1, 1), group=groups))


def mean(net: Net, x: str) -> str:
    """Pool so that the image keeps its size."""
    return str(net.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1))


def shuffle(net: Net, x: str, groups: int) -> str:
    """Let the first channels of all groups come first, then the second ones, and so on."""
    apart = net.add("Reshape", x, net.constant(1, groups, CHANNELS // groups, SIZE, SIZE))
    turned = net.add("Transpose", apart, perm=[0, 2, 1, 3, 4])
    return str(net.add("Reshape", turned, net.constant(1, CHANNELS, SIZE, SIZE)))


Build = Callable[[Net, str], str]


def network(build: Build, tmp_path: Path, *outputs: str) -> Network:
    """Return the network of what `build` makes of an image, read by a last layer.

    What else nobody reads is an output, too, as are `outputs`.
    """
    net = Net("residuals")
    model = net.model(conv(net, build(net, net.input(1, CHANNELS, SIZE, SIZE))))
    read = {name for node in net.nodes for name in node.input}
    unread = [name for node in net.nodes[:-1] for name in node.output if name not in read]
    model.graph.output.extend([onnx.ValueInfoProto(name=name) for name in (*unread, *outputs)])
    onnx.save(model, tmp_path / "net.onnx")
    return import_onnx(tmp_path / "net.onnx").exactly()


def numbers(network: Network, layer: Layer, residual: bool) -> list[int]:
    """Return the positions of the layers that a layer reads as residuals or else; -1 for the input."""
    pairs = zip(layer.operands, layer.is_residual, strict=True)
    return [network.index.get(x.producer, -1) for x, added in pairs if added == residual]


def last_of_two(net: Net, x: str) -> str:
    return str(net.add("Add", conv(net, x), conv(net, x)))


def first_as_the_second_is_read(net: Net, x: str) -> str:
    a, b = conv(net, x), conv(net, x)
    c = conv(net, b)
    return str(net.add("Add", c, net.add("Add", a, b)))


def after_activations(net: Net, x: str) -> str:
    return str(net.add("Add", net.add("Relu", conv(net, x)), net.add("Sigmoid", x)))


def three_at_once(net: Net, x: str) -> str:
    return str(net.add("Sum", x, conv(net, x), conv(net, x)))


def one_after_the_other(net: Net, x: str) -> str:
    return str(net.add("Sub", net.add("Relu", net.add("Add", conv(net, x), x)), mean(net, x)))


def a_sum_of_others(net: Net, x: str) -> str:
    a, b = conv(net, x), conv(net, x)
    return str(net.add("Add", net.add("Add", mean(net, a), mean(net, b)), conv(net, x)))


def a_vector_for_all_pixels(net: Net, x: str) -> str:
    return str(net.add("Max", net.add("GlobalAveragePool", x), conv(net, x)))


RESIDUALS = {
    last_of_two: {1: [0]},
    first_as_the_second_is_read: {0: [1, 2]},
    after_activations: {0: [-1]},
    three_at_once: {1: [-1, 0]},
    one_after_the_other: {0: [-1, -1]},
    a_sum_of_others: {2: [0, 1]},
    a_vector_for_all_pixels: {0: [-1]},
}
"""For each layer that adds something the positions of what it adds, -1 for the input."""


@pytest.mark.parametrize("build", RESIDUALS)
def test_what_a_layer_can_add_it_adds(build: Build, tmp_path: Path) -> None:
    found = network(build, tmp_path)
    added = {i: numbers(found, layer, residual=True) for i, layer in enumerate(found.layers)}
    assert {i: read for i, read in added.items() if read} == RESIDUALS[build]
    assert numbers(found, found.layers[-1], residual=False) == [max(RESIDUALS[build])]
    assert all(x.sum is None for layer in found.layers for x in layer.operands)


def another_layer_reads_it(net: Net, x: str) -> str:
    a = conv(net, x)
    conv(net, a)
    return str(net.add("Add", a, x))


def it_is_read_twice(net: Net, x: str) -> str:
    a = conv(net, x)
    return str(net.add("Sum", a, x, net.add("Softmax", a, axis=1)))


def it_is_read_twice_in_what_is_added_to(net: Net, x: str) -> str:
    return str(net.add("Add", it_is_read_twice(net, x), mean(net, x)))


def it_is_pooled_before(net: Net, x: str) -> str:
    return str(net.add("Add", mean(net, conv(net, x)), x))


def it_is_cut_before(net: Net, x: str) -> str:
    part = net.add("Slice", conv(net, x), net.constant(0), net.constant(1), net.constant(2))
    return str(net.add("Add", part, x))


def it_adds_nothing_up(net: Net, x: str) -> str:
    return str(net.add("Add", net.add("Mul", x, mean(net, net.input(1, CHANNELS, SIZE, SIZE, name="y"))), x))


def its_channels_are_in_another_order(net: Net, x: str) -> str:
    return str(net.add("Add", conv(net, x), shuffle(net, x, 2)))


SUMS = {
    another_layer_reads_it: [-1, 0],
    it_is_read_twice: [-1, 0, 0],
    it_is_read_twice_in_what_is_added_to: [-1, -1, 0, 0],
    it_is_pooled_before: [-1, 0],
    it_is_cut_before: [-1, 0],
    it_adds_nothing_up: [-1, 0],
    its_channels_are_in_another_order: [-1, 0],
}
"""For each graph what is added up by the layer that reads the sum."""


@pytest.mark.parametrize("build", SUMS)
def test_what_no_layer_can_add_its_readers_add_up(build: Build, tmp_path: Path) -> None:
    found = network(build, tmp_path)
    (last,) = (x for x in found.layers if x.sums)
    assert sorted(numbers(found, last, residual=False)) == SUMS[build]
    assert not any(layer.residuals for layer in found.layers)


def test_an_output_of_the_graph_is_left_as_it_is(tmp_path: Path) -> None:
    def build(net: Net, x: str) -> str:
        return str(net.add("Add", conv(net, x), x))

    assert network(build, tmp_path).layers[0].residuals
    assert not network(build, tmp_path, "conv_1_0").layers[0].residuals


@pytest.mark.parametrize("turned", ["result", "residual"])
def test_groups_and_their_channels_follow_a_shuffle(turned: str, tmp_path: Path) -> None:
    def build(net: Net, x: str) -> str:
        grouped = conv(net, x, groups=2)
        pair = (shuffle(net, grouped, 2), x) if turned == "result" else (grouped, shuffle(net, x, 3))
        return str(net.add("Add", *pair))

    (residual,) = network(build, tmp_path).layers[0].residuals
    assert residual.axes.ch.terms == {"G": 1, "K": 2}
