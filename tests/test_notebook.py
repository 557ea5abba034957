# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/notebook.ipynb runs from its first cell to its last, and its cells show what the text says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.report.samples import comparison, result

from softnet.errors import SoftnetError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def test_no_output_is_kept() -> None:
    """What a cell prints belongs to the machine and the day on which it ran."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    for outputs in shown:
        assert not any(output["output_type"] == "error" for output in outputs)
    told = [" ".join(output.get("data", {})) + output.get("text", "") for outputs in shown for output in outputs]
    assert sum("image/svg+xml" in text for text in told) == 2
    assert sum("text/html" in text for text in told) >= 4
    assert told[-1].startswith("holds ['")


def _shown(cell: Any) -> list[Any]:
    outputs: list[Any] = cell.outputs
    return outputs


# -- what its cells show


def test_a_picture_is_a_whole_file_of_svg(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    both = comparison()
    picture = both.plot()
    svg = ET.fromstring(picture.svg)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"web", "6.9-rt", "6.10-rt"} <= set(texts)
    assert "percentile" in svg.attrib["aria-label"]
    picture.save(str(tmp_path / "web.svg"))
    assert (tmp_path / "web.svg").read_text(encoding="utf-8") == picture.svg
    assert both.plot("web", kind="histogram").svg != picture.svg
    assert ET.fromstring(result('<a "b">&').plot().svg) is not None
    for arguments, message in ((("dns",), "no samples to draw"), (("web", "pie"), "no such kind of chart")):
        with pytest.raises(SoftnetError, match=message):
            both.plot(*arguments)


def test_short_and_html_representations() -> None:
    both, one = comparison(), result("<6.12>")
    assert repr(one) == "Result(sample, <6.12>, seed 1: 5,000 packets delivered, 0 dropped)"
    assert repr(both) == "Comparison(sample: 6.9-rt, 6.10-rt; 3 seeds)"
    assert "&lt;6.12&gt;" in one._repr_html_()
    assert "<6.12>" not in one._repr_html_()
    assert "What 6.10-rt changes against 6.9-rt" in both._repr_html_()
    assert both._repr_html_().count("<table>") == 1
