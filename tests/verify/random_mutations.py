# SPDX-License-Identifier: GPL-2.0-or-later
"""Random mutations of shipped functions, searched reduced and not: whether something is found must not depend on that.

A mutation drops a statement, swaps two that follow each other, drops the calls of a lock and its unlock, or takes the mark or the
atomic off an access. One that the compiler refuses is none.
"""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass, replace
from pathlib import Path

from tests.mutation import function_text

from softnet.errors import SoftnetError
from softnet.verify.search import Limits, Outcome, search
from softnet.verify.standard import from_text
from softnet.verify.verdict import Verdict

_FREE = "kernel=6.12,resched=0,driver=free:1:2"
_IRQ = "kernel=6.12,resched=0,driver=irq:0:2"
_RPS = "kernel=6.12,rps=1,resched=0,driver=rps:0:2:1"
_TASK = "kernel=6.12,resched=0,driver=netif_rx:0,driver=irq:0"
FUNCTIONS = {
    "skb_attempt_defer_free": _FREE, "skb_defer_free_flush": _FREE, "kick_defer_list_purge": _FREE, "trigger_rx_softirq": _FREE,
    "enqueue_to_backlog": _TASK, "process_backlog": _IRQ, "net_rx_action": _IRQ, "napi_schedule_rps": _RPS, "netif_rx": _TASK,
    "____napi_schedule": _IRQ,
}  # fmt: skip
"""What is mutated, and the configuration in which it runs."""
LIMITS = Limits(states=400_000, memory_bytes=512 << 20)
LOCKS = {"spin_lock": "spin_unlock", "spin_lock_bh": "spin_unlock_bh", "local_irq_disable": "local_irq_enable",
         "local_bh_disable": "local_bh_enable", "backlog_lock_irq_disable": "backlog_unlock_irq_enable"}  # fmt: skip
WEAKER = {"cmpxchg": None, "test_and_set_bit": "__test_and_set_bit", "set_bit": "__set_bit", "clear_bit": "__clear_bit"}
HEAD = "# SPDX-License-Identifier: GPL-2.0-or-later\nfrom __future__ import annotations\n\nfrom softnet.lang import kfunc\n\n\n"


@dataclass
class Difference:
    """What both searches said."""

    seed: int
    about: str
    reduced: Outcome
    unreduced: Outcome

    @property
    def decided(self) -> bool:
        """Whether both came to an end."""
        return Verdict.INCONCLUSIVE not in (self.reduced.verdict, self.unreduced.verdict)

    @property
    def wrong(self) -> bool:
        """Whether one found something, and the other one nothing."""
        return self.decided and self.reduced.verdict is not self.unreduced.verdict


def _bodies(function: ast.FunctionDef) -> list[list[ast.stmt]]:
    """All sequences of statements, without docstrings."""
    return [
        body for node in ast.walk(function) for name in ("body", "orelse") if isinstance(body := getattr(node, name, None), list)
    ]


def _called(statement: ast.stmt) -> str:
    """The function that a statement calls, and does nothing else."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""


class _Weaker(ast.NodeTransformer):
    """Takes the mark off the access with that number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in WEAKER and name != "READ_ONCE":
            return node
        self.left -= 1
        if self.left != -1:
            return node
        if name == "READ_ONCE":
            return node.args[0]
        weaker = WEAKER[name]
        return ast.Call(ast.Name(weaker), node.args, []) if weaker else node


def mutated(seed: int) -> tuple[str, str, str]:
    """The text of a patch, what it changes, and in which function."""
    rng = random.Random(seed)
    name = rng.choice(list(FUNCTIONS))
    tree = ast.parse(function_text("6.12", name))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    if ast.get_docstring(function):
        del function.body[0]
    for body in _bodies(function):
        # What is only told, or paid for, is no part of a state.
        body[:] = [s for s in body if not _called(s).startswith(("trace_", "work"))] or ([ast.Pass()] if body else [])
    bodies = [body for body in _bodies(function) if body]
    how = rng.choice(("drop", "drop", "swap", "swap", "unlock", "weaken"))
    pairs = [(lock, LOCKS[lock]) for body in bodies for s in body if (lock := _called(s)) in LOCKS]
    if how == "unlock" and pairs:
        gone = rng.choice(pairs)
        for body in bodies:
            body[:] = [s for s in body if _called(s) not in gone] or [ast.Pass()]
    elif how == "weaken":
        tree = _Weaker(rng.randrange(4)).visit(tree)
    elif how == "swap" and any(len(body) > 1 for body in bodies):
        body = rng.choice([body for body in bodies if len(body) > 1])
        at = rng.randrange(len(body) - 1)
        body[at], body[at + 1] = body[at + 1], body[at]
    else:
        body = rng.choice(bodies)
        del body[rng.randrange(len(body))]
        if not body:
            body.append(ast.Pass())
    return HEAD + ast.unparse(ast.fix_missing_locations(tree)) + "\n", how, name


def compare(seed: int, folder: Path) -> Difference | None:
    """Search a mutation reduced and not; None for one that is refused."""
    text, how, name = mutated(seed)
    path = folder / f"mutation{seed}.py"
    path.write_text(text)
    config = from_text(FUNCTIONS[name], (str(path),))
    try:
        return Difference(seed, f"{how} in {name}()", search(config, LIMITS), search(replace(config, reduce=False), LIMITS))
    except SoftnetError:
        return None
