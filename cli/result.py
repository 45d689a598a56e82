"""The result file: what a run found and how, for scripts to read."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from overlapim_files import digest, dump, write_text
from solver.account.plan import Account
from solver.solve import Result

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


def as_json(result: Result, account: Account, wall_s: float, interrupted: bool) -> str:
    """Return the text of the result file."""
    solution = result.solution
    data = {
        "latency": solution.latency,
        "bound": result.bound,
        "bound_scope": solution.bound_scope,
        "gap": result.gap,
        "pool_bound": result.pool_bound,
        "pool_gap": result.pool_gap,
        "candidates": result.candidates,
        "status": solution.status,
        "method": solution.method,
        "seed": solution.seed,
        "wall_s": round(wall_s, 3),
        "interrupted": interrupted,
        "sequential": result.sequential,
        "bottleneck": account.bottleneck,
        "utilisation": account.utilisation,
        "trace": [[step.seconds, step.latency, step.bound] for step in result.trace],
        "inputs": {"network": digest(solution.network), "hardware": digest(solution.hardware)},
        "versions": versions(),
    }
    return json.dumps(data, indent=2) + "\n"


def write(directory: Path, result: Result, account: Account, wall_s: float, interrupted: bool) -> None:
    """Write `solution.yaml` and `result.json`. Raises InputError if that fails."""
    write_text(directory / "solution.yaml", dump(result.solution))
    write_text(directory / "result.json", as_json(result, account, wall_s, interrupted))
