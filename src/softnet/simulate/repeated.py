# SPDX-License-Identifier: GPL-2.0-or-later
"""The same simulation with many seeds: the machine is booted once, and its memory put back before each run.

All that follows from the seed is set by ``set_seed()`` when boot is over. So a memory that is put back and seeded anew is, word
for word, the one that would have been booted; a test holds it to that.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, Final

from softnet.image.boot import set_seed
from softnet.simulate.native import NativeEngine
from softnet.simulate.recorder import WARN_EVENT
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
            touched = _touched(int(words.ctypes.data), words.nbytes)
            for first in range(0, len(words), STRETCH):
                # A stretch at a time: what is zero throughout, most of an image, is looked at once, and what nobody touched never.
                stretch = words[first : first + STRETCH]
                if (touched is None or touched[first // BLOCK : (first + STRETCH) // BLOCK].any()) and stretch.any():
                    for at in range(first, first + len(stretch), BLOCK):
                        block = words[at : at + BLOCK]
                        if block.any():
                            self._kept.append((8 * at, block.tobytes()))
        super()._begin()

    def _bytes(self) -> Any:
        return memoryview(self.image.memory).cast("B")  # type: ignore[arg-type]

    def again(self, seed: int) -> Run:
        """Run with this seed, from the boot on."""
        if self.engine_name != "native":
            # Its contexts are Python's: nothing of them is put back.
            return Simulation(with_seed(self.scenario, seed), self.setup, seed=seed).finish()
        self.begin_again(seed)
        self._watch()
        return self.finish()

    def begin_again(self, seed: int) -> None:
        """Put the native engine back to time 0, with this seed; who measures is put there by the caller."""
        self.scenario = with_seed(self.scenario, seed)
        self._put_back()
        self.recorder.warned, self.recorder.records = {}, []
        image = self.image
        image.memory[image.engine_word("trace_mask")] = self.trace_mask | 1 << WARN_EVENT
        assert isinstance(self.engine, NativeEngine)
        self.engine.again(self._arrivals())
        self.now_ns, self.partial, self._trace_done = 0, False, False

    def _put_back(self) -> None:
        """The memory as the scenario, with its seed, would have been booted."""
        whole = self._zeroed()
        for at, block in self._kept:
            whole[at : at + len(block)] = block
        set_seed(self.image, self.scenario)

    def _zeroed(self) -> Any:
        """The image's memory, all zeros."""
        whole = self._bytes()
        mapped = whole.obj
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        else:
            whole[:] = bytes(len(whole))
        return whole


def _touched(address: int, size: int) -> Any:
    """Of each page of a piece of memory, whether it is there: one that nobody touched is not. None where nothing says so."""
    import numpy as np

    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pages:
            pages.seek(address // mmap.PAGESIZE * 8)
            entries = np.frombuffer(pages.read(-(-size // mmap.PAGESIZE) * 8), dtype=np.uint64)
    except OSError:
        return None
    if len(entries) * mmap.PAGESIZE < size:
        return None
    return entries >> np.uint64(62) != 0  # in memory, or swapped out
