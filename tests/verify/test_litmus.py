# SPDX-License-Identifier: GPL-2.0-or-later
"""Litmus tests: the explorer reaches exactly what x86-TSO allows, and without store buffers what is sequentially consistent."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.litmus import TESTS, Litmus, allows, explored, patch_text, reachable

from softnet.lang.native.compile import available

native = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]
SMALL = [test for test in TESTS if len(test.threads) < 4]


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tests as a patch file."""
    path = tmp_path_factory.mktemp("litmus") / "litmus.py"
    path.write_text(patch_text())
    return path


def name_of(test: Litmus) -> str:
    """A test's name."""
    return test.name


@pytest.mark.parametrize("test", TESTS, ids=name_of)
def test_published_verdicts(test: Litmus) -> None:
    """The abstract machine that the explorer is compared with gives the published verdicts."""
    assert allows(reachable(test, tso=True), test.outcome) is test.tso
    assert allows(reachable(test, tso=False), test.outcome) is test.sc


class TestExplorer:
    """The explorer's outcomes are those, no more and no fewer."""

    pytestmark = native

    @pytest.mark.parametrize("test", TESTS, ids=name_of)
    def test_tso(self, test: Litmus, patch: Path) -> None:
        found = explored(test, patch, "tso")
        assert found == reachable(test, tso=True)
        assert allows(found, test.outcome) is test.tso

    @pytest.mark.parametrize("test", SMALL, ids=name_of)
    def test_sc(self, test: Litmus, patch: Path) -> None:
        assert explored(test, patch, "sc") == reachable(test, tso=False)

    @pytest.mark.parametrize("test", [t for t in TESTS if len(t.threads) == 2], ids=name_of)
    def test_without_the_reduction(self, test: Litmus, patch: Path) -> None:
        assert explored(test, patch, "tso", reduce=False) == reachable(test, tso=True)
