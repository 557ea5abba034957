# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches on a Dask cluster come out as in processes of this machine, whatever dies meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.dask_cluster import Cluster
from tests.report.golden import held_to_golden

from softnet.cli import run_cli
from softnet.cluster import shipped
from softnet.cluster.client import Cluster as Client
from softnet.errors import SoftnetError
from softnet.lang.native.compile import available
from softnet.properties.findings import FINDINGS
from softnet.report.verify import outcomes_as_json
from softnet.verify import elsewhere, known, parallel
from softnet.verify import search as searching
from softnet.verify.api import Verification, searches
from softnet.verify.elsewhere import Group, shipment_of
from softnet.verify.known import search_past_known
from softnet.verify.model import Config, Driver
from softnet.verify.parallel import several, work_of
from softnet.verify.search import Failure, Limits, Outcome
from softnet.verify.verdict import Verdict, Why

native = pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
NO_LOCK = Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py"
LIMITS = Limits(states=2_000_000, memory_bytes=256 << 20)
SMALL = Config("small", kernel="6.12-threads", drivers=(Driver("free", 1, 1),), defer_max=1)
LONG = Config("long", kernel="6.12", drivers=(Driver("free", 1, 2), Driver("irq", 0)))
BROKEN = replace(SMALL, name="broken", drivers=(Driver("free", 1, 2), Driver("irq", 0)), patches=(str(NO_LOCK),))
ENDLESS = replace(SMALL, name="endless", cpus=3, drivers=(Driver("free", 1, 3), Driver("free", 2, 3), Driver("irq", 0, 2)))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'softnet[cluster]'")
    made = Cluster(tmp_path, 2)
    yield made
    made.close()


def as_json(found: list[Any]) -> list[dict[str, Any]]:
    """What softnet verify --json prints, but for the time it took."""
    rows = outcomes_as_json(Verification(found))
    for row in rows:
        del row["seconds"]
    return rows


@native
@pytest.mark.slow
def test_a_cluster_says_the_same_as_one_process_whatever_dies(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [SMALL, replace(SMALL, name="again", defer_max=2), replace(SMALL, name="two", drivers=(Driver("free", 1, 2),))]
    alone = list(searches(configs, LIMITS, max_seconds=600))  # test_searches.py: --jobs says the same
    assert [o.verdict for o, _ in alone] == [Verdict.HOLDS] * 3

    # Ctrl-C: what was found, and the search that is waited for as far as it came; the workers are free for others.
    interrupted = list(searches([SMALL, ENDLESS, SMALL], LIMITS, max_seconds=600, cluster=_interrupting(monkeypatch, cluster)))
    assert [(o.config.name, o.verdict) for o, _ in interrupted] == [("small", Verdict.HOLDS), ("endless", Verdict.INCONCLUSIVE)]
    assert interrupted[1][0].why is Why.INTERRUPTED

    # A swarm's members, too.
    alone_swarm, on_it = (
        list(searches([SMALL], LIMITS, max_seconds=600, swarm=3, cluster=where)) for where in ("", cluster.address)
    )
    assert as_json(on_it) == as_json(alone_swarm)

    # A worker is killed when the first outcome is there: another one does its search again.
    found = []
    for number, one in enumerate(searches(configs, LIMITS, max_seconds=600, cluster=cluster.address)):
        found.append(one)
        if number == 0:
            cluster.kill(1)
    assert as_json(found) == as_json(alone)


def _interrupting(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> str:
    """Ctrl-C comes once the first outcome is there and somebody waits for the next."""
    take, calls = Client._take, list[bool]()

    def interrupted(self: Client, seconds: float) -> list[tuple[int, Any]]:
        found = take(self, seconds)
        if not found and self._seen and not calls:
            calls.append(True)
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Client, "_take", interrupted)
    return cluster.address


@native
@pytest.mark.slow
def test_what_a_worker_is_sent_is_all_that_a_search_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in this process, with an empty cache: it needs neither patch nor compiler, and names the client's files."""
    patch = Path(shutil.copy(NO_LOCK, tmp_path / "mine.py"))
    config = replace(BROKEN, patches=(str(patch),))
    works = work_of([config, replace(config, name="again")], LIMITS, 600, None, strict=False, jobs=1)
    shipment = shipment_of(works)
    shipment.token = "token"
    shipment.native[shipped.builder_kind()] = shipment.compiled(sent=False)
    wanted = [outcome for outcome, _ in several(works[0], lambda: False)]

    patch.unlink()
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path / "worker"))
    monkeypatch.setattr("softnet.lang.native.compile._build", lambda *_: pytest.fail("it was compiled"))
    shipped.take(shipment)
    found = shipped.made("token", Group(replace(works[0], time=works[0].time.sent())))
    shipped.drop("token")
    assert [outcome for outcome, _ in found] == wanted
    assert str(patch) in found[0][0].changes[0]


def test_the_minute_is_read_on_another_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four searches on two workers share 60 seconds; the second is sent when 20 of them are gone, to a clock that is elsewhere."""
    here, there = [1000.0], 5.0
    monkeypatch.setattr(parallel.time, "monotonic", lambda: here[0])
    works = work_of([SMALL, LONG, SMALL, LONG], LIMITS, 60, 60.0, strict=False, jobs=2)
    assert [work.time.seconds() for work in works] == [30.0, 40.0, 60.0, 60.0]
    here[0] += 20
    sent = works[1].time.sent()
    here[0] = there
    assert sent.received().seconds() == pytest.approx(40 * 2 / 3)


def test_a_search_that_kills_its_workers_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    died = SoftnetError("a worker process died", found="each worker that made it died")
    client = SimpleNamespace(run=lambda pieces, ahead: iter([(number, died) for number, _ in pieces]))
    works = work_of([SMALL], LIMITS, 60, None, strict=False, jobs=1)
    with pytest.raises(SoftnetError, match="small: a worker process died") as raised:
        list(elsewhere._in_order(client, works))
    assert "--memory" in raised.value.hint


def test_a_violation_that_nobody_waited_to_be_judged_is_neither_new_nor_known(monkeypatch: pytest.MonkeyPatch) -> None:
    violated = Outcome(BROKEN, Verdict.VIOLATED, None, 10, 20, 3, 0, 1, Failure("lost kick", ""), [1, 2])
    stopped = Outcome(BROKEN, Verdict.INCONCLUSIVE, Why.TIME_LIMIT, 1, 1, 1, 0, 0)
    outcomes = iter([violated, stopped])
    monkeypatch.setattr(known, "search", lambda *_, **__: next(outcomes))
    monkeypatch.setattr(known, "finding_of", lambda *_: FINDINGS["C4"])
    found = search_past_known(BROKEN, stopped=lambda: True)
    assert (found.verdict, found.why, found.failure, found.actions) == (Verdict.INCONCLUSIVE, Why.INTERRUPTED, None, [])


@native
@pytest.mark.slow
def test_a_search_that_nobody_wants_any_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SLICE_STATES", 50)
    work = work_of([SMALL] * 2, LIMITS, 600, None, strict=False, jobs=1)[0]
    ((outcome, _),) = several(work, lambda: True)
    assert (outcome.why, outcome.frontier > 0) == (Why.TIME_LIMIT, True)


BAD = {
    "cluster-unknown": ["--cluster", "tcp:/127.0.0.1"],
    "cluster-and-jobs": ["--cluster", "local:2", "--jobs", "2"],
    "cluster-and-save": ["--cluster", "local:2", "--save", "file", "--kernel", "6.12", "--driver", "free:1"],
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_cluster_is_one_message(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["verify", *BAD[case]]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    held_to_golden("verify_errors", case, printed.err)
