"""Processes to solve cases in, by Dask: on this machine, or those of a running cluster."""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from overlapim_files import InputError, shorten
from solver.sweep.process import dask_setup, end_process
from solver.sweep.task import Finished, SweepTask, unsolved

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

CONNECT_SECONDS = 10

GONE = "the cluster is gone; what was finished is kept, and the same command goes on with the rest"

Work = Callable[[SweepTask], Finished]


@contextlib.contextmanager
def cluster(scheduler: str | None, workers: int) -> Iterator[Client]:
    """Connect to a scheduler, or start one here with so many processes, which end with this one.

    Raises
    ------
    InputError
        if no scheduler answers at the address, or Dask is missing.
    """
    if find_spec("distributed") is None:
        raise InputError("distributed is missing: pip install 'fast-overlapim[sweep]'")
    import dask
    from distributed import Client, LocalCluster

    _quiet()
    if scheduler is not None:
        with _scheduler(scheduler) as client:
            yield client
        return
    options: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.CRITICAL,
        "preload": [dask_setup.__module__],
    }
    with (
        _scratch() as scratch,
        dask.config.set({"temporary-directory": scratch}),
        _started(LocalCluster, options) as local,
        Client(local) as client,
    ):
        yield client


def _started(kind: Callable[..., LocalCluster], options: Mapping[str, Any]) -> LocalCluster:
    """Start processes here. Raises InputError if one of them dies meanwhile."""
    try:
        with _deaf():
            return kind(**options)
    except (RuntimeError, OSError) as error:
        reason = shorten(" ".join(str(error).split()), 120)
        raise InputError(f"the processes of the sweep could not be started: {reason}") from None


REMOVE = 'trap "" INT TERM HUP; read -r _; rm -rf "$0"; sleep 1; rm -rf "$0"'
"""What a shell does that waits until its input ends; the second time for what dying processes still write."""


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """Give a folder for the files of processes, which is removed in the end, even if this one is killed."""
    folder = tempfile.mkdtemp(prefix="overlapim-sweep-")
    remover = subprocess.Popen(
        ["/bin/sh", "-c", REMOVE, folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remover.kill()
        remover.communicate()


def _quiet() -> None:
    """Keep Dask from writing what went wrong to standard error; it is said in one line where it matters."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that Ctrl-C does not end; this one hears of it once they are there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _scheduler(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        reason = shorten(" ".join(str(error).split()), 120)
        raise InputError(f"--scheduler: no scheduler answers at {shorten(repr(address))}: {reason}") from None


@dataclass
class TaskPool:
    """Tasks under way in the processes of a cluster; those of processes that die begin anew in others.

    Attributes
    ----------
    work : what solves a task.
    """

    client: Client
    work: Work
    _running: dict[str, Future] = field(default_factory=dict)
    _ended: queue.Queue[str] = field(default_factory=queue.Queue)

    def slots(self) -> int:
        """Return how many tasks the cluster can have under way now. Raises InputError if it is gone."""
        try:
            return sum(self.client.nthreads().values())
        except OSError:
            raise InputError(GONE) from None

    def __len__(self) -> int:
        """Return how many tasks are under way."""
        return len(self._running)

    def begin(self, task: SweepTask) -> None:
        """Have a task solved."""
        future = self.client.submit(self.work, task, pure=False)
        self._running[task.key] = future
        future.add_done_callback(lambda _: self._ended.put(task.key))

    def ended(self, seconds: float) -> list[Finished]:
        """Return what came of tasks that have ended; waits so many seconds for the first of them.

        Raises
        ------
        InputError
            if the cluster is gone, or its processes cannot run this program.
        """
        found: list[Finished] = []
        with contextlib.suppress(queue.Empty):
            while True:
                key = self._ended.get(timeout=0 if found else seconds)
                if key in self._running:
                    found.append(_came_to(key, self._running.pop(key)))
        return found

    def give_up(self, key: str) -> None:
        """Leave a task that does not end, and end the process that it is in; another one takes its place."""
        future = self._running.pop(key)
        hosts = [host for host, keys in self.client.processing().items() if future.key in keys]
        future.cancel()
        if hosts:  # in a thread, as a process that hangs altogether does not answer
            options = {"workers": hosts, "wait": False, "on_error": "ignore"}
            threading.Thread(target=self.client.run, args=(end_process,), kwargs=options, daemon=True).start()


def _came_to(key: str, future: Future) -> Finished:
    """Return what came of a task that has ended in one way or another."""
    from distributed import KilledWorker

    if future.status == "finished":
        finished: Finished = future.result()
        return finished
    if future.status != "error":
        raise InputError(GONE)
    error = future.exception()
    if isinstance(error, ImportError):
        text = shorten(str(error), 200)
        raise InputError(f"the processes of the cluster need fast-overlapim of the same version: {text}")
    if isinstance(error, KilledWorker):
        return unsolved(key, "failed", "each process that was to solve it died, perhaps for want of memory")
    return unsolved(key, "failed", f"{type(error).__name__}: {shorten(' '.join(str(error).split()), 300)}")
