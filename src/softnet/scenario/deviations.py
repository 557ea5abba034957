# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel will do otherwise than a scenario says: sentences for the user, not errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from softnet.scenario.kernel_models import IDLE_OVERRIDES
from softnet.scenario.traffic_models import CaptureTraffic

if TYPE_CHECKING:
    from softnet.scenario.tables import Tables


def deviations(scenario: Tables) -> Iterator[str]:
    """One sentence for each setting that is valid and yet does not act as it reads."""
    isolated = set(scenario.machine.isolated_cpus)
    kernel = scenario.kernel
    steered = [(f"nic.{nic.name}", nic.rps_cpus) for nic in scenario.nic] + [("loopback", scenario.loopback.rps_cpus)]
    for owner, cpus in steered:
        masked = [cpu for cpu in cpus if cpu in isolated]
        if masked:
            listed = ", ".join(map(str, masked))
            yield f"{owner}.rps_cpus: the kernel takes isolated CPUs out of the mask: {listed}."
    for nic in scenario.nic:
        if nic.napi_defer_hard_irqs and not nic.gro_flush_timeout:
            yield f"nic.{nic.name}.napi_defer_hard_irqs: has no effect while gro_flush_timeout is 0."
        if nic.rps_flow_cnt and not kernel.sysctl.rps_sock_flow_entries:
            yield f"nic.{nic.name}.rps_flow_cnt: RFS stays off while sysctl.rps_sock_flow_entries is 0."
    usecs = kernel.sysctl.netdev_budget_usecs
    if usecs is not None and usecs < kernel.budget_usecs_default:
        yield (
            f"kernel.sysctl.netdev_budget_usecs: less than two ticks ({kernel.budget_usecs_default} us) is refused from v6.14 on,"
            f" and by later stable releases of 6.1, 6.6 and 6.12; {kernel.release} as first released takes {usecs}."
        )
    if kernel.preempt == "lazy" and kernel.rt:
        yield "kernel.preempt: Debian's 6.12-rt is built with lazy preemption; of its timer thread (ktimers) the model has nothing."
    elif kernel.preempt == "lazy":
        yield "kernel.preempt: lazy preemption is in mainline since v6.13; here it is a what-if."
    if any(name.startswith("backlog_napi") for name in kernel.threads) and not kernel.backlog_threads:
        yield f"kernel.threads: {kernel.release} {kernel.flavour} has no backlog_napi threads here."
    if "threadirqs" in kernel.boot_args and kernel.rt:
        yield "kernel.boot_args: threadirqs is always in force on PREEMPT_RT."
    if scenario.machine.idle.chosen and not scenario.governed:
        args = [arg for arg in kernel.boot_args if arg in IDLE_OVERRIDES]
        yield f"machine.idle: with {args[0]} there is no governor, and no idle state is chosen."
    yield from _unheard(scenario)
    if not (scenario.traffic or scenario.sender or scenario.task):
        yield "There is no traffic, no sender and no task: nothing will happen."


def _unheard(scenario: Tables) -> Iterator[str]:
    """Generators whose packets no application receives."""
    for index, source in enumerate(scenario.traffic):
        if isinstance(source, CaptureTraffic):
            continue
        listeners = [app for app in scenario.application if app.kind == source.proto]
        if any(not app.dst_ports for app in listeners):
            continue
        heard = {port for app in listeners for port in app.dst_ports}
        silent = sorted(set(source.dst_ports) - heard)
        if silent:
            ports = ", ".join(map(str, silent))
            yield f"traffic[{index}]: no application receives {source.proto} on port {ports}."
