# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiling real kernels: what the cache's key depends on, what explain shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.image.costnames import cost_names
from softnet.lang import ir
from softnet.lang.check.subset import typed_program
from softnet.lang.lowering.lower import lower_program, reachable
from softnet.lang.native.compile import Options, cache_key
from softnet.lang.native.llvm import suspending_functions
from softnet.lang.program.digest import program_digest
from softnet.lang.program.layout import Layout
from softnet.lang.program.program import Program, StructDef
from softnet.lang.python.stop import KernelStop
from softnet.scenario import apply_kernel, load_scenario, scenario_from_dict
from softnet.simulate.explain import explain_function, list_functions, lowered
from softnet.simulate.program import load_program
from softnet.simulate.simulation import Simulation
from softnet.trace import EVENT_ID

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
HEAD = """# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang import BUG_ON, kfunc


"""
PATCH = HEAD + "@kfunc\ndef usecs_to_jiffies(u: int) -> int:\n    return u // 1000\n"


def program(kernel: str, *patches: str):
    scenario = scenario_from_dict(apply_kernel({"name": "x", "measure": {"duration_ms": 1}}, kernel))
    return load_program(scenario, patches)


def key(kernel: str, *patches: str, options: Options | None = None) -> str:
    return cache_key(program(kernel, *patches), {}, EVENT_ID, options or Options())


def test_the_key_knows_what_decides_the_code(tmp_path: Path) -> None:
    patch = tmp_path / "change.py"
    patch.write_text(PATCH)
    plain = key("6.12")
    assert key("6.12") == plain
    patched = key("6.12", str(patch))
    other = tmp_path / "elsewhere" / "change.py"
    other.parent.mkdir()
    other.write_text(PATCH)
    assert key("6.12", str(other)) == patched, "the same text in another folder is the same kernel"
    other.write_text(PATCH.replace("1000", "1001"))
    keys = [
        plain,
        patched,
        key("6.12", str(other)),
        key("6.12-rt"),
        key("6.9"),
        key("6.12", options=Options(checked=True)),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.slow
def test_every_function_of_every_kernel_is_lowered_soundly() -> None:
    for kernel in ("6.1", "6.9-rt", "6.10", "6.12", "6.12-rt"):
        module, _ = lowered(kernel, ())
        for function in module.functions.values():
            check_function(module, function)
        # These return by an indirect jump; a machine function among them would mean that one can lose the CPU.
        suspending = suspending_functions(module)
        assert all(module.functions[name].kind == "kfunc" for name in suspending)
        assert {"spin_lock", "net_rx_action", "irq_context"} <= suspending
        assert "list_empty" not in suspending


def check_function(module: ir.Module, function: ir.Function) -> None:
    """Temps are defined once and used in their block; every block ends; everything named exists."""
    labels = {block.label for block in function.blocks}
    assert len(labels) == len(function.blocks)
    assert reachable(function.blocks) == function.blocks
    defined: set[ir.Temp] = set()
    for block in function.blocks:
        here: set[ir.Temp] = set()
        assert block.end is not None
        for instr in [*block.body, block.end]:
            for name in instr.__slots__ if hasattr(instr, "__slots__") else ():
                value = getattr(instr, name)
                if name == "to" and value is not None:
                    assert value not in defined
                    continue
                for operand in value if isinstance(value, tuple) else [getattr(value, "address", value)]:
                    assert not isinstance(operand, ir.Temp) or operand in here, (function.name, instr)
            to = getattr(instr, "to", None)
            if to is not None:
                here.add(to)
                defined.add(to)
            if isinstance(instr, ir.Call):
                assert len(module.functions[instr.function].params) == len(instr.args)
            if isinstance(instr, ir.Get | ir.Set):
                assert instr.local in function.locals
        if isinstance(block.end, ir.Jump):
            assert block.end.target in labels
        elif isinstance(block.end, ir.Branch):
            assert {block.end.yes, block.end.no} <= labels
        else:
            assert (block.end.value is not None) == function.returns or block.end.value is None


@pytest.mark.slow
def test_native_code_knows_every_pointer_that_boot_stores() -> None:
    known: dict[str, set[str]] = {}
    everywhere: set[str] = set()
    entries: set[str] = set()
    cases = [(path.name, "") for path in sorted(EXAMPLES.glob("*.toml"))]
    for name, kernel in [
        *cases,
        ("seed.toml", "6.9"),
        ("rps.toml", "6.1-rt"),
        ("threaded-napi.toml", "6.12-rt"),
        ("rps.toml", "6.12-threads"),
    ]:
        scenario = load_scenario(EXAMPLES / name, [f"kernel={kernel}"] if kernel else [])
        image = Simulation(scenario, engine="reference").image
        names = {number: name for name, number in image.linked.function_ids.items()}
        stored = {names[image.memory[at]] for at in function_pointers(image.layout) if image.memory[at]}
        key = program_digest(image.program)
        if key not in known:
            known[key] = lowered_pointers(image.program)
        assert stored <= known[key], f"{name} {kernel}"
        everywhere |= stored
        entries |= set(image.program.pointed or ())
    assert everywhere >= entries, "declared with entry=True, and nothing stores it"


def lowered_pointers(program: Program) -> set[str]:
    """Functions that native code can call through a pointer."""
    costs = {name: i for i, name in enumerate(cost_names(program))}
    return lower_program(typed_program(program), costs, EVENT_ID).pointed


def function_pointers(layout: Layout) -> Iterator[int]:
    """The addresses of all words that hold a function pointer."""

    def fields(struct: StructDef, base: int) -> Iterator[int]:
        for f in struct.fields.values():
            if f.embedded:
                inner = layout.structs[f.type]
                for i in range(f.count):
                    yield from fields(inner, base + f.offset + i * inner.size)
            elif f.type == "fnptr":
                yield from range(base + f.offset, base + f.offset + f.count)

    for name, table in layout.tables.items():
        one = list(fields(layout.structs[name], 0))
        yield from (table.base + i * table.stride + at for i in range(table.count) for at in one)


@pytest.mark.slow
def test_explain_shows_lines_interactions_and_costs() -> None:
    text = explain_function("6.10", (), "kick_defer_list_purge")
    assert "cmpxchg softnet_data.defer_ipi_scheduled" in text
    assert ">> interaction: softnet_data.defer_ipi_scheduled" in text
    source = Path(text.splitlines()[0].rpartition(", ")[2].rpartition(":")[0]).read_text().splitlines()
    for line in text.splitlines():
        number, bar, code = line.partition(" | ")
        if bar and number.strip().isdigit():
            assert source[int(number) - 1].rstrip() == code.rstrip()
    assert " ns)" in explain_function("6.12", (), "ip_rcv")


@pytest.mark.slow
def test_explain_shows_fields_calls_and_definitions() -> None:
    text = explain_function("6.10", (), "kick_defer_list_purge")
    rows = {line.split()[0]: line.split()[1:] for line in text.partition("\n\nFields")[2].splitlines() if line.startswith("  ")}
    fields, calls = rows["softnet_data.defer_ipi_scheduled"], rows["rps_lock_irqsave"]
    assert fields[0] == "shared"
    assert fields[3] == "atomic"
    assert calls[:4] == ["kfunc", "may", "lose", "the"]
    assert "enqueue_to_backlog" not in rows
    overridden = explain_function("6.12", (), "skb_attempt_defer_free").partition("in force:\n")[2].splitlines()
    assert overridden[0].strip() == "softnet.linux.net.core.skbuff"
    assert overridden[1].strip().startswith("softnet.linux.patches.")


def test_explain_of_what_is_not_there() -> None:
    with pytest.raises(SoftnetError, match="no such kernel function") as caught:
        explain_function("6.12", (), "kick_defer_list_purg")
    assert caught.value.expected == "kick_defer_list_purge"


def test_list_has_every_function() -> None:
    assert "net_rx_action " in list_functions("6.12", ())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_patch_that_is_edited_and_loaded_again_is_the_new_one(tmp_path: Path, engine: str) -> None:
    file = tmp_path / "change.py"
    text = HEAD + "@kfunc\ndef usecs_to_jiffies(u: int) -> int:\n    BUG_ON(u {} 0)\n    return u // 1000\n"
    scenario = load_scenario(EXAMPLES / "rps.toml", ["measure.duration_ms=1", "measure.warmup_ms=0"])
    file.write_text(text.format(">="))
    with pytest.raises(KernelStop, match=r"change\.py:9"):
        Simulation(scenario, engine=engine, patches=[str(file)]).finish()
    file.write_text("# one line more\n" + text.format("<"))
    Simulation(scenario, engine=engine, patches=[str(file)]).finish()
