"""Graphs out of files: what operators may get, what they may take, and how graphs of earlier versions are read."""

import importlib
import inspect
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import foreign_memory
import pytest
import torch
from foreign_memory import at
from support import every
from torch import nn

import secateur as sc
from secateur.files.native.program import announce, operators
from secateur.files.native.program.arguments import Ref
from secateur.files.native.program.memory import Memory
from secateur.files.native.program.read import read
from secateur.files.native.program.rewrite import rewrite
from secateur.files.native.program.rules import RULES, Spec
from secateur.files.native.program.rules.base import promoted

TESTS = Path(__file__).parent.parent
BENCHMARKS = TESTS.parent / "benchmarks"
WHY = {"_weight_norm_interface": "lengths float32[1] of float32[400, 16]", "native_batch_norm": "for 16 channels",
       "sum": "argument 'dtype' is 200", "_weight_norm": "a size is 0", "div": "by a number above 0 only"}


@pytest.fixture(scope="module")
def outcomes():
    """What became of every graph: one process reads them all, and has told of those before one that ends it."""
    done = subprocess.run([sys.executable, TESTS / "foreign_memory.py", *foreign_memory.GRAPHS], capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1",
                                          "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])})
    return done, {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", foreign_memory.GRAPHS)
def test_a_graph_reads_and_writes_no_foreign_memory(name, outcomes):
    done, told = outcomes
    assert (name in told, done.returncode) == (True, 0), (list(told), done.stderr[-2000:])
    found = told[name]
    assert found["right"] or WHY[name] in found["refused"]
    assert bool(found["refused"]) == (name in WHY) and "\n" not in found["refused"]


def load(calls, tmp_path, **given):
    """A network of these calls; value 0 is a weight of 400 by 16, 1 a bias of 400, 2 the input of 4 by 1 by 4 by 4."""
    return sc.load(foreign_memory.file(calls, tmp_path), **given)


def refused(calls, tmp_path):
    with pytest.raises(sc.SecateurError) as caught, torch.no_grad():
        load(calls, tmp_path)(foreign_memory.X)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("calls", "message"), [
    ([["aten.ones.default", [[2**20, 2**12]]]], "call 0, aten.ones.default: the graph needs 17179"),
    ([["aten.expand.default", [at(2), [2**30, 4, 1, 4, 4]]]], "bytes at once; allowed for tensors and inputs of"),
    ([["aten.repeat.default", [at(1), [2**20]]], ["aten.repeat.default", [at(3), [2**20]]]], "call 0, aten.repeat"),
    ([["aten.ones.default", [[2**50]]]], "a size is 1125899906842624, allowed is 0 to"),
    ([["aten.conv2d.default", [at(2), at(0)]]], "float32[4, 1, 4, 4] by float32[400, 16]"),
    ([["aten.avg_pool2d.default", [at(2), [2, 2], [0, 0]]]], "stride is 0, allowed is 1 to"),
    ([["aten.upsample_nearest2d.vec", [at(2), None, [1e-300, -1.0]]]], "allowed are 1/64 to 64 for 2 sides"),
    ([["aten.gelu.default", [at(2)], {"approximate": "any"}]], "approximate is 'any'; allowed: none, tanh"),
    ([["aten.dropout.default", [at(2), 0.5, True]]], "dropout is random; allowed is train=False"),
    ([["aten.relu.default", []]], "argument 'self' is missing"),
    ([["aten.relu.default", [at(2), 1]]], "1 arguments too many"),
    ([["aten.softmax.int", [at(2), True]]], "argument 'dim' is True, a bool; allowed is int"),
    ([["aten.linear.default", [3, at(0)]]], "call 0, aten.linear.default: 'int' object has no attribute"),
    ([["size.floordiv", [3, 0]]], "call 0, size.floordiv: integer division or modulo by zero")])
def test_what_a_rule_refuses(calls, message, tmp_path):
    assert message in refused(calls, tmp_path)


def test_nothing_is_computed_before_every_call_is_checked(tmp_path, monkeypatch):
    done = []
    whole = operators.operation("aten.relu.default")
    monkeypatch.setattr(type(whole), "__call__", lambda self, *a, **k: done.append(self) or self._op(*a, **k))
    refused([["aten.relu.default", [at(2)]], ["aten.ones.default", [[2**40]]]], tmp_path)
    assert not done


def test_views_count_like_copies_until_no_call_needs_them():
    eighth = announce.FREE // 8 // 4
    with pytest.raises(sc.SecateurError, match=r"call 8, aten.expand.default: the graph needs \d+ bytes at once"):
        announced([["aten.expand.default", [at(0), [eighth]]]] * 9, keep=True)
    assert len(announced([["aten.expand.default", [at(0), [eighth]]]] * 9, keep=False)) == 9


def announced(calls, keep):
    """What calls give for one number; ``keep`` holds what each gives to the end."""
    told = {"tensors": [], "calls": calls, "parameters": [], "frozen": [], "example": "",
            "takes": {"parameters": [["x", 1, False]], "inputs": {"dict": [["x", {"leaf": 0}]]},
                      "like": [{"sizes": [1]}], "guards": []},
            "gives": {"tuple": [{"leaf": at(1 + i)} for i in range(len(calls) if keep else 1)]}}
    return announce.announce(read(json.dumps(told).encode(), set(), "the graph"), [Spec((1,), torch.float32)])


def test_a_result_that_is_not_the_announced_one_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(RULES, "aten.relu.default", lambda x: Spec((*x.shape[:-1], 3), x.dtype))
    told = refused([["aten.relu.default", [at(2)]]], tmp_path)
    assert "call 0, aten.relu.default: it returned float32[4, 1, 4, 4], declared was float32[4, 1, 4, 3]" in told
    monkeypatch.setitem(RULES, "aten.relu.default", lambda x: Spec(x.shape, torch.float64))
    assert "declared was float64[4, 1, 4, 4]" in refused([["aten.relu.default", [at(2)]]], tmp_path)


def test_an_operator_that_fails_is_named(tmp_path):
    calls = [["aten.flatten.using_ints", [at(2), 0, -1]], ["aten.to.dtype", [at(3), {"dtype": "int64"}]],
             ["aten.add.Tensor", [at(4), 400]], ["aten.embedding.default", [at(0), at(5)]]]
    assert "call 3, aten.embedding.default: IndexError: index out of range" in refused(calls, tmp_path)


def test_what_no_rule_covers_needs_trust(tmp_path):
    calls = [["aten.cdist.default", [at(0), at(0)]], ["aten.addbmm.default", [at(0), at(2), at(2)]]]
    told = refused(calls, tmp_path)
    assert "has operators that no rule covers: aten.cdist.default, aten.addbmm.default; " in told
    assert "give trusted=True (--trust)" in told
    back = load(calls[:1], tmp_path, trusted=True)
    weight = dict(back.named_parameters())["1.weight"]
    assert not back.program.checked and torch.equal(back(foreign_memory.X), torch.cdist(weight, weight))


X = foreign_memory.X
OLD = {
    "in place": ([["aten.relu_.default", [at(2)]], ["aten.add.Tensor", [at(2), at(3)]]], lambda x: 2 * x.relu()),
    "alias": ([["aten.mul.Tensor", [at(2), 2]], ["aten.view.default", [at(3), [64]]], ["aten.add_.Tensor", [at(4), 1]],
               ["aten.mul.Tensor", [at(3), 3]]], lambda x: (2 * x + 1) * 3),
    "part": ([["aten.clone.default", [at(2)]], ["aten.slice.Tensor", [at(3), 3, 1, 4, 2]],
              ["aten.select.int", [at(4), 0, 1]], ["aten.fill_.Scalar", [at(5), 5]], ["aten.neg.default", [at(3)]]],
             lambda x: -torch.cat([x[:1], x[1:2].index_fill(3, torch.tensor([1, 3]), 5.0), x[2:]])),
    "sibling": ([["aten.clone.default", [at(2)]], ["aten.select.int", [at(3), 0, 0]],
                 ["aten.transpose.int", [at(3), 2, 3]], ["aten.mul_.Scalar", [at(4), 0]],
                 ["aten.neg.default", [at(5)]]],
                lambda x: -torch.cat([torch.zeros(1, 1, 4, 4), x[1:]]).mT),
    "type": ([["aten.to.dtype", [at(2), {"dtype": "float16"}]], ["aten.zeros_like.default", [at(3)]],
              ["aten.add_.Tensor", [at(4), at(2)]]], lambda x: x.half()),
    "names": ([["aten.clip.default", [at(2), 0.2, 0.5]], ["aten.divide.Tensor", [at(3), 2]],
               ["aten.greater.Scalar", [at(4), 0.15]], ["aten.less.Scalar", [at(4), 0.2]],
               ["aten.__and__.Tensor", [at(5), at(6)]]],
              lambda x: (x.clip(0.2, 0.5) / 2 > 0.15) & (x.clip(0.2, 0.5) / 2 < 0.2)),
    "dropout": ([["aten.exp.default", [at(2)]], ["aten.dropout_.default", [at(3), 0.5, False]],
                 ["aten.zero_.default", [at(4)]], ["aten.add.Tensor", [at(3), 1]]], torch.ones_like),
    "convolution": ([["aten.ones.default", [[2, 1, 3, 3]]], [
        "aten._convolution.default", [at(2), at(3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True,
                                      True]]], lambda x: nn.functional.conv2d(x, torch.ones(2, 1, 3, 3))),
    "norms": ([["aten.native_group_norm.default", [at(2), None, None, 4, 1, 16, 1, 1e-5]], ["getitem", [at(3), 0]],
               ["aten.native_layer_norm.default", [at(4), [4], None, None, 1e-5]], ["getitem", [at(5), 0]]],
              lambda x: nn.functional.layer_norm(nn.functional.group_norm(x, 1), [4])),
}


@pytest.mark.parametrize("name", OLD)
def test_graphs_of_earlier_versions_are_rewritten(name, tmp_path):
    calls, want = OLD[name]
    back, given = load(calls, tmp_path), X.clone()
    with torch.no_grad():
        torch.testing.assert_close(back(given), want(X.clone()), rtol=1e-6, atol=1e-6)
    assert back.program.checked and all(call.name in RULES or "." not in call.name for call in back.program.calls)
    assert torch.equal(given, X)


@pytest.mark.parametrize(("calls", "names"), [
    ([["aten.add_.Tensor", [at(1), 1]]], "aten.add_.Tensor on a stored tensor"),
    ([["aten.permute.default", [at(2), [3, 2, 1, 0]]], ["aten.exp_.default", [at(3)]], ["aten.neg.default", [at(2)]]],
     "aten.exp_.default on a view by aten.permute.default"),
    ([["aten.native_layer_norm.default", [at(2), [4], None, None, 1e-5]], ["getitem", [at(3), 1]],
      ["aten.neg.default", [at(4)]]], "statistics of a norm")])
def test_what_cannot_be_rewritten_is_listed(calls, names, tmp_path):
    assert f"has operators that no rule covers: {names}; " in refused(calls, tmp_path)


def test_rewriting_is_bounded():
    chain = [("aten.slice.Tensor", (Ref(i), 0, 0, 3), {}) for i in range(300)]
    changes = [("aten.neg_.default", (Ref(300),), {})] * 300
    with pytest.raises(sc.SecateurError, match="cannot be rewritten in a bounded time"):
        rewrite(chain + changes, 0, 1, Ref(1))
    assert Memory(0, 1, 10).most == 16 * 110


class Moving(nn.Module):
    """Everything that only decomposition brings into the closed set."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

    def forward(self, x):
        y = self.norm(self.first(x)).relu_()
        y[:, 1:3] += 2
        y[:, 0] = x[:, 0]
        likeness = nn.functional.cosine_similarity(y, x)
        return torch.tensor_split(y, 2, 1)[0].clip(0, 3), torch.hstack([y, x]), likeness


def test_everything_else_is_decomposed_when_a_file_is_written(tmp_path):
    net, x = Moving().eval(), torch.rand(5, 6)
    back = sc.load(sc.save(net, tmp_path / "net.safetensors", example=x))
    for given in (x, torch.rand(2, 6)):
        for got, want in zip(back(given), net(given), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    text = json.loads(back.program.text)
    assert {call[0] for call in text["calls"]} <= RULES.keys() | {"getitem"}


def test_types_combine_as_in_torch():
    draw = random.Random(0)
    kinds = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8,
             torch.bool, torch.complex64]
    for _ in range(400):
        a, b = (torch.ones((2,) * draw.randrange(2), dtype=draw.choice(kinds)) for _ in range(2))
        b = draw.choice([b, 2, 0.5, True])
        specs = [announce.spec_of(v) for v in (a, b)]
        assert promoted(*specs) == torch.result_type(a, b), (specs, b)


def test_shapes_of_inputs_are_remembered_and_other_shapes_are_checked_anew(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval()
    back = sc.load(sc.save(net, tmp_path / "net.safetensors", example=foreign_memory.X))
    for count in (1, 3, 1, 200):
        x = torch.rand(count, 1, 4, 4)
        assert torch.equal(back(x), net(x))
    assert len(back._announced) == 3


def test_every_rule_belongs_to_an_operator_and_takes_its_arguments():
    for name, rule in RULES.items():
        schema = operators.operation(name)._schema
        inspect.signature(rule).bind(*schema.arguments)
        written = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        assert not written, name
        assert not {a.name for a in schema.arguments} & {"generator", "storage_offset", "strides"}, name
        assert name != "aten.as_strided.default" and "rand" not in name


@pytest.fixture
def fuzz_operators(monkeypatch):
    """What ``make fuzz`` runs for operators."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("fuzz_operators")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is filled by glibc's allocator")
@pytest.mark.parametrize("eighth", every(8, range(8)))
def test_drawn_arguments_neither_crash_nor_depend_on_fresh_memory(eighth, fuzz_operators, monkeypatch):
    names = sorted(RULES)[eighth::8]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    found = fuzz_operators.summary(list(fuzz_operators.run(names, 20, 7)), 20, 7)
    assert found["operators"] == len(names) and found["lists"] == 20 * len(names)
    assert not found["crashed"] and not found["different"] and not found["wrong"] and not found["bad"]
    assert found["ok"] > found["lists"] / 4 and found["refused"] > found["lists"] / 10


def test_every_operator_takes_its_good_arguments(fuzz_operators):
    from operator_arguments import example

    draw, generator = random.Random(0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        kinds = {name: {fuzz_operators.once(name, example(name, draw), generator)[0] for _ in range(4)}
                 for name in sorted(RULES)}
    assert not {name: found for name, found in kinds.items() if "ok" not in found or "wrong" in found}
