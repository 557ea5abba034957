# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change of the kernel was said to be worth, beside what it is worth in the model.

    python bench/effects.py [--list] [COMMIT ...]

Each row is a commit whose text, or whose series' cover letter, states an effect. The model runs without and with it: the same
release, one stack with the commit's patch on top. A size is right where the model's effect is within a factor of 1.5 of the
published one, both as logarithms of after / before; where the text gives no size, the direction is held. A row that misses, or that
the model cannot try, has its reason. Status 1: a direction is wrong.

The published figures are of machines that the model is not fitted to, so a size is a coincidence more often than a prediction.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softnet import Result, run
from softnet.scenario import Scenario, scenario_from_dict

PATCHES: Final = Path(__file__).resolve().parents[1] / "src" / "softnet" / "linux" / "patches"
FACTOR: Final = 1.5
STEPS: Final = 9
"""Halvings of the interval in which a capacity is sought."""
LOST_PERMILLE: Final = 1
"""Of the packets at a rate that still counts as managed."""


@dataclass(frozen=True)
class Side:
    """A kernel without or with the change: a release, modules of softnet.linux.patches on top, settings."""

    kernel: str
    patches: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def run(self, scenario: Scenario) -> Result:
        """One run."""
        files = [str(PATCHES / f"{name}.py") for name in self.patches]
        return run(scenario, kernel=self.kernel, settings=self.settings, patches=files, trace="off").result


@dataclass(frozen=True)
class Effect:
    """A published effect. ``published`` is before and after, or the two ratios between which the text puts it, or a direction."""

    commit: str
    text: str
    """What the text says, in few words, and of what."""
    link: str
    published: tuple[float, float] | float
    """(the least ratio, the greatest ratio) of after to before; +1 or -1 where only the direction is said."""
    figure: str = ""
    """What is taken from the model."""
    before: Side | None = None
    after: Side | None = None
    measure: Callable[[Side], float] | None = None
    why: str = ""
    """Why the size misses, or why the model cannot try it."""


# -- scenarios


def _scenario(cpus: int, rate_pps: int, **more: Any) -> Scenario:
    """A card and an application, 60 ms of them, unless ``more`` says otherwise."""
    machine = {"cpus": cpus, **more.pop("machine", {})}
    traffic = {"kind": "poisson", "rate_pps": max(rate_pps, 1), **more.pop("traffic", {})}
    nic = {"name": "eth0", "ring": 1024, **more.pop("nic", {})}
    measure = {"duration_ms": 60, "warmup_ms": 10, **more.pop("measure", {})}
    sockets = [{"name": "sink", **more.pop("application", {})}]
    kernel = more.pop("kernel", {})
    assert not more, more
    raw = {"name": "effect", "machine": machine, "kernel": kernel, "nic": [nic], "traffic": [traffic]}
    return scenario_from_dict({**raw, "application": sockets, "measure": measure})


def _seconds(result: Result) -> float:
    return (result.duration_ns - result.warmup_ns) / 1e9


def _received(result: Result) -> float:
    """Packets that the application reads, each second."""
    return result.counters["delivered"] / _seconds(result)


def capacity(side: Side, of_rate: Callable[[int], Scenario], low: int, high: int) -> float:
    """The highest rate at which next to nothing is dropped."""
    for _ in range(STEPS):
        rate = (low + high) // 2
        result = side.run(of_rate(rate))
        arrived = max(result.conservation.arrived, 1)
        waiting = sum(result.conservation.queued.values())
        lost = result.counters["dropped"] + max(waiting - arrived // 100, 0)
        low, high = (rate, high) if lost * 1000 <= LOST_PERMILLE * arrived else (low, rate)
    return float(low)


def _flood_beside_reader(side: Side) -> float:
    """A card's interrupt and the one reader of a UDP socket on the same CPU, six million datagrams a second."""
    sink = {"kind": "udp", "cpu": 0, "service_ns": 100, "dst_ports": [9]}
    return _received(
        side.run(_scenario(1, 6_000_000, traffic={"sizes": [[60, 1]]}, application=sink, measure={"duration_ms": 300}))
    )


def _efficiency(result: Result, cpus: Sequence[int]) -> float:
    """Packets delivered for each second in which these CPUs do anything."""
    busy = sum(ns for cpu in cpus for name, ns in result.cpu_time_ns[cpu].items() if name != "idle")
    return result.counters["delivered"] * 1e9 / busy


def _stream(rate: int) -> Scenario:
    """One TCP connection in frames of 1,514 bytes, RFS: the card's CPU is not that of the reader."""
    return _scenario(
        2,
        rate,
        kernel={"sysctl": {"rps_sock_flow_entries": 1024}},
        nic={"irq_cpus": [0], "rps_cpus": [1], "rps_flow_cnt": 256},
        traffic={"kind": "constant", "proto": "tcp", "dst_ports": [80], "sizes": [[1514, 1]], "train": 64},
        application={"kind": "tcp", "cpu": 1, "service_ns": 0, "dst_ports": [80], "rcvbuf": 16_000_000},
    )


def _many_producers(rate: int, nodes: int = 1, producers: int = 4, rcvbuf: int = 4_000_000) -> Scenario:
    """UDP datagrams with 120 bytes of payload for one socket, from as many queues as there are producers; the last CPU reads."""
    return _scenario(
        producers + 1,
        rate,
        machine={"numa_nodes": nodes},
        nic={"queues": producers, "irq_cpus": list(range(producers)), "rx_usecs": 20},
        traffic={"sizes": [[162, 1]], "flows": 256},
        application={"kind": "udp", "cpu": producers, "service_ns": 0, "dst_ports": [9], "rcvbuf": rcvbuf},
    )


def _pairs() -> Scenario:
    """Eight senders over loopback, each as fast as it can, and their readers on CPUs of the other node."""
    raw = {
        "name": "effect",
        "machine": {"cpus": 16, "numa_nodes": 2},
        "application": [
            {"name": f"reader{n}", "kind": "udp", "cpu": 8 + n, "service_ns": 0, "dst_ports": [5000 + n]} for n in range(8)
        ],
        "sender": [{"name": f"sender{n}", "cpu": n, "to": f"reader{n}", "interval_ns": 1000, "size": 1514} for n in range(8)],
        "measure": {"duration_ms": 60, "warmup_ms": 10},
    }
    return scenario_from_dict(raw)


def _attack(side: Side) -> Result:
    """Twenty million datagrams a second for one socket, on 23 CPUs of six nodes."""
    return side.run(_many_producers(20_000_000, nodes=6, producers=23, rcvbuf=212_992))


def _handled(side: Side) -> float:
    """Datagrams that came to the socket, taken or refused."""
    result = _attack(side)
    return _received(result) + result.conservation.dropped.get("SOCKET_RCVBUFF", 0) * 1e9 / result.duration_ns


def _frees_from_two_nodes(side: Side) -> Result:
    """TCP from one card's CPU, freed by seven readers of two NUMA nodes."""
    return side.run(
        _scenario(
            8,
            1_000_000,
            machine={"numa_nodes": 2},
            nic={"irq_cpus": [0], "gro": False},
            traffic={"proto": "tcp", "flows": 256, "dst_ports": [80], "sizes": [[590, 1]]},
            application={"kind": "tcp", "cpus": list(range(1, 8)), "service_ns": 500, "dst_ports": [80]},
        )
    )


def _contention(side: Side) -> float:
    """ns for each deferred skb that the readers spin, and wait for the lines of others."""
    result = _frees_from_two_nodes(side)
    return sum(result.locks["spin_ns"]) / max(result.counters["deferred"], 1)


def _rpc(side: Side) -> Result:
    """RPC over eight queues, with RFS, at a third of what the CPUs manage."""
    return side.run(
        _scenario(
            8,
            800_000,
            kernel={"sysctl": {"rps_sock_flow_entries": 32768}},
            nic={"queues": 8, "irq_cpus": list(range(8)), "rps_cpus": list(range(8)), "rps_flow_cnt": 4096},
            traffic={"proto": "tcp", "flows": 512, "dst_ports": [80], "sizes": [[200, 1]]},
            application={"kind": "tcp", "cpus": list(range(8)), "service_ns": 2000, "dst_ports": [80]},
        )
    )


def _one_cpu(rate: int) -> Scenario:
    """TCP received and read on one CPU, which allocated what it frees."""
    return _scenario(
        1,
        rate,
        nic={"irq_cpus": [0], "gro": False},
        traffic={"proto": "tcp", "flows": 32, "dst_ports": [80], "sizes": [[200, 1]]},
        application={"kind": "tcp", "cpu": 0, "service_ns": 0, "dst_ports": [80]},
    )


def _bursts(side: Side) -> Result:
    """Bursts of 400 TCP segments and then silence, read on another CPU: the list's owner must be kicked."""
    return side.run(
        _scenario(
            2,
            2_000_000,
            nic={"irq_cpus": [0], "gro": False},
            traffic={
                "kind": "onoff",
                "on_us": 200,
                "off_us": 4800,
                "proto": "tcp",
                "flows": 64,
                "dst_ports": [80],
                "sizes": [[590, 1]],
            },
            application={"kind": "tcp", "cpu": 1, "service_ns": 3000, "dst_ports": [80]},
            measure={"duration_ms": 200},
        )
    )


def _threaded_rps(side: Side) -> Result:
    """A card polled in a thread, steered by RPS."""
    return side.run(
        _scenario(
            4,
            100_000,
            nic={"irq_cpus": [0], "threaded": True, "rps_cpus": [1, 2, 3]},
            traffic={"proto": "tcp", "flows": 64, "dst_ports": [80], "sizes": [[590, 1]]},
            application={"kind": "tcp", "cpus": [1, 2, 3], "service_ns": 1000, "dst_ports": [80]},
        )
    )


def _backlog_attack(side: Side, flows: int = 64, **sysctl: Any) -> Result:
    """Seven CPUs of two nodes steer a flood to one CPU's backlog, which holds little of it."""
    return side.run(
        _scenario(
            8,
            8_000_000,
            machine={"numa_nodes": 2},
            kernel={"sysctl": {"netdev_max_backlog": 100, **sysctl}},
            nic={"queues": 7, "irq_cpus": list(range(7)), "rps_cpus": [7]},
            traffic={"sizes": [[60, 1]], "flows": flows},
            application={"kind": "udp", "cpu": 7, "service_ns": 0, "dst_ports": [9]},
        )
    )


def _cost_of_drops(side: Side, flows: int = 64, **sysctl: Any) -> float:
    """ns that the steering CPUs are busy for each packet, nearly all of which the backlog drops."""
    result = _backlog_attack(side, flows, **sysctl)
    busy = sum(ns for times in result.cpu_time_ns[:7] for name, ns in times.items() if name != "idle")
    return busy / sum(result.events["nic_rx"][:7])


def _memcached(rate: int) -> Scenario:
    """One queue and one task of the eight: requests of 100 bytes, 6 us of work and answer for each."""
    polls: dict[str, Any] = {"kind": "tcp", "cpu": 0, "service_ns": 6000, "dst_ports": [80]}
    return _scenario(
        1,
        rate,
        nic={"irq_cpus": [0], "gro": False},
        traffic={"proto": "tcp", "flows": 40, "dst_ports": [80], "sizes": [[166, 1]]},
        application=polls,
        measure={"duration_ms": 200},
    )


SUSPEND: Final = (
    "nic.eth0.napi_defer_hard_irqs=100",
    "nic.eth0.gro_flush_timeout=20000",
    "nic.eth0.irq_suspend_timeout=20000000",
    "application.sink.prefer_busy_poll=true",
    "application.sink.busy_poll_budget=64",
)


def _p99_ns(side: Side) -> float:
    """The 99th percentile of an application's latency at 0.96 of the load that the base manages."""
    result = side.run(_memcached(122_000))
    return float(next(iter(result.latency.values())).quantile_ns(99, 100))


# -- the table

_LORE: Final = "https://lore.kernel.org/netdev/"
_NO_BUSYLOCK: Final = (
    "the busylock, on which the CPUs spun before, is not in the model: what they cannot queue they refuse without the change, too"
)
_NAPI_RPS: Final = ("in_net_rx_action", "optimize_napi_schedule_rps", "avoid_extra_net_rx")

EFFECTS: Final = (
    Effect(
        "4cd13c21b207",
        "a UDP reader beside its softirq: 2,000 to 900,000 packets/s; taken back by d15121be7485",
        "https://git.kernel.org/torvalds/c/4cd13c21b207",
        (450.0, 450.0),
        "packets/s read, without the gate and with it",
        Side("6.1", ("ksoftirqd_gate_revert",)),
        Side("6.1"),
        _flood_beside_reader,
    ),
    Effect(
        "68822bdf76f1",
        "one TCP stream with RFS: 49,685 to 73,076 Mbit/s",
        f"{_LORE}20220422201237.416238-1-eric.dumazet@gmail.com",
        (73076 / 49685, 73076 / 49685),
        "packets for each second that the reader's CPU is busy, skb_defer_max 0 and 64",
        Side("6.1", (), ("sysctl.skb_defer_max=0",)),
        Side("6.1"),
        lambda side: _efficiency(side.run(_stream(4_000_000)), [1]),
        "only an skb's head and data cost something to free in the model, its pages nothing; in its profile freeing is 28 %"
        " of the reader's time, which alone is x 1.38",
    ),
    Effect(
        "821eba962d95, 8b43fd3d1d7d",
        "RPC over 32 queues with RFS: some 10 % fewer NET_RX raised",
        f"{_LORE}20230328235021.1048163-1-edumazet@google.com",
        (0.9, 0.9),
        "runs of NET_RX's handler for each packet",
        Side("6.1"),
        Side("6.1", _NAPI_RPS),
        lambda side: (lambda r: sum(r.events["softirq_entry"]) / r.counters["delivered"])(_rpc(side)),
        "a card's handler also serves the completions of what it sent, and the model's card sends nothing;"
        " with 50 us of coalescing it is x 0.77",
    ),
    Effect(
        "a1aaee7f8f79, 87eff2ec57b6",
        "a NAPI thread that steers need not raise NET_RX",
        f"{_LORE}20230421094357.1693410-1-edumazet@google.com",
        -1,
        "NET_RX raised on the card's CPU for each packet",
        Side("6.1", (*_NAPI_RPS, "defer_lock_bh")),
        Side("6.1", (*_NAPI_RPS, "defer_lock_bh", "threaded_poll_defer_flush", "threaded_poll_rps")),
        lambda side: (lambda r: r.events["net_rx_raise"][0] / r.counters["delivered"])(_threaded_rps(side)),
    ),
    Effect(
        "80d2eefcb4c8",
        "on PREEMPT_RT the kick's IPI raises NET_RX and wakes ksoftirqd; no more",
        f"{_LORE}20240325074943.289909-4-bigeasy@linutronix.de",
        -1,
        "trigger_rx_softirq() runs",
        Side("6.9-rt"),
        Side("6.10-rt"),
        lambda side: float(_bursts(side).counters["trigger_rx_softirq"]),
    ),
    Effect(
        "7cb31c46b9cc",
        "frees on the CPU that allocated: around 1 % more throughput",
        f"{_LORE}cover.1712711977.git.asml.silence@gmail.com",
        (1.01, 1.01),
        "packets for each second that the CPU is busy",
        Side("6.10"),
        Side("6.10", ("nodefer_napi_cache",)),
        lambda side: _efficiency(side.run(_one_cpu(250_000)), [0]),
        "what is saved is most of all the page pool's: frags that are freed in NAPI's context go back to it at once",
    ),
    Effect(
        "8a6de2627fd3",
        "memcached, MAX: 1,037,654 to 1,216,469 requests/s with suspend20",
        f"{_LORE}20241108023912.98416-1-jdamato@fastly.com",
        (1216469 / 1037654, 1216469 / 1037654),
        "requests/s at which nothing is lost, base and suspend20",
        Side("6.18"),
        Side("6.18", (), SUSPEND),
        lambda side: capacity(side, _memcached, 20_000, 400_000),
        "the model charges what interrupts and softirqs take, and not that they displace the application's caches",
    ),
    Effect(
        "8a6de2627fd3",
        "memcached at 1,000,000 requests/s: 99 % of them within 6,216 us and 226 us",
        f"{_LORE}20241108023912.98416-1-jdamato@fastly.com",
        (226 / 6216, 226 / 6216),
        "99th percentile of the latency, base and suspend20",
        Side("6.18"),
        Side("6.18", (), SUSPEND),
        _p99_ns,
        "the load was above what the base managed there (906,879 served); here it is 0.96 of that, and its queue has an end",
    ),
    Effect(
        "fdae0ab67d57",
        "a flood on a backlog from several nodes suffers from sd->dropped's line",
        f"{_LORE}20250909121942.1202585-1-edumazet@google.com",
        -1,
        "ns of seven steering CPUs for each packet of a flood on one backlog",
        Side("6.12", ("enqueue_running_unlocked",)),
        Side("6.12", ("enqueue_running_unlocked", "drop_counters_numa")),
        _cost_of_drops,
    ),
    Effect(
        "6471658dc66c",
        "UDP freed by deferral: 20 to 30 % more throughput",
        f"{_LORE}20250916160951.541279-11-edumazet@google.com",
        (1.2, 1.3),
        "datagrams/s for one socket from four CPUs at which nothing is lost",
        Side("6.12"),
        Side("6.12", ("udp_defer_free",)),
        lambda side: capacity(side, _many_producers, 100_000, 8_000_000),
    ),
    Effect(
        "6471658dc66c",
        "the kernel test robot, UDP_STREAM over loopback, 96 pairs on 192 CPUs of two sockets: x 3.0",
        "https://download.01.org/0day-ci/archive/20250926/202509261609.dec14b91-lkp@intel.com",
        (3.0, 3.0),
        "datagrams/s of 8 pairs on 16 CPUs of two nodes, which do not wait",
        Side("6.12"),
        Side("6.12", ("udp_defer_free",)),
        lambda side: _received(side.run(_pairs())),
        "96 readers met on the locks of the page allocator and of slabs, cache references fell by 84 %; pages cost nothing here",
    ),
    Effect(
        "b650bf0977d3",
        "UDP attack, six nodes: 1,004,179 to 1,116,633 datagrams/s read",
        f"{_LORE}20250921095802.875191-1-edumazet@google.com",
        (1116633 / 1004179, 1116633 / 1004179),
        "datagrams/s read under 20 million/s from 23 CPUs",
        Side("6.12", ("udp_defer_free",)),
        Side("6.12", ("udp_defer_free", "udp_prod_queue")),
        lambda side: _received(_attack(side)),
        _NO_BUSYLOCK,
    ),
    Effect(
        "b650bf0977d3",
        "the same attack: 1.0 to 15.3 million datagrams/s taken or refused by the socket",
        f"{_LORE}20250921095802.875191-1-edumazet@google.com",
        (15313908 / 1007296, 15313908 / 1007296),
        "datagrams/s that came to the socket",
        Side("6.12", ("udp_defer_free",)),
        Side("6.12", ("udp_defer_free", "udp_prod_queue")),
        _handled,
        _NO_BUSYLOCK,
    ),
    Effect(
        "5628f3fe3b16",
        "lockless lists for each node: significant cost reductions above 20 Mpps",
        f"{_LORE}20250928084934.3266948-1-edumazet@google.com",
        -1,
        "ns of spinning for each deferred skb",
        Side("6.12", ("udp_prod_queue",)),
        Side("6.12", ("udp_prod_queue", "defer_nodes")),
        _contention,
    ),
    Effect(
        "a086e9860ce6",
        "the flow limit before the backlog's lock: better resistance to attacks",
        f"{_LORE}20251024090517.3289181-1-edumazet@google.com",
        -1,
        "ns of seven steering CPUs for each packet, flow limit on",
        Side("6.18"),
        Side("6.18", ("flow_limit_unlocked",)),
        lambda side: _cost_of_drops(side, 8, netdev_max_backlog=1000, flow_limit_cpu_bitmap=[0, 1, 2, 3, 4, 5, 6]),
    ),
    Effect(
        "b61785852ed0",
        "skb_defer_max 128: not too many calls of kick_defer_list_purge()",
        f"{_LORE}20251106202935.1776179-4-edumazet@google.com",
        -1,
        "kicks, skb_defer_max 64 and 128",
        Side("6.18"),
        Side("6.18", (), ("sysctl.skb_defer_max=128",)),
        lambda side: float(_bursts(side).counters["kicks"]),
    ),
    Effect(
        "e20dfbad8aab",
        "UDP sent through 32 queues: 80 to 120 Mpps",
        f"{_LORE}20251106202935.1776179-3-edumazet@google.com",
        (1.5, 1.5),
        why="a card of the model does not send: there are no completions to free",
    ),
    Effect(
        "21664814b89e",
        "UDP sent: 120 to 130 Mpps",
        f"{_LORE}20251116202717.1542829-4-edumazet@google.com",
        (130 / 120, 130 / 120),
        why="a card of the model does not send, so its completions do not fill the cache that a sender would take from",
    ),
    Effect(
        "3cd04c8f4afe and nine more",
        "UDP attack on IPv6, 16 CPUs to one socket: 47 % more",
        f"{_LORE}20250916160951.541279-1-edumazet@google.com",
        (1.47, 1.47),
        why="of its ten patches the model has the last (6471658dc66c above): neither the layout of struct sock nor the busylock",
    ),
)  # fmt: skip


# -- judging and printing


def right(published: tuple[float, float] | float, ratio: float) -> str:
    """What is to be said of the model's ratio of after to before."""
    if isinstance(published, tuple):
        low, high = sorted(math.log(one) for one in published)
        if low < 0:
            low, high = -high, -low
            ratio = 1 / ratio if ratio else math.inf
        found = math.log(ratio) if ratio > 0 else -math.inf
        if found <= 0:
            return "WRONG DIRECTION"
        if low / FACTOR <= found <= high * FACTOR:
            return "hit"
        return "direction, too small" if found < low else "direction, too large"
    if ratio == 1:
        return "NO EFFECT"
    return "direction" if (ratio > 1) == (published > 0) else "WRONG DIRECTION"


def said(published: tuple[float, float] | float) -> str:
    """The published ratio."""
    if not isinstance(published, tuple):
        return "more" if published > 0 else "less"
    low, high = published
    return f"x {low:.3g}" if low == high else f"x {low:.3g} to {high:.3g}"


def row(effect: Effect) -> tuple[str, ...]:
    """Commit, published, its ratio, what the model is asked, without, with, ratio, verdict."""
    head = (effect.commit, effect.text, said(effect.published))
    if effect.measure is None or effect.before is None or effect.after is None:
        return (*head, "-", "-", "-", "-", f"not tried: {effect.why}")
    before, after = effect.measure(effect.before), effect.measure(effect.after)
    ratio = after / before if before else math.inf
    verdict = right(effect.published, ratio)
    why = f": {effect.why}" if effect.why and verdict not in ("hit", "direction") else ""
    return (*head, effect.figure, f"{before:,.4g}", f"{after:,.4g}", f"x {ratio:.3g}", verdict + why)


HEADER: Final = ("commit", "published", "ratio", "the model's figure", "without", "with", "ratio", "verdict")


def main(words: Sequence[str]) -> int:
    """Print the rows as a table in Markdown."""
    parser = argparse.ArgumentParser(description="Published effects beside the model's.")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("commits", nargs="*")
    given = parser.parse_args(words)
    wrong = 0
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    for effect in EFFECTS:
        if given.commits and not any(commit in effect.commit for commit in given.commits):
            continue
        if given.list:
            print(f"| {effect.commit} | {effect.text} | {said(effect.published)} | {effect.link} |")
            continue
        cells = row(effect)
        wrong += "WRONG" in cells[-1]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
