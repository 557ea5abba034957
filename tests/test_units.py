# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet.errors import ScenarioError, SoftnetError
from softnet.units import draw, format_ns, mix, mix64_array, mix_array, parse_duration_ns, whole_number


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0ns", 0),
        ("500ns", 500),
        ("250us", 250_000),
        ("250 µs", 250_000),
        ("1.5ms", 1_500_000),
        ("2s", 2_000_000_000),
        ("0.000000001s", 1),
        (" 0.1us ", 100),
    ],
)
def test_a_duration_is_read_exactly(text: str, duration_ns: int) -> None:
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "ms", "-1ms", "1e3us", ".5us", "1.us", "1 minute", "٣ms", "1.5ns", "0.0001us"])
def test_what_is_no_duration_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(SoftnetError) as caught:
        parse_duration_ns(text, where="a.toml: measure.duration")
    assert str(caught.value).startswith("a.toml: measure.duration: ")
    assert repr(text) in caught.value.found


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (1_234, "1.23 us"),
        (34_567, "34.57 us"),
        (99_995, "100 us"),
        (345_678, "345.7 us"),
        (999_949, "999.9 us"),
        (999_950, "1 ms"),
        (999_999, "1 ms"),
        (1_500_000, "1.5 ms"),
        (999_999_999, "1 s"),
        (12_000_000_000, "12 s"),
        (123_456_000_000_000, "123456 s"),
        (-1_500, "-1.5 us"),
    ],
)
def test_a_duration_is_written_with_four_digits(duration_ns: int, text: str) -> None:
    assert format_ns(duration_ns) == text


@given(st.integers(min_value=0, max_value=10**15), st.integers(min_value=0, max_value=10**9))
def test_a_longer_duration_is_never_written_as_a_shorter_one(duration_ns: int, more_ns: int) -> None:
    shorter = parse_duration_ns(format_ns(duration_ns))
    assert shorter <= parse_duration_ns(format_ns(duration_ns + more_ns))
    # Four digits: at most half a unit of the fourth, relative to a leading digit of at least 1.
    assert abs(shorter - duration_ns) * 1000 <= 5 * duration_ns


SPLITMIX64 = {
    # Of the generator's reference implementation, begun with 0 and with 1234567.
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
    1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821],
}


@pytest.mark.parametrize("begin", SPLITMIX64)
def test_a_stream_is_splitmix64(begin: int) -> None:
    expected = [value >> 32 for value in SPLITMIX64[begin]]
    assert [draw(begin, number) for number in range(1, len(expected) + 1)] == expected
    assert draw(begin - (1 << 64), 1 + (1 << 64)) == expected[0]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**62))
def test_the_upper_half_of_a_word_is_the_draw(seed: int, stream: int, counter: int) -> None:
    word = int(mix64_array(seed, stream, np.array(counter, dtype=np.int64)))
    assert word >> 32 == mix(seed, stream, counter)


WHOLE = {
    "0": 0, "007": 7, "9" * 18: 10**18 - 1, "-5": None, "": None, "+5": None, "5 ": None, " 5": None, "1_0": None, "²": None,
    "٣": None, "9" * 19: None, "9" * 5000: None, "--5": None, "0x10": None, "1e3": None, "5\n": None,
}  # fmt: skip


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_number_is_ascii_digits(text: str) -> None:
    assert whole_number(text) == WHOLE[text]
    assert whole_number("-" + text, negative=True) == (None if WHOLE[text] is None else -WHOLE[text])


def test_the_hash_keeps_its_numbers() -> None:
    # Results that people have published depend on these: a change of any of them is a change of every result.
    assert [mix(1, 2, counter) for counter in range(4)] == GOLDEN_DRAWS


@given(*[st.integers(min_value=0, max_value=2**64 - 1)] * 2, st.lists(st.integers(0, 2**62), max_size=20))
def test_arrays_of_draws_are_the_draws(seed: int, stream: int, counters: list[int]) -> None:
    expected = [mix(seed, stream, counter) for counter in counters]
    assert mix_array(seed, stream, np.array(counters, dtype=np.int64)).tolist() == expected


def test_each_argument_matters_and_no_bit_is_stuck() -> None:
    draws = [mix(7, 0, counter) for counter in range(4096)]
    assert len(set(draws)) == len(draws)
    for bit in range(32):
        ones = sum(draw >> bit & 1 for draw in draws)
        # Six standard deviations of 4096 fair coins are 192.
        assert abs(ones - 2048) < 192, f"bit {bit} is one in {ones} of 4096 draws"
    for other in ([mix(8, 0, c) for c in range(4096)], [mix(7, 1, c) for c in range(4096)], draws[1:]):
        assert sum(a == b for a, b in zip(draws, other, strict=False)) <= 1
    assert mix(1 << 32, 0, 0) != mix(0, 0, 0) != mix(0, 1 << 32, 0) != mix(0, 0, 1 << 32)


def test_an_error_is_one_message_and_survives_a_pickle() -> None:
    error = ScenarioError(
        "no such CPU",
        where="a.toml:4: nic.irq_cpus[0]",
        found="9",
        expected="0 to 3",
        hint="raise\nmachine.cpus",
    )
    text = "a.toml:4: nic.irq_cpus[0]: no such CPU\n  found:    9\n  expected: 0 to 3\n  hint:     raise\n            machine.cpus"
    assert str(error) == text
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ScenarioError
    assert str(again) == text
    assert str(SoftnetError("just this")) == "just this"


GOLDEN_DRAWS = [1746969614, 1041375302, 4272658949, 2725776440]
