# SPDX-License-Identifier: GPL-2.0-or-later
"""Which package is the newest of a series, what order modules load in, which images are refused."""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.lab.errors import LabError, LabMissing
from softnet.lab.play.arm import ARMS, arms_here
from softnet.lab.vm import kernels, modules, packages, suites


def test_the_newest_package_of_each_series_is_offered_and_nothing_else() -> None:
    names = [
        "linux-image-6.1.0-9-amd64",
        "linux-image-6.1.0-56-amd64",
        "linux-image-6.1.0-56-rt-amd64",
        "linux-image-6.1.0-57-cloud-amd64",
        "linux-image-6.1.0-58-amd64-unsigned",
        "linux-image-6.1.0-58-amd64-dbg",
        "linux-image-6.12.100+deb12-amd64",
        "linux-image-6.12.99+deb12-amd64",
        "linux-image-6.12.9+deb12-rt-amd64",
        "linux-image-amd64",
        "linux-image-rt-amd64",
    ]
    offers = kernels.newest_per_series(names)
    assert [(offer.name, offer.package) for offer in offers] == [
        ("6.1", "linux-image-6.1.0-56-amd64"),
        ("6.1-rt", "linux-image-6.1.0-56-rt-amd64"),
        ("6.12", "linux-image-6.12.100+deb12-amd64"),
        ("6.12-rt", "linux-image-6.12.9+deb12-rt-amd64"),
    ]
    assert kernels.newest_per_series(list(reversed(names))) == offers


@pytest.mark.parametrize("name", ["", "six", "6", "6.12-threads-rt", "6.12-RT", "6.12 "])
def test_a_name_that_is_none_says_what_is(name: str) -> None:
    with pytest.raises(LabError, match="not the name of a kernel") as caught:
        kernels.check_name(name)
    assert "softnet lab kernels" in caught.value.hint


def _module(depends: str) -> bytes:
    return b"\x7fELF...\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


def test_modules_load_after_what_they_need_and_built_in_ones_are_left_out() -> None:
    images = {
        "virtio_console": _module("virtio_ring,virtio"),
        "virtio_pci": _module("virtio,virtio-ring,virtio_pci_modern_dev"),
        "virtio_ring": _module(""),
        "virtio": _module("virtio_ring"),
        "virtio_pci_modern_dev": _module(""),
        "balloon": _module("virtio"),
    }
    order = modules.load_order(images)
    assert sorted(order) == ["virtio", "virtio_console", "virtio_pci", "virtio_pci_modern_dev", "virtio_ring"]
    for name in order:
        for needed in modules.depends(images[name]):
            assert order.index(needed) < order.index(name)


def test_modules_in_a_circle_are_named() -> None:
    images = {"veth": _module("a"), "a": _module("b"), "b": _module("a")}
    with pytest.raises(LabError, match="circle") as caught:
        modules.load_order(images)
    assert caught.value.found == "veth -> a -> b -> a"


def test_an_image_that_is_no_kernel_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"\0" * 0x8000)
    with pytest.raises(LabError, match="not a bootable x86 Linux kernel image") as caught:
        kernels.resolve(str(path), say=lambda text: None)
    assert caught.value.where == str(path)
    with pytest.raises(SoftnetError, match="cannot be read"):
        kernels.from_path(tmp_path / "absent")


def test_the_release_of_an_image_is_read_from_its_header(tmp_path: Path) -> None:
    image = bytearray(0x8000)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x3000)
    text = b"6.99.1-mine (me@here) #1 SMP\0"
    image[0x3200 : 0x3200 + len(text)] = text
    path = tmp_path / "bzImage"
    path.write_bytes(image)
    kernel = kernels.from_path(path)
    assert (kernel.release, kernel.rt, kernel.load_order()) == ("6.99.1-mine", False, [])


def test_a_missing_tool_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabMissing, match="apt-cache is not here") as caught:
        kernels.available()
    assert "vmlinuz" in caught.value.hint


def test_a_download_that_is_not_what_was_promised_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A program of the same name that delivers something else: what a broken mirror does.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "apt-cache").write_text('#!/bin/sh\necho "Package: p\nVersion: 1\nSize: 5\nSHA256: 00"\n')
    (fake / "apt-get").write_text("#!/bin/sh\necho other > p_1_amd64.deb\n")
    for name in ("apt-cache", "apt-get"):
        (fake / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:/usr/bin:/bin")
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(LabError, match="not what the package lists promise"):
        packages.download("p", target, say=lambda text: None)
    assert list(target.iterdir()) == []


def test_a_kernel_in_parts_is_its_binary_with_its_modules() -> None:
    """From 6.19 on Debian's linux-image is empty; a binary whose modules are gone is not offered."""
    names = [
        "linux-image-6.18.15+deb13-amd64",
        *(f"linux-{part}-7.3.4+deb13-rt-amd64" for part in ("image", "binary", "modules", "base")),
        *(f"linux-{part}-7.3.4+deb13-amd64" for part in ("image", "binary", "modules")),
        "linux-image-6.19.14+deb13-amd64",
        "linux-binary-6.19.14+deb13-amd64",
        "linux-binary-unsigned-7.3.5+deb13-amd64",
    ]
    assert [(offer.name, *offer.packages) for offer in kernels.newest_per_series(names)] == [
        ("6.18", "linux-image-6.18.15+deb13-amd64"),
        ("7.3", "linux-binary-7.3.4+deb13-amd64", "linux-modules-7.3.4+deb13-amd64"),
        ("7.3-rt", *(f"linux-{part}-7.3.4+deb13-rt-amd64" for part in ("binary", "modules", "base"))),
    ]


APT_GET = """#!/bin/sh
case "$*" in
    *--print-uris*) echo "'http://mirror.example/debian/pool/main/b/base-files_1_amd64.deb' base-files_1_amd64.deb 5 SHA256:00" ;;
    *update*)
        cat "$APT_CONFIG" >> TOLD
        if grep -q unknown "$(dirname "$APT_CONFIG")/sources.list"; then echo "E: no Release file" >&2; exit 100; fi ;;
    *) name=${5%%=*}; cp "PACKAGES/$name.deb" . ;;
esac
"""
APT_CACHE = """#!/bin/sh
test -n "$APT_CONFIG" || { echo "the host's lists" >&2; exit 1; }
case "$1" in
    search) ls PACKAGES | sed 's/.deb$/ - a kernel/' ;;
    show) echo "Package: $3\\nVersion: 1\\nSize: 5\\nSHA256: $(sha256sum < "PACKAGES/$3.deb" | cut -d' ' -f1)" ;;
esac
"""
APT_CONFIG = """#!/bin/sh
echo "LIST='ETC/sources.list'\\nPARTS='ETC/sources.list.d/'"
"""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose apt has a mirror, and packages of a kernel in parts in another suite of it."""
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path / "cache"))
    packed, etc, programs = (tmp_path / name for name in ("packages", "etc", "bin"))
    for folder in (packed, programs, etc / "sources.list.d"):
        folder.mkdir(parents=True)
    (etc / "sources.list").write_text("deb [arch=amd64 signed-by=/keys/other.gpg] http://other.example/x y main\n")
    (etc / "sources.list.d" / "own.sources").write_text(
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: now\nSigned-By: /keys/own.gpg\n"
    )
    for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("apt-config", APT_CONFIG)):
        for word, path in (("PACKAGES", packed), ("ETC", etc), ("TOLD", tmp_path / "told")):
            text = text.replace(word, str(path))
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.delenv("APT_CONFIG", raising=False)
    below = "usr/lib/modules/7.3.4-amd64"
    modules_below = f"{below}/kernel/drivers/net"
    for part, files in {
        "binary": {f"{below}/vmlinuz": b"image"},
        "modules": {f"{modules_below}/tun.ko.xz": lzma.compress(_module("")), f"{modules_below}/nic.ko.xz": b"not asked for"},
        "base": {f"{below}/config": b"CONFIG_PREEMPT_RT=y\n"},
    }.items():
        root = tmp_path / part
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: linux-{part}\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
        )
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        subprocess.run(
            ["dpkg-deb", "--build", str(root), str(packed / f"linux-{part}-7.3.4-amd64.deb")], check=True, capture_output=True
        )
    return tmp_path


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg")
def test_a_kernel_is_fetched_from_a_suite_that_the_machine_does_not_use(mirror: Path) -> None:
    said: list[str] = []
    kernel = kernels.fetch("7.3", say=said.append, suite="later-backports")
    assert (kernel.release, kernel.rt, kernel.vmlinuz.read_bytes()) == ("7.3.4-amd64", True, b"image")
    assert [name for name, _ in kernel.load_order()] == ["tun.ko"]
    assert [other["name"] for other in kernel.provenance["other_packages"]] == [
        "linux-modules-7.3.4-amd64",
        "linux-base-7.3.4-amd64",
    ]
    sources = mirror / "cache/lab/apt/later-backports/sources.list"
    assert sources.read_text() == "deb [signed-by=/keys/own.gpg] http://mirror.example/debian later-backports main\n"
    told = (mirror / "told").read_text()
    assert f'Dir::State::lists "{sources.parent / "lists"}"' in told
    assert 'Dir::Etc::sourceparts "-"' in told
    assert kernels.fetch("7.3", say=said.append, suite="later-backports") == kernel
    assert said[-1] == "7.3: 7.3.4-amd64 is here already"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg")
def test_what_a_suite_does_not_have_is_told(mirror: Path) -> None:
    with pytest.raises(LabMissing, match=r"no package of kernel 6\.18 in the suite later") as caught:
        kernels.fetch("6.18", say=lambda text: None, suite="later")
    assert caught.value.found == "7.3"
    with pytest.raises(LabError, match="the suite unknown could not be read") as refused:
        kernels.fetch("6.18", say=lambda text: None, suite="unknown")
    assert refused.value.found == "E: no Release file"
    for name in ("a b", "../etc", "", "A"):
        with pytest.raises(LabError, match="not the name of a suite"):
            suites.lists_of(name, say=lambda text: None)


def test_who_names_no_arm_gets_those_that_can_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "available", lambda: [kernels.Available("6.12", "linux-image-x"), kernels.Available("6.13", "y")])
    monkeypatch.setattr(kernels, "cached", lambda name: name if name == "6.18-rt" else None)
    assert arms_here() == ("6.12", "6.12-threads", "6.18-rt")
    monkeypatch.setattr(kernels, "available", list)
    monkeypatch.setattr(kernels, "cached", lambda name: None)
    assert arms_here() == ARMS
    (tmp_path / "rps-off").mkdir()
    (tmp_path / "rps-off" / "7.3-threads.json").touch()
    assert arms_here(tmp_path) == ("7.3-threads",)
