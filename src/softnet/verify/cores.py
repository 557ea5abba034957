# SPDX-License-Identifier: GPL-2.0-or-later
"""One search by several threads of this process, level by level: the same states, and the same verdict.

Each thread runs a part of the search in a memory of its own (softnet.verify.inside.parts); native code holds no lock of Python's. A
level is over when no part has any of it left. What a search that holds says is the sum over its parts. One that finds a violation
says only that: the shortest schedule is a single thread's to find.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from softnet.verify.arena import LOAD_PERCENT
from softnet.verify.inside import words
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    from softnet.verify.arena import Arena

SLICE_STATES: Final = 5_000
SUMS: Final = ("states", "transitions", "terminals", "head", "open_full", "unasked", "disowned")
EXPLORE, READ, WAY = (SEARCHES.index(f"vx_parts_{name}") for name in ("explore", "read", "way"))


class _Part:
    """A part of a search: its memory, the queues that it writes, one for each part, and those that it reads."""

    def __init__(self, machine: Arena, number: int, parts: int) -> None:
        self.machine = machine
        self.number = number
        self.parts = parts
        self.code = words.VX_DONE
        self.reads: list[tuple[int, int]] = []
        """Of each part the beginning and the end of what it wrote for this one in the level before, as addresses of bytes."""
        self._next = 0
        get, slots = machine.get, machine.get("nr_slots")
        shadow = machine.words[get("shadow") : get("shadow") + slots].copy()
        states = get("max_states")
        room = max(machine.limits.memory_bytes // 8 // (2 * parts), 1 << 16)
        self.ways = machine.region("ways", words.VX_WAY_WORDS * parts)
        chains = machine.region("chains", (slots + 1) * parts)
        for n in range(parts):
            row = [machine.region(f"{name}{n}", slots) for name in ("shadow", "marks", "marked")]
            begins = [2 * machine.region(f"queue{n}{side}", room) for side in (0, 1)]
            machine.regions[f"shadow{n}"][:] = shadow
            machine.regions["ways"][words.VX_WAY_WORDS * n :][: words.VX_WAY_WORDS] = [*row, 0, begins[0], begins[0] + 2 * room]
            machine.regions["chains"][(slots + 1) * n :][: slots + 1] = [1, *shadow]
        self.room, self.side = 2 * room, 0
        if number:
            trail, actions = machine.region("trail", states // 2 + 1), machine.region("trail_action", states // 8 + 1)
            machine.set(trail=trail, trail_action=actions, states=0)
        machine.set(parts=parts, ways=self.ways, way=0, chains=chains, chain=0, nr_marked=0)
        self._row(0, load=True)

    def _row(self, number: int, *, load: bool = False) -> tuple[int, int]:
        """Where a queue begins and where its next state goes, in halves of words."""
        row = self.machine.regions["ways"][words.VX_WAY_WORDS * number :][: words.VX_WAY_WORDS]
        if load:
            names = ("shadow", "marks", "marked", "nr_marked", "write_at", "write_room")
            self.machine.set(**dict(zip(names, map(int, row), strict=True)))
        return int(row[5]) - self.room, int(row[4])

    def written(self) -> list[tuple[int, int]]:
        """Of each part the beginning and the end of what was written for it, as addresses of bytes; then the other side is next."""
        machine = self.machine
        machine.call(WAY, machine.get("way"))
        base = int(machine.words.ctypes.data)
        found = []
        self.side = 1 - self.side
        for n in range(self.parts):
            begin, at = self._row(n)
            found.append((base + 4 * begin, base + 4 * at))
            other = 2 * machine.place(f"queue{n}{self.side}")
            machine.regions["ways"][words.VX_WAY_WORDS * n + 4 :][:2] = [other, other + self.room]
        self._row(machine.get("way"), load=True)
        return found

    def level(self, reads: list[tuple[int, int]]) -> None:
        """Begin with what the parts have written for this one."""
        self.reads, self._next = reads, 0
        self.machine.set(read_at=0, read_end=0)

    def explore(self) -> int:
        """Expand some states: VX_DONE when none of the level is left."""
        machine = self.machine
        code = machine.call(EXPLORE, SLICE_STATES)
        while code == words.VX_DONE and self._next < self.parts:
            begin, end = self.reads[self._next]
            base = int(machine.words.ctypes.data)
            machine.call(READ, self._next)
            machine.set(read_at=(begin - base) // 4, read_end=(end - base) // 4)
            self._next += 1
            code = machine.call(EXPLORE, SLICE_STATES)
        return words.VX_DISOWNED if machine.get("unasked") else code


@dataclass
class _Shared:
    """What the threads have in common."""

    parts: list[_Part]
    meet: threading.Barrier
    hurry: bool = False
    """Somebody waits for all: for a larger table, or to stop."""
    code: int = words.VX_MORE
    levels: int = 0
    peak: int = 0
    stopped: bool = False
    errors: list[BaseException] = field(default_factory=list)


def explore_together(machine: Arena, count: int, goes_on: Callable[[int, int, int], bool]) -> int:
    """Search on from the first state, which the machine has stored: a code as Arena.explore()'s, VX_MORE where ``goes_on``,
    told states, transitions and states that wait, says no. What the parts came to is in the machine afterwards.
    """
    twins = [machine.twin() for _ in range(count - 1)]
    parts = [_Part(one, number, count) for number, one in enumerate([machine, *twins])]
    shared = _Shared(parts, threading.Barrier(count))
    base, at = int(machine.words.ctypes.data), machine.place("queue")
    first = (base + 8 * at, base + 8 * at + 4 * int(machine.halves("queue")[0]))
    for part in parts:
        # The first state is the first part's.
        part.level([first if part.number == 0 and n == 0 else (0, 0) for n in range(count)])
    _share_prints(shared)
    threads = [threading.Thread(target=_work, args=(shared, part, None), daemon=True) for part in parts[1:]]
    for thread in threads:
        thread.start()
    _work(shared, parts[0], goes_on)
    for thread in threads:
        thread.join()
    if shared.errors:
        raise shared.errors[0]
    _gather(machine, twins, shared)
    return shared.code


def _work(shared: _Shared, part: _Part, goes_on: Callable[[int, int, int], bool] | None) -> None:
    """What a thread does until the search ends."""
    try:
        while shared.code == words.VX_MORE and not shared.stopped:
            part.code = part.explore()
            if goes_on is not None and not goes_on(*_figures(shared)):
                shared.stopped = shared.hurry = True
            if part.code not in (words.VX_MORE, words.VX_DONE):
                shared.hurry = True
            if part.code == words.VX_MORE and not shared.hurry:
                continue
            if shared.meet.wait() == 0:
                _decide(shared)
            shared.meet.wait()
    except threading.BrokenBarrierError:
        pass
    except BaseException as error:
        shared.errors.append(error)
        shared.meet.abort()


def _figures(shared: _Shared) -> tuple[int, int, int]:
    states, transitions, heads = (sum(p.machine.get(name) for p in shared.parts) for name in ("states", "transitions", "head"))
    return states, transitions, states - heads


def _decide(shared: _Shared) -> None:
    """All threads wait: what comes next."""
    shared.hurry = False
    codes = {part.code for part in shared.parts}
    wrong = codes - {words.VX_MORE, words.VX_DONE, words.VX_GROW}
    if wrong or shared.stopped:
        shared.code = min(wrong) if wrong else words.VX_MORE
        shared.stopped = True
        return
    if words.VX_GROW in codes:
        first = shared.parts[0].machine
        if first.prints_bits == first.prints_bits_max or _figures(shared)[0] >= first.limits.states:
            shared.code = words.VX_FULL
            return
        first.grow()
        _share_prints(shared)
    if codes != {words.VX_DONE}:
        return
    shared.levels += 1
    written = [part.written() for part in shared.parts]
    shared.peak = max(shared.peak, sum(end - begin for row in written for begin, end in row) // 4)
    for part in shared.parts:
        part.level([row[part.number] for row in written])
    if all(begin == end for row in written for begin, end in row):
        shared.code = words.VX_DONE


def _share_prints(shared: _Shared) -> None:
    """All parts have the first one's table of fingerprints, and may each fill its share of it."""
    first = shared.parts[0].machine
    at = int(first.words.ctypes.data) + 8 * first.get("prints")
    share = (1 << first.prints_bits) * LOAD_PERCENT // 100 // len(shared.parts)
    for part in shared.parts:
        machine = part.machine
        machine.set(
            prints=(at - int(machine.words.ctypes.data)) // 8, prints_shift=64 - first.prints_bits, prints_max=share,
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
