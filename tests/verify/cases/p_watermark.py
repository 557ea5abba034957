# SPDX-License-Identifier: GPL-2.0-or-later
from softnet.verify import in_the_end


@in_the_end("an online CPU's defer list is above its watermark in the end")
def watermark_end(cpu: int) -> bool:
    return table(cpu_hw, cpu).online == 0 or table(softnet_data, cpu).defer_count <= table(net_hotdata, 0).sysctl_skb_defer_max >> 1
