"""Which part of the program may know which: the table that docs/architecture.md draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from outlive.base.paths import ROOT

SRC = ROOT / "src"

MAY_KNOW = {
    "base": set[str](),
    "lab": {"base"},
    "drill": {"base", "lab"},
    "fence": {"base", "lab"},
    "course": {"base", "lab"},
    "report": {"base", "lab", "drill", "fence", "course"},
    "site": {"base", "course"},
    "host": {"base"},
    "mirror": {"base"},
    "cli": {"base", "lab", "drill", "fence", "course", "report", "site", "host", "mirror"},
    "__main__": {"base", "host", "cli"},
}
"""Each part with those that it may import from; all know `outlive` itself, which imports nothing."""

MUST = {
    ("outlive.host.doctor.checklist", "outlive.lab.inventory"): "sizes and network that the host has to have are the inventory's",
    ("outlive.host.steps", "outlive.lab.objects"): "after a reset nodes have to be Ready, and what that means is the lab's to say",
    (
        "outlive.host.doctor.checklist",
        "outlive.mirror.golang",
    ): "which Go the mirror is built with, and whether it is there, is the mirror's to say",
    ("outlive.host.steps", "outlive.mirror.golang"): "`make setup` installs it beside the Python environment",
}
"""What the table forbids and is there all the same, module by module, each with its reason."""

LIBRARIES = {
    "click": ({"outlive.cli"}, "the command line is one module"),
    "pytest": (set[str](), "tests stand on the program, not the program on tests"),
    "verify": (set[str](), "it stands on top: nobody in src knows it"),
    "tests": (set[str](), "they stand on top: nobody in src knows them"),
}
"""Packages from outside with the modules that may import them, and why no others."""


@dataclass(frozen=True)
class Import:
    """One import: what is imported where."""

    importer: str
    imported: str
    place: str

    @property
    def allowed(self) -> bool:
        """Whether the table lets the one part know the other."""
        ours, theirs = part(self.importer), part(self.imported)
        return ours == theirs or theirs == "outlive" or theirs in MAY_KNOW.get(ours, set())


def part(module: str) -> str:
    """Return the part that a module belongs to: the word after `outlive`."""
    return module.split(".")[1] if "." in module else module


def modules(folder: Path) -> dict[str, Path]:
    """Return the modules below a folder by their dotted names."""
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path for path in sorted(folder.rglob("*.py"))
    }


def imports(module: str, path: Path, known: set[str]) -> Iterator[Import]:
    """Yield each import of a module, wherever it stands in it: in a function and below `if TYPE_CHECKING` too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])])
            # `from outlive.lab import kube` is about the module, `from outlive.lab.kube import Cluster` about what is in it.
            names = sorted({inner if (inner := f"{base}.{each.name}") in known else base for each in node.names})
        else:
            continue
        yield from (Import(module, name, f"{path.name}:{node.lineno}") for name in names)


def everything(folder: Path = SRC) -> list[Import]:
    """Return all imports of the program."""
    known = modules(folder)
    return [each for module, path in known.items() for each in imports(module, path, set(known))]


def inside(found: list[Import]) -> list[Import]:
    """Return those of the program's own modules."""
    return [each for each in found if each.imported.split(".")[0] == "outlive"]


def forbidden(found: list[Import]) -> list[str]:
    """Return a sentence on each import that neither the table nor its exceptions allow."""
    return [
        f"{each.importer} imports {each.imported} ({each.place}): {part(each.importer)} may know "
        f"{', '.join(sorted(MAY_KNOW.get(part(each.importer), set()))) or 'no other part'}"
        for each in inside(found)
        if not each.allowed and (each.importer, each.imported) not in MUST
    ]


def circle(found: list[Import], parts: bool = False) -> list[str]:
    """Return a circle of modules that import each other, or of parts; empty where there is none."""
    known: dict[str, set[str]] = {}
    for each in inside(found):
        importer, imported = (part(each.importer), part(each.imported)) if parts else (each.importer, each.imported)
        if importer != imported:
            known.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def foreign(found: list[Import]) -> list[str]:
    """Return a sentence on each import of a package from outside where it has no place."""
    return [
        f"{each.importer} imports {name} ({each.place}): {LIBRARIES[name][1]}"
        for each in found
        if (name := each.imported.split(".")[0]) in LIBRARIES and each.importer not in LIBRARIES[name][0]
    ]


def test_each_part_knows_only_those_below_it() -> None:
    assert forbidden(everything()) == []


def test_each_exception_is_still_needed() -> None:
    found = everything()
    there = {(each.importer, each.imported) for each in inside(found) if not each.allowed}
    assert sorted(set(MUST) - there) == [], "nobody imports so any more: take it out of MUST"
    users = {(each.importer, each.imported.split(".")[0]) for each in found}
    idle = [(module, name) for name, (allowed, _) in LIBRARIES.items() for module in sorted(allowed) if (module, name) not in users]
    assert idle == [], "nobody imports so any more: take it out of LIBRARIES"


def test_each_part_is_in_the_table() -> None:
    assert {part(module) for module in modules(SRC)} - {"outlive"} == set(MAY_KNOW)


def test_no_circle_between_modules() -> None:
    assert circle(everything()) == []


def test_no_circle_between_parts() -> None:
    assert circle(everything(), parts=True) == []


def test_what_is_below_knows_nothing_of_what_is_above() -> None:
    assert foreign(everything()) == []


def test_the_lab_s_checks_know_nothing_of_unit_tests() -> None:
    found = [each for path in sorted((ROOT / "verify").rglob("*.py")) for each in imports(path.stem, path, set())]
    assert [f"{each.place}: {each.imported}" for each in found if each.imported.split(".")[0] == "tests"] == []


def test_wrong_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    texts = {
        "outlive/base/wait.py": "def late() -> None:\n    from outlive.lab import kube\n",
        "outlive/lab/kube.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..drill.faults import Fault\n",
        "outlive/drill/faults/__init__.py": "import outlive.base.wait\nimport verify.plugin\n",
        "outlive/drill/faults/power.py": "from . import Fault\nfrom click import echo\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = everything(tmp_path)
    assert forbidden(found) == [
        "outlive.base.wait imports outlive.lab.kube (wait.py:2): base may know no other part",
        "outlive.lab.kube imports outlive.drill.faults (kube.py:3): lab may know base",
    ]
    assert set(circle(found)) == {"outlive.base.wait", "outlive.lab.kube", "outlive.drill.faults"}
    assert set(circle(found, parts=True)) == {"base", "lab", "drill"}
    assert [sentence.split(" (")[0] for sentence in foreign(found)] == [
        "outlive.drill.faults imports verify",
        "outlive.drill.faults.power imports click",
    ]
