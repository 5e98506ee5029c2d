"""How much a graph of a file may compute and take beside its results: counted from shapes before anything runs."""

import json

import pytest
import torch
from foreign_memory import at
from networks import NETWORKS
from support import sweep
from torch import nn

import secateur as sc
from secateur.files.native.program import announce, conditions
from secateur.files.native.program.read import read
from secateur.files.native.program.rules import RULES, VALUE, WORK, Spec
from secateur.graph.example import inputs


def t(*shape, dtype=torch.float32):
    return Spec(shape, dtype)


def program(calls, values, trusted=False):
    """A graph whose inputs are like these values; its output is the last value."""
    names = [f"x{i}" for i in range(len(values))]
    told = {"tensors": [], "calls": calls, "parameters": [], "frozen": [], "example": "",
            "takes": {"parameters": [[name, 1, False] for name in names],
                      "inputs": {"dict": [[name, {"leaf": i}] for i, name in enumerate(names)]},
                      "like": [{"sizes": list(one.shape)} for one in values], "guards": []},
            "gives": {"tuple": [{"leaf": at(len(values) + len(calls) - 1)}]}}
    return read(json.dumps(told).encode(), set(), "the graph", trusted)


def counted(name, given):
    """Bytes beside its result and operations of one call."""
    values = [one for one in [*given, *(given[1] if isinstance(given[0], str) else [])] if isinstance(one, Spec)]
    places = iter(range(len(values)))

    def told(one):
        return at(next(places)) if isinstance(one, Spec) else list(map(told, one)) if isinstance(one, list) else one

    made = program([[f"aten.{name}", [told(one) for one in given]]], values)
    return announce._result(made.calls[0], values)[1:]


# Products by hand, and how many values the call reads and writes.
@pytest.mark.parametrize(("name", "given", "products", "moved"), [
    ("linear.default", [t(5, 8), t(3, 8), t(3)], 5 * 3 * 8, 40 + 24 + 3 + 15),
    ("matmul.default", [t(2, 3, 4), t(4, 5)], 2 * 3 * 5 * 4, 24 + 20 + 30),
    # Whole numbers have no fast product: sixteen times.
    ("mm.default", [t(3, 4, dtype=torch.int64), t(4, 5, dtype=torch.int64)], 16 * 3 * 5 * 4, 12 + 20 + 15),
    ("mm.default", [t(3, 4, dtype=torch.complex64), t(4, 5, dtype=torch.complex64)], 4 * 60, 12 + 20 + 15),
    ("einsum.default", ["ij,jk->ik", [t(3, 4), t(4, 5)]], 2 * 3 * 4 * 5, 12 + 20 + 15),
    # Ten of sixteen channels by a kernel of 3 by 3 in 6 by 5 places.
    ("conv2d.default", [t(2, 16, 8, 7), t(10, 16, 3, 3)], 2 * 10 * 30 * 16 * 9, 2 * 16 * 56 + 1440 + 600),
    # A channel by itself: as if it were sixteen.
    ("conv2d.default", [t(2, 4, 8, 7), t(4, 1, 3, 3), None, [1, 1], [0, 0], [1, 1], 4], 16 * 2 * 4 * 30 * 9,
     448 + 36 + 240),
    # The other way: each of 200 values by 16 outputs of 2 by 2.
    ("conv_transpose2d.input", [t(2, 4, 5, 5), t(4, 16, 2, 2)], 200 * 16 * 4, 200 + 256 + 2 * 16 * 36),
    ("convolution.default", [t(2, 4, 5, 5), t(4, 16, 2, 2), None, [1, 1], [0, 0], [1, 1], True, [0, 0], 1],
     200 * 16 * 4, 200 + 256 + 2 * 16 * 36),
    ("relu.default", [t(6, 7)], 0, 84), ("permute.default", [t(6, 7), [1, 0]], 0, 42)])
def test_work_is_counted_as_by_hand(name, given, products, moved):
    assert counted(name, given)[1] == 2 * products + VALUE * moved + announce._CALL


# Each within the memory that a graph may take, and hours or days of work: the whole graph in a kilobyte of text.
LONG = {
    "products": ([["aten.matmul.default", [at(0), at(0)]]] * 3000, [t(4096, 4096)]),
    "convolutions": ([["aten.conv2d.default", [at(0), at(1), None, [1, 1], "same"]]] * 3000,
                     [t(1, 64, 256, 256), t(64, 64, 9, 9)]),
    "windows": ([["aten.avg_pool2d.default", [at(0), [900, 900], [1, 1]]]] * 9, [t(1, 1, 3000, 3000)]),
    "letters": ([["aten.einsum.default", ["ab,cd,ef->", [at(0), at(0), at(0)]]]], [t(200, 200)]),
    "values": ([["aten.asinh.default", [at(0)]]] * 25_000, [t(10**6)]),
    "orders": ([["aten.mode.default", [at(0)]]] * 5000, [t(10**6)]),
    "steps": ([["aten.rnn_tanh.input", [at(0), at(1), [at(2), at(2)], False, 1, 0.0, False, False, False]]] * 90,
              [t(10**6, 1, 1), t(1, 1, 1), t(1, 1)]),
    "parts": ([["aten.unbind.int", [at(0)]]] * 5000, [t(2**16, 0)]),
    "scores": ([["aten.scaled_dot_product_attention.default", [at(0)] * 3]] * 3000, [t(1, 1, 5000, 64)]),
    "transforms": ([["aten.fft_fft.default", [at(0)]]] * 3000, [t(10**6)])}


@pytest.mark.parametrize("kind", sweep(LONG, lambda kind: kind != "parts"))
def test_a_graph_that_would_run_for_hours_is_refused(kind):
    calls, values = LONG[kind]
    calls = [[name.replace("conv2d.default", "conv2d.padding"), args] for name, args in calls]
    with pytest.raises(sc.SecateurError, match=r"the graph (does \S+ operations up to there|needs \d+ bytes)") as told:
        announce.announce(program(calls, values), values)
    assert kind == "letters" or "give trusted=True (--trust) if you know where the file comes from" in str(told.value)


def test_trust_lifts_the_budget_of_work_alone():
    values = [t(2000, 2000)]
    calls = [["aten.matmul.default", [at(0), at(0)]]] * 1000
    assert len(announce.announce(program(calls, values, trusted=True), values)) == 1000
    with pytest.raises(sc.SecateurError, match="bytes at once"):
        announce.announce(program([["aten.ones.default", [[2**40]]]], values, trusted=True), values)


def test_nothing_runs_of_a_graph_beyond_its_budget(tmp_path, monkeypatch):
    path = sc.save(nn.Linear(4, 3), tmp_path / "a", torch.rand(2, 4))
    monkeypatch.setattr(announce, "FREE_WORK", 0)
    monkeypatch.setattr(announce, "WORK_A_BYTE", 1)
    # By hand: 24 products and as many additions, 29 values that are read or written, one call.
    assert round(2 * 24 + VALUE * (8 + 12 + 3 + 6) + announce._CALL, -4) == 140_000
    with pytest.raises(sc.SecateurError, match=r"call 0, aten.linear.default: the graph does 1.4e\+05 operations"):
        sc.load(path)(torch.rand(2, 4))
    assert sc.load(path, trusted=True)(torch.rand(2, 4)).shape == (2, 3)


# What a call takes beside its result, in bytes, at least: as measured on torch's kernels.
@pytest.mark.parametrize(("name", "given", "least"), [
    # 399,552 places of a kernel of 512 values over 64 values with edges: 818 MB.
    ("conv1d.default", [t(1, 1, 64), t(1, 1, 512), None, [1], [200_000]], 4 * 399_552 * 512),
    # Both operands are repeated along the batch of the other.
    ("matmul.default", [t(300, 1, 1, 300), t(1, 300, 300, 1)], 2 * 4 * 300**3),
    # The rows of the input in the width of the result stand between the two passes.
    ("_upsample_bilinear2d_aa.vec", [t(1, 1, 10_000, 1), [1, 10_000], False, None], 4 * 10_000**2)])
def test_memory_beside_the_result_is_counted(name, given, least):
    assert least <= counted(name, given)[0] <= 4 * least


def test_a_product_that_repeats_nothing_takes_nothing_beside():
    assert counted("matmul.default", [t(64, 8, 100, 64), t(64, 8, 64, 100)])[0] == 0
    assert counted("matmul.default", [t(64, 100, 64), t(64, 32)])[0] == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_stay_far_below(name, tmp_path, monkeypatch):
    """A tenth of what is allowed for each byte is enough, without the operations that every graph may do."""
    network, example = NETWORKS[name]()
    try:
        path = sc.save(network.eval(), tmp_path / "a", example)
    except sc.SecateurError:
        pytest.skip("no graph is written of it")
    monkeypatch.setattr(announce, "FREE_WORK", 0)
    monkeypatch.setattr(announce, "WORK_A_BYTE", announce.WORK_A_BYTE // 10)
    args, kwargs = inputs(example)
    with torch.no_grad():
        sc.load(path)(*args, **kwargs)


def test_operators_that_do_more_than_to_read_and_write_have_a_count():
    words = ("mm.", "mv.", "dot.", "conv", "aten.linear.", "_pool", "lstm", "gru", "rnn", "einsum", "sort", "topk",
             ".mode.", ".median.", "fft_", "attention", "bucketize", "bilinear", "bicubic", "trilinear", "_linear1d",
             "matmul")
    assert {name for name in RULES if any(word in name for word in words)} <= WORK.keys()


def test_a_condition_has_no_number_that_nobody_can_write_down():
    grown = 2**62
    for _ in range(3):
        grown = ["*", grown, grown]
    with pytest.raises(sc.SecateurError, match="is beyond 64 bits"):
        conditions.value(["==", ["%", grown, 3], 0], {})
