# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken and correct kernels get their verdicts (tests/verify/kernels.py). Every third is asked here, SOFTNET_LONG=1 asks all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.long import LONG
from tests.mutation import Mutation
from tests.verify.kernels import BROKEN, CORRECT, Kernel
from tests.verify.mutations import MUTATIONS

from softnet.lang.native.compile import available
from softnet.verify.search import Limits, search
from softnet.verify.standard import from_text
from softnet.verify.verdict import Verdict

STEP = 1 if LONG else 3
SMALL = Limits(states=500_000, memory_bytes=256 << 20)


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
@pytest.mark.parametrize("kernel", [*BROKEN[::STEP], *CORRECT[::STEP]], ids=lambda k: k.name)
def test_a_kernel_gets_its_verdict(kernel: Kernel, tmp_path: Path) -> None:
    patch = Mutation(kernel.name, kernel.about, kernel.edits, kernel.adds).write(tmp_path, "6.12")
    outcome = search(from_text(kernel.configuration, (patch,)), SMALL)
    if kernel.breaks:
        assert outcome.failure is not None
        assert outcome.failure.name in kernel.breaks
    else:
        assert outcome.failure is None
        assert outcome.verdict is Verdict.HOLDS


def test_no_kernel_is_here_twice() -> None:
    names = [kernel.name for kernel in (*BROKEN, *CORRECT)]
    assert len({*names, *MUTATIONS}) == len(names) + len(MUTATIONS)
    assert all(kernel.breaks for kernel in BROKEN)
    assert not any(kernel.breaks for kernel in CORRECT)
