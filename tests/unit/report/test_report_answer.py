"""The sentence on top, from runs whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import synthetic_run

from secateur.core import text as words
from secateur.measure import speed
from secateur.measure.speed import Speed
from secateur.report import conclusions
from secateur.report.gather import gather_results
from secateur.report.plots import curves
from secateur.report.results import Curve, Method
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


def test_sentence_says_slower_where_zeros_do_not_pay():
    text = conclusions.sentence(gather_results(synthetic_run.make()))
    assert text.startswith("Within 0.5 points of its 97% accuracy, mlp on digits can lose 70% of its weights (")
    assert ("with sparse kernels makes it about as fast (0.97× the speed at batch 1) but slower (0.84× the speed at "
            "batch 64); ") in text
    assert "it can lose 60% of its neurons (" in text
    assert "makes it faster (3.3× the speed at batch 1 and 3.3× at batch 64)." in text


def test_sentence_without_latency_says_so():
    text = conclusions.sentence(gather_results(synthetic_run.make(batches=())))
    assert text.count("speed was not measured") == 2


def test_sentence_at_the_end_of_the_grid():
    text = conclusions.sentence(gather_results(synthetic_run.make(grid=(0.0, 0.1), granularities=("weight",))))
    assert "can lose 10% of its weights, the end of the grid (" in text
    assert "neurons" not in text


def test_sentence_where_no_cut_is_small_enough():
    text = conclusions.sentence(gather_results(synthetic_run.make(grid=(0.0, 0.99), granularities=("neuron",))))
    assert "can lose no share of its neurons on this grid (at 99%, " in text


def test_controls_alone_give_no_answer():
    run = synthetic_run.make(criteria={"weight": ("random",), "neuron": ("random",)})
    assert "random controls only" in conclusions.sentence(gather_results(run))


def test_of_several_methods_the_one_that_cuts_most_answers():
    run = synthetic_run.make(criteria={"weight": ("a", "b"), "neuron": ("l2",)}, granularities=("weight",))
    worse = [replace(p, accuracy=0.5) if p["criterion"] == "a" and p["sparsity"] > 0.2 else p for p in run.points]
    found = conclusions.answers(gather_results(replace(run, points=worse)))
    assert [a.method.criterion for a in found] == ["b"]
    assert found[0].cell.sparsity == 0.7


def test_doubt_is_told_where_the_interval_leaves_the_tolerance():
    cell = SimpleNamespace(cost=Interval(0.004, 0.001, 0.007, ("seeds",)))
    assert "beyond the tolerance" in conclusions.doubt(cell, 0.005)
    assert conclusions.doubt(cell, 0.01) == ""


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
    text = conclusions.sentence(found)
    assert "mlp on digits, with nothing done after the cut, can lose 70% of its weights (" in text
    assert " With recovery from 1,000 unlabelled samples it can lose 90% of its weights (0.00 points lost" in text
    assert "; it can lose 90% of its neurons (" in text
    assert text.count("With recovery") == 1


def test_methods_are_named_by_their_recovery_and_marked_apart():
    found = with_recovery()
    names = [c.method.name for c in found.curves]
    assert names == ["weights, plain", "weights, best recovery", "weights, random (control)",
                     "neurons, plain", "neurons, best recovery", "neurons, random (control)"]
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
    assert not conclusions.answers(found, recovery=True) and "With recovery" not in conclusions.sentence(found)
