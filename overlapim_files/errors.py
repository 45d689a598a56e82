"""Errors that a person reads: one line each, which names what was given and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

MAX_SHOWN = 60
"""Characters of a value that a message repeats."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says where, what and what to do."""

    def __init__(self, message: str) -> None:
        """Keep the message, with everything that does not print on one line escaped."""
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def shorten(text: str, limit: int = MAX_SHOWN) -> str:
    """Return the text, or its beginning and its end if it is longer than `limit`."""
    return text if len(text) <= limit else f"{text[: limit - 15]} ... {text[-10:]}"


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is neither built in nor a file."""
    known = list(known)
    text = f"no {what} and no file is called {shorten(repr(name))}"
    close = difflib.get_close_matches(name[:200], known, n=1, cutoff=0.4)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return InputError(f"{text}{hint} (built in: {', '.join(known)})")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'X'?`` for the closest known word, or the list of all of them."""
    known = list(known)
    close = difflib.get_close_matches(word[:200], known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {shorten(repr(close[0]))}?"
    return f"; known: {shorten(', '.join(known), 300)}"


def show_value(value: Any) -> str:
    """Return a value as a message names it."""
    if isinstance(value, (dict, list, tuple)):
        kind = "a mapping" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}" if value else f"an empty {kind[2:]}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return shorten(repr(value))
