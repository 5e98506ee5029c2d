"""What distillation learns from: samples held out, batches that stay whole, streams, changed inputs, memory."""

import copy
import itertools

import pytest
import torch
from distilled import Recurrent, error, recovered, same, small
from torch import nn

import secateur as sc
from secateur.data.calibration import calibration
from secateur.recovery.distil_samples import is_divisible, split
from secateur.recovery.original import Original
from secateur.recovery.pipeline import recover


def test_augmented_inputs_are_what_the_original_is_asked_about():
    net, x = small()
    seen = []

    def move(inputs):
        made = inputs + torch.randn_like(inputs)
        seen.append(made)
        return made
    result, plain = recovered(net, x, sc.Distil(steps=60, lr=5e-3, augment=move))
    fresh = torch.randn(200, 8) * 1.5
    assert len(seen) >= 60 and error(net, result.network, fresh) < 0.8 * error(net, plain, fresh)
    result, plain = recovered(net, x, sc.Distil(steps=10, augment=lambda inputs: inputs[:3]))
    assert same(result.network, plain) and "as many samples" in result.notes[0]
    with pytest.raises(sc.SecateurError, match="allowed is a function"):
        sc.Distil(augment=3)


def test_a_stream_is_gone_through_behind_what_is_kept():
    """Of an endless generator only as many batches are drawn as steps are taken."""
    net, _ = small()
    drawn = []

    def batches():
        generator = torch.Generator().manual_seed(0)
        for number in itertools.count():
            drawn.append(number)
            yield torch.randn(64, 8, generator=generator)
    kept = calibration(sc.Samples(batches(), keep=256))
    assert len(drawn) == 4 and sum(map(len, kept)) == 256
    plan = sc.plan(net, 0.8)
    plain = sc.apply(net, plan)
    result = recover(net, copy.deepcopy(plain), plan, sc.Distil(steps=60, lr=5e-3, batch_size=64), kept)
    assert len(drawn) in (4 + 60 - 4, 4 + 60 - 3)  # an epoch begins with the 224 samples kept: four steps
    fresh = torch.randn(200, 8)
    assert error(net, result.network, fresh) < 0.8 * error(net, plain, fresh)


@pytest.mark.parametrize(("keep", "data"), [(3, torch.zeros(9, 2)), (-1, [torch.zeros(9, 2)]),
                                            (1.5, [torch.zeros(9, 2)])])
def test_what_cannot_be_kept_in_part_is_refused(keep, data):
    with pytest.raises(sc.SecateurError, match="keep"):
        calibration(sc.Samples(data, keep=keep))


class TimeFirst(nn.Module):
    """Its second axis counts the samples, so that batches cannot be parted along the first."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(6, 8)

    def forward(self, x):
        return self.rnn(x)[0]


def test_batches_that_cannot_be_parted_stay_whole():
    torch.manual_seed(0)
    net, batches = TimeFirst().eval(), [torch.randn(10, 4, 6) for _ in range(24)]
    samples = calibration(batches)
    assert not is_divisible(net, samples)
    fit, held = split(samples, whole_batches=True)
    assert [len(list(part)) for part in (fit, held)] == [21, 3]
    result, plain = recovered(net, batches, sc.Distil(steps=100, lr=0.01), 0.6)
    assert error(net, result.network, batches[0]) < 0.9 * error(net, plain, batches[0])


def test_batches_of_several_lengths():
    torch.manual_seed(0)
    net, batches = Recurrent().eval(), [torch.randn(40, length, 6) for length in (3, 5, 3, 8)]
    result, plain = recovered(net, batches, sc.Distil(steps=80, lr=5e-3, batch_size=32), 0.6)
    assert error(net, result.network, batches[3]) < 0.8 * error(net, plain, batches[3])


def test_outputs_that_do_not_fit_are_asked_for_again(monkeypatch):
    """The same network, to the last bit, whether the original's outputs are kept or not."""
    net, x = small()
    kept, _ = recovered(net, x, sc.Distil(steps=20))
    monkeypatch.setattr("secateur.recovery.distil_samples._ROOM", 1000)
    again, _ = recovered(net, x, sc.Distil(steps=20))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(kept.network.parameters(), again.network.parameters(),
                                                              strict=True))
    goals = Original(net, calibration(x)).goals
    assert [stack.goals for stack in goals._stacks] == [None]


def test_the_networks_are_asked_about_no_more_samples_at_once_than_a_batch_holds():
    net, x = small()
    sizes = []
    net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    recovered(net, list(x.split(40)), sc.Distil(steps=5, batch_size=16))
    assert 16 < max(sizes) <= 40


class OneAtATime(nn.Module):
    """It takes batches of one sample alone."""

    def __init__(self):
        super().__init__()
        self.inside, self.head = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.inside(x.view(1, -1)).relu())


def test_whether_samples_can_be_joined_is_tried_on_more_than_one():
    """Batches of one sample say nothing by themselves, and a time axis of length 1 looks like one of samples."""
    net, x = small()
    ones = [one[None] for one in x[:200]]
    assert is_divisible(net, calibration(ones)) and not is_divisible(OneAtATime(), calibration(ones))
    assert not is_divisible(TimeFirst(), calibration([torch.randn(1, 4, 6), torch.randn(10, 4, 6)]))
    torch.manual_seed(0)
    alone = OneAtATime().eval()
    result, plain = recovered(alone, ones, sc.Distil(steps=500, lr=5e-3))
    assert sum(error(alone, result.network, one) for one in ones) < 0.9 * sum(error(alone, plain, one) for one in ones)


def endless(fault):
    """Batches without end, of which the fortieth is faulty."""
    generator = torch.Generator().manual_seed(0)
    for number in itertools.count():
        yield fault() if number == 40 else torch.randn(64, 8, generator=generator)


def raises():
    raise OSError("the disk\nis gone")


@pytest.mark.parametrize(("fault", "said"), [
    (lambda: torch.full((64, 8), torch.nan), "input 0 of batch 36 behind those kept holds 512 NaN"),
    (raises, "batch 36 behind those kept cannot be read: OSError: the disk"),
    (lambda: torch.zeros(64, 7), "the network does not run on a batch of (64, 7)"),
    (lambda: torch.zeros(0, 8), "")])
def test_a_stream_with_a_faulty_batch_ends_the_training_and_what_was_learned_is_kept(fault, said):
    """The 224 samples kept are four steps, the 36 sound batches behind them as many steps: 40."""
    net, _ = small()
    kept = calibration(sc.Samples(endless(fault), keep=256))
    result, plain = recovered(net, kept, sc.Distil(steps=80, lr=5e-3, batch_size=64))
    fresh = torch.randn(200, 8)
    assert error(net, result.network, fresh) < 0.8 * error(net, plain, fresh)
    if said:
        (note,) = result.notes
        assert note.startswith("distilled: ") and said in note and note.endswith("after 40 of 80 steps")
        assert "\n" not in note
    else:
        assert result.notes == ()


def test_samples_stay_as_they_were_whatever_is_written_over_them():
    batches = [torch.randn(10, 4, 6) for _ in range(24)]
    before = copy.deepcopy(batches)
    recovered(TimeFirst(), batches, sc.Distil(steps=30, augment=lambda inputs: inputs.add_(1)), 0.6)
    assert all(map(torch.equal, before, batches))

    class Moves(nn.Sequential):
        def forward(self, x):
            return super().forward(x.sub_(1))
    net, x = small()
    seen = x.clone()
    sc.prune(Moves(*net), 0.8, data=seen)
    assert torch.equal(seen, x)


def test_no_gradient_leads_to_samples():
    net, x = small()
    wanted, _ = recovered(net, x, sc.Distil(steps=10))
    leaf = x.clone().requires_grad_(True)
    result, _ = recovered(net, leaf, sc.Distil(steps=10))
    assert same(result.network, wanted.network) and leaf.grad is None


def test_a_batch_without_samples_counts_for_nothing():
    net, x = small()
    wanted, _ = recovered(net, x, sc.Best(distil=sc.Distil(steps=10)))
    result, _ = recovered(net, [x, torch.zeros(0, 8)], sc.Best(distil=sc.Distil(steps=10)))
    assert same(result.network, wanted.network)
