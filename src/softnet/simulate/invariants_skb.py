# SPDX-License-Identifier: GPL-2.0-or-later
"""I1, I2 and I12: the life of each skb, where deferred ones end, and that no packet is lost or invented."""

from __future__ import annotations

from typing import Any

from softnet.simulate import readout
from softnet.simulate.invariants_watch import Inside, Watch

OUT, IN_CACHE, IN_SLAB = 1, 2, 3
PLACES = {OUT: "handed out", IN_CACHE: "in a NAPI cache", IN_SLAB: "in the slab"}


class SkbChecks:
    """The checks of I1, I2 and I12 over one image."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.memory = watch, watch.memory
        self.table = watch.image.layout.tables["sk_buff"]
        offset = watch.offset
        self.state, self.id, self.next = (
            offset("sk_buff", "state"),
            offset("sk_buff", "id"),
            offset("sk_buff", "next"),
        )
        self.list, self.packets = offset("sk_buff", "list"), offset("sk_buff", "nr_packets")
        self.in_use: dict[int, int] = {}
        """Address of every skb in use -> when it was handed out, in that order."""
        self.place: dict[int, int] = {}
        self.home: dict[int, int] = {}
        """skb number -> the CPU on whose defer list it is."""
        self.accepted = [0] * watch.nr_cpus
        self.dequeued = [0] * watch.nr_cpus
        self.said_backlog = [False] * watch.nr_cpus
        self._install()

    def _install(self) -> None:
        watch, table = self.watch, self.table
        states = range(
            table.base + self.state, table.base + self.state + table.stride * table.count, table.stride
        )
        watch.on_store("sk_buff", "state", states, self._state_stored)
        watch.around("napi_skb_cache_put", before=lambda args: self._put(args[0]._a, IN_CACHE))
        watch.around("kmem_cache_free", before=lambda args: self._put(args[0]._a, IN_SLAB))
        watch.around("kmem_cache_alloc", after=self._taken)
        watch.around("napi_skb_cache_get", after=self._taken)
        watch.on_event("skb_attempt_defer_free", self._deferred)
        watch.on_event("enqueue_to_backlog", self._enqueued)
        cpus = range(watch.nr_cpus)
        # Packets leave by process_queue; by input_pkt_queue only when dev_cpu_dead() takes them away.
        self.queue_of = {watch.address("softnet_data", c, "process_queue"): c for c in cpus}
        self.queue_of |= {watch.address("softnet_data", c, "input_pkt_queue"): c for c in cpus}
        self.qlen = {
            q: [watch.address("softnet_data", c, f"{q}.qlen") for c in cpus]
            for q in ("input_pkt_queue", "process_queue")
        }
        self.heads = {q: [watch.address("softnet_data", c, f"{q}.next") for c in cpus] for q in self.qlen}
        self.lock = [watch.address("softnet_data", c, "input_pkt_queue.lock.owner") for c in cpus]
        watch.around("__skb_dequeue", after=self._taken_off)
        self.busy: list[Inside] = [
            watch.inside("enqueue_to_backlog", lambda args: int(args[1])),
            watch.inside("__skb_dequeue", lambda args: self.queue_of.get(args[0]._a, -1)),
            watch.inside("skb_queue_splice_tail_init", lambda args: self.queue_of.get(args[1]._a, -1)),
        ]

    def _state_stored(self, address: int) -> None:
        skb = address - self.state
        number = self.memory[skb + self.id]
        if self.memory[address]:
            if skb in self.in_use:
                self.watch.violation("I1", f"skb {number} is handed out while it is in use")
            self.in_use[skb] = self.watch.now()
            return
        if self.in_use.pop(skb, None) is None:
            self.watch.violation("I1", f"skb {number} is freed, but it is not in use")
        home = self.home.pop(number, None)
        if home is not None and home != self.watch.cpu():
            self.watch.violation(
                "I2", f"skb {number}, deferred to CPU {home}, is freed on CPU {self.watch.cpu()}"
            )

    def _put(self, skb: int, place: int) -> None:
        was = self.place.get(skb, OUT)
        if was in (place, IN_SLAB):
            number = self.memory[skb + self.id]
            self.watch.violation(
                "I1", f"skb {number} is put {PLACES[place].removeprefix('in ')} and is {PLACES[was]} already"
            )
        self.place[skb] = place

    def _taken(self, args: tuple[Any, ...], skb: Any) -> None:
        if skb is not None:
            self.place[skb._a] = OUT

    def _deferred(self, skb: int, cpu: int, count: int) -> None:
        self.home[skb] = cpu

    def _enqueued(self, skb: int, cpu: int, qlen: int) -> None:
        self.accepted[cpu] += 1

    def _taken_off(self, args: tuple[Any, ...], skb: Any) -> None:
        cpu = self.queue_of.get(args[0]._a, -1)
        if cpu >= 0 and skb is not None:
            self.dequeued[cpu] += 1

    def check_cpu(self, cpu: int, now: int) -> None:
        """I12 for a backlog while nobody works on its queues: what went in and not out is there."""
        if (
            self.said_backlog[cpu]
            or self.memory[self.lock[cpu]]
            or any(inside.about(cpu) for inside in self.busy)
        ):
            return
        held = sum(self.memory[self.qlen[queue][cpu]] for queue in self.qlen)
        went_in, came_out = self.accepted[cpu], self.dequeued[cpu]
        if went_in - came_out != held:
            self.said_backlog[cpu] = True
            text = f"{went_in} packets went into the backlog, {came_out} came out, {held} are counted in it"
            self.watch.violation("I12", text, cpu=cpu, time_ns=now)

    def finish(self, now: int, idle: bool) -> None:
        """The whole image: every packet of the run, every queue's length, and, when all is quiet, every skb."""
        image = self.watch.image
        where = readout.conservation(image)
        gone = (
            where["delivered"]
            + where["acks"]
            + sum(where["dropped"].values())
            + sum(where["queued"].values())
        )
        if where["arrived"] + where["sent"] != gone:
            text = f"{where['arrived'] + where['sent']} packets came in, {gone} are accounted for"
            self.watch.violation("I12", text, cpu=0, time_ns=now)
        if not idle:
            return
        for queue, heads in self.heads.items():
            for cpu, head in enumerate(heads):
                length = sum(1 for _ in readout.chain(image, self.memory[head], self.next))
                if length != self.memory[self.qlen[queue][cpu]]:
                    text = f"{queue} holds {length} skbs and counts {self.memory[self.qlen[queue][cpu]]}"
                    self.watch.violation("I12", text, cpu=cpu, time_ns=now)
        lost = [skb for skb in self.in_use if skb not in self._reachable()]
        if lost:
            number = self.memory[lost[0] + self.id]
            text = f"{len(lost)} skbs are in use and on no queue while every CPU idles; the first is skb {number}"
            self.watch.violation("I1", f"{text}, handed out at {self.in_use[lost[0]]} ns", cpu=0, time_ns=now)

    def _reachable(self) -> set[int]:
        """Addresses of the skbs on any queue or list; membership only."""
        image, memory, watch = self.watch.image, self.memory, self.watch
        out: set[int] = set()
        firsts = [first for _, first in readout.queue_heads(image)]
        for cpu in range(watch.nr_cpus):
            for path in ("defer_list", "completion_queue"):
                firsts.append(memory[watch.address("softnet_data", cpu, path)])
        for first in firsts:
            out.update(readout.chain(image, first, self.next))
        napis = [watch.address("softnet_data", cpu, "backlog") for cpu in range(watch.nr_cpus)]
        napis += [watch.address("nic_vector", q, "napi") for q in range(image.nr_queues)]
        hash_at, bucket = watch.offset("napi_struct", "gro_hash"), image.layout.structs["gro_list"].size
        buckets = image.layout.structs["napi_struct"].fields["gro_hash"].count
        for napi in napis:
            heads = [
                napi + watch.offset("napi_struct", "rx_list"),
                napi + watch.offset("napi_struct", "rx_sublist"),
            ]
            heads += [napi + hash_at + i * bucket for i in range(buckets)]
            for head in heads:
                node = memory[head]
                while node not in (0, head):
                    out.add(node - self.list)
                    node = memory[node]
        return out
