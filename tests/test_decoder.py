"""Language models as they generate: sizes as published, what attention reads, caches, batches, tokens."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from generators import draw_hardware, draw_mapping
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import run
from hw.library import load_hardware
from models.batch import batched
from models.decoder import Decoder, decode, forward, gated, plain, prefill
from models.library import load_network
from models.network import AxisAccess, Dim, Layer, Network, Operand, Window
from models.transformer import Heads
from overlapim_files import InputError, dump, parse
from solver.execute.check import check_execution
from solver.reference import simulate
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate


@dataclass(frozen=True)
class Published:
    """The configuration of a model as it was published, and how many parameters that has.

    Attributes
    ----------
    tied : whether scoring words uses the table of embeddings.
    positions : in a table of their own; 0 with a rotary embedding.
    norm : parameters of a normalisation for each channel.
    biases : channels with a bias in each block.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    tied: bool
    positions: int
    feed_forward: int
    norm: int
    biases: int
    parameters: int

    @property
    def matrices(self) -> int:
        """Weights of one block."""
        queries = self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        attention = self.hidden_size * (2 * queries + 2 * keys)
        return attention + self.feed_forward * self.hidden_size * self.intermediate_size

    @property
    def table(self) -> int:
        return self.vocab_size * self.hidden_size

    @property
    def others(self) -> int:
        """Parameters that are no weights of a product: the table, if it is not tied, and all vectors."""
        norms = (2 * self.num_hidden_layers + 1) * self.norm * self.hidden_size
        tables = self.positions * self.hidden_size + (0 if self.tied else self.table)
        return tables + norms + self.num_hidden_layers * self.biases


PUBLISHED = {
    "llama-3.2-1b": Published(2048, 16, 32, 8, 64, 8192, 128_256, 131_072, True, 0, 3, 1, 0, 1_235_814_400),
    "llama-2-7b": Published(4096, 32, 32, 32, 128, 11_008, 32_000, 4096, False, 0, 3, 1, 0, 6_738_415_616),
    "qwen2.5-0.5b": Published(
        896, 24, 14, 2, 64, 4864, 151_936, 32_768, True, 0, 3, 1, 896 + 2 * 128, 494_032_768
    ),
    "gpt2": Published(768, 12, 12, 12, 64, 3072, 50_257, 1024, True, 1024, 2, 2, 5 * 768 + 3072, 124_439_808),
}
"""From each model's configuration file; the products have all parameters but tables and vectors."""

MODELS = pytest.mark.parametrize("name", PUBLISHED)


@MODELS
def test_weights_are_the_published_parameters_of_all_products(name: str) -> None:
    known = PUBLISHED[name]
    assert known.num_hidden_layers * known.matrices + known.table + known.others == known.parameters
    for suffix in ("", ":7", ":prefill@7", ":decode@7"):
        assert load_network(name + suffix).weights == known.parameters - known.others


@MODELS
def test_layers_and_multiply_accumulates_follow_from_the_configuration(name: str) -> None:
    known, n = PUBLISHED[name], 48
    each = 4 + known.feed_forward + 2
    pairs = 2 * known.num_hidden_layers * known.num_attention_heads * known.head_dim
    blocks = known.num_hidden_layers * known.matrices
    expected = {
        f"{name}:{n}": n * (blocks + known.table) + n * n * pairs,
        f"{name}:prefill@{n}": n * blocks + known.table + n * n * pairs,
        f"{name}:decode@{n}": blocks + known.table + n * pairs,
    }
    for given_name, macs in expected.items():
        network = load_network(given_name)
        assert (network.name, network.macs) == (given_name, macs)
        assert len(network.layers) == known.num_hidden_layers * each + 1
        assert network.tokens == {"prefill": n, "decode": 1}.get(given_name.split(":")[1].split("@")[0])
        keys = 2 * n * known.num_hidden_layers * known.num_key_value_heads * known.head_dim
        assert network.cached == (keys if "decode" in given_name else 0)


@MODELS
def test_passes_take_as_many_tokens_as_the_model(name: str) -> None:
    most = PUBLISHED[name].max_position_embeddings
    for kind, least in (("prefill", 1), ("decode", 2)):
        assert load_network(f"{name}:{kind}@{least}").tokens == least - (kind == "decode")
        for wrong in ("", "x", "-1", str(least - 1), str(most + 1), "9" * 500):
            with pytest.raises(
                InputError, match=f"tokens of {kind} must be an integer from {least} to {most}"
            ):
                load_network(f"{name}:{kind}@{wrong}")


@pytest.mark.parametrize("suffix", ["decod@4", "@4", "4@decode", "prefill@decode@4", "decode"])
def test_other_passes_are_refused_with_those_that_there_are(suffix: str) -> None:
    with pytest.raises(InputError, match="its passes are gpt2:prefill@N and gpt2:decode@N"):
        load_network(f"gpt2:{suffix}")
    with pytest.raises(InputError, match=r"bert-base: there is no pass 'decode'$"):
        load_network("bert-base:decode@4")


# What is read


def tiny(rng: random.Random) -> Decoder:
    heads = Heads(rng.randint(1, 2), rng.randint(1, 3), 2, rng.choice([(), (Window(block=2),)]))
    blocks, feed_forward = rng.randint(1, 2), rng.choice([plain, gated])
    return Decoder(blocks, 4, 3, heads, 5, 16, 1, rng.randint(0, 2), 2, feed_forward)


def points(layer: Layer) -> Iterator[dict[Dim, int]]:
    for point in itertools.product(*map(range, layer.dims.values())):
        yield dict(zip(layer.dims, point, strict=True))


def coordinates(access: AxisAccess, point: dict[Dim, int], extent: int) -> set[int]:
    """Return what one point reads on an axis; the windows of decoders are of these kinds."""
    value = access.offset + sum(c * point.get(dim, 0) for dim, c in access.terms.items())
    if not access.windows:
        return {value}
    (window,) = access.windows
    if window.all:
        return set(range(extent))
    if window.block:
        first = value - value % window.block
        return set(range(first, first + window.block))
    assert window.scale and window.width
    return set(range(value * window.scale, value * window.scale + window.width))


def elements(network: Network, operand: Operand, point: dict[Dim, int]) -> set[tuple[int, ...]]:
    shape = network.shapes[operand.producer]
    axes = zip(("n", "ch", "h", "w"), shape, strict=True)
    read = [coordinates(operand.axes[axis], point, extent) for axis, extent in axes]  # type: ignore[index]
    return set(itertools.product(*read))


@pytest.mark.parametrize("seed", range(12))
def test_heads_of_queries_share_keys_and_values(seed: int) -> None:
    rng = random.Random(seed)
    model, n = tiny(rng), 3
    heads = model.heads
    network = prefill(model, "tiny", n)
    layers = {layer.name: layer for layer in network.layers}

    def of_head(head: int, channel: int) -> set[int]:
        own = {channel} if not heads.mixed else set(range(heads.size))
        return {head * heads.size + c for c in own}

    for p in points(scores := layers["block0.scores"]):
        query, key = scores.operands
        g, q = p["G"], p.get("Q", 0)
        head = g * heads.shared + q
        assert elements(network, query, p) == {(0, c, p["P"], 0) for c in of_head(head, p["C"])}
        assert elements(network, key, p) == {(0, c, p["K"], 0) for c in of_head(g, p["C"])}
    for p in points(context := layers["block0.context"]):
        weighing, value = context.operands
        every = range(p["G"] * n, (p["G"] + 1) * n)
        assert elements(network, weighing, p) == {(0, c, p["P"], p.get("Q", 0)) for c in every}
        assert elements(network, value, p) == {(0, p["G"] * heads.size + p["K"], p["C"], 0)}
    read = [
        element
        for p in points(layers["block0.out"])
        if (p["P"], p["K"]) == (0, 0)
        for element in elements(network, layers["block0.out"].operands[0], p)
    ]
    every_context = itertools.product([0], range(heads.keys), [0], range(heads.shared))
    assert sorted(read) == sorted(every_context)


@pytest.mark.parametrize("seed", range(12))
def test_decoding_reads_its_own_key_and_value_and_all_others_from_the_cache(seed: int) -> None:
    rng = random.Random(seed)
    model, n = tiny(rng), 5
    heads = model.heads
    network = decode(model, "tiny", n)
    layers = {layer.name: layer for layer in network.layers}
    scores, context = layers["block0.scores"], layers["block0.context"]
    for layer in (scores, context):
        assert layer.cache and layer.weights == n * heads.keys
        assert len(layer.loaded) == len(layer.residuals) == 1
    for layer, name in ((scores, "key"), (context, "value")):
        (residual,) = layer.residuals
        assert residual.producer == f"block0.{name}"
        of_group: dict[int, set[tuple[int, ...]]] = {}
        for p in points(layer):
            of_group.setdefault(p["G"], set()).update(elements(network, residual, p))
        channels = range(heads.size)
        assert of_group == {g: {(0, g * heads.size + c, 0, 0) for c in channels} for g in range(heads.groups)}
    assert network.layers[-1].shape == (1, model.vocabulary, 1, 1)


def test_a_prefill_scores_words_after_its_last_token_only() -> None:
    head = load_network("gpt2:prefill@5").layers[-1]
    assert head.shape == (1, 50_257, 1, 1) and head.operands[0].axes.h.offset == 4


def test_a_gate_is_read_where_it_is_multiplied() -> None:
    network = load_network("qwen2.5-0.5b:decode@4")
    up = network.layers[network.index["block3.up"]]
    (gate,) = up.residuals
    assert gate.producer == "block3.gate" and gate.axes.ch.terms == {"K": 1}
    assert up.weights == 896 * 4864


# Times and numbers


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_decoders_agree_with_the_simulator(seed: int) -> None:
    rng = random.Random(seed)
    build = rng.choice([forward, prefill, decode, decode])
    network = build(tiny(rng), "tiny", rng.randint(2, 4))
    if build is decode and rng.random() < 0.5:
        network = batched(network, 2)
    chip = draw_hardware(rng, network)
    mappings = tuple(draw_mapping(rng, layer, chip) for layer in network.layers)
    problem, releases = Problem(network, chip), (0,) * len(mappings)
    found = evaluate(problem, [problem.profile(i, own) for i, own in enumerate(mappings)], releases)
    truth = simulate(network, chip, mappings, releases, (None,) * len(mappings))
    assert [(x.start, x.end) for x in found.layers] == [(x.start, x.end) for x in truth]


@pytest.mark.parametrize("batch", [1, 2])
def test_numbers_run_through_decoding(batch: int) -> None:
    network = decode(tiny(random.Random(3)), "tiny", 6)
    network = batched(network, batch) if batch > 1 else network
    result = solve(network, load_hardware("toy"), method="sequential", stop=Stop.deterministic(0.1))
    assert check_execution(result.solution, 0, lambda text: None).differences == ()


# Batches


def test_each_inference_of_a_batch_has_its_own_cache() -> None:
    alone, batch = load_network("llama-3.2-1b:decode@64"), batched(load_network("llama-3.2-1b:decode@64"), 3)
    assert (batch.tokens, batch.macs, batch.weights) == (3, 3 * alone.macs, alone.weights)
    assert batch.cached == 3 * alone.cached
    layers = {layer.name: layer for layer in batch.layers}
    for i in range(3):
        scores, context = layers[f"block1.scores.{i}"], layers[f"block1.context.{i}"]
        assert [x.axes.n.offset for x in scores.operands] == [i, i]
        assert [x.producer for x in context.operands] == [scores.name, "block1.value"]
    out = layers["block1.out"]
    assert [x.producer for x in out.loaded] == ["block1.context.0"]
    assert [x.producer for x in out.operands][:3] == [f"block1.context.{i}" for i in range(3)]
    for n in range(3):
        own = [elements(batch, x, {"N": n, "C": 1, "S": 2, "K": 0}) for x in out.operands[:3]]
        assert [(0, 1, 0, 2) in read for read in own] == [i == n for i in range(3)]
    assert batched(load_network("gpt2:prefill@8"), 3).tokens == 24


def test_a_batch_of_too_many_caches_is_refused() -> None:
    with pytest.raises(InputError, match="6513 layers, as each has its own caches; the limit is 4096"):
        batched(load_network("llama-3.2-1b:decode@64"), 200)
    with pytest.raises(InputError, match="the limit is 4096"):
        batched(load_network("gpt2:decode@64"), 2**20)


CACHES = [
    ("operands:", "cache: true, operands:", None),
    ("dims: {K: 2, C: 3}", "dims: {N: 2, K: 2, C: 3}", "a cache is that of one inference"),
    ("- {from: x, ", "- {from: x, axes: {ch: {terms: {C: 1}}}}\n      - {from: x, ", "has none"),
]


@pytest.mark.parametrize(("old", "new", "fault"), CACHES)
def test_a_cache_has_weights_of_one_inference(old: str, new: str, fault: str | None) -> None:
    text = """\
format: overlapim/network/1
name: x
inputs: [{name: x, shape: [2, 3, 1, 1]}]
layers:
  - name: a
    dims: {K: 2, C: 3}
    cache: true
    operands:
      - {from: x, axes: {ch: {terms: {C: 1}}}}
"""
    if fault is None:
        assert parse(text, Network, "net.yaml").cached == 6
        return
    with pytest.raises(InputError, match=f"net.yaml:.*layer 'a': .*{fault}"):
        parse(text.replace(old, new), Network, "net.yaml")


# Tokens


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*arguments, "-q"], 0.0) == 0
    return capsys.readouterr().out


def test_answers_say_how_many_tokens_a_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(dump(prefill(tiny(random.Random(1)), "tiny", 4)), encoding="utf-8")
    options = ["--hw", "toy", "-m", "sequential"]
    record: dict[str, Any] = json.loads(shown(["solve", str(file), *options, "--json"], capsys))
    seconds = record["latency"] * 1e-9
    assert record["tokens_per_s"] == pytest.approx(4 / seconds)
    assert record["energy_per_token_pj"] == pytest.approx(record["energy_pj"] / 4)
    text = shown(["solve", str(file), *options], capsys)
    assert f"tokens      4 in the latency: {4 / seconds:,.0f} a second, " in text
    other: dict[str, Any] = json.loads(shown(["solve", "toy", *options, "--json"], capsys))
    assert other["tokens_per_s"] is other["energy_per_token_pj"] is None
    assert "tokens" not in shown(["solve", "toy", *options], capsys)
    facts = shown(["models", "show", "gpt2:decode@8"], capsys)
    assert "cached      147,456 keys and values\ntokens      1\n" in facts


def test_a_model_that_is_too_large_is_refused_in_rows() -> None:
    with pytest.raises(
        InputError, match=r"needs \d+ rows in each lane even on the whole chip, \d+ more than"
    ):
        solve(load_network("gpt2:decode@16"), load_hardware("toy"), method="sequential")
