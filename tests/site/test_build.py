"""The built site: its links, its twins, what its buttons copy; and a build that can't be, or is cut short."""

from __future__ import annotations

import py_compile
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.util import cache_from_source
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.process import OUTLIVE
from outlive.base.wait import wait_for
from outlive.cli import main
from outlive.course import pages, times
from outlive.site import build, contents, serve

TWO_LANGUAGES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*/*/*.md"))


@dataclass
class Html(HTMLParser):
    """What a page has of links, of names to link to, of what a browser loads by itself, and of text to copy."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    copied: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self.ids.add(of.get("id", ""))
        if "href" in of:
            (self.links if tag == "a" or of.get("rel") in ("prev", "next") else self.loads).append(of["href"])
        if "src" in of:
            self.loads.append(of["src"])
        if "data-clipboard-text" in of:
            self.copied.append(of["data-clipboard-text"])


def read(path: Path) -> Html:
    found = Html()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def broken(site: Path, page: Path, read_pages: dict[Path, Html]) -> list[str]:
    """Return what a page links to or loads that isn't in the site; a link that a reader clicks may lead to the web."""
    wrong = []
    html = read_pages[page]
    for link in (*html.links, *html.loads):
        parts = urlsplit(link)
        if parts.scheme in ("http", "https") and link in html.links and link not in html.loads:
            continue
        if parts.scheme == "data":
            continue
        # Only the page for what isn't there knows no depth of its own.
        start = site if link.startswith("/") and page.name == "404.html" else page.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
        there = not parts.scheme and not parts.netloc and target.is_relative_to(site) and target.is_file()
        named = not parts.fragment or target.suffix != ".html" or (there and unquote(parts.fragment) in read_pages[target].ids)
        if not (there and named):
            wrong.append(link)
    return wrong


def test_it_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert "No issues found" in site.with_name("site.log").read_text(encoding="utf-8")


def test_every_page_and_what_it_links_to_is_there(site: Path) -> None:
    found = contents.collect()
    assert {"README.md", "docs/results.md", "docs/architecture.md", "docs/security.md", "CONTRIBUTING.md", *TWO_LANGUAGES} <= set(
        found.pages
    )
    assert "docs/architecture.svg" in found.files
    assert [name for name in found.pages if not (site / contents.address(name)).is_file()] == []
    assert [name for name in found.files if (site / name).read_bytes() != (ROOT / name).read_bytes()] == []


def test_no_link_is_broken_and_nothing_comes_from_elsewhere(site: Path) -> None:
    html = {path: read(path) for path in sorted(site.rglob("*.html"))}
    assert len(html) > 50
    assert {str(page.relative_to(site)): found for page in html if (found := broken(site, page, html))} == {}


def test_broken_links_are_found(site: Path) -> None:
    page = site / "docs/x.html"
    html = {
        page: Html(
            links=["results.html", "https://example.com/", "nowhere.html", "#nothing", "../../x"], loads=["https://example.com/a.js"]
        )
    }
    assert broken(site, page, html) == ["nowhere.html", "#nothing", "../../x", "https://example.com/a.js"]


def test_no_style_loads_from_elsewhere(site: Path) -> None:
    styles = {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert "outlive.css" in styles
    assert {
        name: found for name, text in styles.items() if (found := re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//[^)]*", text))
    } == {}


@pytest.mark.parametrize("name", TWO_LANGUAGES)
def test_each_page_leads_to_its_twin(site: Path, name: str) -> None:
    other = contents.twin(name)
    assert contents.twin(other) == name
    assert contents.language(other) != contents.language(name)
    page = site / contents.address(name)
    text = page.read_text(encoding="utf-8")
    assert f'<html lang="{contents.language(name)}"' in text
    (link,) = re.findall(r'class="md-header__button twin" href="([^"]+)"', text)
    assert (page.parent / link).resolve() == site / contents.address(other)


@pytest.mark.parametrize("name", TWO_LANGUAGES)
def test_buttons_copy_the_commands_and_nothing_else(site: Path, name: str) -> None:
    page = pages.parse((ROOT / name).read_text(encoding="utf-8"), name)
    commands = [command for block in page.blocks for command in block.commands]
    # In a dialogue what is typed has a button too.
    typed = [text for each in commands for text in (each.text, *(line.removeprefix("mysql> ") for line in each.typed))]
    assert read(site / contents.address(name)).copied == typed
    # Nothing of a prompt or an output is left in a text that is one command.
    for command in commands:
        assert subprocess.run(["bash", "-n"], input=command.text, text=True, capture_output=True, check=False).stderr == ""


def test_each_language_is_searched_apart(site: Path) -> None:
    for place, word, other in ((site, "Reclaim policies", "回收策略"), (site / "zh", "回收策略", "Reclaim policies")):
        for name in ("search.json", "search.js"):
            titles = re.findall(r'"title": "([^"]*)"', (place / name).read_text(encoding="utf-8"))
            assert word in titles
            assert other not in titles


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a checkout of three pages."""
    root = tmp_path / "checkout"
    for name, text in {
        "README.md": "# First\n\n[one](docs/tutorial/en/README.md)\n",
        "docs/tutorial/en/README.md": "# One\n\n<details>\n<summary>More</summary>\n\n- *folded*\n\n```console\n$ true\n```\n\n</details>\n",
        "docs/tutorial/zh/README.md": "# 一\n\n第一行，\n第二行 word\nword\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_details_fold_and_what_is_in_them_is_a_page_s(small: Path, tmp_path: Path) -> None:
    text = (build.build(tmp_path / "site", small) / "docs/tutorial/en/index.html").read_text(encoding="utf-8")
    folded = text.split("<details>")[1].split("</details>")[0]
    assert "<summary>More</summary>" in folded
    assert "<em>folded</em>" in folded
    assert 'data-clipboard-text="true"' in folded


def test_a_chapter_tells_what_it_took(small: Path, tmp_path: Path) -> None:
    """In both languages, once it was run; a site of before is out of date then."""
    chapters = {
        "en": "# NFS\n\n- You will be able to: mount.\n- Needs: a lab\n  with two nodes.\n\nText.\n\n- No such list.\n",
        "zh": "# NFS\n\n- 需要：实验环境。\n\n正文。\n",
    }
    for language, text in chapters.items():
        (small / f"docs/tutorial/{language}/04-nfs.md").write_text(text, encoding="utf-8")
    built = build.build(tmp_path / "site", small)
    assert "it took" not in (built / "docs/tutorial/en/04-nfs.html").read_text(encoding="utf-8")
    assert build.up_to_date(built, small)
    times.keep("04-nfs", times.Took(58.2, "2026-11-30"), small / times.FILE.relative_to(ROOT))
    assert not build.up_to_date(built, small)
    build.build(built, small)
    english = (built / "docs/tutorial/en/04-nfs.html").read_text(encoding="utf-8")
    assert re.search(
        r"with two nodes\.</li>\s*<li>When it was last run here, on 2026-11-30, it took 58 s\.</li>\s*</ul>\s*<p>Text", english
    )
    assert "<li>上次在这里运行：2026-11-30，用时 58 秒。</li>" in (built / "docs/tutorial/zh/04-nfs.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("第一行，\n第二行 word\nword", "第一行，第二行 word\nword"),
        ("- 第一行\n  第二行", "<li>第一行第二行</li>"),
        ("第一行\n**第二行**\n第三行", "第一行<strong>第二行</strong>第三行"),
        ("第一行\n**[第二行](https://example.com/)**", '第一行<strong><a href="https://example.com/">第二行</a></strong>'),
        ("第一行\n\n第二行", "<p>第一行</p>\n<p>第二行</p>"),
        ("- 第一行\n- 第二行", "<li>第一行</li>\n<li>第二行</li>"),
    ],
)
def test_lines_of_chinese_are_joined_without_a_blank(small: Path, tmp_path: Path, lines: str, shown: str) -> None:
    (small / "docs/tutorial/zh/README.md").write_text(f"# 一\n\n{lines}\n", encoding="utf-8")
    assert shown in (build.build(tmp_path / "site", small) / "docs/tutorial/zh/index.html").read_text(encoding="utf-8")


def test_no_line_s_end_is_a_blank_between_chinese(site: Path) -> None:
    """Wherever the line's end is: in an item of a list, before or after bold words."""
    character = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
    found = {}
    for path in sorted(site.rglob("zh/*.html")):
        text = re.sub(r"<pre.*?</pre>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        paragraphs = (re.sub(r"<[^>]*>", "", each) for each in re.findall(r"<(?:p|li|td)>(.*?)</(?:p|li|td)>", text, re.DOTALL))
        if blanks := [match for each in paragraphs for match in re.findall(rf".{{,9}}{character}\n *{character}.{{,9}}", each)]:
            found[path.name] = blanks
    assert found == {}


@pytest.mark.parametrize(
    "wrong",
    ["[gone](gone.md)", "[gone](README.md#gone)", "```console\nno prompt\n```"],
    ids=["page", "heading", "block"],
)
def test_a_wrong_page_ends_the_build_and_leaves_nothing(small: Path, tmp_path: Path, wrong: str) -> None:
    (small / "README.md").write_text(f"# First\n\n{wrong}\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"site: .*zensical.* ended with status 1; .* \(whole log: .*site\.log\)"):
        build.build(tmp_path / "site", small)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout"]


def test_a_page_that_is_not_utf_8_is_named(small: Path, tmp_path: Path) -> None:
    page = small / "docs/tutorial/zh/README.md"
    page.write_bytes("# 中文\n".encode("gb18030"))
    with pytest.raises(LabError, match=rf"^{page} isn't UTF-8 \(byte 2 is 0xd6\): save it as UTF-8$"):
        build.build(tmp_path / "site", small)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout"]


def test_pages_that_changed_are_noticed(small: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert not build.up_to_date(site, small)
    build.build(site, small)
    assert build.up_to_date(site, small)
    (small / "README.md").write_text("# First\n", encoding="utf-8")
    assert not build.up_to_date(site, small)


def test_a_site_whose_checksum_is_damaged_is_built_anew(small: Path, tmp_path: Path) -> None:
    site = build.build(tmp_path / "site", small)
    (site / build.NOTE).write_bytes(b"\xff")
    assert not build.up_to_date(site, small)
    assert build.up_to_date(build.build(site, small), small)


def test_a_page_that_moved_is_noticed(small: Path, tmp_path: Path) -> None:
    """Also to a place that changes nothing of the pages' order."""
    site = build.build(tmp_path / "site", small)
    (small / "docs/tutorial/zh").rename(small / "docs/tutorial/zu")
    assert not build.up_to_date(site, small)


def test_what_python_keeps_beside_the_program_changes_no_page(small: Path, tmp_path: Path) -> None:
    site = build.build(tmp_path / "site", small)
    kept = Path(cache_from_source(serve.__file__, optimization=2))  # as `python -OO` does
    py_compile.compile(serve.__file__, str(kept), optimize=2)
    try:
        assert build.up_to_date(site, small)
    finally:
        kept.unlink()


def test_a_folder_that_is_somebody_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(
            LabError, match=rf"/{name} is there and isn't a site .*: name an empty folder, or one that isn't there yet, by --to"
        ):
            build.build(tmp_path / name)
    assert (tmp_path / "full/letter").read_text() == (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("folder", [None, Path("/proc/site")], ids=["somebody's", "no place to write"])
def test_of_the_folder_that_nobody_named_the_cure_names_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path | None
) -> None:
    """`outlive class`, which serves no other one, has no --to."""
    (tmp_path / "letter").write_text("mine")
    monkeypatch.setattr(build, "FOLDER", folder or tmp_path)
    said = "can't be built in /proc/site .*: see that you may write there$" if folder else "is there and isn't a site .*: move it away$"
    with pytest.raises(LabError, match=said):
        serve.serve("127.0.0.1", 0, build.FOLDER)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    # What root may not either.
    for folder, why in ((tmp_path / "file/site", "File exists"), (Path("/proc/site"), "No such file or directory")):
        with pytest.raises(
            LabError, match=rf"the site can't be built in {folder} \({why}.*\): name a folder that you may write to, by `outlive"
        ):
            build.build(folder)


def test_an_environment_of_before_names_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    assert main(["site", "build", "--to", str(tmp_path / "site")]) == 2
    assert re.match(r"error: Python's package zensical is missing in \S+: run `make setup`, ", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_build_that_is_cut_short_leaves_the_former_site(small: Path, tmp_path: Path, number: signal.Signals, status: int) -> None:
    site, beside = build.build(tmp_path / "site", small), tmp_path / ".site.new"
    former = (site / "index.html").read_bytes()
    with subprocess.Popen([*OUTLIVE, "site", "build", "--to", str(site)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for("the build", "begun", lambda: beside.is_dir() or process.poll() is not None, bool, within=60, every=0.01)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == status
    assert (site / "index.html").read_bytes() == former
    assert beside.exists() == (number == signal.SIGKILL)
    build.build(site, small)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout", "site"]
