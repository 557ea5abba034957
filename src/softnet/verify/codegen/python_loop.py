# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer's event loop for plain Python: where a context stops, as codegen.frames decides for native code.

Each context is a greenlet. A step begins fresh (or, of an interrupt, among right movers), and ends before the first point at
which softnet.verify.codegen.points has it stop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from softnet.lang.declare import PERCPU, PRIVATE
from softnet.lang.python.runtime import STRUCTURES, encode
from softnet.lang.python.stop import KernelStop
from softnet.verify.codegen.points import FREES, INTERRUPTS_READ, OWN, PREEMPT_MASK, READ_ONCE_IN_C, Facts, is_own, point_kind
from softnet.verify.inside import words

LOOP: Final = ("lang/python/hooks.py", "lang/python/runtime.py", "verify/codegen/python_loop.py", "verify/replay/debugger.py")
"""The files whose functions run between a kernel function and a stop."""
OWN_FIELDS: Final = INTERRUPTS_READ | frozenset(READ_ONCE_IN_C.values())
FRESH, RIGHT, COMMITTED = 0, 1, 2
LEFT, BLOCKED = -1, -2


@dataclass(frozen=True)
class Note:
    """An access or a machine call of a kernel function: ``what`` is "read structure.field", "call function" and so on."""

    what: str
    address: int
    value: int
    function: str
    file: str
    line: int


@dataclass
class Stops:
    """The hooks of softnet.lang.python.hooks: what a point is, and the switch to the loop and back."""

    memory: Any
    fields: Mapping[str, str]
    """Kind of "structure.field"."""
    changing: frozenset[str]
    reduce: bool
    facts: Facts
    ctx_word: int
    """The address of the number of the running context."""
    dropped: frozenset[str]
    """Machine functions that are left out."""
    phase: int = FRESH
    active: bool = False
    """Whether a kernel function runs; machine functions and the search do not stop, and their accesses are not noted."""
    blocked: bool = False
    freed: Mapping[str, int] = field(default_factory=dict)
    """Field of an skb -> how far behind it the word stands that says whether it is free."""
    nodes: frozenset[str] = frozenset()
    """The structures that stand inside an skb."""
    races: bool = False
    """Whether races and touches of freed skbs are looked for."""
    notes: list[Note] = field(default_factory=list)
    warned: str = ""
    """The place of the WARN_ON_ONCE that fired last."""
    machine: dict[str, Any] = field(default_factory=dict)
    """The machine's functions, known once the program is linked."""
    resumed: Callable[[], None] | None = None
    """Called when a context goes on, where a debugger waits for that."""
    _hub: Any = None

    # -- the hooks

    def point(self, why: str) -> Callable[[], None] | None:
        """The stop before an access."""
        kind = point_kind(why, self.fields, self.changing, self.reduce, self.facts)
        return {"": None, "hard": self._hard, "non": self._non, "own": self._own, "cpu": self._cpu}[kind]

    def call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A machine function with its stop; its own accesses are neither stops nor noted."""
        kind = point_kind(name, self.fields, self.changing, self.reduce, self.facts)
        stop: dict[str, Callable[[], None]] = {
            "hard": self._hard,
            "non": self._non,
            "own": self._own,
            "disable": self._disable,
            "enable": self._enable,
            "release": self._release,
            "commit": self._commit,
        }
        before = stop.get(kind)
        acquire = kind in ("acquire", "hard-acquire")
        what = f"call {name}" if name not in self.dropped and name != "lock_is_held" else ""

        def call(*args: Any) -> Any:
            if not self.active:
                return function(*args)
            if before is not None:
                before()
            elif kind == "count":
                self._count(args[0] if name == "preempt_count_add" else -args[0])
            elif acquire:
                self._acquire(args[0], hard=kind == "hard-acquire")
            self.active = False
            result = function(*args)
            self.active = True
            if what:
                self.note(what, encode(args[0]) if args else 0, encode(result))
            return result

        return call

    def note(self, what: str, address: int, word: int) -> None:
        """Write down an access with the kernel function's own line."""
        if self.active:
            code, line = where()
            self.notes.append(Note(what, address, int(word), code.co_name, code.co_filename, line))

    def touch(self, name: str, address: int, write: bool, marked: bool) -> None:
        """What softnet.verify.codegen.llvm_functions does at an access."""
        if not self.active:
            return
        own = name in OWN_FIELDS and is_own(where()[0].co_name, name, write=write)
        before = self.point(OWN + name) if own else None
        if before is not None:
            before()
        if not self.races:
            return
        if self._is_freed(name, address):
            code, line = where()
            if code.co_name != FREES:
                raise KernelStop(f"touched after its free: {name}", f"{code.co_filename}:{line}: in {code.co_name}()")
        kind = self.fields[name]
        if kind not in (PRIVATE, PERCPU) or name not in self.changing:
            return
        self.active = False
        self.memory[words.VX_PHASE_WORD] = self.phase
        if not marked and kind == PRIVATE and self.phase != COMMITTED:
            self.machine["vx_commit"]()
            self.phase = self.memory[words.VX_PHASE_WORD]
        self.machine["vx_plain"](address, write | marked << 1 | (kind == PERCPU) << 2 | own << 3)
        self.active = True

    def _is_freed(self, name: str, address: int) -> bool:
        if name in self.freed:
            return bool(self.memory[address + self.freed[name]])
        if name.partition(".")[0] not in self.nodes:
            return False
        self.active = False
        freed = self.machine["vx_freed_node"](address)
        self.active = True
        return bool(freed)

    def warn(self, line: int) -> None:
        """A WARN_ON_ONCE fires."""
        code, _ = where()
        self.warned = f"{code.co_name}() {code.co_filename}:{line}"
        active, self.active = self.active, False
        self.machine["vx_warn"](line, 0)
        self.active = active

    # -- stops, one for each kind of softnet.verify.codegen.points

    def _irqs_on(self) -> bool:
        active, self.active = self.active, False
        off = self.machine["irqs_disabled"]()
        self.active = active
        return not off

    def _hard(self) -> None:
        if self.active:
            if self.phase != FRESH:
                self.leave()
            self.phase = COMMITTED

    def _non(self) -> None:
        if self.active:
            if self.phase == COMMITTED or (self.phase == RIGHT and self._irqs_on()):
                self.leave()
            self.phase = COMMITTED

    def _own(self) -> None:
        if self.active:
            if self.phase != FRESH and self._irqs_on():
                self.leave()
            if self._irqs_on():
                self.phase = COMMITTED

    def _cpu(self) -> None:
        active, self.active = self.active, False
        moves = active and self.machine["vx_may_move"]()
        self.active = active
        if moves:
            self._own()

    def _count(self, change: int) -> None:
        active, self.active = self.active, False
        old = self.machine["preempt_count"]()
        self.active = active
        same = self.facts.classes and old ^ (old + change) <= PREEMPT_MASK and bool(old) == bool(old + change)
        if not same:
            self._own()

    def _disable(self) -> None:
        if self.phase != FRESH and self._irqs_on():
            self.leave()
        self.phase = max(self.phase, RIGHT)

    def _enable(self) -> None:
        if self.phase != FRESH and self._irqs_on():
            self.leave()
        self.phase = COMMITTED

    def _release(self) -> None:
        if self.phase == RIGHT and self._irqs_on():
            self.leave()
        self.phase = COMMITTED

    def _commit(self) -> None:
        self.phase = COMMITTED

    def _acquire(self, lock: Any, *, hard: bool) -> None:
        if self.phase == COMMITTED or (self.phase == RIGHT and (hard or self._irqs_on())):
            self.leave()
        me = self.memory[self.ctx_word] + 1
        # The owner is the lock's first word.
        while self.memory[lock._a] not in (0, me):
            self.blocked = self.phase == FRESH
            self.leave()
        self.phase = COMMITTED if hard else max(self.phase, RIGHT)

    # -- the loop

    def leave(self) -> None:
        """The context stops here; it goes on when it is run again."""
        self.active = False
        # A debugger that steps through this context must not step into the loop.
        trace = sys.gettrace()
        sys.settrace(None)
        self._hub.switch()
        sys.settrace(trace)
        self.active = True
        if self.resumed is not None:
            self.resumed()

    def run(self, body: Any, phase: int) -> int:
        """Run a context's greenlet to its next stop."""
        import greenlet

        self._hub = greenlet.getcurrent()
        self.phase, self.blocked, self.active = phase, False, True
        try:
            body.switch()
        finally:
            self.active = False
        return BLOCKED if self.blocked else LEFT


def where() -> tuple[Any, int]:
    """The code and the line of the kernel function that runs."""
    frame = kernel_frame()
    return frame.f_code, frame.f_lineno


def kernel_frame() -> Any:
    """The frame of the kernel function that runs: the nearest one that is neither the linker's nor of this package's loop."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and (frame.f_code.co_filename.endswith(LOOP) or frame.f_code.co_filename == STRUCTURES):
        frame = frame.f_back
    return frame
