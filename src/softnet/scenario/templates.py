# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples that softnet carries, as what a user starts from: `softnet init` copies them, `softnet demo` runs one.

In a checkout they stand in its folder examples/; in an installed softnet, which has its own copy of that folder, beside the code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from softnet.errors import SoftnetError
from softnet.files import write_whole
from softnet.scenario.problems import did_you_mean

DEFAULT: Final = "rps"
"""What `softnet init` takes when nobody says which."""

FOLDER: Final = "examples"


@dataclass(frozen=True)
class Template:
    """A scenario to start from."""

    name: str
    question: str
    """What it answers: the first line of its file."""
    commands: tuple[str, ...]
    """What its file says to run, as it is to be typed beside the copy."""
    files: Mapping[str, bytes]
    """Paths from the folder it is copied into, and what they hold: the scenario first, then the captures that it names."""

    @property
    def scenario(self) -> str:
        """The path of the scenario in the folder it is copied into."""
        return next(iter(self.files))


def examples_folder() -> Path:
    """Where the examples are. Raises SoftnetError where somebody installed the code without them."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / FOLDER, package.parents[1] / FOLDER):
        if (folder / f"{DEFAULT}.toml").is_file():
            return folder
    raise SoftnetError("this installation has no examples", where=str(package), expected=f"a folder {FOLDER}",
                       hint="install softnet's wheel, or work in a checkout of it")  # fmt: skip


def template_names() -> list[str]:
    """The names of all templates, sorted."""
    return sorted(path.stem for path in examples_folder().glob("*.toml"))


def template(name: str) -> Template:
    """One template. Raises SoftnetError if there is none of that name."""
    names = template_names()
    if name not in names:
        raise SoftnetError("no such template", where="--template", found=name, expected=", ".join(names),
                           hint=did_you_mean(name, names) or "softnet init --list says what each is for")  # fmt: skip
    folder = examples_folder()
    text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    files = {f"{name}.toml": text.replace(f"{FOLDER}/{name}.toml", f"{name}.toml").encode()}
    for traffic in tomllib.loads(text).get("traffic", []):
        if capture := traffic.get("file"):
            files[capture] = (folder / capture).read_bytes()
    shown = files[f"{name}.toml"].decode()
    question = re.search(r"^# (?!SPDX)(.+)$", shown, re.MULTILINE)
    commands = re.findall(r"^#   (softnet .+)$", shown, re.MULTILINE)
    return Template(name, question[1] if question else "", tuple(commands), files)


def all_files() -> dict[str, bytes]:
    """Every file of the examples, by its path as the documents name it: scenarios, captures, patches, properties, sweeps."""
    folder = examples_folder()
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{FOLDER}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in found}


def copy_into(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files. A file that is there and says something else stops it before anything is written.

    Raises SoftnetError with that file, or with the folder that cannot be written.
    """
    try:
        for name, data in files.items():
            path = folder / name
            if path.is_symlink() or (path.exists() and (not path.is_file() or path.read_bytes() != data)):
                raise SoftnetError(
                    "a file of yours has this name", where=str(path), hint="name another folder, or move the file away"
                )
        for name, data in files.items():
            path = folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, data)
    except OSError as error:
        raise SoftnetError("the file cannot be written", where=str(error.filename or folder), found=error.strerror or str(error),
                           expected="a folder that may be written")  from None  # fmt: skip
