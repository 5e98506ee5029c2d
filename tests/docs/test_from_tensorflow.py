"""Every name of the table is there and works: the right column is run, on a network that is being pruned."""

import re
from pathlib import Path

import pytest
import torch

import secateur
import secateur as sc
import secateur.training.checkpoint
from secateur.training.schedules import Polynomial

PAGE = Path(__file__).parent.parent.parent / "docs" / "from-tensorflow.md"
ROWS = re.findall(r"^\| (`.+|a new.+) \| (`.+) \|$", PAGE.read_text(), re.M)
HPARAMS = """name begin_pruning_step end_pruning_step do_not_prune weight_sparsity_map block_dims_map threshold_decay
pruning_frequency nbins block_height block_width block_pooling_function initial_sparsity target_sparsity
sparsity_function_begin_step sparsity_function_end_step sparsity_function_exponent use_tpu prune_option
gradient_decay_rate"""
NAMES = """apply_mask get_masks get_thresholds get_weights get_masked_weights get_weight_sparsity get_pruning_hparams
Pruning.conditional_mask_update_op Pruning.mask_update_op Pruning.add_pruning_summaries masked_conv2d
masked_convolution masked_fully_connected MaskedBasicLSTMCell MaskedLSTMCell learning.train graph_def_from_checkpoint
strip_pruning_vars"""


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = Polynomial(0.5, initial=0.25)
    found = {"sc": sc, "secateur": secateur, "torch": torch, "Polynomial": Polynomial, "model": model,
             "optimizer": optimizer, "schedule": schedule, "pruner": sc.Pruner(model, schedule, optimizer, skip=()),
             "samples": (torch.rand(32, 16), torch.arange(32) % 4)}
    opened = []
    if any("Summaries" in right for _, right in ROWS):
        from secateur.training.callbacks.tensorboard import Summaries

        found["Summaries"] = lambda *given: opened.append(Summaries(*given)) or opened[-1]
    yield found
    for summaries in opened:
        summaries.close()


@pytest.mark.parametrize(("left", "right"), ROWS, ids=[left for left, _ in ROWS])
def test_the_right_column_works(left, right, names):
    code = re.match(r"`(.+?)`(?: \(.*\))?$", right)
    assert code, right
    value = eval(code[1], names)
    if code[1].startswith("sc.Pruner("):
        for _ in range(100):
            value.step()
        assert 0 < value.reached < 1
        assert any(bool((value.model.get_parameter(n) == 0).any()) for n in value.masks)
    elif code[1].startswith("Polynomial("):
        assert value.at(value.end) == value.target


def test_nothing_of_it_is_missing():
    said = " ".join(left for left, _ in ROWS)
    assert [name for name in f"{HPARAMS} {NAMES}".split() if f"`{name}" not in said] == []
    assert len(ROWS) > 35


def test_settings_mean_what_the_table_says(names):
    """Begin and end of the choices, of the function, frequency and exponent, against the formula there."""
    schedule = Polynomial(0.8, begin=20, end=60, initial=0.2, exponent=3, every=5, first=10, last=50)
    for step in range(80):
        progress = min(1.0, max(0.0, (step - 20) / 40))
        assert schedule.at(step) == pytest.approx((0.2 - 0.8) * (1 - progress) ** 3 + 0.8)
    assert [s for s in range(80) if schedule.due(s)] == list(range(10, 51, 5))


def test_maps_of_sparsity_and_blocks_move_with_the_schedule(names):
    """Half of the network's target: half of each layer's own; blocks go whole."""
    layers = {"0": {"sparsity": 0.5, "granularity": "8x1"}, "2": 0.25}
    pruner = sc.Pruner(names["model"], torch.tensor(0.5), layers=layers, skip=())
    assert [r["sparsity"] for r in pruner.summary()] == [0.5, 0.25]
    pruner = sc.Pruner(names["model"], Polynomial(0.8, initial=0.4), layers=layers, skip=())
    assert [round(r["sparsity"], 3) for r in pruner.summary()] == [0.25, 0.125]
    blocks = pruner.masks["0.weight"].view(4, 8, 16)
    assert torch.equal(blocks.any(1), blocks.all(1))


def test_a_moving_threshold_removes_whole_blocks(names):
    pruner = sc.Pruner(names["model"], 0.5, granularity=sc.Block(4, 2, pooling="max"), threshold_decay=0.5, skip=())
    for _ in range(50):
        pruner.step()
    blocks = pruner.masks["0.weight"].view(8, 4, 8, 2)
    assert torch.equal(blocks.any(3).any(1), blocks.all(3).all(1))
    assert 0.3 < pruner.reached < 0.5
