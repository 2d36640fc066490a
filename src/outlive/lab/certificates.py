"""The certificates of the control plane: how long kubeadm's are good, and which one the API server shows its clients."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from datetime import datetime

from outlive.base.errors import UnreachableError
from outlive.lab.ssh import Remote

LIST = "kubeadm certs check-expiration --config /etc/kubernetes/kubeadm-config.yaml --output json"
PORT = 6443
ANSWER_SECONDS = 60.0
"""Seconds for a TLS handshake; an emulated API server needs several."""


def expiries(remote: Remote, control_plane: str) -> dict[str, datetime]:
    """Return when each certificate that kubeadm renews ends, by kubeadm's name of it."""
    return parse_expiries(remote.check(control_plane, LIST))


def parse_expiries(listing: str) -> dict[str, datetime]:
    """Read the JSON of ``kubeadm certs check-expiration``; certificates that aren't there are left out."""
    found: list[Mapping[str, str]] = json.loads(listing)["certificates"]
    return {each["name"]: datetime.fromisoformat(each["expirationDate"]) for each in found if each.get("expirationDate")}


def served(address: str, port: int = PORT, within: float = ANSWER_SECONDS) -> str:
    """Return the certificate that a server shows, in PEM.

    Raises:
        UnreachableError: it gave none.
    """
    try:
        return ssl.get_server_certificate((address, port), timeout=within)
    except OSError as error:
        raise UnreachableError(f"{address}:{port} showed no certificate ({error})") from error
