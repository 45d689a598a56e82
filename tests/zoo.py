"""Builds a zoo of ONNX files, as people have them, and prints what the import makes of each.

    python tests/zoo.py FOLDER [--only TEXT] [--execute]

Networks of torchvision, timm and transformers are exported with random weights, by both exporters of
torch, some with open axes; the light models of the onnx package are added, and some files are optimised and
quantised. Files that are there already are kept. Prints a line for each file, *exact*, *widened* or
*refused*, and tables of all that was found so far, which is kept in FOLDER/results.json. The products of
every node are compared with the shapes that onnxruntime has when it runs them. With --execute small ones are
solved, and their operators run through the schedule. Needs torch, torchvision, timm, transformers,
onnxscript, onnxslim and onnxsim beside what the tests need.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import math
import multiprocessing
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx_graphs import LIGHT, NAMES
from zoo_networks import FAMILIES, TOKENS

from hw.library import load_hardware
from models.onnx.graph import Choices
from models.onnx.inputs import axes_of_input, input_shapes
from models.onnx.load import Imported, import_onnx
from overlapim_files import InputError
from solver.execute.check import check_execution
from solver.execute.operators import load_model
from solver.solve import solve
from solver.stop import Stop

MAX_EXECUTED = 2**26
"""Multiply-accumulates of what is executed at most."""
CHIP, SOLVING = "hbm2-bitsimd", 2.0
"""On which chip files are executed, and for how long they are solved."""
TIMEOUT = 240
"""Seconds for an exporter."""
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "torchvision", "timm", "transformers", "onnxscript"])
LENGTHS = {"decoder": TOKENS // 2, "past": TOKENS - 1}
"""Extents of axes that are left open, where an input begins with these words; of others `TOKENS`."""

FORMS = ("script", "dynamo", "script-open", "dynamo-open")
"""By which exporter, and whether axes are left open: networks of a family take turns."""
TRACED = ("detection",)
"""Families that only the older exporter can write."""
TWICE = ("layers", "decoding")
SECOND = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "FusedConv", "Gemm", "FusedGemm"), 1),
    **dict.fromkeys(("MatMul", "MatMulInteger", "FusedMatMul", "DynamicQuantizeMatMul"), 1),
    **dict.fromkeys(("MatMulIntegerToFloat", "Einsum", "GRU", "LSTM", "Attention", "MultiHeadAttention"), 1),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm"), 3),
}
"""Operators that multiply and add up, and which of their inputs is the second factor."""
SOURCES = (
    "small-resnet18-script",
    "small-mobilenet_v2-script",
    "small-squeezenet1_1-script",
    "small-vit_b_32-script",
    "text-bert-script",
    "text-gpt2-script",
)
"""Files of which other forms are made."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes
    ----------
    kind : `exact`, `widened` or `refused`; `WRONG` if products are missing, `not built` if there is no file.
    text : how large the network is, or why it is none.
    seconds : of the processor, for the import.
    widened : what was widened, each once.
    executed : `agrees`, or why it does not; empty if it was not tried.
    """

    file: str
    kind: str
    text: str
    seconds: float = 0.0
    widened: tuple[str, ...] = ()
    executed: str = ""


# Files


@dataclass(frozen=True)
class Export:
    """One export of a network of a family."""

    family: str
    name: str
    form: str

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.family}-{self.name}-{self.form}.onnx"

    def write(self, path: Path) -> None:
        """Write the file in a process of its own, as exporters may hang, or end theirs."""
        process = PROCESSES.Process(target=_write, args=(self, path))
        process.start()
        process.join(TIMEOUT)
        process.kill()


def _write(export: Export, path: Path) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    dynamo, opened = export.form.startswith("dynamo"), export.form.endswith("open")
    part = path.with_suffix(".part")
    part.mkdir(exist_ok=True)
    try:
        network = FAMILIES[export.family][2](export.name)
        keys: dict[str, Any] = {"input_names": [*network.axes], "verbose": False, "dynamo": dynamo}
        if opened and dynamo:
            keys["dynamic_shapes"] = network.dynamic_shapes()
        elif opened:
            keys["dynamic_axes"] = network.axes
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(network.module.eval(), network.inputs, str(part / path.name), **keys)
    except Exception as error:  # whatever exporters raise
        path.with_suffix(".failed").write_text(" ".join(str(error).split())[:400])
    else:
        for made in part.iterdir():
            shutil.move(made, path.parent / made.name)
    shutil.rmtree(part)


def _wanted() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Give every file of the zoo, with what writes it."""
    for name in NAMES:
        yield f"light-{name}.onnx", lambda path, n=name: shutil.copy(LIGHT / f"light_{n}.onnx", path)
    for family, (_, names, _) in FAMILIES.items():
        for i, name in enumerate(names.split()):
            forms = FORMS[::2] if family in TRACED else FORMS
            for form in [forms[(i + j) % len(forms)] for j in range(1 + (family in TWICE))]:
                export = Export(family, name, form)
                yield export.file, export.write
    for source in SOURCES:
        export = Export(*source.split("-"))
        yield export.file, export.write
    for form, rewrite in REWRITTEN.items():
        for source in SOURCES:
            name = f"{source.rpartition('-')[0]}-{form}.onnx"
            yield name, lambda path, s=f"{source}.onnx", r=rewrite: r(path.parent / s, path)


def _optimised(source: Path, path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(source), options)


def _dynamic(source: Path, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(path))


def _static(source: Path, path: Path, form: str) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load(source)
    given = [_drawn(model, {}, seed) for seed in (1, 2)]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            return given.pop() if given else None

    prepared = path.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(path), Reader(), getattr(QuantFormat, form))
    prepared.unlink()


def _slim(source: Path, path: Path) -> None:
    import onnxslim

    onnxslim.slim(str(source), str(path))


def _simplified(source: Path, path: Path) -> None:
    import onnx
    import onnxsim

    onnx.save(onnxsim.simplify(onnx.load(source))[0], path)


def _fused(source: Path, path: Path) -> None:
    from onnxruntime.transformers import optimizer

    kind = "gpt2" if "gpt2" in source.name else "vit" if "vit" in source.name else "bert"
    optimizer.optimize_model(str(source), kind, num_heads=4, hidden_size=64).save_model_to_file(str(path))


FORM_TITLES = {
    **dict.fromkeys(("optimised", "fused"), "optimised by onnxruntime"),
    **dict.fromkeys(("slim", "simplified"), "onnxslim, onnxsim"),
    "dynamic": "quantised, scales as it runs",
    **dict.fromkeys(("qdq", "qoperator"), "quantised, fixed scales"),
}
REWRITTEN: dict[str, Callable[[Path, Path], None]] = {
    "optimised": _optimised,
    "dynamic": _dynamic,
    "qdq": lambda source, path: _static(source, path, "QDQ"),
    "qoperator": lambda source, path: _static(source, path, "QOperator"),
    "slim": _slim,
    "simplified": _simplified,
    "fused": _fused,
}
"""Other forms of files: those of onnxruntime's optimisers and quantisers, onnxslim and onnxsim."""


# What becomes of them


def _extents(model: Any) -> dict[str, int]:
    """Return extents for the axes that a file leaves open."""
    stored = {x.name for x in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in stored]
    opened = [(value.name, i) for value in given for i, x in enumerate(axes_of_input(value)) if not x.extent]
    return {f"{name}.{i}": 1 if i == 0 else LENGTHS.get(name.partition("_")[0], TOKENS) for name, i in opened}


def _outcome(path: Path, execute: bool) -> Outcome:
    import onnx

    model = onnx.load(path, load_external_data=False)
    dims = _extents(model)
    begin = time.process_time()
    try:
        imported = import_onnx(path, dims)
    except InputError as error:
        reason = str(error).partition(": ")[2]
        return Outcome(path.name, "refused", reason, time.process_time() - begin)
    seconds = time.process_time() - begin
    widened = tuple(sorted({f"{x.operator}: {x.text}" for x in imported.notes if x.widened}))
    text = f"{len(imported.network.layers)} layers, {imported.network.macs:,} multiply-accumulates"
    off = _differing(model, path, dims, imported)
    kind = "widened" if widened else "WRONG" if off else "exact"
    executed = _executed(path, dims, imported) if execute and imported.network.macs <= MAX_EXECUTED else ""
    return Outcome(path.name, kind, f"{text} {off}", seconds, widened, executed)


def _executed(path: Path, dims: dict[str, int], imported: Imported) -> str:
    """Solve a network, execute the solution with the operators of the file, and say what that comes to."""
    network = imported.network
    if any(layer.name not in imported.nodes for layer in network.layers):
        return ""  # the steps of recurrent layers
    stop = Stop(seconds=SOLVING)
    try:
        solution = solve(network, load_hardware(CHIP), method="layerwise", stop=stop).solution
        model = load_model(path, Choices(dims), network)
        found = check_execution(solution, 0, lambda text: None, model)
    except InputError as error:
        return str(error)
    return found.differences[0] if found.differences else "agrees"


def _differing(model: Any, path: Path, dims: dict[str, int], imported: Imported) -> str:
    """Return in which products layers differ from the nodes, by the shapes that onnxruntime has."""
    nodes = _live(model)
    stored = {x.name: tuple(x.dims) for x in model.graph.initializer}
    names = {name for node in nodes for name in (*node.input, *node.output[:1]) if name} - {*stored}
    values = _values(path, dims, names, 1)
    shapes = stored | {name: value.shape for name, value in values.items()}
    counted = Counter(count for node in nodes for count in _products(node, shapes))
    layers = imported.network.layers
    missing = counted - Counter(layer.macs for layer in layers)
    if missing:
        # There is no layer either of what the inputs do not change, such as the first query of a class token.
        others = _values(path, dims, names, 2)
        same = [x for x in nodes if np.array_equal(values[x.output[0]], others[x.output[0]])]
        missing -= Counter(count for node in same for count in _products(node, shapes))
    if missing:
        return f"without layers of {sorted(missing.elements())[:4]} products"
    # Of other operators there are products of two activations element by element, which add nothing up.
    summing = Counter(x.macs for x in layers if any(x.bound(dim) > 1 for dim in ("C", "R", "S")))
    extra = summing - counted
    return f"layers of {sorted(extra.elements())[:4]} products, which no node makes" if extra else ""


def _live(model: Any) -> list[Any]:
    """Return the nodes that multiply and add up what follows from the inputs."""
    live, found = {x.name for x in model.graph.input}, []
    for node in model.graph.node:
        if live & {*node.input} and node.op_type not in ("Shape", "Size"):
            live |= {*node.output}
            found += [node] if SECOND.get(node.op_type, len(node.input)) < len(node.input) else []
    return found


def _products(node: Any, shapes: dict[str, tuple[int, ...]]) -> list[float]:
    """Return the products of each layer that a node makes."""
    given = {x.name: x for x in node.attribute}
    a, b = shapes[node.input[0]], shapes[node.input[SECOND[node.op_type]]]
    if node.op_type in ("GRU", "LSTM"):
        sequence, batch, inputs = a
        directions, gates, _ = b
        hidden = shapes[node.input[2]][2]
        return [batch * gates * (inputs + hidden)] * (sequence * directions)
    if node.op_type == "Einsum":
        sides = given["equation"].s.decode().replace(" ", "").partition("->")[0].split(",")
        more = [
            side.replace("...", "ABCDEF"[: len(x) + 3 - len(side)])
            for side, x in zip(sides, (a, b), strict=True)
        ]
        return [math.prod(dict(zip("".join(more), (*a, *b), strict=True)).values())]
    if node.op_type == "Attention":
        batch, tokens, channels = a
        width = b[1] // 3
        return [batch * tokens * channels * b[1], *[batch * tokens**2 * width] * 2]
    if node.op_type == "MultiHeadAttention":
        return [math.prod(a) * b[-2] if len(b) == 4 else math.prod(a) * b[1]] * 2
    if node.op_type == "ConvTranspose":
        return [math.prod(a) * math.prod(b[1:])]
    made = math.prod(shapes[node.output[0]])
    if node.op_type in ("Conv", "ConvInteger", "FusedConv", "QLinearConv"):
        return [made * math.prod(b[1:])]
    return [made * a[-2 if "transA" in given and given["transA"].i else -1]]


def _values(path: Path, dims: dict[str, int], names: set[str], seed: int) -> dict[str, Any]:
    """Return tensors of a file that is run on inputs drawn from a seed."""
    import onnx
    import onnxruntime

    whole = onnx.load(path)
    feeds = _drawn(whole, dims, seed)
    made = {x.name for x in whole.graph.output}
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - made - {*feeds}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    asked = [x.name for x in session.get_outputs() if x.name in names]
    return dict(zip(asked, session.run(asked, feeds), strict=True)) | feeds


def _drawn(model: Any, dims: dict[str, int], seed: int) -> dict[str, Any]:
    """Return the inputs of a model: numbers drawn from a seed; integers are the seed."""
    import onnx

    stored, rng = {x.name for x in model.graph.initializer}, np.random.default_rng(seed)
    feeds: dict[str, Any] = {}
    given = [x for x in model.graph.input if x.name not in stored]
    for name, shape in input_shapes(given, (), dims).items():
        kind = next(x.type.tensor_type.elem_type for x in given if x.name == name)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        feeds[name] = (rng.random(shape) if dtype.kind == "f" else np.full(shape, seed)).astype(dtype)
    return feeds


def main() -> None:
    """Build what is missing, import everything, and print a line for each file and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="TEXT", help="files with this in their names")
    parser.add_argument("--execute", action="store_true", help="run the operators of small ones, too")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    results = given.folder / "results.json"
    known = {x["file"]: Outcome(**x) for x in json.loads(results.read_text())} if results.exists() else {}
    for file, write in dict(_wanted()).items():
        if given.only in file:
            found = known[file] = _built(given.folder / file, write, given.execute)
            text = "; ".join([found.executed, found.text, *found.widened])
            print(f"{found.file:48} {found.kind:9} {found.seconds:5.1f} s  {text[:400]}", flush=True)
            results.write_text(json.dumps([asdict(x) for x in known.values()]))
    for line in _tables([known[file] for file, _ in _wanted() if file in known]):
        print(line)


def _built(path: Path, write: Callable[[Path], None], execute: bool) -> Outcome:
    failed = path.with_suffix(".failed")
    try:
        if not path.exists() and not failed.exists():
            failed.write_text("it took too long")
            write(path)
        if not path.exists():
            return Outcome(path.name, "not built", failed.read_text())
        failed.unlink(missing_ok=True)
        return _outcome(path, execute)
    except Exception as error:  # whatever exporters and runtimes raise
        return Outcome(path.name, "not built", " ".join(repr(error).split()))


# Tables


def _title(file: str) -> str:
    """Return the row of a file."""
    form, family = file.removesuffix(".onnx").rpartition("-")[2], file.partition("-")[0]
    if form in FORM_TITLES:
        return FORM_TITLES[form]
    return FAMILIES[family][0] if family in FAMILIES else "light models of the onnx package"


def _tables(known: Sequence[Outcome]) -> Iterator[str]:
    """Give the tables of docs/onnx.md: what became of the files, and what was widened in how many of them."""
    outcomes = [*{x.file: x for x in known if x.kind != "not built"}.values()]
    titles = dict.fromkeys(_title(x.file) for x in outcomes)
    rows = {title: [x for x in outcomes if _title(x.file) == title] for title in titles}
    yield "\n| | files | exact | widened | refused | executed, agree | layers, at most |"
    yield "|---|---|---|---|---|---|---|"
    for title, own in [*rows.items(), ("all", outcomes)]:
        kinds = Counter(x.kind for x in own)
        tried = [x for x in own if x.executed]
        agree = sum(x.executed == "agrees" for x in tried)
        largest = max((int(x.text.partition(" ")[0]) for x in own if x.kind != "refused"), default=0)
        counts = len(own), kinds["exact"], kinds["widened"], kinds["refused"]
        shown = *counts, f"{len(tried)}, {agree}", largest
        yield f"| {title} | {' | '.join(map(str, shown))} |"
    yield "\n| what was widened | in files |\n|---|---|"
    for text, count in Counter(text for x in outcomes for text in x.widened).most_common():
        yield f"| {text} | {count} |"


if __name__ == "__main__":
    main()
