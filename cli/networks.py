"""Networks as commands take them: built in, or from a file, with what else is to be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import integer

if TYPE_CHECKING:
    from models.network import Dim, Network
    from models.notes import Note
    from models.onnx.graph import Choices
    from models.timeloop.load import ImportOptions

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
        help="Extent of an axis that an ONNX file leaves open, such as batch=1, or value of a name among the "
        "bounds of a Timeloop problem; once for each.",
    ),
]


def dim_names(given: object) -> dict[str, str]:
    """Return the dims that NAME=DIM,NAME=DIM gives to dimensions."""
    from models.layer import DIMS

    pairs = [pair.partition("=") for pair in str(given).split(",")]
    for name, _, dim in pairs:
        if not name or dim not in DIMS:
            known = ", ".join(DIMS)
            raise typer.BadParameter(
                f"must be NAME=DIM,.. with dims of {known}, not {f'{name}={dim}'[:40]!r}"
            )
    if twice := next((name for name, *_ in pairs if [x for x, *_ in pairs].count(name) > 1), None):
        raise typer.BadParameter(f"{twice[:40]!r} is given twice")
    return {name: dim for name, _, dim in pairs}


DimNames = Annotated[
    Any,
    typer.Option(
        "--dims",
        parser=dim_names,
        metavar="NAME=DIM,..",
        help="Which loop dims the dimensions of a Timeloop problem are, as in b=N,h=G; several may be one.",
    ),
]
EdgesFile = Annotated[
    Path | None,
    typer.Option(
        "--edges",
        metavar="FILE",
        help="Which layer reads which in a directory of Timeloop problems, where shapes do not tell.",
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
        parser=integer(1, 2**20),
        metavar="N",
        help="So many inferences at once, of a network that has no batch.",
    ),
]


@dataclass(frozen=True)
class FileOptions:
    """What a command is told about a file of another program."""

    dim: Sequence[AxisExtent] | None = None
    until: str | None = None
    as_post: Sequence[str] | None = None
    weights_from: Sequence[str] | None = None
    dims: Mapping[str, Dim] | None = None
    edges: Path | None = None

    @property
    def values(self) -> dict[str, int]:
        """The value of each name."""
        return {x.axis: x.value for x in self.dim or ()}

    def given(self, *names: str) -> str | None:
        """Return the first option of some that is given, None if there is none."""
        return next((f"--{name.replace('_', '-')}" for name in names if getattr(self, name)), None)

    def choices(self) -> Choices:
        """Return them as the importer of ONNX files takes them."""
        from models.onnx.graph import Choices

        posts, weights = frozenset(self.as_post or ()), frozenset(self.weights_from or ())
        return Choices(self.values, self.until, posts, weights)

    def imported(self) -> ImportOptions:
        """Return them as the importer of other files takes them."""
        from models.timeloop.load import ImportOptions

        return ImportOptions(self.dims or {}, self.values, self.edges)


def network_with_notes(name: str, options: FileOptions, strict: bool) -> tuple[Network, Sequence[Note]]:
    """Return a network, and what was not taken over from its file as it stands there."""
    from models.library import import_file, is_file, is_onnx, load_network
    from overlapim_files import InputError

    given = options.imported()
    if is_onnx(name):
        given.refuse_beside(("dim",), name)
        from models.onnx.load import import_chosen

        imported = import_chosen(name, options.choices())
        return imported.exactly() if strict else imported.network, imported.notes
    option = options.given("until", "as_post", "weights_from") or ("--strict" if strict else None)
    if option:
        raise InputError(f"{option}: only for ONNX files, not for {name}")
    if is_file(name):
        found = import_file(name, given)
        return found.network, found.notes
    given.refuse_beside((), name)
    return load_network(name), ()


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
