"""The ways into an engine: the fastest is taken, one that fails is left out; OpenVINO's two give the same."""

import pytest
import torch
from torch import nn

from secateur.bench.network import outputs_of
from secateur.bench.ways import fastest_ways
from secateur.measure.compare import difference

BATCHES = {1: (torch.ones(1),), 64: (torch.ones(64),)}


def timer(times):
    """A timer that gives made-up times, by way and batch size."""
    def timed(calls, seconds):
        assert seconds > 0
        return {way: times[way, len(call())] for way, call in calls.items()}

    return timed


def opened(way):
    return lambda inputs: inputs[0]


def test_the_fastest_way_is_taken_at_each_batch():
    # Medians 2 and 3 at batch 1, 9 and 8 at batch 64: one slow round decides nothing.
    times = {("a", 1): [2, 2, 90], ("b", 1): [3, 3, 1], ("a", 64): [9, 9, 9], ("b", 64): [8, 8, 8]}
    assert fastest_ways(opened, ("a", "b"), BATCHES, timer(times)) == {1: "a", 64: "b"}
    equal = {key: [1] for key in times}
    assert fastest_ways(opened, ("b", "a"), BATCHES, timer(equal)) == {1: "b", 64: "b"}


def test_one_way_alone_is_not_timed():
    assert fastest_ways(opened, ("only",), BATCHES, timer({})) == {1: "only", 64: "only"}


def test_a_way_that_fails_is_left_out():
    def open_way(way):
        if way == "cannot open":
            raise ValueError("the file is broken")
        return (lambda inputs: inputs[0].view(1)) if way == "one sample" else opened(way)

    ways = ("cannot open", "one sample", "good")
    timed = timer({("good", 1): [9], ("good", 64): [9]})
    assert fastest_ways(open_way, ways, BATCHES, timed) == {1: "good", 64: "good"}
    with pytest.raises(ValueError, match="the file is broken"):
        fastest_ways(open_way, ways[:2], BATCHES, timer({}))


@pytest.mark.parametrize("faster", ["IR", "ONNX"])
def test_openvino_takes_the_faster_of_two_formats_that_give_the_same(faster, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    from secateur.engines.openvino import OpenVino

    torch.manual_seed(0)
    engine, network = OpenVino(), nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).eval()
    batches = {n: (torch.rand(n, 8),) for n in (1, 3)}
    files = {way: engine.convert(network, batches[3], tmp_path, way) for way in engine.ways(network)}
    assert [path.name for path in files.values()] == ["model.xml", "model.onnx"]
    calls = {way: engine.prepare(path, batches[1], 1, way) for way, path in files.items()}
    with torch.no_grad():
        for inputs in batches.values():
            outputs = {way: outputs_of(call(inputs)) for way, call in calls.items()}
            assert difference(outputs["IR"], outputs["ONNX"]) < 1e-6
            assert difference(outputs["IR"], [network(*inputs)]) < 1e-5
    times = {way: [1.0 if way == faster else 2.0] for way in files}
    assert fastest_ways(calls.__getitem__, files, batches, lambda calls, seconds: times) == {1: faster, 3: faster}


def test_a_file_that_another_engine_wrote_is_not_written_again(tmp_path):
    pytest.importorskip("openvino")
    from secateur.engines.openvino import OpenVino

    network, inputs = nn.Linear(8, 4).eval(), (torch.rand(3, 8),)
    path = OpenVino().convert(network, inputs, tmp_path, "IR")
    path.write_text("as it was")
    assert OpenVino().convert(network, inputs, tmp_path, "IR").read_text() == "as it was"
