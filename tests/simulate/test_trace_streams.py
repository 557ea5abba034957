# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording goes to its file while the run goes on: the same events, and never many of them in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.lang.python.stop import KernelStop
from softnet.simulate.api import resolve
from softnet.simulate.recorder import WRITE_BLOCK
from softnet.simulate.simulation import Simulation
from softnet.simulate.tracefile import StoredRecords, open_trace

pytestmark = pytest.mark.slow
"""Many seconds together: make test runs them, make check does not."""

EXAMPLES = Path(__file__).parents[2] / "examples"
MISTAKES = Path(__file__).parent / "mistakes_patch.py"
ENGINES = [
    pytest.param("native", marks=pytest.mark.skipif(bool(available()), reason="no native engine here")),
    "reference",
]


def simulation(engine: str, file: Path | None, duration_ms: int = 3, **more: object) -> Simulation:
    settings = [f"measure.duration_ms={duration_ms}", "measure.warmup_ms=0", "measure.series_interval_us=500"]
    return Simulation(resolve(EXAMPLES / "rps.toml", "", settings), engine=engine, trace="full", trace_file=file, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_file_holds_what_memory_would(engine: str, tmp_path: Path) -> None:
    kept = simulation(engine, None).finish().trace
    file = tmp_path / "trace.gz"
    streaming = simulation(engine, file)
    most = 0

    def look(now_ns: int, duration_ns: int) -> None:
        nonlocal most
        most = max(most, len(streaming.recorder.records))
        assert not file.exists(), "the file appears when the run ends"

    done = streaming.finish(look)
    assert most < WRITE_BLOCK
    assert isinstance(done.trace.records, StoredRecords)
    assert len(kept.records) > WRITE_BLOCK / 10
    assert tuple(done.trace.records) == kept.records
    assert tuple(open_trace(file).records) == kept.records
    assert not done.trace.partial
    assert streaming.trace() == done.trace, "asking twice does not write twice"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_run_leaves_a_file_that_says_so(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.gz"

    def interrupt(now_ns: int, duration_ns: int) -> None:
        if now_ns >= 1_000_000:
            raise KeyboardInterrupt

    done = simulation(engine, file).finish(interrupt)
    assert done.result.partial
    stored = open_trace(file)
    assert stored.partial
    assert stored.records[-1].time_ns <= 1_000_000
    whole = simulation(engine, None).finish().trace.records
    assert tuple(stored.records) == tuple(whole[: len(stored.records)])


def test_a_stopped_kernel_leaves_no_file(tmp_path: Path) -> None:
    scenario = resolve(EXAMPLES / "rps.toml", "", ["kernel.sysctl.netdev_budget=1001"])
    sim = Simulation(scenario, engine="reference", trace="full", trace_file=tmp_path / "t.gz", patches=[str(MISTAKES)])
    with pytest.raises(KernelStop):
        sim.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(SoftnetError, match="cannot be written"):
        simulation("reference", tmp_path / "none" / "t.gz").finish()
