# SPDX-License-Identifier: GPL-2.0-or-later
"""Pasted output is recognised by what it holds, one file is enough for an answer, and what is wrong in it has a line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.host import dumps
from tests.host.machines import Machine

from softnet.cli import run_cli
from softnet.errors import HostError
from softnet.host.cpusets import as_list, as_mask, cpu_list, cpu_mask
from softnet.host.doctor import diagnose
from softnet.host.dumps import Section, kind_of
from softnet.host.findings import Finding
from softnet.host.model import HostReport, report_from_json
from softnet.host.sources import read_sources


def written(folder: Path, *texts: str) -> list[Path]:
    found = []
    for at, text in enumerate(texts):
        found.append(folder / f"{at}.txt")
        found[-1].write_text(text, encoding="utf-8")
    return found


def said(folder: Path, *texts: str) -> dict[str, Finding]:
    return {finding.id: finding for finding in diagnose(read_sources(written(folder, *texts), 0)).findings}


@pytest.mark.parametrize("kind", dumps.ALL)
def test_each_kind_is_recognised_by_content_alone(kind: str, tmp_path: Path) -> None:
    assert kind_of(Section(dumps.ALL[kind], "x", 1, "")) == kind
    read_sources(written(tmp_path, dumps.ALL[kind]), 0)
    report = read_sources(written(tmp_path, dumps.ALL[kind].replace("\n", "\r\n")), 0)
    assert report.sources


@pytest.mark.parametrize(
    ("kind", "finding", "words"),
    [
        ("softnet", "backlog-drops", "CPU 1, column 2: 18 dropped since boot"),
        ("ethtool_S", "ring-full", "rx_missed_errors: 120,000"),
        ("nstat", "udp-buffers", "9,000 lost since boot"),
        ("netstat_s", "udp-buffers", "9,000 lost since boot"),
        ("protocols", "udp-buffers", "9,000 lost since boot"),
        ("udp", "udp-buffers", "port 5353"),
        ("ip_link", "ring-full", "rx_missed: 4,000"),
        ("devices", "ring-full", "rx_fifo: 900"),
        ("sysctl", "backlog-small", "netdev_max_backlog = 128"),
        ("processes", "ksoftirqd-busy", "ksoftirqd/0: 100% of a CPU"),
        ("log", "pages-kept", "stalled pool shutdown"),
    ],
)
def test_one_file_is_enough_for_an_answer(kind: str, finding: str, words: str, tmp_path: Path) -> None:
    found = said(tmp_path, dumps.ALL[kind])
    assert finding in found
    assert any(words in evidence.text for evidence in found[finding].evidence)


LINES = {
    "page_pool_release_retry() stalled pool shutdown 1, 12 inflight 60 sec": "pages-kept",
    "unregister_netdevice: waiting for eth0 to become free. Usage count = 3": "device-kept",
    "INFO: task modprobe:312 blocked for more than 120 seconds.": "conntrack-kept",
    "WARNING: CPU: 1 PID: 9 at net/xfrm/xfrm_state.c:3317 xfrm_state_fini+0x40/0x60": "xfrm-kept",
    "NOHZ tick-stop error: local softirq work is pending, handler #08!!!": "softirq-pending-idle",
    "NOHZ tick-stop error: Non-RCU local softirq work is pending, handler #20a!!!": "softirq-pending-idle",
    "NOHZ: local_softirq_pending 08": "softirq-pending-idle",
    # SCHED, bit 7; RCU, bit 9; TIMER and HRTIMER.
    "NOHZ tick-stop error: local softirq work is pending, handler #80!!!": "",
    "NOHZ tick-stop error: local softirq work is pending, handler #200!!!": "",
    "NOHZ tick-stop error: local softirq work is pending, handler #102!!!": "",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_log_is_enough(line: str, tmp_path: Path) -> None:
    found = said(tmp_path, f"[  100.0] eth0: link up\n[  900.5] {line}\n")
    assert set(found) == ({LINES[line]} if LINES[line] else set())


def test_more_files_make_a_better_answer(tmp_path: Path) -> None:
    alone = said(tmp_path, dumps.ETHTOOL_S)["ring-full"]
    assert "ethtool -g" in alone.changes[0].do
    statistics = "$ ethtool -S eth0\n" + dumps.ETHTOOL_S
    better = said(tmp_path, statistics, dumps.ETHTOOL_G, dumps.ETHTOOL_L)["ring-full"]
    assert (better.changes[0].do, better.changes[0].undo) == ("ethtool -G eth0 rx 1024", "ethtool -G eth0 rx 256")
    assert "The ring holds 256 and may hold 4096" in better.meaning


def test_one_text_may_hold_several_outputs_behind_their_prompts(tmp_path: Path) -> None:
    text = f"root@box:~# cat /proc/net/softnet_stat\n{dumps.SOFTNET}root@box:~# sysctl net.core\n{dumps.SYSCTL}"
    text += f"$ uname -a\n{dumps.UNAME}"
    report = read_sources(written(tmp_path, text), 0)
    assert len(report.samples[0].softnet) == 2
    assert report.sysctl["net.core.netdev_budget"] == "300"
    assert report.release == "6.1.0-37-amd64"


def test_the_same_output_twice_is_two_samples(tmp_path: Path) -> None:
    after = dumps.SOFTNET.replace("00000012", "00000015", 1)
    found = said(tmp_path, dumps.SOFTNET, after)["backlog-drops"]
    assert "3 dropped between the two samples, 21 since boot" in found.evidence[0].text
    assert "backlog-drops" not in said(tmp_path, dumps.SOFTNET, dumps.SOFTNET)


def test_a_counter_of_32_bits_that_wrapped(tmp_path: Path) -> None:
    row = "00000000 {} 00000000 " + "00000000 " * 9 + "00000000\n"
    found = said(tmp_path, row.format("ffffffff"), row.format("00000004"))["backlog-drops"]
    assert "5 dropped between" in found.evidence[0].text


def test_counters_that_went_backwards_are_no_difference(tmp_path: Path) -> None:
    row = "{} {} 00000000 " + "00000000 " * 9 + "00000000\n"
    found = said(tmp_path, row.format("00100000", "00000900"), row.format("00000100", "00000004"))["backlog-drops"]
    assert "4 dropped since boot" in found.evidence[0].text
    now, after = Machine("6.1.1", cpus=1, uptime=500.0), Machine("6.1.1", cpus=1, uptime=510.0)
    report = read_sources([after.write(tmp_path / "after"), now.write(tmp_path / "now")], 0)
    assert [sample.at_ns for sample in report.samples] == [500 * 10**9, 510 * 10**9]


def test_old_columns_take_the_online_cpus_from_beside(tmp_path: Path) -> None:
    alone = read_sources(written(tmp_path, dumps.SOFTNET), 0)
    assert [row.cpu for row in alone.samples[0].softnet] == [0, 1]
    assert "no column says the CPU" in alone.notes[0]
    beside = read_sources(written(tmp_path, dumps.SOFTNET, dumps.INTERRUPTS), 0)
    assert [row.cpu for row in beside.samples[0].softnet] == [0, 2]
    assert beside.notes == []


def test_a_sosreport(tmp_path: Path) -> None:
    tree = Machine("5.10.200", cpus=2).write(tmp_path)
    folder = tree / "sos_commands" / "networking"
    folder.mkdir(parents=True)
    (folder / "ethtool_-S_eth0").write_text(dumps.ETHTOOL_S, encoding="utf-8")
    (folder / "ethtool_-g_eth0").write_text(dumps.ETHTOOL_G, encoding="utf-8")
    (folder / "ethtool_-c_eth0").write_text(
        dumps.ETHTOOL_C.replace("rx-usecs: 50", "rx-usecs: 99999999999999999999999"), encoding="utf-8"
    )
    (folder / "other").write_text("nothing of ours", encoding="utf-8")
    report = read_sources([tree], 0)
    found = {finding.id: finding for finding in diagnose(report).findings}
    assert found["ring-full"].changes[0].do == "ethtool -G eth0 rx 1024"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("00000001 00000002\n", "", "nothing of a receive path"),
        (dumps.SOFTNET + "00000001 00000002 00000003\n", ":3", "another number of columns"),
        (dumps.SOFTNET.replace("00000d4e", "00000d4g"), ":1", "not a hexadecimal number"),
        ("\n" + dumps.SOFTNET + dumps.SOFTNET.replace("00012f2d", "xyz12f2d"), ":5", "not a hexadecimal number"),
        (("0" * 8 + " ") * 12 + "\n", ":1", "not as many columns"),
        (("0" * 8 + " ") * 13 + "\n" + ("0" * 8 + " ") * 13, ":2", "two lines of one CPU"),
        (("0" * 8 + " ") * 12 + "ffffffff\n", ":1", "a CPU that no kernel has"),
        (dumps.INTERRUPTS.replace("90000000          0 ", "90000000 "), ":3", "too few counts"),
        (dumps.INTERRUPTS.replace("CPU2", "CPU0"), ":1", "header"),
        (dumps.SOFTIRQS.replace("900000 ", "9" * 30), ":4", "below 2**64"),
        ("$ sysctl net.core\n" + dumps.SYSCTL + "$ nstat\n" + dumps.NSTAT.replace("9000  ", "9x00  "), ":9", "not a number"),
        (dumps.UDP.replace("0100007F", "0100"), ":2", "not an address"),
        (dumps.SNMP.replace("Udp: 500000 ", "Udp: "), ":2", "do not belong"),
        (dumps.TOP.replace("99,7", "x"), ":3", "%CPU is not a number"),
        ("{}", ": schema", "not a report"),
        ('{"schema": "softnet-host/1", "cpus": {"online": "0-x"}}', "", "not a list of CPUs"),
        ('{"schema": "softnet-host/1", "uptime_s": NaN}', ": uptime_s", "not a report"),
        ('{"schema": "softnet-host/1", "samples": [{"softnet": [{"cpu": -1}]}]}', ": samples.0.softnet.0.cpu", "not a report"),
        ("{" * 5000, "", "not JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, line: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)[0]
    with pytest.raises(HostError) as caught:
        read_sources([path], 0)
    assert message in str(caught.value)
    if line:
        assert caught.value.where == f"{path}{line}"
    assert run_cli(["host", "doctor", "--from", str(path)]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "CPU0\n" + "\n" * 300_000, "%CPU " * 100_000, "nf_conntrack"
        " " * 100_000, "root=" + "x" * 300_000 + "\ny\n", "a@b" + " " * 300_000,
        "Udp:\n" + "1" * 300_000 + "\n", "1: a: <UP>\n" + "    \n" * 100_000,
        dumps.INTERRUPTS.replace("eth0-TxRx-0", "x" * 300_000),
    ],
    ids=range(8),
)  # fmt: skip
def test_no_pattern_hangs_on_a_text_without_end(text: str, tmp_path: Path) -> None:
    with contextlib.suppress(HostError):
        read_sources(written(tmp_path, text), 0)


def test_two_machines_are_refused(tmp_path: Path) -> None:
    one, other = Machine("6.1.1", cpus=1).write(tmp_path / "1"), Machine("6.6.1", cpus=1).write(tmp_path / "2")
    with pytest.raises(HostError, match="two machines at once"):
        read_sources([one, other], 0)
    (tmp_path / "3").mkdir()
    with pytest.raises(HostError, match="nothing of a machine"):
        read_sources([tmp_path / "3"], 0)


def test_sets_of_cpus_there_and_back() -> None:
    for cpus in ([], [0], [0, 1, 2, 5], [31, 32, 33], list(range(0, 256, 3)), [255]):
        assert cpu_list(as_list(cpus), "x") == cpus
        assert cpu_mask(as_mask(cpus), "x") == cpus
    assert as_mask([0, 32]) == "1,00000001"
    assert cpu_mask("ff,ffffffff", "x") == list(range(40))


def test_a_report_written_is_the_report_read(tmp_path: Path) -> None:
    report = read_sources(written(tmp_path, *dumps.ALL.values()), 0)
    again = report_from_json(report.to_json(), "x")
    assert again == report
    assert [f.to_dict() for f in diagnose(again).findings] == [f.to_dict() for f in diagnose(report).findings]
    assert HostReport() == report_from_json(HostReport().to_json(), "x")
