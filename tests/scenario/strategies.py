# SPDX-License-Identifier: GPL-2.0-or-later
"""Random valid scenarios for Hypothesis, as the plain dicts that a TOML file would hold.

``scenario_dicts()`` draws small, short scenarios: other parts' tests run them too.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SCHEDS = st.one_of(
    st.just("other"),
    st.integers(-20, 19).map(lambda nice: f"other:{nice}"),
    st.builds("{}:{}".format, st.sampled_from(["fifo", "rr"]), st.integers(1, 99)),
)
NAMES = ("eth0", "eth1", "lan")


def some(draw: st.DrawFn, table: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """Some of the keys of a table, each with a value drawn for it."""
    return {key: draw(values) for key, values in table.items() if draw(st.booleans())}


def cpu_lists(cpus: int, low: int = 0) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, cpus - 1), min_size=low, max_size=cpus, unique=True)


@st.composite
def kernels(draw: st.DrawFn, cpus: int) -> dict[str, Any]:
    release = draw(st.sampled_from(["6.1", "6.9", "6.10", "6.12"]))
    flavour = draw(st.sampled_from(["plain", "rt"]))
    hz = draw(st.sampled_from([100, 250, 300, 1000]))
    kernel: dict[str, Any] = {"release": release, "flavour": flavour, "hz": hz}
    if flavour == "plain" and draw(st.booleans()):
        kernel["preempt"] = draw(st.sampled_from(["none", "voluntary", "full"]))
    known = ["threadirqs"] if release in ("6.1", "6.9") else ["threadirqs", "thread_backlog_napi"]
    kernel["boot_args"] = draw(st.lists(st.sampled_from(known), unique=True))
    kernel["sysctl"] = some(
        draw,
        {
            "netdev_max_backlog": st.integers(0, 2000),
            "netdev_budget": st.integers(1, 600),
            "netdev_budget_usecs": st.integers(2_000_000 // hz, 40_000),
            "dev_weight": st.integers(1, 128),
            "skb_defer_max": st.integers(0, 256),
            "gro_normal_batch": st.integers(1, 32),
            "flow_limit_cpu_bitmap": cpu_lists(cpus),
            "flow_limit_table_len": st.integers(0, 12).map(lambda power: 1 << power),
            "rps_sock_flow_entries": st.sampled_from([0, 1024, 1000]),
        },
    )
    kernel["threads"] = some(draw, {"ksoftirqd": SCHEDS, "backlog_napi/0": SCHEDS, "irq": SCHEDS, "napi": SCHEDS})
    return kernel


@st.composite
def nics(draw: st.DrawFn, name: str, cpus: int, isolated: list[int]) -> dict[str, Any]:
    queues = draw(st.integers(1, 4))
    nic = some(
        draw,
        {
            "ring": st.integers(1, 512),
            "irq_cpus": st.lists(st.integers(0, cpus - 1), min_size=queues, max_size=queues),
            "rx_usecs": st.integers(0, 100),
            "rx_frames": st.integers(0, 64),
            "rps_cpus": cpu_lists(cpus).filter(lambda chosen: not chosen or not set(chosen) <= set(isolated)),
            "rps_flow_cnt": st.sampled_from([0, 256, 300]),
            "threaded": st.booleans(),
            "gro": st.booleans(),
            "napi_defer_hard_irqs": st.integers(0, 3),
            "gro_flush_timeout": st.integers(0, 50_000),
            "weight": st.integers(1, 64),
            "rss": st.booleans(),
            "rx_flow_hash_udp": st.sampled_from(["sd", "sdfn"]),
        },
    )
    return {"name": name, "queues": queues, **nic}


@st.composite
def sources(draw: st.DrawFn, nic: str, duration_ms: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["constant", "poisson", "onoff"]))
    source: dict[str, Any] = {"kind": kind, "nic": nic, "rate_pps": draw(st.integers(1_000, 400_000))}
    if kind == "onoff":
        source |= {"on_us": draw(st.integers(1000, 3000)), "off_us": draw(st.integers(1, 3000))}
    sizes = st.tuples(st.integers(60, 1514), st.integers(1, 9)).map(list)
    return source | some(
        draw,
        {
            "flows": st.integers(1, 40),
            "sizes": st.lists(sizes, min_size=1, max_size=3),
            "proto": st.sampled_from(["tcp", "udp"]),
            "dst_ports": st.lists(st.sampled_from([80, 443, 5000]), min_size=1, max_size=2),
            "train": st.integers(1, 16),
            "start_ms": st.floats(0, duration_ms / 2),
        },
    )


def _live_value(draw: st.DrawFn, nic: dict[str, Any], cpus: int, isolated: list[int]) -> tuple[str, Any]:
    """A setting of a card that may change in a run, and a value for it."""
    steered = cpu_lists(cpus).filter(lambda chosen: not chosen or not set(chosen) <= set(isolated))
    queues = nic["queues"]
    key, values = draw(
        st.sampled_from(
            [
                ("rps_cpus", steered),
                ("rx_usecs", st.integers(0, 100)),
                ("rx_frames", st.integers(0, 64)),
                ("irq_cpus", st.lists(st.integers(0, cpus - 1), min_size=queues, max_size=queues)),
                ("gro", st.booleans()),
                ("napi_defer_hard_irqs", st.integers(0, 3)),
                ("gro_flush_timeout", st.integers(0, 50_000)),
            ]
        )
    )
    return f"nic.{nic['name']}.{key}", draw(values)


@st.composite
def live_events(
    draw: st.DrawFn, duration_ms: int, cpus: int, isolated: list[int], cards: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """CPUs that go and come back, settings of cards and of loopback that change under load."""
    found: list[tuple[float, str, Any]] = []
    at = st.floats(0, duration_ms * 0.9)
    if cpus > 1 and draw(st.booleans()):
        cpu, down = draw(st.integers(1, cpus - 1)), draw(at)
        found.append((down, f"cpu.{cpu}.online", 0))
        if draw(st.booleans()):
            found.append((down + draw(st.floats(0.01, 0.09 * duration_ms)), f"cpu.{cpu}.online", 1))
    for _ in range(draw(st.integers(0, 2))):
        found.append((draw(at), *_live_value(draw, draw(st.sampled_from(cards)), cpus, isolated)))
    if draw(st.booleans()):
        usable = [cpu for cpu in range(cpus) if cpu not in isolated]
        found.append((draw(at), "loopback.rps_cpus", draw(st.sampled_from([[], usable]))))
    return [{"at_ms": when, "set": what, "value": value} for when, what, value in found]


@st.composite
def scenario_dicts(draw: st.DrawFn, duration_ms: int = 5, cpus_max: int = 6, *, live: bool = False) -> dict[str, Any]:
    """A valid scenario with up to two NICs, two sources, two applications, a sender and two tasks.

    ``live`` adds hotplug and changes of cards' settings to the events.
    """
    cpus = draw(st.integers(1, cpus_max))
    isolated = draw(cpu_lists(cpus).filter(lambda chosen: len(chosen) < cpus))
    cpu = st.integers(0, cpus - 1)
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
    applications = [
        {
            "name": f"app-{kind}",
            "kind": kind,
            "cpu": draw(cpu),
            "sched": draw(SCHEDS),
            "service_ns": draw(st.integers(0, 9000)),
        }
        for kind in draw(st.lists(st.sampled_from(["tcp", "udp"]), unique=True))
    ]
    senders = [
        {
            "name": f"to-{app['name']}",
            "cpu": draw(cpu),
            "to": app["name"],
            "interval_ns": draw(st.integers(2000, 10**6)),
        }
        for app in applications
        if draw(st.booleans())
    ]
    tasks: list[dict[str, Any]] = []
    if draw(st.booleans()):
        tasks.append(
            {
                "kind": "cyclictest",
                "cpu": draw(cpu),
                "interval_us": draw(st.integers(100, 2000)),
                "sched": draw(SCHEDS),
            }
        )
    if draw(st.booleans()):
        tasks.append({"kind": "hog", "cpu": draw(cpu), "sched": "other", "duty": draw(st.floats(0.1, 1))})
    events = [
        {
            "at_ms": draw(st.floats(0, duration_ms, exclude_max=True)),
            "set": "sysctl.skb_defer_max",
            "value": draw(st.integers(0, 200)),
        }
        for _ in range(draw(st.integers(0, 2)))
    ]
    cards = [draw(nics(name, cpus, isolated)) for name in names]
    if live:
        events += draw(live_events(duration_ms, cpus, isolated, cards))
    # Some of an event's times round up to the end of the run, which is too late.
    events = [event for event in events if round(event["at_ms"] * 1e6) < duration_ms * 10**6]
    return {
        "name": "random",
        "machine": {"cpus": cpus, "isolated_cpus": isolated, "numa_nodes": draw(st.integers(1, cpus))},
        "kernel": draw(kernels(cpus)),
        "nic": cards,
        "traffic": [draw(sources(draw(st.sampled_from(names)), duration_ms)) for _ in range(draw(st.integers(0, 2)))],
        "application": applications,
        "sender": senders,
        "task": tasks,
        "event": events,
        "measure": {"duration_ms": duration_ms, "seed": draw(st.integers(0, 2**63 - 1))},
    }
