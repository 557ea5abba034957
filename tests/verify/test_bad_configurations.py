# SPDX-License-Identifier: GPL-2.0-or-later
"""What nobody can mean is refused with status 2; a shipped kernel is violated (status 1) by no setting that is merely extreme."""

from __future__ import annotations

import pytest

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.verify.replay.schedule import STEPS_MAX, decode
from softnet.verify.standard import KERNELS, driver_of, event_of, from_text, standard

REFUSED = {
    "a raised digit is no number": (("--driver", "free:²"), "not a driver"),
    "nor is another script's": (("--driver", "free:٣"), "not a driver"),
    "nor are 5000 digits": (("--driver", "free:" + "9" * 5000), "not a driver"),
    "nor has a CPU a sign": (("--driver", "free:-1"), "not a driver"),
    "two signs": (("--driver", "free:1", "--set", "defer_max=--5"), "defer_max is a number"),
    "a sign inside": (("--driver", "free:1", "--set", "defer_max=1-5"), "defer_max is a number"),
    "too large for any word": (
        ("--driver", "free:1", "--set", f"defer_max={10**18}"),
        "defer_max is a number",
    ),
    "neither on nor off": (("--driver", "free:1", "--set", "rps=2"), "rps is on or off"),
    "an event's raised digit": (
        ("--driver", "free:1", "--event", "dev_weight=¹"),
        "not a change of a setting",
    ),
    "a weight of 0, later": (("--driver", "free:1", "--event", "dev_weight=0"), "not a value of the setting"),
    "RPS without RPS": (("--driver", "rps:1:1:0"), "without CONFIG_RPS nothing is steered"),
    "more skbs than there is room for": (("--driver", f"free:1:{10**9}"), "too many skbs"),
    "more than a byte of actions": (("--driver", "free:1") * 250, "too much may happen"),
    "no such preemption": (("--driver", "free:1", "--set", "preempt=x"), "not a preemption model"),
    "an interrupt that would sleep": (("--driver", "irq:0", "--kernel", "6.12-rt"), "may not call netif_rx"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nobody_can_mean_is_refused(name, capsys):
    args, message = REFUSED[name]
    kernel = () if "--kernel" in args else ("--kernel", "6.12")
    assert run_cli(["verify", *kernel, *args]) == 2
    said = capsys.readouterr()
    assert (said.out, message in said.err) == ("", True), said.err


SCHEDULES = {
    "an action that there is not": ("free:1/12", "action 12"),
    "a raised digit": ("free:1/²", "not a schedule"),
    "5000 digits": ("free:1/" + "9" * 5000, "not a schedule"),
    "nine quintillion steps": (f"free:1/6x{9 * 10**17}", "the schedule is too long"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_fits_nothing_is_refused(name, capsys):
    text, message = SCHEDULES[name]
    assert run_cli(["replay-schedule", f"kernel=6.12,driver={text}"]) == 2
    assert message in capsys.readouterr().err


def test_a_schedule_may_be_long_or_empty():
    assert decode("") == []
    assert len(decode(f"1x{STEPS_MAX}")) == STEPS_MAX
    with pytest.raises(SoftnetError):
        decode(f"1x{STEPS_MAX}.2")


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_the_standard_configurations_are_is_allowed(kernel):
    for config in standard(kernel, 3, 2):
        from_text(",".join([f"kernel={kernel}", "cpus=3", f"rps={int(config.rps)}",
                            *(f"driver={d.kind}:{d.cpu}:{d.count}" for d in config.drivers)]))  # fmt: skip
    assert event_of("dev_weight=1").value == 1
    assert driver_of("rps:1:2:0").target == 0


@pytest.mark.skipif(bool(available()), reason="no native engine here")
@pytest.mark.parametrize("storage", ["exact", "compact"])
def test_a_limit_of_0_is_kept_where_nobody_frees(storage):
    """The producers' overshoot is theirs: with none of them it was -1, and the first state was over the limit."""
    from softnet.verify.search import Limits, search

    config = from_text("kernel=6.12,defer_max=0,driver=netif_rx:0:1:0")
    outcome = search(config, Limits(storage=storage))
    assert (outcome.holds, outcome.failure) == (True, None)


FIRST_STATE = """# SPDX-License-Identifier: GPL-2.0-or-later
from softnet.verify import always


@always("fewer than two packets are queued")
def two_at_least(cpu: int) -> bool:
    return table(softnet_data, cpu).input_pkt_queue.qlen >= 2
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason="no native engine here")
def test_a_violation_of_the_first_state_is_told_and_replayed(tmp_path, capsys):
    """The schedule to it has no step; its text must still be one that replay-schedule takes."""
    claims = tmp_path / "never.py"
    claims.write_text(FIRST_STATE, encoding="utf-8")
    for storage in ("exact", "compact"):
        args = [
            "verify",
            "--kernel",
            "6.12",
            "--driver",
            "netif_rx:0",
            "--property-file",
            str(claims),
            "--quiet",
        ]
        assert run_cli([*args, "--storage", storage]) == 1
        out = capsys.readouterr().out
        assert "the shortest schedule, 0 steps" in out
    text = out.strip().splitlines()[-1].rpartition("'")[0].rpartition("'")[2]
    assert text.endswith("/")
    assert run_cli(["replay-schedule", "--property-file", str(claims), "--engine", "both", text]) == 0
    assert "violated in the first state: two_at_least" in capsys.readouterr().out
