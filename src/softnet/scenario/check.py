# SPDX-License-Identifier: GPL-2.0-or-later
"""What must fit together in a scenario, beyond the type of each key.

``cross_check`` finds what cannot be run. ``deviations.py`` tells what the kernel will do otherwise than written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from softnet.release import THREADS_ARG, Feature, first_with
from softnet.scenario.allowed import show
from softnet.scenario.events import check_events, cpu_problems
from softnet.scenario.fields import SOCKETS_MAX, ms_to_ns
from softnet.scenario.idle import idle_tables
from softnet.scenario.kernel_models import BOOT_ARGS
from softnet.scenario.locate import Path
from softnet.scenario.problems import Problem, did_you_mean
from softnet.scenario.traffic_models import CaptureTraffic, Generator, OnOffTraffic

if TYPE_CHECKING:
    from softnet.scenario.idle import Idle
    from softnet.scenario.tables import Tables


SAMPLES_MAX: Final = 10_000_000
"""Of a run's series: each takes a word of every column."""
RFS_ENTRIES_MAX: Final = 1 << 20
"""Entries of the flow tables of all queues, which the image holds from boot on."""


def cross_check(scenario: Tables) -> list[Problem]:
    """Every problem of a scenario whose keys are all of the right type."""
    return [
        *_machine(scenario),
        *_kernel(scenario),
        *_kernel_config(scenario),
        *_busy_polling(scenario),
        *_threads(scenario),
        *_nics(scenario),
        *_traffic(scenario),
        *_applications(scenario),
        *_senders(scenario),
        *_tasks(scenario),
        *_measure(scenario),
        *check_events(scenario),
    ]


def _one_cpu(cpu: int, path: Path, scenario: Tables) -> Iterator[Problem]:
    last = scenario.machine.cpus - 1
    if cpu > last:
        yield Problem(path, "no such CPU", str(cpu), f"0 to {last} (machine.cpus is {last + 1})")


def _machine(scenario: Tables) -> Iterator[Problem]:
    machine = scenario.machine
    if machine.numa_nodes > machine.cpus:
        yield Problem(
            ("machine", "numa_nodes"),
            "more NUMA nodes than CPUs",
            str(machine.numa_nodes),
            f"1 to {machine.cpus}",
        )
    yield from _llcs(scenario)
    yield from _idle(machine.idle)
    for index, source in enumerate(machine.noise):
        path: Path = ("machine", "noise", index)
        yield from cpu_problems(source.cpus, (*path, "cpus"), scenario)
        least, most = source.duration_us
        if least > most or 2 * most > source.interval_us:
            yield Problem(
                (*path, "duration_us"), "no range that fits into the interval", show([least, most]),
                f"the least, then the most, up to {show(source.interval_us / 2)}, half of interval_us",
            )  # fmt: skip
    yield from cpu_problems(machine.isolated_cpus, ("machine", "isolated_cpus"), scenario)
    if len(set(machine.isolated_cpus)) >= machine.cpus:
        yield Problem(
            ("machine", "isolated_cpus"),
            "every CPU is isolated",
            show(machine.isolated_cpus),
            "at least one CPU left for everything else",
        )


def _idle(idle: Idle) -> Iterator[Problem]:
    path: Path = ("machine", "idle")
    if not idle.model_fields_set:
        return  # The shipped tables need not be read.
    known = ", ".join(map(show, idle_tables()))
    if idle.table and idle.table not in idle_tables():
        yield Problem((*path, "table"), "no such table of idle states", show(idle.table), f"one of {known}",
                      did_you_mean(idle.table, idle_tables()))  # fmt: skip
        return
    if idle.table and idle.states:
        yield Problem((*path, "states"), "both a table and states", f"table = {show(idle.table)}", "one of them")
    if not idle.chosen and (idle.governor or idle.disable or idle.latency_limit_us is not None):
        yield Problem(path, "a governor without idle states", expected=f"states, or table = one of {known}")
    names = [state.name for state in idle.chosen]
    for index, state in enumerate(idle.states):
        if state.name in names[: index + 1]:
            yield Problem(
                (*path, "states", index, "name"), "two idle states of one name", show(state.name), "a name of its own for each"
            )
        before = idle.states[max(index - 1, 0)]
        if state.exit_ns < before.exit_ns or state.residency_ns < before.residency_ns:
            yield Problem(
                (*path, "states", index),
                f"shallower than {before.name}, which stands before it",
                f"{state.exit_latency_us:g} and {state.target_residency_us:g} us",
                f"at least {before.exit_latency_us:g} and {before.target_residency_us:g} us",
                "write the states from the shallowest on",
            )
    for index, name in enumerate(idle.disable):
        if idle.chosen and name not in names:
            yield Problem((*path, "disable", index), "no such idle state", show(name), f"one of {', '.join(map(show, names))}",
                          did_you_mean(name, names))  # fmt: skip
    if idle.chosen_governor == "haltpoll" and idle.chosen and len(idle.chosen) != 2:
        yield Problem(
            (*path, "governor"), "haltpoll knows two states, polling and one other", str(len(idle.chosen)), "one state in states"
        )


def _llcs(scenario: Tables) -> Iterator[Problem]:
    machine = scenario.machine
    seen: set[int] = set()
    for index, cpus in enumerate(machine.llcs):
        path: Path = ("machine", "llcs", index)
        found = list(cpu_problems(cpus, path, scenario))
        yield from found
        if not cpus:
            yield Problem(path, "a cache that no CPU uses", "no CPUs", "the CPUs that share it")
        elif seen & set(cpus):
            yield Problem(path, "a CPU with two last-level caches", show(cpus), "each CPU in one list at most")
        elif not found and len({machine.numa_node(cpu) for cpu in cpus}) > 1:
            yield Problem(path, "a last-level cache of several NUMA nodes", show(cpus), "CPUs of one node")
        seen |= set(cpus)


def _kernel(scenario: Tables) -> Iterator[Problem]:
    kernel = scenario.kernel
    if kernel.rt != (kernel.preempt == "rt") and not (kernel.rt and kernel.preempt == "lazy"):
        yield Problem(
            ("kernel", "preempt"),
            "preempt and flavour do not fit",
            f"preempt = {show(kernel.preempt)} with flavour = {show(kernel.flavour)}",
            'preempt = "rt" with flavour = "rt", and only there; or "lazy"',
            'write flavour = "rt", or leave preempt out' if kernel.preempt == "rt" else "leave preempt out",
        )
    for index, arg in enumerate(kernel.boot_args):
        path: Path = ("kernel", "boot_args", index)
        if arg not in BOOT_ARGS:
            known = ", ".join(show(name) for name in BOOT_ARGS)
            yield Problem(path, "unknown boot argument", show(arg), f"one of {known}", did_you_mean(arg, BOOT_ARGS))
        elif arg == THREADS_ARG and not kernel.has("backlog_threads"):
            yield Problem(
                path,
                f"this boot argument does not exist in {kernel.release}",
                show(arg),
                f"release {first_with('backlog_threads')} or later",
                "backlog threads came with v6.10 (commit dad6b9770263)",
            )
    sysctl = kernel.sysctl
    usecs = sysctl.netdev_budget_usecs
    if usecs is not None and usecs < kernel.budget_usecs_min:
        yield Problem(
            ("kernel", "sysctl", "netdev_budget_usecs"),
            f"less than two ticks, which {kernel.release} refuses",
            str(usecs),
            f"at least {kernel.budget_usecs_min} with hz = {kernel.hz}",
        )
    if sysctl.flow_limit_table_len & (sysctl.flow_limit_table_len - 1):
        yield Problem(
            ("kernel", "sysctl", "flow_limit_table_len"),
            "not a power of two, which the kernel refuses",
            str(sysctl.flow_limit_table_len),
            "a power of two",
        )
    yield from cpu_problems(sysctl.flow_limit_cpu_bitmap, ("kernel", "sysctl", "flow_limit_cpu_bitmap"), scenario)


def _kernel_config(scenario: Tables) -> Iterator[Problem]:
    """Settings whose code the kernel was built without."""
    config, sysctl = scenario.kernel.config, scenario.kernel.sysctl
    hint = "set kernel.config.RPS = true, or leave this key out"
    uses: list[tuple[Path, object]] = []
    if not config.RPS:
        uses.append((("kernel", "sysctl", "rps_sock_flow_entries"), sysctl.rps_sock_flow_entries))
        uses.append((("loopback", "rps_cpus"), scenario.loopback.rps_cpus))
        for index, nic in enumerate(scenario.nic):
            uses.append((("nic", index, "rps_cpus"), nic.rps_cpus))
            uses.append((("nic", index, "rps_flow_cnt"), nic.rps_flow_cnt))
    for path, value in uses:
        if value:
            yield Problem(path, "the kernel is built without RPS", show(value), "nothing", hint)
    if sysctl.flow_limit_cpu_bitmap and not (config.NET_FLOW_LIMIT and config.RPS):
        yield Problem(
            ("kernel", "sysctl", "flow_limit_cpu_bitmap"),
            "the kernel is built without the flow limit",
            show(sysctl.flow_limit_cpu_bitmap),
            "nothing",
            "it needs kernel.config.RPS and kernel.config.NET_FLOW_LIMIT",
        )


def _busy_polling(scenario: Tables) -> Iterator[Problem]:
    """Busy polling on a kernel that has none, or none of this kind."""
    kernel = scenario.kernel
    wanted: list[tuple[Path, Feature | None]] = []
    for name in ("busy_poll", "busy_read"):
        if getattr(kernel.sysctl, name):
            wanted.append((("kernel", "sysctl", name), None))
    for index, application in enumerate(scenario.application):
        for name in ("busy_poll_usecs", "busy_poll_budget", "prefer_busy_poll"):
            if getattr(application, name):
                wanted.append((("application", index, name), "epoll_busy_poll"))
    for index, nic in enumerate(scenario.nic):
        if nic.irq_suspend_timeout:
            wanted.append((("nic", index, "irq_suspend_timeout"), "irq_suspend"))
    wanted += [(("event", at, "set"), None) for at, event in enumerate(scenario.event) if event.set == "sysctl.busy_poll"]
    for path, feature in wanted:
        if not kernel.busy_poll:
            yield Problem(
                path,
                f"{kernel.label} has no busy polling",
                str(path[-1]),
                f"flavour plain, or release {first_with('busy_poll_rt', rt=True)} or later",
                "PREEMPT_RT polls since v6.5 (commit c857946a4e26)",
            )
        elif feature and not kernel.has(feature):
            hint = "set kernel.sysctl.busy_poll instead" if feature == "epoll_busy_poll" else "leave this key out"
            yield Problem(
                path, f"this does not exist in {kernel.release}", str(path[-1]), f"release {first_with(feature)} or later", hint
            )


def _threads(scenario: Tables) -> Iterator[Problem]:
    nics = {nic.name: nic for nic in scenario.nic}
    for name, thread in scenario.kernel.threads.items():
        path: Path = ("kernel", "threads", name)
        kind, _, instance = name.partition("/")
        if kind in ("ksoftirqd", "backlog_napi"):
            if instance and int(instance) >= scenario.machine.cpus:
                yield Problem(
                    path,
                    "a thread of a CPU that does not exist",
                    name,
                    f"CPU 0 to {scenario.machine.cpus - 1}",
                )
            if thread.cpus is not None:
                yield Problem(
                    (*path, "cpus"),
                    f"{kind} threads cannot be moved",
                    show(thread.cpus),
                    "no cpus",
                    "the kernel binds one to each CPU and refuses to change it (PF_NO_SETAFFINITY)",
                )
            continue
        nic_name, _, queue = instance.rpartition("-")
        if instance and (nic_name not in nics or int(queue) >= nics[nic_name].queues):
            known = [f"{kind}/{nic.name}-{q}" for nic in scenario.nic for q in range(min(nic.queues, 8))]
            yield Problem(
                path,
                "a thread of a queue that does not exist",
                name,
                ", ".join(known) or "no NIC is described",
            )
        if thread.cpus is not None:
            yield from cpu_problems(thread.cpus, (*path, "cpus"), scenario)
            if not thread.cpus:
                yield Problem((*path, "cpus"), "no CPU to run on", "[]", "at least one CPU")


def _nics(scenario: Tables) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    isolated = set(scenario.machine.isolated_cpus)
    for index, nic in enumerate(scenario.nic):
        path: Path = ("nic", index)
        if nic.name == "lo":
            yield Problem((*path, "name"), "lo is not a NIC", '"lo"', "another name", "set up lo in [loopback]")
        if nic.name in seen:
            yield Problem((*path, "name"), "two NICs of one name", show(nic.name), "a name of its own for each")
        seen[nic.name] = index
        if nic.irq_cpus is not None:
            yield from cpu_problems(nic.irq_cpus, (*path, "irq_cpus"), scenario, twice=True)
            if len(nic.irq_cpus) != nic.queues:
                yield Problem(
                    (*path, "irq_cpus"),
                    "not one CPU for each queue",
                    show(nic.irq_cpus),
                    f"{nic.queues} CPU numbers (queues is {nic.queues})",
                )
        yield from _steering((*path, "rps_cpus"), nic.rps_cpus, isolated, scenario)
    yield from _steering(("loopback", "rps_cpus"), scenario.loopback.rps_cpus, isolated, scenario)
    entries = 0
    for index, nic in enumerate(scenario.nic):
        entries += nic.rps_flow_cnt * nic.queues
        if entries > RFS_ENTRIES_MAX:
            yield Problem(
                ("nic", index, "rps_flow_cnt"),
                "more entries of flow tables than the model holds",
                f"{entries:,} of all queues together",
                f"at most {RFS_ENTRIES_MAX:,}",
            )
            return


def _steering(path: Path, cpus: tuple[int, ...], isolated: set[int], scenario: Tables) -> Iterator[Problem]:
    yield from cpu_problems(cpus, path, scenario)
    if cpus and set(cpus) <= isolated:
        yield Problem(
            path,
            "only isolated CPUs, which the kernel refuses (EINVAL)",
            show(cpus),
            "at least one CPU that is not isolated",
            "rps_cpumask_housekeeping() takes isolated CPUs out of the mask and refuses an empty rest",
        )


def _window(path: Path, start_ms: float, stop_ms: float | None, scenario: Tables) -> Iterator[Problem]:
    if stop_ms is not None and stop_ms <= start_ms:
        yield Problem(
            (*path, "stop_ms"),
            "stops before it starts",
            show(stop_ms),
            f"more than start_ms, {show(start_ms)}",
        )
    if ms_to_ns(start_ms) >= scenario.measure.duration_ns:
        yield Problem(
            (*path, "start_ms"),
            "starts after the end of the run",
            show(start_ms),
            f"less than measure.duration_ms, {show(scenario.measure.duration_ms)}",
        )


def _traffic(scenario: Tables) -> Iterator[Problem]:
    names = [nic.name for nic in scenario.nic]
    for index, source in enumerate(scenario.traffic):
        path: Path = ("traffic", index)
        if not names:
            yield Problem(path, "traffic without a NIC", expected="a [[nic]] table for it to arrive at")
        elif source.nic is None and len(names) > 1:
            yield Problem((*path, "nic"), "missing key", expected="one of " + ", ".join(map(show, names)))
        elif source.nic is not None and source.nic not in names:
            yield Problem(
                (*path, "nic"),
                "no such NIC",
                show(source.nic),
                "one of " + ", ".join(map(show, names)),
                did_you_mean(source.nic, names),
            )
        yield from _window(path, source.start_ms, source.stop_ms, scenario)
        if not isinstance(source, CaptureTraffic) and source.proto == "tcp" and source.flows > SOCKETS_MAX:
            yield Problem(
                (*path, "flows"),
                "more sockets than the model holds: a TCP flow has one of its own",
                str(source.flows),
                f"at most {SOCKETS_MAX}",
            )
        if not isinstance(source, CaptureTraffic) and (source.src or source.dst):
            yield from _addresses(path, source)
        if isinstance(source, OnOffTraffic) and source.on_us * source.rate_pps < 1_000_000:
            yield Problem(
                (*path, "on_us"),
                "bursts too short for one packet",
                show(source.on_us),
                f"at least {show(1_000_000 / source.rate_pps)} at {source.rate_pps} packets a second",
            )
        if isinstance(source, CaptureTraffic):
            for position, address in enumerate(source.local_addresses):
                try:
                    ipaddress.ip_address(address)
                except ValueError:
                    yield Problem(
                        (*path, "local_addresses", position),
                        "not an IP address",
                        show(address),
                        'an address such as "10.0.0.2" or "fe80::1"',
                    )


def _addresses(path: Path, source: Generator) -> Iterator[Problem]:
    """A generator's addresses: that they are some, of one family, and enough."""
    known = {}
    for key, text in (("src", source.src), ("dst", source.dst)):
        try:
            known[key] = ipaddress.ip_address(text) if text else None
        except ValueError:
            yield Problem((*path, key), "not an IP address", show(text), 'an address such as "10.0.0.2" or "fd00::2"')
    src, dst = known.get("src"), known.get("dst")
    if src is not None and dst is not None and src.version != dst.version:
        yield Problem((*path, "dst"), "an address of another family", show(source.dst), f"one of IPv{src.version}, as src is")
    if src is not None and int(src) + source.flows > 1 << src.max_prefixlen:
        yield Problem((*path, "src"), "addresses run out", show(source.src), f"an address that {source.flows - 1} others follow")


def _applications(scenario: Tables) -> Iterator[Problem]:
    names: set[str] = set()
    owner: dict[tuple[str, int], str] = {}
    for index, app in enumerate(scenario.application):
        path: Path = ("application", index)
        if app.name in names:
            yield Problem((*path, "name"), "two applications of one name", show(app.name), "a name of its own for each")
        names.add(app.name)
        if app.cpu is not None and app.cpus:
            yield Problem((*path, "cpus"), "both cpu and cpus", show(app.cpus), "one of them")
        if app.cpu is not None:
            yield from _one_cpu(app.cpu, (*path, "cpu"), scenario)
        yield from cpu_problems(app.cpus, (*path, "cpus"), scenario, twice=True)
        yield from _nice(path, app.sched, app.nice)
        for position, port in enumerate(app.dst_ports or (0,)):
            other = owner.setdefault((app.kind, port), app.name)
            if other != app.name and port:
                yield Problem(
                    (*path, "dst_ports", position),
                    f"{app.kind} port {port} is already taken",
                    str(port),
                    f'a port that application "{other}" does not listen on',
                )
            elif other != app.name:
                yield Problem(
                    path,
                    f"two {app.kind} applications that take every flow",
                    show(app.name),
                    f'dst_ports in this one or in "{other}"',
                )


def _nice(path: Path, sched: str, nice: int) -> Iterator[Problem]:
    if nice and sched != "other":
        yield Problem((*path, "nice"), f"nice does not go with sched = {show(sched)}", str(nice), 'sched = "other"')


def _senders(scenario: Tables) -> Iterator[Problem]:
    apps = {app.name: app for app in scenario.application}
    targets = {sender.name: sender.to for sender in scenario.sender}
    for index, sender in enumerate(scenario.sender):
        path: Path = ("sender", index)
        yield from _one_cpu(sender.cpu, (*path, "cpu"), scenario)
        yield from _nice(path, sender.sched, sender.nice)
        yield from _window(path, sender.start_ms, sender.stop_ms, scenario)
        if (sender.rate_pps is None) == (sender.interval_ns is None):
            both = "both rate_pps and interval_ns" if sender.rate_pps is not None else "neither rate_pps nor interval_ns"
            yield Problem(path, both, expected="one of rate_pps and interval_ns")
        if sender.to in apps:
            kind = apps[sender.to].kind
            if sender.proto is not None and sender.proto != kind:
                yield Problem(
                    (*path, "proto"),
                    f'application "{sender.to}" does not receive {sender.proto}',
                    show(sender.proto),
                    show(kind),
                )
        elif sender.to in targets:
            chain = [sender.name, sender.to]
            while chain[-1] in targets and chain[-1] not in chain[:-1]:
                chain.append(targets[chain[-1]])
            cyclic = chain[-1] in chain[:-1]
            yield Problem(
                (*path, "to"),
                "senders in a circle" if cyclic else "a sender cannot receive",
                " -> ".join(chain),
                "the name of an [[application]]" + (": " + ", ".join(map(show, apps)) if apps else ""),
            )
        else:
            known = "one of " + ", ".join(map(show, apps)) if apps else "an [[application]] of that name"
            yield Problem((*path, "to"), "no such application", show(sender.to), known, did_you_mean(sender.to, apps))


def _tasks(scenario: Tables) -> Iterator[Problem]:
    for index, task in enumerate(scenario.task):
        yield from _one_cpu(task.cpu, ("task", index, "cpu"), scenario)
        if task.kind == "hog":
            yield from _nice(("task", index), task.sched, task.nice)


def _measure(scenario: Tables) -> Iterator[Problem]:
    measure = scenario.measure
    samples = measure.duration_ns // (measure.series_interval_us * 1000)
    if samples > SAMPLES_MAX:
        yield Problem(
            ("measure", "series_interval_us"),
            f"{samples:,} samples, more than a result holds",
            show(measure.series_interval_us),
            f"at least {-(-measure.duration_ns // (SAMPLES_MAX * 1000))}",
        )
    if measure.duration_ns < 1:
        yield Problem(
            ("measure", "duration_ms"),
            "shorter than a nanosecond",
            show(measure.duration_ms),
            "at least 0.000001",
        )
    elif measure.warmup_ns >= measure.duration_ns:
        yield Problem(
            ("measure", "warmup_ms"),
            "nothing is left to measure",
            show(measure.warmup_ms),
            f"less than duration_ms, {show(measure.duration_ms)}",
        )
