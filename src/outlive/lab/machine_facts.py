"""What a node says about itself. Runs on the node, with nothing but its Python's standard library, and prints JSON.

One program for all facts, since each command on a software-emulated node costs seconds. It only reads.
Its one argument is JSON: ``packages``, ``services``, ``modules``, ``sysctls``, ``files`` (names to look at), ``dns`` (a server and a
name to ask it for).
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def output(*command: str) -> str:
    """Return what a command prints, whatever its status."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def versions(packages: list[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    lines = output("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status} ${Version}\\n", *packages).splitlines()
    fields = [line.split() for line in lines]
    return {package: version for package, status, version in (each for each in fields if len(each) == 3) if status == "installed"}


def sysctl(name: str) -> str:
    """Return the value of a kernel setting, empty where the kernel has none of that name."""
    path = Path("/proc/sys") / name.replace(".", "/")
    return path.read_text().strip() if path.exists() else ""


def lookup(server: str, name: str) -> str:
    """Ask a DNS server for a name's address and return it; where it can't be had, return why."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    header = secrets.token_bytes(2) + b"\1\0\0\1\0\0\0\0\0\0"
    answer = b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(10)
        for _ in range(3):
            try:
                link.connect((server, 53))  # so a refusal is heard
                link.send(header + question)
                answer = link.recv(512)
                break
            except OSError as error:
                reason = str(error)
        else:
            return f"no answer from {server} ({reason})"
    # An answer ends with the record that was asked for: the last four bytes are the address where the type is A.
    answers, code = answer[7], answer[3] & 15
    return socket.inet_ntoa(answer[-4:]) if answers and not code else f"no such name (code {code})"


def main() -> None:
    """Print the facts."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    enabled = output("systemctl", "is-enabled", *wanted["services"]).split()
    files = [Path(each) for each in wanted["files"] if Path(each).exists()]
    print(
        json.dumps(
            {
                "packages": versions(wanted["packages"]),
                "services": dict(zip(wanted["services"], enabled, strict=False)),
                "modules": [each for each in wanted["modules"] if Path("/sys/module", each).exists()],
                "sysctls": {each: sysctl(each) for each in wanted["sysctls"]},
                "swaps": Path("/proc/swaps").read_text().splitlines()[1:],
                "fstab_swaps": [
                    line
                    for line in Path("/etc/fstab").read_text().splitlines()
                    if not line.lstrip().startswith("#") and line.split()[2:3] == ["swap"]
                ],
                "modes": {str(each): f"{each.stat().st_mode & 0o7777:04o}" for each in files},
                "certificates": {str(each): each.read_text() for each in sorted(Path("/etc/kubernetes/pki").glob("**/*.crt"))},
                "dns": lookup(*wanted["dns"]),
            }
        )
    )


if __name__ == "__main__":
    main()
