# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cluster is asked for, and how it is begun: one that is there, one of this machine's processes, SLURM's or Kubernetes'."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import shutil
import signal
import socket
from typing import Any, Final, NamedTuple

from softnet.errors import SoftnetError

LOCAL, SLURM, KUBERNETES = "local", "slurm", "kubernetes"
WORKERS_MAX: Final = 10_000
CONNECT_SECONDS: Final = 10
WORKERS_SECONDS: Final = {"": 30, LOCAL: 120, SLURM: 1800, KUBERNETES: 1800}
"""How long the first worker is waited for: one that there should be, one that starts, one that a queue lets in."""

EXPECTED: Final = "tcp://HOST:PORT, local:N, slurm:N or kubernetes:N"


class Wanted(NamedTuple):
    """Which cluster: the address of a scheduler, or a kind with a number of workers."""

    text: str
    address: str
    kind: str
    workers: int


def wanted_cluster(text: str) -> Wanted:
    """What ``--cluster`` asks for. Raises SoftnetError."""
    if re.fullmatch(r"(tcp|tls)://[^/\s:]+(:\d+)|(tcp|tls)://\[[0-9a-fA-F:.]+\]:\d+", text):
        return Wanted(text, text, "", 0)
    kind, colon, count = text.partition(":")
    if kind in (LOCAL, SLURM, KUBERNETES) and count.isascii() and count.isdigit() and 1 <= int(count) <= WORKERS_MAX:
        return Wanted(text, "", kind, int(count))
    hint = f"how many workers? --cluster {kind}:4" if kind in (LOCAL, SLURM, KUBERNETES) and not colon else ""
    raise SoftnetError("not a cluster", where="--cluster", found=repr(text[:100]), expected=EXPECTED, hint=hint)


def needed(module: str, package: str, extra: str) -> Any:
    """Import a library. Ctrl-C stays as it was: dask_jobqueue takes it when it is imported, and it would end us with status 0."""
    before = signal.getsignal(signal.SIGINT)
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SoftnetError("a cluster needs more libraries", where="--cluster", found=f"no module {package}",
                           expected=f"the extra '{extra}'", hint=f"pip install 'softnet[{extra}]'")  from None  # fmt: skip
    finally:
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)


def reachable(address: str) -> None:
    """Raises SoftnetError if nobody listens there: Dask itself would try again and again."""
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SoftnetError("no cluster there", where=f"--cluster {address}", found=found,
                           expected="the address that dask scheduler prints")  from None  # fmt: skip


def started(wanted: Wanted, dask: Any) -> Any:
    """A cluster of our own that ends with us. Raises SoftnetError where it cannot be."""
    try:
        if wanted.kind == LOCAL:
            return dask.LocalCluster(
                n_workers=wanted.workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
                memory_limit=0, silence_logs=logging.CRITICAL,
            )  # fmt: skip
        if wanted.kind == SLURM:
            jobqueue = needed("dask_jobqueue", "dask_jobqueue", "cluster")
            if shutil.which("sbatch") is None:
                raise SoftnetError("no SLURM here", where=f"--cluster {wanted.text}", found="no program sbatch",
                                   expected="a machine that submits jobs")  # fmt: skip
            return _submitted(jobqueue.SLURMCluster(silence_logs=logging.CRITICAL), wanted.workers)
        operator = needed("dask_kubernetes.operator", "dask_kubernetes", "kubernetes")
        return _in_pods(operator.KubeCluster, f"softnet-{os.urandom(3).hex()}", wanted.workers)
    except SoftnetError:
        raise
    except Exception as error:
        raise SoftnetError("the cluster cannot be started", where=f"--cluster {wanted.text}", found=in_words(error),
                           hint="its settings are Dask's: ~/.config/dask")  from None  # fmt: skip


def _submitted(cluster: Any, workers: int) -> Any:
    """A cluster whose jobs the queue has taken. Raises RuntimeError where it refuses one: Dask itself would wait for workers."""
    status = needed("distributed", "distributed", "cluster").core.Status

    async def taken() -> None:
        cluster.scale(workers)
        await cluster
        for job in cluster.workers.values():
            await job

    try:
        cluster.sync(taken)
    except BaseException:
        with contextlib.suppress(Exception):
            for job in cluster.workers.values():
                if job.status is status.created:
                    job.status = status.failed  # else to close it fails
            cluster.close()
        raise
    return cluster


def _in_pods(kind: Any, name: str, workers: int) -> Any:
    """A cluster of Kubernetes' with its workers asked for. Raises what dask-kubernetes raises where it cannot be."""
    try:
        return kind(name=name, n_workers=workers, quiet=True)
    except BaseException:
        # One that came half way would be tried to be deleted when we exit, with a traceback where there is no Kubernetes.
        for begun in [cluster for cluster in kind._instances if cluster.name == name]:
            with contextlib.suppress(Exception):
                begun.close(timeout=CONNECT_SECONDS)
            begun.shutdown_on_close = False
        raise


def in_words(error: Any) -> str:
    """An exception of Dask's on a line; of a command that failed what it said."""
    text = " ".join(str(error).split())
    return (text.rpartition("stderr: ")[2] or text or type(error).__name__)[:300]
