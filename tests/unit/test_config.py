"""Settings: their text forms, and one line for each that is not allowed."""

import json
from dataclasses import replace

import pytest

from secateur.core.errors import SecateurError
from secateur.core.settings import coerce, read_toml
from secateur.experiment.combinations import check_settings_act
from secateur.experiment.config import GRID, StudyConfig, configure
from secateur.experiment.single.config import CutConfig
from secateur.experiment.study import study


def test_defaults_are_the_main_job():
    config = StudyConfig()
    assert config.sparsity == GRID == (0, .01, .05, .10, .15, .25, .50, .60, .70, .80, .90, .95, .97, .99)
    assert (config.model, config.data, config.seeds, config.epochs, config.batch_size, config.lr) == (
        "mlp", "mnist", 3, 5, 64, 1e-3)
    assert config.criteria_of("weight") == ["magnitude", "random"]
    assert config.criteria_of("neuron") == ["l2", "random"]


@pytest.mark.parametrize(("settings", "message"), [
    ({"sparsity": "0,1.5"}, "sparsity 1.5"), ({"sparsity": "0.5,0.5"}, "0.5 is given twice"),
    ({"sparsity": "a"}, "allowed is a number"), ({"sparsity": ""}, "sparsity is empty"),
    ({"granularity": "neurons"}, "did you mean 'neuron'"), ({"criterion": "magnitud"}, "did you mean 'magnitude'"),
    ({"scope": "globl"}, "did you mean 'global'"), ({"model": "mpl"}, "did you mean 'mlp'"),
    ({"data": "images.csv"}, "file.npz"), ({"model": "nets.py"}, "pkg.module:factory"),
    ({"data": "minst"}, "did you mean 'mnist'"), ({"seeds": "0"}, "seeds 0: allowed is 1 or more"),
    ({"seeds": "1.5"}, "allowed is a whole number"),
    ({"seeds": float("inf")}, "allowed is a whole number"), ({"lr": "-1"}, "lr -1.0"),
    ({"epoch": 3}, "did you mean 'epochs'"),
    ({"granularity": "neuron", "criterion": "magnitude"}, "none scores granularity 'neuron': did you mean 'l2'?"),
    ({"granularity": "weight", "criterion": "magnitude,l2"}, "criterion 'l2' scores neuron"),
    ({"latency_batches": "0"}, "batch 0"), ({"tolerance": 2.0}, "tolerance 2.0"),
    ({"seeds": True}, "allowed is a whole number"), ({"weights": "x.safetensors", "seeds": 2}, "seeds 2 with weights")])
def test_a_wrong_setting_is_one_line(settings, message):
    with pytest.raises(SecateurError) as caught:
        StudyConfig.make(settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flags_win_over_a_file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('seeds = 2\nsparsity = [0, 0.5]\nbatch-size = 32\n')
    config = StudyConfig.make(read_toml(path), {"seeds": "1"})
    assert (config.seeds, config.sparsity, config.batch_size) == (1, (0.0, 0.5), 32)


@pytest.mark.parametrize("text", ["= 3", "seeds = ", "\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SecateurError, match=r"study\.toml' is not TOML"):
        read_toml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SecateurError, match="No such file"):
        read_toml(tmp_path / "none.toml")


def test_a_file_holds_any_setting(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('seeds = 2\njobs = 2\nout = "runs/x"\ncsv = true\nlatency-batches = []\n')
    study, options = configure(read_toml(path), {"jobs": "3"})
    assert (study.seeds, study.latency_batches) == (2, ())
    assert (options.out, options.jobs, options.csv, options.parquet) == ("runs/x", 3, True, False)


@pytest.mark.parametrize(("settings", "message"), [
    ({"job": 2}, "did you mean 'jobs'"), ({"csv": "yes"}, "allowed are true and false"),
    ({"jobs": 1.5}, "allowed is a whole number")])
def test_a_wrong_option_is_one_line(settings, message):
    with pytest.raises(SecateurError, match=message):
        configure(settings)


def test_trained_weights_are_one_seed():
    assert configure({"weights": "x.safetensors"})[0].seeds == 1


def test_text_becomes_numbers():
    assert coerce("latency_batches", "1, 64", tuple[int, ...]) == (1, 64)
    assert coerce("lr", 1, float) == 1.0
    assert coerce("skip", "a,b", tuple[str, ...]) == ("a", "b")


def test_what_python_gives_is_taken_as_what_a_file_gives(tmp_path):
    config = StudyConfig(recovery="reconstruct", criterion=["magnitude"], sparsity=0.5, granularity="weight",
                         weights=tmp_path / "a.safetensors", seeds=1, layers={"fc1": 0.5}, lr=1, skip="fc3,fc2")
    assert (config.recovery, config.criterion, config.sparsity, config.granularity, config.skip) == (
        ("reconstruct",), ("magnitude",), (0.5,), ("weight",), ("fc3", "fc2"))
    assert config.weights == str(tmp_path / "a.safetensors")
    assert config.layer_settings == {"fc1": 0.5}
    assert StudyConfig(sparsity=(0, 0.5)).sparsity == (0, 0.5)
    assert CutConfig(sparsity=0.5, recovery="reconstruct", out=tmp_path / "b.safetensors").recovery == ("reconstruct",)


@pytest.mark.parametrize(("given", "message"), [
    ({"seeds": 1.5}, "seeds '1.5': allowed is a whole number"), ({"seeds": True}, "allowed is a whole number"),
    ({"best": 1}, "best 1: allowed are true and false"), ({"criterion": 3}, "criterion '3': allowed is text"),
    ({"sparsity": (0, "a")}, "sparsity 'a': allowed is a number"), ({"recovery": "nane"}, "did you mean 'none'")])
def test_what_python_gives_and_is_not_allowed_is_one_line(given, message):
    with pytest.raises(SecateurError) as caught:
        StudyConfig(**given)
    assert message in str(caught.value)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: StudyConfig(epohcs=3), "unknown argument of StudyConfig 'epohcs': did you mean 'epochs'?"),
    (lambda: CutConfig(round=8), "unknown argument of CutConfig 'round': did you mean 'round_to'?"),
    (lambda: replace(StudyConfig(), seed=3), "unknown argument of StudyConfig 'seed': did you mean 'seeds'?"),
    (lambda: StudyConfig("mlp"), "StudyConfig: got 1 positional arguments, allowed are none; give the others by name")])
def test_a_wrong_name_in_python_is_one_line(call, message):
    with pytest.raises(SecateurError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("config", "given"), [(StudyConfig, {}), (CutConfig, {"sparsity": 0.5})])
def test_only_an_explicit_empty_skip_gives_the_output_layer_up(config, given):
    assert config.make({**given, "skip": ""}).skip == config(**given, skip=()).skip == ()
    assert config.make({**given, "skip": []}).skip is config(**given, skip=[]).skip is config.make(given).skip is None


@pytest.mark.parametrize("skip", [None, (), ("fc1", "fc2")])
def test_settings_are_restored_as_they_were(skip):
    config = StudyConfig(skip=skip, lr=1, sparsity=(0, 0.5), max_sparsity=1, latency_batches=())
    again = StudyConfig.restore(json.loads(json.dumps(config.settings())))
    assert again == config
    assert json.dumps(again.settings()) == json.dumps(config.settings())
    assert (type(again.lr), type(again.sparsity[0])) == (int, int)


def test_an_empty_skip_that_earlier_versions_stored_is_the_default():
    assert StudyConfig.restore({"skip": []}).skip is None


@pytest.mark.parametrize(("settings", "message"), [
    ({"granularity": "weight", "round_to": 8}, "round_to= is for granularity 'neuron', got granularity 'weight'"),
    ({"granularity": "weight,2:4", "pooling": "max"},
     "pooling= is for granularity 'block' or 'neuron', got granularity 'weight' or '2:4'"),
    ({"granularity": "2:4", "min_sparsity": 0.2}, "min_sparsity= with granularity '2:4': 0.2 would have no effect"),
    ({"granularity": "2:4", "max_sparsity": 0.2, "layers": '{"fc1": {"granularity": "1:4"}}'}, "max_sparsity= with"),
    ({"scope": "layer,erk", "budget": "flops"}, "budget= is for scope 'budget', got scope 'layer' or 'erk'")])
def test_a_setting_that_would_decide_nothing_is_refused_before_a_study(settings, message, tmp_path):
    with pytest.raises(SecateurError) as caught:
        study(config=StudyConfig.make(settings), out=tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [
    {"granularity": "weight,neuron", "round_to": 8}, {"granularity": "weight,4x1", "pooling": "max"},
    {"granularity": "weight,2:4", "min_sparsity": 0.2}, {"granularity": "2:4", "sparsity": "0.5"},
    {"granularity": "2:4", "min_sparsity": 0.2, "layers": '{"fc1": {"granularity": "weight"}}'},
    {"scope": "layer,budget", "budget": "flops"}])
def test_a_setting_that_some_item_takes_is_allowed(settings):
    check_settings_act(StudyConfig.make(settings))


def test_controls_are_a_random_cut_a_new_start_and_the_same_recovery_without_a_cut():
    config = StudyConfig(controls=True, sparsity=(0.5, 0.9), criterion=("magnitude",), recovery=("finetune",))
    assert (config.criterion, config.recovery) == (("magnitude", "random"), ("finetune", "reinitialised"))
    assert config.sparsity == (0.0, 0.5, 0.9)
    assert StudyConfig(controls=True, sparsity=(0, 0.5)).sparsity == (0, 0.5)
