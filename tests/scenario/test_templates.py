# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet init`: what it copies is sound where it is copied to, its commands run there, and no file of the user's is touched."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.scenario import Scenario, load_scenario
from softnet.scenario.templates import all_files, copy_into, examples_folder, template, template_names
from softnet.simulate import api
from softnet.simulate.arms import Arm

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", template_names())
def test_a_template_is_sound_where_it_is_copied_to(name: str, tmp_path: Path) -> None:
    chosen = template(name)
    assert chosen.question.endswith("?")
    copy_into(tmp_path, chosen.files)
    scenario = load_scenario(tmp_path / chosen.scenario)
    for traffic in scenario.traffic:
        if file := getattr(traffic, "file", ""):
            assert scenario.resolve(file).is_relative_to(tmp_path)
            assert scenario.resolve(file).read_bytes() == (examples_folder() / file).read_bytes()
    assert chosen.commands
    for command in chosen.commands:
        assert shlex.split(command)[2] == chosen.scenario, "it names the copy, not the example"


def test_everything_is_copied_as_the_documents_name_it(tmp_path: Path) -> None:
    copy_into(tmp_path, all_files())
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "examples/seed.toml",
        "examples/captures/web.pcap",
        "examples/patches/kick_at_max.py",
        "examples/sweeps/rps.toml",
    } <= files
    assert all((tmp_path / name).read_bytes() == (ROOT / name).read_bytes() for name in files)


def test_it_says_what_to_run_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["init"]) == 0
    assert capsys.readouterr().out == (
        "rps.toml: Does steering packets to three more CPUs pay for its IPIs?\n\nNext:\n"
        "  softnet check rps.toml\n  softnet run rps.toml\n  softnet compare rps.toml --arm 6.12 --arm 6.12-threads\n"
        '  softnet run rps.toml --set "nic.eth0.rps_cpus=[]"\n'
    )
    assert run_cli(["init", "new/place", "--template", "redis"]) == 0
    assert "new/place/captures/redis.pcap\n\nNext:\n  cd new/place\n  softnet check redis.toml\n" in capsys.readouterr().out
    assert run_cli(["init", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == template_names()


def test_a_file_of_the_users_stays_and_nothing_is_written_beside_it(tmp_path: Path) -> None:
    mine = tmp_path / "captures" / "web.pcap"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(SoftnetError) as raised:
        copy_into(tmp_path, template("seed").files)
    assert str(raised.value) == (f"{mine}: a file of yours has this name\n  hint:     name another folder, or move the file away")
    assert mine.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["captures"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "rps.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SoftnetError, match="a file of yours has this name"):
        copy_into(tmp_path, template("rps").files)
    assert not (tmp_path / "elsewhere").exists()


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    copy_into(tmp_path, template("seed").files)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    copy_into(tmp_path, template("seed").files)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--template", "sed"], "no such template\n  found:    sed\n"),
        (["--template", "seed"], ""),
        (["--template", "../secret"], "no such template"),
        (["--list", "--all"], "--template, --list, --all: these exclude each other"),
        (["file"], "file"),
        (["file/below"], "the file cannot be written\n  found:    Not a directory"),
        (["--template", ""], ""),
    ],
)
def test_what_cannot_be_is_one_error(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file, no folder")
    status = run_cli(["init", *words])
    printed = capsys.readouterr().err
    assert status == (2 if said else 0), printed
    assert said in printed


@pytest.mark.slow
def test_the_demo_compares_the_two_kernels_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = api.compare

    def short(base: Scenario, arms: Sequence[Arm], **words: Any) -> api.Compared:
        """The same with one seed and the first tenth of the traffic."""
        few = base.model_copy(update={"measure": base.measure.model_copy(update={"duration_ms": 12})})
        return whole(few, arms, **{**words, "seeds": words["seeds"][:1]})

    monkeypatch.setattr(api, "compare", short)
    monkeypatch.chdir(tmp_path)
    assert run_cli(["demo", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("seed: 6.10-rt against 6.9-rt\n")
    folder = tmp_path / "softnet-demo"
    assert {path.name for path in folder.iterdir()} == {"seed.toml", "captures", "report"}
    assert "softnet compare softnet-demo/seed.toml --arm=6.9-rt" in (folder / "report" / "report.html").read_text()
