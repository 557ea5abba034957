# SPDX-License-Identifier: GPL-2.0-or-later
"""SPIN on the exported model: another search, another storage and other code for the steps count the same states."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.verify.mutations import patch

from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.verify.model import Config, Driver
from softnet.verify.promela import Export, export, vector_bytes_max
from softnet.verify.search import Limits, search
from softnet.verify.standard import standard
from softnet.verify.verdict import Verdict

MISSING = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian packages of that name)"),
]

LIMITS = Limits(states=1_000_000, memory_bytes=512 << 20)
FREE2 = (Driver("free", 1, 2),)
IRQ = Driver("irq", 0)


@dataclass
class Pan:
    """What SPIN's search printed."""

    states: int
    transitions: int
    violated: str
    depth: int
    """Of the violation."""


def spin(config: Config, folder: Path, *options: str) -> tuple[Export, Pan]:
    """Export a configuration and let SPIN search it."""
    written = export(config, folder / "model.pml", LIMITS)
    size = vector_bytes_max(written.vector_bytes)
    subprocess.run(["spin", "-a", "model.pml"], cwd=folder, check=True, capture_output=True, timeout=60)
    # Unoptimised: gcc would take ten times as long as SPIN then takes to search.
    compile_ = ["gcc", "-O0", "-w", "-DSAFETY", "-DNOREDUCE", f"-DVECTORSZ={size}", *options, "-o", "pan", "pan.c"]
    subprocess.run(compile_, cwd=folder, check=True, timeout=120)
    ran = subprocess.run(["./pan", "-m100000", "-w20"], cwd=folder, check=True, capture_output=True, text=True, timeout=120)
    text = ran.stdout
    found = re.search(r"violated: (.*) \(at depth (\d+)\)", text)
    states, transitions = (int(re.search(rf"(\d+) {what}", text)[1]) for what in ("states, stored", "transitions"))  # type: ignore[index]
    return written, Pan(states, transitions, found[1] if found else "", int(found[2]) if found else 0)


@pytest.mark.parametrize(
    ("kernel", "number"),
    [("6.12", 1), ("6.12", 2), ("6.12-threads", 1), ("6.12-threads", 3), ("6.12-rt", 0), ("6.12-rt", 4)],
)
def test_spin_counts_the_same_states(kernel: str, number: int, tmp_path: Path) -> None:
    written, pan = spin(standard(kernel)[number], tmp_path)
    assert written.verdict is Verdict.HOLDS
    assert pan.violated == ""
    assert (pan.states, pan.transitions) == (written.spin_states, written.spin_transitions)


def test_spin_counts_the_same_states_unreduced(tmp_path: Path) -> None:
    written, pan = spin(Config("t", kernel="6.12-threads", drivers=FREE2, reduce=False), tmp_path)
    assert (pan.states, pan.transitions) == (written.spin_states, written.spin_transitions)


@pytest.mark.parametrize(
    ("kernel", "mutation", "drivers", "property_", "found"),
    [
        ("6.12-threads", "no_backlog_lock", (*FREE2, IRQ), "phantom SCHED", "phantom SCHED"),
        ("6.12-threads", "no_backlog_lock", (*FREE2, IRQ), "two owners", "two owners"),
        ("6.12", "kick_at_max", FREE2, "lost kick", "lost kick"),
        ("6.12", "flush_unlocked", FREE2, "lost kick", "guard in skb_defer_free_flush()"),
    ],
)
def test_spin_finds_the_same_violation_at_the_same_depth(
    kernel: str, mutation: str, drivers: tuple[Driver, ...], property_: str, found: str, tmp_path: Path
) -> None:
    config = Config("t", kernel=kernel, drivers=drivers, patches=(patch(mutation, kernel),), properties=(property_,))
    written, pan = spin(config, tmp_path, "-DBFS")
    ours = search(config, LIMITS)
    assert written.verdict == ours.verdict is Verdict.VIOLATED
    assert pan.violated.startswith(found)
    # SPIN numbers a failing step by the state it begins in; a property that is tested at rest is one step of its own there.
    assert abs(pan.depth - len(ours.actions)) <= 1


def test_the_c_goes_beside_the_model(tmp_path: Path) -> None:
    with pytest.raises(SoftnetError, match="another suffix"):
        export(replace(standard("6.12")[0]), tmp_path / "model.h", LIMITS)
    assert not list(tmp_path.iterdir())
