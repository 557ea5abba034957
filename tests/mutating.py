# SPDX-License-Identifier: GPL-2.0-or-later
"""How an input is mutated, from fixed seeds, and run: taken, refused, or a failure. What is fuzzed stands in tests/fuzzing.py."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from softnet.errors import SoftnetError

CPU_SECONDS = 3.0
"""Of one input: the slowest takes a few hundredths on a quiet machine."""
MEMORY_BYTES = 1 << 30
"""On top of what the process has when the inputs begin."""
SEED_BYTES_MAX = 6_000

Take = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """What is fuzzed: the seeds, what takes a mutated one, and words that its inputs are likely to contain."""

    name: str
    seeds: Callable[[], Sequence[bytes]]
    take: Take
    words: tuple[bytes, ...] = ()
    packed: bool = False
    """Whether inputs are packed by gzip after they are mutated; some are mutated once more then."""
    costly: int = 1
    """How many times fewer inputs than of others the tests run."""
    share: int = 1
    """How many times fewer bench/fuzz.py runs."""


@dataclass
class Tally:
    """What came of a target's inputs."""

    inputs: int = 0
    taken: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


class Hang(BaseException):
    """An input took too much CPU time."""


# -- mutation


NUMBERS: Final = (
    0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
TEXTS: Final = (
    b"", b"\0", b"\xff", b"\xc3\x28", "²".encode(), "٣".encode(), b"\x1b]0;x\x07", b"\x1b[2J", b"<script>", b"nan", b"inf", b"-0",
    b"1e999", b"9" * 30, b"9" * 5000, b"-" + b"9" * 20, b"0x10", b"true", b"null", b"[]", b"{}", b'""', b"[" * 3000, b"{" * 3000,
    b'{"a":' * 2000, b"a." * 3000, b"..", b"/", b"/dev/zero", b"%s%n", b"\r\n", b"\n", b"\\", b'"', b"'", b",", b"=", b":", b"~",
    b"1" * 400, b"\xe2\x80\xae",
)  # fmt: skip
OTHER_NUMBERS: Final = (b"9" * 19, b"9" * 5000, b"1.5", b"-1", b"true", b'"x"', b"[]")


def mutated(seed: bytes, others: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> bytes:
    """The seed after one to eight changes."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        _change(data, others, words, chance)
        if len(data) > 4 * SEED_BYTES_MAX:
            del data[4 * SEED_BYTES_MAX :]
    return bytes(data)


def _change(data: bytearray, others: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    length = min(chance.choice((1, 1, 2, 4, 8, 16, 64, 256)), len(data) - at)
    kind = chance.randrange(12)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = chance.randrange(256)
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = data[at : at + length] * chance.choice((1, 1, 2, 20))
    elif kind == 4:
        del data[at:]
    elif kind == 5:
        number, size = chance.choice(NUMBERS), chance.choice((1, 2, 4, 8))
        order = chance.choice(("little", "big"))
        data[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, order)  # type: ignore[arg-type]
    elif kind == 6:
        data[at : at + chance.choice((0, 1, length))] = chance.choice(TEXTS)
    elif kind == 7 and words:
        data[at : at + chance.choice((0, length))] = chance.choice(words)
    elif kind == 8:
        other = chance.choice(others)
        start = chance.randrange(len(other) + 1)
        data[at : at + length] = other[start : start + chance.choice((4, 32, 500))]
    elif kind == 9:
        _another_number(data, at, chance)
    elif kind == 10:
        other_at = chance.randrange(len(data) + 1)
        piece = bytes(data[other_at : other_at + length])
        data[at : at + len(piece)] = piece
    else:
        data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))


def _another_number(data: bytearray, at: int, chance: random.Random) -> None:
    """Replace the decimal number at or behind a place."""
    start = next((i for i in range(at, len(data)) if 48 <= data[i] <= 57), None)
    if start is None:
        return
    end = start
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    data[start:end] = chance.choice((str(chance.choice(NUMBERS)).encode(), *OTHER_NUMBERS))


def input_of(target: Target, number: int, seeds: Sequence[bytes]) -> bytes:
    """Input ``number`` of a target: always the same."""
    chance = random.Random(f"{target.name} {number}")
    seed = seeds[number % len(seeds)]
    if number < len(seeds):
        data = seed
    else:
        data = mutated(seed, seeds, target.words, chance)
    if not target.packed:
        return data
    packed = gzip.compress(data, mtime=0)
    return mutated(packed, [packed], (), chance) if number >= len(seeds) and chance.random() < 0.2 else packed


# -- running


def run(target: Target, first: int, count: int, told: Callable[[int, str], None] | None = None) -> Tally:
    """Run inputs of a target in this process, one after the other; ``told`` hears of each before it begins, and of failures."""
    tally = Tally()
    seeds = [seed[:SEED_BYTES_MAX] for seed in target.seeds()]
    assert seeds
    for number in range(first, first + count):
        if told is not None:
            told(number, "")
        data = input_of(target, number, seeds)
        failure = _one(target, data, tally)
        tally.inputs += 1
        if failure:
            tally.failures.append(f"{target.name} {number}: {failure}")
            if told is not None:
                told(number, failure)
    return tally


def _one(target: Target, data: bytes, tally: Tally) -> str:
    """Give one input; what is wrong with what came of it."""

    def hang(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, hang)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            target.take(data)
        tally.taken += 1
    except SoftnetError as error:
        tally.refused += 1
        if not error.message or any(c not in "\n\t" and not c.isprintable() and not c.isspace() for c in str(error)):
            return f"a message that is none: {str(error)[:200]!r}"
    except Hang:
        return f"hangs: more than {CPU_SECONDS} s of CPU time"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:120]} {_place(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return ""


def _place(error: BaseException) -> str:
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "softnet" in frame.filename]
    frame = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"({Path(frame.filename).name}:{frame.lineno} {frame.name})"


def limit_memory() -> None:
    """From here on this process may take so much more."""
    import resource

    pages_now = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages_now * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
