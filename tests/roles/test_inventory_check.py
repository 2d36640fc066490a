"""The filters of the role inventory_check; what the role says of an inventory is in test_preflight.py."""

from __future__ import annotations

from types import ModuleType

import pytest

from . import role_tasks


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the module of the filters."""
    return role_tasks.plugin("inventory_check", "filter_plugins/inventory_check.py")


def test_addresses(filters: ModuleType) -> None:
    """A host without an address has an empty one, which the role refuses by name."""
    hosts = {"b": {}, "a": {"ansible_host": "192.0.2.1"}, "c": {"ansible_host": "c.example", "node_ip": "192.0.2.3"}}
    assert filters.addresses(["a", "b", "c"], hosts) == [["a", "192.0.2.1"], ["b", ""], ["c", "192.0.2.3"]]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("192.0.2.0/24", "192.0.2.0/24", True),
        ("10.96.0.0/12", "10.100.0.0/16", True),
        ("10.100.0.0/16", "10.96.0.0/12", True),
        ("10.96.0.0/12", "10.244.0.0/16", False),
        ("10.96.0.0/12", "2001:db8::/32", False),
        ("10.96.0.0/12", "10.100.0.1/16", True),
        ("192.168.0.0/16", "192.168.121.1/24", True),
        ("192.168.0.0/24", "192.168.121.1/24", False),
        ("somewhere", "10.96.0.0/12", False),
    ],
)
def test_overlaps(filters: ModuleType, one: str, other: str, overlap: bool) -> None:
    """One within the other, either way; what is no network is refused elsewhere."""
    assert filters.overlaps({"a": one, "b": other}) == ([f"a ({one}) and b ({other})"] if overlap else [])


def test_each_pair_is_named(filters: ModuleType) -> None:
    networks = {"a": "10.0.0.0/8", "b": "10.1.0.0/16", "c": "192.0.2.0/24", "d": "10.1.2.0/24"}
    assert filters.overlaps(networks) == [
        "a (10.0.0.0/8) and b (10.1.0.0/16)",
        "a (10.0.0.0/8) and d (10.1.2.0/24)",
        "b (10.1.0.0/16) and d (10.1.2.0/24)",
    ]


@pytest.mark.parametrize(
    ("text", "fits"),
    [("10.96.0.0/12", True), ("10.96.0.0", False), ("10.96.0.1/12", False), ("10.96.0.0/33", False), ("", False), ("2001:db8::/64", False)],
)
def test_networks_of_a_cluster(filters: ModuleType, text: str, fits: bool) -> None:
    """IPv4, in CIDR notation, with no bits of a host: what kubeadm would refuse later is refused before a machine is touched."""
    assert filters.unfit({"a": text}) == ([] if fits else [f"a is '{text}'"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.100.0.5", "10.100.0.5"),
        ("http://10.100.0.5:8480", "10.100.0.5"),
        ("https://user:word@10.100.0.5:3128/v2/docker.io http://192.0.2.1", "10.100.0.5"),
        ("http://[2001:db8::1]:3128", ""),
        ("http://10.100.example:3128 https://pkgs.k8s.io/core:/stable:/", ""),
        ("192.0.2.1:5000", ""),
        ("", ""),
    ],
)
def test_addresses_outside(filters: ModuleType, text: str, found: str) -> None:
    """An address by itself, or in URLs; names may lead anywhere."""
    sentence = [f"a has {found}, which is in b (10.96.0.0/12)"] if found else []
    assert filters.within({"a": text}, {"b": "10.96.0.0/12", "c": "10.244.0.0/16"}) == sentence
