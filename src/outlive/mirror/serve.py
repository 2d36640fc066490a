"""Serve the mirror to the lab, or to all labs of a class room: packages and boxes by nginx, images by Debian's docker-registry."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.ports import check_address, typed
from outlive.mirror import servers
from outlive.mirror.lock import EARLIER
from outlive.mirror.store import Store

_CURE = "end what uses that port, choose another one with --apt-port or --registry-port, or name an address of this host with --address"


def serve(store: Store, address: str, apt_port: int, registry_port: int) -> None:
    """Serve packages and images on `address` until SIGTERM or SIGINT.

    Raises:
        LabError: the address or a port can't be used, the mirror isn't built, or one of the servers ends.
    """
    check_address(address)
    if apt_port == registry_port:
        raise LabError(f"--apt-port and --registry-port are both {apt_port}: give two different ports")
    images = store.path_of("registry")
    if not (images / "docker").is_dir():
        raise LabError(f"the mirror in {store.cache} isn't built: run `outlive mirror build`")
    log = store.log("serve")
    with (
        servers.registry(images, address, registry_port, log, read_only=True, cure=_CURE) as registry,
        packages(store, address, apt_port) as files,
    ):
        boxes, pulled = (" ".join(f"http://{name}:{end}" for name in typed(address)) for end in (f"{apt_port}/", f"{registry_port}/v2/"))
        ready = f"packages and boxes: {boxes}  images: {pulled}"
        servers.wait_until_told(ready, {"nginx": files, "docker-registry": registry}, log)


@contextmanager
def packages(store: Store, address: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """Serve /kubernetes, /kubernetes-earlier, /debian and /boxes until the block ends; raise LabError if that can't be."""
    boxes = store.cache / "boxes"
    # The catalogues are for this host: their boxes are its files. A cache that was moved has them under its former name.
    places = {boxes.as_uri(), *(place for file in boxes.glob("*.json") for place in re.findall(r'"url": "(\S+)/', file.read_text()))}
    with tempfile.TemporaryDirectory(prefix="outlive-mirror-") as folder:
        site = Path(folder) / "site"
        site.mkdir()
        (site / "kubernetes").symlink_to(store.path_of("kubernetes-packages") / "kubernetes")
        (site / EARLIER).symlink_to(store.path_of(f"{EARLIER}-packages") / "kubernetes")
        (site / "debian").symlink_to(store.path_of("debian-repository"))
        (site / "boxes").symlink_to(boxes)
        with servers.nginx(
            Path(folder), "mirror.conf.j2", address, [port], store.log("serve"), who="the mirror", cure=_CURE, places=sorted(places)
        ) as process:
            yield process
