"""A Transformer of 100 million parameters: how long tracing, planning at half and cutting take.

    python benchmarks/large.py --json benchmarks/results/large.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path = [p for p in sys.path if p != str(HERE)]

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

sys.path[:0] = [str(HERE.parent / "tests")]
sys.path.append(str(HERE))
import child  # noqa: E402
import networks  # noqa: E402
import structures  # noqa: E402

import secateur as sc  # noqa: E402
from secateur import graph  # noqa: E402
from secateur.graph import capture  # noqa: E402
from secateur.pruning.selection import Selection  # noqa: E402
from secateur.pruning.spec import PruningSpec  # noqa: E402


class Layer(nn.Module):
    """Attention and a feed-forward part, each after a norm and added to the stream."""

    def __init__(self, width: int):
        super().__init__()
        self.attention = networks.Attention(width, heads=12)
        self.one, self.two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, length, width)`` to the same."""
        x = x + self.attention(self.one(x))
        return x + self.down(F.gelu(self.up(self.two(x))))


def measured(net: nn.Module, example: torch.Tensor) -> dict[str, float]:
    """CPU seconds of every step, parameters before and after, peak memory beside the export."""
    size = sum(t.numel() * t.element_size() for t in [*net.parameters(), *net.buffers()])
    marks = [time.process_time()]
    captured = capture.capture(net, example)
    before = child.reset_peak()
    for step in ("export", "trace", "plan", "cut"):
        if step == "trace":
            structure = graph.analyse(net, [captured])
        elif step == "plan":
            plan = Selection(net, PruningSpec(granularity="neuron"), structure=structure).plan(0.5)
        elif step == "cut":
            small = sc.apply(net, plan)
        marks.append(time.process_time())
    export, trace, planned, cut = (b - a for a, b in zip(marks, marks[1:], strict=False))
    return {"parameters": structures.parameters(net), "left": structures.parameters(small), "export_s": export,
            "trace_s": trace, "plan_s": planned, "cut_s": cut, "beyond_export_s": trace + planned + cut,
            "peak": (child.peak() - before) / size}


def main() -> None:
    """Build, cut, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(20_000, 768), *[Layer(768) for _ in range(12)], nn.LayerNorm(768),
                        nn.Linear(768, 1000)).eval()
    found = {"threads": torch.get_num_threads()} | measured(net, torch.arange(64).view(2, 32))
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
