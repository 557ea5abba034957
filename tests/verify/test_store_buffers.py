# SPDX-License-Identifier: GPL-2.0-or-later
"""x86's store buffers under the kernel's functions: what only they break, what they do not, and a barrier that is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.verify.matrix import Row, rows
from tests.verify.mutations import patch

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.report import counterexample
from softnet.report.columns import render
from softnet.report.verify import verdict_text
from softnet.verify.model import Config
from softnet.verify.promela import export
from softnet.verify.replay.schedule import replay
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import check, from_text, to_text

native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]
DESCRIPTOR = Path(__file__).parent / "descriptor_patch.py"
SMALL = Limits(states=2_000_000, memory_bytes=512 << 20)
LARGE = Limits(states=4_000_000, memory_bytes=1 << 30, storage="compact")
TSO = "holds (exhausted, x86-TSO with 4-entry store buffers)"
HANDLER = "kernel={},defer_max=1,memory_model=tso,driver=free:1:2,driver=irq:0"
"""The defer list's interrupt comes when another softirq has flushed the list; one more free makes the watermark."""
ONLY_TSO = [row for row in rows() if "memory_model=tso" in row.configuration]


def explore(text: str, changed: str = "", **more: object) -> Outcome:
    """Search a configuration."""
    return search(replace(from_text(text, (changed,) if changed else ()), **more), SMALL)  # type: ignore[arg-type]


class TestSearches:
    """Whole searches."""

    pytestmark = native

    @pytest.mark.parametrize("row", ONLY_TSO, ids=lambda row: row.mutation)
    def test_mutations_that_need_store_buffers(self, row: Row) -> None:
        # The matrix's test finds them; sequentially consistent memory hides them from every property.
        assert search(replace(row.config(), memory_model="sc"), SMALL).holds

    @pytest.mark.parametrize(
        ("mutation", "text"),
        [
            ("csd_without_wmb", "kernel=6.12,driver=free:1:2,driver=irq:0"),
            ("threaded_bit_plain", "kernel=6.12-threads,driver=free:1:2,driver=irq:0"),
            ("work_cleared_without_mb", "kernel=6.1-rt,defer_max=1,driver=free:1:2"),
        ],
    )
    def test_barriers_that_x86_does_not_need(self, mutation: str, text: str) -> None:
        assert verdict_text(explore(text, patch(mutation, from_text(text).kernel), memory_model="tso")) == TSO

    @pytest.mark.parametrize("kernel", ["6.1", "6.12"])
    def test_the_shipped_handler_lacks_a_barrier(self, kernel: str) -> None:
        outcome = explore(HANDLER.format(kernel))
        assert outcome.failure is not None
        assert outcome.failure.name == "lost kick"
        assert verdict_text(explore(HANDLER.format(kernel), patch("flag_cleared_with_barrier", kernel))) == TSO

    @pytest.mark.parametrize(
        ("operation", "verdict"),
        [
            ("rx_len(slot)", "one_sees_the_other"),
            ("nic_refill(v.queue, 0)", "one_sees_the_other"),
            ("smp_mb()", TSO),
        ],
    )
    def test_a_driver_drains_no_buffer_at_its_ring(self, operation: str, verdict: str, tmp_path: Path) -> None:
        patch = tmp_path / "patch.py"
        patch.write_text(DESCRIPTOR.read_text().replace("rx_len(slot)  # what may not be a fence", operation))
        outcome = explore("kernel=6.12,memory_model=tso,driver=nic:0:1,driver=call:1:1", patch)
        assert (outcome.failure.name if outcome.failure is not None else verdict_text(outcome)) == verdict
        assert verdict_text(explore("kernel=6.12,driver=nic:0:1,driver=call:1:1", patch)) == "holds (exhausted)"

    def test_the_counterexample_shows_where_stores_wait(self) -> None:
        outcome = explore(HANDLER.format("6.12"))
        again = replay(from_text(to_text(outcome.config)), outcome.actions)
        text = render(again, 120)
        assert "CPU0 defer_ipi_scheduled = 0 (in the store buffer)" in text.replace("\n           ", " ").replace("  ", "")
        assert "reaches memory" in text
        accesses = [a for step in again.steps for a in step.accesses]
        late = [(a.leaf.path, a.function) for a in accesses if a.what == "flush" and a.leaf is not None]
        assert ("defer_ipi_scheduled", "trigger_rx_softirq") in late
        page = counterexample.page(again, "violated: lost kick", "", "softnet replay-schedule", every=False, repeats=0)
        assert "reaches memory" in page

    @pytest.mark.parametrize("kernel", ["6.12", "6.12-threads", "6.12-rt"])
    def test_reduction_changes_no_verdict(self, kernel: str) -> None:
        text = f"kernel={kernel},memory_model=tso,driver=free:1:2"
        full, reduced = explore(text, reduce=False), explore(text)
        assert verdict_text(full) == verdict_text(reduced) == TSO
        assert full.states > reduced.states

    def test_reduction_loses_no_counterexample(self) -> None:
        row = next(row for row in ONLY_TSO if row.mutation == "state_without_barrier")
        for reduce in (True, False):
            outcome = search(replace(row.config(), reduce=reduce, races=False), SMALL if reduce else LARGE)
            assert outcome.failure is not None
            assert outcome.failure.name == row.property

    @pytest.mark.parametrize("entries", [1, 8])
    def test_other_sizes_of_the_buffer(self, entries: int) -> None:
        found = explore("kernel=6.12,memory_model=tso,driver=free:1:2", store_buffer=entries)
        assert verdict_text(found) == TSO.replace("4-entry", f"{entries}-entry")


def test_what_has_no_store_buffers_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = from_text("kernel=6.12,memory_model=tso,driver=free:1:2")
    with pytest.raises(SoftnetError, match="SPIN has no store buffers"):
        export(config, tmp_path / "model.pml")
    with pytest.raises(SoftnetError, match="sequentially consistent memory"):
        check(replace(config, liveness=True))
    with pytest.raises(SoftnetError, match="not a memory model"):
        from_text("kernel=6.12,memory_model=arm,driver=free:1:2")
    assert run_cli(["verify", "--kernel", "6.12", "--driver", "free:1:2", "--set", "store_buffer=9"]) == 2
    assert "a store buffer holds 1 to 8 stores" in capsys.readouterr().err


def test_a_replay_string_carries_the_memory_model() -> None:
    config = Config("replay", drivers=from_text("driver=free:1:2").drivers, memory_model="tso", store_buffer=2)
    assert from_text(to_text(config)) == config
