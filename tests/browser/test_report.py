"""The page in a real browser: it draws, its controls work, it fits a phone, it fetches nothing."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

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


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    path = tmp_path_factory.mktemp("quantised") / "report.html"
    run = synthetic_run.quantised(synthetic_run.make())
    path.write_text(page.render(gather_results(run)), encoding="utf-8")
    return path


def load(browser, report, width, scheme, state=""):
    """The page in a fresh tab that is offline, with its troubles and requests."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    tab.troubles, tab.requests = [], []
    tab.on("console", lambda m: tab.troubles.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda e: tab.troubles.append(str(e)))
    tab.on("request", lambda r: tab.requests.append(r.url))
    tab.set_default_timeout(LIMIT_MS)
    tab.goto(f"{report.as_uri()}#{state}")
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
    for choice in ("against", "x", "show", "near"):
        desktop.locator(f'input[name="{choice}"]').first.check(force=True)
    desktop.locator('select[name="batch"]').select_option("1")
    keep(desktop, "30%")
    return desktop


def keep(tab, kept):
    """Move the slider to a place, and wait until all is drawn."""
    places = tab.evaluate("JSON.parse(document.getElementById('data').textContent).slider.places.map(p => p.kept)")
    tab.locator("#keep").fill(str(places.index(kept)))
    drawn(tab)


def drawn(tab):
    until(tab, "document.documentElement.dataset.drawn === 'yes'")


def until(tab, expression):
    """Wait until an expression is true; the page's own policy forbids the driver's polling, which evaluates text."""
    for _ in range(600):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(100)
    raise AssertionError(f"never true: {expression}")


def check_layout(tab, width):
    canvases = "[...document.querySelectorAll('.canvas')].map(c => c.querySelectorAll('.trace').length > 0)"
    inside = ("[...document.querySelectorAll('.canvas')].every(c => "
              "c.querySelector('svg').getBoundingClientRect().right <= c.getBoundingClientRect().right + 1)")
    until(tab, inside)
    assert tab.evaluate(canvases) == [True] * 10
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


@pytest.mark.parametrize("choice", ["bytes", "parameters", "flops", "latency"])
def test_the_reader_switches_the_x_axis(opened, choice):
    before, path = curve(opened), opened.evaluate("document.querySelector('#curves-0 .js-line').getAttribute('d')")
    opened.check(f'input[name="x"][value="{choice}"]', force=True)
    drawn(opened)
    after = curve(opened)
    assert before != after
    assert curve(opened, 1) == after
    assert opened.evaluate("document.querySelector('#curves-0 .js-line').getAttribute('d')") != path
    assert opened.inner_text("#curves figcaption").startswith("Test accuracy against ")


def test_the_keyboard_moves_the_choice(opened):
    opened.focus('input[name="x"][value="kept"]')
    before = curve(opened)
    opened.keyboard.press("ArrowRight")
    drawn(opened)
    assert opened.evaluate("document.activeElement.value") == "bytes"
    assert curve(opened) != before


def test_the_first_figure_is_against_bytes_milliseconds_or_what_is_kept(opened):
    axis = "document.getElementById('first-0').layout.xaxis.title.text"
    assert opened.evaluate(axis) == "bytes of the file"
    opened.locator('select[name="batch"]').select_option("64")
    for choice, title in (("latency", "measured latency at batch 64 (ms)"), ("kept", "fraction kept")):
        opened.check(f'input[name="against"][value="{choice}"]', force=True)
        drawn(opened)
        assert opened.evaluate(axis) == title


def test_one_choice_shows_a_granularity_alone_in_all_figures(opened):
    names = "document.getElementById('{}').data.filter(t => t.name).map(t => t.name)"
    assert opened.evaluate(names.format("curves-0")) == [
        "weights", "weights, random (control)", "neurons", "neurons, random (control)"]
    opened.check('input[name="show"][value="neuron"]', force=True)
    drawn(opened)
    assert opened.evaluate(names.format("curves-0")) == ["neurons", "neurons, random (control)"]
    assert opened.evaluate(names.format("speedup-0")) == ["neurons, smaller dense network"]
    assert opened.evaluate(names.format("first-0")) == ["neurons"]


def test_the_accuracy_axis_shows_what_matters_and_the_whole_where_asked(opened):
    ranges = "['first-0', 'curves-0', 'pareto-0'].map(id => document.getElementById(id).layout.yaxis.range[0])"
    assert all(low > 0.9 for low in opened.evaluate(ranges))
    opened.check('input[name="near"][value="whole"]', force=True)
    drawn(opened)
    assert all(low < 0.5 for low in opened.evaluate(ranges))


def test_the_slider_rewrites_the_sentence_and_marks_every_figure(opened):
    def state():
        lines = ("Object.fromEntries(['first-0', 'curves-0', 'speedup-0', 'why-0', 'why-1'].map(id => [id, "
                 "document.getElementById(id).layout.shapes.filter(s => s.name === 'marker').map(s => s.x0)]))")
        ring = "['first-0', 'pareto-0'].map(id => document.getElementById(id).data.at(-1).x)"
        return opened.inner_text(".says"), opened.evaluate(lines), opened.evaluate(ring)

    sentence, lines, rings = state()
    assert sentence.startswith("Keep 30% of the weights: 97.0% ± ")
    assert lines["curves-0"] == lines["speedup-0"] == lines["why-1"] == [pytest.approx(0.3)]
    assert lines["first-0"] == [] and all(len(found) >= 2 for found in rings)
    assert len(lines["why-0"]) == 2
    opened.locator("#keep").focus()
    opened.keyboard.press("ArrowRight")
    drawn(opened)
    after, moved, ringed = state()
    assert after.startswith("Keep 20% of the weights: ")
    assert opened.inner_text("output.kept >> nth=0") == "20%"
    assert moved["curves-0"] == [pytest.approx(0.2)]
    assert moved["why-0"] != lines["why-0"]
    assert all(then != now for then, now in zip(rings, ringed, strict=True))
    assert "20% kept" in opened.inner_text("#classes figcaption")


def test_one_batch_holds_for_all_figures(opened):
    opened.check('input[name="x"][value="latency"]', force=True)
    opened.locator('select[name="batch"]').select_option("64")
    drawn(opened)
    titles = opened.evaluate("['curves', 'pareto', 'speedup'].map(id => document.querySelector(`#${id} figcaption`)"
                             ".textContent)")
    assert all(title.endswith("batch 64") for title in titles)
    assert opened.inner_text(".says").endswith("at batch 64.")
    assert opened.evaluate("[...document.querySelectorAll('.findings li')].filter(e => !e.hidden)"
                           ".every(e => e.textContent.startsWith('At batch 64,'))")


def test_the_state_is_in_the_address(browser, opened, report):
    opened.check('input[name="x"][value="flops"]', force=True)
    keep(opened, "5%")
    opened.locator('select[name="batch"]').select_option("64")
    opened.evaluate("location.hash = '#pareto'")
    until(opened, "location.hash.startsWith('#pareto&')")
    address = opened.evaluate("location.href")
    assert sorted(address.partition("#")[2].split("&")) == ["batch=64", "keep=5", "pareto", "x=flops"]
    other = load(browser, report, 1280, "light", address.partition("#")[2])
    assert other.inner_text(".says") == opened.inner_text(".says")
    assert other.evaluate("document.querySelector('input[name=x]:checked').value") == "flops"
    assert abs(other.evaluate("document.getElementById('pareto').getBoundingClientRect().top")) < 120
    other.context.close()


def test_an_address_that_means_nothing_changes_nothing(browser, report):
    tab = load(browser, report, 1280, "light", "keep=42&x=constructor&%E0%A4%A=1&batch=7&nowhere")
    assert tab.troubles == []
    assert tab.inner_text("output.kept >> nth=0") == "30%"
    tab.context.close()


def saved(tab, button):
    with tab.expect_download() as waiting:
        button.click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text(encoding="utf-8")


def test_figures_and_tables_can_be_saved(opened):
    name, text = saved(opened, opened.locator('#speedup button[data-save="csv"]'))
    assert name == "secateur-speed-up-against-fraction-kept-batch-1.csv"
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["series", "fraction kept", "speed-up over the original (×)"]
    assert len(rows) == 1 + 3 * len(synthetic_run.GRID)
    name, text = saved(opened, opened.locator('#speedup button[data-save="svg"]'))
    assert name.endswith(".svg")
    assert "<text" in text and "fraction kept" in text and "sparse kernels" in text
    opened.evaluate("document.querySelectorAll('#curves > details').forEach(d => { d.open = true; })")
    name, text = saved(opened, opened.locator('#curves button[data-save="table"]'))
    assert len(list(csv.reader(text.splitlines()))) == 1 + 4 * len(synthetic_run.GRID)


def test_labels_stand_on_the_lines_and_never_on_each_other(opened):
    for figure in ("first-0", "curves-0", "curves-1", "speedup-0", "pareto-0"):
        boxes = opened.evaluate(f"[...document.querySelectorAll('#{figure} .annotation')].map(a => {{ const r = "
                                "a.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; })")
        assert len(boxes) >= 2
        for i, a in enumerate(boxes):
            assert not any(a[0] < b[2] - 1 and b[0] < a[2] - 1 and a[1] < b[3] - 1 and b[1] < a[3] - 1
                           for b in boxes[:i]), figure


def test_uncut_networks_are_marked_where_they_were_measured(browser, quantised):
    tab = load(browser, quantised, 1280, "light")
    names = ("document.getElementById('first-0').data.filter(t => t.name && t.name.startsWith('uncut'))"
             ".map(t => [t.name, t.x[0]])")
    whole = next(p for p in synthetic_run.make().points if p.is_uncut).bytes
    assert tab.evaluate(names) == [["uncut float32", whole], ["uncut bf16", whole / 2], ["uncut int8", whole / 4]]
    told = tab.evaluate("[...document.querySelectorAll('#first-0 .annotation')].map(a => a.textContent)")
    assert sum("uncut" in text for text in told) == 3
    tab.check('input[name="against"][value="latency"]', force=True)
    drawn(tab)
    assert [name for name, _ in tab.evaluate(names)] == ["uncut float32"]
    assert "Networks in fewer bits were not timed." in tab.inner_text(".first .board .note")
    assert tab.troubles == []
    tab.context.close()


def test_the_numbers_open(opened):
    opened.locator("#pareto .numbers summary").click()
    until(opened, f"document.querySelectorAll('#pareto .numbers tbody tr').length > {3 * len(synthetic_run.GRID)}")
    assert opened.inner_text("#pareto .numbers thead").strip().split("\t") == [
        "series", "measured latency at batch 1 (ms)", "test accuracy"]


def test_samples_layers_and_classes_follow_the_slider(opened):
    wrong = "[...document.querySelectorAll('.pictures .wrong')].length"
    keep(opened, "1%")
    assert opened.evaluate(wrong) > 0
    opened.check('input[name="layers"][value="2"]', force=True)
    drawn(opened)
    assert "97.5%" in opened.inner_text(".layers table")
    assert "kept one neuron" in opened.inner_text("#layers .note")
    assert "loses most" in opened.inner_text("[data-classes='0'] .verdict")
    keep(opened, "100%")
    assert opened.evaluate(wrong) == 0
    assert "no class loses more accuracy than chance explains" in opened.inner_text("[data-classes='0'] .verdict")


def test_a_print_holds_every_table_in_light_colours(browser, report):
    tab = load(browser, report, 1280, "dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    rows = "[...document.querySelectorAll('#curves tbody tr')].filter(r => r.getBoundingClientRect().height > 0).length"
    assert tab.evaluate(rows) >= 4 * len(synthetic_run.GRID)
    colour = "document.getElementById('curves-0').data.find(t => t.name === 'weights').line.color"
    assert tab.evaluate(colour) == page.palette.LIGHT["weight"]
    assert tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()") == (
        page.palette.LIGHT["ink"])
    assert tab.evaluate("Math.max(...[...document.querySelectorAll('.canvas svg')].map(s => s.clientWidth))") <= 680
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not tab.evaluate("document.querySelector('#curves > details').open")
    tab.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing(browser, report, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs the package axe-playwright-python")
    # The page's own policy forbids scripts that are put in from outside.
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    tab.set_default_timeout(LIMIT_MS)
    tab.goto(report.as_uri())
    tab.wait_for_selector("html[data-drawn=yes]")
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    tab.evaluate(axe.AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run()")
    assert len(found["passes"]) > 30
    assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found["violations"]] == []
    tab.close()


@pytest.mark.parametrize("which", ["report", "quantised"])
def test_a_phone_shows_headline_table_and_figure_first(browser, which, request):
    tab = load(browser, request.getfixturevalue(which), 390, "light")
    ends = tab.evaluate("['h1', '.four table', '#first-0'].map(s => document.querySelector(s)"
                        ".getBoundingClientRect().bottom)")
    assert ends == sorted(ends)
    assert ends[-1] < 844
    assert tab.evaluate("(t => t.scrollWidth - t.clientWidth)(document.querySelector('.four .scroll'))") <= 0
    tab.context.close()


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
