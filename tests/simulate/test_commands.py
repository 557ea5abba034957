# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet run and softnet compare as a user meets them: statuses, files that appear whole or not at all, clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mutation import mutate

from softnet import SoftnetError, check

pytestmark = pytest.mark.slow
"""Many seconds together: make test runs them, make check does not."""

ROOT = Path(__file__).parents[2]
SEED = ROOT / "examples" / "seed.toml"
SHORT = ("--set", "measure.duration_ms=3", "--set", "measure.warmup_ms=1", "--quiet")


def softnet(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "softnet", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def test_run_writes_a_whole_folder(tmp_path: Path) -> None:
    """JSON on stdout is the file's, and the folder holds result, page and traces."""
    out = tmp_path / "out"
    done = softnet("run", SEED, *SHORT, "--json", "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert sorted(p.name for p in out.iterdir()) == [
        ".softnet-files.json",
        "perfetto.pftrace.gz",
        "report.html",
        "result.json",
        "trace.softnet.gz",
    ]
    again = softnet("run", SEED, *SHORT, "--json", "--out", out)
    assert again.stdout == done.stdout


def test_compare_names_its_arms(tmp_path: Path) -> None:
    """Labels, settings and patches make arms; the folder has a trace of each."""
    out = tmp_path / "both"
    patch = ROOT / "examples" / "patches" / "kick_at_max.py"
    done = softnet("compare", SEED, *SHORT, "--seeds", "2", "--jobs", "1", "--out", out, "--json",
                   "--arm", "6.12-rt", "--arm", "mine:6.12-rt,sysctl.skb_defer_max=16",
                   "--arm", f"late:6.12-rt,patch={patch}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["arms"] == ["6.12-rt", "mine", "late"]
    assert document["results"]["mine"][0]["kernel"]["sysctl"]["skb_defer_max"] == 16
    assert document["results"]["late"][0]["kernel"]["patches"][-1].endswith("kick_at_max")
    assert (out / "perfetto-mine.pftrace.gz").is_file()


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no scenario": (("run", "missing.toml"), "missing.toml"),
    "not toml": (("run", "broken.toml"), "broken.toml:1"),
    "unknown kernel": (("run", str(SEED), "--kernel", "6.13"), "unknown kernel"),
    "threads before they were": (("run", str(SEED), "--kernel", "6.9-threads"), "no backlog threads"),
    "unknown setting": (("run", str(SEED), "--set", "sysctl.skb_defer_maxx=1"), "skb_defer_max"),
    "setting without value": (("run", str(SEED), "--set", "sysctl.skb_defer_max"), "skb_defer_max"),
    "missing patch": (("run", str(SEED), "--patch", "none.py"), "none.py"),
    "patch that is no Python": (("run", str(SEED), "--patch", "broken.toml"), "broken.toml"),
    "patch outside the subset": (("run", str(SEED), "--patch", "bad_patch.py"), "bad_patch.py:6:5"),
    "unknown function to break in": (("run", str(SEED), "--break", "process_backlogs"), "process_backlog"),
    "truncated capture": (("run", "capture.toml"), "short.pcap"),
    "unknown cost": (("run", str(SEED), "--patch", "cost.py"), "cost.py:5:10"),
    "one arm": (("compare", str(SEED), "--arm", "6.12"), "two arms"),
    "two arms of one name": (("compare", str(SEED), "--arm", "6.12", "--arm", "6.12"), "same label"),
    "two kernels in an arm": (("compare", str(SEED), "--arm", "6.12,6.1", "--arm", "6.12"), "two kernels"),
    "arm with a missing patch": (("compare", str(SEED), "--arm", "6.12", "--arm", "x:6.12,patch=no.py"), "no.py"),
    "empty part in an arm": (("compare", str(SEED), "--arm", "6.12,,", "--arm", "6.1"), "empty part"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(case: str, tmp_path: Path) -> None:
    """One clear message on stderr, status 2, no traceback, and no output folder."""
    (tmp_path / "broken.toml").write_text("= nonsense\n", encoding="utf-8")
    (tmp_path / "bad_patch.py").write_text(
        "from softnet.lang import kfunc\n\n@kfunc\ndef process_backlog(napi: napi_struct, quota: int) -> int:\n"
        '    """Mine."""\n    try:\n        return 0\n    finally:\n        pass\n',
        encoding="utf-8",
    )
    (tmp_path / "cost.py").write_text(
        'from softnet.lang import kfunc\n\n@kfunc\ndef usecs_to_jiffies(u: int) -> int:\n    work("ip_rvc")\n    return u\n',
        encoding="utf-8",
    )
    (tmp_path / "short.pcap").write_bytes((ROOT / "examples/captures/web.pcap").read_bytes()[:90])
    text = SEED.read_text(encoding="utf-8").replace("captures/web.pcap", "short.pcap")
    (tmp_path / "capture.toml").write_text(text, encoding="utf-8")
    args, expected = BAD[case]
    done = softnet(*args, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_of_the_users_is_kept(tmp_path: Path) -> None:
    """--out never replaces a folder that softnet did not write."""
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work", encoding="utf-8")
    done = softnet("run", SEED, *SHORT, "--out", out)
    assert done.returncode == 2
    assert "holds other files" in done.stderr
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_a_kernel_that_stops_says_where(tmp_path: Path) -> None:
    """BUG_ON in a user's patch ends the run with its file, line and function, status 3, in both engines."""
    patch = tmp_path / "bug.py"
    patch.write_text(
        "from softnet.lang import BUG_ON, kfunc\n\n@kfunc\ndef skb_defer_free_flush(sd: softnet_data) -> None:\n"
        '    """Always wrong."""\n    BUG_ON(sd.cpu == 0)\n',
        encoding="utf-8",
    )
    for engine in ("reference", "native"):
        done = softnet("run", SEED, *SHORT, "--patch", patch, "--engine", engine)
        assert done.returncode == 3, done.stderr
        assert "bug.py:6" in done.stderr
        assert "skb_defer_free_flush" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_debugger_stops_inside_a_kernel_function() -> None:
    """--break: pdb at the function's own line, with its arguments."""
    command = [sys.executable, "-m", "softnet", "run", str(SEED), *SHORT[:-1], "--set", "traffic.0.speed=4.0", "--break",
               "skb_attempt_defer_free"]  # fmt: skip
    done = subprocess.run(command, input="p skb\nq\n", capture_output=True, text=True, timeout=300, check=False)
    assert "skb_attempt_defer_free() on CPU" in done.stdout
    assert "def skb_attempt_defer_free" in done.stdout or "cpu = skb.alloc_cpu" in done.stdout
    assert "sk_buff at 0x" in done.stdout


WITHOUT_LLVMLITE = """
import sys
sys.modules["llvmlite"] = None
from softnet.cli import main
main()
"""


@pytest.mark.parametrize("command", [("run",), ("compare", "--arm", "6.9", "--arm", "6.10", "--seeds", "1", "--jobs", "1")])
def test_without_llvmlite_the_reference_engine_serves_and_says_so(command: tuple[str, ...]) -> None:
    settings = ["--set=measure.duration_ms=1", "--set=measure.warmup_ms=0", "--json"]
    args = [sys.executable, "-c", WITHOUT_LLVMLITE, command[0], str(ROOT / "examples/rps.toml"), *command[1:], *settings]
    done = subprocess.run(args, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("softnet: the reference engine serves: llvmlite is not installed")
    document = json.loads(done.stdout)
    results = document["results"]["6.9"] if command[0] == "compare" else [document]
    assert results[0]["engine"] == "reference"


def test_check_says_what_would_run_and_runs_nothing() -> None:
    patch = ROOT / "examples/patches/kick_at_max.py"
    done = softnet("check", SEED, "--kernel", "6.12-rt", "--patch", patch, "--set", "nic.0.napi_defer_hard_irqs=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed: sound. 6.12 rt, 4 CPUs")
    assert "kick_at_max" in done.stdout
    assert "7,000 of its 7,000 frames arrive" in done.stdout
    assert "the clock went backwards 17 times" in done.stdout
    assert "not as written: nic." in done.stdout
    assert json.loads(softnet("check", SEED, "--json").stdout)["cpus"] == 4
    bad = softnet("check", SEED, "--set", "machine.cpus=0")
    assert (bad.returncode, bad.stdout) == (2, "")
    checked = check(SEED, kernel="6.12-rt", patches=[str(patch)], settings=["nic.0.napi_defer_hard_irqs=2"])
    assert f"{checked}\n" == done.stdout
    with pytest.raises(SoftnetError, match=r"machine\.cpus"):
        check(SEED, settings=["machine.cpus=0"])


def test_a_run_says_what_of_a_capture_is_not_as_in_the_file() -> None:
    document = json.loads(softnet("run", SEED, "--quiet", "--json").stdout)
    assert any("the clock went backwards 17 times" in note for note in document["notes"])


def test_strict_checks_stop_at_the_first_that_does_not_hold(tmp_path: Path) -> None:
    """I3: a backlog with packets and nobody told; without --strict the run goes on and warns."""
    patch = mutate(tmp_path, "6.12", "enqueue_to_backlog", "napi_schedule_rps(sd)", "barrier()")
    args = ("run", ROOT / "examples/rps.toml", "--kernel", "6.12", *SHORT, "--patch", patch, "--checks")
    assert softnet(*args).returncode == 0
    done = softnet(*args, "--strict")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "softnet: an invariant does not hold: " in done.stderr
    assert "I3" in done.stderr


INTERRUPTED = """
import signal, sys
from softnet.simulate.api import resolve
from softnet.simulate.simulation import Simulation

signal.signal(signal.SIGVTALRM, lambda *_: signal.raise_signal(signal.SIGINT))
settings = ["measure.duration_ms=600000", "measure.warmup_ms=0", "measure.series_interval_us=600000000"]
simulation = Simulation(resolve("examples/rps.toml", "", settings), engine=sys.argv[1])
signal.setitimer(signal.ITIMER_VIRTUAL, 2)  # of CPU time: a slow machine is still making the image after a few tenths
done = simulation.finish()
result = done.result
print(result.partial, sum(result.events["irq_handler_entry"]) > 0, result.conservation.balance)
print(result.duration_ns, *(sum(row.values()) for row in result.cpu_time_ns))
"""


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_an_interrupt_ends_a_run_of_ten_minutes_with_what_there_is(engine: str) -> None:
    """A real SIGINT in the middle of a run that stops nowhere else: for samples, for changes or for its end."""
    command = [sys.executable, "-c", INTERRUPTED, engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.split() == ["True", "True", "0"]
    reached_ns, *cpu_time_ns = map(int, second.split())
    assert 0 < reached_ns < 600_000_000_000
    assert all(0.9 * reached_ns < spent < 1.1 * reached_ns for spent in cpu_time_ns), "time is of the part that ran"
