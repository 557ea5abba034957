# SPDX-License-Identifier: GPL-2.0-or-later
from softnet.verify import in_the_end


@in_the_end("a packet is left on an online CPU's input_pkt_queue in the end")
def queue_empty(cpu: int) -> bool:
    return table(cpu_hw, cpu).online == 0 or table(softnet_data, cpu).input_pkt_queue.qlen == 0
