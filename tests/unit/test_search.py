"""The search within a stated loss: which candidate wins, what is measured of it, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import blobs, secateur, tiny
from torch import nn

import secateur as sc
from secateur import files
from secateur.data import resolve
from secateur.data.calibration import calibration
from secateur.engines.onnxruntime import OnnxRuntime
from secateur.experiment.search.candidate import LEAVE, Candidate, Tried
from secateur.experiment.search.choose import last_within, steps, winner
from secateur.experiment.search.limit import Limit, Loss
from secateur.experiment.single import prune as single
from secateur.experiment.single.config import CutConfig
from secateur.experiment.single.searched import search_network
from secateur.measure.chance import paired_interval, share_interval
from secateur.measure.speed import Speed
from secateur.recovery.distil_samples import split
from secateur.training.loop import train

LOSS = Loss("accuracy", 0.0, -1.0, 1.0, 100)
CUT8, CUT, HALF = Candidate("weight", 0.9, 8), Candidate("weight", 0.9), Candidate("weight", 0.5)
PLAIN8, FEWER = Candidate(bits=8), Candidate("neuron", 0.5)


def row(candidate, size=100, ratio=None, within=True, low=None):
    speed = None if ratio is None else Speed(1 / ratio, ratio, ratio * 0.99 if low is None else low, ratio * 1.01)
    return Tried(candidate, LOSS, within, size, speed)


@pytest.mark.parametrize(("rows", "goal", "best"), [
    ([row(LEAVE), row(PLAIN8, 30), row(CUT8, 10)], "size", CUT8),
    ([row(LEAVE), row(PLAIN8, 30), row(CUT8, 10, within=False)], "size", PLAIN8),
    ([row(LEAVE), row(CUT, 100), row(HALF, 100)], "size", LEAVE),
    ([row(LEAVE, 100), row(CUT, 50), row(HALF, 50), row(PLAIN8, 50)], "size", PLAIN8),
    ([row(LEAVE, ratio=1), row(CUT, ratio=2), row(PLAIN8, ratio=3)], "speed", PLAIN8),
    ([row(LEAVE, ratio=1), row(CUT, ratio=2), row(PLAIN8, ratio=3, within=False)], "speed", CUT),
    ([row(LEAVE, ratio=1), row(CUT, ratio=2), row(CUT8, 1)], "speed", CUT),
    ([row(LEAVE, ratio=1), row(CUT8, ratio=3.02), row(PLAIN8, ratio=3)], "speed", PLAIN8),
    ([row(LEAVE, ratio=1), row(CUT, ratio=1.02)], "speed", LEAVE),
    ([row(LEAVE, ratio=1), row(CUT, ratio=1.3, low=0.9)], "speed", LEAVE),
    ([row(LEAVE, ratio=1), row(FEWER, ratio=0.5)], "speed", LEAVE)])
def test_the_best_within_the_limit_wins_and_of_equals_the_least_cut(rows, goal, best):
    assert winner(rows, goal).candidate == best
    assert winner(rows[::-1], goal).candidate == best


@pytest.mark.parametrize("count", range(12))
def test_halving_finds_every_edge_in_the_steps_that_it_says(count):
    for edge in range(-1, count):
        known, asked = {}, []

        def is_within(place, edge=edge, asked=asked):
            asked.append(place)
            return place <= edge

        last_within(count, is_within, known)
        assert max((place for place, within in known.items() if within), default=-1) == edge
        assert len(asked) == len(set(asked)) <= steps(count)


def test_the_interval_of_a_paired_loss_is_that_of_the_book_and_holds_as_often_as_it_says():
    # Agresti, Categorical Data Analysis, 10.1.1: 944 and 880 of 1,600 approve, 150 and 86 changed sides.
    assert paired_interval(150, 86, 1600) == pytest.approx((0.021, 0.059), abs=1e-3)
    draws = np.random.default_rng(0).multinomial(150, [0.06, 0.03, 0.91], 4000)
    held = [low <= 0.03 <= high for low, high in (paired_interval(int(b), int(c), 150) for b, c, _ in draws)]
    assert 0.94 <= np.mean(held) <= 0.98


def test_the_ends_of_a_share_solve_its_equation():
    for hits, count in ((0, 20), (3, 20), (20, 20), (160, 179)):
        for end in share_interval(hits, count):
            z = (hits / count - end) / math.sqrt(max(end * (1 - end), 1e-300) / count)
            assert abs(z) == pytest.approx(1.959964, rel=1e-5) or end in (0.0, 1.0)


@pytest.mark.parametrize(("limit", "loss", "allowed"), [
    (Limit(max_loss=0.5), Loss("accuracy", 0.5, -1, 2, 200), True),
    (Limit(max_loss=0.3), Loss("accuracy", 100 * 3 / 1000, -1, 2, 1000), True),
    (Limit(max_loss=0.5), Loss("accuracy", 0.51, -1, 2, 200), False),
    (Limit(max_loss=0), Loss("accuracy", -0.5, -1, 2, 200), True),
    (Limit(agreement=0.98), Loss("same class", 0.98, 0.9, 1, 200), True),
    (Limit(agreement=0.98), Loss("cosine", 0.9799, 0.9, 1, 200), False),
    (Limit(agreement=0.98), Loss("cosine", math.nan, 0, 1, 200), False),
    (Limit(max_loss=0.5), Loss("accuracy", math.nan, 0, 1, 200), False)])
def test_a_loss_counts_as_within_only_where_it_was_measured_so(limit, loss, allowed):
    assert limit.allows(loss) is allowed


def wide():
    """16-64-4: its layers are large beside the header of a file."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))


def trained(make=tiny):
    torch.manual_seed(0)
    net = make()
    train(net, resolve("support:blobs"), 0, 20, 64, 1e-2)
    return net.eval()


def held_out(data):
    return split(calibration(data), False)[1]


def predictions(net, x):
    with torch.no_grad():
        return net(x).argmax(1)


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
def test_the_losses_are_those_counted_by_hand(granularity):
    x, y, _, _ = blobs()
    net = trained(wide)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = sc.search(net, (x, y), max_loss=3, granularity=granularity, sparsity=[0.25, 0.5])
    batch, = held_out((x, y))
    right = [int((predictions(one, batch.inputs[0]) == batch.labels).sum()) for one in (net, found.network)]
    assert found.taken.loss.samples == len(batch) == 32
    assert found.taken.loss.value == pytest.approx(100 * (right[0] - right[1]) / 32)
    assert found.taken.bytes == files.file_bytes(found.network) < files.file_bytes(net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(one.is_within == (one.loss.value <= 3) for one in found.tried)
    assert str(found.candidate) in str(found) and "taken" in str(found)


def test_the_agreement_is_that_counted_by_hand_and_prune_gives_the_same_network():
    x = blobs()[0]
    settings = {"agreement": 0.9, "granularity": "weight", "sparsity": 0.5, "bits": 8}
    net = trained()
    found, again = sc.search(net, x, **settings), sc.prune(net, data=x, **{**settings, "sparsity": 0.5})
    batch, = held_out(x)
    same = (predictions(net, batch.inputs[0]) == predictions(found.network, batch.inputs[0])).double().mean()
    assert found.taken.loss.measure == "same class" and found.taken.loss.value == pytest.approx(float(same))
    assert {one.candidate for one in found.tried} == {LEAVE, Candidate(bits=8), Candidate("weight", 0.5, 8)}
    assert torch.equal(found.network(x), again(x))


def test_the_samples_held_out_are_seen_by_nothing_but_the_measure():
    """Other inputs in their place change the losses, and no network."""
    x, net = blobs()[0], trained()
    held = {tuple(one.flatten().tolist()) for one in held_out(x).__iter__().__next__().inputs[0]}
    places = [i for i, one in enumerate(x) if tuple(one.flatten().tolist()) in held]
    assert len(places) == 32
    other = x.clone()
    other[places] = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(5)) * 3
    one, two = (sc.search(net, given, agreement=1e-6, granularity="weight", sparsity=0.8) for given in (x, other))
    assert one.candidate == two.candidate
    assert torch.equal(one.network(x), two.network(x))
    assert [row.loss for row in one.tried[1:]] != [row.loss for row in two.tried[1:]]


def test_quantising_alone_wins_where_every_cut_loses_too_much():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 8)), torch.randn(512, 16)
    found = sc.search(net, x, agreement=0.95, sparsity=[0.9, 0.95])
    assert found.candidate == Candidate(bits=8)
    assert not any(one.is_within for one in found.tried if one.candidate.granularity)
    assert found.taken.bytes < found.tried[0].bytes
    assert "taken: quantised alone, int8" in str(found)


def test_the_network_stays_where_nothing_else_is_within_the_limit():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    found = sc.search(net, torch.randn(128, 1, 8, 8), agreement=1, sparsity=[0.5, 0.9])
    assert found.candidate == LEAVE and found.taken.loss.measure == "cosine"
    assert found.network is not net
    assert all(torch.equal(a, b) for a, b in zip(found.network.state_dict().values(), net.state_dict().values(),
                                                 strict=True))
    assert "taken: the network as it is: nothing else that was tried is within the limit" in str(found)


def test_a_granularity_that_cannot_be_cut_is_told_and_the_others_are_searched():
    class Summed(nn.Module):
        """A network whose only hidden units are tied to its inputs."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.b(x + self.a(x))

    torch.manual_seed(0)
    x = torch.randn(128, 16)
    found = sc.search(Summed(), x, agreement=0.5, granularity=["neuron", "weight"], sparsity=0.5, recovery="none")
    refused = next(one for one in found.tried if one.candidate.granularity == "neuron")
    assert refused.loss is None and "nothing to cut" in refused.note and refused.note in str(found)
    assert found.candidate.granularity == "weight"
    with pytest.raises(sc.SecateurError, match="nothing to cut"):
        sc.search(Summed(), x, agreement=0.5, granularity="neuron", sparsity=0.5)


@pytest.mark.parametrize("there", [True, False])
def test_the_fastest_is_taken_of_what_was_timed_side_by_side(there, monkeypatch):
    if there and OnnxRuntime().refusals():
        pytest.skip(OnnxRuntime().refusals()[0])
    if not there:
        monkeypatch.setattr(OnnxRuntime, "refusals", lambda _: ["onnxruntime is not installed: pip install it"])
    x = blobs()[0]
    found = sc.search(trained(), x, agreement=0.2, goal="speed", granularity="weight", sparsity=[0.3, 0.5],
                      recovery="none", batch=4)
    timed = {one.candidate: one for one in found.tried if one.speed}
    assert found.taken == winner(found.tried, "speed") and found.candidate in timed
    assert timed[LEAVE].speed.ratio == 1
    assert {one.engine for one in timed.values()} <= {"torch", "compiled", "ONNX Runtime"}
    assert not any(one.sparsity == 0.3 for one in timed if Candidate("weight", 0.5) in timed)
    assert (PLAIN8 in timed) is there
    assert ("int8 is not timed, so that it cannot win: onnxruntime is not installed" in str(found)) is not there


X, Y, *_ = blobs()


@pytest.mark.parametrize(("call", "told"), [
    (lambda: sc.prune(tiny(), max_loss=0.5, data=X), "give agreement (--agreement), such as 0.98"),
    (lambda: sc.prune(tiny(), max_loss=0.5, agreement=0.9, data=(X, Y)), "got max_loss 0.5 and agreement 0.9"),
    (lambda: sc.search(tiny(), X), "one of them; got neither"),
    (lambda: sc.search(tiny(), X, agreement=98), "did you mean 0.98?"),
    (lambda: sc.search(tiny(), (X, Y), max_loss=-1), "allowed are points of accuracy in [0, 100]"),
    (lambda: sc.search(tiny(), X[:100], agreement=0.9), "100 samples are too few to hold out an eighth"),
    (lambda: sc.search(tiny(), None, agreement=0.9), "data is None"),
    (lambda: sc.search(tiny(), X, agreement=0.9, goal="small"), "goal 'small'"),
    (lambda: sc.search(tiny(), X, agreement=0.9, bits=7), "bits 7"),
    (lambda: sc.search(tiny(), X, agreement=0.9, bits=sc.Int8()), "allowed are 32, 16 and 8"),
    (lambda: sc.search(tiny(), X, agreement=0.9, sparsity=50), "did you mean 0.5?"),
    (lambda: sc.search(tiny(), X, agreement=0.9, granularity=[]), "granularities is empty"),
    (lambda: sc.search(tiny(), X, agreement=0.9, recovery="finetune"), "recovery finetune needs"),
    (lambda: sc.prune(tiny(), agreement=0.9, data=X, criterion="l1"), "got criterion with max_loss or agreement"),
    (lambda: sc.prune(tiny(), agreement=0.9, data=X, spec=sc.PruningSpec()), "got spec with max_loss"),
    (lambda: sc.prune(tiny(), 0.5, data=X, goal="speed"), "it goes with max_loss or agreement")])
def test_what_cannot_be_searched_is_refused_in_a_line(call, told):
    with pytest.raises(sc.SecateurError) as caught:
        call()
    assert told in str(caught.value) and "\n" not in str(caught.value)


BASE = {"model": "support:tiny", "data": "support:blobs", "latency_batches": (), "epochs": 20, "lr": 1e-2}


def test_the_command_writes_what_it_took_and_keeps_all_that_it_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = search_network(CutConfig(**BASE, max_loss=4, granularity="weight", sparsity=0.5), {"granularity"})
    told = files.tell(done.path).settings["search"]
    assert told == done.search.plain() and told["limit"] == {"max_loss": 4, "agreement": None}
    assert {(one["granularity"], one["sparsity"]) for one in told["tried"]} == {("", 0), ("weight", 0.5)}
    taken = told["taken"]
    assert taken["bytes"] == done.after.bytes == min(one["bytes"] for one in told["tried"] if one["within"])
    back, x = sc.load(done.path), blobs()[2]
    assert torch.equal(back(x), done.network(x))
    assert done.after.accuracy == float((predictions(back, x) == blobs()[3]).double().mean())


def test_the_command_leaves_the_network_as_it_is_where_it_has_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("inputs.npy", torch.randn(256, 1, 4, 4).numpy())
    out = secateur("prune", "support:tiny", "--data", "inputs.npy", "--agreement", "1", "--sparsity", "0.9", "--bits",
                   "32", "--granularity", "weight", "--batch", "", cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert "left as it is, nothing removed" in out.stdout and (tmp_path / "pruned.safetensors").exists()


def test_an_interrupted_search_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(single, "write_checked", stop)
    with pytest.raises(KeyboardInterrupt):
        search_network(CutConfig(**BASE, max_loss=100, sparsity=0.5, bits=32, granularity="weight"),
                       {"granularity", "bits"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "told"), [
    (["--max-loss", "0.5", "--agreement", "0.9"], "got max_loss 0.5 and agreement 0.9"),
    (["--goal", "speed"], "goal speed without a search"),
    (["--max-loss", "0.5", "--criterion", "l1"], "criterion with max-loss or agreement"),
    (["--max-loss", "0.5", "--layers", '{"1": 0.5}'], "layers with max-loss or agreement"),
    (["--max-loss", "half"], "max-loss 'half': allowed is a number"),
    (["--max-loss", "0.5", "--data", "inputs.npy"], "without them give --agreement"),
    (["--max-loss", "0.5", "--out", "small.onnx"], "out 'small.onnx'")])
def test_the_command_refuses_in_a_line(words, told, tmp_path):
    np.save(tmp_path / "inputs.npy", torch.randn(256, 1, 4, 4).numpy())
    given = words if "--data" in words else [*words, "--data", "support:blobs"]
    out = secateur("prune", "support:tiny", *given, cwd=tmp_path)
    assert out.returncode == 2 and told in out.stderr
    assert not (tmp_path / "pruned.safetensors").exists()
