# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was measured to the rows of a cost table.

What a program measures directly is a row. A stage of a packet's way is a row, or several: the model runs the same experiment with
the rows measured so far, once with the stage's own rows as in the default table and once with them 0. The stage's time grows in
a straight line between the two, since one thing happens after the other, so the rows that give the measured time are known. What
the machine charges besides (atomics, lines, system calls) stands in both runs and is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from softnet.host.calibrate.estimate import Estimate, difference, shared_out
from softnet.machine.costtable import NS_MAX, CostTable, load_cost_table
from softnet.release import Release, not_newer, releases

BASE: Final = "default"
PAYLOAD: Final = 64
HEADERS: Final = {"udp": 42, "tcp": 54}
_DURATION_MS: Final = 12
_GAP_NS: Final = 700_000


class Group(NamedTuple):
    """A stage of a flow, and the rows that it is the time of beside what is known already."""

    kind: str
    apart: bool
    stage: str
    rows: tuple[str, ...]


GROUPS: Final = (
    Group("udp", False, "send", ("skb_alloc", "alloc_skb", "udp_sendmsg", "dev_queue_xmit", "loopback_xmit")),
    Group("udp", False, "enqueue", ("enqueue_to_backlog",)),
    Group("udp", False, "dequeue", ("softirq_entry", "net_rx_action", "napi_poll", "process_backlog")),
    Group("udp", False, "receive", ("netif_receive_skb", "ip_rcv", "udp_rcv", "sock_def_readable")),
    Group("udp", False, "recv", ("udp_recvmsg", "skb_free_local", "skb_release_data_local")),
    Group("udp", True, "recv", ("skb_free_remote", "skb_release_data_remote")),
    Group("tcp", False, "send", ("tcp_sendmsg",)),
    Group("tcp", False, "receive", ("tcp_v4_rcv", "tcp_rcv_established", "tcp_ack_snd_check")),
    Group("tcp", False, "recv", ("tcp_recvmsg", "tcp_cleanup_rbuf")),
)
WHOLE: Final = (
    Group("udp", False, "whole", tuple(row for group in GROUPS[:4] for row in group.rows)),
    GROUPS[4],
    GROUPS[5],
    Group("tcp", False, "whole", (*GROUPS[6].rows, *GROUPS[7].rows)),
    GROUPS[8],
)
"""Without tracepoints: a send with all that its softirq does, and a read."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A row of the new table. ``value`` in ns, or ps a byte."""

    name: str
    section: str
    value: int
    per_byte: bool
    provenance: str
    source: str
    spread_permille: int = 0
    estimate: Estimate | None = None

    @property
    def assumed(self) -> bool:
        return self.provenance == "assumed"


def solved(target_ps: int, with_default: int, with_none: int) -> int | None:
    """How many thousandths of the default its rows are, for a stage to take its measured time; model's times in ns.

    0 where the stage takes less than the model charges beside its rows; None where they do not matter to it.
    """
    if with_default <= with_none:
        return None
    return max((target_ps - with_none * 1000) // (with_default - with_none), 0)


class Model:
    """Runs the experiments. ``run(rows, kind, apart)`` gives each stage's time in ns."""

    def __init__(self, release: str) -> None:
        self.release: Release = not_newer(release) or next(iter(releases().values()))
        self.default = load_cost_table(BASE)

    def table(self, rows: Mapping[str, int]) -> CostTable:
        """The default table with these rows instead, without scatter."""
        made = {}
        for name, row in self.default.rows.items():
            value = rows.get(name, row.base)
            ns, per_byte = (0, value) if row.ps_per_byte else (value, 0)
            made[name] = row._replace(ns=ns, ps_per_byte=per_byte, spread_permille=0)
        return self.default._replace(rows=made)

    def run(self, rows: Mapping[str, int], kind: str, apart: bool, polling: bool = False) -> dict[str, int]:
        """The median of each stage in the model of that experiment, with these rows."""
        from softnet.scenario import apply_kernel, scenario_from_dict
        from softnet.simulate.simulation import Simulation

        raw: dict[str, Any] = {
            "machine": {"cpus": 2},
            "kernel": {"preempt": "none", "boot_args": [] if polling else ["idle=halt"]},
            "application": [{"name": "reader", "kind": kind, "cpu": int(apart), "dst_ports": [9], "service_ns": 0}],
            "sender": [{"cpu": 0, "to": "reader", "interval_ns": _GAP_NS, "size": PAYLOAD + HEADERS[kind]}],
            "measure": {"duration_ms": _DURATION_MS, "warmup_ms": 0},
        }
        scenario = scenario_from_dict(apply_kernel(raw, self.release.name))
        table = self.table(rows)
        simulation = Simulation(scenario, costs=table, trace="full", engine="reference")
        simulation.finish()
        pids = {task.comm: task.pid for task in simulation.image.tasks}
        reader = pids["reader"]
        sender = next(pid for comm, pid in pids.items() if comm.startswith("send"))
        return stages(simulation.recorder.records, sender, reader, {name: row.base for name, row in table.rows.items()}, apart)


def stages(records: Any, sender: int, reader: int, costs: Mapping[str, int], apart: bool) -> dict[str, int]:
    """The stages of softnet.host.calibrate.traced in the model's trace: medians in ns. Raises nothing: what is not there is 0."""
    from softnet.trace import EVENT_ID

    number = {name: EVENT_ID[name] for name in ("sched_switch", "netif_rx", "softirq_raise", "softirq_entry", "netif_receive_skb",
                                               "sched_waking", "sched_wakeup", "softirq_exit", "deliver")}  # fmt: skip
    name_of = {value: name for name, value in number.items()}
    found: dict[str, list[int]] = {}
    at: dict[str, int] = {}
    turn: dict[str, int] = {}
    called = -1

    def add(stage: str, took: int) -> None:
        found.setdefault(stage, []).append(took)

    for record in records:
        name, when = name_of.get(record.event), record.time_ns
        if name == "sched_switch":
            if record.b == sender:
                at = {"in": when}
                called = when + costs["context_switch"]
            elif record.a == sender and "netif_rx" in at:
                add("whole", when - called)
            if record.a == sender and len(at) == 8:
                add("send", at["netif_rx"] - at["in"] - costs["context_switch"] + when - at["softirq_exit"]
                    + at["softirq_entry"] - at["softirq_raise"])  # fmt: skip
                add("enqueue", at["softirq_raise"] - at["netif_rx"])
                add(
                    "dequeue",
                    at["netif_receive_skb"] - at["softirq_entry"] + at["softirq_exit"] - at["sched_wakeup"] - costs["wakeup"],
                )
                add("receive", at["sched_waking"] - at["netif_receive_skb"])
                add("wake", at["sched_wakeup"] - at["sched_waking"] + costs["wakeup"])
                at = {}
            if record.b == reader:
                turn["in"] = when
            elif record.a == reader and "in" in turn and "deliver" in turn:
                back = when - costs["syscall"] - costs["ep_poll"]
                add("recv", back - turn["in"] - costs["context_switch"])
                if called >= 0:
                    add("way", back - called)
                turn = {}
        elif name == "deliver":
            turn["deliver"] = when
            if "waking" in turn:
                add("woken", when - turn["waking"])
        elif name == "sched_waking" and record.a == reader:
            turn = {"waking": when}
            at.setdefault(name, when)
        elif (
            name is not None
            and at
            and record.cpu == 0
            and (name != "sched_wakeup" or record.a == reader)
            and name != "sched_waking"
        ):
            at.setdefault(name, when)
    return {stage: sorted(times)[len(times) // 2] for stage, times in found.items()}


class Fit:
    """Makes the rows out of what a worker measured."""

    def __init__(self, measured: Mapping[str, Any], model: Model, tell: Callable[[str], None] = lambda text: None) -> None:
        self.measured, self.model, self.tell = measured, model, tell
        self.rows: dict[str, Fitted] = {}
        self.notes: list[str] = []
        self.missing: dict[str, str] = {}
        self.flows = {(flow["kind"], flow["apart"]): flow for flow in measured["flows"]}

    def values(self) -> dict[str, int]:
        """The rows so far, for the model."""
        return {name: row.value for name, row in self.rows.items()}

    def put(self, name: str, cost: Estimate, provenance: str, source: str, value: int | None = None) -> None:
        row = self.model.default.rows[name]
        ns = cost.ns if value is None else value
        per_byte = bool(row.ps_per_byte)
        spread = cost.spread_permille
        self.rows[name] = Fitted(name, row.section, min(max(ns, int(per_byte)), NS_MAX), per_byte, provenance, source, spread, cost)

    def all(self) -> dict[str, Fitted]:
        """Every row of the default table, measured or with why it is not."""
        for name, told in sorted(self.measured["rows"].items()):
            cost = Estimate.of(told["estimate"])
            provenance = "derived" if name in ("ipi", "irq_entry", "irq_exit", "idle_exit") else "measured"
            self.put(name, cost, provenance, f"{scatter(cost, name in ('copy_to_user', 'copy_from_user'))}; {told['how']}")
        traced = any("traced" in flow for flow in self.flows.values())
        self.direct()
        for group in GROUPS if traced else WHOLE:
            self.tell(f"what the model makes of {group.kind.upper()}")
            self.group(group, traced)
        self.listed()
        self.woken()
        self.rest(traced)
        return dict(sorted(self.rows.items()))

    def checks(self) -> list[dict[str, Any]]:
        """What a packet to another CPU takes, which no row of the stack is fitted to: as measured, without tracepoints, and in the
        model with all rows. Times in ns.
        """
        out = []
        for kind in ("udp", "tcp"):
            if (kind, True) not in self.flows:
                continue
            self.tell(f"{kind.upper()} to another CPU, to see how well it fits")
            model = self.model.run(self.values(), kind, True)
            for name, what in CHECKED.items():
                real = self.stage(kind, True, name)
                if real is not None and real.ns > 0 and name in model:
                    error = (model[name] - real.ns) * 1000 // real.ns
                    out.append(
                        {"what": f"{kind.upper()} {what}", "measured_ns": real.ns, "model_ns": model[name], "error_permille": error}
                    )
        return out

    def stage(self, kind: str, apart: bool, name: str) -> Estimate | None:
        """A stage as measured; of a read and a whole send the one without tracepoints."""
        flow = self.flows.get((kind, apart), {})
        found = flow.get("bare", {}).get(name) if name in CHECKED else flow.get("traced", {}).get(name)
        return Estimate.of(found) if found is not None else None

    def direct(self) -> None:
        """Rows that are a stage by themselves."""
        wake = self.stage("udp", False, "wake")
        if wake is not None:
            self.put("wakeup", wake, "measured", f"{scatter(wake)}; sched_waking to sched_wakeup of a task on this CPU")
        way = self.stage("udp", True, "ipi_busy")
        if way is not None and "irq_entry" in self.rows:
            entry = self.rows["irq_entry"].value
            how = f"{scatter(way)} from ipi_send_cpu to the handler on a CPU that ran something, less irq_entry"
            self.put("ipi", way, "derived", how, max(way.ns - entry, 0))
        self.card()
        turn = self.stage("udp", False, "switch")
        if turn is not None and "context_switch" in self.rows and "syscall" in self.rows:
            known = self.rows["context_switch"].value + self.rows["syscall"].value
            how = (
                f"{scatter(turn)} from the switch to the reader to epoll_wait()'s return, and from its next call to the switch "
                "away, less context_switch and syscall"
            )
            self.put("ep_poll", turn, "derived", how, max(turn.ns - known, 0))

    def card(self) -> None:
        """What a card's packets have besides, by those of a TUN device."""
        gro, complete = self.stage("tun", False, "gro"), self.stage("tun", False, "complete")
        if gro is not None:
            self.put(
                "napi_gro_receive", gro, "measured", f"{scatter(gro)}; napi_gro_receive_entry to _exit, a TUN device's datagrams"
            )
        if complete is not None:
            how = f"{scatter(complete)}; a TUN device: from napi_gro_receive()'s end to the poll's, less the delivery in it"
            self.put("napi_complete_done", complete, "measured", how)

    def listed(self) -> None:
        """What a card's packets take more than loopback's from netif_receive_skb() to the wakeup: lists, and a route."""
        card, loopback = self.stage("tun", False, "receive"), self.stage("udp", False, "receive")
        if card is None or loopback is None or "netif_receive_skb" not in self.rows:
            return
        default, names = self.model.default.rows, ("netif_receive_skb_list", "ip_list_rcv")
        more = difference(card, loopback)
        total = more.ns + self.rows["netif_receive_skb"].value
        how = (
            f"{scatter(card)} from netif_receive_skb() to the wakeup with a TUN device, less loopback's; shared out between "
            f"{' and '.join(names)}"
        )
        for name, value in shared_out(total, {name: default[name].ns for name in names}).items():
            self.put(name, card, "derived", how, value)

    def group(self, group: Group, traced: bool) -> None:
        """The rows of one stage."""
        target = self.stage(group.kind, group.apart, group.stage)
        where = f"{group.kind}: {group.stage}"
        if target is None:
            for name in group.rows:
                self.missing.setdefault(name, f"too few packets came through undisturbed ({where})")
            return
        default = self.model.default.rows
        values = self.values()
        full = self.model.run(values | {name: default[name].base for name in group.rows}, group.kind, group.apart).get(
            group.stage, 0
        )
        none = self.model.run(values | dict.fromkeys(group.rows, 0), group.kind, group.apart).get(group.stage, 0)
        permille = solved(target.ps, full, none)
        if permille is None:  # not on this kernel's way, or there is no such stage
            return
        if permille == 0:
            self.notes.append(
                f"{where} takes {target.ns} ns, no more than the {none} ns that the model has beside its rows, which are 0"
            )
        how = f"{scatter(target)} for {STAGE_TEXT[group.stage].format(kind=group.kind.upper())}, of which {none} ns are other rows"
        if len(group.rows) > 1:
            how += f"; shared out among {', '.join(group.rows)} as in the default table"
        for name in group.rows:
            self.put(name, target, "measured" if len(group.rows) == 1 and traced else "derived", how,
                     (default[name].base * permille + 500) // 1000)  # fmt: skip

    def woken(self) -> None:
        """What it takes to leave idle: what the model's way from a wakeup to the end of epoll_wait() lacks."""
        for stage, row, polling in (("woken_idle", "idle_exit", False), ("woken_polling", "poll_wake", True)):
            found = self.stage("udp", True, stage)
            if found is None:
                continue
            values = self.values()
            model = self.model.run(values | {row: 0}, "udp", True, polling)
            table = self.model.table(values).rows
            behind = table["syscall"].ns + table["udp_recvmsg"].ns + table["copy_to_user"].ps_per_byte * PAYLOAD // 1000
            lacks = found.ns - (model["woken"] - behind)
            self.put(row, found, "derived", f"{scatter(found)} from a wakeup to epoll_wait()'s return on another CPU that idled; "
                     f"{model['woken'] - behind} ns of it are other rows", max(lacks, 0))  # fmt: skip
            if lacks < 0:
                self.notes.append(
                    f"{stage} takes {found.ns} ns, less than the {model['woken'] - behind} ns of the other rows: {row} is 0"
                )

    def rest(self, traced: bool) -> None:
        """Rows that nothing measured: the default's, and why."""
        for name, row in self.model.default.rows.items():
            if name in self.rows:
                continue
            told = self.measured["failed"].get(name) or WHY.get(name) or self.missing.get(name)
            why = told or ("too few packets came through undisturbed" if traced else "needs root and tracepoints")
            source = f"not measured here ({why}); the default table's, {row.provenance}: {row.source}".replace('"', "'").replace(
                "\\", "/"
            )
            self.rows[name] = Fitted(name, row.section, row.base, bool(row.ps_per_byte), "assumed", source, row.spread_permille)


CHECKED: Final = {"whole": "send", "recv": "recv()", "way": "from the send's call to the recv()'s end"}
"""What is measured without tracepoints."""
STAGE_TEXT: Final = {
    "send": "a {kind} send to netif_rx() and from the softirq's end to its return",
    "enqueue": "{kind}: netif_rx() to the softirq's raise",
    "dequeue": "{kind}: the softirq's entry to netif_receive_skb(), and from the wakeup to its exit",
    "receive": "{kind}: netif_receive_skb() to the reader's wakeup",
    "recv": "a {kind} recv() that finds data, by its caller's clock",
    "whole": "a {kind} send with its softirq, by its caller's clock",
}
_CARD: Final = "a card's, and none is touched"
WHY: Final = {
    **dict.fromkeys(("nic_irq_handler", "nic_irq_enable", "nic_refill", "nic_rx_descriptor", "handle_irq_event"), _CARD),
    **dict.fromkeys(("napi_build_skb", "gro_complete", "skb_get_hash", "skb_try_coalesce", "napi_skb_cache_put"),
                    "no packet of loopback or a TUN device comes there, or no tracepoint shows it"),
    **dict.fromkeys(("arp_rcv", "icmp_rcv", "tcp_add_backlog", "skb_alloc_slow", "process_one_work", "skb_free_remote",
                     "skb_release_data_remote"), "no experiment of its own brings it about"),
    **dict.fromkeys(("skb_attempt_defer_free", "smp_call_function_single_async"), "too short beside what a tracepoint costs"),
    "poll_wake": "no idle CPU was seen that looks by itself; idle_exit is what it takes to wake one here",
}  # fmt: skip
"""Why a row is not measured, whatever the machine."""


def scatter(cost: Estimate, per_byte: bool = False) -> str:
    """Median, quartiles and number of readings, in words."""
    unit = "ps a byte" if per_byte else "ns"
    low, middle, high = (_figure(value) for value in (cost.low_ps, cost.ps, cost.high_ps))
    return f"median {middle}, quartiles {low} to {high} {unit}, {cost.samples} readings"


def _figure(ps: int) -> str:
    ns = ps / 1000
    return f"{ns:.1f}" if abs(ns) < 100 else f"{ns:.0f}"
