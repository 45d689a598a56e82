"""`overlapim evaluate`: everything that a solution file states recomputed, and compared."""

from __future__ import annotations

from cli.answers import answer_with_differences, answering
from cli.options import SolutionFile


@answering
def evaluate_command(solution: SolutionFile) -> None:
    """Recompute everything that a solution file states, and compare.

    Prints the table of the solution as recomputed. Exit code 2 if the file disagrees anywhere.

    Example:

      overlapim evaluate results/solution.yaml
    """
    from cli.records.solution import file_record
    from cli.show.tables import show_solution
    from overlapim_files import InputError, load
    from solver.account.plan import account
    from solver.solution import Solution, recompute

    stated = load(solution, Solution)
    try:
        found = recompute(stated)
    except InputError as error:
        raise InputError(f"{solution}: {error}") from None
    shown = account(found.problem, found.plan)
    record = file_record(stated, shown, found.differences)
    answer_with_differences(solution, record, lambda: show_solution(shown, stated))
