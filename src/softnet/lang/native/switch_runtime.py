# SPDX-License-Identifier: GPL-2.0-or-later
"""The runtime of compiled functions, in LLVM's text: stacks and the switch between them, records, and the ways out of a run.

Every context has a stack of its own. A context that must give way asks the machine's next_context() which one acts next and
switches to its stack; if it is the same one it goes on. Python gets control back, through ``pause``, when the run must stop: at
its time, for more arrivals, with a full trace buffer, at the end of a slice (so that Ctrl-C is noticed), or after a failure; the
stack of a context that failed is never entered again.
"""

from __future__ import annotations

import platform
from string import Template
from typing import TYPE_CHECKING, Final

from softnet.lang.native.abi import FAILURES, RUN_WORDS

if TYPE_CHECKING:
    from softnet.lang import ir

PAUSE_SLICE: Final = -100
PAUSE_TRACE: Final = -101
PAUSE_FAILED: Final = -102
"""What ``run`` returns besides the machine's own STOP_ codes."""

RECORD_WORDS: Final = 8
"""A record: time, CPU, the CPU's preempt_count, event, three arguments, and an unused word."""

# The saved registers lie on the stack of a context that does not run, from its stack pointer upwards. All contexts change stacks
# at the same call, so the processor predicts this return correctly.
SWITCH_X86 = (
    "pushq %rbp", "pushq %rbx", "pushq %r12", "pushq %r13", "pushq %r14", "pushq %r15",
    "movq %rsp, (%rdi)", "movq %rsi, %rsp",
    "popq %r15", "popq %r14", "popq %r13", "popq %r12", "popq %rbx", "popq %rbp", "retq",
)  # fmt: skip
RETURN_X86 = ("popq %r11", "jmpq *%r11")
"""How a function returns that may have changed stacks. The processor predicts a plain return from the calls before it; after a
change of stacks these were another context's, so each such prediction is wrong. Indirect jumps have a predictor that learns. r11 is
free in both calling conventions."""
ENTER_X86 = ("movq %r12, %rdi", "callq *%rbx", "ud2")
FRAME_WORDS: Final = 7
FRAME_ARGUMENT: Final = 3
FRAME_FUNCTION: Final = 4
FRAME_RETURN: Final = 6
"""A fresh stack's words: r12 is the argument, rbx the function, the return address is ``enter``."""

ACTOR_MASK: Final = 0xFFF
"""The actor in hw.next_key, as in machine/events.py."""
PREFETCH_CPUS: Final = 32
"""With at least so many CPUs, the next context and its stack are prefetched. That gained time with 64 and 256 CPUs and none with
16; 32 lies between and was not measured."""


def supported() -> bool:
    """Whether stacks can be switched on this processor."""
    return platform.machine() in ("x86_64", "AMD64")


def runtime_text(module: ir.Module) -> str:
    """LLVM's text of the runtime for a module."""
    words = {f"run_{name}": index for name, index in RUN_WORDS.items()}
    words |= {f"hw_{name}": module.engine[name] for name in ("now", "cpu", "ctx", "nr_cpus", "next_key")}
    preamble = "".join(
        f"define internal ptr @{name}(ptr %S) alwaysinline {{\n"
        f"  %p = getelementptr inbounds i64, ptr %S, i64 {index}\n  ret ptr %p\n}}\n"
        for name, index in words.items()
    )
    cpus, contexts = (module.table_dir + 2 * module.table_index[name] for name in ("cpu_hw", "context"))
    text = _RUNTIME.substitute(
        return_code="\\0A".join(RETURN_X86),
        switch_code="\\0A".join(SWITCH_X86),
        enter_code="\\0A".join(ENTER_X86),
        pause_slice=PAUSE_SLICE,
        pause_trace=PAUSE_TRACE,
        pause_failed=PAUSE_FAILED,
        ended=FAILURES.index("ended"),
        before_switch=f'call i64 @"{module.before_switch}"(ptr %S)' if module.before_switch else "",
        cpu_table=cpus,
        cpu_stride=module.strides["cpu_hw"],
        cpu_preempt_count=module.offsets["cpu_hw.preempt_count"],
        cpu_cur=module.offsets["cpu_hw.cur"],
        prefetch_cpus=PREFETCH_CPUS,
        actor_mask=ACTOR_MASK,
        context_table=contexts,
        context_stride=module.strides["context"],
    )
    return LLVM_INTRINSICS + preamble + text


LLVM_INTRINSICS = """
attributes #0 = { nounwind "no-builtins" }
attributes #1 = { nounwind "no-builtins" fn_ret_thunk_extern }
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.abs.i64(i64, i1)
declare i64 @llvm.ctlz.i64(i64, i1)
declare {i64, i1} @llvm.sadd.with.overflow.i64(i64, i64)
declare {i64, i1} @llvm.ssub.with.overflow.i64(i64, i64)
declare {i64, i1} @llvm.smul.with.overflow.i64(i64, i64)
"""

_RUNTIME: Final = Template(r"""
define internal void @switch_stack(ptr %save, i64 %to) naked noinline nounwind {
  call void asm sideeffect "$switch_code", "~{memory}"()
  unreachable
}

define void @__x86_return_thunk() naked noinline nounwind {
  call void asm sideeffect "$return_code", "~{memory}"()
  unreachable
}

define void @enter() naked noinline nounwind {
  call void asm sideeffect "$enter_code", "~{memory}"()
  unreachable
}

define i64 @run(ptr %S) nounwind {
  %outer = call ptr @run_outer(ptr %S)
  %at = call ptr @run_resume(ptr %S)
  %to = load i64, ptr %at
  call void @switch_stack(ptr %outer, i64 %to)
  %codep = call ptr @run_code(ptr %S)
  %code = load i64, ptr %codep
  ret i64 %code
}

define internal void @pause(ptr %S, i64 %code) noinline cold nounwind {
  %codep = call ptr @run_code(ptr %S)
  store i64 %code, ptr %codep
  %resume = call ptr @run_resume(ptr %S)
  %outer = call ptr @run_outer(ptr %S)
  %to = load i64, ptr %outer
  call void @switch_stack(ptr %resume, i64 %to)
  ret void
}

define internal void @fail(ptr %S, i64 %code, i64 %where, i64 %value) noinline cold noreturn nounwind {
  %wherep = call ptr @run_where(ptr %S)
  store i64 %where, ptr %wherep
  %valuep = call ptr @run_value(ptr %S)
  store i64 %value, ptr %valuep
  %fuelp = call ptr @run_fuel(ptr %S)
  store i64 %code, ptr %fuelp
  call void @pause(ptr %S, i64 $pause_failed)
  unreachable
}

define internal preserve_mostcc void @record(ptr %S, i64 %event, i64 %a, i64 %b, i64 %c) noinline nounwind {
  %fillp = call ptr @run_trace_fill(ptr %S)
  %roomp = call ptr @run_trace_room(ptr %S)
  %fill0 = load i64, ptr %fillp
  %room = load i64, ptr %roomp
  %full = icmp uge i64 %fill0, %room
  br i1 %full, label %drain, label %write
drain:
  call void @pause(ptr %S, i64 $pause_trace)
  br label %write
write:
  %fill = load i64, ptr %fillp
  %next = add i64 %fill, 1
  store i64 %next, ptr %fillp
  %tracep = call ptr @run_trace(ptr %S)
  %address = load i64, ptr %tracep
  %base = inttoptr i64 %address to ptr
  %row = mul i64 %fill, 8
  %p0 = getelementptr i64, ptr %base, i64 %row
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %p4 = getelementptr i64, ptr %p0, i64 4
  %p5 = getelementptr i64, ptr %p0, i64 5
  %p6 = getelementptr i64, ptr %p0, i64 6
  %p7 = getelementptr i64, ptr %p0, i64 7
  %nowp = call ptr @hw_now(ptr %S)
  %now = load i64, ptr %nowp
  %cpup = call ptr @hw_cpu(ptr %S)
  %cpu = load i64, ptr %cpup
  %dirp = getelementptr i64, ptr %S, i64 $cpu_table
  %cpus = load i64, ptr %dirp
  %off = mul i64 %cpu, $cpu_stride
  %mine = add i64 %cpus, %off
  %counta = add i64 %mine, $cpu_preempt_count
  %countp = getelementptr i64, ptr %S, i64 %counta
  %count = load i64, ptr %countp
  store i64 %now, ptr %p0
  store i64 %cpu, ptr %p1
  store i64 %count, ptr %p2
  store i64 %event, ptr %p3
  store i64 %a, ptr %p4
  store i64 %b, ptr %p5
  store i64 %c, ptr %p6
  store i64 0, ptr %p7
  ret void
}

define internal void @give_way(ptr %S) noinline cold #1 {
  %fuelp = call ptr @run_fuel(ptr %S)
  %fullp = call ptr @run_fuel_full(ptr %S)
  %full = load i64, ptr %fullp
  store i64 %full, ptr %fuelp
  %slicep = call ptr @run_slice(ptr %S)
  %slice = load i64, ptr %slicep
  %less = sub i64 %slice, 1
  store i64 %less, ptr %slicep
  %over = icmp slt i64 %less, 0
  br i1 %over, label %rest, label %choose
rest:
  call void @pause(ptr %S, i64 $pause_slice)
  br label %choose
choose:
  %mep = call ptr @hw_ctx(ptr %S)
  %me = load i64, ptr %mep
  %next = call i64 @chosen(ptr %S)
  %same = icmp eq i64 %next, %me
  br i1 %same, label %back, label %away
away:
  %tablep = call ptr @run_stack_of(ptr %S)
  %tablea = load i64, ptr %tablep
  %table = inttoptr i64 %tablea to ptr
  %mine = getelementptr i64, ptr %table, i64 %me
  %theirs = getelementptr i64, ptr %table, i64 %next
  %to = load i64, ptr %theirs
  call void @prefetch(ptr %S, ptr %table)
  call void @switch_stack(ptr %mine, i64 %to)
  br label %back
back:
  ret void
}

; Prefetch what the likely next switch will need: that CPU's context and the top of its stack.
define internal void @prefetch(ptr %S, ptr %stacks) alwaysinline nounwind {
  %cpusp = call ptr @hw_nr_cpus(ptr %S)
  %cpus = load i64, ptr %cpusp
  %few = icmp ult i64 %cpus, $prefetch_cpus
  br i1 %few, label %done, label %many
many:
  %keyp = call ptr @hw_next_key(ptr %S)
  %key = load i64, ptr %keyp
  %follower = and i64 %key, $actor_mask
  %other = icmp uge i64 %follower, %cpus
  br i1 %other, label %done, label %cpu
cpu:
  %dirp = getelementptr i64, ptr %S, i64 $cpu_table
  %dir = load i64, ptr %dirp
  %words = mul i64 %follower, $cpu_stride
  %theirs = add i64 %dir, %words
  %cura = add i64 %theirs, $cpu_cur
  %curp = getelementptr i64, ptr %S, i64 %cura
  %cur = load i64, ptr %curp
  %ctxp = getelementptr i64, ptr %S, i64 %cur
  call void @llvm.prefetch.p0(ptr %ctxp, i32 0, i32 3, i32 1)
  %contextsp = getelementptr i64, ptr %S, i64 $context_table
  %contexts = load i64, ptr %contextsp
  %away = sub i64 %cur, %contexts
  %index = udiv i64 %away, $context_stride
  %slot = getelementptr i64, ptr %stacks, i64 %index
  %top = load i64, ptr %slot
  %p0 = inttoptr i64 %top to ptr
  call void @llvm.prefetch.p0(ptr %p0, i32 0, i32 3, i32 1)
  %p1 = getelementptr i8, ptr %p0, i64 64
  call void @llvm.prefetch.p0(ptr %p1, i32 0, i32 3, i32 1)
  %p2 = getelementptr i8, ptr %p0, i64 128
  call void @llvm.prefetch.p0(ptr %p2, i32 0, i32 3, i32 1)
  %p3 = getelementptr i8, ptr %p0, i64 192
  call void @llvm.prefetch.p0(ptr %p3, i32 0, i32 3, i32 1)
  br label %done
done:
  ret void
}

define internal i64 @chosen(ptr %S) nounwind {
  br label %again
again:
  %next = call i64 @"next_context"(ptr %S)
  %stop = icmp slt i64 %next, 0
  br i1 %stop, label %wait, label %go
wait:
  call void @pause(ptr %S, i64 %next)
  br label %again
go:
  $before_switch
  ret i64 %next
}

define void @boot(ptr %S) nounwind {
  %next = call i64 @chosen(ptr %S)
  %tablep = call ptr @run_stack_of(ptr %S)
  %tablea = load i64, ptr %tablep
  %table = inttoptr i64 %tablea to ptr
  %theirs = getelementptr i64, ptr %table, i64 %next
  %to = load i64, ptr %theirs
  %left = call ptr @run_value(ptr %S)
  call void @switch_stack(ptr %left, i64 %to)
  unreachable
}

define void @irq_body(ptr %S) nounwind {
  %r = call i64 @"irq_context"(ptr %S)
  call void @fail(ptr %S, i64 $ended, i64 -1, i64 0)
  unreachable
}

define void @task_body(ptr %S) nounwind {
  %r = call i64 @"task_context"(ptr %S)
  call void @fail(ptr %S, i64 $ended, i64 -1, i64 0)
  unreachable
}

define i64 @set_stop(ptr %S, i64 %at) nounwind {
  %r = call i64 @"stop_set"(ptr %S, i64 %at)
  ret i64 %r
}

define i64 @set_actor(ptr %S, i64 %actor, i64 %at) nounwind {
  %r = call i64 @"actor_set"(ptr %S, i64 %actor, i64 %at)
  ret i64 %r
}
""")
