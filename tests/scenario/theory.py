# SPDX-License-Identifier: GPL-2.0-or-later
"""What theory says of each generator, and how far the packets are from it, in standard errors.

Used by test_theory.py, and by bench/generators.py with sixty times as many packets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softnet.scenario.generate import exponential, generate
from softnet.scenario.traffic_models import ConstantTraffic, OnOffTraffic, PoissonTraffic
from softnet.units import NS_PER_SEC, draw

LOADS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SERVICE_STREAM = 0x5445_5354
LAGS = 20
Floats = NDArray[np.float64]


class Row(NamedTuple):
    """A figure of the packets, what theory says of it, and the standard error of the first."""

    name: str
    found: float
    theory: float
    error: float

    @property
    def z(self) -> float:
        """How many standard errors lie between the two."""
        return (self.found - self.theory) / self.error

    def line(self) -> str:
        return f"{self.name:<44}{self.found:>14.6g}{self.theory:>14.6g}{self.error:>12.2g}{self.z:>7.1f}"


def of_runs(name: str, values: list[float], theory: float) -> Row:
    """The mean of independent runs, with its standard error from their spread."""
    return Row(name, float(np.mean(values)), theory, float(np.std(values, ddof=1)) / math.sqrt(len(values)))


def times(source: Any, seed: int, packets: int) -> NDArray[np.int64]:
    """The times of a generator's first packets."""
    blocks, count = [], 0
    for chunk in generate(source, 0, seed, 1 << 62):
        blocks.append(chunk.time_ns)
        count += len(chunk.time_ns)
        if count >= packets:
            break
    return np.concatenate(blocks)[:packets]


def mean_wait(arrivals: Floats, service: Floats) -> float:
    """Of a queue that is served in order, by Lindley's recursion; without the beginning, when it is empty."""
    owed = np.cumsum(service) - service - arrivals
    waits = owed - np.minimum.accumulate(owed)
    return float(waits[len(waits) // 50 :].mean())


def queues(packets: int, runs: int, first_seed: int = 1) -> Iterator[Row]:
    """Poisson arrivals before one server: Pollaczek and Khinchin's mean waits, in services."""
    for load in LOADS:
        rate = 100_000
        service_ns = load * NS_PER_SEC / rate
        fixed, random = [], []
        for seed in range(first_seed, first_seed + runs):
            arrivals = times(PoissonTraffic(rate_pps=rate), seed, packets) / service_ns
            fixed.append(mean_wait(arrivals, np.ones(packets)))
            drawn = exponential(seed, SERVICE_STREAM, np.arange(packets, dtype=np.int64)) / 2.0**32
            random.append(mean_wait(arrivals, drawn))
        yield of_runs(f"M/D/1, load {load}: mean wait", fixed, load / (2 * (1 - load)))
        yield of_runs(f"M/M/1, load {load}: mean wait", random, load / (1 - load))


def correlation(name: str, values: Floats) -> Row:
    """Box and Pierce's sum over the first lags, a chi-square of as many degrees of freedom for independent values."""
    centred = values - values.mean()
    scale = float((centred**2).mean()) * len(values)
    found = sum((float(centred[:-lag] @ centred[lag:]) / scale) ** 2 for lag in range(1, LAGS + 1)) * len(values)
    return Row(f"{name}: autocorrelation, {LAGS} lags", found, LAGS, math.sqrt(2 * LAGS))


def even(name: str, counts: NDArray[Any], weights: Floats) -> Row:
    """Pearson's chi-square against the weights."""
    expected = weights / weights.sum() * counts.sum()
    free = len(counts) - 1
    return Row(f"{name}: chi-square", float(((counts - expected) ** 2 / expected).sum()), free, math.sqrt(2 * free))


def together(name: str, one: NDArray[Any], other: NDArray[Any]) -> Row:
    """The correlation of two columns that have nothing to do with each other, in its standard errors."""
    return Row(f"{name}: correlation", float(np.corrcoef(one, other)[0, 1]) * math.sqrt(len(one)), 0, 1)


def gaps(packets: int, seed: int = 1) -> Iterator[Row]:
    """The gaps of Poisson arrivals are exponential and independent, one by one and in sums."""
    rate = 1000  # slow enough that whole nanoseconds are fine
    gap = np.diff(times(PoissonTraffic(rate_pps=rate), seed, packets)) * (rate / NS_PER_SEC)
    root = math.sqrt(len(gap))
    yield Row("poisson: mean gap", float(gap.mean()), 1, 1 / root)
    yield Row("poisson: variance of gaps", float(gap.var()), 1, math.sqrt(8) / root)
    yield correlation("poisson", gap)
    for length in (10, 100, 1000):
        sums = gap[: len(gap) // length * length].reshape(-1, length).sum(1)
        # Of a gamma variable's sums: kurtosis 3 + 6/length.
        error = math.sqrt((2 + 6 / length) / len(sums))
        yield Row(f"poisson: variance of {length} gaps / {length}", float(sums.var()) / length, 1, error)
    quantiles = np.minimum((np.exp(-gap) * 256).astype(np.int64), 255)
    yield even("poisson: gaps in 256 classes", np.bincount(quantiles, minlength=256), np.ones(256))


def bursts(runs: int, length_ms: int, first_seed: int = 1) -> Iterator[Row]:
    """On and off: an alternating renewal process, with means and asymptotic variances of the time that it is on."""
    on_us, off_us, rate = 20.0, 30.0, 10_000_000
    share = on_us / (on_us + off_us)
    packets_on = rate * on_us / 1e6
    counts = []
    for seed in range(first_seed, first_seed + runs):
        source = OnOffTraffic(rate_pps=rate, on_us=on_us, off_us=off_us, exponential=True)
        at = times(source, seed, int(rate * share * length_ms / 900))
        begin, end = length_ms * 1e6 * 0.01, length_ms * 1e6
        assert at[-1] > end
        counts.append(float(((at >= begin) & (at < end)).sum()))
    span_us = length_ms * 1000 * 0.99
    cycles = span_us / (on_us + off_us)
    yield of_runs("onoff: packets", counts, cycles * packets_on)
    # Var(on) = T 2 a^2 b^2 / (a + b)^3 for exponential a and b (Cox, "Renewal theory", 1962).
    variance = 2 * span_us * on_us**2 * off_us**2 / (on_us + off_us) ** 3 * (rate / 1e6) ** 2
    yield Row("onoff: variance of packets", float(np.var(counts, ddof=1)), variance, variance * math.sqrt(2 / (runs - 1)))


def choices(packets: int, seed: int = 1) -> Iterator[Row]:
    """Flows are drawn evenly, sizes by their weights, and neither remembers."""
    weights = ((60, 1.0), (594, 2.5), (1514, 0.5))
    source = PoissonTraffic(rate_pps=1_000_000, flows=37, sizes=weights)
    flow, size, count = [], [], 0
    for chunk in generate(source, 0, seed, 1 << 62):
        flow.append(chunk.flow)
        size.append(chunk.len_bytes)
        count += len(chunk.flow)
        if count >= packets:
            break
    flows, sizes = np.concatenate(flow), np.concatenate(size)
    yield even("flows", np.bincount(flows, minlength=37), np.ones(37))
    yield correlation("flows", flows.astype(np.float64))
    yield even("sizes", np.array([(sizes == length).sum() for length, _ in weights]), np.array([w for _, w in weights]))
    yield correlation("sizes", sizes.astype(np.float64))
    yield together("flows with sizes", flows, sizes)


def costs(draws: int, seed: int = 1) -> Iterator[Row]:
    """The draws of two CPUs (softnet.machine.chance), as costs take them: even, without memory, and apart."""
    columns = []
    for cpu in range(2):
        at = (1 << 32) + 2 * cpu
        key = draw(seed, at) << 30 ^ draw(seed, at + 1)
        columns.append(np.array([draw(key, number) * 1000 >> 32 for number in range(1, draws + 1)]))
        yield even(f"costs of CPU {cpu}", np.bincount(columns[-1], minlength=1000), np.ones(1000))
        yield correlation(f"costs of CPU {cpu}", columns[-1].astype(np.float64))
    yield together("costs of CPU 0 with CPU 1", columns[0], columns[1])


def spacing(packets: int) -> int:
    """The largest difference of constant traffic's times from whole multiples of its gap, cut to nanoseconds: 0."""
    worst = 0
    for rate in (1, 3, 7_777, 999_983, 1_488_095):
        at = times(ConstantTraffic(rate_pps=rate), 1, packets)
        exact = np.array([i * NS_PER_SEC // rate for i in range(packets)])
        worst = max(worst, int(np.abs(at - exact).max()))
    return worst
