"""What ``secateur bench`` says, prints and draws, of figures made up by hand."""

import re

import pytest
from rich.console import Console

from secateur.bench.verdict import gain, verdict
from secateur.core.errors import MissingExtraError
from secateur.report.bench import figure
from secateur.report.bench.table import show

TITLES = {"dense": "dense, torch", "zeroed": "cut, torch", "sparse": "cut, compiled",
          "onnxruntime": "cut, ONNX Runtime", "openvino": "cut, OpenVINO"}
NO_OPENVINO = "openvino is not installed: pip install 'secateur[openvino]'"


def results(times, cut="weight", threads=(1,)):
    """Results with p50 in ms by batch and engine."""
    rows = [{"engine": name, "threads": t, "batch": batch, "p50": ms / 1e3, "p90": 1.2 * ms / 1e3, "p99": 2 * ms / 1e3,
             "calls": 1000, "samples_per_s": batch / ms * 1e3, "against": next(iter(case)), "error": 0.0,
             **({} if name == next(iter(case)) else {"speedup": next(iter(case.values())) / ms, "speedup_low": 1.0,
                                                     "speedup_high": 9.0})}
            for t in threads for batch, case in times.items() for name, ms in case.items()]
    names = list(dict.fromkeys(r["engine"] for r in rows))
    return {"points": rows, "engines": {n: {"title": TITLES[n], "version": "1", "told": ""} for n in names},
            "memory": [{"engine": n, "threads": t, "peak_bytes": 12_300_000, "held_bytes": None, "weights_bytes": 4000}
                       for n in names for t in threads],
            "network": {"class": "Net", "cut": cut, "parameters": 1000, "nonzeros": 100, "bytes": 4000,
                        "bytes_sparse": 530, "bytes_before": 4000},
            "subject": {"file": "net.safetensors", "model": ""}, "notes": ["a note"],
            "settings": {"batches": list(times), "threads": list(threads)}, "verdict": "all is well.",
            "refused": [{"engine": "openvino", "threads": 1, "batch": None, "reason": NO_OPENVINO},
                        {"engine": "sparse", "threads": 1, "batch": 64, "reason": "its outputs differ"}]}


TIMES = {1: {"dense": 1.0, "zeroed": 1.0, "sparse": 0.25, "onnxruntime": 0.5},
         64: {"dense": 9.0, "zeroed": 9.0, "sparse": 4.0, "onnxruntime": 3.0}}


def test_the_verdict_names_the_fastest_and_where_the_cut_does_not_pay():
    assert verdict(results(TIMES)) == ("'cut, compiled' is fastest at batch 1 (4.0× dense) and 'cut, ONNX Runtime' at "
                                       "batch 64 (3.0× dense); the cut pays at batch 1 (2.0× onnxruntime), but it does "
                                       "NOT pay at batch 64 (0.75× onnxruntime).")
    slow = {b: {"dense": 1.0, "sparse": 1.5} for b in (1, 2)}
    assert verdict(results(slow)) == ("'dense, torch' is fastest at batch 1 and 2; the cut does NOT pay at batch 1 "
                                      "(0.67× dense) and 2 (0.67× dense).")
    two = verdict(results({1: {"dense": 1.0, "sparse": 0.99}}, threads=(1, 2)))
    assert two.startswith("On 1 thread 'cut, compiled' is fastest")
    assert two.count("the cut neither pays nor costs at batch 1 (1.01× dense)") == 2


def test_the_verdict_holds_to_the_ratios_of_the_table():
    found = results({1: {"dense": 1.0, "sparse": 1.0}})
    found["points"][1]["speedup"] = 0.91
    assert verdict(found) == "'dense, torch' is fastest at batch 1; the cut does NOT pay at batch 1 (0.91× dense)."
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(found, console)
    assert re.search(r"cut, compiled +1 .*0\.91×", console.export_text())


@pytest.mark.parametrize(("case", "cut", "expected"), [
    ({"dense": 2, "zeroed": 2, "sparse": 1}, "weight", ("faster", " (2.0× dense)")),
    ({"dense": 2, "sparse": 1, "openvino": 0.5}, "weight", ("slower", " (0.50× openvino)")),
    ({"dense": 1, "sparse": 1.01}, "weight", ("even", " (0.99× dense)")), ({"sparse": 1}, "weight", ("unknown", "")),
    ({"dense": 2, "zeroed": 1, "sparse": 3}, "neuron", ("faster", " (2.0× dense)")),
    ({"dense": 2, "zeroed": 3, "onnxruntime": 1}, "neuron", ("slower", " (0.67× dense)")),
    ({"dense": 2, "zeroed": 2, "sparse": 1}, "neuron", ("even", " (1.00× dense)")),
    ({"sparse": 1, "dense": 2}, "neuron", ("unknown", "")),
    ({"zeroed": 1, "onnxruntime": 2}, "neuron", ("unknown", ""))])
def test_zeros_pay_against_every_engine_and_neurons_against_torch(case, cut, expected):
    assert gain({p["engine"]: p for p in results({1: case})["points"]}, cut) == expected


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width):
    console = Console(width=width, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    show(results(TIMES), console)
    text = console.export_text()
    assert re.search(r"cut, compiled +0\.25 +0\.3 +0\.5 +4,000 +4\.0× 12\.3 MB +–", text)
    assert re.search(r"zeroed, torch +9 ", text)
    assert "batch 64, 1 thread" in text
    assert "90% of them zero; weights 4 kB, 530 B without zeros" in text
    assert f"not timed: openvino: {NO_OPENVINO}" in " ".join(text.split())
    assert "not timed: sparse at batch 64: its outputs differ" in text
    assert "note: a note" in text
    assert "…" not in text


def test_the_figure_has_a_bar_for_every_engine(tmp_path):
    pytest.importorskip("matplotlib")
    paths = figure.write(results(TIMES), tmp_path)
    assert [p.name for p in paths] == ["bench.png", "bench.svg"]
    drawn = figure.draw(results(TIMES))
    assert len(drawn.axes) == 2
    bars = [[bar.get_width() for bar in axes.patches] for axes in drawn.axes]
    assert bars == [list(TIMES[1].values()), list(TIMES[64].values())]
    labels = [t.get_text() for t in drawn.axes[0].texts]
    assert labels == ["1 ms", "1 ms, 1.00×", "0.25 ms, 4.0×", "0.5 ms, 2.0×"]


def test_without_matplotlib_the_command_that_installs_it_is_told(monkeypatch):
    def missing(module):
        raise MissingExtraError(module, "report", "the report")

    monkeypatch.setattr(figure, "need", missing)
    with pytest.raises(MissingExtraError, match=r"the figure of --out needs matplotlib.*secateur\[report\]"):
        figure.check_installed()
