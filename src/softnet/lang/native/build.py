# SPDX-License-Identifier: GPL-2.0-or-later
"""From LLVM's text to an object file, in this process or in a second one.

llvmlite lets one thread at a time into LLVM, so compiling two texts at the same time takes two processes.
``python -m softnet.lang.native.build LEVEL PARENT`` is that process: it reads a text and writes the object file.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from types import TracebackType
from typing import Any

from softnet.errors import SoftnetError
from softnet.processes import end_with, heard


def binding() -> Any:
    """llvmlite, which ships no types; imported only where native code is made. Raises SoftnetError where it is broken."""
    try:
        return importlib.import_module("llvmlite.binding")
    except (ImportError, OSError) as error:
        raise SoftnetError(
            "llvmlite is installed, and cannot be loaded",
            found=str(error).splitlines()[0],
            hint="install it anew, or use --engine reference, which runs the same functions",
        ) from None


def target_machine(optimise: int) -> Any:
    """LLVM's description of this processor, ``optimise`` 0 to 3."""
    llvm = binding()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=optimise,
        reloc="pic",
        codemodel="small",
    )


def build(text: str, optimise: int) -> bytes:
    """The object file of a module's text. It takes LLVM seconds, in which signals are heard."""
    return heard(lambda: _build(text, optimise))


def _build(text: str, optimise: int) -> bytes:
    llvm = binding()
    machine = target_machine(optimise)
    module = llvm.parse_assembly(text)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=optimise)
    # The loops are short walks of lists: vector code would only make their functions' entries longer.
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
    llvm.create_pass_builder(machine, tuning).getModulePassManager().run(module, llvm.create_pass_builder(machine, tuning))
    return bytes(machine.emit_object(module))


class BackgroundCompiler:
    """A second process that compiles one text; it loads LLVM while this process still writes the text.

    With one processor only, or if the process cannot be started or fails, this process compiles the text.
    """

    def __init__(self, optimise: int) -> None:
        self._optimise = optimise
        self._text = ""
        self._process = _start(optimise) if _processors() > 1 else None

    def __enter__(self) -> BackgroundCompiler:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            with self._process:
                self._process.kill()

    def begin(self, text: str) -> None:
        """Hand over the text."""
        self._text = text
        if self._process is None or self._process.stdin is None:
            return
        # The process may have ended already; result() sees that it failed.
        with contextlib.suppress(OSError):
            self._process.stdin.write(text.encode())
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdin = None

    def result(self) -> bytes:
        """The object file."""
        if self._process is not None:
            code, _ = self._process.communicate()
            if self._process.returncode == 0:
                return code
        return build(self._text, self._optimise)


def _start(optimise: int) -> subprocess.Popen[bytes] | None:
    """Start the process with the paths of this one, so that it finds the same softnet and llvmlite."""
    if getattr(sys, "frozen", False):
        return None  # sys.executable is then the program that softnet is frozen into, not Python
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(optimise), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except OSError:
        return None


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _main() -> None:
    """Read a text, write its object file."""
    optimise = int(sys.argv[1])
    end_with(int(sys.argv[2]))
    target_machine(optimise)
    sys.stdout.buffer.write(build(sys.stdin.buffer.read().decode(), optimise))


if __name__ == "__main__":
    _main()
