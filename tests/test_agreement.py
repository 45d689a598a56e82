"""Three ways to the same cycle: the closed form, the comparison of all data spaces, and the simulator."""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import reduce

import numpy as np
import pytest
from generators import Instance, draw_instance, features, instances
from hypothesis import given, settings

from solver.reference import SimulatedLayer, simulate
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.need import ideal_need
from solver.timing.pairwise import data_spaces, pairwise_need
from solver.timing.problem import Problem
from solver.timing.profile import Profile, axis_finish
from solver.timing.timeline import Timeline, evaluate

INSTANCES = 2400
LEAST = 50

FEATURES = {
    # networks
    "stride",
    "dilation",
    "padding",
    "groups",
    "depthwise",
    "batch",
    "prime bound",
    "pooling",
    "chained windows",
    "all",
    "block",
    "divide",
    "keep",
    "every",
    "flatten",
    "flatten with windows",
    "part of a flattened tensor",
    "sum",
    "sum of three",
    "concatenation",
    "concatenation of rows",
    "concatenation in a sum",
    "concatenation of flattened parts",
    "slice on n",
    "slice on ch",
    "slice on h",
    "slice on w",
    "two-sided",
    "branch",
    "several producers",
    "one producer read twice",
    "layers out of order in the file",
    # mappings
    "imperfect factors",
    "three loops of one dim",
    "spatial loop outside a temporal one of its dim",
    "reduction over temporal",
    "reduction over column",
    "reduction over bank",
    "reduction over channel",
    # time
    "one step",
    "ji = 0",
    "jo = 0",
    "ji < jo",
    "ji = jo",
    "jo < ji",
    "steps inside ji",
    "sums read back",
    "fewer blocks than loads",
    "one block of many loads",
    "blocks inside jo",
    "idle blocks",
    "static",
    "shared",
    # second version
    "reload",
    "load outside the innermost loop that reads",
    "tile of several elements a lane",
    "residual",
    "residual sum",
    "residual of a layer",
    "blocks that do not read the residual",
    "row opened inside the blocks",
    "row opened outside them",
    "one row",
    "several rows",
    "lead",
    "fractional bandwidth",
    "fixed costs",
    "buffer",
    "host",
    "refresh",
    "spread of channel loops",
    "spread of bank loops",
    "spread of column loops",
    # schedules
    "release",
    "order",
    "order of a consumer",
    "order of a producer",
    "wait",
    "wait in an order",
    "block that reads nothing",
    "unread block before a read one",
}


class Run:
    """One instance, timed by the evaluator and by the simulator."""

    def __init__(self, instance: Instance) -> None:
        self.problem = Problem(instance.network, instance.hardware)
        self.profiles: list[Profile] = [self.problem.profile(i, m) for i, m in enumerate(instance.mappings)]
        orders = [None if order is None else np.array(order) for order in instance.orders]
        self.timeline: Timeline = evaluate(self.problem, self.profiles, instance.releases, orders)
        self.simulated: list[SimulatedLayer] = simulate(
            instance.network, instance.hardware, instance.mappings, instance.releases, instance.orders
        )

    def check_times(self) -> None:
        for profile, times, run in zip(self.profiles, self.timeline.layers, self.simulated, strict=True):
            name = profile.layer.name
            assert (times.start, times.end) == (run.start, run.end), name
            assert times.block_starts().tolist() == run.block_starts, name
        assert self.timeline.latency == max(run.end for run in self.simulated)

    def check_needs(self) -> set[str]:
        """Compare the needs of all edges; return what could be seen on them."""
        seen = set()
        for i, edges in enumerate(self.problem.edges):
            for edge in edges:
                producer, consumer = self.profiles[edge.producer], self.profiles[i]
                compared = pairwise_need(producer, consumer, edge)
                assert compared.shape == (consumer.blocks,)
                assert compared.tolist() == ideal_need(producer, consumer, edge).tolist(), consumer.layer.name
                unread = compared == MINUS_INFINITY
                if unread.any():
                    seen.add("block that reads nothing")
                if (unread[:-1] & ~unread[1:]).any():
                    seen.add("unread block before a read one")
        return seen

    def waits(self) -> set[str]:
        late = [times for times in self.timeline.layers if times.waited > 0]
        seen = {"wait"} if late else set()
        return seen | ({"wait in an order"} if any(times.order is not None for times in late) else set())


def test_all_three_agree_and_every_feature_is_among_the_instances() -> None:
    counts: Counter[str] = Counter()
    for seed in range(INSTANCES):
        instance = draw_instance(random.Random(seed))
        try:
            run = Run(instance)
            run.check_times()
            seen = run.check_needs()
        except Exception as error:
            error.add_note(f"draw_instance(random.Random({seed}))")
            raise
        counts.update(features(instance) | seen | run.waits())
    rare = {name: counts[name] for name in FEATURES if counts[name] < LEAST}
    assert not rare


@settings(max_examples=300)
@given(instances())
def test_agreement_of_any_instance(instance: Instance) -> None:
    run = Run(instance)
    run.check_times()
    run.check_needs()


@pytest.mark.parametrize("seed", range(60))
def test_layers_that_never_wait_element_by_element(seed: int) -> None:
    instance = draw_instance(random.Random(f"apart {seed}"))
    network, hardware = instance.network, instance.hardware
    # So far apart that every layer has ended long before the next one begins.
    releases = [10**9 * (network.topological.index(i) + 1) for i in range(len(network.layers))]
    problem = Problem(network, hardware)
    profiles = [problem.profile(i, mapping) for i, mapping in enumerate(instance.mappings)]
    simulated = simulate(network, hardware, instance.mappings, releases, [None] * len(releases))
    for i, (profile, run) in enumerate(zip(profiles, simulated, strict=True)):
        first = releases[i] + profile.lead
        assert run.start == releases[i]
        assert run.end == first + profile.last_finish
        assert (np.array(run.block_starts) - first).tolist() == profile.block_starts.tolist()
        axes = map(axis_finish, profile.axis_bounds, profile.axis_loops)
        outer = reduce(np.add.outer, axes, np.int64(first + profile.finish_base))
        assert np.array_equal(run.finish, outer)
        needs = np.zeros(profile.blocks, np.int64)
        for edge in problem.edges[i]:
            need = pairwise_need(profiles[edge.producer], profile, edge)
            producer = profiles[edge.producer]
            ready = need + releases[edge.producer] + producer.lead + hardware.cycles.transfer
            needs = np.maximum(needs, np.where(need == MINUS_INFINITY, 0, ready))
        assert run.needs == needs.tolist()
        assert data_spaces(profile) == math.prod(loop.bound for loop in profile.temporal) * profile.banks
