# SPDX-License-Identifier: GPL-2.0-or-later
"""The model's own kernel functions, run one at a time on a state that can be put aside and taken up again.

Which functions run, on which CPU and in which order, a recorded trace says; so the machine's scheduler, locks
and interrupts stand still here, and each function runs from its entry to its end. What the functions decide is
read from the model's own trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from softnet.lab.errors import LabError
from softnet.lab.validate.branches import Branches
from softnet.lab.validate.memory import History, Memory, Noted
from softnet.lab.validate.reader import CpuState, Reader

if TYPE_CHECKING:
    from softnet.image.image import Image
    from softnet.lang.program.program import Program
    from softnet.scenario import Scenario

_BOOT_NS = 2_000_000


@dataclass(frozen=True, slots=True)
class Decision:
    """What skb_attempt_defer_free() decided.

    ``place`` is "local" (freed at once: this CPU's own), "limit" (freed at once: the list is full) or "list";
    ``kick`` is "" for none, "sent", "coalesced", or "due" where it is still to come; ``by`` is "ipi", "thread" or "work" (an
    item of a workqueue).
    """

    place: str
    kick: str
    by: str


class Counted(NamedTuple):
    """An skb that skb_attempt_defer_free() has counted and not yet put on the list: its row, and what the counter was then."""

    row: int
    counter: int


@dataclass(frozen=True, slots=True)
class Queued:
    """What enqueue_to_backlog() did: ``scheduled`` the backlog, ``raised`` NET_RX here, ``woke`` ksoftirqd."""

    dropped: bool
    scheduled: bool
    raised: bool
    woke: bool


def _word(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    return 0 if value is None else int(value._a)


class Stopped(BaseException):
    """A kernel function has come to the place up to which it was to run; ``where`` says to which."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


def _stop(where: str) -> Callable[..., Any]:
    def hook(*arguments: Any) -> Any:
        raise Stopped(where)

    return hook


class Driver:
    """The model of one release and flavour. ``memory`` is all of its state."""

    def __init__(
        self,
        release: str,
        flavour: str,
        *,
        threads: bool,
        cpus: int,
        skb_defer_max: int,
        settings: Mapping[str, int] | None = None,
        rps_cpus: Sequence[int] = (),
        flow_limit_cpus: Sequence[int] = (),
        patches: Sequence[str] = (),
    ) -> None:
        from softnet.scenario import scenario_from_dict
        from softnet.simulate.program import load_program

        kernel: dict[str, Any] = {"release": release, "flavour": flavour}
        kernel["boot_args"] = ["thread_backlog_napi"] if threads and flavour == "plain" else []
        wanted = dict(settings or {})
        # How many skbs there can be at once follows from these two.
        kernel["sysctl"] = {
            "netdev_max_backlog": max(wanted.get("netdev_max_backlog", 1000), 1000),
            "skb_defer_max": max(skb_defer_max, 64),
            "flow_limit_cpu_bitmap": sorted(flow_limit_cpus),
            "flow_limit_table_len": wanted.pop("flow_limit_table_len", 4096),
        }
        document = {
            "name": "check",
            "machine": {"cpus": cpus},
            "kernel": kernel,
            "measure": {"duration_ms": 10},
        }
        scenario = scenario_from_dict({**document, "loopback": {"rps_cpus": sorted(rps_cpus)}})
        self._told: list[tuple[str, int, int, int]] = []
        program = load_program(scenario, patches)
        self.image, self._words = self._standing_still(program, scenario)
        self.kernel = self.image.linked.kernel
        self._cpu_word = self.image.engine_word("cpu")
        self.threads = threads
        self.rt = flavour == "rt"
        self.cpus = cpus
        self.kicks_by_work = "schedule_work_on" in self.kernel
        self._in_interrupt = True
        self._silence()
        self.branches = Branches(program, self.image)
        self._read = Reader(self.image)
        for name, value in (*wanted.items(), ("skb_defer_max", skb_defer_max)):
            self.set_sysctl(name, value)
        self._history = History(self._words)

    @staticmethod
    def _standing_still(program: Program, scenario: Scenario) -> tuple[Image, Noted]:
        """A booted image whose threads sleep, where nothing takes time, over words that can be put aside."""
        from softnet.image.boot import boot
        from softnet.image.image import Wiring
        from softnet.image.plan import Plan
        from softnet.simulate.reference import ReferenceEngine

        wiring = Wiring(
            costs=None, record=lambda *event: None, words=lambda count: Noted([0] * count), priced=False, observed=False
        )
        image = boot(program, Plan.of(scenario), wiring)
        words = cast(Noted, image.memory)
        # The threads set themselves up at their first run, and sleep.
        ReferenceEngine(image, iter(())).run(_BOOT_NS)
        # Nothing asks which cache has a line.
        del words[image.regions.directory :]
        # Nothing gives way here: there is nobody to give way to.
        image.linked.switch.value = lambda: None
        return image, words

    def _silence(self) -> None:
        # What keeps others out around a decision, the recorded order already tells.
        for name, definition in self.image.program.functions.items():
            if definition.facts.exclusion:
                self._replace(name, lambda *arguments: 0)
        self._replace("send_call_function_single_ipi", lambda cpu: None)
        self.image.linked.machine["trace"] = self._note
        self._replace("trace", self._note)
        self._replace("in_softirq", lambda: True)
        # Packets are queued with bottom halves off; who calls from elsewhere says so.
        self._replace("in_interrupt", lambda: self._in_interrupt)
        self._replace("wake_up_process", lambda task: 1)
        # What becomes of a packet above the backlog is not softnet's.
        self._replace("__netif_receive_skb", self.kernel["__kfree_skb"])

    def _replace(self, name: str, by: Callable[..., Any]) -> None:
        """Let another function stand for one of the model's. Raises ``LabError`` for one that there is not."""
        if name not in self.kernel:
            raise LabError("the checker stands in for a function that the model does not have", found=name)
        self.kernel[name] = by

    def _note(self, name: str, a: Any = 0, b: Any = 0, c: Any = 0) -> None:
        """An event of the model."""
        self._told.append((name, a, b, c))

    def source(self, function: str) -> str:
        """Where the kernel has this function, as the model's own function says."""
        text = (self.kernel[function].__doc__ or "").strip().splitlines()
        return f"{function}(): {text[0]}" if text else f"{function}()"

    def save(self) -> Memory:
        """The state, to be given to ``load``."""
        return self._history.save()

    def load(self, saved: Memory) -> None:
        """Take up a saved state."""
        self._history.load(saved)

    def forget_all_but(self, kept: Sequence[Memory]) -> None:
        """Of the states that were saved only these will be taken up again."""
        self._history.forget(kept)

    def on(self, cpu: int) -> None:
        """What runs from here on runs on ``cpu``; what was told before is forgotten."""
        # No part of the state: every function that runs is told its CPU first.
        list.__setitem__(self._words, self._cpu_word, cpu)
        self._told.clear()

    def told(self, name: str) -> list[tuple[int, int, int]]:
        """The model's events of this name since ``on``; a reference is its address."""
        return [(_word(a), _word(b), _word(c)) for event, a, b, c in self._told if event == name]

    def did(self, name: str) -> bool:
        """Whether there was an event of this name since ``on``."""
        return any(event[0] == name for event in self._told)

    def row(self, struct: str, index: int) -> Any:
        """An instance of a structure of the model's."""
        return self.kernel["table"](self.kernel[struct], index)

    def _sd(self, cpu: int) -> Any:
        return self.row("softnet_data", cpu)

    @contextmanager
    def in_context(self, in_interrupt: bool) -> Iterator[None]:
        """Whether what runs is in an interrupt, or has bottom halves off."""
        before, self._in_interrupt = self._in_interrupt, in_interrupt
        try:
            yield
        finally:
            self._in_interrupt = before

    def set_sysctl(self, name: str, value: int) -> None:
        """What writing a sysctl of net.core does; one that the model does not read changes nothing."""
        from softnet.image.settings import set_sysctl

        set_sysctl(self.kernel, name, value, {})

    def set_rps_cpus(self, cpus: Sequence[int]) -> None:
        """What writing the rps_cpus of lo does."""
        from softnet.image.settings import set_rps_cpus, update_static_keys

        set_rps_cpus(self.kernel, 0, tuple(cpus))
        update_static_keys(self.kernel)

    def set_online(self, cpu: int, state: int) -> None:
        """Take a CPU out of cpu_online_mask, or put it back. What becomes of its queues the trace must show."""
        self.row("cpu_hw", cpu).online = state

    def state(self, cpu: int) -> CpuState:
        """What the model holds for ``cpu``."""
        return self._read.cpu(self._words, cpu)

    def states(self, saved: Memory) -> tuple[CpuState, ...]:
        """What the model holds for each CPU in a saved state."""
        if saved.told is None:
            self.load(saved)
            saved.told = tuple(self._read.cpu(self._words, cpu) for cpu in range(self.cpus))
        return saved.told  # type: ignore[return-value]

    def attempt(self, cpu: int, alloc_cpu: int, kicks: bool = True) -> tuple[int, Decision]:
        """skb_attempt_defer_free() on ``cpu`` for an skb of ``alloc_cpu``; the model's number of it, the decision.

        Without ``kicks`` it goes up to kick_defer_list_purge(), and a kick is "due".
        """
        skb = self._allocated(alloc_cpu)
        number = int(skb.id)
        return number, self._deferred(cpu, skb, "" if kicks else "kick_defer_list_purge")

    def _allocated(self, cpu: int) -> Any:
        self.on(cpu)
        skb = self.kernel["alloc_skb"](64)
        if skb is None:
            raise LabError("the model has no skb left to follow this trace with")
        return skb

    def _deferred(self, cpu: int, skb: Any, up_to: str = "") -> Decision:
        """skb_attempt_defer_free() on ``cpu``, whole or up to its call of a function: then something is still due."""
        self.on(cpu)
        due = False
        with self.hooked(**({up_to: _stop(up_to)} if up_to else {})):
            try:
                self.kernel["skb_attempt_defer_free"](skb)
            except Stopped:
                due = True
        nodefer = self.told("skb_defer_nodefer")
        place = ("local", "limit")[nodefer[0][2]] if nodefer else "list"
        return Decision(place, "due", "") if due else self._decision(place)

    @property
    def lock_free(self) -> bool:
        """Whether a defer list has no lock, so that counting an skb and putting it on the list are two acts."""
        return self._read.has_nodes

    def _defer_node(self, cpu: int) -> Any:
        return self.kernel["skb_defer_nodes"](cpu, 0)

    def attempt_counts(self, cpu: int, alloc_cpu: int) -> tuple[Counted, Decision]:
        """skb_attempt_defer_free() up to where it puts the skb on a list without a lock, which is then "due"."""
        skb = self._allocated(alloc_cpu)
        decision = self._deferred(cpu, skb, "llist_add")
        table = self.image.layout.tables["sk_buff"]
        return Counted((_word(skb) - table.base) // table.stride, int(self._defer_node(alloc_cpu).defer_count)), decision

    def attempt_pushes(self, cpu: int, alloc_cpu: int, counted: Counted, kicks: bool) -> tuple[int, Decision]:
        """The rest of it, as ``attempt``: the skb is counted already, and others may have counted theirs since."""
        skb, node = self.row("sk_buff", counted.row), self._defer_node(alloc_cpu)
        number, now = int(skb.id), node.defer_count
        node.defer_count = counted.counter - 1
        decision = self._deferred(cpu, skb, "" if kicks else "kick_defer_list_purge")
        node.defer_count = now
        return number, decision

    def kick(self, alloc_cpu: int, cpu: int) -> Decision:
        """kick_defer_list_purge() on ``cpu`` for the list of ``alloc_cpu``."""
        self.on(cpu)
        arguments = (alloc_cpu,) if self.lock_free else (self._sd(alloc_cpu), alloc_cpu)
        self.kernel["kick_defer_list_purge"](*arguments)
        return self._decision("list")

    def _decision(self, place: str) -> Decision:
        kick = "sent" if self.did("kick_defer_list_purge") else "coalesced" if self.did("kick_coalesced") else ""
        by = "ipi" if self.did("csd_queue_cpu") else "work" if self.kicks_by_work else "thread"
        return Decision(place, kick, by if kick else "")

    def prefill(self, cpu: int, count: int, *, kick_under_way: bool) -> tuple[int, ...]:
        """``count`` skbs on the CPU's list from before the trace; the model's numbers of them.

        With ``kick_under_way`` what their kick set is as it was left, else as if it had been served long ago.
        """
        other = (cpu + 1) % self.cpus
        numbers = tuple(self.attempt(other, cpu)[0] for _ in range(count))
        sd = self._sd(cpu)
        if not kick_under_way:
            sd.defer_ipi_scheduled = 0
            sd.defer_csd.u_flags = 0
            self.kernel["table"](self.kernel["call_single_queue"], cpu).head.first = None
            self.kernel["process_backlog_retire_sched"](sd.backlog)
            if self.kicks_by_work:
                self._work_begins(sd, cpu)
        return numbers

    def _work_begins(self, sd: Any, cpu: int) -> None:
        """What process_one_work() does before it calls the item's function."""
        self.kernel["INIT_LIST_HEAD"](self.kernel["table"](self.kernel["worker_pool"], cpu).worklist)
        self.kernel["INIT_LIST_HEAD"](sd.defer_work.entry)
        sd.defer_work.data = 0

    def work_item(self, cpu: int) -> bool | None:
        """trigger_rx_softirq() in a kworker, up to its flush; None if the item is not queued."""
        self.on(cpu)
        sd = self._sd(cpu)
        if sd.defer_work.data == 0:
            return None
        self._work_begins(sd, cpu)
        with self.hooked(skb_defer_free_flush=lambda sd: None):
            self.kernel["trigger_rx_softirq"](sd.defer_work)
        return True

    def trigger(self, cpu: int) -> bool | None:
        """trigger_rx_softirq() on ``cpu``: whether it raises NET_RX; None if no such call is in flight."""
        self.on(cpu)
        sd = self._sd(cpu)
        if sd.defer_csd.u_flags == 0:
            return None
        self.kernel["csd_unlock"](sd.defer_csd)
        self.kernel["table"](self.kernel["call_single_queue"], cpu).head.first = None
        self.kernel["trigger_rx_softirq"](sd)
        return self.did("softirq_raise")

    def trigger_begins(self, cpu: int) -> tuple[bool, bool] | None:
        """The same up to the store of defer_ipi_scheduled, its last act, and whether that store will change it."""
        sd = self._sd(cpu)
        before = sd.defer_ipi_scheduled
        raises = self.trigger(cpu)
        if raises is None:
            return None
        changes = sd.defer_ipi_scheduled != before
        sd.defer_ipi_scheduled = before
        return raises, changes

    def trigger_clears(self, cpu: int) -> None:
        """The store of defer_ipi_scheduled at the end of trigger_rx_softirq()."""
        self._sd(cpu).defer_ipi_scheduled = 0

    def flush_begins(self, cpu: int) -> bool:
        """skb_defer_free_flush() of a list without a lock, up to where it takes the list off; False if that is empty."""
        self.on(cpu)
        with self.hooked(llist_del_all=_stop("takes")):
            try:
                self.kernel["skb_defer_free_flush"](self._sd(cpu))
            except Stopped:
                return True
        return False

    def flush(self, cpu: int, begun: bool = False) -> tuple[int, ...]:
        """skb_defer_free_flush() on ``cpu``, or what ``flush_begins`` left of it: the skbs that it frees, in order."""
        self.on(cpu)
        # The counter was set to 0 before; what has been counted since then stays counted.
        node = self._defer_node(cpu) if begun else None
        count = node.defer_count if node is not None else 0
        self.kernel["skb_defer_free_flush"](self._sd(cpu))
        if node is not None:
            node.defer_count = count
        return tuple(skb for skb, _, _ in self.told("consume_skb"))

    def backlog_len(self, cpu: int) -> int:
        """Packets in a CPU's backlog, those that a poll has taken over included."""
        return self._read.backlog_len(self._words, cpu)

    def input_qlen(self, cpu: int) -> int:
        """Packets that no poll has taken over yet: what enqueue_to_backlog() tests."""
        return self._read.input_qlen(self._words, cpu)

    def enqueue(self, cpu: int, target: int, flow: int | None) -> Queued:
        """enqueue_to_backlog() on ``cpu`` for ``target``, of a packet with the hash ``flow``."""
        self.on(cpu)
        skb = self.kernel["alloc_skb"](64)
        if skb is None:
            raise LabError("the model has no skb left to follow this trace with")
        skb.dev = self.kernel["table"](self.kernel["net_device"], 0)
        skb.hash, skb.l4_hash = flow if flow is not None else 1, 1
        self._told.clear()
        dropped = self.kernel["enqueue_to_backlog"](skb, target, None) != 0
        return Queued(
            dropped,
            self.did("napi_schedule_rps"),
            self.did("softirq_raise"),
            self.did("wakeup_softirqd"),
        )

    def steered_to(self, cpu: int, flow: int) -> int:
        """get_rps_cpu() on ``cpu`` for a packet of lo with the hash ``flow``, as netif_rx_internal() asks it."""
        self.on(cpu)
        if self.kernel["table"](self.kernel["net_hotdata"], 0).rps_needed == 0:
            return cpu
        skb = self.kernel["alloc_skb"](64)
        if skb is None:
            raise LabError("the model has no skb left to follow this trace with")
        skb.dev = self.kernel["table"](self.kernel["net_device"], 0)
        skb.hash, skb.l4_hash = flow, 1
        target = int(self.kernel["get_rps_cpu"](skb.dev, skb))
        self.kernel["__kfree_skb"](skb)
        return cpu if target < 0 else target

    def repolls(self, cpu: int) -> bool:
        """What __napi_poll() on the CPU left in its ``repoll``: with the CPU, or since v6.18 on the stack of the CPU's task."""
        if "net_rx_stack" in self.kernel:
            return bool(self.row("net_rx_stack", self.kernel["index_of"](self.kernel["current"]())).do_repoll)
        return bool(self._sd(cpu).do_repoll)

    def poll_entered(self, cpu: int) -> None:
        """What napi_poll() does before process_backlog(): the backlog leaves the poll list."""
        self.kernel["list_del_init"](self._sd(cpu).backlog.poll_list)

    def poll_starts(self, cpu: int) -> tuple[int, ...]:
        """process_backlog() up to its first packet: the CPUs to which it sends the IPIs of RPS that wait."""
        self.on(cpu)
        sd = self._sd(cpu)
        if not self.kernel["sd_has_rps_ipi_waiting"](sd):
            return ()
        with self.hooked(__skb_dequeue=_stop("polls")), suppress(Stopped):
            self.kernel["process_backlog"](sd.backlog, 1)
        return tuple(target for target, _, _ in self.told("csd_queue_cpu"))

    def poll(self, cpu: int, quota: int) -> int:
        """process_backlog() on ``cpu`` with this quota, after its start: the packets that it does."""
        self.on(cpu)
        # It sends IPIs at its start only, and this is a piece of it.
        with self.hooked(sd_has_rps_ipi_waiting=lambda sd: False):
            return int(self.kernel["process_backlog"](self._sd(cpu).backlog, quota))

    def thread_scheduled(self, cpu: int) -> bool:
        """Whether the CPU's backlog is its thread's to poll."""
        return bool(self._sd(cpu).backlog.state >> self.kernel["NAPI_STATE_SCHED_THREADED"] & 1)

    def softirq_over(self, cpu: int) -> None:
        """The CPU's net_rx_action() is known to have ended with nothing left: no flag, no list, no IPI to send."""
        sd = self._sd(cpu)
        sd.rps_ipi_list = None
        if self._read.has_flag:
            sd.in_net_rx_action = False

    def ipi_sent(self, cpu: int) -> None:
        """An IPI of RPS is known to be on its way to ``cpu``."""
        self._sd(cpu).csd.u_flags = 1

    def forget_schedule(self, cpu: int) -> None:
        """The CPU's backlog is known to be empty and not scheduled."""
        self.on(cpu)
        sd = self._sd(cpu)
        sd.csd.u_flags = 0
        while self.backlog_len(cpu):
            self.poll(cpu, 64)
        self.kernel["process_backlog_retire_sched"](sd.backlog)
        self.kernel["list_del_init"](sd.backlog.poll_list)

    @contextmanager
    def hooked(self, **hooks: Any) -> Iterator[None]:
        """The kernel's functions of these names replaced for a while."""
        before = {name: self.kernel.get(name) for name in hooks}
        for name, by in hooks.items():
            self._replace(name, by)
        try:
            yield
        finally:
            self.kernel.update(before)
