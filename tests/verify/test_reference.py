# SPDX-License-Identifier: GPL-2.0-or-later
"""A schedule in plain Python: the same memory, the same accesses and the same verdict as the explorer's native code."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.long import sample

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.verify.inside import words
from softnet.verify.replay.agreement import PairedReplay
from softnet.verify.replay.reference import ReferenceReplay, watched
from softnet.verify.replay.schedule import decode, repeats_of
from softnet.verify.standard import from_text

native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]
ROOT = Path(__file__).parents[2]
DOCUMENTS = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in ("verify", "findings"))
C4 = "kernel=6.12,defer_max=8,driver=free:1:4:0,event=skb_defer_max:4/8.4x56.10"
SHOWN = sorted(set(re.findall(r"softnet replay-schedule(?: --patch (\S+))? '(\S+)'", DOCUMENTS)))
"""Patch and text of every schedule in the documents."""


@pytest.mark.parametrize(("patch", "text"), SHOWN, ids=[str(n) for n in range(len(SHOWN))])
class TestShown:
    """The documents' counterexamples."""

    pytestmark = native

    def test_both_engines_agree_on_every_word_and_access(self, patch: str, text: str) -> None:
        what, _, actions = text.rpartition("/")
        pair = PairedReplay(from_text(what, (str(ROOT / patch),) if patch else ()))
        schedule, said = watched(pair.reference, pair, decode(actions), repeats_of(actions), None)
        assert schedule.failure is not None or any(line.startswith("violated") for line in said)
        assert sum(len(step.accesses) for step in schedule.steps) > 50


WALKS = {
    "rt_small": "kernel=6.12-rt,budget=1,dev_weight=1,driver=free:1:2,driver=netif_rx:0:2",
    "threads_rps": "kernel=6.12-threads,rps=1,driver=free:1:2,driver=rps:1:1:0,driver=rps:0:1:1",
    "rt_work": "kernel=6.1-rt,driver=free:1:2,driver=netif_rx:0",
    "card": "kernel=6.12,threaded=1,rps=1,rps_cpus=2,driver=nic:0:2,driver=free:1:2",
    "hotplug": "kernel=6.12,ticks=1,threadirqs=1,driver=free:0:2:1,driver=hotplug:0:2:1",
    "three_cpus": "kernel=6.10,cpus=3,defer_max=1,any_order=1,driver=free:1,driver=free:2,driver=irq:0,event=skb_defer_max:2",
    "unreduced": "kernel=6.12-threads,reduce=0,driver=free:1:2,driver=irq:0",
}


class TestWalks:
    """Random schedules of different configurations: what happens next is drawn from what can happen."""

    pytestmark = native

    @pytest.mark.parametrize("name", sample(list(WALKS), list(WALKS)[::2]))
    def test_both_engines_agree_on_every_word_and_access(self, name: str) -> None:
        draw = random.Random(name)
        config = from_text(WALKS[name])
        steps = 0
        pair = PairedReplay(config)
        for number in range(1, 200):
            action = next_action(pair, draw)
            if action is None:
                break
            # PairedReplay raises at the first difference.
            assert pair.step(number, action)[1] == 0
            steps = number
        assert steps > 40


def next_action(pair: PairedReplay, draw: random.Random) -> int | None:
    """One of those that can happen, tried on a copy of native memory; None where nothing can."""
    order = list(range(pair.nr_actions()))
    draw.shuffle(order)
    before = pair.native.words.copy()
    for action in order:
        code = pair.native.perform(action)
        pair.native.words[:] = before
        if code != words.VX_BLOCKED:
            return action
    return None


@pytest.mark.slow
def test_the_reference_engine_needs_no_native_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["replay-schedule", C4, "--engine", "reference"]) == 0
    text = capsys.readouterr().out
    assert "58 * skb_defer_max = 4" in text
    assert "violated where nothing can happen any more: lost kick: the defer list is above its watermark" in text


@pytest.mark.slow
def test_an_action_that_cannot_happen_is_refused() -> None:
    what, _, actions = C4.rpartition("/")
    engine = ReferenceReplay(from_text(what))
    with pytest.raises(SoftnetError, match="does not fit this configuration"):
        watched(engine, engine, [*decode(actions)[:-1], 4], 0, None)


@pytest.mark.slow
def test_the_debugger_stops_at_the_kernel_functions_own_line() -> None:
    done = debugged("p skb\nn\np cpu\nq\n", "--break", "skb_attempt_defer_free")
    assert "--- skb_attempt_defer_free() on CPU 1 in free/1, step 8" in done
    assert re.search(r"nodefer_napi_cache\.py\(\d+\)skb_attempt_defer_free\(\)\n-> cpu = skb.alloc_cpu", done)
    assert "<sk_buff at 0x" in done


@pytest.mark.slow
def test_the_debugger_stops_in_a_step_and_looks_without_touching() -> None:
    # defer_count is guarded: the kernel function may not read it here, who debugs may.
    done = debugged("n\np sd.defer_count\nc\n", "--at", "13")
    assert "--- the context goes on on CPU 1 in free/1, step 13" in done
    assert "(Pdb) 1\n" in done
    assert done.rstrip().endswith("the defer list is above its watermark and no flush is owed")


def debugged(typed: str, *options: str) -> str:
    """What a session with the debugger shows."""
    command = [sys.executable, "-m", "softnet", "replay-schedule", C4, "--engine", "reference", *options]
    return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=120, check=False).stdout
