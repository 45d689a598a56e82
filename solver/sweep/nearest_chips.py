"""Which chip that is solved is most like another one, so that a search can begin with its mappings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from solver.sweep.cases import SweepCase
from solver.sweep.chips import chip_names
from solver.sweep.spec import Question

SolvedKind = tuple[str, str, Question]
"""Network, kind of weights and what is asked."""


class NearestChips:
    """The cases whose solutions are there, of each kind.

    The distance of two chips is the sum, over the numbers in their files, of by how many powers of two they
    differ.
    """

    def __init__(self, cases: Sequence[SweepCase]) -> None:
        numbers = [_numbers(case) for case in cases]
        names = sorted({name for own in numbers for name in own})
        table = [[own.get(name, 0.0) for name in names] for own in numbers]
        self._places = {case.record.key: i for i, case in enumerate(cases)}
        self._numbers = np.array(table).reshape(len(cases), len(names))
        self._solved: dict[SolvedKind, list[int]] = {}
        self._cases = cases

    def add(self, key: str) -> None:
        """Note that there is a solution of a case."""
        place = self._places[key]
        known = self._solved.setdefault(_kind(self._cases[place]), [])
        if place not in known:
            known.append(place)

    def remove(self, key: str) -> None:
        """Note that there is no solution of a case any more."""
        place = self._places[key]
        known = self._solved.get(_kind(self._cases[place]), [])
        if place in known:
            known.remove(place)

    def nearest_to(self, key: str) -> str | None:
        """Return the key of the nearest case that is solved; None if there is none."""
        place = self._places[key]
        known = self._solved.get(_kind(self._cases[place]))
        if not known:
            return None
        distances = np.abs(self._numbers[known] - self._numbers[place]).sum(axis=1)
        return self._cases[known[int(distances.argmin())]].record.key


def _kind(case: SweepCase) -> SolvedKind:
    return case.record.network_sha256, case.record.weights, case.record.question


def _numbers(case: SweepCase) -> dict[str, float]:
    """Return the binary logarithms of all numbers above 0 in the file of a chip."""
    known = chip_names(case.hardware).items()
    numbers = ((k, v) for k, v in known if isinstance(v, int | float) and not isinstance(v, bool))
    return {name: math.log2(value) for name, value in numbers if value > 0}
