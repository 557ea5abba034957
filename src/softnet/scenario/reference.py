# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference of every key in docs/scenario.md and the published schema, made from the models.

``python -m softnet.scenario.reference``, run in the checkout, writes both anew; a test holds them current.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, Final

from softnet.scenario.allowed import allowed_text, json_schema, show
from softnet.scenario.fields import CPU_LIST_ALLOWED, CPU_MASK_ALLOWED, FIGURE, NAME_ALLOWED, SCHED_ALLOWED, UNITS_WRITTEN

DOCUMENT: Final = "docs/scenario.md"
SCHEMA_FILE: Final = "docs/scenario.schema.json"
BEGIN: Final = "<!-- reference: begin (python -m softnet.scenario.reference) -->"
END: Final = "<!-- reference: end -->"

#: The tables in the order of the document, with the model of each.
TABLES: Final = (
    ("Top level", "Scenario"),
    ("[machine]", "Machine"),
    ("[machine.idle]", "Idle"),
    ("[[machine.idle.states]]", "IdleState"),
    ("[[machine.noise]]", "Noise"),
    ("[kernel]", "Kernel"),
    ("[kernel.sysctl]", "Sysctl"),
    ("[kernel.config]", "KernelConfig"),
    ("[kernel.threads]: one entry", "ThreadSetting"),
    ("[loopback]", "Loopback"),
    ("[[nic]]", "Nic"),
    ('[[traffic]] kind = "capture"', "CaptureTraffic"),
    ('[[traffic]] kind = "constant"', "ConstantTraffic"),
    ('[[traffic]] kind = "poisson"', "PoissonTraffic"),
    ('[[traffic]] kind = "onoff"', "OnOffTraffic"),
    ("[[application]]", "Application"),
    ("[[sender]]", "Sender"),
    ('[[task]] kind = "cyclictest"', "Cyclictest"),
    ('[[task]] kind = "hog"', "Hog"),
    ("[[event]]", "Event"),
    ("[measure]", "Measure"),
)
#: Kinds with the same keys as the one named, which the document does not repeat.
_SAME_KEYS: Final = {"PoissonTraffic": "constant", "OnOffTraffic": "constant"}


def schema_text() -> str:
    """The JSON Schema as it is published: figures may be texts with their units as well."""
    published = copy.deepcopy(json_schema())
    for table in (published, *published["$defs"].values()):
        for key, node in table.get("properties", {}).items():
            if node.get("x-unit") in UNITS_WRITTEN and "items" not in node:
                table["properties"][key] = _or_text(node)
    return json.dumps(published, indent=1, ensure_ascii=False) + "\n"


def _or_text(node: dict[str, Any]) -> dict[str, Any]:
    """A number, or the same as a text."""
    of_number = {key: value for key, value in node.items() if key in _OF_A_NUMBER}
    kinds = node.get("anyOf") or [of_number]
    rest = {key: value for key, value in node.items() if key not in _OF_A_NUMBER and key != "anyOf"}
    return {"anyOf": [*kinds, {"type": "string", "pattern": f"^{FIGURE.pattern}$"}], **rest}


_OF_A_NUMBER: Final = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


#: What recurs among the values, as the tables write it and as an error message does.
_SHORT: Final = (
    ("*CPUs*", CPU_LIST_ALLOWED),
    ("*mask*", CPU_MASK_ALLOWED),
    ("*policy*", SCHED_ALLOWED),
    ("*name*", NAME_ALLOWED),
)
_PATTERNS: Final = (
    (r"\ban integer from (\S+) to (\S+)", r"\1..\2"),
    (r"\bintegers from (\S+) to (\S+)", r"\1..\2"),
    (r"\ba number from (\S+) to (\S+)", r"\1–\2"),
    (r"\ba number above 0 and up to (\S+)", r"above 0–\1"),
    (r"^one of ", ""),
    (r"^a (text|table|list of .*)$", r"\1"),
)
LEGEND: Final = (
    "`A..B` is an integer from A to B, `A–B` any number. "
    + "".join(f"{short}: {text}. " for short, text in _SHORT)
    + "What is in brackets behind a meaning says where the default is from."
)


def reference() -> str:
    """Every table of a scenario file as Markdown: key, values and default, meaning, whose default it is unless softnet's."""
    out: list[str] = [LEGEND, ""]
    shown: dict[str, Any] = {}
    for title, model in TABLES:
        node = json_schema() if model == "Scenario" else json_schema()["$defs"][model]
        properties = {key: value for key, value in node["properties"].items() if key != "kind" or "enum" in value}
        same = _SAME_KEYS.get(model)
        if same is None:
            shown = properties
        else:
            properties = {key: value for key, value in properties.items() if value != shown.get(key)}
        out += [f"### `{title}`", ""]
        if same is not None:
            out += [f'The keys of kind = "{same}"' + (", and:" if properties else "."), ""]
        if model == "Scenario":
            tables = [
                f"`{key}`"
                for key, node in properties.items()
                if "x-unit" not in node and _values(node).endswith(("table", "tables"))
            ]
            properties = {key: node for key, node in properties.items() if f"`{key}`" not in tables}
            out += [f"The tables below: {', '.join(tables)}. And:", ""]
        if properties:
            out += _rows(properties, node.get("required", []))
    return "\n".join(out).rstrip() + "\n"


def _rows(properties: dict[str, Any], needed: list[str]) -> list[str]:
    rows = ["| key | values; default | meaning |", "|---|---|---|"]
    for key, node in properties.items():
        unit = f" {node['x-unit']}" if node.get("x-unit") else ""
        source = node.get("x-source", "")
        told = f" ({source})" if source not in ("", "softnet", "none") else ""
        cells = (
            f"`{key}`",
            _values(node) + unit + _default(key, node, needed),
            node["description"].removesuffix(".") + told,
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*rows, ""]


def _values(node: dict[str, Any]) -> str:
    text = allowed_text(node) or "a table"
    for short, long in _SHORT:
        text = text.replace(long, short)
    for pattern, written in _PATTERNS:
        text = re.sub(pattern, written, text)
    return text


def _default(key: str, node: dict[str, Any], needed: list[str]) -> str:
    if key in needed:
        return "; required"
    default = node.get("default")
    if default is None or isinstance(default, dict):
        return ""
    return f"; `{show(default)}`"


def with_reference(document: str) -> str:
    """A document with the part between its two marks replaced by the reference."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} has lost the marks {BEGIN} and {END}")
    return f"{head}{begin}\n\n{reference()}\n{end}{tail}"


def main() -> None:
    """Write the schema and the reference into the checkout that is the working directory."""
    Path(SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    path = Path(DOCUMENT)
    path.write_text(with_reference(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
