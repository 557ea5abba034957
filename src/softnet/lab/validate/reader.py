# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver reads of a CPU from a state's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softnet.image.image import Image


@dataclass(frozen=True, slots=True)
class CpuState:
    """One CPU's defer list and what a kick of it tests; ``held`` are the model's skbs, the next to be freed first.

    ``softirq`` is what net_rx_action() has at hand: whether it runs, whether something is on the poll list, and to
    which CPU the last packet was queued that an IPI is to tell of (-1: none). ``input_qlen`` are the packets that no
    poll has taken over yet, ``backlog_len`` all of the backlog.
    """

    defer_count: int
    defer_ipi_scheduled: int
    backlog_sched: bool
    held: tuple[int, ...]
    softirq: tuple[bool, bool, int]
    input_qlen: int
    backlog_len: int


class Reader:
    """Where a CPU's figures stand among the words of an image, so that they are read without asking its structures."""

    def __init__(self, image: Image) -> None:
        structs = image.layout.structs
        table = image.layout.tables["softnet_data"]
        sd, skb, queue = (structs[name].fields for name in ("softnet_data", "sk_buff", "sk_buff_head"))
        self._base, self._stride = table.base, table.stride
        self.has_flag = "in_net_rx_action" in sd
        self._flag = sd["in_net_rx_action"].offset if self.has_flag else 0
        self._kick, self._ipis, self._cpu, self._polls = (
            sd[name].offset for name in ("defer_ipi_scheduled", "rps_ipi_list", "cpu", "poll_list")
        )
        self._sched = sd["backlog"].offset + structs["napi_struct"].fields["state"].offset
        self._sched_bit = image.linked.kernel["NAPI_STATE_SCHED"]
        qlen = queue["qlen"].offset
        self._input, self._process = sd["input_pkt_queue"].offset + qlen, sd["process_queue"].offset + qlen
        self._head = structs["list_head"].fields["next"].offset
        self._id = skb["id"].offset
        self.has_nodes = "skb_defer_node" in structs
        """Whether a CPU's defer list is lock-free and lies outside of softnet_data. The checker's machines have one NUMA node."""
        if self.has_nodes:
            node, nodes = structs["skb_defer_node"].fields, image.layout.tables["skb_defer_node"]
            self._lists, self._list_stride = nodes.base, nodes.stride
            self._count = node["defer_count"].offset
            self._list = node["defer_list"].offset + structs["llist_head"].fields["first"].offset
            self._node, self._next = skb["ll_node"].offset, structs["llist_node"].fields["next"].offset
        else:
            self._lists, self._list_stride = self._base, self._stride
            self._count, self._list = sd["defer_count"].offset, sd["defer_list"].offset
            self._node, self._next = 0, skb["next"].offset

    def cpu(self, words: list[int], cpu: int) -> CpuState:
        at = self._base + cpu * self._stride
        deferred = self._lists + cpu * self._list_stride
        held = []
        node = words[deferred + self._list]
        while node:
            held.append(words[node - self._node + self._id])
            node = words[node + self._next]
        polls, first, waiting = at + self._polls, words[at + self._ipis], words[at + self._input]
        return CpuState(
            words[deferred + self._count],
            words[at + self._kick],
            bool(words[at + self._sched] >> self._sched_bit & 1),
            tuple(held),
            (
                bool(self.has_flag and words[at + self._flag]),
                words[polls + self._head] != polls,
                words[first + self._cpu] if first else -1,
            ),
            waiting,
            waiting + words[at + self._process],
        )

    def input_qlen(self, words: list[int], cpu: int) -> int:
        return words[self._base + cpu * self._stride + self._input]

    def backlog_len(self, words: list[int], cpu: int) -> int:
        at = self._base + cpu * self._stride
        return words[at + self._input] + words[at + self._process]
