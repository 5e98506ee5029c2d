"""Drawn argument lists for every operator that a file may name, twice, with differently filled fresh memory.

    python benchmarks/fuzz_operators.py --count 2000 --out benchmarks/results/fuzz_operators.json

Each operator runs in a process of its own, forked from one that has torch loaded and whose memory allocator fills what
it gives (``MALLOC_PERTURB_``, glibc). A list is refused by a rule, fails in the operator, or gives results; these must
be as the rule announced, the same under both fillings, and there within 5 seconds. Ends with exit code 1 where not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from operator_arguments import T, drawn, tensor
from torch import Tensor
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError
from secateur.core.tensors import raw_bytes
from secateur.files.native.program import operators
from secateur.files.native.program.announce import announce, check_result, spec_of
from secateur.files.native.program.arguments import Ref, Several, fill_in
from secateur.files.native.program.read import Call, Program
from secateur.files.native.program.rules import RULES

FILLINGS = (85, 170)
LIMIT = 5.0
_WIDE = 12
_KEPT = 512


def call_of(name: str, given: list[Any], generator: torch.Generator) -> tuple[Call, list[Tensor]]:
    """A call as a file has it, and the tensors that it takes; some arguments stand by name."""
    values: list[Tensor] = []

    def argument(value: Any) -> Any:
        if isinstance(value, T):
            values.append(tensor(value, generator))
            return Ref(len(values) - 1)
        if isinstance(value, list):
            found = [argument(one) for one in value]
            return Several(found) if any(isinstance(one, (Ref, Several)) for one in found) else found
        return value

    function = operators.operation(name)
    schema = function._schema.arguments  # type: ignore[attr-defined]
    args = [argument(value) for value in given]
    plain = [one for one, told in zip(args, schema, strict=False) if not told.kwarg_only]
    named = {told.name: one for one, told in zip(args, schema, strict=False) if told.kwarg_only}
    return Call(name, function, (*plain, *args[len(schema):]), named), values


def once(name: str, given: list[Any], generator: torch.Generator) -> tuple[str, str]:
    """What becomes of one list: ``refused``, ``failed``, ``wrong`` or ``ok``, and a digest or the reason."""
    call, values = call_of(name, given, generator)
    program = Program([], None, [call], None, [], frozenset(), b"")  # type: ignore[arg-type]
    try:
        told = announce(program, [spec_of(value) for value in values])[0]
    except SecateurError:
        return "refused", ""
    try:
        found = call.function(*(fill_in(a, values, torch.device("cpu")) for a in call.args),
                              **{k: fill_in(v, values, torch.device("cpu")) for k, v in call.kwargs.items()})
    except Exception:
        return "failed", ""
    try:
        check_result(found, told, 0, call, types=True)
    except SecateurError as error:
        return "wrong", str(error)
    digest = hashlib.sha256()
    for one in pytree.tree_leaves(found):
        digest.update(_content(one) if isinstance(one, Tensor) else repr(one).encode())
    return "ok", digest.hexdigest()[:16]


def _content(one: Tensor) -> bytes:
    """The bytes of a result, whatever its strides are."""
    flat = one.resolve_conj().flatten()
    return raw_bytes(torch.cat([flat, flat[:0]])).numpy().tobytes()


def child(name: str, count: int, seed: int, out: int, last: mmap.mmap) -> None:
    """All lists of one operator. ``last`` is memory that outlives the process: what it holds is known after a crash."""
    draw = random.Random(zlib.crc32(f"{seed} {name}".encode()))
    generator = torch.Generator().manual_seed(draw.randrange(2**31))
    with os.fdopen(out, "w") as told, torch.no_grad():
        for turn in range(count):
            given = drawn(name, draw)
            last[:] = f"{turn} {given}".encode()[:len(last)].ljust(len(last))
            begin = time.perf_counter()
            kind, digest = once(name, given, generator)
            told.write(f"{turn} {kind} {time.perf_counter() - begin:.4f} {digest}\n")


def serve(names: list[str], count: int, seed: int) -> None:
    """Fork a process for each operator and print what it found as a line of JSON."""
    torch.set_num_threads(1)
    last = mmap.mmap(-1, _KEPT)
    for name in names:
        reader, writer = os.pipe()
        if not (pid := os.fork()):
            os.close(reader)
            child(name, count, seed, writer, last)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            lines = told.read().splitlines()
        status = os.waitpid(pid, 0)[1]
        print(json.dumps({"name": name, "status": status, "last": last[:].decode(errors="replace").strip(),
                          **_counted(lines)}), flush=True)


def _counted(lines: list[str]) -> dict[str, Any]:
    """The lines of a process by what became of each list."""
    done = [line.split(" ", 3) for line in lines]
    counts = {kind: sum(line[1] == kind for line in done) for kind in ("ok", "refused", "failed", "wrong")}
    return {**counts, "lists": len(done), "slowest": max((float(line[2]) for line in done), default=0.0),
            "digests": [line[3] if line[1] == "ok" else line[1] for line in done],
            "reasons": sorted({line[3] for line in done if line[1] == "wrong"})[:5]}


def compare(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What is to be said of an operator after both fillings."""
    different = [i for i, (a, b) in enumerate(zip(one["digests"], other["digests"], strict=False)) if a != b]
    crashed = [run["last"] for run in (one, other) if run["status"]]
    kept = {key: one[key] for key in ("name", "lists", "ok", "refused", "failed", "wrong", "reasons")}
    return {**kept, "slowest": max(one["slowest"], other["slowest"]), "different": different[:5], "crashed": crashed}


def run(names: list[str], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Every operator under both fillings, at the same time."""
    command = [sys.executable, __file__, "--serve", "--count", str(count), "--seed", str(seed), "--operators", *names]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "MALLOC_PERTURB_": str(
        filling), "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL) for filling in FILLINGS]
    for number, lines in enumerate(zip(*(process.stdout for process in running if process.stdout), strict=True), 1):
        found = compare(*map(json.loads, lines))
        if is_bad(found) or number % _WIDE == 0:
            print(f"{number} of {len(names)}: {found}", file=sys.stderr, flush=True)
        yield found


def is_bad(one: dict[str, Any]) -> bool:
    """Whether an operator crashed, gave two results, gave what was not announced, or took too long."""
    return bool(one["crashed"] or one["different"] or one["wrong"] or one["slowest"] > LIMIT)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="lists for each operator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operators", nargs="*", default=sorted(RULES), help="names such as aten.add.Tensor")
    parser.add_argument("--out", type=Path, help="where the result is kept as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.operators, given.count, given.seed)
        return
    names = list(given.operators)
    random.Random(given.seed).shuffle(names)  # a run that is stopped has something of every family
    found: list[dict[str, Any]] = []
    for one in run(names, given.count, given.seed):
        found.append(one)
        if given.out:
            given.out.write_text(json.dumps(summary(found, given.count, given.seed), indent=1) + "\n")
    told = summary(found, given.count, given.seed)
    print(json.dumps({key: value for key, value in told.items() if key != "bad"}))
    sys.exit(bool(told["bad"]) or len(found) != len(names))


def summary(found: list[dict[str, Any]], count: int, seed: int) -> dict[str, Any]:
    """The counts over all operators, and those in which something is wrong."""
    totals = {key: sum(one[key] for one in found) for key in ("lists", "ok", "refused", "failed", "wrong")}
    slowest = max(found, key=lambda one: one["slowest"], default={"name": "", "slowest": 0.0})
    return {"torch": torch.__version__, "count": count, "seed": seed, "fillings": list(FILLINGS),
            "operators": len(found), "of": len(RULES), **totals, "slowest": [slowest["name"], slowest["slowest"]],
            "crashed": [one["name"] for one in found if one["crashed"]],
            "different": [one["name"] for one in found if one["different"]], "bad": [o for o in found if is_bad(o)]}


if __name__ == "__main__":
    main()
