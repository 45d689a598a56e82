"""Where output goes: answers to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TextIO

from rich.console import Console

PLAIN_WIDTH = 160
"""Characters of a line of a table where no terminal sets a limit."""

QUIET: ContextVar[bool] = ContextVar("QUIET", default=False)
"""Whether nothing but answers and errors is to be printed."""


def console(file: TextIO | None = None) -> Console:
    """Return a console that prints names as they are, for standard output or another stream.

    Names come from files, so nothing in them is taken for markup. Off a terminal lines are not broken.
    """
    stream = file or sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def say(text: str, end: str = "\n") -> None:
    """Print one line, or the beginning of one, to standard error, unless that is to be quiet."""
    if not QUIET.get():
        print(text, end=end, file=sys.stderr, flush=True)


def error(text: str) -> None:
    """Print one line that says what is wrong to standard error."""
    print(f"error: {_escaped(' '.join(text.split()))}", file=sys.stderr, flush=True)


def printable(name: str, limit: int = 40) -> str:
    """Return a name fit for a cell of a table: on one line and not too long."""
    text = _escaped(name)
    return text if len(text) <= limit else f"{text[: limit - 13]}...{text[-10:]}"


def printable_lines(text: str) -> str:
    """Return a text of several lines fit for the screen."""
    return "\n".join(map(_escaped, text.split("\n")))


def _escaped(text: str) -> str:
    """Return a text with what does not print, such as what controls a terminal, as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
