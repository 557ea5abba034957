# SPDX-License-Identifier: GPL-2.0-or-later
"""The example for continuous integration: a series of two patches, judged; and the workflow that calls it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from softnet.lang.native.compile import available

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "examples" / "ci"


def series(folder: Path, *patches: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the script on patches of the examples."""
    for name in patches:
        shutil.copy(ROOT / "examples" / "patches" / name, folder)
    scenario = (ROOT / "examples" / "rps.toml").read_text()
    (folder / "scenario.toml").write_text(re.sub("duration_ms = .*", "duration_ms = 20", scenario))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = (
        os.environ | {"PATH": path, "VERIFY": "--driver free:1:2 --set defer_max=3", "SEEDS": "2", "KERNEL": "6.12"} | settings
    )
    return subprocess.run(
        ["sh", str(CI / "series.sh"), *patches], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason="no native engine here")
def test_a_series_is_judged_patch_by_patch(tmp_path: Path) -> None:
    """The first patch loses a kick, which verify finds; the second is judged on top of it."""
    done = series(tmp_path, "kick_at_max.py", "flush_when_dead.py", FAIL_IF="delivered < -50%")
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("== verify") == 2
    assert "lost kick" in done.stdout
    text = (tmp_path / "series.md").read_text()
    assert text.startswith("## ")
    assert "kick\\_at\\_max, flush\\_when\\_dead against base" in text
    cases = ET.parse(tmp_path / "series.xml").findall(".//testcase")
    assert [(case.get("name"), len(case)) for case in cases] == [("delivered < -50%", 0)] * 2
    assert (tmp_path / "series" / "report.html").exists()


def test_a_mistake_ends_it_with_its_own_status(tmp_path: Path) -> None:
    assert series(tmp_path).returncode == 2
    assert series(tmp_path, "kick_at_max.py", KERNEL="6.13").returncode == 2


def test_the_workflow_calls_the_script_that_is_there() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML, which the cluster's extra brings")
    workflow = yaml.safe_load((CI / "series.yml").read_text())
    steps = workflow["jobs"]["series"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[:2] == ['pip install "$SOFTNET"', "sh series.sh patches/*.py"]
    script = (CI / "series.sh").read_text()
    (judged,) = [step for step in steps if step.get("env")]
    assert all(f"${{{name}:-" in script for name in judged["env"])
    assert all(name in script for name in ("series.md", "series.xml"))
