# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kernel that is known to be broken, and whether ``softnet verify`` finds it without being told where to look."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation import Mutation
from tests.verify.kernels import BROKEN
from tests.verify.matrix import rows
from tests.verify.mutations import patch
from tests.verify.test_verdicts import BROKEN as ASKED_ALONE

from softnet.properties.findings import FINDINGS
from softnet.verify.api import VerifyOptions, configurations, searches
from softnet.verify.search import Limits, Outcome
from softnet.verify.standard import from_text

CASES = Path(__file__).parent / "cases"
LIMITS = Limits(states=1_500_000, memory_bytes=2 << 30)


@dataclass(frozen=True)
class Bug:
    """A finding of a shipped kernel, or a kernel that an edit breaks; ``configuration`` is where it was found first."""

    name: str
    kernel: str
    configuration: str
    finding: str = ""
    mutation: Mutation | None = None
    file: str = ""

    def patches(self, folder: Path) -> tuple[str, ...]:
        """The patch files, written to a folder."""
        if self.mutation is not None:
            return (self.mutation.write(folder, self.kernel),)
        return (self.file,) if self.file else ()


@dataclass(frozen=True)
class Found:
    """What the default comes to: the property, the configuration's name, and what it took until then."""

    as_: str
    where: str
    states: int
    searches: int
    seconds: float


def bugs(folder: Path) -> Iterator[Bug]:
    """All of them: findings of each mode, the matrix, the kernels of two tests, the cases that need no caller of their own."""
    seen = set()
    for row in rows():
        kernel = from_text(row.configuration).kernel
        if (row.mutation, kernel) not in seen:
            seen.add((row.mutation, kernel))
            yield Bug(row.mutation, kernel, row.configuration, file=patch(row.mutation, kernel))
    for broken in BROKEN:
        yield Bug(
            broken.name, "6.12", broken.configuration, mutation=Mutation(broken.name, broken.about, broken.edits, broken.adds)
        )
    for case in ASKED_ALONE:
        (folder / case.name).mkdir(exist_ok=True)
        if case.file not in ("no_backlog_lock.py", "thread_waits_for_ever.py"):  # those are of the matrix
            yield Bug(case.name, "6.12", case.configuration, file=case.patches(folder / case.name)[0])
    for file, text in _CASES.items():
        yield Bug(file.removesuffix(".py"), "6.12", f"kernel=6.12,{text}", file=str(CASES / file))
    for finding in FINDINGS.values():
        for suffix in ("", "threads", "rt"):
            kernels = [kernel for kernel in finding.kernels if kernel.partition("-")[2] == suffix]
            # 6.12 is what runs unless another one is asked for.
            if kernels:
                kernel = next((k for k in kernels if k.startswith("6.12")), kernels[-1])
                yield Bug(finding.number, kernel, finding.on(kernel), finding=finding.number)


_CASES = {
    "snd_netif_rx.py": "rps=1,resched=0,driver=rps:1:1:0,driver=netif_rx:0:1",
    "s_double_free.py": "defer_max=1,driver=free:1:1,driver=free:1:1",
    "x_remote_link.py": "rps=1,driver=rps:1:1:0,driver=nic:0:2",
    "s_uaf_push_freed.py": "defer_max=1,driver=free:1:2,driver=irq:0",
    "s_uaf_write.py": "driver=free:1:2",
}
"""Patches of cases/ -> where they were found first."""


def default_finds(bug: Bug, folder: Path, limits: Limits = LIMITS, names: Sequence[str] = ()) -> Found | None:
    """What ``softnet verify --kernel KERNEL --patch FILE`` finds; None for nothing. With ``names`` these configurations only."""
    states, seconds = 0, 0.0
    only_known: Found | None = None
    for number, (outcome, took) in enumerate(_shipped(bug.kernel) if bug.finding else _searched(bug, folder, limits, names), 1):
        states += outcome.states
        seconds += took
        if outcome.failure is not None:
            return Found(outcome.failure.name, outcome.config.name, states, number, seconds)
        met = [known.finding for known in outcome.known]
        found = Found(f"known: {bug.finding or ' '.join(met)}", outcome.config.name, states, number, seconds)
        if bug.finding in met:
            return found
        if met and only_known is None:
            only_known = found
    return only_known


def _searched(bug: Bug, folder: Path, limits: Limits, names: Sequence[str]) -> Iterator[tuple[Outcome, float]]:
    """Each small configuration with what its search comes to, and processor seconds, as long as somebody asks."""
    for config in configurations([bug.kernel], VerifyOptions(bug.patches(folder))):
        if not names or config.name in names:
            begin = time.process_time()
            ((outcome, _),) = searches([config], limits, max_seconds=float("inf"))
            yield outcome, time.process_time() - begin


@functools.cache
def _shipped(kernel: str) -> list[tuple[Outcome, float]]:
    """All of them on a shipped kernel, which may have several findings."""
    return list(_searched(Bug("", kernel, ""), CASES, LIMITS, ()))
