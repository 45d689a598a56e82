"""All options of a layer: every mapping with every order of its blocks, one for each way to answer."""

from __future__ import annotations

import itertools
import math

import numpy as np

from overlapim_files import InputError
from solver.mapspace.enumeration import allowed_mappings, count_allowed
from solver.maxplus.response import Price, Response, distinct, responses
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import Order, order_allowed

LISTED = 200_000
"""Mappings and orders of one layer that are listed at most."""


def layer_options(
    problem: Problem, layer: int, stop: Stop, price: Price | None = None
) -> list[Response] | None:
    """Return every mapping and order of a layer, one for each way to answer; None if stopped.

    Parameters
    ----------
    price : what options that answer alike are told apart by.

    Raises
    ------
    InputError
        if they are too many.
    """
    name, number = problem.layers[layer].name, count_allowed(problem, layer)
    if number.most > LISTED or not number.complete:
        least = "up to" if number.complete else "more than"
        raise InputError(f"layer '{name}' has {least} {number.most} mappings, too many for exhaustive search")
    found: list[Response] = []
    listed = 0
    for mapping in allowed_mappings(problem, layer):
        if stop.reached():
            return None
        profile = problem.profile(layer, mapping)
        listed += math.factorial(min(profile.blocks, LISTED.bit_length())) if order_allowed(profile) else 1
        if listed > LISTED:
            raise InputError(f"layer '{name}' has more than {LISTED} mappings and orders of their blocks")
        found += responses(problem, layer, profile, _orders(profile))
    return distinct(found, price)


def _orders(profile: Profile) -> list[Order | None]:
    """Return all orders of the blocks, the loops' own as None."""
    if not order_allowed(profile):
        return [None]
    return [None, *map(np.array, itertools.islice(itertools.permutations(range(profile.blocks)), 1, None))]
