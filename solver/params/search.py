"""What the searches without a solver try, and how often (`solver.search`, `solver.account.remedies`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from solver.params.mapspace import PoolParams

Walk = Literal["forward", "backward", "middle"]
Strategy = Literal["forward", "backward", "middle", "best"]
WALKS: tuple[Walk, ...] = get_args(Walk)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class RowPrices:
    """Prices of rows, as shares of a layer's time, where the rows of all layers do not fit into a bank.

    They rise by equal factors; before them rows cost nothing, and after them only rows count.
    """

    count: int = 25
    least: float = 1e-4
    most: float = 1e4


@dataclass(frozen=True)
class FittingParams:
    """How mappings and banks are chosen together where room is scarce (`solver.search.fitting`)."""

    banks: int = 32
    """Banks of a chip up to which layers may have any shape, and shortages are proven for all mappings."""
    coarse: int = 4
    """If time is short, mappings other than those of fewest rows are tried on every so many-th shape only."""
    thorough: float = 10.0
    """How many times as long as that takes there has to be time for all shapes to be tried."""
    literals: int = 200_000
    """Literals up to which CP-SAT is asked, about one for each mapping and bank."""
    effort: float = 30.0
    """Deterministic time, about seconds, in which CP-SAT may find a first packing, or prove a shortage."""
    seconds: float = 20.0
    """Seconds that it may take for that even if less time is left."""
    polish: float = 5.0
    """Deterministic time in which it may improve on the packing of first fit."""
    share: float = 0.2
    """Share of the time that is left in which it may do so."""


@dataclass(frozen=True)
class SequentialParams:
    """How the plan without overlap is made."""

    prices: RowPrices = RowPrices()
    fitting: FittingParams = FittingParams()
    smallest: float = 0.5
    """Of the banks of the chip, the part that a layer has at least which may have all of them."""
    coarse: int = 4
    """If time is short, only every so many-th size of the banks of a layer is tried."""
    thorough: float = 0.4
    """Share of the time after which a plan of the first mappings is made, if there is no better one yet."""
    again: float = 0.4
    """Share of the time that is left then for a better one: the rest is for what comes after it."""
    apart: float = 0.5
    """Share of the time in which layers that may share banks are given banks of their own all the same."""
    retreat: int = 64
    """Banks that are shared out and cannot be packed are shared out anew, one of so many less."""


@dataclass(frozen=True)
class RandomParams:
    """What the random mapper draws."""

    mappings: int = 1000
    """Valid mappings that are drawn for each layer."""
    tries: int = 100
    """Mappings that are drawn for one that is valid, before the layer is passed over."""
    prices: RowPrices = RowPrices()


@dataclass(frozen=True)
class LayerwiseParams:
    """Which mappings a walk through the layers tries."""

    strategy: Strategy = "best"
    """Which way it walks: from the first layer, the last one, or the one with the largest output; or all."""
    sizes: int = 2
    """Numbers of banks tried for each layer under static weights, the largest that it may have."""
    shapes: int = 4
    """The same when banks are shared; these are further apart."""
    options: int = 20
    """Mappings tried on each shape when banks are shared, where trying one is slow."""


@dataclass(frozen=True)
class BalanceParams:
    """How banks are shared out evenly, as starts of a descent with static weights."""

    weights: tuple[tuple[float, float], ...] = (
        (64, 3),
        (16, 0),
        (4, 1),
        (16, 3),
        (1, 3),
        (64, 1),
        (4, 0),
        (1, 1),
    )
    """Weights of lags when profiles are chosen, and when banks are, one start for each pair."""
    parts: tuple[float, ...] = (1.0, 31 / 32, 15 / 16, 7 / 8)
    """Parts of all banks that are shared out, fewer if those before cannot be placed."""
    rounds: int = 3
    """Times that the work of each layer is estimated anew, from the profile that it has got."""


@dataclass(frozen=True)
class PlacementParams:
    """How banks of their own are found for layers that do not fit as they are."""

    tries: int = 20
    """Orders in which layers are placed: first the largest first, then more and more at random."""
    noise: float = 0.25
    """By what share of its size a layer may move further in the order with each try."""


@dataclass(frozen=True)
class MappingDraw:
    """How often a move gives a layer a mapping of which kind; the rest of the moves make it larger."""

    neighbours: float
    """Share of random changes of its own mapping."""
    same_size: float
    """Share of mappings of a pool on about as many banks."""
    smaller: float
    """Share of those one size smaller."""
    growth: float = 5.0
    """Sizes by which it may become larger, one being the most likely."""
    rank_rate: float = 0.8
    """Rate of the exponential distribution of the rank of the mapping among the best of its size."""


@dataclass(frozen=True)
class StaticParams:
    """Moves for static weights."""

    draw: MappingDraw = MappingDraw(0.2, 0.3, 0.1)
    patience: int = 500
    """Moves without a better plan after which a search begins anew."""
    ranked: int = 6
    """Profiles of a pool that moves choose from."""
    renewal: float = 0.1
    """Share of the look-ups at which a ranking is made anew."""
    donors: int = 4
    """Layers that are asked for banks, half of them off the critical path if there are any."""


@dataclass(frozen=True)
class ExchangeParams:
    """Moves for static weights that are the best of many."""

    draw: MappingDraw = MappingDraw(0.4, 0.2, 0.05)
    unweighed: float = 0.5
    """Share of the moves that are not the best of many, which keeps the search from one narrow place."""
    changes: int = 4
    """Random changes of a mapping that one is chosen from."""
    change_rate: float = 1.0
    """Rate of the exponential distribution of the steps of a change, beyond the first."""
    larger: int = 4
    """Banks by which such a change may be larger."""
    elite: int = 6
    """Changed mappings of a layer and a size that stand beside those of the pool: the last good ones."""
    fresh: int = 2
    """Layers that are asked for a number of banks for the first time, since its pool takes long to make."""
    asked: int = 10
    """Layers that are asked for banks."""
    givers: int = 5
    """Those of them, by what is known from before, that are weighed."""
    placed: int = 2
    """Exchanges, the best ones, that banks are looked for."""
    renewal: float = 0.1
    """Share of the look-ups at which it is found out anew what a smaller size costs a layer."""
    shortest: int = 15
    """Steps back that a change is compared with, at first; twice as many each time a search begins anew."""
    longest: int = 120
    """The same, at most."""
    attention: int = 50
    """Moves after which a search asks for the best plan of the others even if it does not begin anew."""


@dataclass(frozen=True)
class SharedParams:
    """Moves for shared weights; what neither reschedules nor resizes a layer changes its mapping a little."""

    patience: int = 1500
    """Moves without a better plan after which a search begins anew."""
    reschedule: float = 0.1
    """Share of the moves that change when a layer starts or chooses its banks."""
    punctual: float = 0.5
    """Share of these that change when it starts."""
    resize: float = 0.4
    """Share of the moves that draw another mapping, on a shape of about the same size."""
    sizes: tuple[int, ...] = (-2, -1, 0, 0, 1, 2)
    """By how many sizes that shape may be larger, each as likely as the others."""
    rank_rate: float = 0.1
    """Rate of the exponential distribution of the rank of the mapping among those of its shape."""
    together: float = 0.15
    """Share of the moves that put several layers side by side."""
    groups: tuple[int, ...] = (2, 2, 3, 4)
    """How many layers that is, each as likely as the others."""
    apart: float = 0.5
    """Share of the moves of layers that all have banks of their own that leave it so."""


@dataclass(frozen=True)
class WindowParams:
    """Moves for shared weights that decide many layers together (`solver.cpsat.windows`)."""

    finest: int = 64
    """The fewest banks of a mode, as a part of the most that a layer may have."""
    finer: float = 1.4
    """A pooled mapping is left out if outputs of a faster one come no more than so many times as late."""
    alike: float = 0.01
    """A random change gains if it is faster, or its readers start earlier, by such a share of its time."""
    varied: int = 2
    """Random changes of a layer that are among its modes, at most."""
    draws: int = 6
    """Random changes of known modes of a layer that are looked at each time it chooses."""
    change_rate: float = 1.0
    """Rate of the exponential distribution of the changes of a mapping, beyond the first."""
    first: int = 8
    """Layers that choose a mode at first; one more after a window solved to the end, otherwise one less."""
    fewest: int = 4
    most: int = 40
    """The same, at least and at most."""
    following: int = 20
    """Layers after these that are started anew with them."""
    effort: float = 0.2
    """Deterministic time that a window is solved for, at most."""
    pair_work: float = 7e-5
    """Nominal seconds for each pair of modes of layers one of which reads the other."""
    layer_work: float = 0.004
    """The same for each layer that chooses."""
    solving_work: float = 7.0
    """The same for each unit of deterministic time that solving takes."""
    retreat: float = 0.99
    """By what factor fewer rows are asked for after a choice whose rows do not fit."""


@dataclass(frozen=True)
class SharesParams:
    """How banks are shared out at prices, as the start of searches with shared weights."""

    exponents: tuple[float, ...] = tuple(1 - i / 2 for i in range(13))
    """Powers of two that the prices tried for all layers are of the banks of the chip."""
    finest: int = 64
    """The fewest banks of a layer that are looked at, as a part of the most that it may have."""
    least_rise: float = 1.1
    most_rise: float = 2.5
    """By what factors prices of layers on the critical path rise, at least and at most."""
    fall: float = 0.3
    """By which power of that factor the others fall."""
    slack: float = 1.005
    """How many times as late as the last plan the next one may be."""
    patience: int = 100
    """Changes of prices without a better plan after which no more are tried."""
    share: float = 0.4
    """Share of the time that is left for all of it, at most."""
    looking: float = 0.6
    """Share of that for finding fast mappings on each size, at most."""


@dataclass(frozen=True)
class MoveParams:
    """What the moves of descents are, for both kinds of weights."""

    static: StaticParams = StaticParams()
    exchange: ExchangeParams = ExchangeParams()
    shared: SharedParams = SharedParams()
    windows: WindowParams = WindowParams()
    balance: BalanceParams = BalanceParams()
    placement: PlacementParams = PlacementParams()
    critical: float = 0.7
    """Share of the moves that change a layer of the critical path."""
    otherwise: float = 0.5
    """Share of the moves that go by energies or by how long layers hold their banks, where these count."""
    nearly: float = 0.99
    """Share of the longest time that banks are held from which on a layer is taken to hold them so long."""
    reorderings: float = 0.1
    """Share of the moves of a layer that change the order of its blocks, where another one is allowed."""
    restored: float = 0.5
    """Share of the reorderings that give a layer with an order of its own that of its loops again."""
    alone: float = 0.5
    """Share of the reorderings that change no other layer; the others change all that depend on it too."""
    worth: float = 0.9
    """How late a plan may be, as a part of before, for a layer to be given an order other than that of its
    loops before the search has begun anew: a mapping with other blocks would lose what the order brought."""
    history: int = 5
    """Steps back that a change is compared with, unless the moves say otherwise."""


@dataclass(frozen=True)
class PursuitParams:
    """How plans are begun where something other than the latency counts."""

    changes: int = 200
    """Random changes of the mapping of a layer that is to take little energy."""
    change_rate: float = 1.0
    """Rate of the exponential distribution of the steps of a change, beyond the first."""
    share: float = 0.2
    """Share of the time that is left for plans that do."""


@dataclass(frozen=True)
class ApartParams:
    """How long layers that may share banks are planned on banks of their own."""

    first: float = 0.2
    """Share of the time that is left for the first such plan, at most."""
    clear: float = 0.8
    """How late that may be, as a part of the best other plan, for others not to be looked for at first."""
    rounds: tuple[tuple[float, float], ...] = ((0.1, math.inf), (0.15, 1.5), (0.4, 1.1))
    """Shares of the time that is left; and how many times as late as the best plan that with banks apart may
    be before."""
    steps: int = 300
    """Steps of each of them at most, for each layer: few layers soon have what there is to find."""
    shares: tuple[tuple[float, float], ...] = ((0.8, 0.9), (1.0, 0.7), (1.1, 0.4))
    """How many times as late as the best other plan that with banks apart may be at most, and what share of
    the searches then goes on from it, where one process does everything."""


@dataclass(frozen=True)
class PolishParams:
    """How faster mappings of single layers are looked for."""

    rounds: int = 8
    """Times that each layer is looked at, from its mapping on."""
    starts: int = 2
    """Mappings to go on from, beside the layer's own and the fastest on all banks."""
    tries: int = 1000
    """Changes that are tried each time."""
    length: int = 20
    """How many steps back a change is compared with."""
    share: float = 0.06
    """Share of the time that is left for it, at most."""
    near: float = 0.8
    """How late the best plan has to be, as a part of the one without overlap, for it to be worth its time."""


@dataclass(frozen=True)
class DescentParams:
    """How descents begin, accept and begin anew."""

    moves: MoveParams = MoveParams()
    shares: SharesParams = SharesParams()
    pursuit: PursuitParams = PursuitParams()
    apart: ApartParams = ApartParams()
    polish: PolishParams = PolishParams()
    walk: Strategy = "forward"
    """Which way the walk through the layers goes that a descent begins with."""
    batch: float = 0.3
    """Share of the time that is left for planning one inference of a batch."""
    walking: float = 0.2
    """Share of the time that is left for that walk, at most."""
    behind: float = 1.003
    """How many times as late as another search's best plan a plan may be that is gone on from."""
    first_starts: int = 2
    """Ways to begin after which no more are looked at if the given plan is better."""
    wander: int = 3
    """After so many times in a row that beginning anew has brought nothing a search begins far away."""
    restart_noise: float = 0.02
    """By what share the plan may at first become worse, at most, when a search begins anew."""


@dataclass(frozen=True)
class ExhaustiveParams:
    """What `exhaustive` takes on."""

    combinations: int = 10**9
    """Combinations beyond which it refuses to begin; bounds leave out most of those below."""


@dataclass(frozen=True)
class RemedyParams:
    """Which changes of a plan are tried when it is explained."""

    pools: PoolParams = field(default_factory=PoolParams)
    placement: PlacementParams = PlacementParams()
    layers: int = 12
    """Layers of a critical path that are looked at, those with the largest shares."""
    ranked: int = 3
    """Profiles of a pool that are tried, those of least impact on the layers around."""
    growth: int = 4
    """Numbers of banks, each larger than the one before, that are tried for a layer."""
    donors: int = 3
    """Layers that are asked for banks where none are free."""
    neighbours: int = 8
    """Mappings close to that of a layer that are tried."""
