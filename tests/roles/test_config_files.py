"""The module that writes the roles' files: only what differs, and nothing that a validation refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conftest import ROOT

MODULE = ROOT / "playbooks" / "library" / "config_files.py"


def run(tmp_path: Path, *entries: dict[str, Any], check: bool = False, pending: Path | None = None) -> dict[str, Any]:
    """Run the module for `entries` and return its result."""
    arguments = tmp_path / "arguments.json"
    given = {"entries": entries, "_ansible_check_mode": check} | ({"pending": str(pending)} if pending else {})
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
    finished = subprocess.run([sys.executable, str(MODULE), str(arguments)], capture_output=True, text=True, check=False)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def test_files_folders_and_links(tmp_path: Path) -> None:
    """Everything is made at the first run; the second changes nothing."""
    entries = [
        {"path": str(tmp_path / "folder")},
        {"path": str(tmp_path / "etc" / "deep" / "file"), "content": "text\n", "mode": "0600"},
        {"path": str(tmp_path / "link"), "link": "/dev/null"},
    ]
    first = run(tmp_path, *entries)
    assert first["changed"] is True
    assert first["changed_paths"] == [entry["path"] for entry in entries]
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "etc" / "deep" / "file").read_text() == "text\n"
    assert (tmp_path / "etc" / "deep" / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link").readlink() == Path("/dev/null")
    assert run(tmp_path, *entries)["changed"] is False


def test_only_what_differs(tmp_path: Path) -> None:
    """A changed content or mode is put right, and only that is named."""
    entries = [{"path": str(tmp_path / name), "content": name} for name in ("one", "two", "three")]
    run(tmp_path, *entries)
    (tmp_path / "one").write_text("other")
    (tmp_path / "two").chmod(0o666)
    assert run(tmp_path, *entries)["changed_paths"] == [entries[0]["path"], entries[1]["path"]]
    assert (tmp_path / "one").read_text() == "one"
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o644


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    """Check mode says what would change and shows it."""
    result = run(tmp_path, {"path": str(tmp_path / "file"), "content": "new\n"}, {"path": str(tmp_path / "folder")}, check=True)
    assert result["changed"] is True
    assert result["diff"][0]["after"] == "new\n"
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "folder").exists()


def test_refused_content(tmp_path: Path) -> None:
    """Where one validation fails no file is written, not even those before it."""
    good = tmp_path / "good"
    bad = tmp_path / "bad"
    bad.write_text("old")
    result = run(
        tmp_path,
        {"path": str(good), "content": "fine"},
        {"path": str(bad), "content": "wrong", "validate": "grep right %s"},
    )
    assert result["failed"] is True
    assert f"The new content of {bad} is refused" in result["msg"]
    assert not good.exists()
    assert bad.read_text() == "old"


def test_accepted_content(tmp_path: Path) -> None:
    """The validation sees the new content, in a folder that is made before."""
    path = tmp_path / "file"
    result = run(
        tmp_path,
        {"path": str(path), "content": "right", "validate": f"sh -c 'test -d {tmp_path}/folder && grep right $0' %s"},
        {"path": str(tmp_path / "folder")},
    )
    assert result.get("failed") is None
    assert path.read_text() == "right"


def test_file_that_may_stay(tmp_path: Path) -> None:
    """With overwrite off a file stays as it is; a link that leads nowhere is replaced by the file."""
    kept = tmp_path / "kept"
    kept.write_text("mine")
    dangling = tmp_path / "dangling"
    dangling.symlink_to("/nowhere/at/all")
    result = run(
        tmp_path,
        {"path": str(kept), "content": "theirs", "overwrite": False},
        {"path": str(dangling), "content": "theirs", "overwrite": False},
    )
    assert result["changed_paths"] == [str(dangling)]
    assert kept.read_text() == "mine"
    assert dangling.read_text() == "theirs"
    assert not dangling.is_symlink()


def test_absent(tmp_path: Path) -> None:
    """A file that must not be there is removed once."""
    path = tmp_path / "file"
    path.write_text("old")
    assert run(tmp_path, {"path": str(path), "state": "absent"})["changed"] is True
    assert not path.exists()
    assert run(tmp_path, {"path": str(path), "state": "absent"})["changed"] is False


def test_secret_is_not_shown(tmp_path: Path) -> None:
    """What only root may read is in no diff."""
    result = run(tmp_path, {"path": str(tmp_path / "file"), "content": "secret", "mode": "0600"})
    assert result["diff"] == []


def test_commented_out(tmp_path: Path) -> None:
    """Lines that match become comments once; the others and those that are comments stay."""
    path = tmp_path / "fstab"
    path.write_text("UUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n#UUID=3 none swap sw 0 0\n /swapfile none\tswap sw 0 0\n")
    entry = {"path": str(path), "comment_out": r"\S+\s+\S+\s+swap\s"}
    assert run(tmp_path, entry)["changed"] is True
    assert (
        path.read_text()
        == "UUID=1 / ext4 defaults 0 1\n# UUID=2 none swap sw 0 0\n#UUID=3 none swap sw 0 0\n#  /swapfile none\tswap sw 0 0\n"
    )
    assert run(tmp_path, entry)["changed"] is False
    missing = {"path": str(tmp_path / "missing"), "comment_out": "x"}
    assert run(tmp_path, missing)["changed"] is False


def test_what_waits_for_its_handler_counts_as_changed(tmp_path: Path) -> None:
    """Until the handler removes the note of it, in every run; check mode neither makes nor removes one."""
    pending = tmp_path / "state" / "role.pending"
    entries = [{"path": str(tmp_path / name), "content": name} for name in ("one", "two")]
    run(tmp_path, *entries, check=True, pending=pending)
    assert not pending.exists()
    run(tmp_path, entries[0], pending=pending)
    again = run(tmp_path, *entries, pending=pending)
    assert again["changed"] is True
    assert again["changed_paths"] == [entries[0]["path"], entries[1]["path"]]
    assert run(tmp_path, *entries, pending=pending)["changed_paths"] == again["changed_paths"]
    pending.unlink()
    assert run(tmp_path, *entries, pending=pending)["changed"] is False
    assert not pending.exists()


def test_nothing_waits_where_a_file_is_refused(tmp_path: Path) -> None:
    """What wasn't written needs no handler."""
    pending = tmp_path / "role.pending"
    run(tmp_path, {"path": str(tmp_path / "bad"), "content": "wrong", "validate": "grep right %s"}, pending=pending)
    assert not pending.exists()
