# SPDX-License-Identifier: GPL-2.0-or-later
"""``softnet verify`` without options finds what is known: the small configurations, the time that they share, and some bugs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.long import LONG
from tests.verify.known import bugs, default_finds
from tests.verify.mutations import patch

from softnet.cli.verify import _time_and_jobs
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.linux.mends import MENDS
from softnet.properties.findings import FINDINGS
from softnet.release import releases
from softnet.verify import parallel
from softnet.verify.api import VerifyOptions, configurations, verify
from softnet.verify.known import breaks_alone, breaks_mended, search_past_known, shipped_breaks
from softnet.verify.model import shared_code
from softnet.verify.parallel import Time
from softnet.verify.search import Limits, search
from softnet.verify.small import STAGES, large_of, small_of_all
from softnet.verify.standard import KERNELS, check, from_text, standard
from softnet.verify.verdict import Verdict

native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

MENDED = [("C1", "6.12-threads"), ("C6", "6.12"), ("C9", "6.12"), ("C11", "6.18"), ("C12", "6.12")]
if LONG:
    MENDED = [(number, kernel) for number in MENDS for kernel in FINDINGS[number].kernels]

FOUND = {"kick_at_max": "lost kick", "no_backlog_lock": "two owners"}
"""Two of them -> as what. The first configuration finds both."""


@pytest.mark.parametrize("release", releases())
def test_every_kernel_has_them(release: str) -> None:
    for kernel in releases()[release].kernels:
        found = [*small_of_all([kernel]), *large_of(kernel)]
        assert [check(config) for config in found] == found
        assert len({config.name for config in found}) == len(found) > 15
        assert {config.kernel for config in found} == {kernel}


def test_a_stage_shares_its_code() -> None:
    for kernel in KERNELS:
        for stage in STAGES:
            configs = [config for row in stage if (config := row.of(kernel, ())) is not None]
            assert len({shared_code(config) for config in configs}) <= 1


def test_the_kernels_take_turns_by_stages() -> None:
    order = [(number, kernel) for number, stage in enumerate(STAGES) for kernel in KERNELS if any(r.of(kernel, ()) for r in stage)]
    found = [(number, kernel) for number, kernel in order for row in STAGES[number] if row.of(kernel, ())]
    assert [c.kernel for c in small_of_all(KERNELS)] == [kernel for _, kernel in found]
    assert [c.name for c in small_of_all(KERNELS)] == [r.name for n, k in order for r in STAGES[n] if r.of(k, ())]


def test_together_they_leave_nothing_out() -> None:
    configs = configurations()
    assert any(c.liveness for c in configs)
    assert any(c.memory_model == "tso" for c in configs)
    assert any(c.ticks for c in configs)
    assert any(c.events for c in configs)
    assert any(c.cpus > 2 for c in configs)
    assert {d.kind for c in configs for d in c.drivers} >= {"free", "netif_rx", "rps", "irq", "hotplug", "nic"}


def test_options_of_all_bend_what_the_small_ones_have() -> None:
    assert not any(c.liveness for c in configurations(["6.12"], VerifyOptions(storage="compact")))
    assert not any(c.liveness for c in configurations(["6.12"], VerifyOptions(memory_model="tso")))
    for config in configurations(["6.12"], VerifyOptions(liveness=True)):
        assert config.liveness == (config.memory_model == "sc")
    with pytest.raises(SoftnetError, match="liveness is asked of sequentially consistent memory"):
        configurations(["6.12"], VerifyOptions(liveness=True, memory_model="tso"))
    with pytest.raises(SoftnetError, match="CPUs and skbs of their own"):
        configurations(["6.12"], VerifyOptions(cpus=3))
    found = configurations(["6.12"], VerifyOptions(thorough=True, cpus=3))[len(configurations(["6.12"])) :]
    assert [c.name for c in found] == [c.name for c in (*standard("6.12", 3), *large_of("6.12"))]
    assert [c.cpus for c in found] == [3] * 6 + [2]


def test_searches_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(parallel.time, "monotonic", lambda: now)
    first = Time(60.0, ends_at=160.0, left=80, jobs=2)
    assert first.seconds() == 60.0 / 8
    assert first.later(70).seconds() == 60.0 * 2 / 10
    assert first.later(79).seconds() == 60.0
    now = 200.0
    assert first.seconds() == 0.0
    assert replace(first, ends_at=None).seconds() == 60.0


def test_time_and_jobs_as_asked() -> None:
    plain = {"max_seconds": None, "jobs": None, "drivers": (), "thorough": False, "cores": 1}
    shared = _time_and_jobs(plain)
    assert (shared["together"], shared["max_seconds"]) == (60.0, 60.0)
    assert shared["jobs"] >= 1
    assert _time_and_jobs(plain | {"drivers": ("free:1",)}) == {"max_seconds": 60.0, "together": None, "jobs": 1}
    assert _time_and_jobs(plain | {"max_seconds": 5.0, "jobs": 3}) == {"max_seconds": 5.0, "together": None, "jobs": 3}
    assert _time_and_jobs(plain | {"thorough": True})["together"] is None


class TestKnown:
    """What takes searches: two of them here, all with SOFTNET_LONG=1."""

    pytestmark = native

    def test_what_is_known_is_not_new_where_time_is_short(self) -> None:
        # With RPS the patch changes nothing, and C1 is broken as it is. Only the first search has the time to end.
        config = from_text("kernel=6.12-threads,rps=1,ticks=1,driver=free:1:2,driver=irq:0", (patch("no_backlog_lock", ""),))
        seen: list[int] = []

        def while_the_first(states: int, *rest: int) -> bool:
            seen.append(states)
            return seen == sorted(seen)

        outcome = search_past_known(config, progress=while_the_first)
        assert [known.finding for known in outcome.known] == ["C1"]
        assert outcome.failure is None
        assert len(seen) > 2

    @pytest.mark.parametrize(("number", "kernel"), MENDED)
    def test_a_mend_mends(self, number: str, kernel: str) -> None:
        finding = FINDINGS[number]
        config = replace(from_text(finding.on(kernel)), properties=finding.properties)
        broken = search(config, Limits(storage="compact"))
        assert broken.failure is not None
        outcome = search(replace(config, mended=number), Limits(storage="compact"))
        assert (outcome.verdict, outcome.why) == (Verdict.HOLDS, outcome.why)

    def test_what_a_finding_hid_is_new(self) -> None:
        # Memory in order: no kick is lost. Store buffers: the shipped kernel loses one as well, by the barrier that C9 is about.
        config = from_text(FINDINGS["C9"].on("6.12"), (patch("kick_looks_at_the_flag", "6.12"),))
        assert shipped_breaks(config, "lost kick", None)
        assert not breaks_alone(config, FINDINGS["C9"], "lost kick", None)
        assert breaks_mended(config, FINDINGS["C9"], "lost kick", None)
        failure = search_past_known(config).failure
        assert failure is not None
        assert failure.name == "lost kick"

    def test_it_is_found_by_who_says_nothing(self, tmp_path: Path) -> None:
        todo = dict(FOUND)
        for bug in bugs(tmp_path):
            if bug.name in todo:
                options = VerifyOptions(bug.patches(tmp_path))
                violation = verify(bug.kernel, options).violation
                assert violation is not None
                assert violation.failure is not None
                assert violation.failure.name == todo.pop(bug.name)
        assert not todo

    @pytest.mark.skipif(not LONG, reason="takes half an hour; SOFTNET_LONG=1")
    def test_everything_that_is_known_is_found(self, tmp_path: Path) -> None:
        missed = [bug.name for bug in bugs(tmp_path) if default_finds(bug, tmp_path) is None]
        assert sorted(set(missed)) == ["C8"]  # which needs millions of states: --thorough --storage compact
