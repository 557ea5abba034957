# SPDX-License-Identifier: GPL-2.0-or-later
"""The same simulation with many seeds: the machine is booted once, and its memory put back before each run.

All that follows from the seed is set by ``set_seed()`` when boot is over. So a memory that is put back and seeded anew is, word
for word, the one that would have been booted; a test holds it to that.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, Final

from softnet.image.boot import set_seed
from softnet.simulate.simulation import Run, Setup, Simulation, with_seed

if TYPE_CHECKING:
    from softnet.scenario import Scenario

BLOCK: Final = mmap.PAGESIZE // 8
"""Words that are kept or left out together: most of an image is zeros."""
STRETCH: Final = 64 * BLOCK


class Repeated(Simulation):
    """A simulation on the native engine that ``again()`` runs with another seed; without trace and checks."""

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        self._kept: list[tuple[int, bytes]] = []
        super().__init__(scenario, setup)

    def _begin(self) -> None:
        if not self._kept and self.engine_name == "native":
            import numpy as np

            words = np.frombuffer(self._bytes(), dtype=np.int64)
            for first in range(0, len(words), STRETCH):
                # A stretch at a time: what is zero throughout, most of an image, is looked at once.
                stretch = words[first : first + STRETCH]
                if stretch.any():
                    for at in range(first, first + len(stretch), BLOCK):
                        block = words[at : at + BLOCK]
                        if block.any():
                            self._kept.append((8 * at, block.tobytes()))
        super()._begin()

    def _bytes(self) -> Any:
        return memoryview(self.image.memory).cast("B")  # type: ignore[arg-type]

    def again(self, seed: int) -> Run:
        """Run with this seed, from the boot on."""
        scenario = with_seed(self.scenario, seed)
        if self.engine_name != "native":
            # Its contexts are Python's: nothing of them is put back.
            return Simulation(scenario, self.setup, seed=seed).finish()
        self.scenario = scenario
        self._put_back()
        self.recorder.warned, self.recorder.records = {}, []
        self._begin()
        return self.finish()

    def _put_back(self) -> None:
        """The memory as the scenario, with its seed, would have been booted."""
        whole = self._bytes()
        mapped = whole.obj
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        else:
            whole[:] = bytes(len(whole))
        for at, block in self._kept:
            whole[at : at + len(block)] = block
        set_seed(self.image, self.scenario)
