"""How the method `cpsat` divides its time, which candidates it draws and how it models them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LagParams:
    """How much is known of what candidates imply for each other (`solver.maxplus`)."""

    classes: int = 40
    """Regions of an output up to which each class of elements is one of its own."""
    prefixes: int = 8
    """Prefixes of each axis if there are more classes."""
    budgets: int = 128
    """Budgets of banks that are told apart, at most."""


@dataclass(frozen=True)
class ModelParams:
    """How the best choice among given candidates is found (`solver.cpsat.optimise`)."""

    lags: LagParams = LagParams()
    single_banks: int = 3000
    """Layers times banks up to which every bank is modelled; beyond that they are counted only."""
    first_slice: float = 2.0
    """Deterministic time, about seconds, of the first solve; each that ends without a proof doubles it."""
    packing_effort: float = 5.0
    """Deterministic time after which the question whether shapes fit side by side stays open."""


@dataclass(frozen=True)
class WholeParams:
    """Which networks are given to CP-SAT with all their mappings, and solved to the end."""

    macs: int = 3000
    """Multiply-accumulates beyond which mappings are not even counted, which takes long for large layers."""
    mappings: int = 2000
    """Mappings of one layer up to which the whole mapspace is listed."""
    pairs: int = 300_000
    """Pairs of candidates, over all edges, up to which CP-SAT is given the whole mapspace."""
    first_steps: int = 100
    """Steps of descent before that: a good plan rules out most candidates."""


@dataclass(frozen=True)
class NearbyParams:
    """Which candidates are drawn near the best plan (`solver.search.nearby`)."""

    fewest: int = 4
    """Layers that draw candidates, at least."""
    first: int = 6
    """Layers that draw candidates at first."""
    connected: float = 0.7
    """Share of these that read one another, as far as there are such."""
    draws: int = 60
    """Random mappings of a layer to choose candidates from."""
    own: float = 0.6
    """Share of the random mappings that begin with the layer's own; the others do with pooled ones."""
    change_rate: float = 1.0
    """Rate of the exponential distribution of the changes of a mapping, beyond the first."""
    sizes: int = 2
    """How many sizes of pools up and down those are taken from."""
    larger: int = 4
    """Candidates may be so many sizes larger than what the layer has now."""
    later: float = 1.2
    """A network with one of them may end so many times as late."""
    each: int = 2
    """Candidates of a layer for each number of banks."""


@dataclass(frozen=True)
class CpsatParams:
    """How the method `cpsat` divides its time between descents, the bound, and choices among candidates."""

    whole: WholeParams = WholeParams()
    nearby: NearbyParams = NearbyParams()
    model: ModelParams = ModelParams()
    head_start: float = 8.0
    """Seconds for the descents alone: what is near a poor plan is of no use."""
    head_share: float = 0.2
    """The same as a share of what is left; the shorter of the two counts."""
    stall: float = 3.0
    """CP-SAT leaves the processors to descents that made progress less than so many seconds ago; twice as
    many after each choice that was no better."""
    progress: float = 0.001
    """By what share a latency must fall to be progress."""
    last_share: float = 0.15
    """In such a last part of the time it does not, unless something was proved about candidates before."""
    choice_seconds: float = 8.0
    """Seconds after which candidates are drawn anew, near what is then the best plan."""
    others: int = 8
    """Other good plans whose mappings are among the candidates: the last ones that were found."""
    crossed: int = 2
    """Plans of stretches that began afar that are crossed with the best one at a time: the last ones."""
    shortest_turn: float = 4.0
    """Seconds that one of several searches goes on for, where one process does everything in turn."""
    turn_share: float = 0.1
    """The same as a share of the time so far; the longer of the two counts."""
    latest_bound: float = 60.0
    """Seconds of which no more than `descent_share` go by before the bound is proved."""
    descent_share: float = 0.7
    """Such a share of the time, if less than that is left: a descent may stall before. Plans of layers that
    share banks are good from the start, and the bound comes first."""
    soon_bound: float = 8.0
    """The same as `latest_bound` where a rough bound comes first."""
    soon_share: float = 0.5
    """The same as `descent_share` where a rough bound comes first."""
    vain_share: float = 0.15
    """Share of the time, where one process does everything in turn, for choices that are no better."""
    shortest_choice: float = 1.0
    """Seconds below which a choice is not begun."""
    choice_work: float = 1.0
    """Seconds that a choice among candidates counts where work is counted instead of time."""
    choice_solves: int = 3
    """Solves of such a choice."""
