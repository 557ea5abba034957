# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios: files and Python objects give the same, overrides act as they read, the schema says what we accept."""

from __future__ import annotations

import json
import pickle
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from tests.scenario.strategies import scenario_dicts

from softnet.errors import ScenarioError
from softnet.release import releases
from softnet.scenario import (
    RELEASES,
    Application,
    CaptureTraffic,
    Cyclictest,
    Event,
    Kernel,
    Loopback,
    Machine,
    Measure,
    Nic,
    PoissonTraffic,
    Scenario,
    Sender,
    Sysctl,
    ThreadSetting,
    apply_overrides,
    changes,
    json_schema,
    load_scenario,
    parse_kernel,
    scenario_from_dict,
)
from softnet.scenario.reference import DOCUMENT, SCHEMA_FILE, reference, schema_text, with_reference

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_a_file_and_python_objects_give_the_same() -> None:
    built = Scenario(
        name="seed",
        description="The defer list kick on PREEMPT_RT: IPI and ksoftirqd, or backlog_napi?",
        machine=Machine(cpus=4),
        kernel=Kernel(release="6.10", flavour="rt", preempt="rt"),
        nic=(Nic(irq_cpus=(0,)),),
        traffic=(CaptureTraffic(file="captures/web.pcap"),),
        application=(
            Application(name="web", cpus=(1, 2), dst_ports=(80, 8080), service_ns=10_000),
            Application(name="resolver", kind="udp", cpu=3, dst_ports=(53,), service_ns=3000),
        ),
        task=(Cyclictest(cpu=0, interval_us=200),),
        measure=Measure(duration_ms=122, warmup_ms=2),
    )
    loaded = load_scenario(ROOT / "examples" / "seed.toml")
    assert built == loaded
    assert hash(built) == hash(loaded)
    assert loaded.resolve("captures/web.pcap").is_file()
    assert built.placed_at(ROOT / "examples") == loaded


def test_a_scenario_is_frozen_all_the_way_down() -> None:
    described = load_scenario(EXAMPLES[0])
    with pytest.raises(ValueError, match="frozen"):
        described.machine.cpus = 8
    with pytest.raises(ValueError, match="frozen"):
        described.nic = ()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_answers_a_question_and_fits_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    VALIDATOR.validate(tomllib.loads(text))
    described = load_scenario(path)
    assert described.name == path.stem
    assert described.description
    head = text.split("\n\n")[0]
    assert "?" in head
    assert "softnet " in text
    assert described.traffic or described.sender
    assert scenario_from_dict(described.to_dict(), directory=path.parent) == described


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_commands_that_an_example_names_are_good(path: Path) -> None:
    lines = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#   softnet")]
    assert lines
    for line in lines:
        program, verb, name, *options = shlex.split(line)
        assert (program, name) == ("softnet", f"examples/{path.name}")
        assert verb in ("run", "compare")
        pairs = list(zip(options[::2], options[1::2], strict=True))
        overrides = [value for option, value in pairs if option == "--set"]
        arms = [f"kernel={value}" for option, value in pairs if option == "--arm"]
        assert len(overrides) + len(arms) == len(pairs)
        for arm in arms or [""]:
            described = load_scenario(path, [*overrides, *([arm] if arm else [])])
            assert (described == load_scenario(path)) == (not overrides and not arm) or arm


def test_there_are_examples_for_every_part() -> None:
    described = [load_scenario(path) for path in EXAMPLES]
    assert len(described) >= 9
    for key in ("traffic", "application", "sender", "task", "event"):
        assert any(getattr(one, key) for one in described), key
    assert {source.kind for one in described for source in one.traffic} == {
        "capture",
        "constant",
        "poisson",
        "onoff",
    }


@pytest.mark.slow
@given(raw=scenario_dicts())
def test_random_scenarios_round_trip_and_fit_the_schema(raw: dict[str, Any]) -> None:
    described = scenario_from_dict(raw)
    VALIDATOR.validate(json.loads(json.dumps(raw)))
    for plain in (described.to_dict(), described.to_dict(defaults=True)):
        again = json.loads(json.dumps(plain))
        VALIDATOR.validate(again)
        assert scenario_from_dict(again) == described


@pytest.mark.parametrize(
    "raw",
    [
        {"machine": {"cpus": 0}},
        {"machine": {"cpu": 4}},
        {"kernel": {"release": "6.11"}},
        {"kernel": {"threads": {"ksoftirq": "fifo:1"}}},
        {"kernel": {"threads": {"ksoftirqd": "fifo:0"}}},
        {"traffic": [{"kind": "constant"}]},
        {"traffic": [{"kind": "nothing"}]},
        {"nic": {"name": "eth0"}},
        {"nic": [{"rps_cpus": ["1"]}]},
        {"task": [{"kind": "hog", "cpu": 0, "interval_us": 5}]},
    ],
)
def test_the_schema_refuses_what_the_models_refuse(raw: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(raw)
    with pytest.raises(ScenarioError):
        scenario_from_dict(raw)


def test_the_published_schema_and_the_reference_are_current() -> None:
    """``python -m softnet.scenario.reference`` writes both anew."""
    assert (ROOT / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text()
    document = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    assert document == with_reference(document)


def test_every_key_is_described_with_its_default_and_the_source_of_it() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for name, table in [("Scenario", json_schema()), *json_schema()["$defs"].items()]:
        for key, node in table.get("properties", {}).items():
            where = f"{name}.{key}"
            if "const" in node:
                continue
            assert node.get("description"), where
            assert f"`{key}`" in reference(), where
            if "default" in node and not isinstance(node["default"], dict):
                assert node.get("x-source") or name == "Scenario", where


def test_the_toml_of_the_document_is_good() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / DOCUMENT).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    first = scenario_from_dict(tomllib.loads(blocks[0]))
    assert first.notes() == ()
    both = tomllib.loads(blocks[0]) | tomllib.loads(blocks[1])
    both["machine"]["cpus"] = 4
    assert scenario_from_dict(both).event[0].value == 16
    (python, *_) = re.findall(r"```python\n(.*?)```", (ROOT / DOCUMENT).read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(python, names)
    assert names["scenario"] == first


# The kernel


@pytest.mark.parametrize(
    ("text", "release", "flavour", "boot_args"),
    [
        ("6.1", "6.1", "plain", ()),
        ("6.1-rt", "6.1", "rt", ()),
        ("6.10", "6.10", "plain", ()),
        ("6.12-rt", "6.12", "rt", ()),
        (" 6.12-threads ", "6.12", "plain", ("thread_backlog_napi",)),
    ],
)
def test_kernel_shorthands(text: str, release: str, flavour: str, boot_args: tuple[str, ...]) -> None:
    assert parse_kernel(text) == (release, flavour, boot_args)


@pytest.mark.parametrize("text", ["", "6", "6.12-", "6.12-rt-threads", "6.12-RT", "rt", "6.9-threads", "6.1.0"])
def test_other_kernels_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError):
        parse_kernel(text)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("suffix", ["", "-rt", "-threads"])
@pytest.mark.parametrize("start", ["6.9", "6.12-rt", "6.12-threads"])
def test_any_arm_can_follow_any_other(release: str, suffix: str, start: str) -> None:
    threads = releases()[release].has("backlog_threads")
    if suffix == "-threads" and not threads:
        return
    raw = apply_overrides({"kernel": {"hz": 1000, "boot_args": ["threadirqs"]}}, [f"kernel={start}"])
    kernel = scenario_from_dict(raw, [f"kernel={release}{suffix}"]).kernel
    assert (kernel.release, kernel.flavour, kernel.hz) == (
        release,
        "rt" if suffix == "-rt" else "plain",
        1000,
    )
    assert kernel.preempt == ("rt" if suffix == "-rt" else "voluntary")
    assert kernel.boot_args == ("threadirqs", *(["thread_backlog_napi"] if suffix == "-threads" else []))
    assert kernel.backlog_threads == (threads and suffix != "")
    assert kernel.threaded_irqs


def test_sysctls_in_force() -> None:
    kernel = Kernel(hz=1000, sysctl=Sysctl(flow_limit_cpu_bitmap=(0, 3), skb_defer_max=0))
    values = kernel.sysctl_values()
    assert values == {
        "netdev_max_backlog": 1000,
        "netdev_budget": 300,
        "netdev_budget_usecs": 2000,
        "dev_weight": 64,
        "dev_weight_rx_bias": 1,
        "skb_defer_max": 0,
        "gro_normal_batch": 8,
        "flow_limit_cpu_bitmap": 0b1001,
        "flow_limit_table_len": 4096,
        "rps_sock_flow_entries": 0,
        "busy_poll": 0,
        "busy_read": 0,
    }
    assert [Kernel(hz=hz).sysctl_values()["netdev_budget_usecs"] for hz in (100, 250, 300)] == [
        20_000,
        8_000,
        6_666,
    ]


def test_thread_settings_go_from_the_special_to_the_general() -> None:
    kernel = scenario_from_dict(
        {
            "nic": [{"queues": 2}],
            "kernel": {
                "threads": {
                    "ksoftirqd": "fifo:1",
                    "ksoftirqd/2": "other:-5",
                    "irq/eth0-1": {"sched": "rr:7", "cpus": [3]},
                }
            },
        }
    ).kernel
    described = [
        (kernel.thread("ksoftirqd", 0)[0], ("fifo", 1, 0)),
        (kernel.thread("ksoftirqd", 2)[0], ("other", 0, -5)),
        (kernel.thread("backlog_napi", 0)[0], ("other", 0, 0)),
        (kernel.thread("irq", "eth0-0")[0], ("fifo", 50, 0)),
        (kernel.thread("irq", "eth0-1")[0], ("rr", 7, 0)),
    ]
    for sched, expected in described:
        assert (sched.policy, sched.rt_priority, sched.nice) == expected
    assert kernel.thread("irq", "eth0-1")[1] == (3,)
    assert kernel.thread("irq", "eth0-0")[1] is None
    assert kernel.threads["ksoftirqd"] == ThreadSetting(sched="fifo:1")


# Overrides

BASE = {
    "machine": {"cpus": 8},
    "nic": [{"name": "eth0", "queues": 1}, {"name": "eth1", "ring": 64}],
    "traffic": [
        {"kind": "constant", "nic": "eth0", "rate_pps": 10},
        {"kind": "poisson", "nic": "eth1", "rate_pps": 20},
    ],
    "application": [{"name": "web"}],
}


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("machine.cpus=16", lambda s: s.machine.cpus == 16),
        ("sysctl.skb_defer_max=128", lambda s: s.kernel.sysctl.skb_defer_max == 128),
        ("kernel.sysctl.skb_defer_max = 128", lambda s: s.kernel.sysctl.skb_defer_max == 128),
        ("kernel.hz=1000", lambda s: s.kernel.hz == 1000),
        ("kernel=6.1-rt", lambda s: (s.kernel.release, s.kernel.flavour) == ("6.1", "rt")),
        ("config.NET_FLOW_LIMIT=false", lambda s: not s.kernel.config.NET_FLOW_LIMIT),
        ("threads.ksoftirqd=fifo:1", lambda s: s.kernel.threads["ksoftirqd"].sched == "fifo:1"),
        ("threads.irq/eth1-0=fifo:60", lambda s: s.kernel.threads["irq/eth1-0"].sched == "fifo:60"),
        ("nic.eth0.rps_cpus=[1,2]", lambda s: (s.nic[0].rps_cpus, s.nic[1].rps_cpus) == ((1, 2), ())),
        ("nic.1.ring=99", lambda s: s.nic[1].ring == 99),
        ("nic.ring=77", lambda s: [nic.ring for nic in s.nic] == [77, 77]),
        ("traffic.1.rate_pps=5_000", lambda s: [one.rate_pps for one in s.traffic] == [10, 5000]),
        ("application.web.sched=fifo:3", lambda s: s.application[0].sched == "fifo:3"),
        ("measure.trace=full", lambda s: s.measure.trace == "full"),
        ('name="a b"', lambda s: s.name == "a b"),
        ("loopback.rps_cpus=[3]", lambda s: s.loopback == Loopback(rps_cpus=(3,))),
    ],
)
def test_overrides(override: str, read: Any) -> None:
    before = json.dumps(BASE)
    assert read(scenario_from_dict(BASE, [override]))
    assert json.dumps(BASE) == before


def test_the_last_override_wins() -> None:
    assert scenario_from_dict(BASE, ["machine.cpus=2", "machine.cpus=3"]).machine.cpus == 3


@pytest.mark.parametrize("override", ["nic.eth0.ring=5", "task.hog.duty=0.5", "task.1.duty=0.5", "sender.sender.size=99"])
def test_a_nameless_member_has_its_default_name(override: str) -> None:
    raw = {
        "nic": [{}],
        "application": [{"name": "a"}],
        "sender": [{"cpu": 0, "to": "a", "rate_pps": 1}],
        "task": [{"kind": "cyclictest", "cpu": 0}, {"kind": "hog", "cpu": 0}],
    }
    changed = scenario_from_dict(raw, [override])
    assert changed != scenario_from_dict(raw)
    assert (changed.nic[0].ring, changed.task[1].duty, changed.sender[0].size).count(  # type: ignore[union-attr]
        {"nic": 5, "task": 0.5, "sender": 99}[override.partition(".")[0]]
    ) == 1


def test_a_scenario_survives_pickling() -> None:
    described = load_scenario(ROOT / "examples" / "seed.toml")
    copy = pickle.loads(pickle.dumps(described))
    assert copy == described
    assert copy.directory == described.directory


# What follows from a scenario


def test_defaults_that_depend_on_others() -> None:
    assert [Nic(queues=4).irq_cpu(queue, 3) for queue in range(4)] == [0, 1, 2, 0]
    assert Nic(queues=2, irq_cpus=(3, 1)).irq_cpu(1, 4) == 1
    assert [Machine(cpus=5, numa_nodes=2).numa_node(cpu) for cpu in range(5)] == [0, 0, 0, 1, 1]
    assert Application(name="a").task_cpus == (0,)
    assert Application(name="a", cpu=2).task_cpus == (2,)
    assert Application(name="a", cpus=(2, 2)).task_cpus == (2, 2)
    assert Sender(cpu=0, to="a", rate_pps=3).gap_ns == 333_333_333
    assert Sender(cpu=0, to="a", interval_ns=1234).gap_ns == 1234
    assert (Cyclictest(cpu=0, interval_us=0.5 + 1).interval_ns, Measure(duration_ms=0.25).duration_ns) == (
        1500,
        250_000,
    )


def test_events_in_time_order() -> None:
    described = Scenario(
        nic=(Nic(name="a"), Nic(name="b")),
        event=(
            Event(at_ms=9, set="sysctl.skb_defer_max", value=4),
            Event(at_ms=2, set="nic.b.rps_cpus", value=(1, 2)),
            Event(at_ms=2, set="nic.a.gro", value=False),
            Event(at_ms=2, set="loopback.rps_cpus", value=()),
        ),
    )
    assert changes(described) == [
        (2_000_000, "nic", 1, "rps_cpus", (1, 2)),
        (2_000_000, "nic", 0, "gro", 0),
        (2_000_000, "loopback", -1, "rps_cpus", ()),
        (9_000_000, "sysctl", -1, "skb_defer_max", 4),
    ]


@pytest.mark.parametrize(
    ("raw", "note"),
    [
        (
            {"machine": {"isolated_cpus": [2]}, "nic": [{"rps_cpus": [1, 2]}]},
            "takes isolated CPUs out of the mask: 2",
        ),
        ({"nic": [{"napi_defer_hard_irqs": 2}]}, "no effect while gro_flush_timeout is 0"),
        ({"nic": [{"rps_flow_cnt": 64}]}, "RFS stays off"),
        ({"kernel": {"preempt": "lazy"}}, "since v6.13"),
        (
            {"kernel": {"release": "6.9", "threads": {"backlog_napi": "fifo:1"}}},
            "has no backlog_napi threads",
        ),
        ({"kernel": {"flavour": "rt", "boot_args": ["threadirqs"]}}, "always in force"),
        (
            {"nic": [{}], "traffic": [{"kind": "poisson", "rate_pps": 9}]},
            "no application receives udp on port 9",
        ),
        ({}, "nothing will happen"),
    ],
)
def test_what_the_kernel_does_otherwise_is_told(raw: dict[str, Any], note: str) -> None:
    assert any(note in line for line in scenario_from_dict(raw).notes())


def test_nothing_to_note() -> None:
    described = Scenario(
        nic=(Nic(),),
        traffic=(PoissonTraffic(rate_pps=9, dst_ports=(53,)),),
        application=(Application(name="dns", kind="udp", dst_ports=(53,)),),
    )
    assert described.notes() == ()


def test_the_command_prints_the_published_schema() -> None:
    from click.testing import CliRunner

    from softnet.cli.schema import command

    result = CliRunner().invoke(command)
    assert result.exit_code == 0
    assert result.output == (ROOT / SCHEMA_FILE).read_text(encoding="utf-8")
