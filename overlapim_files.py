"""Reading and writing the project's YAML files: limits, line numbers and one-line errors.

A file is checked in three steps, each of which can trust the one before. The events of the parser are looked
at first, because anchors and deep nesting do their harm while the document is put together. Then the nodes
become plain data, and at last pydantic makes a record of it. The nodes know on which line everything stands.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=BaseModel)
Step = str | int

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 40
TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
TOO_DEEP_FOR_YAML = "maximum nesting depth"
"""What YAML parsers with a limit of their own say, as libyaml since 0.2.6; it looks ahead of ours."""
MAX_VALUES = 2**21
MAX_DIGITS = 40
MAX_SHOWN = 60
"""Characters of a value that a message repeats."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says where, what and what to do."""

    def __init__(self, message: str) -> None:
        """Keep the message, with everything that does not print on one line escaped."""
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def shorten(text: str, limit: int = MAX_SHOWN) -> str:
    """Return the text, or its beginning and its end if it is longer than `limit`."""
    return text if len(text) <= limit else f"{text[: limit - 15]} ... {text[-10:]}"


def looks_like_path(name: str) -> bool:
    """Return whether a word names a file rather than something built in: by its looks, or as there is one."""
    if re.search(r"[/\\]|\.(ya?ml|json)$", name):
        return True
    with contextlib.suppress(OSError, ValueError):
        return Path(name).exists()
    return False


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is neither built in nor a file."""
    known = list(known)
    text = f"no {what} and no file is called {shorten(repr(name))}"
    close = difflib.get_close_matches(name[:200], known, n=1, cutoff=0.4)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return InputError(f"{text}{hint} (built in: {', '.join(known)})")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'X'?`` for the closest known word, or the list of all of them."""
    known = list(known)
    close = difflib.get_close_matches(word[:200], known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {shorten(repr(close[0]))}?"
    return f"; known: {shorten(', '.join(known), 300)}"


def fault(text: str, *at: Step) -> PydanticCustomError:
    """Return the error for a validator to raise; `at` leads from the validated record to the culprit."""
    return PydanticCustomError("fault", "{text}", {"text": text, "at": list(at)})


FROM_FILE = {"from": "file"}
"""Context of a validation: in a file a field goes by its key alone, not by the name of its attribute."""


class FileModel(BaseModel):
    """A frozen record that stands in a file: no conversions, and unknown keys are errors with a hint."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known and (info.context is FROM_FILE or key not in cls.model_fields):
                hint = nearest(str(key), [name for name in known if name not in data] or known)
                text = f"unknown key {shorten(repr(key))}{hint}"
                raise PydanticCustomError("unknown_key", "{text}", {"text": text, "key": str(key)})
        return data


# Reading


def load(path: str | Path, model: type[M]) -> M:
    """Read a YAML (or JSON) file into a record.

    Raises
    ------
    InputError
        if the file cannot be read, is not plain YAML or does not fit the record; names the line and the key.
    """
    return parse(_read(Path(path)), model, str(path))


def load_either(path: str | Path, foreign: type[F], model: type[M]) -> F | M:
    """Read a file into `foreign`, a record of one field, if the file has that key, else into `model`."""
    root, data = _parsed(_read(Path(path)), str(path))
    (key,) = foreign.model_fields
    if isinstance(data, dict) and key in data:
        return _record(root, data, foreign, str(path))
    return _record(root, data, model, str(path))


def parse(text: str, model: type[M], name: str) -> M:
    """Read the text of a YAML file into a record; `name` stands for the file in errors. Raises InputError."""
    root, data = _parsed(text, name)
    return _record(root, data, model, name)


def _parsed(text: str, name: str) -> tuple[yaml.Node, Any]:
    """Return the root node and the plain data of a YAML text."""
    try:
        root = _compose(text, name)
        return root, _plain(root, name)
    except yaml.MarkedYAMLError as error:
        line = getattr(error.problem_mark or error.context_mark, "line", 0) + 1
        problem = str(error.problem or error.context)
        text = TOO_DEEP if TOO_DEEP_FOR_YAML in problem else f"not valid YAML: {problem}"
        raise InputError(f"{name}:{line}: {text}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {shorten(str(error), 200)}") from None


def _record(root: yaml.Node, data: Any, model: type[M], name: str) -> M:
    _check_format(data, root, model, name)
    try:
        return model.model_validate(data, context=FROM_FILE)
    except ValidationError as error:
        raise InputError(_explain(error, root, name)) from None


def load_json(path: str | Path, model: type[M]) -> M:
    """Read a record from JSON that a program wrote: much faster than `load`, and errors name no line.

    Raises
    ------
    InputError
        if the file cannot be read, is not JSON or does not fit the record; names the key.
    """
    try:
        return model.model_validate_json(_read(Path(path)))
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
    where = [*details["loc"], *details.get("ctx", {}).get("at", [])]
    invalid = details["type"] == "json_invalid"
    text = f"not valid JSON: {details['ctx']['error']}" if invalid else _sentence(details)
    raise InputError(f"{path}: " + (f"{_dotted(where)}: " if where else "") + shorten(text, 600))


def _read(path: Path) -> str:
    """Return the text of a regular file; looks before it opens, because opening a pipe would wait."""
    with _plain_errors(path, "read"):
        _check_regular(path, path.stat())
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    if not raw.strip():
        raise InputError(f"{path}: the file is empty")
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES // 2**20} MiB, the most that is read")
    return _decode(raw, path)


@contextlib.contextmanager
def _plain_errors(path: Path, done: str) -> Iterator[None]:
    """Say in one line why a file could not be read or written."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise InputError(f"{path}: cannot be {done}: {reason}") from None
    except (ValueError, RuntimeError):  # a NUL or a lone surrogate in the path; links in a circle
        raise InputError(f"{path}: cannot be {done}: not a valid file name") from None


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a directory; a file is needed")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a device or a pipe; a regular file is needed")


def _decode(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not a text file: this is not UTF-8") from None


def _compose(text: str, name: str) -> yaml.Node:
    """Return the root node, once the events show that there is nothing in it that could do harm."""
    if found := _NOT_TEXT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(f"{name}:{line}: not a text file: it holds the character {found[0]!r}")
    if text.lstrip().startswith(("{{", "{%")):
        raise InputError(f"{name}: a template, not YAML; what it is filled in to can be read")
    depth = values = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if problem := _problem(event, depth, values, documents):
            raise InputError(f"{name}:{_at(event)}: {problem}")
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    if node is None:
        raise InputError(f"{name}: the file is empty")
    return node


def _problem(event: yaml.Event, depth: int, values: int, documents: int) -> str:
    if documents > 1:
        return "a second document begins here; one file holds one"
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if values > MAX_VALUES:
        return f"more than {MAX_VALUES} values"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases (& and *) are not read; write the value out, or quote the text"
    if tag := getattr(event, "tag", None):
        return f"tags such as {shorten(tag)} are not read; write the plain value, or quote the text"
    return ""


def _plain(node: yaml.Node, name: str) -> Any:
    """Return the data that a node stands for, made of dict, list, str, int, float, bool and None only."""
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, name)
            if key in data:
                raise InputError(f"{name}:{_at(key_node)}: the key {shorten(repr(key))} is given twice")
            data[key] = _plain(value_node, name)
        return data
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, name) for item in node.value]
    return _scalar(node, name)


def _key(node: yaml.Node, name: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise InputError(f"{name}:{_at(node)}: a key must be text, not a list or a mapping")
    if node.tag == _TAG + "merge":
        raise InputError(f"{name}:{_at(node)}: merge keys (<<) are not read; write the keys out")
    key = _scalar(node, name)
    if isinstance(key, str):
        return key
    text = shorten(node.value)
    raise InputError(f"{name}:{_at(node)}: the key {text} means {_shown(key)} in YAML; quote it: '{text}'")


def _scalar(node: yaml.Node, name: str) -> str | int | float | bool | None:
    """Return the value of a scalar; what only YAML 1.1 takes for a number or a date remains text."""
    text: str = node.value
    if node.tag == _TAG + "int" and _INTEGER.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise InputError(f"{name}:{_at(node)}: an integer of {len(text)} digits is too large")
        return int(text.replace("_", ""))
    if node.tag == _TAG + "float" and ":" not in text:
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower().replace("_", "")))
    if node.tag == _TAG + "bool":
        return text.lower() in ("yes", "true", "on")
    return None if node.tag == _TAG + "null" else text


def _at(what: yaml.Node | yaml.Event) -> int:
    """Return the line on which a node or an event begins, from 1."""
    return int(getattr(what.start_mark, "line", 0)) + 1


# Errors


def _check_format(data: Any, root: yaml.Node, model: type[BaseModel], name: str) -> None:
    """Refuse a file of another kind before its unknown keys are complained about."""
    if not isinstance(data, dict):
        raise InputError(f"{name}:{_at(root)}: a mapping of keys to values is needed, found {_shown(data)}")
    field = model.model_fields.get("format")
    known = get_args(field.annotation) if field else ()
    found = data.get("format")
    if not known or found in known:
        return
    wanted = f"'format: {known[-1]}'"
    if "format" not in data:
        raise InputError(f"{name}:{_at(root)}: the key 'format' is missing; {wanted} is needed here")
    line = _line(root, ["format"])
    raise InputError(f"{name}:{line}: format: {wanted} is needed here, this file says {_shown(found)}")


def _explain(error: ValidationError, root: yaml.Node, name: str) -> str:
    """Return the message for the most telling of the errors: a misspelt key explains a missing one."""
    details = min(error.errors(include_url=False), key=lambda e: e["type"] != "unknown_key")
    context = details.get("ctx", {})
    where = [*details["loc"], *context.get("at", [])]
    if key_itself := where[-1:] == ["[key]"]:
        where.pop()
    shown = where[:-1] if key_itself or details["type"] == "missing" else where
    pointed = [*where, context["key"]] if details["type"] == "unknown_key" else where
    prefix = f"{name}:{_line(root, pointed)}: " + (f"{_dotted(shown)}: " if shown else "")
    return prefix + shorten(_unknown_word(details) if key_itself else _sentence(details), 600)


def _dotted(where: Sequence[Step]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{shorten(step)}" for step in where)
    return "".join(steps).removeprefix(".")


def _line(node: yaml.Node, where: Sequence[Step]) -> int:
    """Return the line of what `where` leads to, as far as the file goes there."""
    line = _at(node)
    for step in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == step), None)
            if found is None:
                return line
            line, node = _at(found[0]), found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = _at(node)
    return line


def _unknown_word(details: ErrorDetails) -> str:
    known = re.findall("'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
    return f"unknown key {_shown(details['input'])}{nearest(str(details['input']), known)}"


def _sentence(details: ErrorDetails) -> str:
    """Say in plain words what pydantic found."""
    kind, context, found = details["type"], details.get("ctx", {}), _shown(details["input"])
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


def _shown(value: Any) -> str:
    """Return a value as a message names it."""
    if isinstance(value, (dict, list, tuple)):
        kind = "a mapping" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}" if value else f"an empty {kind[2:]}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return shorten(repr(value))


# Writing


class _Dumper(_BaseDumper):  # type: ignore[misc]
    """Writes small things on one line and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.Node:
        literal = "\n" in data and all(c.isprintable() or c == "\n" for c in data)
        node: yaml.Node = self.represent_scalar(_TAG + "str", data, "|" if literal else None)
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


def write_text(path: str | Path, text: str) -> None:
    """Write a file as `write_parts` does."""
    write_parts(path, [text])


def write_parts(path: str | Path, parts: Iterable[str]) -> None:
    """Write a file so that whoever reads it finds the old text or the new one, never half of it.

    Raises
    ------
    InputError
        if the directory is missing or cannot be written to, or something else than a file has the name.
    """
    with _unfinished(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(parts)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file that is no text as `write_parts` does."""
    with _unfinished(Path(path)) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Give the path of a file that takes the place of the one at `path` once it is complete."""
    with _plain_errors(path, "written"):
        target = path.resolve()
        if target.exists():
            _check_regular(path, target.stat())
        temporary = target.with_name(f".overlapim-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            yield temporary
            temporary.replace(target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
