"""The drawing of a scan: a line a layer, means over the seeds, a run without a scan unchanged."""

from dataclasses import replace

import pytest
import synthetic_run

from secateur.report.gather import gather_results
from secateur.report.plots import sensitivity
from secateur.report.plots.palette import LIGHT
from secateur.report.render import markdown, matplotlib_, page


def scan(seed, layers, granularity="weight"):
    made = [{"name": f"{i}.weight", "items": 1000, "removed": [0, 500, 900, 999],
             "loss": [0.0, 0.001 * (i + 1 + seed), 0.1 * (i + 1), 2.0], "same": [1.0, 0.99, 0.9, 0.1]}
            for i in range(layers)]
    return {"seed": seed, "granularity": granularity, "criterion": "magnitude", "samples": 1024, "layers": made}


def digest(layers=3, seeds=2, granularities=("weight",)):
    run = synthetic_run.make(grid=(0.0, 0.5), seeds=1)
    return gather_results(replace(run, scans=[scan(s, layers, g) for s in range(seeds) for g in granularities]))


def test_a_line_a_layer_with_the_mean_and_the_spread_of_the_seeds():
    drawn = sensitivity.plot(digest(), "loss", ("weight", "magnitude")).series
    assert [s.name for s in drawn] == ["0.weight", "1.weight", "2.weight"]
    assert drawn[1].x == pytest.approx((0.5, 0.1, 0.001))
    assert (drawn[1].low[0], drawn[1].y[0], drawn[1].high[0]) == (0.002, 0.0025, 0.003)
    assert "50% of 1,000 kept" in drawn[1].text[0]


def test_no_two_lines_look_alike_and_many_layers_leave_the_most_sensitive():
    found = digest(layers=60)
    drawn = sensitivity.plot(found, "same", ("weight", "magnitude")).series
    assert len(drawn) == sensitivity.MOST
    assert drawn[0].name == "42.weight"
    assert len({(s.role, s.dash) for s in drawn}) == len(drawn)
    assert {s.role for s in drawn} <= LIGHT.keys()
    assert "18 most sensitive of 60" in sensitivity.board(found).note


def test_the_table_and_the_sentence_name_the_layers():
    found = sensitivity.table(digest(granularities=("weight", "4x1")))
    assert found.rows[0] == ("0.weight", "weights", "magnitude", "1,000", "0.0015", "–", "0.1", "–", "–")
    assert found.rows[3][1] == "4x1 blocks"
    assert "weights of 2.weight (magnitude) moves the outputs most, in every seed" in sensitivity.sentence(digest())


def test_a_layer_is_named_only_where_the_seeds_agree():
    found = digest()
    first, second = found.run.scans
    turned = [layer | {"loss": other["loss"]} for layer, other in
              zip(second["layers"], second["layers"][::-1], strict=True)]
    run = replace(found.run, scans=[first, second | {"layers": turned}])
    assert sensitivity.sentence(gather_results(run)) == (
        "The seeds do not agree on the layer whose weights (magnitude) matter most.")


def test_a_run_without_a_scan_has_no_such_section():
    plain = gather_results(synthetic_run.make(grid=(0.0, 0.5), seeds=1))
    assert "sensitivity" not in matplotlib_.collect(plain)
    assert 'id="sensitivity"' not in page.render(plain)
    assert "## Sensitivity" not in markdown.render(plain, [])
    assert 'id="sensitivity"' in page.render(digest())
    assert "## Sensitivity" in markdown.render(digest(), [])
