"""Expressions of specifications: arithmetic and conditions over names, which can do nothing else.

Python's parser reads them. Only the kinds of nodes that are named here are computed, by this module and not
by Python, on numbers whose size is limited at every step.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from overlapim_files import nearest, shorten

MAX_LENGTH = 500
"""Characters of an expression."""

MAX_NODES = 200

MAX_BITS = 256
"""Of an integer that is met on the way."""


class ExpressionError(Exception):
    """An expression cannot be read or computed; the message says why, without saying where it stands."""


@dataclass(frozen=True)
class Formula:
    """An expression that has been read; `names` are those that it computes with."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def value(self, known: Mapping[str, Any]) -> Any:
        """Return its value: a number, text or a truth value. Raises ExpressionError if there is none."""
        try:
            return _value(self.tree, known)
        except ZeroDivisionError:
            raise ExpressionError(f"{shorten(self.text)}: divides by zero") from None
        except (TypeError, ValueError, OverflowError):
            raise ExpressionError(f"{shorten(self.text)}: cannot be computed from these values") from None

    def holds(self, known: Mapping[str, Any]) -> bool:
        """Return whether it is so. Raises ExpressionError if it is no condition."""
        value = self.value(known)
        if not isinstance(value, bool):
            raise ExpressionError(f"{shorten(self.text)}: comes to {value!r}; a condition is true or false")
        return value


def expression(text: str) -> Formula:
    """Read an expression. Raises ExpressionError if it is none, or could do more than compute."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression of {len(text)} characters; at most {MAX_LENGTH} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ExpressionError(f"{shorten(text)}: is no expression") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"{shorten(text)}: an expression of more than {MAX_NODES} parts")
    return Formula(text, tree, frozenset(_names(tree)))


def _names(node: ast.expr) -> list[str]:
    """Return the names in an expression. Raises ExpressionError for what is not computed."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.Name() | ast.Attribute():
            return [_dotted(node)]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return [*_names(left), *_names(right)]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _names(operand)
        case ast.BoolOp(values=values):
            return [name for value in values for name in _names(value)]
        case ast.Compare(left=left, ops=ops, comparators=others) if {type(x) for x in ops} <= set(_COMPARED):
            return [name for value in (left, *others) for name in _names(value)]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [*_names(test), *_names(body), *_names(orelse)]
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return [name for item in items for name in _names(item)]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in FUNCTIONS:
                raise ExpressionError(f"there is no function {shorten(repr(name))}{nearest(name, FUNCTIONS)}")
            return [name for argument in args for name in _names(argument)]
    written = shorten(ast.unparse(node))
    raise ExpressionError(f"{written}: only arithmetic, comparisons, and, or, not, if and else are computed")


def _dotted(node: ast.expr) -> str:
    """Return a name such as `bits.weight`, which is looked up as one."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
    raise ExpressionError(f"{shorten(ast.unparse(node))}: only names have parts")


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return _small(value)
        case ast.Name() | ast.Attribute():
            return _known(_dotted(node), known)
        case ast.BinOp(left=left, op=op, right=right):
            return _small(_ARITHMETIC[type(op)](_number(left, known), _number(right, known)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(operand, known)
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_number(operand, known))
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_truth(value, known) for value in values)
        case ast.BoolOp(values=values):
            return any(_truth(value, known) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(left, ops, others, known)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _truth(test, known) else orelse, known)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_value(item, known) for item in items)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _small(FUNCTIONS[name](*(_number(argument, known) for argument in args)))
    raise AssertionError(node)  # `_names` has let nothing else through


def _known(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        near = nearest(name, known)
        hint = f"{near} Text stands in quotes" if near else "; text stands in quotes"
        raise ExpressionError(f"there is no name {shorten(repr(name))} here{hint}")
    return known[name]


def _compared(left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr], known: Mapping[str, Any]) -> bool:
    """Return whether all comparisons of a chain hold, as in `1 < banks <= 16`."""
    first = _value(left, known)
    for op, other in zip(ops, others, strict=True):
        second = _value(other, known)
        if isinstance(op, ast.In | ast.NotIn) and not isinstance(second, tuple):
            raise ExpressionError(f"{shorten(ast.unparse(other))}: `in` needs a list, as in (1, 2)")
        if not _COMPARED[type(op)](first, second):
            return False
        first = second
    return True


def _number(node: ast.expr, known: Mapping[str, Any]) -> int | float:
    value = _value(node, known)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{shorten(ast.unparse(node))}: is {value!r}, no number")
    return value


def _truth(node: ast.expr, known: Mapping[str, Any]) -> bool:
    value = _value(node, known)
    if not isinstance(value, bool):
        raise ExpressionError(f"{shorten(ast.unparse(node))}: is {value!r}, neither true nor false")
    return value


def _small(value: Any) -> Any:
    """Return a value if it is no number beyond all measure."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ExpressionError(f"a number of more than {MAX_BITS} bits")
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ExpressionError("a result that is no finite number")
    return value


def _quotient(left: int | float, right: int | float) -> int | float:
    """Divide; whole numbers stay whole where nothing is left over, as fields of chips need them."""
    whole = isinstance(left, int) and isinstance(right, int) and right != 0 and left % right == 0
    return left // right if whole else left / right


def _power(base: int | float, exponent: int | float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > MAX_BITS:
        raise ExpressionError(f"a number of more than {MAX_BITS} bits")
    return base**exponent


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _quotient,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": lambda value: round(value),
    "sqrt": math.sqrt,
}
"""The functions that an expression may call, with numbers."""
