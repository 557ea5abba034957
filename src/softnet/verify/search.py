# SPDX-License-Identifier: GPL-2.0-or-later
"""A search: compiled, run in slices within its limits, and its verdict."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError
from softnet.lang import cache, ir
from softnet.lang.llvm_function import FAILURES, RUN_WORDS, STACK_BYTES
from softnet.lang.native_runtime import (
    _ENTER_X86,
    _INTRINSICS,
    _SWITCH_X86,
    FRAME_ARGUMENT,
    FRAME_FUNCTION,
    FRAME_RETURN,
    FRAME_WORDS,
)
from softnet.machine import state
from softnet.verify import words
from softnet.verify.frames import LOG, LOG_FILL
from softnet.verify.model import STACK_WORDS, Config, Model, build_model, components
from softnet.verify.properties import PROPERTIES, properties_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG_ROOM = 1 << 16
SLICE_STATES = 20_000
FAILED = -102

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
  switch i64 %what, label %explore [ i64 1, label %start i64 2, label %settle i64 3, label %replay ]
explore:
  %r0 = call i64 @vx_explore(ptr %S, i64 %arg)
  br label %done
start:
  %r1 = call i64 @vx_start(ptr %S)
  br label %done
settle:
  %r2 = call i64 @vx_settle(ptr %S, i64 %arg)
  br label %done
replay:
  %r3 = call i64 @vx_replay(ptr %S, i64 %arg)
  br label %done
done:
  %r = phi i64 [ %r0, %explore ], [ %r1, %start ], [ %r2, %settle ], [ %r3, %replay ]
  call void @pause(ptr %S, i64 %r)
  br label %loop
}
"""


def runtime_text() -> str:
    """LLVM's text of what stands around the search: its stack, the ways out, the log."""
    text = _RUNTIME.replace("SWITCH_CODE", "\\0A".join(_SWITCH_X86)).replace("ENTER_CODE", "\\0A".join(_ENTER_X86))
    numbers = {
        "OUTER": RUN_WORDS["outer"], "RESUME": RUN_WORDS["resume"], "CODE": RUN_WORDS["code"], "WHERE": RUN_WORDS["where"],
        "VALUE": RUN_WORDS["value"], "FUEL": RUN_WORDS["fuel"], "FAILED": FAILED, "ROOMWORD": RUN_WORDS["trace_room"],
        "LOGAT": LOG, "FILL": LOG_FILL, "ROOM": LOG_ROOM,
    }  # fmt: skip
    return re.sub(rf"\b({'|'.join(numbers)})\b", lambda found: str(numbers[found[1]]), text)


def module_text(model: Model) -> str:
    """All of a model's LLVM text."""
    lines = model.frames.text.lines
    return _INTRINSICS + runtime_text() + "\n".join(lines) + '\n!0 = !{}\n!1 = !{!"branch_weights", i32 100000, i32 1}\n' + (
        '!2 = !{!"branch_weights", i32 1, i32 50}\n'
    )


@dataclass
class Limits:
    """Where a search stops unfinished."""

    states: int = 20_000_000
    memory_bytes: int = 4 << 30


@dataclass
class Failure:
    """What a search found."""

    name: str
    text: str
    where: str = ""


@dataclass
class Outcome:
    """The verdict on one configuration, with the figures of the search."""

    config: Config
    verdict: str
    """``holds (exhausted)``, ``violated``, or ``inconclusive``."""
    why: str
    states: int
    transitions: int
    depth: int
    terminals: int
    frontier: int
    failure: Failure | None = None
    actions: list[int] = field(default_factory=list)
    bytes_used: int = 0


Progress = Callable[[int, int, int], bool]
"""Called with (states, transitions, states that wait to be expanded); False stops the search."""


class Machine:
    """A model's memory and its native code."""

    def __init__(self, config: Config, limits: Limits | None = None, *, log: bool = False) -> None:
        import numpy as np

        self.limits = limits or Limits()
        self.words: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        boot_model = build_model(config, log=log)
        self.model = boot_model
        self._lay_out()
        self._compile()
        self._prepare()

    # -- memory

    def _lay_out(self) -> None:
        """Image, frames, components, then the search's tables: untouched pages cost nothing."""
        import numpy as np

        model = self.model
        at = model.image.regions.size
        self.sp = at
        at += model.nr_contexts
        self.stacks = at
        at += model.nr_contexts * STACK_WORDS
        self.comps = components(model, self.stacks, self.sp)
        count = len(self.comps.names)
        key_words = (count + 1) // 2
        lists = at
        at += sum(len(a) for a in self.comps.addresses)
        directory = at
        at += words.VX_COMP_WORDS * count
        cur = at
        at += 2 * key_words
        want = at
        at += 2 * key_words
        # A state takes its row, an entry of the index at a load of at most 3/4, and a share of the values.
        share = self.limits.memory_bytes // 8
        max_states = min(self.limits.states, share * 2 // 3 // (key_words + 1 + 2))
        index_size = 1 << max((max_states * 4 // 3).bit_length(), 10)
        values_room = min(max(share // 4, 1 << 20), (1 << 32) - 1)
        ctable_size = 1 << max((values_room // 24).bit_length(), 16)
        ctable, index = at, at + ctable_size
        at = index + index_size
        store = at
        at += values_room
        pool = at
        at += max_states * (key_words + 1)
        self.words = np.zeros(at, dtype=np.int64)
        self.words[: model.image.regions.size] = np.array(model.image.memory, dtype=np.int64)
        self.field = {
            f.name: model.image.layout.tables["explorer"].base + f.offset
            for f in model.image.layout.structs["explorer"].fields.values()
        }
        for k, addresses in enumerate(self.comps.addresses):
            self.words[lists : lists + len(addresses)] = addresses
            row = directory + words.VX_COMP_WORDS * k
            self.words[row : row + 3] = [lists, len(addresses), self.comps.owners[k]]
            lists += len(addresses)
        nr_drivers = len(model.config.drivers)
        values = {
            "stacks": self.stacks, "stack_words": STACK_WORDS, "sp": self.sp, "nr_comps": count, "comps": directory, "cur": cur,
            "want": want, "key_words": key_words, "store": store, "store_used": 1, "store_room": values_room,
            "ctable": ctable, "ctable_mask": ctable_size - 1, "pool": pool, "max_states": max_states, "index": index,
            "index_mask": index_size - 1, "nr_actions": words.VX_PER_CPU * model.config.cpus + nr_drivers + 2,
            "nr_drivers": nr_drivers, "level_end": 1, "properties": properties_mask(model.config.properties),
        }  # fmt: skip
        for name, value in values.items():
            self.words[self.field[name]] = value
        self.pool, self.row_words = pool, key_words + 1

    def get(self, name: str) -> int:
        """A word of the search."""
        return int(self.words[self.field[name]])

    # -- code

    def _compile(self) -> None:
        llvm: Any = importlib.import_module("llvmlite.binding")
        from softnet.lang.compile import _target_machine

        machine = _target_machine(2)
        text = module_text(self.model)
        key = hashlib.sha256(f"verify {llvm.get_host_cpu_name()} {llvm.llvm_version_info}\n{text}".encode()).hexdigest()
        found = cache.load(key)
        code = found[1] if found is not None else b""
        if not code:
            module = llvm.parse_assembly(text)
            module.verify()
            tuning = llvm.create_pipeline_tuning_options(speed_level=2)
            llvm.create_pass_builder(machine, tuning).getModulePassManager().run(
                module, llvm.create_pass_builder(machine, tuning)
            )
            code = bytes(machine.emit_object(module))
            about = {"label": f"verify {self.model.config.kernel}", "positions": [], "functions": 0, "options": {}}
            cache.store(key, about, code)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self._engine.get_function_address("run"))

    def _prepare(self) -> None:
        """The search's own stack, and every context at its beginning."""
        import mmap

        import numpy as np

        self._region = mmap.mmap(-1, 2 * STACK_BYTES)
        region = np.frombuffer(self._region, dtype=np.int64)
        self._stack = region
        start = int(region.ctypes.data)
        first = -start % STACK_BYTES
        at = (first + STACK_BYTES) // 8 - 2 - FRAME_WORDS
        region[at + FRAME_ARGUMENT] = int(self.words.ctypes.data)
        region[at + FRAME_FUNCTION] = self._engine.get_function_address("main_body")
        region[at + FRAME_RETURN] = self._engine.get_function_address("enter")
        self.words[RUN_WORDS["resume"]] = start + 8 * at
        self.words[RUN_WORDS["stacks"]] = start + first
        self._log = np.zeros((LOG_ROOM, 3), dtype=np.int64)
        self.words[LOG] = int(self._log.ctypes.data)
        frames = self.model.frames
        for ctx in range(self.model.nr_contexts):
            root = "irq_context" if ctx < 2 * self.model.config.cpus else "task_context"
            entry = frames.resume.get(root) if root == "irq_context" else None
            self.words[self.stacks + ctx * STACK_WORDS] = entry or frames.entries[root]

    def call(self, what: int, argument: int = 0) -> int:
        """Run one of the search's functions: 0 explore, 1 start, 2 settle, 3 replay."""
        self.words[RUN_WORDS["trace_room"]] = what
        self.words[RUN_WORDS["value"]] = argument
        return int(self._run(int(self.words.ctypes.data)))

    # -- what happened

    def settle(self) -> None:
        """Let every CPU go to sleep before the search."""
        result = self.call(2, 10_000)
        if result < 0:
            failure = self.failure(result)
            raise SoftnetError("the configuration does not come to rest before the search", found=f"{failure.text} {failure.where}")

    def failure(self, code: int) -> Failure:
        """What a failed call means."""
        if code == FAILED:
            kind = FAILURES[int(self.words[RUN_WORDS["fuel"]])]
            number = int(self.words[RUN_WORDS["where"]])
            position = self.model.frames.text.positions[number]
            file = self.model.module.functions[position.function].file
            text = {
                "bug-on": "BUG_ON", "guard": "a guarded field is touched without its lock", "null": f"{position.what} of NULL",
                "lockdep": "lockdep_assert_held: the lock is not held", "fuel": "a loop without end",
                "stack": "recursion too deep for the explorer's frames",
            }.get(kind, f"{kind} {position.what}")  # fmt: skip
            return Failure(kind, f"{text} in {position.function}()", f"{file}:{position.line}")
        if code == words.VX_MACHINE or code == -1:
            error = int(self.words[self.model.image.engine_word("error")])
            name = {
                state.ERROR_SPIN_RECURSION: "spinlock recursion", state.ERROR_UNLOCK_NOT_OWNER: "unlock by another context",
                state.ERROR_SLEEP_IN_ATOMIC: "scheduling while atomic", state.ERROR_LOCKDEP: "lock not held",
            }.get(error, f"machine error {error}")  # fmt: skip
            return Failure(name, name)
        mask = self.get("violated")
        if code == words.VX_VIOLATION and mask:
            found = PROPERTIES[(mask & -mask).bit_length() - 1]
            return Failure(found.name, found.text)
        return Failure("unknown", f"code {code}")

    def parents(self) -> list[int]:
        """The actions that lead to where the search stands."""
        actions = [] if self.get("in_terminal") else [self.get("at_action")]
        at = self.get("head")
        while at:
            word = int(self.words[self.pool + at * self.row_words])
            actions.append(word & 0xFF)
            at = word >> 8
        return actions[::-1]


def search(config: Config, limits: Limits | None = None, progress: Progress | None = None) -> Outcome:
    """Explore a configuration. Ctrl-C and limits end the search cleanly: the verdict is then inconclusive."""
    machine = Machine(config, limits)
    machine.settle()
    code = machine.call(1)
    why = ""
    try:
        while code == words.VX_MORE:
            code = machine.call(0, SLICE_STATES)
            if progress is not None and not progress(
                machine.get("states"), machine.get("transitions"), machine.get("states") - machine.get("head")
            ):
                why = "stopped at the time limit"
                break
    except KeyboardInterrupt:
        why = "interrupted"
    return _outcome(machine, config, code, why)


def _outcome(machine: Machine, config: Config, code: int, why: str) -> Outcome:
    get = machine.get
    failure = None
    actions: list[int] = []
    if code == words.VX_DONE:
        verdict = "holds (exhausted)"
    elif code in (words.VX_VIOLATION, words.VX_MACHINE, FAILED):
        verdict = "violated"
        failure = machine.failure(code)
        actions = machine.parents()
    else:
        verdict = "inconclusive"
        why = why or "memory or state limit"
    used = 8 * (get("store_used") + get("states") * (machine.row_words + 1) + get("values"))
    return Outcome(
        config, verdict, why, get("states"), get("transitions"), get("depth"), get("terminals"), get("states") - get("head"),
        failure, actions, used,
    )  # fmt: skip


__all__ = ["Failure", "Limits", "Machine", "Outcome", "ir", "search"]
