# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab must know of a kernel to trace it: field offsets, symbol addresses, which tracepoints it has.

Asked of the kernel itself in one short boot, then kept in the cache under the image's checksum. Addresses
hold because the lab boots with ``nokaslr``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from softnet.files import UNREADABLE, from_json
from softnet.lab.errors import LabError
from softnet.lab.guest.plans import FactsPlan
from softnet.lab.tracing.btf import Btf
from softnet.lab.vm import cache, qemu
from softnet.lab.vm.kernels import Kernel

_VERSION = 5
# (structure, field); one that a kernel has not is left out.
FIELDS = (
    ("sk_buff", "alloc_cpu"),
    ("sk_buff", "len"),
    ("sk_buff", "hash"),
    ("softnet_data", "defer_count"),
    ("softnet_data", "input_pkt_queue.qlen"),
    ("softnet_data", "process_queue.qlen"),
    ("softnet_data", "backlog.state"),
    ("softnet_data", "defer_ipi_scheduled"),
    ("softnet_data", "rps_ipi_list"),
    ("__call_single_data", "func"),
    ("work_struct", "func"),
    # Debian's 6.1-rt carries a patch of the -rt series ("net: Avoid the IPI to free the skb"): its kick queues
    # a work item and sends no IPI. The field is there only with that patch.
    ("softnet_data", "defer_work"),
    # Since v6.18 a CPU's list is an allocation of its own for each NUMA node, behind a pointer in net_hotdata.
    ("net_hotdata", "skb_defer_nodes"),
    ("skb_defer_node", "defer_count"),
)
# (function, parameter): which of its parameters that is; one that a kernel has not is left out.
PARAMETERS = (("kick_defer_list_purge", "cpu"),)
SYMBOLS = (
    "softnet_data", "trigger_rx_softirq", "rps_trigger_softirq", "skb_attempt_defer_free", "kick_defer_list_purge",
    "enqueue_to_backlog", "process_backlog", "net_rx_action", "smp_call_function_single_async",
    "napi_threaded_poll_loop", "skb_defer_free_flush", "napi_schedule_rps", "____napi_schedule", "wakeup_softirqd",
    "__per_cpu_offset", "queue_work_on", "net_hotdata",
)  # fmt: skip
TRACEPOINTS = (
    "irq/softirq_raise", "irq/softirq_entry", "irq/softirq_exit", "sched/sched_waking", "sched/sched_switch",
    "napi/napi_poll", "net/netif_rx", "net/netif_receive_skb", "skb/kfree_skb", "skb/consume_skb",
    "csd/csd_queue_cpu", "ipi/ipi_send_cpu", "ipi/ipi_raise", "irq_vectors/call_function_single_entry",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """``offsets`` by "struct.field", ``symbols`` by name (absent: the kernel inlined it), ``tracepoints``.

    ``parameters`` by "function.parameter", from 0 on.
    """

    release: str
    offsets: dict[str, int]
    symbols: dict[str, int]
    tracepoints: tuple[str, ...]
    parameters: dict[str, int] = field(default_factory=dict)

    def offset(self, name: str) -> int:
        """The offset of "struct.field"; raises ``LabError`` when the kernel has no such field."""
        if name not in self.offsets:
            raise LabError(f"kernel {self.release} has no field {name}, and this trace needs it")
        return self.offsets[name]

    def symbol_at(self, address: int) -> str:
        """The name of the symbol at exactly this address, or "" if it is none of those asked for."""
        return next((name for name, where in self.symbols.items() if where == address), "")


def gather(kernel: Kernel, *, say: Callable[[str], None], accel: qemu.AccelChoice = "auto") -> Facts:
    """The facts of ``kernel``, from the cache or from a boot."""
    digest = cache.sha256_file(kernel.vmlinuz)
    path = cache.cache_dir() / "facts" / f"{digest[:32]}-{_VERSION}.json"
    known = _load(path)
    if known is not None:
        return known
    say(f"{kernel.name}: asking the kernel for its types and symbols (once)")
    plan: FactsPlan = {"kind": "facts", "symbols": list(SYMBOLS), "events": list(TRACEPOINTS)}
    session = qemu.boot(kernel, plan, qemu.GuestMachine(cpus=1, memory_mb=1024), accel=accel, say=say)
    types = Btf(session.blobs["btf"])
    offsets = {f"{struct}.{field}": types.offset(struct, field) for struct, field in FIELDS if types.has(struct, field)}
    symbols: dict[str, int] = {}
    for address, name in symbols_of(session.blobs["symbols"].decode(errors="replace")):
        symbols.setdefault(name, address)
    numbers = {f"{function}.{name}": types.parameter(function, name) for function, name in PARAMETERS}
    parameters = {name: number for name, number in numbers.items() if number is not None}
    facts = Facts(session.greeting()["release"], offsets, symbols, tuple(session.result["events"]), parameters)
    cache.write_json(path, {"version": _VERSION, **asdict(facts)})
    return facts


def symbols_of(text: str) -> Iterator[tuple[int, str]]:
    """(address, name) of the lines of /proc/kallsyms. Raises ``LabError`` with the line."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.match(r"([0-9a-fA-F]{1,16}) (\S) (\S+)", line, re.ASCII)
        if match is None:
            raise LabError("not a line of /proc/kallsyms", where=f"/proc/kallsyms:{number}", found=line[:80],
                           expected="ADDRESS TYPE NAME")  # fmt: skip
        yield int(match[1], 16), match[3]


def _load(path: Path) -> Facts | None:
    """What the cache keeps; None where it keeps nothing, or what is no such thing, and the kernel is asked anew."""
    with contextlib.suppress(OSError, *UNREADABLE):
        record = from_json(path.read_bytes())
        tables = record["offsets"], record["symbols"], record["parameters"]
        numbers = all(isinstance(name, str) and type(value) is int for table in tables for name, value in table.items())
        names = all(isinstance(name, str) for name in (record["release"], *record["tracepoints"]))
        if record["version"] == _VERSION and numbers and names:
            offsets, symbols, parameters = tables
            return Facts(record["release"], offsets, symbols, tuple(record["tracepoints"]), parameters)
    return None
