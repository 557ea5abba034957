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

from softnet.verify.arena import HASTY_STATES
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.inside import words
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.verify.arena import Arena

SLICE_STATES: Final = 5_000
CHUNK_STATES: Final = 256
"""States that a thread takes at once: 0.3 ms of work, so that all end a level at about the same time. Fewer cost more, because the
first one is told in more words."""
SUMS: Final = ("states", "transitions", "terminals", "head", "open_full", "unasked", "disowned")
EXPLORE, GROW = (SEARCHES.index(f"vx_parts_{name}") for name in ("explore", "grow"))
VIOLATIONS: Final = (words.VX_VIOLATION, words.VX_MACHINE, FAILED)
FOUND, STOP, PARTS = (n * words.VX_LINES_WORDS for n in (words.VX_FOUND, words.VX_STOP, words.VX_SHARED))
"""Where words stand that all threads change."""
SPARE_PERCENT: Final = 10
"""The table of fingerprints grows when less than that is left of what it may hold."""


class _Part:
    """A part of a search: its memory, and the queues that it writes by turns."""

    def __init__(self, machine: Arena, number: int, parts: int, room: int) -> None:
        self.machine = machine
        self.number = number
        self.code = words.VX_DONE
        self.here = int(machine.words.ctypes.data) // 4
        slots, shadow = machine.get("nr_slots"), machine.get("shadow")
        self.room = max(room, machine.get("nr_actions") * (3 * slots + 1))
        self.queues = [2 * machine.region(f"queue{side}", self.room) for side in (0, 1)]
        self.rows = [machine.region(f"rows{side}", 2 * (self.room // CHUNK_STATES + 2)) for side in (0, 1)]
        base, marks, apart = (machine.region(name, slots) for name in ("base", "apart_marks", "apart"))
        machine.regions["base"][:] = machine.words[shadow : shadow + slots]
        machine.set(parts=parts, part=number, here=self.here, base=base, apart_marks=marks, apart=apart, nr_apart=0, nr_marked=0)
        machine.set(recent=machine.region("recent", words.VX_RECENT_WORDS))
        machine.set(chunk_states=CHUNK_STATES, told=0 if number else machine.get("states"))
        if number:
            machine.set(states=0)
            machine.premise_counts()[:] = 0
        self.side = 0
        self._write()

    def _write(self) -> None:
        begin = self.queues[self.side]
        self.machine.set(
            write_at=begin, write_room=begin + 2 * self.room, written=self.rows[self.side], nr_written=0, chunk_left=0
        )  # fmt: skip

    def written(self) -> tuple[int, int, int]:
        """How many chunks were written for the next level, where their rows are, and how many halves of words they take; then the
        other queue is written.
        """
        machine = self.machine
        count, rows, size = machine.get("nr_written"), self.rows[self.side], machine.get("write_at") - self.queues[self.side]
        if count:
            machine.regions[f"rows{self.side}"][2 * count - 1] = self.here + machine.get("write_at")
        self.side = 1 - self.side
        self._write()
        return count, self.here // 2 + rows, size

    def share(self, table: NDArray[np.int64]) -> int:
        """Where something that all threads share is for this one."""
        return int(table.ctypes.data) // 8 - self.here // 2


@dataclass
class _Shared:
    """What the threads have in common."""

    parts: list[_Part]
    common: NDArray[np.int64]
    """The words that all threads change."""
    stop: bool = False
    """Whether the search is asked to stop."""
    over: bool = False
    """Whether it has ended, or stopped."""
    code: int = words.VX_MORE
    failed: _Part | None = None
    """Who found a violation."""
    levels: int = 0
    peak: int = 0
    old: NDArray[np.int64] | None = None
    """The table of fingerprints from which all parts move to a larger one."""
    errors: list[BaseException] = field(default_factory=list)

    def figures(self) -> tuple[int, int, int]:
        """States, transitions and states that wait."""
        states, transitions, heads = (sum(p.machine.get(name) for p in self.parts) for name in ("states", "transitions", "head"))
        return states, transitions, states - heads


def explore_together(machine: Arena, count: int, goes_on: Callable[[int, int, int], bool]) -> int:
    """Search on from the first state, which the machine has stored: a code as Arena.explore()'s, VX_MORE where ``goes_on``,
    told states, transitions and states that wait, says no. What the parts came to is in the machine afterwards.
    """
    room = len(machine.regions["queue"]) // count
    twins = [machine.twin() for _ in range(count - 1)]
    first = int(machine.words.ctypes.data) // 4 + 2 * machine.place("queue")
    end = first + int(machine.halves("queue")[0])
    parts = [_Part(one, number, count, room) for number, one in enumerate([machine, *twins])]
    machine.region("shared", (words.VX_SHARED + count) * words.VX_LINES_WORDS)
    machine.region("first", 2)
    machine.regions["first"][:] = [first, end]
    shared = _Shared(parts, machine.regions["shared"])
    shared.common[FOUND] = machine.get("states")
    for part in parts:
        part.machine.set(shared=part.share(shared.common))
    _begin_level(shared, [(1, int(machine.regions["first"].ctypes.data) // 8, end - first), *[(0, 0, 0)] * (count - 1)])
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
    if shared.failed is not None:
        machine.found = shared.failed.machine.failure(shared.code).name
    _gather(machine, twins, shared)
    return shared.code


def _work(shared: _Shared, meet: threading.Barrier, part: _Part, goes_on: Callable[[int, int, int], bool] | None) -> None:
    """What a thread does until the search ends. Only the first one is told ``goes_on``."""
    machine = part.machine
    try:
        while not shared.over:
            if shared.old is not None:
                machine.call(GROW, part.share(shared.old))
                meet.wait()
                continue
            part.code = machine.call(EXPLORE, SLICE_STATES)
            if machine.get("unasked"):
                part.code = words.VX_DISOWNED
            if goes_on is not None and not goes_on(*shared.figures()):
                shared.stop = True
            if shared.stop or part.code not in (words.VX_MORE, words.VX_DONE):
                shared.common[STOP] = 1
            if part.code != words.VX_MORE or shared.common[STOP]:
                meet.wait()
    except threading.BrokenBarrierError:
        pass
    except BaseException as error:
        shared.errors.append(error)
        shared.common[STOP] = 1
        meet.abort()


def _decide(shared: _Shared) -> None:
    """All threads wait: what comes next."""
    shared.common[STOP] = 0
    if shared.old is None:
        _look(shared)
        if shared.over:
            return
    shared.old = None
    first, *twins = [part.machine for part in shared.parts]
    if first.hasty and shared.figures()[0] >= HASTY_STATES:
        first.optimise(*twins)
    _share_prints(shared)


def _look(shared: _Shared) -> None:
    """How the threads have ended what they did: with the search, with a level, or because one of them wants a larger table."""
    codes = [part.code for part in shared.parts]
    for code in (*VIOLATIONS, words.VX_DISOWNED, words.VX_FULL):
        if code in codes:
            shared.code, shared.over = code, True
            shared.failed = shared.parts[codes.index(code)] if code in VIOLATIONS else None
            return
    shared.over = shared.stop
    if shared.over or any(code != words.VX_DONE for code in codes):
        return
    shared.levels += 1
    if not _begin_level(shared, [part.written() for part in shared.parts]):
        first = shared.parts[0].machine
        full = shared.figures()[0] + first.get("nr_actions") > first.get("max_states")
        shared.code, shared.over = words.VX_FULL if full else words.VX_DONE, True


def _begin_level(shared: _Shared, written: list[tuple[int, int, int]]) -> bool:
    """The chunks that each part has written are there for all to take; whether there are any."""
    for number, (count, rows, _) in enumerate(written):
        shared.common[PARTS + number * words.VX_LINES_WORDS :][:3] = [0, count, rows]
        shared.parts[number].machine.set(read_at=0, read_end=0)
    shared.peak = max(shared.peak, sum(size for _, _, size in written))
    return any(count for count, _, _ in written)


def _share_prints(shared: _Shared) -> None:
    """All parts have one table of fingerprints, and may each fill its share of what is left; or a larger one, to which all move."""
    first = shared.parts[0].machine
    states, _, _ = shared.figures()
    margin = max(first.prints_max() * SPARE_PERCENT // 100, first.get("nr_actions") * len(shared.parts))
    if first.prints_max() - states < margin:
        if first.prints_bits < first.prints_bits_max:
            shared.old = first.regions["prints"]
            first.new_prints(first.prints_bits + 1)
        elif first.prints_max() - states < first.get("nr_actions") * len(shared.parts):
            shared.code, shared.over = words.VX_FULL, True
    left = (first.prints_max() - states) // len(shared.parts)
    for part in shared.parts:
        machine = part.machine
        machine.set(
            prints=part.share(first.regions["prints"]), prints_shift=64 - first.prints_bits,
            prints_max=machine.get("states") + left,
        )  # fmt: skip


def _gather(machine: Arena, twins: list[Arena], shared: _Shared) -> None:
    """Put the sums over all parts into the first one's machine."""
    import numpy as np

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
