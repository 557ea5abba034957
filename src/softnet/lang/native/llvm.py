# SPDX-License-Identifier: GPL-2.0-or-later
"""From the intermediate form to LLVM's text: one native function per kernel function.

Memory is the vector S of 64-bit words; those next to NULL are the engine's own (see RUN_WORDS). A context is a native stack
of its own: an interaction point compares the clock with the bound and, rarely, switches stacks (native.switch_runtime), so
that locals stay in registers. A wrong access jumps to ``fail`` with the number of its position, and the run ends there.

Loads and stores are tagged with their field: two different fields never overlap, so LLVM keeps the clock and the tables'
addresses in registers. What ``mem()`` reaches is outside all structures and counts as one more field.
"""

from __future__ import annotations

from softnet.lang import ir
from softnet.lang.native.llvm_function import FunctionText, Text
from softnet.lang.passes.null_checks import mark_sound


def emit_module(module: ir.Module, *, checked: bool, run_ahead: bool = True, count_points: bool = False) -> Text:
    """The functions of a module as text.

    In a user's functions sums, products and shifts that leave 64 bits stop the run; ``checked``: in softnet's own too, and
    and addresses given to mem() are checked against the size of memory. Without ``run_ahead`` every interaction point gives way;
    ``count_points`` counts them.
    """
    text = Text(run_ahead, count_points)
    mark_sound(module)
    recursive = recursive_functions(module)
    text.suspending = suspending_functions(module)
    for name in sorted(module.functions):
        function = module.functions[name]
        FunctionText(module, function, text, checked or not function.shipped, name in recursive).emit()
    text.lines += _pointer_table(module)
    text.lines += _metadata(text)
    return text


def recursive_functions(module: ir.Module) -> set[str]:
    """Functions that may be entered again before they return: on a cycle of calls, or calling through a pointer."""
    calls = {name: {i.function for b in f.blocks for i in b.body if isinstance(i, ir.Call)} for name, f in module.functions.items()}
    through_pointer = {
        name for name, f in module.functions.items() for b in f.blocks for i in b.body if isinstance(i, ir.CallPointer)
    }
    cyclic = set()
    for name in calls:
        seen: set[str] = set()
        pending = list(calls[name])
        while pending:
            other = pending.pop()
            if other not in seen and other in calls:
                seen.add(other)
                pending += calls[other]
        if name in seen:
            cyclic.add(name)
    return cyclic | through_pointer


def suspending_functions(module: ir.Module) -> frozenset[str]:
    """Functions in which the CPU may be lost, in themselves or in what they call."""
    found = {
        name
        for name, f in module.functions.items()
        if any(isinstance(i, ir.Point | ir.Suspend | ir.CallPointer) for b in f.blocks for i in b.body)
    }
    callers: dict[str, set[str]] = {}
    for name, f in module.functions.items():
        for block in f.blocks:
            for i in block.body:
                if isinstance(i, ir.Call):
                    callers.setdefault(i.function, set()).add(name)
    pending = sorted(found)
    while pending:
        for caller in sorted(callers.get(pending.pop(), set()) - found):
            found.add(caller)
            pending.append(caller)
    return frozenset(found)


def _pointer_table(module: ir.Module) -> list[str]:
    """Number of a function pointer -> function; a machine function is entered through an interaction point.

    A function that no pointer leads to has no entry, so that LLVM can drop it once it is inlined everywhere.
    """
    lines = []
    targets = ["ptr null"]
    arities = ["i8 -1"]
    for name in sorted(module.function_ids, key=module.function_ids.__getitem__):
        if name not in module.pointed:
            targets.append("ptr null")
            arities.append("i8 -1")
            continue
        function = module.functions[name]
        args = "".join(f", i64 %a{i}" for i in range(len(function.params)))
        target = f'@"{name}"'
        if function.kind == "hwfunc":
            target = f'@"{name}.pointed"'
            lines += [
                f"define internal i64 {target}(ptr noalias nonnull %S{args}) #1 {{",
                f"  %n = getelementptr inbounds i64, ptr %S, i64 {module.engine['now']}",
                f"  %m = getelementptr inbounds i64, ptr %S, i64 {module.engine['lim']}",
                "  %now = load i64, ptr %n",
                "  %lim = load i64, ptr %m",
                "  %over = icmp sgt i64 %now, %lim",
                "  br i1 %over, label %wait, label %go, !prof !2",
                "wait:",
                "  call void @give_way(ptr %S)",
                "  br label %go",
                "go:",
                f'  %r = tail call i64 @"{name}"(ptr %S{args})',
                "  ret i64 %r",
                "}",
            ]
        targets.append(f"ptr {target}")
        arities.append(f"i8 {len(function.params)}")
    count = len(targets)
    lines.append(f"@targets = internal constant [{count} x ptr] [{', '.join(targets)}]")
    lines.append(f"@arity = internal constant [{count} x i8] [{', '.join(arities)}]")
    return lines


def _metadata(text: Text) -> list[str]:
    """Branch weights and the alias tags: each field is a type of its own below one root."""
    lines = [
        "!0 = !{}",
        '!1 = !{!"branch_weights", i32 100000, i32 1}',
        '!2 = !{!"branch_weights", i32 1, i32 50}',
    ]
    root = 3 + 2 * len(text.tags) + 1
    for name, index in text.tags.items():
        lines.append(f'!{2 * index + 4} = !{{!"{name}", !{root + 1}, i64 0}}')
        lines.append(f"!{2 * index + 3} = !{{!{2 * index + 4}, !{2 * index + 4}, i64 0}}")
    lines.append(f'!{root + 1} = !{{!"word of memory"}}')
    return lines
