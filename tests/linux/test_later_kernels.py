# SPDX-License-Identifier: GPL-2.0-or-later
"""6.18, 6.19 and 7.3: what each patch module changes is there, and is not if that module alone is taken out of the release."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.linux.support import Run, drain_scenario, loopback_scenario, named, scenario, simulate
from tests.mutation import mutate

from softnet.errors import SoftnetError
from softnet.image.readout import word
from softnet.linux.releases import RELEASES, modules_for, patch_info
from softnet.linux.source import linked_source
from softnet.scenario import Scenario, parse_kernel
from softnet.simulate.program import load_program
from softnet.simulate.simulation import Simulation

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]

LATER = ("6.18", "6.19", "7.3")


def run_of(what: Scenario, patches: tuple[str, ...] = ()) -> tuple[Run, Simulation]:
    """Without checks: a kernel without one of its modules need not hold to anything."""
    sim = Simulation(what, patches=patches, trace="full", engine="reference")
    return sim.finish(), sim


def udp_scenario(on: str, *, queues: int = 1, rate_pps: int = 400_000, **more: Any) -> Scenario:
    """UDP on one CPU for each queue, read on the last CPU."""
    tables: dict[str, Any] = {
        "machine": {"cpus": queues + 1, **more.pop("machine", {})},
        "nic": [{"name": "eth0", "queues": queues, "irq_cpus": list(range(queues)), "gro": False}],
        "traffic": [{"kind": "constant", "rate_pps": rate_pps, "flows": 16, "proto": "udp", "sizes": [[128, 1.0]]}],
        "application": [{"name": "sink", "kind": "udp", "cpu": queues}],
        "measure": {"duration_ms": 1},
    }
    tables.update(more)
    return scenario(on, **tables)


def upper_bits(number: int, bits: int) -> int:
    """hash_32() as include/linux/hash.h defines it: the upper bits of a product."""
    return (number * 0x61C88647 % 2**32) >> (32 - bits)


def hashes(run: Run, sim: Simulation) -> set[int]:
    """The hashes of all skbs that were handed out and steered."""
    image = sim.image
    return {word(image, "sk_buff", i, "hash") for i in range(image.layout.tables["sk_buff"].count)} - {0}


def rfs_slots(kernel: str, tmp_path: Path) -> bool:
    """Whether the flows stand where the upper bits of their multiplied hashes say."""
    what = udp_scenario(
        kernel,
        kernel={"sysctl": {"rps_sock_flow_entries": 64}},
        nic=[{"name": "eth0", "irq_cpus": [0], "rps_flow_cnt": 64, "gro": False}],
        traffic=[{"kind": "constant", "rate_pps": 200_000, "flows": 8, "proto": "tcp", "sizes": [[128, 1.0]]}],
        application=[{"name": "sink", "kind": "tcp", "cpu": 1}],
        measure={"duration_ms": 2},
    )
    run, sim = run_of(what)
    used = {i for i in range(64) if word(sim.image, "rps_dev_flow", i, "cpu") != 0xFFFF}
    assert used, "no flow was steered by RFS"
    return {upper_bits(number, 6) for number in hashes(run, sim)} <= used


def flow_limit_buckets(kernel: str, tmp_path: Path) -> bool:
    """The same of the flow limit's buckets."""
    what = udp_scenario(
        kernel,
        rate_pps=2_000_000,
        kernel={"sysctl": {"flow_limit_cpu_bitmap": [0], "netdev_max_backlog": 20}},
        nic=[{"name": "eth0", "irq_cpus": [0], "rps_cpus": [1], "rx_usecs": 100, "gro": False}],
    )
    run, sim = run_of(what)
    at = sim.image.ref("sd_flow_limit", 0)
    used = {i for i in range(at.num_buckets) if at.buckets[i]}
    assert used, "no backlog was half full"
    return used <= {upper_bits(number, at.num_buckets.bit_length() - 1) for number in hashes(run, sim)}


def text_of(kernel: str, function: str) -> list[str]:
    """The names that a function calls, in the order of its text."""
    choice = parse_kernel(kernel)
    source = linked_source(choice.release, choice.flavour, label=kernel)
    (definition,) = ast.parse("\n".join(source.definition(function).pieces[-1].text)).body
    calls = [n for n in ast.walk(definition) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [c.func.id for c in sorted(calls, key=lambda c: (c.lineno, c.col_offset)) if isinstance(c.func, ast.Name)]


def device_first(kernel: str, tmp_path: Path) -> bool:
    """Whether the device is looked at before the backlog's lock is taken."""
    calls = text_of(kernel, "enqueue_to_backlog")
    return calls.index("netif_running") < calls.index("backlog_lock_irq_save")


def flow_limit_first(kernel: str, tmp_path: Path) -> bool:
    """Whether the flow limit is asked before the backlog's lock is taken."""
    calls = text_of(kernel, "enqueue_to_backlog")
    return calls.index("skb_flow_limit") < calls.index("backlog_lock_irq_save")


def two_drop_counters(kernel: str, tmp_path: Path) -> bool:
    """Whether drops of CPUs on two nodes are counted on two lines, and are all in softnet_stat."""
    what = udp_scenario(
        kernel,
        queues=2,
        machine={"numa_nodes": 2},
        kernel={"sysctl": {"netdev_max_backlog": 5}},
        nic=[{"name": "eth0", "queues": 2, "irq_cpus": [0, 2], "rps_cpus": [1], "rx_usecs": 50, "gro": False}],
        application=[{"name": "sink", "kind": "udp", "cpu": 1}],
        traffic=[{"kind": "constant", "rate_pps": 3_000_000, "flows": 16, "proto": "udp", "sizes": [[128, 1.0]], "stop_ms": 0.6}],
    )
    run, sim = run_of(what)
    drops = named(run, "backlog_drop")
    assert {r.cpu for r in drops} == {0, 2}
    assert run.result.conservation.dropped["CPU_BACKLOG"] == len(drops)
    told = sum(int(line.split()[1], 16) for line in run.result.softnet_stat)
    assert told == len(drops)
    if "drop_counters" not in sim.program.structs["softnet_data"].fields:
        return False
    counted = [word(sim.image, "softnet_data", 1, f"drop_counters.drops{node}") for node in range(2)]
    return all(counted) and sum(counted) == len(drops)


def udp_is_deferred(kernel: str, tmp_path: Path) -> bool:
    """Whether a UDP reader's skbs go home through the defer list."""
    return run_of(udp_scenario(kernel))[0].result.counters["deferred"] > 0


def list_takes(kernel: str, tmp_path: Path) -> int:
    """How many skbs a defer list of which nobody is told takes: with skb_defer_max 8, and a kick that does nothing."""
    silent = mutate(tmp_path, kernel, "trigger_rx_softirq", "__raise_softirq_irqoff(NET_RX_SOFTIRQ)", "barrier()")
    run, _ = run_of(drain_scenario(kernel, defer_max=8, kernel_table={"boot_args": ["idle=halt"]}), (silent,))
    return max(r.c for r in named(run, "skb_attempt_defer_free"))


def two_tasks_serve_softirqs(kernel: str, tmp_path: Path) -> bool:
    """Whether a task serves softirqs on a CPU of PREEMPT_RT while another one of it is in the middle of that."""
    what = scenario(
        kernel,
        machine={"cpus": 2},
        kernel={"threads": {"irq/eth0-0": "fifo:40", "irq/eth1-0": "fifo:60"}},
        nic=[{"name": name, "irq_cpus": [0], "gro": False} for name in ("eth0", "eth1")],
        traffic=[
            {"nic": name, "kind": "poisson", "rate_pps": 150_000, "flows": 4, "proto": "udp", "sizes": [[128, 1.0]]}
            for name in ("eth0", "eth1")
        ],
        application=[{"name": "sink", "kind": "udp", "cpu": 1}],
        measure={"duration_ms": 3},
    )
    deep = 0
    for record in named(run_of(what)[0], "softirq_entry", "softirq_exit"):
        if record.cpu == 0:
            deep += 1 if record.event == named_id("softirq_entry") else -1
            if deep > 1:
                return True
    return False


def named_id(name: str) -> int:
    from softnet.trace import EVENT_ID

    return EVENT_ID[name]


def consumed_at_home(kernel: str, tmp_path: Path) -> bool:
    """Whether napi_consume_skb() defers: a reader that calls it as a card's poll does."""
    old = "        skb_attempt_defer_free(skb)\n        return\n"
    new = "        local_bh_disable()\n        napi_consume_skb(skb, 1)\n        local_bh_enable()\n        return\n"
    poll = mutate(tmp_path, kernel, "skb_consume_udp", old, new)
    return run_of(udp_scenario(kernel), (poll,))[0].result.counters["deferred"] > 0


def own_limit(kernel: str, tmp_path: Path) -> int:
    """What net.core.skb_defer_max is where nobody sets it."""
    return load_program(loopback_scenario(kernel)).structs["net_hotdata"].fields["sysctl_skb_defer_max"].init


def cache_of_the_sender(kernel: str, tmp_path: Path) -> bool:
    """Whether the CPU that sends uses up what is freed into its NAPI cache."""
    _, sim = run_of(loopback_scenario(kernel))
    return word(sim.image, "napi_alloc_cache", 0, "skb_count") < 8


def cache_after_one(kernel: str, tmp_path: Path) -> int:
    """How many skbs are left in a NAPI cache that was empty, behind the first."""
    what = udp_scenario(kernel, rate_pps=1000, measure={"duration_ms": 0.9})
    run, sim = run_of(what)
    assert len(named(run, "alloc_skb")) == 1
    return word(sim.image, "napi_alloc_cache", 0, "skb_count")


def counts_what_it_never_takes(kernel: str, tmp_path: Path) -> bool:
    """Whether a counter grows while deferral is off."""
    _, sim = run_of(udp_scenario(kernel, kernel={"sysctl": {"skb_defer_max": 0}}))
    return word(sim.image, "skb_defer_node", 0, "defer_count") > 0


def left_on_a_dead_cpu(kernel: str, tmp_path: Path) -> bool:
    """Whether what was deferred to a CPU that goes down stays there."""
    what = udp_scenario(
        kernel,
        queues=2,
        rate_pps=100_000,
        application=[{"name": "sink", "kind": "udp", "cpu": 2}],
        event=[{"at_ms": 0.5, "set": "cpu.1.online", "value": 0}],
    )
    _, sim = run_of(what)
    return word(sim.image, "skb_defer_node", 1, "defer_list.first") != 0


def polling_scenario(kernel: str, **nic: int) -> Scenario:
    """A packet each 50 us for a task that prefers to poll, and works for 5 us on it."""
    return udp_scenario(
        kernel,
        rate_pps=20_000,
        nic=[{"name": "eth0", "irq_cpus": [0], "gro": False, "napi_defer_hard_irqs": 1, "gro_flush_timeout": 2_000, **nic}],
        application=[
            {"name": "sink", "kind": "udp", "cpu": 1, "service_ns": 5_000, "busy_poll_usecs": 60, "prefer_busy_poll": True}
        ],
        measure={"duration_ms": 2},
    )


def interrupts_stay_off(kernel: str, tmp_path: Path) -> bool:
    """Whether the card hardly interrupts while a task finds packets, though the timer of GRO is over each time."""
    run, _ = run_of(polling_scenario(kernel, irq_suspend_timeout=1_000_000))
    return len(named(run, "irq_handler_entry")) < 5


def polls_once_more(kernel: str, tmp_path: Path) -> bool:
    """Whether a task that has found a packet polls the card again before it reads that packet."""
    polls = named(run_of(polling_scenario(kernel))[0], "napi_poll")
    after = [b.time_ns - a.time_ns for a, b in itertools.pairwise(polls) if a.cpu == b.cpu == 1 and a.b == 1]
    return min(after) < 3_000


EFFECTS: tuple[tuple[str, str, Callable[[str, Path], object], object, object], ...] = (
    ("rfs_slot_hash", "6.18", rfs_slots, True, False),
    ("flow_limit_hash", "6.18", flow_limit_buckets, True, False),
    ("enqueue_running_unlocked", "6.18", device_first, True, False),
    ("drop_counters_numa", "6.18", two_drop_counters, True, False),
    ("rt_bh_unlocked", "6.18-rt", two_tasks_serve_softirqs, True, False),
    ("udp_defer_free", "6.18", udp_is_deferred, True, False),
    ("defer_nodes", "6.18", list_takes, 7, 8),
    ("napi_irq_suspend", "6.18", interrupts_stay_off, True, False),
    ("flow_limit_unlocked", "6.19", flow_limit_first, True, False),
    ("consume_defers", "6.19", consumed_at_home, True, False),
    ("defer_max_128", "6.19", own_limit, 128, 64),
    ("alloc_napi_cache", "6.19", cache_of_the_sender, True, False),
    ("napi_cache_128", "6.19", cache_after_one, 31, 15),
    ("defer_disable_key", "7.3", counts_what_it_never_takes, False, True),
    ("enqueue_running_locked", "7.3", device_first, False, True),
    ("defer_flush_dead", "7.3", left_on_a_dead_cpu, False, True),
    ("busy_poll_stop_timer", "7.3", polls_once_more, False, True),
)
"""Module, a kernel that has it, what is looked at, what that is with the module, and without."""
ON_TOP = {"defer_disable_key": ("defer_flush_dead",)}
"""Module -> later ones that call its functions, and go with it."""


@pytest.mark.parametrize(("module", "kernel", "look", "there", "missing"), EFFECTS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_module_does_what_it_says(
    module: str, kernel: str, look: Callable[[str, Path], object], there: object, missing: object,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert look(kernel, tmp_path) == there
    release = RELEASES[parse_kernel(kernel).release]
    gone = (module, *ON_TOP.get(module, ()))
    less = tuple(name for name in release.patches if name not in gone)
    assert len(less) == len(release.patches) - len(gone)
    monkeypatch.setitem(RELEASES, release.name, release._replace(patches=less))
    assert look(kernel, tmp_path) == missing


def test_every_module_of_these_releases_is_looked_at() -> None:
    """The scheduler's and the idle governors' have their tests elsewhere."""
    elsewhere = ("eevdf", "fair_", "menu_", "teo_")
    listed = {name for release in LATER for name in RELEASES[release].patches if not name.startswith(elsewhere)}
    assert listed == {module for module, *_ in EFFECTS} | {"udp_prod_queue"}


def test_who_finds_a_socket_s_list_filled_leaves_its_datagram_there() -> None:
    """Somebody else has pushed and not yet moved: no lock, nothing on the receive queue, and it is charged."""
    run, sim = simulate(udp_scenario("6.18", queues=3, rate_pps=1_000_000))
    assert run.result.conservation.balance == 0
    assert not run.result.warnings
    image, kernel = sim.image, sim.image.linked.kernel
    sk, prod, last = image.ref("sock", 0), image.ref("udp_prod_queue", 0), image.layout.tables["sk_buff"].count - 1
    other, mine = image.ref("sk_buff", last), image.ref("sk_buff", last - 1)
    mine.truesize, queued, charged = 800, sk.sk_receive_queue.qlen, prod.rmem_alloc
    assert kernel["llist_add"](other.ll_node, prod.ll_root)
    assert kernel["__udp_enqueue_schedule_skb"](sk, mine) == 0
    assert (sk.sk_receive_queue.qlen, prod.rmem_alloc) == (queued, charged + 800)


def test_without_the_lists_of_sockets_the_release_does_not_link(monkeypatch: pytest.MonkeyPatch) -> None:
    less = tuple(name for name in RELEASES["6.18"].patches if name != "udp_prod_queue")
    monkeypatch.setitem(RELEASES, "6.18", RELEASES["6.18"]._replace(patches=less))
    with pytest.raises(SoftnetError, match="ll_node"):
        load_program(udp_scenario("6.18"))


@pytest.mark.parametrize("release", list(RELEASES))
def test_the_scenario_and_the_kernel_agree_on_the_limit(release: str) -> None:
    assert own_limit(release, Path()) == loopback_scenario(release).kernel.defer_max


@pytest.mark.parametrize("release", list(RELEASES))
def test_every_patch_says_where_it_comes_from(release: str) -> None:
    for name in modules_for(release, "rt"):
        if ".patches." in name:
            info = patch_info(name)
            assert set(info) - {"config"} == {"commit", "subject", "since", "link"}, name
            assert len(info["commit"]) == 12, name


def test_lists_of_two_nodes_are_kicked_apart() -> None:
    """A reader on the owner's node and one on the other: each list has its own counter, and both are flushed."""
    what = udp_scenario(
        "6.18",
        machine={"cpus": 4, "numa_nodes": 2},
        application=[
            {"name": "near", "kind": "udp", "cpu": 1, "dst_ports": [1]},
            {"name": "far", "kind": "udp", "cpu": 3, "dst_ports": [2]},
        ],
        traffic=[
            {"kind": "constant", "rate_pps": 200_000, "flows": 4, "proto": "udp", "dst_ports": [port], "sizes": [[128, 1.0]]}
            for port in (1, 2)
        ],
        measure={"duration_ms": 2},
    )
    run, sim = simulate(what)
    assert not run.result.warnings
    assert sim.image.layout.tables["skb_defer_node"].count == 8
    for reader in (1, 3):
        pushed = [r.c for r in named(run, "skb_attempt_defer_free") if r.cpu == reader]
        assert pushed[0] == 1
    assert sum(r.a for r in named(run, "skb_defer_free_flush")) <= run.result.counters["deferred"]
