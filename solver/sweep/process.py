"""What each process that is started on this machine does first. Dask imports this module by its name."""

from __future__ import annotations

import signal
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def dask_setup(worker: Any) -> None:
    """Leave signals, which a terminal or a job sends to all processes, to the one that began them all.

    It lets them finish what they are solving, and they end when it does.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
