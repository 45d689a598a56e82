"""ONNX files: the graphs of the onnx package against counts of their own, open axes, and what is refused."""

from __future__ import annotations

import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import onnx_networks
import pytest
from onnx_graphs import LIGHT, NAMES, light, products, with_open_batch

from cli.main import run
from models.library import load_network
from models.onnx.load import import_onnx
from overlapim_files import InputError


@pytest.mark.parametrize("name", NAMES)
def test_light_graphs_have_the_layers_and_products_of_their_nodes(name: str) -> None:
    imported = import_onnx(LIGHT / f"light_{name}.onnx")
    assert imported.exactly() is imported.network
    assert [layer.macs for layer in imported.network.layers] == products(light(name))
    assert imported.notes == ()


@pytest.mark.parametrize("name", ["resnet50", "shufflenet", "squeezenet", "inception_v1"])
def test_open_batch(name: str, tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    onnx.save(with_open_batch(light(name)), path)
    with pytest.raises(InputError, match="leaves axes open; give each an extent, such as --dim batch=1"):
        load_network(str(path))
    with pytest.raises(InputError, match="no axis of this name open; did you mean 'batch'"):
        import_onnx(path, {"bach": 1})
    single = load_network(str(LIGHT / f"light_{name}.onnx"))
    assert import_onnx(path, {"batch": 1}).network.layers == single.layers
    assert import_onnx(path, {"batch": 2}).network.macs == 2 * single.macs


# Networks as frameworks export them


def _saved(model: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def test_resnet18_is_the_built_in_one(tmp_path: Path) -> None:
    network = import_onnx(_saved(onnx_networks.resnet18(), tmp_path), {"batch": 1}).exactly()
    known = load_network("resnet18")
    assert [layer.macs for layer in network.layers] == products(onnx_networks.resnet18(1))
    assert sorted(layer.macs for layer in network.layers) == sorted(layer.macs for layer in known.layers)
    assert (network.macs, network.weights) == (1_814_073_344, 11_678_912)
    assert network.layers[-1].bound("C") == 512
    first, second = network.layers[0], network.layers[1]
    assert first.post == 2  # batch norm, rectifier
    window = second.operands[0].axes.h.windows[0]
    assert (window.scale, window.shift, window.width) == (2, -1, 3)
    residuals = [x for layer in network.layers for x in layer.residuals]
    assert len(residuals) == 8 and not any(layer.sums for layer in network.layers)
    assert residuals[0].axes.h.windows == second.operands[0].axes.h.windows


def test_mobilenet_gates_by_products_and_activates_where_values_are_made(tmp_path: Path) -> None:
    imported = import_onnx(_saved(onnx_networks.mobilenetv3(), tmp_path), {"batch": 1})
    network, convolutions = imported.exactly(), products(onnx_networks.mobilenetv3(1))
    gates = [layer for layer in network.layers if len({x.producer for x in layer.operands}) == 2]
    gates = [layer for layer in gates if not layer.weights]
    assert len(gates) == 9 and len(network.layers) == len(convolutions) + 9
    assert network.macs == sum(convolutions) + sum(layer.macs for layer in gates)
    assert all(x.axes.h.windows == () for layer in gates for x in layer.operands)
    assert network.layers[0].post in (2, 5)  # batch norm, then hard swish in one node or written out


@pytest.mark.parametrize("batch", [1, 2])
def test_vision_transformer_with_computed_shapes(batch: int, tmp_path: Path) -> None:
    imported = import_onnx(_saved(onnx_networks.vit(), tmp_path), {"batch": batch})
    network = imported.exactly()
    assert [layer.macs for layer in network.layers] == products(onnx_networks.vit(batch))
    assert imported.notes == ()
    # The class token stands before the patches, which have rows and columns: a part for each row of them.
    assert len({x.axes.w.offset for x in network.layers[1].operands}) == 4
    scores = network.layers[2]
    assert scores.weights == 0 and scores.bound("C") == 16 and scores.bound("K") == 17


def test_transformer_with_open_batch_and_length(tmp_path: Path) -> None:
    path = _saved(onnx_networks.transformer(), tmp_path)
    with pytest.raises(InputError, match="--dim batch=1 --dim tokens=1"):
        import_onnx(path)
    with pytest.raises(InputError, match=r"--dim tokens=1$"):
        import_onnx(path, {"batch": 2})
    network = import_onnx(path, {"batch": 2, "tokens": 9}).exactly()
    assert [layer.macs for layer in network.layers] == products(onnx_networks.transformer(2, 9))
    assert [x.shape for x in network.inputs] == [(2, 9, 1, 1)] * 2


def test_every_layer_knows_its_nodes_and_its_tensor(tmp_path: Path) -> None:
    model = onnx_networks.mobilenetv3(1, size=32)
    imported = import_onnx(_saved(model, tmp_path))
    for layer in imported.network.layers:
        place, nodes = imported.placed[layer.name], imported.nodes[layer.name]
        assert place.tensor in model.graph.node[nodes[-1]].output
        assert sorted(place.positions().ravel()) == list(range(math.prod(layer.shape)))


@pytest.mark.parametrize("version", [9, 11, 13, 17, 21])
def test_shapes_are_computed_by_the_version_of_the_operators(version: int, tmp_path: Path) -> None:
    net = onnx_networks.Net("flat")
    x = net.add("Relu", net.input("n", 2, 3))
    size = net.add("Gather", net.add("Shape", x), net.constant(0, scalar=True), axis=0)
    if version < 13:
        sizes = [net.add("Unsqueeze", size, axes=[0]), net.constant(-1)]
    else:
        sizes = [net.add("Unsqueeze", size, net.constant(0)), net.constant(-1)]
    x = net.add("Reshape", x, net.add("Concat", *sizes, axis=0))
    model = net.model(net.add("MatMul", x, net.weight(6, 4)))
    model.opset_import[0].version = version
    network = import_onnx(_saved(model, tmp_path), {"n": 5}).exactly()
    assert network.macs == 5 * 6 * 4


# What is refused


def _one_node(operator: str, **attributes: Any) -> onnx.ModelProto:
    net = onnx_networks.Net("one")
    x = net.dense(net.input(1, 4), 4, 4)
    return net.model(net.add(operator, x, **attributes))


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan"])
def test_loops_and_conditions_are_refused_by_name(operator: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"\({operator}\): loops and conditions"):
        import_onnx(_saved(_one_node(operator), tmp_path))


def test_all_unknown_operators_are_named_at_once(tmp_path: Path) -> None:
    net = onnx_networks.Net("unknown")
    x = net.add("TopN", net.add("Sofmax", net.input(1, 4)), net.constant(1))
    with pytest.raises(InputError, match=r"\(Sofmax\): .* did you mean Softmax\? \(nor are TopN\)"):
        import_onnx(_saved(net.model(x), tmp_path))


def test_without_the_package_one_line_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=re.escape("pip install 'fast-overlapim[onnx]'")):
        import_onnx(tmp_path / "net.onnx")


def test_commands_take_onnx_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = onnx_networks.Net("dilated")
    x = net.conv(net.input("batch", 3, 16, 16), 3, 4, 3)
    x = net.add("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2])
    path = str(_saved(net.model(net.conv(x, 4, 4, 3)), tmp_path))
    assert run(["models", "check", path], time.monotonic()) == 2
    assert "--dim batch=1" in capsys.readouterr().err
    assert run(["models", "check", path, "--dim", "batch=1"], time.monotonic()) == 0
    output = capsys.readouterr()
    assert "maxpool_" in output.out and output.err == ""
    assert run(["models", "check", path, "--dim", "batch=1", "--strict"], time.monotonic()) == 2
    assert "(MaxPool)" in capsys.readouterr().err
    assert run(["models", "show", path, "--dim", "batch=1", "--file"], time.monotonic()) == 0
    output = capsys.readouterr()
    assert "maxpool_" in output.err
    (tmp_path / "net.yaml").write_text(output.out)
    assert load_network(str(tmp_path / "net.yaml")) == import_onnx(path, {"batch": 1}).network
    assert run(["models", "check", "toy", "--strict"], time.monotonic()) == 2
    assert "--strict: only for ONNX files" in capsys.readouterr().err
    solve = ["solve", path, "--dim", "batch=1", "-m", "layerwise", "-t", "2", "-j", "1"]
    assert run(solve, time.monotonic()) == 0
    assert "maxpool_" in capsys.readouterr().err
