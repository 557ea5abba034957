# SPDX-License-Identifier: GPL-2.0-or-later
"""A schedule in the reference engine: the kernel's functions as plain Python, where a debugger can stop in them.

What an action is, which can happen and what it does is the search's own text, run in Python, too: vx_perform() and all
below it. Only ``verify_step`` is another: the switch to a greenlet instead of the jump into a frame. After every step the
properties are asked, so a violation shows at the step that brings it about.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.native.abi import FAILURES
from softnet.lang.python.link import link
from softnet.lang.python.stop import KernelStop
from softnet.properties.numbers import VX_LOCK_ORDER
from softnet.simulate.reference import MISTAKES, kernel_stop
from softnet.trace import EVENT_ID
from softnet.verify.actions import decode_action
from softnet.verify.arena import Failure, machine_failure, race_failure
from softnet.verify.codegen.llvm_functions import holders_of
from softnet.verify.codegen.python_loop import LOOP, Stops
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.inside import words
from softnet.verify.inside.races import VX_ERROR_RACE
from softnet.verify.liveness import property_of
from softnet.verify.lock_order import Locks
from softnet.verify.model import STACK_WORDS, Config, Model, asks_races, build_model, components, store_buffer
from softnet.verify.properties import properties_mask
from softnet.verify.replay.schedule import Access, Replay, Schedule, Step, replay

PHASE_WORD = words.VX_PHASE_WORD


class ReferenceReplay(Replay):
    """Does the actions of a schedule one by one, in plain Python."""

    def __init__(self, config: Config) -> None:
        import greenlet

        if store_buffer(config):
            raise SoftnetError(
                "the reference engine has no store buffers",
                where="--engine",
                found=f"memory_model={config.memory_model}",
                expected="a schedule of sequentially consistent memory, or --engine native",
            )
        self._greenlet = greenlet.greenlet
        self.model: Model = build_model(config)
        memory = self.model.image.memory
        stacks = len(memory)
        memory.extend([0] * (self.model.nr_contexts + 2) * STACK_WORDS)
        self.parts = components(self.model, stacks)
        self.words = memory
        self.stops = self._linked()
        self._contexts: dict[int, Any] = {}
        self._failure: Failure | None = None
        self._seen = 0
        self.number = self.cpu = 0
        self._lay_out(stacks)
        self.run = self.image.linked.machine
        self.run["vx_settle"](10_000)

    def _linked(self) -> Stops:
        """Link the functions anew over the booted memory, with the search's stops."""
        image, program = self.model.image, self.model.program
        fields = {f"{s.name}.{f.name}": f.kind for s in program.structs.values() for f in s.fields.values()}
        stops = Stops(
            self.words,
            fields,
            self.model.changing,
            self.model.config.reduce,
            self.model.facts,
            image.engine_word("ctx"),
            frozenset(name for name, said in self.model.facts.functions.items() if said.price_only),
        )
        holders = holders_of(self.model.module, program.structs, races=self.model.config.races)
        stops.freed, stops.nodes, stops.races = holders.freed, holders.nodes, holders.races
        linked = link(
            program,
            image.layout,
            self.words,
            image.cost_index,
            EVENT_ID,
            lambda *args: None,
            checks=True,
            hooks=stops,
        )
        linked.switch.value = stops.leave
        linked.machine["verify_step"] = self._step
        stops.machine = linked.machine
        self.image = replace(image, linked=linked)
        return stops

    def _lay_out(self, stacks: int) -> None:
        """The words of the search that an action reads."""
        model = self.model
        locks = Locks.of(model.words_of)
        self.locks = locks
        base = model.image.layout.tables["explorer"].base
        at = {f.name: base + f.offset for f in model.image.layout.structs["explorer"].fields.values()}
        table = len(self.words)
        self.words.extend(locks.table())
        self.lock_order = table + 2 * len(locks.addresses)
        config = model.config
        values = {
            "stacks": stacks, "stack_words": STACK_WORDS, "saved": stacks + model.nr_contexts * STACK_WORDS,
            "log": stacks + (model.nr_contexts + 1) * STACK_WORDS, "nr_drivers": len(model.config.drivers),
            "nr_actions": self.nr_actions(), "properties": properties_mask(config.properties, model.properties, config.without),
            "races": int(asks_races(config)), "early": self._early(), "locks": table,
            "nr_locks": len(locks.addresses), "lock_classes": len(locks.classes), "lock_order": self.lock_order,
        }  # fmt: skip
        for name, value in values.items():
            self.words[at[name]] = value
        self.properties = values["properties"]

    def _early(self) -> int:
        """Where the table of early accesses stands, which nobody fills where no action is taken back."""
        at = len(self.words)
        if self.model.config.races:
            self.words.extend([0] * (8 * self.model.config.cpus * self.model.image.regions.size))
        return at

    def _step(self, frame: int) -> int:
        """verify_step(): run the context that the search says."""
        ctx = self.words[self.image.engine_word("ctx")]
        body = self._contexts.get(ctx)
        if body is None:
            entry = "irq_context" if ctx < 2 * self.model.config.cpus else "task_context"
            body = self._contexts[ctx] = self._greenlet(self.image.linked.kernel[entry])
        self.image.linked.turns.value = 0
        # No frame is in memory: the context's part of it begins and ends where it is.
        self.words[words.VX_FRAME_WORD] = self.words[words.VX_END_WORD] = frame
        return self.stops.run(body, self.words[PHASE_WORD])

    # -- what a replay does

    def step(self, number: int, action: int) -> tuple[Step, int]:
        self.number = number
        self.cpu = decode_action(self.model.config, action).cpu
        return super().step(number, action)

    def perform(self, action: int) -> int:
        self.stops.notes = []
        try:
            return int(self.run["vx_replay"](action))
        except KernelStop as stop:
            self._failure = self._stopped(stop)
        except MISTAKES as error:
            mistake = kernel_stop(self.image, error)
            if mistake is None:
                raise
            self._failure = self._stopped(mistake)
        return FAILED

    def accesses(self) -> list[Access]:
        return [self.access(n.what, n.function, n.file, n.line, n.address, n.value) for n in self.stops.notes]

    def failure(self, code: int) -> Failure:
        if code == FAILED and self._failure is not None:
            return self._failure
        error = self.words[self.image.engine_word("error")]
        if error == VX_ERROR_RACE:
            v = self.image.ref("explorer", 0)
            address, ctx = (self.words[self.image.engine_word(name)] for name in ("error_arg", "ctx"))
            return race_failure(self.model, address, ctx, v.race_with, v.race_how)
        return machine_failure(error)

    def stacks(self) -> list[str]:
        return []

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """While somebody looks at memory from outside no access counts, and no lock is asked for."""
        running = self.image.engine_word("running")
        active, was = self.stops.active, self.words[running]
        self.stops.active, self.words[running] = False, 0
        try:
            yield
        finally:
            self.stops.active, self.words[running] = active, was

    def found(self) -> list[Failure]:
        """The properties that are violated in this state and were not before."""
        new = self._named(self.run["verify_state"]() & self.properties & ~self._seen)
        cycle = self.locks.cycle(self.words[self.lock_order : self.lock_order + len(self.locks.classes) ** 2])
        if cycle is not None and self.properties >> VX_LOCK_ORDER & ~self._seen >> VX_LOCK_ORDER & 1:
            self._seen |= 1 << VX_LOCK_ORDER
            new.append(Failure("lock order", cycle[0]))
        return new

    def found_at_the_end(self) -> list[Failure] | None:
        """What is violated where nothing can happen any more; None if something can. It tries, so nothing may follow."""
        v = self.image.ref("explorer", 0)
        enabled = [action for action in range(self.nr_actions()) if self.run["vx_enabled"](v, action)]
        mask = self.run["verify_terminal"](len(enabled)) & self.properties & ~self._seen
        if any(self.perform(action) != words.VX_BLOCKED for action in enabled):
            return None
        return self._named(mask)

    def found_for_ever(self) -> list[Failure]:
        """What may be so now, and must not be for ever."""
        owed = self.run["vx_owed"]()
        return self._named(sum({1 << property_of(bit) for bit in range(62) if owed >> bit & 1}) & self.properties)

    def state(self) -> tuple[tuple[int, ...], tuple[tuple[Any, ...], ...]]:
        """All words of the state, and where each context stands: its kernel functions with line and column."""
        values = tuple(self.words[a] for a in self.addresses())
        places: list[tuple[Any, ...]] = []
        for ctx in sorted(self._contexts):
            frame = self._contexts[ctx].gr_frame
            while frame is not None:
                code = frame.f_code
                if not code.co_filename.endswith(LOOP):
                    # CPython has the test of a while loop twice: its place in the source is one.
                    places.append((ctx, code.co_name, *list(code.co_positions())[frame.f_lasti // 2]))
                frame = frame.f_back
        return values, tuple(places)

    def addresses(self) -> list[int]:
        """The words of the state, but for the contexts' frames."""
        return [a for k, part in enumerate(self.parts.addresses) if not self.parts.owners[k] for a in part]

    def _named(self, mask: int) -> list[Failure]:
        self._seen |= mask
        found = [p for number, p in sorted(self.model.properties.items()) if mask >> number & 1]
        return [Failure(p.name, p.text, self.stops.warned if p.name == "no warning" else "") for p in found]

    def _stopped(self, stop: KernelStop) -> Failure:
        """The failure as the native code names it."""
        file, line, function = re.fullmatch(r"(.*):(\d+): in (\w+)\(\)", stop.where).groups()  # type: ignore[union-attr]
        kind, text = self._kind(stop.message, function, int(line))
        assert kind in FAILURES
        return Failure(kind, f"{text} in {function}()", f"{file}:{line}")

    def _kind(self, message: str, function: str, line: int) -> tuple[str, str]:
        """Kind and text of what stopped a kernel function."""
        null = re.fullmatch(r"(\w+) of a NULL reference", message)
        if null:
            return "null", f"{self._field(function, line, null[1])} of NULL"
        for begin, kind, text in (
            ("BUG_ON", "bug-on", "BUG_ON"),
            ("lockdep", "lockdep", "lockdep_assert_held: the lock is not held"),
            ("a loop turned", "fuel", "a loop without end"),
            ("recursion", "stack", "recursion too deep for the explorer's frames"),
        ):
            if message.startswith(begin):
                return kind, text
        if message.startswith("touched after"):
            return "freed", f"{message.rpartition(' ')[2]} of an skb that is free"
        if " touched without " in message:
            return "guard", "a guarded field is touched without its lock"
        outside = re.fullmatch(r"index -?\d+ is outside 0\.\.(-?\d+)", message)
        if outside:
            return "index", f"index {int(outside[1]) + 1}"
        if "pointer" in message:
            return "pointer", "pointer"
        return ("divide", "divide") if "zero" in message else ("shift", "shift")

    def _field(self, function: str, line: int, name: str) -> str:
        """The "structure.field" of a field's name, from the intermediate form of that line."""
        for block in self.model.module.functions[function].blocks:
            for i in block.body:
                if isinstance(i, ir.Offset) and i.at.line == line and i.what.endswith(f".{name}"):
                    return i.what
        return name


def watched(
    reference: ReferenceReplay,
    runs: Replay,
    actions: Sequence[int],
    repeats: int,
    stop: Callable[[Step], bool] | None,
) -> tuple[Schedule, list[str]]:
    """Do the actions in ``runs``, which is ``reference`` or has it inside, and say in lines what is violated, and when.

    Of a schedule whose last ``repeats`` actions repeat for ever: whether they lead back, and what is owed all the while.
    """
    said: list[str] = []
    begin = len(actions) - repeats
    before: list[Any] = []
    owed: list[list[Failure]] = []

    def after(step: Step) -> bool:
        said.extend(
            f"violated after step {step.number}: {f.name}: {f.text}{f' ({f.where})' if f.where else ''}" for f in reference.found()
        )
        if repeats and step.number >= begin:
            owed.append(reference.found_for_ever())
            if step.number in (begin, len(actions)):
                before.append(reference.state())
        return False

    said.extend(f"violated in the first state: {f.name}: {f.text}" for f in reference.found())
    if repeats and begin == 0:
        before.append(reference.state())
    schedule = replay(runs.model.config, actions, stop, runs, after)
    if schedule.failure is None and len(schedule.steps) == len(actions):
        if repeats:
            back = len(before) == 2 and before[0] == before[1]
            said.append(
                f"the last {repeats} steps lead back to the same state"
                if back
                else f"the last {repeats} steps do not lead back to where they began"
            )
            said += [f"violated for ever: {f.name}: {f.text}" for f in owed[0] if back and all(f in then for then in owed)]
        else:
            last = reference.found_at_the_end()
            said += ["something can still happen after the last step"] if last is None and not said else []
            said += [f"violated where nothing can happen any more: {f.name}: {f.text}" for f in last or ()]
    return schedule, said
