# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a kernel in QEMU, hear it out within a bound, and leave nothing behind.

The guest is one QEMU process in a session of its own. It is killed, with whatever it started, when its bound
passes, when its channel breaks, and when this process ends. A result says what ran it: hardware
virtualisation ("kvm") or emulation ("tcg") with one host thread per CPU ("multi") or one for all ("single").
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from softnet import processes
from softnet.errors import printable
from softnet.files import from_json, scratch_folder
from softnet.lab.errors import LabChannelLost, LabError, LabGuestError, LabHostBusy, LabMissing, LabPanic, LabTimeout
from softnet.lab.guest.plans import Hello, Plan
from softnet.lab.vm import cpio, userland
from softnet.lab.vm.channel import CHANNEL, FrameReader, split_blob
from softnet.lab.vm.kernels import Kernel
from softnet.processes import end_with

Accel = Literal["kvm", "tcg", "tcg-single", "icount"]
AccelChoice = Literal["auto", "kvm", "tcg", "tcg-single", "icount"]
# With instruction counting, an instruction of the guest takes 1 << shift ns of its time, on whatever host.
ICOUNT_SHIFT = 0
QEMU = "qemu-system-x86_64"
_POLL_SECONDS = 0.2
_PANIC = re.compile(r"Kernel panic - not syncing: .*")
# The assertion is QEMU's own (target/i386/kvm/kvm.c, kvm_buf_set_msrs()): in a nested machine a register may be refused.
_KVM_REFUSES = re.compile(
    r"KVM internal error.*|failed to initialize kvm.*|[Cc]ould not access KVM.*|kvm run failed.*|kvm\.c:\d+: \w+: Assertion.*"
)
_CONSOLE_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class GuestMachine:
    """The guest's machine. ``boot_args`` are added to the kernel's command line as they stand."""

    cpus: int = 4
    memory_mb: int = 2048
    boot_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a guest may take: until its agent speaks, and in all."""

    boot_seconds: float = 90.0
    total_seconds: float = 240.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What ran the guest; part of every result."""

    accel: str
    threads: str
    qemu: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Boot:
    """What is booted: a kernel, the plan that its agent carries out, the machine, how long it may take, who hears of progress."""

    kernel: Kernel
    plan: Plan
    machine: GuestMachine
    bounds: Bounds
    say: Callable[[str], None]


@dataclass(slots=True)
class Session:
    """All that one guest said: its hello, its result, its blobs, its console, and what ran it."""

    hello: Hello | None = None
    result: Any = None
    """The agent's last frame: a plan's Result or FactsResult (softnet.lab.guest.plans)."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    console: str = ""
    ran: Ran = Ran("", "", "")
    boot_seconds: float = 0.0
    total_seconds: float = 0.0

    def greeting(self) -> Hello:
        """What the agent said first; of a guest that was heard out."""
        assert self.hello is not None
        return self.hello


def qemu_version() -> str:
    """The version line of QEMU; raises ``LabMissing`` where it is not installed."""
    if shutil.which(QEMU) is None:
        raise LabMissing(
            f"{QEMU} is not here",
            hint="apt-get install --no-install-recommends qemu-system-x86 (as root); softnet lab doctor says what else is missing",
        )
    done = processes.run([QEMU, "--version"], timeout=30)
    match = re.search(r"version (\S+)", done.stdout)
    return match.group(1) if match else "unknown"


def guest_files() -> list[cpio.Entry]:
    """The agent's own files, as they go into the initramfs."""
    folder = Path(__file__).parents[1] / "guest"
    entries = [cpio.regular("init", (folder / "init").read_bytes(), executable=True)]
    # The guest imports its files under their names on the host, with nothing else of the package around them.
    entries.extend(cpio.regular(f"lab/{parent}/__init__.py", b"") for parent in ("softnet", "softnet/lab"))
    entries.extend(cpio.regular(f"lab/softnet/lab/guest/{path.name}", path.read_bytes()) for path in sorted(folder.glob("*.py")))
    return entries


def initramfs(kernel: Kernel, plan: Plan, base: Path) -> bytes:
    """The base archive and a second one with modules, agent and plan; the kernel unpacks one after the other."""
    entries = guest_files()
    order = kernel.load_order()
    entries.append(cpio.regular("lab/modules/order", "".join(f"{name}\n" for name, _ in order).encode()))
    entries.extend(cpio.regular(f"lab/modules/{name}", image) for name, image in order)
    entries.append(cpio.regular("lab/plan.json", json.dumps(plan).encode()))
    return base.read_bytes() + cpio.archive(entries)


def _arguments(kernel: Kernel, machine: GuestMachine, accel: Accel, folder: Path) -> list[str]:
    if accel == "kvm":
        engine = ["-accel", "kvm", "-cpu", "host"]
    else:
        threads = "multi" if accel == "tcg" else "single"
        engine = ["-accel", f"tcg,thread={threads}", "-cpu", "max"]
        if accel == "icount":
            engine += ["-icount", f"shift={ICOUNT_SHIFT},sleep=off"]
    words = ["console=ttyS0", "quiet", "panic=-1", "oops=panic", "nokaslr", "random.trust_cpu=on"]
    command_line = " ".join([*words, *machine.boot_args])
    return [
        QEMU, *engine, "-machine", "pc", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-smp", str(machine.cpus), "-m", f"{machine.memory_mb}M",
        "-chardev", f"file,id=console,path={folder / 'console'}", "-serial", "chardev:console",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=lab,path={folder / 'channel'}",
        "-device", "virtserialport,chardev=lab,name=softnet.lab",
        "-kernel", str(kernel.vmlinuz), "-initrd", str(folder / "initrd"), "-append", command_line,
    ]  # fmt: skip


def _before_exec(parent: int) -> None:
    """In the child: die with the parent, and leave the machine to others when they need it."""
    end_with(parent)
    os.nice(5)


@contextlib.contextmanager
def _running(argv: list[str], stderr: Path) -> Iterator[subprocess.Popen[bytes]]:
    with stderr.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
            preexec_fn=functools.partial(_before_exec, os.getpid()),
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


BLOBS_BYTES_MAX = 1 << 30
"""Of a guest's blobs together: ring buffers of gigabytes take other means."""


def _table(kind: str, payload: bytes) -> dict[str, Any]:
    """A frame's JSON. Raises ``LabError`` for anything but a table."""
    try:
        found = from_json(payload)
    except ValueError as error:
        found = str(error)
    if not isinstance(found, dict):
        raise LabError("a frame without its table", where=f"{CHANNEL}: frame {kind}", found=payload[:80].decode(errors="replace"),
                       expected="a table in JSON")  # fmt: skip
    return found


def _hello(payload: bytes) -> Hello:
    told = _table("H", payload)
    texts = ("release", "version", "command_line")
    missing = [key for key in texts if not isinstance(told.get(key), str)]
    if missing:
        raise LabError("a guest that does not say what it is", where=f"{CHANNEL}: frame H", found=f"no {missing[0]}",
                       expected="texts: " + ", ".join(texts))  # fmt: skip
    return cast("Hello", told)


class _Conversation:
    """One guest's frames as they come in, and what they add up to."""

    def __init__(self, session: Session, say: Callable[[str], None]) -> None:
        self.session = session
        self.say = say
        self.reader = FrameReader()
        self.done = False
        self._pieces: dict[str, list[bytes]] = {}
        self._bytes = 0

    def take(self, data: bytes) -> None:
        """Act on the frames in ``data``; raises ``LabGuestError`` for the guest's own complaint."""
        for kind, payload in self.reader.feed(data):
            if kind == "H":
                self.session.hello = _hello(payload)
            elif kind == "P":
                self.say(printable(payload.decode("utf-8", "replace")))
            elif kind == "D":
                name, piece = split_blob(payload)
                self._pieces.setdefault(name, []).append(piece)
                self._bytes += len(payload)
                if self._bytes > BLOBS_BYTES_MAX:
                    raise LabError("the guest sends more than a run can have", where=CHANNEL,
                                   found=f"{self._bytes:,} bytes", expected=f"at most {BLOBS_BYTES_MAX:,}")  # fmt: skip
            elif kind == "R":
                self.session.result = _table(kind, payload)
            elif kind == "E":
                told = _table(kind, payload)
                raise LabGuestError(
                    "the experiment failed in the guest",
                    found=str(told.get("message", "")),
                    hint=str(told.get("traceback", "")),
                )
            elif self.session.hello is None or self.session.result is None:
                raise LabError("the guest says good-bye before it has said anything", where=CHANNEL, expected="frames H and R")
            else:
                self.session.blobs = {name: b"".join(pieces) for name, pieces in self._pieces.items()}
                self.done = True


def _console(folder: Path) -> str:
    path = folder / "console"
    return path.read_text("utf-8", "replace").replace("\r", "") if path.exists() else ""


def _tail(console: str) -> str:
    lines = [line for line in console.splitlines() if line.strip()]
    return "\n".join(lines[-_CONSOLE_TAIL_LINES:]) or "nothing at all"


def _gone(folder: Path, status: int | None, *, spoke: bool) -> LabError:
    """The guest ended before its bye: say which way. ``spoke`` is whether its agent had said hello."""
    console = _console(folder)
    words = (folder / "stderr").read_text("utf-8", "replace").strip()
    refused = _KVM_REFUSES.search(words)
    if refused:
        return _KvmRefusedError(refused.group(0))
    panic = _PANIC.search(console)
    if panic:
        kind = LabPanic if spoke else _EarlyPanicError
        return kind(
            "the guest's kernel panicked",
            found=panic.group(0),
            hint=f"the console's last lines:\n{_tail(console)}",
        )
    return LabChannelLost(
        "the guest went away before it was done",
        found=f"QEMU's status {status}" + (f", its words: {words.splitlines()[-1]}" if words else ""),
        hint=f"the console's last lines:\n{_tail(console)}",
    )


class _EarlyPanicError(LabPanic):
    """The kernel panicked before the agent spoke: nothing of the plan had begun."""


class _EarlyHangError(LabTimeout):
    """The guest had the host's CPUs for as long as it may take to boot, and its agent did not speak."""


class _KvmRefusedError(LabError):
    """KVM is there and does not work."""


def _kvm_refused(folder: Path) -> None:
    """QEMU reports a failing KVM on stderr and stands still; see it at once instead of waiting."""
    refused = _KVM_REFUSES.search((folder / "stderr").read_text("utf-8", "replace"))
    if refused:
        raise _KvmRefusedError(refused.group(0))


@dataclass(frozen=True, slots=True)
class HostTime:
    """What a process's threads had of the host's CPUs, in seconds: how long they ran, and how long they waited to run."""

    ran: float
    waited: float

    def too_little(self, elapsed: float) -> bool:
        """Whether the process was kept waiting: longer than it ran, and for a good part of the time that passed."""
        return self.waited > self.ran and self.waited > elapsed / 4


def host_time(pid: int) -> HostTime:
    """Of a process that runs (proc(5), schedstat); of one that is gone, or on a kernel that does not say, nothing."""
    ran = waited = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError):
            running, waiting, _ = map(int, path.read_text().split())
            ran, waited = ran + running, waited + waiting
    return HostTime(ran / 1e9, waited / 1e9)


def _check_bounds(talk: _Conversation, elapsed: float, bounds: Bounds, folder: Path, pid: int) -> None:
    """Raise ``LabTimeout`` when the guest has had its time; ``LabHostBusy`` where it was the host that did not give it."""
    spoke = talk.session.hello is not None
    if elapsed <= (bounds.total_seconds if spoke else min(bounds.boot_seconds, bounds.total_seconds)):
        return
    had = host_time(pid)
    busy = had.too_little(elapsed)
    why = f"; it ran {had.ran:.0f} s and waited {had.waited:.0f} s for the host's CPUs{': the host was too busy' if busy else ''}"
    kind = LabHostBusy if busy else LabTimeout
    if not spoke and elapsed > bounds.boot_seconds:
        raise (LabHostBusy if busy else _EarlyHangError)(
            f"the guest's agent did not speak within {bounds.boot_seconds:g} s; the guest was killed{why}",
            hint=f"the console's last lines:\n{_tail(_console(folder))}",
        )
    raise kind(
        f"the guest was not done within {bounds.total_seconds:g} s and was killed{why}",
        hint=f"--timeout SECONDS gives it longer; the console's last lines:\n{_tail(_console(folder))}",
    )


def _hear(
    listener: socket.socket,
    process: subprocess.Popen[bytes],
    talk: _Conversation,
    bounds: Bounds,
    folder: Path,
) -> None:
    """Read frames until the bye; raises the error that fits when it does not come."""
    start = time.monotonic()
    session = talk.session
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(listener, selectors.EVENT_READ)
        while not talk.done:
            _check_bounds(talk, time.monotonic() - start, bounds, folder, process.pid)
            # Asked before reading: what an ended guest still said is heard out first.
            status = process.poll()
            ready = selector.select(0 if status is not None else _POLL_SECONDS)
            for key, _ in ready:
                stream = key.fileobj
                assert isinstance(stream, socket.socket)
                if stream is listener:
                    channel = stack.enter_context(listener.accept()[0])
                    selector.unregister(listener)
                    selector.register(channel, selectors.EVENT_READ)
                    continue
                data = stream.recv(1 << 18)
                if not data:
                    process.wait(timeout=10)
                    raise _gone(folder, process.returncode, spoke=bool(session.hello))
                talk.take(data)
                if session.hello and not session.boot_seconds:
                    session.boot_seconds = round(time.monotonic() - start, 3)
            if status is not None and not ready:
                raise _gone(folder, status, spoke=bool(session.hello))
            _kvm_refused(folder)
    session.total_seconds = round(time.monotonic() - start, 3)


def _boot_once(boot: Boot, accel: Accel) -> Session:
    base, _ = userland.build(say=boot.say)
    threads = {"kvm": "multi", "tcg": "multi"}.get(accel, "single")
    session = Session(ran=Ran(accel.split("-", 1)[0], threads, qemu_version()))
    with scratch_folder() as folder:
        (folder / "initrd").write_bytes(initramfs(boot.kernel, boot.plan, base))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "channel"))
            listener.listen(1)
            with _running(_arguments(boot.kernel, boot.machine, accel, folder), folder / "stderr") as process:
                talk = _Conversation(session, boot.say)
                _hear(listener, process, talk, boot.bounds, folder)
        session.console = _console(folder)
    return session


def _boot_emulated(boot: Boot, accel: Accel) -> Session:
    """Boot; once more where the kernel panicked, or hung in multi-threaded emulation, before the agent spoke, and say so.

    On a busy host a vCPU's thread may stand still for long in the middle of the kernel's own boot, which kernels
    do not expect. With counted instructions one boot in many panicked, with a stack that no kernel makes (2026-11-30, QEMU 7.2).
    Nothing had been tried by then, so nothing is hidden; a second failure is the answer.
    """
    try:
        return _boot_once(boot, accel)
    except (_EarlyPanicError, _EarlyHangError) as error:
        if accel != "tcg" and not isinstance(error, _EarlyPanicError):
            raise
        what = f"panicked: {error.found}" if isinstance(error, LabPanic) else f"hung: no word in {boot.bounds.boot_seconds:g} s"
    boot.say(f"the boot {what}; booting it once more")
    session = _boot_once(boot, accel)
    session.ran = replace(session.ran, note=f"a first boot {what}, before the agent spoke")
    return session


def boot(
    kernel: Kernel,
    plan: Plan,
    machine: GuestMachine,
    *,
    bounds: Bounds | None = None,
    accel: AccelChoice = "auto",
    say: Callable[[str], None],
) -> Session:
    """Run ``plan`` in a guest with ``kernel`` and return what it said.

    ``accel="auto"`` tries KVM where it seems to work and emulates where it turns out not to; the session's
    ``ran`` says which it was and why. Raises ``LabTimeout``, ``LabPanic``, ``LabChannelLost``,
    ``LabGuestError``; whatever is raised, the guest is gone by then.
    """
    from softnet.lab.vm import kvm

    wanted = Boot(kernel, plan, machine, bounds or Bounds(), say)
    if accel != "auto":
        return _boot_emulated(wanted, accel)
    usable = kvm.usability()
    if usable.usable:
        try:
            return _boot_once(wanted, "kvm")
        except _KvmRefusedError as error:
            usable = kvm.remember_refusal(error.message)
    session = _boot_emulated(wanted, "tcg")
    notes = [f"KVM not used: {usable.reason}", *([session.ran.note] if session.ran.note else [])]
    session.ran = replace(session.ran, note="; ".join(notes))
    return session
