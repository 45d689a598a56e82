"""Network files: what is refused and how, and whether the built-in networks have the sizes they should."""

from __future__ import annotations

import itertools
import math

import pytest

from models.library import load_network, network_names
from models.network import Layer, Network
from overlapim_files import InputError, dump, parse

TINY = """\
format: overlapim/network/1
name: tiny
inputs:
  - {name: image, shape: [1, 3, 32, 32]}
layers:
  - name: conv1
    dims: {K: 16, C: 3, P: 32, Q: 32, R: 3, S: 3}
    post: 1
    operands:
      - from: image
        axes:
          n: {terms: {N: 1}}
          ch: {terms: {G: 3, C: 1}}
          h: {terms: {P: 1, R: 1}, offset: -1}
          w: {terms: {Q: 1, S: 1}, offset: -1}
  - name: conv2
    dims: {K: 32, C: 16, P: 16, Q: 16, R: 3, S: 3}
    operands:
      - from: conv1
        axes:
          n: {terms: {N: 1}}
          ch: {terms: {G: 16, C: 1}}
          h: {terms: {P: 1, R: 1}, offset: -1, extent: 16, windows: [{scale: 2, shift: 0, width: 2}]}
          w: {terms: {Q: 1, S: 1}, offset: -1, extent: 16, windows: [{scale: 2, shift: 0, width: 2}]}
  - name: fc
    dims: {K: 10, C: 8192}
    operands:
      - {from: conv2, axes: {n: {terms: {N: 1}}}, flatten: {terms: {C: 1}, shape: [32, 16, 16]}}
"""
POOL = "extent: 16, windows: [{scale: 2, shift: 0, width: 2}]"
FLAT = "{from: conv2, axes: {n: {terms: {N: 1}}}, flatten: {terms: {C: 1}, shape: [32, 16, 16]}}"
DIMS2 = "dims: {K: 32, C: 16, P: 16, Q: 16, R: 3, S: 3}"
CONCAT = """\
      - {from: conv2, axes: {ch: {terms: {C: 1}}}, concat: both, sum: a}
      - {from: conv2, axes: {ch: {terms: {C: 1}, offset: -32}}, concat: both}
"""

WRONG = {
    # shape of the file
    "misspelt key": ("post: 1", "pots: 1", "8: layers[0]: unknown key 'pots'; did you mean 'post'?"),
    "unknown dim": (
        "Q: 32, R: 3",
        "X: 32, R: 3",
        "7: layers[0].dims: unknown key 'X'; known: N, G, K, P, Q, C",
    ),
    "lower-case dim": ("{K: 16", "{k: 16", "7: layers[0].dims: unknown key 'k'"),
    "boolean bound": ("{K: 16", "{K: true", "7: layers[0].dims.K: must be an integer, found true"),
    "boolean extent": ("[1, 3, 32, 32]", "[true, 3, 32, 32]", "4: inputs[0].shape[0]: must be an integer"),
    "float extent": ("[1, 3, 32, 32]", "[1.0, 3, 32, 32]", "4: inputs[0].shape[0]: must be an integer"),
    "text extent": ("[1, 3, 32, 32]", "['1', 3, 32, 32]", "4: inputs[0].shape[0]: must be an integer"),
    "short shape": ("[1, 3, 32, 32]", "[1, 3, 32]", "4: inputs[0].shape: item [3] is missing"),
    "long shape": ("[1, 3, 32, 32]", "[1, 3, 32, 32, 1]", "4: inputs[0].shape: must be a list of at most 4"),
    "zero bound": ("{K: 16", "{K: 0", "7: layers[0].dims.K: must be at least 1, found 0"),
    "zero coefficient": (
        "{P: 1, R: 1}, offset: -1}",
        "{P: 0}}",
        "14: layers[0].operands[0].axes.h.terms.P: must",
    ),
    "no operands": (
        f"- {FLAT}",
        "[]",
        "27: layers[2].operands: must be a list of at least 1, found an empty list",
    ),
    "no producer": ("{from: conv2, ", "{", "28: layers[2].operands[0]: the key 'from' is missing"),
    "window of two kinds": (
        POOL,
        "extent: 16, windows: [{all: true, block: 2}]",
        "23: layers[1].operands[0].axes.h.windows[0]: a window is",
    ),
    "half a window": (POOL, "extent: 16, windows: [{scale: 2}]", "axes.h.windows[0]: a window is"),
    "all: false": (POOL, "extent: 16, windows: [{all: false}]", "windows[0].all: must be true, found false"),
    # the graph
    "name twice": ("name: conv2", "name: conv1", "16: layers[1].name: the name 'conv1' is given twice"),
    "name of an input": ("name: conv2", "name: image", "16: layers[1].name: the name 'image' is given twice"),
    "unknown producer": (
        "from: conv1",
        "from: conv",
        "19: layers[1].operands[0].from: layer 'conv2' reads 'conv'",
    ),
    "cycle": (
        "from: image",
        "from: conv2",
        "6: layers[0]: these layers wait for each other: 'conv1' reads 'conv2'",
    ),
    "reads itself": ("from: conv1", "from: conv2", "'conv2' reads 'conv2'"),
    # sizes
    "outputs": (
        "{K: 16, C",
        "{K: 1024, G: 2048, C",
        "7: layers[0].dims: layer 'conv1' has 2097152 output channels",
    ),
    "work": (
        "{K: 16, C: 3, P: 32, Q: 32, R: 3, S: 3}",
        "{K: 1048576, C: 1048576, R: 1048576}",
        "multiply-accumulates; the limit is",
    ),
    "output elements": (
        "{K: 16, C: 3, P: 32, Q: 32, R: 3, S: 3}",
        "{K: 1048576, P: 1048576, Q: 2}",
        "2199023255552 output elements; the limit is",
    ),
    "form": (
        "{K: 16, C: 3, P: 32",
        "{G: 8192, C: 4096, P: 32",
        "combinations; the limit is",
    ),
    # what operands read
    "dim twice": (
        "{Q: 1, S: 1}, offset: -1}",
        "{P: 1}}",
        "15: layers[0].operands[0].axes.w: layer 'conv1': dim P",
    ),
    "dim on n and flatten": (
        "{n: {terms: {N: 1}}}, flatten",
        "{n: {terms: {C: 1}}}, flatten",
        "dim C stands on n",
    ),
    "channels": (
        DIMS2,
        DIMS2.replace("C: 16", "C: 20"),
        "layer 'conv2' reads channels 0..19 of 'conv1', which has 16",
    ),
    "negative channel": ("{G: 16, C: 1}", "{C: 1}, offset: -1", "reads channels -1..14 of 'conv1'"),
    "images": ("{N: 1}}", "{K: 1}}", "12: layers[0].operands[0].axes.n: layer 'conv1' reads images 0..15"),
    "flattened": ("C: 8192", "C: 8193", "reads elements 0..8192 of 'conv2', which has 8192"),
    "only padding": (
        "offset: -1}",
        "offset: -40}",
        "14: layers[0].operands[0].axes.h: layer 'conv1' reads nothing",
    ),
    "window beyond": (POOL, POOL.replace("shift: 0", "shift: 32"), "layer 'conv2' reads nothing of 'conv1'"),
    "no extent": (
        f", {POOL}",
        ", windows: [{all: true}]",
        "23: layers[1].operands[0].axes.h: layer 'conv2': axis h",
    ),
    "wrong extent": (
        "{P: 1, R: 1}, offset: -1}",
        "{P: 1, R: 1}, extent: 31}",
        "14: layers[0].operands[0].axes.h.extent: layer 'conv1': axis h of 'image' has extent 32, not 31",
    ),
    "window without extent": (
        POOL,
        POOL.replace("}]", "}, {all: true}]"),
        "23: layers[1].operands[0].axes.h.windows[0]: layer 'conv2': a window before the last needs 'extent'",
    ),
    "last window": (POOL, POOL.replace("width: 2", "width: 2, extent: 9"), "has extent 32, not 9"),
    "flattened shape": (
        "[32, 16, 16]",
        "[32, 16, 17]",
        "28: layers[2].operands[0].flatten.shape: layer 'fc': axis w",
    ),
    "form beside flatten": (
        "{n: {terms: {N: 1}}}, flatten",
        "{h: {terms: {P: 1}}}, flatten",
        "28: layers[2].operands[0].axes.h: layer 'fc': beside 'flatten'",
    ),
    "large flatten": (
        "[32, 16, 16]",
        "[1024, 1024, 1024]",
        "the flattened shape has more than 4194304 elements",
    ),
    "sums within a concatenation": (
        f"      - {FLAT}\n",
        CONCAT,
        "29: layers[2].operands[1]: layer 'fc': the parts",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files(old: str, new: str, message: str) -> None:
    assert old in TINY
    with pytest.raises(InputError) as error:
        parse(TINY.replace(old, new, 1), Network, "net.yaml")
    assert str(error.value).startswith("net.yaml:")
    assert message in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_the_tiny_network_is_valid() -> None:
    tiny = parse(TINY, Network, "net.yaml")
    assert [layer.shape for layer in tiny.layers] == [(1, 16, 32, 32), (1, 32, 16, 16), (1, 10, 1, 1)]
    assert parse(dump(tiny), Network, "net.yaml") == tiny


RIGHT = {
    "reading a part of the channels": (DIMS2, DIMS2.replace("C: 16", "C: 4")),
    "padding below": ("offset: -1}", "offset: -3}"),
    "pooled flatten": (
        "{n: {terms: {N: 1}}}, flatten: {terms: {C: 1}, shape: [32, 16, 16]}",
        "{h: {windows: [{scale: 1, shift: 0, width: 1}]}}, flatten: {terms: {C: 1}, shape: [32, 16, 16]}",
    ),
    "two windows": (POOL, "extent: 16, windows: [{scale: 2, shift: 0, width: 2, extent: 32}, {block: 4}]"),
    "no terms": ("ch: {terms: {G: 16, C: 1}}", "ch: {extent: 1, windows: [{all: true}]}"),
    "a concatenation": (f"      - {FLAT}\n", CONCAT.replace(", sum: a", "")),
    "a residual": (
        f"- {FLAT}",
        f"- {FLAT}\n      - {{from: conv1, axes: {{ch: {{terms: {{K: 1}}}}}}}}",
    ),
    "a whole number of items": ("[1, 3, 32, 32]", "[2, 3, 32, 32]"),
}


def test_what_does_not_depend_on_the_reduction_is_no_factor() -> None:
    old, new = RIGHT["a residual"]
    tiny, residual = parse(TINY, Network, "net.yaml"), parse(TINY.replace(old, new), Network, "net.yaml")
    assert residual.layers[2].weights == tiny.layers[2].weights == 81_920
    assert len(residual.layers[2].loaded) == len(residual.layers[2].residuals) == 1


@pytest.mark.parametrize(("old", "new"), RIGHT.values(), ids=RIGHT)
def test_right_files(old: str, new: str) -> None:
    assert old in TINY
    parse(TINY.replace(old, new, 1), Network, "net.yaml")


def test_layers_may_stand_in_any_order() -> None:
    tiny = parse(TINY, Network, "net.yaml")
    turned = Network(format=tiny.format, name="x", inputs=tiny.inputs, layers=tiny.layers[::-1])
    assert turned.topological == (2, 1, 0)


# Built-in networks

SIZES = {
    "resnet18": (21, 1_814_073_344, 11_678_912),
    "resnet50": (54, 4_089_184_256, 25_502_912),
    "vgg16": (16, 15_470_264_320, 138_344_128),
    "vgg19": (19, 19_632_062_464, 143_652_544),
    "alexnet": (8, 724_406_816, 60_954_656),
    "squeezenet": (26, 818_924_576, 1_244_448),
    "inception-v1": (58, 1_582_671_872, 6_990_272),
    "mobilenetv2": (53, 300_774_272, 3_469_760),
    "bert-base": (96, 11_173_625_856, 84_934_656),
    "gpt2": (97, 16_114_089_984, 123_532_032),
    "llama-3.2-1b": (145, 159_249_334_272, 1_235_746_816),
    "llama-2-7b": (289, 850_000_871_424, 6_607_077_376),
    "qwen2.5-0.5b": (217, 63_931_678_720, 493_961_216),
    "toy": (4, 24_144, 936),
}


@pytest.mark.parametrize("name", network_names())
def test_sizes(name: str) -> None:
    network = load_network(name)
    assert (len(network.layers), network.macs, network.weights) == SIZES[name]
    assert network.name == name


PARAMETERS = {
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "alexnet": 60_965_224,
    "squeezenet": 1_248_424,
    "inception-v1": 6_998_552,
}
"""As published, with a bias for each output channel."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_and_biases_are_the_published_parameters(name: str) -> None:
    network = load_network(name)
    assert network.weights + sum(layer.shape[1] for layer in network.layers) == PARAMETERS[name]


def layer(network: Network, name: str) -> Layer:
    return network.layers[network.index[name]]


def read(layer: Layer) -> list[str]:
    return [operand.producer for operand in layer.operands]


def test_resnet18_adds_shortcuts_to_the_results_of_blocks() -> None:
    network = load_network("resnet18")
    assert read(layer(network, "layer1.0.conv1")) == ["conv1"]
    assert read(layer(network, "layer1.0.conv2")) == ["layer1.0.conv1", "conv1"]
    assert read(layer(network, "layer1.1.conv2")) == ["layer1.1.conv1", "layer1.0.conv2"]
    assert read(layer(network, "layer2.0.conv2")) == ["layer2.0.conv1", "layer2.0.downsample"]
    assert read(layer(network, "fc")) == ["layer4.1.conv2"]
    assert [len(x.residuals) for x in network.layers].count(1) == 8
    (pooled,) = layer(network, "layer1.0.conv2").residuals
    assert [(w.scale, w.shift, w.width) for w in pooled.axes.h.windows] == [(2, -1, 3)]
    assert (pooled.axes.ch.terms, pooled.axes.h.terms, pooled.axes.w.terms) == ({"K": 1}, {"P": 1}, {"Q": 1})


def test_resnet50_has_its_stride_in_the_middle() -> None:
    network = load_network("resnet50")
    assert layer(network, "layer2.0.conv1").shape == (1, 128, 56, 56)
    assert layer(network, "layer2.0.conv2").shape == (1, 128, 28, 28)
    assert layer(network, "layer2.0.conv2").operands[0].axes.h.terms == {"P": 2, "R": 1}
    assert len(layer(network, "layer3.5.conv1").operands) == 1
    assert read(layer(network, "layer3.5.conv3")) == ["layer3.5.conv2", "layer3.4.conv3"]


def test_the_stem_is_pooled_by_its_readers() -> None:
    operand = layer(load_network("resnet18"), "layer1.0.conv1").operands[0]
    (window,) = operand.axes.h.windows
    assert (window.scale, window.shift, window.width, operand.axes.h.extent) == (2, -1, 3, 56)


def test_vgg16_flattens_what_it_has_pooled() -> None:
    operand = layer(load_network("vgg16"), "fc1").operands[0]
    assert operand.flatten is not None
    assert operand.flatten.shape == (512, 7, 7)
    assert math.prod(operand.flatten.shape) == layer(load_network("vgg16"), "fc1").bound("C")
    assert [w.width for w in operand.axes.w.windows] == [2]


def test_mobilenetv2_has_residuals_of_equal_shape_only() -> None:
    network = load_network("mobilenetv2")
    depthwise = [x for x in network.layers if x.bound("G") > 1]
    assert len(depthwise) == 17 and all(x.bound("K") == x.bound("C") == 1 for x in depthwise)
    assert read(layer(network, "block3.0.project")) == ["block3.0.depthwise"]
    assert read(layer(network, "block3.1.project")) == ["block3.1.depthwise", "block3.0.project"]
    assert read(layer(network, "block4.0.expand")) == ["block3.2.project"]
    assert sum(len(x.residuals) for x in network.layers) == 10
    assert read(layer(network, "conv2")) == ["block7.0.project"]


def test_alexnet_normalises_over_neighbouring_channels() -> None:
    conv2 = layer(load_network("alexnet"), "conv2")
    ch = conv2.operands[0].axes.ch
    assert (ch.terms, ch.extent) == ({"G": 48, "C": 1}, 96)
    assert [(w.scale, w.shift, w.width) for w in ch.windows] == [(1, -2, 5)]
    assert conv2.shape == (1, 256, 27, 27)


def test_squeezenet_reads_both_expansions_behind_each_other() -> None:
    network = load_network("squeezenet")
    operands = layer(network, "fire3.squeeze").operands
    assert [(x.producer, x.axes.ch.offset) for x in operands] == [
        ("fire2.expand1x1", 0),
        ("fire2.expand3x3", -64),
    ]
    assert len(layer(network, "fire3.squeeze").loaded) == 1
    assert [layer(network, f"fire{i}.squeeze").bound("P") for i in (2, 4, 5, 9)] == [54, 54, 27, 13]


def test_inception_v1_concatenates_four_branches() -> None:
    network = load_network("inception-v1")
    for module, size in (("3b", 28), ("4b", 14), ("5b", 7)):
        pooled = layer(network, f"{module}.pool")
        assert pooled.bound("P") == size and len(pooled.operands) == 4 and len(pooled.loaded) == 1
        assert [x.axes.h.windows[0].width for x in pooled.operands] == [3] * 4
    last = [network.index[x] for x in ("5b.1x1", "5b.3x3", "5b.5x5", "5b.pool")]
    offsets = itertools.accumulate((network.layers[i].shape[1] for i in last[:-1]), initial=0)
    assert [-x.axes.ch.offset for x in layer(network, "fc").operands] == [*offsets]
    twice = layer(network, "4a.pool").operands[0].axes.w.windows
    assert [(w.scale, w.width, w.extent) for w in twice] == [(1, 3, 14), (2, 3, None)]


def test_bert_has_eight_products_in_each_of_twelve_blocks() -> None:
    assert load_network("bert-base:512").macs == 48_318_382_080
    network = load_network("bert-base:5")
    attention = [x for x in network.layers if x.weights == 0]
    assert (len(network.layers), len(attention)) == (96, 24)
    assert {x.bound("G") for x in attention} == {12}
    assert read(layer(network, "block1.query")) == ["block0.narrow"]
    assert read(layer(network, "block1.out")) == ["block1.context", "block0.narrow"]
    assert read(layer(network, "block1.narrow")) == ["block1.widen", "block1.out"]


@pytest.mark.parametrize(("name", "normalised"), [("bert-base:5", True), ("gpt2:5", False)])
def test_residuals_are_added_after_bert_and_before_gpt2_normalises(name: str, normalised: bool) -> None:
    network = load_network(name)
    first, last = (layer(network, f"block3.{x}") for x in ("widen", "narrow"))
    factor, residual = last.operands
    assert [window.all for window in first.operands[0].axes.ch.windows] == [True]
    assert last.factors == ((factor,),)
    assert (residual.producer, residual.axes.ch.terms) == ("block3.out", {"K": 1})
    assert bool(residual.axes.ch.windows) == normalised
    assert last.post == 3  # a bias and a normalisation; the addition is the residual's
    assert last.weights == 768 * 3072


def test_attention_reads_activations_on_both_sides() -> None:
    network = load_network("bert-base:5")
    query, key = layer(network, "block0.scores").operands
    assert (query.producer, key.producer) == ("block0.query", "block0.key")
    assert (query.axes.h.terms, key.axes.h.terms) == ({"P": 1}, {"K": 1})
    assert query.axes.ch == key.axes.ch and query.axes.ch.terms == {"G": 64, "C": 1}
    scores, value = layer(network, "block0.context").operands
    assert (scores.producer, value.producer) == ("block0.scores", "block0.value")
    assert scores.axes.ch.terms == {"G": 5, "C": 1} and scores.axes.ch.windows[0].block == 5
    assert value.axes.ch.terms == {"G": 64, "K": 1} and value.axes.h.terms == {"C": 1}


def test_gpt2_ends_with_a_score_for_every_word() -> None:
    network = load_network("gpt2:3")
    assert network.layers[-1].shape == (1, 50257, 3, 1)
    assert read(network.layers[-1]) == ["block11.narrow"]
    assert network.macs == 3 * network.weights + 12 * 2 * 3 * 3 * 768


@pytest.mark.parametrize("name", ["bert-base", "gpt2"])
def test_sequences_have_any_length_up_to_the_longest(name: str) -> None:
    most = {"bert-base": 512, "gpt2": 1024}[name]
    for tokens in (1, most):
        network = load_network(f"{name}:{tokens}")
        assert (network.name, network.inputs[0].shape[2]) == (f"{name}:{tokens}", tokens)
    for wrong in ("", "0", "-1", "1.5", "many", "12x", "007", "٣", "9" * 5000, str(most + 1)):
        with pytest.raises(InputError) as error:
            load_network(f"{name}:{wrong}")
        assert f"{name}: the number of tokens must be an integer from 1 to {most}, not" in str(error.value)
        assert len(str(error.value)) < 150


def test_images_have_no_number_of_tokens() -> None:
    with pytest.raises(InputError, match=r"only bert-base, .* take a number of tokens, not vgg16"):
        load_network("vgg16:12")


def test_unknown_network_names_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as error:
        load_network("resnet-18")
    assert "did you mean 'resnet18'?" in str(error.value)
    assert all(name in str(error.value) for name in network_names())
