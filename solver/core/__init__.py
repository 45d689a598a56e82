"""The compiled core, or none: everything that it does has a twin in Python that gives the same answers.

It is built when the package is installed, if there is a compiler (`hatch_build.py`). `OVERLAPIM_CORE=python`
leaves it out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from overlapim_files import InputError
from solver.memory import evictable

REVISION = 6
"""What the compiled core has to say of itself; raised in both whenever what they expect of it changes."""


def found_core() -> ModuleType | None:
    """Return the compiled module; None if it is not there, is of other sources, or is to be left out."""
    asked = os.environ.get("OVERLAPIM_CORE", "")
    if asked not in ("", "python"):
        raise InputError(f"OVERLAPIM_CORE is '{asked}', and can only be 'python', or not be set")
    if asked:
        return None
    try:
        found = import_module("solver.core.native")
    except ImportError:
        return None
    # One that was built before the sources changed: installing again builds it anew.
    return found if getattr(found, "REVISION", 0) == REVISION else None


native = found_core()
"""The compiled module, None where Python computes everything."""

if native is not None:
    evictable(native.clear)


def running() -> str:
    """Return which core runs: `compiled` or `python`."""
    return "python" if native is None else "compiled"


@contextmanager
def without() -> Iterator[None]:
    """Let Python compute everything for a while, to compare."""
    global native
    kept, native = native, None
    try:
        yield
    finally:
        native = kept
