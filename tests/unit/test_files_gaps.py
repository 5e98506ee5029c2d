"""Places of kept values as gaps: bytes worked out by hand, blocks found without being told, damage in one line."""

import forged
import numpy as np
import pytest
import torch
from torch import nn

import secateur as sc
from secateur import files
from secateur.core.tensors import same_bits
from secateur.files.native import gaps, layout
from secateur.files.native.gaps import Gaps


def stored(tensor):
    """How a tensor is stored, and its parts."""
    told = layout.describe(tensor, "a tensor")
    return told, layout.encode(tensor, told)


def masked(shape, kept, block=(1, 1), seed=0):
    """Codes of which about so many blocks stay; at the edges they are smaller."""
    draw = torch.Generator().manual_seed(seed)
    some = torch.rand(*(-(-n // b) for n, b in zip(shape, block, strict=True)), generator=draw) < kept
    mask = some.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:shape[0], :shape[1]]
    codes = torch.randint(1, 128, shape, generator=draw, dtype=torch.int8)
    return codes * mask


def test_one_tensor_by_hand():
    """Values at 3, 4, 25 and 63 of 64: gaps 3, 0, 20, 37. With 4 low bits: 3, 0, 4, 5 and quotients 0, 0, 1, 2."""
    tensor = torch.zeros(8, 8, dtype=torch.int8)
    tensor.view(-1)[[3, 4, 25, 63]] = torch.tensor([7, -7, 9, 1], dtype=torch.int8)
    index, values = gaps.encode(tensor, Gaps(1, 1, 4, 4, 1))
    # low bits first: 1100 0000 0010 1010; quotients: 1, 1, 01, 001
    assert np.unpackbits(index, bitorder="little").tolist() == [
        1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0]
    assert values.view(np.int8).tolist() == [7, -7, 9, 1]
    assert torch.equal(gaps.decode(index, values, Gaps(1, 1, 4, 4, 1), torch.int8, (8, 8), ""), tensor)


def read_bit_by_bit(index, told):
    """The places, one bit after the other: the slow twin."""
    text = [byte >> i & 1 for byte in index.tolist() for i in range(8)]
    high, at, places = iter(text[8 * -(-told.tiles * told.low // 8):]), -1, []
    for tile in range(told.tiles):
        rest = sum(text[tile * told.low + i] << i for i in range(told.low))
        quotient = 0
        while not next(high):
            quotient += 1
        at += (quotient << told.low) + rest + 1
        places.append(at)
    return places


@pytest.mark.parametrize(("kept", "seed"), [(0.3, 0), (0.1, 1), (0.02, 2), (0.001, 3)])
def test_places_are_those_that_a_slow_reader_finds(kept, seed):
    tensor = masked((97, 113), kept, seed=seed)
    told = gaps.shortest(tensor)
    index, values = gaps.encode(tensor, told)
    assert read_bit_by_bit(index, told) == tensor.view(-1).nonzero().flatten().tolist()
    assert (len(index), len(values)) == (told.index, told.values)


@pytest.mark.parametrize(("block", "kept", "most"), [
    ((1, 1), 0.1, 0.0405), ((1, 4), 0.1, 0.030), ((4, 1), 0.1, 0.030), ((16, 4), 0.1, 0.027), ((1, 1), 0.05, 0.022)])
def test_bytes_beside_the_layer_in_float32(block, kept, most):
    """Ninety percent of single weights cost 8 bits and the 4.76 of the best Rice code of such gaps: 0.0399 of 32 bits
    a weight; blocks of four cost those only once."""
    tensor = masked((304, 784), kept, block)
    tensor *= tensor.count_nonzero() > 0
    told, parts = stored(tensor)
    share = sum(part.nbytes for part in parts) / (4 * tensor.numel()) * kept / (tensor.count_nonzero() / tensor.numel())
    assert told.form == "gaps" and told.bytes == sum(part.nbytes for part in parts)
    assert share <= most


def test_blocks_of_a_convolution_are_found_at_one_place_of_its_kernel():
    mask = torch.rand(32, 9, 8, generator=torch.Generator().manual_seed(0)) < 0.1
    weight = torch.ones(32, 32, 3, 3, dtype=torch.int8) * mask.repeat_interleave(4, 2).view(32, 3, 3, 32).permute(
        0, 3, 1, 2)
    told, _ = stored(weight)
    assert (told.gaps.rows, told.gaps.columns, told.gaps.tiles) == (1, 4, int(mask.sum()))


ODD = [torch.zeros(50, 70), torch.zeros(1000), torch.zeros(0, 5), torch.zeros(3, 0, 2), torch.eye(129, 33),
       torch.eye(40).double(), torch.eye(40).to(torch.bfloat16), torch.eye(64).bool(),
       torch.eye(40).to(torch.complex64),
       torch.arange(900).view(30, 30) * (torch.arange(900).view(30, 30) % 97 == 0), -torch.zeros(9, 9),
       torch.eye(17).view(17, 1, 17, 1, 1), masked((33, 65), 0.2, (16, 4)), masked((1, 513), 0.1, (1, 4)),
       torch.eye(300)[:, :1] * torch.ones(1, 300)]


@pytest.mark.parametrize("tensor", ODD, ids=lambda t: f"{t.dtype}{list(t.shape)}")
def test_every_bit_comes_back(tensor):
    told, parts = stored(tensor)
    assert same_bits(layout.decode(parts, told, "a tensor"), tensor)
    told = Gaps(*(getattr(gaps.shortest(tensor), name) for name in ("rows", "columns", "tiles", "low", "high")))
    assert told.fits(tuple(tensor.shape))
    assert same_bits(gaps.decode(*gaps.encode(tensor, told), told, tensor.dtype, tuple(tensor.shape), ""), tensor)


def test_a_tensor_of_zeros_takes_a_1024th_of_its_bytes():
    assert stored(torch.zeros(512, 512))[0].bytes == 1024


@pytest.fixture
def path(tmp_path):
    net = nn.Linear(300, 40, bias=False)
    with torch.no_grad():
        net.weight.copy_(masked((40, 300), 0.05) / 128)
    path = sc.save(net, tmp_path / "net.safetensors")
    assert files.tell(path).tensors[0].form == "gaps"
    return path


def refused(path, change):
    path.write_bytes(forged.changed(path.read_bytes(), change))
    with pytest.raises(sc.SecateurError) as caught:
        sc.load(path, lambda: nn.Linear(300, 40, bias=False))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def spoilt_index(change):
    """A change of the bytes of the gaps, their remainders and their quotients."""
    def spoil(_, told, data):
        at = forged.part(told, "weight:gaps")
        own = bytearray(data[at])
        change(own)
        data[at] = own

    return spoil


@pytest.mark.parametrize("byte", [0xFF, 0])
def test_gaps_that_are_not_as_many_as_the_tiles(byte, path):
    assert "gaps but" in refused(path, spoilt_index(lambda own: own.__setitem__(-2, byte)))


def test_gaps_that_lead_out_of_the_tensor(path):
    high = told_gaps(path)[-1]
    longest = spoilt_index(lambda own: own.__setitem__(slice(0, len(own) - high), b"\xff" * (len(own) - high)))
    assert "its gaps lead beyond the last of its 12000 tiles" in refused(path, longest)


def told_gaps(path):
    found = files.tell(path).stored["weight"].gaps
    return [found.rows, found.columns, found.tiles, found.low, found.high]


@pytest.mark.parametrize(("place", "value"), [(0, 0), (0, 3), (0, 64), (1, 2**40), (2, 12001), (3, 62), (3, 2**62),
                                              (2, -1), (4, "x")])
def test_codes_that_no_writer_makes(place, value, path):
    def spoil(meta, *_):
        forged.told_tensors(meta, lambda read: read["weight"]["gaps"].__setitem__(place, value))

    told = refused(path, spoil)
    assert "gaps" in told or "tiles" in told or "more than 1024 times" in told


def test_a_code_of_too_few_parts(path):
    def spoil(meta, *_):
        forged.told_tensors(meta, lambda read: read["weight"]["gaps"].pop())

    assert "are no code of a tensor of [40, 300]" in refused(path, spoil)
