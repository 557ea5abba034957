# SPDX-License-Identifier: GPL-2.0-or-later
"""Replay a recording in the model: first what the model makes of it as it was, then what a change would do.

Costs are fitted to the recording's first half: how long what runs in NET_RX takes, by its CPU time for each packet; how long
everything else of the kernel takes, by the median time from a reader's running to its reading; what an application does with a
packet, by its CPU time; how long an interrupt to another CPU is under way, by the median time from woken to running, or with RPS
from arrival to protocol; a switch, by the former. Errors are of the second half, which nothing is fitted to. Kernel and model are
measured by the same code (softnet.host.observe).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError, TraceError
from softnet.host.load import Load, Ran, Send, load_of
from softnet.host.observe import BACKLOG, Figure, Observed, figures, observe
from softnet.host.patches.recorded_load import BURSTS_MAX, SENDS_MAX
from softnet.host.recording import FLAG_HARDIRQ, FLAG_SOFTIRQ, Event, Recording, read_recording
from softnet.machine.costtable import CostTable, load_cost_table, scaled
from softnet.release import not_newer, releases
from softnet.scenario import scenario_from_dict

if TYPE_CHECKING:
    from softnet.image.image import Image
    from softnet.scenario import Scenario
    from softnet.simulate.result import Trace

PATCH: Final = str(Path(__file__).parent / "patches" / "recorded_load.py")
FITS: Final = 4
"""How often costs are fitted."""
SCALE_MIN, SCALE_MAX = 100, 20_000
RESOLUTION_PERMILLE: Final = 10
"""A smaller change is none."""
SERVICE_MAX: Final = 10**8
IPI_MAX: Final = 10**6
PACKETS_MIN: Final = 20
SCHEMA: Final = "softnet-replay/1"
_SENT: Final = ("syscall", "alloc_skb", "udp_sendmsg", "dev_queue_xmit", "loopback_xmit")
"""What a sender's packet costs before netif_rx()."""
_RECEIVING: Final = (
    "enqueue_to_backlog", "skb_get_hash", "softirq_entry", "net_rx_action", "napi_poll", "process_backlog", "netif_receive_skb",
    "ip_rcv", "udp_rcv", "sock_def_readable", "wakeup", "napi_gro_receive", "napi_complete_done", "ip_list_rcv",
    "netif_receive_skb_list",
)  # fmt: skip
"""What runs in NET_RX."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the recording's second half: of the kernel, of the model as recorded, of the model with the change."""

    name: str
    title: str
    unit: str
    recorded: int | None
    model: int | None
    changed: int | None = None
    of: int = 0

    @property
    def error_permille(self) -> int | None:
        """(model - recorded) in thousandths of what was recorded; None where that is nothing."""
        if self.recorded is None or self.model is None or not self.recorded:
            return 0 if self.recorded == 0 and self.model == 0 else None
        return (self.model - self.recorded) * 1000 // self.recorded

    @property
    def change_permille(self) -> int | None:
        """(changed - model) in thousandths of the model's figure; None where that is nothing."""
        if self.changed is None or not self.model:
            return 0 if self.changed == 0 and self.model == 0 else None
        return (self.changed - self.model) * 1000 // self.model

    @property
    def verdict(self) -> str:
        """What the change says, held against the error: "", "within the error" or "beyond the error"."""
        if self.changed is None:
            return ""
        change, error = self.change_permille, self.error_permille
        if change is None:
            return "was 0" if self.changed else ""
        if error is None:
            return "" if change == 0 else "error unknown"
        if abs(change) <= RESOLUTION_PERMILLE:
            return "no change"
        return "within the error" if abs(change) <= abs(error) else "beyond the error"


@dataclass(slots=True)
class Replay:
    """What a replay found."""

    recording: str
    span_ns: int
    judged_ns: int
    """Of that the second half, which begins when half of the packets had arrived."""
    packets: int
    kernel: str
    engine: str
    fitted: dict[str, int]
    """receiving_permille and other_permille: how many times as long as in the default cost table what runs in NET_RX takes, and
    everything else, in thousandths; ipi_ns: how long an interrupt to another CPU is under way; switch_ns: what a switch takes
    longer than that, where a reader runs on the CPU on which it is woken."""
    service_ns: dict[str, int]
    rows: list[Row]
    change: list[str] = field(default_factory=list)
    """The change that was asked for, in words of the command line; empty without one."""
    notes: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    scenario: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it: integers and text."""
        rows = [
            {"name": row.name, "title": row.title, "unit": row.unit, "recorded": row.recorded, "model": row.model,
             "error_permille": row.error_permille, "changed": row.changed, "change_permille": row.change_permille,
             "verdict": row.verdict, "of": row.of}
            for row in self.rows
        ]  # fmt: skip
        return {
            "schema": SCHEMA, "recording": self.recording, "span_ns": self.span_ns, "judged_ns": self.judged_ns,
            "packets": self.packets,
            "kernel": self.kernel, "engine": self.engine, "fitted": self.fitted, "service_ns": self.service_ns,
            "change": self.change, "rows": rows, "notes": self.notes, "assumed": self.assumed,
        }  # fmt: skip


def replay(
    path: Path, *, settings: Sequence[str] = (), kernel: str = "", patches: Sequence[str] = (), engine: str = "auto",
    progress: Progress | None = None,
) -> Replay:  # fmt: skip
    """Replay a recording; with settings, another kernel or patches also with them. Raises SoftnetError for bad input."""
    recording = read_recording(path)
    seen = observe(recording.events)
    load = load_of(seen, recording.cpus)
    asked = bool(settings or kernel or patches)
    steps = FITS + 1 + asked
    say = progress or (lambda done, total, text: None)
    base = _scenario(recording, load)
    if asked:
        changed_scenario(base, kernel, settings)  # a mistake in the question is told before the answer takes its time
    model = _Model(load, engine)
    recorded_half = _figures(seen, load, first=True)
    for step in range(FITS):
        say(step, steps, "fitting costs")
        model.fit(base, recorded_half, seen)
    say(FITS, steps, "as recorded")
    recorded = _figures(seen, load, first=False)
    as_it_was = model.run(base)
    rows = [Row(r.name, r.title, r.unit, r.value, m.value, of=r.of) for r, m in zip(recorded, as_it_was, strict=True)]
    if asked:
        say(FITS + 1, steps, "with the change")
        with_it = model.run(changed_scenario(model.placed(base), kernel, settings), patches)
        rows = [Row(r.name, r.title, r.unit, r.recorded, r.model, c.value, r.of) for r, c in zip(rows, with_it, strict=True)]
    say(steps, steps, "")
    change = [*([f"--kernel {kernel}"] if kernel else []), *(f"--set {s}" for s in settings), *(f"--patch {p}" for p in patches)]
    return Replay(
        str(path), load.span_ns, load.span_ns - load.middle_ns, len(load.packets), base.kernel.label, model.engine_used,
        model.fitted(),
        dict(zip((reader.name for reader in load.readers), model.service, strict=True)), rows, change,
        [*_lost(recording), *load.notes, *model.notes], _assumed(recording, load, base), base.to_dict(),
    )  # fmt: skip


def changed_scenario(base: Scenario, kernel: str, settings: Sequence[str]) -> Scenario:
    """The scenario with the change. Raises ScenarioError."""
    from softnet.simulate.api import resolve

    return resolve(base, kernel, settings)


def _figures(seen: Observed, load: Load, *, first: bool) -> tuple[Figure, ...]:
    middle = load.start + load.middle_ns
    start, end = (load.start, middle) if first else (middle, load.start + load.span_ns)
    return figures(seen, load.packets, frozenset(reader.pid for reader in load.readers), start, end)


def _lost(recording: Recording) -> list[str]:
    if not recording.lost and not recording.lost_unknown:
        return []
    many = f"{recording.lost:,}" if recording.lost else "an unknown number of"
    return [f"the kernel lost {many} events of this recording: counts are too low, and times may be wrong"]


def _assumed(recording: Recording, load: Load, base: Scenario) -> list[str]:
    """What no tracepoint tells."""
    out = [
        "proportions of costs among each other: the default table's; those of NET_RX have one factor, all others another",
        "an application does the same for each packet, and reads by epoll",
        f"receive buffers of {base.application[0].rcvbuf:,} bytes",
        "a veth pair acts as loopback does: its transmission hands over to netif_rx()",
        "other tasks compute as long as recorded, stay on their CPUs, and do not depend on packets",
        "caches, the clock frequency and a hypervisor that takes CPUs away are as even as in the mean",
    ]
    if recording.machine is None:
        out.append(f"the kernel's settings: defaults of {base.kernel.label}; this recording has no report of the machine")
    if recording.coarse:
        out.append("times are whole microseconds: the text has no more")
    return out


def _scenario(recording: Recording, load: Load) -> Scenario:
    """The machine's scenario, with the recorded tasks in place of guessed ones."""
    raw: dict[str, Any] = {"machine": {}, "kernel": {}}
    rcvbuf = 212992
    if recording.machine is not None:
        import json

        from softnet.host.model import report_from_json
        from softnet.host.scenario import scenario_of

        told = tomllib.loads(scenario_of(report_from_json(json.dumps(recording.machine), "the recording's report")))
        raw = {"machine": told["machine"], "kernel": told["kernel"]}
        rcvbuf = told["application"][0].get("rcvbuf", rcvbuf)
    elif recording.release:
        release = not_newer(recording.release) or next(iter(releases().values()))
        raw["kernel"] = {"release": release.name}
    used = [task.cpu for task in (*load.readers, *load.senders, *load.others)] + load.rps_cpus
    raw["machine"]["cpus"] = max(raw["machine"].get("cpus", 1), load.cpus, max(used) + 1)
    raw["machine"]["costs"] = "default"
    raw["name"] = "recorded"
    if load.rps_cpus:
        raw["loopback"] = {"rps_cpus": load.rps_cpus}
    raw["application"] = [
        {"name": task.name, "kind": "udp", "cpu": task.cpu, "sched": task.sched, "nice": task.nice, "rcvbuf": rcvbuf,
         "service_ns": 0, "dst_ports": [5000 + at]}
        for at, task in enumerate(load.readers)
    ]  # fmt: skip
    ms = load.span_ns / 1e6
    raw["sender"] = [
        {"name": s.name, "cpu": s.cpu, "sched": s.sched, "nice": s.nice, "to": load.readers[s.to].name,
         "rate_pps": max(1, len(s.sends) * 10**9 // max(load.span_ns, 1) + 1)}
        for s in load.senders
    ]  # fmt: skip
    raw["task"] = [{"kind": "hog", "name": o.name, "cpu": o.cpu, "sched": o.sched, "nice": o.nice} for o in load.others]
    raw["measure"] = {"duration_ms": ms, "series_interval_us": max(int(ms), 1000)}
    return scenario_from_dict(raw)


class _Model:
    """The model with the costs as they are fitted so far."""

    def __init__(self, load: Load, engine: str) -> None:
        self.load = load
        self.engine = engine
        self.engine_used = ""
        self.scale = self.other = 1000
        self.service = [0] * len(load.readers)
        self.ipi_ns = load_cost_table("default").rows["ipi"].ns
        self.switch_ns = 0
        self.notes: list[str] = []

    def fitted(self) -> dict[str, int]:
        """The costs, for people."""
        return {"receiving_permille": self.scale, "other_permille": self.other, "ipi_ns": self.ipi_ns, "switch_ns": self.switch_ns}

    def table(self) -> CostTable:
        """The default cost table as fitted."""
        table = load_cost_table("default")
        receiving, rest = scaled(table, self.scale).rows, scaled(table, self.other).rows
        rows = {name: (receiving if name in _RECEIVING else rest)[name] for name in table.rows}
        rows["ipi"] = rows["ipi"]._replace(ns=self.ipi_ns)
        rows["context_switch"] = rows["context_switch"]._replace(ns=rows["context_switch"].ns + self.switch_ns)
        return table._replace(rows=rows)

    def placed(self, base: Scenario) -> Scenario:
        """The scenario with the fitted service times."""
        raw = base.to_dict()
        for row, service in zip(raw["application"], self.service, strict=True):
            row["service_ns"] = service
        return scenario_from_dict(raw)

    def fit(self, base: Scenario, recorded: tuple[Figure, ...], seen: Observed) -> None:
        """Bring the model's times of the first half nearer to the recorded ones."""
        half = self.placed(base)
        half = half.model_copy(update={"measure": half.measure.model_copy(update={"duration_ms": self.load.middle_ns / 1e6})})
        model, who = self._observed(half, ())
        end = self.load.middle_ns
        found = {row.name: row.value or 0 for row in figures(model, model.packets, who, 0, end)}
        wanted = {row.name: row.value or 0 for row in recorded}
        if min(found["received"], wanted["received"]) < PACKETS_MIN:
            raise TraceError("too few packets to fit the model to", found=f"{wanted['received']} in the first half",
                             expected=f"{PACKETS_MIN} or more", hint="record longer")  # fmt: skip
        late = {name: wanted[name] - found[name] for name in ("run_p50_ns", "receive_p50_ns")}
        if self.load.asks:
            stage = "receive_p50_ns" if self.load.asks == "steering" else "run_p50_ns"
            self.ipi_ns = min(max(self.ipi_ns + late[stage], 0), IPI_MAX)
        if self.load.asks != "waking":  # the reader runs where it is woken: what is between is a switch
            self.switch_ns = min(max(self.switch_ns + late["run_p50_ns"], 0), IPI_MAX)
        if wanted["read_p50_ns"] and found["read_p50_ns"]:
            self.other = min(max(self.other * wanted["read_p50_ns"] // found["read_p50_ns"], SCALE_MIN), SCALE_MAX)
        ratio = wanted["softirq_ns"] * found["received"] * 1000 // max(found["softirq_ns"] * wanted["received"], 1)
        self.scale = min(max(self.scale * ratio // 1000, SCALE_MIN), SCALE_MAX)
        for at, reader in enumerate(self.load.readers):
            mine = per_packet(seen, reader.pid, self.load.start, self.load.start + end)
            its = per_packet(model, sorted(who)[at], 0, end)
            if mine is not None and its is not None:
                self.service[at] = min(max(self.service[at] + mine - its, 0), SERVICE_MAX)

    def run(self, scenario: Scenario, patches: Sequence[str] = ()) -> tuple[Figure, ...]:
        """The figures of the second half."""
        with_service = scenario if any(app.service_ns for app in scenario.application) else self.placed(scenario)
        model, who = self._observed(with_service, patches)
        return figures(model, model.packets, who, self.load.middle_ns, self.load.span_ns)

    def _observed(self, scenario: Scenario, patches: Sequence[str]) -> tuple[Observed, frozenset[int]]:
        """Run, and observe the trace as if it were the kernel's."""
        from softnet.simulate.simulation import Simulation

        table = self.table()
        simulation = Simulation(scenario, patches=[PATCH, *patches], costs=table, trace="full", engine=self.engine)
        self.engine_used = simulation.engine_name
        fill(simulation.image, self.load, lead_ns(table))
        trace = simulation.finish().trace
        if trace.partial:
            raise KeyboardInterrupt
        if trace.dropped:
            self.notes.append(f"the model's own trace is cut short: {trace.dropped:,} events")
        names = {reader.name for reader in self.load.readers}
        return observe(events_of(trace)), frozenset(pid for pid, comm in trace.tasks if comm in names)


def per_packet(seen: Observed, pid: int, start: int, end: int) -> int | None:
    """What a reader computes from one read to the next, on its CPUs: the mean without the longest twentieth; None of too few."""
    ran = Ran(seen)
    cpus = sorted({burst.cpu for burst in seen.bursts if burst.pid == pid})
    reads = sorted(packet.read for packet in seen.packets if packet.reader == pid and start <= packet.read < end)
    took = sorted(sum(ran.between((pid, cpu), a, b) for cpu in cpus) for a, b in pairwise(reads))
    kept = took[: len(took) - len(took) // 20]
    return sum(kept) // len(kept) if kept else None


def lead_ns(table: CostTable) -> int:
    """What the model's sender needs from its call to netif_rx()."""
    return sum(table.rows[name].ns for name in _SENT if name in table.rows)


def fill(image: Image, load: Load, lead: int) -> None:
    """Write the recorded sends and bursts into the image's tables."""

    def put(table: str, row: int, name: str, values: list[int], room: int) -> None:
        place = image.layout.tables[table]
        at = place.base + row * place.stride + image.layout.structs[table].fields[name].offset
        for n, value in enumerate(values[: room - 1]):
            image.memory[at + n] = value

    def columns(sends: list[Send]) -> Iterator[tuple[str, list[int]]]:
        yield "due", [max(send.due - lead, 1) for send in sends]
        yield "wake", [send.wake for send in sends]
        yield "work_before", [max(send.work_before - lead, 0) for send in sends]
        yield "work_after", [send.work_after for send in sends]
        yield "bytes", [min(max(send.size + 14, 60), 65535) for send in sends]
        yield "hashes", [send.hash for send in sends]

    for row, sender in enumerate(load.senders):
        for name, values in columns(sender.sends):
            put("sender", row, name, values, SENDS_MAX)
    for row, other in enumerate(load.others):
        put("hog", row, "wake", [wake for wake, _ in other.bursts], BURSTS_MAX)
        put("hog", row, "run", [ran for _, ran in other.bursts], BURSTS_MAX)


_CONTEXT_FLAGS: Final = (0, FLAG_SOFTIRQ, FLAG_HARDIRQ)


def events_of(trace: Trace) -> Iterator[Event]:
    """The model's trace in the form of a recording's events."""
    from softnet.trace import EVENTS

    names = [event.name for event in EVENTS]
    comms = dict(trace.tasks)
    running: dict[int, int] = {}
    reading: dict[int, int] = {}
    """CPU -> when its task copied a datagram, whose skb the next event of the task names."""
    same = frozenset(("softirq_raise", "softirq_entry", "softirq_exit", "irq_handler_entry", "irq_handler_exit", "consume_skb"))
    for record in trace.records:
        name, cpu, when = names[record.event], record.cpu, record.time_ns
        pid, flags = running.get(cpu, 0), _CONTEXT_FLAGS[record.context]
        if name in _FREES and not record.context and cpu in reading:
            yield Event(reading.pop(cpu), cpu, pid, 0, "skb_copy_datagram_iovec", (record.a, 0))
        if name in same:
            yield Event(when, cpu, pid, flags, name, (record.a,))
        elif name == "netif_rx":
            yield Event(when, cpu, pid, flags, name, ("lo", record.a, 0))
        elif name == "netif_receive_skb":
            yield Event(when, cpu, pid, flags, name, ("lo", record.a, record.b))
        elif name == "process_backlog":
            yield Event(when, cpu, pid, flags, "napi_poll", (BACKLOG, record.a, record.b))
        elif name == "sched_switch":
            running[cpu] = record.b
            switch = (comms.get(record.a, ""), record.a, int(record.c != 0), comms.get(record.b, ""), record.b, 120)
            yield Event(when, cpu, pid, flags, name, switch)
        elif name == "sched_waking":
            yield Event(when, cpu, pid, flags, name, (record.a,))
        elif name == "net_rps_send_ipi":
            yield Event(when, cpu, pid, flags, "csd_queue_cpu", (record.a, "rps_trigger_softirq"))
        elif name == "kfree_skb":
            yield Event(when, cpu, pid, flags, name, (record.a, str(record.b)))
        elif name == "backlog_drop":
            yield Event(when, cpu, pid, flags, "kfree_skb", (record.a, "CPU_BACKLOG"))
        elif name == "deliver":
            reading[cpu] = when


_FREES: Final = frozenset(("consume_skb", "skb_attempt_defer_free", "skb_defer_nodefer"))

__all__ = ["Replay", "Row", "SoftnetError", "replay"]
