"""What kubeadm says of its certificates, and what a server shows."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime

import pytest

from outlive.base.errors import UnreachableError
from outlive.lab.certificates import parse_expiries, served

LISTING = {
    "kind": "CertificateExpirationInfo",
    "certificates": [
        {"name": "admin.conf", "expirationDate": None, "residualTime": 0, "missing": True},
        {"name": "apiserver", "expirationDate": "2027-11-25T19:31:42Z", "residualTime": 31535998, "caName": "ca", "missing": False},
    ],
    "certificateAuthorities": [{"name": "ca", "expirationDate": "2036-11-22T19:31:42Z", "missing": False}],
}


def test_expiries() -> None:
    assert parse_expiries(json.dumps(LISTING)) == {"apiserver": datetime(2027, 11, 25, 19, 31, 42, tzinfo=UTC)}


def test_nobody_shows_a_certificate() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        with pytest.raises(UnreachableError, match="showed no certificate"):
            served("127.0.0.1", taken.getsockname()[1])
