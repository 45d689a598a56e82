"""Records as YAML that people can read, and digests of what they say."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml
from pydantic import BaseModel

_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BaseDumper):  # type: ignore[misc]
    """Writes small things on one line and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.Node:
        literal = "\n" in data and all(c.isprintable() or c == "\n" for c in data)
        node: yaml.Node = self.represent_scalar("tag:yaml.org,2002:str", data, "|" if literal else None)
        return node

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.Node:
        node: yaml.Node = super().represent_mapping(tag, mapping, _fits_line(mapping))
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.Node:
        scalars = not any(isinstance(item, (dict, list)) for item in sequence)
        node: yaml.Node = super().represent_sequence(tag, sequence, scalars)
        return node


_Dumper.add_representer(str, _Dumper.represent_str)


def _fits_line(value: Any) -> bool:
    return _height(value) <= 3 and len(json.dumps(value)) <= 140


def _height(value: Any) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_height, value.values() if isinstance(value, dict) else value), default=0)


def _data(model: BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def dump(model: BaseModel) -> str:
    """Return the record as YAML that `parse` reads back; keys as in the class, defaults left out."""
    return str(yaml.dump(_data(model), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def digest(model: BaseModel) -> str:
    """Return the SHA-256, in hexadecimal, of what the record says, however its file is laid out."""
    canonical = json.dumps(_data(model), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
