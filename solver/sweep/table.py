"""The table of a sweep: a row for each case, with all parameters, figures, versions and hashes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from overlapim_files import InputError, write_bytes, write_text
from solver.sweep.cases import CaseRecord
from solver.sweep.folder import SOLUTIONS, SweepFolder
from solver.sweep.run import best_of, groups
from solver.sweep.task import CaseFigures, TaskRecord

PARQUET, CSV = "results.parquet", "results.csv"

SETTING = "chip."
"""What the names of columns begin with that hold what the specification has set."""

Row = dict[str, Any]


def sweep_rows(folder: SweepFolder) -> list[Row]:
    """Return a row for each case of a sweep, finished or not, in the order of the specification.

    Raises
    ------
    InputError
        if the folder is not that of a sweep.
    """
    cases = folder.cases()
    records = folder.finished(case.key for case in cases)
    best = _best(cases, records)
    settings = list(dict.fromkeys(field for case in cases for field in case.settings))
    libraries = sorted({name for record in records.values() for name in record.versions})
    return [_row(case, records.get(case.key), case.key in best, settings, libraries) for case in cases]


def _best(cases: Sequence[CaseRecord], records: Mapping[str, TaskRecord]) -> set[str]:
    """Return the keys of the best cases of all groups."""
    best = (best_of(group, records) for group in groups(cases).values())
    return {record.key for record in best if record is not None}


def _row(
    case: CaseRecord,
    record: TaskRecord | None,
    best: bool,
    settings: Sequence[str],
    libraries: Sequence[str],
) -> Row:
    """Return a row; what does not apply is None, so that all rows have the same columns."""
    own = case.model_dump(exclude={"settings", "question"})
    figures = record.figures.model_dump() if record is not None and record.figures is not None else {}
    known = record.versions if record is not None else {}
    return {
        **own,
        **{f"{SETTING}{field}": case.settings.get(field) for field in settings},
        **case.question.model_dump(),
        "outcome": "open" if record is None else record.outcome,
        "reason": "" if record is None else record.reason,
        **{name: figures.get(name) for name in CaseFigures.model_fields},
        "best": best,
        "solution": f"{SOLUTIONS}/{case.key}.yaml" if best else None,
        "solution_sha256": None if record is None else record.solution_sha256,
        **{f"version.{name}": known.get(name) for name in libraries},
    }


def write_table(folder: SweepFolder, rows: Sequence[Row]) -> Path:
    """Write the table as Parquet, or as CSV without pyarrow, and return its path. Raises InputError."""
    if find_spec("pyarrow") is None:
        path = folder.path / CSV
        write_text(path, csv_text(rows))
        return path
    path = folder.path / PARQUET
    write_bytes(path, parquet_bytes(rows))
    return path


def csv_text(rows: Sequence[Row]) -> str:
    """Return rows as CSV; what does not apply stays empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _scalar(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """Return rows as a Parquet file; takes pyarrow."""
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns(rows)), file)
    return file.getvalue()


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return rows as columns, of numbers, truth values or text each."""
    return {name: _alike([_scalar(row[name]) for row in rows]) for name in rows[0]}


def _scalar(value: Any) -> Any:
    """Return a value as one cell: what has parts becomes text."""
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value


def _alike(values: list[Any]) -> list[Any]:
    """Return values of one type: whole numbers and others as numbers, anything else that is mixed as text."""
    types = {type(value) for value in values if value is not None}
    if types == {int, float} or (types == {int} and any(abs(x) >= 2**63 for x in values if x is not None)):
        return [None if value is None else float(value) for value in values]
    if len(types) > 1:
        return [None if value is None else str(value) for value in values]
    return values


def frame_library() -> str:
    """Return which library makes data frames. Raises InputError if none is installed."""
    for name in ("pandas", "polars"):
        if find_spec(name) is not None:
            return name
    raise InputError("pandas or polars is missing: pip install 'fast-overlapim[frame]'")


def frame(rows: Sequence[Row], library: str) -> Any:
    """Return rows as a data frame of a library."""
    return import_module(library).DataFrame(columns(rows))
