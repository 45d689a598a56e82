"""Einsum: a product of two tensors that is added up over some letters, or a view of one."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.layer import Dim
from models.onnx.access import Digits, Tensor
from models.onnx.align import aligned
from models.onnx.build import Body, Builder
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, first
from models.onnx.spans import reduced
from overlapim_files import shorten


def einsum(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the contraction of one or two tensors that an equation says."""
    tensors = [first(inputs, build, i) for i in range(len(inputs))]
    names, result = _letters(str(node.get("equation", "")), build, tensors)
    kept = [{*result, *"".join(names[:i] + names[i + 1 :])} for i in range(len(names))]
    terms = [_only(build, x, name, own) for x, name, own in zip(tensors, names, kept, strict=True)]
    return (_in_order(*terms[0], result) if len(terms) == 1 else _product(build, terms, result),)


def _letters(equation: str, build: Builder, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Return the letters of the axes of each tensor, and those of the result; `...` becomes digits."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if len(names) != len(tensors) or not 1 <= len(names) <= 2:
        raise build.wrong(f"{len(tensors)} tensors; contractions of one or two are known")
    named = [len(name.replace("...", "")) for name in names]
    spare = [max(len(x.axes) - count, 0) for x, count in zip(tensors, named, strict=True)]
    dots = string.digits[: max(spare)] if "..." in left else ""
    if not arrow:
        result = "..." * bool(dots) + "".join(sorted(c for c in {*left} - {*",."} if left.count(c) == 1))
    names = [name.replace("...", dots[len(dots) - n :]) for name, n in zip(names, spare, strict=True)]
    result = result.replace("...", dots)
    ranks = [len(name) == len(x.axes) for name, x in zip(names, tensors, strict=True)]
    once = [len({*name}) == len(name) for name in (*names, result)]
    if not all([*ranks, *once]) or not {*result} <= {*"".join(names)}:
        raise build.wrong(f"the equation '{shorten(equation)}' is no contraction of these tensors")
    return names, result


def _only(build: Builder, x: Tensor, name: str, kept: set[str]) -> tuple[Tensor, str]:
    """Add up the axes of letters that nothing else has."""
    for axis in reversed(range(len(name))):
        if name[axis] not in kept:
            x = reduced(build, x, axis)
            x = replace(x, axes=(*x.axes[:axis], *x.axes[axis + 1 :]))
            name = name[:axis] + name[axis + 1 :]
    return x, name


def _in_order(x: Tensor, name: str, letters: Sequence[str]) -> Tensor:
    """Return a tensor with its axes in the order of letters, those that it does not have being 1 long."""
    return replace(x, axes=tuple(x.axes[name.index(c)] if c in name else () for c in letters), value=None)


def _product(build: Builder, terms: Sequence[tuple[Tensor, str]], result: str) -> Tensor:
    (a, left), (b, right) = terms
    summed = [c for c in left if c in right and c not in result]
    sizes = [{c: t.shape[i] for i, c in enumerate(name)} for t, name in terms]
    letters = [*result, *summed]
    shape = [max(size.get(c, 1) for size in sizes) for c in letters]
    if any(size.get(c, 1) not in (1, n) for size in sizes for c, n in zip(letters, shape, strict=True)):
        raise build.wrong(f"the shapes {list(a.shape)} and {list(b.shape)} do not fit the equation")
    both = aligned(build, [_in_order(t, name, letters) for t, name in terms], shape)
    axes = dict(zip(letters, both[0].axes, strict=True))
    live = tuple(t for t in both if not t.constant)
    weighted: Digits = ()
    if len(live) == 1:
        chosen = {c for t, name in terms if t.constant for c in name}
        weighted = tuple(d for c in result if c in chosen for d in axes[c])
    inner = tuple(d for c in summed for d in axes[c])
    wanted = tuple((d, dim) for c, dim in _wanted(left, right, result, summed) for d in axes[c][:1])
    return build.layer(Body(live or (both[0],), both[0].axes[: len(result)], inner, weighted, wanted))


def _wanted(left: str, right: str, result: str, summed: Sequence[str]) -> Iterator[tuple[str, Dim]]:
    """Propose dims: what only the first factor has are rows, what only the second has channels."""
    rows, columns = ([c for c in result if c not in other] for other in (right, left))
    stack = [c for c in result if c in left and c in right]
    dims: tuple[tuple[list[str], tuple[Dim, ...]], ...] = (
        (columns[-1:], ("K",)),
        (rows[::-1], ("P", "Q")),
        (stack, ("N", "G")),
        ([*summed], ("C", "R", "S")),
    )
    for letters, names in dims:
        yield from zip(letters, names, strict=False)


HANDLERS: dict[str, Handler] = {"Einsum": einsum}
