"""Layers whose forward is not ``x W' + b``: no refit and no signal takes them for plain ones, and each is named."""

import copy
import warnings

import pytest
import torch
from own_layers import (
    CONV,
    LINEAR,
    PLAIN_CONV,
    PLAIN_LINEAR,
    Divided,
    Equalised,
    Multiplied,
    Paired,
    dilated,
    own_network,
)
from support import secateur
from torch import nn

import secateur as sc
from secateur.core.errors import LeftOutWarning
from secateur.data.batch import Batch
from secateur.pruning.signals.formula import own_formulas

OTHER = {**LINEAR, **CONV}
PLAIN = {**PLAIN_LINEAR, **PLAIN_CONV}
REFITS = ["reconstruct", "rechoose", "sparsegpt"]


def left_out(**arguments):
    """The cut network, and what is told of layers that no refit takes."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cut = sc.prune(**arguments)
    return cut, [str(w.message) for w in told if w.category is LeftOutWarning]


def error(net, cut, x):
    with torch.no_grad():
        return float((cut(x) - net(x)).square().sum())


def names(net):
    return [name for name, module in net.named_children() if list(module.parameters())]


@pytest.mark.parametrize("recovery", REFITS)
@pytest.mark.parametrize("cls", OTHER.values(), ids=OTHER)
def test_no_refit_is_worse_than_the_plain_cut_and_every_layer_is_named(cls, recovery):
    net, x = own_network(cls)
    plain = sc.prune(net, 0.6, data=x, recovery="none", skip=())
    cut, notes = left_out(model=net, sparsity=0.6, data=x, recovery=recovery, skip=())
    assert error(net, cut, x) <= error(net, plain, x) * (1 + 1e-5)
    (note,) = notes
    assert note.startswith("not refitted: " + ", ".join(f"'{name}' ({cls.__name__})" for name in names(net)))
    assert note.endswith("it does not compute x W' + b with its weight and bias")
    for name in names(net):
        assert torch.equal(cut.get_parameter(f"{name}.weight"), plain.get_parameter(f"{name}.weight"))


@pytest.mark.parametrize("recovery", [*REFITS, "refit"])
@pytest.mark.parametrize("cls", PLAIN.values(), ids=PLAIN)
def test_plain_formulas_in_other_words_are_refitted_as_torchs_own_layers_are(cls, recovery):
    net, x = own_network(cls)
    own = nn.Sequential(*[copy.deepcopy(m) for m in net])
    for name in names(own):
        own[int(name)].__class__ = nn.Conv2d if issubclass(cls, nn.Conv2d) else nn.Linear
    (cut, told), (twin, _) = (left_out(model=n, sparsity=0.6, data=x, recovery=recovery, skip=()) for n in (net, own))
    assert not told
    for (_, got), (_, want) in zip(cut.named_parameters(), twin.named_parameters(), strict=True):
        assert torch.allclose(got, want, atol=1e-4)
    assert error(net, cut, x) < 0.9 * error(net, sc.prune(net, 0.6, data=x, recovery="none", skip=()), x)


def test_the_layers_beside_it_are_refitted_to_the_least_squares():
    """In float64 by hand: the rows of the inputs that stay, with a column of ones, against the outputs."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 6), Multiplied(6, 6), nn.Linear(6, 4)).eval(), torch.randn(512, 8)
    cut, notes = left_out(model=net, sparsity=0.5, data=x, recovery="reconstruct", skip=())
    assert notes == ["not refitted: '1' (Multiplied): it does not compute x W' + b with its weight and bias"]
    for at in (0, 2):
        with torch.no_grad():
            inputs, outputs = cut[:at](x).double(), net[:at + 1](x).double()
            got = (cut[:at + 1](x).double() - outputs).square().sum(0)
        for o, keep in enumerate(cut[at].weight != 0):
            a = torch.cat([inputs[:, keep], torch.ones(512, 1).double()], 1)
            best = (a @ torch.linalg.lstsq(a, outputs[:, o:o + 1]).solution - outputs[:, o:o + 1]).square().sum()
            assert best - 1e-9 <= got[o] <= best * 1.02 + 1e-6


def test_the_refit_says_that_it_kept_the_plain_cut(monkeypatch):
    net, x = own_network(nn.Linear)
    near = iter([0.0, 1.0])
    monkeypatch.setattr("secateur.recovery.methods.refit.distance", lambda model, context: next(near))
    cut, (note,) = left_out(model=net, sparsity=0.5, data=x, recovery="refit", skip=())
    assert "recovery refit: refitting would move the outputs further" in note
    plain = sc.prune(net, 0.5, data=x, recovery="none", skip=())
    assert all(torch.equal(a, b) for a, b in zip(cut.parameters(), plain.parameters(), strict=True))


class Several(nn.Module):
    """One layer for each reason to leave one out."""

    def __init__(self):
        super().__init__()
        self.plain, self.frozen, self.twice, self.idle, self.odd = (nn.Linear(6, 6) for _ in range(5))
        self.one, self.other, self.keyword = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.up, self.cell = nn.ConvTranspose1d(6, 6, 1), nn.GRU(6, 6)
        self.pair = Paired(6, 6)
        self.other.weight, self.odd.__class__ = self.one.weight, Divided
        self.frozen.requires_grad_(False)

    def forward(self, x):
        x = self.twice(self.twice(self.frozen(self.plain(x))))
        x = self.keyword(input=self.normed(self.odd(self.other(self.one(x)))))
        y, bias = self.pair(self.up(x[:, :, None])[:, :, 0])
        return self.cell(y + bias)[0]


def test_every_reason_is_told_with_the_layer():
    torch.manual_seed(0)
    _, notes = left_out(model=Several().eval(), sparsity=0.5, data=torch.randn(64, 6), recovery="reconstruct",
                        layers={"normed": {"skip": True}}, skip=())
    assert notes == [
        "not refitted: 'frozen' (Linear): it is frozen (requires_grad is False)",
        "not refitted: 'twice' (Linear): it is called more than once",
        "not refitted: 'idle' (Linear): it is never called as a module",
        "not refitted: 'odd' (Divided): it does not compute x W' + b with its weight and bias",
        "not refitted: 'one' (Linear), 'other' (Linear): it shares its weight with another layer",
        "not refitted: 'keyword' (Linear), 'pair' (Paired): it takes or returns something other than one tensor",
        "not refitted: 'normed' (ParametrizedLinear): a parametrization makes its weight",
        "not refitted: 'up' (ConvTranspose1d), 'cell' (GRU): only linear layers and convolutions that are not "
        "transposed can be refitted"]


@pytest.mark.parametrize("criterion", ["wanda", "obs", "sparsegpt", "obd"])
@pytest.mark.parametrize("cls", OTHER.values(), ids=OTHER)
def test_signals_of_its_inputs_refuse_it_by_name(cls, criterion):
    net, x = own_network(cls)
    data = (x, torch.zeros(len(x), dtype=torch.long)) if criterion == "obd" else x
    if isinstance(net[0], nn.Conv2d):
        net.append(nn.Flatten())
    with pytest.raises(sc.SecateurError, match=rf"layer '0' \({cls.__name__}\) does not compute x W' \+ b"):
        sc.plan(net, 0.5, criterion=criterion, data=data, skip=())
    assert sc.plan(net, 0.5, criterion="magnitude", data=x, skip=()).removed


@pytest.mark.parametrize("criterion", ["wanda", "obs"])
@pytest.mark.parametrize("cls", PLAIN.values(), ids=PLAIN)
def test_signals_take_plain_formulas_in_other_words(cls, criterion):
    net, x = own_network(cls)
    assert sc.plan(net, 0.5, criterion=criterion, data=x, skip=()).removed


def test_it_is_refused_only_where_it_is_cut():
    net = nn.Sequential(nn.Linear(4, 4), Equalised(4, 4), nn.Linear(4, 4))
    assert len(sc.plan(net, 0.5, criterion="wanda", data=torch.randn(16, 4), skip=["1"]).cuts) == 1


def test_a_plan_of_neurons_names_readers_that_are_no_plain_layers():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Equalised(8, 8), nn.ReLU(), nn.Linear(8, 2))
    plan, other = (sc.plan(net, 0.5, granularity="neuron", criterion=c, data=torch.randn(64, 4))
                   for c in ("elimination", "leverage"))
    assert plan.notes == ("2: criterion 'elimination' assumes that it computes x W' + b, but it does not compute x W' "
                          "+ b "
                          "with its weight and bias",)
    assert not other.notes


def probed(net, x):
    return list(own_formulas(net, [n for n, m in net.named_modules() if isinstance(m, nn.Linear)], Batch((x,))))


def test_hooks_belong_to_a_layer():
    """One that changes the outputs makes another formula; one that changes the inputs leaves the formula as it is."""
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval(), torch.randn(8, 4)
    net[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    assert not probed(net, x)
    net[1].register_forward_hook(lambda module, args, output: output + 1)
    assert probed(net, x) == ["1"]


def test_a_forward_that_scales_its_input_in_place_is_seen():
    class InPlace(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2))

    assert probed(nn.Sequential(nn.Linear(4, 4), InPlace(4, 4)).eval(), torch.randn(8, 4)) == ["1"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0])
def test_other_precisions_and_sizes_of_inputs(dtype, size):
    for cls, wanted in ((nn.Linear, []), (Multiplied, ["0", "2", "4"]), (LINEAR["BiasLater"], ["0", "2", "4"])):
        net, x = own_network(cls)
        assert probed(net.to(dtype), (x * size).to(dtype)) == wanted


def test_autocast_in_the_network_is_plain():
    class Cast(nn.Sequential):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x).float()

    assert not probed(Cast(nn.Linear(64, 64), nn.Linear(64, 4)).eval(), torch.randn(8, 64))


@pytest.mark.parametrize("cls", [*OTHER.values(), *PLAIN.values()], ids=[*OTHER, *PLAIN])
def test_the_check_leaves_no_trace(cls):
    net, x = own_network(cls)
    before, drawn = {n: t.clone() for n, t in net.state_dict().items()}, torch.get_rng_state()
    probed(net.train(), x)
    assert net.training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items() if cls.__name__ != "Bounded")
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in net.modules())


def test_inputs_that_overflow_are_still_refused_as_such():
    net = nn.Sequential(nn.Linear(300, 4), nn.Linear(4, 4)).eval()
    with pytest.raises(sc.SecateurError, match="the squared inputs or outputs of layer '0' overflow"):
        sc.prune(net, 0.5, data=torch.full((8, 300), 1e30), recovery="reconstruct", skip=())


def test_the_command_and_a_row_tell_it(tmp_path):
    done = secateur("prune", "own_layers:classifier", "--data", "support:blobs", "--epochs", "1", "--sparsity", "0.5",
                    "--latency-batches", "", "--out", "a.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    note = "not refitted: '3' (Multiplied): it does not compute x W' + b with its weight and bias"
    assert f"note: {note}" in done.stdout.splitlines()
    config = sc.StudyConfig(model="own_layers:classifier", data="support:blobs", uncut_bits=(), granularity=("weight",),
                            criterion=("magnitude",), sparsity=(0.5,), recovery=("reconstruct",), seeds=1, epochs=1,
                            latency_batches=())
    run = sc.study(config=config, out=tmp_path / "run")
    assert all(note in point["notes"] for point in run.points if point["sparsity"])


@pytest.mark.parametrize("recovery", [*REFITS, "refit"])
def test_convolutions_that_were_dilated_after_they_were_made_are_refitted(recovery):
    torch.manual_seed(0)
    net = dilated(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
                                nn.ReLU(), nn.Conv2d(8, 4, 1))).eval()
    x = torch.randn(16, 3, 12, 12)
    cut, notes = left_out(model=net, sparsity=0.6, data=x, recovery=recovery, skip=())
    plain = sc.prune(net, 0.6, data=x, recovery="none", skip=())
    assert not notes
    assert error(net, cut, x) < 0.9 * error(net, plain, x)


@pytest.mark.parametrize("padding", [(2, 2), "same"])
def test_wanda_scores_the_windows_of_a_dilated_convolution(padding):
    """By hand: torch unfolds the windows, a weight is worth its size times the norm of what it reads."""
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 4, 3), torch.randn(8, 3, 9, 9) * torch.rand(3, 9, 9) * 3
    conv.padding, conv.dilation = padding, (2, 2)
    norm = nn.functional.unfold(x.double(), 3, dilation=2, padding=2).square().mean((0, 2)).sqrt()
    worth = conv.weight.detach().double().flatten(1).abs() * norm
    keep = torch.ones_like(worth, dtype=torch.bool).flatten()
    keep[worth.flatten().argsort()[:54]] = False
    (cut,) = sc.plan(nn.Sequential(conv), 0.5, criterion="wanda", data=x, skip=()).cuts
    assert torch.equal(cut.keep.flatten(), keep)
