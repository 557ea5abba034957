# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found: plain integers and strings, the same bytes for the same scenario and seed.

``Result.to_dict()`` is the JSON that ``softnet run --json`` prints (schema "softnet-result/1"); the frames are views of it.
All counters are of the measured part of the run, after the warm-up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError
from softnet.image.time_classes import TIME_CLASS_NAMES as TIME_CLASS_NAMES
from softnet.trace import Record
from softnet.views import Picture, views

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "softnet-result/1"
QUANTILES = {"p50_ns": (50, 100), "p90_ns": (90, 100), "p99_ns": (99, 100), "p999_ns": (999, 1000)}


@dataclass(frozen=True)
class Histogram:
    """Latencies in ns: ``buckets`` are (lower_ns, upper_ns, count), upper exclusive, 3 % wide, none empty."""

    name: str
    kind: str
    """"packet" (wire to application), "wakeup" (timer to task), "sched" (woken to running) or "preempted" (gave way to running)."""
    count: int
    sum_ns: int
    min_ns: int
    max_ns: int
    buckets: tuple[tuple[int, int, int], ...]

    def quantile_ns(self, numerator: int, denominator: int) -> int:
        """The upper edge of the bucket in which the quantile falls, at most the maximum; 0 when empty."""
        if self.count == 0:
            return 0
        rank = -(-self.count * numerator // denominator)
        at = bisect_left(self._seen, rank)
        return min(self.buckets[at][1] - 1, self.max_ns) if at < len(self.buckets) else self.max_ns

    @cached_property
    def _seen(self) -> list[int]:
        """How many samples there are up to the end of each bucket."""
        return list(accumulate(count for _, _, count in self.buckets))

    @property
    def mean_ns(self) -> int:
        """Rounded down; 0 when empty."""
        return self.sum_ns // self.count if self.count else 0

    def summary(self) -> dict[str, int]:
        """count, mean, min, the quantiles and max."""
        out = {"count": self.count, "mean_ns": self.mean_ns, "min_ns": self.min_ns}
        out.update({name: self.quantile_ns(*q) for name, q in QUANTILES.items()})
        out["max_ns"] = self.max_ns
        return out


@dataclass(frozen=True)
class Conservation:
    """Where every packet went, of the whole run: ``arrived`` + ``sent`` = ``delivered`` + sum(dropped) + sum(queued) + ``acks``
    + ``kernel``.

    ``acks`` are TCP segments without data, which the protocol uses up; ``kernel`` are packets of which the kernel itself is the
    receiver: ICMP, IGMP, ARP. Packets that GRO or the TCP receive queue merged into
    one skb still count one by one.
    """

    arrived: int
    sent: int
    delivered: int
    acks: int
    dropped: dict[str, int]
    queued: dict[str, int]
    kernel: int = 0

    @property
    def balance(self) -> int:
        """0 when no packet was lost or invented."""
        gone = self.delivered + self.acks + self.kernel + sum(self.dropped.values()) + sum(self.queued.values())
        return self.arrived + self.sent - gone


@dataclass(frozen=True, repr=False)
class Result:
    """One run of one kernel under one scenario with one seed.

    Shapes: per-CPU lists have one entry per CPU; ``series`` columns have one entry per sample time.
    """

    scenario: str
    description: str
    kernel: dict[str, Any]
    """release, flavour, preempt, hz, label ("6.12-rt"), boot_args, sysctl, patches (names, in order)."""
    engine: str
    seed: int
    cpus: int
    duration_ns: int
    warmup_ns: int
    costs: str
    softnet_stat: list[str]
    """The lines of /proc/net/softnet_stat as that kernel prints them, of the whole run."""
    softnet_columns: list[dict[str, int]]
    """The same by name, per CPU."""
    events: dict[str, list[int]]
    """Event name -> count per CPU."""
    counters: dict[str, int]
    """The figures that people ask for: kicks, ipis, net_rx_raises, ksoftirqd_wakeups, backlog_napi_wakeups, …"""
    cpu_time_ns: list[dict[str, int]]
    """Per CPU: class of time -> ns (TIME_CLASS_NAMES)."""
    latency: dict[str, Histogram]
    conservation: Conservation
    series: dict[str, list[int]]
    """time_ns, and per CPU defer_count/N, defer_bytes/N, backlog/N."""
    locks: dict[str, list[int]]
    """contended and spin_ns per CPU."""
    line_transfers: list[int]
    squeezes: dict[str, list[int]]
    """Why net_rx_action left with work undone, per CPU: by_budget (netdev_budget was used up) and by_time (only
    netdev_budget_usecs had passed); together the time_squeeze of the measured part."""
    tasks: list[dict[str, Any]]
    """pid, comm, cpus, policy, prio, switches, wakeups."""
    notes: list[str] = field(default_factory=list)
    """What the scenario asked and the model does differently."""
    warnings: list[str] = field(default_factory=list)
    """WARN_ON_ONCE and invariants that fired."""
    wakeup_latency: dict[str, Histogram] = field(default_factory=dict)
    """Class of WAKEUP_CLASSES (ksoftirqd, backlog_napi, irq_thread, napi_thread, applications, …) -> from woken to running."""
    preempted_latency: dict[str, Histogram] = field(default_factory=dict)
    """The same classes -> from having to give way, though it could have run on, to running again."""
    deferred_left: list[dict[str, int]] = field(default_factory=list)
    """Defer lists that are not empty at the end: cpu, skbs, bytes, since_ns (when the packet came that was put on it last)."""
    partial: bool = False
    """The run was interrupted; the figures are of the part that ran."""
    cost_rows: dict[str, int] = field(default_factory=dict)
    """Provenance of machine.costtable.PROVENANCES -> how many rows of the cost table have it."""
    asked: dict[str, Any] = field(default_factory=dict)
    """The scenario, with its overrides and without its defaults, as Scenario.to_dict() says it."""
    idle: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """Idle state -> per CPU how often it was entered, time_ns in it, and how often it was too_deep (left before its target
    residency) or too_shallow (the next deeper one would have paid); empty, and not in the document, where no governor chooses."""

    def __repr__(self) -> str:
        gone = f"{self.counters.get('delivered', 0):,} packets delivered, {self.counters.get('dropped', 0):,} dropped"
        return f"Result({self.scenario}, {self.kernel.get('label')}, seed {self.seed}: {gone})"

    def _repr_html_(self) -> str:
        return views().html(self)

    def plot(self, latency: str = "", kind: str = "percentiles") -> Picture:
        """A latency as a chart (softnet.report.views.plot). Raises SoftnetError."""
        return views().plot(self, latency, kind)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document: keys in a fixed order, integers and strings only."""
        out: dict[str, Any] = {"schema": SCHEMA}
        for key, value in asdict(self).items():
            if key != "idle" or value:
                out[key] = value
        kinds = {"latency": self.latency, "wakeup_latency": self.wakeup_latency, "preempted_latency": self.preempted_latency}
        for key, histograms in kinds.items():
            out[key] = {
                name: {"kind": h.kind, **h.summary(), "buckets": [list(b) for b in h.buckets]} for name, h in histograms.items()
            }
        return out

    def latency_frame(self) -> pd.DataFrame:
        """A data frame: one row per histogram, columns count, mean_ns, min_ns, quantiles, max_ns."""
        frame: pd.DataFrame = _pandas().DataFrame({name: h.summary() for name, h in self.latency.items()}).T
        return frame

    def histogram_frame(self) -> pd.DataFrame:
        """A data frame: name, lower_ns, upper_ns, count, one row per bucket."""
        rows = [(name, *bucket) for name, h in self.latency.items() for bucket in h.buckets]
        frame: pd.DataFrame = _pandas().DataFrame(rows, columns=["name", "lower_ns", "upper_ns", "count"])
        return frame

    def cpu_time_frame(self) -> pd.DataFrame:
        """A data frame: one row per CPU, one column per class of time, in ns."""
        frame: pd.DataFrame = _pandas().DataFrame(self.cpu_time_ns)
        frame.index.name = "cpu"
        return frame

    def events_frame(self) -> pd.DataFrame:
        """A data frame: one row per CPU, one column per event."""
        frame: pd.DataFrame = _pandas().DataFrame(self.events)
        frame.index.name = "cpu"
        return frame

    def series_frame(self) -> pd.DataFrame:
        """A data frame indexed by time_ns: the sampled queues."""
        frame: pd.DataFrame = _pandas().DataFrame(self.series).set_index("time_ns")
        return frame


@dataclass(frozen=True)
class Trace:
    """The recorded events of a run in their total order, and the names that their numbers stand for."""

    records: Sequence[Record]
    """A tuple, or the records of a trace file (simulate.tracefile.StoredRecords)."""
    tasks: tuple[tuple[int, str], ...]
    """(pid, comm)"""
    cpus: int
    dropped: int = 0
    """Events beyond the bound of the recording, not recorded."""
    partial: bool = False
    """The run was interrupted: the events are those of the part that ran."""
    clock: str = "mono"
    """What a record's first integer is: "mono" a time in ns, "counter" a place in the order of a real kernel's events."""

    def head(self, count: int) -> Trace:
        """The first ``count`` records, in memory; the others are counted as dropped."""
        if isinstance(self.records, tuple) and len(self.records) <= count:
            return self
        kept = tuple(self.records[:count])
        return replace(self, records=kept, dropped=self.dropped + len(self.records) - len(kept))


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise SoftnetError(
            "data frames need pandas", found="no module pandas", expected="the extra 'frames'", hint="pip install 'softnet[frames]'"
        ) from None
    return pd
