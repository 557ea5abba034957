# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host watch on machines whose files change between readings; its JSON, its text and what it gives to Prometheus."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.host.machines import Card, Machine
from tests.report.golden import held_to_golden
from tests.test_terminal_escapes import EVIL, harmless

from softnet.cli import run_cli
from softnet.errors import HostError
from softnet.host.tree import Tree
from softnet.host.watch import COUNTERS, PROTOCOLS, CpuSample, Watch, WatchSample, samples, step
from softnet.report.watch import PROMETHEUS, View, compact, plain, prometheus_text

ROOT = Path(__file__).resolve().parents[2]


def ipis(online: list[int], call: dict[int, int], reschedule: dict[int, int], labels: tuple[str, str] = ("CAL", "RES")) -> str:
    """/proc/interrupts with rows of IPIs, and a card's interrupt that is called like one."""
    lines = ["           " + "".join(f"{f'CPU{cpu}':>11}" for cpu in online)]
    rows = ((" 40", {}, "PCI-MSI-0000:01:00.0 0-edge Function call interrupts"), (labels[0], call, "Function call interrupts"),
            (labels[1], reschedule, "Rescheduling interrupts"))  # fmt: skip
    for label, counts, rest in rows:
        lines.append(f"{label:>4}:" + "".join(f"{counts.get(cpu, 7):>11}" for cpu in online) + "   " + rest)
    return "\n".join(lines) + "\nERR:          0\n"


def scheduled(pid: int, comm: str, cpu_ns: int, runs: int, wakeups: int) -> dict[str, str]:
    """schedstat and status of a thread: fs/proc/base.c, fs/proc/array.c."""
    return {
        f"proc/{pid}/schedstat": f"{cpu_ns} 123 {runs}\n",
        f"proc/{pid}/status": f"Name:\t{comm}\nCpus_allowed_list:\t0\nvoluntary_ctxt_switches:\t{wakeups}\n"
        "nonvoluntary_ctxt_switches:\t5\n",
    }


class Paths(Tree):
    """A tree that keeps which files are read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[str] = []

    def data(self, path: str, *, wanted: bool = False) -> bytes | None:
        self.read.append(path)
        return super().data(path, wanted=wanted)


def watched(root: Path, machines: Sequence[Machine], *, interval: float = 2.0, tree: Tree | None = None) -> list[WatchSample]:
    """The samples of a machine that is another one each time that the watch sleeps; its clock is the sleep."""
    clock = [1_000_000_000]
    later = iter(machines[1:])
    machines[0].write(root)

    def sleep(seconds: float) -> None:
        clock[0] += round(seconds * 1e9)
        for path in ("proc/net/softnet_stat", "proc/stat"):
            (root / path).unlink(missing_ok=True)
        next(later).write(root)

    watch = Watch(tree or Tree(root), now=lambda: clock[0], wall=lambda: clock[0] / 1e9)
    return list(samples(watch, interval, len(machines) - 1, sleep=sleep))


FIRST = Machine("6.12.1", cpus=4)


def state(at: int, **changed: object) -> Machine:
    """The machine of the golden table after ``at`` intervals of 2 s: CPU 1 is busy, and ever busier; CPU 3 rests."""
    online = [0, 1, 2, 3]
    grown = sum(range(at + 1))
    return replace(
        FIRST,
        stat={
            0: [1000 + 400 * at, 0, 0, 8 * at, 0],
            1: [50_000 + 200_000 * grown, 30 * at, 9 * at, 0, 2 * at],
            2: [7, 0, 0, 2_000 * at, 0],
            3: [1, 0, 0, 0, 0],
        },
        softirqs={"NET_RX": {0: 100 + 40 * at, 1: 100 + 3_000 * at, 2: 100 + 100 * at}, "NET_TX": {2: 50 + 10 * at}},
        times={0: [100, 0, 0, 1000 + 198 * at, 0, 0, 50 + 2 * at, 0], 1: [100, 0, 0, 1000 + 20 * at, 0, 0, 50 + 180 * at, 0]},
        snmp={"RcvbufErrors": 5 + 6 * at},
        netstat={"ListenDrops": 4},
        threads=[(90, "backlog_napi/1", 0, 0, 1, 0), (91, "napi/eth0-8193", 0, 0, 2, 0), (92, "irq/40-eth0", 1, 50, 2, 0)],
        files={
            "proc/interrupts": ipis(online, {2: 2_000 * at}, {1: 500 * at}),
            **scheduled(11, "ksoftirqd/1", 10**9 + 10**8 * at, 10 + 40 * at, 30 * at),
            **scheduled(90, "backlog_napi/1", 10**8 * 5 * at, 10 + at, 8 * at),
            **scheduled(91, "napi/eth0-8193", 10**9 * at, 10 + 300 * at, 200 * at),
            **scheduled(92, "irq/40-eth0", 10**6 * at, 10 + at, 2 * at),
        },
        **changed,
    )  # type: ignore[arg-type]


def of(sample: WatchSample, cpu: int) -> CpuSample:
    return next(found for found in sample.cpus if found.cpu == cpu)


def test_rates_are_what_came_between_two_readings(tmp_path: Path) -> None:
    sample = watched(tmp_path, [state(0), state(1)])[0]
    one = of(sample, 1)
    assert sample.seconds == 2
    assert one.per_s == {
        "processed": 100_000, "dropped": 15, "time_squeeze": 4.5, "received_rps": 0, "flow_limit": 1, "net_rx": 1500, "net_tx": 0,
        "ipi_call_function": 0, "ipi_reschedule": 250,
    }  # fmt: skip
    assert of(sample, 2).per_s["received_rps"] == of(sample, 2).per_s["ipi_call_function"] == 1000
    assert one.counters["processed"] == 250_000
    assert one.softirq_share == 0.9
    assert one.ksoftirqd is not None
    assert (one.ksoftirqd.share, one.ksoftirqd.wakeups_per_s) == (0.05, 15)
    assert one.backlog_napi is not None
    assert (one.backlog_napi.share, one.backlog_napi.wakeups_per_s) == (0.25, 4)
    assert of(sample, 0).ksoftirqd is not None
    assert of(sample, 0).backlog_napi is None
    assert [(thread.comm, thread.share, thread.wakeups_per_s) for thread in sample.threads] == [
        ("napi/eth0-8193", 0.5, 100), ("irq/40-eth0", 0.0005, 1)]  # fmt: skip
    assert sample.protocols["Udp.RcvbufErrors"] == (11, 3)
    assert sample.protocols["TcpExt.ListenDrops"] == (4, 0)
    assert sample.notes == ()


def test_the_table_is_the_golden_one(tmp_path: Path) -> None:
    view = View("machine 6.12.1")
    text = ""
    for sample in watched(tmp_path, [state(at) for at in range(9)]):
        view.add(sample)
        text = "\n".join(plain(view.lines(sample, width, top)) for width, top in ((100, None), (100, 2), (160, None), (60, 1)))
    held_to_golden("host", "watch", text)


@pytest.mark.parametrize("width", [60, 77, 100, 160, 400])
def test_no_line_is_wider_than_asked_for(width: int, tmp_path: Path) -> None:
    view = View("m" * 200)
    for sample in watched(tmp_path, [state(at, cpus=12) for at in range(3)]):
        view.add(sample)
        for top in (None, 3):
            text = plain(view.lines(sample, width, top))
            assert max(map(len, text.splitlines())) <= width
            assert len(text.splitlines()) <= (top or 12) + view.rows_beside(sample, width)
            assert re.findall(r"^ +(\d+) ", text, re.MULTILINE)[:2] == (["1", "0"] if top else ["0", "1"])


def test_a_counter_that_wraps_runs_on(tmp_path: Path) -> None:
    top = 2**32
    before = replace(FIRST, stat={0: [top - 200, 0, 5]}, softirqs={"NET_RX": {0: top - 1}},
                     files={"proc/interrupts": ipis([0, 1, 2, 3], {0: top - 10}, {})})  # fmt: skip
    after = replace(FIRST, stat={0: [72, 0, 4]}, softirqs={"NET_RX": {0: 19}},
                    files={"proc/interrupts": ipis([0, 1, 2, 3], {0: 10}, {})})  # fmt: skip
    found = of(watched(tmp_path, [before, after])[0], 0).per_s
    assert (found["processed"], found["net_rx"], found["ipi_call_function"]) == (136, 10, 10)
    assert found["time_squeeze"] is None, "what went back has no rate"


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_no_step_is_negative_or_absurd(before: int, now: int) -> None:
    ran = step(before, now)
    assert ran is None or 0 <= ran < 2**31
    if ran is not None:
        assert (before + ran) % 2**32 == now % 2**32


@pytest.mark.parametrize("release", ["4.19.1", "5.4.1", "6.1.1", "6.12.1"])
def test_a_cpu_that_goes_and_comes_has_no_rate_and_moves_no_other(release: str, tmp_path: Path) -> None:
    def machine(at: int, offline: list[int]) -> Machine:
        stat = {cpu: [10**6 * cpu + (cpu + 1) * 20 * at] for cpu in range(5)}
        times = {cpu: [10, 0, 0, 500 + 100 * at, 0, 0, 10 + 100 * at, 0] for cpu in range(5)}
        online = [cpu for cpu in range(5) if cpu not in offline]
        return Machine(release, cpus=5, offline=offline, stat=stat, times=times,
                       files={"proc/interrupts": ipis(online, dict.fromkeys(online, 10 * at), {})})  # fmt: skip

    found = watched(tmp_path, [machine(0, []), machine(1, [2]), machine(2, [2]), machine(3, []), machine(4, [])])
    assert [[cpu.cpu for cpu in sample.cpus] for sample in found] == [[0, 1, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    for sample in found:
        for cpu in (0, 1, 3, 4):
            assert of(sample, cpu).per_s["processed"] == (cpu + 1) * 10
            assert of(sample, cpu).per_s["ipi_call_function"] == 5
            assert of(sample, cpu).softirq_share == 0.5
    back = of(found[2], 2)
    assert set(back.per_s.values()) == {None}
    assert back.softirq_share is None
    assert of(found[3], 2).per_s["processed"] == 30
    view = View("machine")
    for sample in found:
        view.add(sample)
    row = next(line for line in plain(view.lines(found[3], 100)).splitlines() if line.startswith("   2 "))
    assert row.endswith(" " + "   ▅"), "three samples without a rate, then 30 of at most 50"


def test_lines_of_which_nobody_knows_the_cpu_are_left_out(tmp_path: Path) -> None:
    """A CPU went between the reading of /proc/stat and that of softnet_stat, on a release that prints no CPU."""
    whole = Machine("5.4.1", cpus=4)
    short = replace(whole, files={"proc/net/softnet_stat": "00000001 " * 10 + "00000000\n"})
    found = watched(tmp_path, [whole, short, whole, whole])
    assert "processed" not in found[0].cpus[0].counters
    assert "left out of this sample" in " ".join(found[0].notes)
    assert found[1].cpus[0].per_s["processed"] is None
    assert found[2].cpus[0].per_s["processed"] == 0


def test_a_file_that_breaks_while_it_is_watched_is_a_note_and_at_first_an_error(tmp_path: Path) -> None:
    broken = replace(FIRST, files={"proc/softirqs": "   CPU0 CPU1\nNET_RX: 1\nNET_RX: 1 x\n", "proc/net/snmp": "Udp: a\n"})
    found = watched(tmp_path / "later", [FIRST, broken, FIRST])
    assert [note.count("left out") for note in found[0].notes] == [1, 1]
    assert "proc/softirqs:3" in found[0].notes[0]
    assert found[0].cpus[0].per_s["processed"] == 0
    assert found[1].notes == ()
    with pytest.raises(HostError, match="too few counts"):
        watched(tmp_path / "first", [broken])


def test_time_that_goes_back_and_threads_that_end_give_no_rate(tmp_path: Path) -> None:
    found = watched(tmp_path, [state(3), state(1)])[0]
    one = of(found, 1)
    assert one.per_s["processed"] is None
    assert one.ksoftirqd is not None
    assert (one.ksoftirqd.share, one.ksoftirqd.wakeups_per_s) == (None, None)
    assert one.softirq_share is None
    assert found.protocols["Udp.RcvbufErrors"] == (11, None)
    other = state(2, cpus=4)
    other.files |= {"proc/91/schedstat": "9000000000 1 999\n", "proc/91/status": "Name:\tbash\nvoluntary_ctxt_switches:\t9\n"}
    found = watched(tmp_path / "b", [state(1), other])[0]
    assert [thread.comm for thread in found.threads] == ["irq/40-eth0"], "another process has its number now"


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    tree = Paths(tmp_path)
    user = {"proc/777/stat": state(0).write(tmp_path / "x").joinpath("proc/10/stat").read_text().replace(") S 2 ", ") S 1 ")}
    first, second = state(0), state(0)
    first.files |= {**user, **scheduled(777, "ksoftirqd/0", 5, 5, 5)}
    watched(tmp_path, [first, second], tree=tree)
    files = ("stat", "net/softnet_stat", "softirqs", "interrupts", "net/snmp", "net/netstat", "net/snmp6")
    at = tree.read.index("/proc/stat", 1)
    assert tree.read[at:][: len(files)] == [f"/proc/{name}" for name in files]
    threads = tree.read[at + len(files) :]
    assert {path for path in threads if path.startswith("/proc/9")} == {f"/proc/{pid}/schedstat" for pid in (90, 91, 92)}
    assert not [path for path in threads if "777" in path], "a program that calls itself ksoftirqd/0"


def test_ipis_are_found_by_what_they_are_called(tmp_path: Path) -> None:
    """arm64 and riscv number them: arch/arm64/kernel/smp.c, ipi_types[]."""
    arm = [replace(FIRST, files={"proc/interrupts": ipis([0, 1, 2, 3], {0: n}, {1: 3 * n}, ("IPI1", "IPI0"))}) for n in (0, 40)]
    sample = watched(tmp_path, arm)[0]
    assert of(sample, 0).per_s["ipi_call_function"] == 20
    assert of(sample, 1).per_s["ipi_reschedule"] == 60
    assert of(sample, 2).per_s["ipi_reschedule"] == 0


# -- JSON

RATE = {"type": ["number", "null"], "minimum": 0, "maximum": 1e12}
COUNT = {"type": "integer", "minimum": 0}


def closed(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


THREAD = closed(
    comm={"type": "string"}, pid=COUNT, cpu_s={"type": "number", "minimum": 0}, wakeups={"type": ["integer", "null"]},
    share={**RATE, "maximum": 1}, wakeups_per_s=RATE,
)  # fmt: skip
LINE = closed(
    schema={"const": "softnet-host-watch/1"},
    unix_s={"type": "number"},
    seconds={"type": "number", "exclusiveMinimum": 0},
    cpus={
        "type": "array",
        "minItems": 1,
        "items": closed(
            cpu=COUNT,
            counters={"type": "object", "propertyNames": {"enum": list(COUNTERS)}, "additionalProperties": COUNT},
            per_s={"type": "object", "propertyNames": {"enum": list(COUNTERS)}, "additionalProperties": RATE},
            backlog={"type": ["integer", "null"], "minimum": 0},
            softirq_share={**RATE, "maximum": 1},
            ksoftirqd={"anyOf": [THREAD, {"type": "null"}]},
            backlog_napi={"anyOf": [THREAD, {"type": "null"}]},
        ),
    },
    protocols={
        "type": "object",
        "propertyNames": {"enum": list(PROTOCOLS)},
        "additionalProperties": closed(total=COUNT, per_s=RATE),
    },
    threads={"type": "array", "items": THREAD},
    notes={"type": "array", "items": {"type": "string"}},
)


def strict(text: str) -> object:
    def no_constant(name: str) -> object:
        raise AssertionError(name)

    return json.loads(text, parse_constant=no_constant)


@pytest.mark.parametrize("machine", [state(1), Machine("4.19.1", cpus=3, offline=[1], sys=False), Machine("6.1.1", cpus=1)])
def test_json_is_a_line_for_each_sample(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = machine.write(tmp_path)
    assert run_cli(["host", "watch", "--root", str(root), "--interval", "0.1", "--count", "2", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        jsonschema.validate(strict(line), LINE)
    first = json.loads(lines[0])
    assert [cpu["cpu"] for cpu in first["cpus"]] == machine.online()
    assert all(rate == 0 for cpu in first["cpus"] for rate in cpu["per_s"].values())


def test_the_document_states_the_keys() -> None:
    text = (ROOT / "docs" / "host.md").read_text(encoding="utf-8")
    names = {name for part in (LINE, LINE["properties"]["cpus"]["items"], THREAD) for name in part["properties"]}  # type: ignore[index]
    for name in [*names, *COUNTERS, *(f"softnet_{metric}" for metric, _ in PROMETHEUS.values())]:
        assert f"`{name}`" in text, name


# -- Prometheus

METRIC = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)')
UNITS = ("seconds", "packets", "softirqs", "interrupts", "squeezes", "wakeups", "drops", "processed", "dropped")


def exposition(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus reads in it, by its documentation of the text format: name and labels -> value."""
    assert text.endswith("\n")
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    helped: set[str] = set()
    name = kind = ""
    for line in text[:-1].split("\n"):
        words = line.split(" ", 3)
        if words[:2] == ["#", "HELP"]:
            assert words[2] not in helped, "one HELP for each, and all samples of a metric together"
            assert words[3]
            helped.add(words[2])
            name, kind = words[2], ""
            continue
        if words[:2] == ["#", "TYPE"]:
            assert words[2] == name
            kind = words[3]
            assert kind in ("counter", "gauge")
            assert name.endswith("_total") == (kind == "counter")
            assert name.removesuffix("_total").rpartition("_")[2] in UNITS
            continue
        matched = METRIC.fullmatch(line)
        assert matched is not None, line
        assert matched[1] == name
        assert kind
        labels = re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', matched[2])
        key = (name, tuple((label, re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)) for label, text in labels))
        assert key not in found, "no sample twice"
        found[key] = float(matched[3])
        assert math.isfinite(found[key])
    return found


def test_prometheus_reads_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = state(2).write(tmp_path)
    assert run_cli(["host", "watch", "--root", str(root), "--prometheus"]) == 0
    found = exposition(capsys.readouterr().out)
    assert found["softnet_packets_processed_total", (("cpu", "1"),)] == 650_000
    assert found["softnet_packets_dropped_total", (("cpu", "1"),)] == 60
    assert found["softnet_backlog_packets", (("cpu", "3"),)] == 0
    assert found["softnet_cpu_seconds_total", (("cpu", "1"), ("mode", "softirq"))] == 4.1
    assert found["softnet_thread_cpu_seconds_total", (("thread", "ksoftirqd/1"), ("pid", "11"))] == 1.2
    assert found["softnet_thread_wakeups_total", (("thread", "napi/eth0-8193"), ("pid", "91"))] == 400
    assert found["softnet_protocol_drops_total", (("protocol", "Udp"), ("counter", "RcvbufErrors"))] == 17
    assert {name for name, _ in found} >= {f"softnet_{name}" for name, _ in PROMETHEUS.values()}


# -- hostile names, the command line, the terminal


def hostile(at: int) -> Machine:
    """An interface may be called nearly anything, and a NAPI thread has its name."""
    name = "napi/" + EVIL.replace("\x00", "").replace("\r", "").replace("\u2028", "") + 'a"\\b[red]'
    machine = state(at)
    machine.threads.append((99, name, 0, 0, 1, 0))
    machine.files |= scheduled(99, name.replace("\\", "\\\\"), 10**9 * at, 10 + at, at)
    machine.files |= {"proc/sys/kernel/hostname": f"[bold]{EVIL}\n"}
    return machine


def test_names_from_the_machine_reach_no_terminal_and_break_no_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = watched(tmp_path, [hostile(0), hostile(1)])[0]
    assert any(thread.comm.endswith('a"\\b[red]') and thread.share == 0.5 for thread in found.threads)
    text = plain(View(EVIL).lines(found, 100))
    assert harmless(text.replace("\n", ""))
    assert "[red]" in text
    printed = prometheus_text(Watch(Tree(tmp_path)).read())
    assert harmless(printed.replace("\n", ""))
    assert any(dict(labels).get("pid") == "99" and 'a"\\b[red]' in dict(labels)["thread"] for _, labels in exposition(printed))
    for words in ([], ["--json"]):
        assert run_cli(["host", "watch", "--root", str(tmp_path), "--interval", "0.1", "--count", "1", *words]) == 0
        assert harmless(capsys.readouterr().out.replace("\n", ""))


@pytest.mark.parametrize("words", [["--prometheus", "--json"], ["--prometheus", "--count", "3"], ["--root", "nowhere"],
                                   ["--interval", "0"], ["--count", "0"]])  # fmt: skip
def test_what_cannot_be_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["host", "watch", *words]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_tables_stand_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = replace(FIRST, cpus=12).write(tmp_path)
    assert run_cli(["host", "watch", "--root", str(root), "--interval", "0.1", "--count", "2", "--top", "3", "--width", "100"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert text.count("machine 6.12.1, 12 CPUs online") == 2
    assert text.count("and 9 CPUs that do less: 0 packets/s together") == 2


def read_all(master: int) -> bytes:
    """What comes until the program at the other end has gone."""
    parts = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            return parts
        if not part:
            return parts
        parts += part


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for fd in (master, slave):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_afterwards_as_it_was(ending: signal.Signals, terminal: tuple[int, int], tmp_path: Path) -> None:
    master, slave = terminal
    root = replace(FIRST, cpus=64, cards=[Card()]).write(tmp_path)
    termios.tcsetwinsize(slave, (24, 100))
    before = termios.tcgetattr(slave)
    command = [sys.executable, "-m", "softnet", "host", "watch", "--interval", "0.1", "--root", str(root)]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    shown = b""
    while shown.count(b"figures a second") < 2:
        shown += os.read(master, 65536)
    assert termios.tcgetattr(slave) == before
    process.send_signal(ending)
    os.close(slave)
    shown += read_all(master)
    assert process.wait() == 0
    text = shown.decode()
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "Traceback" not in text
    assert "and 46 CPUs that do less" in text, "as many as have room in 24 lines"
    assert not text.rpartition("\x1b[?1049l")[2].strip().removeprefix("\x1b[?25h")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.04, "0"), (0.3, "0.3"), (7.0, "7"), (9.96, "10"), (9999, "9999"), (9999.6, "10.0k"),
     (12_345, "12.3k"), (999_600, "1.00M"), (123_456_789, "123M"), (10**17, "100P"), (10**30, "huge")],
)  # fmt: skip
def test_figures_take_five_columns(value: float | None, text: str) -> None:
    assert compact(value) == text


@given(st.floats(0, 1e25))
def test_no_figure_is_wider(value: float) -> None:
    assert len(compact(value)) <= 5
