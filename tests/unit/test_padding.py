"""Inputs by name: padding that an attention mask hides counts nowhere, against the same sequences one by one."""

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration, calibration
from secateur.data.forward import call
from secateur.measure.agreement import agreement
from secateur.pruning.signals.inputs import gram_sum, input_moments


class Tagger(nn.Module):
    """Two linear layers over sequences; what is padded does not mix with the rest."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(5, 12), nn.Linear(12, 3)

    def forward(self, values, attention_mask):
        return self.down(self.up(values).relu()) * 1.0


@pytest.fixture
def sequences():
    torch.manual_seed(0)
    lengths = [3, 7, 5, 6] * 12
    return [torch.randn(1, length, 5) for length in lengths]


def padded(sequences, size=8):
    """The sequences in batches, garbage where they are padded."""
    batches = []
    for at in range(0, len(sequences), size):
        part = sequences[at:at + size]
        length = max(s.shape[1] for s in part)
        values, mask = torch.full((len(part), length, 5), 50.0), torch.zeros(len(part), length, dtype=torch.long)
        for i, sequence in enumerate(part):
            values[i, :sequence.shape[1]], mask[i, :sequence.shape[1]] = sequence[0], 1
        batches.append({"values": values, "attention_mask": mask})
    return batches


def test_moments_are_those_of_the_real_places(sequences):
    network = Tagger()
    found = input_moments(network, ["up"], calibration(padded(sequences)), gram_sum)["up"]
    rows = torch.cat([s[0] for s in sequences]).double()
    assert found.rows == len(rows)
    assert torch.allclose(found.total[0], rows.T @ rows, rtol=1e-5)


@pytest.mark.parametrize("granularity", ["weight", "neuron"])
@pytest.mark.parametrize("recovery", ["best", "reconstruct"])
def test_recoveries_see_no_padding(sequences, granularity, recovery):
    network = Tagger()
    alone = [{"values": s, "attention_mask": torch.ones(1, s.shape[1], dtype=torch.long)} for s in sequences]
    small = [sc.prune(network, 0.5, granularity=granularity, data=data, recovery=recovery,
                      skip=()) for data in (padded(sequences), alone)]
    for a, b in zip(*(s.parameters() for s in small), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_agreement_leaves_padding_out(sequences):
    network = Tagger()
    cut = sc.prune(network, 0.5, skip=())
    found, alone = (agreement(network, cut, calibration(data)) for data in (padded(sequences), [
        {"values": s, "attention_mask": torch.ones(1, s.shape[1], dtype=torch.long)} for s in sequences]))
    assert found.samples == len(sequences)
    assert found.error == pytest.approx(alone.error, rel=1e-5)
    assert found.cosine == pytest.approx(alone.cosine, rel=1e-5)


def test_inputs_by_name_reach_the_network_as_such():
    batch = Batch((torch.ones(2, 3), torch.zeros(2, 3)), None, ("b", "a"))

    class Named(nn.Module):
        def forward(self, *, a, b):
            return b - a

    assert torch.equal(call(Named(), batch), torch.ones(2, 3))
    assert set(Calibration([batch]).example()) == {"a", "b"}
    assert str(batch) == "b (2, 3) float32 and a (2, 3) float32"
    with pytest.raises(sc.SecateurError, match="batch 1 has arguments a, batch 0 b"):
        calibration([{"b": torch.ones(1, 2)}, {"a": torch.ones(1, 2)}])
    with pytest.raises(sc.SecateurError, match="with the same number of samples"):
        calibration({"a": torch.ones(2, 2), "b": torch.ones(3, 2)})
