# SPDX-License-Identifier: GPL-2.0-or-later
"""Own times out of function graph traces, cost tables out of own times, and a prediction held against a kernel."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest
from tests.long import long_only

from softnet.lab.errors import LabError
from softnet.lab.play.arm import GuestArm, guest_arm
from softnet.lab.play.run import GuestOptions
from softnet.lab.studies import calibrate
from softnet.lab.studies.calibrate import Fitted, Overhead
from softnet.lab.tracing import graph
from softnet.lab.tracing.graph import Call
from softnet.lab.vm.kernels import Kernel
from softnet.lab.vm.qemu import Bounds
from softnet.machine.costtable import load_cost_table
from softnet.scenario import scenario_from_dict

FIXTURE = Path(__file__).parent / "fixtures" / "graph-6.12.json.gz"


def _real_calls() -> list[Call]:
    told = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    blobs = {name: base64.b64decode(data) for name, data in told["blobs"].items()}
    return graph.calls(blobs, told["page_bytes"])


def test_a_real_trace_gives_calls_inside_their_callers() -> None:
    calls = _real_calls()
    assert len(calls) > 300
    for call in calls:
        assert call.start_ns < call.end_ns
        at = call.start_ns
        for child in sorted(call.children, key=lambda each: each.start_ns):
            assert at <= child.start_ns <= child.end_ns <= call.end_ns
            at = child.end_ns
        assert 0 < call.own_ns <= call.whole_ns
    sends = [call for call in calls if call.name == "udp_sendmsg"]
    assert sends
    assert all({"__alloc_skb", "__dev_queue_xmit"} <= {child.name for child in call.children} for call in sends)
    # Instructions are counted: the same call takes the same time.
    leaves = [call.whole_ns for call in calls if call.name == "smp_call_function_single_async"]
    assert len(leaves) >= 5
    assert max(leaves) - min(leaves) <= 10


def _traced(name: str, own_ns: int, cost: Overhead, children: list[Call], at: int = 0) -> Call:
    """A call as the tracer would record it: its own time, its children's, and what tracing adds."""
    whole = cost.inside_ns + own_ns + sum(child.whole_ns + cost.outside_ns for child in children)
    return Call(name, 0, at, at + whole, children)


def _sends(cost: Overhead, traced_inside: bool) -> list[Call]:
    calls: list[Call] = []
    for size in (0, 1200) * 30:
        leaf = _traced("enqueue_to_backlog", 0, cost, [])
        inner = _traced("__dev_queue_xmit", 300, cost, [leaf])
        if traced_inside:
            calls += [leaf, inner, _traced("udp_sendmsg", 2000 + size, cost, [inner])]
        else:
            calls.append(_traced("udp_sendmsg", 2000 + size + 300, cost, []))
    return calls


def test_what_tracing_costs_is_taken_off() -> None:
    cost = Overhead(700, 640)
    many, alone = _sends(cost, traced_inside=True), _sends(cost, traced_inside=False)
    assert calibrate.overhead(many, alone) == cost
    times = calibrate.own_times(many, cost)
    assert set(times["__dev_queue_xmit"]) == {300}
    assert (times["udp_sendmsg"][0], times["udp_sendmsg"][-1]) == (2000, 3200)
    with pytest.raises(LabError, match="too few calls"):
        calibrate.overhead(many[:30], alone)


def test_rows_say_where_they_are_from_and_the_rest_keeps_its_source(tmp_path: Path) -> None:
    cost = Overhead(700, 640)
    rows = calibrate.function_rows(calibrate.own_times(_sends(cost, traced_inside=True), cost), "Linux 9")
    assert [row.name for row in rows] == ["dev_queue_xmit", "enqueue_to_backlog"]
    path = tmp_path / "table.toml"
    more = Fitted("ipi", 1234, "fitted", "Linux 9")
    path.write_text(
        calibrate.table_text([*rows, more, Fitted("copy_to_user", 1000, "fitted", "x", per_byte=True)], "mine", "a test")
    )
    table, base = load_cost_table(str(path)), load_cost_table("default")
    assert table.rows["dev_queue_xmit"].ns == 300
    assert table.rows["dev_queue_xmit"].provenance == "fitted"
    assert "median of 60 calls" in table.rows["dev_queue_xmit"].source
    assert "Linux 9" in table.rows["dev_queue_xmit"].source
    assert (table.rows["ipi"].section, table.rows["ipi"].ns) == ("machine", 1234)
    assert table.rows["copy_to_user"].ps_per_byte == 1000
    assert table.rows["tcp_recvmsg"] == base.rows["tcp_recvmsg"]
    assert "tcp_recvmsg" in path.read_text().split("Not fitted")[1].splitlines()[0]


def test_every_row_that_is_fitted_is_one_that_the_model_uses() -> None:
    known = set(load_cost_table("default").rows)
    assert set(calibrate._ROWS) <= known
    assert calibrate._NOT_IN_A_GUEST.keys() | calibrate._NO_CACHES.keys() <= known


def test_the_model_runs_the_kernel_of_the_arm(tmp_path: Path) -> None:
    def kernel_of(release: str, config: str, boot_args: tuple[str, ...] = ()) -> tuple[str, str, bool]:
        (tmp_path / "config").write_text(config)
        kernel = Kernel("k", release, tmp_path / "vmlinuz", None, {})
        made = calibrate.model_scenario(calibrate.experiments(), GuestArm("k", boot_args=boot_args, image=kernel), "default").kernel
        assert "idle=halt" in made.boot_args
        return made.release, made.flavour, made.backlog_threads

    assert kernel_of("6.1.0-56-rt-amd64", "CONFIG_PREEMPT_RT=y\n") == ("6.1", "rt", False)
    assert kernel_of("6.12.9-amd64", "") == ("6.12", "plain", False)
    assert kernel_of("6.12.9-amd64", "", ("thread_backlog_napi",)) == ("6.12", "plain", True)
    with pytest.raises(LabError, match="no such release"):
        kernel_of("5.10.0-1-amd64", "")


@long_only
@pytest.mark.kernel
@pytest.mark.usefixtures("guest")
def test_counts_of_a_quiet_scenario_are_predicted_to_the_last_one() -> None:
    from softnet.lab.studies.scenario_prediction import predict

    scenario = scenario_from_dict(
        {
            "name": "quiet",
            "machine": {"cpus": 3},
            "nic": [{"name": "eth0", "irq_cpus": [0], "rps_cpus": [2]}],
            "traffic": [{"kind": "constant", "rate_pps": 200, "flows": 8, "proto": "tcp", "dst_ports": [80],
                         "sizes": [[590, 1]], "start_ms": 30, "stop_ms": 150}],
            "application": [{"name": "web", "cpu": 1, "dst_ports": [80]}],
            "measure": {"duration_ms": 180},
        }
    )  # fmt: skip
    told = predict(
        guest_arm("6.12", say=lambda text: None),
        scenario,
        "default",
        options=GuestOptions("icount", Bounds(600, 900)),
        say=lambda text: None,
    )
    rows = {row.name: (row.predicted, row.measured) for row in told.rows if row.unit == ""}
    for name in ("packets received", "defer_attempts", "ipis_rps", "backlog_polls"):
        assert rows[name] == (24, 24), name
    assert rows["net_rx_raises"] == (48, 48)
    assert {row.name for row in told.rows} >= {"web p50", "web p99"}
    assert all(row.measured > 0 for row in told.rows if row.unit == "ns")
