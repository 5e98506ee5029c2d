"""A user's own data: functions, DataLoaders, .npz files, and what is wrong with them."""

import sys
import types

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from secateur import data
from secateur.core.errors import SecateurError
from secateur.data import samples

X, Y = torch.rand(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
TEST_X, TEST_Y = torch.rand(2, 3), torch.tensor([0, 1])
FOUR = (X, Y, TEST_X, TEST_Y)


@pytest.fixture
def own(monkeypatch):
    """Put a value behind the import path ``own_data:make``."""
    def put(made):
        module = types.ModuleType("own_data")
        module.make = made if callable(made) else lambda: made
        monkeypatch.setitem(sys.modules, "own_data", module)
        return "own_data:make"

    return put


def loaders():
    return tuple(DataLoader(TensorDataset(x, y), batch_size=4) for x, y in ((X, Y), (TEST_X, TEST_Y)))


@pytest.mark.parametrize("made", [
    FOUR, list(FOUR), ((X, Y), (TEST_X, TEST_Y)), tuple(t.numpy() for t in FOUR), loaders,
    dict(zip(("train_x", "train_y", "test_x", "test_y"), FOUR, strict=True)), data.dataset("other", *FOUR),
    data.Dataset("unchecked", *FOUR, classes=3),
])
def test_every_form_gives_the_same_data(own, made):
    loaded = data.resolve(own(made))
    assert loaded.digest == data.digest(FOUR)
    assert loaded.classes == 3
    assert torch.equal(loaded.train_x, X)
    assert torch.equal(loaded.test_y, TEST_Y)


@pytest.mark.parametrize(("made", "said"), [
    (None, "returned a NoneType; allowed: a Dataset"),
    ((X, Y, TEST_X), "returned a tuple of 3; allowed"),
    ((X, Y), "returned a Tensor for train or test"),
    ({"train_x": X, "train_y": Y}, "lacks test_x, test_y"),
    ((X, Y, TEST_X, "labels"), "test_y is not a tensor"),
    (([1, 2], [3]), "batches are not"),
    (lambda: 1 / 0, "failed: ZeroDivisionError: division by zero"),
    ((X, Y[:5], TEST_X, TEST_Y), "train_x has 6 samples, train_y has 5 labels"),
    ((X, Y, TEST_X[:, :2], TEST_Y), r"train and test samples differ: \(3,\)"),
    ((X, Y, TEST_X[:0], TEST_Y[:0]), r"test_x has shape \(0, 3\)"),
    ((X, Y - 1, TEST_X, TEST_Y), r"\(integers from 0\); got torch.int64 from -1"),
    ((X, Y + 0.5, TEST_X, TEST_Y), r"\(integers from 0\); got torch.float32"),
    ((X, Y.view(-1, 1), TEST_X, TEST_Y), r"train_y has shape \(6, 1\)"),
    ((X.clone().fill_(torch.nan), Y, TEST_X, TEST_Y), "train_x holds 18 values of 18 that are NaN"),
    ((X > 0, Y, TEST_X, TEST_Y), "train_x is torch.bool"),
    ({**dict(zip(("train_x", "train_y", "test_x", "test_y"), FOUR, strict=True)), "classes": 2},
     "the largest label is 2; allowed are 0 to 1"),
])
def test_mistakes_are_one_line(own, made, said):
    with pytest.raises(SecateurError, match=said) as caught:
        data.resolve(own(made))
    assert "own_data:make" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_import_paths_that_lead_nowhere(own):
    own(FOUR)
    with pytest.raises(SecateurError, match="did you mean 'make'"):
        data.resolve("own_data:mak")
    with pytest.raises(SecateurError, match="cannot import module 'no_such_module'"):
        data.resolve("no_such_module:make")


@pytest.mark.parametrize(("source", "said"), [
    ("def make(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError: division by zero"),
    ("raise RuntimeError('two\\nlines')", r"RuntimeError: two\)"),
])
def test_modules_that_fail_when_imported(tmp_path, monkeypatch, source, said):
    (tmp_path / "failing_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SecateurError, match=f"cannot import module 'failing_module' .*{said}"):
        data.resolve("failing_module:make")
    with pytest.raises(SecateurError, match="cannot import module ''"):
        data.resolve(":make")


def test_bytes_become_fractions_and_whole_numbers_stay(own):
    pixels = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    assert data.dataset("toy", pixels, Y[:1], pixels, Y[:1]).train_x.tolist() == [[0.0, pytest.approx(0.2), 1.0]]
    tokens = torch.tensor([[3, 4]], dtype=torch.int32)
    assert data.dataset("toy", tokens, Y[:1], tokens, Y[:1]).train_x.dtype == torch.int64


@pytest.mark.parametrize("keys", [("train_x", "train_y", "test_x", "test_y"),
                                  ("x_train", "y_train", "x_test", "y_test")])
def test_npz(tmp_path, keys):
    path = tmp_path / "own.npz"
    np.savez(path, classes=4, **{k: t.numpy() for k, t in zip(keys, FOUR, strict=True)})
    loaded = data.resolve(str(path))
    assert (loaded.name, loaded.classes, loaded.digest) == ("own.npz", 4, data.digest(FOUR))


def test_npz_mistakes_are_one_line(tmp_path):
    path = tmp_path / "own.npz"
    with pytest.raises(SecateurError, match=f"'own.npz' in folder {tmp_path}: it is missing"):
        data.resolve(str(path))
    np.savez(path, train_x=X.numpy(), labels=Y.numpy())
    with pytest.raises(SecateurError, match="lacks train_y, test_x, test_y; needed: .*, got: train_x, labels"):
        data.resolve(str(path))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SecateurError, match="not a valid .npz file"):
        data.resolve(str(path))
    np.savez(path, train_x=np.array([{"pickled": 1}], dtype=object))
    with pytest.raises(SecateurError, match="not a valid .npz file of plain arrays"):
        data.resolve(str(path))


def test_digest_sees_every_tensor():
    digests = {data.dataset("toy", *[t + (i == part) for i, t in enumerate(FOUR)]).digest for part in range(4)}
    assert len(digests) == 4


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32,
                                  torch.uint64], ids=str)
def test_labels_of_every_integer_type_are_class_numbers(kind):
    assert data.dataset("toy", X, Y.to(kind), TEST_X, TEST_Y.to(kind)).digest == data.digest(FOUR)
    with pytest.raises(SecateurError, match="the largest label is 2; allowed are 0 to 1"):
        data.dataset("toy", X, Y.to(kind), TEST_X, TEST_Y.to(kind), classes=2)


def test_what_is_shown_to_a_cut_is_made_and_read_once(own, monkeypatch, tmp_path):
    calls = []
    loaded = samples.read(own(lambda: calls.append("called") or FOUR), lambda: None)
    assert (loaded.digest, calls) == (data.digest(FOUR), ["called"])
    load = np.load
    monkeypatch.setattr(np, "load", lambda *args, **named: calls.append("read") or load(*args, **named))
    np.savez(tmp_path / "own.npz", **dict(zip(("x_train", "y_train", "x_test", "y_test"), map(np.asarray, FOUR),
                                              strict=True)))
    loaded = samples.read(str(tmp_path / "own.npz"), lambda: None)
    assert (loaded.digest, calls) == (data.digest(FOUR), ["called", "read"])


def test_samples_are_held_out_in_an_order_that_is_always_the_same(own):
    x = torch.arange(50.0)[:, None]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    for given in (x, x.double().numpy(), {"input": x.tolist()}):
        found = samples.read(own(lambda given=given: given), lambda: None)
        shown, held = (torch.cat([batch.inputs[0] for batch in part]) for part in (found.shown, found.held))
        assert torch.equal(shown, x[order[:40]])
        assert torch.equal(held, x[order[40:]])
