# SPDX-License-Identifier: GPL-2.0-or-later
"""A Dask cluster as its client sees it: what goes out (pieces of work) and what comes back.

Where a piece is done, and again when its worker died, is Dask's to decide. Each result comes back when it is there, so that
nothing finished is lost with a worker or with the scheduler.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from softnet.cluster.wanted import (
    CONNECT_SECONDS,
    LOCAL,
    WORKERS_SECONDS,
    Wanted,
    in_words,
    needed,
    reachable,
    started,
)
from softnet.errors import SoftnetError

if TYPE_CHECKING:
    from softnet.cluster.shipped import Described, Piece, Shipment

LOOK_SECONDS: Final = 1.0
LEFT_SECONDS: Final = 120
"""So long a cluster may be without a worker that had one: one that fell is started again, a job's time is over for good."""
UNDER_WAY: Final = ("pending", "lost")
"""What Dask calls a piece that is being done, for the first time or again."""


class Cluster:
    """Does work on a cluster. It is connected, and its workers are looked at, when the block begins.

    ``native``: whether compiled kernels are sent. ``kept``: what is kept when the scheduler is lost, in words.
    """

    def __init__(self, wanted: Wanted, shipment: Shipment, *, native: bool = True, kept: str = "") -> None:
        self.wanted = wanted
        self.shipment = shipment
        self.native = native
        self.kept = kept
        self._plugin = ""
        self.client: Any = None
        self.workers = 1
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._out: dict[int, tuple[Any, int]] = {}
        self._seen: set[int] = set()
        self._left_at: float | None = None
        """Since when there is no worker."""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Cluster:
        try:
            self._quiet()
            self._connect()
            self._stack.callback(self._unregister)
            self.ship()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
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
        dask = needed("distributed", "distributed", "cluster")
        wanted = self.wanted
        if wanted.address:
            reachable(wanted.address)
            there: Any = wanted.address
        else:
            there = self._stack.enter_context(contextlib.closing(started(wanted, dask)))
        try:
            self.client = dask.Client(there, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:
            raise SoftnetError("no Dask scheduler answers", where=f"--cluster {wanted.text}", found=in_words(error),
                               expected="the address that dask scheduler prints")  from None  # fmt: skip
        self._stack.callback(self._leave)
        try:
            at_least = wanted.workers if wanted.kind == LOCAL else 1
            self.client.wait_for_workers(at_least, timeout=WORKERS_SECONDS[wanted.kind])
        except Exception as error:
            raise SoftnetError("the cluster has no workers", where=f"--cluster {wanted.text}", found=in_words(error),
                               hint="dask worker SCHEDULER --nthreads 1 starts one")  from None  # fmt: skip
        self._count_workers()

    def _leave(self) -> None:
        with contextlib.suppress(Exception):
            self.client.close(timeout=2)

    def ship(self) -> None:
        """Send each worker what the work needs, and what comes later, too. Raises SoftnetError where a worker cannot work."""
        from softnet.cluster.plugin import Bring
        from softnet.cluster.shipped import describe

        self._unregister()
        self.shipment.token = os.urandom(6).hex()
        kinds = self._described(describe)
        if self.native:
            self._compile(kinds)
        plugin = Bring(self.shipment)
        try:
            self.client.register_plugin(plugin)
        except SoftnetError:
            raise
        except Exception as error:
            raise SoftnetError("a worker cannot take what it is sent", where=f"--cluster {self.wanted.text}",
                               found=in_words(error))  from None  # fmt: skip
        self._plugin = plugin.name

    def _unregister(self) -> None:
        with contextlib.suppress(Exception):
            if self._plugin and self.client.status == "running":
                self.client.unregister_worker_plugin(self._plugin)
        self._plugin = ""

    def _described(self, describe: Callable[[], Described]) -> dict[str, str]:
        """Worker -> its kind. Raises SoftnetError for one whose figures could be others."""
        from softnet.cluster.shipped import other_softnet

        kinds = {}
        for address, found in sorted(self.client.run(describe, on_error="return").items()):
            if isinstance(found, BaseException):
                raise SoftnetError("a worker of the cluster has no softnet that works", where=address, found=in_words(found),
                                   hint="install on the workers what is installed here")  # fmt: skip
            if found.softnet != self.shipment.softnet:
                raise other_softnet(address)
            kinds[address] = found.kind
        return kinds

    def _compile(self, kinds: dict[str, str]) -> None:
        """The compiled kernels for each kind of worker: made here, or by one worker of a kind that this machine is not."""
        from softnet.cluster.shipped import compiled_there, take
        from softnet.lang.native.compile import builder_kind

        shipment = self.shipment
        first = {kind: address for address, kind in reversed(list(kinds.items())) if kind}
        for kind, address in first.items():
            if kind == builder_kind():
                shipment.native[kind] = shipment.compiled(sent=False)
                continue
            self.client.run(take, shipment, workers=[address])
            shipment.native[kind] = self.client.run(compiled_there, shipment.token, workers=[address])[address]

    # -- work

    def run(self, pieces: Iterator[tuple[int, Piece]], *, ahead: int = 4) -> Iterator[tuple[int, Any]]:
        """What came of each piece's results, each with its number, in the order in which they come.

        A piece comes with the number of its first result, and is asked for when it can be sent: ``ahead`` for each worker are
        out. What a worker had not told when it died is done again by others; of a piece that kills several workers the results
        are SoftnetErrors. Raises SoftnetError when the scheduler is gone. After Ctrl-C ``last()`` can be asked; else whoever
        listens no more closes this, and what is under way is given up.
        """
        topic = f"softnet-{self.shipment.token}"
        told = self._told = queue.SimpleQueue()
        self.client.subscribe_topic(topic, lambda event: told.put(event[1]))
        self._out, self._seen = {}, set()
        self._count_workers()
        try:
            while True:
                self._submit(pieces, ahead)
                if not self._out:
                    break
                yield from self._take(LOOK_SECONDS)
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.forget()
            raise
        with contextlib.suppress(Exception):
            self.client.unsubscribe_topic(topic)

    def last(self, number: int, seconds: float) -> dict[int, Any]:
        """Ask all to stop what they do; what came meanwhile of the results, until the piece with that first number has ended."""
        from softnet.cluster.shipped import stop

        found: dict[int, Any] = {}
        with contextlib.suppress(Exception):
            self.client.run(stop, self.shipment.token, on_error="ignore")
            end = time.monotonic() + seconds
            while number in self._out and (left := end - time.monotonic()) > 0:
                found.update(self._take(left))
        return found

    def forget(self) -> None:
        """Give up what is under way; the workers see that nobody wants it."""
        with contextlib.suppress(Exception):
            if self._out:
                self.client.unsubscribe_topic(f"softnet-{self.shipment.token}")
                self.client.cancel([future for future, _ in self._out.values()])
        self._out = {}

    def _count_workers(self) -> None:
        try:
            count = len(self.client.nthreads())
        except Exception:  # the scheduler is gone: who waits for a result will see
            return
        self.workers = max(count, 1)
        now = time.monotonic()
        self._left_at = None if count else self._left_at or now
        if self._left_at is not None and now - self._left_at > LEFT_SECONDS:
            raise SoftnetError("the cluster has no workers any more", where=f"--cluster {self.wanted.text}",
                               found=f"none for {LEFT_SECONDS} s", hint=self.kept)  # fmt: skip

    def _submit(self, pieces: Iterator[tuple[int, Piece]], ahead: int) -> None:
        """Give the cluster so many pieces that no worker waits for one."""
        from softnet.cluster.plugin import work

        told = self._told

        def ended(number: int) -> Callable[[Any], None]:
            return lambda future: told.put((number, None, -1))

        while len(self._out) < ahead * self.workers and (found := next(pieces, None)) is not None:
            number, piece = found
            token = self.shipment.token
            key = f"softnet-{token}-{os.urandom(4).hex()}-{number}"
            try:
                future = self.client.submit(work, token, number, piece, key=key, pure=False)
            except Exception as error:
                raise self._gone(in_words(error)) from None
            self._out[number] = future, piece.count
            future.add_done_callback(ended(number))

    def _take(self, seconds: float) -> list[tuple[int, Any]]:
        """What comes next, if it comes in time."""
        try:
            number, told, count = self._told.get(timeout=seconds)
        except queue.Empty:
            if self.client.status != "running":
                raise self._gone() from None
            self._count_workers()
            return []
        found: list[tuple[int, Any]] = []
        if told is not None:
            found = [(number, pickle.loads(told))]
        elif number in self._out and count >= 0:
            # The piece has said that it is done: nobody asks where its worker keeps the results, which may die meanwhile.
            if all(at in self._seen for at in range(number, number + count)):
                del self._out[number]
        elif number in self._out:
            found = self._over(number)
        new = [(at, one) for at, one in found if at not in self._seen]
        self._seen.update(at for at, _ in new)
        return new

    def _over(self, number: int) -> list[tuple[int, Any]]:
        """What came of a piece that is over, as Dask says; nothing yet if its worker has died since, and another does it again."""
        future, count = self._out[number]
        if future.status in UNDER_WAY:
            told = self._told
            future.add_done_callback(lambda future: told.put((number, None, -1)))
            return []
        del self._out[number]
        return list(enumerate(self._ended(future, count), number))

    def _ended(self, future: Any, count: int) -> list[Any]:
        """What came of the results of a piece."""
        if future.status == "finished":
            try:
                found: list[Any] = future.result(timeout=CONNECT_SECONDS)
                return found
            except Exception as error:
                raise self._gone(in_words(error)) from None
        if future.status != "error":
            raise self._gone()
        raised = future.exception(timeout=CONNECT_SECONDS)
        if isinstance(raised, SoftnetError):
            raise raised
        if type(raised).__name__ == "KilledWorker":
            return [SoftnetError("a worker process died", found="each worker that made it died") for _ in range(count)]
        raise SoftnetError("a worker of the cluster cannot work", where=f"--cluster {self.wanted.text}", found=in_words(raised))

    def _gone(self, found: str = "") -> SoftnetError:
        return SoftnetError("the scheduler of the cluster is gone", where=f"--cluster {self.wanted.text}",
                            found=found or "the connection is lost", hint=self.kept)  # fmt: skip
