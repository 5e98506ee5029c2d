"""The table of docs/serve.md from the figures of ``benchmarks/serve.py``."""

from __future__ import annotations

from typing import Any

from runtime_tables import row_of

NAMES = {"dense": "dense, torch", "sparse": "compiled, sparse kernels"}


def table(found: dict[str, Any]) -> str:
    """Each way to run the network: the highest rate within the bound, the latencies there, the most there is."""
    asked, box = found["settings"], found["machine"]
    heads = ["served by", f"requests/s with p99 within {asked['bound_ms']:g} ms", "samples/s", "p50 there", "p99 there",
             "8 clients without a pause, requests/s"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for way, one in found["ways"].items():
        there = [f"{one[p] * 1e3:.3g} ms" if one[p] else "" for p in ("p50", "p99")]
        lines.append(row_of([NAMES[way], f"{one['rate']:.0f}" if one["rate"] else "none",
                             f"{one['rate'] * asked['samples']:,.0f}", *there, f"{one['closed']:.0f}"]))
    ratio = f"{found['ratio']:.1f} times as many requests" if found["ratio"] else "no ratio"
    return "\n".join([*lines, "", f"784-2048-2048-10 at {asked['sparsity']:.0%} of the weights, {asked['samples']} "
                      f"samples a request, one core for the server: {ratio} at the same latency. `{found['command']}` "
                      f"on {box['cpu']} ({box['cores']} cores), torch {box['torch']}; load average of the machine in "
                      f"the last five minutes of the measurement: {found['load']:.1f}."])
