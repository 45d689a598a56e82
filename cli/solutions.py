"""Solution files as commands take them that show a plan: recomputed, with an account of its cycles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solver.account.plan import Account
    from solver.solution import Solution


def read_account(path: Path) -> tuple[Solution, Account]:
    """Read a solution file. Raises InputError if it cannot be read or disagrees with what is recomputed."""
    from solver.account.plan import account
    from solver.solution import read_verified

    solution, plan = read_verified(path)
    return solution, account(solution.problem, plan)
