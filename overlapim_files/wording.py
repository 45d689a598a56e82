"""What is wrong with a file, in plain words, from what pydantic found wrong with its data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from overlapim_files.errors import InputError, nearest, shorten, show_value
from overlapim_files.model import Step
from overlapim_files.plain_yaml import line_of, line_of_path

_NEEDED = {
    "an integer": ("int_type", "int_from_float", "int_parsing"),
    "a number": ("float_type", "float_parsing"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_type", "bool_parsing"),
    "text (in quotes if it looks like something else)": ("string_type",),
    "a list": ("tuple_type", "list_type"),
    "a mapping of keys to values": ("dict_type", "model_type", "model_attributes_type"),
    "at least {ge}": ("greater_than_equal",),
    "more than {gt:g}": ("greater_than",),
    "at most {le}": ("less_than_equal",),
    "less than {lt}": ("less_than",),
    "non-empty text": ("string_too_short",),
    "text of at most {max_length} characters": ("string_too_long",),
    "a list of at least {min_length}": ("too_short",),
    "a list of at most {max_length}": ("too_long",),
}
"""What is needed instead, for each type of pydantic's errors."""


def check_format(data: Any, root: yaml.Node, model: type[BaseModel], name: str) -> None:
    """Refuse a file of another kind before its unknown keys are complained about."""
    if not isinstance(data, dict):
        raise InputError(
            f"{name}:{line_of(root)}: a mapping of keys to values is needed, found {show_value(data)}"
        )
    field = model.model_fields.get("format")
    known = get_args(field.annotation) if field else ()
    found = data.get("format")
    if not known or found in known:
        return
    wanted = f"'format: {known[-1]}'"
    if "format" not in data:
        raise InputError(f"{name}:{line_of(root)}: the key 'format' is missing; {wanted} is needed here")
    line = line_of_path(root, ["format"])
    raise InputError(f"{name}:{line}: format: {wanted} is needed here, this file says {show_value(found)}")


def explain(error: ValidationError, root: yaml.Node, name: str) -> str:
    """Return the message for the most telling of the errors: a misspelt key explains a missing one."""
    details = min(error.errors(include_url=False), key=lambda e: e["type"] != "unknown_key")
    context = details.get("ctx", {})
    where = [*details["loc"], *context.get("at", [])]
    if key_itself := where[-1:] == ["[key]"]:
        where.pop()
    shown = where[:-1] if key_itself or details["type"] == "missing" else where
    pointed = [*where, context["key"]] if details["type"] == "unknown_key" else where
    prefix = f"{name}:{line_of_path(root, pointed)}: " + (f"{dotted(shown)}: " if shown else "")
    return prefix + shorten(_unknown_word(details) if key_itself else sentence(details), 600)


def dotted(where: Sequence[Step]) -> str:
    """Return the way to a value as one writes it, such as `layers[2].dims`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{shorten(step)}" for step in where)
    return "".join(steps).removeprefix(".")


def _unknown_word(details: ErrorDetails) -> str:
    known = re.findall("'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
    return f"unknown key {show_value(details['input'])}{nearest(str(details['input']), known)}"


def sentence(details: ErrorDetails) -> str:
    """Say in plain words what pydantic found."""
    kind, context, found = details["type"], details.get("ctx", {}), show_value(details["input"])
    if kind in ("fault", "unknown_key", "value_error"):
        return str(context.get("text") or context.get("error"))
    if kind == "missing":
        last = details["loc"][-1]
        return f"item [{last}] is missing" if isinstance(last, int) else f"the key '{last}' is missing"
    if kind == "literal_error":
        words = re.findall("'([^']*)'", context["expected"])
        hint = nearest(str(details["input"]), words) if words else ""
        hint = hint if "did you mean" in hint else ""
        return f"must be {context['expected'].replace('True', 'true')}, found {found}{hint}"
    for needed, kinds in _NEEDED.items():
        if kind in kinds:
            return f"must be {needed.format(**context)}, found {found}"
    return f"{details['msg'][:1].lower()}{details['msg'][1:]}, found {found}"
