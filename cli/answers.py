"""What commands answer: tables for people or, with --json, the same as data for scripts.

A command that has a result is `answering` and gives it to `answer`; both options come with that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from cli.records.as_json import to_json
from cli.show.console import QUIET, console, error

AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output, and nothing else there.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the result and errors only: no progress, no messages.")
]
SHARED = {"as_json": AsJson, "quiet": Quiet}

AS_JSON: ContextVar[bool] = ContextVar("AS_JSON", default=False)


def answering(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --json and --quiet, which hold while it runs."""

    @functools.wraps(command)
    def with_options(*given: Any, as_json: bool = False, quiet: bool = False, **named: Any) -> None:
        tokens = AS_JSON.set(as_json), QUIET.set(quiet)
        try:
            command(*given, **named)
        finally:
            AS_JSON.reset(tokens[0])
            QUIET.reset(tokens[1])

    own = inspect.signature(command, eval_str=True)
    shared = [Parameter(x, Parameter.KEYWORD_ONLY, default=False, annotation=y) for x, y in SHARED.items()]
    signature = own.replace(parameters=[*own.parameters.values(), *shared])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    return with_options


def answer(data: object, show: Callable[[], None]) -> None:
    """Print the result of a command: as JSON if that was asked for, else by `show`.

    Parameters
    ----------
    data : records, pydantic models or dataclasses, or lists of them.
    """
    if AS_JSON.get():
        print(to_json(data), flush=True)
    else:
        show()


class WithDifferences(Protocol):
    """What was found, with every way in which a file disagrees with it."""

    @property
    def differences(self) -> tuple[str, ...]:
        """One sentence each."""


def answer_with_differences(file: Path, record: WithDifferences, show: Callable[[], None]) -> None:
    """Print a record, and that the file agrees or in what it does not."""

    def shown() -> None:
        show()
        if not record.differences:
            console().print("agrees")

    answer(record, shown)
    for difference in record.differences:
        error(f"{file}: {difference}")
    if record.differences:
        raise typer.Exit(2)
