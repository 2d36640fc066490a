"""The mirror's ports taken by another program: `outlive mirror serve` says so in one sentence and ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from outlive.base.paths import ROOT
from outlive.base.process import OUTLIVE, name_of


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "--apt-port",
            "error: the mirror can't listen on 127.0.0.1 port {} (Address already in use by process {}, {}): end what uses that port, ",
        ),
        ("--registry-port", "error: docker-registry can't listen on 127.0.0.1 port {} (Address already in use by process {}, {}): "),
    ],
)
def test_port_taken(tmp_path: Path, option: str, sentence: str) -> None:
    if shutil.which("docker-registry") is None or shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("docker-registry or nginx is not installed")
    (tmp_path / "store/registry/docker").mkdir(parents=True)
    with socket.socket() as other, socket.socket() as probe:
        # The taken port has a listener that answers nothing; the free one is bound only to learn its number.
        other.bind(("127.0.0.1", 0))
        other.listen()
        probe.bind(("127.0.0.1", 0))
        taken, free = other.getsockname()[1], probe.getsockname()[1]
        probe.close()
        ports = {"--apt-port": free, "--registry-port": free} | {option: taken}
        done = subprocess.run(
            [*OUTLIVE, "mirror", "serve", "--address", "127.0.0.1", *(str(word) for pair in ports.items() for word in pair)],
            cwd=ROOT,
            env={**os.environ, "OUTLIVE_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(sentence.format(taken, os.getpid(), name_of(os.getpid())))
    assert "end what uses that port, " in lines[0]
