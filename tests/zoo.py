"""Builds a zoo of ONNX files, as people have them, and prints what the import makes of each.

    python tests/zoo.py FOLDER [--only TEXT]

Networks of torchvision, timm and transformers are exported with random weights, by both exporters of
torch, some with open axes; the light models of the onnx package are added, and some files are optimised and
quantised. Files that are there already are kept. Prints a line for each file, *exact*, *widened* or
*refused*, and the shares of all. In exact ones the products of every node are compared with the shapes that
onnxruntime has when it runs them. Needs torch, torchvision, timm, transformers and onnxscript beside what the
tests need.
"""

from __future__ import annotations

import argparse
import logging
import math
import multiprocessing
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_graphs import LIGHT, NAMES

from models.onnx.inputs import axes_of_input, input_shapes
from models.onnx.load import Imported, import_onnx
from overlapim_files import InputError

TIMEOUT = 240
"""Seconds for an exporter."""
TOKENS = 16
EXTENTS = {"batch": 1, "tokens": TOKENS}

TORCHVISION = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 "
    "mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d "
    "shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32 maxvit_t "
    "fcn_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large"
)
TIMM = (
    "beit_base_patch16_224 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convit_tiny convmixer_768_32 "
    "convnext_atto crossvit_tiny_240 cspresnet50 deit_tiny_patch16_224 edgenext_xx_small efficientformer_l1 "
    "efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_100 "
    "hrnet_w18_small lcnet_050 levit_128s mixer_s32_224 mobileone_s0 mobilevit_xxs nfnet_l0 pit_ti_224 "
    "poolformer_s12 pvt_v2_b0 repvgg_a0 resmlp_12_224 rexnet_100 sequencer2d_s tinynet_e tnt_s_patch16_224 "
    "twins_pcpvt_small visformer_tiny volo_d1_224 xcit_nano_12_p16_224"
)
TEXT = (
    "albert bert bloom convbert deberta distilbert electra ernie gemma gpt2 gpt_neo gpt_neox gptj llama "
    "mistral mobilebert mpnet opt phi qwen2 roberta roformer squeezebert xlm-roberta"
)
VISION = "beit cvt deit dinov2 levit mobilevit poolformer pvt segformer swin swinv2 vit yolos"
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
OTHER_FORMS = ("torchvision-resnet18", "torchvision-mobilenet_v2", "torchvision-vit_b_32", "text-bert")
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads"), 4),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_key_value_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "hidden_dim"), 128),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 64),
    **{"vocab_size": 100, "head_dim": 16, "rotary_dim": 8, "use_cache": False},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "layer_types": None},
}
"""What makes a language model small, by the names that configurations have for it."""


@dataclass(frozen=True)
class TorchNetwork:
    """A module with its inputs; `axes` names those axes of each input that may be left open."""

    module: Any
    inputs: tuple[Any, ...]
    axes: dict[str, dict[int, str]]


@dataclass(frozen=True)
class Outcome:
    """What became of a file, and the processor seconds that its import took."""

    name: str
    kind: str
    text: str
    seconds: float = 0.0


# Networks


def _image(module: Any, size: int) -> TorchNetwork:
    import torch

    return TorchNetwork(module, (torch.randn(1, 3, size, size),), {"image": {0: "batch"}})


def _torchvision(name: str) -> TorchNetwork:
    from torchvision import models

    keys = {"weights_backbone": None} if name in models.list_models(models.segmentation) else {}
    return _image(models.get_model(name, weights=None, **keys), 299 if name == "inception_v3" else 224)


def _timm(name: str) -> TorchNetwork:
    import timm

    module = timm.create_model(name, exportable=True)
    return _image(module, module.default_cfg["input_size"][-1])


def _text(name: str) -> TorchNetwork:
    import torch
    from transformers import AutoConfig

    usual = AutoConfig.for_model(name)
    known = {key: value for key, value in SMALL.items() if hasattr(usual, key)}
    if name == "gpt_neo":
        known["attention_types"] = [[["global", "local"], 1]]
    names = ("input_ids", "attention_mask")
    ids = torch.randint(3, 99, (1, TOKENS))
    module = _first_output(AutoConfig.for_model(name, **known), names)
    return TorchNetwork(module, (ids, torch.ones_like(ids)), {x: {0: "batch", 1: "tokens"} for x in names})


def _vision(name: str) -> TorchNetwork:
    from transformers import AutoConfig

    config = AutoConfig.for_model(name)
    size = getattr(config, "image_size", 224)
    return _image(
        _first_output(config, ("pixel_values",)), min(size if isinstance(size, int) else size[0], 224)
    )


def _first_output(config: Any, names: tuple[str, ...]) -> Any:
    """Return a module that takes arguments in an order and returns the first output of a network."""
    import torch
    from transformers import AutoModel

    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = AutoModel.from_config(config, attn_implementation="eager")

        def forward(self, *values: Any) -> Any:
            return self.module(**dict(zip(names, values, strict=True)), return_dict=False)[0]

    return First()


FAMILIES: dict[str, tuple[str, Callable[[str], TorchNetwork]]] = {
    "torchvision": (TORCHVISION, _torchvision),
    "timm": (TIMM, _timm),
    "text": (TEXT, _text),
    "vision": (VISION, _vision),
}


# Files


@dataclass(frozen=True)
class Export:
    """One export of a network of a family."""

    family: str
    name: str
    dynamo: bool = False
    opened: bool = False

    @property
    def file(self) -> str:
        """The name of the file."""
        form = "dynamo" if self.dynamo else "script"
        return f"{self.family}-{self.name}-{form}{'-open' if self.opened else ''}.onnx"

    def write(self, path: Path) -> None:
        """Write the file in a process of its own, as exporters may hang, or end theirs."""
        process = multiprocessing.get_context("spawn").Process(target=_write, args=(self, path))
        process.start()
        process.join(TIMEOUT)
        process.kill()


def _write(export: Export, path: Path) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = FAMILIES[export.family][1](export.name)
    keys: dict[str, Any] = {"input_names": [*network.axes], "verbose": False, "dynamo": export.dynamo}
    if export.opened:
        keys["dynamic_axes"] = network.axes
    part = path.with_suffix(".part")
    part.mkdir(exist_ok=True)
    torch.onnx.export(network.module.eval(), network.inputs, str(part / path.name), **keys)
    for made in part.iterdir():
        shutil.move(made, path.parent / made.name)
    part.rmdir()


def _wanted() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Give every file of the zoo, with what writes it."""
    for family, (names, _) in FAMILIES.items():
        for name in names.split():
            exports = [Export(family, name), Export(family, name, dynamo=True)]
            if family in ("torchvision", "text"):
                exports.append(Export(family, name, opened=True))
            yield from ((export.file, export.write) for export in exports)
    for name in NAMES:
        yield f"light-{name}.onnx", lambda path, n=name: shutil.copy(LIGHT / f"light_{n}.onnx", path)
    for name in OTHER_FORMS:
        source = f"{name}-script.onnx"
        yield f"{name}-optimised.onnx", lambda path, s=source: _optimise(path.parent / s, path)
        yield f"{name}-quantised.onnx", lambda path, s=source: _quantise(path.parent / s, path)


def _optimise(source: Path, path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(source), options)


def _quantise(source: Path, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(path))


# What becomes of them


def _outcome(path: Path) -> Outcome:
    import onnx

    model = onnx.load(path, load_external_data=False)
    stored = {x.name for x in model.graph.initializer}
    opened = [
        x.names[-1]
        for v in model.graph.input
        if v.name not in stored
        for x in axes_of_input(v)
        if not x.extent
    ]
    dims = {name: EXTENTS.get(name, TOKENS) for name in opened}
    begin = time.process_time()
    try:
        imported = import_onnx(path, dims)
    except InputError as error:
        return Outcome(path.stem, "refused", str(error).partition(": ")[2], time.process_time() - begin)
    seconds = time.process_time() - begin
    notes = Counter(f"({x.operator}) {x.text}" for x in imported.notes if x.widened)
    if notes:
        return Outcome(path.stem, "widened", "; ".join(f"{n} x {x}" for x, n in notes.items()), seconds)
    text = f"{len(imported.network.layers)} layers, {imported.network.macs:,} multiply-accumulates"
    off = _differing(model, path, dims, imported)
    return Outcome(path.stem, "WRONG" if off else "exact", f"{text} {off}", seconds)


def _differing(model: Any, path: Path, dims: dict[str, int], imported: Imported) -> str:
    """Return what layers have other products than the shapes of their nodes, as onnxruntime has them."""
    nodes = [node for node in model.graph.node if node.op_type in PRODUCTS]
    stored = {x.name: tuple(x.dims) for x in model.graph.initializer}
    names = {name for node in nodes for name in (*node.input[:2], *node.output[:1])} - {*stored}
    first, second = (_values(model, path, dims, names, seed) for seed in (0, 1))
    shapes = stored | {name: value.shape for name, value in first.items()}
    # What two different inputs do not change is a constant, of which no layer is made.
    live = [node for node in nodes if (first[node.output[0]] != second[node.output[0]]).any()]
    counted = Counter(math.prod(shapes[node.output[0]]) * _each(node, shapes) for node in live)
    missing = counted - Counter(layer.macs for layer in imported.network.layers)
    return f"without layers of {sorted(missing.elements())[:4]} products" if missing else ""


def _each(node: Any, shapes: dict[str, tuple[int, ...]]) -> float:
    """Return the products for one output of a node."""
    a, b = shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":
        return math.prod(b[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(a) * math.prod(b[1:]) / math.prod(shapes[node.output[0]])
    return a[-2 if any(x.name == "transA" and x.i for x in node.attribute) else -1]


def _values(model: Any, path: Path, dims: dict[str, int], names: set[str], seed: int) -> dict[str, Any]:
    """Return tensors of a file that runs on numbers drawn from a seed; integers are the seed."""
    import numpy as np
    import onnx
    import onnxruntime

    stored, rng, feeds = {x.name for x in model.graph.initializer}, np.random.default_rng(seed), {}
    given = [x for x in model.graph.input if x.name not in stored]
    for name, shape in input_shapes(given, (), dims).items():
        kind = next(x.type.tensor_type.elem_type for x in given if x.name == name)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        drawn = rng.random(shape) if dtype.kind == "f" else np.full(shape, seed)
        feeds[name] = drawn.astype(dtype)
    whole = onnx.load(path)
    made = {x.name for x in whole.graph.output}
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - made - {*feeds}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    asked = [x.name for x in session.get_outputs() if x.name in names]
    return dict(zip(asked, session.run(asked, feeds), strict=True)) | feeds


def main() -> None:
    """Build what is missing, import everything, and print a line for each file and the shares of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="TEXT", help="files with this in their names")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    kinds: Counter[str] = Counter()
    for file, write in _wanted():
        if given.only in file:
            found = _built(given.folder / file, write)
            kinds[found.kind] += 1
            print(f"{found.name:48} {found.kind:9} {found.seconds:5.1f} s  {found.text[:240]}", flush=True)
    total = kinds.total() - kinds["not built"]
    for kind, count in kinds.most_common():
        print(f"{kind:9} {count:4} {count / total:6.1%}")


def _built(path: Path, write: Callable[[Path], None]) -> Outcome:
    try:
        if not path.exists():
            write(path)
        return _outcome(path) if path.exists() else Outcome(path.stem, "not built", "the exporter cannot")
    except Exception as error:  # whatever exporters and runtimes raise
        return Outcome(path.stem, "not built", " ".join(repr(error).split()))


if __name__ == "__main__":
    main()
