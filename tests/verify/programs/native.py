# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet's searches of the programs of generate.py, all on one kernel: what they find, and in which states they end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.verify.programs import kernel
from tests.verify.programs.explore import Program, Shape

from softnet.verify.arena import Arena, Limits
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.inside import words
from softnet.verify.model import RACE, Config, Driver
from softnet.verify.search import explored
from softnet.verify.verdict import Why

KERNEL = str(Path(kernel.__file__))
MODES: dict[str, dict[str, bool]] = {"reduced": {"owned": False}, "owned": {}, "unreduced": {"reduce": False}}
LIMITS = Limits(states=1_000_000, memory_bytes=256 << 20)
ENDS_MAX = 4096
SET_BY_PROGRAM = ("op", "a", "b", "start")
NOT_COMPARED = ("frames of", "vx_open", "vp_code")
"""Components that say where contexts stand, which is another place in each mode."""


def config_of(shape: Shape, **mode: bool) -> Config:
    """A machine with that many tasks and devices."""
    tasks = tuple(Driver("call", cpu, n) for n, cpu in enumerate(shape.tasks, 1))
    devices = tuple(Driver("irq", cpu, count) for cpu, count in enumerate(shape.interrupts) if count)
    return Config("program", kernel="6.12", cpus=shape.cpus, resched=shape.ticks, patches=(KERNEL,), drivers=tasks + devices,
                  properties=("deadlock", RACE), **mode)  # type: ignore[arg-type] # fmt: skip


@dataclass
class Found:
    """What a search found."""

    violation: str
    """The kind of what it stopped at, or nothing."""
    ends: set[tuple[tuple[int, ...], ...]] = field(default_factory=set)
    """The words of the terminal states, but for the contexts'."""
    notes: set[tuple[int, ...]] = field(default_factory=set)
    """Of these the program's own, as softnet's explorer of the tests gives them."""
    states: int = 0
    inconclusive: bool = False


class Search:
    """One machine, for all programs of a shape, in a mode."""

    def __init__(self, shape: Shape, mode: str) -> None:
        self.shape = shape
        self.machine = Arena(config_of(shape, **MODES[mode]), LIMITS, hasty=True)
        self.machine.settle()
        addresses = {(leaf.table, leaf.index, leaf.path): a for a, leaf in self.machine.model.words_of.items()}
        self.at = {name: addresses["vp_code", 0, f"{name}[0]"] for name in SET_BY_PROGRAM}
        names = [*((0, w) for w in ("s0", "s1", "g0", "", "q0", "q1")), *((cpu, "p0") for cpu in range(shape.cpus))]
        names += [(0, f"note[{i}]") for i in range(8)]
        comps = self.machine.comps
        place = {a: (k, i) for k, addresses in enumerate(comps.addresses) for i, a in enumerate(addresses)}
        self.own = [place[addresses["vp_words", cpu, name]] if name else (-1, 0) for cpu, name in names]
        """Component and place of the program's words, in the order of the other explorer's."""
        self.compared = [k for k, name in enumerate(comps.names) if not name.startswith(NOT_COMPARED)]
        self.program = Program(shape, ())

    def write(self, machine: Arena) -> None:
        """Put the program into the memory that a search begins with, and a table for its ends."""
        row = 0
        for number, code in enumerate(self.program.code):
            machine.words[self.at["start"] + number] = row
            for op, a, b in (*code, (kernel.END, 0, 0)):
                for name, value in (("op", op), ("a", a), ("b", b)):
                    machine.words[self.at[name] + row] = value
                row += 1
        assert row <= kernel.ROWS
        machine.set(ends_at=machine.region("ends", ENDS_MAX), ends_room=ENDS_MAX)

    def run(self, program: Program) -> Found:
        """Search the program's states."""
        self.program = program
        self.machine.prepare = self.write
        self.machine.again()
        machine = self.machine
        code, why, _ = explored(machine)
        states = machine.get("states")
        if code in (words.VX_VIOLATION, words.VX_MACHINE, FAILED):
            failure = machine.failure(code)
            return Found(RACE if failure.name == RACE else failure.name, states=states)
        if why is Why.RANDOM_RUN_FAILED:
            return Found("by chance", states=states)
        if code != words.VX_DONE:
            return Found("", states=states, inconclusive=True)
        found = Found("", states=states)
        values: dict[tuple[int, int], tuple[int, ...]] = {}
        for n in range(machine.get("terminals")):
            end = self.end(n, values)
            found.notes.add(tuple(end[k][i] if k >= 0 else 0 for k, i in self.own))
            found.ends.add(tuple(end[k] for k in self.compared))
        return found

    def end(self, number: int, values: dict[tuple[int, int], tuple[int, ...]]) -> list[tuple[int, ...]]:
        """A terminal state: the words of each component, which are known by component and place."""
        machine = self.machine
        state = int(machine.regions["ends"][number])
        row = machine.regions["pool"][state * (machine.get("key_words") + 1) + 1 :].view("uint32")
        out = []
        for key in enumerate(row[: len(machine.comps.names)].tolist()):
            if key not in values:
                at = key[1]
                count = int(machine.regions["store"][at]) >> 32
                values[key] = tuple(machine.regions["store"][at + 1 : at + 1 + count].tolist())
            out.append(values[key])
        return out
