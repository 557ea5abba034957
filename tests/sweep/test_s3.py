# SPDX-License-Identifier: GPL-2.0-or-later
"""Results at an address of S3: a server of its protocol (moto's), asked over HTTP through s3fs as any other would be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sweep.conftest import VARY
from tests.sweep.test_sweep import FILES, Counted, asked, files

from softnet.cli import run_cli
from softnet.sweep import api, remote

GIVEN: dict[str, Any] = {"vary": VARY[:1], "seeds": 2, "settings": ("measure.duration_ms=1",)}
BUCKET = "softnet"


class Lost(BaseException):
    """The machine is lost: nothing of softnet's may hold this back."""


def lost(*_: object) -> None:
    raise Lost


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install softnet[s3]")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install softnet[s3]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server, with one bucket, as a user's environment says where it is."""
    import s3fs

    words = {"ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
    for name, value in words.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    # The bucket is another client's: what it knows of the server, the one that is tested does not.
    there = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if not there.exists(BUCKET):
        there.mkdir(BUCKET)
    yield there
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_a_bucket_has_the_files_of_the_folder_and_another_machine_goes_on_there(
    s3: Any, scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PUBLISH_RUNS", 3)
    address = f"s3://{BUCKET}/of/a/team"
    # A machine is lost with one run that it has not told: the journal stands there already, with the others.
    with monkeypatch.context() as patch:
        patch.setattr(api, "write_results", lost)
        with pytest.raises(Lost):
            api.sweep(asked(scenario, **GIVEN), tmp_path / "lost", processes=1, store=address)
    assert [name.rpartition("/")[2] for name in s3.find(f"{BUCKET}/of")] == ["runs.journal"]
    counted = Counted(monkeypatch)
    done = api.sweep(asked(scenario, **GIVEN), tmp_path / "another", processes=1, store=address)
    assert (counted.runs, done.reused) == (1, 3)

    api.sweep(asked(scenario, **GIVEN), tmp_path / "alone", processes=1)
    stored = {name.rpartition("/")[2]: s3.cat_file(name) for name in s3.find(f"{BUCKET}/of")}
    assert sorted(stored) == sorted(["runs.journal", *FILES]), "nothing under another name is left"
    assert {name: stored[name] for name in FILES} == files(tmp_path / "alone")
    assert run_cli(["query", address, "select count(*) as n from runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 4}]
    assert api.load(address).equals(api.load(tmp_path / "alone"))


@pytest.mark.parametrize("address", ["s3://misspelt", "s3://misspelt/place"])
def test_a_bucket_that_is_not_there_is_one_message_and_is_not_made(
    address: str, s3: Any, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenario.parent)
    counted = Counted(monkeypatch)
    assert run_cli(["sweep", scenario.name, f"--vary={VARY[0]}", "--out=out", f"--store={address}"]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[:2] == [
        f"softnet: {address}: the store cannot be used",
        "  found:    The specified bucket does not exist",
    ]
    assert (printed.out, counted.runs, Path("out").exists(), s3.exists("misspelt")) == ("", 0, False, False)
