# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that work for this one and end with it, however it ends; and the signals that end it.

A worker is a fresh Python with the paths of this one. Nothing of the program that started it runs in it, so that a script
need not guard its main part. It is told what to do over a socket; when that closes, or its parent dies, it is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    # Imported where they are used: most commands need no other process.
    import subprocess
    from multiprocessing.connection import Connection

Result = TypeVar("Result")

_PR_SET_PDEATHSIG: Final = 1
END_SECONDS: Final = 4.0


def collect_less() -> None:
    """Let Python look for cyclic garbage after 20,000 new objects instead of 700, in a process that is softnet's own.

    Programs and machines are large and stay: where kernels are loaded one after the other, a sixth of the time went into looking
    through them again and again.
    """
    gc.set_threshold(20_000, 10, 10)


class Ended(BaseException):
    """A signal asks the process to end, at once and without a result: ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the main thread as Ctrl-C does, so that nothing half-done stays behind.

    A signal that is ignored, as under nohup, stays so.
    """
    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, frame: object) -> None:
        # Once: what unwinds now must not be interrupted by a second one.
        for other in taken:
            signal.signal(other, signal.SIG_IGN)
        # Whatever holds up the unwinding, or swallows it, has so long; what is left then, its keepers remove.
        last = threading.Timer(END_SECONDS, os.kill, (os.getpid(), signal.SIGKILL))
        last.daemon = True
        last.start()
        raise Ended(number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C come after the block and not within it, for what must be done whole: a piece of a compressed file."""
    heard: list[tuple[int, FrameType | None]] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            before(*heard[0])


def end_with(parent: int) -> None:
    """In a child: be killed when the process ``parent``, which started it, ends."""
    with contextlib.suppress(OSError, AttributeError):  # only Linux can
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def heard(function: Callable[[], Result]) -> Result:
    """Call a function that is long in native code, in a thread, so that Ctrl-C and other signals are heard meanwhile.

    Interrupted, it goes on by itself, and nobody takes its result; ``unheard()`` says so.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    told: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            told.append((True, function()))
        except BaseException as error:
            told.append((False, error))

    thread = threading.Thread(target=work, daemon=True)
    _unheard.add(thread)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    _unheard.discard(thread)
    fine, value = told[0]
    if not fine:
        raise value
    result: Result = value
    return result


_unheard: set[threading.Thread] = set()


def unheard() -> bool:
    """Whether native code that nobody waits for still runs: the process must not tear down what it stands on."""
    return any(thread.is_alive() for thread in _unheard)


class WorkerDied(SoftnetError):
    """A worker ended before its job: it was killed, or memory ran out. ``number`` is the job's."""

    def __init__(self, end: str, connection: Connection, number: int) -> None:
        super().__init__(
            "a worker process died",
            found=end,
            hint="if memory ran out: fewer at the same time (--jobs), or less for each (--memory)",
        )
        self.connection = connection
        self.number = number


class Workers:
    """Processes that call functions of softnet's; ``close()`` kills those that are left."""

    def __init__(self, count: int) -> None:
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, int]] = {}
        try:
            for _ in range(count):
                self._idle.append(_Worker())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def results(self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]]) -> Generator[Result, None, None]:
        """What the function gives for each job, in the order of the jobs; raises what it raised.

        Raises SoftnetError when a worker dies. Whoever stops listening calls ``close()``, or ``last()`` for what is under way.
        """
        waiting = list(enumerate(jobs))[::-1]
        done: dict[int, Result] = {}
        for number in range(len(jobs)):
            while number not in done:
                while waiting and self._idle:
                    self._give(function, *waiting.pop())
                self._take(done, None)
            yield done.pop(number)

    def as_they_come(
        self, function: Callable[..., Result], groups: Iterator[Sequence[tuple[Any, ...]]]
    ) -> Generator[tuple[int, Result | SoftnetError], None, None]:
        """What the function gives for each job with the job's number, in the order in which they end; raises what it raised.

        A worker that dies is replaced, and its job done once more; if that kills a worker, too, the SoftnetError that says so
        is the job's result. Jobs come in groups: those of a group go to one worker, one after the other, which may keep
        something from one to the next. Their numbers count through all groups.
        """
        again: list[tuple[int, tuple[Any, ...]]] = []
        queues: dict[Connection, Iterator[tuple[int, tuple[Any, ...]]]] = {}
        count = 0

        def job_for(worker: _Worker) -> tuple[int, tuple[Any, ...]] | None:
            nonlocal count
            while (job := next(queues.get(worker.connection, iter(())), None)) is None:
                if again:
                    return again.pop()
                group = next(groups, None)
                if group is None:
                    return None
                queues[worker.connection] = iter(list(enumerate(group, count)))
                count += len(group)
            return job

        given: dict[int, tuple[Any, ...]] = {}
        deaths: dict[int, int] = {}
        while True:
            resting = []
            while self._idle:
                job = job_for(self._idle[-1])
                if job is None:
                    resting.append(self._idle.pop())
                else:
                    given[job[0]] = job[1]
                    self._give(function, *job)
            self._idle += resting
            if not self._busy:
                return
            done: dict[int, Result] = {}
            try:
                self._take(done, None)
            except WorkerDied as died:
                self._busy.pop(died.connection)
                again += queues.pop(died.connection, iter(()))
                self._idle.append(_Worker())
                number = died.number
                deaths[number] = deaths.get(number, 0) + 1
                if deaths[number] > 1:
                    yield number, died
                    given.pop(number)
                else:
                    again.append((number, given[number]))
            for number, value in done.items():
                del given[number]
                yield number, value

    def _give(self, function: Callable[..., Any], number: int, job: tuple[Any, ...]) -> None:
        worker = self._idle.pop()
        self._busy[worker.connection] = worker, number
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died; taking its answer will say so
            worker.connection.send((function, job))

    def _take(self, done: dict[int, Any], timeout_seconds: float | None) -> None:
        """Wait for answers of workers, and keep them."""
        from multiprocessing.connection import wait

        for connection in wait(list(self._busy), timeout_seconds):
            worker, number = self._busy[connection]  # type: ignore[index]
            try:
                fine, value = worker.connection.recv()
            except (EOFError, OSError):
                raise WorkerDied(worker.end(), worker.connection, number) from None
            del self._busy[worker.connection]
            self._idle.append(worker)
            if not fine:
                raise value
            done[number] = value

    def last(self, number: int, timeout_seconds: float) -> Any:
        """Ask all to stop what they do (``asked_to_stop()``); the result of that job if it comes in time, else None."""
        for worker, _ in self._busy.values():
            with contextlib.suppress(OSError):
                worker.connection.send(None)
        done: dict[int, Any] = {}
        end = time.monotonic() + timeout_seconds
        with contextlib.suppress(SoftnetError):
            while any(job == number for _, job in self._busy.values()) and (left := end - time.monotonic()) > 0:
                self._take(done, left)
        return done.get(number)

    def close(self) -> None:
        """Kill them all."""
        workers = [*self._idle, *(worker for worker, _ in self._busy.values())]
        for worker in workers:
            worker.kill()
        self._idle, self._busy = [], {}
        for worker in workers:
            worker.process.wait()


class _Worker:
    """One process and the connection to it."""

    def __init__(self) -> None:
        import subprocess
        from multiprocessing.connection import Pipe

        self.connection, theirs = Pipe()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        words = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()", str(theirs.fileno()), str(os.getpid())]
        try:
            # A session of its own: Ctrl-C at the terminal is for the first process, which then ends the others.
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            self.connection.close()
            raise SoftnetError("no worker process can be started", found=error.strerror or str(error)) from None
        finally:
            theirs.close()

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()

    def end(self) -> str:
        """How it ended, in words."""
        code = self.process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"


def run(words: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
    """``subprocess.run`` of a program that ends with this process, however it ends; what it says is kept."""
    import functools
    import subprocess

    ends = functools.partial(end_with, os.getpid())
    return subprocess.run(words, preexec_fn=ends, capture_output=True, text=True, check=False, **how)


def can_work() -> bool:
    """Whether there can be workers: in a frozen program the executable is that program, and no Python."""
    return not getattr(sys, "frozen", False) and bool(sys.executable)


_connection: Connection | None = None


def serve() -> None:
    """A worker's whole life: call what it is told to, and say what came of it."""
    global _connection
    from multiprocessing.connection import Connection

    collect_less()
    end_with(int(sys.argv[2]))
    _connection = connection = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, OSError):
        while True:
            told = connection.recv()
            if told is None:  # it was asked to stop when it had finished
                continue
            function, job = told
            try:
                answer = True, function(*job)
            except BaseException as error:
                answer = False, error
            try:
                connection.send(answer)
            except (TypeError, ValueError, AttributeError) as error:
                connection.send((False, SoftnetError("a worker's answer cannot be sent", found=f"{answer[1]!r}: {error}")))


def asked_to_stop() -> bool:
    """In a worker: whether its first process wants no more of what it does."""
    return _connection is not None and _connection.poll()
