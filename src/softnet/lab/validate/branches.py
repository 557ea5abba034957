# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way the model's own functions went: every ``if``, ``while`` and conditional of theirs, by source line.

The functions are compiled once more with each test noted as it is evaluated. What was noted while a state was being
tried belongs to that state, and counts only if the trace goes on from it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softnet.lang.program.layout import ENGINE_STRUCT
from softnet.lang.python.text import compiled

# The functions whose decisions a trace can show; what the machine and the protocols decide is not softnet's.
FOLLOWED = (
    "skb_attempt_defer_free", "kick_defer_list_purge", "trigger_rx_softirq", "skb_defer_free_flush", "queue_work_on",
    "insert_work", "smp_call_function_single_async", "generic_exec_single", "get_rps_cpu", "enqueue_to_backlog",
    "skb_flow_limit", "napi_schedule_rps", "____napi_schedule", "net_rps_send_ipi", "net_rps_action_and_irq_enable",
    "rps_trigger_softirq", "process_backlog", "__napi_poll", "net_rx_action", "raise_softirq_irqoff", "wakeup_softirqd",
    "should_wake_ksoftirqd", "ksoftirqd_running", "invoke_softirq", "irq_exit_rcu",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Branch:
    """One test: the kernel function, the model's file and line, the test's text, where the kernel has the function."""

    function: str
    file: str
    line: int
    test: str
    source: str

    @property
    def place(self) -> str:
        """``dev_backlog.py:244``, from ``softnet/linux`` on."""
        return f"{self.file}:{self.line}"


class _Note(ast.NodeTransformer):
    """Every test becomes ``__branch(number, test)``."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.tests: list[tuple[int, str]] = []

    def _noted(self, test: ast.expr) -> ast.expr:
        if isinstance(test, ast.Constant) or _is_config(test):
            return test
        number = self.first + len(self.tests)
        # As text, now: what is compiled is changed further.
        self.tests.append((test.lineno, ast.unparse(test)))
        call = ast.Call(ast.Name("__branch", ast.Load()), [ast.Constant(number), test], [])
        return ast.copy_location(call, test)

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._noted(node.test)
        self.generic_visit(node)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        node.test = self._noted(node.test)
        self.generic_visit(node)
        return node


def _is_config(test: ast.expr) -> bool:
    """Whether this asks for the kernel's configuration, which no trace can change."""
    node = test.operand if isinstance(test, ast.UnaryOp) else test
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "IS_ENABLED"


class Branches:
    """The tests of an image's functions; ``taken`` are those evaluated since it was last emptied."""

    def __init__(self, program: Any, image: Any) -> None:
        self.all: list[Branch] = []
        self.taken: list[int] = []
        kernel = image.linked.kernel
        kernel["__branch"] = self._note
        for name in FOLLOWED:
            definition = program.functions.get(name)
            if definition is None:
                continue
            note = _Note(len(self.all))
            code = compiled(definition, image.layout.structs[ENGINE_STRUCT], note)
            if not note.tests:
                continue
            source = (definition.function.__doc__ or "").strip().splitlines()
            file = _short(definition.file)
            for line, test in note.tests:
                self.all.append(Branch(name, file, line, test, source[0] if source else ""))
            exec(code, kernel)  # noqa: S102 - a kernel function's own text
            image.linked.functions[image.linked.function_ids[name]] = kernel[name]

    def _note(self, number: int, value: Any) -> Any:
        self.taken.append(2 * number + bool(value))
        return value

    def take(self) -> tuple[int, ...]:
        """What was evaluated since the last call."""
        taken = tuple(self.taken)
        self.taken.clear()
        return taken

    def table(self, counts: dict[int, int]) -> list[dict[str, Any]]:
        """A row for each test, with how often it was true and false; never evaluated ones included."""
        return [
            {
                "function": branch.function, "place": branch.place, "test": branch.test, "source": branch.source,
                "true": counts.get(2 * number + 1, 0), "false": counts.get(2 * number, 0),
            }
            for number, branch in enumerate(self.all)
        ]  # fmt: skip


def _short(file: str) -> str:
    parts = Path(file).parts
    at = max((i for i, part in enumerate(parts) if part == "kernel" and parts[i - 1] == "softnet"), default=-1)
    return "/".join(parts[at + 1 :]) if at >= 0 else file


def merged(tables: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Tables of several traces added up: the same test of the same file and line is one row."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for table in tables:
        for row in table:
            key = (str(row["function"]), str(row["place"]), str(row["test"]))
            if key not in rows:
                rows[key] = {**row, "true": 0, "false": 0}
            rows[key]["true"] += row["true"]
            rows[key]["false"] += row["false"]
    return list(rows.values())
