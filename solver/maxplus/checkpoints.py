"""Checkpoints: points in the work of a layer that mean the same for every candidate.

A checkpoint is the start of a layer, its end, or the moment when a region of its output is all finished. A
candidate says at which ideal time it passes each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from solver.maxplus.candidates import Candidate, ElementTimes, Region, finish_table, first_table
from solver.params import LagParams
from solver.stop import Stop
from solver.timing.infinity import INFINITY
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Cycles

Candidates = Sequence[Sequence[Candidate]]
"""For each layer those that it may choose from."""

START, END = 0, -1
"""Places of the start and of the end among the checkpoints of a layer."""


def checkpoints(problem: Problem, candidates: Candidates, stop: Stop, params: LagParams) -> list[Cycles]:
    """Return for each layer the ideal time of each checkpoint; shape (candidates, checkpoints).

    Raises
    ------
    StoppedError
        if it is time to stop.
    """
    columns = [[np.zeros(len(own), np.int64)] for own in candidates]
    for consumer, edges in enumerate(problem.edges):
        for edge in edges:
            stop.check()
            own = candidates[edge.producer]
            tables = [finish_table(candidate, edge) for candidate in own]
            for region in regions(edge, own, candidates[consumer], params, stop):
                columns[edge.producer].append(np.array([t.largest(region) for t in tables], np.int64))
    for i, own in enumerate(candidates):
        columns[i].append(np.array([candidate.end for candidate in own], np.int64))
    return [_distinct(np.stack(own, axis=1)) for own in columns]


def _distinct(times: Cycles) -> Cycles:
    """Leave out regions that no candidate tells from another one; start and end stay first and last."""
    inner = np.unique(times[:, 1:-1], axis=1)
    inner = inner[:, (inner != times[:, END:]).any(axis=0)]
    return np.concatenate((times[:, :1], inner, times[:, END:]), axis=1)


def regions(
    edge: Edge, producers: Sequence[Candidate], consumers: Sequence[Candidate], params: LagParams, stop: Stop
) -> list[Region]:
    """Return the regions of an edge: all classes of elements if they are few, else prefixes of each axis.

    Raises
    ------
    StoppedError
        if it is time to stop.
    """
    read = _read(edge, producers[0], consumers[0])
    if not all(len(x) for x in read):
        return []
    classes = list(read)
    looks = [np.zeros(len(coordinates), np.int64) for coordinates in read]
    for table in _tables(edge, producers, consumers):
        for group, coordinates in enumerate(read):
            stop.check()
            # One candidate after the other, as the tables of all of them together may be very large.
            own = np.column_stack((looks[group], table.slices(group)[coordinates]))
            first, looks[group] = distinct_rows(own)
            classes[group] = coordinates[np.sort(first)]
    if math.prod(len(x) for x in classes) <= params.classes:
        grid = np.meshgrid(*classes, indexing="ij")
        return [tuple(x[None] for x in element) for element in zip(*(a.ravel() for a in grid), strict=True)]
    return _prefixes(read, params.prefixes)


def _tables(
    edge: Edge, producers: Sequence[Candidate], consumers: Sequence[Candidate]
) -> Iterator[ElementTimes]:
    """Yield what each candidate says of the elements, one at a time: with an order of blocks it is large."""
    yield from (finish_table(candidate, edge) for candidate in producers)
    yield from (first_table(candidate, edge, producers[0].profile) for candidate in consumers)


def distinct_rows(table: Cycles) -> tuple[Cycles, Cycles]:
    """Return where each distinct row of a table comes first, and for each row which of these it is.

    As `np.unique` with an axis, but rows of any length are compared as bytes, not entry by entry.
    """
    width = table.itemsize * table.shape[1]
    rows = np.ascontiguousarray(table).view(np.dtype((np.void, width))).ravel()
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    return first, which


def _read(edge: Edge, producer: Candidate, consumer: Candidate) -> Region:
    """Return the coordinates that are read at all; this does not depend on the candidates."""
    plain = Candidate(consumer.profile)
    parts = first_table(plain, edge, producer.profile).parts
    return tuple(np.flatnonzero(part < INFINITY) for part in parts)


def _prefixes(read: Region, parts: int) -> list[Region]:
    """Return the first of so many parts, the first two, .. along each axis, everything on the others."""
    found = [read]
    for group, coordinates in enumerate(read):
        count = len(coordinates)
        sizes = sorted({count * i // parts for i in range(1, parts)} - {0})
        found += [(*read[:group], coordinates[:size], *read[group + 1 :]) for size in sizes]
    return found
