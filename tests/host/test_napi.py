# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of single NAPI instances: read from this machine's kernel, judged by doctor, taken up by the scenario."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from softnet.host import netlink
from softnet.host.facts import Facts
from softnet.host.model import Card, HostReport, Napi, RxQueue
from softnet.host.rules.cards import deferred_interrupts
from softnet.host.scenario import scenario_of

pytest.importorskip("pyroute2", reason="pip install 'softnet[host]'")
from pyroute2.netlink.exceptions import NetlinkError

ASKED = """
import array, fcntl, socket, struct, subprocess
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.generic import GenericNetlinkSocket
from softnet.host.netlink import NAPI_ATTRIBUTES, napis
ip = lambda text: subprocess.run(["ip", *text.split()], check=True)
ip("link add va numtxqueues 2 numrxqueues 2 type veth peer name vb")
ip("link set va up")
ip("link set vb up")
value = array.array("B", struct.pack("=II", 0x2C, 1))  # ETHTOOL_SGRO: with GRO a veth has NAPI instances
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    fcntl.ioctl(asker.fileno(), 0x8946, struct.pack("16sP16x", b"va", value.buffer_info()[0]))
here = lambda: napis()[socket.if_nametoindex("va")]
class Message(genlmsg):
    nla_map = (("unspec", "none"), *((name, "uint32") for name in NAPI_ATTRIBUTES))
with GenericNetlinkSocket() as asker:
    asker.bind("netdev", Message)
    request = Message()
    request["cmd"], request["version"] = 14, 1  # NETDEV_CMD_NAPI_SET
    request["attrs"] = [("id", here()[0].id), ("defer_hard_irqs", 7), ("gro_flush_timeout", 30000)]
    asker.nlm_request(request, msg_type=asker.prid, msg_flags=NLM_F_REQUEST | NLM_F_ACK)
print([(napi.defer_hard_irqs, napi.gro_flush_timeout) for napi in here()])
"""


def test_the_kernel_tells_what_one_instance_is_set_to() -> None:
    """In a network namespace of its own, where this machine allows one and its kernel is 6.13 or later."""
    version = tuple(int(part) for part in Path("/proc/sys/kernel/osrelease").read_text().split("-")[0].split(".")[:2])
    if version < (6, 13):
        pytest.skip("NAPI instances have settings of their own since 6.13")
    done = subprocess.run(["unshare", "--net", sys.executable, "-c", ASKED], capture_output=True, text=True, check=False)
    if re.search("unshare|[Nn]ot (supported|permitted)|Unknown device type", done.stderr):
        pytest.skip(f"no network namespace with a veth here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[(7, 30000), (0, 0)]\n"


@pytest.mark.parametrize(("code", "told"), [(errno.ENOENT, False), (errno.EOPNOTSUPP, False), (errno.EPERM, True)])
def test_a_kernel_that_does_not_know_is_passed_over_and_what_is_forbidden_told(
    code: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 6.3 there is no family netdev, before 6.8 no such question in it."""

    def refused() -> None:
        raise NetlinkError(code)

    monkeypatch.setattr(netlink, "napis", refused)
    report = _report()
    netlink.add_napis(report)
    assert bool(report.unread) == told


def _report(*napis: Napi) -> HostReport:
    card = Card(name="eth0", kind="hardware", napi_defer_hard_irqs=0, gro_flush_timeout=0, rx_queues=[RxQueue()], napis=list(napis))
    return HostReport(cards=[card])


def test_doctor_judges_each_instance_and_names_the_command_for_it() -> None:
    wrong = Napi(id=259, defer_hard_irqs=7, gro_flush_timeout=0)
    slow = [Napi(id=at, defer_hard_irqs=0, gro_flush_timeout=1_000_000) for at in (260, 261)]
    right = Napi(id=262, defer_hard_irqs=2, gro_flush_timeout=20_000)
    first, second = deferred_interrupts(Facts(_report(wrong, *slow, right, Napi(id=263, defer_hard_irqs=0, gro_flush_timeout=0))))
    assert first.title == "eth0, NAPI 259: napi_defer_hard_irqs without gro_flush_timeout does nothing"
    assert first.changes[0].do == """ynl --family netdev --do napi-set --json '{"id": 259, "gro-flush-timeout": 20000}'"""
    assert first.changes[1].undo == """ynl --family netdev --do napi-set --json '{"id": 259, "defer-hard-irqs": 7}'"""
    assert second.title == "eth0, NAPI 260, 261: GRO may hold a packet back for 1000 us"
    assert second.changes[0].do.startswith("for id in 260 261; do ynl ")
    done = subprocess.run(["sh", "-c", second.changes[0].do.replace("ynl", "echo", 1)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == '--family netdev --do napi-set --json {"id": 261, "gro-flush-timeout": 0}'


def test_a_scenario_has_what_the_instances_have_and_says_where_they_differ() -> None:
    report = _report(Napi(id=1, defer_hard_irqs=7, gro_flush_timeout=30_000, threaded=0, irq_suspend_timeout=40_000),
                     Napi(id=2, defer_hard_irqs=7, gro_flush_timeout=20_000, threaded=0))  # fmt: skip
    text = scenario_of(report)
    assert "napi_defer_hard_irqs = 7\n" in text
    assert "gro_flush_timeout = 30000  # guessed: NAPI instances differ: 20000, 30000\n" in text
    assert "irq_suspend_timeout = 40000 on the machine" in text
    assert "threaded" not in text
