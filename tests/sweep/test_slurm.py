# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep on SLURM, with two commands played: ``sbatch`` runs a job's script as a process of this machine, ``scancel`` ends it.

The rest, dask-jobqueue and Dask, is real. docs/sweep.md says what a real SLURM did.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.sweep.conftest import VARY
from tests.sweep.test_cluster import needs_jobqueue
from tests.sweep.test_sweep import asked, files

from softnet.cli import run_cli
from softnet.cluster import client as cluster_client
from softnet.cluster import shipped
from softnet.cluster.wanted import needed, wanted_cluster
from softnet.errors import SoftnetError
from softnet.sweep import api

SETTINGS = {"cores": 1, "memory": "2GB", "queue": "short", "walltime": "00:05:00", "interface": "lo"}
SBATCH = """\
#!/bin/sh
{refusal}
cp "$1" "{jobs}/script"
setsid sh "{jobs}/script" >/dev/null 2>"{jobs}/said" &
echo "$!" >> "{jobs}/started"
echo "Submitted batch job $!"
"""
SCANCEL = """\
#!/bin/sh
echo "$1" >> "{jobs}/ended"
kill -- "-$1"
"""
REFUSAL = 'echo "sbatch: error: invalid partition specified: short" >&2; exit 1'

Played = Callable[..., Path]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """Plays SLURM's commands; where the jobs are noted."""
    needs_jobqueue()
    jobs, programs = tmp_path / "jobs", tmp_path / "programs"

    def play(refusal: str = "") -> Path:
        for folder in (jobs, programs):
            folder.mkdir()
        for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
            (programs / name).write_text(text.format(jobs=jobs, refusal=refusal))
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path or os.getcwd() for path in sys.path))
        return jobs

    import dask

    # First: it adds its defaults to Dask's settings, which are as they were at the end of the block.
    needed("dask_jobqueue", "dask_jobqueue", "cluster")
    # What a user writes into ~/.config/dask.
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in SETTINGS.items()}):
        yield play


@pytest.mark.slow
def test_the_jobs_of_slurm_give_the_same_bytes_and_none_is_left(scenario: Path, tmp_path: Path, slurm: Played) -> None:
    experiment = asked(scenario, vary=VARY[:1], seeds=2, settings=("measure.duration_ms=1",))
    api.sweep(experiment, tmp_path / "alone", processes=1)
    jobs = slurm()
    api.sweep(experiment, tmp_path / "slurm", cluster="slurm:1")
    assert files(tmp_path / "slurm") == files(tmp_path / "alone")
    assert (jobs / "ended").read_text() == (jobs / "started").read_text(), "each job, once"
    script = (jobs / "script").read_text()
    for line in ("#SBATCH -p short", "#SBATCH -n 1", "#SBATCH --cpus-per-task=1", "#SBATCH --mem=2G", "#SBATCH -t 00:05:00"):
        assert line in script.splitlines()
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://" in script


def test_a_job_that_slurm_refuses_is_one_message_at_once(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, slurm: Played
) -> None:
    jobs = slurm(REFUSAL)
    monkeypatch.chdir(scenario.parent)
    assert run_cli(["sweep", scenario.name, f"--vary={VARY[0]}", "--cluster=slurm:2", "--out=out", "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "softnet: --cluster slurm:2: the cluster cannot be started",
        "  found:    sbatch: error: invalid partition specified: short",
        "  hint:     its settings are Dask's: ~/.config/dask",
    ]
    assert not Path("out").exists()
    assert not list(jobs.iterdir())


def test_a_cluster_that_has_lost_all_its_workers_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of all jobs is over: nobody starts them again."""
    client = cluster_client.Cluster(wanted_cluster("slurm:2"), shipped.Shipment(), kept="start it again")
    now: list[float] = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    workers: dict[str, int] = {}
    client.client = SimpleNamespace(status="running", nthreads=lambda: workers)
    took: list[Any] = []
    for second, there in ((100, 0), (200, 1), (250, 0), (370, 0)):
        now[0] = second
        workers.clear()
        workers.update({str(number): 1 for number in range(there)})
        took += client._take(0)
    now[0] = 371
    with pytest.raises(SoftnetError, match="the cluster has no workers any more") as raised:
        client._take(0)
    assert (took, raised.value.hint) == ([], "start it again")
