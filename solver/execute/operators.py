"""Runs the operators of an ONNX file in the order of a schedule, and compares with onnxruntime on all of it.

A layer is computed by those nodes of the file that lie between it and the layers that it reads. Whenever a
block completes outputs, they are taken from a run of these nodes. In it an element is not-a-number unless a
block of the layer has read it by then, and it was finished when that happened. What is a number in one run
stays so in later ones; so a run is repeated only for outputs that were not-a-number before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.network import Network
from models.onnx.graph import Choices
from models.onnx.inputs import input_shapes
from models.onnx.load import Imported, import_chosen
from overlapim_files import InputError, shorten
from solver.execute.missing import another, loses_missing
from solver.execute.numbers import Numbers
from solver.execute.reading import TimedTensor
from solver.execute.replaced import as_read, is_replaced
from solver.execute.run import Executed, in_time
from solver.solution import difference
from solver.timing.infinity import INFINITY

if TYPE_CHECKING:
    import onnx
    import onnxruntime

TOLERANCE = 1e-4
"""Of single-precision sums that are added up in different orders."""
INSTALL = "pip install 'fast-overlapim[execute]'"
Values = Mapping[str, npt.NDArray[Any]]
"""Of ONNX tensors by name."""

MAXIMA = frozenset(("MaxPool", "GlobalMaxPool", "ReduceMax"))
"""Operators that onnxruntime lets leave out what is not-a-number."""
USUAL, NONE = "ORT_ENABLE_ALL", "ORT_DISABLE_ALL"
"""How nodes are rewritten: those of a layer not at all, as fused ones might lose what is not-a-number."""
CONSTANTS_ALONE = 4
"""The first version of the format in which constants need not be inputs too."""
ZERO, ONE = "/guard/zero", "/guard/one"


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An ONNX file whose operators are to be run."""

    path: Path
    dims: Mapping[str, int]
    proto: onnx.ModelProto
    imported: Imported


def load_model(path: Path, choices: Choices, network: Network) -> OnnxModel:
    """Read an ONNX file, with its weights, that is said to be a network.

    Raises
    ------
    InputError
        if it is imported to another network, if a layer is no tensor of the file, or without onnxruntime.
    """
    imported = import_chosen(path, choices)
    if text := difference(imported.network.model_dump(), network.model_dump()):
        raise InputError(f"{path}: it is imported to another network than that of the solution: {text}")
    for layer in network.layers:
        if layer.name not in imported.nodes:
            raise InputError(f"{path}: layer '{layer.name}' is no tensor of the file, so it cannot be run")
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        raise InputError(f"--onnx: running operators needs the package onnxruntime: {INSTALL}") from None
    import onnx

    try:
        proto = onnx.load(path)
    except Exception as error:  # whatever the library raises for weights that are not where they should be
        raise InputError(f"{path}: its weights cannot be read: {shorten(str(error), 200)}") from None
    return OnnxModel(path, choices.dims, proto, import_chosen(path, choices, proto))


def draw_inputs(model: OnnxModel, seed: int) -> Values:
    """Draw the inputs: normally distributed numbers; zeros and ones where they are integers."""
    from onnx import helper

    rng = np.random.default_rng(seed)
    stored = {x.name for x in model.proto.graph.initializer}
    declared = [x for x in model.proto.graph.input if x.name not in stored]
    shapes = input_shapes(declared, (), model.dims)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for value in declared:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        shape = shapes[value.name]
        whole = rng.integers(0, 2, shape) if kind.kind in "iub" else rng.standard_normal(shape)
        inputs[value.name] = np.asarray(whole, kind)
    return inputs


def run_whole(model: OnnxModel, inputs: Values) -> Values:
    """Run the whole file; return the tensors of all layers and inputs of the network.

    What stands for an operator of several layers, or for a call of a function, is run in its place, and must
    come to what the file itself makes.
    """
    names = [place.tensor for place in model.imported.placed.values() if place.tensor not in inputs]
    if not is_replaced(model.proto, model.imported):
        return {**inputs, **_tensors(model, model.proto, inputs, names)}
    proto = as_read(model.proto, model.imported)
    ends = [output.name for output in proto.graph.output]
    values = _tensors(model, proto, inputs, [*names, *ends])
    for name, true in _tensors(model, model.proto, inputs, ends).items():
        if true.shape != values[name].shape or relative_difference(values[name], true) > TOLERANCE:
            text = f"what stands for its operators does not make '{shorten(name)}' as onnxruntime does"
            raise InputError(f"{model.path}: {text}")
    return {**inputs, **values}


def _tensors(
    model: OnnxModel, graph: onnx.ModelProto, inputs: Values, names: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """Run a model; return some of its tensors."""
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(graph)
    names = list(dict.fromkeys(names))
    made = {output.name for output in proto.graph.output}
    proto.graph.output.extend([onnx.ValueInfoProto(name=name) for name in names if name not in made])
    level = NONE if any(_rounds(node.op_type) for node in proto.graph.node) else USUAL
    values = dict(zip(names, _run(_session(model, proto, level), inputs, names, model), strict=True))
    for name in names:
        if np.isnan(values[name]).any():
            text = f"onnxruntime itself makes '{shorten(name)}' not-a-number"
            raise InputError(f"{model.path}: {text}; nothing can be told from that")
    return values


def relative_difference(values: npt.NDArray[Any], true: npt.NDArray[Any]) -> float:
    """Return the largest difference, as a part of the largest number that is finite."""
    largest = float(np.abs(true[np.isfinite(true)]).max(initial=0)) or 1.0
    with np.errstate(invalid="ignore"):
        off = np.where(values == true, 0.0, np.abs(values.astype(np.float64) - true.astype(np.float64)))
    return float(off.max(initial=0)) / largest


def _rounds(operator: str) -> bool:
    """Return whether an operator rounds to integers; a sum added up in another order may round otherwise."""
    return "Quant" in operator or "Integer" in operator or operator.startswith("QLinear")


def run_blocks(
    model: OnnxModel,
    network: Network,
    executed: Sequence[Executed],
    transfer: int,
    values: Values,
    doing: Callable[[int], None],
) -> list[float]:
    """Run the operators block by block.

    Parameters
    ----------
    executed : when the blocks start and when their outputs are finished.
    values : of the whole file, to compare with.
    doing : called with the number of blocks that are done.

    Returns
    -------
    For each layer the largest difference, as a part of the largest number in the layer's tensor.

    Raises
    ------
    InputError
        if operators need what was not finished, or what no block has read; names layer, element and time.
    """
    tensors = {name: TimedTensor(name, shape) for name, shape in network.shapes.items()}
    for x in network.inputs:
        place = model.imported.placed[x.name]
        tensors[x.name].write(place.positions().ravel(), values[place.tensor].ravel().astype(np.float64), 0)
    runs = [
        _Layer(model, x.name, times, transfer, tensors, values)
        for x, times in zip(network.layers, executed, strict=True)
    ]
    for done, (start, i, position) in enumerate(in_time([times.starts for times in executed])):
        doing(done)
        runs[i].block(position, start)
    return [run.difference() for run in runs]


class _Layer:
    """One layer whose nodes are run."""

    def __init__(
        self,
        model: OnnxModel,
        name: str,
        executed: Executed,
        transfer: int,
        tensors: dict[str, TimedTensor],
        values: Values,
    ) -> None:
        place = model.imported.placed[name]
        self.name, self.model, self.own = name, model, place.tensor
        self.tensor, self.positions = tensors[name], place.positions().ravel()
        self.expected = values[place.tensor].ravel()
        self.ready = executed.finish.ravel()[self.positions] + transfer
        block = np.searchsorted(executed.starts, executed.finish.ravel()[self.positions]) - 1
        self.order = np.argsort(block, kind="stable")
        self.ends = np.searchsorted(block[self.order], np.arange(len(executed.starts) + 1))
        self.result = np.full(self.positions.size, np.nan)
        proto, read, self.losing = _part(model, name, values)
        self.session = _session(model, proto, NONE)
        places = model.imported.placed
        self.reads = [(tensors[x], places[x], values[places[x].tensor]) for x in read]
        self.loaded = executed.loaded

    def block(self, position: int, start: int) -> None:
        """Take the outputs that the block at a position of the order of execution completes."""
        own = self.order[self.ends[position] : self.ends[position + 1]]
        if np.isnan(self.result[own]).any():
            self._compute(start)
        if (none := np.isnan(self.result[own])).any():
            place = int(self.positions[own[none][0]])
            element = tuple(int(i) for i in np.unravel_index(place, self.tensor.shape))
            where = f"layer '{self.name}': block {position + 1} of {len(self.ends) - 1}"
            text = "miss something that was unfinished when it was read, or has not been read"
            raise InputError(f"{where}: at {start} the operators for element {element} {text}")
        self.tensor.write(self.positions[own], self.result[own], self.ready[own])

    def _compute(self, start: int) -> None:
        self.result = self._run(start, lambda true: np.full(true.shape, np.nan) if not self.losing else true)
        if self.losing:
            again = self._run(start, another)
            self.result = np.where(self.result == again, self.result, np.nan)

    def _run(self, start: int, stand_in: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Numbers:
        """Run the nodes; what is missing is what `stand_in` makes of the values that it will have."""
        feeds = {}
        for tensor, place, true in self.reads:
            loaded = self.loaded.get(tensor.name, np.full(tensor.shape, INFINITY))
            there = (loaded <= start) & (tensor.ready <= loaded)
            spots = place.positions()
            known, values = there.ravel()[spots], tensor.values.ravel()[spots]
            feeds[place.tensor] = np.where(known, values, stand_in(true)).astype(true.dtype)
        (result,) = _run(self.session, feeds, [self.own], self.model)
        return result.ravel().astype(np.float64)

    def difference(self) -> float:
        """Return the largest difference to what is expected, as a part of the largest number."""
        return relative_difference(self.tensor.values.ravel()[self.positions], self.expected)


def _part(model: OnnxModel, layer: str, values: Values) -> tuple[onnx.ModelProto, list[str], bool]:
    """Return the nodes of one layer as a model of its own, the names of what it reads in the network, and
    whether it may lose what is not-a-number.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, imported = model.proto.graph, model.imported
    sources = {place.tensor: name for name, place in imported.placed.items() if name != layer}
    stored = {x.name: x for x in graph.initializer}
    makers = {name: node for node in imported.steps.values() for name in node.output}
    nodes = [imported.steps[i] for i in imported.nodes[layer]]
    made = {name for node in nodes for name in node.output}
    read: list[str] = []
    constants: list[TensorProto] = []
    left = [name for node in nodes for name in node.input]
    while left:
        name = left.pop()
        if not name or name in made:
            continue
        made.add(name)
        if name in sources:
            read.append(name)
        elif name in stored:
            constants.append(stored[name])
        elif name in imported.constants:
            constants.append(numpy_helper.from_array(imported.constants[name], name))
        elif name not in makers:
            constants.append(numpy_helper.from_array(values[name], name))  # an input that is a weight
        else:
            nodes.insert(0, makers[name])
            left += makers[name].input
    own = imported.placed[layer].tensor
    kinds = {name: helper.np_dtype_to_tensor_dtype(values[name].dtype) for name in [*read, own]}
    constants += [
        numpy_helper.from_array(np.array(x, values[own].dtype), name) for x, name in ((0, ZERO), (1, ONE))
    ]
    part = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(name, kinds[name], values[name].shape) for name in read],
        [helper.make_tensor_value_info(own, kinds[own], None)],
        constants,
    )
    version = max(model.proto.ir_version, CONSTANTS_ALONE)
    proto = helper.make_model(part, opset_imports=model.proto.opset_import, ir_version=version)
    losing = loses_missing(proto, nodes, read, any(values[name].dtype.kind in "iub" for name in read))
    if not losing:
        del proto.graph.node[:]
        proto.graph.node.extend([x for node in nodes for x in _guarded(node, kinds[own])])
    return proto, [sources[name] for name in read], losing


def _guarded(node: onnx.NodeProto, kind: int) -> list[onnx.NodeProto]:
    """Return a maximum so that it is not-a-number if one of its terms is; other nodes as they are.

    To the maximum of x is added 0 / (1 - the maximum of what tells, by 1, that x is not-a-number).
    """
    from onnx import helper

    if node.op_type not in MAXIMA:
        return [node]
    source, target = node.input[0], node.output[0]
    plain, lost, told, some, none, zero = (f"{target}/guard/{i}" for i in range(6))
    return [
        _again(node, source, plain),
        helper.make_node("IsNaN", [source], [lost]),
        helper.make_node("Cast", [lost], [told], to=kind),
        _again(node, told, some),
        helper.make_node("Sub", [ONE, some], [none]),
        helper.make_node("Div", [ZERO, none], [zero]),
        helper.make_node("Add", [plain, zero], [target]),
    ]


def _again(node: onnx.NodeProto, source: str, target: str) -> onnx.NodeProto:
    """Return a node like another one that reads and makes other tensors."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name, copy.input[0] = target, source
    del copy.output[1:]
    copy.output[0] = target
    return copy


def _session(model: OnnxModel, proto: onnx.ModelProto, level: str) -> onnxruntime.InferenceSession:
    """Return a session that rewrites nodes as far as a level of onnxruntime says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    return _plain(model, lambda: onnxruntime.InferenceSession(proto.SerializeToString(), options))


def _run(session: Any, feeds: Values, names: Sequence[str], model: OnnxModel) -> list[npt.NDArray[Any]]:
    return list(_plain(model, lambda: session.run(list(names), dict(feeds))))


def _plain(model: OnnxModel, call: Callable[[], Any]) -> Any:
    """Say in one line what onnxruntime has against a file."""
    try:
        return call()
    except Exception as error:  # it has no base class for its errors
        text = " ".join(str(error).split())
        raise InputError(f"{model.path}: onnxruntime cannot run it: {shorten(text, 300)}") from None
