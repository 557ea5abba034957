# SPDX-License-Identifier: GPL-2.0-or-later
"""Of a machine on which nothing is wrong, nothing is said; and the reader takes every release's files apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.host.machines import QUIET, Machine

from softnet.host.doctor import diagnose
from softnet.host.model import report_from_json
from softnet.host.sources import read_sources
from softnet.host.tree import Tree


@pytest.mark.parametrize("name", QUIET)
def test_a_quiet_machine_has_no_findings(name: str, tmp_path: Path) -> None:
    report = read_sources([QUIET[name].write(tmp_path)], 0)
    found = diagnose(report)
    assert [finding.title for finding in found.findings] == []
    assert report.release == QUIET[name].release
    assert [row.cpu for row in report.samples[0].softnet] == QUIET[name].online()
    assert report.samples[0].softirqs.rows["NET_RX"] == [40_000] * QUIET[name].cpus
    assert report_from_json(report.to_json(), "report") == report


def test_this_machine_is_read_as_it_is() -> None:
    found = diagnose(read_sources([], 0))
    assert all(finding.evidence and finding.because for finding in found.findings)
    assert "/proc/net/softnet_stat" in found.looked_at


def test_what_the_kernel_gives_only_in_small_reads_is_read() -> None:
    """/proc/sys answers ENOMEM to a read of 4 MiB or more, and was taken as not there."""
    assert Tree("/").line("/proc/sys/kernel/osrelease") == os.uname().release
    report = read_sources([], 0)
    for path in Path("/proc/sys/net/core").glob("netdev_budget*"):
        assert report.sysctl[f"net.core.{path.name}"] == path.read_text(encoding="utf-8").strip()


def test_columns_are_those_of_the_release(tmp_path: Path) -> None:
    rows = {}
    for release in ("4.19.1", "5.10.1", "6.12.1"):
        machine = Machine(release, cpus=8, offline=[2, 3], stat={4: [1000, 2, 3, 7, 5]})
        read = read_sources([machine.write(tmp_path / release)], 0)
        assert read.notes == []
        rows[release] = next(row for row in read.samples[0].softnet if row.cpu == 4)
        assert (rows[release].processed, rows[release].dropped, rows[release].time_squeeze) == (1000, 2, 3)
        assert (rows[release].received_rps, rows[release].flow_limit) == (7, 5)
    assert rows["4.19.1"].backlog is None
    assert rows["5.10.1"].backlog == 0
    assert rows["5.10.1"].input_queue is None
    assert rows["6.12.1"].input_queue == 0


def test_what_a_container_lacks_is_said_and_the_rest_read(tmp_path: Path) -> None:
    report = read_sources([QUIET["4.19 in a container without /sys"].write(tmp_path)], 0)
    assert any(item.what.endswith("/sys") for item in report.unread)
    assert report.cpus.online == list(range(8))
    assert report.cards == []


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    tree = Machine(cpus=2).write(tmp_path / "tree")
    (tmp_path / "secret").write_text("secret\n", encoding="utf-8")
    (tree / "proc/sys/kernel/hostname").unlink()
    (tree / "proc/sys/kernel/hostname").symlink_to(tmp_path / "secret")
    report = read_sources([tree], 0)
    assert report.name == ""
    (tree / "proc/net/netstat").unlink()
    os.mkfifo(tree / "proc/net/netstat")  # would wait for a writer
    report = read_sources([tree], 0)
    assert any(item.what.endswith("netstat") and "regular" in item.why for item in report.unread)
