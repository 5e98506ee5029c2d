"""Granularities and scopes in the sweep: rows keep their keys, scans are kept, what is not defined is refused."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support import tiny

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.core.progress import Progress
from secateur.experiment.config import StudyConfig
from secateur.experiment.grid import load_grid
from secateur.experiment.point import Point
from secateur.experiment.store import Store
from secateur.experiment.study import study
from secateur.pruning.sensitivity import sensitivity
from secateur.report.gather import gather_results
from secateur.report.render import matplotlib_, page

WIDE = StudyConfig(model="support:tiny", data="support:blobs", uncut_bits=(),
                   sparsity=(0.0, 0.5, 0.75), seeds=1, epochs=1,
                   granularity=("weight", "neuron", "4x1", "2:4"), criterion=("magnitude", "l2"), calibration=64,
                   scope=("layer", "lamp", "erk", "owl", "sensitivity", "budget"), budget="flops", latency_batches=(),
                   best=False)


class Count(Progress):
    """How many steps each stage had."""

    def __init__(self):
        self.stages = {}

    def stage(self, name, total):
        self.stages[name] = total


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return study(config=WIDE, out=tmp_path_factory.mktemp("scopes") / "run")


def test_each_scope_is_used_where_it_is_defined(run):
    used = {g: {p["scope"] for p in run.points if p["granularity"] == g} for g in WIDE.granularity}
    assert used["weight"] == used["4x1"] == set(WIDE.scope)
    assert used["neuron"] == {"layer", "lamp", "sensitivity", "budget"}
    assert used["2:4"] == {"layer"}
    assert [p["sparsity"] for p in run.points if p["granularity"] == "2:4"] == [0.0, 0.5]


def test_every_count_is_exact(run):
    for p in run.points:
        if p["scope"] != "budget":
            assert abs(p["removed"] - p["sparsity"] * p["items"]) <= 0.5 * len(p["layers"])
        if p["scope"] in ("lamp", "erk", "owl", "sensitivity"):
            assert abs(p["removed"] - p["sparsity"] * p["items"]) <= 0.5
        if p["scope"] == "budget" and p["granularity"] != "neuron":
            whole = next(q for q in run.points if q["sparsity"] == 0)
            assert p["flops_nonzero"] <= (1 - p["sparsity"]) * whole["flops"]


def test_the_scans_are_kept_and_drawn(run):
    assert [(s["granularity"], s["criterion"]) for s in run.scans] == [
        ("weight", "magnitude"), ("neuron", "l2"), ("4x1", "magnitude")]
    assert [layer["name"] for layer in run.scans[0]["layers"]] == ["1.weight", "3.weight"]
    found = gather_results(run)
    assert "Sensitivity: each layer cut by itself" in page.render(found)
    assert len(matplotlib_.collect(found)["sensitivity"]) == 2


def test_a_scan_of_a_run_is_that_of_the_function(run):
    grid = load_grid(WIDE)
    net = tiny()
    with Store(run.folder) as store:
        key = store.meta("run")["trained"][0]
    net.load_state_dict(load_file(run.folder / "networks" / f"{key}.safetensors"))
    order = torch.randperm(len(grid.task.data.train_x), generator=torch.Generator().manual_seed(0))
    again = sensitivity(net, grid.task.data.train_x[order[:64]], skip=["5"]).plain()
    assert again["samples"] == run.scans[0]["samples"] == 64
    for mine, kept in zip(again["layers"], run.scans[0]["layers"], strict=True):
        assert mine["removed"] == kept["removed"]
        assert mine["loss"] == pytest.approx(kept["loss"], rel=1e-6, abs=1e-12)


def test_the_same_again_computes_nothing(run):
    count = Count()
    study(config=WIDE, out=run.folder, progress=count)
    assert count.stages.get("scan", 0) == count.stages["measure"] == 0


def test_rows_of_earlier_versions_keep_their_keys():
    point = Point("weight", "magnitude", "layer", 0.5, ("5",), 0)
    assert point.settings() == {"granularity": "weight", "criterion": "magnitude", "scope": "layer", "sparsity": 0.5,
                                "skip": ["5"], "seed": 0}
    grid = load_grid(replace(WIDE, min_sparsity=0.1, layers='{"1": 0.25}'))
    whole = grid.point("weight", "magnitude", "layer", 0.0, 0)
    assert not {"least", "layers", "calibration"} & grid.point_settings(whole).keys()
    looks = grid.point_settings(grid.point("weight", "magnitude", "owl", 0.5, 0))
    assert (looks["calibration"], looks["samples"]) == (64, 24)
    assert grid.point("weight", "magnitude", "budget", 0.5, 0).settings()["budget"] == "flops"


def test_settings_of_single_layers_reach_the_rows(tmp_path):
    config = replace(WIDE, granularity=("weight",), criterion=("magnitude",), scope=("global",), sparsity=(0.0, 0.5),
                     budget="parameters", layers='{"1": {"granularity": "4x1", "sparsity": 0.25}}', max_sparsity=0.4)
    whole, cut = study(config=config, out=tmp_path / "run").points
    assert whole["removed"] == 0
    assert cut["layers"][0] == {"name": "1.weight", "items": 48, "removed": 12, "sparsity": 0.25, "granularity": "4x1"}
    assert cut["layers"][1]["removed"] == 38
    assert any("max_sparsity=0.4" in note for note in cut["notes"])


def test_a_file_holds_settings_of_layers_as_a_table():
    assert StudyConfig.make({"layers": {"1": {"most": 0.5}}}).layers == '{"1": {"most": 0.5}}'
    config = StudyConfig.make({"layers": {"1": 0.5}, "scan": True})
    assert config.layer_settings == {"1": 0.5}
    assert "--scan --out" in config.command("runs/a")


@pytest.mark.parametrize(("settings", "message"), [
    ({"granularity": ("2:4",), "criterion": ("magnitude",), "scope": ("global",)},
     "none is defined for granularity '2:4'; allowed: layer"),
    ({"granularity": ("neuron",), "criterion": ("l2",), "scope": ("layer", "erk")},
     "scope 'erk' is defined for weight"),
    ({"granularity": ("5:4",)}, "allowed is n:m with 0 < n < m"), ({"layers": "{"}, "is not JSON"),
    ({"layers": '{"1": 2}'}, "allowed is a fraction removed in [0, 1)"),
    ({"min_sparsity": 2.0}, "min_sparsity of every layer is 2.0"),
    ({"pooling": "median"}, "did you mean 'mean'"), ({"budget": "ms"}, "for milliseconds use secateur.plan"),
    ({"budget": "flop"}, "did you mean 'flops'")])
def test_what_cannot_be_is_refused_at_once(settings, message):
    with pytest.raises(SecateurError) as caught:
        replace(WIDE, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pattern_that_does_not_fit_is_refused_before_training(tmp_path):
    config = replace(WIDE, granularity=("2:5",), criterion=("magnitude",), scope=("layer",),
                     budget="parameters")
    with pytest.raises(SecateurError, match=r"2:5 does not fit '1\.weight'"):
        study(config=config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_takes_blocks_that_do_not_divide_a_layer(tmp_path):
    """12 x 16 weights in blocks of 5x3 are 3 x 6 blocks, 8 x 12 are 2 x 4; half of each, 9 and 4, goes."""
    config = replace(WIDE, granularity=("5x3",), criterion=("magnitude",), scope=("layer",), sparsity=(0.0, 0.5),
                     budget="parameters")
    whole, cut = study(config=config, out=tmp_path / "run").points
    assert [(layer["items"], layer["removed"]) for layer in cut["layers"]] == [(18, 9), (8, 4)]
    assert whole["nonzeros"] - cut["nonzeros"] == sum(layer["removed_weights"] for layer in cut["layers"])
    assert any("blocks at the edge of a layer are smaller" in note for note in cut["notes"])


def test_a_dry_run_of_weights_counts_what_is_not_zero():
    net, x = tiny(), torch.rand(1, 1, 4, 4)
    found = sc.dry_run(net, sc.plan(net, 0.5, skip=()), x)
    assert found.parameters == (320, 160)
    assert found.flops == (640, 320)
    assert "secateur.compile" in str(found)
