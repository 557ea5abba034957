# SPDX-License-Identifier: GPL-2.0-or-later
"""Actions by number: each is something else, and they are as many as the search tries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from softnet.verify.actions import Action, ActionKind, decode_action
from softnet.verify.model import Config, Driver, Event, nr_actions

CONFIG = Config("t", cpus=2, drivers=(Driver("free", 1), Driver("irq", 0)), events=(Event("dev_weight", 1),))


def test_every_action_is_another_one() -> None:
    buffered = replace(CONFIG, memory_model="tso")
    for config, count in ((CONFIG, 12), (buffered, 14)):
        assert nr_actions(config) == count
        assert len({decode_action(config, number) for number in range(count)}) == count
    with pytest.raises(IndexError, match="no action 14"):
        decode_action(buffered, 14)


def test_the_numbers_are_the_searchs() -> None:
    assert decode_action(CONFIG, 0) == Action(ActionKind.STEP, 0)
    assert decode_action(CONFIG, 5) == Action(ActionKind.INTERRUPT, 1)
    assert decode_action(CONFIG, 9) == Action(ActionKind.DRIVER, number=1)
    assert decode_action(CONFIG, 10) == Action(ActionKind.TIME)
    assert decode_action(CONFIG, 11) == Action(ActionKind.EVENT, number=0)
    assert decode_action(replace(CONFIG, memory_model="tso"), 13) == Action(ActionKind.STORE, 1)
