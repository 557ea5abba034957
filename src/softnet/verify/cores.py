# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by several threads of this process, level by level: the same states, and the same verdict.

Each thread runs a part of the search in a memory of its own (softnet.verify.inside.parts); native code holds no lock of Python's. A
level is over when all its chunks are taken and expanded. What a search that holds says is the sum over its parts. One that finds a
violation says only that: the shortest schedule is a single thread's to find.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from softnet.verify.inside import words
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.verify.arena import Arena

SLICE_STATES: Final = 5_000
SUMS: Final = ("states", "transitions", "terminals", "head", "open_full", "unasked", "disowned")
EXPLORE: Final = SEARCHES.index("vx_parts_explore")
FOUND, STOP, PARTS = (n * words.VX_LINES_WORDS for n in (words.VX_FOUND, words.VX_STOP, words.VX_SHARED))
"""Where words stand that all threads change."""
SPARE_PERCENT: Final = 10
"""The table of fingerprints grows when less than that is left of what it may hold."""


class _Part:
    """A part of a search: its memory, and the queue that it writes."""

    def __init__(self, machine: Arena, number: int, parts: int) -> None:
        self.machine = machine
        self.code = words.VX_DONE
        slots = machine.get("nr_slots")
        room = max(machine.limits.memory_bytes // 8 // (2 * parts), 1 << 16)
        self.room = room
        self.queues = [2 * machine.region(f"queue{side}", room) for side in (0, 1)]
        written = machine.region("written", room // words.VX_CHUNK_STATES + 2)
        base, marks, apart = (machine.region(name, slots) for name in ("base", "apart_marks", "apart"))
        shadow = machine.get("shadow")
        machine.regions["base"][:] = machine.words[shadow : shadow + slots]
        self.here = int(machine.words.ctypes.data) // 4
        machine.set(
            parts=parts, part=number, here=self.here, written=written, base=base, apart_marks=marks, apart=apart, nr_apart=0, nr_marked=0,
            told=0 if number else machine.get("states"),
        )  # fmt: skip
        if number:
            machine.set(states=0)
        self.side = 0
        self._write()

    def _write(self) -> None:
        begin = self.queues[self.side]
        self.machine.set(write_at=begin, write_room=begin + 2 * self.room, nr_written=0, chunk_left=0)

    def written(self) -> NDArray[np.int64]:
        """Of each chunk that was written for the next level the beginning and the end; then the other queue is written."""
        import numpy as np

        machine = self.machine
        count = machine.get("nr_written")
        begins = machine.regions["written"][:count]
        ends = np.append(begins[1:], machine.get("write_at") + self.here)
        chunks = np.stack([begins, ends[:count]], axis=1)
        self.side = 1 - self.side
        self._write()
        return chunks

    def share(self, table: NDArray[np.int64]) -> int:
        """Where something that all threads share is for this one."""
        return (int(table.ctypes.data) - 4 * self.here) // 8


@dataclass
class _Shared:
    """What the threads have in common."""

    parts: list[_Part]
    words: NDArray[np.int64]
    chunks: NDArray[np.int64]
    code: int = words.VX_MORE
    levels: int = 0
    peak: int = 0
    stopped: bool = False
    errors: list[BaseException] = field(default_factory=list)

    def figures(self) -> tuple[int, int, int]:
        """States, transitions and states that wait."""
        states, transitions, heads = (sum(p.machine.get(name) for p in self.parts) for name in ("states", "transitions", "head"))
        return states, transitions, states - heads


def explore_together(machine: Arena, count: int, goes_on: Callable[[int, int, int], bool]) -> int:
    """Search on from the first state, which the machine has stored: a code as Arena.explore()'s, VX_MORE where ``goes_on``,
    told states, transitions and states that wait, says no. What the parts came to is in the machine afterwards.
    """
    import numpy as np

    twins = [machine.twin() for _ in range(count - 1)]
    begin = int(machine.words.ctypes.data) // 4 + 2 * machine.place("queue")
    first = np.array([[begin, begin + int(machine.halves("queue")[0])]], dtype=np.int64)
    parts = [_Part(one, number, count) for number, one in enumerate([machine, *twins])]
    machine.region("shared", (words.VX_SHARED + count) * words.VX_LINES_WORDS)
    shared = _Shared(parts, machine.regions["shared"], first)
    shared.words[FOUND] = machine.get("states")
    for part in parts:
        part.machine.set(shared=part.share(shared.words))
    _begin_level(shared, [first, *[first[:0]] * (count - 1)])
    _share_prints(shared)
    meet = threading.Barrier(count, lambda: _decide(shared))
    threads = [threading.Thread(target=_work, args=(shared, meet, part, None), daemon=True) for part in parts[1:]]
    for thread in threads:
        thread.start()
    _work(shared, meet, parts[0], goes_on)
    for thread in threads:
        thread.join()
    if shared.errors:
        raise shared.errors[0]
    _gather(machine, twins, shared)
    return shared.code


def _work(shared: _Shared, meet: threading.Barrier, part: _Part, goes_on: Callable[[int, int, int], bool] | None) -> None:
    """What a thread does until the search ends."""
    try:
        while shared.code == words.VX_MORE and not shared.stopped:
            part.code = part.machine.call(EXPLORE, SLICE_STATES)
            if part.machine.get("unasked"):
                part.code = words.VX_DISOWNED
            if goes_on is not None and not goes_on(*shared.figures()):
                shared.stopped = True
                shared.words[STOP] = 1
            if part.code not in (words.VX_MORE, words.VX_DONE):
                shared.words[STOP] = 1
            if part.code != words.VX_MORE or shared.words[STOP]:
                meet.wait()
    except threading.BrokenBarrierError:
        pass
    except BaseException as error:
        shared.errors.append(error)
        shared.words[STOP] = 1
        meet.abort()


def _decide(shared: _Shared) -> None:
    """All threads wait: what comes next."""
    shared.words[STOP] = 0
    codes = {part.code for part in shared.parts}
    wrong = codes - {words.VX_MORE, words.VX_DONE, words.VX_GROW}
    if wrong or shared.stopped:
        shared.code = min(wrong) if wrong else words.VX_MORE
        shared.stopped = True
        return
    if codes == {words.VX_DONE}:
        shared.levels += 1
        _begin_level(shared, [part.written() for part in shared.parts])
        if not len(shared.chunks):
            shared.code = words.VX_DONE
            return
        shared.peak = max(shared.peak, int((shared.chunks[:, 1] - shared.chunks[:, 0]).sum()))
    if not _share_prints(shared):
        shared.code = words.VX_FULL


def _begin_level(shared: _Shared, written: list[NDArray[np.int64]]) -> None:
    """The chunks that each part has written are there for all to take."""
    shared.chunks = _numpy().concatenate(written)
    ends = _numpy().cumsum([len(chunks) for chunks in written])
    for number, part in enumerate(shared.parts):
        shared.words[PARTS + number * words.VX_LINES_WORDS :][:2] = [ends[number] - len(written[number]), ends[number]]
        part.machine.set(chunks=part.share(shared.chunks), read_at=0, read_end=0)


def _share_prints(shared: _Shared) -> bool:
    """All parts have the first one's table of fingerprints, and may each fill its share of what is left; whether enough is."""
    first = shared.parts[0].machine
    states, _, _ = shared.figures()
    margin = first.get("nr_actions") * len(shared.parts)
    while first.new_prints_max() - states < max(first.new_prints_max() * SPARE_PERCENT // 100, margin):
        if first.prints_bits == first.prints_bits_max:
            break
        first.grow()
    left = (first.new_prints_max() - states) // len(shared.parts)
    if left < first.get("nr_actions"):
        return False
    for part in shared.parts:
        machine = part.machine
        machine.set(
            prints=part.share(first.regions["prints"]), prints_shift=64 - first.prints_bits, prints_max=machine.get("states") + left
        )
    return True


def _gather(machine: Arena, twins: list[Arena], shared: _Shared) -> None:
    """Put the sums over all parts into the first one's machine."""
    np = _numpy()
    at, n = machine.get("lock_order"), machine.get("lock_classes")
    order, premises = machine.words[at : at + n * n], machine.premise_counts()
    for twin in twins:
        machine.set(**{name: machine.get(name) + twin.get(name) for name in SUMS})
        order[:] = np.maximum(order, twin.words[at : at + n * n])
        premises += twin.premise_counts()
        for name in ("touched", "race_masks"):
            if name in machine.regions:
                machine.regions[name][:] |= twin.regions[name]
    machine.set(depth=max(shared.levels - 1, 0), peak=shared.peak)


def _numpy():
    import numpy as np

    return np
