"""What a change of one layer does to the layers around it."""

from __future__ import annotations

from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import Timeline, compiled, next_layer


def impact(problem: Problem, layer: int, profile: Profile, timeline: Timeline) -> tuple[int, int]:
    """Return by how much the layers that read this one end later, at most, and when it ends itself.

    All but this layer keep their profiles and releases.
    """
    if compiled(timeline) and profile.compiled is not None:
        found: tuple[int, int] = problem.compiled.impact(timeline, layer, profile, profile.compiled)
        return found
    done = dict(enumerate(timeline.layers))
    done[layer] = next_layer(problem, layer, profile, done[layer].release, done)
    later = [
        next_layer(problem, i, old.profile, old.release, done, old.order, timeline).end - old.end
        for i in problem.network.consumers[layer]
        for old in [timeline.layers[i]]
    ]
    return max(later, default=0), done[layer].end
