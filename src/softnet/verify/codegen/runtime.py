# SPDX-License-Identifier: GPL-2.0-or-later
"""What the explorer's native code stands on: a stack of its own, the ways out of it, the log of a replay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from softnet.lang.native.abi import RUN_WORDS
from softnet.lang.native.switch_runtime import ENTER_X86, LLVM_INTRINSICS, SWITCH_X86
from softnet.verify.codegen.llvm_functions import LOG, LOG_FILL
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    from softnet.verify.model import Model

LOG_ROOM: Final = 1 << 16
FAILED: Final = -102
WITH_ARGUMENT: Final = ("vx_explore", "vx_settle", "vx_replay", "vx_compact_explore", "vx_compact_grow", "vx_edges", "vx_walk")

_RUNTIME = r"""
define internal void @switch_stack(ptr %save, i64 %to) naked noinline nounwind {
  call void asm sideeffect "SWITCH_CODE", "~{memory}"()
  unreachable
}
define void @enter() naked noinline nounwind {
  call void asm sideeffect "ENTER_CODE", "~{memory}"()
  unreachable
}
define i64 @run(ptr %S) nounwind {
  %outer = getelementptr i64, ptr %S, i64 OUTER
  %at = getelementptr i64, ptr %S, i64 RESUME
  %to = load i64, ptr %at
  call void @switch_stack(ptr %outer, i64 %to)
  %codep = getelementptr i64, ptr %S, i64 CODE
  %code = load i64, ptr %codep
  ret i64 %code
}
define internal void @pause(ptr %S, i64 %code) noinline nounwind {
  %codep = getelementptr i64, ptr %S, i64 CODE
  store i64 %code, ptr %codep
  %resume = getelementptr i64, ptr %S, i64 RESUME
  %outer = getelementptr i64, ptr %S, i64 OUTER
  %to = load i64, ptr %outer
  call void @switch_stack(ptr %resume, i64 %to)
  ret void
}
define internal void @fail(ptr %S, i64 %code, i64 %where, i64 %value) noinline cold noreturn nounwind {
  %wherep = getelementptr i64, ptr %S, i64 WHERE
  store i64 %where, ptr %wherep
  %valuep = getelementptr i64, ptr %S, i64 VALUE
  store i64 %value, ptr %valuep
  %fuelp = getelementptr i64, ptr %S, i64 FUEL
  store i64 %code, ptr %fuelp
  call void @pause(ptr %S, i64 FAILED)
  unreachable
}
define internal void @log(ptr %S, i64 %position, i64 %address, i64 %value) noinline nounwind {
  %fillp = getelementptr i64, ptr %S, i64 FILL
  %fill = load i64, ptr %fillp
  %full = icmp uge i64 %fill, ROOM
  br i1 %full, label %out, label %write
write:
  %next = add i64 %fill, 1
  store i64 %next, ptr %fillp
  %tablep = getelementptr i64, ptr %S, i64 LOGAT
  %table = load i64, ptr %tablep
  %base = inttoptr i64 %table to ptr
  %row = mul i64 %fill, 3
  %p0 = getelementptr i64, ptr %base, i64 %row
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  store i64 %position, ptr %p0
  store i64 %address, ptr %p1
  store i64 %value, ptr %p2
  br label %out
out:
  ret void
}
define void @main_body(ptr %S) nounwind {
  br label %loop
loop:
  %whatp = getelementptr i64, ptr %S, i64 ROOMWORD
  %what = load i64, ptr %whatp
  %argp = getelementptr i64, ptr %S, i64 VALUE
  %arg = load i64, ptr %argp
  switch i64 %what, label %none [
CASES
  ]
BODIES
none:
  br label %done
done:
  %r = phi i64 [ 0, %none ], RESULTS
  call void @pause(ptr %S, i64 %r)
  br label %loop
}
"""


def runtime_text() -> str:
    """LLVM's text of what stands around the search: its stack, the ways out, the log."""
    cases, bodies, results = [], [], []
    for number, name in enumerate(SEARCHES):
        argument = ", i64 %arg" if name in WITH_ARGUMENT else ""
        cases.append(f"    i64 {number}, label %c{number}")
        bodies.append(f'c{number}:\n  %r{number} = call i64 @"{name}"(ptr %S{argument})\n  br label %done')
        results.append(f"[ %r{number}, %c{number} ]")
    text = _RUNTIME.replace("CASES", "\n".join(cases)).replace("BODIES", "\n".join(bodies))
    text = text.replace("RESULTS", ", ".join(results))
    text = text.replace("SWITCH_CODE", "\\0A".join(SWITCH_X86)).replace("ENTER_CODE", "\\0A".join(ENTER_X86))
    numbers = {
        "OUTER": RUN_WORDS["outer"], "RESUME": RUN_WORDS["resume"], "CODE": RUN_WORDS["code"], "WHERE": RUN_WORDS["where"],
        "VALUE": RUN_WORDS["value"], "FUEL": RUN_WORDS["fuel"], "FAILED": FAILED, "ROOMWORD": RUN_WORDS["trace_room"],
        "LOGAT": LOG, "FILL": LOG_FILL, "ROOM": LOG_ROOM,
    }  # fmt: skip
    return re.sub(rf"\b({'|'.join(numbers)})\b", lambda found: str(numbers[found[1]]), text)


def module_text(model: Model) -> str:
    """All of a model's LLVM text."""
    lines = model.text.lines
    return (
        LLVM_INTRINSICS
        + runtime_text()
        + "\n".join(lines)
        + '\n!0 = !{}\n!1 = !{!"branch_weights", i32 100000, i32 1}\n'
        + ('!2 = !{!"branch_weights", i32 1, i32 50}\n')
    )
