"""The page in a real browser: it draws, its controls work, it fits a phone, it fetches nothing."""

from __future__ import annotations

import shutil

import pytest
import synthetic_run

from secateur.report.gather import gather_results
from secateur.report.render import page

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
LIMIT_MS = 120_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs the package playwright")
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=LIMIT_MS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page.render(gather_results(synthetic_run.make())), encoding="utf-8")
    return path


def load(browser, report, width, scheme):
    """The page in a fresh tab that is offline, with its troubles and requests."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    tab.troubles, tab.requests = [], []
    tab.on("console", lambda m: tab.troubles.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda e: tab.troubles.append(str(e)))
    tab.on("request", lambda r: tab.requests.append(r.url))
    tab.set_default_timeout(LIMIT_MS)
    tab.goto(report.as_uri())
    tab.wait_for_selector("html[data-drawn=yes]")
    tab.add_style_tag(content="html { scroll-behavior: auto !important; }") if width > 400 else None
    return tab


@pytest.fixture(scope="module")
def desktop(browser, report):
    return load(browser, report, 1280, "light")


@pytest.fixture
def opened(desktop):
    """The desktop page, every choice as at the start."""
    desktop.emulate_media(color_scheme="light")
    for choice in ("x", "show"):
        desktop.locator(f'input[name="curves-{choice}"]').first.check(force=True)
    hidden = desktop.locator('.key button[aria-pressed="false"]')
    while hidden.count():
        hidden.first.click()
    return desktop


def until(tab, expression):
    """Wait until an expression is true; the page's own policy forbids the driver's polling, which evaluates text."""
    for _ in range(600):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(100)
    raise AssertionError(f"never true: {expression}")


def check_layout(tab, width):
    drawn = "[...document.querySelectorAll('.canvas')].map(c => c.querySelectorAll('.trace').length > 0)"
    inside = ("[...document.querySelectorAll('.canvas')].every(c => "
              "c.querySelector('svg').getBoundingClientRect().right <= c.getBoundingClientRect().right + 1)")
    until(tab, inside)
    assert tab.evaluate(drawn) == [True] * 8
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.troubles == []


def test_a_desktop_shows_every_plot(desktop):
    check_layout(desktop, 1280)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_plot_without_scrolling_sideways(browser, report, scheme):
    tab = load(browser, report, 390, scheme)
    check_layout(tab, 390)
    tab.context.close()


def test_nothing_is_fetched(desktop):
    assert len(desktop.requests) >= 1
    assert [url for url in desktop.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_nothing_moves_once_the_page_is_there(browser, report):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.add_init_script("window.moved = 0; new PerformanceObserver(l => l.getEntries().forEach(e => "
                        "window.moved += e.value)).observe({type: 'layout-shift', buffered: true})")
    tab.set_default_timeout(LIMIT_MS)
    tab.goto(report.as_uri())
    tab.wait_for_selector("html[data-drawn=yes]")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.moved") < 0.02
    tab.close()


def curve(tab, frame=0):
    return tab.evaluate(f"document.getElementById('curves-{frame}').data.find(t => t.name === 'weights').x")


@pytest.mark.parametrize("choice", ["parameters", "flops", "latency-64"])
def test_the_reader_switches_the_x_axis(opened, choice):
    before, path = curve(opened), opened.evaluate("document.querySelector('#curves-0 .js-line').getAttribute('d')")
    opened.check(f'input[name="curves-x"][value="{choice}"]', force=True)
    after = curve(opened)
    assert before != after
    assert curve(opened, 1) == after
    assert opened.evaluate("document.querySelector('#curves-0 .js-line').getAttribute('d')") != path
    assert opened.inner_text("#curves figcaption").startswith("Test accuracy against ")


def test_the_keyboard_moves_the_choice(opened):
    opened.focus('input[name="curves-x"][value="cut"]')
    before = curve(opened)
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.value") == "parameters"
    assert curve(opened) != before


def test_each_granularity_alone(opened):
    names = "document.getElementById('curves-0').data.filter(t => t.name).map(t => t.name)"
    assert opened.evaluate(names) == ["weights", "weights, random (control)", "neurons", "neurons, random (control)"]
    opened.check('input[name="curves-show"][value="neuron"]', force=True)
    assert opened.evaluate(names) == ["neurons", "neurons, random (control)"]


def test_the_key_hides_a_series_in_both_plots(opened):
    button = opened.locator("#curves figure").first.get_by_role("button", name="neurons", exact=True)
    button.focus()
    opened.keyboard.press("Enter")
    for frame in (0, 1):
        shown = opened.evaluate(f"document.getElementById('curves-{frame}').data.map(t => t.name)")
        assert "neurons" not in shown
        assert "weights" in shown
    assert button.get_attribute("aria-pressed") == "false"


def test_the_numbers_open(opened):
    opened.locator("#pareto .numbers summary").click()
    until(opened, f"document.querySelectorAll('#pareto .numbers tbody tr').length > {3 * len(synthetic_run.GRID)}")
    assert opened.inner_text("#pareto .numbers thead").strip().split("\t") == [
        "series", "measured latency at batch 1 (ms)", "test accuracy"]


def test_samples_follow_the_slider(opened):
    words = "[...document.querySelectorAll('.pictures .wrong')].length"
    slider = opened.locator(".samples input")
    slider.focus()
    opened.keyboard.press("End")
    assert opened.inner_text(".samples output") == "99%"
    assert opened.evaluate(words) > 0
    opened.keyboard.press("Home")
    assert opened.evaluate(words) == 0


def test_layers_follow_the_choice(opened):
    selects = opened.locator(".layers select")
    selects.nth(0).select_option(label="neurons")
    selects.nth(1).select_option(label="99%")
    assert "97.5%" in opened.inner_text(".layers table")
    assert "kept one neuron" in opened.inner_text(".layers .note")


def test_dark_mode_recolours_the_plots(opened):
    colour = "document.getElementById('curves-0').data.find(t => t.name === 'weights').line.color"
    light = opened.evaluate(colour)
    opened.emulate_media(color_scheme="dark")
    until(opened, f"{colour} !== '{light}'")
    assert light == page.palette.LIGHT["weight"]
    assert opened.evaluate(colour) == page.palette.DARK["weight"]
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 25)"


def test_hovering_tells_the_point(opened):
    opened.locator("#speedup-0").scroll_into_view_if_needed()
    box = opened.locator("#speedup-0 .point").first.bounding_box()
    for step in (3, 1, 0):
        opened.mouse.move(box["x"] + box["width"] / 2 + step, box["y"] + box["height"] / 2)
    opened.wait_for_selector("#speedup-0 .hovertext", state="attached", timeout=LIMIT_MS)
    assert "the speed at batch 1" in opened.locator("#speedup-0 .hovertext").first.text_content()
