# SPDX-License-Identifier: GPL-2.0-or-later
"""Which combinations a design tries."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softnet.errors import SoftnetError
from softnet.sweep.design import points, size
from softnet.sweep.factors import Factor, Range, factor_of_text, factor_of_value, level_value, shown

_LEVELS = st.lists(st.integers(0, 99).map(str), min_size=1, max_size=4, unique=True)


def _named(factors: list[Factor], found: list[tuple[str, ...]]) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(zip((f.key for f in factors), point, strict=True)) for point in found}


@given(st.lists(_LEVELS, min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_a_grid_is_all_combinations_whatever_the_order_of_factors_and_levels(levels: list[list[str]], chance: object) -> None:
    factors = [Factor(f"k{i}", tuple(texts), None, "") for i, texts in enumerate(levels)]
    found = points(factors, "grid", None)
    assert len(found) == len(set(found)) == math.prod(map(len, levels)) == size(factors, "grid", None)
    assert found[0] == tuple(texts[0] for texts in levels)
    turned = [Factor(f.key, f.levels[::-1], None, "") for f in factors[::-1]]
    assert _named(turned, points(turned, "grid", None)) == _named(factors, found)


@pytest.mark.slow
def test_a_latin_hypercube_has_one_point_in_each_stretch_of_each_range() -> None:
    factors = [factor_of_text("a=0.0..1.0"), factor_of_text("b=1.0..1024.0:log")]
    found = points(factors, "lhs", 16)
    assert (len(found), found[0]) == (17, ("0.5", "32.0"))
    parts = [[float(x) for x, _ in found[1:]], [math.log2(float(y)) / 10 for _, y in found[1:]]]
    for column in parts:
        assert sorted(int(value * 16 - 1e-9) for value in column) == list(range(16))


def test_a_sobol_sample_has_each_half_of_each_factor_equally_often() -> None:
    factors = [factor_of_text("a=x,y"), factor_of_text("b=0.0..1.0"), factor_of_text("c=p,q,r,s")]
    found = points(factors, "sobol", 64)[1:]
    cells = [(a, float(b) < 0.5, c in "pq") for a, b, c in found]
    assert {cells.count(cell) for cell in itertools.product("xy", (True, False), (True, False))} == {8}


def test_a_sample_is_the_same_every_time_and_holds_each_combination_once() -> None:
    factors = [factor_of_text("a=1..3"), factor_of_text("b=x,y")]
    found = points(factors, "lhs", 40)
    assert found == points(factors, "lhs", 40)
    assert len(found) == len(set(found)) == 6


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_range_is_never_left(low: int, more: int, whole: bool, log: bool, part: float) -> None:
    value = level_value(Range(float(low), float(low + more), whole, log).at(part))
    assert low * (1 - 1e-5) <= value <= (low + more) * (1 + 1e-5)
    assert isinstance(value, int) == whole


def test_levels_are_what_set_takes() -> None:
    factor = factor_of_text('nic.rps_cpus=[],[1, 2],"fe",6-7')
    assert factor.levels == ("[]", "[1, 2]", '"fe"', "6-7")
    assert [shown(level) for level in factor.levels] == ["[]", "[1, 2]", "fe", "6-7"]
    assert factor_of_value("k", [[1, "a"], True, 2.5, "x"], "").levels == ('[1,"a"]', "true", "2.5", '"x"')
    assert factor.column == "nic_rps_cpus"


@pytest.mark.parametrize("text", ["a", "=1,2", "a=", "a=1,,2", "a=1,1", "a=5..5", "a=0..9:log", "kernel=1..2"])
def test_what_is_no_factor_is_refused(text: str) -> None:
    with pytest.raises(SoftnetError):
        factor_of_text(text)
