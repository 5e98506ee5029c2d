"""The sentence on top, from runs whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import synthetic_run

from secateur.core import text as words
from secateur.measure import speed
from secateur.measure.speed import Speed
from secateur.report import conclusions, sentences
from secateur.report.gather import gather_results
from secateur.report.plots import curves
from secateur.report.render import tables
from secateur.report.results import Curve, Method, Results
from secateur.report.statistics import Interval

METHOD = Method("weight", "magnitude", "layer", False, "weights")


def curve(*costs: tuple[float, float]) -> Curve:
    cells = [SimpleNamespace(sparsity=s, removed=round(100 * s), cost=Interval(c, c, c, ())) for s, c in costs]
    return Curve(METHOD, tuple(cells))  # type: ignore[arg-type]


def test_the_answer_stops_at_the_first_sparsity_that_is_too_much():
    found = conclusions.answer(curve((0.0, 0.0), (0.5, 0.001), (0.7, 0.02), (0.8, 0.004)), 0.005)
    assert found.cell.sparsity == 0.5
    assert found.too_much.sparsity == 0.7


def test_a_sparsity_that_removed_nothing_is_no_answer():
    found = conclusions.answer(curve((0.0, 0.0), (0.001, 0.0), (0.5, 0.02)), 0.005)
    assert found.cell is None
    assert found.too_much.sparsity == 0.5


def test_exactly_the_tolerance_is_within():
    found = conclusions.answer(curve((0.5, 0.1 + 0.2 - 0.295)), 0.005)
    assert found.cell.sparsity == 0.5
    assert found.too_much is None


def test_nothing_can_go():
    found = conclusions.answer(curve((0.0, 0.0), (0.01, 0.3)), 0.005)
    assert found.cell is None
    assert found.too_much.sparsity == 0.01


def test_the_pace_is_that_of_the_ratio_that_is_printed():
    for ratio in (n / 1000 for n in range(800, 1300)):
        shown = float(words.times(ratio).rstrip("×"))
        expected = "even" if 0.97 <= shown <= 1.03 else "faster" if shown > 1 else "slower"
        assert speed.pace(ratio) == expected, ratio
    assert speed.in_words(Speed(1, 0.91, 0.9, 0.92)) == "0.91×"
    assert speed.in_words(Speed(1, 1.1, 0.9, 1.2)) == "1.10×, quartiles 0.90× to 1.20×,"
    assert speed.in_words(Speed(1, 1.02, 0.9, 1.2), True) == "1.02× the speed"


def test_the_headline_is_of_at_most_twenty_words():
    found = gather_results(synthetic_run.make())
    assert sentences.headline(found) == (
        "You can remove 70% of the weights, or 60% of the neurons, and stay within 0.5 points of 97%.")
    assert len(sentences.headline(found).split()) == 19
    assert len(sentences.headline(with_recovery()).split()) <= 20
    run, names = synthetic_run.make(), {"weight": "2:4", "neuron": "4x1"}
    long = gather_results(replace(run, points=[replace(p, granularity=names[p.granularity]) for p in run.points]))
    assert sentences.headline(long) == "You can remove 60% of the 4x1 blocks and stay within 0.5 points of 97%."


def test_each_sentence_is_about_one_thing():
    assert sentences.explanation(gather_results(synthetic_run.make())) == [
        "You can remove 70% of the weights.",
        "It costs 0.00 points (95% interval 0.09 gained to 0.09 lost).",
        "The file shrinks from 20.6 kB to 13.9 kB.",
        "It is about as fast with sparse kernels: 0.97× the speed at batch 1.",
        "It is slower with sparse kernels: 0.84× the speed at batch 64.",
        "You can remove 60% of the neurons.",
        "It costs 0.00 points (95% interval 0.09 gained to 0.09 lost).",
        "The file shrinks from 20.6 kB to 5.95 kB.",
        "It is faster: 3.3× the speed at batch 1 and 3.3× at batch 64."]


def test_without_latency_it_says_so():
    found = sentences.explanation(gather_results(synthetic_run.make(batches=())))
    assert found.count("Its speed was not measured.") == 2


def test_of_a_small_test_set_that_shows_no_loss_nothing_is_sure(monkeypatch):
    monkeypatch.setattr(synthetic_run, "TESTS", 400)
    found = gather_results(synthetic_run.make())
    assert all(a.cell.cost.mean == 0 and not a.is_sure for a in conclusions.answers(found))
    # 1 - 0.025 ** (1 / 400) = 0.0092: a loss so large may show in none of 400 samples.
    told = "The average loss is 0.00 points, but with 400 test samples it could be 0.92."
    assert told in sentences.explanation(found)
    uncut = [cell.cost for curve in found.curves for cell in curve.cells if not cell.removed]
    assert uncut and all((cost.low, cost.high) == (0.0, 0.0) for cost in uncut)


def test_the_end_of_the_grid_is_told():
    found = gather_results(synthetic_run.make(grid=(0.0, 0.1), granularities=("weight",)))
    assert sentences.headline(found) == "You can remove 10% of the weights and stay within 0.5 points of 97%."
    assert "That is the largest sparsity that was tried." in sentences.explanation(found)


def test_where_no_cut_is_small_enough():
    found = gather_results(synthetic_run.make(grid=(0.0, 0.99), granularities=("neuron",)))
    assert sentences.headline(found) == "No measured cut stays within 0.5 points of 97%."
    (told,) = sentences.explanation(found)
    assert told.startswith("No fraction of the neurons that was tried can be removed (99% costs ")
    assert [(r.sparsity, r.accuracy, r.speeds) for r in conclusions.answer_rows(found)] == [(None, None, ())]


def test_controls_alone_give_no_answer():
    run = synthetic_run.make(criteria={"weight": ("random",), "neuron": ("random",)})
    assert sentences.headline(gather_results(run)).startswith("Only random controls were cut")


def test_of_several_methods_the_one_that_cuts_most_answers():
    run = synthetic_run.make(criteria={"weight": ("a", "b"), "neuron": ("l2",)}, granularities=("weight",))
    worse = [replace(p, accuracy=0.5) if p["criterion"] == "a" and p["sparsity"] > 0.2 else p for p in run.points]
    found = conclusions.answers(gather_results(replace(run, points=worse)))
    assert [a.method.criterion for a in found] == ["b"]
    assert found[0].cell.sparsity == 0.7


def doubtful(*costs: Interval) -> tuple[Results, conclusions.Answer]:
    """A run whose plain cuts of weights cost so much at 10, 20, … %, and their answer."""
    run = synthetic_run.make(grid=(0.0, *(n / 10 for n in range(1, len(costs) + 1))), granularities=("weight",),
                             criteria={"weight": ("magnitude",)})
    found = gather_results(run)
    (only,) = found.curves
    cells = (only.cells[0], *(replace(cell, cost=cost) for cell, cost in zip(only.cells[1:], costs, strict=True)))
    found = replace(found, curves=(replace(only, cells=cells),))
    return found, conclusions.answers(found)[0]


def test_can_is_said_only_where_the_upper_end_is_within_the_tolerance():
    found, a = doubtful(Interval(0.001, 0.0, 0.005, ("seeds",)), Interval(0.0036, -0.005, 0.0125, ("seeds",)))
    assert (a.cell.sparsity, a.sure.sparsity, a.is_sure) == (0.2, 0.1, False)
    assert sentences.headline(found) == "You can probably remove 20% of the weights and stay within 0.5 points of 97%."
    told = sentences.sentences_of(a, found)
    assert told[0] == "You can probably remove 20% of the weights."
    assert "The average loss is 0.36 points, but with 3 seeds it could be 1.25." in told
    assert "Up to 10%, the whole 95% interval lies within the tolerance." in told
    found, a = doubtful(Interval(0.001, 0.0, 0.005, ("seeds",)))
    assert a.is_sure and sentences.headline(found).startswith("You can remove 10%")


def test_a_sure_cut_beyond_a_doubtful_one_is_not_sure():
    found, a = doubtful(Interval(0.001, -0.005, 0.009, ("seeds",)), Interval(0.001, 0.0, 0.002, ("seeds",)))
    assert (a.cell.sparsity, a.sure, a.is_sure) == (0.2, None, False)
    assert "The average loss is 0.10 points, but with 3 seeds it could be 0.90 at 10%." in sentences.sentences_of(
        a, found)


def test_the_words_of_the_table_of_answers_are_explained_where_there_is_a_recovery():
    assert tables.key_to_answers(with_recovery()) == (
        "Plain: nothing was done after the cut. Recovered: the cut was followed by recovery from 1,000 unlabelled "
        "samples. Size and speed are relative to the uncut network in float32 on this machine.")
    assert tables.key_to_answers(gather_results(synthetic_run.make())) == ""


@pytest.mark.parametrize(("cost", "told"), [
    (Interval(-0.001, -0.004, 0.006, ("seeds",)),
     "The average gain is 0.10 points, but with 3 seeds it could be a loss of 0.60."),
    (Interval(0.001, -0.004, 0.006, ("test samples",)),
     "The average loss is 0.10 points, but with 4,000 test samples it could be 0.60."),
    (Interval(0.001, math.nan, math.nan, ()), "It costs 0.10 points, but one network gives no interval."),
    (Interval(-0.002, -0.003, -0.001, ("seeds",)), "It gains 0.20 points (95% interval 0.10 to 0.30)."),
    (Interval(0.001, -0.001, 0.003, ("seeds",)), "It costs 0.10 points (95% interval 0.10 gained to 0.30 lost)."),
])
def test_what_a_cut_costs_in_a_sentence(cost, told):
    found, a = doubtful(cost)
    assert told in sentences.sentences_of(a, found)
    assert a.is_sure == (cost.high <= 0.005)


def test_a_noisy_timing_gives_no_figure_in_a_sentence():
    run = synthetic_run.make(granularities=("neuron",), criteria={"neuron": ("l2",)})
    loud = {"1": {"load": 0.63, "rounds": 9}, "64": {"load": 0.0, "rounds": 9}, "1024": {"load": 0.0, "rounds": 9}}
    found = gather_results(replace(run, points=[replace(p, conditions=loud) for p in run.points]))
    told = sentences.explanation(found)
    assert "It is faster: 3.3× the speed at batch 64." in told
    assert "Its speed at batch 1 is not known: other processes used 63% of each core." in told
    assert told[-1] == sentences.QUIET and not any("at batch 1 " in text and "×" in text for text in told)
    assert [s.shown for _, s in conclusions.answer_rows(found)[0].speeds] == ["3.3×?", "3.3×"]


def test_a_quiet_seed_answers_for_the_noisy_ones():
    run = synthetic_run.make(granularities=("neuron",), criteria={"neuron": ("l2",)}, batches=(1,))
    points = [p if p.seed == 1 else replace(p, conditions=None, latency={"1": {
        "original": p.latency["1"]["original"], "small": {**p.latency["1"]["small"], "speedup": 6345.0}}})
        for p in run.points]
    found = gather_results(replace(run, points=points))
    quiet = gather_results(replace(run, points=[p for p in run.points if p.seed == 1]))
    for cell, alone in zip(found.curves[0].cells, quiet.curves[0].cells, strict=True):
        assert cell.speed("1", "small") == alone.speed("1", "small")
    assert found.dense.seconds == quiet.dense.seconds


def test_the_table_of_answers_has_four_rows():
    found = with_recovery()
    rows = conclusions.answer_rows(found)
    assert [(r.method.granularity, r.recovery, r.sparsity, r.is_sure) for r in rows] == [
        ("weight", "", 0.7, True), ("weight", "recovery from 1,000 unlabelled samples", 0.9, True),
        ("neuron", "", 0.6, True), ("neuron", "recovery from 1,000 unlabelled samples", 0.9, True)]
    table = tables.answers(found)
    assert table.head == ("cut", "removable", "accuracy ±", "size", "speed at\u00a01", "speed at\u00a064")
    # 97 % are 3,880 of 4,000; the files of the synthetic run are 20.6 kB before, 5.95 kB after.
    assert table.rows[2] == ("neurons, plain", "60%", "97.0% ± 0.1", "29%", "3.3×", "3.3×")


@pytest.mark.parametrize(("interval", "text"), [
    (Interval(0.004, 0.001, 0.007, ()), "0.40 points lost, 95% interval 0.10 to 0.70"),
    (Interval(0.001, -0.002, 0.004, ()), "0.10 points lost, 95% interval 0.20 gained to 0.40 lost"),
    (Interval(-0.002, -0.003, -0.001, ()), "0.20 points gained, 95% interval 0.10 to 0.30"),
    (Interval(-0.001, -0.003, 0.001, ()), "0.10 points gained, 95% interval 0.30 gained to 0.10 lost"),
    (Interval(0.0, 0.0, 0.0, ()), "0.00 points lost, 95% interval 0.00 to 0.00"),
    (Interval(0.01, float("nan"), float("nan"), ()), "1.00 points lost, no interval from one seed"),
])
def test_cost_in_words(interval, text):
    assert conclusions.cost_words(SimpleNamespace(cost=interval)) == text


def with_recovery(**given):
    """A made-up run with a best cut of each granularity that loses nothing up to 90 %."""
    run = synthetic_run.make(**given)
    whole = {p["seed"]: p for p in run.points if p["sparsity"] == 0}
    best = [replace(p, recovery="best", criterion={"weight": "magnitude", "neuron": "elimination"}[p["granularity"]],
                 samples_seen=1000, accuracy=whole[p["seed"]]["accuracy"] if p["sparsity"] <= 0.9 else 0.5,
                 correct=whole[p["seed"]]["correct"] if p["sparsity"] <= 0.9 else p["correct"])
            for p in run.points if p["sparsity"] >= 0.7 and not p["control"]]
    return gather_results(replace(run, points=[*run.points, *best]))


def test_both_answers_are_told_the_plain_one_first():
    found = with_recovery()
    assert [(a.method.recovery, a.cell.sparsity) for a in conclusions.all_answers(found)] == [
        ("none", 0.7), ("best", 0.9), ("none", 0.6), ("best", 0.9)]
    assert sentences.headline(found) == (
        "You can remove 90% of the weights, or 90% of the neurons, and stay within 0.5 points of 97%.")
    told = sentences.explanation(found)
    assert [text for text in told if "remove" in text] == [
        "Without recovery, you can remove 70% of the weights.",
        "With recovery from 1,000 unlabelled samples, you can remove 90% of the weights.",
        "Without recovery, you can remove 60% of the neurons.",
        "With recovery from 1,000 unlabelled samples, you can remove 90% of the neurons."]


def test_methods_are_named_by_their_recovery_and_marked_apart():
    found = with_recovery()
    names = [c.method.name for c in found.curves]
    assert names == ["weights, plain", "weights, recovered", "weights, random (control)",
                     "neurons, plain", "neurons, recovered", "neurons, random (control)"]
    drawn = curves.plot(found, "accuracy").series
    assert len({(s.symbol, s.dash) for s in drawn}) == len({(s.role, s.dash) for s in drawn}) == 6
    assert {c.method.recovery for c in found.plain()} == {"none"}


def test_a_recovery_that_takes_labels_is_called_by_its_name():
    found = with_recovery()
    (best,) = [a for a in conclusions.answers(found, recovery=True) if a.method.granularity == "weight"]
    assert conclusions.source(best) == "recovery from 1,000 unlabelled samples"
    labelled = replace(best, method=replace(best.method, recovery="best-finetune", needs_labels=True))
    assert conclusions.source(labelled) == "recovery best-finetune"
    taught = replace(best.method, criterion="taylor", needs_labels=True)
    assert conclusions.source(replace(best, method=taught)) == "recovery best"


def test_where_every_method_has_a_recovery_it_is_the_answer():
    run = synthetic_run.make()
    found = gather_results(replace(run, points=[replace(p, recovery="best") for p in run.points]))
    assert [a.method.recovery for a in conclusions.answers(found)] == ["best", "best"]
    assert not conclusions.answers(found, recovery=True)
    assert sentences.explanation(found)[0] == "With recovery best, you can probably remove 70% of the weights."
