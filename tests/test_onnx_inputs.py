"""Axes that ONNX files leave open: named by the file, by their place, or by a formula of other names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from onnx import TensorProto, helper

from models.onnx.inputs import input_shapes
from overlapim_files import InputError


def _shapes(
    inputs: Mapping[str, list[str | int | None]], dims: Mapping[str, int], read: tuple[str, ...] = ()
) -> dict[str, tuple[int, ...]]:
    declared = [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape) for x, shape in inputs.items()]
    return input_shapes(declared, read or tuple(inputs), dims)


def test_one_name_on_two_axes_and_both_by_their_place() -> None:
    image: dict[str, list[str | int | None]] = {"image": ["batch", 3, "?", "?"]}
    assert _shapes(image, {"batch": 2, "?": 5}) == {"image": (2, 3, 5, 5)}
    assert _shapes(image, {"batch": 2, "image.2": 5, "image.3": 7}) == {"image": (2, 3, 5, 7)}
    assert _shapes(image, {"image.0": 1, "?": 5, "image.3": 7}) == {"image": (1, 3, 5, 7)}
    with pytest.raises(InputError, match=r"'\?' is several axes .*--dim image.2=1 --dim image.3=1 tell them"):
        _shapes(image, {"batch": 1})
    with pytest.raises(InputError, match=r"--dim image.4: .* did you mean 'image\.[023]'"):
        _shapes(image, {"batch": 1, "?": 2, "image.4": 2})


def test_axes_without_a_name() -> None:
    assert _shapes({"x": [None, 4]}, {"x.0": 3}) == {"x": (3, 4)}
    with pytest.raises(InputError, match=r"such as --dim x\.0=1$"):
        _shapes({"x": [None, 4]}, {})


@pytest.mark.parametrize(
    ("formula", "extent"),
    [("past + new", 9), ("past + 1", 8), ("2*new", 4), ("(past - 1)//2 + 1", 4), ("Max(past, new)", 7)],
)
def test_formulas_are_computed_from_names(formula: str, extent: int) -> None:
    inputs: dict[str, list[str | int | None]] = {"x": ["new"], "cache": ["past"], "mask": [1, formula]}
    dims = {"new": 2, "past": 7}
    assert _shapes(inputs, dims)["mask"] == (1, extent)
    assert _shapes(inputs, {**dims, "mask.1": 3})["mask"] == (1, 3)
    assert _shapes(inputs, {**dims, formula: 5})["mask"] == (1, 5)
    with pytest.raises(InputError, match=r"such as --dim past=1$"):
        _shapes(inputs, {"new": 2})


@pytest.mark.parametrize("name", ["batch-size", "__import__('os')", "p2o.Dimension.0", "9**9", "a.b"])
def test_names_that_look_like_formulas_are_names(name: str) -> None:
    assert _shapes({"x": [name]}, {name: 4}) == {"x": (4,)}
    with pytest.raises(InputError, match="leaves axes open"):
        _shapes({"x": [name]}, {})


@pytest.mark.parametrize("formula", ["a - b", "a // (b - b)", "a * a * a * a * a * a * a", "unknown(a, b)"])
def test_formulas_that_come_to_nothing_are_told(formula: str) -> None:
    inputs: dict[str, list[str | int | None]] = {"x": ["a"], "y": ["b"], "z": [formula]}
    with pytest.raises(InputError, match="an axis is "):
        _shapes(inputs, {"a": 2**19, "b": 2**19})


def test_inputs_that_only_a_branch_reads_have_names_too() -> None:
    inputs: dict[str, list[str | int | None]] = {"x": [1, 4], "inside": ["batch", 4]}
    assert _shapes(inputs, {"batch": 3}, ("x",)) == {"x": (1, 4), "inside": (3, 4)}
    assert _shapes(inputs, {}, ("x",)) == {"x": (1, 4), "inside": (1, 4)}
