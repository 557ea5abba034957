# SPDX-License-Identifier: GPL-2.0-or-later
"""Where results go: what is the user's stays, whatever it is called; what is softnet's appears whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.files import atomic, scratch_folder, write_whole
from softnet.simulate.api import trace_names
from softnet.simulate.output import LIST, OutputFolder

RESULT = ("result.json", "report.html", "trace.softnet.gz", "perfetto.pftrace.gz")


def write(out: Path, text: str = "new", names: tuple[str, ...] = RESULT, **how: object) -> OutputFolder:
    with OutputFolder(out, **how) as folder:  # type: ignore[arg-type]
        for name in names:
            (folder.path / name).parent.mkdir(exist_ok=True)
            (folder.path / name).write_text(text, encoding="utf-8")
    return folder


def everything(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file() and p.name != LIST}


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("name", [*RESULT, "comparison.json", "trace-A.softnet.gz", LIST, "thesis.tex", "refused-me.html"])
def test_a_file_of_the_users_survives_whatever_it_is_called(name: str, add: bool, tmp_path: Path) -> None:
    """The command that deleted: a folder with a result.json that softnet had not written was softnet's to replace."""
    out = tmp_path / "out"
    out.mkdir()
    for mine in {name, "thesis.tex"}:
        (out / mine).write_text("{}", encoding="utf-8")
    if add and name not in RESULT and name != LIST:
        write(out, add=True)
    else:
        with pytest.raises(SoftnetError):
            write(out, add=add)
    for mine in {name, "thesis.tex"}:
        assert (out / mine).read_text(encoding="utf-8") == "{}"
    assert not [path for path in out.iterdir() if path.name.startswith(".softnet-") and path.name != LIST]


@pytest.mark.parametrize(
    "told",
    [{}, [], {"softnet": "files", "complete": True, "files": {"thesis.tex": "x", "../thesis.tex": "x", "/etc/passwd": ""}},
     {"softnet": "files", "files": []}, {"softnet": "files", "files": {"thesis.tex": 1}}],
)  # fmt: skip
def test_a_list_that_is_made_up_gives_nothing_away(told: object, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for mine in (out / "thesis.tex", tmp_path / "thesis.tex"):
        mine.write_text("years", encoding="utf-8")
    (out / LIST).write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(SoftnetError):
        write(out)
    assert (out / "thesis.tex").read_text(encoding="utf-8") == (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "years"


def test_what_softnet_wrote_is_replaced_and_what_came_later_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old", ("result.json", "trace-A.softnet.gz"))
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    (out / "more").mkdir()
    (out / "more" / "result.json").write_text("mine", encoding="utf-8")
    write(out, "new", ("result.json", "trace-B.softnet.gz"))
    assert everything(out) == {"result.json": "new", "trace-B.softnet.gz": "new", "notes.txt": "mine", "more/result.json": "mine"}


def test_what_was_changed_since_is_the_users(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old")
    (out / "report.html").write_text("with my notes", encoding="utf-8")
    for names in (("result.json", "report.html"), ("result.json",)):
        with pytest.raises(SoftnetError) as caught:
            write(out, names=names)
        assert "report.html" in caught.value.found
    assert everything(out)["report.html"] == "with my notes"
    assert everything(out)["result.json"] == "old"


def test_a_name_that_is_taken_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "6.12.json").write_text("mine", encoding="utf-8")
    (tmp_path / "load").write_text("mine", encoding="utf-8")
    OutputFolder(tmp_path, add=True, names=["6.12-rt.json"])
    for name in ("6.12.json", "load/6.12.json"):
        with pytest.raises(SoftnetError):
            OutputFolder(tmp_path, add=True, names=[name])
        with pytest.raises(SoftnetError):
            write(tmp_path, add=True, names=(name, "other.json"))
    assert everything(tmp_path) == {"6.12.json": "mine", "load": "mine"}


def test_a_file_that_comes_during_the_work_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def meanwhile() -> None:
        with OutputFolder(out, names=["result.json"]) as folder:
            (folder.path / "result.json").write_text("new", encoding="utf-8")
            (out / "result.json").write_text("mine", encoding="utf-8")

    with pytest.raises(SoftnetError):
        meanwhile()
    assert everything(out) == {"result.json": "mine"}


def test_adding_keeps_what_was_there_but_for_what_is_renewed(tmp_path: Path) -> None:
    write(tmp_path, "old", ("refused-a.html", "a.json", "first/6.12.json"), add=True)
    (tmp_path / "refused-mine.html").write_text("mine", encoding="utf-8")
    write(tmp_path, "new", ("refused-b.html", "first/6.12-rt.json"), add=True, renews="refused-*.html")
    assert everything(tmp_path) == {
        "refused-b.html": "new",
        "refused-mine.html": "mine",
        "a.json": "old",
        "first/6.12.json": "old",
        "first/6.12-rt.json": "new",
    }


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one(there: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.mkdir()
    link.symlink_to("target")
    for text in ("old", "new"):
        write(link, text)
    assert link.is_symlink()
    assert everything(target)["result.json"] == "new"
    page, page_link = tmp_path / "page.html", tmp_path / "page"
    page_link.symlink_to("page.html")
    for text in (b"old", b"new"):
        with atomic(page_link) as stream:
            stream.write(text)
    assert (page_link.is_symlink(), page.read_bytes()) == (True, b"new")


def test_a_failure_leaves_nothing_and_an_old_result_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"

    def fail() -> None:
        with OutputFolder(out) as folder:
            (folder.path / "result.json").write_text("new", encoding="utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
    write(out, "old")
    with pytest.raises(ZeroDivisionError):
        fail()
    assert set(everything(out).values()) == {"old"}
    assert sorted(path.name for path in out.iterdir()) == sorted([LIST, *RESULT])


def test_a_device_is_written_and_not_replaced(tmp_path: Path) -> None:
    with atomic("/dev/null") as stream:
        stream.write(b"x" * 1000)
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        with atomic(pipe) as stream:
            stream.write(b"through")
        assert reader.communicate()[0] == b"through"
    assert pipe.is_fifo()


def test_a_files_permissions_stay_and_a_new_one_has_the_umasks(tmp_path: Path) -> None:
    secret, plain = tmp_path / "secret", tmp_path / "plain"
    secret.write_bytes(b"old")
    secret.chmod(0o600)
    umask = os.umask(0o027)
    try:
        for path in (secret, plain):
            write_whole(path, b"new")
    finally:
        os.umask(umask)
    assert (secret.stat().st_mode & 0o777, plain.stat().st_mode & 0o777) == (0o600, 0o640)


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_file_appears_whole_or_not_at_all(unnamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file system knows no files without a name."""
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "file"

    def fail(there: bool) -> None:
        with atomic(path) as stream:
            stream.write(b"half")
            stream.flush()
            assert path.exists() == there
            raise ZeroDivisionError

    for old in (None, b"old"):
        if old:
            path.write_bytes(old)
        with pytest.raises(ZeroDivisionError):
            fail(old is not None)
        assert [p.read_bytes() for p in tmp_path.iterdir()] == ([old] if old else [])
        with atomic(path) as stream:
            stream.write(b"whole")
        assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"whole"]
        path.unlink()


KILLED = """
import os, signal, sys
from pathlib import Path
from softnet.files import atomic, scratch_folder
from softnet.simulate.output import OutputFolder
out = Path(sys.argv[1])
with scratch_folder(out.parent) as scratch, atomic(out.parent / "page.html") as page:
    (scratch / "deep" / "er").mkdir(parents=True)
    page.write(b"half")
    page.flush()
    with OutputFolder(out) as folder:
        for name in ("result.json", "a/b c.json"):
            (folder.path / name).parent.mkdir(exist_ok=True)
            (folder.path / name).write_text("new")
        if sys.argv[2] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        place = folder._place
        def killed():
            if sys.argv[2] == "within":
                (folder.path / "result.json").replace(out / "result.json")
            os.kill(os.getpid(), signal.SIGKILL)
        folder._place = killed
"""


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("when", ["before", "committed", "within"])
def test_kill_9_leaves_nothing_half_done(when: str, old: bool, tmp_path: Path) -> None:
    """What was not committed is gone with every temporary folder; what was, comes to its place all the same."""
    out = tmp_path / "o u't" / "result"
    out.parent.mkdir()
    if old:
        write(out, "old", ("result.json", "trace-A.softnet.gz"))
        (out / "notes.txt").write_text("mine", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), when], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    _wait_for(lambda: not [p for p in tmp_path.rglob(".softnet-*") if p.name != LIST])
    _wait_for(lambda: old or when != "before" or not out.exists())
    expected = {"result.json": "new", "a/b c.json": "new"} if when != "before" else {}
    if old:
        expected |= {"notes.txt": "mine"}
        if when == "before":
            expected |= {"result.json": "old", "trace-A.softnet.gz": "old"}
    assert (everything(out) if out.exists() else {}) == expected
    assert not (out.parent / "page.html").exists()
    if when != "before":
        write(out, "newer", ("result.json",))
        assert everything(out) == {"result.json": "newer"} | ({"notes.txt": "mine"} if old else {})


def _wait_for(what: object) -> None:
    """Until it is so, or for ever: the test's own limit ends that."""
    assert callable(what)
    while True:
        with contextlib.suppress(FileNotFoundError):  # what goes while it is looked at
            if what():
                return
        os.sched_yield()


def test_a_scratch_folder_is_private_and_gone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "x").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_no_two_arms_write_one_file() -> None:
    """'A B' and 'A_B' did: both timelines were of one of them."""
    labels = ["A B", "A_B", "A/B", "a_b", "6.12-rt", "ä", "ö", "x" * 400, "x" * 401, "C"]
    names = trace_names(labels)
    assert len({name.lower() for name in names.values()}) == len(labels)
    assert names["6.12-rt"] == "trace-6.12-rt.softnet.gz"
    assert names["C"] == "trace-C.softnet.gz"
    assert max(map(len, names.values())) < 200
    assert trace_names(["A_B"]) == {"A_B": "trace-A_B.softnet.gz"}
