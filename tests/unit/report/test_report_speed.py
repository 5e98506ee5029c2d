"""The Pareto front, the break-even and its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic_run
from hypothesis import given
from hypothesis import strategies as st

from secateur.measure.speed import Speed
from secateur.report.gather import gather_results
from secateur.report.plots import speed
from secateur.report.results import Curve, Method

WEIGHTS = Curve(Method("weight", "magnitude", "layer", False, "weights"), ())
NEURONS = Curve(Method("neuron", "l2", "layer", False, "neurons"), ())


def measured(**ratios: float) -> list[tuple[float, Speed]]:
    return [(int(s[1:]) / 100, Speed(1e-3, r, r * 0.98, r * 1.02)) for s, r in ratios.items()]


@pytest.mark.parametrize(("ratios", "text"), [
    ({"s50": 0.5, "s90": 0.9, "s95": 1.5, "s99": 4.0},
     "At batch 64, zeros pay from 95% on (1.50× at 95% and 4.0× at 99%); at 90% they do not (0.90× at 90%)."),
    ({"s50": 0.5, "s99": 0.8},
     "At batch 64, zeros do not pay up to 99%, the largest sparsity measured: there the network runs at 0.80× "
     "the original's speed."),
    ({"s50": 0.7, "s70": 1.2, "s80": 0.8, "s90": 1.5},
     "At batch 64, zeros pay from 90% on (1.50× at 90%); at 80% they do not (0.80× at 80%)."),
    ({"s50": 1.01, "s90": 1.5},
     "At batch 64, zeros pay from 90% on (1.50× at 90%); at 50% no gain is sure (1.01× at 50%)."),
    ({"s50": 1.2, "s99": 0.8},
     "At batch 64, zeros do not pay up to 99%, the largest sparsity measured: there the network runs at 0.80× "
     "the original's speed."),
    ({"s50": 1.2, "s90": 2.0},
     "At batch 64, zeros pay from 50% on, the smallest sparsity measured (1.20× at 50% and 2.0× at 90%)."),
    ({"s50": 1.2, "s90": 0.9, "s95": 1.5},
     "At batch 64, zeros pay from 95% on (1.50× at 95%); at 90% they do not (0.90× at 90%)."),
])
def test_break_even_in_words(ratios, text):
    assert speed.break_even_sentence(WEIGHTS, "64", measured(**ratios)) == text


def test_break_even_of_neurons_speaks_of_neurons():
    told = speed.break_even_sentence(NEURONS, "1", measured(s50=2.0))
    assert told.startswith("At batch 1, removed neurons pay from 50% on")


def test_a_ratio_whose_lower_quartile_is_under_one_does_not_pay():
    assert speed.break_even([(0.5, Speed(1, 1.05, 0.99, 1.1))]).start is None
    faster = [(0.1, Speed(1, 1.5, 1.4, 1.6)), (0.5, Speed(1, 1.9, 1.8, 2.0))]
    assert speed.break_even(faster).start[0] == 0.1
    assert speed.break_even(faster, own=1.5).start[0] == 0.5, 'what the engine has without zeros is no gain of theirs'
    assert speed.break_even(faster, own=1.8).start is None


def test_a_ratio_above_one_that_is_no_gain_says_why():
    noisy = [(0.5, Speed(1, 1.3, 0.9, 1.4))]
    assert speed.break_even_sentence(WEIGHTS, "1", noisy).endswith(
        "there the network runs at 1.30× the original's speed, which is no sure gain: its lower quartile is 0.90×.")
    assert "at 50% no gain is sure (1.30× at 50%)" in speed.break_even_sentence(
        WEIGHTS, "1", [*noisy, (0.9, Speed(1, 2.0, 1.9, 2.1))])


def test_sparsity_zero_is_no_cut():
    found = speed.break_even([(0.0, Speed(1, 2, 2, 2)), (0.5, Speed(1, 0.5, 0.5, 0.5))])
    assert found.before[0] == 0.5


@pytest.mark.parametrize(("whole", "told"), [
    (Speed(1, 2.0, 1.8, 2.2), " With nothing removed, the compiled network already runs at 2.0× the speed of torch; "
                              "that gain comes from the engine, not from the zeros."),
    (Speed(1, 1.2, 0.9, 1.4), ""), (Speed(1, 1.01, 1.005, 1.02), ""), (Speed(1, 0.5, 0.4, 0.6), ""), (None, "")])
def test_what_the_engine_gains_without_a_cut_is_not_the_zeros_doing(whole, told):
    cells = next(c for c in gather_results(synthetic_run.make()).methods("weight")[0].cells if c.sparsity == 0)
    curve = replace(WEIGHTS, cells=(replace(cells, speeds={"1": {} if whole is None else {"sparse": whole}}),))
    assert speed.engine_sentence(curve, "1") == told
    assert speed.engine_sentence(curve, "64") == ""


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_front_is_what_nothing_beats(points):
    found = speed.front(points)
    slow = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
    assert set(found) == slow
    assert found == sorted(found)


def test_speedup_plot_has_the_break_even_line_and_every_variant():
    plot = speed.speedup(gather_results(synthetic_run.make()), "64")
    assert [(g.y, g.label) for g in plot.guides] == [(1.0, "as fast as the original")]
    assert [s.name for s in plot.series] == ["weights, sparse kernels", "weights, zeros kept, run dense",
                                             "neurons, smaller dense network"]


def loud(**noisy):
    """A run of neurons at batch 1 in which the timings at some sparsities are noisy, and ten times too fast."""
    run = synthetic_run.make(granularities=("neuron",), criteria={"neuron": ("l2",)}, batches=(1,))
    points = []
    for p in run.points:
        small = {k: 10 * v if k.startswith("speedup") else v for k, v in p.latency["1"]["small"].items()}
        points.append(replace(p, conditions={"1": {"load": 0.4, "rounds": 9}},
                              latency={"1": {"original": p.latency["1"]["original"], "small": small}})
                      if p.sparsity in noisy["at"] else p)
    return gather_results(replace(run, points=points))


def test_noisy_points_are_crossed_say_why_and_are_not_on_the_front():
    found, quiet = loud(at=(0.25, 0.5)), loud(at=())
    crossed = speed.speedup(found, "1").series[-1]
    assert (crossed.name, crossed.x) == ("noisy timing, not to be relied on", (0.75, 0.5))
    assert set(crossed.text) == {"noisy: other processes used 40% of each core"}
    hover = dict(zip(speed.speedup(found, "1").series[0].x, speed.speedup(found, "1").series[0].text, strict=True))
    assert "×? the speed" in hover[0.5] and "noisy: other processes" in hover[0.5] and "?" not in hover[1 - 0.6]
    assert len(speed.pareto(found, "1").series[-1].x) == 2
    front = next(s for s in speed.pareto(found, "1").series if s.name == "Pareto front")
    assert set(front.x) <= set(next(s for s in speed.pareto(quiet, "1").series if s.name == "Pareto front").x)


def test_where_it_pays_is_told_without_noisy_timings():
    cut = [s for s in synthetic_run.GRID if s > 0]
    ((_, some),) = speed.break_even_sentences(loud(at=cut[:2]))
    assert some.endswith(f" 2 of {len(cut)} sparsities are left out, because their timings are noisy.")
    ((at, none),) = speed.break_even_sentences(loud(at=cut))
    assert at == "1"
    assert none == "At batch 1, whether cutting neurons pays is not known: other processes used 40% of each core."


def test_a_ratio_under_one_whose_quartiles_reach_over_it_is_no_sure_loss():
    told = speed.break_even_sentence(WEIGHTS, "1", [(0.5, Speed(1, 0.95, 0.9, 1.05)), (0.9, Speed(1, 2.0, 1.9, 2.1))])
    assert told.endswith("at 50% no gain is sure (0.95× at 50%).")


def test_pareto_holds_the_original_and_no_controls():
    plot = speed.pareto(gather_results(synthetic_run.make()), "1")
    names = [s.name for s in plot.series]
    assert "original network" in names
    assert not any("control" in n for n in names)
