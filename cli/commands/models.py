"""`overlapim models`: the networks that come with the program, and whether a network file is right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from cli.answers import answer, answering
from cli.networks import (
    AsPost,
    BatchSize,
    DimNames,
    EdgesFile,
    Extents,
    FileOptions,
    Strict,
    Until,
    WeightsFrom,
    given_network,
    network_with_notes,
)
from cli.options import AsFile, CatalogueName, CheckedFile

if TYPE_CHECKING:
    from cli.records.catalogue import LayerSummary, NetworkSummary

app = typer.Typer(help="Networks: list them, show one, check a file.")


@dataclass(frozen=True)
class ShownNetwork:
    """A network: what it adds up to, and its layers."""

    summary: NetworkSummary
    layers: tuple[LayerSummary, ...]


@app.command("list")
@answering
def list_networks() -> None:
    """List the networks that come with the program.

    BERT and language models have 128 tokens unless their name says how many, in every command that takes a
    network. A language model reads a text with `:prefill@N` and writes one more token with `:decode@N`.

    Examples:

      overlapim models show bert-base:512
      overlapim models show llama-3.2-1b:decode@512
    """
    from cli.records.catalogue import network_summary
    from models.library import load_network, network_names

    networks = [network_summary(load_network(name)) for name in network_names()]
    answer(networks, lambda: _show_networks(networks))


def _show_networks(networks: Sequence[NetworkSummary]) -> None:
    from cli.show.console import console
    from cli.show.tables import number, table

    rows = table(("name", "layers", "MACs", "weights"), ("name",))
    for network in networks:
        rows.add_row(network.name, *map(number, (network.layers, network.macs, network.weights)))
    console().print(rows)


@app.command("show")
@answering
def show_network(
    name: CatalogueName,
    dim: Extents = None,
    until: Until = None,
    as_post: AsPost = None,
    weights_from: WeightsFrom = None,
    strict: Strict = False,
    batch: BatchSize = 1,
    dims: DimNames = None,
    edges: EdgesFile = None,
    as_file: AsFile = False,
) -> None:
    """Show the layers of a network and what each of them reads.

    Example:

      overlapim models show resnet18 --file > net.yaml
    """
    from cli.records.catalogue import layer_summary, network_summary
    from overlapim_files import dump

    options = FileOptions(dim, until, as_post, weights_from, dims, edges)
    network = given_network(name, options, strict, batch)
    if as_file:
        answer(network, lambda: print(dump(network), end=""))
    else:
        shown = ShownNetwork(network_summary(network), tuple(map(layer_summary, network.layers)))
        answer(shown, lambda: _show_network(shown))


def _show_network(network: ShownNetwork) -> None:
    from cli.show.console import console, printable
    from cli.show.facts import network_facts, show_facts
    from cli.show.tables import dims, number, table

    show_facts(network_facts(network.summary))
    rows = table(
        ("layer", "dims", "output", "MACs", "weights", "reads"), ("layer", "dims", "output", "reads")
    )
    for layer in network.layers:
        shape = " x ".join(map(str, layer.output))
        counts = (number(layer.macs), number(layer.weights))
        rows.add_row(
            printable(layer.name), dims(layer.dims), shape, *counts, ", ".join(map(printable, layer.reads))
        )
    console().print()
    console().print(rows)


@app.command("check")
@answering
def check_network(
    file: CheckedFile,
    dim: Extents = None,
    until: Until = None,
    as_post: AsPost = None,
    weights_from: WeightsFrom = None,
    strict: Strict = False,
    dims: DimNames = None,
    edges: EdgesFile = None,
) -> None:
    """Check a network file and print what it adds up to.

    Of an ONNX file it lists the nodes that could not be taken over as they stand, and what happened to them;
    of a directory of Timeloop problems what had to be guessed.

    Examples:

      overlapim models check net.yaml
      overlapim models check net.onnx --dim batch=1
      overlapim models check layers --edges edges.yaml
    """
    from cli.records.catalogue import network_summary

    options = FileOptions(dim, until, as_post, weights_from, dims, edges)
    network, notes = network_with_notes(file, options, strict)
    summary = replace(network_summary(network), notes=tuple(notes))
    answer(summary, lambda: _show_check(summary))


def _show_check(summary: NetworkSummary) -> None:
    from cli.show.facts import network_facts, show_facts
    from cli.show.notes import show_notes

    show_facts([*network_facts(summary), ("valid", "yes")])
    if summary.notes:
        print()
        show_notes(summary.notes, sys.stdout)
