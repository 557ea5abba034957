# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutated inputs for every reader and for the text of every option, from fixed seeds.

A target takes bytes and may do two things: take them, or raise SoftnetError (a usage error of the command line counts as one).
Anything else is a failure: another exception, more CPU time or memory than a small input may cost, a signal. bench/fuzz.py
runs 25,000 inputs of each target, tests/test_fuzz.py a few hundred.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import difflib
import functools
import gzip
import io
import json
import lzma
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.mutating import Target, limit_memory, run

from softnet.errors import SoftnetError

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "lab" / "fixtures"


# -- targets


@functools.cache
def folder() -> Path:
    """Where inputs are files."""
    return Path(tempfile.mkdtemp(prefix="softnet-fuzz-"))


def file_of(data: bytes, name: str) -> Path:
    """The input as a file."""
    path = folder() / name
    path.write_bytes(data)
    return path


def scenarios() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "examples").glob("*.toml"))]


def take_scenario(data: bytes) -> None:
    from softnet.scenario import load_scenario
    from softnet.scenario.events import changes

    made = load_scenario(file_of(data, "scenario.toml"))
    made.notes()
    changes(made)


def take_cost_table(data: bytes) -> None:
    from softnet.machine.costtable import load_cost_table

    load_cost_table(str(file_of(data, "costs.toml")))


def captures() -> list[bytes]:
    from tests.scenario import captures as make
    from tests.scenario.corpus import corpus

    tcp, udp = make.ipv4(make.tcp(b"x" * 30), 6), make.ipv6(make.udp(b"y" * 9), 17)
    frames = []
    for n in range(6):
        ip, kind = ((tcp, 0x0800), (udp, 0x86DD))[n % 2]
        frames.append((10**18 + n, make.ethernet(ip, kind, tags=(5,) * (n % 3))))
    classic = make.pcap(frames)
    blocks = make.section() + make.interface() + make.simple(frames[0][1])
    blocks += b"".join(make.enhanced(frame, 10**15 + n) for n, (_, frame) in enumerate(frames))
    shipped = [(ROOT / "examples" / "captures" / name).read_bytes()[:3000] for name in ("web.pcap", "redis.pcap")]
    kinds = [frame.data for frame in corpus(60, 5) if len(frame.data) < 400]
    tunnels = make.pcap([(10**18 + n, data) for n, data in enumerate(kinds)])
    radio = make.pcap([(10**18, bytes([8, 1]) + bytes(22) + b"\xaa\xaa\x03\0\0\0\x08\0" + tcp)] * 3, link=105)
    ppi = make.pcap([(10**18, struct.pack("<BBHI", 0, 0, 8, 1) + frames[0][1])] * 3, link=192)
    nflog = make.pcap([(10**18, bytes([2, 0, 0, 0]) + struct.pack("<HH", 4 + len(tcp), 9) + tcp)] * 3, link=239)
    flagged = make.section() + make.interface()
    for _, frame in frames:
        head = struct.pack("<IIIII", 0, 0, 1, len(frame), len(frame)) + frame + bytes(-len(frame) % 4)
        flagged += make.block(6, head + struct.pack("<HHIHH", 2, 4, 2, 0, 0))
    packed = [gzip.compress(classic, mtime=0), bz2.compress(blocks), lzma.compress(classic)]
    return [classic, blocks, *shipped, tunnels, radio, ppi, nflog, flagged, *packed]


def take_capture(data: bytes) -> None:
    from softnet.errors import CaptureError
    from softnet.scenario.packet import read_capture
    from softnet.scenario.packet_columns import PacketBatch, PacketColumns

    path = file_of(data, "capture.pcap")
    taken, said = [], []
    for reader in (read_capture(path), PacketColumns(path)):
        count = 0
        try:
            for one in reader:
                if isinstance(reader, PacketColumns) and isinstance(one, PacketBatch):
                    reader.count(one, len(one))
                    count += int(one.is_packet.sum())
                else:
                    count += 1
            said.append("\n".join(reader.summary.lines()))
        except CaptureError as error:
            said.append(str(error))
        taken.append(count)
    # In columns, a capture is what it is packet by packet.
    assert taken[0] == taken[1], taken
    assert said[0] == said[1], said
    if "expected:" in said[0]:
        raise CaptureError(said[0])


def traces() -> list[bytes]:
    from softnet.trace import EVENTS

    header = {"schema": "softnet-trace/2", "cpus": 2, "tasks": [[1, "swapper/0"], [5, "app"]],
              "events": [[e.name, list(e.args)] for e in EVENTS]}  # fmt: skip
    rows = "".join(f"[{n * 10},{n % 2},{n % 3},{n},1,2,3]\n" for n in range(20))
    return [(json.dumps(header) + "\n" + rows + '{"records":20,"dropped":0,"partial":false}\n').encode()]


def take_trace(data: bytes) -> None:
    from softnet.report.names import task_names
    from softnet.simulate.tracefile import open_trace

    trace = open_trace(file_of(data, "trace.softnet.gz"))
    for _ in trace.records:
        pass
    task_names(trace)


def lab_traces() -> list[bytes]:
    found = []
    for path in sorted(FIXTURES.glob("*.jsonl.gz")):
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        found.append(b"".join(lines[:40]))
    return found


def take_lab_trace(data: bytes) -> None:
    from softnet.lab.tracing import records

    records.read(file_of(data, "6.12.lab.jsonl.gz"))


def take_lab_check(data: bytes) -> None:
    from softnet.lab.tracing import records
    from softnet.lab.validate.checker import check
    from softnet.report.lab_verdicts import verdict_lines

    path = file_of(data, "check.lab.jsonl.gz")
    verdict = check(records.read(path))
    "\n".join(verdict_lines(str(path), verdict))


def frames() -> list[bytes]:
    def frame(kind: bytes, payload: bytes) -> bytes:
        return kind + struct.pack(">I", len(payload)) + payload

    def blob(name: bytes, data: bytes) -> bytes:
        return struct.pack(">H", len(name)) + name + data

    hello = json.dumps({"release": "6.12.1", "version": "#1 SMP", "cpus": 2, "command_line": "quiet"}).encode()
    whole = frame(b"H", hello) + frame(b"P", b"begins") + frame(b"D", blob(b"pages/0", b"x" * 40))
    whole += frame(b"R", b'{"work": {}}') + frame(b"B", b"")
    return [whole, frame(b"H", hello) + frame(b"E", b'{"message": "no", "traceback": "there"}')]


def take_frames(data: bytes) -> None:
    from softnet.lab.vm.qemu import Session, _Conversation

    talk = _Conversation(Session(), lambda text: None)
    for start in range(0, len(data), 97):
        talk.take(data[start : start + 97])


@functools.cache
def raw_blobs() -> dict[str, bytes]:
    """Of a real guest's session."""
    told = json.loads(gzip.decompress((FIXTURES / "raw-6.12.json.gz").read_bytes()))
    return {name: base64.b64decode(text) for name, text in told["blobs"].items()}


def pages() -> list[bytes]:
    return [data[:4096] for name, data in raw_blobs().items() if name.startswith("pages/")]


def take_pages(data: bytes) -> None:
    from softnet.ftrace.ringbuffer import events_of_pages

    for _ in events_of_pages(data, 4096):
        pass


def recordings() -> list[bytes]:
    """A recording's head with a page of each CPU, and a piece of its text."""
    whole = (ROOT / "examples" / "host" / "recorded.dat").read_bytes()
    from softnet.ftrace import tracedat

    data = tracedat.parse(whole, "recorded.dat")
    kept = {"sched_switch", "netif_rx_entry", "sock_recv_length"}
    data.formats = [(system, text) for system, text in data.formats if text.split()[1] in kept]
    data.pages = [[pages[0][: data.page_bytes]] for pages in data.pages[:1]]
    data.page_bytes = 1024
    data.pages = [[page[:8] + (900).to_bytes(8, "little") + page[16:1024] for page in pages] for pages in data.pages]
    data.options[tracedat.OPTION_SOFTNET] = b'{"lost": {"cpu0 overrun": 3}, "release": "6.18.1", "machine": null}'
    data.header_page = data.header_event = b""
    out = io.BytesIO()
    tracedat.write(data, out)
    text = gzip.decompress((ROOT / "tests" / "host" / "fixtures" / "recorded-trace-cmd.txt.gz").read_bytes())
    perf = b"swapper     0 [001]  45542.071714: net:netif_rx: dev=lo skbaddr=0xffff1 len=40\n"
    cat = b"  bash-12 [000] d.s2. 12.000001: napi_poll: napi poll on napi struct 0xf for device (no_device) work 1 budget 64\n"
    sent = (
        b"  a-10 [000] ..... 5.%06d: netif_rx: dev=lo skbaddr=%x len=128\n"
        b"  a-10 [001] ..s.. 5.%06d: netif_receive_skb: dev=lo skbaddr=%x len=128\n"
        b"  a-10 [001] ..s.. 5.%06d: sk_data_ready: family=2 protocol=17 func=x\n"
        b"  b-11 [001] ..... 5.%06d: sock_recv_length: sk address = 0xa, f = 2 length = 100, error = 0, flags = 0x40\n"
        b"  b-11 [001] d.... 5.%06d: sched_switch: prev_comm=b prev_pid=11 prev_prio=120 prev_state=S ==> "
        b"next_comm=x next_pid=12 next_prio=120\n"
    )
    read = b"".join(sent % (n, n, n + 1, n, n + 2, n + 4, n + 5) for n in range(1, 60, 10))
    seven = gzip.decompress((ROOT / "tests" / "host" / "fixtures" / "recorded-7-none.dat.gz").read_bytes())
    return [out.getvalue(), seven, text[:5000], read, read[400:], perf + cat + b"CPU:1 [LOST 12 EVENTS]\n"]


def take_recording(data: bytes) -> None:
    from softnet.host.load import load_of
    from softnet.host.observe import observe
    from softnet.host.recording import read_recording

    found = read_recording(file_of(data, "recorded.dat"))
    load_of(observe(found.events), found.cpus)


def formats() -> list[bytes]:
    return [data for name, data in raw_blobs().items() if name.startswith("format/")]


def take_format(data: bytes) -> None:
    from softnet.ftrace.ringbuffer import parse_format, symbolic

    parsed = parse_format("net", data.decode(errors="replace"))
    symbolic(data.decode(errors="replace"))
    for length in (0, 8, 64, 4096):
        with contextlib.suppress(SoftnetError):
            payload = bytes(range(256)) * 16 if length == 4096 else b"\xff" * length
            parsed.decode(payload)
            parsed.reader([field.name for field in parsed.fields])(payload)


def take_blobs(data: bytes) -> None:
    """One blob of a session is another."""
    from softnet.lab.tracing.facts import Facts
    from softnet.lab.tracing.records import decode

    told = json.loads(gzip.decompress((FIXTURES / "raw-6.12.json.gz").read_bytes()))
    facts = told["facts"]
    names = sorted(raw_blobs())
    blobs = dict(raw_blobs())
    name = names[zlib.crc32(data) % len(names)]
    blobs[name] = data
    known = Facts(facts["release"], facts["offsets"], facts["symbols"], tuple(facts["tracepoints"]))
    decode(blobs, told.get("page_bytes", 4096), known)


def btf() -> list[bytes]:
    from tests.lab.test_btf import _btf

    return [_btf()]


def take_btf(data: bytes) -> None:
    from softnet.lab.tracing.btf import Btf
    from softnet.lab.tracing.facts import FIELDS

    types = Btf(data)
    mine = (("outer", "a"), ("outer", "y"), ("outer", "queue.qlen"), ("bits", "late"), ("outer", "none"))
    for struct_name, path in (*FIELDS, *mine):
        types.has(struct_name, path)


def take_softnet_stat(data: bytes) -> None:
    from softnet.lab.tracing.counts import softnet_stat_delta

    text = data.decode(errors="replace")
    softnet_stat_delta(text, text)


def take_symbols(data: bytes) -> None:
    from softnet.lab.tracing.facts import symbols_of

    list(symbols_of(data.decode(errors="replace")))


def stored() -> list[bytes]:
    counts = {"kicks": {"total": 1, "by_cpu": {"0": 1}}}
    told = {
        "arm": "6.12", "release": "6.12.1", "boot_args": [], "ran": {"accel": "tcg", "threads": "multi", "qemu": "7", "note": ""},
        "clock": "counter", "counts": counts, "softnet_stat": {"0": {"processed": 1}}, "work": {"tasks": []}, "deviations": [],
        "events_not_traced": {}, "events_lost": {}, "kernel_complaints": [], "threads_set": [], "events": 3, "provenance": {},
    }  # fmt: skip
    predictions = {"predictions": [{"scenario": "a", "arm": "6.12", "prediction": None, "failed": "no"}]}
    return [json.dumps(told).encode(), json.dumps(predictions).encode(), b'{"boot_id": "x", "reason": "y"}', b'{"release": "6.12"}']


def take_stored(data: bytes) -> None:
    """What earlier runs and the lab's cache keep as JSON."""
    from softnet.lab.studies import conform, predict_all
    from softnet.lab.tracing.facts import _load
    from softnet.lab.vm import kernels, kvm

    assert "SOFTNET_CACHE" in os.environ, "it writes into the cache: not into a user's"
    path = file_of(data, "6.12.json")
    trace = folder() / "6.12.lab.jsonl.gz"
    if not trace.exists():
        trace.write_bytes(gzip.compress(lab_traces()[0], mtime=0))
    _load(path)
    kvm_file = kvm._memory()
    kvm_file.write_bytes(data)
    kvm._remembered()
    kvm_file.unlink()
    kernel = kernels._folder("6.12") / "kernel.json"
    kernel.parent.mkdir(parents=True, exist_ok=True)
    kernel.write_bytes(data)
    errors = []
    readers = (lambda: predict_all.read(path), lambda: kernels.cached("6.12"), lambda: conform.stored(folder(), "6.12"))
    for read in readers:
        try:
            read()
        except SoftnetError as error:
            errors.append(error)
    if len(errors) == len(readers):
        raise errors[0]


def results() -> list[bytes]:
    """A run and a comparison, made by hand, with what few events and buckets they need."""
    from dataclasses import replace

    from tests.report.samples import comparison, result

    asked = {"machine": {"cpus": 2}, "traffic": [{"kind": "constant"}], "kernel": {"sysctl": {"skb_defer_max": 1}}}
    made = replace(result(asked=asked), events={"deliver": [1, 2]})
    both = comparison((1, 2))
    rows = {arm: tuple(replace(r, events={}, series={}) for r in found) for arm, found in both.results.items()}
    return [json.dumps(one.to_dict()).encode() for one in (made, replace(both, results=rows))]


def take_results(data: bytes) -> None:
    from softnet.report.terminal import render_difference
    from softnet.simulate.stored import difference, read_stored

    stored = read_stored(file_of(data, "result.json"))
    told = render_difference(difference(stored, stored))
    assert all(c.isprintable() or c == "\n" for c in told)
    json.dumps(difference(stored, stored).to_dict(), allow_nan=False)


def patches() -> list[bytes]:
    found = sorted((ROOT / "examples" / "patches").glob("*.py")) + sorted((ROOT / "examples" / "properties").glob("*.py"))
    return [path.read_bytes() for path in found]


def take_patch(data: bytes) -> None:
    from softnet.linux.releases import load_patch
    from softnet.verify.user_properties import claims_of

    claims_of([load_patch(file_of(data, "patch.py"))])


def diffs() -> list[bytes]:
    from softnet.linux.source import linked_source

    old = linked_source("6.12").text("net/core/skbuff.c")
    found = []
    for before, after in (
        ("kick = sd.defer_count == defer_max >> 1", "kick = sd.defer_count == defer_max - 1"),
        ("@kfunc\n", "MINE: Final = 1 << 3\n\n\n@kfunc\n"),
    ):
        new = old.replace(before, after, 1)
        assert new != old
        lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), "a/net/core/skbuff.c", "b/net/core/skbuff.c")
        found.append("".join(lines).encode())
    return found


def take_diff(data: bytes) -> None:
    from softnet.linux.releases import load_patches

    load_patches([str(file_of(data, "mine.diff"))], "6.12", "plain")


def take_patched(data: bytes) -> None:
    """A patch that loads, checked whole with a kernel."""
    from softnet.scenario import scenario_from_dict
    from softnet.simulate.program import load_program

    load_program(scenario_from_dict({}), (str(file_of(data, "patch.py")),))


def take_cache(data: bytes) -> None:
    from softnet.lang.program import cache

    folder_of = cache.cache_dir()
    folder_of.mkdir(parents=True, exist_ok=True)
    key = "a" * 64
    for suffix in (cache.SUFFIX, cache.DERIVED):
        (folder_of / (key + suffix)).write_bytes(data)
    cache.load(key)
    cache.load_derived(key)
    list(cache.entries())


def cache_entries() -> list[bytes]:
    from softnet.lang.program import cache

    cache.store("b" * 64, {"label": "x", "positions": [], "functions": 0, "options": {}, "flat": None}, b"code" * 20)
    return [(cache.cache_dir() / ("b" * 64 + cache.SUFFIX)).read_bytes()]


def saved() -> list[bytes]:
    import numpy as np

    from softnet.verify import checkpoint

    path = folder() / "saved"
    about = {"softnet": "verify", "version": checkpoint.VERSION, "digest": "d" * 64, "storage": "exact", "owned": False}
    checkpoint.write(
        path, about, {"words": np.arange(40), "owners": np.zeros(9, dtype=np.uint8), "store": np.zeros(0, dtype=np.int64)}
    )
    return [path.read_bytes()]


def take_saved(data: bytes) -> None:
    from softnet.verify import checkpoint

    path = file_of(data, "search")
    checkpoint.owned(path)
    checkpoint.read(path)


def lines(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def text(data: bytes) -> str:
    """As an argument of a command comes: bytes that are no text are half characters."""
    return data.replace(b"\0", b"").decode(errors="surrogateescape")


def take_set(data: bytes) -> None:
    import tomllib

    from softnet.scenario import scenario_from_dict

    raw = tomllib.loads((ROOT / "examples" / "rps.toml").read_text(encoding="utf-8"))
    scenario_from_dict(raw, [text(data)], directory=ROOT / "examples")


def take_kernel(data: bytes) -> None:
    from softnet.scenario import apply_kernel, scenario_from_dict

    scenario_from_dict(apply_kernel({}, text(data)))


def take_arm(data: bytes) -> None:
    from softnet.simulate.arms import parse_arms

    parse_arms([text(data), "6.12"])


def take_driver(data: bytes) -> None:
    from softnet.verify.standard import driver_of

    driver_of(text(data))


def take_event(data: bytes) -> None:
    from softnet.verify.standard import event_of

    event_of(text(data))


def take_configuration(data: bytes) -> None:
    from softnet.verify.standard import from_text

    from_text(text(data))


def take_schedule(data: bytes) -> None:
    from softnet.verify.replay.schedule import decode, repeats_of

    decode(text(data))
    repeats_of(text(data))


def take_duration(data: bytes) -> None:
    from softnet.units import parse_duration_ns

    parse_duration_ns(text(data))


class Reached(SoftnetError):
    """The command line was taken: what it would do begins here."""


COMMAND_LINES: Final = (
    "run examples/rps.toml --kernel 6.12-rt --seed 3 --trace full --set sysctl.skb_defer_max=128 --engine native --width 80",
    "run examples/rps.toml --break net_rx_action --checks --strict --json --patch examples/patches/kick_at_max.py",
    "compare examples/rps.toml --arm 6.9-rt --arm mine:6.10-rt,sysctl.skb_defer_max=128 --seeds 2 --jobs 2",
    "check examples/rps.toml --kernel 6.12 --set machine.cpus=4 --json",
    "verify --kernel 6.12 --cpus 2 --skbs 3 --driver free:1:2 --set defer_max=3 --event dev_weight=2 --max-states 10 --jobs 2",
    "verify --kernel 6.12-rt --property deadlock --memory-model tso --store-buffer 2 --storage compact --memory 64 --max-seconds 1",
    "replay-schedule kernel=6.12,driver=free:1:2:0/10.7x21 --engine both --at 5 --width 100",
    "explain net_rx_action --kernel 6.12",
    "schema",
    "cache",
    "host doctor --from examples/host/web.txt --seconds 2 --json --anonymous --width 90 --out x",
    "host scenario --from examples/host/web.txt --out x",
    "lab run examples/rps.toml --kernel 6.12 --boot-arg quiet --clock mono --stretch 3 --accel tcg --timeout 10 --out",
    "lab experiment first-kick --connections 110 --skb-defer-max 64 --kernel 6.12",
    "lab check tests/lab/fixtures/first-kick-6.12.jsonl.gz --json",
    "lab calibrate --kernel 6.12 --out x.toml --note 2026",
    "lab predict --all --only rps --out",
    "lab conform --only kick --again",
    "lab reproduce C1 --tries 2",
    "lab kernels",
)


def take_command_line(data: bytes) -> None:
    """The words of a command line, up to where its work would begin."""
    from softnet.cli import run_cli

    words = text(data).split()
    if words[:1] == ["lab"] and "--again" not in words:
        words.append("--no-such-option-so-that-nothing-boots")
    status = run_cli(words)
    if status not in (0, 1, 2, 3, 4, 130):
        raise AssertionError(f"status {status}")


@contextlib.contextmanager
def no_work() -> Iterator[None]:
    """What commands would do at length is refused where it begins."""
    from unittest import mock

    def begins(*_: object, **__: object) -> Any:
        raise Reached("the work begins")

    with contextlib.ExitStack() as stack:
        for name in (
            "softnet.simulate.simulation.Simulation.__init__", "softnet.verify.search.search",
            "softnet.verify.arena.Arena.__init__", "softnet.processes.Workers.__init__", "softnet.lab.vm.qemu.boot",
            "softnet.lab.vm.kernels.fetch", "softnet.host.sources.read_machine",
        ):  # fmt: skip
            stack.enter_context(mock.patch(name, begins))
        yield


@functools.cache
def workplace() -> Path:
    """A folder in which a command line finds the files that it names, and may write."""
    place = folder() / "here"
    place.mkdir()
    for name in ("examples", "tests"):
        (place / name).symlink_to(ROOT / name)
    return place


def take_command_line_only(data: bytes) -> None:
    here = os.getcwd()
    os.chdir(workplace())
    try:
        with no_work():
            take_command_line(data)
    finally:
        os.chdir(here)


def pasted() -> list[bytes]:
    from tests.host import dumps

    texts = [text.encode() for text in dumps.ALL.values()]
    return [*texts, f"$ uname -a\n{dumps.UNAME}# cat /proc/interrupts\n{dumps.INTERRUPTS}$ nstat\n{dumps.NSTAT}".encode()]


def judged(report: Any) -> None:
    """What the commands of ``softnet host`` do with a report that was read; that its scenario is refused is a failure."""
    from softnet.host.anonymous import anonymised
    from softnet.host.doctor import diagnose
    from softnet.host.model import report_from_json
    from softnet.host.scenario import scenario_of
    from softnet.report.host import doctor_lines

    for line in doctor_lines(diagnose(report), 100):
        assert line.isprintable(), repr(line)
    assert report_from_json(report.to_json(), "again") == report
    anonymised(report)
    try:
        scenario_of(report)
    except SoftnetError as error:
        raise AssertionError(f"the scenario is refused: {error}") from None


def take_pasted(data: bytes) -> None:
    from softnet.host.sources import read_sources

    judged(read_sources([file_of(data, "pasted.txt")], 0))


def host_reports() -> list[bytes]:
    from tests.host import dumps

    from softnet.host.sources import read_sources

    report = read_sources([file_of(text.encode(), f"{name}.txt") for name, text in dumps.ALL.items()], 0)
    return [report.to_json().encode(), b'{"schema": "softnet-host/1", "cpus": {"online": "0-3"}, "samples": [{}, {}]}']


@functools.cache
def host_tree() -> tuple[Path, tuple[str, ...]]:
    """A machine's files, and the names of those that are changed in turn."""
    from tests.host.machines import Card, Machine

    machine = Machine("6.12.1", cpus=2, cards=[Card(rps="2")], isolated="1")
    root = machine.write(folder() / "machine")
    return root, tuple(sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()))


def tree_files() -> list[bytes]:
    root, names = host_tree()
    return [(root / name).read_bytes() for name in names]


def take_tree_file(data: bytes) -> None:
    """One file of a machine holds something else."""
    from softnet.host.sources import read_sources

    root, names = host_tree()
    path = root / names[zlib.crc32(data) % len(names)]
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        judged(read_sources([root], 0))
    finally:
        path.write_bytes(before)


def take_host_report(data: bytes) -> None:
    from softnet.host.model import report_from_json

    judged(report_from_json(data, "report.json"))


STAT = "0000272d 00000000 00000001 0 0 0 0 0 0 00000abc 0 00000003 00000000 0 0\n" * 2
SYMBOLS = "ffffffff81000000 T _text\nffffffffc0000000 t x\t[mod]\n"

TABLES = sorted((ROOT / "src/softnet/machine/costs").glob("*.toml"))
SETTINGS = ("sysctl.skb_defer_max=128", "nic.eth0.rps_cpus=[1,2]", "traffic.0.rate_pps=5000", "kernel=6.12-rt", "nic.ring=512",
            "event=[]", "machine={cpus=3}")  # fmt: skip
CONFIGURATIONS = ("kernel=6.12,defer_max=3,driver=free:1:2:0,event=dev_weight:2", "kernel=6.12-rt,cpus=3,rps=1,driver=rps:1")

TARGETS: Final[tuple[Target, ...]] = (
    Target("scenario", scenarios, take_scenario, (b"[[nic]]", b"[kernel]", b"cpus=", b"kind=", b"[[traffic]]", b"[[event]]")),
    Target("cost table", lambda: [path.read_bytes()[:1500] for path in TABLES], take_cost_table, (b"base=", b"[kernel.x]", b"ns=")),
    Target("capture", captures, take_capture),
    Target("trace", traces, take_trace, (b"softnet-trace/1", b'"records"'), packed=True),
    Target("lab trace", lab_traces, take_lab_trace, (b'"cpus"', b"null"), packed=True),
    Target("lab check", lab_traces, take_lab_check, (b'"cpus"', b'"sysctl"', b"null"), costly=10),
    Target("lab frames", frames, take_frames, (b"H", b"D", b"R", b"E", b"B")),
    Target("trace pages", pages, take_pages),
    Target("recordings", recordings, take_recording, (b"options  \0", b"flyrecord\0", b"[LOST 9 EVENTS]"), costly=4, share=4),
    Target("event formats", formats, take_format, (b"field:", b"offset:", b"size:", b"__data_loc char[] x;")),
    Target("blobs of a guest", lambda: [*pages(), *formats()], take_blobs, costly=5),
    Target("BTF", btf, take_btf),
    Target("softnet_stat", lines(STAT), take_softnet_stat),
    Target("kallsyms", lines(SYMBOLS), take_symbols),
    Target("stored JSON", stored, take_stored, (b'"arm"', b"[]", b"null")),
    Target("stored results", results, take_results, (b"null", b"[]", b'"6.9-rt"', b"-1", b"9" * 25, b'"count"'), costly=4),
    Target("patch files", patches, take_patch, (b"import os\n", b"@kfunc\n", b"class x(Struct):\n", b"exec(", b"lambda: ")),
    Target("diffs", diffs, take_diff, (b"@@ -1 +1 @@\n", b"+++ ", b"--- ", b"\n+", b"\n+import os\n", b"+++ /\n"), costly=5),
    Target("patched kernels", patches, take_patched, (b"while True:", b"x[0]", b"not "), costly=50, share=10),
    Target("a saved search", saved, take_saved, (b'"arrays"', b'"int64"', b"9999999999")),
    Target("cached code", cache_entries, take_cache),
    Target("--set", lines(*SETTINGS), take_set, (b"nic.", b"eth0.", b".0", b"=", b"[1]")),
    Target("--kernel", lines("6.12", "6.12-rt", "6.10-threads"), take_kernel),
    Target("--arm", lines("mine:6.12-rt,sysctl.skb_defer_max=128", "6.12,patch=examples/patches/kick_at_max.py"), take_arm),
    Target("--driver", lines("free:1:2:0", "rps:1:1:0", "hotplug:0:2:1"), take_driver, (b"nic", b":", b"irq")),
    Target("--event", lines("skb_defer_max=1", "rps_cpus=3"), take_event),
    Target("configurations", lines(*CONFIGURATIONS), take_configuration, (b"driver=", b"cpus=", b"memory_model=tso", b"ticks=")),
    Target("schedules", lines("10.7x21.9~1.2x3", "6.3x17.7"), take_schedule, (b"x", b"~", b".")),
    Target("durations", lines("1.5 ms", "250us", "2s"), take_duration),
    Target("pasted output", pasted, take_pasted, (b"CPU0 CPU1\n", b"$ cat x\n", b"RX: ", b"NIC statistics:\n", b"eth0"), costly=5),
    Target("files of a machine", tree_files, take_tree_file, (b"0-3", b"eth0", b"ff", b"\n"), costly=20),
    Target("reports of machines", host_reports, take_host_report, (b"null", b'"0-3"', b"{}", b'"samples"'), costly=5),
    Target("command lines", lines(*COMMAND_LINES), take_command_line_only, (b" --json", b" --set ", b" --help", b" --out x"),
           costly=10),
)  # fmt: skip


def by_name(name: str) -> Target:
    return next(target for target in TARGETS if target.name == name)


def child() -> None:
    """``python -m tests.fuzzing TARGET FIRST COUNT``: run inputs, and tell on the standard output how far they are.

    A line is the number of an input that begins, or of one that failed with what failed; the last is the tally.
    """
    target, first, count = by_name(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    out = os.fdopen(os.dup(1), "w", buffering=1)

    def tell(number: int, failure: str) -> None:
        print(json.dumps([number, failure]), file=out)

    if target.costly > 1:
        # What is compiled and imported once is not the inputs' own.
        with contextlib.suppress(SoftnetError):
            target.take(target.seeds()[0])
    limit_memory()
    tally = run(target, first, count, tell)
    print(json.dumps({"inputs": tally.inputs, "taken": tally.taken, "refused": tally.refused}), file=out)


if __name__ == "__main__":
    child()
