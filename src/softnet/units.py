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
_DURATION: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?\s*(ns|us|µs|μs|ms|s)", re.ASCII)


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


GAMMA: Final = 0x9E3779B97F4A7C15
FACTORS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Of SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""
U64_MAX: Final = 0xFFFF_FFFF_FFFF_FFFF


def draw(key: int, number: int) -> int:
    """Draw ``number`` of SplitMix64 begun with ``key``: the upper 32 of its 64 bits.

    Every engine has it as an instruction of its own; only the low 64 bits of its arguments count.
    """
    return _finalise(key + GAMMA * number) >> 32


def mix(seed: int, stream: int, counter: int) -> int:
    """A 32-bit number that looks random and depends on nothing but its three arguments.

    Draw number ``counter`` of stream ``stream`` of a run with ``seed``. There is no state, so a new consumer
    with its own stream never disturbs the draws of the others. Each argument enters with its low 64 bits.
    """
    return draw(_key(seed, stream), counter)


def mix_array(seed: int, stream: int, counters: NDArray[np.int64]) -> NDArray[np.uint32]:
    """``mix(seed, stream, counter)`` of every counter of an array of any shape."""
    import numpy as np

    return (mix64_array(seed, stream, counters) >> np.uint64(32)).astype(np.uint32)


def mix64_array(seed: int, stream: int, counters: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The 64-bit numbers of which ``mix()`` gives the upper halves."""
    import numpy as np

    with np.errstate(over="ignore"):  # an array without a dimension, whose products numpy would warn of
        z = np.uint64(_key(seed, stream)) + counters.astype(np.uint64) * np.uint64(GAMMA)
        for shift, factor in zip((30, 27), FACTORS, strict=True):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return mixed


def _key(seed: int, stream: int) -> int:
    """Where a stream of a seed begins: streams are far apart, whatever the two numbers are."""
    return _finalise(_finalise(seed + GAMMA) + GAMMA * (stream + 1))


def _finalise(z: int) -> int:
    """A bijection of 64-bit numbers."""
    z &= U64_MAX
    z = ((z ^ (z >> 30)) * FACTORS[0]) & U64_MAX
    z = ((z ^ (z >> 27)) * FACTORS[1]) & U64_MAX
    return z ^ (z >> 31)
