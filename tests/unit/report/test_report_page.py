"""The page's first screen, its size, its colours, and who is harmed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import synthetic_run
from test_report_answer import with_recovery

from secateur.report import sentences
from secateur.report.gather import gather_results
from secateur.report.plots import by_class
from secateur.report.plots.palette import DARK, LIGHT
from secateur.report.render import page, slider, tables, templates

SIMULATED = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""How linear RGB looks to the colour-blind: Machado, Oliveira and Fernandes (2009), severity 1."""
THEMES = {"light": LIGHT, "dark": DARK}
BACKGROUNDS = ("paper", "page")


def linear(colour: str) -> np.ndarray:
    """The linear RGB of a colour of sRGB."""
    c = np.array([int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """The contrast of WCAG 2.2."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB, D65."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    t = np.array(to_xyz) @ np.clip(rgb, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_black_on_white_has_the_known_contrast():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_drawn_stands_out_and_what_is_written_more_so(theme):
    palette = THEMES[theme]
    drawn = [role for role in palette if role not in (*BACKGROUNDS, "line")]
    for background in BACKGROUNDS:
        assert [r for r in drawn if contrast(palette[r], palette[background]) < 3] == []
        assert [r for r in ("ink", "soft", "neuron", "weight") if contrast(palette[r], palette[background]) < 4.5] == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("sight", SIMULATED)
def test_the_four_lines_differ_to_the_colour_blind(theme, sight):
    palette, matrix = THEMES[theme], np.array(SIMULATED[sight])
    seen = {r: lab(matrix @ linear(palette[r])) for r in ("weight", "weight-2", "neuron", "neuron-2")}
    near = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(seen, 2)}
    assert min(near.values()) > 15, near


@pytest.fixture(scope="module")
def results():
    return with_recovery()


def test_the_page_opens_with_a_short_headline_and_a_table_of_four_rows(results):
    html, headline = page.render(results), sentences.headline(results)
    assert 5 < len(headline.split()) <= 20
    assert f"<h1>{headline}</h1>" in html
    table = html[html.index('<div class="four">'):html.index('data-board="first"')]
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == [
        "weights, plain", "weights, recovered", "neurons, plain", "neurons, recovered"]
    assert "†" not in table


def test_what_is_not_sure_is_marked():
    run = synthetic_run.make(grid=(0.0, 0.2, 0.99), seeds=2, granularities=("weight",))
    points = [replace(p, accuracy=p["accuracy"] - 0.004 * p["seed"]) if p["sparsity"] == 0.2 else p for p in run.points]
    html = page.render(gather_results(replace(run, points=points)))
    assert "20%†" in html
    assert tables.DOUBTFUL in html


def test_the_slider_has_a_sentence_for_each_place_and_batch(results):
    made = slider.slider(results)
    assert [p["sparsity"] for p in made["places"]] == list(synthetic_run.GRID)
    assert made["places"][made["start"]]["kept"] == "10%"
    assert len({p["sentences"][b] for p in made["places"] for b in ("1", "64")}) == 2 * len(synthetic_run.GRID) - 1
    at_half = made["places"][synthetic_run.GRID.index(0.5)]["sentences"]["64"]
    assert at_half == ("Keep 50% of the weights: 97.0% ± 0.1 accuracy, 0.52× the speed; or of the neurons: "
                       "97.0% ± 0.1 accuracy, 2.6× the speed at batch 64.")


def test_a_page_is_small_and_holds_its_licence(results):
    html = page.render(results)
    assert len(html.encode()) < 2e6
    assert "Licensed under the MIT license" in html
    assert "Permission is hereby granted, free of charge" in templates.read("vendor/LICENSE-plotly.js")


def test_equal_plots_are_kept_once(results):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.render(results), re.S)[1])
    whole = data["boards"]["curves"]["frames"][0]
    assert whole["kept|1"] == whole["kept|64"] != whole["latency|1"] != whole["latency|64"]


def test_a_quick_study_is_marked_as_a_draft():
    run = synthetic_run.make(grid=(0.0, 0.5), seeds=1)
    assert "<mark>" not in page.render(gather_results(run))
    assert "<mark>draft" in page.render(gather_results(replace(run, config=run.config | {"draft": True})))


def harmed(*wrong: tuple[int, int]):
    """A run in which a cut of half the weights makes so many samples of some classes wrong, and changes no other."""
    run = synthetic_run.make(grid=(0.0, 0.5), seeds=1, granularities=("weight",), criteria={"weight": ("magnitude",)})
    labels = np.arange(synthetic_run.TESTS, dtype=np.uint32) % 10
    right = np.ones(synthetic_run.TESTS, np.uint8)
    after = right.copy()
    for name, count in wrong:
        after[np.flatnonzero(labels == name)[:count]] = 0
    points = [replace(p, correct=np.packbits(bits).tobytes(), accuracy=float(bits.mean()))
              for p, bits in zip(run.points, (right, after), strict=True)]
    trained = [t | {"accuracy": 1.0} for t in run.trained]
    return gather_results(replace(run, points=points, trained=trained, labels=labels))


def test_the_class_that_loses_most_comes_first():
    found = harmed((3, 300), (7, 100))
    curve = found.methods()[0]
    losses = by_class.losses(found, curve.cells[1])
    assert [(c.name, c.tests, c.before, c.after, c.clear) for c in losses[:3]] == [
        (3, 400, 1.0, 0.25, True), (7, 400, 1.0, 0.75, True), (0, 400, 1.0, 1.0, False)]
    assert by_class.sentence(curve, 0.5, losses) == ("With 50% kept (weights), class 3 loses most accuracy: from 100% "
                                                     "to 25% "
                                                     "(75.00 points). Class 7 also loses.")
    assert by_class.plot(by_class.collect(found)[1], 0.5).y.names[:2] == ("3", "7")


@pytest.mark.parametrize(("wrong", "told"), [(5, False), (8, False), (9, True), (12, True)])
def test_noise_is_no_harm(wrong, told):
    """Where n answers change, all for the worse, chance gives as much with 2 * 2^-n; with ten classes ten times that:
    0.08 for 8, 0.04 for 9.
    """
    found = harmed((4, wrong))
    curve = found.methods()[0]
    said = by_class.sentence(curve, 0.5, by_class.losses(found, curve.cells[1]))
    assert ("class 4 loses most accuracy" in said) == told
    assert ("no class loses more accuracy than chance explains" in said) != told


def test_a_run_without_classes_says_so():
    run = replace(synthetic_run.make(grid=(0.0, 0.5), seeds=1), labels=None)
    assert by_class.collect(gather_results(run)) == []
    assert "This run has no accuracy by class" in page.render(gather_results(run))
