"""Sharing out all banks when each layer keeps its own: all take about equally long and hold up no other."""

from __future__ import annotations

from collections.abc import Sequence

from solver.mapspace.pools import Pools, lag
from solver.params import BalanceParams
from solver.stop import Stop
from solver.timing.profile import Profile


class Balance:
    """One way to share the banks out."""

    def __init__(
        self, pools: Pools, banks: int, choice: float, sharing: float, params: BalanceParams = BalanceParams()
    ) -> None:
        """Share out so many banks.

        Of all layers one is the slowest, but the lags of all add up.

        Parameters
        ----------
        choice : the weight of a profile's lag, against its own latency, when a profile is chosen.
        sharing : the same when banks are: with a large one, layers with a large lag become faster.
        """
        self.pools = pools
        self.layers = range(len(pools.problem.layers))
        self.banks = banks
        self.choice = choice
        self.sharing = sharing
        self.params = params

    def share(self, stop: Stop) -> list[Profile] | None:
        """Return a profile for each layer; None if it is time to stop, or if there are too few banks."""
        work = [float(layer.macs) for layer in self.pools.problem.layers]
        for _ in range(self.params.rounds):
            fair = [self.pools.size(max(1, int(self.banks * w / sum(work)))) for w in work]
            chosen: list[tuple[int, Profile]] = []
            for i in self.layers:
                found = None if stop.step() else self._member(i, range(fair[i], len(self.pools.sizes)))
                if found is None:
                    return None
                chosen.append(found)
            work = [self._late(chosen, i) * chosen[i][1].banks for i in self.layers]
        return self._give_rest(chosen, stop) if self._take_back(chosen, stop) else None

    def fitted(self, profiles: Sequence[Profile], stop: Stop) -> list[Profile] | None:
        """Take banks from layers until there are enough, and give away those that are left; None as above."""
        chosen = [(self.pools.size(p.banks), p) for p in profiles]
        return self._give_rest(chosen, stop) if self._take_back(chosen, stop) else None

    def _member(self, layer: int, sizes: Sequence[int]) -> tuple[int, Profile] | None:
        """Return the first size for which there are profiles, with the best of them."""
        for size in sizes:
            close = self.pools.close(layer, self.pools.sizes[size])
            if close:
                return size, min(close, key=lambda p: p.total * (1 + self.choice * lag(p)))
        return None

    def _late(self, chosen: list[tuple[int, Profile]], layer: int) -> float:
        profile = chosen[layer][1]
        return profile.total * (1 + self.sharing * lag(profile))

    def _excess(self, chosen: list[tuple[int, Profile]]) -> int:
        return sum(p.banks for _, p in chosen) - self.banks

    def _take_back(self, chosen: list[tuple[int, Profile]], stop: Stop) -> bool:
        """Take banks from the layers that have the most time left, until there are enough."""
        able = set(self.layers)
        while self._excess(chosen) > 0:
            if not able or stop.step():
                return False
            i = min(able, key=lambda i: self._late(chosen, i))
            smaller = self._member(i, range(chosen[i][0] - 1, -1, -1))
            if smaller is None:
                able.discard(i)
            else:
                chosen[i] = smaller
        return True

    def _give_rest(self, chosen: list[tuple[int, Profile]], stop: Stop) -> list[Profile] | None:
        """Give the banks that are left to the layers that take longest."""
        able = set(self.layers)
        while able:
            if stop.step():
                return None
            i = max(able, key=lambda i: self._late(chosen, i))
            before, larger = chosen[i], self._member(i, range(chosen[i][0] + 1, len(self.pools.sizes)))
            if larger is not None:
                chosen[i] = larger
            if larger is None or self._excess(chosen) > 0:
                chosen[i] = before
                able.discard(i)
        return [p for _, p in chosen]
