"""Make the images that a lab may have beside what it needs: a program each, and nothing else, as upstream has them.

They aren't in `outlive.mirror.build.images`: every line there is in the key of every image of the mirror. No box has them: a node pulls one where it runs.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from outlive.mirror.build import images
from outlive.mirror.build.images import Image
from outlive.mirror.build.programs import build_programs
from outlive.mirror.lock import Addon, Lock
from outlive.mirror.store import Artefact, Store
from outlive.mirror.tools import run

IMAGES: Mapping[str, Image] = {
    "kube-network-policies": Image(programs=(("kube-network-policies", "netpol", "bin/netpol"),), command=("/bin/netpol",)),
    "metrics-server": Image(
        programs=(("metrics-server", "metrics-server", "metrics-server"),), entrypoint=("/metrics-server",), user="65534"
    ),
}
"""What each image is made of."""


def make_addon(store: Store, lock: Lock, addon: Addon, version: str) -> Artefact:
    """Build an add-on's program with the Go of version `version`, and make its OCI layout.

    Raises:
        LabError: Go can't build it or get its modules.
    """
    programs = build_programs(store, addon.program, version)
    image = IMAGES[addon.program.name]
    artefact = f"image-{addon.program.name}"
    log = store.log(artefact)

    def build(target: Path) -> None:
        work = target / ".work"
        top = work / "top"
        for _, program, place in image.programs:
            (top / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(programs.path / program, top / place)
        layout = work / "layout"
        images._assemble(layout, [images._pack(top, lock, log)], image, lock, store.architecture, log)
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-compress-format", "zstd"]
        run([*copy, f"oci:{layout}:latest", f"oci:{target}:latest"], log)
        images.name_manifest(target, addon.references)
        shutil.rmtree(work)

    return store.make(artefact, [programs.key, repr(image), list(addon.references), lock.source_date_epoch], build)
