"""Inputs of a network without their values, and examples of other batches."""

import json

import pytest
import torch

from secateur.core.errors import SecateurError
from secateur.core.pytree import repeat
from secateur.data.input_spec import InputSpec, TensorSpec

EXAMPLE = {"ids": torch.tensor([[3, 7], [5, 4]]), "mask": torch.tensor([[True, False], [True, True]]),
           "image": torch.rand(2, 3), "scale": 0.5, "more": (None, [torch.tensor(2.0)])}


def test_random_inputs_have_types_shapes_and_bounds_of_the_example():
    drawn = InputSpec.of(EXAMPLE).random()
    assert (drawn["ids"].shape, drawn["ids"].dtype) == ((2, 2), torch.int64)
    assert 3 <= int(drawn["ids"].min()) <= int(drawn["ids"].max()) <= 7
    assert torch.equal(drawn["mask"], EXAMPLE["mask"]) and drawn["mask"] is not EXAMPLE["mask"]
    assert drawn["image"].shape == (2, 3) and not torch.equal(drawn["image"], EXAMPLE["image"])
    assert drawn["scale"] == 0.5 and drawn["more"][0] is None


def test_json_gives_the_same_inputs_and_holds_no_value_of_a_number():
    spec = InputSpec.of(EXAMPLE)
    text = spec.to_json()
    one, other = spec.random(), InputSpec.from_json(text).random()
    assert all(torch.equal(one[name], other[name]) for name in ("ids", "mask", "image"))
    assert InputSpec.from_json(text).to_json() == text
    assert json.loads(text)["dict"][2] == ["image", {"leaf": {"dtype": "float32", "shape": [2, 3]}}]


def test_a_seed_draws_the_same_inputs_again():
    spec = InputSpec(TensorSpec((4, 5)))
    assert torch.equal(spec.random(1), spec.random(1)) and not torch.equal(spec.random(1), spec.random(2))


def test_ranges_and_other_shapes():
    example = [torch.tensor([[-4.0, -2.0]]), torch.tensor([[True, True]]), torch.tensor([[1j, 2j]])]
    real, mask, waves = InputSpec.of(example, ranges=True).random(shapes=[(3, 2), (3, 4), (3, 1)])
    assert real.shape == (3, 2) and float(real.min()) >= -4 and float(real.max()) <= -2
    assert mask.shape == (3, 4) and bool(mask.all())
    assert waves.shape == (3, 1) and set(waves.flatten().tolist()) <= {1j, 2j}


def test_whole_numbers_without_bounds_are_zeros():
    assert InputSpec(TensorSpec((2,), torch.long)).random().tolist() == [0, 0]


@pytest.mark.parametrize("example", [object(), {"x": float("nan")}, {("a", "b"): torch.zeros(1)}])
def test_what_json_cannot_hold_gives_no_text(example):
    assert InputSpec.of(example).to_json() == ""


def test_json_nested_in_another_way_is_refused():
    with pytest.raises(SecateurError, match="an unknown kind of nesting"):
        InputSpec.from_json('{"set": []}')


def test_repeat_begins_again_and_keeps_what_is_no_tensor():
    example = (torch.tensor([[1, 2], [3, 4]]), {"scale": 2.0}, torch.tensor(5))
    rows, scale, single = repeat(example, 3)
    assert rows.tolist() == [[1, 2], [3, 4], [1, 2]] and scale == {"scale": 2.0} and single.item() == 5
    assert repeat(example, 1)[0].tolist() == [[1, 2]]
    assert repeat(example, 3, axis=1)[0].tolist() == [[1, 2, 1], [3, 4, 3]]
    assert repeat(torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last), 3).is_contiguous()
