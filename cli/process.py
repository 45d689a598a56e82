"""This process: with which command line it was started, and when, as a time limit counts from there."""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from pathlib import Path

COMMAND: ContextVar[str] = ContextVar("COMMAND", default="")
"""The command line of this run, as one would type it again."""


def process_started() -> float:
    """Return when, by `time.monotonic`, the process began; now if that cannot be told."""
    now = time.monotonic()
    try:
        after_name = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        since_boot = int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - age if 0 <= age < 60 else now
