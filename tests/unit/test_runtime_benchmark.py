"""The benchmark of the runtime: ratios worked out by hand, wrong engines named, cases kept."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import engines
import nets
import ratios
import runtime as benchmark
import runtime_tables as tables


def row(**seconds):
    entries = {label.replace("_", " "): {"seconds": times, "version": "1"} for label, times in seconds.items()}
    return {"net": "mlp", "threads": 1, "sparsity": 0.9, "batch": 16, "problems": {"deepsparse": "wrong outputs"},
            "engines": entries}


ROW = row(torch_eager=[8.0, 9.0, 12.0], openvino=[4.0, 4.5, 4.0], torch_CSR=[2.0, 2.0, 2.0], secateur=[0.5, 1.0, 1.0],
          secateur_avx2=[1.0, 1.0, 1.0])


def test_ratios_are_those_of_the_rounds():
    assert ratios.best(ROW, ratios.DENSE) == "openvino"
    assert tables.over_dense(ROW) == 4.5
    assert tables.over_others(ROW) == 2.0
    assert tables.over_deepsparse(ROW) is None
    assert ratios.best({"engines": {}}, ratios.DENSE) is None


def test_aims_count_what_reaches_them():
    aim = next(a for a in tables.AIMS if a.least == 8)
    slow = row(torch_eager=[8.0], secateur=[0.5], secateur_avx2=[2.0])
    cells = tables._aim(aim, [ROW, slow, {**ROW, "threads": 2}])
    assert cells[2:7] == ["2", "**1**", "4.5 (mlp, batch 16, 90%)", "10", "16"]
    assert cells[7] == "0 of 2"


def test_every_table_names_what_it_was_given():
    found = {"rows": [ROW], "absent": {"tensorflow": "not installed"}}
    assert "| 16 | 90% | 9000000 µs | 12 | openvino | **4.5** | torch CSR | **2.0** | wrong |" in tables.mlp(found)
    assert "| mlp | 1 | 16 | 4.5 / 2.0 |" in tables.condensed(found)
    assert tables.problems(found).startswith("- tensorflow: not installed\n- deepsparse: wrong outputs (1 cases)")
    assert "wrong" not in tables.engines(found).splitlines()[-1]


def test_engines_in_less_precision_have_columns_of_their_own():
    less = row(torch_eager=[8.0], openvino=[4.0], onnxruntime_int8=[1.0], torch_bf16=[2.0], secateur=[0.5])
    assert (tables.over_dense(less), tables.over_others(less)) == (8.0, 8.0)
    lines = tables.mlp({"rows": [less]}).splitlines()
    assert lines[0].endswith("| best engine in int8 | **secateur over it** | best engine in bf16 | **secateur over "
                             "it** |")
    assert lines[-1].endswith("| onnxruntime int8 | **2.0** | torch bf16 | **4.0** |")
    assert "int8" not in tables.mlp({"rows": [ROW]})


def test_less_precision_may_be_off_by_more():
    class Near:
        def open(self, net, x):
            return net(x).detach().numpy() * np.float32(1.1), lambda seconds: 1.0, "1"

    net, x = nets.network("768-3072", 0.0), torch.rand(2, 768)
    exact = net(x).detach().numpy()
    assert engines.opened("onnxruntime int8", Near(), net, x, exact)[1]["error"] == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(RuntimeError, match="wrong outputs"):
        engines.opened("onnxruntime", Near(), net, x, exact)


class Liar:
    def open(self, net, x):
        return np.zeros((len(x), 3072), np.float32), lambda seconds: 1.0, "1"


def test_a_case_checks_first_and_then_times(tmp_path):
    key = {"net": "768-3072", "threads": 1, "sparsity": 0.98, "batch": 2}
    made = {"torch eager": engines.ENGINES["torch eager"], "scipy CSR": engines.ENGINES["scipy CSR"], "liar": Liar()}
    with torch.no_grad():
        found = benchmark.case(key, made, 0.01, 2)
    assert set(found["engines"]) == {"torch eager", "scipy CSR"}
    assert found["problems"]["liar"].startswith("wrong outputs, relative error")
    assert all(t > 0 for entry in found["engines"].values() for t in entry["seconds"])
    benchmark.write(tmp_path / "kept.json", {"rows": [found], "machine": {}})
    rows = benchmark.json.loads((tmp_path / "kept.json").read_text())["rows"]
    assert benchmark.left([key], rows, made) == []
    assert benchmark.left([key, {**key, "batch": 3}], rows, made) == [{**key, "batch": 3}]
    assert benchmark.left([key], rows, {**made, "another": None}) == [key]


@pytest.mark.parametrize("sparsity", [0.5, 0.98])
def test_networks_have_the_sparsity_that_is_asked(sparsity):
    net = nets.network("mlp", sparsity)
    whole = [m.weight for m in net if isinstance(m, nn.Linear)]
    assert all((w == 0).sum() == round(sparsity * w.numel()) for w in whole[:-1])
    assert (whole[-1] != 0).all()
    wide, x = nets.padded(net), torch.randn(3, 784)
    assert [m.out_features % 16 for m in wide if isinstance(m, nn.Linear)] == [0, 0, 0, 0, 10]
    torch.testing.assert_close(wide(x), net(x))


def test_openvino_is_run_as_the_engine_of_secateur_bench_runs_it(monkeypatch, tmp_path):
    """The peers' environments have no secateur, so that the options stand twice."""
    from types import SimpleNamespace

    from peers import onnx_engines

    from secateur.engines.openvino import OpenVino
    from secateur.files.exporters import openvino_

    seen = []

    class Core:
        def read_model(self, _):
            return SimpleNamespace(reshape=lambda _: None)

        def compile_model(self, _, device, options):
            seen.append((device, options))
            return SimpleNamespace(create_infer_request=lambda: None)

    fake = SimpleNamespace(Core=Core, __version__="1")
    monkeypatch.setitem(sys.modules, "openvino", fake)
    monkeypatch.setattr(openvino_, "import_openvino", lambda: fake)
    monkeypatch.setattr(onnx_engines, "onnx_bytes", lambda *_: b"")
    onnx_engines.openvino([], {}, np.zeros((1, 2), np.float32), 2)
    OpenVino().prepare(tmp_path / "model.onnx", (), 2)
    assert seen[0] == seen[1]
    assert seen[0][1]["ENABLE_CPU_PINNING"] is False
