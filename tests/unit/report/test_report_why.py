"""The text under *why* comes out either way, from the numbers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import synthetic_run
import torch

from secateur.experiment.weight_statistics import weight_statistics
from secateur.report import evidence, explanation
from secateur.report.gather import gather_results
from secateur.report.statistics import Interval, Spread

GRID = synthetic_run.GRID


def with_weights(*networks: dict[str, torch.Tensor]):
    return replace(synthetic_run.make(), weight_statistics=[weight_statistics(w, GRID) for w in networks])


def dead_neurons(seed: int) -> dict[str, torch.Tensor]:
    """Half the neurons almost nothing, the others all alike: neurons lie near zero, their weights likewise."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (40, 30), generator=generator) * 2.0 - 1
    return {"a": signs * torch.cat([torch.full((20, 1), 0.001), torch.ones(20, 1)])}


def test_gaussian_weights_support_the_hypothesis():
    first = explanation.paragraphs(gather_results(synthetic_run.make()))[0]
    assert first == explanation.VERDICTS["supported"]


def test_dead_neurons_do_not_support_it():
    paragraphs = explanation.paragraphs(gather_results(with_weights(dead_neurons(0), dead_neurons(1))))
    assert paragraphs[0] == explanation.VERDICTS["open"]
    assert "50% of the weights and 50% of the neuron norms are below" in paragraphs[1]


def test_no_anatomy_says_untested():
    assert explanation.paragraphs(gather_results(synthetic_run.make(with_anatomy=False))) == [explanation.NONE]


def test_verdict_covers_every_outcome():
    up, down = evidence.pair([0.2, 0.3, 0.2], [0.0, 0.0, 0.01]), evidence.pair([0.0, 0.01, 0.0], [0.2, 0.3, 0.3])
    some, none = evidence.pair([0.05, 0.06, 0.05], [0.0, 0.0, 0.0]), evidence.pair([0.1, 0.2], [0.2, 0.1])
    assert evidence.verdict(up, up) == "supported"
    assert evidence.verdict(up, some) == "partly"
    assert evidence.verdict(down, down) == "contradicted"
    assert evidence.verdict(up, none) == evidence.verdict(up, down) == "open"


def test_one_pair_has_a_direction_but_no_interval():
    pair = evidence.pair([0.3], [0.1])
    assert pair.direction == 1
    assert "95%" not in explanation.points_with_interval(pair)


def test_large_weights_are_counted_at_the_first_sparsity_that_is_too_much():
    digest = gather_results(synthetic_run.make())
    text = explanation.large_weight_words(digest)
    found = evidence.large_weight_loss(digest.run.weight_statistics, 0.7)
    assert "are in the 70% weakest neurons" in text
    assert found.weight == pytest.approx(0.7)
    assert found.neuron < 0.6


def test_equal_size_interpolates_between_cells():
    digest = gather_results(synthetic_run.make())
    cells = digest.curves[0].cells
    middle = (cells[4].nonzeros + cells[5].nonzeros) / 2
    between = (cells[4].accuracy.mean + cells[5].accuracy.mean) / 2
    assert explanation.interpolate(cells, middle) == pytest.approx(between)
    assert explanation.interpolate(cells, 1e9) is None


def test_differences_within_the_intervals_are_not_counted():
    """Weights lose 0.1 points, neurons 0.2 or 2, each give or take 0.3: only the second differs."""
    def cells(*losses):
        return [SimpleNamespace(sparsity=s, accuracy=Spread(0.97 - c, 0.97 - c, 0.97 - c),
                                cost=Interval(c, c - 0.003, c + 0.003, ("seeds",)))
                for s, c in zip((0.5, 0.9), losses, strict=True)]

    told = explanation._same_sparsity_words(cells(0.001, 0.001), cells(0.002, 0.02))
    assert "keep more accuracy than neurons at 1 of 2 sparsities, by more than their 95% intervals" in told
