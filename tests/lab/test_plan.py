# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario as a plan for a guest: settings, tasks, and what is said where the guest is not what was asked."""

from __future__ import annotations

import ast
import gzip
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.test_layers import imported_modules

from softnet.lab.errors import LabError
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.measured import late_senders, quantiles, summarise
from softnet.lab.play.run import settings_told
from softnet.lab.play.scenario import GuestPlan, guest_plan
from softnet.lab.tracing.facts import Facts
from softnet.lab.vm.kernels import Kernel
from softnet.scenario import scenario_from_dict

RAW = Path(__file__).parent / "fixtures" / "raw-6.12.json.gz"


@pytest.fixture
def arm(tmp_path: Path) -> GuestArm:
    (tmp_path / "config").write_text("CONFIG_HZ=250\nCONFIG_PREEMPT_DYNAMIC=y\n")
    return GuestArm("6.12", image=Kernel("6.12", "6.12.9+deb12-amd64", tmp_path / "vmlinuz", None, {}))


def _facts() -> Facts:
    told = json.loads(gzip.decompress(RAW.read_bytes()))["facts"]
    return Facts(told["release"], told["offsets"], told["symbols"], tuple(told["tracepoints"]))


def _plan(arm: GuestArm, **tables: Any) -> GuestPlan:
    document: dict[str, Any] = {
        "name": "plan",
        "machine": {"cpus": 4},
        "application": [{"name": "sink", "kind": "udp", "cpu": 1}],
        "sender": [{"cpu": 0, "to": "sink", "rate_pps": 1000, "size": 200}],
        **tables,
    }
    return guest_plan(scenario_from_dict(document), arm, _facts())


def test_settings_reach_the_files_of_the_kernel(arm: GuestArm) -> None:
    guest = _plan(
        arm,
        kernel={"sysctl": {"skb_defer_max": 16, "flow_limit_cpu_bitmap": [0, 2], "flow_limit_table_len": 1024}},
        loopback={"rps_cpus": [1, 3]},
        event=[{"at_ms": 10, "set": "loopback.rps_cpus", "value": [2]}],
    )
    settings = {path.rsplit("/", 1)[-1]: value for path, value in guest.plan["settings"]}
    assert settings["skb_defer_max"] == "16"
    assert settings["flow_limit_cpu_bitmap"] == "00000005"
    assert settings["rps_cpus"] == "0000000a"
    order = list(settings)
    assert order.index("flow_limit_table_len") < order.index("flow_limit_cpu_bitmap")
    assert "netdev_budget_usecs" not in settings
    assert guest.plan["work"]["events"] == [[10_000_000, "/sys/class/net/lo/queues/rx-0/rps_cpus", "00000004"]]
    assert "preempt=voluntary" in guest.boot_args


@pytest.mark.parametrize(("given", "release", "told"), [({}, "7.3", 128), ({}, "6.18", 64), ({"skb_defer_max": 16}, "7.3", 16)])
def test_a_limit_that_nobody_sets_is_the_guests_own(given: dict[str, int], release: str, told: int) -> None:
    """Not that of the scenario's release: a trace of 7.3 was held against 64, the default of 6.12."""
    assert settings_told(scenario_from_dict({"kernel": {"sysctl": given}}), release)["skb_defer_max"] == told


def test_a_packet_has_the_size_that_was_asked_for_or_it_is_said(arm: GuestArm) -> None:
    guest = _plan(arm)
    assert guest.plan["work"]["senders"][0]["payload"] == 200 - 14 - 20 - 8
    assert guest.deviations == ()
    small = _plan(arm, sender=[{"cpu": 0, "to": "sink", "rate_pps": 1, "size": 60}])
    assert small.plan["work"]["senders"][0]["payload"] == 18
    tcp = _plan(
        arm,
        application=[{"name": "sink", "kind": "tcp", "cpu": 1}],
        sender=[{"cpu": 0, "to": "sink", "rate_pps": 1, "size": 60}],
    )
    assert "sender.size: packets have 74 bytes and not 60." in tcp.deviations
    assert any("acknowledgements" in text for text in tcp.deviations)


def test_two_senders_of_one_name_are_told_apart(arm: GuestArm) -> None:
    sender = {"cpu": 0, "to": "sink", "rate_pps": 1}
    guest = _plan(arm, sender=[sender, sender])
    assert [row["name"] for row in guest.plan["work"]["senders"]] == ["sender", "sender-2"]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"kernel": {"release": "6.10"}}, "the scenario says 6.10, the guest runs 6.12.9"),
        ({"kernel": {"flavour": "rt"}}, "the scenario says rt, the guest's kernel is plain"),
        ({"kernel": {"hz": 1000}}, "the scenario has 1000, the guest's kernel was built with 250"),
        ({"kernel": {"preempt": "lazy"}}, "cannot be told to be lazy"),
        ({"kernel": {"threads": {"backlog_napi": "fifo:2"}}}, "no backlog_napi threads"),
        ({"machine": {"cpus": 4, "numa_nodes": 2}}, "one node"),
        ({"task": [{"kind": "hog", "cpu": 2, "sched": "fifo:1"}]}, "95 %"),
    ],
)
def test_what_the_guest_cannot_be_is_said(arm: GuestArm, tables: dict[str, Any], said: str) -> None:
    assert any(said in text for text in _plan(arm, **tables).deviations)


def test_what_no_guest_can_give_is_an_error(arm: GuestArm) -> None:
    with pytest.raises(LabError, match="built with RPS"):
        _plan(arm, kernel={"config": {"RPS": False, "NET_FLOW_LIMIT": False}})


def test_every_probe_names_a_symbol_that_this_kernel_has(arm: GuestArm) -> None:
    guest, known = _plan(arm), _facts()
    names = [name for name, _ in guest.plan["trace"]["kprobes"]]
    assert {"skb_attempt_defer_free", "kick_defer_list_purge", "enqueue_to_backlog_ret"} <= set(names)
    for name, definition in guest.plan["trace"]["kprobes"]:
        assert definition.split()[1] == name.removesuffix("_ret")
        assert definition.split()[1] in known.symbols
    assert "queue_work_on" not in names


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantiles([]) == {"count": 0}
    assert quantiles([7]) == {"count": 1, "p50_ns": 7, "p99_ns": 7, "p999_ns": 7, "max_ns": 7}
    told = quantiles(list(range(1000, 0, -1)))
    assert (told["p50_ns"], told["p99_ns"], told["p999_ns"], told["max_ns"]) == (501, 991, 1000, 1000)


def test_what_a_task_could_not_do_is_said() -> None:
    rows = [
        {"task": "a", "asked": 100, "packets": 97, "refused": 0},
        {"task": "b", "asked": 100, "packets": 99, "refused": 1},
        {"task": "c", "error": "OSError: no"},
        {"task": "d", "packets": 5},
    ]
    told = summarise({"tasks": rows}, {"latencies/d": (5).to_bytes(8, "little") + (9).to_bytes(8, "little")})
    assert told["tasks"][3]["latency"]["max_ns"] == 9
    assert late_senders(told) == [
        "a: asked to send 100 packets, the guest managed 97.",
        "b: 1 packets were refused by the receiver's socket.",
        "c failed in the guest: OSError: no.",
    ]


def test_the_guest_imports_the_standard_library_alone() -> None:
    folder = Path(str(importlib.import_module("softnet.lab.guest").__file__)).parent
    found = {
        (path.name, name)
        for path in sorted(folder.glob("*.py"))
        for _, name in imported_modules(ast.parse(path.read_text()), f"softnet.lab.guest.{path.stem}", False)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("softnet.lab.guest.")
    }
    assert not found
