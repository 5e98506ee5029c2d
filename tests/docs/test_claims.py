"""The sentences of the README that compare count what they say that they count, on figures that are counted by hand."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import claims


def row(method, sparsity, *accuracies):
    """One method at one sparsity; the seeds are 0, 1, ..."""
    return {"model": "mlp", "data": "mnist", "granularity": "weight", "method": method, "sparsity": sparsity,
            "by_seed": {str(seed): accuracy for seed, accuracy in enumerate(accuracies)}, "cpu_seconds": 2.5}


OURS, PEER = "magnitude + rechoose", "published Wanda"
AHEAD = [row(OURS, 0.9, 0.9, 0.9, 0.9), row(PEER, 0.9, 0.5, 0.5, 0.5)]
LEVEL = [row(OURS, 0.5, 0.9, 0.8, 0.9), row(PEER, 0.5, 0.8, 0.9, 0.9)]
BEHIND = [row(OURS, 0.7, 0.5, 0.5, 0.5), row(PEER, 0.7, 0.9, 0.9, 0.9)]
FEW = [row(OURS, 0.8, 0.9, 0.9), row(PEER, 0.8, 0.5, 0.5)]


@pytest.mark.parametrize(("rows", "told"), [
    (AHEAD + LEVEL + FEW, "1 of 3 comparisons, and measurably less in none"),
    (AHEAD + BEHIND, "1 of 2 comparisons, and measurably less in 1"),
    (LEVEL, "0 of 1 comparisons, and measurably less in none")])
def test_the_claim_counts_who_is_ahead_beyond_the_interval(rows, told):
    assert told in claims.ahead({"rows": rows})


def test_the_claim_names_the_peers_that_were_run():
    text = claims.ahead({"rows": AHEAD + LEVEL + FEW})
    assert "In 1 the difference lies within its 95% interval, and 1 have too few seeds" in text
    assert text.endswith("The other methods are Wanda.")


def test_durations_are_those_of_the_results():
    accuracy = {"rows": [row("magnitude", 0.9, 1), row(OURS, 0.9, 1),
                         row("elimination + reconstruct", 0.5, 1) | {"granularity": "neuron"}]}
    first, again = {"export": 1, "first call and llvmlite": 2}, {"export": 1, "first call and llvmlite": 0.5}
    table = claims.durations(accuracy, {"parameters": 101_000_000, "export_s": 2, "beyond_export_s": 4},
                             {"median": again, "empty_cache": first})
    seconds = [line.split("|")[-2].strip() for line in table.splitlines()[2:]]
    assert seconds == ["2.5", "2.5", "2.5", "6.0", "1.5", "3.0"]


def test_a_missing_result_is_named():
    with pytest.raises(SystemExit, match="no magnitude at 90%"):
        claims.seconds({"rows": []}, "weight", "magnitude", 0.9)
