# SPDX-License-Identifier: GPL-2.0-or-later
"""Run-time checks of the invariants I1 to I13: ``run(…, checks=True)`` or ``checks="strict"``.

The checks are observers in the restricted Python (softnet.properties.history), compiled beside the kernel or run by the reference
engine, and never change a run. Here their tables are filled in before it, and what they found is put into words. It goes to
``Result.warnings``; strict checks stop at the first thing that is no known finding of the real kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.errors import InvariantError, SoftnetError
from softnet.image import readout
from softnet.image.image import Image, one_per_cpu
from softnet.properties.findings import KNOWN
from softnet.properties.history import locks, words
from softnet.properties.statements import STATEMENTS

if TYPE_CHECKING:
    from softnet.image.plan import MachineSpec

__all__ = ["KNOWN", "STATEMENTS", "InvariantError", "Invariants", "Violation", "table_counts"]

ROWS: dict[int, tuple[str, str]] = {
    **{number: (f"I{number}", "") for number in range(1, words.CK_KNOWN)},
    words.CK_C1: ("I6", "C1"), words.CK_C4: ("I6", "C4"), words.CK_C5: ("I3", "C5"), words.CK_C6: ("I6", "C6"),
    words.CK_C6_FLAG: ("I8", "C6"), words.CK_I13: ("I13", "I13"),
    words.CK_C10: ("I10", "C10"), words.CK_C11: ("I10", "C11"),
}  # fmt: skip
"""Row of ck_found -> the invariant and, where the real kernel breaks it as well, the finding."""


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold, the first time: ``count`` says how often it did not in all."""

    invariant: str
    time_ns: int
    cpu: int
    what: str
    known: str = ""
    count: int = 1


def table_counts(spec: MachineSpec, counts: Mapping[str, int], words_of_memory: int) -> dict[str, int]:
    """How many rows each observers' table has, where other tables have ``counts`` rows in ``words_of_memory`` words."""
    cpus, queues, contexts, skbs = spec.nr_cpus, len(spec.ring_sizes), counts["context"], counts["sk_buff"]
    rows = -(-contexts // words.CK_MEMBERS)
    return one_per_cpu(spec, counts, words_of_memory) | {
        "ck_env": 1, "ck_found": words.CK_ROWS, "ck_cpu": cpus, "ck_ctx": contexts, "ck_napi": cpus + queues, "ck_skb": skbs,
        "ck_set": cpus * rows + words_of_memory // words.CK_MEMBERS + 1, "ck_class": words.CK_CLASSES, "ck_range": 64,
    }  # fmt: skip


class Invariants:
    """All checks over one booted image. Make it after boot and before the first context runs."""

    def __init__(self, image: Image, *, strict: bool = False) -> None:
        self.image = image
        self.memory = image.memory
        self.finished_at = -1
        self.classes = ["a lock of no table"]
        self.napis = [f"backlog/{cpu}" for cpu in range(image.nr_cpus)]
        self.napis += [f"the NAPI of queue {queue}" for queue in range(image.nr_queues)]
        self._fill_env(strict)
        self._fill_napis()
        self._fill_locks()
        self.polls = self._polls()
        """The functions by which this image's NAPIs are polled."""

    # -- before the run

    def _row(self, struct: str, index: int) -> Any:
        """A row of a table of the checks."""
        observers = self.image.linked.observers
        return observers["table"](observers[struct], index)

    def _fill_env(self, strict: bool) -> None:
        image, env = self.image, self._row("ck_env", 0)
        tables, offset = image.layout.tables, functools.partial(readout.offset, image)
        sd, vector = tables["softnet_data"], tables["nic_vector"]
        env.strict, env.threads = int(strict), int("use_backlog_threads" in image.program.functions)
        env.rt = image.program.constants.get("CONFIG_PREEMPT_RT", 0)
        env.backlogs = sd.base + offset("softnet_data", "backlog")
        env.sd_stride, env.vector_stride = sd.stride, vector.stride
        env.backlogs_end = env.backlogs + sd.stride * image.nr_cpus
        env.vectors = vector.base + offset("nic_vector", "napi")
        env.vectors_end = env.vectors + vector.stride * image.nr_queues
        env.napi_state, env.napi_node = offset("napi_struct", "state"), offset("napi_struct", "poll_list")
        env.skb_state = offset("sk_buff", "state")
        env.input_queues = sd.base + offset("softnet_data", "input_pkt_queue")
        env.process_queues = sd.base + offset("softnet_data", "process_queue")
        env.max_was = image.word("net_hotdata", 0, "sysctl_skb_defer_max")
        env.contexts = tables["context"].count

    def _fill_napis(self) -> None:
        image = self.image
        plain = image.linked.plain["napi_struct"]
        for index in range(len(self.napis)):
            row, cpu = self._row("ck_napi", index), index if index < image.nr_cpus else -1
            at = (
                readout.address(image, "softnet_data", cpu, "backlog")
                if cpu >= 0
                else readout.address(image, "nic_vector", index - image.nr_cpus, "napi")
            )
            row.napi, row.cpu = plain(at), cpu
            row.was = row.napi.state

    def _polls(self) -> tuple[str, ...]:
        poll = readout.offset(self.image, "napi_struct", "poll")
        numbers = {self.memory[self._row("ck_napi", i).napi._a + poll] for i in range(len(self.napis))}
        names = {number: name for name, number in self.image.linked.function_ids.items()}
        return tuple(sorted(names[number] for number in numbers if number))

    def _fill_locks(self) -> None:
        """Number the classes of locks and say where they stand."""
        env = self._row("ck_env", 0)
        for struct, table in sorted(self.image.layout.tables.items(), key=lambda item: item[1].base):
            found = list(self._locks(struct, 0, struct))
            for first in range(0, len(found), 16):
                if env.ranges == self.image.layout.tables["ck_range"].count:
                    raise SoftnetError("too many structures with locks for --checks", found=struct)
                row = self._row("ck_range", env.ranges)
                env.ranges += 1
                row.base, row.end, row.stride = (
                    table.base,
                    table.base + table.stride * table.count,
                    table.stride,
                )
                for offset, name, raw in found[first : first + 16]:
                    row.offset[row.count], row.cls[row.count] = offset, self._class(name, raw)
                    row.count += 1
        env.classes = len(self.classes)

    def _class(self, name: str, raw: bool) -> int:
        if name not in self.classes:
            if len(self.classes) == words.CK_CLASSES:
                raise SoftnetError(
                    "too many kinds of locks for --checks",
                    found=name,
                    expected=f"at most {words.CK_CLASSES - 1} fields that are locks",
                )
            self.classes.append(name)
            self._row("ck_class", len(self.classes) - 1).raw = int(raw)
        return self.classes.index(name)

    def _locks(self, struct: str, at: int, path: str) -> Iterator[tuple[int, str, bool]]:
        """The locks inside a structure: offset, name of the class, whether it spins on PREEMPT_RT, too."""
        structs = self.image.layout.structs
        for f in structs[struct].fields.values():
            if not f.embedded:
                continue
            for i in range(f.count):
                here = at + f.offset + i * structs[f.type].size
                if f.type in ("spinlock_t", "raw_spinlock_t", "local_lock_t"):
                    yield here, f"{path}.{f.name}", f.type == "raw_spinlock_t"
                else:
                    yield from self._locks(f.type, here, f"{path}.{f.name}")

    # -- at the stops of the run

    def settings_changed(self) -> None:
        """The scenario changed a setting between two switches."""
        self.image.linked.observers["check_settings"]()

    def finish(self, now_ns: int) -> list[str]:
        """Look at everything once more at the end of the run; what was found, in words. Asked again, it only repeats it."""
        if self.finished_at == now_ns:
            return [_sentence(violation) for violation in self.violations()]
        self.finished_at = now_ns
        # While all idle nothing is observed: what is wrong now was wrong when the last CPU fell idle.
        last = max(self.image.word("cpu_hw", c, "time_since") for c in range(self.image.nr_cpus))
        for at in (min(last, now_ns), now_ns):
            self.image.linked.observers["check_all"](at)
        self._check_packets(now_ns)
        return [_sentence(violation) for violation in self.violations()]

    def _check_packets(self, now: int) -> None:
        """I1 and I12 of the whole image: every packet of the run, every queue's length and, when all is quiet, every skb."""
        image = self.image
        where = readout.conservation(image)
        came = where["arrived"] + where["sent"]
        gone = where["delivered"] + where["acks"] + where["kernel"] + sum(where["dropped"].values()) + sum(where["queued"].values())
        if came != gone:
            self._say(12, words.CK_PACKETS, 0, now, came, gone)
        if not self._idle():
            return
        step = readout.offset(image, "sk_buff", "next")
        for number, queue in enumerate(words.CK_QUEUES):
            for cpu in range(image.nr_cpus):
                length = sum(1 for _ in readout.chain(image, readout.word(image, "softnet_data", cpu, f"{queue}.next"), step))
                counted = readout.word(image, "softnet_data", cpu, f"{queue}.qlen")
                if length != counted:
                    self._say(12, words.CK_LENGTH, cpu, now, number, length, counted)
        skbs = image.layout.tables["sk_buff"]
        rows = [self._row("ck_skb", i) for i in range(skbs.count)]
        in_use = sorted((row.out, i) for i, row in enumerate(rows) if row.out)
        reachable = self._reachable() if in_use else set()
        lost = [i for _, i in in_use if skbs.base + i * skbs.stride not in reachable]
        if lost:
            self._say(1, words.CK_LOST, 0, now, len(lost), image.word("sk_buff", lost[0], "id"), rows[lost[0]].since)

    def _say(self, row: int, text: int, cpu: int, now: int, *args: int) -> None:
        self.image.linked.observers["ck_say_at"](row, text, cpu, now, *(*args, 0, 0, 0, 0)[:4])

    def _idle(self) -> bool:
        """Whether no context has anything in hand: every CPU idles and every task sleeps.

        A softirq at the end of an interrupt that came into the idle task runs in that task, as its preempt_count says.
        """
        image = self.image
        for c in range(image.nr_cpus):
            if image.word("cpu_hw", c, "task") != image.word("cpu_hw", c, "idle"):
                return False
            if image.word("cpu_hw", c, "depth") or image.word("cpu_hw", c, "preempt_count"):
                return False
        tasks = range(image.nr_cpus, len(image.tasks))
        return not any(image.word("task_struct", t, "on_rq") or image.word("task_struct", t, "state") & 0x1000 for t in tasks)

    def _reachable(self) -> set[int]:
        """Addresses of the skbs on any queue or list; membership only."""
        image, memory = self.image, self.memory
        step, node_at = readout.offset(image, "sk_buff", "next"), readout.offset(image, "sk_buff", "list")
        out: set[int] = set()
        firsts = [first for _, first in readout.queue_heads(image)]
        for cpu in range(image.nr_cpus):
            firsts.append(readout.word(image, "softnet_data", cpu, "completion_queue"))
        for first in firsts:
            out.update(readout.chain(image, first, step))
        for cpu in range(image.nr_cpus):
            out.update(readout.deferred(image, readout.defer_heads(image, cpu), readout.defer_links(image)))
        hash_at, bucket = (
            readout.offset(image, "napi_struct", "gro_hash"),
            image.layout.structs["gro_list"].size,
        )
        buckets = image.layout.structs["napi_struct"].fields["gro_hash"].count
        for index in range(len(self.napis)):
            napi = self._row("ck_napi", index).napi._a
            heads = [napi + readout.offset(image, "napi_struct", name) for name in ("rx_list", "rx_sublist")]
            for head in heads + [napi + hash_at + i * bucket for i in range(buckets)]:
                node, bound = memory[head], len(memory)
                while node not in (0, head) and bound:
                    out.add(node - node_at)
                    node, bound = memory[node], bound - 1
        return out

    # -- what was found

    def violations(self) -> list[Violation]:
        """Each kind of what does not hold, in the order of the invariants; the known findings last."""
        found = []
        for row, (invariant, known) in ROWS.items():
            it = self._row("ck_found", row)
            if it.count:
                found.append(Violation(invariant, it.time_ns, it.cpu, self._what(it), known, it.count))
        return sorted(found, key=lambda v: (bool(v.known), int(v.invariant[1:]), v.known))

    def stopped(self) -> InvariantError | None:
        """The error of a strict run that the checks stopped; None if something else did."""
        for v in self.violations() if self._row("ck_env", 0).strict else ():
            if not v.known:
                return InvariantError(
                    f"invariant {v.invariant} does not hold",
                    where=f"at {v.time_ns} ns on CPU {v.cpu}",
                    found=v.what,
                    expected=STATEMENTS[v.invariant],
                    hint="a patch that breaks it is wrong; without a patch this is a defect of the model: please report it",
                )
        return None

    def _describe(self, ctx: int) -> str:
        """A context's name."""
        task = ctx - 2 * self.image.nr_cpus
        if task < 0:
            return f"hard interrupt on CPU {ctx // 2}"
        return self.image.tasks[task].comm if task < len(self.image.tasks) else f"task {task + 1}"

    def _what(self, it: Any) -> str:
        """A finding in words."""
        a = [it.args[i] for i in range(16)]
        text, who, napi, lock = it.text, self._describe, self.napis, self.classes
        if text == words.CK_OWNERS:
            return f"{napi[a[0]]} has SCHED {'set' if a[1] else 'clear'}: {'; '.join(self._owners(a)) or 'nobody owns it'}"
        if text == words.CK_LOCK_ORDER:
            chain = [lock[c] for c in reversed(a[4 : 4 + a[3]])]
            other = f"{' then '.join(chain)} (first by {who(a[15] - 1)})"
            return f"{who(a[0])} takes {lock[a[1]]} while it holds {lock[a[2]]}; elsewhere the order is {other}"
        if text == words.CK_LOCK_SLEEPS:
            why = {locks.CK_UNDER_RAW: f"it holds the raw lock {lock[a[3]]}", locks.CK_HARDIRQ: "it is a hard interrupt",
                   locks.CK_IRQS_OFF: "interrupts are off", locks.CK_PREEMPT_OFF: "preemption is off"}[a[2]]  # fmt: skip
            return f"{who(a[0])} takes the sleeping lock {lock[a[1]]}, but {why}"
        if text in (words.CK_LOCK_IRQ, words.CK_LOCK_BH):
            where, on = ("hard interrupts", "interrupts") if text == words.CK_LOCK_IRQ else ("softirqs", "bottom halves")
            return f"{lock[a[0]]} is taken in {where} and, by {who(a[1])} or another, with {on} on"
        told: dict[int, Callable[[], str]] = {
            words.CK_SKB_OUT_TWICE: lambda: f"skb {a[0]} is handed out while it is in use",
            words.CK_SKB_FREED_TWICE: lambda: f"skb {a[0]} is freed, but it is not in use",
            words.CK_SKB_AWAY: lambda: f"skb {a[0]}, deferred to CPU {a[1]}, is freed on CPU {a[2]}",
            words.CK_SKB_PUT_TWICE: lambda: f"skb {a[0]} is put {PLACES[a[1]][0]} and is {PLACES[a[2]][1]} already",
            words.CK_LOST: lambda: f"in use and on no queue while every CPU idles: {_many(a[0], 'skb')}; the first is skb {a[1]}, "
            f"handed out at {a[2]} ns",
            words.CK_TWO_POLL: lambda: f"{napi[a[0]]} is polled by {who(a[1])} and by {who(a[2])}",
            words.CK_ASLEEP: lambda: f"{napi[a[0]]} belongs to its thread, which sleeps and was not woken",
            words.CK_NO_IPI: lambda: f"{napi[a[0]]} waits for an RPS IPI that nobody will send",
            words.CK_POLLED_AWAY: lambda: f"{napi[a[0]]} is polled on CPU {a[1]} by {who(a[2])}",
            words.CK_ENDED_AWAY: lambda: f"the poll of {napi[a[0]]} ended on CPU {a[1]}",
            words.CK_NO_SCHED: lambda: f"{napi[a[0]]} has SCHED clear with {_many(a[1], 'packet')} queued",
            words.CK_NOT_OWED: lambda: f"{_many(a[0], 'skb')} wait with skb_defer_max {a[1]}, and nothing will flush them",
            words.CK_TOO_LONG: lambda: f"{_many(a[0], 'skb')} on the list of CPU {a[1]}; "
            f"skb_defer_max is {a[2]}, tasks that defer to it: {a[3]}",
            words.CK_FLAG: lambda: "defer_ipi_scheduled is set and no call is under way",
            words.CK_CALL_TWICE: lambda: f"a function call for CPU {a[0]} is queued again before it has run",
            words.CK_COUNT: lambda: f"defer_count is {a[0]}, the list holds {'skbs' if a[1] else 'nothing'}",
            words.CK_STOPPED: lambda: f"a defer list is empty and counts as full with skb_defer_max {a[0]}",
            words.CK_LOCK_TWICE: lambda: f"{who(a[1])} takes {lock[a[0]]} while it holds another lock of that class",
            words.CK_BACKLOG: lambda: f"{_many(a[0], 'packet')} went into the backlog, {a[1]} came out, it counts {a[2]}",
            words.CK_PACKETS: lambda: f"{_many(a[0], 'packet')} came in, accounted for: {a[1]}",
            words.CK_LENGTH: lambda: f"{words.CK_QUEUES[a[0]]} holds {_many(a[1], 'skb')} and counts {a[2]}",
            words.CK_RAISED: lambda: "NET_RX is raised by a function call from another CPU, in "
            + ("hard interrupt" if a[0] else "the idle task's flush"),
        }  # fmt: skip
        return told[text]()

    def _owners(self, a: list[int]) -> list[str]:
        """Everybody who owned the NAPI, in words; the thread that polls it is one owner."""
        _, _, linked, with_thread, thread, polled_by, on_ipi, count = a[:8]
        carriers = a[8 : 8 + count]
        out = ["it stands on a poll list"] if linked else []
        if with_thread or (polled_by == thread and thread >= 0):
            out.append("its thread has it")
            carriers = [c for c in carriers if c != thread]
            if polled_by not in (-1, thread):
                out.append(f"{self._describe(polled_by)} polls it")
        elif polled_by >= 0:
            out.append(f"{self._describe(polled_by)} polls it")
        if on_ipi:
            out.append("an RPS IPI is under way for it")
        return out + [f"{self._describe(c)} is about to schedule or poll it" for c in carriers]


PLACES = (("", "handed out"), ("into a NAPI cache", "in a NAPI cache"), ("into the slab", "in the slab"))
"""Where an skb is put and then is: skb.CK_OUT and what follows."""


def _many(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _sentence(v: Violation) -> str:
    """One sentence for each kind of violation."""
    times = "once" if v.count == 1 else f"{v.count} times, first"
    text = f"{times} at {v.time_ns} ns on CPU {v.cpu}: {v.what}"
    if v.known:
        return f"known finding {v.known} ({v.invariant}), {KNOWN[v.known]}; {text}"
    return f"invariant {v.invariant} does not hold ({STATEMENTS[v.invariant]}); {text}"
