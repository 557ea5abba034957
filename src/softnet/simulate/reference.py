# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference engine: the functions as plain Python, each context a greenlet.

The loop is the machine's own next_context(): it says which context acts next and how far it may run ahead; the greenlet
comes back here when it may not go on. ``python -m pdb`` or ``--break FUNCTION`` stops inside a kernel function.
"""

from __future__ import annotations

import dis
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final

from softnet.image.image import Image, machine_error
from softnet.lang.python.stop import KernelStop
from softnet.lang.python.text import find_function
from softnet.machine import nic, state

ArrivalRows = list[tuple[int, ...]]
"""Rows of ARRIVAL_WORDS columns, softnet.machine.nic, shorter ones filled with 0."""


MISTAKES: Final = (AttributeError, TypeError, ZeroDivisionError, ValueError, RecursionError)
"""What Python raises where native code stops a run: NULL, a call of NULL, a division, a shift, a recursion."""


class ReferenceEngine:
    """Runs an image; ``arrivals`` yields lists of rows in time order.

    ``observer`` is called before each switch to a context, when the machine's clock and CPU are the next context's.
    ``run_ahead=False`` makes every interaction point give way, also where nobody else could act before: slower, and the
    same run, which is what the tests use it for.
    """

    def __init__(
        self, image: Image, arrivals: Iterator[ArrivalRows], observer: Callable[[], None] | None = None, *, run_ahead: bool = True
    ) -> None:
        import greenlet

        self.image = image
        self.memory = image.memory
        self.arrivals = arrivals
        self.observer = observer
        if not run_ahead:
            image.linked.machine["run_ahead_bound"] = lambda: -1
        self._greenlet = greenlet
        self._contexts: dict[int, Any] = {}
        self._next: Callable[[], int] = image.linked.machine["next_context"]
        self._actor_set = image.linked.machine["actor_set"]
        self._words = {
            n: image.engine_word(n)
            for n in (
                "arrival_head",
                "arrival_tail",
                "arrival_more",
                "error",
                "error_arg",
                "now",
                "cpu",
                "running",
            )
        }
        self._refill()

    def run(self, until_ns: int) -> int:
        """Run until virtual time ``until_ns``; the machine's reason to stop. Raises KernelStop from a kernel function."""
        hub = self._greenlet.getcurrent()
        self.image.linked.switch.value = hub.switch
        memory, contexts, next_context, observer = self.memory, self._contexts, self._next, self.observer
        turns = self.image.linked.turns
        self.image.linked.machine["stop_set"](until_ns)
        while True:
            ctx = next_context()
            if ctx >= 0:
                body = contexts.get(ctx)
                if body is None:
                    body = contexts[ctx] = self._new_context(ctx)
                if observer is not None:
                    observer()
                turns.value = 0
                try:
                    body.switch()
                except MISTAKES as error:
                    stop = kernel_stop(self.image, error)
                    if stop is None:
                        raise
                    raise stop from error
            elif ctx == state.STOP_REFILL:
                self._refill()
            elif ctx == state.STOP_ERROR:
                raise KernelStop(machine_error(self.image), f"CPU {memory[self._words['cpu']]}")
            else:
                return ctx

    def _new_context(self, ctx: int) -> Any:
        kernel = self.image.linked.kernel
        entry = "irq_context" if ctx < 2 * self.image.nr_cpus else "task_context"
        return self._greenlet.greenlet(kernel[entry])

    def _refill(self) -> None:
        rows = next(self.arrivals, None)
        memory = self.memory
        if not rows:
            memory[self._words["arrival_more"]] = 0
            memory[self._words["arrival_head"]] = memory[self._words["arrival_tail"]] = 0
            return
        at = self.image.regions.arrivals
        for row in rows:
            memory[at : at + len(row)] = row
            at += nic.ARRIVAL_WORDS
        memory[self._words["arrival_head"]] = 0
        memory[self._words["arrival_tail"]] = len(rows)
        memory[self._words["arrival_more"]] = 1
        self._actor_set(self.image.nr_actors - 1, rows[0][nic.ARRIVAL_TIME])


def kernel_stop(image: Image, error: Exception) -> KernelStop | None:
    """What a kernel function did wrong, and where, out of Python's own exception; None if the mistake is not in one."""
    files = {definition.file: definition for definition in image.program.functions.values()}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename in files]
    if not inside:
        return None
    frame, line = inside[-1]
    code = frame.f_code
    where = f"{code.co_filename}:{line}: in {code.co_name}()"
    if isinstance(error, RecursionError):
        definition = image.program.functions[code.co_name]
        return KernelStop(
            "recursion too deep: the context's stack is full",
            f"{definition.file}:{find_function(definition).lineno}: in {code.co_name}()",
        )
    if frames[-1] is not frame:
        return None
    if isinstance(error, AttributeError) and error.obj is None:
        return KernelStop(f"{error.name or _attribute(error)} of a NULL reference", where)
    if isinstance(error, ZeroDivisionError):
        return KernelStop("a division by zero", where)
    if isinstance(error, ValueError):
        return KernelStop(f"a shift: {error}", where)
    return KernelStop("a function pointer is NULL", where) if "NoneType" in str(error) else None


def _attribute(error: AttributeError) -> str:
    """The attribute that could not be stored to; Python 3.11 leaves its name out of the exception."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    instructions = dis.get_instructions(at.tb_frame.f_code) if at is not None else ()
    return next((str(i.argval) for i in instructions if at is not None and i.offset == at.tb_lasti), "a field")
