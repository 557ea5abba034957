# SPDX-License-Identifier: GPL-2.0-or-later
"""I3, I4 and I5: who owns a NAPI, where a backlog is polled, and that a filled backlog is scheduled.

Ownership is followed from hand to hand. Whoever turns SCHED from 0 to 1 carries the NAPI until it stands on a poll list, on the
way of an RPS IPI, or with a thread; whoever polls it holds it until SCHED goes to 0 or it is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softnet.machine import state
from softnet.simulate import readout
from softnet.simulate.invariants_watch import BOUND_NS, Inside, Watch

SCHED, SCHED_THREADED = 1 << 0, 1 << 9

CLAIMING = (
    "enqueue_to_backlog", "kick_defer_list_purge", "napi_schedule", "napi_schedule_irqoff", "napi_watchdog",
    "napi_complete_done", "skb_attempt_defer_free",
)  # fmt: skip
"""Functions that may take SCHED: when the outermost one returns, somebody else must own what it took."""


@dataclass
class Napi:
    """One NAPI: its words in memory, and who owns it by what was observed."""

    name: str
    state: int
    node: int
    thread: int
    cpu: int
    """The backlog's CPU, -1 for a device's NAPI."""
    was: int = 0
    carriers: tuple[int, ...] = ()
    """Contexts that have taken SCHED or the NAPI itself off a list and not yet passed it on."""
    polled_by: int = -1
    with_thread: bool = False
    on_ipi: bool = False
    broken: bool = False
    suspect_since: int = -1


class NapiChecks:
    """The checks of I3, I4 and I5 over one image."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.memory = watch.memory
        image = watch.image
        self.backlogs = [self._napi("softnet_data", cpu, "backlog", cpu) for cpu in range(watch.nr_cpus)]
        self.napis = [
            *self.backlogs,
            *(self._napi("nic_vector", q, "napi", -1) for q in range(image.nr_queues)),
        ]
        self.of_base = {n.state - watch.offset("napi_struct", "state"): n for n in self.napis}
        self.of_state = {n.state: n for n in self.napis}
        self.of_node = {n.node: n for n in self.napis}
        self.task_ctx, self.ctx_id = watch.offset("task_struct", "ctx"), watch.offset("context", "id")
        self.task_words = {n: watch.offset("task_struct", n) for n in ("state", "on_rq", "on_cpu")}
        self.qlens = [watch.address("softnet_data", c, "input_pkt_queue.qlen") for c in range(watch.nr_cpus)]
        self.locks = [
            watch.address("softnet_data", c, "input_pkt_queue.lock.owner") for c in range(watch.nr_cpus)
        ]
        self.ipi_heads = [watch.address("softnet_data", c, "rps_ipi_list") for c in range(watch.nr_cpus)]
        self.ipi_next = watch.offset("softnet_data", "rps_ipi_next")
        self.csd_flags = [watch.address("softnet_data", c, "csd.u_flags") for c in range(watch.nr_cpus)]
        self.sds = image.layout.tables["softnet_data"]
        for napi in self.napis:
            napi.was = self.memory[napi.state]
        self._install()

    def _napi(self, struct: str, index: int, path: str, cpu: int) -> Napi:
        at = self.watch.address(struct, index, path)
        offset = self.watch.offset
        return Napi(
            f"backlog/{cpu}" if cpu >= 0 else f"the NAPI of queue {index}", at + offset("napi_struct", "state"),
            at + offset("napi_struct", "poll_list"), at + offset("napi_struct", "thread"), cpu,
        )  # fmt: skip

    def _install(self) -> None:
        watch = self.watch
        watch.on_store("napi_struct", "state", self.of_state, self._state_stored)
        self.enqueueing: Inside = watch.inside("enqueue_to_backlog", lambda args: int(args[1]))
        self.sending: Inside = watch.inside("net_rps_send_ipi")
        self.calling: Inside = watch.inside("__flush_smp_call_function_queue")
        self.claiming = [watch.inside(name) for name in CLAIMING]
        for name in CLAIMING:
            watch.around(name, after=lambda args, result: self._claimer_returned())
        watch.around("____napi_schedule", self._schedule, self._scheduled)
        watch.around("napi_schedule_rps", after=self._rps_scheduled)
        watch.around("list_add_tail", before=self._linked)
        watch.around("wake_up_process", before=self._waking)
        watch.around("__napi_poll", self._poll_begins, self._poll_ended)
        poll = watch.offset("napi_struct", "poll")
        functions = watch.image.linked.functions
        numbers = {self.memory[base + poll] for base in self.of_base}
        for name in sorted(functions[number].__name__ for number in numbers if number):
            watch.around(name, self._polling, self._polled)

    def _thread_ctx(self, napi: Napi) -> int:
        task = self.memory[napi.thread]
        return self.memory[self.memory[task + self.task_ctx] + self.ctx_id] if task else -1

    def _add(self, napi: Napi, ctx: int) -> None:
        if ctx not in napi.carriers:
            napi.carriers = (*napi.carriers, ctx)

    def _drop(self, napi: Napi, ctx: int) -> None:
        if ctx in napi.carriers:
            napi.carriers = tuple(c for c in napi.carriers if c != ctx)

    def _state_stored(self, address: int) -> None:
        napi, now, ctx = self.of_state[address], self.memory[address], self.watch.ctx()
        was, napi.was = napi.was, now
        if now & SCHED and not was & SCHED:
            self._add(napi, ctx)
        elif was & SCHED and not now & SCHED:
            napi.polled_by, napi.with_thread, napi.on_ipi = -1, False, False
            self._drop(napi, ctx)
        if now & SCHED_THREADED and not was & SCHED_THREADED:
            if ctx in napi.carriers:
                self._drop(napi, ctx)
                napi.with_thread = True
        elif was & SCHED_THREADED and not now & SCHED_THREADED and now & SCHED:
            # napi_complete_done() that saw MISSED: the poller schedules the NAPI anew.
            napi.with_thread = False
            if napi.polled_by == ctx:
                napi.polled_by = -1
            self._add(napi, ctx)
        if now & SCHED != was & SCHED:
            self.check(napi)

    def _schedule(self, args: tuple[Any, ...]) -> None:
        napi = self.of_base.get(args[1]._a)
        if napi is None:
            return
        ctx = self.watch.ctx()
        if napi.polled_by == ctx:
            napi.polled_by = -1
        if napi.with_thread and ctx == self._thread_ctx(napi):
            napi.with_thread = False
        napi.on_ipi = False
        self._add(napi, ctx)
        self.check(napi)

    def _scheduled(self, args: tuple[Any, ...], result: Any) -> None:
        napi = self.of_base.get(args[1]._a)
        if napi is not None:
            self._drop(napi, self.watch.ctx())
            self.check(napi)

    def _rps_scheduled(self, args: tuple[Any, ...], result: Any) -> None:
        sd = args[0]._a
        ctx = self.watch.ctx()
        napi = self.backlogs[(sd - self.sds.base) // self.sds.stride]
        if ctx in napi.carriers:
            self._drop(napi, ctx)
            napi.on_ipi = True
            self.check(napi)

    def _linked(self, args: tuple[Any, ...]) -> None:
        napi = self.of_node.get(args[0]._a)
        if napi is not None:
            self._drop(napi, self.watch.ctx())

    def _waking(self, args: tuple[Any, ...]) -> None:
        task, ctx = args[0]._a, self.watch.ctx()
        for napi in self.napis:
            if ctx in napi.carriers and self.memory[napi.thread] == task:
                self._drop(napi, ctx)
                napi.with_thread = True

    def _poll_begins(self, args: tuple[Any, ...]) -> None:
        napi = self.of_base.get(args[0]._a)
        if napi is not None and self.memory[napi.state] & SCHED:
            self._add(napi, self.watch.ctx())

    def _poll_ended(self, args: tuple[Any, ...], result: Any) -> None:
        napi = self.of_base.get(args[0]._a)
        if napi is not None:
            ctx = self.watch.ctx()
            self._drop(napi, ctx)
            if napi.polled_by == ctx:
                napi.polled_by = -1

    def _polling(self, args: tuple[Any, ...]) -> None:
        napi = self.of_base.get(args[0]._a)
        if napi is None:
            return
        watch, ctx = self.watch, self.watch.ctx()
        if napi.cpu >= 0 and watch.cpu() != napi.cpu:
            watch.violation("I4", f"{napi.name} is polled on CPU {watch.cpu()} by {watch.describe(ctx)}")
        self._drop(napi, ctx)
        if napi.polled_by not in (-1, ctx):
            watch.violation(
                "I3",
                f"{napi.name} is polled by {watch.describe(ctx)} and by {watch.describe(napi.polled_by)}",
            )
        napi.polled_by = ctx
        self.check(napi)

    def _polled(self, args: tuple[Any, ...], result: Any) -> None:
        napi = self.of_base.get(args[0]._a)
        if napi is not None and napi.cpu >= 0 and self.watch.cpu() != napi.cpu:
            self.watch.violation("I4", f"the poll of {napi.name} ended on CPU {self.watch.cpu()}")

    def _claimer_returned(self) -> None:
        """Who took SCHED and returns without having passed the NAPI on leaves it to nobody."""
        ctx = self.watch.ctx()
        if any(inside.by(ctx) for inside in self.claiming):
            return
        for napi in self.napis:
            if ctx in napi.carriers and napi.polled_by != ctx:
                self._drop(napi, ctx)
                self.check(napi)

    def owners(self, napi: Napi) -> list[str]:
        """Everybody who owns the NAPI, in words; the thread that polls it is one owner."""
        watch = self.watch
        out = []
        if self.memory[napi.node] != napi.node:
            out.append("it stands on a poll list")
        thread = self._thread_ctx(napi)
        carriers = napi.carriers
        if napi.with_thread or (napi.polled_by == thread and thread >= 0):
            out.append("its thread has it")
            carriers = tuple(c for c in carriers if c != thread)
            if napi.polled_by not in (-1, thread):
                out.append(f"{watch.describe(napi.polled_by)} polls it")
        elif napi.polled_by >= 0:
            out.append(f"{watch.describe(napi.polled_by)} polls it")
        if napi.on_ipi:
            out.append("an RPS IPI is under way for it")
        out += [f"{watch.describe(c)} is about to schedule or poll it" for c in carriers]
        return out

    def check(self, napi: Napi) -> None:
        """I3 here and now."""
        sched = self.memory[napi.state] & SCHED
        owners = self.owners(napi)
        if len(owners) == sched:
            napi.broken = False
            return
        if napi.broken:
            return
        napi.broken = True
        text = "; ".join(owners) if owners else "nobody owns it"
        self.watch.violation("I3", f"{napi.name} has SCHED {'set' if sched else 'clear'}: {text}")

    def check_cpu(self, cpu: int, now: int) -> None:
        """I5 for the CPU's backlog, and I3's long view: what owns it must be able to go on."""
        memory, napi = self.memory, self.backlogs[cpu]
        self.check(napi)
        if memory[self.qlens[cpu]] and not memory[napi.state] & SCHED and memory[self.locks[cpu]] == 0:
            if not self.enqueueing.about(cpu) and self.watch.online(cpu):
                n = memory[self.qlens[cpu]]
                self.watch.violation(
                    "I5", f"{napi.name} has SCHED clear with {n} packets queued", cpu=cpu, time_ns=now
                )
        self._check_progress(napi, now)

    def check_devices(self, now: int) -> None:
        """The long view for the devices' NAPIs."""
        for napi in self.napis[self.watch.nr_cpus :]:
            self.check(napi)
            self._check_progress(napi, now)

    def _check_progress(self, napi: Napi, now: int) -> None:
        what, known = "", ""
        if napi.with_thread and self._asleep(self.memory[napi.thread]):
            what = f"{napi.name} belongs to its thread, which sleeps and was not woken"
        elif napi.on_ipi and not self._ipi_under_way(napi.cpu):
            what = f"{napi.name} waits for an RPS IPI that nobody will send"
            known = "" if self.watch.online(napi.cpu) else "C5"
        if not what:
            napi.suspect_since = -1
        elif napi.suspect_since < 0:
            napi.suspect_since = now
        elif now - napi.suspect_since > BOUND_NS and not napi.broken:
            napi.broken = True
            self.watch.violation("I3", what, cpu=max(napi.cpu, 0), time_ns=now, known=known)

    def _asleep(self, task: int) -> bool:
        memory, words = self.memory, self.task_words
        if memory[task + words["on_cpu"]] or memory[task + words["on_rq"]]:
            return False
        return memory[task + words["state"]] in (state.TASK_INTERRUPTIBLE, state.TASK_UNINTERRUPTIBLE)

    def _ipi_under_way(self, cpu: int) -> bool:
        if self.memory[self.csd_flags[cpu]] or self.sending.entries or self.calling.on_cpu(cpu):
            return True
        address = self.sds.base + cpu * self.sds.stride
        return any(
            address in readout.chain(self.watch.image, self.memory[head], self.ipi_next)
            for head in self.ipi_heads
        )
