# SPDX-License-Identifier: GPL-2.0-or-later
"""Integer nanoseconds, their conversions, and the one source of chance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_SEC: Final = 1_000_000_000

U32_MAX: Final = 0xFFFF_FFFF

_UNIT_NS: Final = {
    "ns": 1,
    "us": NS_PER_US,
    "µs": NS_PER_US,
    "μs": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_SEC,
}
_DURATION: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?\s*(ns|us|µs|μs|ms|s)", re.ASCII)


_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def whole_number(text: str, *, negative: bool = False) -> int | None:
    """The number that ASCII digits write, at most 18 of them, so that it fits 64 bits; None for any other text.

    ``str.isdigit()`` takes other scripts' digits and raised ones for digits, and ``int()`` refuses some of these, and takes
    signs, blanks and underscores; text from outside comes through here.
    """
    if _WHOLE.fullmatch(text) is None or (text.startswith("-") and not negative):
        return None
    return int(text)


def parse_duration_ns(text: str, *, where: str = "") -> int:
    """Nanoseconds of a duration such as ``250us``, ``1.5 ms`` or ``2s``.

    Raises ``SoftnetError`` for anything else, and for a fraction finer than one nanosecond, which is never
    rounded.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SoftnetError(
            "not a duration",
            where=where,
            found=repr(text),
            expected="a number and a unit, such as 500ns, 250us, 1.5ms or 2s",
        )
    whole, fraction, unit = match.group(1), match.group(2) or "", match.group(3)
    scale_ns = _UNIT_NS[unit]
    numerator = int(whole + fraction) * scale_ns
    duration_ns, rest = divmod(numerator, int(10 ** len(fraction)))
    if rest:
        raise SoftnetError(
            "a duration is a whole number of nanoseconds",
            where=where,
            found=repr(text),
            expected="no fraction of a nanosecond",
        )
    return duration_ns


def format_ns(duration_ns: int) -> str:
    """A duration for people, four significant digits at most: ``812 ns``, ``34.57 us``, ``1.5 ms``, ``2 s``.

    Half a last digit is rounded away from zero, in integers, so the text is the same on every machine.
    """
    sign = "-" if duration_ns < 0 else ""
    magnitude = abs(duration_ns)
    if magnitude < NS_PER_US:
        return f"{sign}{magnitude} ns"
    units = ((NS_PER_US, "us"), (NS_PER_MS, "ms"), (NS_PER_SEC, "s"))
    for index, (scale_ns, unit) in enumerate(units):
        last = index == len(units) - 1
        for decimals, limit in ((2, 100), (1, 1_000), (0, 10_000)):
            step_ns = scale_ns // int(10**decimals)
            steps = (magnitude + step_ns // 2) // step_ns
            whole, fraction = divmod(steps, int(10**decimals))
            if whole < limit and (whole < 1_000 or last):
                text = f"{fraction:0{decimals}d}".rstrip("0") if decimals else ""
                return f"{sign}{whole}{'.' + text if text else ''} {unit}"
    return f"{sign}{(magnitude + NS_PER_SEC // 2) // NS_PER_SEC} s"


def mix(seed: int, stream: int, counter: int) -> int:
    """A 32-bit number that looks random and depends on nothing but its three arguments.

    Draw number ``counter`` of stream ``stream`` of a run with ``seed``. There is no state, so a new consumer
    with its own stream never disturbs the draws of the others. Each argument enters with its low 64 bits.
    Every product stays below 2**63, so that the same lines compiled to 64-bit integers give the same numbers.
    """
    return _absorb(_absorb(_absorb(0x9E3779B9, seed), stream), counter)


def mix_array(seed: int, stream: int, counters: NDArray[np.int64]) -> NDArray[np.uint32]:
    """``mix(seed, stream, counter)`` of every counter of an array of any shape."""
    import numpy as np

    prefix = np.uint64(_absorb(_absorb(0x9E3779B9, seed), stream))
    wide = counters.astype(np.uint64)
    x = _scramble_array(prefix ^ (wide & np.uint64(U32_MAX)))
    high = wide >> np.uint64(32)
    if high.any():
        x = np.where(high != 0, _scramble_array(x ^ high), x)
    return x.astype(np.uint32)


def _absorb(x: int, word: int) -> int:
    """Stir 64 bits into a 32-bit state; the high half costs a second round only where there is one."""
    x = _scramble(x ^ (word & U32_MAX))
    high = (word >> 32) & U32_MAX
    if high != 0:
        x = _scramble(x ^ high)
    return x


def _scramble(x: int) -> int:
    """A bijection of 32-bit numbers: both factors are odd and below 2**31, so each product is below 2**63."""
    x ^= x >> 16
    x = (x * 0x7FEB352D) & U32_MAX
    x ^= x >> 15
    x = (x * 0x045D9F3B) & U32_MAX
    x ^= x >> 16
    return x


def _scramble_array(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``_scramble`` of every element."""
    import numpy as np

    x = x ^ (x >> np.uint64(16))
    x = (x * np.uint64(0x7FEB352D)) & np.uint64(U32_MAX)
    x = x ^ (x >> np.uint64(15))
    x = (x * np.uint64(0x045D9F3B)) & np.uint64(U32_MAX)
    return x ^ (x >> np.uint64(16))
