# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions that were lowered for one kernel are taken again for another: the explorer's text is what it would have been anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.verify.matrix import rows

from softnet.lang.check import subset
from softnet.verify import model
from softnet.verify.codegen.runtime import module_text
from softnet.verify.model import Config, build_model

pytestmark = pytest.mark.slow

ROWS = {row.mutation: row.config() for row in rows()}
IN_TURN = [
    ROWS["sched_not_retired"],
    ROWS["kick_takes_sched_only"],  # the same stack with other functions mutated, and backlog threads
    replace(ROWS["retire_after_splice"], rps=True),  # other constants
    replace(ROWS["sched_not_retired"], patches=()),
    replace(ROWS["sched_not_retired"], patches=(), kernel="6.18"),  # other structures
]


def lowered(config: Config) -> tuple[str, set[str]]:
    made = build_model(config)
    return module_text(made), made.module.pointed


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_KEPT", {})
    monkeypatch.setattr(model, "_LOWERED", {})
    monkeypatch.setattr(subset, "_FINE", {})


def test_the_text_is_that_of_a_kernel_that_is_lowered_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    in_turn = [lowered(config) for config in IN_TURN]
    assert len(model._LOWERED) < len(IN_TURN), "some were taken again"
    for config, found in zip(IN_TURN, in_turn, strict=True):
        forget(monkeypatch)
        assert lowered(config) == found
