"""Which processor a lab's machines have."""

from __future__ import annotations

import platform

import pytest

from outlive.base import architecture
from outlive.base.architecture import AMD64, ARM64
from outlive.base.errors import LabError


@pytest.mark.parametrize(
    ("machine", "found"),
    [("x86_64", AMD64), ("AMD64", AMD64), ("aarch64", ARM64), ("arm64", ARM64), ("riscv64", None), ("", None)],
)
def test_what_uname_says(machine: str, found: architecture.Architecture | None) -> None:
    assert architecture.of_machine(machine) == found


def test_machines_are_the_hosts_own_unless_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert architecture.chosen({}) == ARM64
    assert architecture.chosen({"OUTLIVE_ARCH": "auto"}) == ARM64
    assert architecture.chosen({"OUTLIVE_ARCH": "amd64"}) == AMD64
    assert (AMD64.native, ARM64.native) == (False, True)


def test_what_runs_on_this_host_is_for_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, own in (("aarch64", ARM64), ("x86_64", AMD64), ("riscv64", AMD64)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert architecture.of_host() == own


def test_another_word_is_refused() -> None:
    with pytest.raises(LabError, match=r"^OUTLIVE_ARCH is 'x86_64', which isn't known: set it to one of auto, amd64, arm64$"):
        architecture.chosen({"OUTLIVE_ARCH": "x86_64"})


def test_only_other_architectures_have_names_of_their_own() -> None:
    assert (AMD64.suffix, ARM64.suffix) == ("", "-arm64")
    assert (AMD64.store, ARM64.store) == ("store", "store-arm64")
    assert (AMD64.emulator, ARM64.emulator) == ("qemu-system-x86_64", "qemu-system-aarch64")
