"""What methods are tuned by, as values."""

from __future__ import annotations

from typing import Literal, get_args

Walk = Literal["forward", "backward", "middle"]
Strategy = Literal["forward", "backward", "middle", "best"]
WALKS: tuple[Walk, ...] = get_args(Walk)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
