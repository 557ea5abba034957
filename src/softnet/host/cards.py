# SPDX-License-Identifier: GPL-2.0-or-later
"""The network interfaces: /sys/class/net."""

from __future__ import annotations

import re
from typing import Final

from softnet.host.cpusets import cpu_mask
from softnet.host.model import CARD_NAME, Card, RxQueue, TxQueue
from softnet.host.tree import Tree

CARDS_MAX: Final = 512
"""A host with thousands of veth pairs: the first by name, cards of hardware before others."""
NAME: Final = re.compile(CARD_NAME, re.ASCII)


def read_cards(tree: Tree) -> list[Card]:
    """The interfaces, those with hardware first."""
    names = [n for n in tree.names("/sys/class/net") if NAME.fullmatch(n) and tree.exists(f"/sys/class/net/{n}/mtu")]
    names = names or [n for n in tree.names("/sys/class/net") if NAME.fullmatch(n) and tree.exists(f"/sys/class/net/{n}/queues")]
    if odd := len(tree.names("/sys/class/net")) - len([n for n in tree.names("/sys/class/net") if NAME.fullmatch(n)]):
        tree.missed("/sys/class/net", f"{odd} interfaces are passed over for what is in their names")
    names.sort(key=lambda name: (not tree.exists(f"/sys/class/net/{name}/device"), name == "lo"))
    if len(names) > CARDS_MAX:
        tree.missed("/sys/class/net", f"{len(names) - CARDS_MAX} more interfaces: {CARDS_MAX} are read")
    return [_card(tree, name) for name in names[:CARDS_MAX]]


def _card(tree: Tree, name: str) -> Card:
    base = f"/sys/class/net/{name}"
    card = Card(name=name, state=tree.line(f"{base}/operstate")[:40], driver=tree.link(f"{base}/device/driver")[:60])
    card.kind = "loopback" if name == "lo" else "hardware" if tree.exists(f"{base}/device") else "virtual"
    uevent = re.search(r"^DEVTYPE=(\S{1,40})$", tree.text(f"{base}/uevent") or "", re.MULTILINE)
    card.devtype = uevent[1] if uevent else ""
    card.speed_mbps = tree.number(f"{base}/speed")
    node = tree.line(f"{base}/device/numa_node")
    card.numa_node = int(node) if re.fullmatch(r"[0-9]{1,4}", node, re.ASCII) else None
    card.threaded = tree.number(f"{base}/threaded")
    card.gro_flush_timeout = tree.number(f"{base}/gro_flush_timeout")
    card.napi_defer_hard_irqs = tree.number(f"{base}/napi_defer_hard_irqs")
    for queue in _queues(tree, base, "rx"):
        mask, flows = tree.text(f"{queue}/rps_cpus"), tree.number(f"{queue}/rps_flow_cnt")
        rps = cpu_mask(mask, tree.place(f"{queue}/rps_cpus")) if mask and mask.strip() else None
        card.rx_queues.append(RxQueue(rps_cpus=rps, rps_flow_cnt=flows))
    for queue in _queues(tree, base, "tx"):
        # Reading xps_cpus fails on a card of one queue.
        mask = tree.text(f"{queue}/xps_cpus") if len(card.rx_queues) > 1 else None
        xps = cpu_mask(mask, tree.place(f"{queue}/xps_cpus")) if mask and mask.strip() else None
        card.tx_queues.append(TxQueue(xps_cpus=xps))
    card.irqs = _irqs(tree, name)
    return card


def _queues(tree: Tree, base: str, kind: str) -> list[str]:
    found = [n for n in tree.names(f"{base}/queues") if re.fullmatch(kind + r"-[0-9]{1,4}", n, re.ASCII)]
    return [f"{base}/queues/{n}" for n in sorted(found, key=lambda n: int(n[3:]))]


def _irqs(tree: Tree, name: str) -> list[str]:
    """Numbers of the card's interrupts: its MSI vectors; of a virtio card, those of the PCI device it stands on; or by name."""
    base = f"/sys/class/net/{name}/device"
    for path in (f"{base}/msi_irqs", f"{base}/../msi_irqs"):
        if numbers := [n for n in tree.names(path) if n.isascii() and n.isdecimal() and len(n) <= 10]:
            return numbers[:4096]
    device = tree.link(base)
    # eth0-TxRx-0, i40e-eth0-TxRx-0, mlx5_comp0@pci:0000:3b:00.0, virtio0-input.0
    own = re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w])" + (rf"|(?<![\w.]){re.escape(device)}(?![\w])" if device else ""))
    found = tree.text("/proc/interrupts") or ""
    return [
        label.strip()
        for label, _, rest in (line.partition(":") for line in found.splitlines()[1:])
        if re.fullmatch(r"[0-9]{1,10}", label.strip(), re.ASCII) and own.search(rest)
    ][:4096]
