# SPDX-License-Identifier: GPL-2.0-or-later
"""The reductions, held against an explorer that stops at every instruction and knows nothing of softnet (programs/explore.py).

300 programs; SOFTNET_LONG=1 compares 5,000; bench/programs.py as many as one wants.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.long import LONG
from tests.verify.programs import kernel as k
from tests.verify.programs.compare import Comparison, differences
from tests.verify.programs.explore import Explorer, Operation, Program, Shape
from tests.verify.programs.native import MODES, Search

from softnet.lang.native.compile import available

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

COUNT = 5000 if LONG else 300
STATES_MAX = 1200
ONE_CPU = Shape(1, (0,), (1,))
TWO_TASKS = Shape(1, (0, 0), (0,), ticks=True)
TWO_CPUS = Shape(2, (0, 1), (0, 0))

Code = tuple[Operation, ...]


def look(word: int, note: int, op: int = k.LOAD) -> Code:
    """Read a word and keep what was read."""
    return ((op, word, 0), (k.OBSERVE, note, 0))


RAISES: Code = ((k.RAISE_IRQOFF, 0, 0),)
ADDS: Code = ((k.ADD, k.S0, 1),)
ADDS_PRIVATE: Code = ((k.ADD, k.Q0, 1),)


@dataclass(frozen=True)
class Case:
    """A program, and what must be found: a kind of violation, or values that these notes have together in some end."""

    name: str
    shape: Shape
    code: tuple[Code, ...]
    violation: str = ""
    ends: frozenset[tuple[int, ...]] = frozenset()
    notes: tuple[int, ...] = (0, 1)


CASES = (
    # preempt_count_add() was no stop: no softirq between an access and local_bh_disable(), and the like.
    Case("a softirq before bottom halves are off", ONE_CPU,
         (RAISES, ADDS, (*look(k.S0, 0), (k.BH_OFF, 0, 0), *look(k.S0, 1), (k.BH_ON, 0, 0))),
         ends=frozenset({(0, 0), (0, 1), (1, 1)})),
    Case("a softirq before spin_lock_bh()", ONE_CPU,
         (RAISES, ((k.LOCK, 0, 0), (k.ADD, k.G0, 1), (k.UNLOCK, 0, 0)),
          (*look(k.G0, 0, k.READ_ONCE_OF), (k.LOCK, 0, 2), *look(k.G0, 1), (k.UNLOCK, 0, 2))),
         ends=frozenset({(0, 0), (0, 1), (1, 1)})),
    Case("a task before preemption is off", TWO_TASKS,
         ((), (), (*look(k.S0, 0), (k.PREEMPT_OFF, 0, 0), *look(k.S0, 1), (k.PREEMPT_ON, 0, 0)), ADDS),
         ends=frozenset({(0, 0), (0, 1), (1, 1)})),
    # preempt_count_sub() neither.
    Case("a softirq between the end of a section and the next access", ONE_CPU,
         (RAISES, ADDS, ((k.BH_OFF, 0, 0), *look(k.S0, 0), (k.BH_ON, 0, 0), *look(k.S0, 1))),
         ends=frozenset({(0, 0), (0, 1), (1, 1)})),
    # A lock that is taken and released in one step: above its holder an interrupt waits for ever.
    Case("an interrupt that wants the lock of whom it struck", ONE_CPU,
         (((k.LOCK, 0, 0), (k.UNLOCK, 0, 0)), (), ((k.LOCK, 0, 0), (k.UNLOCK, 0, 0))), violation="deadlock"),
    Case("an interrupt that wants a lock that was tried", ONE_CPU,
         (((k.LOCK, 0, 0), (k.UNLOCK, 0, 0)), (), ((k.TRY, 0, 1), (k.UNLOCK, 0, 0))), violation="deadlock"),
    # To take a lock, and to release it, is no mover for who tries it.
    Case("a lock that is tried while it is held", TWO_CPUS,
         ((), (), ((k.LOCK, 1, 1), (k.INC, k.S0, 0), (k.UNLOCK, 1, 1)),
          ((k.TRY, 1, 1), (k.UNLOCK, 1, 0), (k.OBSERVE, 0, 0), *look(k.S0, 1))),
         ends=frozenset({(0, 0), (0, 1), (1, 0), (1, 1)})),
    # Plain stores under a lock, one by one, for who reads without it.
    Case("plain stores to a guarded word that is read without the lock", TWO_CPUS,
         ((), (), ((k.LOCK, 0, 0), (k.STORE, k.G0, 1), (k.STORE, k.G0, 2), (k.UNLOCK, 0, 0)),
          (*look(k.G0, 0, k.READ_ONCE_OF), *look(k.G0, 1, k.READ_ONCE_OF))),
         ends=frozenset({(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)})),
    Case("a marked store to a guarded word without its lock", TWO_CPUS,
         ((), (), ((k.WRITE_ONCE_TO, k.G0, 1),), ((k.LOCK, 0, 0), *look(k.G0, 0), (k.UNLOCK, 0, 0))), violation="guard"),
    # What is private was believed.
    Case("two CPUs and a private word", TWO_CPUS, ((), (), ((k.STORE, k.Q0, 1),), look(k.Q0, 0)), violation="data race"),
    Case("two tasks of a CPU and a private word", TWO_TASKS, ((), (), ADDS_PRIVATE, ADDS_PRIVATE), violation="data race"),
    Case("an interrupt, its task, and a private word", ONE_CPU, (ADDS_PRIVATE, (), ADDS_PRIVATE), violation="data race"),
    Case("a softirq, its task, and a private word", ONE_CPU, (RAISES, ADDS_PRIVATE, ADDS_PRIVATE), violation="data race"),
    Case("a private word before a lock and under it", TWO_CPUS,
         ((), (), ((k.STORE, k.Q0, 1), (k.LOCK, 0, 0), (k.UNLOCK, 0, 0)), ((k.LOCK, 0, 0), *look(k.Q0, 0), (k.UNLOCK, 0, 0))),
         violation="data race"),
    Case("early in both steps: a private word with interrupts off", TWO_CPUS,
         ((), (), ((k.IRQ_OFF, 0, 0), (k.STORE, k.Q0, 1), (k.INC, k.S0, 0), (k.IRQ_ON, 0, 0)),
          ((k.IRQ_OFF, 0, 0), *look(k.Q0, 0), (k.INC, k.S1, 0), (k.IRQ_ON, 0, 0))), violation="data race"),
    # And these are none.
    Case("a private word under one lock", TWO_CPUS,
         ((), (), ((k.LOCK, 0, 0), (k.STORE, k.Q0, 1), (k.UNLOCK, 0, 0)), ((k.LOCK, 0, 0), *look(k.Q0, 0), (k.UNLOCK, 0, 0))),
         ends=frozenset({(0,), (1,)}), notes=(0,)),
    Case("a private word that is handed over by a store", TWO_CPUS,
         ((), (), ((k.STORE, k.Q0, 2), (k.WRITE_ONCE_TO, k.S0, 1)),
          ((k.READ_ONCE_OF, k.S0, 0), (k.SKIP_UNLESS, 1, 2), *look(k.Q0, 0))),
         ends=frozenset({(0,), (2,)}), notes=(0,)),
    Case("a private word of a task and its softirq, with bottom halves off", ONE_CPU,
         (RAISES, ((k.ADD, k.Q0, 1),), ((k.BH_OFF, 0, 0), *look(k.Q0, 0), (k.ADD, k.Q0, 1), (k.BH_ON, 0, 0))),
         ends=frozenset({(0,), (1,)}), notes=(0,)),
)  # fmt: skip

SEARCHES: dict[tuple[Shape, str], Search] = {}


def searched(shape: Shape, mode: str) -> Search:
    """One machine for all cases of a shape, in a mode."""
    if (shape, mode) not in SEARCHES:
        SEARCHES[shape, mode] = Search(shape, mode)
    return SEARCHES[shape, mode]


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "_") for case in CASES])
def test_what_a_reduction_must_not_hide(case: Case) -> None:
    program = Program(case.shape, case.code)
    other = Explorer(program)
    assert other.explore(20_000)
    found = {mode: searched(case.shape, mode).run(program) for mode in MODES}
    assert differences(other, found) == []
    if case.violation:
        assert other.violations == {case.violation}
        assert found["reduced"].violation == case.violation
    else:
        first = 6 + case.shape.cpus
        assert {tuple(end[first + note] for note in case.notes) for end in found["reduced"].notes} == case.ends


def test_random_programs() -> None:
    comparison = Comparison(STATES_MAX)
    seed = 0
    while comparison.compared < COUNT:
        comparison.seed(seed)
        seed += 1
    assert comparison.disagreements == {}, str(comparison)
    # Programs that find nothing would prove nothing.
    assert set(comparison.verdicts) >= {"holds", "data race", "deadlock", "guard", "bug-on"}
