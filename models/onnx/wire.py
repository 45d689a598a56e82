"""The graph in an ONNX file without its weights: they are skipped in the file and never read.

An ONNX file is a protocol buffer, nested messages whose lengths are known. The messages on the way to a
tensor are walked through, and the data of a tensor is left out if it is large. What is left is small, however
large the file, and is then decoded as usual.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from overlapim_files import InputError

MAX_KEPT = 32 * 2**20
MAX_FIELDS = 2**20
MAX_DATA = 2**17
"""Bytes of a tensor whose data is kept."""
MAX_TABLE = 2**23
"""The same for a tensor of `INDICES`."""
MAX_ALL_DATA = 2**26
INDICES = frozenset((6, 7, 9))
"""The types of numbers that choose elements: 32 and 64 bit integers and truth values."""

GRAPH = 6
MAX_DEPTH = 8
"""Graphs inside of each other that are kept."""

_NESTED = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "tensor": {},
}
_COPIED = {
    "model": {1, 8},  # version, operator sets
    "graph": {2, 11, 12},  # name, inputs, outputs
    "function": {1, 4, 5, 6, 9, 10, 13},  # name, inputs, outputs, attributes, operator sets, domain, overload
    "node": {1, 2, 3, 4, 7, 8},  # inputs, outputs, name, operator, domain, overload
    "attribute": {1, 2, 3, 4, 7, 8, 20, 21},  # name, values that are numbers or text, type
    "tensor": {1, 2, 8, 13, 14},  # extents, type, name, place outside
}
_DATA = {4, 5, 6, 7, 9, 10, 11}


def graph_bytes(path: Path) -> bytes:
    """Return an ONNX file without the data of its large tensors.

    Raises
    ------
    InputError
        if the file cannot be read, is no protocol buffer, or has too large a graph.
    """
    try:
        if not path.is_file():
            raise InputError(
                f"{path}: is no regular file" if path.exists() else f"{path}: there is no such file"
            )
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Skimmer(data, str(path)).message("model", 0, len(data))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    except (ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from None


class _Skimmer:
    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.data, self.name = data, name
        self.fields = self.kept = self.values = self.depth = 0

    def message(self, kind: str, at: int, end: int) -> bytes:
        """Return the message of one kind from `at` to `end` with what is to be kept of it."""
        nested, copied = _NESTED[kind], _COPIED[kind]
        if kind == "tensor" and self.small(at, end):
            copied = copied | _DATA
        out = bytearray()
        while at < end:
            start = at
            number, at, stop = self.field(at, end)
            if kind == "attribute" and number == GRAPH and self.depth == MAX_DEPTH:
                pass  # nobody has that many graphs in each other
            elif number in nested:
                self.depth += nested[number] == "graph"
                inner = self.message(nested[number], at, stop)
                self.depth -= nested[number] == "graph"
                out += _varint(number << 3 | 2) + _varint(len(inner)) + inner
            elif number in copied:
                self.kept += 0 if kind == "tensor" and number in _DATA else stop - start
                if self.kept > MAX_KEPT:
                    raise InputError(f"{self.name}: the graph without weights takes more than 32 MiB")
                out += self.data[start:stop]
            at = stop
        return bytes(out)

    def small(self, at: int, end: int) -> bool:
        """Return whether the data of the tensor from `at` to `end` is kept."""
        size = end - at
        if size > MAX_TABLE or self.values + size > MAX_ALL_DATA:
            return False
        if size > MAX_DATA and self.type_of(at, end) not in INDICES:
            return False
        self.values += size
        return True

    def type_of(self, at: int, end: int) -> int:
        """Return the type of the numbers in the tensor from `at` to `end`."""
        while at < end:
            number, at, stop = self.field(at, end)
            if number == 2:
                return self.varint(at)[0]
            at = stop
        return 0

    def field(self, at: int, end: int) -> tuple[int, int, int]:
        """Return the number of the field at a place, and where its content begins and ends."""
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise InputError(f"{self.name}: the graph has more than {MAX_FIELDS} fields")
        tag, at = self.varint(at)
        kind = tag & 7
        if kind == 0:
            stop = self.varint(at)[1]
        elif kind == 2:
            length, at = self.varint(at)
            stop = at + length
        else:
            stop = at + {1: 8, 5: 4}.get(kind, end)
        if stop > end or tag < 8:
            raise ValueError("a field ends behind its message")
        return tag >> 3, at, stop

    def varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
        raise ValueError("a number of more than ten bytes")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
