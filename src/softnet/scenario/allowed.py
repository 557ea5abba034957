# SPDX-License-Identifier: GPL-2.0-or-later
"""What a key may hold, in words, read from the JSON schema."""

from __future__ import annotations

import functools
from typing import Any

from softnet.scenario.locate import Path


@functools.cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a scenario file, as published in docs/scenario.schema.json."""
    from softnet.scenario.tables import Tables

    schema = Tables.model_json_schema()
    # A name that fits no pattern is an error too; pydantic says so when validating, not in its schema.
    schema["$defs"]["Kernel"]["properties"]["threads"]["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "softnet scenario",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """The definition that a ``$ref`` stands for, else the node itself."""
    while "$ref" in node:
        node = json_schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def options(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives of a node, without null: one for a plain node."""
    node = resolve(node)
    branches = node.get("anyOf") or node.get("oneOf") or [node]
    return [resolve(branch) for branch in branches if branch.get("type") != "null"]


def schema_at(path: Path, raw: Any) -> dict[str, Any]:
    """The schema node of a key, the notes of its declaration included; empty where there is none.

    ``raw`` is the document, needed to see which kind a list element is of.
    """
    node: dict[str, Any] = json_schema()
    for step in path:
        candidates = options(node)
        wanted = raw.get("kind") if isinstance(raw, dict) else None
        for candidate in candidates:
            const = candidate.get("properties", {}).get("kind", {}).get("const")
            if const is not None and const == wanted:
                candidates = [candidate]
        found = [child for child in (_child(candidate, step) for candidate in candidates) if child is not None]
        if not found:
            return {}
        node = found[0]
        if isinstance(raw, dict):
            raw = raw.get(step)
        elif isinstance(raw, list) and isinstance(step, int) and step < len(raw):
            raw = raw[step]
        else:
            raw = None
    return node


def _child(node: dict[str, Any], step: str | int) -> dict[str, Any] | None:
    if isinstance(step, int):
        prefix = node.get("prefixItems", [])
        child = prefix[step] if step < len(prefix) else node.get("items")
    else:
        child = node.get("properties", {}).get(step)
        if child is None:
            patterns = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
            child = next((pattern for pattern in patterns if isinstance(pattern, dict)), None)
    return child if isinstance(child, dict) else None


def keys_at(path: Path, raw: Any) -> list[str]:
    """The keys of the table at ``path``; empty where the path leads to no table."""
    item = raw
    for step in path:
        try:
            item = item[step]
        except (KeyError, IndexError, TypeError):
            item = None
    for option in options(schema_at(path, raw)):
        const = option.get("properties", {}).get("kind", {}).get("const")
        if const is None or (isinstance(item, dict) and item.get("kind") == const):
            return list(option.get("properties", {}))
    return []


def allowed_text(node: dict[str, Any]) -> str:
    """What a key may hold: ``an integer from 1 to 256``."""
    if "x-allowed" in node:
        return str(node["x-allowed"])
    texts = [_one(option) for option in options(node)]
    return " or ".join(dict.fromkeys(text for text in texts if text))


def _one(node: dict[str, Any]) -> str:
    if "x-allowed" in node:
        return str(node["x-allowed"])
    if "enum" in node:
        return "one of " + ", ".join(show(value) for value in node["enum"])
    if "const" in node:
        return show(node["const"])
    kind = node.get("type")
    if kind in ("integer", "number"):
        return _number(node, "an integer" if kind == "integer" else "a number")
    if kind == "array":
        items = node.get("items")
        return f"a list of {_plural(allowed_text(items))}" if isinstance(items, dict) else "a list"
    return {"boolean": "true or false", "string": "a text", "object": "a table"}.get(str(kind), "")


def _plural(text: str) -> str:
    for one, many in (
        ("an integer", "integers"),
        ("a number", "numbers"),
        ("a text", "texts"),
        ("a table", "tables"),
    ):
        if text.startswith(one):
            return many + text[len(one) :]
    return text


def _number(node: dict[str, Any], noun: str) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if high is None and "exclusiveMaximum" in node:
        high = node["exclusiveMaximum"] - 1
    above = node.get("exclusiveMinimum")
    parts = []
    if above is not None:
        parts.append(f"above {_figure(above)}")
    if low is not None and high is not None:
        return f"{noun} from {_figure(low)} to {_figure(high)}"
    if low is not None:
        parts.append(f"of at least {_figure(low)}")
    if high is not None:
        parts.append(f"up to {_figure(high)}")
    return " ".join([noun, " and ".join(parts)]) if parts else noun


def _figure(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def show(value: Any, limit: int = 70) -> str:
    """A value as TOML would write it, cut where it is long."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(show(item) for item in value[:40]) + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {show(item)}" for key, item in list(value.items())[:20]) + "}"
    else:
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
