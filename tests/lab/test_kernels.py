# SPDX-License-Identifier: GPL-2.0-or-later
"""Which package is the newest of a series, what order modules load in, which images are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.lab.errors import LabError, LabMissing
from softnet.lab.vm import kernels, modules, packages


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
