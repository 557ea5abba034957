# SPDX-License-Identifier: GPL-2.0-or-later
"""``--break FUNCTION``: pdb inside a kernel function, at its own file and line, in the reference engine."""

from __future__ import annotations

import difflib
import pdb  # noqa: T100 - stopping in a debugger is what this module is for
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    from softnet.simulate.simulation import Simulation


def break_in(sim: Simulation, name: str) -> None:
    """Stop at the first line of every call of kernel function ``name``. Raises SoftnetError for an unknown name."""
    definition = sim.program.functions.get(name)
    if definition is None:
        near = difflib.get_close_matches(name, list(sim.program.functions), 3)
        raise SoftnetError(
            "no such kernel function",
            where=f"--break {name}",
            found=name,
            expected="the name of a function of this kernel",
            hint=f"did you mean {', '.join(near)}?" if near else "names are the kernel's: process_backlog",
        )
    linked = sim.image.linked
    function = linked.kernel[name]

    def stop(*args: Any) -> Any:
        memory = sim.image.memory
        now, cpu = memory[sim.image.engine_word("now")], memory[sim.image.engine_word("cpu")]
        print(f"--- {name}() on CPU {cpu} at {now} ns")
        return pdb.Pdb(nosigint=True).runcall(function, *args)

    stop.__name__ = name
    linked.kernel[name] = stop
    number = linked.function_ids[name]
    linked.functions[number] = stop
