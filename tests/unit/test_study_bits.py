"""Networks of a study in fewer bits: their rows against ``secateur.prune`` by hand, and what is not computed twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support import blobs, tiny

import secateur as sc
from secateur import files, report
from secateur.core.errors import UnsupportedError
from secateur.experiment import backends, rebuild, trial
from secateur.experiment.grid import load_grid
from secateur.experiment.store import key_of

pytestmark = pytest.mark.usefixtures("calm")
BOTH = sc.StudyConfig(model="support:tiny", data="support:blobs", sparsity=(0.0, 0.5, 0.75), seeds=2, epochs=2,
                      criterion=("magnitude",), granularity=("weight",), calibration=100, distil_steps=0,
                      latency_batches=(1,), latency_seconds=0.001, engine="csr", samples=4, bits=(32, 8))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sc.study(config=BOTH, out=tmp_path_factory.mktemp("bits") / "run")


def network(run, seed):
    """A trained network of a run."""
    trained = load_grid(BOTH).trained_settings(seed)
    net = tiny()
    net.load_state_dict(load_file(run.folder / "networks" / f"{key_of(trained)}.safetensors"))
    return net.eval()


def row(run, bits, recovery="none", sparsity=0.5, seed=1):
    (only,) = [r for r in run.points
               if (r.bits, r.recovery, r.sparsity, r.seed) == (bits, recovery, sparsity, seed)]
    return only


def by_hand(run, seed, sparsity, **settings):
    """The accuracy and the bytes of a network that prune makes of the same samples."""
    x, _ = load_grid(BOTH).task.training_samples(100)
    _, _, test_x, test_y = blobs()
    made = sc.prune(network(run, seed), sparsity, data=x, skip=["5"], **settings)
    with torch.no_grad():
        right = (made(test_x).argmax(1) == test_y).float().mean().item()
    return right, files.file_bytes(made)


@pytest.mark.parametrize(("recovery", "sparsity"), [("none", 0.5), ("none", 0.75), ("best", 0.75)])
@pytest.mark.parametrize("bits", [32, 8])
def test_a_row_is_what_prune_gives(run, recovery, sparsity, bits):
    for seed in (0, 1):
        found = row(run, bits, recovery, sparsity, seed)
        assert (found.accuracy, found.bytes_file) == by_hand(run, seed, sparsity, recovery=recovery, bits=bits)


@pytest.mark.parametrize("bits", [16, 8])
def test_the_uncut_row_is_what_quantize_gives(run, bits):
    found, (x, _) = row(run, bits, sparsity=0.0), load_grid(BOTH).task.training_samples(100)
    made, (_, _, test_x, test_y) = sc.quantize(network(run, 1), x, bits=bits), blobs()
    with torch.no_grad():
        assert found.accuracy == (made(test_x).argmax(1) == test_y).float().mean().item()
    assert found.bytes_file == files.file_bytes(made)
    assert found.is_quantized_alone and not found.is_uncut


def test_parameters_and_flops_are_those_of_the_cut_and_bytes_those_of_the_codes(run):
    whole, small = row(run, 32, sparsity=0.75), row(run, 8, sparsity=0.75)
    for name in ("parameters", "nonzeros", "flops", "flops_nonzero", "removed", "layers"):
        assert small[name] == whole[name]
    # Of 16 x 12 + 12 x 8 + 8 x 4 weights each is a byte; each of 24 outputs has a scale of 4 bytes, and each of three
    # inputs a scale of 4 and a zero of 1.
    assert (whole.bytes, small.bytes) == (4 * 320, 320 + 4 * 24 + 3 * 5)
    assert any("outputs in int8 beside float32: the same class for" in note for note in small.notes)


def test_networks_in_fewer_bits_have_no_time_and_the_run_is_complete(run):
    assert all((r.latency is not None) == (r.bits == 32 and r.seed == 0) for r in run.points)
    assert run.unfinished == ""
    written = report.write(run, page_only=True)
    text = written.files[0].read_text()
    assert "Networks in fewer bits were not timed." in text and "–: not timed." in text


def test_a_second_study_measures_nothing(run, monkeypatch):
    asked = []
    real = backends.run
    monkeypatch.setattr(backends, "run", lambda jobs, *more: asked.extend(jobs) or real(jobs, *more))
    assert [dict(r) for r in sc.study(config=BOTH, out=run.folder).points] == [dict(r) for r in run.points]
    assert asked == []


def test_fewer_bits_added_to_a_run_recover_nothing_again(run, tmp_path, monkeypatch):
    first = sc.study(config=replace(BOTH, bits=(32,), uncut_bits=(), seeds=1), out=tmp_path / "run")
    assert {r.bits for r in first.points} == {32}
    monkeypatch.setattr(trial, "recover", None)
    second = sc.study(config=replace(BOTH, seeds=1), out=tmp_path / "run")
    figures = [(r.bits, r.recovery, r.sparsity, r.accuracy, r.bytes_file) for r in second.points]
    assert figures == [(r.bits, r.recovery, r.sparsity, r.accuracy, r.bytes_file) for r in run.points if r.seed == 0]


def test_the_uncut_network_is_one_point_a_seed_whatever_is_asked():
    for bits, uncut, expected in (((32,), (16, 8), [16, 8]), ((32, 8), (16, 8), [8, 16]), ((8,), (), [8]),
                                  ((32,), (), []), ((32,), (32,), [])):
        grid = load_grid(replace(BOTH, bits=bits, uncut_bits=uncut, seeds=1))
        points = list(grid.points())
        assert [p.bits for p in points if p.is_whole and p.bits != 32] == expected
        assert len(set(points)) == len(points)
        assert all(grid.is_beside(p) == (p.bits not in bits) for p in points if p.recovery == "none")


def test_a_network_that_cannot_be_quantised_is_told_and_the_study_goes_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise UnsupportedError("no layer of Odd can be quantised")

    plain = replace(BOTH, bits=(32,), seeds=1, epochs=1, latency_batches=(), best=False)
    monkeypatch.setattr(trial, "quantized", refuse)
    run = sc.study(config=plain, out=tmp_path / "run")
    assert run.not_quantized == {16: "no layer of Odd can be quantised", 8: "no layer of Odd can be quantised"}
    assert {r.bits for r in run.points} == {32} and run.unfinished == "" and run.refused == {}
    text = report.write(run, page_only=True).files[0].read_text()
    assert "The uncut network in int8 was left out: no layer of Odd can be quantised." in text
    with pytest.raises(sc.SecateurError, match="no layer of Odd"):
        sc.study(config=replace(plain, bits=(32, 8)), out=tmp_path / "run")


def test_a_network_in_fewer_bits_is_made_again_for_an_export(run):
    choice = {"sparsity": 0.75, "recovery": "best", "bits": 8}
    made = rebuild.remake(run.folder, choice, model="support:tiny", trusted=True)
    assert made.accuracy == row(run, 8, "best", 0.75, 0).accuracy
    assert files.file_bytes(made.network) == row(run, 8, "best", 0.75, 0).bytes_file
    assert made.name.endswith("-int8") and "int8" in made.description
    assert rebuild.remake(run.folder, {"sparsity": 0.0}, trusted=True).row.bits == 32


def test_a_spec_says_in_how_many_bits():
    assert sc.StudyConfig.of(sc.PruningSpec(bits=8)).bits == (8,)
    assert sc.StudyConfig.of(sc.PruningSpec(bits=sc.Int8())).bits == (8,)
    with pytest.raises(sc.SecateurError, match="allowed of its settings are"):
        sc.StudyConfig.of(sc.PruningSpec(bits=sc.Int8(rounding="nearest")))
    with pytest.raises(sc.SecateurError, match=r"bits 4: allowed are 32 \(float32\), 16 \(bf16\) or 8 \(int8\)"):
        sc.StudyConfig(bits=(32, 4))
    assert sc.StudyConfig.make({"bits": "32,8"}).command("x") == "secateur study --bits 32,8 --out x"
