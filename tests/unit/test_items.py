"""Items and specs: wrong settings, NumPy scalars, classes in place of items, equality, hashes and pickles."""

import inspect
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support import tiny
from torch import nn

import secateur as sc
from secateur.core import registry
from secateur.core.items import Item
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.weight import Weight
from secateur.pruning.scopes import resolve_scope
from secateur.pruning.scopes.base import Allocation, Scope
from secateur.training.schedules import Linear

NET = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
X = torch.rand(16, 8, generator=torch.Generator().manual_seed(0))
SPEC = sc.PruningSpec()


@dataclass(frozen=True)
class Sized(Weight):
    """A granularity that needs a size."""

    size: int

    def __init__(self, size):
        object.__setattr__(self, "size", size)


@pytest.mark.parametrize(("call", "told"), [
    (lambda: sc.prune(NET, 0.5, spec=SPEC, criterion=None), "prune: got spec= and criterion=; allowed is one of them"),
    (lambda: sc.prune(NET, 0.5, spec=SPEC, granularity="weight", seed=0), "prune: got spec= and granularity, seed=;"),
    (lambda: sc.plan(NET, 0.5, spec=SPEC, skip=None), "plan: got spec= and skip=; allowed is one of them"),
    (lambda: sc.Pruner(NET, 0.5, spec=SPEC, scope="layer"), "Pruner: got spec= and scope=; allowed is one of them"),
    (lambda: sc.PruningSpec(amount=0.5), "PruningSpec: unknown argument 'amount': use the second argument of plan"),
    (lambda: sc.PruningSpec(round_to=8), "unknown argument 'round_to': use granularity=Neuron(round_to=8)"),
    (lambda: sc.PruningSpec(roundto=8), "unknown argument 'roundto': use granularity=Neuron(round_to=8)"),
    (lambda: sc.PruningSpec(recovry="best"), "unknown argument of PruningSpec 'recovry': did you mean 'recovery'?"),
    (lambda: sc.Global(most=0.9), "unknown argument of Global 'most': did you mean 'max_sparsity'?"),
    (lambda: sc.Layer(least=0.9), "unknown argument of Layer 'least': did you mean 'min_sparsity'?"),
    (lambda: sc.Neuron(roundto=8), "unknown argument of Neuron 'roundto': did you mean 'round_to'?"),
    (lambda: sc.Finetune(epoch=3), "unknown argument of Finetune 'epoch': did you mean 'epochs'?"),
    (lambda: sc.StudyConfig(sparsty=0.5), "unknown argument of StudyConfig 'sparsty': did you mean 'sparsity'?"),
    (lambda: sc.Global(0.9), "Global: got 1 positional arguments, allowed are none; give the others by name: min_sp"),
    (lambda: Linear(), "Linear(...) needs its arguments: missing a required argument: 'target'; allowed: target,"),
    (lambda: sc.Block(4, outputs=4), "Block(...) needs its arguments: multiple values for argument 'outputs'"),
    (lambda: sc.plan(NET, 0.5, granularity=Sized), "Sized(...) needs its arguments: missing a required argument"),
    (lambda: sc.plan(NET, 0.5, scope=sc.Neuron), "unknown scope '<class"),
    (lambda: sc.Pruner(NET, Linear), "Linear(...) needs its arguments"),
    (lambda: sc.Budget(batch=64), "budget batch 64: only milliseconds are measured at a batch, got parameters"),
    (lambda: sc.Budget(flops=9, batch=64), "budget batch 64: only milliseconds are measured at a batch, got flops"),
    (lambda: sc.Budget(ms=True), "budget ms True: allowed are finite numbers above 0"),
    (lambda: sc.Budget(ms="2"), "budget ms '2': allowed are finite numbers above 0"),
    (lambda: sc.Budget(ms=2.5, batch=2.5), "budget batch 2.5: allowed are whole numbers from 1"),
    (lambda: sc.Owl(times="5"), "owl times '5': allowed are finite numbers above 0"),
    (lambda: sc.Owl(reach=True), "owl reach True: allowed are numbers in [0, 1]"),
    (lambda: sc.Global(max_sparsity=True), "max_sparsity of every layer is True: allowed is a fraction"),
    (lambda: sc.Block(True, 4), "allowed are sides of 1 or more"),
    (lambda: sc.NM(True, 4), "allowed is n:m with 0 < n < m"),
    (lambda: sc.BestFinetune(finetune=sc.Finetune), "best-finetune finetune <class"),
    (lambda: sc.Rewind(weights=3), "rewind weights 3: allowed are values of class Mapping or str or Path"),
    (lambda: sc.plan(NET, False), "sparsity False: allowed is a fraction removed in [0, 1)"),
    (lambda: sc.compare(NET, NET, X, batches=(True,)), "batches [True]; allowed are whole numbers from 1 on"),
    (lambda: sc.compare(NET, NET, X, seconds=True), "seconds True; allowed is a number above 0"),
    (lambda: sc.plan(NET, 0.5, granularity="blok"), "'blok': did you mean 'block'? allowed: 2:4, 4x1, neuron, weight"),
    (lambda: sc.plan(NET, 0.5, granularity="n:m:"), "cannot import module 'n'"),
    (lambda: sc.plan(NET, 0.5, granularity="os.path:join"), "unknown granularity 'os.path:join': allowed: 2:4, 4x1"),
    (lambda: sc.prune(), "prune(...) needs its arguments: missing a required argument: 'model'")])
def test_a_wrong_setting_is_answered_in_one_line(call, told):
    with pytest.raises(sc.SecateurError) as caught:
        call()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults_stay_in_the_signatures():
    shown, planned = ({name: one.default for name, one in inspect.signature(call).parameters.items()}
                      for call in (sc.prune, sc.plan))
    assert (shown["criterion"], shown["scope"], shown["seed"]) == (None, "layer", 0)
    # a search needs to know whether a granularity was given
    assert (shown["granularity"], planned["granularity"]) == (None, "weight")
    assert list(inspect.signature(sc.Neuron).parameters) == ["round_to", "pooling"]
    assert inspect.signature(sc.Finetune).parameters["epochs"].default == 5


@pytest.mark.parametrize("room", ["granularity", "scopes", "recovery", "schedules", "regrowth", "criteria"])
def test_every_item_is_made_under_the_same_checks(room):
    for name in registry.files(room):
        cls = registry.get(room, name)
        assert issubclass(cls, Item)
        with pytest.raises(sc.SecateurError, match=rf"unknown argument of {cls.__name__} 'no_setting'"):
            cls(no_setting=1)


def test_what_is_allowed_is_what_can_be_written():
    assert registry.allowed("granularity") == [resolve(name).name for name in registry.files("granularity")]
    assert registry.allowed("scopes") == list(registry.files("scopes"))


@pytest.mark.parametrize(("given", "same"), [
    ({"granularity": sc.Neuron}, {"granularity": "neuron"}), ({"granularity": sc.Block}, {"granularity": "4x1"}),
    ({"scope": sc.Global}, {"scope": "global"}), ({"layers": {"0": {"granularity": sc.Block}}},
                                                  {"layers": {"0": {"granularity": "4x1"}}})])
def test_a_class_stands_for_the_item_with_its_defaults(given, same):
    assert sc.plan(NET, 0.5, **given, example=X[:1]) == sc.plan(NET, 0.5, **same, example=X[:1])


def test_a_class_of_recovery_or_criterion_is_taken():
    one = sc.prune(NET, 0.5, recovery=sc.Reconstruct, criterion=registry.get("criteria", "wanda"), data=X)
    other = sc.prune(NET, 0.5, recovery=sc.Reconstruct(), criterion="wanda", data=X)
    assert torch.equal(one[0].weight, other[0].weight)


def test_a_scope_gets_settings_whether_it_is_named_or_given():
    assert resolve_scope("global", max_sparsity=0.9) == sc.Global(max_sparsity=0.9)
    assert resolve_scope(sc.Global(min_sparsity=0.1), max_sparsity=0.9) == sc.Global(min_sparsity=0.1, max_sparsity=0.9)
    with pytest.raises(sc.SecateurError, match="did you mean 'max_sparsity'"):
        resolve_scope(sc.Global(), most=0.9)


def test_numbers_of_numpy_are_numbers_of_exactly_their_value():
    third = np.float32(0.9)
    assert float(third) == 0.8999999761581421
    assert sc.plan(NET, third).sparsity == 0.8999999761581421
    assert sc.plan(NET, np.float64(0.9)) == sc.plan(NET, 0.9)
    # 96 weights: 0.8999999761581421 * 96 is 86.3999977...
    assert sc.plan(NET, third).removed == 86
    for item, same in [(sc.Global(max_sparsity=np.float32(0.5)), sc.Global(max_sparsity=0.5)),
                       (sc.Budget(ms=np.float16(2.5), batch=np.int64(64)), sc.Budget(ms=2.5, batch=64)),
                       (sc.Neuron(np.int32(8)), sc.Neuron(8)), (sc.Block(np.int64(4), np.uint8(2)), sc.Block(4, 2)),
                       (sc.Finetune(epochs=np.int64(2), lr=np.float32(0.5)), sc.Finetune(epochs=2, lr=0.5)),
                       (Linear(np.float32(0.5), end=np.int64(9)), Linear(0.5, end=9))]:
        assert item == same and repr(item) == repr(same)
        assert all(type(value) in (int, float, str, type(None)) for value in vars(item).values())


def test_numbers_of_numpy_are_taken_wherever_a_number_is():
    assert sc.Pruner(tiny(), np.float32(0.5), skip=()).reached == 0.5
    layers, same = ({"0": number(0.25), "2": {"min_sparsity": number(0.5)}} for number in (np.float32, float))
    assert sc.plan(NET, 0.5, layers=layers, skip=()) == sc.plan(NET, 0.5, layers=same, skip=())
    found = sc.sensitivity(NET, X, sparsities=(np.float32(0.5),), seed=np.int64(1))
    assert found.curves[0].removed == (0, 48, 95)
    config = sc.StudyConfig(sparsity=(np.float64(0.5),), seeds=np.int64(2), tolerance=np.float32(0.5))
    assert config == sc.StudyConfig(sparsity=(0.5,), seeds=2, tolerance=0.5)
    assert sc.compare(NET, NET, X, batches=(np.int64(2),), seconds=np.float32(0.01)).latency.keys() == {"2"}


@pytest.mark.parametrize("settings", [
    {}, {"skip": ["0"]}, {"layers": {"0": 0.5, "2": {"granularity": "4x1", "min_sparsity": 0.1}}},
    {"recovery": ["best", sc.Finetune(epochs=1)]}, {"granularity": sc.Neuron(round_to=8), "scope": sc.Owl()}])
def test_equal_specs_are_one_value(settings):
    spec, again = sc.PruningSpec(**settings), sc.PruningSpec(**settings)
    assert spec == again and hash(spec) == hash(again) and {spec: 1}[again] == 1
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(pickle.loads(pickle.dumps(spec))) == hash(spec)


def test_specs_of_lists_and_tuples_are_one_and_keep_nothing_of_the_caller():
    names, layers = ["0"], {"0": {"sparsity": 0.5}}
    spec = sc.PruningSpec(skip=names, recovery=["best"], layers=layers)
    assert spec == sc.PruningSpec(skip=("0",), recovery=("best",), layers={"0": {"sparsity": 0.5}})
    names.append("2")
    layers["0"]["sparsity"] = 0.25
    assert spec.skip == ("0",) and spec.layers == {"0": {"sparsity": 0.5}}
    assert spec != sc.PruningSpec(skip=("0",), recovery=("best",), layers={"0": {"sparsity": 0.25}})


def test_names_to_skip_may_come_one_by_one():
    assert sc.PruningSpec(skip=(name for name in ("0", "2"))).skip == ("0", "2")
    assert [cut.name for cut in sc.plan(NET, 0.5, skip=iter(["2"])).cuts] == ["0.weight"]
    assert sc.PruningSpec(skip=[]) == sc.PruningSpec() != sc.PruningSpec(skip=())


@dataclass(frozen=True)
class Costly(Allocation):
    """As many items of each layer as bring the network to half of what it costs, seen by its costs."""

    needs = frozenset({"costs"})

    def removals(self, layers, sparsity, bounds, context):
        assert context.costs.whole == sum(int((p != 0).sum()) for p in context.model.parameters())
        return [layer.items // 2 for layer in layers]


@dataclass(frozen=True)
class Bytes(Costly):
    resource = "bites"


@dataclass(frozen=True)
class Together(Scope):
    needs = frozenset({"costs"})

    def competitors(self, count):
        return [list(range(count))]


@dataclass(frozen=True)
class Greedy(Together):
    needs = frozenset({"cost"})


def test_a_scope_of_a_user_s_own_gets_its_costs():
    assert sc.plan(NET, 0.5, scope=Costly(), data=X, skip=()).removed == 48 + 18


@pytest.mark.parametrize(("scope", "told"), [
    (Bytes(), "Bytes' 'bites': did you mean 'bytes'? allowed: bytes, flops, ms, parameters"),
    (Together(), "needs costs, which is measured for each layer alone; allowed: one set of competitors per layer"),
    (Greedy(), "Greedy' 'cost': did you mean 'costs'? allowed: costs, samples, scan")])
def test_a_scope_that_cannot_have_its_costs_is_refused(scope, told):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(NET, 0.5, scope=scope, data=X, skip=())
    assert told in str(caught.value)


def test_a_regression_has_no_classes():
    torch.manual_seed(0)
    other = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    target = torch.rand(16, 3)
    shown = sc.compare(NET, other, sc.Samples(X, target, loss=nn.functional.mse_loss), batches=())
    with torch.no_grad():
        error = float((NET(X) - other(X)).double().norm() / NET(X).double().norm())
    assert shown.agreement.same is None and shown.agreement.error == pytest.approx(error, rel=1e-5)
    assert "class" not in str(shown) and "outputs, relative error" in str(shown)
    whole = sc.Samples(X, (10 * target).long(), loss=lambda got, want: nn.functional.mse_loss(got, want.float()))
    assert sc.compare(NET, other, whole, batches=()).agreement.same is None
    # probabilities of classes, and classes under a loss of one's own, are a classifier's
    assert sc.compare(NET, NET, (X, target.softmax(1)), batches=()).agreement.same == 1.0
    classes = sc.Samples(X, target.argmax(1), loss=nn.CrossEntropyLoss(label_smoothing=0.1))
    assert sc.compare(NET, NET, classes, batches=()).agreement.same == 1.0
