"""Which mappings are in the pools that searches draw from (`solver.mapspace.pools`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TilingParams:
    """How temporal loops are cut into tiles (`solver.mapspace.tiling`)."""

    ways: int = 4
    """Fastest ways to fill the lanes whose temporal loops are cut."""
    reductions: int = 10
    """Inner bounds of a reduction dim that are tried, about."""
    middle: int = 4
    """Bounds of what is cut off the outer part of a reduction dim, the smallest ones, 1 among them."""
    positions: int = 3
    """Inner bounds of rows and columns of the output that are tried, the smallest ones."""
    kept: int = 8
    """Mappings that are kept, those estimated fastest."""


@dataclass(frozen=True)
class PoolParams:
    """How many mappings of a layer on a shape of banks are looked at, and which of them are kept."""

    arrays: int = 6
    """Ways to spread a shape of banks over the dims, the most even ones."""
    reduction_waste: float = 0.01
    """Lanes that a doubling of the spatial reduction counts as wasting, as a share."""
    column_options: int = 3000
    """Ways to fill the columns that are weighed, about."""
    most_steps: float = 1.5
    """A mapping may have so many times the fewest steps of any that is weighed."""
    splits: int = 3
    """Fastest mappings that are built with every order of their temporal loops."""
    slowest: float = 1.5
    """A mapping that hands on its outputs early may take so many times as long as the fastest one."""
    finer: float = 1.4
    """It is left out if a faster one makes as many steps along rows and columns, up to such a factor."""
    tiling: TilingParams = field(default_factory=TilingParams)
    """How temporal loops are cut where loads or rows of weights cost something by themselves."""
    lifted: int = 8
    """Mappings of a batch that take one inference after the other, as one inference would be mapped."""
    favourites: int = 8
    """Mappings, those estimated best, where a few that are soon made are enough."""
    small: int = 2**10
    """Multiply-accumulates of a layer up to which any mapping will do if no good one keeps to its limits."""
    listed: int = 20_000
    """Mappings that are looked through then."""
