# SPDX-License-Identifier: GPL-2.0-or-later
"""The native engine: the functions compiled (lang.compile), each context on a stack of its own.

It runs the same words in memory as the reference engine and stops at the same times for the same reasons. Native code runs
in slices, so that Ctrl-C is heard within a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError
from softnet.image.image import Image, machine_error
from softnet.lang.native.abi import FAILURES, RUN_WORDS, STACK_BYTES
from softnet.lang.native.compile import Native as Native
from softnet.lang.native.compile import Options as Options
from softnet.lang.native.compile import Place, available, compile_program
from softnet.lang.native.switch_runtime import (
    FRAME_ARGUMENT,
    FRAME_FUNCTION,
    FRAME_RETURN,
    FRAME_WORDS,
    PAUSE_FAILED,
    PAUSE_SLICE,
    PAUSE_TRACE,
    RECORD_WORDS,
)
from softnet.lang.python.runtime import TURNS_MAX
from softnet.lang.python.stop import KernelStop
from softnet.machine import nic, state
from softnet.processes import held_back
from softnet.trace import EVENT_ID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRACE_ROOM: Final = 1 << 15
"""Records that are kept in native memory before Python takes them."""
SLICE_SWITCHES: Final = 1 << 18
"""Changes of context between two looks at signals: some tens of milliseconds."""
FUEL: Final = TURNS_MAX
"""Turns of loops that a context may take before it gives way: some hundredths of a second, a few in the reference engine.
The word that counts them down stops the run below 0."""

STACK_COLOURS: Final = 1024
"""Cache lines over which the tops of stacks are spread: a quarter of a stack."""

ENGINES: Final = ("auto", "native", "reference")

RecordSink = Callable[["NDArray[np.int64]"], None]
"""Takes records as rows of RECORD_WORDS words."""


def choose_engine(wanted: str) -> tuple[str, str]:
    """The engine to use and, where the native one was wanted but cannot be had, why the reference engine serves.

    ``wanted``: ``auto`` (what $SOFTNET_ENGINE says, else native if it can be had), ``native`` or ``reference``. Raises
    SoftnetError for ``native`` where it cannot be had, and for anything else.
    """
    where = ""
    if wanted == "auto":
        wanted = os.environ.get("SOFTNET_ENGINE") or "auto"
        where = "$SOFTNET_ENGINE"
    if wanted not in ENGINES:
        raise SoftnetError("unknown engine", where=where, found=repr(wanted), expected=", ".join(ENGINES))
    if wanted == "reference":
        return "reference", ""
    reason = available()
    if not reason:
        return "native", ""
    if wanted == "native":
        raise SoftnetError("no native engine", found=reason, hint="--engine reference runs the same functions")
    return "reference", f"the reference engine serves: {reason}"


def words(count: int) -> Any:
    """Memory for an image that native code can reach; what nobody touches takes none of the machine's."""
    memory = _private(8 * max(count, 1))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Every change of context goes to other pages. A kernel that has no huge ones refuses, and all goes on.
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory).cast("q")


def _private(size: int) -> mmap.mmap:
    """Zeroed memory of this process, page by page when it is touched."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class NativeEngine:
    """Runs an image whose memory came from ``words``; ``arrivals`` yields blocks of rows in time order."""

    def __init__(
        self,
        image: Image,
        arrivals: Iterator[NDArray[np.int64]],
        sink: RecordSink,
        options: Options | None = None,
        native: Native | None = None,
    ) -> None:
        """``native``: the code of this image's program with these options, from an earlier engine."""
        import numpy as np

        memory: Any = image.memory
        if not isinstance(memory, memoryview):
            raise SoftnetError("the native engine needs an image in native memory", where="softnet.simulate.native")
        self.image = image
        self.arrivals = arrivals
        self.sink = sink
        self.memory = np.frombuffer(memory, dtype=np.int64)
        self.base = int(self.memory.ctypes.data)
        self.native = native or compile_program(image.program, image.cost_index, EVENT_ID, options)
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.native.address("run"))
        self._set_actor = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
            self.native.address("set_actor")
        )
        self._set_stop = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(self.native.address("set_stop"))
        self._failure: KernelStop | None = None
        self._trace = np.zeros((TRACE_ROOM, RECORD_WORDS), dtype=np.int64)
        self._prepare_stacks()
        self._begin()

    def _begin(self) -> None:
        """From memory as it was booted to time 0: every context at the beginning of its stack, the first arrivals there."""
        self._stack_of[:] = self._first_of[:-1]
        self._words[self._frames] = self._frame_words
        self.memory[RUN_WORDS["resume"]] = self._first_of[-1]
        self._prepare_words()
        self._refill()

    def again(self, arrivals: Iterator[NDArray[np.int64]]) -> None:
        """Begin anew, in the same memory, which was put back as it was booted; what is on the stacks is never read."""
        self._failure = None
        self.arrivals = arrivals
        self._begin()

    def run(self, until_ns: int) -> int:
        """Run until virtual time ``until_ns``; the machine's reason to stop. Raises KernelStop from a kernel function."""
        if self._failure is not None:
            raise self._failure
        self._set_stop(self.base, until_ns)
        # Whoever ran gave way to the stop. The machine's loop turns once for each, and where nobody runs in between, nothing else
        # fills up what it takes.
        self.memory[RUN_WORDS["fuel"]] = FUEL - 1
        while True:
            code = int(self._run(self.base))
            if code == PAUSE_SLICE:
                self.memory[RUN_WORDS["slice"]] = SLICE_SWITCHES
            elif code == state.STOP_REFILL:
                self._refill()
            elif code == PAUSE_TRACE:
                self._drain()
            else:
                self._drain()
                if code == PAUSE_FAILED:
                    self._failure = KernelStop(*self._describe_failure())
                    raise self._failure
                if code == state.STOP_ERROR:
                    cpu = self.memory[self.image.engine_word("cpu")]
                    raise KernelStop(machine_error(self.image), f"CPU {cpu}")
                return code

    def _prepare_stacks(self) -> None:
        """A stack for every context and one to begin on, each aligned to its size."""
        import numpy as np

        count = 2 * self.image.nr_cpus + len(self.image.tasks)
        self._region = _private((count + 2) * STACK_BYTES)
        region = np.frombuffer(self._region, dtype=np.int64)
        start = int(region.ctypes.data)
        first = -start % STACK_BYTES
        self._stacks = start + first
        self._stack_of = np.zeros(count, dtype=np.int64)
        self._first_of = np.zeros(count + 1, dtype=np.int64)
        self._words = region
        frames: list[tuple[int, int]] = []
        enter, boot = self.native.address("enter"), self.native.address("boot")
        irq, task = self.native.address("irq_body"), self.native.address("task_body")

        def prepare(index: int, function: int) -> int:
            # Below two free words at the top, so that the entry finds the stack aligned as the ABI asks; and each stack
            # begins at other cache lines than its neighbours, or all of them would share a few sets of the caches.
            at = (first + (index + 1) * STACK_BYTES) // 8 - 2 - FRAME_WORDS - 8 * (37 * index % STACK_COLOURS)
            frames.extend([(at + FRAME_ARGUMENT, self.base), (at + FRAME_FUNCTION, function), (at + FRAME_RETURN, enter)])
            return start + 8 * at

        for ctx in range(count):
            self._first_of[ctx] = prepare(ctx, irq if ctx < 2 * self.image.nr_cpus else task)
        self._first_of[count] = prepare(count, boot)
        self._frames, self._frame_words = np.array(frames, dtype=np.int64).T

    def _prepare_words(self) -> None:
        """The engine's own words in the line of NULL."""
        values = {
            "stack_of": int(self._stack_of.ctypes.data), "stacks": self._stacks, "fuel": FUEL - 1, "fuel_full": FUEL - 1,
            "trace": int(self._trace.ctypes.data), "trace_fill": 0, "trace_room": TRACE_ROOM, "slice": SLICE_SWITCHES,
            "size": len(self.memory),
        }  # fmt: skip
        for name, value in values.items():
            self.memory[RUN_WORDS[name]] = value

    def _drain(self) -> None:
        fill = int(self.memory[RUN_WORDS["trace_fill"]])
        if fill:
            with held_back():
                self.sink(self._trace[:fill])
                self.memory[RUN_WORDS["trace_fill"]] = 0

    def _refill(self) -> None:
        block = next(self.arrivals, None)
        head, tail, more = (self.image.engine_word(f"arrival_{n}") for n in ("head", "tail", "more"))
        self.memory[head] = 0
        if block is None or len(block) == 0:
            self.memory[more] = self.memory[tail] = 0
            return
        at = self.image.regions.arrivals
        room = self.memory[at : at + nic.ARRIVAL_ROWS * nic.ARRIVAL_WORDS].reshape(nic.ARRIVAL_ROWS, nic.ARRIVAL_WORDS)
        room[: len(block), : block.shape[1]] = block
        self.memory[tail] = len(block)
        self.memory[more] = 1
        self._set_actor(self.base, self.image.nr_actors - 1, int(block[0, nic.ARRIVAL_TIME]))

    def _describe_failure(self) -> tuple[str, str]:
        """What failed, in words, and where."""
        code = FAILURES[int(self.memory[RUN_WORDS["fuel"]])]
        value = int(self.memory[RUN_WORDS["value"]])
        place = self.native.place(int(self.memory[RUN_WORDS["where"]]))
        where = f"{place.file}:{place.line}: in {place.function}()" if place is not None else "a context"
        return self._failure_text(code, value, place), where

    def _failure_text(self, code: str, value: int, place: Place | None) -> str:
        what = place.what if place is not None else ""
        if code == "index":
            table = self.image.layout.tables.get(what)
            count = int(what) if what.isdigit() else table.count if table is not None else 0
            return f"index {value} is outside 0..{count - 1}"
        return {
            "bug-on": "BUG_ON: the condition holds",
            "null": f"{what} of a NULL reference",
            "divide": f"'{what}' by zero",
            "shift": f"'{what}' by {value}: a shift count is from 0 to 62",
            "overflow": f"the result of '{what}' does not fit in 64 bits",
            "fuel": f"a loop turned {FUEL} times without letting time pass",
            "lockdep": "lockdep_assert_held: the lock is not held",
            "guard": what,
            "pointer": f"function pointer {value} leads to no function of {what} arguments",
            "stack": "recursion too deep: the context's stack is full",
            "ended": "the body of a context returned",
            "memory": f"address {value} is outside memory",
        }[code]
