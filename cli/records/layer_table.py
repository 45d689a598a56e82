"""The layers of a plan as a table for data frames: each row says what it is about, and in which units."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli.records.solution import layer_lines
from overlapim_files import write_bytes, write_text
from solver.account.plan import Account
from solver.sweep.table import csv_text, parquet_bytes


def layer_rows(account: Account) -> list[dict[str, Any]]:
    """Return a row for each layer: its figures, in cycles and seconds, and the network and chip it is of.

    What it spends its cycles and its energy on has a column for each part, `spent.load` or `energy_pj.load`.
    """
    problem, hardware = account.problem, account.hardware
    step = hardware.nanoseconds(1) * 1e-9
    rows = []
    for line in layer_lines(account):
        energy = {} if line.energy_pj is None else asdict(line.energy_pj)
        rows.append(
            {
                "network": problem.network.name,
                "hardware": hardware.name,
                "weights": hardware.weights,
                "clock_ns": hardware.clock_ns,
                "layer": line.name,
                "macs": problem.network.layers[problem.network.index[line.name]].macs,
                "banks": line.banks,
                "busy": line.busy,
                "start": line.start,
                "end": line.end,
                "waited": line.waited,
                "start_s": line.start * step,
                "end_s": line.end * step,
                **{f"spent.{name}": value for name, value in asdict(line.spent).items()},
                "energy_pj": None if line.energy_pj is None else line.energy_pj.total,
                **{f"energy_pj.{name}": value for name, value in energy.items()},
                "latency": account.latency,
                "interval": account.interval,
            }
        )
    return rows


def write_layer_table(path: Path, account: Account) -> None:
    """Write the table as the ending of the file says. Raises InputError if that fails."""
    rows = layer_rows(account)
    if path.suffix.lower() == ".csv":
        write_text(path, csv_text(rows))
    else:
        write_bytes(path, parquet_bytes(rows))
