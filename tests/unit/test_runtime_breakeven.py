from __future__ import annotations

import pytest
import torch

from secateur import SecateurError
from secateur.runtime.breakeven import SpeedPoint, break_even, curve
from secateur.runtime.codegen import isa as isas


@pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")
def test_a_curve_has_a_point_for_every_sparsity():
    torch.set_num_threads(1)
    points = curve((32, 48), 4, (0.5, 1.0), rounds=2)
    assert [p.sparsity for p in points] == [0.5, 1.0]
    assert all(p.dense > 0 and p.sparse > 0 for p in points)


def test_break_even_is_where_nothing_beyond_is_slower():
    points = [SpeedPoint(*values) for values in ((0.2, 2.0, 1.0), (0.5, 1.0, 2.0), (0.8, 2.0, 1.0), (0.9, 4.0, 1.0))]
    assert break_even(points) == 0.8
    assert break_even(points[:2]) is None
    assert break_even([]) is None


@pytest.mark.parametrize("wrong", [((0, 3), 1, (0.5,)), ((3, 3), 0, (0.5,)), ((3, 3), 1, (1.5,))])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(SecateurError, match="allowed are positive sizes"):
        curve(*wrong)


@pytest.mark.skipif(not isas.available(), reason="no llvmlite, or no instruction set that it serves")
def test_the_command_prints_a_line_for_every_layer_and_batch():
    from typer.testing import CliRunner

    from secateur.cli import app

    done = CliRunner().invoke(app, ["bench", "--layers", "8x9,5x4", "--batches", "1,3", "--sparsity", "0.5,0.9"])
    assert done.exit_code == 0
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("8x9")
    wrong = CliRunner().invoke(app, ["bench", "--layers", "8"])
    assert isinstance(wrong.exception, SecateurError)
