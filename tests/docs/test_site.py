"""The site builds without a warning, holds what it should, works in a browser, and loads nothing from elsewhere."""

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from secateur.core import registry

pytest.importorskip("mkdocstrings", reason="the site needs pip install 'secateur[docs]'")
ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
LIMIT_MS = 120_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LOADED = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="?(https?:[^">\s]+)|<link[^>]*\shref="?(https?:[^">\s]+)')


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
                          cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def words(page):
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_it_holds_every_page_the_real_source_and_every_item(site):
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        assert (site / (name.parent if name.name == "index" else name) / "index.html").is_file()
    assert "return weight.abs() * have(signals.input_norm)" in words(site / "add-criterion" / "index.html")
    assert "factors, offsets = e.pointer" in words(site / "add-kernel" / "index.html")
    reference = "".join(p.read_text(encoding="utf-8") for p in (site / "reference").rglob("index.html"))
    for room in registry.ROOMS:
        for name in registry.files(room):
            kind = registry.get(room, name)
            assert f'id="{kind.__module__}.{kind.__name__}"' in reference, name


def test_it_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    assert [found for page in pages for found in LOADED.findall(page.read_text(encoding="utf-8"))] == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def address(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def found(tab, word, timeout):
    """Whether a search finds a word; typed anew where the page was not yet listening when it was typed."""
    tab.wait_for_load_state("networkidle")
    for _ in range(12):
        tab.locator("input.md-search__input").fill("")
        tab.locator("input.md-search__input").press_sequentially(word)
        with contextlib.suppress(timeout):
            tab.wait_for_selector(".md-search-result__item", timeout=10_000)
            return tab.locator(".md-search-result__item").count() > 0
    return False


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
def test_it_searches_turns_dark_and_fits_a_phone(address):
    started = pytest.importorskip("playwright.sync_api", reason="the browser test needs the package playwright")
    with started.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=LIMIT_MS)
        tab = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark").new_page()
        tab.set_default_timeout(LIMIT_MS)
        troubles, foreign = [], []
        tab.on("pageerror", lambda e: troubles.append(str(e)))
        tab.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else foreign.append(r.url))
        for page in ("", "tutorial/", "notebooks/study/", "accuracy/", "from-torch-pruning/", "reference/criteria/"):
            tab.goto(address + page)
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page
        assert tab.locator("body").get_attribute("data-md-color-scheme") == "slate"
        tab.set_viewport_size({"width": 1280, "height": 900})
        assert found(tab, "FPGM", started.TimeoutError)
        browser.close()
    assert (troubles, foreign) == ([], [])
