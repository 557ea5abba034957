# SPDX-License-Identifier: GPL-2.0-or-later
"""The classic litmus tests of x86: what may be in registers and memory in the end, by published verdict, by a small abstract
machine of this file, and by the explorer.

Sources: [CACM] Sewell, Sarkar, Owens, Zappa Nardelli, Myreen, "x86-TSO: a rigorous and usable programmer's model for x86
multiprocessors", CACM 53(7), 2010. [TPHOLs] Owens, Sarkar, Sewell, "A better x86 memory model: x86-TSO", TPHOLs 2009.
[SDM] Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, "Memory ordering", the examples 8-1 to 8-10.
[herd] Alglave, Maranget, Tautschnig, "Herding cats", TOPLAS 36(2), 2014, for the names R, S, 2+2W, RWC, WRC, ISA2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from softnet.verify.arena import Arena, Limits
from softnet.verify.inside import words
from softnet.verify.model import Config, Driver

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = ("x", "y", "z")
REGISTERS = ("r0", "r1", "r2", "r3")
THREADS_MAX = 4


@dataclass(frozen=True)
class Litmus:
    """A test: its threads' operations and, for one outcome, whether x86-TSO and sequential consistency allow it."""

    name: str
    threads: tuple[str, ...]
    outcome: str
    tso: bool
    sc: bool
    source: str


TESTS = (
    Litmus("SB", ("x=1; r0=y", "y=1; r1=x"), "r0=0 r1=0", True, False, "CACM section 2, SDM 8-3 (iwp2.3.a, amd4)"),
    Litmus("SB+mfences", ("x=1; mb; r0=y", "y=1; mb; r1=x"), "r0=0 r1=0", False, False, "CACM, amd5"),
    Litmus("SB+mfence", ("x=1; mb; r0=y", "y=1; r1=x"), "r0=0 r1=0", True, False, "herd: one fence is not enough"),
    Litmus("SB+xchgs", ("r2=xchg x 1; r0=y", "r3=xchg y 1; r1=x"), "r0=0 r1=0", False, False, "SDM 8-9 (iwp2.8.a)"),
    Litmus("MP", ("x=1; y=1", "r0=y; r1=x"), "r0=1 r1=0", False, False, "SDM 8-1 (iwp2.1, amd1)"),
    Litmus("LB", ("r0=x; y=1", "r1=y; x=1"), "r0=1 r1=1", False, False, "SDM 8-2 (iwp2.2, amd2)"),
    Litmus("forwarding", ("x=1; r0=x; r1=y", "y=1; r2=y; r3=x"), "r0=1 r1=0 r2=1 r3=0", True, False, "SDM 8-5 (iwp2.4, amd9)"),
    Litmus(
        "amd10", ("x=1; mb; r0=x; r1=y", "y=1; mb; r2=y; r3=x"), "r0=1 r1=0 r2=1 r3=0", False, False, "TPHOLs, amd10",
    ),
    Litmus("n6", ("x=1; r0=x; r1=y", "y=2; x=2"), "r0=1 r1=0 x=1", True, False, "CACM section 2.2"),
    Litmus("n5", ("x=1; r0=x", "x=2; r1=x"), "r0=2 r1=1", False, False, "CACM section 2.2"),
    Litmus("n4b", ("r0=x; x=1", "r1=x; x=2"), "r0=2 r1=1", False, False, "CACM section 2.2"),
    Litmus("IRIW", ("x=1", "y=1", "r0=x; r1=y", "r2=y; r3=x"), "r0=1 r1=0 r2=1 r3=0", False, False, "CACM, SDM 8-7 (amd6)"),
    Litmus("WRC", ("x=1", "r0=x; y=1", "r1=y; r2=x"), "r0=1 r1=1 r2=0", False, False, "SDM 8-6 (iwp2.5, amd8)"),
    Litmus("RWC", ("x=1", "r0=x; r1=y", "y=1; r2=x"), "r0=1 r1=0 r2=0", True, False, "herd; amd3 is of this kind"),
    Litmus("RWC+mfence", ("x=1", "r0=x; r1=y", "y=1; mb; r2=x"), "r0=1 r1=0 r2=0", False, False, "herd; CACM, n2 and RWC"),
    Litmus("ISA2", ("x=1; y=1", "r0=y; z=1", "r1=z; r2=x"), "r0=1 r1=1 r2=0", False, False, "herd"),
    Litmus("R", ("x=1; y=1", "y=2; r0=x"), "y=2 r0=0", True, False, "herd"),
    Litmus("R+mfence", ("x=1; y=1", "y=2; mb; r0=x"), "y=2 r0=0", False, False, "herd"),
    Litmus("S", ("x=2; y=1", "r0=y; x=1"), "r0=1 x=2", False, False, "herd"),
    Litmus("2+2W", ("x=1; y=2", "y=1; x=2"), "x=1 y=1", False, False, "herd"),
    Litmus("CoRR", ("x=1", "r0=x; r1=x"), "r0=1 r1=0", False, False, "herd: coherence"),
    Litmus("CoWR", ("x=1; r0=x", "x=2"), "r0=0", False, False, "herd: coherence, a load sees its CPU's own store"),
    Litmus("3.SB", ("x=1; r0=y", "y=1; r1=z", "z=1; r2=x"), "r0=0 r1=0 r2=0", True, False, "herd"),
)  # fmt: skip


def operations(thread: str) -> list[tuple[str, str, str]]:
    """``(what, where, value)``: store x 1, load r0 x, xchg "r0 x" 1, mb."""
    out = []
    for text in thread.split("; "):
        left, _, right = text.partition("=")
        if text == "mb":
            out.append(("mb", "", ""))
        elif left in VARIABLES:
            out.append(("store", left, right))
        elif right.startswith("xchg "):
            _, where, value = right.split(" ")
            out.append(("xchg", f"{left} {where}", value))
        else:
            out.append(("load", left, right))
    return out


# -- in the restricted Python


def patch_text() -> str:
    """All tests as one patch file: thread t of test n is verify_task(1 + THREADS_MAX * n + t)."""
    fields = [*(f"    {v}: int = shared(line={i})" for i, v in enumerate(VARIABLES))]
    fields += [f"    {r}: int = private()" for r in REGISTERS] + [f"    done{t}: int = private()" for t in range(THREADS_MAX)]
    lines = [
        "# SPDX-License-Identifier: GPL-2.0-or-later", '"""Litmus tests."""', "from __future__ import annotations",
        "from softnet.lang import Struct, kfunc, private, shared", "class litmus(Struct):", '    """Variables and registers."""',
        *fields,
    ]  # fmt: skip
    calls = ["@kfunc", "def verify_task(number: int) -> None:"]
    for n, test in enumerate(TESTS):
        for t, thread in enumerate(test.threads):
            number = 1 + THREADS_MAX * n + t
            body = ["m = table(litmus, 0)", *map(_line, operations(thread)), f"m.done{t} = 1"]
            lines += ["@kfunc", f"def litmus_{number}() -> None:", *(f"    {line}" for line in body)]
            calls += [f"    if number == {number}:", f"        litmus_{number}()"]
    lines += calls
    return "\n".join(lines) + "\n"


def _line(operation: tuple[str, str, str]) -> str:
    what, where, value = operation
    if what == "mb":
        return "smp_mb()"
    if what == "store":
        return f"WRITE_ONCE(m.{where}, {value})"
    if what == "load":
        return f"m.{where} = READ_ONCE(m.{value})"
    register, variable = where.split(" ")
    return f"m.{register} = xchg(m.{variable}, {value})"


def explored(test: Litmus, patch: Path, model: str, *, entries: int = 4, reduce: bool = True) -> set[tuple[int, ...]]:
    """The final values (VARIABLES, then REGISTERS) that the explorer reaches."""
    first = 1 + THREADS_MAX * TESTS.index(test)
    drivers = tuple(Driver("call", cpu, first + cpu) for cpu in range(len(test.threads)))
    config = Config(test.name, cpus=max(len(drivers), 2), drivers=drivers, patches=(str(patch),), memory_model=model,
                    store_buffer=entries, reduce=reduce, resched=False, properties=("driver stuck",))  # fmt: skip
    machine = Arena(config, Limits(states=2_000_000, memory_bytes=1 << 30), hasty=True)
    machine.settle()
    code = machine.start()
    while code == words.VX_MORE:
        code = machine.explore(20_000)
    assert code == words.VX_DONE
    return set(_finals(machine, len(test.threads)))


def _finals(machine: Arena, threads: int) -> Iterator[tuple[int, ...]]:
    """The values in the stored states in which all threads are done and no store is under way."""
    import numpy as np

    addresses = {leaf.path: a for a, leaf in machine.model.words_of.items() if leaf.table == "litmus" and leaf.index == 0}
    fills = [a for a, leaf in machine.model.words_of.items() if leaf.table == "vx_buffer" and leaf.path == "n"]
    place = {a: (k, j) for k, part in enumerate(machine.comps.addresses) for j, a in enumerate(part)}
    store, pool, row = machine.regions["store"], machine.regions["pool"], machine.get("key_words") + 1
    numbers = pool[: machine.get("states") * row].reshape(-1, row)[:, 1:].copy().view("uint32")

    def values(address: int) -> np.ndarray:  # type: ignore[type-arg]
        if address not in place:
            return np.full(len(numbers), machine.words[address])
        k, j = place[address]
        return store[numbers[:, k].astype(np.int64) + 1 + j]

    done = np.logical_and.reduce([values(addresses[f"done{t}"]) != 0 for t in range(threads)] + [values(a) == 0 for a in fills])
    finals = np.unique(np.stack([values(addresses[name])[done] for name in (*VARIABLES, *REGISTERS)], axis=1), axis=0)
    return (tuple(map(int, final)) for final in finals)


# -- the abstract machine of the paper, written down once more


def reachable(test: Litmus, *, tso: bool) -> set[tuple[int, ...]]:
    """The final values by brute force: memory, registers, and for each thread where it is and what its buffer holds."""
    programs = [operations(t) for t in test.threads]
    start = ((0,) * len(VARIABLES), (0,) * len(REGISTERS), (0,) * len(programs), ((),) * len(programs))
    seen, todo, finals = {start}, [start], set()
    while todo:
        memory, registers, at, buffers = todo.pop()
        nexts = []
        for t, program in enumerate(programs):
            own: tuple[tuple[int, int], ...] = buffers[t]
            if own:
                nexts.append((_put(memory, *own[0]), registers, at, _put(buffers, t, own[1:])))
            if at[t] == len(program):
                continue
            what, where, value = program[at[t]]
            on = _put(at, t, at[t] + 1)
            if what == "store":
                entry = (VARIABLES.index(where), int(value))
                if tso:
                    nexts.append((memory, registers, on, _put(buffers, t, (*own, entry))))
                else:
                    nexts.append((_put(memory, *entry), registers, on, buffers))
            elif what == "load":
                variable = VARIABLES.index(value)
                newest = [v for a, v in own if a == variable][-1:]
                read = newest[0] if newest else memory[variable]
                nexts.append((memory, _put(registers, REGISTERS.index(where), read), on, buffers))
            elif not own:
                if what == "xchg":
                    register, name = where.split(" ")
                    variable = VARIABLES.index(name)
                    old = _put(registers, REGISTERS.index(register), memory[variable])
                    nexts.append((_put(memory, variable, int(value)), old, on, buffers))
                else:
                    nexts.append((memory, registers, on, buffers))
        if not nexts:
            finals.add((*memory, *registers))
        for state in nexts:
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return finals


def _put(values: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def allows(finals: set[tuple[int, ...]], outcome: str) -> bool:
    """Whether some final values agree with an outcome such as ``r0=0 x=1``."""
    names = (*VARIABLES, *REGISTERS)
    wanted = [(names.index(name), int(value)) for name, _, value in (part.partition("=") for part in outcome.split(" "))]
    return any(all(final[i] == v for i, v in wanted) for final in finals)
