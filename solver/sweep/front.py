"""The designs of which none is better in every respect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.sweep.table import Row


@dataclass(frozen=True)
class Respect:
    """A column that tells how good a design is; `sign` is -1 where more is better."""

    column: str
    sign: int


@dataclass(frozen=True)
class SweepFront:
    """The designs for one network, batch and number of inferences.

    Attributes
    ----------
    rows : the best of each group, whatever its chip.
    front : those of them that no other is at least as good as in every respect and better in one, in the
        order of their latency.
    size : the column that says how large a chip is.
    """

    network: str
    batch: int
    inferences: int
    rows: tuple[Row, ...]
    front: tuple[Row, ...]
    size: str


def fronts(rows: Sequence[Row]) -> list[SweepFront]:
    """Return the front of each network, batch and number of inferences that there are solutions of."""
    kinds: dict[tuple[str, int, int], list[Row]] = {}
    for row in rows:
        if row["best"]:
            kinds.setdefault((row["network"], row["batch"], row["inferences"]), []).append(row)
    return [_front(*kind, own) for kind, own in kinds.items()]


def _front(network: str, batch: int, inferences: int, rows: Sequence[Row]) -> SweepFront:
    size = "lanes" if any(row["area"] is None for row in rows) else "area"
    good = on_front(measures(rows, size))
    front = sorted((row for row, is_good in zip(rows, good, strict=True) if is_good), key=_latency)
    return SweepFront(network, batch, inferences, tuple(rows), tuple(front), size)


def _latency(row: Row) -> Any:
    return row["latency_ns"]


def respects(rows: Sequence[Row], size: str) -> list[Respect]:
    """Return in which respects designs are compared: in energy only where it is known of all chips."""
    known = all(row["energy_pj"] is not None for row in rows)
    energy = [Respect("energy_pj", 1)] if known else []
    return [Respect("latency_ns", 1), *energy, Respect("inferences_per_s", -1), Respect(size, 1)]


def measures(rows: Sequence[Row], size: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return how good designs are, less is better; shape (rows, respects)."""
    wanted = respects(rows, size)
    return np.array([[x.sign * row[x.column] for x in wanted] for row in rows], float)


def on_front(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which rows no other row is nowhere above and somewhere below; shape (rows,)."""
    good = np.ones(len(values), np.bool_)
    for i, own in enumerate(values):
        if good[i]:
            beaten = (own <= values).all(axis=1) & (own < values).any(axis=1)
            good &= ~beaten
    return good
