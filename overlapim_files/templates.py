"""YAML with anchors, merge keys, inclusions and values to be filled in, made plain within bounds.

This is what other programs' files have and ours have not. Of a template's language three forms are filled
in and nothing is run: ``{{include_text('FILE')}}`` on a line of its own, ``{{NAME}}``, and
``{% set NAME = NAME | default(VALUE) %}``. The merge key ``<<`` takes over keys as YAML defines it, ``<<<``
does so in mappings
within mappings, too; keys that are given go before those that are taken over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from overlapim_files.disk import read_text
from overlapim_files.errors import InputError, shorten
from overlapim_files.plain_yaml import MAX_DEPTH, TOO_DEEP, check_events, compose, line_of, plain, yaml_errors

MOST_INCLUDED = 64
MOST_CHARACTERS = 2**24
"""Characters that all inclusions of a file may have together."""
MOST_COPIES = 2**15
"""Values that anchors may add to a file once they are filled in."""
SUFFIXES = (".yaml", ".yml")
MERGES = ("<<", "<<<")
Pairs = list[tuple[yaml.Node, yaml.Node]]

_INCLUSION = re.compile(
    r"""[ \t]*\{\{-?\s*include_text\(\s*["']([^"'\n]{1,400})["']\s*\)\s*-?\}\}[ \t\r]*(#.*)?"""
)
_DEFAULT = re.compile(r"\{%-?\s*set\s+(\w+)\s*=\s*(\w+)\s*\|\s*default\(\s*(\w{1,40})\s*\)\s*-?%\}")
_VALUE = re.compile(r"\{\{\s*([A-Za-z_]\w{0,99})\s*\}\}")
_COMMENT = re.compile(r"(^|[ \t])#.*")


@dataclass
class _Filling:
    """A template on its way to YAML: values by name, texts that are included, and what is in progress."""

    values: dict[str, str]
    included: list[str] = field(default_factory=list)
    count: int = 0
    used: set[str] = field(default_factory=set)


def parse_template(text: str, path: Path, values: Mapping[str, int]) -> tuple[yaml.Node, Any, set[str]]:
    """Return the root node and the plain data of a text with anchors, inclusions and names of values.

    The names that were filled in come third. What is included, or taken over by a merge key, counts as
    standing on the line that says so.

    Parameters
    ----------
    path : of the file; inclusions are relative to it.
    values : stand for their names between double braces.

    Raises
    ------
    InputError
        if it is not such a text, something it includes cannot be read, or it is too large filled in.
    """
    name = str(path)
    filling = _Filling({key: str(value) for key, value in values.items()})
    own = _filled(text, path, filling, (path.resolve(),))
    before = "".join(filling.included)
    lines = before.count("\n")
    with yaml_errors(name, lines):
        root = compose(before + own, name)
    if before or re.search(r"[*<]", own):
        root = _Expansion(name, lines).expanded(root, 1, 0)
    return root, plain(root, name), filling.used


def _filled(text: str, path: Path, filling: _Filling, inside: tuple[Path, ...]) -> str:
    """Return a text with its values filled in; what it includes is put in front of everything."""
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if found := _INCLUSION.fullmatch(line):
            _include(found[1], f"{path}:{number}", path, filling, inside)
            lines.append("")
        else:
            lines.append(_line(line, f"{path}:{number}", filling))
    filled = "\n".join(lines)
    with yaml_errors(str(path)):
        check_events(filled, str(path), lambda event: "")
    return filled


def _include(given: str, where: str, path: Path, filling: _Filling, inside: tuple[Path, ...]) -> None:
    filling.count += 1
    file = path.parent / given
    if Path(given).is_absolute() or file.suffix not in SUFFIXES:
        raise InputError(f"{where}: a relative path that ends in .yaml or .yml can be included")
    if filling.count > MOST_INCLUDED or file.resolve() in inside:
        raise InputError(f"{where}: includes itself, or more than {MOST_INCLUDED} files")
    text = _filled(read_text(file), file, filling, (*inside, file.resolve()))
    filling.included.append(text + "\n")
    if sum(map(len, filling.included)) > MOST_CHARACTERS:
        raise InputError(f"{where}: more than {MOST_CHARACTERS} characters are included")


def _line(line: str, where: str, filling: _Filling) -> str:
    """Return a line with its values in their places; comments are left out where there are braces."""
    if "{{" not in line and "{%" not in line:
        return line
    line = _COMMENT.sub(r"\1", line)
    for name, same, value in _DEFAULT.findall(line):
        if name == same:
            filling.values.setdefault(name, value)
    line = _DEFAULT.sub("", line)
    for name in _VALUE.findall(line):
        if name not in filling.values:
            raise InputError(f"{where}: {name} has no value; give it with --dim {name}=1")
    filling.used.update(_VALUE.findall(line))
    line = _VALUE.sub(lambda found: filling.values[found[1]], line)
    if found := re.search(r"\{[{%].*", line):
        text = "of templates only {{include_text('FILE')}} on a line of its own and {{NAME}} are filled in"
        raise InputError(f"{where}: {shorten(found[0])}: {text}")
    return line


@dataclass
class _Expansion:
    """Aliases and merge keys on their way to plain nodes; `shift` is how many lines are included."""

    name: str
    shift: int
    seen: set[int] = field(default_factory=set)
    copies: int = 0

    def expanded(self, node: yaml.Node, line: int, depth: int) -> yaml.Node:
        """Return a copy of a node without merge keys; what is included stands on `line`."""
        self.copies += id(node) in self.seen
        self.seen.add(id(node))
        own = line_of(node) - self.shift
        line = max(own, 1) if own >= line else line
        if depth > MAX_DEPTH or self.copies > MOST_COPIES:
            problem = TOO_DEEP if depth > MAX_DEPTH else f"more than {MOST_COPIES} values more"
            raise InputError(f"{self.name}:{line}: {problem}, once anchors are filled in")
        mark = yaml.Mark(self.name, 0, line - 1, 0, None, 0)
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs(node, line, depth)
            return yaml.MappingNode(node.tag, pairs, mark)
        if isinstance(node, yaml.SequenceNode):
            items = [self.expanded(item, line, depth + 1) for item in node.value]
            return yaml.SequenceNode(node.tag, items, mark)
        return yaml.ScalarNode(node.tag, node.value, mark)

    def _pairs(self, node: yaml.MappingNode, line: int, depth: int) -> Pairs:
        own, taken = [], []
        for key, value in node.value:
            own_key = self.expanded(key, line, depth + 1)
            own_value = self.expanded(value, line_of(own_key), depth + 1)
            if isinstance(key, yaml.ScalarNode) and key.value in MERGES and not key.style:
                taken += [(key.value, base) for base in self._bases(own_value)]
            else:
                own.append((own_key, own_value))
        for kind, base in taken:
            own = _merged(own, base, deep=kind == "<<<")
        return own

    def _bases(self, node: yaml.Node) -> Iterator[yaml.MappingNode]:
        """Yield the mappings that a merge key takes over."""
        for base in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(base, yaml.MappingNode):
                raise InputError(f"{self.name}:{line_of(node)}: a merge key takes mappings of keys to values")
            yield base


def _merged(own: Pairs, base: yaml.MappingNode, deep: bool) -> Pairs:
    """Return the pairs of a mapping with those of another one that it lacks."""
    given = {key.value: i for i, (key, _) in enumerate(own) if isinstance(key, yaml.ScalarNode)}
    merged = list(own)
    for key, value in base.value:
        place = given.get(key.value) if isinstance(key, yaml.ScalarNode) else None
        if place is None:
            merged.append((key, value))
            continue
        mine = own[place][1]
        if deep and isinstance(mine, yaml.MappingNode) and isinstance(value, yaml.MappingNode):
            pairs = _merged(mine.value, value, deep)
            merged[place] = own[place][0], yaml.MappingNode(mine.tag, pairs, mine.start_mark)
    return merged
