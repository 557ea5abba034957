# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of a linked kernel as sysctl and sysfs write them: at boot, while traffic runs, and in a followed trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Namespace = Mapping[str, Any]
"""The linked kernel: functions, structures and intrinsics by name."""

SYSCTL_FIELDS: dict[str, str] = {
    "netdev_max_backlog": "max_backlog",
    "netdev_budget": "netdev_budget",
    "netdev_budget_usecs": "netdev_budget_usecs",
    "skb_defer_max": "sysctl_skb_defer_max",
    "gro_normal_batch": "gro_normal_batch",
    "busy_poll": "sysctl_net_busy_poll",
    "busy_read": "sysctl_net_busy_read",
}
"""Sysctl of net.core -> field of net_hotdata; dev_weight and the tables are set by set_sysctl()."""


def roundup_pow_of_two(n: int) -> int:
    """include/linux/log2.h."""
    return 1 << max(n - 1, 0).bit_length()


def set_sysctl(ns: Namespace, name: str, value: int, values: Mapping[str, int]) -> None:
    """Write one sysctl as its handler in net/core/sysctl_net_core.c would; ``values`` are those in force.

    Names that the model does not read are left alone: the scenario warns about them.
    """
    nh = ns["table"](ns["net_hotdata"], 0)
    if name in SYSCTL_FIELDS:
        setattr(nh, SYSCTL_FIELDS[name], value)
    elif name in ("dev_weight", "dev_weight_rx_bias"):
        merged = {**values, name: value}
        nh.dev_rx_weight = merged["dev_weight"] * merged.get("dev_weight_rx_bias", 1)
    elif name == "rps_sock_flow_entries":
        room = ns["table_len"](ns["rps_sock_flow_entry"])
        nh.rps_sock_flow_entries = min(roundup_pow_of_two(value), room) if value else 0
        nh.rfs_needed = int(value != 0)
        update_static_keys(ns)


def set_rps_cpus(ns: Namespace, queue: int, cpus: tuple[int, ...], isolated: tuple[int, ...] = ()) -> None:
    """store_rps_map() of net/core/net-sysfs.c: the CPUs of a queue, without the isolated ones; queue 0 is loopback's."""
    rxq = ns["table"](ns["netdev_rx_queue"], queue)
    usable = [cpu for cpu in sorted(set(cpus)) if cpu not in set(isolated)]
    if not usable:
        rxq.map = None
        return
    rps_map = ns["table"](ns["rps_map"], queue)
    rps_map.len = len(usable)
    for at, cpu in enumerate(usable):
        rps_map.cpus[at] = cpu
    rxq.map = rps_map


def update_static_keys(ns: Namespace) -> None:
    """rps_needed: on while some queue has a map, or RFS has a table."""
    nh = ns["table"](ns["net_hotdata"], 0)
    queues = [ns["table"](ns["netdev_rx_queue"], i) for i in range(ns["table_len"](ns["netdev_rx_queue"]))]
    nh.rps_needed = int(nh.rfs_needed != 0 or any(queue.map is not None for queue in queues))
