"""Every data set of the folder fulfils the contract; one whose files are not here is skipped, saying so."""

import pytest
import torch

from secateur import data
from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.data.datasets import _download
from secateur.data.datasets.base import Source


@pytest.fixture
def offline(monkeypatch):
    def refuse(_self, url, _target, _pooch):
        raise ConnectionError(url)

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", refuse)


@pytest.fixture(params=registry.files("data"))
def loaded(request, offline):
    try:
        return data.resolve(request.param)
    except SecateurError as error:
        if "could not be fetched" not in str(error):
            raise
        pytest.skip(f"files of {request.param} are not on this machine")


def test_fulfils_the_contract(loaded):
    for x, y in ((loaded.train_x, loaded.train_y), (loaded.test_x, loaded.test_y)):
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        assert len(x) == len(y)
        assert 0.0 <= float(x.min()) < float(x.max()) <= 1.0
        assert x.shape[1:] == loaded.shape
    assert torch.equal(loaded.train_y.unique(), torch.arange(loaded.classes))
    assert data.digest(getattr(loaded, part) for part in ("train_x", "train_y", "test_x", "test_y")) == loaded.digest


@pytest.mark.parametrize("name", registry.files("data"))
def test_each_file_is_one_documented_source(name):
    source = registry.get("data", name)
    assert issubclass(source, Source)
    assert source.__doc__
    assert source.load.__doc__


@pytest.mark.parametrize("name", [n for n in registry.files("data") if n != "digits"])
def test_offline_says_where_to_put_the_files(name, offline, monkeypatch, tmp_path):
    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path))
    monkeypatch.setattr(_download, "checkout_folder", lambda name: tmp_path / "none")
    monkeypatch.setattr("secateur.data.datasets.fashion_mnist.DEBIAN", str(tmp_path / "none"))
    with pytest.raises(SecateurError, match="could not be fetched") as caught:
        data.resolve(name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(SecateurError, match="did you mean 'mnist'"):
        data.resolve("mnits")
