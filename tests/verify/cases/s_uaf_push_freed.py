# SPDX-License-Identifier: GPL-2.0-or-later
"""The kicker looks at its skb after the push: the owner may have freed it by then."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    cpu = skb.alloc_cpu
    if cpu == raw_smp_processor_id() or WARN_ON_ONCE(cpu >= nr_cpu_ids()) or not cpu_online(cpu):
        kfree_skb_napi_cache(skb)
        return
    sd = per_cpu(softnet_data, cpu)
    defer_max = READ_ONCE(table(net_hotdata, 0).sysctl_skb_defer_max)
    if READ_ONCE(sd.defer_count) >= defer_max:
        kfree_skb_napi_cache(skb)
        return
    spin_lock_bh(sd.defer_lock)
    kick = sd.defer_count == defer_max >> 1
    WRITE_ONCE(sd.defer_count, sd.defer_count + 1)
    skb.next = sd.defer_list
    WRITE_ONCE(sd.defer_list, skb)
    spin_unlock_bh(sd.defer_lock)
    if kick:
        kick_defer_list_purge(sd, skb.alloc_cpu)
