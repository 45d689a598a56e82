"""Constants made of constants, in the file, beside it and by functions of it: they leave nothing to note."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import Net

from models.onnx.constants import LOOKUPS, Constants
from models.onnx.functions import Step
from models.onnx.graph import read_node
from models.onnx.load import Imported, import_onnx
from overlapim_files import InputError


def _imported(model: onnx.ModelProto, tmp_path: Path) -> Imported:
    onnx.save(model, tmp_path / "net.onnx")
    return import_onnx(tmp_path / "net.onnx")


def _table(net: Net, value: npt.ArrayLike) -> str:
    name = f"table_{len(net.constants)}"
    net.constants.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _padding(net: Net) -> str:
    """How much to pad (2, 5) to (2, 8): a pair for each axis, above zero, turned around and flattened."""
    missing = net.add("Sub", net.constant(2, 8), net.add("Shape", "input"))
    both = net.add(
        "Concat", net.add("Clip", missing, net.constant(0, scalar=True)), net.constant(0, 0), axis=0
    )
    pairs = net.add("Reshape", both, net.constant(2, -1))
    ends = [net.constant(*x) for x in ([-1], [-3], [0], [-1])]
    return str(net.add("Reshape", net.add("Slice", pairs, *ends), net.constant(-1)))


def test_padding_that_is_computed_from_the_shape(tmp_path: Path) -> None:
    net = Net("padded")
    x = net.add("Pad", net.input(2, 5), _padding(net))
    imported = _imported(net.model(net.add("MatMul", x, net.weight(8, 3))), tmp_path)
    assert (imported.notes, imported.network.macs) == ((), 2 * 8 * 3)
    assert imported.network.layers[0].operands[0].axes.ch.offset == 0  # five elements, then padding


def test_weights_that_are_normalised_as_in_training(tmp_path: Path) -> None:
    net = Net("normalised")
    flat = net.add("Reshape", net.weight(4, 3, 3, 3), net.constant(1, 4, 27))
    ones = [net.weight(4) for _ in range(4)]
    normal, _, _ = net.add("BatchNormalization", flat, *ones, outputs=3, training_mode=1)
    kernel = net.add("Reshape", normal, net.constant(4, 3, 3, 3))
    imported = _imported(net.model(net.add("Conv", net.input(1, 3, 5, 5), kernel)), tmp_path)
    assert (imported.notes, imported.network.macs, imported.network.weights) == ((), 9 * 4 * 27, 4 * 27)


@pytest.mark.parametrize("operator", [*LOOKUPS, "NonZero", "OneHot", "TopK", "CumSum", "ReverseSequence"])
def test_whatever_is_done_to_constants_is_a_constant(operator: str, tmp_path: Path) -> None:
    rng, net = np.random.default_rng(1), Net("constants")
    data, places = _table(net, rng.normal(size=(3, 4)).astype(np.float32)), _table(net, np.array([[2], [0]]))
    wide = _table(net, np.array([[1, 0, 2, 2]]))
    inputs = {
        "GatherND": [data, places],
        "GatherElements": [data, wide],
        "ScatterND": [data, places, _table(net, np.ones((2, 4), np.float32))],
        "ScatterElements": [data, wide, _table(net, np.ones((1, 4), np.float32))],
        "NonZero": [data],
        "OneHot": [places, net.constant(4, scalar=True), _table(net, np.float32([0, 1]))],
        "TopK": [data, net.constant(2)],
        "CumSum": [data, net.constant(1, scalar=True)],
        "ReverseSequence": [data, _table(net, np.array([1, 2, 1, 3]))],
    }
    made = net.add(operator, *inputs[operator], outputs=2 if operator == "TopK" else 1)
    made = made[0] if operator == "TopK" else made
    total = net.add("ReduceSum", net.add("Cast", made, to=TensorProto.FLOAT), keepdims=0)
    x = net.add("Add", net.add("MatMul", net.input(2, 5), net.weight(5, 3)), total)
    imported = _imported(net.model(net.add("MatMul", x, net.weight(3, 3))), tmp_path)
    assert (imported.notes, imported.network.macs) == ((), 2 * 5 * 3 + 2 * 3 * 3)
    assert imported.exactly().layers[1].operands[0].axes.ch.windows == ()


@pytest.mark.parametrize("seed", range(6))
def test_lookups_are_those_of_onnxruntime(seed: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(2, 3, 4)).astype(np.float32)
    batch = seed % 2
    nd = rng.integers(-2, 2, (2, 3, 2)) if batch else rng.integers(-2, 2, (3, 2))
    places = np.argsort(rng.normal(size=(2, 3, 4)), axis=seed % 3)[:2, :2, :2]
    places = np.minimum(places, data.shape[seed % 3] - 1)
    different = np.array([[0, 1], [1, 2]])
    cases = {
        "GatherND": ([data, nd], {"batch_dims": batch}),
        "ScatterND": ([data, different, rng.normal(size=(2, 4)).astype(np.float32)], {}),
        "GatherElements": ([data, places], {"axis": seed % 3}),
        "ScatterElements": ([data, places, rng.normal(size=places.shape).astype(np.float32)], {"axis": 2}),
    }
    for operator, (values, attributes) in cases.items():
        if operator == "ScatterElements":
            values[1] = np.argsort(rng.normal(size=(2, 2, 4)), axis=2)[:, :, :2]
        names = [f"x{i}" for i in range(len(values))]
        node = helper.make_node(operator, names, ["y"], **attributes)
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for name, v in zip(names, values, strict=True)
        ]
        graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info("y", 1, None)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        found = LOOKUPS[operator](read_node(0, Step(node, 17)), *values)
        assert np.array_equal(found, session.run(None, dict(zip(names, values, strict=True)))[0]), operator


def test_tensors_without_elements(tmp_path: Path) -> None:
    """What lies behind the last axis of a shape: nothing, and it is joined to other extents all the same."""
    net = Net("empty")
    x = net.add("MatMul", net.input(3, 4), net.weight(4, 6))
    shape = net.add("Shape", x)
    rest = net.add("Slice", shape, net.constant(2), net.constant(2**40))
    wanted = net.add("Concat", rest, net.constant(3, 2, 3), net.add("Gather", rest, rest), axis=0)
    imported = _imported(
        net.model(net.add("MatMul", net.add("Reshape", x, wanted), net.weight(3, 2))), tmp_path
    )
    assert (imported.notes, imported.network.macs) == ((), 3 * 4 * 6 + 3 * 2 * 3 * 2)


# Beside the file


def _with_table(tmp_path: Path, location: str) -> Path:
    """A model that reads every third column; which ones these are stands in another file."""
    table = numpy_helper.from_array(np.arange(0, 300, 3), "columns")
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "16"), ("length", "800")):
        table.external_data.add(key=key, value=value)
    net = Net("outside")
    x = net.add("MatMul", net.input(2, 4), net.weight(4, 300))
    x = net.add("Gather", x, "columns", axis=1)
    model = net.model(net.add("MatMul", x, net.weight(100, 2)))
    model.graph.initializer.append(table)
    path = tmp_path / "model" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    return path


def _write_table(path: Path) -> None:
    path.write_bytes(bytes(16) + np.arange(0, 300, 3).astype("<i8").tobytes())


def test_a_table_beside_the_model_is_read(tmp_path: Path) -> None:
    path = _with_table(tmp_path, "net.data")
    _write_table(path.with_name("net.data"))
    imported = import_onnx(path)
    assert imported.notes == () and imported.network.layers[1].operands[0].axes.ch.terms == {"C": 3}


@pytest.mark.parametrize("place", ["../net.data", "{folder}/net.data", "link.data", "missing", "pipe"])
def test_nothing_outside_of_its_folder_is_read(place: str, tmp_path: Path) -> None:
    """The columns are not known then, so all are read; a link out of the folder leads out of it, too."""
    path = _with_table(tmp_path, place.format(folder=tmp_path))
    _write_table(tmp_path / "net.data")
    (path.parent / "link.data").symlink_to(tmp_path / "net.data")
    os.mkfifo(path.parent / "pipe")
    assert [note.text for note in import_onnx(path).notes] == [
        "the indices are computed: the whole axis is read"
    ]


def test_a_table_that_is_too_short_is_not_known(tmp_path: Path) -> None:
    path = _with_table(tmp_path, "net.data")
    path.with_name("net.data").write_bytes(bytes(100))
    assert import_onnx(path).notes[0].widened


# Functions


def _function(name: str, body: str) -> onnx.FunctionProto:
    return onnx.parser.parse_function(f'<domain: "own", opset_import: ["" : 17, "own" : 1]> {name} {body}')


def _calling(*functions: onnx.FunctionProto, call: str = "Two") -> onnx.ModelProto:
    net = Net("calls")
    x = net.add("MatMul", net.input(2, 4), net.weight(4, 6))
    x = net.add(call, x, net.weight(6, 3), domain="own", slope=0.25)
    model = net.model(net.add("MatMul", x, net.weight(3, 5)))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.extend(functions)
    return model


LEAK = _function("Leak", "<alpha: float = 0.5> (x) => (y) { y = LeakyRelu <alpha: float = @alpha> (x) }")
TWO = _function(
    "Two", "<slope> (x, w) => (z) { y = Leak <alpha: float = @slope> (x) t = MatMul (y, w) z = own.Leak (t) }"
)


def test_functions_of_the_file_are_inlined(tmp_path: Path) -> None:
    for node in TWO.node:
        node.domain = "own" if node.op_type == "Leak" else ""
    imported = _imported(_calling(TWO, LEAK), tmp_path)
    assert [layer.macs for layer in imported.exactly().layers] == [48, 36, 30]
    assert [layer.post for layer in imported.network.layers] == [1, 1, 0]
    slopes = [a.f for node in imported.steps.values() for a in node.attribute if a.name == "alpha"]
    assert slopes == [0.25, 0.5]  # given with the call, and the default


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    loop = _function("Two", "(x, w) => (z) { y = own.Two (x, w) z = own.Two (y, w) }")
    for node in loop.node:
        node.op_type, node.domain = "Two", "own"
    with pytest.raises(InputError, match="call each other too deeply, or become too many nodes"):
        _imported(_calling(loop), tmp_path)


def test_running_constants_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without time left, values are not known, and what needs them says so."""
    monkeypatch.setattr(Constants, "__init__", lambda self: self.__dict__.update(_elements=0, _seconds=0.0))
    net = Net("late")
    x = net.add("Reshape", net.input(2, 6), net.add("Add", net.constant(3, 4), net.constant(0, 0)))
    with pytest.raises(InputError, match="its 'shape' is not known before it runs"):
        _imported(net.model(net.add("MatMul", x, net.weight(4, 2))), tmp_path)
