# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels whose defer lists are lock-free and lie behind a pointer (6.18 and later): how they are probed, and how followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from softnet.lab.guest.tracefs import filled
from softnet.lab.tracing.facts import Facts
from softnet.lab.tracing.probes import kprobes, pointers
from softnet.lab.tracing.records import LabRecord, LabTrace, read
from softnet.lab.validate.checker import check

FIXTURES = Path(__file__).parent / "fixtures"
SYMBOLS = {"softnet_data": 0xFFFF_FFFF_8300_0000, "skb_attempt_defer_free": 1, "kick_defer_list_purge": 2, "net_hotdata": 0x2000}
OFFSETS = {"sk_buff.alloc_cpu": 186, "sk_buff.hash": 148, "__call_single_data.func": 16, "softnet_data.input_pkt_queue.qlen": 80}


def _definition(facts: Facts, event: str) -> str:
    return dict(kprobes(facts, 2))[event]


def test_the_counter_is_where_the_kernel_has_it() -> None:
    """A field of softnet_data, whose per-CPU address is above 1 << 63 since v6.15; or behind a pointer that the guest reads."""
    before = Facts("6.12", {**OFFSETS, "softnet_data.defer_count": 700}, SYMBOLS, ())
    assert "count1=-2097151300(@__per_cpu_offset+8):u32" in _definition(before, "skb_attempt_defer_free")
    assert pointers(before) == {}
    nodes = {"net_hotdata.skb_defer_nodes": 224, "skb_defer_node.defer_count": 8}
    since = Facts("6.18", {**OFFSETS, **nodes}, SYMBOLS, ())
    wanted = "count1=<net_hotdata.skb_defer_nodes+8>(@__per_cpu_offset+8):u32"
    assert wanted in _definition(since, "skb_attempt_defer_free")
    assert pointers(since) == {"net_hotdata.skb_defer_nodes": 0x2000 + 224}


@pytest.mark.parametrize(
    ("pointer", "offset"), [(0x1000, "+4104"), (0xFFFF_FFFF_FFFF_F000, "-4088"), ((1 << 63) - 8, "-9223372036854775808")]
)
def test_a_pointer_becomes_a_signed_offset(pointer: int, offset: str) -> None:
    definition = "p:softnet/x y skb=%di:x64 count0=<net_hotdata.skb_defer_nodes+8>(@__per_cpu_offset+0):u32"
    told = filled(definition, {"net_hotdata.skb_defer_nodes": pointer})
    assert told == f"p:softnet/x y skb=%di:x64 count0={offset}(@__per_cpu_offset+0):u32"


@pytest.mark.parametrize(("parameters", "register"), [({}, "si"), ({"kick_defer_list_purge.cpu": 0}, "di")])
def test_the_kicked_cpu_is_the_parameter_of_that_name(parameters: dict[str, int], register: str) -> None:
    facts = Facts("6.18", {**OFFSETS, "softnet_data.defer_count": 700}, SYMBOLS, (), parameters)
    assert _definition(facts, "kick_defer_list_purge").endswith(f"target=%{register}:u32")


def _free(cpu: int, skb: int, found: int) -> LabRecord:
    return LabRecord(0, cpu, 0, "skb_attempt_defer_free", skb, 0, found, pid=100 + cpu)


def _run(*inside: LabRecord) -> list[LabRecord]:
    """net_rx_action() on CPU 0, with what happens in it."""
    before = [LabRecord(0, 0, 1, "softirq_entry", 3), LabRecord(0, 0, 1, "net_rx_action_entry")]
    return [*before, *inside, LabRecord(0, 0, 1, "net_rx_action"), LabRecord(0, 0, 1, "softirq_exit", 3)]


def _consumed(skb: int) -> LabRecord:
    return LabRecord(0, 0, 1, "consume_skb", skb)


COUNTED_BEFORE_PUSHED_AFTER = [
    _free(1, 1, 0),
    _free(2, 2, 1),
    *_run(_consumed(2)),
    _free(1, 3, 0),
    LabRecord(0, 1, 0, "mark", pid=101, text="skb 3 is on the list"),
    *_run(_consumed(3), _consumed(1)),
]
"""CPU 1 counts skb 1 and stands still; the flush takes skb 2 alone; then skb 1 comes on the list, uncounted, before skb 3."""
COUNTED_BETWEEN_THE_HALVES_OF_A_FLUSH = [
    _free(1, 1, 0),
    *_run(_free(2, 2, 0), _consumed(2), _consumed(1)),
    _free(1, 3, 1),
    *_run(_consumed(3)),
]
"""The counter is 0, the list not yet taken: skb 2 is counted and taken, and its count stays (C11)."""


@pytest.mark.parametrize("story", [COUNTED_BEFORE_PUSHED_AFTER, COUNTED_BETWEEN_THE_HALVES_OF_A_FLUSH], ids=["push", "flush"])
def test_counting_and_the_list_are_two_acts_where_there_is_no_lock(story: list[LabRecord]) -> None:
    header = read(FIXTURES / "first-kick-6.18.jsonl.gz").header
    records = [LabRecord(at, r.cpu, r.context, r.event, r.a, r.b, r.c, r.pid, r.text) for at, r in enumerate(story)]
    verdict = check(LabTrace(header, records))
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["flushed and freed on the CPU that allocated it"] == 3
    # With a lock neither can be.
    locked = read(FIXTURES / "first-kick-6.12.jsonl.gz").header
    assert not check(LabTrace(locked, records)).accepted


def test_a_load_on_a_real_6_18_is_a_behaviour_of_the_model() -> None:
    verdict = check(read(FIXTURES / "load-6.18.jsonl.gz"))
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["packet queued on the backlog"] == 68
    assert verdict.covered["RPS: IPI sent"] == 8
    assert verdict.covered["flushed and freed on the CPU that allocated it"] == 10
