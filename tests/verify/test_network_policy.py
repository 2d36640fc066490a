"""What a pod was told that asked MySQL: a connection that never came is told from an answer, whatever it says."""

from __future__ import annotations

import pytest

from verify.storage import test_network_policy


@pytest.mark.parametrize(
    ("line", "unconnected"),
    [
        ("OUT ERROR 2003 (HY000): Can't connect to MySQL server on 'mysql' (110)", True),
        ("OUT ERROR 2002 (HY000): Can't connect to server on '10.244.1.10' (115)", True),
        ("IN 1", False),
        ("OUT ERROR 1045 (28000): Access denied for user 'root'@'10.244.1.12' (using password: YES)", False),
        ("OUT sh: mysql: not found", False),
    ],
)
def test_a_connection_that_never_came(line: str, unconnected: bool) -> None:
    assert test_network_policy._unconnected(line) is unconnected
