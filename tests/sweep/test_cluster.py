# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep on a real Dask cluster: the same bytes as without, whatever dies meanwhile; and what goes to a worker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.long import LONG
from tests.report.golden import held_to_golden
from tests.sweep.conftest import VARY
from tests.sweep.test_sweep import Counted, asked, files

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.sweep import api, shipped
from softnet.sweep.cluster import ClusterRunner, wanted_cluster
from softnet.sweep.plan import plan
from softnet.sweep.store import Journal

PATCHES = Path(__file__).resolve().parents[2] / "examples" / "patches"
CAPTURE = Path(__file__).resolve().parents[2] / "examples" / "captures"


class Cluster:
    """A scheduler and workers, each a process of its own; a worker has a cache of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.caches = [folder / f"cache-{n}" for n in range(workers)]
        scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter")
        self.address = self._says(scheduler, "Scheduler at:").split()[-1]
        for cache in self.caches:
            # Without a nanny: what is killed stays away.
            words = ("worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
            self._start(*words, SOFTNET_CACHE=str(cache))
        for worker in self.processes[1:]:
            self._says(worker, "Registered to:")

    @staticmethod
    def _says(process: subprocess.Popen[str], words: str) -> str:
        assert process.stderr is not None
        return next(line for line in process.stderr if words in line)

    def _start(self, what: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": paths, **environment},
        )  # fmt: skip
        self.processes.append(process)
        return process

    def kill(self, number: int) -> None:
        """0 is the scheduler, then come the workers."""
        self.processes[number].send_signal(signal.SIGKILL)
        self.processes[number].wait()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.communicate()


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
    assert alone.table.num_rows == 24

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
@pytest.mark.skipif(not LONG, reason="SOFTNET_LONG is not set; docs/sweep.md runs such a cluster")
def test_a_cluster_of_this_machines_processes(scenario: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'softnet[cluster]'")
    api.sweep(asked(scenario), tmp_path / "alone", processes=1)
    words = ["sweep", str(scenario), *(f"--vary={text}" for text in VARY), "--seeds=2", f"--out={tmp_path / 'out'}", "--quiet"]
    done = subprocess.run([sys.executable, "-m", "softnet", *words, "--cluster=local:2"], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert files(tmp_path / "out") == files(tmp_path / "alone")


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
    packer = shipped.Packer("token")
    for arm in planned.arms:
        packer.add(arm)
    shipment = packer.shipment
    shipment.native[shipped.builder_kind()] = shipped.compiled(shipment, sent=False)
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
        shipped.run_piece(
            shipped.Piece("token", a.digest, a.kernel, packer.costs(a.scenario), a.scenario, a.patches, (1,), engine)
        )[0]
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
    packer = shipped.Packer("token")
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


def _runner(scenario: Path) -> ClusterRunner:
    return ClusterRunner(wanted_cluster("tcp://there:1"), plan(asked(scenario)).arms, "auto")


def test_what_ends_badly_is_lost_or_one_error(scenario: Path) -> None:
    runner = _runner(scenario)
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


def test_workers_that_cannot_give_the_same_are_refused_before_anything_runs(scenario: Path) -> None:
    runner = _runner(scenario)
    shipment = runner.packer.shipment
    for answer, message in (
        (shipped.Described("another", ""), "another softnet or numpy"),
        (ModuleNotFoundError("No module named 'softnet'"), "has no softnet that works"),
    ):
        runner.client = SimpleNamespace(run=lambda function, on_error, answer=answer: {"tcp://a:1": answer})
        with pytest.raises(SoftnetError, match=message) as raised:
            runner._described(shipped.describe, shipment)
        assert raised.value.where == "tcp://a:1"


BAD = {
    "cluster-unknown": ["--cluster", "tcp:/127.0.0.1"],
    "cluster-without-number": ["--cluster", "slurm"],
    "cluster-of-none": ["--cluster", "local:0"],
    "cluster-and-processes": ["--cluster", "local:2", "--processes", "2"],
    "cluster-no-slurm": ["--cluster", "slurm:2"],
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_cluster_is_one_message(
    case: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "slurm" in case:
        pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed: pip install 'softnet[cluster]'")
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
