# SPDX-License-Identifier: GPL-2.0-or-later
"""A text cut into parts is the same program; the second process serves where it can, and nobody sees where it cannot."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

from softnet.lang.native.build import BackgroundCompiler, build
from softnet.lang.native.compile import available
from softnet.lang.native.loader import Loaded, flatten, loadable
from softnet.lang.native.partition import cut

pytestmark = pytest.mark.skipif(bool(available()) or not loadable(), reason="no native engine here")

PROGRAM = """
declare i64 @llvm.smax.i64(i64, i64)
@functions = internal constant [3 x ptr] [ptr @odd, ptr @even, ptr @pointed]
define internal i64 @"odd"(i64 %n) noinline {
  %zero = icmp eq i64 %n, 0
  br i1 %zero, label %no, label %more
no:
  ret i64 0
more:
  %less = call i64 @"one_less"(i64 %n)
  %r = call i64 @"even"(i64 %less)
  ret i64 %r
}
define internal i64 @"even"(i64 %n) noinline {
  %zero = icmp eq i64 %n, 0
  br i1 %zero, label %yes, label %more
yes:
  ret i64 1
more:
  %less = call i64 @"one_less"(i64 %n)
  %r = call i64 @"odd"(i64 %less)
  ret i64 %r
}
define internal i64 @"one_less"(i64 %n) {
  %m = call i64 @llvm.smax.i64(i64 %n, i64 1)
  %r = sub i64 %m, 1
  ret i64 %r
}
define internal i64 @"pointed"(i64 %n) {
  ret i64 %n
}
define internal i64 @"nobody"(i64 %n) noinline {
  ret i64 %n
}
define i64 @ask(i64 %which, i64 %n) {
  %at = getelementptr [3 x ptr], ptr @functions, i64 0, i64 %which
  %f = load ptr, ptr %at
  %r = call i64 %f(i64 %n)
  ret i64 %r
}
"""


def test_each_function_stands_in_one_part_and_small_ones_where_they_are_used() -> None:
    first, second = cut(PROGRAM, 2)
    assert "define i64 @ask" in first
    assert "@ask" not in second
    for name in ("odd", "even", "pointed"):
        heads = [f'{word} hidden i64 @"{name}"(i64 %n)' for word in ("define", "declare")]
        assert sorted(sum(text.count(head) for text in (first, second)) for head in heads) in ([0, 1], [1, 1])
        assert sum(text.count(heads[0]) for text in (first, second)) == 1
    assert 'define internal i64 @"one_less"' in first
    assert 'define internal i64 @"one_less"' in second
    assert "@functions = hidden constant" in first
    assert "@functions" not in second
    assert "nobody" not in first + second
    assert cut(PROGRAM, 2) == [first, second]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_parts_together_are_the_program(parts: int) -> None:
    flat = flatten(*(build(text, 1) for text in cut(PROGRAM, parts)))
    assert flat is not None
    assert list(flat.exports) == ["ask"]
    loaded = Loaded(flat)
    ask = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(loaded.address("ask"))
    assert ask(2, 92) == 92
    assert [(ask(0, n), ask(1, n)) for n in range(6)] == [(n % 2, 1 - n % 2) for n in range(6)]


@pytest.fixture
def two_processors() -> None:
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor: there is no second process")


@pytest.mark.usefixtures("two_processors")
def test_the_second_process_writes_what_this_one_would() -> None:
    with BackgroundCompiler(1) as background:
        background.begin(PROGRAM)
        process = background._process
        assert process is not None
        assert background.result() == build(PROGRAM, 1)
        assert process.returncode == 0


@pytest.mark.usefixtures("two_processors")
@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python", ""])
def test_where_no_process_serves_this_one_does(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with BackgroundCompiler(1) as background:
        background.begin(PROGRAM)
        assert background.result() == build(PROGRAM, 1)


@pytest.mark.usefixtures("two_processors")
def test_a_frozen_program_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with BackgroundCompiler(1) as background:
        assert background._process is None
        background.begin(PROGRAM)
        assert background.result() == build(PROGRAM, 1)


@pytest.mark.usefixtures("two_processors")
def test_a_process_that_nobody_needs_any_more_ends() -> None:
    with pytest.raises(ValueError, match="changed my mind"), BackgroundCompiler(1) as background:
        raise ValueError("changed my mind")
    assert background._process is not None
    assert background._process.returncode is not None
