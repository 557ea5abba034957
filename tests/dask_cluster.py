# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Dask cluster for a test, whose parts can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


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
