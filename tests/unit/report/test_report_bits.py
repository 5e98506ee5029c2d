"""What the report says of networks in fewer bits, from runs whose answer is known."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
import synthetic_run

from secateur.report import conclusions, sentences
from secateur.report.gather import gather_results
from secateur.report.plots import curves, speed
from secateur.report.render import csv as export_rows
from secateur.report.render import markdown, slider, tables
from secateur.report.results import is_within


def make(lost=0.0, cut=False, bits=(16, 8), **given):
    return gather_results(synthetic_run.quantised(synthetic_run.make(**given), lost, cut, bits))


def test_the_headline_compares_with_the_best_uncut_network():
    # The uncut network has 5,160 parameters; 70 % of the weights cut are 13.9 kB of 20.6, 60 % of the neurons 5.95 kB.
    assert sentences.headline(make()) == ("Quantise rather than cut: within 0.5 points of 97%, int8 alone takes 25% of "
                                          "the bytes, the best cut 29%.")
    assert sentences.headline(make(cut=True)) == ("Within 0.5 points of 97%, int8 alone takes 25% of the bytes, int8 "
                                                  "with 60% fewer neurons 7.2%.")


def test_without_a_rival_the_headline_says_in_how_many_bits():
    assert sentences.headline(make(cut=True, bits=())) == (
        "You can remove 70% of the weights in int8 and stay within 0.5 points of 97%.")
    told = sentences.explanation(make(cut=True, bits=()))
    assert "In int8, you can remove 70% of the weights." in told and "You can remove 70% of the weights." in told


def test_the_headline_names_both_granularities_where_words_are_left():
    run = synthetic_run.quantised(synthetic_run.make(), bits=(16,))
    smaller = [replace(p, bytes_sparse=p.bytes_sparse // 4) if p.removed else p for p in run.points]
    told = sentences.headline(gather_results(replace(run, points=smaller)))
    assert told == ("Within 0.5 points of 97%, bf16 alone takes 50% of the bytes, 70% fewer weights 17%, 60% fewer "
                    "neurons 29%.")
    assert len(told.split()) <= sentences.MOST_WORDS


def test_where_words_are_short_the_headline_names_the_smallest_file():
    # 60 % of the neurons cut are 5.95 kB of 20.6; a tenth of that is below int8's quarter, the weights' 29 % are not.
    run = synthetic_run.quantised(synthetic_run.make(), lost=0.004)
    run = replace(run, points=[
        replace(p, bytes=p.bytes // 10, bytes_sparse=p.bytes_sparse // 10) if p.granularity == "neuron" and p.removed
        else p for p in run.points])
    assert sentences.headline(gather_results(run)) == (
        "Within 0.5 points of 97%, int8 alone probably takes 25% of the bytes, 60% fewer neurons 2.9%.")


def test_a_ruined_int8_network_is_no_rival_and_is_told():
    found = make(lost=0.02)
    assert found.rival is None
    assert sentences.headline(found) == sentences.headline(gather_results(synthetic_run.make()))
    # Every seed loses 80 of 4,000 samples, a window that moves by 20: of the means over three seeds 40 are 1/3, 40 are
    # 2/3 and 40 are 1, so that their variance is 62.2 / 4000 - 0.02 ** 2, and half of the interval 0.38 points.
    assert "int8 alone, with nothing cut: 25% of the bytes, 2.00 points lost, 95% interval 1.62 to 2.38." in (
        sentences.explanation(found))
    assert [row[0] for row in tables.answers(found).rows] == ["weights, plain", "neurons, plain"]


def test_of_several_within_the_tolerance_the_smallest_is_the_rival():
    assert make().rival.bits == 8
    run = synthetic_run.quantised(synthetic_run.make(), bits=(16,))
    both = replace(run, points=[*run.points, *(p for p in synthetic_run.quantised(
        synthetic_run.make(), 0.02, bits=(8,)).points if p.bits == 8)])
    assert gather_results(both).rival.bits == 16
    assert is_within(0.1 + 0.2 - 0.295, 0.005) and not is_within(float("nan"), 0.005)


def test_an_int8_network_that_is_not_surely_as_accurate_is_probably_so():
    found = make(lost=0.004, cut=True)
    assert "int8 alone probably takes 25% of the bytes" in sentences.headline(found)
    assert tables.answers(found).rows[0][1] == "0%†"


def test_where_no_cut_is_small_enough_int8_may_be():
    found = make(grid=(0.0, 0.99), granularities=("neuron",))
    assert sentences.headline(found) == ("No measured cut stays within 0.5 points of 97%; int8 alone does, in 25% of "
                                         "the bytes.")


def test_the_table_of_answers_begins_with_the_rival():
    table = tables.answers(make())
    assert table.rows[0] == ("int8 alone", "0%", "97.0% ± 0.1", "25%", "–", "–")
    assert len(table.rows) == 3
    with_cuts = tables.answers(make(cut=True)).rows
    assert [row[0] for row in with_cuts] == ["int8 alone", "weights, plain", "… and int8", "neurons, plain",
                                             "… and int8"]
    # A quarter of 13.9 of 20.6 kB.
    assert with_cuts[2] == ("… and int8", "70%", "97.0% ± 0.1", "17%", "–", "–")
    assert "–: not timed." in tables.key_to_answers(make())


def test_uncut_networks_in_fewer_bits_are_no_methods_and_cut_ones_are():
    assert [c.method.name for c in make().curves] == [c.method.name for c in gather_results(
        synthetic_run.make()).curves]
    found = make(cut=True)
    assert [c.method.name for c in found.methods()] == ["weights", "weights, int8", "neurons", "neurons, int8"]
    assert [c.method.tone for c in found.methods()] == [0, 0, 0, 0]
    drawn = {s.name: s for s in curves.plot(found, "accuracy", "bytes").series}
    assert (drawn["weights"].dash, drawn["weights, int8"].dash) == ("solid", "dot")
    assert drawn["weights"].role == drawn["weights, int8"].role
    assert len(found.cells_at(0.5)) == 2 and all(c.method.bits == 32 for c, _ in found.cells_at(0.5))


def test_losses_in_fewer_bits_are_measured_against_float32():
    found = make(lost=0.002, cut=True)
    weights, small = (next(c for c in found.methods("weight") if c.method.bits == bits) for bits in (32, 8))
    at = {cell.sparsity: cell for cell in weights.cells}
    for cell in small.cells:
        assert cell.cost.mean == pytest.approx(at[cell.sparsity].cost.mean + 0.002, abs=1e-9)
    (uncut,) = [one for one in found.quantized if one.bits == 8]
    assert uncut.cell.cost.mean == pytest.approx(0.002) and uncut.cell.cost.low > -0.01
    assert found.dense.bytes == 4 * 5160


def test_uncut_networks_are_marked_against_bytes():
    found = make()
    marks = {s.name: (s.x[0], s.symbol) for s in curves.plot(found, "accuracy", "bytes").series
             if s.name.startswith("uncut")}
    assert marks == {"uncut float32": (20640.0, "cross"), "uncut bf16": (10320.0, "triangle"),
                     "uncut int8": (5160.0, "triangle-down")}
    for metric, x in (("accuracy", "kept"), ("loss", "bytes"), ("accuracy", "flops")):
        assert not [s for s in curves.plot(found, metric, x).series if s.name.startswith("uncut")]
    assert [s.name for s in curves.plot(found, "accuracy", "latency-1").series if s.name.startswith("uncut")] == [
        "uncut float32"]
    assert not [s for s in curves.plot(gather_results(synthetic_run.make()), "accuracy", "bytes").series
                if s.name.startswith("uncut")]


def test_the_slider_says_what_fewer_bits_give_where_nothing_is_cut():
    assert slider.sentence(make(), 0.0, "1") == (
        "Keep everything: 97% accuracy, the original network. bf16 alone: 97.0% ± 0.1 accuracy, 50% of the bytes. int8 "
        "alone: 97.0% ± 0.1 accuracy, 25% of the bytes.")


def test_summary_and_csv_hold_the_bits(tmp_path):
    found = make(cut=True)
    text = markdown.render(found, [])
    assert "| int8 alone | 0% | 97% | 0.00 (" in text and "weights, int8" in text
    assert "Networks in fewer bits were not timed." in text
    rows = list(csv.DictReader(io.StringIO(export_rows.write_csv(found.run, tmp_path / "rows.csv").read_text())))
    assert {row["bits"] for row in rows} == {"32", "16", "8"}
    assert all(row["latency_1_original_median"] == "" for row in rows if row["bits"] != "32")


def test_what_could_not_be_quantised_is_told():
    run = replace(synthetic_run.make(), not_quantized={8: "no layer can be quantised"})
    assert conclusions.refusals(gather_results(run)) == [
        "The uncut network in int8 was left out: no layer can be quantised."]


def test_an_uncut_network_in_fewer_bits_with_a_time_is_drawn_and_told():
    run = synthetic_run.quantised(synthetic_run.make(batches=(1, 64)), cut=True)
    whole = next(p for p in run.points if p.is_uncut)
    times = {b: {"original": ways["original"], "int8": {"median": ways["original"]["median"] / 4, "low": 1.0,
                                                        "high": 1.0, "speedup": 4.0, "speedup_low": 3.9,
                                                        "speedup_high": 4.1}}
             for b, ways in whole.latency.items()}
    timed = [replace(p, latency=times, conditions=whole.conditions) if p.is_quantized_alone and p.bits == 8
             and p.seed == 0 else p for p in run.points]
    found = gather_results(replace(run, points=timed))
    assert tables.answers(found).rows[0][-2:] == ("4.0×", "4.0×")
    assert tables.answers(found).rows[2][-2:] == ("–", "–")
    for batch in ("1", "64"):
        ms = 1e3 * found.dense.seconds[batch] / 4
        (mark,) = [s for s in curves.plot(found, "accuracy", f"latency-{batch}").series if s.name == "uncut int8"]
        assert mark.x == pytest.approx((ms,))
        pareto = {s.name: s for s in speed.pareto(found, batch).series}
        assert pareto["uncut int8"].x == mark.x and "uncut bf16" not in pareto
    (best,) = [s for s in speed.pareto(found, "1").series if s.name == "Pareto front"]
    assert best.x[0] <= 1e3 * found.dense.seconds["1"] / 4
