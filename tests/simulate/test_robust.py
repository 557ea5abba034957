# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user's patch may do at its worst, and when Ctrl-C may come: nothing hangs, and nothing is left half-done."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.linux.support import drain_scenario, loopback_scenario, patch_file
from tests.simulate.engines import assert_equal, outcome

from softnet.lang.native.compile import available
from softnet.lang.python.stop import KernelStop
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate.output import digest_of
from softnet.simulate.simulation import Simulation

pytestmark = [
    pytest.mark.skipif(bool(available()), reason="no native engine here"),
    pytest.mark.slow,  # They compile kernels, and turn loops to their bound.
]

HERE = Path(__file__).parent
ENDLESS = HERE / "endless_patch.py"
MISTAKES = HERE / "mistakes_patch.py"
ENGINES = ("native", "reference")


def scenario(budget: int) -> Scenario:
    """A few packets; the patches choose by netdev_budget what goes wrong at the first."""
    raw = {
        "machine": {"cpus": 2},
        "kernel": {"sysctl": {"netdev_budget": budget}},
        "nic": [{"name": "eth0", "irq_cpus": [0]}],
        "traffic": [{"kind": "constant", "rate_pps": 100_000, "flows": 1, "proto": "udp", "dst_ports": [53]}],
        "application": [{"name": "dns", "kind": "udp", "cpu": 1, "dst_ports": [53]}],
        "measure": {"duration_ms": 1, "warmup_ms": 0},
    }
    return scenario_from_dict(apply_kernel(raw, "6.12"))


def line_of(patch: Path, text: str) -> int:
    found = [number for number, line in enumerate(patch.read_text().splitlines(), 1) if text in line]
    assert len(found) == 1
    return found[0]


def stop_of(engine: str, budget: int, patch: Path, *, checks: bool = False) -> str:
    simulation = Simulation(scenario(budget), engine=engine, patches=[str(patch)], checks=checks)
    with pytest.raises(KernelStop) as caught:
        simulation.finish()
    return str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("budget", "place", "function"),
    [
        (2001, "with a lock held", "ip_local_deliver"),
        (2002, "with interrupts off", "ip_local_deliver"),
        (2003, "with preemption off", "ip_local_deliver"),
        (2004, "# in a machine function", "of_the_machine"),
        (2005, "counted, in a machine function", "counted_of_the_machine"),
        (2006, "# counted\n", "ip_local_deliver"),
        (2007, "in a hard interrupt", "softnet_msix_clean_rings"),
    ],
)
def test_a_loop_without_end_is_stopped_wherever_it_turns(engine, budget, place, function, monkeypatch):
    """At a lower bound, so that Python turns for a moment; the real one is asked at boot."""
    for where in ("simulate.native.FUEL", "lang.python.link.TURNS_MAX", "lang.python.runtime.TURNS_MAX"):
        monkeypatch.setattr(f"softnet.{where}", 1 << 16)
    lines = ENDLESS.read_text().splitlines(keepends=True)
    (line,) = [number for number, text in enumerate(lines, 1) if place in text]
    expected = f"{ENDLESS}:{line}: in {function}(): a loop turned 65536 times without letting time pass"
    assert stop_of(engine, budget, ENDLESS) == expected


BOOT = '''@kfunc
def init_gro_hash(napi: napi_struct) -> None:
    """Boot calls it for every backlog, before there is an engine."""
    n = 1
    while n != 0:
        n += 2
'''


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loop_without_end_at_boot_is_stopped(engine, tmp_path):
    patch = patch_file(tmp_path, "boot", BOOT)
    with pytest.raises(KernelStop) as caught:
        Simulation(loopback_scenario("6.12"), engine=engine, patches=[patch])
    line = Path(patch).read_text().splitlines().index("    while n != 0:") + 1
    assert str(caught.value).startswith(f"{patch}:{line}: in init_gro_hash(): a loop turned 4194304 times")


def test_a_mistake_at_boot_is_no_traceback(tmp_path):
    patch = patch_file(tmp_path, "boot", BOOT.replace("while n != 0", "if table(softnet_data, 9).cpu != 0"))
    done = command("run", "examples/loopback.toml", "--patch", patch, "--quiet")
    assert done.returncode == 3
    assert done.stderr.startswith("softnet: the kernel stopped: index 9 is outside 0..")
    assert f"where:    {patch}:" in done.stderr
    assert "Traceback" not in done.stderr


CHECKED = (1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)


@pytest.mark.parametrize("budget", CHECKED)
def test_a_mistake_stops_a_checked_run_as_it_stops_any(budget):
    """Out of range, NULL, shift and overflow; the observers around the function make no difference."""
    plain = stop_of("native", budget, MISTAKES)
    assert stop_of("native", budget, MISTAKES, checks=True) == plain
    if budget in (1002, 1003, 1008, 1010):
        assert stop_of("reference", budget, MISTAKES, checks=True) == plain.replace("mistakes.", "")


UNLOCKED = '''@kfunc
def skb_attempt_defer_free(skb: sk_buff) -> None:
    """Count without the lock."""
    per_cpu(softnet_data, skb.alloc_cpu).defer_count += 1
    __kfree_skb(skb)
'''


def test_a_guarded_field_without_its_lock_is_named_in_both_engines(tmp_path):
    patch = patch_file(tmp_path, "unlocked", UNLOCKED)
    stops = []
    for engine in ENGINES:
        with pytest.raises(KernelStop) as caught:
            Simulation(drain_scenario("6.12", packets=20), engine=engine, patches=[patch], checks=True).finish()
        stops.append(str(caught.value))
    line = next(n for n, text in enumerate(Path(patch).read_text().splitlines(), 1) if "defer_count += 1" in text)
    told = "softnet_data.defer_count touched without defer_lock"
    assert stops == [f"{patch}:{line}: in skb_attempt_defer_free(): {told}"] * 2


NAMES = '''class crate(Struct):
    """Fields that are called as the engines' own words are."""

    a: int = private(init=3)
    n: int = shared(line=1, init=5)
    back: int = array(4)
    S: crate = private()
    lim: int = shared(line=2)


class net_hotdata(Struct, extends=True):
    """There is always one."""

    crate: crate = embed()


@kfunc
def ip_local_deliver(skb: sk_buff) -> int:
    """Every way to reach such a field: plainly, marked, as an element, through a reference."""
    c = table(net_hotdata, 0).crate
    c.a += 1
    WRITE_ONCE(c.n, READ_ONCE(c.a) + READ_ONCE(c.n))
    atomic_inc(c.a)
    c.S = c
    c.S.a = cmpxchg(c.S.a, 5, 9) + 1
    c.back[c.a % 4] = c.n
    atomic_inc(c.back[1])
    set_bit(2, c.lim)
    BUG_ON(container_of(c, net_hotdata, "crate") != table(net_hotdata, 0))
    BUG_ON(c.a < 5 or c.n < 9 or c.lim != 4)
    return 0
'''


def test_a_field_may_be_called_as_the_engine_calls_its_own(tmp_path):
    """``a``: the reference engine kept an object's address under that name, and took the field for it."""
    patch = patch_file(tmp_path, "names", NAMES)
    Path(patch).write_text(Path(patch).read_text().replace("import kfunc", "import Struct, array, embed, kfunc, private, shared"))
    native, reference = (outcome(scenario(300), engine, patches=[patch]) for engine in ENGINES)
    assert native.stop == ""
    assert_equal(native, reference)


def command(*args: str, program: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """softnet in a process of its own, from the project's folder; ``program`` runs before it."""
    start = f"{program}\nfrom softnet.cli import main\nmain({list(args)!r})"
    return subprocess.run(
        [sys.executable, "-c", start], capture_output=True, text=True, cwd=cwd or HERE.parents[1], timeout=300, check=False
    )


SHORT = ("--set", "measure.duration_ms=2", "--set", "measure.warmup_ms=0", "--quiet", "--json")

INTERRUPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
left = {nth}

def interrupt(frame, event, argument):
    global left
    if event == "call" and frame.f_code.co_name == {name!r} and frame.f_code.co_filename.endswith({file!r}):
        left -= 1
        if left == 0:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

sys.setprofile(interrupt)
"""
"""A real SIGINT at a place that is the same every time: when a function of softnet's begins."""


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("lang/check/subset.py", "typed_program"),
        ("lang/lowering/lower.py", "lower_program"),
        ("lang/program/cache.py", "store"),
        ("image/boot.py", "boot"),
        ("report/html.py", "write_html"),
    ],
)
def test_ctrl_c_leaves_nothing_half_done(file, name, tmp_path, monkeypatch):
    """While checking, compiling, filling the cache, booting, writing: exit status 130, no folder, and the next run is whole."""
    if file.startswith("lang/"):
        monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    args = ("run", "examples/loopback.toml", *SHORT, "--out", str(out))
    done = command(*args, program=INTERRUPT.format(file=file, name=name, nth=1))
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (130, "softnet: interrupted")
    # What was simulated is printed before it is written.
    assert bool(done.stdout) == (name == "write_html")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []
    if name in ("store", "write_html"):
        again = command(*args)
        assert again.returncode == 0, again.stderr
        assert (out / "result.json").read_text(encoding="utf-8") == again.stdout
        assert done.stdout in ("", again.stdout)


def test_who_stops_listening_gets_the_files_all_the_same(tmp_path):
    out = tmp_path / "out"
    whole = command("run", "examples/loopback.toml", *SHORT, "--out", str(out))
    words = shlex.join([sys.executable, "-m", "softnet", "run", "examples/loopback.toml", *SHORT, "--out", str(tmp_path / "again")])
    subprocess.run(["sh", "-c", f"{words} | true"], cwd=HERE.parents[1], capture_output=True, check=False)
    for name in ("result.json", "report.html"):
        assert (tmp_path / "again" / name).exists()
    assert (tmp_path / "again" / "result.json").read_text(encoding="utf-8") == whole.stdout


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A folder with the result of seed 1, what that run printed, and what a run with seed 2 prints."""
    out = tmp_path_factory.mktemp("two") / "out"
    args = ("run", "examples/loopback.toml", *SHORT)
    first = command(*args, "--out", str(out), "--seed", "1")
    assert first.returncode == 0, first.stderr
    return out, first.stdout, command(*args, "--seed", "2").stdout


@pytest.mark.parametrize(
    ("file", "name", "nth", "new"),
    [
        ("output.py", "_commit", 1, False),
        ("pathlib.py", "write_text", 2, False),
        ("pathlib.py", "rename", 1, False),
        ("output.py", "_place", 1, True),
        ("pathlib.py", "replace", 1, True),
        ("pathlib.py", "replace", 3, True),
        ("output.py", "_finish", 1, True),
    ],
)
def test_ctrl_c_between_an_old_result_and_the_new_leaves_one_whole(file, name, nth, new, tmp_path, two_runs):
    """Before the new one is committed, the old; from then on, the new, whoever has to put it in its place."""
    before, first, second = two_runs
    out = tmp_path / "out"
    shutil.copytree(before, out)
    args = ("run", "examples/loopback.toml", *SHORT, "--out", str(out))
    done = command(*args, "--seed", "2", program=INTERRUPT.format(file=file, name=name, nth=nth))
    assert done.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    wanted = [".softnet-files.json", "perfetto.pftrace.gz", "report.html", "result.json", "trace.softnet.gz"]
    assert sorted(path.name for path in out.iterdir()) == wanted
    assert (out / "result.json").read_text(encoding="utf-8") == (second if new else first)
    listed = json.loads((out / ".softnet-files.json").read_text(encoding="utf-8"))["files"]
    assert listed == {path: digest_of(out / path) for path in listed}


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_ctrl_c_within_a_piece_of_the_trace_comes_after_it(engine, tmp_path):
    """A piece that is written by half is a file that no gzip reads, or one that lacks records which it counts."""
    out = tmp_path / "out"
    args = ("run", "examples/loopback.toml", "--set", "measure.duration_ms=12", "--set", "measure.warmup_ms=0", "--quiet")
    done = command(*args, "--engine", engine, "--out", str(out), program=INTERRUPT.format(file="gzip.py", name="write", nth=3))
    assert done.returncode == 130, done.stderr
    with gzip.open(out / "trace.softnet.gz", "rt", encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    last = json.loads(lines[-1])
    assert last["partial"]
    assert last["records"] == len(lines) - 2 > 0


PARTIAL = INTERRUPT.format(file="simulation.py", name="advance", nth=2)


def test_a_partial_result_replaces_no_whole_one(tmp_path):
    """It is printed, and says why it is not written; where there is none, or another partial one, it is."""
    out = tmp_path / "out"
    args = ("run", "examples/loopback.toml", *SHORT, "--out", str(out))
    for attempt in range(2):
        done = command(*args, program=PARTIAL)
        assert (done.returncode, json.loads(done.stdout)["partial"]) == (130, True), attempt
        assert (out / "result.json").read_text(encoding="utf-8") == done.stdout
    first = command(*args)
    assert first.returncode == 0, first.stderr
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    done = command(*args, program=PARTIAL)
    assert (done.returncode, json.loads(done.stdout)["partial"]) == (130, True)
    assert "holds a complete result, which stays" in done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
