# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic generators: constant, Poisson, on/off, in integer arithmetic on whole columns.

Every number is a function of (seed, source, packet number), and no step depends on a maths library, so the same
scenario and seed give the same packets on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.scenario.columns import FLAG_PUSH, SourceChunk
from softnet.scenario.fields import ms_to_ns, us_to_ns
from softnet.scenario.traffic_models import OnOffTraffic, PoissonTraffic
from softnet.units import NS_PER_SEC, mix64_array, mix_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softnet.scenario.traffic_models import Generator

#: Packets made at a time.
BLOCK: Final = 16384
#: Times are summed in 1/65536 ns, so that rounding does not add up.
_FRACTION_BITS: Final = 16

_GAP_STREAM: Final = 0x4745_0000
_FLOW_STREAM: Final = 0x4745_1000
_SIZE_STREAM: Final = 0x4745_2000
_BURST_STREAM: Final = 0x4745_3000
_SILENCE_STREAM: Final = 0x4745_4000

_LOG_BITS: Final = 12
_Q: Final = 32


@functools.cache
def _log_table() -> NDArray[np.int64]:
    """ln(1 + i/4096) for i from 0 to 4096 in units of 2**-32, from the series of 2 artanh, in whole numbers."""
    size = 1 << _LOG_BITS
    # ln(1 + x) = 2 artanh(x / (2 + x)), in units of 2**-64; the sum is below 0.35.
    i = np.arange(size + 1, dtype=np.uint64)
    upper, rest = np.divmod(i << np.uint64(32), np.uint64(2 * size) + i)
    term = upper << np.uint64(32) | (rest << np.uint64(32)) // (np.uint64(2 * size) + i)
    square = _high_product(term, term)
    total, k = np.zeros_like(term), 1
    while term.any():
        total += term // np.uint64(k)
        term = _high_product(term, square)
        k += 2
    table: NDArray[np.int64] = ((np.uint64(2) * total + np.uint64(1 << 31)) >> np.uint64(32)).astype(np.int64)
    return table


def _high_product(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The upper 64 bits of each product."""
    half, low = np.uint64(32), np.uint64(0xFFFF_FFFF)
    a_high, a_low, b_high, b_low = a >> half, a & low, b >> half, b & low
    middle = a_high * b_low + (a_low * b_low >> half)
    carried = a_low * b_high + (middle & low)
    product: NDArray[np.uint64] = a_high * b_high + (middle >> half) + (carried >> half)
    return product


def exponential(seed: int, stream: int, counters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Exponentially distributed numbers with mean 1, in units of 2**-32.

    -ln(u) for u uniform on 53 bits: the exponent and the mantissa of u, both exact in IEEE arithmetic, give
    ln(u) = exponent * ln 2 + ln(mantissa), and the second comes from a table with linear steps between.
    """
    drawn = (mix64_array(seed, stream, counters) >> np.uint64(11)).astype(np.int64)
    u = (drawn + 1).astype(np.float64)  # 1 to 2**53, each exactly representable
    bits = u.view(np.int64)
    exponent = (bits >> 52) - 1023
    mantissa = bits & ((1 << 52) - 1)
    table = _log_table()
    index = mantissa >> (52 - _LOG_BITS)
    rest = (mantissa >> (52 - _LOG_BITS - 24)) & ((1 << 24) - 1)
    below = table[index]
    log_mantissa = below + (((table[index + 1] - below) * rest) >> 24)
    result: NDArray[np.int64] = (53 - exponent) * int(table[-1]) - log_mantissa
    return result


def _scaled(units: NDArray[np.int64], mean_num: int, mean_den: int) -> NDArray[np.int64]:
    """``units`` of 2**-32 times the mean, in 1/65536 ns, without leaving 63 bits.

    -ln(u) is below 37, so ``units`` is below 2**38. It is shortened to 2**-20 and the mean to 36 bits.
    """
    shift = 36 - (mean_num // mean_den).bit_length()
    mean = ((mean_num << shift) // mean_den) if shift >= 0 else (mean_num // mean_den) >> -shift
    product = (units >> (_Q - 20)) * mean
    down = 20 + shift - _FRACTION_BITS
    return product >> down if down >= 0 else product << -down


def generate(source: Generator, index: int, seed: int, stop_ns: int) -> Iterator[SourceChunk]:
    """The packets of a generator before ``stop_ns``, in time order."""
    decorate = _Decorator(source, index, seed)
    for number, time_ns in _times(source, index, seed):
        inside = int(np.searchsorted(time_ns, stop_ns, side="left"))
        if inside:
            yield decorate(number, time_ns[:inside])
        if inside < len(time_ns):
            return


def _times(source: Generator, index: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Endless blocks of (number of the first packet, times)."""
    start_ns = ms_to_ns(source.start_ms)
    if isinstance(source, OnOffTraffic):
        yield from _onoff_times(source, index, seed, start_ns)
    elif isinstance(source, PoissonTraffic):
        yield from _poisson_times(source, index, seed, start_ns)
    else:
        for number in _block_starts():
            yield number, start_ns + _spaced(source.rate_pps, number)


def _block_starts() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += BLOCK


def _spaced(rate_pps: int, number: int) -> NDArray[np.int64]:
    """floor(i * 10**9 / rate) for a block of packets: exact, however many there are."""
    seconds, rest = divmod(number, rate_pps)
    within = rest + np.arange(BLOCK, dtype=np.int64)
    return seconds * NS_PER_SEC + within * NS_PER_SEC // rate_pps


def _poisson_times(source: Generator, index: int, seed: int, start_ns: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    now = start_ns << _FRACTION_BITS  # a Python integer: it never overflows
    for number in _block_starts():
        counters = np.arange(number, number + BLOCK, dtype=np.int64)
        gaps = _scaled(exponential(seed, _GAP_STREAM + index, counters), NS_PER_SEC, source.rate_pps)
        offset = np.cumsum(gaps) + (now & ((1 << _FRACTION_BITS) - 1))
        yield number, (now >> _FRACTION_BITS) + (offset >> _FRACTION_BITS)
        now += int(np.sum(gaps))


def _onoff_times(source: OnOffTraffic, index: int, seed: int, start_ns: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Packets are evenly spaced in the time that bursts last; silences are put in between.

    ``ends`` are the moments, on a clock that stands still in silences, at which bursts end; ``pauses`` how much
    silence lies before each burst.
    """
    on_ns, off_ns = us_to_ns(source.on_us), us_to_ns(source.off_us)
    cycle = 0
    ends: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    pauses: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    for number in _block_starts():
        busy_ns = _spaced(source.rate_pps, number)
        while not len(ends) or ends[-1] <= busy_ns[-1]:
            on, off = _cycles(source, index, seed, cycle, on_ns, off_ns)
            cycle += len(on)
            ends = np.concatenate([ends, (ends[-1] if len(ends) else 0) + np.cumsum(on)])
            pauses = np.concatenate([pauses, pauses[-1] + np.cumsum(off)])
        burst = np.searchsorted(ends, busy_ns, side="right")
        yield number, start_ns + busy_ns + pauses[burst]
        done = int(burst[-1])  # bursts that are over are not needed again
        ends, pauses = ends[done:], pauses[done:]


def _cycles(
    source: OnOffTraffic, index: int, seed: int, first: int, on_ns: int, off_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths of the next bursts and of the silence after each."""
    count = 1024
    if not source.exponential:
        return np.full(count, on_ns, dtype=np.int64), np.full(count, off_ns, dtype=np.int64)
    counters = np.arange(first, first + count, dtype=np.int64)
    on = _scaled(exponential(seed, _BURST_STREAM + index, counters), on_ns, 1) >> _FRACTION_BITS
    off = _scaled(exponential(seed, _SILENCE_STREAM + index, counters), off_ns, 1) >> _FRACTION_BITS
    return on + 1, off + 1


class _Decorator:
    """Flow, size, flags and sequence of a block of packets."""

    def __init__(self, source: Generator, index: int, seed: int) -> None:
        self.source = source
        self.index = index
        self.seed = seed
        self.is_tcp = source.proto == "tcp"
        # Ethernet and perhaps a tag, IP, and TCP with its time stamp option or UDP.
        network = 40 if ":" in source.src + source.dst else 20
        self.header_bytes = 14 + 4 * (source.vlan > 0) + network + (32 if self.is_tcp else 8)
        weights = [Fraction(weight) for _, weight in source.sizes]
        total = sum(weights)
        sums = [sum(weights[: i + 1]) for i in range(len(weights))]
        self.thresholds = np.array([int(part * (1 << 32) / total) for part in sums[:-1]], dtype=np.int64)
        self.sizes = np.array([size for size, _ in source.sizes], dtype=np.int64)
        self.seen = np.zeros(source.flows, dtype=np.bool_)
        self.all_seen = False

    def __call__(self, number: int, time_ns: NDArray[np.int64]) -> SourceChunk:
        counters = np.arange(number, number + len(time_ns), dtype=np.int64)
        flow = self.flows(counters)
        size = self.lengths(counters)
        return SourceChunk(
            time_ns=time_ns,
            flow=flow,
            len_bytes=size,
            flags=np.where((counters + 1) % self.source.train == 0, FLAG_PUSH, 0),
            seq_ok=self.continues(flow),
            payload_bytes=np.maximum(size - self.header_bytes, 0),
        )

    def flows(self, counters: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.source.flows == 1:
            return np.zeros(len(counters), dtype=np.int64)
        draws = mix_array(self.seed, _FLOW_STREAM + self.index, counters // self.source.train)
        return (draws.astype(np.int64) * self.source.flows) >> 32

    def lengths(self, counters: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(self.sizes) == 1:
            return np.full(len(counters), self.sizes[0], dtype=np.int64)
        draws = mix_array(self.seed, _SIZE_STREAM + self.index, counters).astype(np.int64)
        return self.sizes[np.searchsorted(self.thresholds, draws, side="right")]

    def continues(self, flow: NDArray[np.int64]) -> NDArray[np.int64]:
        """1 for TCP after the first packet of the flow."""
        if not self.is_tcp:
            return np.zeros(len(flow), dtype=np.int64)
        out = np.ones(len(flow), dtype=np.int64)
        if not self.all_seen:
            fresh = np.flatnonzero(~self.seen[flow])
            _, first = np.unique(flow[fresh], return_index=True)
            out[fresh[first]] = 0
            self.seen[flow[fresh]] = True
            self.all_seen = bool(self.seen.all())
        return out
