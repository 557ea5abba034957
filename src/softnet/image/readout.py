# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading the kernel's structures from an image, in plain Python: softnet_stat, queue lengths, where every packet is.

Nothing here runs inside the model: words are read as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import Any, Protocol

ETH_RING = "ring"


class Memory(Protocol):
    """What this module needs of an image."""

    memory: list[int]
    layout: Any
    program: Any
    nr_cpus: int
    nr_queues: int


def address(image: Memory, struct: str, index: int, path: str) -> int:
    """The address of a field by a dotted path of embedded structures."""
    table = image.layout.tables[struct]
    at: int = table.base + index * table.stride
    return at + offset(image, struct, path)


def offset(image: Memory, struct: str, path: str) -> int:
    """The offset of a dotted path inside a structure."""
    at = 0
    for name in path.split("."):
        field = image.layout.structs[struct].fields[name]
        at += field.offset
        struct = field.type
    return at


def word(image: Memory, struct: str, index: int, path: str) -> int:
    """The word at a dotted path."""
    return image.memory[address(image, struct, index, path)]


def column(image: Memory, struct: str, path: str) -> list[int]:
    """The word at a dotted path of every instance of a structure."""
    table = image.layout.tables.get(struct)
    if table is None or not table.count:
        return []
    first = table.base + offset(image, struct, path)
    return list(image.memory[first : first + (table.count - 1) * table.stride + 1 : table.stride])


def set_word(image: Memory, struct: str, index: int, path: str, value: int) -> None:
    """Store the word at a dotted path: a setting changed from outside."""
    image.memory[address(image, struct, index, path)] = value


def count(image: Memory, struct: str) -> int:
    """How many instances of a structure the image holds."""
    table = image.layout.tables.get(struct)
    return table.count if table is not None else 0


def chain(image: Memory, first: int, next_offset: int) -> Iterator[int]:
    """The addresses of a list that ends in NULL. Bounded by the number of words, so that a broken list ends too."""
    bound = len(image.memory)
    while first and bound:
        yield first
        first = image.memory[first + next_offset]
        bound -= 1


def softnet_stat(image: Memory) -> tuple[list[str], list[dict[str, int]]]:
    """The lines of /proc/net/softnet_stat as this kernel prints them, and the same by name; online CPUs only."""
    columns = image.program.constants["SOFTNET_STAT_COLUMNS"]
    lines, rows = [], []
    flow_limit_count = offset(image, "sd_flow_limit", "count")
    for cpu in range(image.nr_cpus):
        if not word(image, "cpu_hw", cpu, "online"):
            continue
        limit = word(image, "softnet_data", cpu, "flow_limit")
        row = {
            "processed": word(image, "softnet_data", cpu, "processed"),
            "dropped": sum(word(image, "softnet_data", cpu, path) for path in drop_counters(image)),
            "time_squeeze": word(image, "softnet_data", cpu, "time_squeeze"),
            "received_rps": word(image, "softnet_data", cpu, "received_rps"),
            "flow_limit_count": image.memory[limit + flow_limit_count] if limit else 0,
            "input_qlen": word(image, "softnet_data", cpu, "input_pkt_queue.qlen"),
            "process_qlen": word(image, "softnet_data", cpu, "process_queue.qlen"),
            "cpu": cpu,
        }
        values = [row["processed"], row["dropped"], row["time_squeeze"], 0, 0, 0, 0, 0, 0, row["received_rps"],
                  row["flow_limit_count"], row["input_qlen"] + row["process_qlen"], cpu]  # fmt: skip
        if columns == 15:
            values += [row["input_qlen"], row["process_qlen"]]
        lines.append(" ".join(f"{v & 0xFFFFFFFF:08x}" for v in values))
        rows.append(row)
    return lines, rows


def drop_counters(image: Memory) -> tuple[str, ...]:
    """Where softnet_data counts what its backlog dropped: one counter, or one for even and one for odd NUMA nodes."""
    if "drop_counters" in image.layout.structs["softnet_data"].fields:
        return ("drop_counters.drops0", "drop_counters.drops1")
    return ("dropped",)


def defer_heads(image: Memory, cpu: int) -> list[int]:
    """Where the first skb of each of the CPU's defer lists is named: one list, or one for each NUMA node."""
    nodes = count(image, "skb_defer_node") // image.nr_cpus
    return [address(image, "skb_defer_node", cpu * nodes + node, "defer_list.first") for node in range(nodes)] or [
        address(image, "softnet_data", cpu, "defer_list")
    ]


def defer_links(image: Memory) -> tuple[int, int]:
    """Of the defer lists: how far a link points into its skb, and where in an skb the link to the next one is."""
    if count(image, "skb_defer_node"):
        node = offset(image, "sk_buff", "ll_node")
        return node, node + offset(image, "llist_node", "next")
    return 0, offset(image, "sk_buff", "next")


def deferred(image: Memory, heads: list[int], links: tuple[int, int]) -> Iterator[int]:
    """The addresses of the skbs on defer lists."""
    into, next_link = links
    for head in heads:
        for link in chain(image, image.memory[head], next_link - into):
            yield link - into


class QueueReader:
    """Per CPU the length and bytes of the defer lists and the length of the backlog; addresses are worked out once."""

    def __init__(self, image: Memory) -> None:
        self.image = image
        cpus = range(image.nr_cpus)
        self.columns = [f"{name}/{cpu}" for cpu in cpus for name in ("defer_count", "defer_bytes", "backlog")]
        backlog = [f"{queue}_queue.qlen" for queue in ("input_pkt", "process")]
        self._heads = [defer_heads(image, cpu) for cpu in cpus]
        self._lengths = [[address(image, "softnet_data", cpu, path) for path in backlog] for cpu in cpus]
        self._links, self._truesize = defer_links(image), offset(image, "sk_buff", "truesize")

    def deferred(self, cpu: int) -> list[int]:
        """The addresses of the skbs on the CPU's defer lists."""
        memory = self.image.memory
        # Most lists are empty at most times.
        heads = [head for head in self._heads[cpu] if memory[head]]
        return list(deferred(self.image, heads, self._links)) if heads else []

    def left(self) -> list[dict[str, int]]:
        """The defer lists that are not empty: cpu, skbs, bytes, and when the packet came that was put on it last, in ns.

        Whoever empties a list empties all of it, so nobody has since.
        """
        memory, stamp = self.image.memory, offset(self.image, "sk_buff", "stamp")
        out = []
        for cpu in range(self.image.nr_cpus):
            if skbs := self.deferred(cpu):
                held = sum(memory[skb + self._truesize] for skb in skbs)
                out.append({"cpu": cpu, "skbs": len(skbs), "bytes": held, "since_ns": max(memory[skb + stamp] for skb in skbs)})
        return out

    def read(self) -> list[int]:
        """A value for each column."""
        memory = self.image.memory
        values: list[int] = []
        for cpu, (waiting, processed) in enumerate(self._lengths):
            skbs = self.deferred(cpu)
            held = sum([memory[skb + self._truesize] for skb in skbs])
            values += (len(skbs), held, memory[waiting] + memory[processed])
        return values


def drop_reasons(image: Memory) -> dict[int, str]:
    """The kernel's drop reasons by number, without their prefix."""
    prefix = "SKB_DROP_REASON_"
    return {
        value: name.removeprefix(prefix)
        for name, value in image.program.constants.items()
        if name.startswith(prefix) and not name.endswith("_MAX")
    }


CARD_DROPS = {("nic_queue", "dropped"): "rx_missed", ("nic_vector", "alloc_failed"): "rx_alloc_failed"}
"""Counter of a receive queue -> the card's reason."""


def drops(image: Memory) -> dict[str, int]:
    """Packets dropped, by the kernel's reason; rx_missed is the card's, with no descriptor free."""
    out: dict[str, int] = {}
    reasons = image.layout.structs["skb_drop_stats"].fields["reason"].count
    starts = [address(image, "skb_drop_stats", cpu, "reason") for cpu in range(image.nr_cpus)]
    by_cpu = [image.memory[start : start + reasons] for start in starts]
    names = drop_reasons(image) if any(map(any, by_cpu)) else {}
    for counted in by_cpu:
        for reason in compress(range(reasons), counted):
            name = names.get(reason, f"reason {reason}")
            out[name] = out.get(name, 0) + counted[reason]
    for (struct, field), name in CARD_DROPS.items():
        if n := sum(column(image, struct, field)):
            out[name] = n
    return dict(sorted(out.items()))


def starved(image: Memory) -> int:
    """Allocations that failed, for want of an skb in the image."""
    return sum(column(image, "nic_vector", "alloc_failed")) + sum(column(image, "sender", "failed"))


def conservation(image: Memory) -> dict[str, Any]:
    """Arguments of simulate.result.Conservation: where every packet of the run is now."""

    def total(struct: str, *paths: str) -> int:
        return sum(sum(column(image, struct, path)) for path in paths)

    in_ring = total("nic_queue", "size") - total("nic_queue", "free", "popped")
    in_driver = total("nic_queue", "received") - in_ring - total("nic_vector", "received", "alloc_failed")
    state, packets = offset(image, "sk_buff", "state"), offset(image, "sk_buff", "nr_packets")
    table = image.layout.tables["sk_buff"]
    # What was never handed out need not be looked at: most of the pool, in memory that nobody has touched yet.
    end = table.base + word(image, "kmem_cache_node", 0, "next_object") * table.stride
    held: dict[int, int] = {}
    places = range(table.base, end, table.stride)
    for at in compress(places, image.memory[table.base + state : end : table.stride]):
        if image.memory[at + packets]:
            held[at] = image.memory[at + packets]
    queued = {ETH_RING: in_ring, "driver": in_driver}
    next_skb = offset(image, "sk_buff", "next")
    for name, first in queue_heads(image):
        for skb in chain(image, first, next_skb):
            if skb in held:
                queued[name] = queued.get(name, 0) + held.pop(skb)
    heads = [address(image, "udp_prod_queue", i, "ll_root.first") for i in range(count(image, "udp_prod_queue"))]
    for skb in deferred(image, heads, defer_links(image)):
        queued["socket"] = queued.get("socket", 0) + held.pop(skb, 0)
    queued["in flight"] = sum(held.values())
    return {
        "arrived": total("nic_queue", "received", "dropped"),
        "sent": total("sender", "sent"),
        "delivered": total("app", "msg.received"),
        "acks": total("skb_drop_stats", "pure_acks"),
        "kernel": total("skb_drop_stats", "kernel_packets"),
        "dropped": drops(image),
        "queued": {name: n for name, n in queued.items() if n},
    }


def queue_heads(image: Memory) -> Iterator[tuple[str, int]]:
    """The queues that hold packets: name and first skb. Most are empty at most times, and left out."""
    for path in ("input_pkt_queue.next", "process_queue.next"):
        yield from [("backlog", first) for first in column(image, "softnet_data", path) if first]
    for path in ("sk_receive_queue.next", "reader_queue.next", "backlog_head"):
        yield from [("socket", first) for first in column(image, "sock", path) if first]
