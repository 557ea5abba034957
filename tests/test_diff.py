# SPDX-License-Identifier: GPL-2.0-or-later
"""``softnet diff``: of two files of results what compare shows, of two kernels their source, of one of each an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.report.samples import comparison, result

from softnet.cli import main
from softnet.simulate.output import to_json

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.json and b.json, runs of 6.9-rt and 6.10-rt; the folder c with a comparison of both."""
    monkeypatch.chdir(tmp_path)
    for name, label, kicks in (("a", "6.9-rt", 400), ("b", "6.10-rt", 500)):
        Path(f"{name}.json").write_text(to_json(result(label, counters={"kicks": kicks}).to_dict()), encoding="utf-8")
    Path("c").mkdir()
    Path("c/comparison.json").write_text(to_json(comparison().to_dict()), encoding="utf-8")
    return tmp_path


def said(capsys: Captured, *args: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["diff", *args])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.mark.usefixtures("results")
def test_two_results(capsys: Captured) -> None:
    status, out, err = said(capsys, "a.json", "b.json", "--width", "80")
    assert (status, err) == (0, "")
    assert out.startswith("sample: 6.10-rt against 6.9-rt\n")
    assert max(map(len, out.splitlines())) <= 80
    status, out, _ = said(capsys, "a.json", "c", "--json")
    document = json.loads(out)
    assert (status, document["schema"]) == (0, "softnet-diff/1")
    assert [one["arms"] for one in document["comparisons"]] == [["a.json:6.9-rt", "c:6.9-rt"]]
    assert document["left_out"] == ["Only c has 6.10-rt."]


@pytest.mark.usefixtures("results")
def test_conditions(capsys: Captured, tmp_path: Path) -> None:
    assert said(capsys, "a.json", "b.json", "--fail-if", "kicks > 26%")[0] == 0
    status, _, err = said(capsys, "a.json", "b.json", "--fail-if", "kicks > +24%", "--junit", "j.xml")
    assert (status, err) == (1, "softnet: kicks > +24%: true of 6.10-rt: 500 against 400 of 6.9-rt, +25.0 %, within noise\n")
    assert 'failures="1"' in Path("j.xml").read_text(encoding="utf-8")
    assert said(capsys, "c", "c", "--fail-if", "kicks != 0%")[0] == 0


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("a.json", "6.12"), "one is a file of results, the other is not"),
        (("a.json", "nothing"), "one is a file of results, the other is not"),
        (("a.json", "nothing.json"), "the stored result cannot be read"),
        (("a.json", "b.json", "--patch", "x.py"), "a patch is for kernels"),
        (("6.9", "6.10", "--fail-if", "kicks > 0"), "two kernels have no figures"),
        (("6.9", "6.10", "--json"), "two kernels have no figures"),
        (("6.9", "nothing"), "unknown kernel"),
        (("a.json", "b.json", "--fail-if", "x > 0"), "an unknown measure"),
    ],
)
def test_what_does_not_go_together(args: tuple[str, ...], message: str, capsys: Captured) -> None:
    status, _, err = said(capsys, *args)
    assert status == 2
    assert message in err


@pytest.mark.usefixtures("results")
def test_two_kernels(capsys: Captured) -> None:
    Path("6.9").write_text("a file of this name changes nothing", encoding="utf-8")
    status, out, _ = said(capsys, "6.9", "6.9")
    assert (status, out) == (0, "# 6.9 -> 6.9\n")
