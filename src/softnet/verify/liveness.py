# SPDX-License-Identifier: GPL-2.0-or-later
"""Liveness: does what is owed stay so for ever in some fair run? Found in the graph of a finished exact search.

A run for ever ends in a strongly connected part of the graph. It is *fair* if whoever can go on again and again goes on: a
CPU's context whose step no lock prevents, a pending interrupt of a CPU that has interrupts on, a completion that hotplug waits
for. This is strong fairness: CPUs run, spinlocks are queued, interrupts strike when they may. Ticks that preempt come finitely
often, so a cycle has none: a task that spins for another of its own CPU is found, and two that preempt each other without a
step of their own are no cycle. Nobody owes a driver's start or a change of a setting, and these are finitely many, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softnet.verify.inside import cycles, words
from softnet.verify.model import SEARCHES
from softnet.verify.properties import LIVENESS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.verify.arena import Arena

    Words = NDArray[np.int64]

SLICE_STATES = 20_000


@dataclass(frozen=True)
class Lasso:
    """A run that breaks a property for ever: actions to ``state``, then ``cycle`` again and again; who takes part in it."""

    number: int
    state: int
    cycle: list[int]


@dataclass
class Graph:
    """The stored states and their actions."""

    first: Words
    """State -> its first edge; one more at the end."""
    source: Words
    target: Words
    who: Words
    action: Words
    enabled: Words
    owed: Words
    counts: NDArray[np.bool_]
    """Whether the edge may be part of a cycle: it is somebody's."""


class Liveness:
    """The second pass over a finished search."""

    def __init__(self, machine: Arena) -> None:
        self.machine = machine

    def collect(self) -> bool:
        """Write the edges down; false if there was no room."""
        machine = self.machine
        states, edges = machine.get("states"), machine.get("transitions")
        machine.set(
            live_first=machine.region("live_first", states + 1), live_edges=machine.region("live_edges", edges),
            live_enabled=machine.region("live_enabled", states), live_owed=machine.region("live_owed", states),
            live_max_edges=edges, live_nr_edges=0, live_state=0,
        )  # fmt: skip
        code = words.VX_MORE
        while code == words.VX_MORE:
            code = machine.call(SEARCHES.index("vx_edges"), SLICE_STATES)
        return code == words.VX_DONE

    def graph(self) -> Graph:
        """What collect() wrote."""
        import numpy as np

        region = self.machine.regions
        states = self.machine.get("states")
        first = region["live_first"][: states + 1]
        edges = region["live_edges"][: self.machine.get("live_nr_edges")]
        source = np.repeat(np.arange(states), np.diff(first))
        who = edges >> 8 & 0xFF
        return Graph(first, source, edges >> 16, who, edges & 0xFF, region["live_enabled"][:states], region["live_owed"][:states],
                     who != cycles.VX_NOBODY)  # fmt: skip

    def components(self, alive: Words) -> Words:
        """The number of each living state's component."""
        machine, states = self.machine, self.machine.get("states")
        names = ("index", "low", "comp", "stack", "call", "at", "alive")
        machine.set(**{f"live_{name}": machine.region(f"live_{name}", states + 1) for name in names})
        machine.regions["live_alive"][:states] = alive
        machine.call(SEARCHES.index("vx_scc"))
        return machine.regions["live_comp"][:states]

    def check(self) -> Lasso | None:
        """The first property that a fair run breaks for ever, by the shortest way there; None if there is none."""
        import numpy as np

        g = self.graph()
        everywhere = self.in_cycles(g, np.ones(len(g.owed), dtype=np.int64))
        if not everywhere.any():
            return None
        allowed = self.machine.get("properties")
        # Every fair run for ever is one without rest, so that is asked last.
        for bit in [*(b for b in range(62) if b != cycles.VX_OWED_REST), cycles.VX_OWED_REST]:
            number = property_of(bit)
            if not allowed >> number & 1:
                continue
            alive = everywhere & (g.owed >> bit & 1)
            found = self.fair_part(g, alive) if alive.any() else None
            if found is not None:
                state = int(found.argmax())
                return Lasso(number, state, closed_walk(g, found, state))
        return None

    def in_cycles(self, g: Graph, alive: Words) -> Words:
        """The states among the living that lie on a cycle."""
        import numpy as np

        comp = self.components(alive)
        inside = g.counts & (comp[g.source] == comp[g.target]) & (comp[g.source] != 0)
        found = np.zeros(len(alive), dtype=np.int64)
        found[np.isin(comp, np.unique(comp[g.source[inside]]))] = 1
        found[comp == 0] = 0
        return found

    def fair_part(self, g: Graph, alive: Words) -> Words | None:
        """The states of a component in which a fair run can stay (Streett's condition by taking apart); None if none can."""
        import numpy as np

        nobody = ~np.int64(1 << cycles.VX_NOBODY)
        while alive.any():
            comp = self.components(alive).copy()
            count = int(comp.max()) + 1
            inside = g.counts & (comp[g.source] == comp[g.target]) & (comp[g.source] != 0)
            if not inside.any():
                return None
            can = np.zeros(count, dtype=np.int64)
            np.bitwise_or.at(can, comp, g.enabled & nobody)
            goes = np.zeros(count, dtype=np.int64)
            np.bitwise_or.at(goes, comp[g.source[inside]], np.int64(1) << g.who[inside])
            cyclic = np.zeros(count, dtype=bool)
            cyclic[comp[g.source[inside]]] = True
            unfair = can & ~goes
            fair = cyclic & (unfair == 0) & (np.arange(count) > 0)
            good = np.flatnonzero(fair)
            if len(good):
                # The component with the state that was found first: the shortest way there.
                members = np.isin(comp, good)
                part: Words = (comp == comp[int(members.argmax())]).astype(np.int64)
                return part
            stays = cyclic[comp] & (comp > 0) & (g.enabled & unfair[comp] == 0)
            alive = stays.astype(np.int64)
        return None


def property_of(bit: int) -> int:
    """The number of the property that a bit of vx_owed() is."""
    if bit > cycles.VX_OWED_REST:
        return bit
    return LIVENESS[max(start for start in LIVENESS if start <= bit)]


def closed_walk(g: Graph, inside: Words, start: int) -> list[int]:
    """Actions from the state back to it within the component, in which everybody who can go on there does."""
    import numpy as np

    members = np.flatnonzero(inside)
    nobody = ~np.int64(1 << cycles.VX_NOBODY)
    owed = int(np.bitwise_or.reduce(g.enabled[members] & nobody))
    actions: list[int] = []
    at = start
    while owed:
        steps, at, taken = _walk(g, inside, at, lambda edge, owed=owed: bool(owed >> int(g.who[edge]) & 1))  # type: ignore[misc]
        actions += steps
        owed &= ~taken
    if at != start or not actions:
        actions += _walk(g, inside, at, lambda edge: int(g.target[edge]) == start)[0]
    return actions


def _walk(g: Graph, inside: Words, start: int, wanted: Callable[[int], bool]) -> tuple[list[int], int, int]:
    """The shortest way from a state over a wanted edge: its actions, where it ends, and who took part."""
    came: dict[int, int] = {start: -1}
    pending = deque([start])
    while pending:
        state = pending.popleft()
        for edge in range(int(g.first[state]), int(g.first[state + 1])):
            target = int(g.target[edge])
            if not inside[target] or not g.counts[edge]:
                continue
            if wanted(edge):
                edges = [edge]
                while came[state] >= 0:
                    edges.append(came[state])
                    state = int(g.source[came[state]])
                who = 0
                for e in edges:
                    who |= 1 << int(g.who[e])
                return [int(g.action[e]) for e in reversed(edges)], target, who
            if target not in came:
                came[target] = edge
                pending.append(target)
    raise AssertionError("a component is strongly connected")
