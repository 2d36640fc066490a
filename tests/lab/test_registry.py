"""Whether a node can get an image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.lab.registry import LOOK, mirror_lacks
from outlive.lab.ssh import Output
from tests.course.stages import FakeRemote


@pytest.mark.parametrize(("answer", "lacks"), [("none", False), ("200", False), ("404", True)])
def test_what_the_mirror_answers(answer: str, lacks: bool) -> None:
    remote = FakeRemote(Output(0, answer, ""))
    assert mirror_lacks(remote, "n1", "mysql:9.7") is lacks
    assert remote.told == [("n1", LOOK, "library/mysql", "9.7")]


@pytest.mark.parametrize("output", [Output(0, "503", ""), Output(7, "000", "curl: (7) refused"), Output(0, "", "")])
def test_mirror_that_is_not_well_is_no_answer(output: Output) -> None:
    with pytest.raises(LabError, match=r"The mirror gave n1 no answer about a/b:1 \((503|000|)\): see `outlive doctor`"):
        mirror_lacks(FakeRemote(output), "n1", "a/b:1")


def test_command(tmp_path: Path) -> None:
    """What the node's shell makes of it: the registry of hosts.toml is asked, and nothing where there is none."""
    hosts = tmp_path / "hosts.toml"
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\nfor last; do :; done; printf "%s" "$last"\n')
    curl.chmod(0o755)
    command = LOOK.replace("/etc/containerd/certs.d/docker.io/hosts.toml", str(hosts)) % ("library/mysql", "9.7")
    for text, asked in (
        (None, "none\n"),
        (
            'server = "http://192.0.2.1:8481/v2/docker.io"\ncapabilities = []\n',
            "http://192.0.2.1:8481/v2/docker.io/library/mysql/manifests/9.7",
        ),
    ):
        if text:
            hosts.write_text(text)
        done = subprocess.run(["sh", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
        assert done.stdout == asked
