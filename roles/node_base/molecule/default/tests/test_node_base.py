"""A Debian machine that is fit to be a node, and is so again after each start."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import testinfra

from outlive.lab.inventory import Host, Inventory


def test_the_machine_has_its_name(host: testinfra.host.Host, tested: Host) -> None:
    assert host.check_output("hostname") == tested.name


def test_it_knows_all_machines_by_name(host: testinfra.host.Host, lab: Inventory) -> None:
    known = {name: host.check_output("getent ahostsv4 %s", name).split()[0] for name in lab.hosts}
    assert known == {name: each.address for name, each in lab.hosts.items()}


def test_kernel_modules_are_loaded(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    loaded = host.check_output("lsmod").splitlines()
    assert set(told("node_base_kernel_modules")) <= {line.split()[0] for line in loaded}


def test_kernel_settings_are_set(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    wanted = told("node_base_sysctl")
    assert {name: host.sysctl(name) for name in wanted} == wanted


def test_swap_is_off_for_good(host: testinfra.host.Host) -> None:
    assert host.check_output("swapon --show") == ""
    assert host.run("systemctl is-enabled swap.target").stdout.strip() == "masked"


def test_settings_come_back_with_each_start(host: testinfra.host.Host) -> None:
    service = host.service("kubernetes-node")
    assert service.is_enabled
    assert service.is_running


def test_a_shutdown_has_a_limit(host: testinfra.host.Host) -> None:
    """It starts with each power-off and restart, and by nothing else."""
    for order in ("poweroff", "reboot"):
        unit = f"kubernetes-node-shutdown@{order}.service"
        assert unit in host.check_output("systemctl show --property=Wants --value %s", f"{order}.target").split()
        shown = host.check_output("systemctl show --property=SurviveFinalKillSignal,RefuseManualStart,ActiveState,Slice %s", unit)
        assert set(shown.splitlines()) == {"SurviveFinalKillSignal=yes", "RefuseManualStart=yes", "ActiveState=inactive", "Slice=-.slice"}


def test_services_are_reached_through_the_nodes_network(host: testinfra.host.Host, tested: Host) -> None:
    services = ip_network(tested.variables["control_plane_service_subnet"])
    assert f"src {tested.address}" in host.check_output("ip route get %s", str(services[1]))


def test_every_source_of_packages_answers(host: testinfra.host.Host) -> None:
    # Without it, apt-get calls a source that doesn't answer a warning.
    host.check_output("apt-get update -o APT::Update::Error-Mode=any")
