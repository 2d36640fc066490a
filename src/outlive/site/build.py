"""Build the site: pages as they lie in the checkout, their links unchanged, made into HTML by Zensical; complete, or not there.

It is built beside its place and then takes it, so that whoever serves or reads it never has half of one.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.locks import exclusive
from outlive.base.paths import LOGS, REPORTS, ROOT
from outlive.base.process import logged, remove, uninterrupted
from outlive.course import pages, times
from outlive.site import contents

FOLDER = REPORTS / "site"
"""Where it is built, unless another folder is named. Never in git."""
NOTE = ".outlive-site"
"""A file in the site with the checksum of what it was built from; written last."""
THEME = Path(__file__).with_name("theme")
TUTORIAL = Path("docs/tutorial")
"""In it a folder of chapters for each language."""

_CHINESE = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
_BETWEEN_CHINESE = re.compile(rf"(?:(?<={_CHINESE})|(?<={_CHINESE}\*\*))\n *(?=(?:\*\*|\[)*{_CHINESE})")
"""A line's end that would be shown as a blank, which Chinese doesn't have between its characters; the next line may be indented, and bold or a link."""
_DETAILS = re.compile(r"^<details>", re.MULTILINE)
_FIRST_LIST = re.compile(r"^- .*\n(?:(?:- |  ).*\n)*", re.MULTILINE)
"""What a chapter begins with: what one learns, what it needs."""


def build(folder: Path = FOLDER, root: Path = ROOT) -> Path:
    """Build the site of a checkout into a folder, whose former site it replaces; return the folder.

    Raises:
        LabError: the folder isn't a site's, can't be written, or Zensical fails, as at a link that leads nowhere.
    """
    folder = folder.resolve()
    _check(folder)
    # On the same file system, and of this name only: what a killed build left is found by the next one.
    beside, lock = (folder.with_name(f".{folder.name}.{what}") for what in ("new", "lock"))
    try:
        with exclusive(lock):
            try:
                _take_place(_make(beside, root), folder)
            finally:
                remove(beside)
                lock.unlink()
    except OSError as error:
        what = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
        cure = (
            "see that you may write there"
            if _is_own(folder)
            else "name a folder that you may write to, by `outlive site build --to FOLDER`"
        )
        raise LabError(f"the site can't be built in {folder} ({what}): {cure}") from error
    return folder


def up_to_date(folder: Path = FOLDER, root: Path = ROOT) -> bool:
    """Say whether the site that is in a folder was built from the pages as they are now."""
    try:
        return (folder / NOTE).read_text(encoding="ascii") == _key(contents.collect(root), root)
    except (OSError, ValueError):  # it isn't there, or damaged
        return False


def _times(root: Path) -> dict[str, times.Took]:
    """Return what the checkout's chapters took."""
    return times.read(root / times.FILE.relative_to(ROOT))


def _key(found: contents.Contents, root: Path) -> str:
    """Return the checksum of all that a site is built from."""
    # What Python keeps beside them is made at a module's first use, and changes nothing of the site.
    own = [path for path in Path(__file__).parent.rglob("*") if path.parent.name != "__pycache__"]
    own += [Path(pages.__file__), Path(times.__file__), ROOT / "requirements.lock"]
    files = {str(path.resolve().relative_to(ROOT)): path for path in own} | {name: root / name for name in (*found.pages, *found.files)}
    digest = hashlib.sha256(repr(sorted(_times(root).items())).encode())
    for name, path in sorted(files.items()):
        if path.is_file():
            digest.update(f"{name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _check(folder: Path) -> None:
    """Refuse a folder whose files somebody may miss."""
    if folder.exists() and not (folder / NOTE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        cure = "move it away" if _is_own(folder) else "name an empty folder, or one that isn't there yet, by --to"
        raise LabError(f"{folder} is there and isn't a site that `outlive site build` made: {cure}")


def _is_own(folder: Path) -> bool:
    """Say whether it is the folder that nobody has to name, and in `outlive class` nobody can."""
    return folder == FOLDER.resolve()


def _make(beside: Path, root: Path) -> Path:
    """Build the site in a folder of its own; return where in there it is."""
    if find_spec("zensical") is None:  # an environment of before the site: told as of every other package
        raise ModuleNotFoundError(name="zensical")
    remove(beside)  # what a killed one left
    found, staged, site = contents.collect(root), beside / "pages", beside / "site"
    known = _times(root)
    for name in found.pages:
        took = known.get(Path(name).stem) if Path(name).parent.parent == TUTORIAL else None
        _write(staged / name, _with_head(name, with_time(contents.text(name, root), took, contents.language(name))))
    for name in found.files:
        _write(staged / name, (root / name).read_bytes())
    settings = beside / "mkdocs.yml"
    _write(settings, json.dumps(_settings(found), ensure_ascii=False))  # JSON is YAML
    logged("site", [sys.executable, "-P", "-m", "zensical", "build", "--strict", "--config-file", str(settings)], LOGS / "site.log")
    _divide_search(site)
    _write(site / NOTE, _key(found, root))
    return site


def _write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def with_time(text: str, took: times.Took | None, language: str) -> str:
    """Return a chapter with what it took, as the last point of the list that it begins with."""
    begins = _FIRST_LIST.search(text)
    if took is None or begins is None:
        return text
    return f"{text[: begins.end()]}- {times.sentence(took, language)}\n{text[begins.end() :]}"


def _with_head(name: str, text: str) -> str:
    """Return a page with what its template has to know of it; Markdown within <details> is read, as a forge reads it."""
    head = {"language": contents.language(name), "twin": contents.address(contents.twin(name))}
    return f"---\n{json.dumps(head)}\n---\n" + _BETWEEN_CHINESE.sub("", _DETAILS.sub('<details markdown="1">', text))


def _settings(found: contents.Contents) -> dict[str, object]:
    return {
        "site_name": "outlive",
        "docs_dir": "pages",
        "site_dir": "site",
        "use_directory_urls": False,  # so that it can be read without a server
        "nav": contents.navigation(found.pages),
        "extra": {"alternate": True, "generator": False},
        "extra_css": ["outlive.css"],
        "theme": {
            "custom_dir": str(THEME),
            "font": False,  # no web fonts
            "features": [
                "content.code.copy",
                "navigation.footer",
                "navigation.indexes",
                "navigation.tabs",
                "navigation.top",
                "search.highlight",
            ],
            "palette": [
                {"media": media, "scheme": scheme, "toggle": {"icon": f"lucide/{icon}", "name": "light, dark · 明暗"}}
                for media, scheme, icon in (
                    ("(prefers-color-scheme)", "default", "sun-moon"),
                    ("(prefers-color-scheme: light)", "default", "sun"),
                    ("(prefers-color-scheme: dark)", "slate", "moon"),
                )
            ],
        },
        "plugins": [{"search": {}}, {"offline": {}}],
        "markdown_extensions": [
            "md_in_html",
            "sane_lists",
            {"toc": {"permalink": True, "slugify": {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}}}},
            "pymdownx.highlight",
            {
                "pymdownx.superfences": {
                    "custom_fences": [
                        {
                            "name": "console",
                            "class": "console",
                            "format": "outlive.site.blocks.formatted",
                            "validator": "outlive.site.blocks.accepts",
                        }
                    ]
                }
            },
        ],
    }


def _divide_search(site: Path) -> None:
    """Give each language an index of its own: the Chinese pages look for theirs in the folder zh, see `theme/main.html`."""
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))
    for language in contents.LANGUAGES:
        up = "" if language == "en" else "../"
        items = [{**each, "location": up + each["location"]} for each in index["items"] if contents.language(each["location"]) == language]
        # By the language the theme's script knows where a word ends.
        text = json.dumps({**index, "config": {**index["config"], "lang": [language]}, "items": items}, ensure_ascii=False)
        folder = site if language == "en" else site / language
        _write(folder / "search.json", text)
        _write(folder / "search.js", f"var __index = {text}")


def _take_place(made: Path, folder: Path) -> None:
    """Put what was made in its place; what was there before goes away as a whole."""
    former = made.with_name("former")
    with uninterrupted():
        if folder.exists():
            folder.rename(former)
        made.rename(folder)
