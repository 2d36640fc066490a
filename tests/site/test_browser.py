"""The site in a real browser, Debian's Chromium: what its buttons copy, its search, its languages, and that it asks nobody."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from outlive.base.paths import ROOT
from outlive.course import pages
from outlive.site import contents

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="this host lacks chromium or chromedriver (Debian's chromium and chromium-driver)"
)
PAGE = "docs/exercises/en/solutions/07-pinned-to-a-node.md"
SECONDS = 30
"""How long a page may take to do what it was asked."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """Return a browser without a network: it reaches this host, and knows it as `room` too, as from a class room without TLS."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",  # root has no other way
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--lang=en",
        "--host-resolver-rules=MAP room 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def shape(browser: Chrome, width: int, scheme: str = "light") -> None:
    """Give the window a width in CSS pixels, and the system a colour scheme."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def asked_elsewhere(browser: Chrome, home: str) -> set[str]:
    """Return the addresses that pages asked for since the last look, but for those below `home`."""
    told = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = {each["params"]["request"]["url"] for each in told if each["method"] == "Network.requestWillBeSent"}
    assert urls, "nothing was loaded"
    return {url for url in urls if not url.startswith((home, "data:", "blob:"))}


def click(browser: Chrome, element: WebElement) -> None:
    """Click on something, out of the way of the page's header."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()


def pasted(browser: Chrome) -> str:
    """Return what is in the clipboard, by pasting it."""
    browser.execute_script("document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))")
    field = browser.find_element(By.ID, "pasted")
    field.send_keys(Keys.CONTROL, "v")
    text = str(field.get_property("value"))
    browser.execute_script("arguments[0].remove()", field)
    return text


@pytest.mark.parametrize("host", ["127.0.0.1", "room"])
def test_a_button_copies_its_command_alone(browser: Chrome, served: str, host: str) -> None:
    """Also where a browser has no clipboard of its own to give: at an address of the room, without TLS."""
    shape(browser, 1400)
    browser.get(f"{served.replace('127.0.0.1', host)}/{contents.address(PAGE)}")
    assert browser.execute_script("return isSecureContext") == (host == "127.0.0.1")
    page = pages.parse((ROOT / PAGE).read_text(encoding="utf-8"), PAGE)
    commands = [command.text for block in page.blocks for command in block.commands]
    buttons = browser.find_elements(By.CSS_SELECTOR, ".console .copy")
    assert len(buttons) == len(commands)
    assert any("\n" in command for command in commands), "no command of several lines: choose another page"
    for button, command in list(zip(buttons, commands, strict=True))[:8]:
        click(browser, button)
        assert pasted(browser) == command


def test_what_a_command_prints_is_not_copied(browser: Chrome, served: str) -> None:
    shape(browser, 1400)
    browser.get(f"{served}/docs/tutorial/en/04-nfs.html")
    block = browser.find_element(By.XPATH, "//div[contains(@class, 'console')][contains(., 'touch /mydata/hello')]")
    assert block.text.splitlines()[:3] == ["$ kubectl exec mypod1 -- touch /mydata/hello", "k8s-master$ ls -l /nfsdata/pv1", "total 0"]
    for button, command in zip(
        block.find_elements(By.CSS_SELECTOR, ".copy"), ["kubectl exec mypod1 -- touch /mydata/hello", "ls -l /nfsdata/pv1"], strict=True
    ):
        click(browser, button)
        assert pasted(browser) == command


def test_other_blocks_are_copied_whole(browser: Chrome, served: str) -> None:
    shape(browser, 1400)
    browser.get(f"{served}/CONTRIBUTING.html")
    block = browser.find_element(By.XPATH, "//pre[contains(., 'banner_text')]")
    browser.execute_script("arguments[0].scrollIntoView()", block)  # it gets its button when it is seen
    click(browser, WebDriverWait(browser, SECONDS).until(lambda _: block.find_element(By.CSS_SELECTOR, "button")))
    assert pasted(browser).strip() == block.find_element(By.CSS_SELECTOR, "code").text.strip()


def test_the_language_is_switched_on_the_same_page_and_back(browser: Chrome, served: str) -> None:
    shape(browser, 360)
    browser.get(f"{served}/docs/exercises/en/03-released-volume.html")
    for language, button in (("en", "Copy"), ("zh", "复制"), ("en", "Copy")):
        assert browser.current_url == f"{served}/docs/exercises/{language}/03-released-volume.html"
        assert browser.execute_script("return document.documentElement.lang") == language
        assert str(browser.find_element(By.CSS_SELECTOR, ".console .copy").get_attribute("title")).startswith(button)
        browser.find_element(By.CSS_SELECTOR, ".twin").click()


@pytest.mark.parametrize("by", ["server", "file"])
@pytest.mark.parametrize(
    ("page", "words", "found"), [("en/04-nfs", "reclaim", "en/06-reclaim"), ("zh/04-nfs", "回收策略", "zh/06-reclaim")]
)
def test_search_finds_pages_of_its_language(browser: Chrome, served: str, site: Path, by: str, page: str, words: str, found: str) -> None:
    home = served if by == "server" else site.as_uri()
    shape(browser, 1400)
    browser.get(f"{home}/docs/tutorial/{page}.html")
    browser.find_element(By.CSS_SELECTOR, ".md-search__button").click()
    # The theme keeps its results in a shadow tree, which no selector reaches from outside.
    results = "return [...document.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [...e.shadowRoot.querySelectorAll('a')].map(a => a.href) : [])"
    focused = "let e = document.activeElement; while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e.localName"
    WebDriverWait(browser, SECONDS).until(lambda _: browser.execute_script(focused) == "input")
    browser.switch_to.active_element.send_keys(words)
    # What was found for these words, and not what is offered before any were typed.
    WebDriverWait(browser, SECONDS).until(
        lambda _: any("?h=" in link and not link.endswith("?h=") for link in browser.execute_script(results))
    )
    links = browser.execute_script(results)
    assert any(link.startswith(f"{home}/docs/tutorial/{found}") for link in links)
    assert not [link for link in links if f"/{'zh' if page.startswith('en') else 'en'}/" in link]


def test_dark_where_the_system_is_dark(browser: Chrome, served: str) -> None:
    for scheme, name in (("dark", "slate"), ("light", "default")):
        shape(browser, 1400, scheme)
        browser.get(f"{served}/index.html")
        assert browser.find_element(By.TAG_NAME, "body").get_attribute("data-md-color-scheme") == name


def test_every_page_fits_a_phone_and_asks_nobody(browser: Chrome, site: Path) -> None:
    """Read as files: nothing but the pages themselves keeps a browser from asking elsewhere."""
    shape(browser, 360)
    browser.get_log("performance")
    wide = []
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":
            browser.get(path.as_uri())
            if browser.execute_script("return document.documentElement.scrollWidth > innerWidth"):
                wide.append(path.name)
    assert wide == []
    assert asked_elsewhere(browser, site.as_uri()) == set()


def test_served_pages_are_loaded_without_a_complaint(browser: Chrome, served: str) -> None:
    shape(browser, 1400)
    browser.get_log("browser")
    browser.get_log("performance")
    for path in ("index.html", "docs/architecture.html", "docs/tutorial/zh/08-mysql.html", "CONTRIBUTING.html"):
        browser.get(f"{served}/{path}")
    assert browser.get_log("browser") == []
    assert asked_elsewhere(browser, served) == set()


def test_a_request_to_elsewhere_is_seen(browser: Chrome, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<script src="https://example.com/x.js"></script>', encoding="utf-8")
    browser.get_log("performance")
    browser.get((tmp_path / "page.html").as_uri())
    assert asked_elsewhere(browser, tmp_path.as_uri()) == {"https://example.com/x.js"}


def test_a_page_that_is_not_there_leads_back(browser: Chrome, served: str) -> None:
    shape(browser, 1400)
    browser.get(f"{served}/docs/nowhere/x.html")
    browser.find_element(By.LINK_TEXT, "Go back to the first page").click()
    assert re.fullmatch(rf"{served}/(index\.html)?", browser.current_url)
