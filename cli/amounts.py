"""Amounts that options give with a unit: times, which a chip's clock turns into cycles, energies, memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import typer

NANOSECONDS = {"ns": Fraction(1), "us": Fraction(10**3), "ms": Fraction(10**6), "s": Fraction(10**9)}
PICOJOULES = {"pJ": Fraction(1), "nJ": Fraction(10**3), "uJ": Fraction(10**6), "mJ": Fraction(10**9)}
PICOJOULES |= {"J": Fraction(10**12)}
NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?")
SIZES = {f"{prefix}{unit}": 2 ** (10 * i) for i, prefix in enumerate("KMGT", 1) for unit in ("", "iB")}
SIZES |= {f"{prefix}B": 10 ** (3 * i) for i, prefix in enumerate("KMGT", 1)}
LEAST_MEMORY = 2**29
"""What the program itself and its libraries take, with some room."""

MOST = 2**59
"""Cycles or pJ beyond which an amount is none."""


@dataclass(frozen=True)
class Amount:
    """A number of some unit; `timed` if that is the nanosecond."""

    number: Fraction
    timed: bool = False

    @property
    def value(self) -> float:
        """The number."""
        return float(self.number)

    def cycles(self, nanoseconds: float) -> int:
        """Return so many cycles, or the whole cycles of so many nanoseconds that a time has."""
        return math.floor(self.number / Fraction(nanoseconds)) if self.timed else math.floor(self.number)


def _amount(
    units: Mapping[str, Fraction], what: str, example: str
) -> Callable[[object], tuple[Fraction, str]]:
    """Return a parser of positive numbers with a unit or without."""

    def parse(given: object) -> tuple[Fraction, str]:
        text = str(given).replace(",", "").replace("_", "").strip()
        number, unit = NUMBER.match(text), ""
        if number is not None:
            unit = text[number.end() :].strip()
            value = Fraction(number[0]) * units.get(unit, Fraction(1))
        if number is None or unit not in ("", *units) or not 0 < value <= MOST:
            raise typer.BadParameter(f"must be {what}, such as {example}, not {str(given)[:40]!r}")
        return value, unit

    return parse


_time = _amount(NANOSECONDS | {"cycles": Fraction(1)}, "cycles or a time in ns, us, ms or s", "1.5ms")
_size = _amount({unit: Fraction(own) for unit, own in SIZES.items()}, "a size in MiB or GiB", "4GiB")
_energy = _amount(PICOJOULES, "an energy in pJ, nJ, uJ, mJ or J", "2.5mJ")


def cycles_or_time(given: object) -> Amount:
    """Return the amount of an option that takes cycles, without a unit, or a time."""
    value, unit = _time(given)
    return Amount(value, timed=unit in NANOSECONDS)


def memory_size(given: object) -> int:
    """Return the bytes of an option that takes an amount of memory with a unit."""
    value, unit = _size(given)
    if not unit or not value >= LEAST_MEMORY:
        least = f"{LEAST_MEMORY // 2**20} MiB"
        raise typer.BadParameter(f"must be a size of at least {least}, such as 4GiB, not {str(given)[:40]!r}")
    return int(value)


def size(count: int) -> str:
    """Return bytes in words."""
    return f"{count / 2**30:,.3g} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def picojoules(given: object) -> Amount:
    """Return the amount of an option that takes an energy, in pJ unless it has a unit."""
    return Amount(_energy(given)[0])
