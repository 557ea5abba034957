# SPDX-License-Identifier: GPL-2.0-or-later
"""Fit a cost table to a guest: what the kernel's functions take there, and what the machine under them takes.

Two traced boots give each function's own time (``softnet.lab.tracing.graph``): one traces every function that a row
stands for, one a single function around many of those, and the difference is what tracing costs. A third boot,
untraced, runs five small experiments one after the other; the rows of the machine that no function shows are
set so that the model of the same experiments gives the same median. Rows that nothing here measures stay those
of the base table, with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.files import scratch_folder
from softnet.lab.errors import LabError
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import GuestOptions, LabResult, run_scenario
from softnet.lab.tracing import facts, graph, probes
from softnet.lab.vm import qemu

if TYPE_CHECKING:
    from softnet.scenario import Scenario

BASE = "default"
CALLS_MIN = 20
_SMALL, _LARGE = 200, 1400
_OUTER = "udp_sendmsg"
_RATE_PPS = 200
_PHASE_MS = 400
# Row -> the functions whose own times it is the sum of; of several names for one function the kernel has one.
_ROWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "alloc_skb": (("__alloc_skb",),),
    "dev_queue_xmit": (("__dev_queue_xmit",),),
    "enqueue_to_backlog": (("enqueue_to_backlog",),),
    "ep_poll": (("do_epoll_wait",),),
    "ip_list_rcv": (("ip_list_rcv",),),
    "ip_rcv": (("ip_rcv",),),
    "loopback_xmit": (("loopback_xmit",), ("__netif_rx",)),
    "napi_build_skb": (("__alloc_skb",),),
    "napi_complete_done": (("napi_complete_done",),),
    "napi_gro_receive": (("napi_gro_receive",),),
    "napi_poll": (("__napi_poll",),),
    "net_rx_action": (("net_rx_action",),),
    "netif_receive_skb": (("__netif_receive_skb_one_core",),),
    "netif_receive_skb_list": (("netif_receive_skb_list_internal",),),
    "nic_irq_handler": (("tun_get_user",),),
    "nic_rx_descriptor": (("tun_napi_poll",),),
    "process_backlog": (("process_backlog",),),
    "skb_attempt_defer_free": (("skb_attempt_defer_free",),),
    "skb_free_local": (("kmem_cache_free",),),
    "skb_release_data_local": (("skb_release_data",), ("skb_release_head_state",)),
    "smp_call_function_single_async": (("smp_call_function_single_async",),),
    "sock_def_readable": (("sock_def_readable",),),
    "softirq_entry": (("handle_softirqs", "__do_softirq"),),
    "syscall": (("__x64_sys_recvfrom",),),
    "tcp_ack_snd_check": (("__tcp_ack_snd_check",),),
    "tcp_rcv_established": (("tcp_rcv_established",), ("tcp_data_queue",)),
    "tcp_recvmsg": (("tcp_recvmsg",),),
    "tcp_sendmsg": (("tcp_sendmsg",),),
    "tcp_v4_rcv": (("tcp_v4_rcv",),),
    "udp_rcv": (("udp_rcv",),),
    "udp_recvmsg": (("udp_recvmsg",),),
    "irq_entry": (("__sysvec_call_function_single",), ("__flush_smp_call_function_queue", "flush_smp_call_function_queue")),
    "wakeup": (("try_to_wake_up",), ("ttwu_do_activate",)),
}
_MACHINE = frozenset({
    "atomic", "context_switch", "idle_exit", "ipi", "irq_entry", "irq_exit", "line_transfer_local",
    "line_transfer_remote", "lock_handoff", "wakeup", "lab_udp", "lab_tcp", "lab_card_udp", "lab_card_tcp", "lab_receive",
})  # fmt: skip
_NOT_IN_A_GUEST = {
    "handle_irq_event": "a TUN device has no interrupt",
    "nic_irq_enable": "a TUN device has no interrupt",
    "nic_refill": "a TUN device has no ring",
    "idle_exit": "part of ipi and context_switch here",
    "irq_exit": "part of context_switch here",
}
_NO_CACHES = {
    "atomic": "an instruction like any other, part of the functions' own times",
    "line_transfer_local": "instruction counting knows no caches",
    "line_transfer_remote": "instruction counting knows no caches",
    "lock_handoff": "instruction counting knows no caches, and one CPU runs at a time",
}
# The experiments: application -> the row that its median sets.
_OFFSETS = {"udp": "lab_udp", "tcp": "lab_tcp", "card-udp": "lab_card_udp", "card-tcp": "lab_card_tcp"}
_STEERED = "udp-rps"


@dataclass(frozen=True, slots=True)
class Fitted:
    """One row: ns or picoseconds a byte, where it is from, and its interquartile range in thousandths of it."""

    name: str
    value: int
    provenance: str
    source: str
    spread_permille: int = 0
    per_byte: bool = False


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rows in the order of their names, and what they were measured on."""

    arm: str
    release: str
    ran: qemu.Ran
    rows: tuple[Fitted, ...]
    medians: dict[str, dict[str, int]]
    """Experiment -> {"guest": median latency, "model": the model's without the lab's own calls}, in ns."""

    def as_json(self) -> dict[str, Any]:
        """Everything, integers and text."""
        rows = [
            {"name": row.name, "ps_per_byte" if row.per_byte else "ns": row.value, "provenance": row.provenance,
             "spread_permille": row.spread_permille, "source": row.source}
            for row in self.rows
        ]  # fmt: skip
        return {
            "arm": self.arm,
            "release": self.release,
            "accel": self.ran.accel,
            "rows": rows,
            "medians": self.medians,
        }


def _base(duration_ms: int, **tables: Any) -> Scenario:
    from softnet.scenario import scenario_from_dict

    document = {
        "name": "calibration",
        "machine": {"cpus": 4},
        "kernel": {"boot_args": ["idle=halt"]},
        "measure": {"duration_ms": duration_ms},
        **tables,
    }
    return scenario_from_dict(document)


def traced_scenario(duration_ms: int = 600) -> Scenario:
    """What runs while functions are traced: UDP of two sizes and TCP over loopback with RPS, and from a card."""
    traffic = {"kind": "constant", "rate_pps": _RATE_PPS, "flows": 2, "sizes": [[_SMALL, 1]]}
    sender = {"cpu": 0, "rate_pps": _RATE_PPS, "size": _SMALL}
    return _base(
        duration_ms,
        nic=[{"name": "eth0", "irq_cpus": [0]}],
        loopback={"rps_cpus": [2]},
        traffic=[
            {**traffic, "dst_ports": [53], "start_ms": 1},
            {**traffic, "proto": "tcp", "dst_ports": [80], "start_ms": 2},
        ],
        application=[
            {"name": "udp", "kind": "udp", "cpu": 1, "dst_ports": [53], "service_ns": 0},
            {"name": "tcp", "cpu": 3, "dst_ports": [80], "service_ns": 0},
        ],
        sender=[
            {**sender, "to": "udp"},
            {**sender, "to": "udp", "size": _LARGE, "start_ms": 3},
            {**sender, "to": "tcp", "start_ms": 4},
        ],
    )


def experiments() -> Scenario:
    """The five experiments, one after the other: each application's packets come in a stretch of its own."""
    names = ["udp", "tcp", "card-udp", "card-tcp", _STEERED]
    window = {name: {"start_ms": at * _PHASE_MS + 20, "stop_ms": (at + 1) * _PHASE_MS - 60} for at, name in enumerate(names)}
    traffic = {"kind": "constant", "rate_pps": _RATE_PPS, "sizes": [[_SMALL, 1]]}
    sender = {"cpu": 0, "rate_pps": _RATE_PPS, "size": _SMALL}
    ports = {"card-udp": 53, "card-tcp": 80, "udp": 1001, "tcp": 1002, _STEERED: 1003}
    return _base(
        len(names) * _PHASE_MS,
        nic=[{"name": "eth0", "irq_cpus": [0]}],
        traffic=[
            {**traffic, **window[name], "proto": name.removeprefix("card-"), "dst_ports": [ports[name]]}
            for name in ("card-udp", "card-tcp")
        ],
        application=[
            {
                "name": name,
                "kind": "tcp" if "tcp" in name else "udp",
                "cpu": 1,
                "dst_ports": [ports[name]],
                "service_ns": 0,
            }
            for name in names
        ],
        sender=[{**sender, **window[name], "name": name, "to": name} for name in ("udp", "tcp", _STEERED)],
        event=[{"at_ms": 4 * _PHASE_MS - 20, "set": "loopback.rps_cpus", "value": [2]}],
    )


def _graph(
    arm: GuestArm, functions: Sequence[str], options: GuestOptions, say: Callable[[str], None]
) -> tuple[list[graph.Call], qemu.Session]:
    """Every call of ``functions`` while the traced scenario runs."""
    from softnet.lab.play.scenario import guest_plan

    known = facts.gather(arm.image, say=say)
    guest = guest_plan(traced_scenario(), arm, known)
    guest.plan["trace"] = {**probes.NO_TRACE, "clock": "mono", "buffer_kb": 16384, "graph": list(functions)}
    machine = qemu.GuestMachine(guest.cpus, boot_args=(*guest.boot_args, *arm.boot_args))
    session = qemu.boot(arm.image, guest.plan, machine, bounds=options.bounds, accel=options.accel, say=say)
    told = session.result["trace"]
    if told["lost"]:
        raise LabError("the guest lost events while functions were traced", found=str(told["lost"]))
    return graph.calls(session.blobs, told["page_bytes"]), session


def _functions() -> list[str]:
    """Every function that a row stands for, and those around them."""
    names = {name for groups in _ROWS.values() for group in groups for name in group}
    return sorted(names | {_OUTER, "tcp_cleanup_rbuf", "schedule", "hrtimer_interrupt", "__sysvec_apic_timer_interrupt"})


def _inside(call: graph.Call) -> int:
    """How many traced calls lie inside this one, however deep."""
    return sum(1 + _inside(child) for child in call.children)


@dataclass(frozen=True, slots=True)
class Overhead:
    """What tracing adds to a function's own interval, and to its caller beyond that, for each call."""

    inside_ns: int
    outside_ns: int


def overhead(many: Sequence[graph.Call], alone: Sequence[graph.Call]) -> Overhead:
    """From the same function with traced calls inside it, and traced alone.

    What lies inside a function's own interval is taken as the shortest call of any function: too much by the few
    instructions that this one has.
    """
    inner = sorted((call for call in many if call.name == _OUTER), key=lambda call: call.whole_ns)
    bare = sorted(call.whole_ns for call in alone if call.name == _OUTER)
    if len(inner) < CALLS_MIN or len(bare) < CALLS_MIN:
        raise LabError("too few calls to know what tracing costs", found=f"{len(inner)} and {len(bare)} of {_OUTER}")
    # Half of the calls send a small packet: the lower quartile is one of those in both.
    typical = inner[len(inner) // 4]
    calls, added = _inside(typical), typical.whole_ns - bare[len(bare) // 4]
    shortest = min(call.whole_ns for call in many if not call.children)
    return Overhead(shortest, max(added // max(calls, 1) - shortest, 0))


def own_times(calls: Sequence[graph.Call], cost: Overhead) -> dict[str, list[int]]:
    """Function -> its calls' own times without tracing, sorted."""
    table: dict[str, list[int]] = {}
    for call in calls:
        bare = call.own_ns - cost.inside_ns - len(call.children) * cost.outside_ns
        table.setdefault(call.name, []).append(max(bare, 0))
    return {name: sorted(times) for name, times in sorted(table.items())}


def _quartiles(times: Sequence[int]) -> tuple[int, int, int]:
    return times[len(times) // 4], times[len(times) // 2], times[3 * len(times) // 4]


def function_rows(times: dict[str, list[int]], made: str) -> list[Fitted]:
    """A row for each of ``_ROWS`` whose functions were called often enough."""
    rows = []
    for row, groups in sorted(_ROWS.items()):
        names = [next((name for name in group if len(times.get(name, ())) >= CALLS_MIN), "") for group in groups]
        if not all(names):
            continue
        quartiles = [_quartiles(times[name]) for name in names]
        low, middle, high = (sum(values) for values in zip(*quartiles, strict=True))
        calls = min(len(times[name]) for name in names)
        what = f"own time of {' + '.join(names)}, median of {calls} calls, quartiles {low} to {high} ns; {made}"
        spread = min(1000, (high - low) * 500 // middle) if middle else 0
        rows.append(Fitted(row, middle, "fitted", what, spread))
    return rows


def _copy_rows(times: dict[str, list[int]], made: str) -> list[Fitted]:
    """The price of a byte: the same call with two sizes."""
    sizes = times.get(_OUTER, [])
    if len(sizes) < CALLS_MIN:
        return []
    small, _, large = _quartiles(sizes)
    per_byte = (large - small) * 1000 // (_LARGE - _SMALL)
    header = 42
    what = f"{_OUTER} with {_LARGE} and {_SMALL} bytes, {len(sizes)} calls; {made}"
    return [
        Fitted("copy_from_user", per_byte, "fitted", what, per_byte=True),
        Fitted("copy_to_user", per_byte, "derived", f"as copy_from_user: {what}", per_byte=True),
        Fitted(
            "udp_sendmsg",
            max(small - (_SMALL - header) * per_byte // 1000, 0),
            "fitted",
            f"without the copy: {what}",
        ),
    ]


def _switch_row(calls: Sequence[graph.Call], cost: Overhead, made: str) -> list[Fitted]:
    """From the end of a timer's interrupt that woke a task on this idle CPU to the task's return from schedule()."""
    ends: dict[int, list[int]] = {}
    for call in calls:
        if call.name == "schedule":
            ends.setdefault(call.cpu, []).append(call.end_ns)
    waits = []
    for call in calls:
        if call.name != "__sysvec_apic_timer_interrupt" or not _woke(call):
            continue
        after = [end for end in ends.get(call.cpu, []) if end > call.end_ns]
        if after:
            waits.append(max(min(after) - call.end_ns - cost.outside_ns - cost.inside_ns, 0))
    if len(waits) < CALLS_MIN:
        return []
    low, middle, high = _quartiles(sorted(waits))
    what = (
        f"timer interrupt's end to the woken task's return from schedule(), {len(waits)} times, quartiles {low} to "
        f"{high} ns; {made}"
    )
    return [Fitted("context_switch", middle, "fitted", what)]


def _woke(call: graph.Call) -> bool:
    return call.name == "try_to_wake_up" or any(_woke(child) for child in call.children)


def _ack_row(calls: Sequence[graph.Call], cost: Overhead, made: str) -> list[Fitted]:
    """tcp_cleanup_rbuf() with all that it calls: the ACK goes out there, which the model has as a price only."""
    times = sorted(
        max(call.whole_ns - cost.inside_ns - _inside(call) * (cost.inside_ns + cost.outside_ns), 0)
        for call in calls
        if call.name == "tcp_cleanup_rbuf"
    )
    if len(times) < CALLS_MIN:
        return []
    low, middle, high = _quartiles(times)
    what = f"tcp_cleanup_rbuf with the ACK that it sends, median of {len(times)}, quartiles {low} to {high} ns; {made}"
    return [Fitted("tcp_cleanup_rbuf", middle, "fitted", what)]


def model_scenario(scenario: Scenario, arm: GuestArm, costs: str) -> Scenario:
    """The scenario as the model must run it to be held against ``arm``: its kernel, hlt when idle, these costs."""
    from softnet.release import RT_SUFFIX, THREADS_SUFFIX
    from softnet.scenario import RELEASES, apply_kernel, scenario_from_dict

    release = arm.release
    if release not in RELEASES:
        raise LabError("the model has no such release", found=arm.image.release, expected=", ".join(RELEASES))
    name = f"{release}{RT_SUFFIX if arm.image.rt else ''}"
    if arm.threads and not arm.image.rt:
        name += THREADS_SUFFIX
    raw = apply_kernel(scenario.to_dict(), name)
    boot_args = raw["kernel"].get("boot_args", [])
    raw["kernel"]["boot_args"] = [*boot_args, *(["idle=halt"] if "idle=halt" not in boot_args else [])]
    raw.setdefault("machine", {})["costs"] = costs
    return scenario_from_dict(raw, directory=scenario.directory)


def _model_medians(rows: Sequence[Fitted], arm: GuestArm, about: str) -> dict[str, int]:
    from softnet.simulate.api import run

    with scratch_folder() as folder:
        path = folder / "costs.toml"
        path.write_text(table_text(rows, "calibration", about), encoding="utf-8")
        result = run(model_scenario(experiments(), arm, str(path))).result
    return {name: histogram.quantile_ns(1, 2) for name, histogram in result.latency.items()}


def _guest_medians(result: LabResult) -> dict[str, int]:
    rows = {row["task"].split("@")[0]: row["latency"] for row in result.work["tasks"] if "@" in row["task"]}
    wanted = [*_OFFSETS, _STEERED]
    few = [name for name in wanted if rows[name].get("count", 0) < CALLS_MIN]
    if few:
        raise LabError(
            "too few packets came through an experiment",
            found=", ".join(few),
            hint="--timeout, or a quieter host",
        )
    return {name: rows[name]["p50_ns"] for name in wanted}


def _receive_row(result: LabResult, known: dict[str, int], made: str) -> Fitted:
    """The receiver's own time for a packet: what its task ran, less the rows that the model charges it."""
    row = next(row for row in result.work["tasks"] if row["task"].startswith("udp@"))
    charged = sum(
        known.get(name, 0) for name in ("syscall", "udp_recvmsg", "context_switch", "skb_free_local", "skb_release_data_local")
    )
    own = max(row["cpu_ns"] // max(row["packets"], 1) - charged, 0)
    return Fitted(
        "lab_receive",
        own,
        "fitted",
        f"CPU time of the lab's receiver for each of {row['packets']} packets, less its system call; {made}",
    )


def machine_rows(rows: list[Fitted], result: LabResult, arm: GuestArm, made: str) -> tuple[list[Fitted], dict[str, dict[str, int]]]:
    """The rows that no function shows, and the medians that they were fitted to."""
    guest = _guest_medians(result)
    zero = [Fitted(name, 0, "derived", why) for name, why in sorted({**_NOT_IN_A_GUEST, **_NO_CACHES}.items())]
    base = [*rows, *zero]
    bare = _model_medians([*base, Fitted("ipi", 0, "fitted", made)], arm, made)
    ipi = max((guest[_STEERED] - guest["udp"]) - (bare[_STEERED] - bare["udp"]), 0)
    added = guest[_STEERED] - guest["udp"]
    what = f"set so that steering to a third CPU adds as much to the median as in the guest, {added} ns; {made}"
    base.append(Fitted("ipi", ipi, "fitted", what))
    model = _model_medians(base, arm, made)
    for name, row in _OFFSETS.items():
        why = (
            f"{name}: median {guest[name]} ns in the guest, {model[name]} ns in the model; the difference is the lab's "
            f"own send and receive calls; {made}"
        )
        base.append(Fitted(row, max(guest[name] - model[name], 0), "fitted", why))
    base.append(_receive_row(result, {row.name: row.value for row in rows}, made))
    return base, {name: {"guest": guest[name], "model": model[name]} for name in guest}


def calibrate(arm: GuestArm, *, options: GuestOptions, say: Callable[[str], None], when: str = "") -> Calibration:
    """Fit a table to ``arm``: three boots. ``when`` is a date or note of the user's, for the provenance."""
    say(f"{arm.label}: tracing {len(_functions())} functions")
    many, session = _graph(arm, _functions(), options, say)
    say(f"{arm.label}: tracing one function alone")
    alone, _ = _graph(arm, [_OUTER], options, say)
    say(f"{arm.label}: five experiments")
    result = run_scenario(arm, experiments(), options=options, say=say, traced=False)
    ran = session.ran
    made = f"Linux {session.greeting()['release']}, QEMU {ran.qemu} {ran.accel}" + (f", {when}" if when else "")
    cost = overhead(many, alone)
    times = own_times(many, cost)
    rows = [
        *function_rows(times, made),
        *_copy_rows(times, made),
        *_switch_row(many, cost, made),
        *_ack_row(many, cost, made),
    ]
    fitted, medians = machine_rows(rows, result, arm, made)
    return Calibration(arm.label, session.greeting()["release"], ran, tuple(sorted(fitted, key=lambda row: row.name)), medians)


def check_note(note: str) -> None:
    """Refuse a note that cannot stand in a table."""
    if any(character in note for character in '"\\') or not note.isprintable():
        raise LabError("a note is one line without quotes", where="--note", found=repr(note))


def table_of(made: Calibration, name: str) -> str:
    """The table that a calibration writes; it says what it is good for."""
    about = (
        f"Fitted to Linux {made.release} in QEMU {made.ran.qemu} ({made.ran.accel}), a virtual machine; no figure of it is "
        "one of hardware."
    )
    return table_text(made.rows, name, about)


def table_text(rows: Sequence[Fitted], name: str, about: str) -> str:
    """The rows as a cost table on top of the base table, in TOML."""
    from softnet.machine.costtable import load_cost_table

    kept = sorted(set(load_cost_table(BASE).rows) - {row.name for row in rows})
    lines = [
        "# SPDX-License-Identifier: GPL-2.0-or-later",
        f'name = "{name}"',
        f'about = "{about}"',
        f'base = "{BASE}"',
        f"# Not fitted, as in {BASE}: {', '.join(kept)}.",
    ]
    for row in sorted(rows, key=lambda row: row.name):
        section = "machine" if row.name in _MACHINE else "kernel"
        lines += ["", f"[{section}.{row.name}]", f"{'ps_per_byte' if row.per_byte else 'ns'} = {row.value}"]
        if row.spread_permille:
            lines.append(f"spread_permille = {row.spread_permille}")
        lines += [f'provenance = "{row.provenance}"', f'source = "{row.source}"']
    return "\n".join(lines) + "\n"
