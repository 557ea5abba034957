# SPDX-License-Identifier: GPL-2.0-or-later
"""Arms of a comparison: a kernel, settings and patches on top of one scenario."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from softnet.errors import SoftnetError, printable


@dataclass(frozen=True)
class Arm:
    """One arm: ``kernel`` as "6.12-rt" ("" keeps the scenario's), ``settings`` as "sysctl.skb_defer_max=128", patch files.

    ``boot_args`` are words for the kernel's command line, in addition to the scenario's. In the lab an arm also has the image
    that is booted (softnet.lab.play.arm).
    """

    label: str
    kernel: str = ""
    settings: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    boot_args: tuple[str, ...] = ()


def split_parts(text: str) -> list[str]:
    """Split at commas that stand outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def parse_arm(text: str) -> Arm:
    """``[LABEL:]PART[,PART…]``; a part is a kernel, ``patch=FILE`` or a setting ``key=value``.

    Examples: "6.10-rt"; "6.12,sysctl.skb_defer_max=128"; "mine:6.12-rt,patch=my_change.py". Raises SoftnetError.
    """
    label, colon, rest = text.partition(":")
    if not colon or "=" in label or "," in label:
        label, rest = "", text
    kernel, settings, patches = "", [], []
    for part in split_parts(rest):
        key, equals, value = part.partition("=")
        if not part:
            raise SoftnetError(
                "an arm has an empty part",
                where=f"--arm {text}",
                found=repr(text),
                expected="[LABEL:]KERNEL[,key=value][,patch=FILE]",
            )
        if not equals:
            if kernel:
                raise SoftnetError(
                    "an arm names two kernels",
                    where=f"--arm {text}",
                    found=f"{kernel} and {part}",
                    expected="one kernel, as 6.12-rt",
                )
            kernel = part
        elif key.strip() == "patch":
            patches.append(value.strip())
        else:
            settings.append(part)
    return Arm(printable(label.strip() or rest.strip()), kernel, tuple(settings), tuple(patches))


def parse_arms(texts: Sequence[str]) -> list[Arm]:
    """All arms; their labels must differ."""
    arms = [parse_arm(text) for text in texts]
    labels = [arm.label for arm in arms]
    for label in labels:
        if labels.count(label) > 1:
            raise SoftnetError(
                "two arms have the same label",
                where="--arm",
                found=label,
                expected="labels that differ",
                hint="name one: --arm LABEL:KERNEL,…",
            )
    for arm in arms:
        for patch in arm.patches:
            if not os.path.isfile(patch):
                raise SoftnetError("no such patch file", where=f"--arm {arm.label}", found=patch, expected="a Python file")
    return arms
