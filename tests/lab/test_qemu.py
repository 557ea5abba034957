# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's bounds, without a guest: whose fault it is that its time is over, and when it is booted once more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from softnet.lab.errors import LabHostBusy, LabTimeout, kind_of
from softnet.lab.vm import qemu
from softnet.lab.vm.kernels import Kernel
from softnet.lab.vm.qemu import Bounds, GuestMachine, HostTime, Session

BOUNDS = Bounds(90, 240)


def _ends(elapsed: float, had: HostTime, folder: Path, monkeypatch: pytest.MonkeyPatch, *, spoke: bool = True) -> None:
    monkeypatch.setattr(qemu, "host_time", lambda pid: had)
    session = Session()
    if spoke:
        session.hello = {"release": "6.12", "version": "", "cpus": 1, "command_line": ""}
    qemu._check_bounds(qemu._Conversation(session, lambda text: None), elapsed, BOUNDS, folder, 1)


def test_within_its_bounds_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ends(239, HostTime(0, 200), tmp_path, monkeypatch)
    _ends(89, HostTime(0, 80), tmp_path, monkeypatch, spoke=False)


@pytest.mark.parametrize(
    ("elapsed", "spoke", "had", "kind"),
    [
        (91, False, HostTime(85, 5), LabTimeout),  # It ran, and did not come to its agent.
        (91, False, HostTime(20, 70), LabHostBusy),
        (241, True, HostTime(0.5, 0.9), LabTimeout),  # It hangs, which takes no time at all.
        (241, True, HostTime(60, 180), LabHostBusy),
    ],
)
def test_a_busy_host_is_told_apart_from_a_guest_that_hangs(
    elapsed: float, spoke: bool, had: HostTime, kind: type[LabTimeout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabTimeout) as caught:
        _ends(elapsed, had, tmp_path, monkeypatch, spoke=spoke)
    assert isinstance(caught.value, LabHostBusy) == (kind is LabHostBusy)
    assert kind_of(caught.value) == ("host-busy" if kind is LabHostBusy else "timeout")
    assert ("the host was too busy" in caught.value.message) == (kind is LabHostBusy)


def test_what_a_process_had_of_the_host_is_read_from_proc() -> None:
    assert qemu.host_time(os.getpid()).ran > 0
    assert qemu.host_time(1 << 30) == HostTime(0, 0)


def _boots(monkeypatch: pytest.MonkeyPatch, answers: list[Session | LabTimeout]) -> None:
    """Guests that answer so, one after the other."""

    def once(boot: qemu.Boot, accel: str) -> Session:
        answer = answers.pop(0)
        if isinstance(answer, LabTimeout):
            raise answer
        return answer

    monkeypatch.setattr(qemu, "_boot_once", once)


def _boot(accel: Literal["tcg", "icount"], said: list[str]) -> Session:
    kernel = Kernel("6.12", "6.12.1", Path("vmlinuz"), None, {})
    return qemu.boot(kernel, {"kind": "misbehave", "how": "hang"}, GuestMachine(), bounds=BOUNDS, accel=accel, say=said.append)


HUNG = qemu._EarlyHangError("the guest's agent did not speak within 90 s; the guest was killed")


def test_a_boot_that_hung_is_tried_once_more_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    _boots(monkeypatch, [HUNG, Session()])
    assert _boot("tcg", said).ran.note == "a first boot hung: no word in 90 s, before the agent spoke"
    assert said == ["the boot hung: no word in 90 s; booting it once more"]


@pytest.mark.parametrize(("accel", "answers"), [("tcg", [HUNG, HUNG]), ("icount", [HUNG])])
def test_a_second_hang_or_one_of_counted_instructions_is_the_answer(
    accel: Literal["tcg", "icount"], answers: list[Session | LabTimeout], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [*answers]
    _boots(monkeypatch, left)
    with pytest.raises(LabTimeout) as caught:
        _boot(accel, [])
    assert not left
    assert kind_of(caught.value) == "timeout"
