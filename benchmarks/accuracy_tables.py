"""The tables of docs/accuracy.md and docs/accuracy-tables.md, from what ``benchmarks/accuracy.py --write`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from accuracy_peers import SETTINGS, paired
from distil_tables import choice_line
from runtime_tables import table_of

Row = dict[str, Any]
LABELLED = ("taylor", "obd", "snip", "movement", "grasp", "Torch-Pruning Taylor", "Torch-Pruning Hessian")
NEITHER = ("magnitude", "random", "l1", "l2", "fpgm", "synflow", "torch.nn.utils.prune l1",
           "torch.nn.utils.prune random", "Torch-Pruning magnitude")
SHOWN = ("magnitude", "l2", "magnitude + rechoose", "magnitude + reconstruct", "elimination + reconstruct",
         "cholesky + reconstruct", "published SparseGPT", "published Wanda", "torch.nn.utils.prune l1", "random",
         "Torch-Pruning magnitude", "Torch-Pruning Taylor", "Torch-Pruning Hessian", "best-finetune")
CHOICES = (("weight", "nothing but the network", '`criterion="magnitude"`', "magnitude"),
           ("weight", "some thousand inputs, no labels", "`data=inputs` (the default: recovery `best`)", ""),
           ("weight", "the same, in less time", '`recovery="refit"`', "magnitude + rechoose"),
           ("weight", "the same, and the mask must stay", '`recovery="reconstruct"`', "magnitude + reconstruct"),
           ("weight", "labelled data and time to train", '`scope="global", recovery="best-finetune"`',
            "best-finetune"),
           ("neuron", "nothing but the network", '`criterion="l2"`', "l2"),
           ("neuron", "some thousand inputs, no labels", "`data=inputs` (the default: recovery `best`)", ""),
           ("neuron", "the same, in less time", '`recovery="refit"`', "elimination + reconstruct"),
           ("neuron", "the same, for a quicker choice", '`criterion="cholesky", recovery="reconstruct"`',
            "cholesky + reconstruct"),
           ("neuron", "labelled data and time to train", '`recovery="best-finetune"`',
            "elimination + reconstruct + 5 epochs"))
COSTED = (0.8, 0.9, 0.95, 0.98)
POINTS = {"weight": (0.9, 0.95, 0.98, 0.99), "neuron": (0.8, 0.9, 0.95)}


@dataclass(frozen=True)
class Aim:
    """An accuracy in percent, or a loss in points against the uncut network, on the study's MLP."""

    granularity: str
    method: str
    sparsity: float
    accuracy: float | None = None
    loss: float | None = None


AIMS = (*(Aim("weight", "magnitude + rechoose", s, a) for s, a in ((0.9, 97.3), (0.95, 97.0), (0.98, 95.5))),
        *(Aim("neuron", "elimination + reconstruct", s, a) for s, a in ((0.8, 97.4), (0.9, 96.8), (0.95, 94.0))),
        Aim("weight", "best-finetune", 0.98, loss=0.0), Aim("weight", "best-finetune", 0.99, loss=0.3),
        Aim("neuron", "elimination + reconstruct + 5 epochs", 0.9, loss=0.0),
        Aim("neuron", "elimination + reconstruct + 5 epochs", 0.95, loss=0.5))


def trains(method: str) -> bool:
    """Whether a method trains on all samples."""
    return "5 epochs" in method or method == "best-finetune"


def needed(method: str) -> str:
    """What a method looks at."""
    if trains(method):
        return "60,000 labelled, training"
    if method.startswith(LABELLED):
        return "8,192 labelled"
    return "nothing" if method in NEITHER else "8,192 inputs"


def level(row: Row, most: int = 0) -> str:
    """Mean and half the 95% interval in percent; the number of seeds where it is not that of the table."""
    text = f"{100 * row['accuracy']:.2f}" + (f" ± {100 * row['half']:.2f}" if row["half"] is not None else "")
    return text + (f" ({row['seeds']} seed{'s' * (row['seeds'] > 1)})" if most and row["seeds"] != most else "")


def of_case(found: dict[str, Any], model: str, data: str, granularity: str = "") -> list[Row]:
    """The rows of one network and data set."""
    return [r for r in found["rows"] if (r["model"], r["data"], r["granularity"]) == (model, data, granularity)]


def cell(rows: Iterable[Row], method: str, sparsity: float) -> Row | None:
    return next((r for r in rows if r["method"] == method and r["sparsity"] == sparsity), None)


def main(granularity: str) -> Callable[[dict[str, Any]], str]:
    """The methods to choose from and the peers, on the study's MLP."""
    def table(found: dict[str, Any]) -> str:
        rows = of_case(found, "mlp", "mnist", granularity)
        dense = level(of_case(found, "mlp", "mnist")[0])
        shown = methods_table([r for r in rows if r["method"] in SHOWN or trains(r["method"])])
        return f"Uncut {dense} %.\n\n{shown}"
    return table


def others(found: dict[str, Any]) -> str:
    """The default without labels beside the best peer of its kind, on the other networks and data."""
    lines = []
    for model, data in dict.fromkeys((r["model"], r["data"]) for r in found["rows"]):
        for granularity, grid in POINTS.items():
            rows, (mine, peers) = of_case(found, model, data, granularity), next(iter(SETTINGS[granularity].items()))
            for sparsity in grid if (model, data) != ("mlp", "mnist") else ():
                row, beside = cell(rows, mine, sparsity), [c for p in peers if (c := cell(rows, p, sparsity))]
                if row and beside:
                    best = max(beside, key=lambda r: r["accuracy"])
                    lines.append([f"`{model}` on `{data}`", f"{sparsity:.0%} of the {granularity}s",
                                  f"{100 * of_case(found, model, data)[0]['accuracy']:.2f}", level(row, 5),
                                  level(best, 5), best["method"]])
    return table_of(["network", "cut", "uncut", "ours", "best peer", "which"], lines)


def everything(granularity: str) -> Callable[[dict[str, Any]], str]:
    """Every criterion and recovery that was run."""
    return lambda found: cases(found, granularity)


def cases(found: dict[str, Any], granularity: str) -> str:
    """One table for every network and data set, the best method first."""
    parts = []
    for case in dict.fromkeys((r["model"], r["data"]) for r in found["rows"] if r["granularity"] == granularity):
        dense = of_case(found, *case)[0]
        rows = methods_table(of_case(found, *case, granularity))
        parts.append(f"### `{case[0]}` on `{case[1]}`\n\nUncut {level(dense)} %.\n\n{rows}")
    return "\n\n".join(parts)


def methods_table(rows: list[Row]) -> str:
    """One row a method, one column a sparsity; in the order of the means where all of them were run."""
    found, grid = {(r["method"], r["sparsity"]): r for r in rows}, sorted({r["sparsity"] for r in rows})
    most = max(r["seeds"] for r in rows)

    methods = sorted({r["method"] for r in rows})
    common = [s for s in grid if all((m, s) in found for m in methods)]

    def worth(method: str) -> float:
        values = [found[method, s]["accuracy"] for s in common or grid if (method, s) in found]
        return -sum(values) / len(values)

    return table_of(["method", "looks at", *(f"{s:.0%}" for s in grid)],
                    [[m, needed(m), *(level(found[m, s], most) if (m, s) in found else "" for s in grid)]
                     for m in sorted(methods, key=worth)])


def choice(granularity: str) -> Callable[[dict[str, Any]], str]:
    """What to call with what one has, with what it kept and took on the study's MLP."""
    def table(found: dict[str, Any]) -> str:
        rows, lines = of_case(found, "mlp", "mnist", granularity), []
        for kind, have, call, method in CHOICES:
            cells = [cell(rows, method, s) for s in POINTS[granularity]]
            if kind == granularity and not method:
                lines.append([have, call, *choice_line(granularity, POINTS[granularity])])
            elif kind == granularity:
                seconds = [c["cpu_seconds"] for c in cells if c]
                lines.append([have, call, *(f"{100 * c['accuracy']:.2f}" if c else "" for c in cells),
                              f"{max(seconds):.1f}" if seconds else ""])
        heads = [f"{s:.0%} of the {granularity}s" for s in POINTS[granularity]]
        return table_of(["you have", "take", *heads, "processor seconds"], lines)
    return table


def aims(found: dict[str, Any]) -> str:
    """What was wanted on the study's MLP, and what was measured."""
    dense, lines = of_case(found, "mlp", "mnist")[0], []
    for aim in AIMS:
        row = cell(of_case(found, "mlp", "mnist", aim.granularity), aim.method, aim.sparsity)
        wanted = f"≥ {aim.accuracy}" if aim.accuracy else f"at most {aim.loss:g} points lost"
        if row is None:
            lines.append([aim.method, f"{aim.sparsity:.0%} of the {aim.granularity}s", wanted, "not run", ""])
            continue
        base = paired(dense, row)[0]
        met = 100 * row["accuracy"] >= aim.accuracy if aim.accuracy else 100 * base <= (aim.loss or 0)
        change = f", {abs(100 * base):.2f} points {'lost' if base > 0 else 'won'}"
        text = level(row, 5) + ("" if aim.accuracy else change)
        lines.append([aim.method, f"{aim.sparsity:.0%} of the {aim.granularity}s", wanted, text,
                      "met" if met else "missed"])
    return table_of(["method", "cut", "wanted", "measured", ""], lines)


def run(found: dict[str, Any]) -> str:
    """What was run where."""
    box, rows = found["machine"], found["rows"]
    counts = dict.fromkeys(f"{r['model']} on {r['data']} ({r['seeds']} seed{'s' * (r['seeds'] > 1)})"
                           for r in rows if r["method"] == "dense")
    return (f"Run: {', '.join(counts)}; {sum(r['seeds'] for r in rows if r['method'] != 'dense')} cut networks. "
            f"{box['cpu']}, torch {box['torch']}, one thread. Means over the seeds ± half the 95 % interval (Student's "
            "t, from three seeds on), test accuracy in percent. Cells that are empty were not run.")


def cost(found: dict[str, Any]) -> str:
    """Processor seconds on the study's MLP, the median over the seeds."""
    lines = []
    for granularity, methods in SETTINGS.items():
        rows = of_case(found, "mlp", "mnist", granularity)
        for method in methods:
            cells = [cell(rows, method, s) for s in COSTED]
            if any(cells):
                lines.append([method, f"{granularity}s", *(f"{c['cpu_seconds']:.1f}" if c else "" for c in cells)])
    return table_of(["method", "cut", *(f"{s:.0%}" for s in COSTED)], lines)
