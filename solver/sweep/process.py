"""What happens to the processes of a cluster: at their beginning, and when one does not end what it is at."""

from __future__ import annotations

import os
import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C, of which a terminal tells all processes, to the one that began them all.

    It lets them finish what they are solving, and they end when it does. Dask imports this module by its name
    in each process that is started on this machine, and calls this.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def end_process() -> None:
    """End the process at once. What watches over it starts another one; asked politely, it may not."""
    os.kill(os.getpid(), signal.SIGKILL)
