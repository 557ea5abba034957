# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of thousands of digits, keys of thousands of names, devices for files, encodings that lack letters: one message each."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.files import lines_bounded
from softnet.lab.tracing import records
from softnet.simulate.tracefile import open_trace

ROOT = Path(__file__).resolve().parents[2]
RPS = str(ROOT / "examples" / "rps.toml")
TEXTS = {
    "a number of 5000 digits": f"[machine]\ncpus = {'9' * 5000}\n",
    "a hexadecimal one": f"[machine]\ncpus = 0x{'f' * 5000}\n",
    "a release of 5000 digits": f"[kernel]\nrelease = '6.{'9' * 5000}'\n",
    "a thread of 5000 digits": f"[kernel.threads.'ksoftirqd/{'9' * 5000}']\nsched = 'fifo:5'\n",
    "a key of 3000 names": f"{'a.' * 3000}b = 1\n",
    "a table of 3000 names": f"[{'a.' * 3000}b]\n",
    "a list in 3000 lists": f"a = {'[' * 3000}{']' * 3000}\n",
    "a list in 100 lists": f"name = {'[' * 100}{']' * 100}\n",
    "a table in 3000 tables": f"a = {'{a=' * 3000}1{'}' * 3000}\n",
    "a zero byte": "name = \0\n",
    "no text": "name = '\udcff'\n",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("what", ["scenario", "cost table"])
def test_a_file_that_nobody_writes_is_refused(what: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(TEXTS[name].encode(errors="surrogateescape"))
    words = [str(path)] if what == "scenario" else [RPS, "--set", f"machine.costs={path}"]
    assert run_cli(["check", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "odd.toml" in said.err
    assert len(said.err) < 3000


SETTINGS = (
    "machine.cpus=" + "9" * 5000,
    "a." * 3000 + "b=1",
    "machine." + "a." * 3000 + "b=1",
    "sysctl.skb_defer_max=" + "[" * 3000,
    "nic.eth0.rps_cpus.0=1",
    "nic.0.rps_cpus.x=1",
    "traffic." + "9" * 5000 + ".rate_pps=1",
    "machine.cpus=0x" + "f" * 5000,
    "traffic.².rate_pps=1",
    "nic.eth0=1",
    "nic=1",
    "event=1",
    "measure=5",
)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda text: text[:24])
def test_a_setting_that_nobody_means_is_refused(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, with a traceback, was the answer to one of a list's members: 1 means "violated"."""
    assert run_cli(["check", RPS, "--set", setting]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err[:9]) == ("", "softnet: ")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_is_read_no_further_than_a_file_may_be_long(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([device], [RPS, "--set", f"machine.costs={device}.toml"], [RPS, "--patch", device]):
        assert run_cli(["check", *words]) == 2
    assert run_cli(["lab", "check", device]) == 2
    assert run_cli(["verify", "--kernel", "6.12", "--driver", "free:1", "--property-file", device]) == 2
    assert "Traceback" not in capsys.readouterr().err


def bomb(path: Path, head: bytes, piece: bytes, count: int) -> Path:
    """A small file of gzip that unpacks to many times the piece."""
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(head)
        for _ in range(count):
            stream.write(piece)
    return path


@pytest.mark.slow
def test_a_file_that_unpacks_without_end_is_read_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of 64 MB, many lines, many records: each stops at its limit, and none is held whole before."""
    monkeypatch.setattr(records, "FILE_BYTES_MAX", 8 << 20)
    monkeypatch.setattr(records, "RECORDS_MAX", 50_000)
    head = json.dumps({"format": records.FORMAT, "version": records.VERSION, "clock": "counter"}).encode() + b"\n"
    for name, piece, count, message in (
        ("line", b" " * (1 << 20), 64, "too long a line"),
        ("records", b'[1,0,0,"e",0,0,0,0]\n' * 1000, 60, "at most 50,000 records"),
    ):
        path = bomb(tmp_path / name, head, piece, count)
        assert path.stat().st_size < 200_000
        with pytest.raises(SoftnetError, match=message):
            records.read(path)
    with pytest.raises(SoftnetError, match=r"too long a line|more than"):
        open_trace(bomb(tmp_path / "trace", b"", b"[" * (1 << 20), 64))
    lines = lines_bounded(bomb(tmp_path / "lines", b"", b"x\n" * (1 << 20), 16), 8 << 20, 100, SoftnetError, "trace")
    with pytest.raises(SoftnetError, match="more than 8,388,608 bytes"):
        sum(1 for _ in lines)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "utf-8"])
def test_json_is_the_same_on_every_output(encoding: str, tmp_path: Path) -> None:
    """A question mark for a letter would be another name."""
    scenario = tmp_path / "odd.toml"
    scenario.write_text('name = "naïve → 日本 😀"\n', encoding="utf-8")
    command = [sys.executable, "-m", "softnet", "check", str(scenario), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))["scenario"] == "naïve → 日本 😀"


def test_a_path_that_is_no_text_is_written_out_in_the_report(tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.toml")
    with open(odd, "wb") as stream:
        stream.write(b"[measure]\nduration_ms = 1\n")
    command = [sys.executable, "-m", "softnet", "run", odd, "--quiet", "--engine", "reference", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "caf\\udce9.toml" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
