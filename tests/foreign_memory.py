"""Files whose graphs ask for foreign memory, with right checksums.

``python foreign_memory.py NAME ...`` prints what becomes of each, one line a file: one that ends the process has none.

The network has a weight of 400 by 16 (value 0), a bias of 400 (value 1) and one input (value 2).
"""

import json
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

import forged
import torch
from torch import nn

import secateur as sc

X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LEAST = [["aten.full.default", [[4], -(2**63 - 1)]], ["aten.sub.Tensor", [{"at": 3}, 1]]]


def at(place):
    return {"at": place}


def part(place, end):
    return ["aten.slice.Tensor", [at(place), 0, 0, end]]


GRAPHS = {
    "_reshape_alias": [["aten._reshape_alias.default", [at(0), [400, 16], [10**9, 10**9]]]],
    "fill_": [["aten._reshape_alias.default", [at(2), [64], [10**9]]], ["aten.fill_.Scalar", [at(3), 7]]],
    "_weight_norm_interface": [part(1, 1), ["aten._weight_norm_interface.default", [at(0), at(3), 0]],
                               ["getitem", [at(4), 0]]],
    "native_batch_norm": [part(1, 1), ["aten.native_batch_norm.default",
                                       [at(0), None, None, at(3), at(3), False, 0.1, 1e-5]], ["getitem", [at(4), 0]]],
    "sum": [["aten.sum.default", [at(0)], {"dtype": 200}]],
    "_weight_norm": [part(0, 0), part(1, 0), ["aten._weight_norm.default", [at(3), at(4), 0]]],
    "div": [*LEAST, ["aten.full.default", [[4], -1]],
            ["aten.div.Tensor_mode", [at(4), at(5)], {"rounding_mode": "trunc"}]],
}


@cache
def whole():
    """The bytes of a file as it was saved."""
    with tempfile.TemporaryDirectory() as folder:
        return sc.save(nn.Sequential(nn.Flatten(), nn.Linear(16, 400)), Path(folder) / "net", X[:1]).read_bytes()


def file(calls, folder):
    """A file with right checksums whose graph has these calls and gives what the last one does."""
    path = folder / "net.safetensors"

    def change(read):
        assert read["tensors"] == ["1.weight", "1.bias"]
        read["calls"], read["gives"] = calls, {"leaf": at(2 + len(calls))}
    path.write_bytes(forged.with_program(whole(), change))
    return path


def tell(name):
    """What becomes of a file."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = file(GRAPHS[name], Path(folder))
        weight, _ = sc.load(path, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 400))).parameters()
        try:
            found, refused = sc.load(path)(X), ""
        except sc.SecateurError as error:
            found, refused = torch.zeros(0), str(error)
    same = {"_reshape_alias": lambda: torch.equal(found, weight), "fill_": lambda: found.tolist() == [7.0] * 64}
    return {"name": name, "refused": refused, "right": not refused and name in same and same[name]()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for given in sys.argv[1:]:
        print(json.dumps(tell(given)), flush=True)
