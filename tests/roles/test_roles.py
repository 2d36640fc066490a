"""What each role has: its text, and a description of every variable that it can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT

ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/tasks"))


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_is_complete(role: Path) -> None:
    assert (role / "README.md").read_text(encoding="utf-8").startswith(f"# {role.name}\n")
    assert _read(role / "meta/main.yml")["galaxy_info"]["role_name"] == role.name
    described = _read(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    assert sorted(set(_read(role / "defaults/main.yml")) - set(described)) == []
