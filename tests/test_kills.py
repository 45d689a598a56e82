"""What is killed leaves nothing behind: a handful of the moments that `tests/kills.py` tries hundreds of."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from kills import Kill, kill

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.mark.parametrize(
    "one",
    [
        Kill("solve, two processes", signal.SIGKILL, everyone=False, seconds=1.0, once_found=True),
        Kill("solve, two processes", signal.SIGTERM, everyone=True, seconds=0.3, once_found=True),
        Kill("solve, one process", signal.SIGINT, everyone=False, seconds=0.1, once_found=True),
        Kill("sweep", signal.SIGKILL, everyone=False, seconds=0.2, once_found=True),
        Kill("sweep", signal.SIGKILL, everyone=True, seconds=0.1, once_found=True),
        Kill("sweep", signal.SIGTERM, everyone=False, seconds=0.1, once_found=True),
        Kill("bench", signal.SIGKILL, everyone=True, seconds=0.5, once_found=True),
    ],
    ids=str,
)
def test_what_is_killed_leaves_nothing_behind(one: Kill, tmp_path: Path) -> None:
    assert not kill(one, tmp_path)
