"""``sc.compare`` against figures worked out by hand, and the table that ``print`` shows."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

import secateur as sc
from secateur import files
from secateur.cli.answer import print_lines
from secateur.core.terminal import Terminal
from secateur.data.calibration import calibration
from secateur.measure.agreement import Agreement, agreement
from secateur.measure.comparison import Comparison, Figures
from secateur.measure.speed import Speed

X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])


def scaled(*rows):
    """A layer without a bias of two inputs, with the given weights."""
    net = nn.Linear(2, len(rows), bias=False)
    net.weight.data = torch.tensor(rows)
    return net


WHOLE = scaled([1.0, 0.0], [0.0, 1.0])
CUT = scaled([1.0, 0.0], [0.0, 0.0])
"""The second output is zero: outputs (1, 0), (0, 0), (1, 0), (2, 0) in place of (1, 0), (0, 1), (1, 1), (2, 1)."""


def test_the_figures_are_those_worked_out_by_hand():
    found = sc.compare(WHOLE, CUT, (X, torch.tensor([0, 1, 0, 0])), batches=())
    assert found.agreement == Agreement(error=pytest.approx((3 / 9) ** 0.5), samples=4, same=0.75,
                                        cosine=pytest.approx((1 + 0 + 1 / 2**0.5 + 2 / 5**0.5) / 4),
                                        accuracy=(1.0, 0.75))
    assert found.before == Figures(1.0, 4, 2, files.file_bytes(WHOLE), 4)
    assert found.after == Figures(0.75, 4, 1, files.file_bytes(CUT), 2)
    assert found.latency == {} and found.notes == ()


def test_without_labels_there_is_no_accuracy():
    found = sc.compare(WHOLE, CUT, [X[:3], X[3:]], batches=())
    assert (found.before.accuracy, found.after.accuracy, found.agreement.accuracy) == (None, None, None)
    assert found.agreement.same == 0.75 and "accuracy" not in str(found)


@pytest.mark.parametrize("width", [60, 80])
def test_on_a_terminal_the_table_keeps_to_the_width_and_each_row_to_its_figures(width):
    console = Terminal(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    # Parameters of a GPT-2, in the longest lines that there are.
    figures = Figures(0.5, 124_439_808, 124_439_808, 497_759_232, 84_500_000)
    made = Comparison(figures, figures, Agreement(0.125, 0.99, 10_000, 0.5),
                      {"1024": (0.004, Speed(0.001, 1.01, 0.99, 1.02))}, ("a note of many words " * 9,), "test")
    print_lines([made.table(width)], console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = [" ".join(line.split()) for line in lines]
    assert "parameters 124,439,808 124,439,808 100%" in rows
    assert any(row.startswith("ms at batch") and row.endswith(" 4 3.96 about as fast (1.01×)") for row in rows)


def test_the_table_is_aligned_and_says_what_each_number_is():
    made = Comparison(Figures(0.975, 1000, 1000, 4_100, 2_000), Figures(0.97, 1000, 100, 600, 200),
                      Agreement(0.125, 0.99, 1234, 0.5, (0.975, 0.97)),
                      {"64": (0.004, Speed(0.001, 4.0, 3.9, 4.1))}, ("rough",))
    assert str(made).splitlines() == [
        "                          before   after",
        "accuracy                   97.5%     97%    −0.50 points",
        "outputs, same class         100%     50%   1,234 samples",
        "outputs, cosine                1  0.9900   1,234 samples",
        "outputs, relative error        0  0.1250   1,234 samples",
        "parameters                 1,000   1,000            100%",
        "not zero                   1,000     100             10%",
        "bytes, saved              4.1 kB   600 B           14.6%",
        "FLOPs, zeros not counted     2 k     200             10%",
        "ms at batch 64                 4       1  4.0× the speed",
        "note: rough"]


def test_a_noisy_ratio_is_marked_and_one_whose_quartiles_straddle_one_is_about_as_fast():
    figures = Figures(None, 10, 10, 100, 20)
    shown = str(Comparison(figures, figures, latency={
        "1": (0.004, Speed(0.001, 4.0, 3.9, 4.1, "other processes used 40% of each core")),
        "8": (0.006, Speed(0.005, 1.2, 0.9, 1.4))}))
    assert [line.split("  ")[-1].strip() for line in shown.splitlines()[-3:]] == [
        "4.0×? the speed", "about as fast (1.20×)",
        "note: the timing at batch 1 is noisy and not to be relied on: other processes used 40% of each core"]


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_both_networks_are_timed_and_stay_as_they_are(granularity):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 4)), torch.rand(20, 8)
    small = sc.prune(net, 0.5, granularity=granularity, example=x[:1]).train()
    before = [t.clone() for t in (*net.parameters(), *small.parameters())]
    found = sc.compare(net, small, x, batches=(1, 3), seconds=0.01)
    assert list(found.latency) == ["1", "3"]
    assert all(seconds > 0 and speed.low <= speed.ratio <= speed.high for seconds, speed in found.latency.values())
    assert net.training and small.training
    assert all(map(torch.equal, before, (*net.parameters(), *small.parameters())))


def test_a_network_that_cannot_be_compiled_is_timed_as_it_is():
    net = nn.Linear(8, 8).double()
    found = sc.compare(net, sc.prune(net, 0.5, skip=()), torch.rand(4, 8, dtype=torch.float64), batches=(2,),
                       seconds=0.01)
    assert "2" in found.latency and "cannot be compiled" in found.notes[0]


def test_tokens_are_classes_of_the_last_axis_and_padding_does_not_count():
    class Words(nn.Module):
        def __init__(self, shift):
            super().__init__()
            self.shift, self.scale = shift, nn.Parameter(torch.ones(()))

        def forward(self, input_ids, attention_mask):
            return nn.functional.one_hot((input_ids + self.shift) % 5, 5).float() * self.scale

    batch = {"input_ids": torch.tensor([[1, 2, 3], [1, 2, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    labels = torch.tensor([[1, 2, -100], [1, 3, 0]])
    found = agreement(Words(0), Words(0), calibration([(batch, labels)]))
    assert (found.same, found.accuracy) == (1.0, (0.75, 0.75))
    assert agreement(Words(0), Words(1), calibration([(batch, labels)])).accuracy == (0.75, 0.25)


@pytest.mark.parametrize(("outputs", "labels", "same", "accuracy"), [
    ((2, 1), None, None, None), ((2, 3, 4, 4), None, None, None), ((2, 3, 4, 4), (2, 4, 4), 1.0, True),
    ((2, 4), (2, 4), 1.0, None)])
def test_where_outputs_have_classes(outputs, labels, same, accuracy):
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.zeros(outputs)

    given = torch.rand(2, 3) if labels is None else (torch.rand(2, 3), torch.zeros(labels, dtype=torch.long))
    found = agreement(Fixed(), Fixed(), calibration(given))
    assert (found.same, found.accuracy) == (same, (1.0, 1.0) if accuracy else None)


@pytest.mark.parametrize(("given", "message"), [
    ((WHOLE, "cut", X), "compare: got str"), ((WHOLE, CUT, None), "data is None"),
    ((WHOLE, sc.compile(CUT.eval(), X, engine="torch"), X), "got a compiled network")])
def test_mistakes_are_told(given, message):
    with pytest.raises(sc.SecateurError, match=message):
        sc.compare(*given)


def test_a_batch_size_that_cannot_be_is_refused():
    with pytest.raises(sc.SecateurError, match=r"batches \[0\]; allowed are whole numbers from 1 on"):
        sc.compare(WHOLE, CUT, X, batches=(0,))
