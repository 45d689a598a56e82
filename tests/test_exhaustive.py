"""The whole mapspace, operators of mapped layers, and the search of all plans of tiny instances."""

from __future__ import annotations

import random

import numpy as np
import pytest
from generators import Instance, draw_instance

from solver.dominance import Response, response
from solver.problem import Problem
from solver.reference import simulate


def operators(instance: Instance) -> list[Response]:
    problem = Problem(instance.network, instance.hardware)
    return [
        response(problem, i, problem.profile(i, mapping), None if order is None else np.array(order))
        for i, (mapping, order) in enumerate(zip(instance.mappings, instance.orders, strict=True))
    ]


@pytest.mark.parametrize("seeds", [range(i, i + 50) for i in range(0, 600, 50)])
def test_operators_finish_every_element_when_the_simulator_does(seeds: range) -> None:
    for seed in seeds:
        instance = draw_instance(random.Random(f"operator {seed}"))
        problem = Problem(instance.network, instance.hardware)
        simulated = simulate(
            instance.network, instance.hardware, instance.mappings, instance.releases, instance.orders
        )
        found = operators(instance)
        for i in instance.network.topological:
            produced = [simulated[edge.producer].finish.ravel() for edge in problem.edges[i]]
            finish = found[i].outputs(instance.releases[i], produced)
            assert finish.tolist() == simulated[i].finish.ravel().tolist(), (seed, i)
