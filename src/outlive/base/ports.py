"""Addresses and TCP ports that a server of the program listens on: whether they can be had."""

from __future__ import annotations

import ipaddress
import socket

from outlive.base.errors import LabError


def check_address(address: str) -> None:
    """Raise LabError unless `address` is an IPv4 address."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise LabError(f"--address is {address!r}, which is no IPv4 address: give one of this host's") from error


def check_free(address: str, port: int, who: str, cure: str) -> None:
    """Raise LabError if somebody listens there: it would answer in place of ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((address, port))
        except OSError as error:
            raise LabError(f"{who} can't listen on {address} port {port} ({error.strerror}): {cure}") from error
