"""The tutorial's manifests for learners. What MySQL has to show is in verify/storage, which the scenario runs too."""

from __future__ import annotations

import os
from pathlib import Path

TEMPLATES = Path(__file__).parents[3] / "templates"


def test_each_manifest_is_written() -> None:
    folder = Path(os.environ["KUBECONFIG"]).parent / "tutorial"
    written = {str(path.relative_to(folder)) for path in folder.glob("*/*.yml")}
    assert written == {str(path.relative_to(TEMPLATES)).removesuffix(".j2") for path in TEMPLATES.glob("*/*.yml.j2")}
