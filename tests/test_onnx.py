"""ONNX files: the graphs of the onnx package against counts of their own, open axes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx_graphs import LIGHT, NAMES, light, products, with_open_batch

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
