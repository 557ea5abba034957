# SPDX-License-Identifier: GPL-2.0-or-later
"""An arm is a kernel, words for its command line, settings and patches, in the model as in the lab."""

from __future__ import annotations

from pathlib import Path

from softnet import Arm, load_scenario
from softnet.lab.play.arm import GuestArm
from softnet.lab.vm.kernels import Kernel
from softnet.simulate.api import resolve

SEED = Path(__file__).parents[2] / "examples" / "seed.toml"


def test_boot_arguments_come_on_top_of_the_scenarios() -> None:
    scenario = load_scenario(SEED, ('kernel.boot_args=["idle=halt"]',))
    arm = Arm("mine", "6.12", ("sysctl.skb_defer_max=8",), boot_args=("threadirqs", "idle=halt"))
    kernel = resolve(scenario, arm.kernel, arm.settings, arm.boot_args).kernel
    assert kernel.boot_args == ("idle=halt", "threadirqs")
    assert (kernel.release, kernel.sysctl.skb_defer_max) == ("6.12", 8)
    assert resolve(scenario, boot_args=()) is scenario


def test_the_labs_arm_has_the_image_besides() -> None:
    image = Kernel("6.12", "6.12.9+deb12-amd64", Path("vmlinuz"), None, {})
    arm = GuestArm("6.12-threads", boot_args=("thread_backlog_napi",), image=image)
    assert isinstance(arm, Arm)
    assert (arm.release, arm.threads) == ("6.12", True)
    assert not GuestArm("6.12", image=image).threads
