"""The images of the lock file in the storage of Debian's docker-registry."""

import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from outlive.base.errors import LabError
from outlive.mirror.store import Artefact, Store
from outlive.mirror.tools import run

_START_SECONDS = 30.0


def make_registry(store: Store, layouts: Sequence[Artefact]) -> Artefact:
    """Fill a registry's storage with the images, each repository named by its upstream host and path."""
    log = store.log("registry")

    def build(target: Path) -> None:
        port = free_port()
        with serving(target, f"127.0.0.1:{port}", log):
            for layout in layouts:
                for descriptor in json.loads((layout.path / "index.json").read_text())["manifests"]:
                    reference = descriptor["annotations"]["io.containerd.image.name"]
                    tag = descriptor["annotations"]["org.opencontainers.image.ref.name"]
                    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
                    run([*copy, f"oci:{layout.path}:{tag}", f"docker://127.0.0.1:{port}/{reference}"], log)

    return store.make("registry", [layout.key for layout in layouts], build)


@contextmanager
def serving(storage: Path, address: str, log: Path, read_only: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run docker-registry on `address` (host:port) over a storage folder until the block ends.

    It's started when the block begins: it answers by then. Raises LabError if it doesn't, or if the port is taken.
    """
    _check_free(address)
    configuration = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "maintenance": {"readonly": {"enabled": read_only}, "uploadpurging": {"enabled": False}},
        },
        "http": {"addr": address},
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(configuration, file)  # JSON is YAML
        file.flush()
        command = ["docker-registry", "serve", file.name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait(process, address, log)
            yield process
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """Give a TCP port that nobody listens on at 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _check_free(address: str) -> None:
    """Raise LabError if somebody listens on `address`: another registry there would answer in place of ours."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the registry does
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise LabError(
                f"docker-registry can't listen on {address} ({error.strerror}): end what uses that port, or choose another one"
            ) from error


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until the registry answers."""
    host, _, port = address.rpartition(":")
    url = f"http://{'127.0.0.1' if host in ('', '0.0.0.0') else host}:{port}/v2/"
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise LabError(f"docker-registry doesn't answer on {address} (see {log}): end what uses that port, or choose another port")
