# SPDX-License-Identifier: GPL-2.0-or-later
"""Object files made flat: the same functions without LLVM, and nothing but what the module knows."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from softnet.lang.native.build import binding, target_machine
from softnet.lang.native.compile import available
from softnet.lang.native.loader import Loaded, flatten, loadable

pytestmark = pytest.mark.skipif(bool(available()) or not loadable(), reason="no native engine here")

TABLES = """
@words = internal constant [4 x i64] [i64 3, i64 14, i64 15, i64 92]
@functions = internal constant [2 x ptr] [ptr @add, ptr @subtract]
define internal i64 @add(i64 %a, i64 %b) noinline { %r = add i64 %a, %b ret i64 %r }
define internal i64 @subtract(i64 %a, i64 %b) noinline { %r = sub i64 %a, %b ret i64 %r }
define i64 @chosen(i64 %which, i64 %a) {
  %at = getelementptr [2 x ptr], ptr @functions, i64 0, i64 %which
  %f = load ptr, ptr %at
  %word = getelementptr [4 x i64], ptr @words, i64 0, i64 %a
  %b = load i64, ptr %word
  %r = call i64 %f(i64 %b, i64 100)
  ret i64 %r
}
define i64 @direct(i64 %a) noinline { %r = call i64 @subtract(i64 %a, i64 1) ret i64 %r }
"""
OUTSIDE = "declare i64 @labs(i64)\ndefine i64 @f(i64 %a) { %r = call i64 @labs(i64 %a) ret i64 %r }"
WRITABLE = "@count = global i64 1\ndefine i64 @f() { %r = load i64, ptr @count store i64 2, ptr @count ret i64 %r }"


def compiled(text: str) -> bytes:
    machine = target_machine(1)
    return bytes(machine.emit_object(binding().parse_assembly(text)))


def test_tables_calls_and_addresses_work_where_the_image_is_put() -> None:
    flat = flatten(compiled(TABLES))
    assert flat is not None
    assert len(flat.absolute) == 2
    for _ in range(2):
        loaded = Loaded(flat)
        chosen = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(loaded.address("chosen"))
        assert [chosen(0, i) for i in range(4)] == [103, 114, 115, 192]
        assert [chosen(1, i) for i in range(4)] == [-97, -86, -85, -8]
        direct = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded.address("direct"))
        assert direct(43) == 42


@pytest.mark.parametrize("text", [OUTSIDE, WRITABLE], ids=["a symbol from outside", "memory that is written"])
def test_what_is_not_known_is_left_to_llvm(text: str) -> None:
    assert flatten(compiled(text)) is None


def test_what_is_no_object_file_is_not_flattened() -> None:
    assert flatten(b"\x7fELF\x01\x01" + bytes(100)) is None


START = """
import sys
from softnet.simulate.api import run

done = run("examples/rps.toml", settings=["measure.duration_ms=1", "measure.warmup_ms=0"], engine="native")
print(int("llvmlite" in sys.modules), int("softnet.lang.ir" in sys.modules), done.result.counters["delivered"])
"""


@pytest.mark.slow
def test_a_start_from_the_cache_imports_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    root = Path(__file__).parent.parent.parent
    seen = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, cwd=root)
        seen.append([int(n) for n in done.stdout.split()])
    assert seen[0][:2] == [1, 1]
    assert seen[1][:2] == [0, 0]
    assert seen[0][2] == seen[1][2] > 0
