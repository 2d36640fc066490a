"""The pytest plugin, in runs of pytest of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from outlive.base.errors import EXIT_FAIL, EXIT_INTERRUPTED, EXIT_UNKNOWN
from outlive.base.paths import ROOT
from verify import plugin, stories

INI = """
[pytest]
addopts = --strict-markers -p no:cacheprovider
markers =
    static
    storage
    cis
    tutorial
    power_off
    drills
    lifecycle
    proof
    rehearsal
"""


@pytest.fixture
def tree(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder with tests of each layer in which the plugin is at home."""
    monkeypatch.setattr(plugin, "FOLDER", pytester.path)
    monkeypatch.setattr(plugin, "ROOT", pytester.path)
    pytester.makeini(INI)
    for name in plugin.LAYERS:
        (pytester.path / name).mkdir()
        write(pytester, name, f'def test_{name}():\n    """Statement of {name}."""\n')
    return pytester


def write(tree: pytest.Pytester, layer: str, body: str) -> None:
    """Write the tests of a layer."""
    (tree.path / layer / f"test_{layer}_tests.py").write_text(
        f"import os, signal, pytest\nfrom outlive.base.errors import LabError\n{body}"
    )


def play(tree: pytest.Pytester, *arguments: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    """Run pytest and return its result and the report's data, empty where there is no report."""
    result = tree.runpytest_inprocess(*arguments, plugins=[plugin], no_reraise_ctrlc=True)
    found = Path(tree.path / "reports" / "latest" / "timeline.json")
    return result, json.loads(found.read_text()) if found.exists() else {}


def test_layers_are_marked_and_run_in_their_order(tree: pytest.Pytester) -> None:
    result, data = play(tree)
    result.assert_outcomes(passed=len(plugin.LAYERS))
    assert [check["title"] for check in data["checks"]] == [f"Statement of {layer}" for layer in plugin.LAYERS]
    assert (data["verdict"], data["name"], data["planned"]) == ("pass", "verify", len(plugin.LAYERS))
    result.stdout.fnmatch_lines(["report (pass): */report.html"])


@pytest.mark.parametrize(("marker", "name"), [("static", "static"), ("power_off", "power-off")])
def test_a_run_of_one_layer_has_its_name(tree: pytest.Pytester, marker: str, name: str) -> None:
    assert play(tree, "-m", marker)[1]["name"] == name


def test_without_tests_on_a_lab_there_is_no_report(tree: pytest.Pytester) -> None:
    (tree.path / "test_elsewhere.py").write_text("def test_x():\n    pass\n")
    result, data = play(tree, "test_elsewhere.py")
    result.assert_outcomes(passed=1)
    assert data == {}
    assert play(tree, "--collect-only")[1] == {}
    assert not list(tree.path.glob("reports/*"))


def test_pytest_s_own_junit_report_lies_beside_ours(tree: pytest.Pytester) -> None:
    play(tree, "-m", "static")
    (case,) = ET.parse(tree.path / "reports/latest/junit.xml").getroot().iter("testcase")
    assert {each.get("name"): each.get("value") for each in case.iter("property")} == {
        "statement": "Statement of static",
        "verdict": "pass",
    }


def test_junit_report_goes_where_the_user_says(tree: pytest.Pytester) -> None:
    play(tree, "-m", "static", "--junitxml=mine.xml")
    assert (tree.path / "mine.xml").exists()
    assert not list(tree.path.glob("reports/**/junit.xml"))


def test_each_story_has_a_report_of_its_own(tree: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drill's verdict is its own: one that fails takes nothing from another."""
    body = "import pytest\n@pytest.mark.parametrize('cell', ['a', 'b'], scope='module')\ndef test_one(cell):\n    assert cell == 'a'\n"
    write(tree, "drills", body)

    class Stories:
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            ours = [item for item in items if hasattr(item, "callspec")]
            stories.begin_story(ours, lambda item: f"drill-{item.callspec.params['cell']}")  # type: ignore[attr-defined]

    result = tree.runpytest_inprocess("-m", "drills", plugins=[plugin, Stories()])
    found = {path.parent.name.partition("-")[2]: json.loads(path.read_text()) for path in tree.path.glob("reports/2*/timeline.json")}
    assert {name: (data["verdict"], data["planned"], bool(data["ended"])) for name, data in found.items()} == {
        "drill-a": ("pass", 1, True),
        "drill-b": ("fail", 1, True),
    }
    assert result.ret == EXIT_FAIL


def test_verdicts(tree: pytest.Pytester) -> None:
    body = "def test_no():\n    assert 1 == 2\ndef test_unready():\n    raise LabError('MySQL is not deployed: run `outlive tutorial apply`.')\n"
    write(tree, "storage", body)
    result, data = play(tree)
    assert result.ret == EXIT_FAIL
    assert {check["name"].rpartition("::")[2]: check["verdict"] for check in data["checks"]} == {
        "test_static": "pass",
        "test_no": "fail",
        "test_unready": "unknown",
        "test_cis": "pass",
        "test_tutorial": "pass",
        "test_power_off": "pass",
        "test_drills": "pass",
        "test_lifecycle": "pass",
        "test_proof": "pass",
        "test_rehearsal": "pass",
    }
    assert data["verdict"] == "fail"
    assert data["checks"][2]["message"] == "MySQL is not deployed: run `outlive tutorial apply`."
    result.stdout.fnmatch_lines(["MySQL is not deployed: run `outlive tutorial apply`."])
    result.stdout.no_fnmatch_line("*raise LabError*")


def test_error_of_a_fixture_is_unknown_and_of_its_end_too(tree: pytest.Pytester) -> None:
    body = (
        "@pytest.fixture\ndef a():\n    raise OSError('x')\n@pytest.fixture\ndef b():\n    yield\n    assert False, 'not healed'\n"
        "def test_a(a):\n    pass\ndef test_b(b):\n    pass\n"
    )
    write(tree, "power_off", body)
    _, data = play(tree, "-m", "power_off")
    assert [(check["verdict"], check["message"].splitlines()[0]) for check in data["checks"]] == [
        ("unknown", "OSError: x"),
        ("fail", "not healed"),
    ]


def test_what_was_skipped_never_passes(tree: pytest.Pytester) -> None:
    write(tree, "static", "@pytest.mark.skip(reason='no time')\ndef test_static():\n    pass\n")
    result, data = play(tree, "-m", "static")
    assert data["verdict"] == "unknown"
    assert result.ret == EXIT_UNKNOWN


def test_what_a_lab_is_not_made_for_is_no_check_of_it(tree: pytest.Pytester) -> None:
    """Its reason is shown; what was checked passes, and where nothing else was checked nothing is known."""
    body = (
        "from verify.stories import LeftOutError\n@pytest.fixture(scope='module')\ndef extra():\n    raise LeftOutError('no such thing: add one')\n"
        "def test_a(extra):\n    pass\ndef test_b(extra):\n    pass\n"
    )
    write(tree, "storage", body)
    result, data = play(tree, "-m", "static or storage", "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*no such thing: add one*"])
    assert (data["verdict"], data["planned"], len(data["checks"])) == ("pass", 1, 1)
    result, data = play(tree, "-m", "storage")
    assert (data["verdict"], data["planned"], data["checks"]) == ("unknown", 0, [])
    assert result.ret == EXIT_UNKNOWN


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_interrupted_run_heals_and_keeps_its_report(tree: pytest.Pytester, how: str) -> None:
    body = (
        f"@pytest.fixture(scope='module')\ndef fault():\n    yield\n    open('healed', 'w').close()\n"
        f"def test_first(fault):\n    pass\ndef test_second(fault):\n    {how}\ndef test_third(fault):\n    pass\n"
    )
    write(tree, "power_off", body)
    result, data = play(tree, "-m", "power_off")
    assert result.ret == EXIT_INTERRUPTED
    assert (tree.path / "healed").exists()
    assert (data["interrupted"], data["verdict"], len(data["checks"])) == (True, "unknown", 1)


@pytest.mark.parametrize("capture", ["fd", "no"])
def test_moments_are_seen_while_the_story_goes_on(tree: pytest.Pytester, capture: str) -> None:
    body = "def test_power_off(narrator):\n    print('a test's own words')\n    narrator.say('  45.2 s  n1 NotReady')\n".replace(
        "test's", "test"
    )
    write(tree, "power_off", body)
    result, _ = play(tree, "-m", "power_off", f"--capture={capture}")
    result.stdout.fnmatch_lines(["  45.2 s  n1 NotReady"])
    assert ("a test own words" in result.stdout.str()) is (capture == "no")


def test_tests_from_elsewhere_have_no_layer() -> None:
    assert plugin.layer(Path("/elsewhere/tests/test_x.py")) is None
    assert plugin.layer(plugin.FOLDER / "conftest.py") is None


def test_without_a_lab_one_sentence_is_said_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "verify/static", "verify/storage", "-q"]
    none = {"KUBECONFIG": str(tmp_path / "none"), "ANSIBLE_INVENTORY": "inventories/lab", "OUTLIVE_REPORTS": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | none, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_UNKNOWN
    assert done.stdout.count("(KUBECONFIG) isn't there") == 1
    assert json.loads((tmp_path / "latest" / "timeline.json").read_text())["verdict"] == "unknown"
