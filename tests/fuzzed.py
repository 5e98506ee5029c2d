"""Thousands of broken files read in one process: python fuzzed.py COUNT SEED; prints what became of them as JSON."""

import json
import random
import re
import resource
import sys
import tempfile
import time
import warnings
from itertools import zip_longest
from pathlib import Path

import torch
from forged import apart, signed, with_program
from support import tiny
from torch import nn

import secateur as sc
from secateur import files
from secateur.core.tensors import same_bits
from secateur.files.native.program.network import FileNetwork
from secateur.models.builtin.mlp import Mlp

WILD = [0, 1, -1, 7, 255, 2**31, 2**40, 2**63 - 1, 10**30, 1e308, None, True, "x", "", "float64", "csr",
        "gaps", [], {}, [[]]]
X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 300), nn.ReLU(), nn.Linear(300, 40), nn.ReLU(), nn.Linear(40, 4))


def rows():
    return nn.Sequential(nn.Linear(300, 40, bias=False), nn.Linear(40, 41, bias=False))


def seeds(folder):
    """Files of every kind, each with the ways to read it."""
    torch.manual_seed(0)
    net, plain = sc.prune(wide(), 0.97, skip=()), folder / "plain"
    files.save_dense(net, plain)
    small = sc.prune(wide(), 0.5, granularity="neuron", example=X[:1])
    coded = sc.quantize(net, X)
    fixtures = Path(__file__).parent / "fixtures"
    made = {"sparse": sc.save(net, folder / "a"), "narrow": sc.save(net, folder / "b", values="bf16"),
            "graph": sc.save(net, folder / "c", X[:1]), "small": sc.save(small, folder / "d", X[:1]),
            "int8": sc.save(coded, folder / "f"), "int8-graph": sc.save(coded, folder / "g", X[:1]),
            "half": sc.save(sc.prune(wide(), 0.4, skip=()), folder / "e"), "plain": plain,
            "old": fixtures / "weights-1.safetensors", "rows": fixtures / "sparse-2.safetensors"}
    return {name: path.read_bytes() for name, path in made.items()}


def broken(raw, other, draw):
    """A file with something wrong in its bytes."""
    raw, kind = bytearray(raw), draw.randrange(6)
    at = draw.randrange(len(raw)) if draw.random() < 0.5 else draw.randrange(min(len(raw), 2000))
    if kind == 0:
        raw[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del raw[at:]
    elif kind == 2:
        raw[at:at] = draw.randbytes(draw.randrange(1, 20))
    elif kind == 3:
        del raw[at:at + draw.randrange(1, 20)]
    elif kind == 4:
        raw[at:] = other[draw.randrange(len(other)):]
    else:
        raw[:8] = draw.choice([0, 1, len(raw), len(raw) - 8, 2**20, 2**63, 2**64 - 1]).to_bytes(8, "little")
    return bytes(raw)


def spoilt(value, draw):
    """A JSON value with one thing in it changed."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.9:
        key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if draw.random() < 0.1:
            value.pop(key)
        else:
            value[key] = spoilt(value[key], draw)
        return value
    if isinstance(value, int) and draw.random() < 0.5:
        return value + draw.choice([-2, -1, 1, 2, 8])
    return draw.choice(WILD)


def forged(raw, draw):
    """A file with something wrong in what it says, and checksums that are right."""
    metadata, told, data = apart(raw)
    where = draw.random()
    if where < 0.3 and metadata.keys() & {"tensors", "steps"}:
        name = draw.choice([k for k in ("tensors", "layers", "steps", "settings", "program") if k in metadata])
        metadata[name] = json.dumps(spoilt(json.loads(metadata[name]), draw))
    elif where < 0.5:
        name = draw.choice(list(told))
        told[name] = spoilt(told[name], draw)
    elif where < 0.8 and ":program" in told:
        return with_program(raw, lambda read: spoilt(read, draw))
    elif where < 0.9:
        at = draw.randrange(len(data))
        data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1:]
    else:
        text = json.dumps(metadata)
        spots = list(re.finditer(r"\d+", text))
        spot = draw.choice(spots)
        metadata = json.loads(text[:spot.start()] + str(draw.choice([0, 3, 10**9, 10**40])) + text[spot.end():])
    return signed(metadata, told, data)


def read(path, make):
    """Every way to read a file; what came of each: a network, or None where it was refused. Graphs are run, too."""
    found, lines = [], []
    for way in (lambda: files.tell(path), lambda: sc.load(path), lambda: sc.load(path, make)):
        try:
            found.append(way())
        except sc.SecateurError as error:
            found.append(None)
            lines.append(str(error).count("\n"))
    if isinstance(found[1], FileNetwork):
        try:
            with torch.no_grad():
                found[1](X)
        except sc.SecateurError as error:
            lines.append(str(error).count("\n"))
    assert not any(lines)
    return found


def same(net, whole):
    pairs = list(zip_longest(net.state_dict().values(), whole.state_dict().values()))
    return all(a is not None and b is not None and same_bits(a, b) for a, b in pairs)


def main(count, seed):
    warnings.simplefilter("ignore")
    draw, counts = random.Random(seed), {"refused": 0, "same": 0, "other": 0}
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        folder = Path(folder)
        made, path = seeds(folder), folder / "broken.safetensors"
        whole = {n: {"old": tiny, "rows": rows}.get(n, wide) for n in made}
        want = {}
        for name, raw in made.items():
            path.write_bytes(raw)
            want[name] = read(path, whole[name])[1 if name == "small" else 2]
        for maker in (wide, tiny, Mlp):
            maker()
        before, start, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), 0.0
        for turn in range(count):
            name = draw.choice(list(made))
            sign = turn % 2 and name not in ("plain", "old")
            raw = forged(made[name], draw) if sign else broken(made[name], draw.choice(list(made.values())), draw)
            path.write_bytes(raw)
            make = (lambda: 1 / 0) if name == "small" else whole[name]
            begin = time.perf_counter()
            got = [net for net in read(path, make)[1:] if net is not None]
            slowest = max(slowest, time.perf_counter() - begin)
            alike = [want[name] is not None and same(net, want[name]) for net in got]
            assert sign or raw == made[name] or all(alike), (turn, name)
            counts["refused" if not got else "same" if all(alike) else "other"] += 1
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(counts | {"seconds": time.process_time() - start, "grown_kib": after - before, "slowest": slowest,
                               "largest": max(map(len, made.values()))}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
