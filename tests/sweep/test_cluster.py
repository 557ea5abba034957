# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep on a real Dask cluster: the same bytes as without, whatever dies meanwhile; and what goes to a worker."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.dask_cluster import Cluster
from tests.report.golden import held_to_golden
from tests.sweep.conftest import VARY
from tests.sweep.test_sweep import Counted, asked, files

from softnet.cli import run_cli
from softnet.cluster import shipped
from softnet.cluster.client import Cluster as Client
from softnet.cluster.wanted import needed, wanted_cluster
from softnet.errors import SoftnetError
from softnet.sweep import api
from softnet.sweep.plan import plan
from softnet.sweep.shipped import Packer, Runs
from softnet.sweep.store import Journal

PATCHES = Path(__file__).resolve().parents[2] / "examples" / "patches"
CAPTURE = Path(__file__).resolve().parents[2] / "examples" / "captures"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'softnet[cluster]'")
    made = Cluster(tmp_path, 2)
    yield made
    made.close()


def _calling(monkeypatch: pytest.MonkeyPatch, at: int, what: Any) -> list[str]:
    """Call it when that many runs are kept; the ids of the runs that are."""
    inner, ids = Journal.add, list[str]()

    def add(self: Journal, run_id: str, finished: Any) -> None:
        inner(self, run_id, finished)
        ids.append(run_id)
        if len(ids) == at:
            what()

    monkeypatch.setattr(Journal, "add", add)
    return ids


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_whatever_of_it_dies(
    scenario: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"seeds": 6}
    alone = api.sweep(asked(scenario, **given), tmp_path / "alone", processes=1)
    assert alone.finished == 24

    # A worker is killed when five runs are there: the other one does the rest.
    with monkeypatch.context() as patch:
        kept = _calling(patch, 5, lambda: cluster.kill(1))
        api.sweep(asked(scenario, **given), tmp_path / "killed", cluster=cluster.address)
        assert len(kept) == len(set(kept)) == 24
    assert files(tmp_path / "killed") == files(tmp_path / "alone")
    # Each worker was sent the compiled kernel, into a cache that was empty.
    for cache in cluster.caches:
        assert [path.suffix for path in sorted((cache / "native").iterdir())].count(".kernel") == 1

    # The scheduler is killed: one clear error, everything that came is kept, and without a cluster it goes on.
    with monkeypatch.context() as patch:
        kept = _calling(patch, 3, lambda: cluster.kill(0))
        with pytest.raises(SoftnetError, match="the scheduler of the cluster is gone"):
            api.sweep(asked(scenario, **given), tmp_path / "lost", cluster=cluster.address)
    assert 3 <= len(kept) < 24
    counted = Counted(monkeypatch)
    api.sweep(asked(scenario, **given), tmp_path / "lost", processes=1)
    assert counted.runs == 24 - len(kept)
    assert files(tmp_path / "lost") == files(tmp_path / "alone")


@pytest.mark.slow
def test_one_process_all_cores_and_a_local_cluster_give_the_same_bytes(scenario: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'softnet[cluster]'")
    experiment = asked(scenario, vary=VARY[:1], seeds=2, settings=("measure.duration_ms=1",))
    alone = api.sweep(experiment, tmp_path / "alone", processes=1)
    assert alone.finished == 4
    api.sweep(experiment, tmp_path / "cores", processes=2)
    api.sweep(experiment, tmp_path / "cluster", cluster="local:2")
    assert files(tmp_path / "cores") == files(tmp_path / "cluster") == files(tmp_path / "alone")


@pytest.mark.slow
def test_what_a_worker_is_sent_is_where_its_runs_look_for_it(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker in this process, of another folder and with an empty cache: it needs neither the capture nor a compiler."""
    capture = tmp_path / "small.pcap"
    capture.write_bytes(next(iter(sorted(CAPTURE.glob("*.pcap")))).read_bytes())
    text = scenario.read_text()
    first, last = text.index("[[traffic]]"), text.index("[[application]]")
    scenario.write_text(f'{text[:first]}[[traffic]]\nkind = "capture"\nfile = "small.pcap"\n\n{text[last:]}')
    planned = plan(asked(scenario, seeds=1))
    patch = shutil.copy(PATCHES / "kick_at_max.py", tmp_path)
    patched = plan(asked(scenario, seeds=1, vary=VARY[:1], patches=(str(patch),))).arms
    packer = Packer("token")
    for arm in planned.arms:
        packer.add(arm)
    shipment = packer.shipment
    shipment.native[shipped.builder_kind()] = shipment.compiled(sent=False)
    packer.add(patched[0])
    # The reference engine runs the patched kernel: nothing has to be compiled for it.
    engines = {**dict.fromkeys(planned.arms, "native"), patched[0]: "reference"}
    wanted = [api.run_once(api.Job(a.digest, a.kernel, a.scenario, a.patches, 1, engine)) for a, engine in engines.items()]

    capture.unlink()
    os.unlink(patch)
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path / "worker"))
    monkeypatch.setattr("softnet.sweep.worker._linked", {})
    monkeypatch.setattr("softnet.sweep.worker._booted", {})
    monkeypatch.setattr("softnet.lang.native.compile._build", lambda *_: pytest.fail("it was compiled"))
    shipped.take(shipment)
    found = [
        shipped.made("token", Runs(a.digest, a.kernel, packer.costs(a.scenario), a.scenario, a.patches, (1,), engine))[0]
        for a, engine in engines.items()
    ]
    assert found == wanted
    assert found[0].values[0] is not None
    assert shipped.clear_shipped() == 2


def test_a_shipped_file_is_what_its_name_says_and_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    content = b"a capture"
    file = shipped.File("a.pcap", "b90e8ac2c6e68e63d5c8ea5fbf1f17c4ae8bb77e5bc1a3ee4a18ffb6ed6ac8e5")
    with pytest.raises(SoftnetError, match="not what it says"):
        shipped.kept(file, content)
    import hashlib

    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(SoftnetError, match="not what it says"):
        shipped.kept(shipped.File("../a.pcap", digest), content)
    path = shipped.kept(shipped.File("a.pcap", digest), content)
    assert path.stat().st_mode & 0o777 == 0o600
    # What somebody else could write, or has changed, is written anew.
    for damage in (lambda: path.chmod(0o666), lambda: path.write_bytes(b"another"), lambda: path.unlink()):
        damage()
        assert shipped.kept(shipped.File("a.pcap", digest), content).read_bytes() == content
        assert path.stat().st_mode & 0o022 == 0
    monkeypatch.setattr(shipped, "KEPT_MAX", 2)
    for n in range(3):
        other = b"%d" % n
        shipped.kept(shipped.File("b", hashlib.sha256(other).hexdigest()), other)
    assert len(list((tmp_path / "shipped").iterdir())) == 2


def test_a_worker_with_another_softnet_takes_nothing(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packer = Packer("token")
    packer.add(plan(asked(scenario)).arms[0])
    monkeypatch.setattr(shipped, "package_digest", lambda: "another")
    with pytest.raises(SoftnetError, match="another softnet or numpy"):
        shipped.take(packer.shipment)


class _Future:
    """A piece that has ended."""

    def __init__(self, status: str, raised: BaseException | None = None) -> None:
        self.status = status
        self.raised = raised

    def exception(self, timeout: float) -> BaseException | None:
        return self.raised


class KilledWorker(Exception):
    """Named as Dask's."""


def _client() -> Client:
    return Client(wanted_cluster("tcp://there:1"), shipped.Shipment())


def test_what_ends_badly_is_lost_or_one_error() -> None:
    runner = _client()
    lost = runner._ended(_Future("error", KilledWorker()), 3)
    assert [str(one) for one in lost] == ["a worker process died\n  found:    each worker that made it died"] * 3
    for future, message in (
        (_Future("error", SoftnetError("a patch, or softnet itself, has changed")), "has changed"),
        (_Future("error", ModuleNotFoundError("No module named 'softnet'")), "cannot work"),
        (_Future("cancelled"), "the scheduler of the cluster is gone"),
        (_Future("lost"), "the scheduler of the cluster is gone"),
    ):
        with pytest.raises(SoftnetError, match=message):
            runner._ended(future, 3)


def test_a_piece_whose_worker_dies_when_it_is_done_is_waited_for_or_known_already() -> None:
    client = _client()
    client.client = SimpleNamespace(status="running")
    calls: list[Any] = []
    future = SimpleNamespace(status="lost", add_done_callback=calls.append, result=lambda timeout: ["a", "b"])
    client._out = {0: (future, 2), 2: (future, 1)}
    for told in ((2, pickle.dumps("c"), -1), (2, None, 1), (2, None, -1)):
        client._told.put(told)
    assert [client._take(0) for _ in range(3)] == [[(2, "c")], [], []]
    assert list(client._out) == [0], "what has told all and that it is done is not asked for again"
    client._told.put((0, None, -1))
    assert client._take(0) == []
    future.status = "finished"
    calls.pop()(future)
    assert client._take(0) == [(0, "a"), (1, "b")]
    assert not client._out


def test_workers_that_cannot_give_the_same_are_refused_before_anything_runs() -> None:
    runner = _client()
    for answer, message in (
        (shipped.Described("another", ""), "another softnet or numpy"),
        (ModuleNotFoundError("No module named 'softnet'"), "has no softnet that works"),
    ):
        runner.client = SimpleNamespace(run=lambda function, on_error, answer=answer: {"tcp://a:1": answer})
        with pytest.raises(SoftnetError, match=message) as raised:
            runner._described(shipped.describe)
        assert raised.value.where == "tcp://a:1"


BAD = {
    "cluster-unknown": ["--cluster", "tcp:/127.0.0.1"],
    "cluster-without-number": ["--cluster", "slurm"],
    "cluster-of-none": ["--cluster", "local:0"],
    "cluster-and-jobs": ["--cluster", "local:2", "--jobs", "2"],
    "cluster-no-slurm": ["--cluster", "slurm:2"],
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_cluster_is_one_message(
    case: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "slurm" in case:
        needs_jobqueue()
    monkeypatch.chdir(scenario.parent)
    monkeypatch.setenv("PATH", "")
    assert run_cli(["sweep", scenario.name, f"--vary={VARY[0]}", *BAD[case], "--out=out"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not Path("out").exists()
    held_to_golden("sweep", case, printed.err)


def test_a_cluster_that_is_not_there_is_one_message(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'softnet[cluster]'")
    monkeypatch.chdir(scenario.parent)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert run_cli(["sweep", scenario.name, f"--vary={VARY[0]}", f"--cluster=tcp://127.0.0.1:{port}", "--out=out"]) == 2
    held_to_golden("sweep", "cluster-not-there", capsys.readouterr().err.replace(str(port), "PORT"))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("where", "module"), [("tcp://h:1", "distributed"), ("local:2", "distributed"), ("kubernetes:2", "dask_kubernetes")]
)
def test_without_dask_one_message_says_what_to_install(
    where: str, module: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "dask_kubernetes":
        pytest.importorskip("distributed", reason="Dask is not installed: pip install 'softnet[cluster]'")
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.operator", None)
    monkeypatch.chdir(scenario.parent)
    assert run_cli(["sweep", scenario.name, f"--vary={VARY[0]}", f"--cluster={where}", "--out=out"]) == 2
    held_to_golden("sweep", f"cluster-no-{module}", capsys.readouterr().err.replace(where, "WHERE"))
    assert not Path("out").exists()


def needs_jobqueue() -> None:
    """Skip without it; and do not import it here, which would take Ctrl-C from the other tests."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask-jobqueue is not installed: pip install 'softnet[cluster]'")


def test_a_library_that_is_imported_leaves_ctrl_c_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_jobqueue()
    for name in [name for name in sys.modules if name.partition(".")[0] == "dask_jobqueue"]:
        monkeypatch.delitem(sys.modules, name)
    before = signal.getsignal(signal.SIGINT)
    assert needed("dask_jobqueue", "dask_jobqueue", "cluster").SLURMCluster
    assert signal.getsignal(signal.SIGINT) is before
