"""The built-in networks by name, and networks from files."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models.alexnet import alexnet
from models.decoder import (
    GPT2,
    LLAMA_2_7B,
    LLAMA_3_2_1B,
    QWEN_2_5_05B,
    Decoder,
    decode,
    forward,
    prefill,
)
from models.inception import inception_v1
from models.mobilenet import mobilenetv2
from models.network import Network
from models.resnet import resnet18, resnet50
from models.squeezenet import squeezenet
from models.timeloop.chain import Chained
from models.timeloop.load import (
    ImportOptions,
    check_values,
    layer_name,
    load_directory,
    network_of,
    read_document,
)
from models.toy import toy
from models.transformer import BERT_BASE, encode
from models.vgg import vgg16, vgg19
from overlapim_files import LIST, InputError, looks_like_path, shorten, unknown

NETWORKS: dict[str, Callable[[], Network]] = {
    "toy": toy,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "alexnet": alexnet,
    "squeezenet": squeezenet,
    "inception-v1": inception_v1,
    "mobilenetv2": mobilenetv2,
}


@dataclass(frozen=True)
class Sequence:
    """A network for a sequence of tokens: built from its name and their number, from `least` to `most`."""

    build: Callable[[str, int], Network]
    most: int
    least: int = 1


WHOLE = ""
"""The pass over a whole sequence, which a network has without one of its other passes."""


def _passes(model: Decoder) -> dict[str, Sequence]:
    """Return the passes of a language model; the first token has no other in a cache."""
    return {
        WHOLE: Sequence(partial(forward, model), model.longest),
        "prefill": Sequence(partial(prefill, model), model.longest),
        "decode": Sequence(partial(decode, model), model.longest, least=2),
    }


SEQUENCES: dict[str, dict[str, Sequence]] = {
    "bert-base": {WHOLE: Sequence(partial(encode, BERT_BASE), 512)},
    "gpt2": _passes(GPT2),
    "llama-3.2-1b": _passes(LLAMA_3_2_1B),
    "llama-2-7b": _passes(LLAMA_2_7B),
    "qwen2.5-0.5b": _passes(QWEN_2_5_05B),
}
"""The networks for sequences, and the passes that each of them has."""

TOKENS = 128
"""Length of a sequence unless the name says otherwise, as in `bert-base:512`."""


def network_names() -> list[str]:
    """Return the names of the built-in networks."""
    return [*NETWORKS, *SEQUENCES]


def is_onnx(name_or_path: str) -> bool:
    """Return whether a network's name is that of an ONNX file."""
    return name_or_path.lower().endswith(".onnx")


def is_file(name_or_path: str) -> bool:
    """Return whether a network's name is that of a file or a directory, since none built in is called so."""
    built_in = name_or_path.partition(":")[0] in network_names()
    return not built_in and looks_like_path(name_or_path)


def load_network(name_or_path: str) -> Network:
    """Return a built-in network, or read a network file; a built-in name goes before a file of that name.

    A file may be a Timeloop problem, and a directory holds such problems, one for each layer; or it is a
    workload of AccelForge or a list of layers of ZigZag. A network for a sequence may be given the number of
    tokens after a colon, `bert-base:512`, and a language model a pass with it: `gpt2:prefill@512`,
    `gpt2:decode@512`. What a file leaves open is an error or has a default; `import_onnx` and `import_file`
    take it.

    Raises
    ------
    InputError
        if there is no such network, or if the file is not a valid network.
    """
    name, colon, suffix = name_or_path.partition(":")
    if name in SEQUENCES:
        return _sequence(name, suffix) if colon else SEQUENCES[name][WHOLE].build(name, TOKENS)
    if name in NETWORKS:
        if colon:
            *others, last = SEQUENCES
            takers = f"{', '.join(others)} and {last}"
            raise InputError(f"{shorten(name_or_path)}: only {takers} take a number of tokens, not {name}")
        return NETWORKS[name]()
    if is_onnx(name_or_path):
        from models.onnx.load import import_onnx

        return import_onnx(name_or_path).network
    return import_file(name_or_path, ImportOptions()).network


def import_file(name_or_path: str, given: ImportOptions) -> Chained:
    """Read a network file, Timeloop's problems or other programs' layers; with what is to be said of them.

    Raises
    ------
    InputError
        if there is no such file, it is not a valid network, or nothing in it is open that is given.
    """
    if not looks_like_path(name_or_path):
        raise unknown("network", name_or_path, network_names())
    path = Path(name_or_path)
    if _is_directory(path):
        return load_directory(path, given)
    document = read_document(path, given)
    name = layer_name(path)
    if "problem" in document.data:
        return network_of(name, {name: document}, name_or_path, given)
    check_values([document], given)
    if "workload" in document.data:
        from models.timeloop.cascade import network_of_workload

        given.refuse_beside(("dim", "edges"), name_or_path)
        return network_of_workload(name, document, given)
    given.refuse_beside((), name_or_path)
    if LIST in document.data:
        from models.timeloop.zigzag import network_of_layers

        return network_of_layers(name, document)
    return Chained(document.record(Network), ())


def _is_directory(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _sequence(name: str, suffix: str) -> Network:
    """Return a network for the number of tokens, or the pass and that number, behind the colon."""
    passes = SEQUENCES[name]
    kind, at, tokens = suffix.rpartition("@")
    if at and (kind == WHOLE or kind not in passes):
        raise InputError(f"{name}: there is no pass {shorten(repr(kind))}{_known_passes(name)}")
    which = passes[kind]
    if not re.fullmatch("[1-9][0-9]{0,8}", tokens) or not which.least <= int(tokens) <= which.most:
        of, given = f" of {kind}" if at else "", shorten(repr(tokens))
        hint = "" if at or tokens.isdigit() else _known_passes(name)
        limits = f"an integer from {which.least} to {which.most}"
        raise InputError(f"{name}: the number of tokens{of} must be {limits}, not {given}{hint}")
    return which.build(f"{name}:{suffix}", int(tokens))


def _known_passes(name: str) -> str:
    """Return the hint at the passes that a network has, if it has any."""
    known = [f"{name}:{kind}@N" for kind in SEQUENCES[name] if kind != WHOLE]
    return f"; its passes are {' and '.join(known)}" if known else ""
