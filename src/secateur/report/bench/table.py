"""The results in the terminal: a table a batch size and count of threads, what was refused, the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from secateur.bench.points import name_of
from secateur.bench.rounded import counts, describe, is_full, tolerance
from secateur.bench.verdict import quickest, speed, title
from secateur.core import text
from secateur.core.terminal import Terminal

_FEW = 100
"""With fewer calls the 99th percentile is the slowest call or next to it."""
_WIDE, _WIDER = 72, 98
"""Columns of a terminal from which all figures have room; where some engines name their precision and error."""
_RUINED = "!"
"""Marks an engine whose outputs are beyond the tolerance."""
_LEGEND = ("p50, p90, p99: of every call, inputs to outputs. Memory of the engine's own process, above its loaded "
           "libraries: peak, from reading the network to the last batch, and what is kept after that.")


def show(results: dict[str, Any], console: Terminal | None = None) -> None:
    """Print the results of :func:`secateur.bench.bench`."""
    console = console or Terminal()
    console.print(_heading(results), soft_wrap=not console.is_terminal, highlight=False, markup=False)
    for threads in results["settings"]["threads"]:
        for batch in results["settings"]["batches"]:
            if rows := [p for p in results["points"] if (p["threads"], p["batch"]) == (threads, batch)]:
                console.print(_table(results, rows, console.width))
    for line in (_LEGEND, *_remarks(results), text.capital(results["verdict"])):
        console.print(line, highlight=False, markup=False)


def _heading(results: dict[str, Any]) -> str:
    """What was timed, and its bytes."""
    net = results["network"]
    what = {"neuron": "neurons removed", "weight": "weights zeroed", "": "not cut"}[net["cut"]]
    before = f", {text.with_prefix(net['bytes_before'], 'B')} before the cut" if "bytes_before" in net else ""
    small = f", {text.with_prefix(net['bytes_sparse'], 'B')} without zeros" if net["cut"] == "weight" else ""
    name = results["subject"]["file"] or results["subject"]["model"]
    zeros = text.percent(1 - net["nonzeros"] / max(1, net["parameters"]))
    inputs = f"; inputs {', '.join(net['inputs'])}" if "inputs" in net else ""
    return (f"{name}: {net['class']}, {what}; {text.count(net['parameters'])} parameters, {zeros} of them zero; "
            f"weights {text.with_prefix(net['bytes'], 'B')}{small}{before}{inputs}")


def _table(results: dict[str, Any], rows: list[dict[str, Any]], width: int) -> Table:
    """One batch size on one count of threads; the fastest in bold. A narrow one has fewer columns."""
    threads, batch, base = rows[0]["threads"], rows[0]["batch"], rows[0]["against"]
    rounded = any("agreement" in row for row in rows)
    wide = width >= (_WIDER if rounded else _WIDE)
    quantiles = ("p50", "p90", "p99") if wide else ("p50", "p99")
    table = Table("engine", *(f"{p} ms" for p in quantiles), *["samples/s"] * wide, f"× {base}", *["error"] * rounded,
                  "peak", *["kept"] * wide, box=None, header_style="bold", title_justify="left", title_style="bold",
                  title=f"batch {batch}, {threads} thread{'s' * (threads > 1)}", padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    best = quickest([*filter(counts, rows)] or rows)
    for row in rows:
        table.add_row(title(results, row) + ("" if counts(row) else f" {_RUINED}"),
                      *(f"{row[p] * 1e3:.3g}" for p in quantiles), *[text.count(row["samples_per_s"])] * wide,
                      text.times(speed(row)), *[_error(row)] * rounded, *_memory(results, row)[:2 if wide else 1],
                      style="bold" if row is best else "")
    return table


def _error(row: dict[str, Any]) -> str:
    """The relative error of an engine's outputs in less precision than float32."""
    return text.percent(row["agreement"]["error"], 2) if "agreement" in row else ""


def _memory(results: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """What the engine's process held at most, and in the end."""
    memory = next(m for m in results["memory"] if (name_of(m), m["threads"]) == (name_of(row), row["threads"]))
    return ["–" if memory[k] is None else text.with_prefix(memory[k], "B") for k in ("peak_bytes", "held_bytes")]


def _remarks(results: dict[str, Any]) -> Iterator[str]:
    """What a reader has to know besides, and every engine that was not timed."""
    yield from (f"note: {note}" for note in results["notes"])
    if any(p["calls"] < _FEW for p in results["points"]):
        yield f"note: where fewer than {_FEW} calls were timed, p99 is close to the slowest; --seconds times more"
    yield from _precisions(results)
    if told := list(dict.fromkeys(f"{title(results, m)}: {m['told']}" for m in results["memory"] if m.get("told"))):
        yield f"note: how engines ran, the fastest of their ways: {'; '.join(told)}"
    reasons: dict[tuple[str, str], list[str]] = {}
    for r in results["refused"]:
        who = f"{r['network']} {r['engine']}" if r.get("network") else r["engine"]
        reasons.setdefault((who, r["reason"]), []).append("" if r["batch"] is None else str(r["batch"]))
    for (who, reason), batches in reasons.items():
        at = f" at batch {text.join_words(sorted({b for b in batches if b}, key=int))}" if all(batches) else ""
        yield f"not timed: {who}{at}: {reason}"


def _precisions(results: dict[str, Any]) -> Iterator[str]:
    """How near the outputs of engines in less than float32 are, and what is too far."""
    rounded: dict[tuple[str, str, bool], list[int]] = {}
    for p in results["points"]:
        if not is_full(p):
            rounded.setdefault((title(results, p), describe(p), counts(p)), []).append(p["batch"])
    for (name, how, within), at in rounded.items():
        where = f" at batch {text.join_words([*map(str, dict.fromkeys(at))])}"
        far = "" if within else f"; {_RUINED} TOO FAR from float32 ({tolerance()}), so no verdict counts it"
        yield f"note: {name}{where}: {how}{far}"
    if (cut := results["network"].get("agreement")) is not None:
        how = describe({"agreement": cut}, ("of the original", "of the cut"))
        yield f"note: the cut network beside the original, both in torch: {how}"
