"""What layers from ONNX files read, against what the operators need when elements are changed one by one."""

from __future__ import annotations

import random
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_random import draw, needs, reads

from models.onnx.load import import_onnx


def _compare(model: onnx.ModelProto, path: Path) -> int:
    """Check every layer of a model; return how many operands were exact."""
    if not model.graph.node:
        return 0
    onnx.save(model, path)
    imported = import_onnx(path)
    widened = {note.node for note in imported.notes if note.widened}
    exact = 0
    for layer in imported.network.layers:
        nodes = {imported.steps[i].name for i in imported.nodes[layer.name]}
        found = reads(imported.network, layer)
        needed = needs(model, imported, layer.name, seed=1)
        assert found.keys() <= needed.keys()
        for name, need in needed.items():
            assert name in found or not need.any(), f"{layer.name} reads nothing of {name}"
            if name in found:
                assert (found[name] | ~need).all(), f"{layer.name} reads too little of {name}"
                same = bool((found[name] == need).all())
                assert same or nodes & widened, f"{layer.name} reads too much of {name}, and no note says so"
                exact += same
    return exact


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs") / "graph.onnx"


@settings(max_examples=120)
@given(seed=st.integers(0, 2**32 - 1))
def test_layers_read_what_short_graphs_need(seed: int, path: Path) -> None:
    _compare(draw(random.Random(seed), 5), path)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_layers_read_what_longer_graphs_need(seed: int, path: Path) -> None:
    _compare(draw(random.Random(seed), 12), path)


def test_most_reads_are_exact(path: Path) -> None:
    assert sum(_compare(draw(random.Random(seed), 5), path) for seed in range(30)) > 100
