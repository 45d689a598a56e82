"""Timeloop's files: problems in, problems and mappings out, and back again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping as Terms
from pathlib import Path

import pytest
import yaml
from generators import draw_instance, draw_network
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import run
from models.build import conv, fc, image, network, output, pool
from models.layer import AXES, Dim, Layer
from models.library import load_network
from models.network import Network
from models.timeloop.contraction import Contraction
from models.timeloop.problem import ProblemFile
from models.timeloop.write import problem_dims, problem_text
from overlapim_files import InputError, load, parse
from solver.export.timeloop import MappingFile, architecture_text, mapping_of, mapping_text, read_mapping
from solver.solution import Solution
from solver.timing.mapping import Loop, Mapping
from solver.timing.tiles import innermost_read, load_depth

CONVOLUTION = """
problem:
  version: 0.4
  shape:
    name: a
    dimensions: [C, M, R, S, N, P, Q]
    coefficients: [{name: Wstride, default: 1}, {name: Hstride, default: 1}, {name: Wdilation, default: 1}]
    data_spaces:
    - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
    - name: Inputs
      projection:
      - [[N]]
      - [[C]]
      - [[R, Wdilation], [P, Wstride]]
      - [[S], [Q, Hstride]]
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read_write: true}
  instance: {C: 3, M: 8, R: 3, S: 5, N: 2, P: 10, Q: 12, Wstride: 2, Wdilation: 3}
"""

PRODUCT = """
problem:
  shape:
    dimensions: [M, N, K]
    data-spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[N]], [[K]]]}
    - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance: {M: 4, N: 5, K: 6, densities: {A: 0.5}}
"""


BUILT_IN = ("toy", "resnet18", "mobilenetv2", "bert-base")


def contraction(text: str) -> Contraction:
    return parse(text, ProblemFile, "layer.yaml").problem.contraction


# Problems in


def test_a_convolution() -> None:
    found = contraction(CONVOLUTION)
    assert found.dims == {"C": 3, "K": 8, "R": 3, "S": 5, "N": 2, "P": 10, "Q": 12}
    assert found.forms == {"n": {"N": 1}, "ch": {"C": 1}, "h": {"R": 3, "P": 2}, "w": {"S": 1, "Q": 1}}
    assert found.extents == (2, 3, 2 * 9 + 3 * 2 + 1, 16)


def test_hyphens_are_the_same_keys() -> None:
    old = CONVOLUTION.replace("data_spaces", "data-spaces").replace("read_write", "read-write")
    assert contraction(old) == contraction(CONVOLUTION)


def test_roles_come_from_projections_not_from_names() -> None:
    found = contraction(PRODUCT)
    assert found.names == {"P": "M", "K": "N", "C": "K"}
    assert found.dims == {"P": 4, "K": 5, "C": 6}
    assert found.forms == {"ch": {"C": 1}, "h": {"P": 1}}


@pytest.mark.parametrize("name", ["gemm_ABZ", "gemm-abz.yaml"])
def test_a_matrix_product_by_name(name: str) -> None:
    text = f"problem: {{shape: {name}, instance: {{M: 4, N: 5, K: 6}}}}"
    assert contraction(text) == contraction(PRODUCT)


@pytest.mark.parametrize("channels", ["K", "M"])
@pytest.mark.parametrize("shape", ["", "shape: cnn-layer, ", "shape: cnn_layer, version: 0.3, "])
def test_the_flat_form(shape: str, channels: str) -> None:
    found = contraction(f"problem: {{{shape}C: 3, {channels}: 8, R: 3, S: 1, N: 1, P: 9, Q: 7, Hstride: 2}}")
    assert found.dims == {"C": 3, "K": 8, "R": 3, "P": 9, "Q": 7}
    assert found.forms == {"ch": {"C": 1}, "h": {"R": 1, "P": 1}, "w": {"Q": 2}}


def test_groups_before_channels_and_channels_in_all_three() -> None:
    found = contraction("problem: {C: 2, K: 3, R: 1, S: 1, N: 1, P: 1, Q: 1, G: 4}")
    assert found.dims == {"C": 2, "K": 3, "G": 4}
    assert found.forms == {"ch": {"G": 2, "C": 1}}
    depthwise = contraction(
        """problem:
  shape:
    dimensions: [C, R, P]
    data_spaces:
    - {name: Weights, projection: [C, R]}
    - {name: Inputs, projection: [C, [[R], [P]]]}
    - {name: Outputs, projection: [C, P], read_write: true}
  instance: {C: 8, R: 3, P: 6}
"""
    )
    assert depthwise.dims == {"G": 8, "R": 3, "P": 6}
    assert depthwise.forms == {"ch": {"G": 1}, "h": {"R": 1, "P": 1}}


def test_a_coefficient_of_what_stands_still_may_be_0() -> None:
    found = contraction("problem: {C: 3, K: 8, R: 1, S: 1, N: 1, P: 9, Q: 9, Wdilation: 0, Hdilation: 0}")
    assert found.forms == {"ch": {"C": 1}, "h": {"P": 1}, "w": {"Q": 1}}


def test_what_else_stands_in_a_file_is_passed_over() -> None:
    assert contraction("architecture: {nodes: []}\nmapper: {timeout: 3}" + PRODUCT) == contraction(PRODUCT)


WRONG = {
    "misspelt coefficient": (
        "{C: 3, K: 1, N: 1, P: 9, Q: 9, R: 3, S: 3, Hstrid: 2}",
        "did you mean 'Hstride'",
    ),
    "misspelt instance": ("{shape: cnn_layer, instanse: {C: 3}}", "did you mean 'instance'"),
    "missing bound": ("{C: 3, K: 1, N: 1, P: 9, Q: 9, R: 3}", "the bound of dimension S is missing"),
    "no number": ("{C: x, K: 1, N: 1, P: 9, Q: 9, R: 3, S: 1}", "instance.C: must be an integer from 1 to"),
    "zero": ("{C: 0, K: 1, N: 1, P: 9, Q: 9, R: 3, S: 1}", "instance.C: must be an integer from 1 to"),
    "still": ("{C: 1, K: 1, N: 1, P: 9, Q: 9, R: 3, S: 1, Wstride: 0}", "coefficient of dimension P is 0"),
    "huge number": (f"{{C: {10**30}, K: 1, N: 1, P: 9, Q: 9, R: 3, S: 1}}", "instance.C: must be an integer"),
    "huge extent": (
        "{C: 1, K: 1, N: 1, P: 999999, Q: 9, R: 3, S: 1, Wstride: 999999}",
        "an axis of the inputs has 999997000005 coordinates",
    ),
    "unknown shape": (
        "{shape: gemn, instance: {M: 2}}",
        "problem.shape: no shape is called 'gemn'; did you mean",
    ),
    "a list": ("[]", "problem: must be a mapping"),
    "nothing": ("", "problem: must be a mapping"),
    "instance a number": ("{shape: cnn_layer, instance: 4}", "problem.instance: must be a mapping"),
    "shape a number": ("{shape: 4, instance: {}}", "problem.shape: must be a mapping"),
    "empty shape": ("{shape: {}, instance: {}}", "problem.shape: the key 'dimensions' is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_bounds_and_keys(case: str) -> None:
    text, expected = WRONG[case]
    assert expected in failure(f"problem: {text}")


CHANGED = {
    "three factors": ("[P, Wstride]", "[P, 2, R]", "projection[2][1]: ['P', 2, 'R'] is no term of a sum"),
    "a number": ("[P, Wstride]", "[2]", "[2] is no term of a sum"),
    "a nested sum": ("[P, Wstride]", "[[P], [R]]", "is no term of a sum"),
    "unknown dimension": ("[P, Wstride]", "[X]", "'X' is no dimension"),
    "unknown coefficient": (
        "[P, Wstride]",
        "[P, stride]",
        "'stride' is no coefficient; did you mean 'Wstride'",
    ),
    "two axes in one": ("[S], [Q, Hstride]", "[S], [Q], [C]", "mixes dimensions"),
    "a diagonal": ("[S], [Q, Hstride]", "[S], [Q], [S, Hstride]", "has one twice"),
    "too many axes": ("- [[C]]\n", "- [[C]]\n      - [[S]]\n", "is one axis too many"),
    "a strided output": ("[[Q]], [[P]]]", "[[Q]], [[P, Wstride]]]", "outputs at 2*P"),
    "no output": ("read_write: true", "read_write: false", "0 data-spaces are read_write"),
    "misspelt key": ("read_write: true", "read_writ: true", "did you mean 'read_write'"),
    "flattening": ("name: a", "flatten: []", "flattened dimensions are not read"),
    "output only": (
        "[[[C]], [[M]], [[R]], [[S]]]",
        "[[[C]], [[R]], [[S]]]",
        "dimension M stands in outputs only",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_wrong_shapes(case: str) -> None:
    old, new, expected = CHANGED[case]
    assert old in CONVOLUTION
    assert expected in failure(CONVOLUTION.replace(old, new))


def failure(text: str) -> str:
    with pytest.raises(InputError) as error:
        contraction(text)
    assert str(error.value).startswith("layer.yaml:")
    assert str(error.value).isprintable()
    return str(error.value)


def test_three_sliding_dimensions_are_refused() -> None:
    text = CONVOLUTION.replace("N, P, Q]", "N, P, Q, F, T]").replace("N: 2,", "N: 2, F: 2, T: 2,")
    text = text.replace("- [[C]]\n", "- [[C]]\n      - [[F], [T]]\n").replace("[[R]], ", "[[R]], [[T]], ")
    text = text.replace("[[N]], [[M]], ", "[[N]], [[M]], [[F]], ")
    assert "dimensions P, Q, F slide over the inputs; there can be 2 such" in failure(text)


# Problems as a network


def written(directory: Path, layers: list[Layer]) -> Network:
    """Return the network of the problem files of layers, numbered in their order."""
    for i, layer in enumerate(layers, 1):
        (directory / f"layer{i}.yaml").write_text(problem_text(layer))
    return load_network(str(directory))


def test_a_chain_is_found_again(tmp_path: Path) -> None:
    inputs, x = image(3, 63)
    layers = [conv("layer1", x, 8, 11, stride=4, pad=2)]
    layers.append(conv("layer2", pool(output(layers[0]), 3, 2), 8, 5, pad=2))
    layers.append(conv("layer3", output(layers[1]), 16, 3, stride=2, pad=1))
    layers.append(conv("layer4", output(layers[2]), 16, 1))
    layers.append(fc("layer5", pool(output(layers[3]), 2, 2), 12))
    for i in range(6, 12):
        layers.append(fc(f"layer{i}", output(layers[-1]), 12))
    assert_same_reads(written(tmp_path, layers), network("x", [inputs], layers))


def test_vgg16_is_found_again(tmp_path: Path) -> None:
    original = load_network("vgg16")
    assert_same_reads(written(tmp_path, list(original.layers)), original)


def assert_same_reads(found: Network, original: Network) -> None:
    """All but the first layer, whose padding nobody can know."""
    names = {f"layer{i}": layer.name for i, layer in enumerate(original.layers, 1)}
    assert [names[layer.name] for layer in found.layers] == [layer.name for layer in original.layers]
    for layer, wanted in zip(found.layers[1:], original.layers[1:], strict=True):
        (one,), (other,) = layer.operands, wanted.operands
        assert (names[one.producer], one.flatten) == (other.producer, other.flatten)
        for axis in AXES[1:]:
            a, b = one.axes[axis], other.axes[axis]
            assert (a.offset, a.extent, a.windows) == (b.offset, b.extent, b.windows)


def test_a_branch_reads_the_nearest_that_fits_and_the_rest_an_input(tmp_path: Path) -> None:
    _, x = image(4, 8)
    first = conv("layer1", x, 8, 3, pad=1)
    second = conv("layer2", output(first), 16, 3, stride=2, pad=1)
    beside = conv("layer3", output(first), 16, 1, stride=2)
    _, y = image(5, 9)
    found = written(tmp_path, [first, second, beside, conv("layer4", y, 3, 3)])
    assert [layer.operands[0].producer for layer in found.layers] == [
        "layer1.input",
        "layer1",
        "layer1",
        "layer4.input",
    ]
    assert [x.shape for x in found.inputs] == [(1, 4, 10, 10), (1, 5, 9, 9)]


def test_what_is_built_in_comes_back() -> None:
    layers = [layer for name in BUILT_IN for layer in load_network(name).layers]
    single = [layer for layer in layers if len(layer.factors) == 1]
    for layer in {str((several(x), read(x))): x for x in single}.values():
        found = contraction(problem_text(layer))
        assert found.dims == several(layer)
        assert list(found.forms.values()) == read(layer)


def several(layer: Layer) -> dict[Dim, int]:
    """The dims of a layer that are loops."""
    return {dim: bound for dim, bound in layer.dims.items() if bound > 1}


def read(layer: Layer) -> list[dict[Dim, int]]:
    """The forms of the first loaded operand that read more than one coordinate."""
    forms = [form.terms for _, form in layer.factors[0][0].forms()]
    kept = [{d: c for d, c in terms.items() if d in several(layer)} for terms in forms]
    return [terms for terms in kept if terms]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_problems_of_random_layers_say_what_the_layer_reads(seed: int) -> None:
    for layer in draw_network(random.Random(seed), 3).layers:
        text = problem_text(layer)
        try:
            found = contraction(text)
        except InputError as error:
            assert len(layer.factors) > 1 or "stands in outputs only" in str(error), text
            continue
        assert {found.names[dim]: bound for dim, bound in found.dims.items()} == several(layer)
        if len(layer.factors) == 1:
            renamed = [{found.names[d]: c for d, c in terms.items()} for terms in found.forms.values()]
            assert sorted(map(sorted_items, renamed)) == sorted(map(sorted_items, read(layer)))


def sorted_items(terms: Terms[str, int] | Terms[Dim, int]) -> list[tuple[str, int]]:
    return sorted(terms.items())


# Mappings


LOOPS = Mapping(
    (
        Loop("P", 4, "temporal"),
        Loop("C", 3, "temporal"),
        Loop("P", 2, "temporal"),
        Loop("K", 3, "column"),
        Loop("Q", 4, "column"),
        Loop("C", 3, "bank"),
        Loop("K", 3, "temporal"),
    )
)
LAYER = Layer.model_validate(
    {"name": "right", "dims": {"K": 8, "P": 8, "Q": 4, "C": 8}, "operands": [{"from": "x"}]}
)
TEXT = """mapping:
- {target: time0, type: temporal, factors: 'N1 K1 P4 Q1 C3 R1 S1', permutation: CPNKQRS}
- {target: column1, type: temporal, factors: 'N1 K1 P2 Q1 C1 R1 S1', permutation: PNKQCRS}
- {target: column1, type: spatial, factors: 'N1 K3 P1 Q4 C1 R1 S1', permutation: QKNPCRS, split: 7}
- {target: bank2, type: temporal, factors: 'N1 K1 P1 Q1 C1 R1 S1', permutation: NKPQCRS}
- {target: bank2, type: spatial, factors: 'N1 K1 P1 Q1 C3,2 R1 S1', permutation: CNKPQRS, split: 7}
- {target: lane3, type: temporal, factors: 'N1 K3,2 P1 Q1 C1 R1 S1', permutation: KNPQCRS}
"""


def test_a_mapping_level_by_level() -> None:
    assert yaml.safe_load(mapping_text(LAYER, LOOPS)) == yaml.safe_load(TEXT)
    assert mapping_of(parse(TEXT, MappingFile, "map.yaml"), LAYER) == LOOPS
    assert yaml.safe_load(architecture_text(LOOPS, 8))["arch"] == {
        "arithmetic": {"name": "mac", "word_bits": 8, "instances": 36, "meshX": 36},
        "storage": [
            {"name": name, "technology": "DRAM", "word_bits": 8, "instances": n, "meshX": n}
            for name, n in (("lane3", 36), ("bank2", 12), ("column1", 1), ("time0", 1))
        ],
    }


def drawn(seed: int) -> list[tuple[Layer, Mapping]]:
    instance = draw_instance(random.Random(seed))
    return list(zip(instance.network.layers, instance.mappings, strict=True))


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_what_is_exported_and_read_back_has_the_same_loops(seed: int) -> None:
    """At which loop inputs are loaded is told to people only, where it is not the innermost that reads."""
    for layer, mapping in drawn(seed):
        text = mapping_text(layer, mapping)
        assert mapping_of(parse(text, MappingFile, "map.yaml"), layer) == Mapping(mapping.loops)
        depth = load_depth(layer, mapping)
        told = f"# Inputs are loaded inside the {depth} outermost loops in time"
        assert text.startswith(told) == (depth < innermost_read(layer, mapping))


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_the_loops_of_a_file_visit_each_coordinate_once(seed: int) -> None:
    for layer, mapping in drawn(seed):
        file = parse(mapping_text(layer, mapping), MappingFile, "map.yaml")
        for dim in problem_dims(layer):
            nest = [(bound, rest) for _, name, bound, rest in file.loops() if name == dim]
            assert visited(nest) == list(range(layer.bound(dim)))


def visited(nest: list[tuple[int, int]], start: int = 0, last: bool = True) -> list[int]:
    """Execute the loops of one dim: a remainder counts while all loops outside are in their last."""
    if not nest:
        return [start]
    (bound, rest), *inner = nest
    stride = math.prod(b for b, _ in inner)
    count = rest if last else bound
    found = (visited(inner, start + i * stride, last and i == count - 1) for i in range(count))
    return [coordinate for coordinates in found for coordinate in coordinates]


def test_the_other_spellings_of_factors_and_orders(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    changed = TEXT.replace("'N1 K3 P1 Q4 C1 R1 S1'", "[K=3, Q=4, C=1]").replace("QKNPCRS", "[Q, K]")
    file.write_text("architecture: {}\n" + changed)
    assert read_mapping(file, LAYER) == LOOPS


MAPPINGS = {
    "foreign level": (
        "target: time0",
        "target: DRAM",
        "map.yaml:2: mapping[0].target: 'DRAM' is none of the levels",
    ),
    "spread of a lane": ("bank2, type: spatial", "lane2, type: spatial", "level lane2 spreads over nothing"),
    "twice": (
        "target: bank2, type: temporal",
        "target: column1, type: temporal",
        "level 1 has two temporal nests",
    ),
    "no factor": ("P4", "P", "mapping[0].factors: 'P' is no factor such as P5"),
    "zero": ("P4", "P0", "P0: needed are 1 <= remainder <= factor"),
    "remainder": ("P4", "P4,5", "P4,5: needed are 1 <= remainder <= factor"),
    "endless digits": ("P4", "P" + "9" * 999, "is no factor such as P5"),
    "two factors": ("P4", "P4 P2", "P has two factors"),
    "no order": ("CPNKQRS", "PNKQRS", "C must stand once in it, as it has a factor of 3"),
    "numbers": (
        "permutation: CPNKQRS",
        "permutation: [1, 2]",
        "permutation: must be text or a list of texts",
    ),
    "type": ("type: temporal", "type: temporary", "did you mean 'temporal'"),
    "key": ("split: 7", "splat: 7", "unknown key 'splat'; did you mean 'split'"),
    "too few": ("P4", "P2", "map.yaml: the factors of P multiply to 4, and layer 'right' has 8"),
    "too many": ("C3,2", "C3", "map.yaml: the factors of C multiply to 9, and layer 'right' has 8"),
    "no dimension": ("N1 K1 P4", "X2 K1 P4", "X must stand once in it"),
    "none": (TEXT, "mapping: []", "mapping: must be a list of at least 1"),
    "something else": (TEXT, "mapping: 3", "mapping: must be a list"),
    "nothing": (TEXT, "problem: {}", "the key 'mapping' is missing"),
}


@pytest.mark.parametrize("case", MAPPINGS)
def test_wrong_mappings(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, expected = MAPPINGS[case]
    assert old in TEXT
    monkeypatch.chdir(tmp_path)
    Path("map.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(InputError) as error:
        read_mapping("map.yaml", LAYER)
    assert expected in str(error.value)
    assert str(error.value).startswith("map.yaml:")


# The command line


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> int:
        return run(arguments, time.monotonic())

    out = tmp_path / "solved"
    assert call("solve", "toy", "--hw", "toy", "-m", "sequential", "-t", "1", "-o", str(out)) == 0
    solution, (network, mappings) = str(out / "solution.yaml"), solved(out / "solution.yaml")
    capsys.readouterr()
    assert call("export", solution) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in network.index] == list(network.index)
    assert call("export", solution, "-o", str(tmp_path / "nests")) == 0
    assert (tmp_path / "nests" / "loops.txt").read_text() == printed

    files = tmp_path / "deep" / "files"
    assert call("export", solution, "--to", "timeloop", "-o", str(files)) == 0
    assert len(list(files.iterdir())) == 4 * len(network.layers) + 1
    again = load_network(str(files))
    assert (again.macs, again.weights, again.producers) == (network.macs, network.weights, network.producers)
    for i, (layer, mapping) in enumerate(zip(network.layers, mappings, strict=True), 1):
        assert read_mapping(files / f"{i}-{layer.name}.mapping.yaml", layer).loops == mapping.loops
        assert load(files / f"{i}-{layer.name}.problem.yaml", ProblemFile).problem.contraction.dims
        assert (files / f"{i}-{layer.name}.loops.txt").read_text() in printed
        assert yaml.safe_load((files / f"{i}-{layer.name}.arch.yaml").read_text()).keys() == {"arch"}

    capsys.readouterr()
    for wrong in (["--to", "timeloop"], ["--to", "time"], ["-o", solution]):
        assert call("export", solution, *wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


def solved(file: Path) -> tuple[Network, list[Mapping]]:
    solution = load(file, Solution)
    return solution.network, solution.mappings


def test_files_and_directories_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.yaml").write_text(CONVOLUTION)
    assert run(["models", "check", str(tmp_path / "one.yaml")], time.monotonic()) == 0
    assert "inputs      one.input 2 x 3 x 25 x 16" in capsys.readouterr().out
    arguments = ["--hw", "toy", "-m", "sequential", "-t", "1"]
    assert run(["solve", str(tmp_path), *arguments], time.monotonic()) == 0
    (tmp_path / f"{'x' * 250}.yaml").write_text(CONVOLUTION)
    assert run(["models", "check", str(tmp_path)], time.monotonic()) == 0
    (tmp_path / "two.yaml").write_text("format: overlapim/network/1\n")
    assert run(["solve", str(tmp_path)], time.monotonic()) == 2
    assert "two.yaml:1: the key 'problem' is missing" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["solve", str(tmp_path / "empty")], time.monotonic()) == 2
    assert "has 0 .yaml or .yml files" in capsys.readouterr().err
    (tmp_path / "template.yaml").write_text("{{include_text('base.yaml')}}\nproblem: {}\n")
    assert run(["solve", str(tmp_path / "template.yaml")], time.monotonic()) == 2
    assert "base.yaml: cannot be read: no such file" in capsys.readouterr().err
