# SPDX-License-Identifier: GPL-2.0-or-later
"""A schedule under Python's debugger: pdb inside the kernel's functions, at their own file and line."""

from __future__ import annotations

from collections.abc import Sequence

from softnet.errors import SoftnetError
from softnet.simulate.debug import Debugger, stop_in
from softnet.verify.codegen.python_loop import kernel_frame
from softnet.verify.model import Config
from softnet.verify.replay.reference import ReferenceReplay, watched


def debug(config: Config, actions: Sequence[int], function: str | None, at: int | None) -> None:
    """Replay; stop at every call of ``function``, and where the context goes on in step ``at``.

    Prints each stop's step, CPU and context, and what is violated. Raises SoftnetError for a function or a step that there is
    not, or one that runs no kernel function.
    """
    engine = ReferenceReplay(config)
    stopped = 0

    def heading(name: str) -> str:
        nonlocal stopped
        stopped += 1
        return f"{name} on CPU {engine.cpu} in {engine.context_of(engine.cpu)}, step {engine.number}"

    if function is not None:
        stop_in(
            engine.model.program,
            engine.image.linked,
            function,
            lambda: heading(f"{function}()"),
            engine.looking,
        )
    if at is not None:
        if at > len(actions):
            raise SoftnetError(
                "the schedule does not come there",
                where="--at",
                found=str(at),
                expected=f"at most {len(actions)}",
            )

        def resumed() -> None:
            if engine.number == at and not stopped:
                print(f"--- {heading('the context goes on')}")
                Debugger(engine.looking).stop_at(kernel_frame())

        engine.stops.resumed = resumed
    said = watched(engine, engine, actions, 0, None)[1]
    if not stopped:
        where = f"--break {function}" if function is not None else f"--at {at}"
        raise SoftnetError("the schedule does not come there", where=where, found=f"{len(actions)} steps without it",
                           expected="a step of a CPU's context in a kernel function")  # fmt: skip
    print("\n".join(said))
