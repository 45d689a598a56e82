"""Building layers out of tensors: which loop dim each digit becomes, and what a layer reads."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from models.layer import AXES, DIMS, Axes, AxisAccess, AxisName, Dim, Layer, NetworkInput, Operand
from models.notes import Note
from models.onnx.access import (
    Concatenation,
    Digit,
    Digits,
    Form,
    Part,
    Tensor,
    coalesced,
    constant,
    each_form,
    extent,
    fresh,
    in_one,
    pruned,
)
from models.onnx.grouping import DigitGroup, grouped
from models.onnx.merge import divided
from overlapim_files import InputError, shorten

FREE: tuple[Dim, ...] = ("N", "P", "Q")
WEIGHTED: tuple[Dim, ...] = ("G", "K")
SUMMED: tuple[Dim, ...] = ("C", "R", "S")
AXIS_OF_DIM: dict[Dim, AxisName] = {"N": "n", "G": "ch", "K": "ch", "P": "h", "Q": "w"}
DIM_OF_AXIS: tuple[Dim, ...] = ("N", "K", "P", "Q")
MAX_TERMS = 256
MAX_PARTS = 1024
MAX_ALL_PARTS = 2**16
MAX_WINDOWS = 64
MAX_LAYERS = 4096


@dataclass(frozen=True)
class Body:
    """What a layer computes, in digits.

    `outputs` are the axes of its result. Of its digits those in `weighted` choose a weight; they come in the
    order in which they are put together. Those in
    `summed` are added over; `products` are multiplied with each other, or the only one with weights.
    `wanted` proposes dims.
    """

    products: tuple[Tensor, ...]
    outputs: tuple[Digits, ...]
    summed: Digits = ()
    weighted: Digits = ()
    wanted: tuple[tuple[Digit, Dim], ...] = ()


class Builder:
    """Collects layers and post-operations while the nodes of a graph are gone through.

    `notes` and `made_by_node`, the layers that are made or completed, are those of the current node.
    """

    def __init__(self) -> None:
        self.inputs: list[NetworkInput] = []
        self.begin("", "")
        self._layers: dict[str, Layer] = {}
        self._post: dict[str, int] = {}
        self._place: dict[str, int] = {}
        self._completions = itertools.count()
        self._readers = Counter[str]()
        self._names: set[str] = set()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers built so far, with all their post-operations."""
        return tuple(
            layer.model_copy(update={"post": self._post[name]}) for name, layer in self._layers.items()
        )

    def begin(self, node: str, operator: str) -> None:
        """Begin with another node."""
        self.node, self.operator = node, operator
        self.made_by_node: list[str] = []
        self.notes: list[Note] = []

    # Notes

    def note(self, text: str) -> None:
        """Note what happened to the current node."""
        self._add(Note(self.node, self.operator, text))

    def widen(self, text: str) -> None:
        """Note that more is read than in truth because of the current node."""
        self._add(Note(self.node, self.operator, text, widened=True))

    def _add(self, note: Note) -> None:
        if note not in self.notes:
            self.notes.append(note)

    @contextlib.contextmanager
    def unnoted(self) -> Iterator[None]:
        """Note nothing meanwhile."""
        kept = [*self.notes]
        yield
        self.notes[:] = kept

    def exact(self, checked: tuple[Tensor, bool], text: str) -> Tensor:
        """Return a tensor; note what was done if it is not exact."""
        tensor, exact = checked
        if not exact:
            self.widen(text)
        return tensor

    def wrong(self, text: str) -> InputError:
        """Return the error for the current node."""
        return InputError(f"node '{shorten(self.node)}' ({self.operator}): {text}")

    def check_size(self, tensor: Tensor, parts: int) -> None:
        """Check that a tensor, and all of them with their `parts`, can be handled in a short time."""
        terms, own = len(tensor.terms), len(tensor.parts)
        if terms > MAX_TERMS or own > MAX_PARTS or parts > MAX_ALL_PARTS:
            limits = f"{MAX_TERMS} tensors are added up, {MAX_PARTS} joined, or {MAX_ALL_PARTS} altogether"
            raise self.wrong(f"more than {limits}")
        if any(len(form.windows) > MAX_WINDOWS for part in tensor.parts for form in part.forms):
            raise self.wrong(f"reads through more than {MAX_WINDOWS} poolings and the like")

    # Inputs and post-operations

    def add_input(self, name: str, shape: Sequence[int]) -> Tensor:
        """Add a network input and return the tensor that it is.

        Axes past the third lie in `w` together; but of more than four that leave no more than four with
        several elements, such as those of one volume, the frames are images.
        """
        axes = tuple(fresh(size) for size in shape)
        placed = [*axes[:3], tuple(d for digits in axes[3:] for d in digits)]
        long = [digits for digits in axes if digits]
        if len(shape) == 1:
            placed = [(), axes[0]]
        elif len(shape) > 4 and len(long) <= 4:
            placed = [long[1], long[0], *long[2:]] if len(long) == 4 else [(), *long]
        placed += [()] * (4 - len(placed))
        a, b, c, d = (number(digits) for digits in placed)
        name = self._unused(name)
        n, ch, h, w = (extent(digits) for digits in placed)
        self.inputs.append(NetworkInput(name=name, shape=(n, ch, h, w)))
        return Tensor(axes, ((Part(name, (a, b, c, d)),),))

    def count(self, tensor: Tensor, operations: int) -> None:
        """Count operations on every element of a tensor at the layers that produce it.

        For a sum that is the last of its layers, for a concatenation each of them.
        """
        places = self._place
        terms = [{part.producer for part in term} for term in tensor.terms]
        made = [term for term in terms if term & places.keys()]
        if not made:
            if not tensor.constant:
                self.note("works on a network input: not counted, as no layer makes it")
            return
        latest = max(made, key=lambda term: max(places.get(name, -1) for name in term))
        for name in latest & places.keys():
            self._post[name] += operations

    # Layers

    def layer(self, body: Body, post: int = 0) -> Tensor:
        """Add a layer and return what it makes."""
        if all(product.constant for product in body.products):
            return constant([extent(digits) for digits in body.outputs])
        slots, products = self._assign(body)
        coefficients = {d: (dim, c) for dim, group in slots.items() for d, c in number(group.digits).terms}
        dim_of = {group.number: dim for dim, group in slots.items()}
        operands = [
            operand
            for i, product in enumerate(products)
            for operand in _operands(product, dim_of, f"{i}" if len(products) > 1 else "")
        ]
        if not operands:
            return constant([extent(digits) for digits in body.outputs])
        if len(self._layers) == MAX_LAYERS:
            raise self.wrong(f"there are more than {MAX_LAYERS} layers")
        name = self._unused(self.node)
        bounds = {dim: group.number.extent for dim, group in slots.items()}
        dims = {dim: bounds[dim] for dim in DIMS if bounds.get(dim, 1) > 1}
        self._layers[name] = Layer(name=name, dims=dims, operands=tuple(operands))
        self._post[name] = post
        self._complete(name, operands)
        made = Part(name, _made(self._layers[name], coefficients))
        return coalesced(Tensor(body.outputs, ((made,),)))

    def _complete(self, name: str, read: Iterable[Operand]) -> None:
        """Let the current node complete a layer, which then is the latest, with operands that it reads."""
        self._place[name] = next(self._completions)
        self._readers.update({operand.producer for operand in read})
        self.made_by_node.append(name)

    def place(self, name: str) -> int:
        """Return the place of a layer among all in the order in which they are complete."""
        return self._place[name]

    # Residuals

    def count_readers(self, tensor: Tensor, readers: int) -> None:
        """Count nodes that are still to read a tensor; fewer if `readers` is negative."""
        self._readers.update(dict.fromkeys({part.producer for part in tensor.parts}, readers))

    def unread(self, name: str) -> Layer | None:
        """Return a layer of this name that is read at most by the current node, and there once."""
        return self._layers.get(name) if self._readers[name] <= 1 else None

    def add_residuals(self, name: str, tensor: Tensor, dim_of: Mapping[Digit, Dim]) -> bool:
        """Let a layer add each term of a tensor to its results; return whether it can.

        It cannot if none of its operands has a reduction: then it would multiply what it should add.
        """
        layer = self._layers[name]
        residuals: list[Operand] = []
        for i, term in enumerate(pruned(tensor).terms, len(layer.operands)):
            residuals += _operands(replace(tensor, terms=(term,)), dim_of, f".residual{i}")
        extended = Layer(name=name, dims=layer.dims, operands=(*layer.operands, *residuals))
        if not all(extended.is_residual[len(layer.operands) :]):
            return False
        self._layers[name] = extended
        self._complete(name, residuals)
        return True

    def _assign(self, body: Body) -> tuple[dict[Dim, DigitGroup], list[Tensor]]:
        """Give every digit a dim; also return what is read in terms of the dims' numbers."""
        out = list(dict.fromkeys(digit for digits in body.outputs for digit in digits))
        wanted = dict(body.wanted)
        classes: list[tuple[list[Digit], tuple[Dim, ...]]]
        if len(body.products) == 1:
            classes = [
                (list(body.weighted), WEIGHTED),
                ([d for d in out if d not in body.weighted], FREE),
            ]
        else:
            classes = [(out, ("K", "P", "Q", "N", "G"))]
        slots: dict[Dim, DigitGroup] = {}
        products = body.products
        for digits, dims in [*classes, (list(body.summed), SUMMED)]:
            found = grouped(digits, len(dims), products)
            if found.widened:
                self.widen("has more independent indices than a layer has loops; some are read as a whole")
            slots |= _placed(found.groups, dims, wanted)
            products = found.products
        return slots, [pruned(product) for product in products]

    def single(self, tensor: Tensor, axis: int) -> Tensor:
        """Return the tensor with at most one digit on an axis; what then has no form is read as a whole."""
        tensor = coalesced(tensor, axis)
        digits = tensor.axes[axis]
        if len(digits) <= 1:
            return tensor
        new = fresh(extent(digits))
        result = divided(tensor, digits, new[0])
        if result is None:
            change = each_form(tensor, lambda form: in_one(form, digits, new))
            text = f"axis {axis} is one of several joined: the others are read as a whole"
            result = self.exact(change, text)
        return replace(result, axes=(*result.axes[:axis], new, *result.axes[axis + 1 :]))

    def _unused(self, name: str) -> str:
        """Return a name that no input and no layer has."""
        name = shorten(name, 180) or "unnamed"
        number = 2
        candidate = name
        while candidate in self._names:
            candidate = f"{name}.{number}"
            number += 1
        self._names.add(candidate)
        return candidate


def proposed(tensor: Tensor, digits: Iterable[Digit]) -> list[tuple[Digit, Dim]]:
    """Propose for digits the dims whose axes of a producer they decide."""
    forms = [(form, dim) for part in tensor.parts for form, dim in zip(part.forms, DIM_OF_AXIS, strict=True)]
    found = ((d, dim) for d in digits for form, dim in forms if form.coefficient(d))
    return list({d: (d, dim) for d, dim in found}.values())


def number(digits: Sequence[Digit]) -> Form:
    """Return the form of a number with these digits."""
    terms, stride = [], 1
    for digit in reversed(digits):
        terms.append((digit, stride))
        stride *= digit.extent
    return Form(tuple(reversed(terms)), 0, stride)


def _placed(
    groups: Sequence[DigitGroup], dims: tuple[Dim, ...], wanted: Mapping[Digit, Dim]
) -> dict[Dim, DigitGroup]:
    """Give each group a dim of its own: the one that is wanted for it if it can have it."""
    places: dict[Dim, DigitGroup] = {}
    for group in groups:
        dim = wanted.get(group.digits[0])
        if dim in dims and dim not in places:
            places[dim] = group
    left = [dim for dim in dims if dim not in places]
    for group in groups:
        if not any(group is other for other in places.values()):
            places[left.pop(0)] = group
    return places


def _made(layer: Layer, coefficients: dict[Digit, tuple[Dim, int]]) -> tuple[Form, Form, Form, Form]:
    """Return where the element with given digits stands in a layer's output."""
    terms: dict[AxisName, list[tuple[Digit, int]]] = {axis: [] for axis in AXES}
    for digit, (dim, coefficient) in coefficients.items():
        if dim in AXIS_OF_DIM:
            factor = layer.bound("K") if dim == "G" else 1
            terms[AXIS_OF_DIM[dim]].append((digit, coefficient * factor))
    a, b, c, d = (Form(tuple(terms[axis]), 0, size) for axis, size in zip(AXES, layer.shape, strict=True))
    return a, b, c, d


def _operands(tensor: Tensor, dim_of: Mapping[Digit, Dim], suffix: str) -> list[Operand]:
    """Return the operands through which a layer reads a tensor."""
    added = f"sum{suffix}" if len(tensor.terms) > 1 else None
    result = []
    for i, term in enumerate(tensor.terms):
        joined = f"concat{suffix}.{i}" if len(term) > 1 or _overhangs(term) else None
        for part in term:
            n, ch, h, w = (_axis_access(form, dim_of) for form in part.forms)
            axes = Axes(n=n, ch=ch, h=h, w=w)
            result.append(Operand(producer=part.producer, axes=axes, sum=added, concat=joined))
    return result


def _overhangs(term: Concatenation) -> bool:
    """Return whether images or channels are asked for that are none; only concatenations may do that."""
    return any(form.least < 0 or form.most >= form.extent for part in term for form in part.forms[:2])


def _axis_access(form: Form, dim_of: Mapping[Digit, Dim]) -> AxisAccess:
    """Return a form in loop dims."""
    terms = {dim_of[digit]: c for digit, c in form.terms}
    if not form.windows:
        return AxisAccess(terms=terms, offset=form.offset)
    last = form.windows[-1].model_copy(update={"extent": None})
    windows = (*form.windows[:-1], last)
    return AxisAccess(terms=terms, offset=form.offset, extent=form.extent, windows=windows)
