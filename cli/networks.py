"""Networks as commands take them: built in or from a file, which may be an ONNX file with open axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.network import Network
    from models.onnx.build import Note
    from models.onnx.graph import Choices

SHOWN_NOTES = 12
"""Rows of the table of notes beside an answer; `models check` has all of them."""


@dataclass(frozen=True)
class AxisExtent:
    """The extent of an axis that an ONNX file leaves open."""

    axis: str
    value: int


def axis_extent(given: object) -> AxisExtent:
    """Return the extent that NAME=VALUE gives to an axis."""
    name, _, value = str(given).rpartition("=")
    if not name or not value.isascii() or not value.isdigit() or int(value[:9]) < 1:
        raise typer.BadParameter(f"must be NAME=VALUE with a value of at least 1, not {str(given)[:40]!r}")
    return AxisExtent(name, int(value[:9]))


Extents = Annotated[
    list[AxisExtent] | None,
    typer.Option(
        "--dim",
        parser=axis_extent,
        metavar="NAME=VALUE",
        help="Extent of an axis that an ONNX file leaves open, such as batch=1; once for each axis.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TENSOR", help="End the network of an ONNX file with this tensor."),
]
AsPost = Annotated[
    list[str] | None,
    typer.Option(
        "--as-post",
        metavar="DOMAIN.OP",
        help="Pass over an operator of an ONNX file: one operation on each element of what it reads.",
    ),
]
WeightsFrom = Annotated[
    list[str] | None,
    typer.Option("--weights-from", metavar="INPUT", help="An input of an ONNX file that is a weight."),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse an ONNX file if a layer would read more than its operators do."),
]


BatchSize = Annotated[
    int,
    typer.Option(
        "--batch",
        min=1,
        max=2**20,
        metavar="N",
        help="So many inferences at once, of a network that has no batch.",
    ),
]


@dataclass(frozen=True)
class FileOptions:
    """What a command is told about an ONNX file."""

    dim: Sequence[AxisExtent] | None = None
    until: str | None = None
    as_post: Sequence[str] | None = None
    weights_from: Sequence[str] | None = None

    def given(self) -> str | None:
        """Return the first option that is given, None if there is none."""
        names = ("dim", "until", "as_post", "weights_from")
        return next((f"--{name.replace('_', '-')}" for name in names if getattr(self, name)), None)

    def choices(self) -> Choices:
        """Return them as the importer takes them."""
        from models.onnx.graph import Choices

        dims = {x.axis: x.value for x in self.dim or ()}
        return Choices(dims, self.until, frozenset(self.as_post or ()), frozenset(self.weights_from or ()))


def network_with_notes(name: str, options: FileOptions, strict: bool) -> tuple[Network, Sequence[Note]]:
    """Return a network, and what was not taken over from its file as it stands there."""
    from models.library import is_onnx, load_network
    from overlapim_files import InputError

    if not is_onnx(name):
        if option := options.given() or ("--strict" if strict else None):
            raise InputError(f"{option}: only for ONNX files, not for {name}")
        return load_network(name), ()
    from models.onnx.load import import_chosen

    imported = import_chosen(name, options.choices())
    return imported.exactly() if strict else imported.network, imported.notes


def given_network(name: str, options: FileOptions, strict: bool = False, batch: int = 1) -> Network:
    """Return a network; say on standard error what was not taken over from its file as it stands there."""
    from cli.show.console import QUIET, say
    from cli.show.notes import show_notes
    from models.batch import batched

    network, notes = network_with_notes(name, options, strict)
    if not QUIET.get():
        show_notes(notes[:SHOWN_NOTES])
    if len(notes) > SHOWN_NOTES:
        say(f"and {len(notes) - SHOWN_NOTES} more, which `overlapim models check {name}` lists")
    return batched(network, batch) if batch > 1 else network
