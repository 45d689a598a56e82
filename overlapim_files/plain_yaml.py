"""YAML made of plain values only, read in two steps.

The events of the parser are looked at first, because anchors and deep nesting do their harm while the
document is put together. Then the nodes, which know on which line everything stands, become plain data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from overlapim_files.errors import InputError, shorten, show_value
from overlapim_files.model import Step

MAX_DEPTH = 40
TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
TOO_DEEP_FOR_YAML = "maximum nesting depth"
"""What YAML parsers with a limit of their own say, as libyaml since 0.2.6; it looks ahead of ours."""
MAX_VALUES = 2**21
MAX_DIGITS = 40

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")


def parse_yaml(text: str, name: str) -> tuple[yaml.Node, Any]:
    """Return the root node and the plain data of a YAML text."""
    if text.lstrip().startswith(("{{", "{%")):
        raise InputError(f"{name}: a template, not YAML; what it is filled in to can be read")
    with yaml_errors(name):
        check_events(text, name, _reference)
        root = compose(text, name)
        return root, plain(root, name)


@contextmanager
def yaml_errors(name: str, before: int = 0) -> Iterator[None]:
    """Say in one line what the YAML parser finds wrong; so many lines `before` are no lines of the file."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        line = getattr(error.problem_mark or error.context_mark, "line", 0) + 1 - before
        problem = str(error.problem or error.context)
        text = TOO_DEEP if TOO_DEEP_FOR_YAML in problem else f"not valid YAML: {problem}"
        raise InputError(f"{name}:{line}: {text}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {shorten(str(error), 200)}") from None


def check_events(text: str, name: str, refused: Callable[[yaml.Event], str]) -> None:
    """Check that there is nothing in a text that could do harm when it is put together.

    Parameters
    ----------
    refused : says what is wrong with an event, beyond size, depth and tags; empty if nothing is.
    """
    if found := _NOT_TEXT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(f"{name}:{line}: not a text file: it holds the character {found[0]!r}")
    depth = values = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if problem := _problem(event, depth, values, documents) or refused(event):
            raise InputError(f"{name}:{line_of(event)}: {problem}")


def compose(text: str, name: str) -> yaml.Node:
    """Return the root node of a text whose events have been checked."""
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    if node is None:
        raise InputError(f"{name}: the file is empty")
    return node


def _reference(event: yaml.Event) -> str:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases (& and *) are not read; write the value out, or quote the text"
    return ""


def _problem(event: yaml.Event, depth: int, values: int, documents: int) -> str:
    if documents > 1:
        return "a second document begins here; one file holds one"
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if values > MAX_VALUES:
        return f"more than {MAX_VALUES} values"
    if tag := getattr(event, "tag", None):
        return f"tags such as {shorten(tag)} are not read; write the plain value, or quote the text"
    return ""


def plain(node: yaml.Node, name: str) -> Any:
    """Return the data that a node stands for, made of dict, list, str, int, float, bool and None only."""
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, name)
            if key in data:
                raise InputError(f"{name}:{line_of(key_node)}: the key {shorten(repr(key))} is given twice")
            data[key] = plain(value_node, name)
        return data
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, name) for item in node.value]
    return _scalar(node, name)


def _key(node: yaml.Node, name: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise InputError(f"{name}:{line_of(node)}: a key must be text, not a list or a mapping")
    if node.tag == _TAG + "merge":
        raise InputError(f"{name}:{line_of(node)}: merge keys (<<) are not read; write the keys out")
    key = _scalar(node, name)
    if isinstance(key, str):
        return key
    text = shorten(node.value)
    raise InputError(
        f"{name}:{line_of(node)}: the key {text} means {show_value(key)} in YAML; quote it: '{text}'"
    )


def _scalar(node: yaml.Node, name: str) -> str | int | float | bool | None:
    """Return the value of a scalar; what only YAML 1.1 takes for a number or a date remains text."""
    text: str = node.value
    if node.tag == _TAG + "int" and _INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise InputError(f"{name}:{line_of(node)}: an integer of {len(text)} digits is too large")
        return int(text.replace("_", ""))
    if node.tag == _TAG + "float" and ":" not in text:
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower().replace("_", "")))
    if node.tag == _TAG + "bool":
        return text.lower() in ("yes", "true", "on")
    return None if node.tag == _TAG + "null" else text


def line_of(what: yaml.Node | yaml.Event) -> int:
    """Return the line on which a node or an event begins, from 1."""
    return int(getattr(what.start_mark, "line", 0)) + 1


def line_of_path(node: yaml.Node, where: Sequence[Step]) -> int:
    """Return the line of what `where` leads to, as far as the file goes there."""
    line = line_of(node)
    for step in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == step), None)
            if found is None:
                return line
            line, node = line_of(found[0]), found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = line_of(node)
    return line
