"""Sweeps from Python: one call, and a data frame of what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overlapim_files import InputError
from solver.sweep.run import SweepObserver, run_sweep
from solver.sweep.table import frame, frame_library, sweep_rows, write_table


def sweep(
    spec: str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    memory: int | None = None,
    seconds: float | None = None,
    observer: SweepObserver | None = None,
) -> Any:
    """Solve many networks on many chips side by side, as `overlapim sweep` does.

    Processes are started anew, so that a script has to call it below `if __name__ == "__main__":`.

    Parameters
    ----------
    spec : the file of a specification, or what such a file says.
    out : the folder of the results, which is made if need be; what is finished there is not solved again.
    workers : processes on this machine; as many as there are cores unless given.
    scheduler : the address of a Dask scheduler whose processes are used instead.
    memory : bytes that all processes on this machine may take together, half of what it has unless given;
        with a scheduler those that each process may take.
    seconds : of wall time; no case begins that might not end in time.
    observer : is notified of cases that have ended and of how far the sweep has come.

    Returns
    -------
    A data frame of pandas, or of polars without it, with a row for each case; it is in the folder, too.

    Raises
    ------
    InputError
        if the specification is wrong, the folder cannot be written to, no scheduler answers, or a library is
        missing.
    """
    library = frame_library()
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise InputError(f"{folder}: cannot be made a directory: {reason}") from None
    done = run_sweep(
        spec,
        folder,
        workers=workers,
        scheduler=scheduler,
        memory=memory,
        seconds=seconds,
        observer=observer,
    )
    rows = sweep_rows(done)
    write_table(done, rows)
    return frame(rows, library)
