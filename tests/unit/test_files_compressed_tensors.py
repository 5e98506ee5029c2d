"""The sparse-bitmask layout of compressed-tensors, against files and functions of the package itself."""

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import secateur as sc
from secateur.core.errors import MissingExtraError
from secateur.files import compressed_tensors as layout

FIXTURE = Path(__file__).parent.parent / "fixtures" / "compressed-tensors-0.10.2.safetensors"


def blank():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 13), nn.ReLU(), nn.Linear(13, 5, bias=False))


def patterned():
    """Linear layers and a convolution with whole numbers; of one matrix a value in seven, of the other one in three."""
    net = blank()
    with torch.no_grad():
        for every, (_, own) in zip((1, 1, 7, 2, 3), net.named_parameters(), strict=True):
            count = torch.arange(own.numel()).view(own.shape) - 20
            own.copy_(count * (count % every == 0))
    return net


def test_a_file_of_the_packages_own_compressor_is_read():
    back = layout.load(FIXTURE, blank)
    want = patterned().state_dict()
    assert all(torch.equal(t, want[n]) for n, t in back.state_dict().items())


def test_what_is_written_is_what_the_packages_own_compressor_wrote(tmp_path):
    got = safetensors.torch.load_file(layout.save(patterned(), tmp_path / "net.safetensors"))
    want = safetensors.torch.load_file(FIXTURE)
    matrices = {n: t for n, t in want.items() if n.split(".")[0] in "24"}
    assert matrices.keys() <= got.keys() and len(matrices) == 9
    assert all(torch.equal(got[n], t) and got[n].dtype == t.dtype for n, t in matrices.items())


def test_the_packages_unpacking_gives_the_weights_back(tmp_path):
    from compressed_tensors.utils.helpers import unpack_bitmasks

    net = sc.prune(nn.Sequential(nn.Linear(30, 20)), 0.8, skip=())
    got = safetensors.torch.load_file(layout.save(net, tmp_path / "net.safetensors"))
    there = unpack_bitmasks(got["0.bitmask"], got["0.shape"].tolist())
    whole = torch.zeros(20, 30)
    whole[there] = got["0.compressed"]
    assert torch.equal(whole, net[0].weight)
    assert layout.config(net)["global_sparsity"] == 0.8 and layout.config(net)["format"] == "sparse-bitmask"


def test_negative_zeros_come_back(tmp_path):
    net = nn.Sequential(nn.Linear(9, 9))
    with torch.no_grad():
        net[0].weight.zero_()[0, 0] = -0.0
    back = layout.load(layout.save(net, tmp_path / "net.safetensors"), lambda: nn.Sequential(nn.Linear(9, 9)))
    assert torch.equal(back[0].weight.view(torch.int32), net[0].weight.view(torch.int32))


@pytest.mark.parametrize(("name", "value", "message"), [
    ("2.bitmask", torch.zeros(13, 4, dtype=torch.uint8), "do not add up"),
    ("2.shape", torch.tensor([13, 10**12]), "its bits are [13, 4]"),
    ("2.row_offsets", torch.zeros(13), "do not add up"),
    ("4.compressed", torch.zeros(3), "do not add up"), ("4.shape", None, "has no shape"),
    ("0.weight", torch.zeros(2, 2), "0.weight is [2, 2] in the file but [2, 1, 3, 3] in that network")])
def test_parts_that_do_not_fit(name, value, message, tmp_path):
    held = safetensors.torch.load_file(layout.save(patterned(), tmp_path / "net.safetensors"))
    held.pop(name)
    safetensors.torch.save_file(held | ({} if value is None else {name: value}), tmp_path / "bad.safetensors")
    with pytest.raises(sc.SecateurError) as caught:
        layout.load(tmp_path / "bad.safetensors", patterned)
    assert message in str(caught.value)


def test_without_the_package_the_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "compressed_tensors.utils", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'secateur\[compressed-tensors\]'"):
        layout.save(patterned(), tmp_path / "net.safetensors")
