# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``softnet host watch`` prints: a table of the CPUs, lines of protocols and threads; and the same for Prometheus."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from softnet.errors import printable
from softnet.host.text import CPU_TIMES
from softnet.host.watch import COUNTERS, CpuSample, Reading, ThreadCounts, ThreadSample, WatchSample

HISTORY: Final = 120
"""Samples that a sparkline may show."""
SPARK_MIN, SPARK_MAX = 6, 40
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
UNKNOWN: Final = "–"
LABEL: Final = 9
THREADS_SHOWN: Final = 8

Cell = tuple[str, str]
"""A text and its style."""
Line = list[Cell]


class Column(NamedTuple):
    """A column of the table: its title in two lines, what stands in it, and what is left out first where room is short."""

    above: str
    below: str
    value: Callable[[CpuSample], float | None]
    percent: bool = False
    alarm: bool = False
    rank: int = 0


def _rate(name: str) -> Callable[[CpuSample], float | None]:
    return lambda sample: sample.per_s.get(name)


def _thread(which: str, what: str) -> Callable[[CpuSample], float | None]:
    def value(sample: CpuSample) -> float | None:
        thread: ThreadSample | None = getattr(sample, which)
        found: float | None = None if thread is None else getattr(thread, what)
        return found

    return value


COLUMNS: Final = (
    Column("", "pkts", _rate("processed")),
    Column("", "drops", _rate("dropped"), alarm=True),
    Column("sque-", "ezes", _rate("time_squeeze"), alarm=True),
    Column("", "RPS", _rate("received_rps")),
    Column("flow", "limit", _rate("flow_limit"), alarm=True, rank=6),
    Column("back-", "log", lambda sample: sample.backlog),
    Column("NET", "RX", _rate("net_rx"), rank=3),
    Column("NET", "TX", _rate("net_tx"), rank=9),
    Column("soft-", "irq %", lambda sample: sample.softirq_share, percent=True),
    Column("ksoft", "irqd%", _thread("ksoftirqd", "share"), percent=True),
    Column("ksoft", "wakes", _thread("ksoftirqd", "wakeups_per_s"), rank=5),
    Column("back-", "napi%", _thread("backlog_napi", "share"), percent=True, rank=2),
    Column("back-", "wakes", _thread("backlog_napi", "wakeups_per_s"), rank=4),
    Column("IPI", "CAL", _rate("ipi_call_function"), rank=7),
    Column("IPI", "RES", _rate("ipi_reschedule"), rank=8),
)
CELL: Final = 5


def compact(value: float | None) -> str:
    """A figure in at most five columns: 0, 0.3, 7.5, 1234, 12.3k, 1.23M."""
    if value is None:
        return UNKNOWN
    if value < 0.05:
        return "0"
    if value < 9.95:
        return f"{value:.1f}".removesuffix(".0")
    if value < 9999.5:
        return f"{value:.0f}"
    for unit in "kMGTPE":
        value /= 1000
        if value < 999.5:
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f}{unit}"
    return "huge"


def load(sample: CpuSample) -> tuple[float, float, int]:
    """For sorting: the busiest CPU first."""
    return (-round(sample.softirq_share or 0, 2), -(sample.per_s.get("processed") or 0), sample.cpu)


class View:
    """Samples as lines of text; it keeps what the sparklines show."""

    def __init__(self, title: str, *, unicode: bool = True) -> None:
        self.title = title
        self.bars = BARS if unicode else PLAIN_BARS
        self._history: dict[int, deque[float | None]] = {}
        self._added = 0

    def add(self, sample: WatchSample) -> None:
        """Take a sample's packets into the sparklines; a CPU that is gone has a gap."""
        here = {cpu.cpu: cpu.per_s.get("processed") for cpu in sample.cpus}
        for cpu in here:
            self._history.setdefault(cpu, deque([None] * min(self._added, HISTORY), HISTORY))
        for cpu, history in self._history.items():
            history.append(here.get(cpu))
        self._added += 1

    def lines(self, sample: WatchSample, width: int, top: int | None = None) -> list[Line]:
        """The last sample; ``top``: so many CPUs at most, the busiest."""
        shown = sample.cpus
        if top is not None and len(shown) > top:
            shown = sorted(shown, key=load)[:top]
        columns, spark = _columns(sample.cpus, width)
        scale = max((v for cpu in shown for v in list(self._history.get(cpu.cpu, ()))[-spark:] if v is not None), default=0.0)
        below = list(self._below(sample, width))
        lines = [[(text, "bold")] for text in self._heading(sample, width)]
        title = f"pkts, to {compact(scale)}/s"
        lines.append([("     " + "".join(f" {column.above:>{CELL}}" for column in columns), "bold")])
        lines.append([(" CPU " + "".join(f" {column.below:>{CELL}}" for column in columns), "bold")])
        if spark:
            lines[-1].append((f" {title if spark >= len(title) else 'pkts'}", "bold"))
        for cpu in shown:
            row = [(f"{cpu.cpu:>4} ", ""), *(_cell(column, cpu) for column in columns)]
            lines.append([*row, (f" {self._spark(cpu.cpu, spark, scale)}" if spark else "", "cyan")])
        hidden = len(sample.cpus) - len(shown)
        if hidden:
            rest = sum(c.per_s.get("processed") or 0 for c in sample.cpus) - sum(c.per_s.get("processed") or 0 for c in shown)
            lines.append([(f"     and {hidden} CPUs that do less: {compact(max(rest, 0))} packets/s together"[:width], "")])
        return [*lines, *below]

    def rows_beside(self, sample: WatchSample, width: int) -> int:
        """How many lines there are beside those of the CPUs."""
        return len(self._heading(sample, width)) + 3 + sum(1 for _ in self._below(sample, width))

    def _heading(self, sample: WatchSample, width: int) -> list[str]:
        over = "no rates yet" if sample.seconds is None else f"figures a second, over {sample.seconds:.1f} s"
        text = f"{self.title}, {len(sample.cpus)} CPUs online; {over}; backlog: packets now"
        return textwrap.wrap(printable(text), width) or [""]

    def _below(self, sample: WatchSample, width: int) -> Iterator[Line]:
        """Protocols, threads and notes."""
        counted = {name: pair for name, pair in sample.protocols.items() if pair[0]}
        drops = [f"{name} {compact(rate)}/s ({total:,})" for name, (total, rate) in counted.items()]
        if not sample.protocols:
            drops = ["not known"]
        yield from _wrapped("drops", ", ".join(drops) or "none of UDP or TCP since boot", width,
                            "red" if any(rate for _, rate in counted.values()) else "")  # fmt: skip
        busiest = sorted(sample.threads, key=lambda t: (-(t.share or 0), -(t.wakeups_per_s or 0), t.pid))
        said = [f"{t.comm} {_percent(t.share)} % {compact(t.wakeups_per_s)} wakes" for t in busiest[:THREADS_SHOWN]]
        if len(busiest) > THREADS_SHOWN:
            said.append(f"and {len(busiest) - THREADS_SHOWN} that do less")
        if said:
            yield from _wrapped("threads", ", ".join(said), width)
        for note in sample.notes[:4]:
            yield from _wrapped("note", note, width, "yellow")

    def _spark(self, cpu: int, columns: int, scale: float) -> str:
        values = list(self._history.get(cpu, ()))[-columns:]
        return "".join(" " if v is None else self.bars[min(int(v / scale * 8), 7) if scale else 0] for v in values)


def _columns(cpus: Sequence[CpuSample], width: int) -> tuple[list[Column], int]:
    """The columns that have room, without those of which this kernel knows nothing; and how long a sparkline may be."""
    first = [column for column in COLUMNS if column.rank == 0 or any(_known(column, cpu) for cpu in cpus)]
    room = width - 5
    for column in sorted(first, key=lambda column: -column.rank):
        if len(first) * (CELL + 1) + SPARK_MIN + 1 <= room or not column.rank:
            break
        first.remove(column)
    spark = min(room - len(first) * (CELL + 1) - 1, SPARK_MAX)
    return first, spark if spark >= SPARK_MIN else 0


def _known(column: Column, cpu: CpuSample) -> bool:
    """Whether there is such a counter, though it may have no rate yet."""
    named = {"flow limit": "flow_limit", "NET RX": "net_rx", "NET TX": "net_tx", "IPI CAL": "ipi_call_function",
             "IPI RES": "ipi_reschedule"}.get(f"{column.above} {column.below}")  # fmt: skip
    if named is not None:
        return named in cpu.counters
    return (cpu.ksoftirqd if column.above == "ksoft" else cpu.backlog_napi) is not None


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share * 100:.1f}"


def _cell(column: Column, cpu: CpuSample) -> Cell:
    value = column.value(cpu)
    text = _percent(value) if column.percent else compact(value)
    return f" {text:>{CELL}}", "bold red" if column.alarm and value else ""


def _wrapped(label: str, text: str, width: int, style: str = "") -> Iterator[Line]:
    """A labelled paragraph of at most four lines."""
    wrapped = textwrap.wrap(printable(text), max(width - LABEL, 20), break_on_hyphens=False, max_lines=4, placeholder=" …") or [""]
    for at, line in enumerate(wrapped):
        yield [((label if at == 0 else "").ljust(LABEL), "bold"), (line, style)]


def plain(lines: Sequence[Line]) -> str:
    """Lines without styles, as a file gets them."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


# -- Prometheus

PROMETHEUS: Final = {
    "processed": ("packets_processed_total", "Packets that net_rx_action took, softnet_stat column 1."),
    "dropped": ("packets_dropped_total", "Packets that did not get into a backlog, softnet_stat column 2."),
    "time_squeeze": ("time_squeezes_total", "Runs of net_rx_action that ended with work left, softnet_stat column 3."),
    "received_rps": ("rps_interrupts_total", "IPIs received because of RPS, softnet_stat column 10."),
    "flow_limit": ("flow_limit_packets_total", "Packets that the flow limit dropped, softnet_stat column 11."),
    "net_rx": ("net_rx_softirqs_total", "Runs of the NET_RX softirq."),
    "net_tx": ("net_tx_softirqs_total", "Runs of the NET_TX softirq."),
    "ipi_call_function": ("call_function_interrupts_total", "IPIs received that call a function."),
    "ipi_reschedule": ("reschedule_interrupts_total", "IPIs received that ask to reschedule."),
}
assert tuple(PROMETHEUS) == COUNTERS


def prometheus_text(reading: Reading, user_hz: int = 100) -> str:
    """A reading in Prometheus's text format, version 0.0.4: counters since boot."""
    lines: list[str] = []

    def metric(name: str, kind: str, about: str, values: Sequence[tuple[dict[str, str], int | float]]) -> None:
        if values:
            lines.extend([f"# HELP softnet_{name} {about}", f"# TYPE softnet_{name} {kind}"])
            for labels, value in values:
                said = ",".join(f'{label}="{_label(text)}"' for label, text in labels.items())
                lines.append(f"softnet_{name}{{{said}}} {value}")

    cpus = sorted(reading.cpus.items())
    for key, (name, about) in PROMETHEUS.items():
        metric(name, "counter", about, [({"cpu": str(cpu)}, counts[key]) for cpu, counts in cpus if key in counts])
    metric("backlog_packets", "gauge", "Packets that wait in a CPU's backlog, softnet_stat column 12.",
           [({"cpu": str(cpu)}, length) for cpu, length in sorted(reading.backlog.items()) if cpu in reading.cpus])  # fmt: skip
    metric("cpu_seconds_total", "counter", "Time of a CPU by what it did, of /proc/stat.",
           [({"cpu": str(cpu), "mode": mode}, getattr(times, mode) / user_hz)
            for cpu, times in sorted(reading.times.items()) for mode in CPU_TIMES])  # fmt: skip
    threads = list(reading.threads.values())
    metric("thread_cpu_seconds_total", "counter", "CPU time of a kernel thread of the receive path.",
           [(_of(thread), thread.cpu_ns / 1e9) for thread in threads])  # fmt: skip
    metric("thread_wakeups_total", "counter", "Voluntary switches of a kernel thread: it went to sleep, and is woken.",
           [(_of(thread), thread.wakeups) for thread in threads if thread.wakeups is not None])  # fmt: skip
    metric("protocol_drops_total", "counter", "Drops that UDP and TCP count in this network namespace.",
           [(dict(zip(("protocol", "counter"), name.split(".", 1), strict=True)), total)
            for name, total in reading.protocols.items()])  # fmt: skip
    return "\n".join(lines) + "\n"


def _of(thread: ThreadCounts) -> dict[str, str]:
    return {"thread": thread.comm, "pid": str(thread.pid)}


def _label(text: str) -> str:
    """A label's value: nothing in it moves a cursor or ends it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") if text.isprintable() else _label(printable(text))
