# SPDX-License-Identifier: GPL-2.0-or-later
"""The runtime of the explorer's native code, in LLVM's text: a stack of its own, the ways out of it, the log of a replay."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Final

from softnet.lang.native.abi import RUN_WORDS
from softnet.lang.native.switch_runtime import ENTER_X86, LLVM_INTRINSICS, PAUSE_FAILED, SWITCH_X86
from softnet.verify.codegen.llvm_functions import LOG, LOG_FILL
from softnet.verify.model import SEARCHES

if TYPE_CHECKING:
    from softnet.verify.model import Model

LOG_ROOM: Final = 1 << 16
FAILED: Final = PAUSE_FAILED
WITH_ARGUMENT: Final = (
    "vx_explore",
    "vx_settle",
    "vx_replay",
    "vx_try",
    "vx_compact_explore",
    "vx_compact_grow",
    "vx_edges",
    "vx_walk",
    "vx_swarm_explore",
    "vx_parts_explore",
    "vx_parts_grow",
)

_RUNTIME: Final = Template(r"""
define internal void @switch_stack(ptr %save, i64 %to) naked noinline nounwind {
  call void asm sideeffect "$switch_code", "~{memory}"()
  unreachable
}
define void @enter() naked noinline nounwind {
  call void asm sideeffect "$enter_code", "~{memory}"()
  unreachable
}
define i64 @run(ptr %S) nounwind {
  %outer = getelementptr i64, ptr %S, i64 $outer
  %at = getelementptr i64, ptr %S, i64 $resume
  %to = load i64, ptr %at
  call void @switch_stack(ptr %outer, i64 %to)
  %codep = getelementptr i64, ptr %S, i64 $code
  %code = load i64, ptr %codep
  ret i64 %code
}
define internal void @pause(ptr %S, i64 %code) noinline nounwind {
  %codep = getelementptr i64, ptr %S, i64 $code
  store i64 %code, ptr %codep
  %resume = getelementptr i64, ptr %S, i64 $resume
  %outer = getelementptr i64, ptr %S, i64 $outer
  %to = load i64, ptr %outer
  call void @switch_stack(ptr %resume, i64 %to)
  ret void
}
define internal void @fail(ptr %S, i64 %code, i64 %where, i64 %value) noinline cold noreturn nounwind {
  %wherep = getelementptr i64, ptr %S, i64 $where
  store i64 %where, ptr %wherep
  %valuep = getelementptr i64, ptr %S, i64 $value
  store i64 %value, ptr %valuep
  %fuelp = getelementptr i64, ptr %S, i64 $fuel
  store i64 %code, ptr %fuelp
  call void @pause(ptr %S, i64 $failed)
  unreachable
}
define internal void @log(ptr %S, i64 %position, i64 %address, i64 %value) noinline nounwind {
  %fillp = getelementptr i64, ptr %S, i64 $log_fill
  %fill = load i64, ptr %fillp
  %full = icmp uge i64 %fill, $log_room
  br i1 %full, label %out, label %write
write:
  %next = add i64 %fill, 1
  store i64 %next, ptr %fillp
  %tablep = getelementptr i64, ptr %S, i64 $log
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
  %whatp = getelementptr i64, ptr %S, i64 $what
  %what = load i64, ptr %whatp
  %argp = getelementptr i64, ptr %S, i64 $value
  %arg = load i64, ptr %argp
  switch i64 %what, label %none [
$cases
  ]
$bodies
none:
  br label %done
done:
  %r = phi i64 [ 0, %none ], $results
  call void @pause(ptr %S, i64 %r)
  br label %loop
}
""")


def runtime_text() -> str:
    """LLVM's text of the runtime."""
    cases, bodies, results = [], [], []
    for number, name in enumerate(SEARCHES):
        argument = ", i64 %arg" if name in WITH_ARGUMENT else ""
        cases.append(f"    i64 {number}, label %c{number}")
        bodies.append(f'c{number}:\n  %r{number} = call i64 @"{name}"(ptr %S{argument})\n  br label %done')
        results.append(f"[ %r{number}, %c{number} ]")
    return _RUNTIME.substitute(
        {name: RUN_WORDS[name] for name in ("outer", "resume", "code", "where", "value", "fuel")},
        what=RUN_WORDS["trace_room"],
        log=LOG,
        log_fill=LOG_FILL,
        log_room=LOG_ROOM,
        failed=FAILED,
        cases="\n".join(cases),
        bodies="\n".join(bodies),
        results=", ".join(results),
        switch_code="\\0A".join(SWITCH_X86),
        enter_code="\\0A".join(ENTER_X86),
    )


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
