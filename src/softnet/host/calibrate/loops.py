# SPDX-License-Identifier: GPL-2.0-or-later
"""Short loops in native code that time what they do with the system's monotonic clock, in ns: Python between two readings would be
the larger part. ctypes calls them without the interpreter's lock, so that two of them run at a time, each in a thread of its own.

Nothing here waits without a bound: a loop that waits for another CPU gives up after ``SPINS_MAX`` looks and returns -1.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable
from typing import Any, Final

from softnet.errors import HostError
from softnet.lang.native.build import binding, target_machine

LINE_BYTES: Final = 64
SPINS_MAX: Final = 1 << 22
MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
"""Number of membarrier(); other machines measure no interrupt."""
_PAUSE: Final = {"x86_64": "pause", "aarch64": "yield"}

_TEXT: Final = """
declare i32 @clock_gettime(i32, ptr)
declare i32 @getppid()
declare i32 @sched_yield()
declare i64 @syscall(i64, ...)
declare i64 @pread(i32, ptr, i64, i64)
declare i64 @pwrite(i32, ptr, i64, i64)
declare i64 @read(i32, ptr, i64)
declare i64 @write(i32, ptr, i64)
declare i64 @send(i32, ptr, i64, i32)
declare i64 @recv(i32, ptr, i64, i32)
declare i32 @epoll_wait(i32, ptr, i32, i32)
declare i32 @usleep(i32)

define i64 @now() {
  %at = alloca [2 x i64]
  %done = call i32 @clock_gettime(i32 1, ptr %at)
  %seconds = load volatile i64, ptr %at
  %rest = getelementptr i64, ptr %at, i64 1
  %ns = load volatile i64, ptr %rest
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %ns
  ret i64 %sum
}
"""

# A loop of so many turns around a body, timed as a whole: name, arguments, body.
_TIMED: Final = (
    ("nothing", "", 'call void asm sideeffect "", ""()'),
    ("clocks", "", "%t = call i64 @now()"),
    ("atomics", "ptr %word", "%old = atomicrmw add ptr %word, i64 1 seq_cst"),
    ("pauses", "", 'call void asm sideeffect "PAUSE", ""()'),
    ("getppids", "", "%r = call i32 @getppid()"),
    ("yields", "", "%r = call i32 @sched_yield()"),
    ("preads", "i32 %fd, ptr %into, i64 %size", "%r = call i64 @pread(i32 %fd, ptr %into, i64 %size, i64 0)"),
    ("epolls", "i32 %fd, ptr %into", "%r = call i32 @epoll_wait(i32 %fd, ptr %into, i32 1, i32 0)"),
    ("pwrites", "i32 %fd, ptr %source, i64 %size", "%r = call i64 @pwrite(i32 %fd, ptr %source, i64 %size, i64 0)"),
)

# A chain of lines, each with the address of the next; dirty() writes beside it, so that this CPU alone holds every line.
_CHAIN: Final = """
define i64 @chase(ptr %first, i64 %turns) {
entry:
  %from = call i64 @now()
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%more, %loop]
  %at = phi ptr [%first, %entry], [%next, %loop]
  %next = load volatile ptr, ptr %at
  %more = add i64 %n, 1
  %again = icmp ult i64 %more, %turns
  br i1 %again, label %loop, label %end
end:
  %kept = ptrtoint ptr %next to i64
  call void asm sideeffect "", "r"(i64 %kept)
  %to = call i64 @now()
  %took = sub i64 %to, %from
  ret i64 %took
}

define i64 @dirty(ptr %first, i64 %lines) {
entry:
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%more, %loop]
  %offset = mul i64 %n, 64
  %line = getelementptr i8, ptr %first, i64 %offset
  %beside = getelementptr i8, ptr %line, i64 8
  store volatile i64 %n, ptr %beside
  %more = add i64 %n, 1
  %again = icmp ult i64 %more, %lines
  br i1 %again, label %loop, label %end
end:
  ret i64 0
}
"""

# Two CPUs hand a word to and fro: each waits for its own value, pausing, and stores the other's. Time begins at the first one's.
_HANDOVER: Final = """
define i64 @handover(ptr %word, i64 %mine, i64 %theirs, i64 %turns, i64 %bound) {
entry:
  br label %turn
turn:
  %n = phi i64 [0, %entry], [%more, %given]
  %since = phi i64 [0, %entry], [%from, %given]
  br label %look
look:
  %looks = phi i64 [0, %turn], [%looked, %wait]
  %seen = load atomic i64, ptr %word acquire, align 8
  %there = icmp eq i64 %seen, %mine
  br i1 %there, label %got, label %wait
wait:
  call void asm sideeffect "PAUSE", ""()
  %looked = add i64 %looks, 1
  %patient = icmp ult i64 %looked, %bound
  br i1 %patient, label %look, label %lost
got:
  %first = icmp eq i64 %n, 0
  br i1 %first, label %begin, label %given
begin:
  %start = call i64 @now()
  br label %given
given:
  %from = phi i64 [%since, %got], [%start, %begin]
  store atomic i64 %theirs, ptr %word release, align 8
  %more = add i64 %n, 1
  %again = icmp ule i64 %more, %turns
  br i1 %again, label %turn, label %end
end:
  %to = call i64 @now()
  %took = sub i64 %to, %from
  ret i64 %took
lost:
  ret i64 -1
}
"""

# Look at the clock without a pause, and note between which two readings something took the CPU away.
_GAPS: Final = """
define i64 @gaps(ptr %out, i64 %room, i64 %least, i64 %until, ptr %stop) {
entry:
  %first = call i64 @now()
  br label %loop
loop:
  %before = phi i64 [%first, %entry], [%at, %next]
  %n = phi i64 [0, %entry], [%count, %next]
  %at = call i64 @now()
  %gap = sub i64 %at, %before
  %long = icmp uge i64 %gap, %least
  %space = icmp ult i64 %n, %room
  %keep = and i1 %long, %space
  br i1 %keep, label %note, label %next
note:
  %twice = mul i64 %n, 2
  %place = getelementptr i64, ptr %out, i64 %twice
  store i64 %before, ptr %place
  %behind = getelementptr i64, ptr %place, i64 1
  store i64 %at, ptr %behind
  %plus = add i64 %n, 1
  br label %next
next:
  %count = phi i64 [%n, %loop], [%plus, %note]
  %asked = load atomic i64, ptr %stop monotonic, align 8
  %go = icmp eq i64 %asked, 0
  %early = icmp ult i64 %at, %until
  %again = and i1 %go, %early
  br i1 %again, label %loop, label %end
end:
  ret i64 %count
}

define i64 @barriers(i64 %number, i64 %turns, i64 %pause, ptr %out) {
entry:
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%more, %calm]
  %before = call i64 @now()
  %done = call i64 (i64, ...) @syscall(i64 %number, i64 8, i64 0, i64 0)
  %after = call i64 @now()
  %twice = mul i64 %n, 2
  %place = getelementptr i64, ptr %out, i64 %twice
  store i64 %before, ptr %place
  %behind = getelementptr i64, ptr %place, i64 1
  store i64 %after, ptr %behind
  %until = add i64 %after, %pause
  br label %wait
wait:
  %at = call i64 @now()
  %early = icmp ult i64 %at, %until
  br i1 %early, label %wait, label %calm
calm:
  %more = add i64 %n, 1
  %again = icmp ult i64 %more, %turns
  br i1 %again, label %loop, label %end
end:
  ret i64 0
}
"""

# Each turn: sleep (0: not), then one call, timed by itself. The arguments of the call come first, turns, us and out behind.
_EACH: Final = (
    ("writes", "i32 %fd, ptr %buffer, i64 %size", "%r = call i64 @write(i32 %fd, ptr %buffer, i64 %size)"),
    ("sends", "i32 %fd, ptr %buffer, i64 %size", "%r = call i64 @send(i32 %fd, ptr %buffer, i64 %size, i32 0)"),
    ("reads", "i32 %fd, ptr %buffer, i64 %size", "%r = call i64 @read(i32 %fd, ptr %buffer, i64 %size)"),
)  # fmt: skip

_TIMED_LOOP: Final = """
define i64 @{name}({arguments}i64 %turns) {{
entry:
  %from = call i64 @now()
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%more, %loop]
  {body}
  %more = add i64 %n, 1
  %again = icmp ult i64 %more, %turns
  br i1 %again, label %loop, label %end
end:
  %to = call i64 @now()
  %took = sub i64 %to, %from
  ret i64 %took
}}
"""

_EACH_LOOP: Final = """
define i64 @{name}({arguments}, i64 %turns, i32 %us, ptr %out) {{
entry:
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%more, %fine]
  %sleeps = icmp ugt i32 %us, 0
  br i1 %sleeps, label %sleep, label %go
sleep:
  %slept = call i32 @usleep(i32 %us)
  br label %go
go:
  %before = call i64 @now()
  {body}
  %after = call i64 @now()
  %twice = mul i64 %n, 2
  %place = getelementptr i64, ptr %out, i64 %twice
  store i64 %before, ptr %place
  %behind = getelementptr i64, ptr %place, i64 1
  store i64 %after, ptr %behind
  %more = add i64 %n, 1
  %good = icmp sge i64 %r, 0
  br i1 %good, label %fine, label %end
fine:
  %again = icmp ult i64 %more, %turns
  br i1 %again, label %loop, label %end
end:
  %done = phi i64 [%n, %go], [%more, %fine]
  ret i64 %done
}}
"""

# An application: wait for one event, then read, both timed by one clock: out has four words a turn.
_SERVE: Final = """
define i64 @serve(i32 %epoll, i32 %fd, ptr %buffer, i64 %size, i64 %turns, ptr %out) {
entry:
  br label %loop
loop:
  %n = phi i64 [0, %entry], [%more, %fine]
  %t0 = call i64 @now()
  %s = call i32 @epoll_wait(i32 %epoll, ptr %buffer, i32 1, i32 -1)
  %t1 = call i64 @now()
  %r = call i64 @recv(i32 %fd, ptr %buffer, i64 %size, i32 0)
  %t2 = call i64 @now()
  %thrice = mul i64 %n, 3
  %place = getelementptr i64, ptr %out, i64 %thrice
  store i64 %t0, ptr %place
  %second = getelementptr i64, ptr %place, i64 1
  store i64 %t1, ptr %second
  %third = getelementptr i64, ptr %place, i64 2
  store i64 %t2, ptr %third
  %more = add i64 %n, 1
  %good = icmp sgt i64 %r, 1
  br i1 %good, label %fine, label %end
fine:
  %again = icmp ult i64 %more, %turns
  br i1 %again, label %loop, label %end
end:
  %done = phi i64 [%n, %loop], [%more, %fine]
  ret i64 %done
}
"""


def text(machine: str) -> str:
    """All loops as LLVM's text, for a machine as platform.machine() calls it."""
    pause = _PAUSE.get(machine, "")
    timed = (_TIMED_LOOP.format(name=name, arguments=f"{given}, " if given else "", body=body.replace("PAUSE", pause))
             for name, given, body in _TIMED)  # fmt: skip
    each = (_EACH_LOOP.format(name=name, arguments=given, body=body) for name, given, body in _EACH)
    handover = _HANDOVER.replace("PAUSE", pause)
    return "".join((_TEXT, *timed, _CHAIN, handover, _GAPS, *each, _SERVE))


_I64, _I32, _PTR = ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p
_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "now": (),
    "nothing": (_I64,),
    "clocks": (_I64,),
    "atomics": (_PTR, _I64),
    "pauses": (_I64,),
    "getppids": (_I64,),
    "yields": (_I64,),
    "epolls": (_I32, _PTR, _I64),
    "preads": (_I32, _PTR, _I64, _I64),
    "pwrites": (_I32, _PTR, _I64, _I64),
    "chase": (_PTR, _I64),
    "dirty": (_PTR, _I64),
    "handover": (_PTR, _I64, _I64, _I64, _I64),
    "gaps": (_PTR, _I64, _I64, _I64, _PTR),
    "barriers": (_I64, _I64, _I64, _PTR),
    "serve": (_I32, _I32, _PTR, _I64, _I64, _PTR),
    **{name: (_I32, _PTR, _I64, _I64, _I32, _PTR) for name, _, _ in _EACH},
}


_KEPT: Final[list[Any]] = []
"""Code lives as long as its engine."""


@functools.cache
def loops() -> dict[str, Callable[..., int]]:
    """The loops by name. Raises HostError where there is no compiler, or the machine is not one of 64 bits."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        raise HostError("only a machine of 64 bits is measured", found=platform.machine())
    llvm = binding()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text(platform.machine())), target_machine(2))
    engine.finalize_object()
    _KEPT.append(engine)
    made: dict[str, Callable[..., int]] = {}
    for name, arguments in _SIGNATURES.items():
        made[name] = ctypes.CFUNCTYPE(_I64, *arguments)(engine.get_function_address(name))
    return made
