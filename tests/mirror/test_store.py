"""Artefacts are built once, and again when an input changed or a file is damaged."""

from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.mirror import store as stores
from outlive.mirror.store import Store, digest_file, digest_source, digest_tree, publish


class Counter:
    """Builds an artefact of two files and counts how often."""

    def __init__(self) -> None:
        self.builds = 0

    def __call__(self, target: Path) -> None:
        self.builds += 1
        (target / "one").write_text("1" * 100)
        (target / "folder").mkdir()
        (target / "folder/two").write_text("2")
        (target / "link").symlink_to("one")


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, lines: list[str]) -> Store:
    return Store(tmp_path / "cache", lines.append)


def test_second_build_does_nothing(store: Store) -> None:
    build = Counter()
    first = store.make("thing", {"version": 1}, build)
    second = store.make("thing", {"version": 1}, build)
    assert build.builds == 1
    assert first == second
    assert (first.path / "folder/two").read_text() == "2"


def test_changed_input_builds_anew(store: Store) -> None:
    build = Counter()
    first = store.make("thing", {"version": 1}, build)
    second = store.make("thing", {"version": 2}, build)
    assert build.builds == 2
    assert first.key != second.key


@pytest.mark.parametrize("damage", ["", "1" * 99 + "x", "1" * 99])
def test_damaged_file_is_found_said_and_rebuilt(store: Store, lines: list[str], damage: str) -> None:
    build = Counter()
    path = store.make("thing", 1, build).path
    (path / "one").write_text(damage)
    assert store.check() == ["thing: its file one is damaged"]
    store.make("thing", 1, build)
    assert build.builds == 2
    assert any("its file one is damaged, building" in line for line in lines)
    assert (path / "one").read_text() == "1" * 100
    assert store.check() == []


def test_missing_file_is_rebuilt(store: Store, lines: list[str]) -> None:
    build = Counter()
    path = store.make("thing", 1, build).path
    (path / "folder/two").unlink()
    store.make("thing", 1, build)
    assert build.builds == 2
    assert any("its file folder/two is missing" in line for line in lines)


def test_damaged_record_is_rebuilt(store: Store) -> None:
    build = Counter()
    path = store.make("thing", 1, build).path
    path.with_suffix(".json").write_text('{"key": ')
    store.make("thing", 1, build)
    assert build.builds == 2


def test_interrupted_build_leaves_the_old_artefact(store: Store) -> None:
    path = store.make("thing", 1, Counter()).path

    def interrupted(target: Path) -> None:
        (target / "one").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make("thing", 2, interrupted)
    assert (path / "one").read_text() == "1" * 100
    again = Counter()
    store.make("thing", 2, again)
    assert again.builds == 1


def test_two_builds_at_once_are_refused(store: Store) -> None:
    with (
        store.locked(),
        pytest.raises(LabError, match=r"another build \(process \d+\) is at work in .*cache: wait until it ends"),
        store.locked(),
    ):
        pass


def test_cache_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file", print)
    with pytest.raises(LabError, match=r"can't be written .*set OUTLIVE_CACHE to a folder of yours"), store.locked():
        pass


def test_digest_tree_sees_content_mode_and_links(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("a")
    (tree / "link").symlink_to("file")
    seen = [digest_tree(tree)]
    (tree / "file").write_text("b")
    seen.append(digest_tree(tree))
    (tree / "file").chmod(0o755)
    seen.append(digest_tree(tree))
    (tree / "link").unlink()
    (tree / "link").symlink_to("elsewhere")
    seen.append(digest_tree(tree))
    assert all(one != other for number, one in enumerate(seen) for other in seen[number + 1 :])


def test_publish_replaces_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    target = tmp_path / "offered" / "file"
    target.parent.mkdir()
    target.write_text("old")
    publish(tmp_path / "new", target)
    publish(tmp_path / "new", target)
    assert target.read_text() == "new"


def test_lines_that_make_the_same_count_as_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "boxes.py"
    module.write_text("made otherwise\n")
    own, before = digest_file(module), "0" * 64
    monkeypatch.setattr(stores, "SAME_OUTPUT", tmp_path / "same_output.txt")
    for lines, known_as in (("# none\n", own), (f"boxes {own} {before} # seen\n", before), (f"images {own} {before}\n", own)):
        stores.SAME_OUTPUT.write_text(lines)
        assert digest_source(module) == known_as
    module.write_text("and now something else\n")
    assert digest_source(module) == digest_file(module)


def test_no_line_tells_of_lines_that_are_gone() -> None:
    """Else a change that is taken back one day would count as what it isn't."""
    for (module, today), before in stores._same_output().items():
        assert digest_file(stores.SAME_OUTPUT.with_name(f"{module}.py")) == today, (
            f"{module}.py was changed: take its line out of same_output.txt, or build with both and compare"
        )
        assert before != today
