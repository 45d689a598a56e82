"""Timeloop's problems, alone or in a directory, as a network."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.layer import Dim
from models.notes import Note
from models.timeloop.chain import Chained, chained
from models.timeloop.edges import EDGES_FORMAT, Edges
from models.timeloop.problem import ProblemFile, TimeloopProblem
from overlapim_files import Document, InputError, load, load_document, nearest, shorten

SUFFIXES = (".yaml", ".yml")
EXPORTED = ".problem.yaml"
"""How the problems among the files of an export end."""

EDGES = "edges.yaml"
"""The file of a directory that says which of its layers reads which."""

FOREIGN = ("problem", "problem_base_ignore", "workload")
"""Keys at the top of other programs' files, which may have anchors and merge keys."""

NAMED_VALUES = ("BATCH_SIZE", "ENCODED_INPUT_BITS", "ENCODED_WEIGHT_BITS", "ENCODED_OUTPUT_BITS")
"""Bounds that CiMLoop's workloads leave open; one image, and values that are not cut into slices of bits."""

TAKERS = {
    "dim": "ONNX files and those of Timeloop and its kind",
    "dims": "Timeloop's problems",
    "edges": "Timeloop's problems and others that name no tensor of each other",
}
"""The networks for which an option says something."""

MOST_FILES = 4096
MOST_CHARACTERS = 150


@dataclass(frozen=True)
class ImportOptions:
    """What is said beside a file.

    Attributes
    ----------
    dims : which of our dims a dimension is.
    values : what a name among the bounds stands for.
    edges : a file that says which layer reads which.
    """

    dims: Mapping[str, Dim] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    edges: Path | None = None

    def refuse_beside(self, taken: Collection[str], name: str) -> None:
        """Check that nothing is given but what is taken of a network. Raises InputError."""
        options = {"dims": self.dims, "dim": self.values, "edges": self.edges}
        if option := next((key for key, value in options.items() if value and key not in taken), None):
            raise InputError(f"--{option}: only for {TAKERS[option]}, not for {shorten(name)}")

    def said_edges(self) -> Edges:
        """Return the edges of the file that is given; none without one. Raises InputError."""
        return load(self.edges, Edges) if self.edges else Edges(format=EDGES_FORMAT)


def read_document(path: Path, given: ImportOptions) -> Document:
    """Read a file that may be another program's. Raises InputError."""
    return load_document(path, {**dict.fromkeys(NAMED_VALUES, 1), **given.values}, FOREIGN)


def load_directory(path: Path, given: ImportOptions) -> Chained:
    """Return the network of the problem files in a directory, in the order of their names (2 before 10).

    Raises
    ------
    InputError
        if there are none, or one of them is not a problem that can be imported.
    """
    documents = {}
    for file in _files(path, given):
        name = layer_name(file)
        if name in documents:
            raise InputError(f"{file}: there are two layers called {name!r}")
        documents[name] = read_document(file, given)
        if "problem" not in documents[name].data:
            text = "the key 'problem' is missing; each file of a directory must be a Timeloop problem"
            raise InputError(f"{file}:1: {text}")
    default = path / EDGES
    if given.edges is None and default.exists():
        given = replace(given, edges=default)
    return network_of(layer_name(path.resolve()) or "network", documents, str(path), given)


def _files(path: Path, given: ImportOptions) -> list[Path]:
    """Return the files of a directory that are problems: those of an export, else all but its edges."""
    try:
        files = [file for file in path.iterdir() if file.suffix in SUFFIXES]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    exported = [file for file in files if file.name.endswith(EXPORTED)]
    edges = given.edges.resolve() if given.edges else None
    others = [file for file in files if file.name != EDGES and file.resolve() != edges]
    files = exported or others
    if not 0 < len(files) <= MOST_FILES:
        text = (
            f"has {len(files)} {' or '.join(SUFFIXES)} files; 1 to {MOST_FILES} Timeloop problems are needed"
        )
        raise InputError(f"{path}: the directory {text}")
    return sorted(files, key=lambda file: [_number(x) for x in re.split(r"(\d+)", file.name)])


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def layer_name(path: Path) -> str:
    """Return what a file is called, fit for the name of a layer and, with more to it, of an input."""
    stem = path.name.removesuffix(EXPORTED) if path.name.endswith(EXPORTED) else path.stem
    return stem.encode("utf-8", "replace").decode()[:MOST_CHARACTERS]


def check_values(documents: Iterable[Document], given: ImportOptions) -> None:
    """Check that every value that is given is one of a name in a file. Raises InputError."""
    used: set[str] = set()
    for document in documents:
        used |= document.used | {x for x in _instance(document).values() if isinstance(x, str)}
    if unknown := next((name for name in given.values if name not in used), None):
        known = f"; known: {', '.join(sorted(used))}" if used else ", nor any other name"
        raise InputError(f"--dim: the name {shorten(unknown)} has no place in what is read{known}")


def _instance(document: Document) -> dict[str, Any]:
    """Return the bounds of a problem as they stand in its file."""
    data = document.data.get("problem")
    bounds = data.get("instance", data) if isinstance(data, dict) else {}
    return bounds if isinstance(bounds, dict) else {}


def _problem(document: Document, given: ImportOptions) -> TimeloopProblem:
    """Return the problem of a file, its named bounds and its dims as given."""
    data, bounds = document.data.get("problem"), _instance(document)
    if not isinstance(data, dict) or not bounds:
        return document.record(ProblemFile).problem
    variables = document.data.get("variables")
    known = {**dict.fromkeys(NAMED_VALUES, 1), **(variables if isinstance(variables, dict) else {})}
    values = {**known, **given.values}
    named = {key: values[x] for key, x in bounds.items() if isinstance(x, str) and x in values}
    filled = {**data, "instance": {**bounds, **named}} if bounds is not data else {**data, **named}
    own = data.get("dims", {})
    if given.dims and isinstance(own, dict):
        filled["dims"] = {**own, **given.dims}
    return document.record(ProblemFile, problem=filled).problem


def network_of(name: str, documents: Mapping[str, Document], source: str, given: ImportOptions) -> Chained:
    """Return problems as a network, with what is to be said of them. Raises InputError."""
    check_values(documents.values(), given)
    problems = {layer: _problem(document, given) for layer, document in documents.items()}
    known = dict.fromkeys(dimension for x in problems.values() for dimension in x.shape.dimensions)
    if unknown := next((x for x in given.dims if x not in known), None):
        raise InputError(f"--dims: no problem has a dimension {unknown!r}{nearest(unknown, known)}")
    made = {layer: x.contraction for layer, x in problems.items()}
    found = chained(name, made, str(given.edges or source), given.said_edges())
    return Chained(found.network, (*_spellings(problems), *found.notes))


def _spellings(problems: Mapping[str, TimeloopProblem]) -> Iterable[Note]:
    """Say where a coefficient is spelt otherwise."""
    found = [(layer, key, name) for layer, x in problems.items() for key, name in x.respelt.items()]
    for key, name in dict.fromkeys((key, name) for _, key, name in found):
        layers = [layer for layer, *pair in found if pair == [key, name]]
        more = f", as in {len(layers) - 1} more layers" if len(layers) > 1 else ""
        yield Note(
            layers[0], "spelling", f"{key} is taken for {name}, which Timeloop itself would not do{more}"
        )
