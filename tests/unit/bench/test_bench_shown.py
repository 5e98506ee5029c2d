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
    assert gain(results({1: case})["points"], cut) == expected


def new_results(case, cut="weight", ruined=()):
    """Results of version 2 at batch 1: for each network and engine the milliseconds of three rounds."""
    base, *_ = case
    titles = {"torch": "torch", "sparse": "compiled", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
              "openvino-default": "OpenVINO", "onnxruntime-int8": "ONNX Runtime"}
    less = {"openvino-default": "bfloat16", "onnxruntime-int8": "int8"}
    rows = []
    for (network, engine), rounds in case.items():
        ratios = sorted(a / b for a, b in zip(case[base], rounds, strict=True))
        speed = {} if (network, engine) == base else {"speedup": ratios[1]}
        rounded = {"precision": less[engine], "error": 0.02, "agreement": {
            "error": 0.0049, "cosine": 0.99, "samples": 64, "same": 0.75}} if engine in less else {
            "precision": "float32", "error": 1e-6}
        rounded |= {"ruined": True} if engine in ruined else {}
        rows.append({"engine": engine, "network": network, "threads": 1, "batch": 1, "p50": sorted(rounds)[1] / 1e3,
                     "p90": 0.1, "p99": 0.1, "calls": 1000, "samples_per_s": 9.0, "against": " ".join(base),
                     "rounds": rounds, **rounded, **speed})
    memory = [{**{key: r[key] for key in ("engine", "network", "threads", "precision")}, "peak_bytes": 1000,
               "held_bytes": 1000, "told": "ONNX" if r["engine"] == "openvino" else ""} for r in rows]
    return {**results({1: {"dense": 1.0}}, cut), "points": rows, "memory": memory,
            "engines": {name: {"title": title, "version": "1"} for name, title in titles.items()}}


def said(case, cut="weight", ruined=()):
    return verdict(new_results({tuple(name.split()): rounds for name, rounds in case.items()}, cut, ruined))


def test_the_cut_is_judged_by_the_fastest_engine_of_the_original():
    # OpenVINO takes 41.7 ms by one way and 21.8 by another; the cut takes 20: 21.8 / 20 = 1.09, not 41.7 / 20 = 2.1,
    # nor 38.4 / 20 = 1.92.
    case = {"original torch": [38.4] * 3, "original openvino": [21.8] * 3, "cut sparse": [20.0] * 3}
    assert said(case) == ("'cut, compiled' is fastest at batch 1 (1.92× original torch); the cut pays at batch 1 "
                          "(1.09× original openvino).")
    slow = {"original torch": [41.7] * 3, "original onnxruntime": [21.8] * 3, "cut sparse": [25.0] * 3}
    assert "the cut does NOT pay at batch 1 (0.87× original onnxruntime)" in said(slow)
    # What compiling gains without a cut is not the cut's: 10 / 10.
    compiled = {"original torch": [40.0] * 3, "original sparse": [10.0] * 3, "cut sparse": [10.0] * 3}
    assert "the cut neither pays nor costs at batch 1 (1.00× original sparse)" in said(compiled)


def test_smaller_networks_are_compared_each_in_its_fastest_engine():
    case = {"original torch": [9.0] * 3, "original openvino": [4.0] * 3, "cut torch": [3.0] * 3,
            "cut openvino": [2.0] * 3}
    assert "the cut pays at batch 1 (2.0× original openvino)" in said(case, "neuron")
    # ONNX Runtime ran the cut network alone: its 1 ms may be its own gain, torch's 9 / 3 is the cut's.
    alone = {"original torch": [9.0] * 3, "cut torch": [3.0] * 3, "cut onnxruntime": [1.0] * 3}
    assert "the cut pays at batch 1 (3.0× original torch)" in said(alone, "neuron")


def test_a_difference_within_the_spread_of_the_rounds_is_no_gain():
    # Ratios 2 / 1, 2 / 1.8 and 2 / 4: the median is 1.11, the quartiles are (0.5 + 1.11) / 2 and (1.11 + 2) / 2.
    noise = {"original torch": [2.0, 2.0, 2.0], "cut sparse": [1.0, 1.8, 4.0]}
    assert "the cut neither pays nor costs at batch 1 (1.11×, quartiles 0.81× to 1.56×, original torch)" in said(noise)
    # Ratios 1.25, 1.11 and 1.05: all above 1.
    steady = {"original torch": [2.0, 2.0, 2.0], "cut sparse": [1.6, 1.8, 1.9]}
    assert "the cut pays at batch 1 (1.11× original torch)" in said(steady)


def test_where_int8_alone_is_faster_than_the_cut_the_verdict_says_quantise():
    # The cut is 8 / 4 = 2.0 times as fast as torch, the original in int8 8 / 2 = 4.0 times: the cut is 2 / 4 of that.
    case = {"original torch": [8.0] * 3, "cut sparse": [4.0] * 3, "original onnxruntime-int8": [2.0] * 3}
    assert said(case) == ("'original, ONNX Runtime, int8' is fastest at batch 1 (4.0× original torch); quantise, do "
                          "not prune, at batch 1 (the cut: 0.50× original onnxruntime-int8); in float32 alone 'cut, "
                          "compiled' is fastest at batch 1 (2.0× original torch), and the cut pays at batch 1 (2.0× "
                          "original torch).")
    # The same outputs, but too far from those in float32: int8 decides nothing.
    assert said(case, ruined=("onnxruntime-int8",)) == (
        "'cut, compiled' is fastest at batch 1 (2.0× original torch); the cut pays at batch 1 (2.0× original torch).")


def test_a_cut_pays_where_it_beats_int8_too():
    case = {"original torch": [8.0] * 3, "original onnxruntime-int8": [2.0] * 3, "cut sparse": [1.0] * 3}
    assert said(case) == ("'cut, compiled' is fastest at batch 1 (8.0× original torch); the cut pays at batch 1 (2.0× "
                          "original onnxruntime-int8); in float32 alone the cut pays at batch 1 (8.0× original torch).")
    # Fewer neurons, both in int8: 2 / 1.
    small = {"original torch": [8.0] * 3, "original onnxruntime-int8": [2.0] * 3, "cut torch": [4.0] * 3,
             "cut onnxruntime-int8": [1.0] * 3}
    assert "the cut pays at batch 1 (2.0× original onnxruntime-int8); in float32 alone" in said(small, "neuron")


def test_bfloat16_that_is_faster_than_the_cut_is_named():
    case = {"original torch": [9.0] * 3, "original openvino": [6.0] * 3, "original openvino-default": [2.0] * 3,
            "cut sparse": [3.0] * 3}
    assert "; use bfloat16, do not prune, at batch 1 (the cut: 0.67× original openvino-default); in" in said(case)
    slower = {**case, "original openvino-default": [4.0] * 3}
    assert "do not prune" not in said(slower)
    only = {"original openvino-default": [2.0] * 3}
    assert said(only, "") == "'original, OpenVINO, bfloat16' is fastest at batch 1; nothing was cut."
    assert said(only, "", ruined=("openvino-default",)) == (
        "No engine's outputs are within the tolerance; nothing was cut.")


def test_without_the_original_the_verdict_is_about_the_cut_network_alone():
    found = said({"cut torch": [3.0] * 3, "cut openvino": [1.5] * 3}, "neuron")
    assert found == ("'cut, OpenVINO' is fastest at batch 1 (2.0× cut torch); the original was not timed, so "
                     "whether the cut pays is not known.")


def test_the_table_shows_both_networks_how_they_ran_and_how_precise():
    case = {("original", "torch"): [9.0] * 3, ("original", "openvino"): [6.0] * 3,
            ("original", "openvino-default"): [2.0] * 3, ("cut", "sparse"): [3.0] * 3}
    found = new_results(case)
    found["network"]["agreement"] = {"error": 0.3, "cosine": 0.9, "samples": 64, "accuracy": [0.975, 0.96]}
    found["refused"] = [{"engine": "openvino", "network": "original", "threads": 1, "batch": None, "reason": "no way"},
                        {"engine": "onnxruntime", "network": "", "threads": 1, "batch": None, "reason": "not there"}]
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(found, console)
    text = " ".join(console.export_text().split())
    for shown in ("× original torch", "original, torch 9 ", "original, OpenVINO 6 ", "original, OpenVINO, bfloat16 2 ",
                  " 0.49% ", "cut, compiled 3 ", "how engines ran, the fastest of their ways: original, OpenVINO: ONNX",
                  "original, OpenVINO, bfloat16 at batch 1: relative error 0.0049, cosine 0.9900, the same class in "
                  "75% of the rows (64 samples)", "the cut network beside the original, both in torch: accuracy 97.5% "
                  "of the original, 96% of the cut, relative error 0.3", "not timed: original openvino: no way",
                  "not timed: onnxruntime: not there"):
        assert shown in text, shown
    pytest.importorskip("matplotlib")
    axes = figure.draw(found).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "original, torch", "original, OpenVINO", "original, OpenVINO, bfloat16", "cut, compiled"]


def test_what_is_too_far_off_is_marked_and_never_in_bold():
    case = {("original", "torch"): [9.0] * 3, ("original", "onnxruntime-int8"): [2.0] * 3}
    found = new_results(case, ruined=("onnxruntime-int8",))
    console = Console(width=160, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(found, console)
    lines = console.export_text(styles=True).splitlines()
    bold = [line for line in lines if "\x1b[1m" in line]
    assert any("original, torch" in line for line in bold)
    assert not any("int8" in line for line in bold)
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", " ".join(lines)).split())
    assert "original, ONNX Runtime, int8 ! 2 " in text
    assert "; ! TOO FAR from float32 (allowed: outputs within 15% of their length, with labels also the same" in text


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
