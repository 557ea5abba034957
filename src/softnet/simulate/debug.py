# SPDX-License-Identifier: GPL-2.0-or-later
"""``--break FUNCTION``: pdb inside a kernel function, at its own file and line, in the reference engine."""

from __future__ import annotations

import bdb
import difflib
import pdb  # noqa: T100 - stopping in a debugger is what this module is for
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    from softnet.lang.program.program import Program
    from softnet.lang.python.link import Linked
    from softnet.simulate.simulation import Simulation


Looking = Callable[[], AbstractContextManager[None]]
"""What holds while somebody types at the prompt."""


class Debugger(pdb.Pdb):
    """pdb that steps through the kernel's functions and not through the fields' own code."""

    def __init__(self, looking: Looking = nullcontext) -> None:
        super().__init__(nosigint=True, skip=["softnet.lang.*", "softnet.verify.*"])
        self.looking = looking

    def cmdloop(self, intro: str | None = None) -> None:
        """What is typed at the prompt looks at memory from outside: it is no access of the kernel function's."""
        with self.looking():
            super().cmdloop(intro)

    def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Leave the whole run at ``quit``, not only the function: half a function would be another kernel."""
        try:
            return super().trace_dispatch(frame, event, arg)
        except bdb.BdbQuit:
            raise KeyboardInterrupt from None

    def stop_at(self, frame: FrameType) -> None:
        """Stop now, at the line at which that frame stands."""
        self.reset()
        above: FrameType | None = frame
        while above is not None:
            above.f_trace = self.trace_dispatch
            self.botframe = above
            above = above.f_back
        self.interaction(frame, None)
        if self.quitting:
            raise KeyboardInterrupt
        if self.stoplineno != -1 or self.breaks:
            sys.settrace(self.trace_dispatch)


def break_in(sim: Simulation, name: str) -> None:
    """Stop at the first line of every call of kernel function ``name``. Raises SoftnetError for an unknown name."""

    def heading() -> str:
        memory = sim.image.memory
        now, cpu = memory[sim.image.engine_word("now")], memory[sim.image.engine_word("cpu")]
        return f"{name}() on CPU {cpu} at {now} ns"

    stop_in(sim.program, sim.image.linked, name, heading)


def stop_in(program: Program, linked: Linked, name: str, heading: Callable[[], str], looking: Looking = nullcontext) -> None:
    """The same in any linked program; ``heading`` says what is stopped in, ``looking`` is Debugger's.

    Raises SoftnetError for an unknown name.
    """
    definition = program.functions.get(name)
    if definition is None or definition.kind != "kfunc":
        kernel = [n for n, f in program.functions.items() if f.kind == "kfunc"]
        near = difflib.get_close_matches(name, kernel, 3)
        raise SoftnetError(
            "no such kernel function",
            where=f"--break {name}",
            found=name,
            expected="the name of a function of this kernel",
            hint=f"did you mean {', '.join(near)}?" if near else "names are the kernel's: process_backlog",
        )
    function = linked.kernel[name]

    def stop(*args: Any) -> Any:
        print(f"--- {heading()}")
        return Debugger(looking).runcall(function, *args)

    stop.__name__ = name
    linked.kernel[name] = stop
    number = linked.function_ids[name]
    linked.functions[number] = stop
