"""The module that reads the state of a machine: what it makes of the programs' texts."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from .conftest import ROOT


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """Return the module, which Ansible keeps outside every package."""
    specification = importlib.util.spec_from_file_location("node_facts", ROOT / "playbooks" / "library" / "node_facts.py")
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def test_memory(module: ModuleType) -> None:
    """Sizes come in kB and are given in MiB; counters without a unit do no harm."""
    assert module.memory("MemTotal:  2097152 kB\nSwapTotal:  0 kB\nHugePages_Total:  0\n") == {
        "MemTotal": 2048,
        "SwapTotal": 0,
        "HugePages_Total": 0,
    }


def test_interfaces(module: ModuleType) -> None:
    """An interface may have several addresses, or none."""
    text = '[{"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]}, {"ifname": "eth1", "addr_info": [{"local": "192.0.2.1"}, {"local": "192.0.2.2"}]}, {}]'
    assert module.interfaces(text) == {"127.0.0.1": "lo", "192.0.2.1": "eth1", "192.0.2.2": "eth1"}


def test_packages(module: ModuleType) -> None:
    """Removed packages of which files are left don't count; held ones do."""
    text = "install installed bash 5.2\nhold installed kubelet 1.0-1\ndeinstall config-files nfs-common 2.8\nunknown not-installed x \n"
    assert module.packages(text) == ({"bash": "5.2", "kubelet": "1.0-1"}, ["kubelet"])


def test_mounts(module: ModuleType) -> None:
    """A folder's file system is told by its device."""
    assert module.mounts("/dev/vda1 / ext4 rw 0 0\n/dev/vdb /nfsdata ext4 rw 0 0\n") == {"/": "/dev/vda1", "/nfsdata": "/dev/vdb"}


def test_services(module: ModuleType) -> None:
    """Each service is a block of lines; an unknown one has no unit file."""
    text = "Id=a.service\nActiveState=active\nUnitFileState=enabled\n\nId=b.service\nActiveState=inactive\nUnitFileState=\n"
    assert module.services(text) == [
        {"Id": "a.service", "ActiveState": "active", "UnitFileState": "enabled"},
        {"Id": "b.service", "ActiveState": "inactive", "UnitFileState": ""},
    ]
