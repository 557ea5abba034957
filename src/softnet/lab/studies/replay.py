# SPDX-License-Identifier: GPL-2.0-or-later
"""The model, given what a guest's senders really did: sent when they sent, on a machine as fast as the guest was.

An emulated guest on a busy host sends a part of what it was asked for, late and in bursts. Counts follow from that, so
a prediction for senders that keep their rate says nothing of the kernel. Here every sender sends at the times at which
the guest's did, and every cost is a fitted one times how much slower this guest was than the one that it was fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.errors import SoftnetError
from softnet.lab.errors import LabError
from softnet.lab.patches.replay_sender import SENDS_MAX
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import LabResult
from softnet.machine.costtable import CostTable, load_cost_table, scaled, shipped_tables

if TYPE_CHECKING:
    from softnet.image.image import Image
    from softnet.scenario import Scenario
    from softnet.simulate.result import Result

LAB_RECEIVE = "lab_receive"
# What a receiver's CPU time of a packet is made of, besides the lab's own.
_RECEIVED = {
    "udp": ("syscall", "udp_recvmsg", "context_switch", "skb_free_local", "skb_release_data_local"),
    "tcp": ("syscall", "tcp_recvmsg", "tcp_cleanup_rbuf", "context_switch", "skb_free_local", "skb_release_data_local"),
}
_PACKETS_MIN = 20
_PATCHES = Path(__file__).parents[1] / "patches"
_SENDER = str(_PATCHES / "replay_sender.py")


@dataclass(frozen=True, slots=True)
class Achieved:
    """What the guest's senders and its receivers' speed were.

    ``sends`` has, by sender, the times at which it sent, in ns from the start: measured, or spread evenly over the run
    where the result has only their number (``measured_times`` false). ``permille`` is how many times as long this guest took
    for a packet as the guest of the cost table; 1000 where nothing tells.
    """

    sends: tuple[tuple[int, ...], ...]
    asked: tuple[int, ...]
    measured_times: bool
    permille: int
    costs: str

    def sentence(self) -> str:
        """For people: the rate and the scale."""
        scale = f"{self.costs} × {self.permille / 1000:.1f}"
        if not self.sends:
            return f"a card's packets at their times; {scale}"
        sent = ", ".join(f"{len(times)} of {asked}" for times, asked in zip(self.sends, self.asked, strict=True))
        when = "replayed as sent" if self.measured_times else "spread evenly"
        return f"{sent} sent, {when}; {scale}"


def guest_costs(arm: GuestArm) -> str:
    """The shipped table that was fitted to the arm's kernel, or to the nearest one."""
    rt = "-rt" if arm.image.rt else ""
    tables = shipped_tables()
    own = f"guest-{arm.release}{rt}"
    return own if own in tables else f"guest-6.12{rt}"


def achieved(scenario: Scenario, arm: GuestArm, result: LabResult) -> Achieved:
    """Read a result's senders and receivers. Raises ``LabError`` where a sender of the scenario is not in the result."""
    rows = {row["task"]: row for row in result.work["tasks"]}
    sends: list[tuple[int, ...]] = []
    asked = []
    exact = True
    seen: dict[str, int] = {}
    for sender in scenario.sender:
        seen[sender.name] = seen.get(sender.name, 0) + 1
        name = sender.name if seen[sender.name] == 1 else f"{sender.name}-{seen[sender.name]}"
        row = rows.get(name)
        if row is None or "packets" not in row:
            raise LabError("a sender of the scenario is not in the result", where=f"arm {result.arm}", found=name)
        asked.append(int(row.get("asked", row["packets"])))
        if "sent_ns" in row:
            sends.append(tuple(row["sent_ns"]))
            continue
        exact = False
        first = round(sender.start_ms * 1_000_000)
        span = scenario.measure.duration_ns - first
        sends.append(tuple(first + span * n // max(row["packets"], 1) for n in range(row["packets"])))
    costs = guest_costs(arm)
    return Achieved(tuple(sends), tuple(asked), exact, _slower(scenario, rows, load_cost_table(costs)), costs)


def _slower(scenario: Scenario, rows: dict[str, Any], table: CostTable) -> int:
    """How much longer the receivers took for a packet than the table says, in thousandths."""
    spent = said = 0
    for app in scenario.application:
        mine = [row for name, row in rows.items() if name.partition("@")[0] == app.name and "cpu_ns" in row]
        packets = sum(row["packets"] for row in mine)
        if packets >= _PACKETS_MIN:
            names = (LAB_RECEIVE, *_RECEIVED[app.kind])
            spent += sum(row["cpu_ns"] for row in mine)
            said += packets * (app.service_ns + sum(table.rows[name].ns for name in names if name in table.rows))
    return max(1, spent * 1000 // said) if said and spent else 1000


def guest_patches(scenario: Scenario) -> list[str]:
    """Where a guest is another machine than the model's: its own TCP sends ACKs over loopback, its cards are TUN devices."""
    kinds = {app.name: app.kind for app in scenario.application}
    names = ["loopback_acks.py"] if any(kinds[sender.to] == "tcp" for sender in scenario.sender) else []
    if scenario.nic:
        names.append("kmalloc_heads.py")
    return [str(_PATCHES / name) for name in names]


def replayed(scenario: Scenario, arm: GuestArm, told: Achieved) -> Result:
    """The simulation of the scenario on the arm's kernel, with the senders' times and the guest's speed."""
    from softnet.lab.studies.calibrate import model_scenario
    from softnet.scenario import scenario_from_dict
    from softnet.simulate.simulation import Simulation

    table = scaled(load_cost_table(told.costs), told.permille)
    raw = model_scenario(scenario, arm, told.costs).to_dict()
    own = table.rows[LAB_RECEIVE].ns if LAB_RECEIVE in table.rows else 0
    for app in raw.get("application", []):
        app["service_ns"] = app.get("service_ns", 1500) + own

    try:
        adjusted = scenario_from_dict(raw, directory=scenario.directory)
        patches = [_SENDER, *guest_patches(scenario), *arm.patches]
        model = Simulation(adjusted, patches=patches, costs=table, trace="off", engine="reference")
    except SoftnetError as error:
        raise LabError("the model cannot run this scenario", where=f"arm {arm.label}", found=str(error)) from error
    _fill(model.image, told.sends)
    return model.finish().result


def _fill(image: Image, sends: Sequence[Sequence[int]]) -> None:
    """Give each of the model's senders its times. Raises ``LabError`` for more than it has room for."""
    table, field = image.layout.tables["sender"], image.layout.structs["sender"].fields["due"]
    for number, times in enumerate(sends):
        if len(times) >= SENDS_MAX:
            raise LabError(
                "too many packets to replay",
                found=f"{len(times)} of one sender",
                expected=f"fewer than {SENDS_MAX}",
            )
        at = table.base + number * table.stride + field.offset
        # Time 0 ends the list.
        image.memory[at : at + len(times)] = [max(time, 1) for time in times]
