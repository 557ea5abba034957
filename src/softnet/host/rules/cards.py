# SPDX-License-Identifier: GPL-2.0-or-later
"""The cards: full rings, deferred interrupts, threaded NAPI, tunnels that stay on one CPU."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from softnet.host.facts import Counter, Facts
from softnet.host.findings import Change, Evidence, Finding
from softnet.host.model import CARD_NAME, Card

RING_FULL: Final = re.compile(
    r"rx_missed_errors|rx_no_buffer_count|rx_out_of_buffer|rx_discards(_phy)?|rx_no_dma_resources|rx_fifo_errors|rx_over_errors"
    r"|rx_nodesc_drops?|rx_no_bufs?|rx_missed|port\.rx_discards|rx_ring_full|rx_buff_alloc_err|(rx_queue_|rx-?|rx_?q?)\d+[._]drops",
    re.IGNORECASE,
)
"""Counters of ``ethtool -S`` that count frames for which the card found no descriptor or buffer; each driver has its own names."""
SINCE_BOOT: Final = 100
SHARE: Final = 1e-5
FLUSH_NOTED_NS: Final = 200_000
WIREGUARD_PPS: Final = 50_000


def ring_full(facts: Facts) -> Iterator[Finding]:
    """Frames that the card had to drop because its ring was full."""
    for name in sorted({*facts.last.ethtool, *facts.last.devices} - {"lo"}):
        if not re.fullmatch(CARD_NAME, name, re.ASCII):
            continue
        counters = _full_counters(facts, name)
        worst = max(counters, key=lambda c: c[1].now, default=None)
        if worst is None:
            continue
        counter = worst[1]
        packets = facts.device(name, "rx_packets").now or facts.driver(name, "rx_packets").now
        if counter.recent is None and (counter.now < SINCE_BOOT or counter.now < SHARE * packets):
            continue
        card = next((card for card in facts.report.cards if card.name == name), Card(name=name))
        yield Finding(
            id="ring-full",
            level="risk" if counter.recent is None else "wrong",
            title=f"{name}: the card dropped frames because its receive ring was full",
            meaning="The driver did not take them out in time: a burst longer than the ring, a CPU that was busy or kept its"
            " interrupts off, or deep idle. No socket and no softnet_stat counts them." + _ring_state(card),
            evidence=tuple(
                Evidence(source, f"{what}: {facts.counted(c, 'frames')}") for what, c, source in _named(facts, name, counters)[:3]
            )
            + _ring_evidence(facts, card),
            sure="likely",
            because=facts.since(counter) + "; drivers differ in what they count under this name",
            changes=_ring_changes(card),
            weight=float(counter.now),
        )


def _full_counters(facts: Facts, name: str) -> list[tuple[str, Counter, bool]]:
    """(name, counter, whether it is the driver's)."""
    found = [(key, facts.driver(name, key), True) for key in facts.last.ethtool.get(name, {}) if RING_FULL.fullmatch(key)]
    found += [
        (key, facts.device(name, key), False)
        for key in ("rx_missed", "rx_fifo", "rx_overrun")
        if key in facts.last.devices.get(name, {})
    ]
    return [item for item in found if item[1].now]


def _named(facts: Facts, name: str, counters: list[tuple[str, Counter, bool]]) -> list[tuple[str, Counter, str]]:
    ordered = sorted(counters, key=lambda c: (-c[1].now, c[0]))
    return [
        (key, c, facts.source(f"ethtool_S.{name}", f"ethtool -S {name}") if own else facts.source("devices", "/proc/net/dev"))
        for key, c, own in ordered
    ]


def _ring_state(card: Card) -> str:
    rx, most = card.ring.get("rx"), card.ring.get("rx_max")
    if rx is None or most is None:
        return ""
    return f" The ring holds {rx} and may hold {most}." if rx < most else f" The ring is as long as it gets ({most})."


def _ring_evidence(facts: Facts, card: Card) -> tuple[Evidence, ...]:
    if "rx" not in card.ring:
        return ()
    said = f"RX {card.ring['rx']}" + (f" of at most {card.ring['rx_max']}" if "rx_max" in card.ring else "")
    return (facts.seen(f"ethtool_g.{card.name}", f"ethtool -g {card.name}", said),)


def _ring_changes(card: Card) -> tuple[Change, ...]:
    rx, most = card.ring.get("rx"), card.ring.get("rx_max")
    if rx is not None and most is not None and rx < most:
        return (Change(f"ethtool -G {card.name} rx {min(most, max(4 * rx, 1024))}", f"ethtool -G {card.name} rx {rx}",
                       "the link goes down for a moment", ((f"nic.{card.name}.ring", min(most, max(4 * rx, 1024))),)),)  # fmt: skip
    if rx is None:
        return (Change(f"ethtool -g {card.name}", "", "shows how long the ring is and may be; ethtool -G sets it"),)
    queues, more = card.channels.get("combined", 0), card.channels.get("combined_max", 0)
    if 0 < queues < more:
        return (Change(f"ethtool -L {card.name} combined {more}", f"ethtool -L {card.name} combined {queues}", "more rings"),)
    return ()


class _Deferral(NamedTuple):
    """Two settings that belong together, of a card or of NAPI instances of it, and how each is shown and set."""

    whose: str
    defer: int
    flush: int
    evidence: tuple[Evidence, ...]
    set_defer: Callable[[int], str]
    set_flush: Callable[[int], str]


def _of_card(card: Card) -> Iterator[_Deferral]:
    """The card's settings, and those of its NAPI instances that have others."""
    defer, flush = card.napi_defer_hard_irqs, card.gro_flush_timeout
    base = f"/sys/class/net/{card.name}"
    if defer is not None and flush is not None:
        evidence = (Evidence(f"{base}/napi_defer_hard_irqs", str(defer)), Evidence(f"{base}/gro_flush_timeout", f"{flush} ns"))
        yield _Deferral(
            card.name, defer, flush, evidence,
            lambda value: f"echo {value} > {base}/napi_defer_hard_irqs", lambda value: f"echo {value} > {base}/gro_flush_timeout",
        )  # fmt: skip
    own: dict[tuple[int, int], list[int]] = {}
    for napi in card.napis:
        if napi.defer_hard_irqs is not None and napi.gro_flush_timeout is not None:
            own.setdefault((napi.defer_hard_irqs, napi.gro_flush_timeout), []).append(napi.id)
    for (defer, flush), ids in own.items():
        if (defer, flush) == (card.napi_defer_hard_irqs, card.gro_flush_timeout):
            continue
        named = ", ".join(map(str, ids[:8])) + (", …" if len(ids) > 8 else "")
        said = f"defer-hard-irqs {defer}, gro-flush-timeout {flush} ns"
        yield _Deferral(
            f"{card.name}, NAPI {named}", defer, flush, (Evidence(f"netlink netdev napi-get, {card.name}, id {named}", said),),
            functools.partial(_napi_set, ids, "defer-hard-irqs"), functools.partial(_napi_set, ids, "gro-flush-timeout"),
        )  # fmt: skip


def _napi_set(ids: Sequence[int], name: str, value: int) -> str:
    """The command that sets it for some instances; ynl is the kernel's own tool, tools/net/ynl."""
    asked = "ynl --family netdev --do napi-set --json"
    if len(ids) == 1:
        return f'{asked} \'{{"id": {ids[0]}, "{name}": {value}}}\''
    return f"for id in {' '.join(map(str, ids))}; do {asked} '{{\"id\": '$id', \"{name}\": {value}}}'; done"


def deferred_interrupts(facts: Facts) -> Iterator[Finding]:
    """napi_defer_hard_irqs and gro_flush_timeout, of which one is set without the other."""
    for at in (found for card in facts.report.cards for found in _of_card(card)):
        if at.defer and not at.flush:
            yield Finding(
                id="defer-without-timeout",
                level="wrong",
                title=f"{at.whose}: napi_defer_hard_irqs without gro_flush_timeout does nothing",
                meaning="Interrupts stay off only while a timer will poll instead, and without gro_flush_timeout there is"
                    " no timer.",
                evidence=at.evidence,
                sure="certain",
                because="napi_complete_done() in net/core/dev.c asks for both",
                changes=(Change(at.set_flush(20000), at.set_flush(0), "20 us"),
                         Change(at.set_defer(0), at.set_defer(at.defer), "or neither")),
            )  # fmt: skip
        elif at.flush >= FLUSH_NOTED_NS and not at.defer:
            yield Finding(
                id="flush-timeout-long",
                level="risk",
                title=f"{at.whose}: GRO may hold a packet back for {at.flush / 1000:g} us",
                meaning="gro_flush_timeout keeps what GRO merges until a timer, so that more is merged: the last packets"
                " of a burst wait.",
                evidence=at.evidence,
                sure="likely",
                because="it is what the setting is for; whether the wait hurts depends on the traffic",
                changes=(Change(at.set_flush(0), at.set_flush(at.flush)),),
            )


def wireguard(facts: Facts) -> Iterator[Finding]:
    """A WireGuard interface under load whose packets are all received on one CPU."""
    for card in facts.report.cards:
        if card.devtype != "wireguard" or card.threaded != 0:
            continue
        packets = facts.device(card.name, "rx_packets")
        rate = facts.rate(packets)
        dropped = facts.device(card.name, "rx_dropped")
        if not dropped.recent and (rate is None or rate < WIREGUARD_PPS):
            continue
        path = f"/sys/class/net/{card.name}/threaded"
        yield Finding(
            id="wireguard-one-cpu",
            level="risk",
            title=f"{card.name}: WireGuard's packets of a peer are received by one softirq",
            meaning="Decryption runs on all CPUs, but each peer's packets go up in a NAPI of its own, on one CPU, beside"
            " the card's. With threaded NAPI the scheduler may move it to a CPU that is free.",
            evidence=(
                Evidence(path, "0"),
                facts.seen("devices", "/proc/net/dev", f"{card.name}: {facts.counted(packets, 'packets')}"),
            ),
            sure="possible",
            because="others had drops at about 180,000 packets a second that this cured",
            changes=(Change(f"echo 1 > {path}", f"echo 0 > {path}"),),
        )


def threaded_hog(facts: Facts) -> Iterator[Finding]:
    """A napi thread that takes a CPU on a kernel that does not preempt."""
    if facts.report.preempt != "none":
        return
    for thread in facts.report.threads:
        share = facts.thread_share(thread)
        if thread.comm.startswith("napi/") and share is not None and share > 0.7:
            yield Finding(
                id="napi-thread-hog",
                level="risk",
                title=f"{thread.comm} takes {share:.0%} of a CPU, and this kernel does not preempt it",
                meaning="A threaded NAPI under load polls on and on; without preemption others on that CPU, and whoever"
                    " waits for RCU (ip link del, for instance), wait for it.",
                evidence=(Evidence(f"/proc/{thread.pid}/stat", f"{share:.0%} of a CPU"),),
                sure="possible",
                because="the share is counted; that somebody waits is not",
                changes=(_let_preempt(facts),),
            )  # fmt: skip


def _let_preempt(facts: Facts) -> Change:
    """A kernel that does not preempt: what it can be told. Kernels without PREEMPT_DYNAMIC cannot be told anything."""
    if facts.report.config.get("CONFIG_PREEMPT_DYNAMIC") == "y" or "PREEMPT_DYNAMIC" in facts.report.version:
        path = "/sys/kernel/debug/sched/preempt"
        return Change(f"echo voluntary > {path}", f"echo none > {path}", "or boot with preempt=voluntary")
    return Change("a kernel that preempts (this one has no CONFIG_PREEMPT_DYNAMIC to choose by)", "the kernel that runs now")


RULES = (ring_full, deferred_interrupts, wireguard, threaded_hog)
