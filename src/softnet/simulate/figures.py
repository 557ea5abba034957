# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sweep wants to know of a run, and no more: of a Result the counters, the CPUs' time and the histograms.

The same figures as softnet.simulate.measure reads, which a test holds it to. Left out is what takes long and nobody looks at in ten
thousand runs: where every packet is, the tasks, the series, softnet_stat.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from softnet.image import readout
from softnet.image.time_classes import TIME_CLASS_NAMES
from softnet.machine import state, stats
from softnet.simulate.measure import OF_CLASSES, PER_CPU, bucket_bounds, counters
from softnet.simulate.repeated import Repeated
from softnet.simulate.result import Conservation, Histogram, Result
from softnet.simulate.simulation import Setup, with_seed
from softnet.trace import EVENTS

if TYPE_CHECKING:
    from softnet.image.image import Image
    from softnet.scenario import Scenario


class Figures(NamedTuple):
    """As in a Result; ``cpu_time_ns`` has one entry, for all CPUs."""

    counters: dict[str, int]
    cpu_time_ns: list[dict[str, int]]
    latency: dict[str, Histogram]
    wakeup_latency: dict[str, Histogram]
    preempted_latency: dict[str, Histogram]
    partial: bool


class Totals(NamedTuple):
    """What counts up, of all CPUs together."""

    events: dict[str, int]
    per_cpu: dict[str, int]
    times: dict[str, int]


class FigureReader:
    """Reads the figures of an image in native memory; where they stand is worked out once for all its runs."""

    def __init__(self, image: Image) -> None:
        import numpy as np

        memory: Any = image.memory
        self.memory = np.frombuffer(memory, dtype=np.int64)
        self._stop_at = image.engine_word("stop_at")
        cpus, queues, counts, regions = range(image.nr_cpus), range(image.nr_queues), len(EVENTS), image.regions

        reasons = image.layout.structs["skb_drop_stats"].fields["reason"].count

        def words(struct: str, name: str) -> Any:
            return np.array([readout.address(image, struct, cpu, name) for cpu in cpus])

        self._counts = self.memory[regions.counts : regions.counts + len(cpus) * counts].reshape(len(cpus), counts)
        self._spent = words("cpu_hw", "time_spent")[:, None] + np.arange(state.TIME_CLASSES)
        self._since, self._class = words("cpu_hw", "time_since"), words("cpu_hw", "time_class")
        self._drops = np.concatenate([
            *(readout.address(image, "skb_drop_stats", cpu, "reason") + np.arange(reasons) for cpu in cpus),
            [readout.address(image, *at, name) for struct, name in readout.CARD_DROPS for at in ((struct, q) for q in queues)],
        ]).astype(np.int64)  # fmt: skip
        self._per_cpu = {name: words(struct, name) for name, struct in PER_CPU.items()}
        hists = self.memory[regions.hists : regions.hists + len(image.hists) * stats.HIST_WORDS]
        self._hists = hists.reshape(len(image.hists), stats.HIST_WORDS)
        self._names = [full.partition(":")[::2] for full in image.hists]
        self._bounds = _all_bounds()
        self.image = image
        self.begin()

    def begin(self) -> None:
        """A run begins: nothing is to be taken off."""
        names = [event.name for event in EVENTS]
        self._base = Totals(*(dict.fromkeys(keys, 0) for keys in (names, PER_CPU, TIME_CLASS_NAMES)))

    def take(self) -> None:
        """The measured part begins: remember the counters and empty the histograms."""
        self._base = self._totals()
        self._hists[:] = 0

    def _totals(self) -> Totals:
        memory = self.memory
        events = dict(zip((event.name for event in EVENTS), self._counts.sum(axis=0).tolist(), strict=True))
        per_cpu = {name: int(memory[at].sum()) for name, at in self._per_cpu.items()}
        times = memory[self._spent].sum(axis=0).tolist()
        now = int(memory[self._stop_at])
        for since, running in zip(memory[self._since].tolist(), memory[self._class].tolist(), strict=True):
            if since < now < state.NEVER:
                times[running] += now - since
        return Totals(events, per_cpu, dict(zip(TIME_CLASS_NAMES, times, strict=True)))

    def read(self, *, partial: bool) -> Figures:
        """The figures as they stand."""
        events, per_cpu, times = (
            {name: now[name] - base[name] for name in now} for now, base in zip(self._totals(), self._base, strict=True)
        )
        where = Conservation(0, 0, 0, 0, {"": int(self.memory[self._drops].sum())}, {})
        found: dict[str, dict[str, Histogram]] = {kind: {} for kind in ("", *OF_CLASSES)}
        filled = self._hists[:, 0].tolist()
        for row, (kind, name), count in zip(self._hists, self._names, filled, strict=True):
            of_classes = kind in OF_CLASSES
            if count or not of_classes:
                found[kind if of_classes else ""][name] = self._histogram(row, kind, name)
        counted = counters({n: [v] for n, v in events.items()}, {n: [v] for n, v in per_cpu.items()}, where)
        return Figures(counted, [times], found[""], found["sched"], found["preempted"], partial)

    def _histogram(self, row: Any, kind: str, name: str) -> Histogram:
        count, total, high, low = row[: stats.HIST_HEAD].tolist()
        buckets = row[stats.HIST_HEAD :]
        at = buckets.nonzero()[0]
        filled = tuple((*self._bounds[b], n) for b, n in zip(at.tolist(), buckets[at].tolist(), strict=True))
        return Histogram(name, kind, count, total, max(low - 1, 0), high, filled)


@functools.cache
def _all_bounds() -> list[tuple[int, int]]:
    return [bucket_bounds(bucket) for bucket in range(stats.HIST_BUCKETS)]


class Figured(Repeated):
    """A simulation that is run with one seed after the other, and of which the figures are read."""

    def figures(self, seed: int) -> Figures | Result:
        """The figures of a run with this seed; of an engine other than the native one, which repeats nothing, all of its result."""
        fresh, self._fresh = self._fresh and seed == self.scenario.measure.seed, False
        if self.engine_name != "native":
            return self.finish().result if fresh else self.again(seed).result
        if not fresh:
            self.begin_again(seed)
        reader = self._reader
        reader.begin()
        self.run_through(reader.take, None)
        return reader.read(partial=self.partial)

    def turn_to(self, scenario: Scenario, setup: Setup) -> bool:
        """Become the simulation of another scenario; False for another program or engine, of which nothing can be used.

        What the shape of memory allows is used again; all else is as new.
        """
        if self.engine_name != "native" or setup.program is not self.program or setup.costs is None:
            return False
        self._zeroed()
        self.setup, self.scenario, self.costs = setup, with_seed(scenario, setup.seed), setup.costs
        self.recorder.warned, self.recorder.records = {}, []
        self._kept, self._figures, self._fresh = [], None, True
        self.image = self._boot(False, again=self.image)
        self._begin()
        return True

    @property
    def _reader(self) -> FigureReader:
        if self._figures is None:
            self._figures = FigureReader(self.image)
        return self._figures

    _figures: FigureReader | None = None
    _fresh = True
    """It was built, and has not run yet."""
