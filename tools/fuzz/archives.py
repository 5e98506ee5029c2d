"""Damaged and forged files of each kind: each is read, or refused in one line; nothing else.

``python tools/fuzz/archives.py COUNT SEED`` reads so many ``.pt2``, ``.npz``, run folders, and files of networks with
and without a graph, each in a process of its own, and prints what became of them, with the most processor seconds and
the most memory that one took. It stops at the first file that does anything else, and leaves it in the current folder;
it ends with exit code 1 where a file took more than 5 seconds, or more than 200 MB and four times its bytes beyond what
the process held before.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measured import Taken, measure
from torch import nn

import secateur as sc
from secateur import files
from secateur.core.errors import SecateurError, failing
from secateur.core.network_options import Options
from secateur.core.machine import machine
from secateur.data.samples import read as read_data
from secateur.experiment.run import load_run
from secateur.models import resolve
from secateur.report.gather import gather_results
from secateur.report.render import markdown

ODD: list[Any] = [None, True, False, 0, 1, -1, 2**31, 2**63, 2**70, 1.5, -0.0, "", "x", "\x1b[2J", "\u202e", "9**9**9",
                  "__import__('os')", "torch.ops.aten.from_file.default", "torch.hub.load", "os.system", [], {}, [[]],
                  {"as_int": 2**40}, {"as_custom_obj": {"name": "a", "class_fqn": "b"}}, "../../x", "weight_0",
                  "a" * 5000]
TESTS = Path(__file__).parent.parent.parent / "tests"
sys.path.append(str(TESTS))
import fuzzed  # noqa: E402  what breaks files of networks lies beside the tests

STORED = TESTS / "fixtures" / "stored" / "run"
KINDS = ("pt2", "npz", "run", "weights", "graph")
GRAPHS = ("graph", "small")
SECONDS, FREE, TIMES = 5.0, 200_000_000, 4
"""What is promised: seconds, and bytes by which the process grows, with so many times those of the file."""


class Seeds(NamedTuple):
    """Whole files to begin with: archives by their paths, files of networks by their bytes."""

    files: dict[str, Path]
    networks: dict[str, bytes]



def damaged(raw: bytes, draw: random.Random) -> bytes:
    """Some bytes of a file changed, left out, put in, or the end cut off."""
    found = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at, kind = draw.randrange(len(found) or 1), draw.randrange(4)
        if kind == 0 and found:
            found[at] = draw.choice((0, 255, found[at] ^ (1 << draw.randrange(8)), draw.randrange(256)))
        elif kind == 1:
            del found[at:at + draw.choice((1, 4, 64))]
        elif kind == 2:
            found[at:at] = draw.randbytes(draw.choice((1, 4, 64)))
        elif draw.random() < 0.2:
            del found[at:]
    return bytes(found)


def forged(value: Any, draw: random.Random) -> Any:
    """A value of JSON with one place, anywhere in it, another one, gone, or given another name."""
    places = [(one, key) for one in _nested(value) for key in (one if isinstance(one, dict) else range(len(one)))]
    if not places:
        return value
    where, key = draw.choice(places)
    kind = draw.randrange(4)
    if kind == 0 and isinstance(where, dict):
        del where[key]
    elif kind == 1 and isinstance(where, dict):
        where[draw.choice(("", "use_pickle", "as_string", "name", "\x1b"))] = where.pop(key)
    elif kind == 2:
        where[key] = copy.deepcopy(draw.choice(_nested(value)))
    else:
        where[key] = draw.choice(ODD)
    return value


def _nested(value: Any) -> list[Any]:
    """Every list and every object in a value."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (dict, list)):
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def members(raw: Path) -> dict[str, bytes]:
    """The members of an archive."""
    with zipfile.ZipFile(raw) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def program(path: Path, draw: random.Random, whole: dict[str, bytes]) -> None:
    """A forged or damaged exported program."""
    held = dict(whole)
    for _ in range(draw.choice((1, 1, 1, 3))):
        name = draw.choice([*held, *(n for n in held if n.endswith(".json"))])
        if name.endswith(".json"):
            with contextlib.suppress(ValueError, RecursionError):
                held[name] = json.dumps(forged(json.loads(held[name]), draw)).encode()
        elif draw.random() < 0.3:
            folder = name.partition("/")[0]
            more = draw.choice(("data/constants/custom_obj_0", "data/weights/model.pt", "extra/a", "x"))
            held[f"{folder}/{more}"] = b"x"
        else:
            held[name] = damaged(held[name], draw)
    with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as new:
        for name, data in held.items():
            new.writestr(name, data)
    if draw.random() < 0.3:
        path.write_bytes(damaged(path.read_bytes(), draw))


def database(folder: Path, draw: random.Random) -> None:
    """A run whose database is damaged, or whose rows are forged."""
    path = folder / "rows.sqlite"
    if draw.random() < 0.4:
        raw = bytearray(path.read_bytes())
        for _ in range(draw.choice((1, 4, 64))):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(raw if draw.random() < 0.8 else damaged(bytes(raw), draw))
        return
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        if draw.random() < 0.3:
            text = base.execute("SELECT value FROM meta WHERE name = 'run'").fetchone()[0]
            base.execute("UPDATE meta SET value = ? WHERE name = 'run'", (json.dumps(forged(json.loads(text), draw)),))
            return
        for key, kind, figures in base.execute("SELECT key, kind, figures FROM rows").fetchall():
            if draw.random() < 0.2 or kind in ("anatomy", "samples", "trained", "sensitivity"):
                text = damaged(figures.encode(), draw) if draw.random() < 0.2 else json.dumps(
                    forged(json.loads(figures), draw))
                base.execute("UPDATE rows SET figures = ? WHERE key = ?", (text, key))


def read_run(folder: Path) -> None:
    """What ``secateur report`` reads, drawn as Markdown."""
    found = load_run(folder)
    with failing("the rows cannot be drawn"):
        markdown.render(gather_results(found), [])


def seeds(folder: Path) -> dict[str, Path]:
    """Whole files to begin with."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)).eval()
    net(torch.rand(2, 2, 5))
    open_batch = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(net, (torch.rand(2, 2, 5),), dynamic_shapes=open_batch), folder / "net.pt2")
    np.savez(folder / "plain.npz", x=np.ones((8, 3), np.float32), y=np.arange(8))
    np.savez_compressed(folder / "small.npz", x=np.zeros((8, 3), np.float32))
    return {path.name: path for path in folder.iterdir()}


def network_file(kind: str, path: Path, seeds: dict[str, bytes], draw: random.Random) -> Callable[[], object]:
    """A broken file of a network, with a graph or without one; gives what makes the network that it is of."""
    name = draw.choice([one for one in seeds if (one in GRAPHS) == (kind == "graph")])
    signed = draw.random() < 0.5 and name not in ("plain", "old")
    path.write_bytes(fuzzed.forged(seeds[name], draw) if signed else
                     fuzzed.broken(seeds[name], draw.choice(list(seeds.values())), draw))
    return fuzzed.tiny if name == "old" else fuzzed.wide


def attempt(read: Callable[[], object]) -> str:
    """What became of a file.

    Raises:
        Exception: anything but a refusal in one line.
    """
    try:
        read()
    except SecateurError as refusal:
        if not str(refusal).isprintable():
            raise RuntimeError(f"a refusal is not one plain line: {str(refusal)!r}") from refusal
        return "refused"
    return "read"


def open_network(path: Path, make: Callable[[], Any], found: list[nn.Module]) -> str:
    """Every way to open a file of a network; a graph of its own is kept to be run."""
    outcomes = [attempt(lambda: files.tell(path)), attempt(lambda: found.append(sc.load(path))),
                attempt(lambda: sc.load(path, make))]
    return "read" if "read" in outcomes else "refused"


def run_all(found: list[nn.Module]) -> None:
    """Run what was opened on the inputs of the whole network."""
    for network in found:
        with torch.no_grad():
            attempt(lambda network=network: network(fuzzed.X))  # type: ignore[misc]


def turn(kind: str, folder: Path, whole: Seeds, draw: random.Random) -> Taken:
    """One file of a kind, made, and read in a process of its own."""
    if kind == "run":
        shutil.copytree(STORED, folder / "run")
        database(folder / "run", draw)
        return measure(lambda: attempt(lambda: read_run(folder / "run")))
    if kind == "npz":
        path = folder / "bad.npz"
        path.write_bytes(damaged(whole.files[draw.choice(("plain.npz", "small.npz"))].read_bytes(), draw))
        return measure(lambda: attempt(lambda: read_data(str(path), lambda: None)))
    if kind == "pt2":
        path = folder / "bad.pt2"
        program(path, draw, members(whole.files["net.pt2"]))
        return measure(lambda: attempt(lambda: resolve.find(str(path), Options(trust=True)).make()))
    path, found = folder / "bad.safetensors", list[nn.Module]()
    make = network_file(kind, path, whole.networks, draw)
    return measure(lambda: open_network(path, make, found), lambda: run_all(found))


def bound(folder: Path) -> int:
    """The bytes by which a process may grow that reads the files of a folder."""
    return FREE + TIMES * sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(count: int, seed: int, kinds: Sequence[str] = KINDS) -> dict[str, dict[str, Any]]:
    """So many files of each kind: how many were read and refused, the worst seconds and memory, and those beyond
    what is promised.

    Raises:
        Exception: reading a file did anything but that; the file is left in the current folder.
    """
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (inside := Path(place) / "whole").mkdir()
        whole = Seeds(seeds(inside), fuzzed.seeds(Path(place)))
        for kind in kinds:
            told: dict[str, Any] = {"read": 0, "refused": 0, "seconds": 0.0, "grown_bytes": 0, "beyond": []}
            for number in range(count):
                (folder := Path(place) / "turn").mkdir()
                try:
                    taken = turn(kind, folder, whole, random.Random(f"{seed} {kind} {number}"))
                except BaseException:
                    shutil.copytree(folder, f"fuzz-{kind}-{seed}-{number}", dirs_exist_ok=True)
                    raise
                told[taken.result] += 1
                told["seconds"] = max(told["seconds"], taken.seconds)
                told["grown_bytes"] = max(told["grown_bytes"], taken.grown)
                if taken.seconds > SECONDS or taken.grown > bound(folder):
                    told["beyond"].append([number, taken.seconds, taken.grown])
                shutil.rmtree(folder)
            found[kind] = told
    return found


def main() -> None:
    """Read files, print and keep what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {"machine": machine(), "count": options.count, "seed": options.seed, "most_seconds": SECONDS,
              "most_bytes": [FREE, TIMES], "kinds": run(options.count, options.seed, options.kinds)}
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    print(json.dumps(result))
    sys.exit(any(told["beyond"] for told in result["kinds"].values()))


if __name__ == "__main__":
    main()
