"""Every name of the tables of the pages "from …" is there, and the right column runs."""

import copy
import functools
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import secateur
import secateur as sc
import secateur.data.calibration
import secateur.graph.rules
import secateur.measure.accuracy
import secateur.pruning.criteria.base
import secateur.training.schedules
from secateur.recovery.methods.sparsegpt import Sparsegpt
from secateur.training import distillation, group_lasso, l1
from secateur.training.schedules import Constant, Linear, Polynomial

DOCS = Path(__file__).parent.parent.parent / "docs"
ROW = re.compile(r"^\| (`.+) \| (`.+) \|$", re.M)
PAGES = ("from-torch", "from-torch-pruning", "from-sparseml")
ROWS = [(page, *row) for page in PAGES for row in ROW.findall((DOCS / f"{page}.md").read_text())]

TORCH_PRUNING = """BasePruner MagnitudePruner GroupNormPruner BNScalePruner GrowingRegPruner MetaPruner
linear_scheduler Importance GroupMagnitudeImportance GroupTaylorImportance GroupHessianImportance MagnitudeImportance
TaylorImportance HessianImportance BNScaleImportance LAMPImportance RandomImportance FPGMImportance OBDCImportance
ActivationImportance DependencyGraph Dependency Group BasePruningFunc PrunerBox prune_conv_out_channels
prune_conv_in_channels prune_depthwise_conv_out_channels prune_depthwise_conv_in_channels prune_batchnorm_out_channels
prune_batchnorm_in_channels prune_linear_out_channels prune_linear_in_channels prune_prelu_out_channels
prune_prelu_in_channels prune_layernorm_out_channels prune_layernorm_in_channels prune_embedding_out_channels
prune_embedding_in_channels prune_parameter_out_channels prune_parameter_in_channels
prune_multihead_attention_out_channels prune_multihead_attention_in_channels prune_groupnorm_out_channels
prune_groupnorm_in_channels prune_instancenorm_out_channels prune_instancenorm_in_channels
build_dependency get_pruning_group get_all_groups check_pruning_group register_customized_layer
tp.save tp.load tp.state_dict tp.load_state_dict utils.count_ops_and_params utils.measure_latency utils.measure_memory
utils.measure_fps utils.measure_throughput utils.print_tool utils.draw_groups utils.draw_dependency_graph
utils.draw_computational_graph
model example_inputs importance global_pruning pruning_ratio pruning_ratio_dict max_pruning_ratio iterative_steps
iterative_pruning_ratio_scheduler ignored_layers round_to isomorphic in_channel_groups out_channel_groups num_heads
prune_num_heads prune_head_dims head_pruning_ratio head_pruning_ratio_dict customized_pruners unwrapped_parameters
root_module_types forward_fn output_transform channel_groups ch_sparsity ch_sparsity_dict
BasePruner.step BasePruner.manual_prune_width BasePruner.estimate_importance BasePruner.update_regularizer
BasePruner.regularize BasePruner.pruning_history load_pruning_history group_reduction normalizer"""
SPARSEML = """MagnitudePruningModifier GMPruningModifier GlobalMagnitudePruningModifier ConstantPruningModifier
MovementPruningModifier OBSPruningModifier MFACPruningModifier RigLPruningModifier ACDCPruningModifier
TopKASTPruningModifier StructuredPruningModifier LayerThinningModifier LayerPruningModifier SparseGPTModifier
WandaPruningModifier OutputDistillationModifier ASRegModifier PowerpropagationModifier QuantizationModifier
GPTQModifier SmoothQuantModifier LogarithmicEqualizationModifier
init_sparsity final_sparsity start_epoch end_epoch update_frequency params leave_enabled inter_func mask_type
global_sparsity score_type targets update_scheduler scheduler_args mask_structure apply_globally sparsity
sparsity_profile owl_m owl_lmbda sequential_update block_size dampening_frac preserve_sparsity_mask structure_type
param_groups num_grads damp fisher_block_size orig_scale distill_scale ScheduledModifierManager.from_yaml
ScheduledModifierManager.modify ScheduledModifierManager.finalize ScheduledModifierManager.apply"""


def linear():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


def deep():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 4))


def images():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()


FACTORIES = {"from-torch": (linear, (16,)), "from-torch-pruning": (images, (3, 16, 16)), "from-sparseml": (deep, (16,))}


@functools.cache
def cut(page):
    """The page's own network, its neurons cut, a plan, its weights cut."""
    model, inputs = start(page)
    small = sc.prune(model, 0.5, granularity="neuron", example=inputs[:2])
    plan = sc.plan(model, 0.5, skip=["2"]) if page == "from-torch" else sc.plan(model, 0.5, skip=())
    return small, plan, sc.prune(model, 0.8, skip=()).eval()


def start(page):
    """The page's own network and inputs."""
    torch.manual_seed(0)
    make, shape = FACTORIES[page]
    return make(), torch.rand(32, *shape)


def namespace(page):
    """What the right column may name: the page's own network, its inputs, a plan, a pruner."""
    small, plan, sparse = copy.deepcopy(cut(page))
    (model, inputs), make = start(page), FACTORIES[page][0]
    for parameter in model.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sc.save(small, "small.safetensors")
    return {"sc": sc, "secateur": secateur, "torch": torch, "model": model, "optimizer": optimizer, "make": make,
            "example": inputs[:2], "samples": (inputs, torch.arange(32) % 4), "small": small, "plan": plan,
            "by_mask": plan, "sparse": sparse, "Polynomial": Polynomial, "Linear": Linear,
            "Constant": Constant, "Sparsegpt": Sparsegpt, "distillation": distillation, "l1": l1,
            "group_lasso": group_lasso, "pruner": sc.Pruner(make(), 0.5, skip=())}


@pytest.mark.parametrize(("page", "left", "right"), ROWS, ids=[f"{page}: {left[:60]}" for page, left, _ in ROWS])
def test_the_right_column_works(page, left, right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.match(r"`(.+?)`(?: \(.*\))?$", right)
    assert code, right
    names = namespace(page)
    value = eval(code[1], names)
    nothing = ", 0.0)" in code[1]
    if isinstance(value, sc.Plan):
        assert (value.removed == 0) == nothing
    elif isinstance(value, nn.Module) and "sc.load" not in code[1] and "sc.compile" not in code[1]:
        left, whole = (sum(int((p != 0).sum()) for p in net.parameters()) for net in (value, names["model"]))
        assert (left == whole) == nothing
    elif isinstance(value, sc.Pruner):
        for _ in range(100):
            value.step()
        assert 0 < value.reached < 1
    else:
        assert value is None or value is not Ellipsis


def said(page):
    """Every name in the left column of a page, without its arguments."""
    left = " ".join(left for where, left, _ in ROWS if where == page)
    return {re.split(r"[(=]", name)[0] for name in re.findall(r"`([^`]+)`", left)}


def of_torch():
    """The public names of torch.nn.utils.prune as it is installed, the methods of its classes, every argument."""
    here = {n: o for n, o in vars(prune).items() if getattr(o, "__module__", "") == prune.__name__ and n[0] != "_"}
    functions = [o for o in here.values() if inspect.isfunction(o)]
    methods = {f"{name}.{part}" for name in ("BasePruningMethod",) for part in vars(here[name]) if part[0] != "_"}
    arguments = {a for f in functions for a in inspect.signature(f).parameters if a != "kwargs"}
    return {*here, *methods, *arguments, "PruningContainer.add_pruning_method", "BasePruningMethod.PRUNING_TYPE"}


def test_nothing_of_torch_is_missing():
    assert len(of_torch()) > 25
    assert of_torch() - said("from-torch") == set()


@pytest.mark.parametrize(("page", "names"), [("from-torch-pruning", TORCH_PRUNING), ("from-sparseml", SPARSEML)])
def test_nothing_that_they_document_is_missing(page, names):
    assert [name for name in names.split() if name not in said(page)] == []


def test_the_same_weights_go_as_in_torch():
    """The counts and the choice of ``l1_unstructured`` and ``global_unstructured``, from torch itself."""
    torch.manual_seed(1)
    for scope in ("layer", "global"):
        model, theirs = linear(), linear()
        theirs.load_state_dict(model.state_dict())
        places = [(theirs[0], "weight"), (theirs[2], "weight")]
        if scope == "global":
            prune.global_unstructured(places, prune.L1Unstructured, amount=0.7)
        else:
            for module, name in places:
                prune.l1_unstructured(module, name, 0.7)
        ours = sc.prune(model, 0.7, scope=scope, skip=())
        assert torch.equal(ours[0].weight, theirs[0].weight)
        assert torch.equal(ours[2].weight, theirs[2].weight)


def test_the_same_rows_go_as_in_torch():
    torch.manual_seed(2)
    model, theirs = linear(), linear()
    theirs.load_state_dict(model.state_dict())
    prune.ln_structured(theirs[0], "weight", amount=0.5, n=2, dim=0)
    left = theirs[0].weight_mask[:, 0].bool()
    small = sc.prune(model, 0.5, granularity="neuron", criterion="l2", example=torch.rand(1, 16))
    assert torch.equal(small[0].weight, model[0].weight[left])
