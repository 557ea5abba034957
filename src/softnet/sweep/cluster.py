# SPDX-License-Identifier: GPL-2.0-or-later
"""The runs of an experiment on a Dask cluster: one that is there, one of this machine's processes, SLURM's or Kubernetes'.

Where a run is made, and again when its worker died, is Dask's to decide. Here is only what goes out (pieces: an arm with some of
its seeds) and what comes back: each run when it ends, so that nothing finished is lost with a worker or with the scheduler.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import queue
import re
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.sweep.store import Finished

if TYPE_CHECKING:
    from softnet.sweep.plan import SweepArm
    from softnet.sweep.shipped import Described, Packer, Piece, Shipment

LOCAL, SLURM, KUBERNETES = "local", "slurm", "kubernetes"
WORKERS_MAX: Final = 10_000
CONNECT_SECONDS: Final = 10
WORKERS_SECONDS: Final = {"": 30, LOCAL: 120, SLURM: 1800, KUBERNETES: 1800}
"""How long the first worker is waited for: one that there should be, one that starts, one that a queue lets in."""
PIECE_MAX: Final = 16
"""Runs of an arm that go to a worker together."""
LOOK_SECONDS: Final = 1.0

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


def _packer(arms: Sequence[SweepArm]) -> Packer:
    from softnet.sweep.shipped import Packer

    packer = Packer("")
    for arm in arms:
        packer.add(arm)
    return packer


def _needed(module: str, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SoftnetError("a cluster needs more libraries", where="--cluster", found=f"no module {package}",
                           expected=f"the extra '{extra}'", hint=f"pip install 'softnet[{extra}]'")  from None  # fmt: skip


class ClusterRunner:
    """Runs jobs on a cluster. It is connected, and its workers are looked at, when the block begins."""

    def __init__(self, wanted: Wanted, arms: Sequence[SweepArm], engine: str) -> None:
        self.wanted = wanted
        self.engine = engine
        self.packer = _packer(arms)
        self._plugin = ""
        self.client: Any = None
        self._workers = 1
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ClusterRunner:
        try:
            self._quiet()
            self._connect()
            self._stack.callback(self._unregister)
            self._ship()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _quiet(self) -> None:
        """What happens to the connection is said once, by us."""
        logger = logging.getLogger("distributed")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        self._stack.callback(logger.setLevel, level)
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")

    def _connect(self) -> None:
        """Raises SoftnetError for a cluster that is not there, or has no workers."""
        dask = _needed("distributed", "distributed", "cluster")
        wanted = self.wanted
        if wanted.address:
            _reachable(wanted.address)
            there: Any = wanted.address
        else:
            there = self._stack.enter_context(contextlib.closing(_started(wanted, dask)))
        try:
            self.client = dask.Client(there, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:
            raise SoftnetError("no Dask scheduler answers", where=f"--cluster {wanted.text}", found=_in_words(error),
                               expected="the address that dask scheduler prints")  from None  # fmt: skip
        self._stack.callback(self._leave)
        try:
            at_least = wanted.workers if wanted.kind == LOCAL else 1
            self.client.wait_for_workers(at_least, timeout=WORKERS_SECONDS[wanted.kind])
        except Exception as error:
            raise SoftnetError("the cluster has no workers", where=f"--cluster {wanted.text}", found=_in_words(error),
                               hint="dask worker SCHEDULER --nthreads 1 starts one")  from None  # fmt: skip

    def _leave(self) -> None:
        with contextlib.suppress(Exception):
            self.client.close(timeout=2)

    def _ship(self) -> None:
        """Send each worker what the runs need, and what comes later, too. Raises SoftnetError where a worker cannot work."""
        from softnet.sweep.plugin import Bring
        from softnet.sweep.shipped import describe

        shipment = self.packer.shipment
        self._unregister()
        shipment.token = os.urandom(6).hex()
        kinds = self._described(describe, shipment)
        if self.engine != "reference":
            self._compile(kinds, shipment)
        plugin = Bring(shipment)
        try:
            self.client.register_plugin(plugin)
        except SoftnetError:
            raise
        except Exception as error:
            raise SoftnetError("a worker cannot take what it is sent", where=f"--cluster {self.wanted.text}",
                               found=_in_words(error))  from None  # fmt: skip
        self._plugin = plugin.name

    def _unregister(self) -> None:
        with contextlib.suppress(Exception):
            if self._plugin and self.client.status == "running":
                self.client.unregister_worker_plugin(self._plugin)
        self._plugin = ""

    def _described(self, describe: Callable[[], Described], shipment: Shipment) -> dict[str, str]:
        """Worker -> its kind. Raises SoftnetError for one whose figures could be others."""
        from softnet.sweep.shipped import other_softnet

        kinds = {}
        for address, found in sorted(self.client.run(describe, on_error="return").items()):
            if isinstance(found, BaseException):
                raise SoftnetError("a worker of the cluster has no softnet that works", where=address, found=_in_words(found),
                                   hint="install on the workers what is installed here")  # fmt: skip
            if found.softnet != shipment.softnet:
                raise other_softnet(address)
            kinds[address] = found.kind
        return kinds

    def _compile(self, kinds: dict[str, str], shipment: Shipment) -> None:
        """The compiled kernels for each kind of worker: made here, or by one worker of a kind that this machine is not."""
        from softnet.lang.native.compile import builder_kind
        from softnet.sweep.shipped import compiled, compiled_there, take

        first = {kind: address for address, kind in reversed(list(kinds.items())) if kind}
        for kind, address in first.items():
            if kind == builder_kind():
                shipment.native[kind] = compiled(shipment, sent=False)
                continue
            self.client.run(take, shipment, workers=[address])
            shipment.native[kind] = self.client.run(compiled_there, shipment.token, workers=[address])[address]

    def run(self, jobs: Sequence[tuple[SweepArm, int]]) -> Iterator[tuple[int, Finished | SoftnetError]]:
        """What came of each job, with its number, in the order in which they end. Raises SoftnetError when the scheduler is gone.

        What a worker had not told when it died is run again by others; a piece that kills several workers is given up.
        """
        new = [self.packer.add(arm) for arm in {job[0].digest: job[0] for job in jobs}.values()]
        if any(new):
            self._ship()  # a search came to another kernel
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        topic = f"softnet-{self.packer.shipment.token}"
        self.client.subscribe_topic(topic, lambda event: told.put(event[1]))
        seen = bytearray(len(jobs))
        self._count_workers()
        waiting = self._pieces(jobs)
        out: dict[int, tuple[Any, int]] = {}
        try:
            while True:
                self._submit(waiting, out, told)
                if not out:
                    return
                try:
                    number, values, failed = told.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    if self.client.status != "running":
                        raise self._gone() from None
                    self._count_workers()
                    continue
                if values is None:  # a piece has ended
                    future, count = out.pop(number)
                    for at, found in enumerate(self._ended(future, count), number):
                        if not seen[at]:
                            seen[at] = 1
                            yield at, found
                elif not seen[number]:
                    seen[number] = 1
                    yield number, Finished(list(values), failed)
        finally:
            with contextlib.suppress(Exception):
                self.client.unsubscribe_topic(topic)
                self.client.cancel([future for future, _ in out.values()])

    def _count_workers(self) -> None:
        with contextlib.suppress(Exception):  # the scheduler is gone: who waits for a result will see
            self._workers = max(len(self.client.nthreads()), 1)

    def _pieces(self, jobs: Sequence[tuple[SweepArm, int]]) -> Iterator[tuple[int, Piece]]:
        """The number of the first run of each piece, and the piece."""
        from softnet.sweep.shipped import Piece

        size = max(1, min(PIECE_MAX, len(jobs) // (4 * self._workers)))
        number = 0
        for _, group in itertools.groupby(jobs, key=lambda job: job[0].number):
            of_arm = list(group)
            for at in range(0, len(of_arm), size):
                part = of_arm[at : at + size]
                arm = part[0][0]
                costs = self.packer.costs(arm.scenario)
                yield number, Piece(
                    self.packer.shipment.token, arm.digest, arm.kernel, costs, arm.scenario, arm.patches,
                    tuple(seed for _, seed in part), self.engine,
                )  # fmt: skip
                number += len(part)

    def _submit(self, waiting: Iterator[tuple[int, Piece]], out: dict[int, tuple[Any, int]], told: Any) -> None:
        """Give the cluster so many pieces that no worker waits for one."""
        from softnet.sweep.plugin import work

        def ended(number: int) -> Callable[[Any], None]:
            return lambda future: told.put((number, None, ""))

        while len(out) < 4 * self._workers and (found := next(waiting, None)) is not None:
            number, piece = found
            key = f"softnet-{piece.token}-{os.urandom(4).hex()}-{number}"
            try:
                future = self.client.submit(work, number, piece, key=key, pure=False)
            except Exception as error:
                raise self._gone(_in_words(error)) from None
            out[number] = future, len(piece.seeds)
            future.add_done_callback(ended(number))

    def _ended(self, future: Any, count: int) -> list[Finished | SoftnetError]:
        """What came of the runs of a piece."""
        if future.status == "finished":
            try:
                found: list[Finished | SoftnetError] = future.result(timeout=CONNECT_SECONDS)
                return found
            except Exception as error:
                raise self._gone(_in_words(error)) from None
        if future.status != "error":
            raise self._gone()
        raised = future.exception(timeout=CONNECT_SECONDS)
        if isinstance(raised, SoftnetError):
            raise raised
        if type(raised).__name__ == "KilledWorker":
            return [SoftnetError("a worker process died", found="each worker that made it died") for _ in range(count)]
        raise SoftnetError("a worker of the cluster cannot work", where=f"--cluster {self.wanted.text}", found=_in_words(raised))

    def _gone(self, found: str = "") -> SoftnetError:
        return SoftnetError("the scheduler of the cluster is gone", where=f"--cluster {self.wanted.text}",
                            found=found or "the connection is lost",
                            hint="what is finished is kept: start it again, here or on a cluster, and it goes on")  # fmt: skip


def _reachable(address: str) -> None:
    """Raises SoftnetError if nobody listens there: Dask itself would try again and again."""
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SoftnetError("no cluster there", where=f"--cluster {address}", found=found,
                           expected="the address that dask scheduler prints")  from None  # fmt: skip


def _started(wanted: Wanted, dask: Any) -> Any:
    """A cluster of our own that ends with us. Raises SoftnetError where it cannot be."""
    try:
        if wanted.kind == LOCAL:
            return dask.LocalCluster(
                n_workers=wanted.workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
                memory_limit=0, silence_logs=logging.CRITICAL,
            )  # fmt: skip
        if wanted.kind == SLURM:
            jobqueue = _needed("dask_jobqueue", "dask_jobqueue", "cluster")
            if shutil.which("sbatch") is None:
                raise SoftnetError("no SLURM here", where=f"--cluster {wanted.text}", found="no program sbatch",
                                   expected="a machine that submits jobs")  # fmt: skip
            cluster = jobqueue.SLURMCluster(silence_logs=logging.CRITICAL)
        else:
            operator = _needed("dask_kubernetes.operator", "dask_kubernetes", "kubernetes")
            cluster = operator.KubeCluster(name=f"softnet-{os.urandom(3).hex()}", n_workers=wanted.workers)
        cluster.scale(wanted.workers)
        return cluster
    except SoftnetError:
        raise
    except Exception as error:
        raise SoftnetError("the cluster cannot be started", where=f"--cluster {wanted.text}", found=_in_words(error),
                           hint="its settings are Dask's: ~/.config/dask")  from None  # fmt: skip


def _in_words(error: Any) -> str:
    """An exception of Dask's on a line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
