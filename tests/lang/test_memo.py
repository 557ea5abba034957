# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from a stack of modules' text: known from disk, and known anew when the text changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from softnet.lang.program import cache
from softnet.lang.program.memo import Derived, derived
from softnet.linux.releases import load_modules

PATCH = """# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang import kfunc

LIMIT = {limit}


@kfunc
def usecs_to_jiffies(u: int) -> int:
    return u // LIMIT
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    return tmp_path / "native"


def key_of(patch: Path) -> str:
    return derived(load_modules("6.12", "plain", [patch])).key


def test_a_changed_text_is_another_stack(tmp_path: Path) -> None:
    patch = tmp_path / "change.py"
    patch.write_text(PATCH.format(limit=1000))
    first = key_of(patch)
    assert key_of(patch) == first
    patch.write_text(PATCH.format(limit=1001))
    assert key_of(patch) != first


def test_results_are_computed_once_and_come_back_from_disk() -> None:
    calls: list[int] = []

    def make() -> list[str]:
        calls.append(1)
        return ["a", "b"]

    first = Derived("k" * 64)
    assert first.get("names", make) == first.get("names", make) == ["a", "b"]
    first.save()
    again = Derived("k" * 64)
    assert again.get("names", make) == ["a", "b"]
    assert len(calls) == 1


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_damaged_file_is_computed_anew(folder: Path, keep: int) -> None:
    first = Derived("k" * 64)
    first.get("names", lambda: ["a"] * 100)
    first.save()
    path = folder / ("k" * 64 + cache.DERIVED)
    path.write_bytes(path.read_bytes()[:keep])
    assert Derived("k" * 64).get("names", lambda: ["anew"]) == ["anew"]


START = """
import sys
from softnet.lang.program.program import parse_file
from softnet.simulate.simulation import Simulation
from softnet.simulate.api import resolve

done = Simulation(resolve("examples/rps.toml", "", ["measure.duration_ms=1", "measure.warmup_ms=0"]), engine="reference").finish()
print(parse_file.cache_info().misses, sum(done.result.counters.values()))
"""


@pytest.mark.slow
def test_a_second_start_parses_nothing() -> None:
    root = Path(__file__).parent.parent.parent
    seen = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, cwd=root)
        seen.append([int(n) for n in done.stdout.split()])
    (parsed, counted), (parsed_again, counted_again) = seen
    assert parsed > 50
    assert parsed_again == 0
    assert counted_again == counted > 0
