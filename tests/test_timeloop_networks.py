"""Directories of Timeloop's problems: what is passed over, which dims there are, which layer reads which."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.main import run
from models.layer import Dim
from models.library import import_file, load_network, network_names
from models.timeloop.chain import Chained
from models.timeloop.contraction import DataSpaces, Expression, contraction
from models.timeloop.load import EDGES, ImportOptions
from models.timeloop.write import edges_text, problem_text
from overlapim_files import InputError


def conv(channels: int, out: int, size: int, kernel: int = 3, stride: int = 1) -> str:
    loops = f"C: {channels}, K: {out}, P: {size}, Q: {size}, R: {kernel}, S: {kernel}, N: 1"
    return f"problem: {{shape: cnn_layer, instance: {{{loops}, Wstride: {stride}, Hstride: {stride}}}}}\n"


def gemm(rows: int, out: int, summed: int) -> str:
    return f"problem: {{shape: gemm_ABZ, instance: {{M: {rows}, N: {out}, K: {summed}}}}}\n"


def read(directory: Path, problems: Mapping[str, str], edges: str = "") -> Chained:
    """Return the network of problems by name, with a file of edges if there is one."""
    for name, text in problems.items():
        (directory / f"{name}.yaml").write_text(text)
    if edges:
        (directory / EDGES).write_text(f"format: overlapim/edges/1\n{edges}")
    return import_file(str(directory), ImportOptions())


def reads(found: Chained) -> dict[str, list[str]]:
    return {layer.name: [x.producer for x in layer.operands] for layer in found.network.layers}


def kinds(found: Chained) -> list[tuple[str, str]]:
    return [(note.node, note.operator) for note in found.notes]


# Keys


PLAIN = "problem: {shape: cnn_layer, instance: {C: 4, K: 8, P: 9, Q: 9, R: 3, S: 3, N: 1}}\n"
TOLD = """problem:
  name: Conv2d
  dnn_name: some network
  notes: the first layer
  attribution: {by: somebody, year: 2020}
  histograms: {Inputs: [0.5, 0.5]}
  shape: {name: cnn, description: a convolution, dimensions: [C, K], data_spaces: [
    {name: W, projection: [C, K]}, {name: I, projection: [C]}, {name: O, projection: [K], read_write: true}]}
  instance: {C: 4, K: 8}
"""


def test_keys_that_describe_are_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, {"one": TOLD, "two": PLAIN.replace("{shape", "{notes: second, shape")})
    assert [layer.dims for layer in found.network.layers] == [
        {"C": 4, "K": 8},
        {"C": 4, "K": 8, "P": 9, "Q": 9, "R": 3, "S": 3},
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [("nots: x", "did you mean 'notes'"), ("stride: 2", "unknown key 'stride'"), ("K: 3", "unknown key 'K'")],
)
def test_all_other_keys_are_errors(key: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one\.yaml:2: ") as error:
        read(tmp_path, {"one": TOLD.replace("problem:\n", f"problem:\n  {key}\n")})
    assert "unknown key" in str(error.value)
    assert expected in str(error.value) or key.startswith("nots")


def test_a_coefficient_in_other_letters_counts_and_is_noted(tmp_path: Path) -> None:
    found = read(tmp_path, {"one": PLAIN.replace("N: 1", "N: 1, HStride: 2, Hstride: 1")})
    assert found.network.inputs[0].shape == (1, 4, 11, 19)
    assert kinds(found) == [("one", "spelling")]
    with pytest.raises(InputError, match="HStride is 2 and Hstride is 3; give one"):
        read(tmp_path, {"one": PLAIN.replace("N: 1", "N: 1, HStride: 2, Hstride: 3")})


def test_a_set_of_layers_that_share_a_base(tmp_path: Path) -> None:
    shape = yaml.safe_load(TOLD)["problem"]["shape"]
    base = yaml.safe_dump({"instance": {"C": 1, "K": "BATCH_SIZE"}, "shape": shape})
    indented = "".join(f"  {line}\n" for line in base.splitlines())
    (tmp_path / "base.yaml").write_text(f"base: &base\n{indented}")
    (tmp_path / "net").mkdir()
    text = "{{include_text('../base.yaml')}}\nproblem:\n  <<<: *base\n  instance: {C: 6}\n  notes: Linear\n"
    found = read(tmp_path / "net", {"0": text, "1": text.replace("6", "1")})
    assert [layer.dims for layer in found.network.layers] == [{"C": 6}, {}]
    many = import_file(str(tmp_path / "net"), ImportOptions(values={"BATCH_SIZE": 5})).network
    assert [layer.dims for layer in many.layers] == [{"C": 6, "K": 5}, {"K": 5}]


# Dims


ATTENTION = """problem:
  shape:
    dimensions: [b, h, m, p, e, t]
    data_spaces:
    - {name: Q, projection: [b, h, m, t, e]}
    - {name: K, projection: [b, h, p, e]}
    - {name: S, projection: [b, h, m, t, p], read_write: true}
  instance: {b: 2, h: 3, m: 4, t: 5, p: 6, e: 7}
"""


def test_several_dimensions_can_be_one_dim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.yaml").write_text(ATTENTION)

    def check(*arguments: str) -> str:
        code = run(["models", "show", str(tmp_path / "one.yaml"), *arguments], time.monotonic())
        printed = capsys.readouterr()
        assert code == (2 if printed.err else 0)
        return printed.err or printed.out

    error = check()
    assert "dimensions b, h stand in all three data-spaces; there can be 1 such" in error
    proposal = error.rsplit(" ", 1)[1].strip()
    assert proposal == "b=G,h=G"
    found = check("--dims", f"{proposal},m=P,t=Q")
    assert "G6 K6 P4 Q5 C7" in found
    assert "G6 K6 P20 C7" in check("--dims", "b=G,h=G,m=P,t=P")
    assert "dimension p cannot be P: where it stands, K can" in check("--dims", "b=G,h=G,p=P")
    assert "h, m stand in different data-spaces" in check("--dims", "h=G,m=G")
    assert "no problem has a dimension 'x'" in check("--dims", "b=G,h=G,x=G")
    assert "must be NAME=DIM,.. with dims of N, G, K, P, Q, C, R, S, not 'b=Z'" in check("--dims", "b=Z")
    assert "'b' is given twice" in check("--dims", "b=G,b=N")
    (tmp_path / "one.yaml").write_text(f"{ATTENTION}  dims: {{b: G, h: G, m: Q}}\n")
    assert "G6 K6 Q4 P5 C7" in check()
    assert "G6 K6 P4 Q5 C7" in check("--dims", "m=P")


def test_what_slides_cannot_be_joined() -> None:
    bounds = {"p": 3, "q": 3, "r": 2, "k": 2}
    slid: Sequence[Expression] = ((("p", 1), ("r", 1)), (("q", 1),))
    spaces = DataSpaces((*slid,), ((("r", 1),), (("k", 1),)), ((("p", 1),), (("q", 1),), (("k", 1),)))
    with pytest.raises(ValueError, match="an axis is p \\+ r, so its dimensions cannot be one dim"):
        contraction(bounds, spaces, {"p": "P", "q": "P"})


SORTS: dict[str, tuple[tuple[Dim, ...], tuple[bool, bool, bool]]] = {
    "group": (("G",), (True, True, True)),
    "channel": (("K",), (False, True, True)),
    "image": (("N", "P", "Q"), (True, False, True)),
    "reduction": (("C",), (True, True, False)),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(SORTS)), st.integers(2, 4), st.integers(0, 2)), max_size=6))
def test_joined_dims_count_what_the_problem_counts(drawn: list[tuple[str, int, int]]) -> None:
    """Tensors have as many elements as index tuples are visited, whatever is joined with what."""
    bounds = {f"d{i}": bound for i, (_, bound, _) in enumerate(drawn)}
    spaces: list[list[Expression]] = [[], [], []]
    dims: dict[str, Dim] = {}
    for name, (sort, _, choice) in zip(bounds, drawn, strict=True):
        slots, inside = SORTS[sort]
        dims[name] = slots[choice % len(slots)]
        for axes, stands in zip(spaces, inside, strict=True):
            axes += [((name, 1),)] if stands else []
    made = contraction(bounds, DataSpaces(*map(tuple, spaces)), dims)
    visited = [dict(zip(bounds, x, strict=True)) for x in itertools.product(*map(range, bounds.values()))]
    inputs, weights, outputs = (len({tuple(v[a[0][0]] for a in axes) for v in visited}) for axes in spaces)
    assert math.prod(made.dims.values()) == len(visited)
    assert math.prod(made.extents) == inputs
    assert math.prod(made.dims.get(dim, 1) for dim in ("G", "K", "C", "R", "S")) == weights
    assert math.prod(made.shape) == outputs


# Which layer reads which


def test_an_output_that_only_its_twin_left_unread_is_added(tmp_path: Path) -> None:
    """A convolution and the projection beside it, whose sum is what the next layer reads."""
    block = {"0": conv(8, 8, 12), "1": conv(8, 16, 6, stride=2), "2": conv(16, 16, 6)}
    found = read(tmp_path, {**block, "3": conv(8, 16, 6, 1, 2), "4": conv(16, 16, 6)})
    assert reads(found) == {"0": ["0.input"], "1": ["0"], "2": ["1"], "3": ["0", "2"], "4": ["3"]}
    assert kinds(found) == [("2", "residual")]
    added = found.network.layers[3]
    assert added.is_residual == (False, True)
    assert [added.operands[1].axes[axis].terms for axis in ("ch", "h", "w")] == [{"K": 1}, {"P": 1}, {"Q": 1}]


def test_what_shapes_leave_open_is_noted_and_left_alone(tmp_path: Path) -> None:
    """Three projections of equal size, of which one is read: a sum, attention or branches."""
    problems = {"0": gemm(5, 12, 6), "1": gemm(5, 6, 12), "2": gemm(5, 6, 12), "3": gemm(5, 6, 12)}
    found = read(tmp_path, {**problems, "4": gemm(5, 12, 6)})
    assert reads(found) == {"0": ["0.input"], "1": ["0"], "2": ["0"], "3": ["0"], "4": ["3"]}
    assert kinds(found) == [("1", "unread"), ("2", "unread"), ("4", "ambiguous")]


def test_projections_of_one_size_are_noted_as_ambiguous(tmp_path: Path) -> None:
    found = read(tmp_path, {str(i): gemm(9, 16, 16) for i in range(4)})
    assert reads(found) == {"0": ["0.input"], "1": ["0"], "2": ["1"], "3": ["2"]}
    assert kinds(found) == [("1", "ambiguous")]
    assert "reads 0, the nearest, but can as well read 0.input; so can 2 more" in found.notes[0].text


def test_edges_say_what_shapes_do_not(tmp_path: Path) -> None:
    """Attention: scores of queries and keys, which weigh the values; then a residual of the tokens."""
    problems = {name: gemm(9, 16, 16) for name in ("q", "k", "v")}
    problems |= {"scores": gemm(9, 9, 16), "values": gemm(9, 16, 9), "z": gemm(9, 16, 16)}
    found = read(
        tmp_path,
        problems,
        """inputs: [tokens]
reads:
  q: tokens
  k: tokens
  v: [tokens]
  scores: {sum: [q], times: k}
  values: {sum: [scores], times: v}
  z: {sum: [values], add: [tokens]}
""",
    )
    expected = {"q": ["tokens"], "scores": ["q", "k"], "values": ["scores", "v"], "z": ["values", "tokens"]}
    assert {name: read for name, read in reads(found).items() if name in expected} == expected
    layers = {layer.name: layer for layer in found.network.layers}
    assert [layers[name].weights for name in ("q", "scores", "values", "z")] == [256, 0, 0, 256]
    keys, values = layers["scores"].operands[1].axes, layers["values"].operands[1].axes
    assert (keys.ch.terms, keys.h.terms) == ({"C": 1}, {"K": 1})
    assert (values.ch.terms, values.h.terms) == ({"K": 1}, {"C": 1})
    assert not found.notes


def test_parts_of_a_concatenation_follow_each_other(tmp_path: Path) -> None:
    problems = {"0": conv(3, 4, 8), "1": conv(4, 2, 8, 1), "2": conv(4, 6, 8), "3": conv(8, 5, 8)}
    found = read(tmp_path, problems, "reads: {'3': {concat: ['1', '2']}}\n")
    assert reads(found) == {"0": ["0.input"], "1": ["0"], "2": ["0"], "3": ["1", "2"]}
    parts = found.network.layers[3].operands
    assert [part.axes.ch.offset for part in parts] == [0, -2]
    assert not found.notes


EDGES_WRONG = {
    "no layer": ("{x: '0'}", "reads.x: there is no such layer; known: 0, 1"),
    "no producer": ("{'1': x}", "reads.1: there is no layer or input 'x'; known: 0, 1"),
    "no fit": (
        "{'0': '1'}",
        "reads.0: what goes with 1 x 3 x 10 x 10 is needed, which 1 of 1 x 5 x 8 x 8 does not",
    ),
    "both": ("{'1': {sum: ['0'], concat: ['0']}}", "edges.yaml:2: reads.1.concat: a layer reads a sum or"),
    "twice": ("{'1': ['0', '0']}", "edges.yaml:2: reads.1.sum: '0' stands in it twice"),
    "added": ("{'1': {add: ['0']}}", "reads.1: what goes with 1 x 5 x 8 x 8 is needed, which 0 of 1 x 4"),
    "factor": ("{'1': {times: '0'}}", "reads.1: its weights are 4 x 5 x 3 x 3, which 0 of 1 x 4 x 8 x 8"),
    "key": ("{'1': {plus: ['0']}}", "edges.yaml:2: reads.1: unknown key 'plus'"),
    "cycle": ("{'1': {add: ['1']}}", "these layers wait for each other: '1' reads '1'"),
}


@pytest.mark.parametrize("case", EDGES_WRONG)
def test_wrong_edges(case: str, tmp_path: Path) -> None:
    text, expected = EDGES_WRONG[case]
    with pytest.raises(InputError) as error:
        read(tmp_path, {"0": conv(3, 4, 8), "1": conv(4, 5, 8)}, f"reads: {text}\n")
    assert expected in str(error.value)
    assert str(error.value).startswith(str(tmp_path / EDGES))


def test_edges_from_elsewhere_and_notes_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "net"
    net.mkdir()
    read(net, {str(i): gemm(9, 16, 16) for i in range(3)})
    edges = tmp_path / "mine.yaml"
    edges.write_text("format: overlapim/edges/1\nreads: {'2': ['0', '1']}\n")
    assert run(["models", "show", str(net)], time.monotonic()) == 0
    assert "ambiguous" in capsys.readouterr().err
    assert run(["models", "show", str(net), "--edges", str(edges)], time.monotonic()) == 0
    assert "0, 1" in capsys.readouterr().out
    assert run(["models", "show", "toy", "--edges", str(edges)], time.monotonic()) == 2
    assert "--edges: only for" in capsys.readouterr().err


@pytest.mark.parametrize("name", network_names())
def test_what_is_exported_is_the_same_network_again(name: str, tmp_path: Path) -> None:
    """Residuals, sums, concatenations and products of activations come back, beside other files."""
    network = load_network(name)
    names = {layer.name: f"{i:03}-{layer.name}" for i, layer in enumerate(network.layers)}
    for layer in network.layers:
        (tmp_path / f"{names[layer.name]}.problem.yaml").write_text(problem_text(layer))
    (tmp_path / "000-x.mapping.yaml").write_text("mapping: []\n")
    (tmp_path / EDGES).write_text(edges_text(network, names))
    found = import_file(str(tmp_path), ImportOptions())
    assert found.notes == ()
    assert [layer.name for layer in found.network.layers] == list(names.values())
    for one, other in zip(found.network.layers, network.layers, strict=True):
        assert (one.macs, one.weights, one.shape) == (other.macs, other.weights, other.shape)
        assert [names.get(x.producer, x.producer) for x in other.operands] == [
            x.producer for x in one.operands
        ]
        assert one.is_residual == other.is_residual
