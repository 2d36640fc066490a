"""Where the nodes get images from, and whether one of them is there."""

from __future__ import annotations

from outlive.base.errors import LabError
from outlive.lab.ssh import Remote

LOOK = (
    "server=$(sed -n 's/^server = \"\\(.*\\)\"$/\\1/p' /etc/containerd/certs.d/docker.io/hosts.toml 2>/dev/null); "
    '[ -n "$server" ] || { echo none; exit 0; }; '
    "curl --silent --show-error --max-time 60 --output /dev/null --write-out '%%{http_code}' "
    "--header 'Accept: application/vnd.oci.image.manifest.v1+json' \"$server\"/%s/manifests/%s"
)


def mirror_lacks(remote: Remote, node: str, image: str) -> bool:
    """Say whether a node takes the images of Docker Hub from a mirror that doesn't have this one.

    Args:
        remote: The way to the node.
        node: Its name.
        image: As a pod names it, such as ``mysql:9.7``.

    Raises:
        LabError: the mirror answers neither with the image nor that it hasn't got it.
    """
    name, _, tag = image.rpartition(":")
    path = name if "/" in name else f"library/{name}"
    done = remote.run(node, LOOK, path, tag)
    answer = done.stdout.strip()
    if done.status == 0 and answer in ("none", "200"):
        return False
    if answer == "404":
        return True
    raise LabError(
        f"The mirror gave {node} no answer about {image} ({answer or done.stderr.strip()}): see `outlive doctor`, then run this again."
    )
