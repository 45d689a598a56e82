"""Recurrent layers, unrolled: a layer for each step, which reads the tensor at that step and the state.

The gates of a hidden unit lie beside each other in what a step makes, so the state is read through a window
over them. A cell keeps more than that, such as the memory of an LSTM. It is older than the gates: each gate
has waited for all gates of the step before, so reading it again would change no start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.onnx.access import Digits, Tensor, constant
from models.onnx.align import joined
from models.onnx.build import MAX_LAYERS, Builder
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, first, optional
from models.onnx.products import product, transposed
from models.onnx.sliding import Kernel, pooled
from models.onnx.views import taken

OPERATIONS = 3
"""On a gate: its activation, and a product and an addition to come to the state."""


@dataclass(frozen=True)
class Cell:
    """A layer and its direction: the gates of each of the products that a step takes, one after the other."""

    gates: tuple[int, ...]
    hidden: int
    bias: bool


def recurrent(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the states of all steps, and the last ones, of an RNN, a GRU or an LSTM."""
    x, weight, state = first(inputs, build), first(inputs, build, 1), first(inputs, build, 2)
    first_major = bool(node.get("layout", 0))
    x = replace(x, axes=(x.axes[1], x.axes[0], x.axes[2]), value=None) if first_major else x
    cell = _cell(node, inputs, build, x, weight, state)
    steps, ways = x.shape[0], weight.shape[0]
    count = steps * ways * len(cell.gates)
    if count > MAX_LAYERS:
        raise build.wrong(f"its {steps} steps would be {count} layers; at most {MAX_LAYERS} are built")
    build.note(f"unrolled: {count} layers, one after the other, each with weights of its own")
    starts = optional(inputs, 5)
    starts = starts if starts is None or not first_major else replace(starts, axes=_swapped(starts))
    every = [_run(build, x, starts, way, cell, backwards=_backwards(node, way)) for way in range(ways)]
    whole = _stacked(build, [_stacked(build, run, 0) for run in every], 1)
    last = [run[0 if _backwards(node, way) else -1] for way, run in enumerate(every)]
    end = _stacked(build, last, 0)
    if first_major:
        whole = replace(whole, axes=(whole.axes[2], *whole.axes[:2], whole.axes[3]))
        end = replace(end, axes=_swapped(end))
    return whole, end, end


def _swapped(x: Tensor) -> tuple[Digits, ...]:
    return (x.axes[1], x.axes[0], *x.axes[2:])


def _cell(node: Node, inputs: Inputs, build: Builder, x: Tensor, weight: Tensor, state: Tensor) -> Cell:
    """Return what a step takes; check the shapes of weights."""
    hidden = state.shape[2]
    gates = {"RNN": (1,), "LSTM": (4,), "GRU": (3,) if node.get("linear_before_reset", 0) else (2, 1)}
    own = gates[node.operator]
    ways = 2 if node.get("direction", "forward") == "bidirectional" else 1
    if weight.shape != (ways, sum(own) * hidden, x.shape[2]) or state.shape != (
        ways,
        sum(own) * hidden,
        hidden,
    ):
        raise build.wrong(f"weights {list(weight.shape)} and {list(state.shape)} do not fit {list(x.shape)}")
    if not weight.constant or not state.constant:
        raise build.wrong("its weights are computed; they must be constants")
    lengths = optional(inputs, 4)
    if lengths is not None and not lengths.constant:
        raise build.wrong("the lengths of its sequences are not known before it runs")
    return Cell(own, hidden, optional(inputs, 3) is not None)


def _backwards(node: Node, way: int) -> bool:
    return way == 1 or node.get("direction", "forward") == "reverse"


def _run(
    build: Builder, x: Tensor, starts: Tensor | None, way: int, cell: Cell, backwards: bool
) -> list[Tensor]:
    """Return the state, (batch, hidden), after each step, in the order of the sequence."""
    batch, length = x.shape[1], x.shape[0]
    state = constant((batch, cell.hidden)) if starts is None else _row(build, starts, way)
    states: dict[int, Tensor] = {}
    for i in reversed(range(length)) if backwards else range(length):
        now, reset = _row(build, x, i), state
        for gates in cell.gates:
            reset = _gated(build, [now, reset], gates, cell)
        state = states[i] = reset
    return [states[i] for i in range(length)]


def _gated(build: Builder, parts: Sequence[Tensor], gates: int, cell: Cell) -> Tensor:
    """Return a state made of gates, which a layer makes of the tensor at a step and the state before."""
    both = joined(build, parts, 1)
    size = gates * cell.hidden
    made = product(build, both, constant((both.shape[1], size)), bias=cell.bias)
    build.count(made, OPERATIONS)
    window = Kernel(size, gates, gates, 1, 0, cell.hidden)
    return replace(pooled(build, made, 1, window), folds=False)


def _row(build: Builder, x: Tensor, place: int) -> Tensor:
    """Return the tensor at one place of the first axis, without that axis."""
    part = taken(build, x, 0, range(place, place + 1))
    return replace(part, axes=part.axes[1:], value=None)


def _stacked(build: Builder, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Return tensors one after the other on a new axis."""
    parts = [replace(t, axes=(*t.axes[:axis], (), *t.axes[axis:]), value=None) for t in tensors]
    return joined(build, parts, axis) if len(parts) > 1 else parts[0]


def quantised_lstm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return an LSTM whose weights are integers, each matrix the other way round."""
    turned = [transposed(first(inputs, build, place)) for place in (1, 2)]
    plain = replace(node, operator="LSTM")
    return recurrent(plain, [first(inputs, build), *turned, *inputs[3:7]], build)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("RNN", "GRU", "LSTM"), recurrent),
    "com.microsoft.DynamicQuantizeLSTM": quantised_lstm,
}
