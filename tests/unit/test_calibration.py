"""What ``data=`` may hold: read once, inputs beside their own labels, refused where it cannot be used."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.data.calibration import Samples, calibration, join, joined_labels
from secateur.recovery.methods.best_finetune import BestFinetune
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.reinitialised import Reinitialised

TRAIN = Finetune(epochs=2, lr=1e-2)


def blobs(count=256):
    """Samples whose label stands in their first input, so that a mismatched pair shows."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(4, (count,), generator=draw)
    x = torch.randn(count, 6, generator=draw)
    x[:, 0] = y
    return x, y


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


def shuffling(x, y):
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)


class Once:
    """No iterator, but gives its batches to the first who asks only."""

    def __init__(self, *batches):
        self.batches = list(batches)

    def __iter__(self):
        while self.batches:
            yield self.batches.pop(0)


KINDS = {"shuffling": shuffling, "generator": lambda x, y: zip(x.split(50), y.split(50), strict=True),
         "once": lambda x, y: Once(*zip(x.split(50), y.split(50), strict=True))}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_stay_with_their_inputs_in_every_pass(kind):
    samples = calibration(KINDS[kind](*blobs()))
    assert samples.labelled and sum(map(len, samples)) == 256
    assert torch.equal(join(samples)[0][:, 0].long(), joined_labels(samples))
    assert all(torch.equal(batch.inputs[0][:, 0].long(), batch.labels) for batch in samples)
    assert all(a.labels is b.labels for a, b in zip(samples, samples.first(100), strict=False))


@pytest.mark.parametrize("recovery", [TRAIN, Reinitialised(TRAIN), Gradual(epochs=2, batch_size=32),
                                      BestFinetune(gradual=Gradual(epochs=2, batch_size=32))])
@pytest.mark.parametrize("kind", KINDS)
def test_trainings_see_the_pairs_of_one_pass(kind, recovery):
    x, y = blobs()
    seen = set()

    def loss(outputs, labels):
        seen.update(zip(current.pop()[:, 0].long().tolist(), labels.tolist(), strict=True))
        return nn.functional.cross_entropy(outputs, labels)

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            if self.training:
                current.append(x)
            return self.inner(x)

    current = []
    sc.prune(Watched(), 0.5, data=sc.Samples(KINDS[kind](x, y), loss=loss), recovery=recovery, skip=())
    assert seen == {(label, label) for label in range(4)}


@pytest.mark.parametrize("criterion", ["snip", "taylor", "obd", "grasp"])
def test_criteria_with_gradients_see_the_pairs_of_one_pass(criterion):
    x, y = blobs()
    orders = [sc.plan(net(), 0.5, criterion=criterion, data=data, skip=()).cuts for data in ((x, y), shuffling(x, y))]
    for sure, shuffled in zip(*orders, strict=True):
        assert (sure.keep == shuffled.keep).float().mean() > 0.97


def test_the_global_generators_are_left_alone():
    (x, y), made = blobs(), net()
    torch.manual_seed(3)
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for data in (shuffling(x, y), DataLoader(TensorDataset(x, y), batch_size=64)):
        for recovery in ("none", "best", TRAIN):
            sc.prune(made, 0.5, data=data, recovery=recovery, skip=())
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1] and np.random.get_state()[1].tolist() == before[2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("recovery", ["none", "best", "sparsegpt", "recalibrate", TRAIN, Reinitialised(TRAIN)])
def test_values_that_are_not_finite_are_refused_where_they_come_in(bad, recovery):
    x, y = blobs(600)
    x[530, 2] = bad
    with pytest.raises(sc.SecateurError, match=r"^data: input 0 of batch 1 holds 1 NaN or infinite values of 528;"):
        sc.prune(net(), 0.5, data=(x, y), recovery=recovery, skip=())


def test_labels_must_be_finite_and_a_mask_may_hold_minus_infinity():
    x = torch.zeros(3, 2)
    with pytest.raises(sc.SecateurError, match="the labels of batch 0 holds? 1 NaN"):
        calibration((x, torch.tensor([0.0, float("nan"), 1.0])))
    assert calibration([((x, torch.full((3, 3), -float("inf"))), None)]).labelled is False
    with pytest.raises(sc.SecateurError, match="input 1 of batch 0"):
        calibration([((x, torch.full((3, 3), float("nan"))), None)])
    with pytest.raises(sc.SecateurError, match="input 0 of batch 0 holds 1 NaN"):
        calibration([torch.tensor([[0.0, float("nan")]]).to_sparse()])


def test_labels_are_in_all_batches_or_in_none():
    x, y = blobs(8)
    with pytest.raises(sc.SecateurError, match="batch 1 has no labels, batch 0 has them"):
        calibration([(x, y), x])


def test_one_sample_without_an_axis_of_samples_is_refused():
    with pytest.raises(sc.SecateurError, match=r"shape \(6,\), which has no axis of samples"):
        sc.prune(net(), 0.5, data=blobs()[0][0], skip=())
    assert len(next(iter(calibration(torch.arange(5))))) == 5


def normed(root, inner):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Sequential(nn.BatchNorm1d(16)),
                         nn.Linear(16, 4)).train(root)
    made[1].train(inner)
    return made


@pytest.mark.parametrize("recovery", [Finetune(epochs=3, patience=1), Gradual(epochs=1, batch_size=32), "recalibrate",
                                      "best", Reinitialised(TRAIN)])
@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_every_module_keeps_its_own_mode(recovery, root, inner):
    made = normed(root, inner)
    cut = sc.prune(made, 0.5, data=blobs(), recovery=recovery, skip=())
    modes = {name: module.training for name, module in made.named_modules()}
    assert modes["1"] is inner and modes["3.0"] is root
    assert {name: module.training for name, module in cut.named_modules()} == modes


@pytest.mark.parametrize("recovery", [TRAIN, Finetune(epochs=3, patience=2), Gradual(epochs=1, batch_size=32)])
def test_a_frozen_batch_norm_keeps_its_statistics_while_the_others_learn(recovery):
    frozen = sc.prune(normed(True, False), 0.5, data=blobs(), recovery=recovery, skip=())
    assert torch.equal(frozen[1].running_mean, torch.zeros(16)) and frozen[3][0].running_mean.abs().max() > 0
    whole = sc.prune(normed(False, False), 0.5, data=blobs(), recovery=recovery, skip=())
    assert whole[1].running_mean.abs().max() > 0


INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
@pytest.mark.parametrize("given", ["tensors", "arrays", "loader"])
def test_labels_of_every_integer_type_train_alike(kind, given):
    x, y = blobs(64)
    labels = y.to(kind)
    data = {"tensors": (x, labels), "arrays": (x.numpy(), labels.numpy()),
            "loader": list(zip(x.split(16), labels.split(16), strict=True))}
    sure = sc.prune(net(), 0.5, data=(x, y), recovery=TRAIN, skip=())
    made = sc.prune(net(), 0.5, data=data[given], recovery=TRAIN, skip=())
    assert joined_labels(calibration(data[given])).dtype == torch.int64
    assert all(torch.equal(a, b) for a, b in zip(sure.parameters(), made.parameters(), strict=True))


@pytest.mark.parametrize(("labels", "said"), [([0, 1, 4, 2], "from 0 to 4"), ([0, -1, 3, 2], "from -1 to 3")])
@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int8])
def test_a_label_outside_the_classes_is_refused(labels, said, kind):
    data = (torch.zeros(4, 6), torch.tensor(labels, dtype=kind))
    with pytest.raises(sc.SecateurError, match=f"labels run {said}, the outputs have 4 classes") as refused:
        sc.prune(net(), 0.5, data=data, recovery=TRAIN, skip=())
    assert "\n" not in str(refused.value)


def test_a_label_that_does_not_count_is_outside_the_classes():
    x, y = blobs(64)
    y[0] = -100
    assert sc.prune(net(), 0.5, data=(x, y.int()), recovery=TRAIN, skip=()) is not None


@pytest.mark.parametrize("labels", [torch.zeros(4), torch.zeros(4, dtype=torch.bool)])
def test_labels_that_are_no_integers_are_refused_as_classes(labels):
    with pytest.raises(sc.SecateurError, match="the loss of outputs .* takes class numbers \\(integers from 0\\)"):
        sc.prune(net(), 0.5, data=(torch.zeros(4, 6), labels), recovery=TRAIN, skip=())


def test_a_loss_of_ones_own_gets_the_labels_as_they_are():
    seen = set()

    def loss(outputs, labels):
        seen.add(labels.dtype)
        return nn.functional.cross_entropy(outputs, labels.long())

    x, y = blobs(64)
    sc.prune(net(), 0.5, data=sc.Samples(x, y.short(), loss=loss), recovery=TRAIN, skip=())
    assert seen == {torch.int16}


def test_arrays_are_tensors_wherever_they_stand():
    x, y = blobs(64)
    arrays = [{"input": part.numpy()} for part in x.split(16)]
    found = calibration(list(zip(arrays, y.split(16), strict=True)))
    assert torch.equal(join(found)[0], x) and found.names == ("input",)
    with pytest.raises(sc.SecateurError, match="an array of <U1.*allowed are arrays of numbers"):
        calibration((x.numpy(), np.array(["a"] * 64)))


@pytest.mark.parametrize("make", [lambda x, y: (x, y), Samples], ids=["pair", "Samples"])
@pytest.mark.parametrize("names", [(), ("ids", "attention_mask")], ids=["by place", "by name"])
def test_several_inputs_come_with_their_labels(make, names):
    first, second, labels = torch.arange(700.0)[:, None], -torch.arange(700.0)[:, None], torch.arange(700) % 7
    inputs = dict(zip(names, (first, second), strict=True)) if names else (first, second)
    found = [*calibration(make(inputs, labels))]
    assert [(len(batch), batch.names) for batch in found] == [(512, names), (188, names)]
    assert torch.equal(found[1].inputs[0], first[512:]) and torch.equal(found[1].inputs[1], second[512:])
    assert torch.equal(found[1].labels, labels[512:])
    assert calibration((inputs, None)).labelled is False
    with pytest.raises(SecateurError, match=r"700 samples with labels \(3,\) int64; allowed is one label for each"):
        calibration(make(inputs, labels[:3]))
