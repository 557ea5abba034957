# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers, and signals: whatever ends a command, nothing of it goes on or stays (bench/signals.py: at twenty moments each)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.leftovers import environment, half_results, marked, temporary
from tests.long import sample

from softnet.errors import ScenarioError, SoftnetError
from softnet.lang.native.compile import available
from softnet.processes import Workers, heard, unheard
from softnet.scenario.load import parse_kernel

ROOT = Path(__file__).resolve().parents[1]


def test_answers_come_in_the_order_of_the_jobs() -> None:
    with Workers(2) as workers:
        assert list(workers.results(pow, [(2, n) for n in range(7)])) == [1, 2, 4, 8, 16, 32, 64]
        assert list(workers.results(pow, [])) == []
        assert os.getpid() not in list(workers.results(os.getpid, [(), ()]))


def test_what_a_job_raises_is_raised() -> None:
    with Workers(1) as workers, pytest.raises(ZeroDivisionError):
        list(workers.results(divmod, [(1, 0)]))
    with Workers(1) as workers, pytest.raises(ScenarioError, match="unknown kernel"):
        list(workers.results(parse_kernel, [("7.0",)]))


def test_an_answer_that_cannot_be_sent_is_an_error() -> None:
    with Workers(1) as workers, pytest.raises(SoftnetError, match="cannot be sent"):
        list(workers.results(threading.Lock, [()]))


def test_a_worker_that_dies_is_an_error_that_says_how() -> None:
    """It was a traceback with status 1, which means "violated"."""
    with Workers(2) as workers, pytest.raises(SoftnetError) as caught:
        list(workers.results(signal.raise_signal, [(signal.SIGKILL,)]))
    assert caught.value.found == "killed by SIGKILL"
    with Workers(1) as workers, pytest.raises(SoftnetError) as caught:
        list(workers.results(os._exit, [(5,)]))
    assert caught.value.found == "exit status 5"


def test_jobs_of_a_group_go_to_one_worker_one_after_the_other() -> None:
    with Workers(2) as workers:
        found = dict(workers.as_they_come(os.getpid, iter([[()] * 4, [()] * 3, [], [()] * 2])))
    assert sorted(found) == list(range(9))
    groups = [{found[n] for n in numbers} for numbers in (range(4), range(4, 7), range(7, 9))]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 2


def test_a_job_whose_worker_dies_is_done_once_more_and_then_told_of(tmp_path: Path) -> None:
    dies = "import os, pathlib\npath = pathlib.Path({!r})\nif {} or not path.exists():\n path.touch()\n os.kill(os.getpid(), 9)"
    once, always = (dies.format(str(tmp_path / name), name == "b") for name in "ab")
    with Workers(1) as workers:
        found = dict(workers.as_they_come(exec, iter([[("0",), (once,), ("1",)], [(always,), ("2",)]])))
    assert {number: value for number, value in found.items() if number != 3} == {0: None, 1: None, 2: None, 4: None}
    assert isinstance(found[3], SoftnetError)
    assert found[3].found == "killed by SIGKILL"


def test_closing_ends_what_is_under_way() -> None:
    workers = Workers(2)
    children = [worker.process for worker in workers._idle]
    for number in range(2):
        workers._give(signal.pause, number, ())
    workers.close()
    assert [child.returncode for child in children] == [-signal.SIGKILL] * 2


def test_a_function_in_a_thread_gives_and_raises_as_if_called() -> None:
    assert heard(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        heard(lambda: 1 // 0)
    assert not unheard()


def test_ctrl_c_is_heard_while_a_function_is_long() -> None:
    """As LLVM is, which for seconds hears nothing."""
    go_on = threading.Event()

    def long() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        go_on.wait()

    with pytest.raises(KeyboardInterrupt):
        heard(long)
    assert unheard()
    go_on.set()
    while unheard():
        os.sched_yield()


SCRIPT = """
import softnet
short = ["measure.duration_ms=2", "measure.warmup_ms=0"]
done = softnet.compare({scenario!r}, ["6.9", "6.10"], seeds=[1, 2], processes=2, settings=short)
print(len(done.comparison.results))
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["a file", "standard input"])
def test_a_script_without_a_guarded_main_part_may_compare(where: str, tmp_path: Path) -> None:
    """Its workers are not copies of it: it ran anew in each of them, which started workers."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(scenario=str(ROOT / "examples" / "loopback.toml")), encoding="utf-8")
    with script.open(encoding="utf-8") as text:
        name = str(script) if where == "a file" else "-"
        done = subprocess.run([sys.executable, name], stdin=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


SHORT = ("--set", "measure.warmup_ms=0", "--quiet")
COMMANDS = {
    "run": ("run", "examples/loopback.toml", "--set", "measure.duration_ms=5000", *SHORT, "--out", "OUT"),
    "compare": ("compare", "examples/loopback.toml", "--arm", "6.9", "--arm", "6.10", "--seeds", "4", "--jobs", "2",
                "--set", "measure.duration_ms=5000", *SHORT, "--out", "OUT"),
    "verify": ("verify", "--kernel", "6.12-rt", "--jobs", "2", "--quiet", "--max-seconds", "600", "--no-reduce"),
}  # fmt: skip
PLACES = {
    # The function of softnet's during which the signal comes, and whether the cache is empty.
    "run": ("simulate/native.py", "run", False),
    "cold": ("lang/native/build.py", "_build", True),
    "compare": ("processes.py", "_take", False),
    "verify": ("processes.py", "_take", False),
}
ENDED = [(what, number) for what in PLACES for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)]
PROGRAM = """
import os, signal, sys, threading
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test run that nohup began would ignore it, and so would softnet
left = {nth}

def come(frame, event, argument):
    global left
    code = frame.f_code
    if event == "call" and code.co_name == {name!r} and code.co_filename.endswith({file!r}):
        left -= 1
        if left == 0:
            threading.setprofile(None)
            sys.setprofile(None)
            os.kill(os.getpid(), {number})

sys.setprofile(come)
threading.setprofile(come)
from softnet.cli import main
main({words!r})
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason="no native engine here")
@pytest.mark.parametrize(("what", "number"), sample(ENDED, [ENDED[at] for at in (0, 2, 3, 6, 9, 10, 12, 14)]))
def test_a_signal_leaves_no_process_no_temporary_file_and_no_half(what: str, number: signal.Signals, tmp_path: Path) -> None:
    """Workers of compare and verify went on, or began what was queued; folders stayed."""
    file, name, cold = PLACES[what]
    out = tmp_path / "out"
    words = [str(out) if word == "OUT" else word for word in COMMANDS["run" if what == "cold" else what]]
    settings = environment(f"{tmp_path}-{what}", tmp_path)
    if cold:
        settings["SOFTNET_CACHE"] = str(tmp_path / "cache")
    program = PROGRAM.format(nth=2 if what == "run" else 1, name=name, file=file, number=int(number), words=words)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if number is signal.SIGINT:
        # A search that is interrupted has a verdict all the same: inconclusive.
        assert done.returncode == (4 if what == "verify" else 130), done.stderr
    else:
        assert done.returncode == -number, done.stderr
    assert "Traceback" not in done.stderr
    while left := [*marked("SOFTNET_MARK", settings["SOFTNET_MARK"]), *temporary(tmp_path)]:
        os.sched_yield()
    assert left == []
    assert half_results(out) == []
    assert number is signal.SIGINT or not out.exists()
