"""Libraries that only some commands need, which come with the extras of the distribution."""

from __future__ import annotations


def needed(extra: str, *libraries: str) -> None:
    """Raise `InputError` that says how to get the libraries of an extra, unless they are there."""
    from importlib.util import find_spec

    from overlapim_files import InputError

    missing = [library for library in libraries if find_spec(library) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise InputError(f"{' and '.join(missing)} {are} missing: pip install 'fast-overlapim[{extra}]'")
