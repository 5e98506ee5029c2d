"""Every kind of network that can be named recognises its own and nothing else, and says how it is written."""

from dataclasses import replace

import pytest
import safetensors.torch

import secateur as sc
from secateur.core import names, registry
from secateur.core.network_options import Options
from secateur.models import resolve
from secateur.models.loaders.base import Kind

OWN = {"built-in": "mlp", "factory": "support:tiny", "safetensors": "w.safetensors", "pt2": "net.pt2",
       "keras": "net.keras", "timm": "timm:resnet18", "hugging-face": "folder"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", registry.files("loaders"))
def test_a_kind_recognises_its_own_alone(name, folder):
    kind = registry.get("loaders", name)()
    assert isinstance(kind, Kind)
    assert kind.form
    assert type(kind).__doc__
    assert [other for other, text in OWN.items() if kind.recognises(text)] == [name]
    assert type(resolve.kind_of(OWN[name])) is type(kind)
    names.check_network(OWN[name])


@pytest.mark.parametrize("name", registry.files("loaders"))
def test_what_cannot_be_read_is_one_line(name, folder):
    broken = {"built-in": "mlpp", "factory": "support:nothing", "timm": "timm:rsnt18"}.get(name, OWN[name])
    with pytest.raises((sc.SecateurError, ImportError)) as caught:
        resolve.find(broken).make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", registry.files("models"))
@pytest.mark.parametrize("weights", [False, True], ids=["by-name", "weights-of-a-name"])
def test_what_is_printed_to_make_a_built_in_network_again_makes_it(name, weights, tmp_path):
    options = Options(shape=(3, 32, 32), classes=7)
    if weights:
        made = resolve.find(name, options).make()
        safetensors.torch.save_file(made.state_dict(), tmp_path / "w.safetensors")
        name, options = str(tmp_path / "w.safetensors"), replace(options, factory=name)
    source = resolve.find(name, options)
    again = eval(source.again, {"secateur": sc})()
    shapes = [{n: t.shape for n, t in network.state_dict().items()} for network in (source.make(), again)]
    assert type(again) is type(source.make())
    assert shapes[0] == shapes[1]
