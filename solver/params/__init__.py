"""What the methods are tuned by, as values: an ablation is a call, not an edit.

Imports nothing of the solver. Limits that guard memory or time, such as sizes of caches and arrays, are no
tuning; they are constants of the modules that they protect.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from solver.params.bound import BoundParams
from solver.params.cpsat import CpsatParams, LagParams, ModelParams, NearbyParams, WholeParams
from solver.params.mapspace import PoolParams, TilingParams
from solver.params.search import (
    STRATEGIES,
    WALKS,
    ApartParams,
    BalanceParams,
    DescentParams,
    ExchangeParams,
    ExhaustiveParams,
    FittingParams,
    LayerwiseParams,
    MappingDraw,
    MoveParams,
    PlacementParams,
    PolishParams,
    PursuitParams,
    RandomParams,
    RemedyParams,
    RowPrices,
    SequentialParams,
    SharedParams,
    SharesParams,
    StaticParams,
    Strategy,
    Walk,
    WindowParams,
)

__all__ = [
    "STRATEGIES",
    "WALKS",
    "ApartParams",
    "BalanceParams",
    "BoundParams",
    "CpsatParams",
    "DescentParams",
    "ExchangeParams",
    "ExhaustiveParams",
    "FittingParams",
    "LagParams",
    "LayerwiseParams",
    "MappingDraw",
    "ModelParams",
    "MoveParams",
    "NearbyParams",
    "Params",
    "PlacementParams",
    "PolishParams",
    "PoolParams",
    "PursuitParams",
    "RandomParams",
    "RemedyParams",
    "RowPrices",
    "SequentialParams",
    "SharedParams",
    "SharesParams",
    "StaticParams",
    "Strategy",
    "TilingParams",
    "Walk",
    "WholeParams",
    "WindowParams",
]


@dataclass(frozen=True)
class Params:
    """What all methods are tuned by; each part of a search is given its own piece.

    Examples
    --------
    >>> from dataclasses import replace
    >>> params = Params()
    >>> fewer = replace(params, pools=replace(params.pools, splits=1))
    """

    pools: PoolParams = field(default_factory=PoolParams)
    sequential: SequentialParams = field(default_factory=SequentialParams)
    random: RandomParams = field(default_factory=RandomParams)
    layerwise: LayerwiseParams = field(default_factory=LayerwiseParams)
    descent: DescentParams = field(default_factory=DescentParams)
    cpsat: CpsatParams = field(default_factory=CpsatParams)
    bound: BoundParams = field(default_factory=BoundParams)
    exhaustive: ExhaustiveParams = field(default_factory=ExhaustiveParams)
