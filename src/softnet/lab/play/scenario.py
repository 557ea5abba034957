# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario as a plan for a guest: what the guest can give is asked of it, the rest is an error or is said.

Nothing of a scenario is dropped in silence. What cannot be had at all (a kernel without RPS) is an error before
anything boots; what can be had only approximately becomes a sentence in the result's ``deviations``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from softnet.lab.errors import LabError
from softnet.lab.guest.plans import (
    ApplicationPlan,
    CyclictestPlan,
    Event,
    HogPlan,
    LoadPlan,
    LoadWork,
    SenderPlan,
    Setting,
    ThreadWish,
)
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.traffic import card_settings, cards, change_settings, refuse_cards
from softnet.lab.tracing.facts import Facts
from softnet.lab.tracing.probes import trace_plan
from softnet.scenario import Application, Hog, Scenario, Sender, changes

_SYSCTL = "/proc/sys/net/core"
_LO = "/sys/class/net/lo/queues/rx-0"
_ETHERNET_BYTES, _IPV4_BYTES, _UDP_BYTES = 14, 20, 8
# With the time stamp option, which Linux uses by default.
_TCP_BYTES = 32
_STAMP_BYTES = 8
_UDP_PAYLOAD_MAX = 65507
_GUEST_THREADS = ("ksoftirqd", "backlog_napi", "napi", "irq")
_CPUS = "/sys/devices/system/cpu"


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """What to send to the guest, how many CPUs to give it, what to add to its command line, what deviates."""

    plan: LoadPlan
    cpus: int
    boot_args: tuple[str, ...]
    deviations: tuple[str, ...]


def _mask(cpus: tuple[int, ...]) -> str:
    """CPUs as sysfs takes them: hexadecimal, in groups of 32 bits."""
    bits = sum(1 << cpu for cpu in cpus)
    groups: list[str] = []
    while bits or not groups:
        groups.append(f"{bits & 0xFFFFFFFF:08x}")
        bits >>= 32
    return ",".join(reversed(groups))


def _setting(table: str, key: str, value: int | tuple[int, ...]) -> Setting:
    """[path, text] of one setting in the guest; ``table`` is loopback, sysctl or cpu."""
    if table == "cpu":
        return [f"{_CPUS}/cpu{key}/online", str(value)]
    folder = _LO if table == "loopback" else _SYSCTL
    return [f"{folder}/{key}", _mask(value) if isinstance(value, tuple) else str(value)]


def refuse_impossible(scenario: Scenario) -> None:
    """Raise ``LabError`` for what no guest can give; nothing needs to be booted or fetched to know."""
    where = f"scenario {scenario.name}"
    refuse_cards(scenario)
    for name, wanted in (
        ("RPS", scenario.kernel.config.RPS),
        ("NET_FLOW_LIMIT", scenario.kernel.config.NET_FLOW_LIMIT),
    ):
        if not wanted:
            raise LabError(
                f"a packaged kernel is built with {name}",
                where=f"{where}: kernel.config.{name}",
                found="false",
                hint="build a kernel without it and give its path: --kernel /path/to/arch/x86/boot/bzImage",
            )
    for name in scenario.kernel.threads:
        kind, _, instance = name.partition("/")
        if kind not in _GUEST_THREADS:
            raise LabError(
                "the guest has no such thread",
                where=f"{where}: kernel.threads",
                found=name,
                expected=" or ".join(_GUEST_THREADS),
            )
        if kind == "napi" and any(instance.rpartition("-")[0] == nic.name and nic.queues > 1 for nic in scenario.nic):
            raise LabError(
                "a TUN device's NAPI threads all have one name",
                where=f"{where}: kernel.threads",
                found=name,
                expected="napi, for all of them",
            )


def _kernel_deviations(scenario: Scenario, arm: GuestArm) -> list[str]:
    """Where the booted kernel is not the one that the scenario describes."""
    said = []
    wanted = scenario.kernel
    flavour = "rt" if arm.image.rt else "plain"
    release = arm.release
    if "release" in wanted.model_fields_set and wanted.release != release:
        said.append(f"kernel.release: the scenario says {wanted.release}, the guest runs {arm.image.release}.")
    if "flavour" in wanted.model_fields_set and wanted.flavour != flavour:
        said.append(f"kernel.flavour: the scenario says {wanted.flavour}, the guest's kernel is {flavour}.")
    built = _config(arm)
    if built.get("CONFIG_HZ") not in (None, str(wanted.hz)):
        said.append(f"kernel.hz: the scenario has {wanted.hz}, the guest's kernel was built with {built['CONFIG_HZ']}.")
    built_lazy = wanted.preempt == "lazy" and arm.image.rt and "CONFIG_PREEMPT_LAZY" in built
    if not built_lazy and (
        wanted.preempt not in ("rt", "none", "voluntary", "full")
        or (wanted.preempt != "rt" and not arm.image.rt and "CONFIG_PREEMPT_DYNAMIC" not in built)
    ):
        said.append(f"kernel.preempt: the guest's kernel cannot be told to be {wanted.preempt} at boot.")
    if any(name.startswith("backlog_napi") for name in wanted.threads) and not arm.threads:
        said.append("kernel.threads: this arm has no backlog_napi threads.")
    return said


def _config(arm: GuestArm) -> dict[str, str]:
    path = arm.image.vmlinuz.with_name("config")
    if not os.path.exists(path):
        return {}
    lines = [line.split("=", 1) for line in path.read_text().splitlines() if line.startswith("CONFIG_")]
    return {key: value.strip('"') for key, value in lines}


def _boot_args(scenario: Scenario, arm: GuestArm) -> tuple[str, ...]:
    words = [arg for arg in scenario.kernel.boot_args if arg not in arm.boot_args]
    if not arm.image.rt and scenario.kernel.preempt in ("none", "voluntary", "full"):
        words.append(f"preempt={scenario.kernel.preempt}")
    if scenario.machine.isolated_cpus:
        words.append("isolcpus=" + ",".join(map(str, sorted(scenario.machine.isolated_cpus))))
    return tuple(words)


def _policy(sched: str) -> str:
    return sched if ":" in sched else f"{sched}:0"


def _application(app: Application) -> ApplicationPlan:
    cpus = app.cpus or ((app.cpu,) if app.cpu is not None else (0,))
    return {
        "name": app.name,
        "kind": app.kind,
        "cpus": list(cpus),
        "sched": _policy(app.sched),
        "nice": app.nice,
        "service_ns": app.service_ns,
        "rcvbuf": app.rcvbuf,
    }


def _sender(sender: Sender, name: str, kind: str, scenario: Scenario, said: list[str]) -> SenderPlan:
    overhead = _ETHERNET_BYTES + _IPV4_BYTES + (_TCP_BYTES if kind == "tcp" else _UDP_BYTES)
    asked = sender.size - overhead
    payload = min(max(asked, _STAMP_BYTES), _UDP_PAYLOAD_MAX)
    if payload != asked:
        said.append(f"{name}.size: packets have {payload + overhead} bytes and not {sender.size}.")
    end_ns = scenario.measure.duration_ns
    stop_ns = end_ns if sender.stop_ms is None else min(end_ns, round(sender.stop_ms * 1_000_000))
    return {
        "name": name,
        "label": name,
        "to": sender.to,
        "cpu": sender.cpu,
        "sched": _policy(sender.sched),
        "nice": sender.nice,
        "payload": payload,
        "gap_ns": sender.gap_ns,
        "start_ns": round(sender.start_ms * 1_000_000),
        "stop_ns": stop_ns,
    }


def _unique(names: list[str]) -> list[str]:
    """Names of tasks that tell them apart: a second "sender" is called sender-2."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return out


def _tasks(scenario: Scenario, said: list[str]) -> list[HogPlan | CyclictestPlan]:
    rows: list[HogPlan | CyclictestPlan] = []
    for task, name in zip(scenario.task, _unique([task.name for task in scenario.task]), strict=True):
        sched = _policy(task.sched)
        if isinstance(task, Hog):
            period_ns = round(task.period_us * 1000)
            rows.append({
                "kind": "hog", "name": name, "label": name, "cpu": task.cpu, "sched": sched, "nice": task.nice,
                "period_ns": period_ns, "busy_ns": round(period_ns * task.duty),
            })  # fmt: skip
            if task.duty == 1 and not task.sched.startswith("other"):
                said.append(f"{name}: the kernel throttles real-time tasks to 95 % of a CPU (sched_rt_runtime_us).")
        else:
            rows.append({
                "kind": "cyclictest", "name": name, "label": name, "cpu": task.cpu, "sched": sched, "nice": 0,
                "interval_ns": task.interval_ns, "work_ns": task.work_ns,
            })  # fmt: skip
    return rows


def _work(scenario: Scenario, arm: GuestArm, said: list[str]) -> LoadWork:
    kinds = {app.name: app.kind for app in scenario.application}
    names = _unique([sender.name for sender in scenario.sender])
    senders = []
    for sender, name in zip(scenario.sender, names, strict=True):
        kind = kinds[sender.to]
        if sender.proto not in (None, kind):
            raise LabError(
                "a sender speaks another protocol than its application",
                where=f"scenario {scenario.name}: sender {name}",
                found=f"{sender.proto} to {sender.to}, which receives {kind}",
            )
        senders.append(_sender(sender, name, kind, scenario, said))
    if any(kinds[sender.to] == "tcp" for sender in scenario.sender):
        said.append(
            "TCP over loopback is the kernel's own TCP: acknowledgements pass through the backlog too, and segments "
            "that wait in a queue may be merged into one skb."
        )
    tasks, events = _tasks(scenario, said), _events(scenario)
    if scenario.machine.numa_nodes > 1:
        said.append("machine.numa_nodes: the guest has one node.")
    if scenario.governed:
        said.append("machine.idle: the guest idles as its own kernel lets it, without these states.")
    if scenario.machine.noise:
        said.append("machine.noise: the guest has the noise of the machine that it runs on.")
    made, sockets = cards(scenario, arm, said) if scenario.nic else ([], [])
    return {
        "applications": [_application(app) for app in scenario.application],
        "senders": senders,
        "tasks": tasks,
        "cards": made,
        "sockets": sockets,
        "events": events,
        "warmup_ns": scenario.measure.warmup_ns,
        "duration_ns": scenario.measure.duration_ns,
    }


def _events(scenario: Scenario) -> list[Event]:
    """[time, path, text] of every setting that changes during the run."""
    rows: list[Event] = []
    for change in changes(scenario):
        if change.table == "nic":
            nic = scenario.nic[change.nic]
            rows += [[change.at_ns, *row] for row in change_settings(nic, change.key, change.value, _mask)]
        else:
            rows.append([change.at_ns, *_setting(change.table, change.key, change.value)])
    return rows


def _threads(scenario: Scenario, arm: GuestArm, said: list[str]) -> list[ThreadWish]:
    """[pattern of the name, policy, CPUs or None] for every wish about a kernel thread that the guest has."""
    rows: list[ThreadWish] = []
    for name, setting in scenario.kernel.threads.items():
        kind, _, instance = name.partition("/")
        if kind == "irq":
            if setting.cpus is not None:
                said.append(f"kernel.threads.{name}: the card's task stays on the interrupt's CPU.")
            if not arm.image.rt:
                said.append(f"kernel.threads.{name}: only PREEMPT_RT and threadirqs have such threads.")
            continue
        if kind == "napi":
            pattern = f"napi/{instance.rpartition('-')[0]}-*" if instance else "napi/*"
        else:
            pattern = name if instance else f"{name}/*"
        rows.append([pattern, _policy(setting.sched), setting.cpus])
    return rows


def _settings(scenario: Scenario) -> list[Setting]:
    """Every setting of the scenario, defaults included, in an order in which the kernel takes them."""
    sysctl = scenario.kernel.sysctl
    rows = []
    for key in sorted(type(sysctl).model_fields, key=lambda name: name != "flow_limit_table_len"):
        value = getattr(sysctl, key)
        if value is not None:
            rows.append(_setting("sysctl", key, value))
    rows.append(_setting("loopback", "rps_cpus", scenario.loopback.rps_cpus))
    rows.append(_setting("loopback", "rps_flow_cnt", scenario.loopback.rps_flow_cnt))
    for nic in scenario.nic:
        rows += card_settings(nic, _mask)
    return rows


def guest_plan(scenario: Scenario, arm: GuestArm, known: Facts, *, clock: str = "counter") -> GuestPlan:
    """The plan of ``scenario`` for ``arm``. Raises ``LabError`` for what a guest cannot give."""
    refuse_impossible(scenario)
    said = _kernel_deviations(scenario, arm)
    work = _work(scenario, arm, said)
    cpus = scenario.machine.cpus
    plan: LoadPlan = {
        "kind": "load",
        "settings": _settings(scenario),
        "threads": _threads(scenario, arm, said),
        "trace": trace_plan(known, cpus, clock=clock, switches=scenario.measure.trace == "full"),
        "work": work,
    }
    return GuestPlan(plan, cpus, _boot_args(scenario, arm), tuple(said))
