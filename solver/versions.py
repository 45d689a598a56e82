"""Versions of the program and of what its results may depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "fast-overlapim"
LIBRARIES = ("numpy", "pydantic", "pyyaml", "rich", "typer", "ortools")


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Return the versions of everything that a result may depend on; None for what is not installed."""
    found = {"python": platform.python_version(), "overlapim": installed(DISTRIBUTION)}
    return found | {name: installed(name) for name in LIBRARIES}
