"""A Debian machine that is fit to be a node, and is so again after each start."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
import testinfra

from outlive.base.wait import wait_for
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


def test_the_kubelet_may_hold_up_a_shutdown(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    """For as long as any profile lets it, whatever other packages say: unattended-upgrades says 30 s."""
    manager = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
    kind, microseconds = host.check_output(f"busctl get-property {manager} InhibitDelayMaxUSec").split()
    periods = [profile["kubelet_configuration"].get("shutdownGracePeriod", "5s") for profile in told("recovery_profiles").values()]
    assert kind == "t"
    assert int(microseconds) == 1_000_000 * max(int(period.removesuffix("s")) for period in periods)


def test_routes_of_others_stay_when_the_network_is_restarted(host: testinfra.host.Host, tested: Host) -> None:
    """By itself systemd-networkd removes flannel's, and the one to Services."""
    route = "192.0.2.0/24"
    _, interface, *_ = host.check_output("ip -oneline -4 address show to %s", tested.address).split()
    host.check_output("ip route replace %s dev %s protocol 99", route, interface)
    try:
        host.check_output("systemctl restart systemd-networkd && networkctl status")
        assert interface in host.check_output("ip route show %s", route)
    finally:
        host.run("ip route delete %s", route)


def test_the_machine_keeps_its_name_whatever_cloud_init_is_told(host: testinfra.host.Host, tested: Host) -> None:
    """What Debian's images had up to 11, and what others still have."""
    if not host.exists("cloud-init"):
        pytest.skip("this box has no cloud-init: OUTLIVE_BOX=generic has")
    told_by = "/etc/cloud/cloud.cfg.d/98_told.cfg"
    host.check_output("printf 'manage_etc_hosts: true\nhostname: another\n' >%s", told_by)
    try:
        for module in ("set_hostname", "update_hostname", "update_etc_hosts"):
            host.check_output("cloud-init single --name %s --frequency always", module)
    finally:
        host.check_output("rm %s", told_by)
    assert "Written by Ansible" in host.file("/etc/hosts").content_string
    assert host.check_output("hostname") == tested.name


def test_services_are_reached_through_the_nodes_network(host: testinfra.host.Host, tested: Host) -> None:
    services = ip_network(tested.variables["control_plane_service_subnet"])
    assert f"src {tested.address}" in host.check_output("ip route get %s", str(services[1]))


def test_services_are_reached_again_after_the_interface_was_down(host: testinfra.host.Host, tested: Host) -> None:
    """It takes its routes along, and systemd-networkd brings back what stands in its files."""
    services = ip_network(tested.variables["control_plane_service_subnet"])
    _, interface, *_ = host.check_output("ip -oneline -4 address show to %s", tested.address).split()
    host.check_output("ip link set %s down; sleep 2; ip link set %s up", interface, interface)

    def route() -> str:
        return str(host.run("ip route show %s", str(services)).stdout)

    wait_for("the route to Services", "there", route, lambda shown: f"src {tested.address}" in shown, within=60.0, every=1.0)
    # None beside it, which would lead another way one day.
    assert len(route().splitlines()) == 1


def test_every_source_of_packages_answers(host: testinfra.host.Host) -> None:
    # Without it, apt-get calls a source that doesn't answer a warning.
    host.check_output("apt-get update -o APT::Update::Error-Mode=any")
