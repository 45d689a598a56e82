"""Files read into records: the text becomes plain data, and pydantic makes a record of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from overlapim_files.disk import read_text
from overlapim_files.errors import InputError, shorten
from overlapim_files.model import FROM_FILE, Step
from overlapim_files.plain_yaml import line_of_path, parse_yaml
from overlapim_files.templates import parse_template
from overlapim_files.wording import check_format, dotted, explain, sentence

M = TypeVar("M", bound=BaseModel)


def load(path: str | Path, model: type[M]) -> M:
    """Read a YAML (or JSON) file into a record.

    Raises
    ------
    InputError
        if the file cannot be read, is not plain YAML or does not fit the record; names the line and the key.
    """
    return parse(read_text(Path(path)), model, str(path))


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, which knows on which line everything stands.

    A list is in `LIST`; `used` are the names of values that were filled in.
    """

    name: str
    root: yaml.Node
    data: dict[str, Any]
    used: frozenset[str]

    def record(self, model: type[M], **given: Any) -> M:
        """Return the record of the data, with keys that are `given` besides. Raises InputError."""
        return _record(self.root, {**self.data, **given}, model, self.name)


LIST = "list"
"""The key under which a document has what stands in its file as a list."""


def load_document(path: str | Path, values: Mapping[str, int], foreign: Collection[str]) -> Document:
    """Read a file in which other programs' YAML may stand: templates, anchors and merge keys.

    These are filled in if one of the `foreign` keys or a template begins a line; other files are plain.

    Parameters
    ----------
    values : what names in a template stand for.

    Raises
    ------
    InputError
        if the file cannot be read or is not YAML of its kind.
    """
    text, name = read_text(Path(path)), str(path)
    keys = "|".join(map(re.escape, foreign))
    if re.search(rf"^(({keys})[ \t]*:|\{{[{{%])", text, re.MULTILINE):
        root, data, used = parse_template(text, Path(path), values)
    else:
        (root, data), used = parse_yaml(text, name), set()
    if isinstance(data, list):
        root = yaml.MappingNode("", [(yaml.ScalarNode("", LIST, root.start_mark), root)], root.start_mark)
        data = {LIST: data}
    if not isinstance(data, dict):
        check_format(data, root, BaseModel, name)
    return Document(name, root, data, frozenset(used))


def parse(text: str, model: type[M], name: str) -> M:
    """Read the text of a YAML file into a record; `name` stands for the file in errors. Raises InputError."""
    return parse_located(text, model, name).record


@dataclass(frozen=True)
class Located(Generic[M]):
    """A record together with the text it is from, for what turns out to be wrong only later."""

    record: M
    text: str
    name: str
    root: yaml.Node

    def error(self, text: str, *at: Step) -> InputError:
        """Return the error that names the line and the way to the culprit, from the root of the file."""
        place = f"{self.name}:{line_of_path(self.root, at)}: " + (f"{dotted(at)}: " if at else "")
        return InputError(place + shorten(text, 600))


def parse_located(text: str, model: type[M], name: str) -> Located[M]:
    """Read a text as `parse` does, and keep where everything stands."""
    root, data = parse_yaml(text, name)
    return Located(_record(root, data, model, name), text, name, root)


def load_located(path: str | Path, model: type[M]) -> Located[M]:
    """Read a file as `load` does, and keep where everything stands."""
    return parse_located(read_text(Path(path)), model, str(path))


def _record(root: yaml.Node, data: Any, model: type[M], name: str) -> M:
    check_format(data, root, model, name)
    try:
        return model.model_validate(data, context=FROM_FILE)
    except ValidationError as error:
        raise InputError(explain(error, root, name)) from None


def load_json(path: str | Path, model: type[M]) -> M:
    """Read a record from JSON that a program wrote: much faster than `load`, and errors name no line.

    Raises
    ------
    InputError
        if the file cannot be read, is not JSON or does not fit the record; names the key.
    """
    try:
        return model.model_validate_json(read_text(Path(path)))
    except ValidationError as error:
        raise InputError(f"{path}: {in_words(error)}") from None


def in_words(error: ValidationError) -> str:
    """Return where and what is wrong with data that stands in no file of YAML."""
    details = error.errors(include_url=False)[0]
    where = [*details["loc"], *details.get("ctx", {}).get("at", [])]
    invalid = details["type"] == "json_invalid"
    text = f"not valid JSON: {details['ctx']['error']}" if invalid else sentence(details)
    return (f"{dotted(where)}: " if where else "") + shorten(text, 600)
