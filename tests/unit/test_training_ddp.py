"""Several processes that train together hold the same masks: two gloo processes on the CPU."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing import spawn

import secateur as sc
from secateur.training.schedules import Linear

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not distributed.is_available() or sys.platform == "win32", reason="no gloo here")]


def train(rank, regrow):
    """Each rank has data of its own; DistributedDataParallel averages the gradients."""
    torch.manual_seed(0)
    net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner = sc.Pruner(net, Linear(0.75, end=12, every=3), optimizer, scope="global", regrow=regrow, skip=())
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(rank))
    for _ in range(16):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        pruner.step()
    return {"masks": pruner.masks, "weights": net.module.state_dict(), "reached": pruner.reached}


def differ(rank):
    """The ranks' weights, and the sparsities that they ask for, are not the same."""
    torch.manual_seed(rank)
    net = nn.Linear(8, 8)
    own = sc.plan(net, 0.5, skip=()).cuts[0].keep
    pruner = sc.Pruner(net, torch.tensor(0.5 + 0.25 * rank), skip=())
    return {"masks": pruner.masks, "own": own, "reached": pruner.reached}


def work(rank, folder):
    """What one rank finds, in a file. It leaves without ending the interpreter: threads of gloo and of autograd that
    still run by then can abort a process whose work is done and written."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {"plain": train(rank, None), "rigl": train(rank, "rigl"), "differ": differ(rank)}
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.barrier()
    os._exit(0)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What the two processes found, started once."""
    folder = tmp_path_factory.mktemp("ranks")
    source = str(Path(sc.__file__).parent.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        if sys.platform == "linux":
            patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        patch.setenv("PYTHONPATH", os.pathsep.join([source, str(Path(__file__).parent), *sys.path]))
        spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", ["plain", "rigl"])
def test_masks_and_weights_are_the_same_on_every_rank(ranks, name):
    first, second = (found[name] for found in ranks)
    assert first["reached"] == second["reached"] == 0.75
    assert len(first["masks"]) == 2
    for part in ("masks", "weights"):
        assert all(torch.equal(first[part][n], second[part][n]) for n in first[part])


def test_the_choice_of_rank_0_holds_where_weights_differ(ranks):
    first, second = (found["differ"] for found in ranks)
    assert not torch.equal(first["own"], second["own"])
    assert torch.equal(first["masks"]["weight"], first["own"])
    assert torch.equal(first["masks"]["weight"], second["masks"]["weight"])
    assert first["reached"] == second["reached"] == 0.5
