# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's tests share. Tests marked ``kernel`` boot real kernels, one guest at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from softnet.lab.errors import LabHostBusy
from softnet.lab.play.arm import ARMS
from softnet.lab.tracing.records import LabTrace, read
from softnet.lab.vm import cache, kernels, qemu

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A guest that the host did not let run is no answer, wrong or right: say so, apart from what fails."""
    try:
        return (yield)
    except LabHostBusy as error:
        pytest.skip(f"the host was too busy: {error.message}")


@pytest.fixture
def guest() -> Iterator[None]:
    """The right to boot a guest: the machine is small, so guests take turns, whichever test process asks."""
    if shutil.which(qemu.QEMU) is None:
        pytest.skip(f"{qemu.QEMU} is not here: apt-get install qemu-system-x86")
    if shutil.which("apt-get") is None:
        pytest.skip("kernels are fetched as Debian packages, and apt-get is not here")
    with cache.lock("tests-guest"):
        if not kernels.available() and os.geteuid() == 0:
            # A machine that has never asked for its package lists offers none.
            subprocess.run(["apt-get", "-q", "update"], stdout=subprocess.DEVNULL, check=True)
        yield


@pytest.fixture(params=ARMS)
def first_kick_trace(request: pytest.FixtureRequest) -> LabTrace:
    """The committed first-kick trace of each arm in turn."""
    return read(FIXTURES / f"first-kick-{request.param}.jsonl.gz")
