"""The values of constants: stored in the file, or beside it in a file of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.onnx.wire import INDICES, MAX_DATA, MAX_TABLE

if TYPE_CHECKING:
    import onnx

MAX_HEAD = 1024
"""Bytes of a tensor beside its data."""
Constant = npt.NDArray[np.generic]
PlaceTable = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Weight:
    """A constant of the file: its shape, and its value if that is small."""

    shape: tuple[int, ...]
    value: Constant | None


def stored(tensor: onnx.TensorProto, folder: Path | None) -> Weight:
    """Return a constant, with its value if it is small enough and where it should be.

    Parameters
    ----------
    folder : of the model; values in other files are read there only. None reads no other file.
    """
    from onnx import numpy_helper

    shape = tuple(tensor.dims)
    try:
        if _bytes(tensor) > (MAX_TABLE if tensor.data_type in INDICES else MAX_DATA) - MAX_HEAD:
            return Weight(shape, None)
        if tensor.data_location == tensor.EXTERNAL:
            return Weight(shape, None if folder is None else _outside(tensor, shape, folder))
        return Weight(shape, np.asarray(numpy_helper.to_array(tensor)) if _holds(tensor) else None)
    except Exception:  # whatever the library raises for data that does not fit its type and shape
        return Weight(shape, None)


def _bytes(tensor: onnx.TensorProto) -> int:
    from onnx import helper

    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return int(math.prod(tensor.dims) * kind.itemsize)


def _holds(tensor: onnx.TensorProto) -> bool:
    """Return whether a tensor has data at all, as far as it was read."""
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    many = (tensor.string_data, tensor.uint64_data)
    return tensor.HasField("raw_data") or any(map(len, (*lists, *many))) or 0 in tensor.dims


def _outside(tensor: onnx.TensorProto, shape: Sequence[int], folder: Path) -> Constant | None:
    """Return a value that lies in a file in the model's folder, if it is small."""
    from onnx import helper

    given = {entry.key: entry.value for entry in tensor.external_data}
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    path, root = (folder / given["location"]).resolve(), folder.resolve()
    if not path.is_relative_to(root) or not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(int(given.get("offset", 0)))
        data = file.read(_bytes(tensor))
    return np.frombuffer(data, kind.newbyteorder("<")).astype(kind).reshape(shape)
