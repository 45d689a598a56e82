"""How fine the bound over all mappings is (`solver.bound`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BoundParams:
    """How fine the bound model is, and the time it may take. Every value gives a valid bound."""

    fine: int = 56
    """Shares of a layer's outputs that have a time of their own: `i / fine`."""
    coarse: int = 28
    """The same in networks of many layers."""
    rough: int = 4
    """The same for what is proved first in networks of `rough_layers` and more, with static weights."""
    rough_layers: int = 8
    """Layers from which on a finer model takes seconds."""
    finer: float = 5.0
    """So many times what the rough model has taken must be left for the finer one."""
    in_turn: int = 8
    """The same where layers may share banks; finer shares have not been seen to raise the bound."""
    many_layers: int = 60
    """Layers from which on the coarse grid is used."""
    lane_step: float = 1.42
    """Numbers of lanes of one sum within such a factor are told apart from others only."""
    modes: int = 50_000
    """Ways to run layers, together, up to which the ranges of lanes are as fine as that."""
    resolution: int = 10**6
    """Units of time in the known latency; all times are rounded down to units."""
    numbers: int = 12
    """Ranges of numbers of banks that are all kept; of more, those that the linear relaxation needs."""
    windows: int = 20
    """Layers, about, for each of which what follows it has to be done after its first output."""
    bank_step: float = 1.02
    """Numbers of banks within such a factor are taken for the least of them."""
    widths: int = 400
    """Widths of one dim that are told apart; of longer dims a grid stands for all of them."""
    build_seconds: float = 0.015
    """Seconds for each layer without which the bound is not begun, since half of its model proves nothing."""
    most_layers: int = 400
    """Layers from which on the linear relaxation is not begun; it would not be solved in a minute."""
    linear_share: float = 0.5
    """Share of the time left that the linear relaxation may take."""
    small: int = 600
    """Times and choices in the model up to which CP-SAT can raise the bound of the relaxation."""
    raise_effort: float = 2.0
    """Deterministic time, about seconds, that CP-SAT is given for that."""
