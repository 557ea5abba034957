# SPDX-License-Identifier: GPL-2.0-or-later
"""``[[event]]``: which settings may change while the traffic runs, and their new values, checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from softnet.scenario.allowed import allowed_text, schema_at, show
from softnet.scenario.fields import Settings, ms_to_ns
from softnet.scenario.kernel_models import Sysctl
from softnet.scenario.locate import Path
from softnet.scenario.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from softnet.scenario.tables import Tables

#: Keys of a NIC that a running system lets one change (sysfs, ethtool, /proc/irq), and the model too (softnet.image.changes).
NIC_EVENT_KEYS: Final = (
    "rps_cpus",
    "gro",
    "napi_defer_hard_irqs",
    "gro_flush_timeout",
    "rx_usecs",
    "rx_frames",
    "irq_cpus",
)


class Change(NamedTuple):
    """One event as an engine applies it: ``table`` is sysctl, nic, loopback or cpu (then ``key`` is the CPU's number);
    ``nic`` an index, -1 for others.
    """

    at_ns: int
    table: str
    nic: int
    key: str
    value: int | tuple[int, ...]


def cpu_problems(cpus: tuple[int, ...], path: Path, scenario: Tables, *, twice: bool = False) -> Iterator[Problem]:
    """CPU numbers that the machine does not have, or, unless ``twice``, that are listed twice."""
    last = scenario.machine.cpus - 1
    for index, cpu in enumerate(cpus):
        if cpu > last:
            yield Problem((*path, index), "no such CPU", str(cpu), f"0 to {last} (machine.cpus is {last + 1})")
        elif not twice and cpu in cpus[:index]:
            yield Problem((*path, index), "the same CPU twice", show(cpus), "each CPU once")


def changes(scenario: Tables) -> list[Change]:
    """The events in time order, those of one instant in file order."""
    out = []
    for event in scenario.event:
        table, nic_name, key = _split(event.set)
        nic = scenario.nic_index(nic_name) if table == "nic" else -1
        value = event.value if isinstance(event.value, tuple) else int(event.value)
        out.append(Change(event.at_ns, table, nic, key, value))
    return sorted(out, key=lambda change: change.at_ns)


def _split(target: str) -> tuple[str, str, str]:
    table, _, rest = target.removeprefix("kernel.").partition(".")
    if table == "nic":
        name, _, key = rest.partition(".")
        return table, name, key
    if table == "cpu":
        number, _, key = rest.partition(".")
        return (table, "", number) if key == "online" else (target, "", "")
    return table, "", rest


#: What a running system lets one change, and the model does not: threads, flow tables and their CPUs are made at boot.
AT_BOOT_ONLY: Final = {
    "nic": ("threaded", "rps_flow_cnt"), "loopback": ("rps_flow_cnt",), "sysctl": ("flow_limit_cpu_bitmap", "busy_read"),
}  # fmt: skip


def check_events(scenario: Tables) -> Iterator[Problem]:
    """Problems of the events: unknown settings, values out of range, times after the end."""
    for index, event in enumerate(scenario.event):
        path: Path = ("event", index)
        if ms_to_ns(event.at_ms) >= scenario.measure.duration_ns:
            yield Problem(
                (*path, "at_ms"),
                "after the end of the run",
                show(event.at_ms),
                f"less than measure.duration_ms, {show(scenario.measure.duration_ms)}",
            )
        found = list(_check_target(scenario, path, event.set))
        yield from found
        if not found:
            yield from _check_value(scenario, path, event.set, event.value)


def _check_target(scenario: Tables, path: Path, target: str) -> Iterator[Problem]:
    table, nic_name, key = _split(target)
    nics = [nic.name for nic in scenario.nic]
    known = {
        "sysctl": [name for name in Sysctl.model_fields if name not in AT_BOOT_ONLY["sysctl"]],
        "nic": list(NIC_EVENT_KEYS),
        "loopback": ["rps_cpus"],
        "cpu": [str(cpu) for cpu in range(1, scenario.machine.cpus)],
    }
    if table == "nic" and nic_name not in nics:
        yield Problem(
            (*path, "set"),
            "no such NIC",
            show(target),
            "nic.NAME.KEY with one of " + ", ".join(nics),
            did_you_mean(nic_name, nics),
        )
    elif table not in known:
        yield Problem((*path, "set"), "not a setting", show(target), "sysctl.NAME, nic.NAME.KEY, loopback.KEY or cpu.N.online")
    elif key not in known[table]:
        yield Problem(
            (*path, "set"),
            "not a setting that can change in a run",
            show(target),
            "one of " + ", ".join(known[table]),
            "the model makes it at boot: compare two scenarios, one with each value"
            if key in AT_BOOT_ONLY.get(table, ())
            else did_you_mean(key, known[table]),
        )


def _check_value(scenario: Tables, path: Path, target: str, value: Any) -> Iterator[Problem]:
    """The new value must be one that the key could have had from the start."""
    from softnet.scenario.tables import Loopback, Nic

    table, nic_name, key = _split(target)
    if table == "cpu":
        if value not in (0, 1):
            yield Problem((*path, "value"), "not a state of a CPU", show(value), "0 (offline) or 1 (online)")
        return
    models: dict[str, type[Settings]] = {"sysctl": Sysctl, "nic": Nic, "loopback": Loopback}
    at: Path = (*path, "value")
    try:
        models[table].model_validate({key: value})
    except ValidationError:
        where: Path = ("kernel", "sysctl", key) if table == "sysctl" else (table, *((0,) if table == "nic" else ()), key)
        yield Problem(at, f"not a value for {target}", show(value), allowed_text(schema_at(where, {})))
        return
    if isinstance(value, tuple):
        yield from cpu_problems(value, at, scenario, twice=key == "irq_cpus")
    if table == "nic" and key == "irq_cpus":
        queues = scenario.nic[scenario.nic_index(nic_name)].queues
        if not isinstance(value, tuple) or len(value) != queues:
            yield Problem(at, "not one CPU for each queue", show(value), f"{queues} CPU numbers")
    if key == "netdev_budget_usecs" and isinstance(value, int) and value < scenario.kernel.budget_usecs_min:
        yield Problem(
            at,
            f"less than two ticks, which {scenario.kernel.release} refuses",
            show(value),
            f"at least {scenario.kernel.budget_usecs_min} with hz = {scenario.kernel.hz}",
        )
    if key == "flow_limit_table_len" and isinstance(value, int) and value & (value - 1):
        yield Problem(at, "not a power of two, which the kernel refuses", show(value), "a power of two")
