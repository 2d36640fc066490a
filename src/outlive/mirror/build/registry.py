"""The images of the lock file in the storage of Debian's docker-registry."""

import json
from collections.abc import Sequence
from pathlib import Path

from outlive.mirror import servers
from outlive.mirror.store import Artefact, Store
from outlive.mirror.tools import run


def make_registry(store: Store, layouts: Sequence[Artefact]) -> Artefact:
    """Fill a registry's storage with the images, each repository named by its upstream host and path."""
    log = store.log("registry")

    def build(target: Path) -> None:
        port = servers.free_port()
        with servers.registry(target, "127.0.0.1", port, log):
            for layout in layouts:
                for descriptor in json.loads((layout.path / "index.json").read_text())["manifests"]:
                    reference = descriptor["annotations"]["io.containerd.image.name"]
                    tag = descriptor["annotations"]["org.opencontainers.image.ref.name"]
                    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
                    run([*copy, f"oci:{layout.path}:{tag}", f"docker://127.0.0.1:{port}/{reference}"], log)

    return store.make("registry", [layout.key for layout in layouts], build)
