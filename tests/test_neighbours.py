"""ZigZag's lists of layers and AccelForge's workloads."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cli.main import run
from models.library import load_network
from models.network import Network
from overlapim_files import InputError

CONV = """- id: {id}
  operator_type: Conv
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: [ix={stride}*ox+1*fx, iy={stride}*oy+1*fy]
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [1, {k}, {c}, {size}, {size}, {f}, {f}]
  operand_precision: {{W: 4, I: 8, O: 16, O_final: 8}}
  operand_source: {{I: {source}, W: {id}}}
"""
ADD = """- id: {id}
  operator_type: Add
  equation: O[b][g][oy][ox]=W[b][g][oy][ox]+I[b][g][oy][ox]
  loop_dims: [B, G, OY, OX]
  loop_sizes: [1, 8, 6, 6]
  operand_precision: {{W: 8, I: 8, O: 16, O_final: 8}}
  operand_source: {{W: {one}, I: {other}}}
"""
POOL = """- id: {id}
  name: pool
  operator_type: Pooling
  equation: O[b][g][oy][ox] += W[fx][fy] * I[b][g][iy][ix]
  dimension_relations: [ix=2*ox+1*fx, iy=2*oy+1*fy]
  loop_dims: [B, G, OX, OY, FX, FY]
  loop_sizes: [1, 8, 3, 3, 2, 2]
  operand_precision: {{W: 0, I: 8, O: 16, O_final: 8}}
  operand_source: {{I: {source}, W: {id}}}
"""


def conv(id: int, source: int, c: int = 8, size: int = 6, f: int = 3, stride: int = 1) -> str:
    return CONV.format(id=id, source=source, k=8, c=c, size=size, f=f, stride=stride)


def read(directory: Path, text: str) -> Network:
    (directory / "net.yaml").write_text(text)
    return load_network(str(directory / "net.yaml"))


def failure(directory: Path, text: str) -> str:
    with pytest.raises(InputError) as error:
        read(directory, text)
    assert str(error.value).startswith(str(directory / "net.yaml"))
    assert str(error.value).isprintable()
    return str(error.value)


def rejected(directory: Path, *options: str) -> bool:
    """Return whether options are refused for the network that was read last."""
    return run(["models", "check", str(directory / "net.yaml"), *options], time.monotonic()) == 2


def reads(network: Network) -> dict[str, list[str]]:
    return {layer.name: [x.producer for x in layer.operands] for layer in network.layers}


# ZigZag


def test_a_block_with_an_addition_and_a_pooling(tmp_path: Path) -> None:
    """The addition is a residual of the second convolution, which nothing else reads."""
    text = conv(0, 0, c=3) + conv(1, 0) + conv(2, 1) + ADD.format(id=3, one=0, other=2)
    network = read(tmp_path, f"{text}{POOL.format(id=4, source=3)}{conv(5, 4, size=1)}")
    assert reads(network) == {
        "conv0": ["conv0.input"],
        "conv1": ["conv0"],
        "conv2": ["conv1", "conv0"],
        "pool": ["conv2"],
        "conv5": ["pool"],
    }
    assert network.layers[2].is_residual == (False, True)
    assert network.inputs[0].shape == (1, 3, 8, 8)
    pool = network.layers[3]
    assert pool.dims == {"G": 8, "P": 3, "Q": 3, "R": 2, "S": 2}
    assert network.macs == 36 * 9 * 8 * (3 + 8 + 8) + 9 * 8 * 4 + 8 * 8 * 9


def test_an_addition_of_what_others_read_is_a_sum(tmp_path: Path) -> None:
    text = conv(0, 0, c=3) + conv(1, 0) + conv(2, 1) + ADD.format(id=3, one=1, other=2) + conv(4, 2)
    network = read(tmp_path, text + conv(5, 3))
    assert reads(network)["conv5"] == ["conv1", "conv2"]
    assert {operand.sum for operand in network.layers[-1].operands} == {"sum"}


def test_layers_with_a_step_of_their_own(tmp_path: Path) -> None:
    network = read(tmp_path, conv(0, 0, c=3, size=12) + conv(1, 0, stride=2, f=5))
    assert network.layers[1].operands[0].axes.h.terms == {"P": 2, "R": 1}
    assert network.layers[1].operands[0].axes.h.offset == -2


ZIGZAG_WRONG = {
    "equation": ("W[k][c][fy][fx]*I", "W[k][c][fy][fx]/I", ":3: list[0].equation: 'O[b][k]"),
    "relation": ("iy=1*oy+1*fy", "iy=oy-fy", ":4: list[0].dimension_relations[1]: 'iy=oy-fy' is no relation"),
    "sizes": ("[1, 8, 8, 6, 6, 3, 3]", "[1, 8]", ":6: list[0].loop_sizes: 2 sizes for 7 dims"),
    "zero": ("[1, 8, 8, 6, 6, 3, 3]", "[0, 8, 8, 6, 6, 3, 3]", "loop_sizes[0]: must be at least 1"),
    "missing": ("FY, FX]", "FY, F]", "dimension fx has no size"),
    "later": ("I: 0", "I: 9", "layer 9 does not stand before this one"),
    "key": ("operand_source", "operand_sources", "did you mean 'operand_source'"),
    "a text": ("id: 0", "id: x", ":1: list[0].id: must be an integer"),
}


@pytest.mark.parametrize("case", ZIGZAG_WRONG)
def test_wrong_layers_of_zigzag(case: str, tmp_path: Path) -> None:
    old, new, expected = ZIGZAG_WRONG[case]
    assert old in conv(0, 0)
    assert expected in failure(tmp_path, conv(0, 0).replace(old, new))


def test_products_of_two_layers_are_refused(tmp_path: Path) -> None:
    both = conv(2, 1).replace("W: 2}", "W: 0}")
    assert "products of two activations" in failure(tmp_path, conv(0, 0) + conv(1, 0) + both)
    assert "a layer before this one is 0" in failure(tmp_path, conv(0, 0) + conv(0, 0))
    assert "a mapping of keys" in failure(tmp_path, "- 1\n- 2\n")


# AccelForge


CHAIN = """workload:
  rank_sizes: {M: 12, N0: 8, N1: 2*3}
  iteration_space_shape: {n2: 0 <= n2 < 5}
  bits_per_value: {All: 8}
  persistent_tensors: weight - Intermediates
  einsums:
  - name: First
    tensor_accesses:
    - {name: T0, projection: [m, n0]}
    - {name: W0, projection: [n0, n1], persistent: true}
    - {name: T1, projection: [m, n1], output: True}
    renames: {input: T0}
  - {einsum: "C1[m, n1] = T1[m, n1]", is_copy_operation: True}
  - T2[m, n2] = W1[n1, n2] * C1[m, n1]
renames: {}
"""


def test_a_cascade_of_products(tmp_path: Path) -> None:
    network = read(tmp_path, CHAIN)
    assert reads(network) == {"First": ["T0"], "T2": ["First"]}
    assert [layer.dims for layer in network.layers] == [
        {"P": 12, "K": 6, "C": 8},
        {"P": 12, "K": 5, "C": 6},
    ]
    assert (network.macs, network.weights) == (12 * 6 * (8 + 5), 6 * (8 + 5))


IMAGES = """workload:
  rank_sizes: {N: {{BATCH_SIZE}}}
  einsums:
  - einsum: "A[p, q, n, m] = I[n, c, H: p * 2 + r, W: 2*q + s] * F[r, s, c, m]"
    iteration_space_shape: [0 <= p < 8, 0 <= q < 8, 0 <= c < 3, 0 <= m < 4, 0 <= r < 3, 0 <= s < 3]
  - einsum: "B[p, q, n, m] = J[n, m, H: p + r, W: q + s] * G[r, s, m]"
    iteration_space_shape: [0 <= p < 8, 0 <= q < 8, 0 <= m < 4, 0 <= r < 3, 0 <= s < 3]
"""


def test_layers_that_name_nothing_of_each_other_are_told_by_their_shapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = read(tmp_path, IMAGES)
    assert reads(network) == {"A": ["A.input"], "B": ["A"]}
    assert network.layers[0].operands[0].axes.h.terms == {"P": 2, "R": 1}
    assert network.layers[1].dims == {"G": 4, "P": 8, "Q": 8, "R": 3, "S": 3}
    arguments = ["models", "show", str(tmp_path / "net.yaml"), "--dim", "BATCH_SIZE=3"]
    assert run(arguments, time.monotonic()) == 0
    assert "3 x 4 x 8 x 8" in capsys.readouterr().out
    (tmp_path / "edges.yaml").write_text("format: overlapim/edges/1\ninputs: [x]\nreads: {B: x}\n")
    assert not rejected(tmp_path, "--edges", str(tmp_path / "edges.yaml"))
    assert "B.input" not in (printed := capsys.readouterr().out)
    assert "x 1 x 4 x 10 x 10" in printed
    assert rejected(tmp_path, "--dims", "p=Q")
    assert rejected(tmp_path, "--dim", "BATCH=3")
    assert "--dim: the name BATCH has no place in what is read; known: BATCH_SIZE" in capsys.readouterr().err


ATTENTION = """workload:
  rank_sizes: {B: 1, M: 10, P: 10, D: 12, H: 3, E: 4, F: 4, G: 12}
  einsums:
  - "V[b, m, h, e] = I[b, m, d] * WV[h, e, d]"
  - "K[b, m, h, e] = I[b, m, d] * WK[h, e, d]"
  - "Q[b, m, h, e] = I[b, m, d] * WQ[h, e, d]"
  - "S[b, m, p, h] = Q[b, m, h, e] * K[b, M: p, h, e]"
  - "X[b, m, p, h] = S[b, m, p, h]"
  - "A[b, m, h, f] = X[b, m, p, h] * V[b, M: p, h, E: f]"
  - "Z[b, m, g] = A[b, m, h, f] * WZ[h, f, g]"
"""


@pytest.mark.parametrize("rows", [10, 4, 12])
def test_attention_reads_both_sides(rows: int, tmp_path: Path) -> None:
    """Also with as many tokens as a head, or all heads, have channels."""
    text = ATTENTION.replace("M: 10, P: 10", f"M: {rows}, P: {rows}")
    network = read(tmp_path, text)
    inner = {"S": ["Q", "K"], "A": ["S", "V"], "Z": ["A"]}
    assert reads(network) == {"V": ["I"], "K": ["I"], "Q": ["I"], **inner}
    layers = {layer.name: layer for layer in network.layers}
    assert (layers["S"].dims, layers["S"].weights) == ({"G": 3, "P": rows, "K": rows, "C": 4}, 0)
    assert layers["Z"].dims == {"P": rows, "K": 12, "C": 12}
    keys, values = layers["S"].operands[1].axes, layers["A"].operands[1].axes
    assert (keys.ch.terms, keys.h.terms) == ({"G": 4, "C": 1}, {"K": 1})
    assert (values.ch.terms, values.h.terms) == ({"G": 4, "K": 1}, {"C": 1})
    assert network.weights == 4 * 12 * 12


ACCELFORGE_WRONG = {
    "sum": ("W1[n1, n2] * C1", "W1[n1, n2] + C1", "is no Einsum such as"),
    "no size": ("{n2: 0 <= n2 < 5}", "{n3: 0 <= n3 < 5}", "rank variable n2 has no size"),
    "range": ("0 <= n2 < 5", "1 <= n2 < 5", "'1 <= n2 < 5' is no range such as 0 <= m < 128"),
    "three": ("W1[n1, n2] *", "W1[n1, n2] * W2[n2] *", "T2 is neither a copy nor a product of two tensors"),
    "index": ("[n0, n1], pers", "[n0 - 1, n1], pers", "'n0 - 1' is no sum of rank variables"),
    "no output": (", output: True", "", "one of the tensors must be the output"),
    "key": ("rank_sizes", "rank_size", "did you mean 'rank_sizes'"),
    "twice": ("T2[m, n2]", "T1[m, n2]", "two Einsums have one name or compute one tensor"),
    "other axes": (
        "T2[m, n2] = W1[n1, n2] * C1[m, n1]",
        "T2[n1, n2] = W1[m, n2] * C1[m, n1]",
        "on axis ch; it is on h",
    ),
}


@pytest.mark.parametrize("case", ACCELFORGE_WRONG)
def test_wrong_workloads(case: str, tmp_path: Path) -> None:
    old, new, expected = ACCELFORGE_WRONG[case]
    assert old in CHAIN
    assert expected in failure(tmp_path, CHAIN.replace(old, new))
