# SPDX-License-Identifier: GPL-2.0-or-later
"""What softnet verify writes: golden texts of outcomes made by hand, and of one counterexample."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.golden import GOLDEN, held_to_golden

import softnet
import softnet.verify
from softnet import VerifyOptions, verify
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.properties.statements import PROPERTIES
from softnet.report.verify import WHY, SearchTable, outcomes_as_json, summary, verdict_text, why_text
from softnet.verify import always
from softnet.verify.api import LeftOut, Standing, Verification, configurations, searches
from softnet.verify.arena import Limits
from softnet.verify.model import Config, Driver, Event
from softnet.verify.parallel import Progress
from softnet.verify.search import Known, Outcome, search
from softnet.verify.standard import from_text
from softnet.verify.verdict import Verdict, Why

NO_LOCK = Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py"
CONFIG = Config("deferred frees", drivers=(Driver("free", 1, 2),))
ABSENT = ("stranded", "NET_RX from an IPI")
PREMISES = {p.name: 0 if p.name in ABSENT else 10 * number for number, p in PROPERTIES.items() if p.premise}
HOLDS = Outcome(CONFIG, Verdict.HOLDS, None, 3_030, 5_554, 43, 2, 0, bytes_used=400_000, premises=PREMISES)
COMPACT = replace(HOLDS, config=replace(CONFIG, kernel="6.12-rt", name="a larger one"), states=2_000_000, storage="compact")
BUFFERS = replace(HOLDS, config=replace(CONFIG, memory_model="tso", store_buffer=2, events=(Event("dev_weight", 1),), ticks=1))
STOPPED = replace(HOLDS, verdict=Verdict.INCONCLUSIVE, why=Why.TIME_LIMIT, frontier=70)
PLUGGED = replace(
    HOLDS,
    config=replace(CONFIG, drivers=(Driver("hotplug", 0, 2, 0, 1),), properties=("stranded", "deadlock")),
    premises={"stranded": 1_234},
)
KNOWN = replace(HOLDS, known=(Known("C1", "lost kick", (4, 4, 0)),), changes=("a.py: replaces 2 functions, adds 1",))
ELSEWHERE = replace(HOLDS, premises=PREMISES | {"over the limit": 0, "count without list": 0}, list_unknown=True)


def written(*outcomes: Outcome, width: int = 110, color: bool = False) -> str:
    """What the command prints of outcomes, a second each."""
    found = Verification([(outcome, 1.0) for outcome in outcomes])
    table = SearchTable([o.config for o in outcomes], width, color=color)
    rows = [table.head(), *(table.row(o, s) for o, s in found.searches)]
    return "\n".join([*rows, summary(found, every=False, width=width, color=color)]) + "\n"


CASES = {
    "holds": lambda: written(HOLDS, replace(HOLDS, config=replace(CONFIG, liveness=True))),
    "compact": lambda: written(COMPACT, COMPACT),
    "store-buffers": lambda: written(BUFFERS),
    "inconclusive": lambda: written(HOLDS, STOPPED),
    "hotplug": lambda: written(PLUGGED),
    "known": lambda: written(KNOWN),
    "known-80": lambda: written(KNOWN, width=80),
    "known-120": lambda: written(KNOWN, width=120),
    "list-elsewhere": lambda: written(ELSEWHERE),
    "json": lambda: json.dumps(outcomes_as_json(Verification([(KNOWN, 1.0), (STOPPED, 2.5)])), indent=2) + "\n",
}


@pytest.mark.parametrize("case", CASES)
def test_the_text_is_the_golden_one(case: str) -> None:
    held_to_golden("verify", case, CASES[case]())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("outcome", [HOLDS, COMPACT, BUFFERS, STOPPED, PLUGGED, KNOWN, ELSEWHERE], ids=lambda o: o.config.name)
def test_eighty_columns_are_enough(outcome: Outcome, width: int) -> None:
    text = written(outcome, replace(outcome, config=replace(outcome.config, name="RPS both ways, no wake list")), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert ("transitions" in text) == (width == 120)


def test_colour_adds_escapes_and_nothing_else() -> None:
    coloured = written(KNOWN, STOPPED, color=True)
    assert "\x1b[32mholds (exhausted)\x1b[0m" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == written(KNOWN, STOPPED).splitlines()


def test_no_golden_text_is_left_over() -> None:
    assert {path.stem for path in (GOLDEN / "verify").glob("*.txt")} == {*CASES, "violated"}


def test_every_reason_has_its_sentence() -> None:
    assert set(WHY) == set(Why)
    assert len(set(WHY.values())) == len(Why)


def test_an_inconclusive_search_says_what_it_knows() -> None:
    known = replace(STOPPED, known_violation="lost kick")
    assert why_text(known).endswith("before a schedule that violates lost kick, which there is, was found")
    assert verdict_text(known) == "inconclusive"


def test_one_inconclusive_search_makes_all_so() -> None:
    found = Verification([(HOLDS, 1.0), (STOPPED, 1.0)])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert {row.standing for row in found.properties()} == {
        Standing.WITHIN_LIMITS,
        Standing.NEEDS_LIVENESS,
        Standing.NOTHING_TO_CHECK,
    }
    assert LeftOut.HOTPLUG in found.left_out()
    assert LeftOut.HOTPLUG not in Verification([(PLUGGED, 1.0)]).left_out()


def test_options_make_configurations() -> None:
    options = VerifyOptions(drivers=("free:1:2",), settings=("defer_max=4",), events=("dev_weight=1",), properties=("lost kick",))
    (config,) = configurations(["6.12-rt"], options)
    assert (config.kernel, config.defer_max, config.drivers) == ("6.12-rt", 4, (Driver("free", 1, 2),))
    assert config.properties == ("lost kick", "deadlock")
    assert len(configurations()) > len(configurations(["6.12"]))
    with pytest.raises(SoftnetError, match="one search is saved"):
        next(iter(searches(configurations(["6.12"]), save=Path("nowhere"))))


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
def test_the_counterexample_is_the_golden_one() -> None:
    text = "kernel=6.12-threads,driver=free:1:2:0,driver=irq:0:1:0"
    outcome = search(replace(from_text(text, (str(NO_LOCK),)), properties=("phantom SCHED",)))
    assert outcome.failure is not None
    text = written(outcome)
    held_to_golden("verify", "violated", re.sub(r":\d+\)", ":LINE)", text.replace(str(NO_LOCK), "no_backlog_lock.py")))


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
def test_verification_is_a_call() -> None:
    seen: list[Progress] = []
    found = softnet.verify("6.12", VerifyOptions(drivers=("free:1:1",)), limits=Limits(states=100_000), progress=seen.append)
    assert found.verdict is Verdict.HOLDS
    assert found.counterexample() is None
    assert seen[-1].states == found.outcomes[0].states


def test_the_package_is_the_call() -> None:
    assert verify is softnet.verify is sys.modules["softnet.verify"]
    assert softnet.verify.always is always
    with pytest.raises(SoftnetError, match=r"6\.99"):
        softnet.verify("6.99")
