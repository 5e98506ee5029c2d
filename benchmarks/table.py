"""Write the tables of README and docs from the benchmarks' JSON, between their markers.

    python benchmarks/table.py [--check]

With ``--check`` nothing is written; exit code 1 where a page is not what its figures say.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accuracy_peers
import accuracy_tables
import claims
import distil_tables
import export_tables
import int8_tables
import runtime_tables
import serve_tables
import taken_tables
from runtime_tables import row_of

HERE = Path(__file__).parent
PAGES = [HERE.parent / "README.md", *sorted((HERE.parent / "docs").glob("*.md"))]
PUBLISHED = {"lenet-300-100": "1.92 – 1.99 % at 98.2 – 98.5 %", "lenet5": "0.75 – 0.97 % at 99.5 – 99.6 %"}
SHOWN = (0.5, 0.7, 0.8, 0.9, 0.95)


def results(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


REPORT = HERE.parent / "docs" / "report" / "mnist.html"


def answer() -> str:
    """What the study found."""
    return f"> {results('mnist')['answer']}"


def example_report() -> str:
    """Where a finished report can be seen."""
    if REPORT.exists():
        return "A finished one, of the study of the defaults, is [here](report/mnist.html)."
    return "`make study` makes one of the study of the defaults."


def mnist() -> str:
    """Accuracy, size and speed at a few sparsities, weights beside neurons, plain beside recovered."""
    found = results("mnist")
    batches = sorted(found["rows"][0]["speedup"], key=int)
    best = [r for r in found["rows"] if r.get("recovery") == "best"]
    heads = ["cut", "sparsity", "accuracy (lowest – highest seed)",
             *["with recovery from " + " or ".join(f"{n:,}" for n in sorted({r["samples_seen"] for r in best}))
               + " unlabelled samples"] * bool(best),
             "random control", "size", *(f"speed-up, batch {b}" for b in batches)]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for granularity in ("weight", "neuron"):
        for sparsity in SHOWN:
            lines.append(row_of(mnist_row(found["rows"], granularity, sparsity, batches, bool(best))))
    return "\n".join(lines)


def mnist_row(rows: list[dict[str, Any]], granularity: str, sparsity: float, batches: list[str],
              recovered: bool) -> list[str]:
    """One line: sizes and speeds are those of the plain cut."""
    dense = next(r for r in rows if r["sparsity"] == 0)
    here = {(r.get("recovery", "none"), r["control"]): r for r in rows
            if (r["granularity"], r["sparsity"]) == (granularity, sparsity)}
    plain, best = here["none", False], here.get(("best", False))
    return [f"{granularity}s", f"{sparsity:.0%}", spread(plain), *[spread(best) if best else ""] * recovered,
            f"{here['none', True]['accuracy']:.2%}", f"{plain['bytes_sparse'] / dense['bytes']:.0%}",
            *("noisy" if (speed := plain["speedup"][b]) is None else f"{speed:.2f}" for b in batches)]


def spread(row: dict[str, Any]) -> str:
    """Mean accuracy with the lowest and the highest of the seeds."""
    return f"{row['accuracy']:.2%} ({row['least']:.2%} – {row['most']:.2%})"


def machine() -> str:
    """What was run where, in words."""
    found = results("mnist")
    box = found["machine"]
    engines = ", ".join(sorted({r["engine"] for r in found["rows"] if r["engine"]}))
    mean = sum(found["dense"]) / len(found["dense"])
    return (f"Uncut: {mean:.2%}, mean over {len(found['dense'])} seeds. Measured with `{found['command']}` on "
            f"{box['cpu']} ({box['cores']} cores), torch {box['torch']}; speed-ups are medians of interleaved runs "
            f"against the uncut network in torch; zeroed networks run by the engine `{engines}`, smaller networks by "
            "torch. Size is the smallest of dense, bitmask and CSR for each tensor. *Noisy* timings are not shown.")


def overhead() -> str:
    found = results("study")
    lines = ["| the same grid, training and timing apart | seconds | relative to secateur |", "|---|---|---|"]
    lines += [f"| {name} | {found['seconds'][name]:.1f} | {found['ratio'][name]:.2f} |" for name in found["seconds"]]
    return "\n".join(lines)


def times() -> str:
    """How long the commands of the first minutes take."""
    found = results("study").get("commands")
    if found is None:
        return "Times of the commands are not measured yet: `python benchmarks/study.py --only commands`."
    box, seconds = found["machine"], {name: found[name]["seconds"] for name in ("demo", "study", "again")}
    return (f"After set-up, `make demo` takes {_duration(seconds['demo'])}, "
            f"`make study` {_duration(seconds['study'])}, and a study with nothing left to do "
            f"{_duration(seconds['again'])} ({box['cpu']}, {box['cores']} cores).")


def _duration(seconds: float) -> str:
    """Seconds in words, rounded up.

    >>> _duration(41.2), _duration(372.0)
    ('42 seconds', '6 minutes 12 seconds')
    """
    minutes, rest = divmod(math.ceil(seconds), 60)
    return " ".join([f"{minutes} minute{'s' * (minutes != 1)}"] * bool(minutes) + [f"{rest} seconds"])


def runtime(table: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """A table of the runtime beside its peers."""
    return lambda: table(results("runtime"))


def runtime_machine() -> str:
    """Where the runtime was measured."""
    box = results("runtime")["machine"]
    return (f"{box['cpu']} ({box['cores']} cores), {', '.join(box['isa'])}; torch {box['torch']}, llvmlite "
            f"{box['llvmlite']}, Python {box['python']}.")


def coldstart() -> str:
    """The first call in a new process, its parts beside it."""
    found = results("coldstart")["median"]
    names = ("first call", "find non-zeros", "pack", "load kernels", "llvmlite", "first call and llvmlite",
             "next call", "export")
    lines = [row_of(list(names)), row_of(["---"] * len(names))]
    return "\n".join([*lines, row_of([f"{found[name] * 1e3:.1f} ms" for name in names])])


def structures() -> str:
    """How many networks of each zoo are cut, how far, and how."""
    heads = ["zoo", "networks", "proved", "at least 10 % of parameters removed", "at least 40 %", "same class",
             "as a graph", "in parts", "refused", "failed", "median s", "greatest s", "greatest memory"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in results("structures")["zoos"]:
        counts = (str(row[k]) for k in ("networks", "proved", "tenth", "forty", "module", "graph", "parts", "refused",
                                             "failed"))
        lines.append(row_of([row["zoo"], *counts, f"{row['median_s']:.2f}", f"{row['most_s']:.1f}",
                             f"{row['peak']:.2f}" if row["peak"] else ""]))
    return "\n".join(lines)


def memory() -> str:
    """The networks whose proofs take most memory."""
    lines = [row_of(["network", "zoo", "MB", "greatest memory", "s"]), row_of(["---"] * 5)]
    return "\n".join([*lines, *(row_of([r["name"], r["zoo"], f"{r['bytes'] / 1e6:.0f}", f"{r['peak']:.2f}",
                                        f"{r['s']:.1f}"]) for r in results("memory"))])


def peers() -> str:
    """Other libraries on the same networks, ours beside each."""
    heads = ["zoo", "library", "networks", "right, at least 10 % removed", "silently wrong", "outputs of another shape",
             "not checkable", "right, less removed", "crashed or refused", "out of time"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in results("structures")["peers"]:
        counts = [str(row[k]) for k in ("networks", "right", "wrong", "shape", "unchecked", "little", "none", "limit")]
        if row["limits"]:
            counts[-1] += f" ({', '.join(map(str, row['limits']))} s)"
        name = f"**secateur** (beside {row['beside']})" if row["library"] == "secateur" else row["library"]
        lines.append(row_of([row["zoo"], name, *counts]))
    return "\n".join(lines)


def large() -> str:
    """The Transformer of 100 million parameters."""
    found = results("large")
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    return (f"A Transformer of {found['parameters'] / 1e6:.0f} million parameters, CPU time on {threads}: export "
            f"{found['export_s']:.1f} s; then tracing {found['trace_s']:.2f} s, planning {found['plan_s']:.2f} s, "
            f"cutting and proving {found['cut_s']:.2f} s, {found['beyond_export_s']:.1f} s in all; peak memory "
            f"{found['peak']:.2f} times the network's; {found['left'] / 1e6:.0f} million parameters are left.")


def curves() -> str:
    """Accuracy of the two image networks at each sparsity, for each way of cutting."""
    found = results("curves")
    first = next(iter(found["models"].values()))
    grid, ways = (list(dict.fromkeys(p[k] for p in first)) for k in ("sparsity", "way"))
    lines = [row_of(["network", "criterion + recovery", *(f"{s:.0%}" for s in grid)]),
             row_of(["---"] * (len(grid) + 2))]
    for model, points in found["models"].items():
        for way in ways:
            some = {p["sparsity"]: p for p in points if p["way"] == way}
            lines.append(row_of([model, way, *(f"{some[s]['accuracy']:.1%}" for s in grid)]))
    epochs = ", ".join(f"{name} {how['epochs']} epochs" for name, how in found["trained"].items())
    return "\n".join([*lines, "", f"Data: {found['data']}; {epochs}; means over {found['seeds']} networks, one per "
                      "seed (the bands of the figure reach from the worst to the best). `elimination` and `best` see "
                      f"{found['calibration']} training images without labels; no method trains after the cut."])


def export(table: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """A table of the exported files."""
    return lambda: table(results("export"))


def refusals() -> str:
    """Every network that was not cut, with the reason."""
    found = results("structures")["refused"]
    return "\n".join(f"- `{name}`: {reason}" for name, reason in found.items()) or "None."


def training() -> str:
    """Networks trained sparse: test errors, beside the dense network's and the published ones."""
    heads = ["network", "removed", "test error, mean (lowest – highest)", "seeds", "dense", "published", "how"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in results("training")["rows"]:
        kinds.setdefault(json.dumps(row["recipe"]), []).append(row)
    for rows in kinds.values():
        recipe, errors = rows[0]["recipe"], [r["error"] for r in rows]
        dense = [r["dense_error"] for r in rows if r["dense_error"] is not None]
        lines.append(row_of([f"`{recipe['model']}`", f"{recipe['sparsity']:.1%} of the {recipe['granularity']}s",
                             f"{sum(errors) / len(errors):.2f} % ({min(errors):.2f} – {max(errors):.2f})",
                             str(len(rows)), f"{sum(dense) / len(dense):.2f} %" if dense else "",
                             PUBLISHED.get(recipe["model"], ""), trained(recipe)]))
    return "\n".join(lines)


def trained(recipe: dict[str, Any]) -> str:
    """How a recipe trains, in words."""
    if "method" in recipe:
        return f"`best-finetune`, {recipe['epochs']} epochs"
    told = f"`fit`, {recipe['epochs']} epochs"
    if recipe["dense"]:
        told += f" after {recipe['dense']} dense" + (f" and {recipe['warm']} narrow" if recipe["warm"] else "")
    if recipe["moved"]:
        told += f", each over the images and {recipe['moved']} moved copies"
    return told if recipe["scratch"] else f"{told}, from the study's network"


def on_disk() -> str:
    """Bytes of files against dense ones, and the time to write and read them."""
    found = results("files")
    kinds = {kind: title for kind, title in (("f32", "file"), ("bf16", "bf16 values"), ("int8", "int8 network"))
             if kind in found["rows"][0]}
    titles = ["network", "weights cut", "dense", *(one for title in kinds.values() for one in (title, "of dense")),
              "graph", "save (dense)", "load", "load without factory", "tell"]
    lines = [row_of(titles), row_of(["---"] * len(titles))]
    for one in found["rows"]:
        times = [f"{one[k] * 1e3:.1f}" for k in ("save_s", "save_dense_s", "load_s", "load_graph_s", "tell_s")]
        sizes = [text for kind in kinds for text in (f"{one[kind]:,}", f"{one[kind] / one['dense']:.4f}")]
        lines.append(row_of([f"`{one['network']}`", f"{one['sparsity']:.0%}", f"{one['dense']:,}", *sizes,
                             f"{one['graph']:,}", f"{times[0]} ({times[1]})", *times[2:]]))
    return "\n".join([*lines, "", "Bytes are those of whole files on the disk, with biases, norms and the last layer; "
                      "\"dense\" is the plain `state_dict` in f32, \"graph\" is what `example=` adds. Times are CPU "
                      "milliseconds of the process, medians; loading includes making the network anew "
                      f"({found['machine']['cpu']}, {found['threads']} thread, torch {found['machine']['torch']})."])


def durations() -> str:
    """How long single steps take."""
    return claims.durations(results("accuracy"), results("large"), results("coldstart"))


def accuracy(table: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """A table of what each cut costs."""
    return lambda: table(results("accuracy"))


BLOCKS: dict[str, Callable[[], str]] = {"answer": answer, "example_report": example_report, "mnist": mnist,
                                         "machine": machine, "overhead": overhead,
                                         "times": times,
                                         "runtime_machine": runtime_machine, "coldstart": coldstart,
                                         "claim": accuracy(claims.ahead), "durations": durations,
                                         "speed": runtime(claims.speed),
                                         "runtime_aims": runtime(runtime_tables.aims),
                                         "runtime_mlp": runtime(runtime_tables.mlp),
                                         "runtime_engines": runtime(runtime_tables.engines),
                                         "runtime_condensed": runtime(runtime_tables.condensed),
                                         "runtime_problems": runtime(runtime_tables.problems),
                                         "structures": structures, "memory": memory,
                                         "refusals": refusals, "peers": peers,
                                         "large": large, "curves": curves,
                                         "distil": distil_tables.lost,
                                         "distil_taken": distil_tables.taken,
                                         "int8_study": int8_tables.study_table,
                                         "int8_taken": int8_tables.taken_table,
                                         "int8_speed": int8_tables.speed_table,
                                         "accuracy_weights": accuracy(accuracy_tables.main("weight")),
                                         "accuracy_neurons": accuracy(accuracy_tables.main("neuron")),
                                         "accuracy_all_weights": accuracy(accuracy_tables.everything("weight")),
                                         "accuracy_all_neurons": accuracy(accuracy_tables.everything("neuron")),
                                         "accuracy_choice_weights": accuracy(accuracy_tables.choice("weight")),
                                         "accuracy_choice_neurons": accuracy(accuracy_tables.choice("neuron")),
                                         "accuracy_aims": accuracy(accuracy_tables.aims),
                                         "accuracy_others": accuracy(accuracy_tables.others),
                                         "accuracy_peers": accuracy(accuracy_peers.ahead),
                                         "accuracy_run": accuracy(accuracy_tables.run),
                                         "accuracy_cost": accuracy(accuracy_tables.cost),
                                         "export_files": export(export_tables.files),
                                         "export_engines": export(export_tables.engines),
                                         "export_machine": export(export_tables.machine),
                                         "training": training, "files": on_disk,
                                         "serve": lambda: serve_tables.table(results("serve")),
                                         "taken_home": lambda: taken_tables.table(results("taken_home"))}


def filled(text: str) -> str:
    """A page with every block between its markers made anew."""
    def block(match: re.Match[str]) -> str:
        return f"<!-- begin {match[1]} -->\n{BLOCKS[match[1]]()}\n<!-- end -->"
    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end -->", block, text, flags=re.S)


def main() -> int:
    stale = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    for page in stale:
        if "--check" in sys.argv:
            print(f"{page.name} is not what benchmarks/results say; run benchmarks/table.py", file=sys.stderr)
        else:
            page.write_text(filled(page.read_text()))
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
