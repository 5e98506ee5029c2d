"""Exported programs that somebody made to take over the process: each with a canary that would show it."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hostile import EVIL, Bomb, member, packed, with_graph
from support import secateur, tiny

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.models import resolve
from secateur.models.loaders._archive import read_checked
from secateur.models.loaders._sizes import plain

TRUSTED = Options(trust=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The members of a whole program."""
    path = tmp_path_factory.mktemp("whole") / "net.pt2"
    torch.manual_seed(0)
    program = torch.export.export(tiny().eval(), (torch.rand(2, 1, 4, 4),),
                                  dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(raw, message):
    Path("net.pt2").write_bytes(raw)
    with pytest.raises(SecateurError, match=message) as caught:
        resolve.find("net.pt2", TRUSTED)
    assert str(caught.value).isprintable()
    assert sorted(p.name for p in Path().iterdir()) == ["net.pt2"]


def test_a_program_is_opened_where_it_is_trusted_alone(whole, tmp_path):
    Path("net.pt2").write_bytes(packed(whole))
    for call in (lambda: resolve.find("net.pt2"), lambda: sc.models.network("net.pt2")):
        with pytest.raises(SecateurError, match=r"is a program .*--trust \(in Python trusted=True"):
            call()
    assert isinstance(sc.models.network("net.pt2", trusted=True), torch.nn.Module)
    for words in (["export", "net.pt2"], ["bench", "net.pt2"], ["prune", "net.pt2", "--sparsity", "0.5"]):
        done = secateur(*words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "--trust" in done.stderr
    assert os.listdir() == ["net.pt2"]


def test_info_without_trust_lists_the_members_and_opens_nothing(whole, tmp_path):
    bad = whole | {"net/data/constants/custom_obj_0": pickle.dumps(Bomb()), f"net/extra/{EVIL}": b"123456"}
    Path("net.pt2").write_bytes(packed(bad))
    done = secateur("info", "net.pt2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "custom_obj_0" in done.stdout and f"{len(bad)} members" in done.stdout
    assert "\\x1b]0;owned\\x07\\u202egpj" in done.stdout and not set("\x1b\x07\u202e") & set(done.stdout)
    assert os.listdir() == ["net.pt2"]


@pytest.mark.parametrize("value", [1, 1.0, "true", "x", [0], True])
def test_a_pickled_tensor_is_refused_whatever_says_so(whole, value):
    config = member(whole, "model_weights_config.json")
    told = json.loads(whole[config])
    payload = next(iter(told["config"].values()))
    payload["use_pickle"] = value
    made = io.BytesIO()
    torch.save(Bomb(), made)
    stored = member(whole, f"weights/{payload['path_name']}")
    refused(packed(whole | {config: json.dumps(told), stored: made.getvalue()}), "a pickled tensor")


@pytest.mark.parametrize("name", [
    "data/constants/custom_obj_0", "data/constants/opaque_obj_0", "data/weights/model.pt", "data/constants/model.pt",
    "data/aotinductor/model/a.so", "serialized_exported_program.json", "models/other.json", "data.pkl", "code/x.py"])
def test_a_member_that_is_not_known_is_refused(whole, name):
    refused(packed(whole | {f"net/{name}": pickle.dumps(Bomb())}), "a pickle or compiled code")


def test_two_directories_in_one_archive_show_torch_what_was_checked(whole):
    """Two archives of the same layout, one behind the other: Python reads the second, torch the place in the file that
    the second one's end names, which is the directory of the first."""
    config, stored = member(whole, "model_weights_config.json"), member(whole, "weights/weight_0")
    twin = packed(whole | {config: whole[config].replace(b'"use_pickle": false', b'"use_pickle": true '),
                           stored: pickle.dumps(Bomb()).ljust(len(whole[stored]), b"\0")})
    clean = packed(whole)
    assert len(twin) == len(clean)
    Path("net.pt2").write_bytes(twin + clean)
    found = resolve.find("net.pt2", TRUSTED).make()
    assert not Path("hit").exists()
    kept = torch.frombuffer(bytearray(whole[stored]), dtype=torch.float32)
    assert any(torch.equal(p.flatten(), kept) for p in found.parameters())


def test_what_torch_reads_is_written_anew(whole):
    hidden = b"hidden behind the archive"
    Path("net.pt2").write_bytes(packed(whole | {"net/extra/more": b"left out"}))
    with zipfile.ZipFile("net.pt2", "a") as archive:
        archive.comment = hidden
    seen = read_checked(Path("net.pt2")).getvalue()
    assert hidden not in seen and b"left out" not in seen and b"stack_trace" not in seen
    assert {n.partition("/")[2] for n in zipfile.ZipFile(io.BytesIO(seen)).namelist()} == {
        n.partition("/")[2] for n in whole if "serialization_id" not in n}


@pytest.mark.parametrize("target", [
    "torch.ops.aten.from_file.default", "torch.ops.aten._load_state.default", "torch.ops.aten.set_.source_Storage",
    "torch.ops.aten.resize_.default", "torch.ops.aten.add.out", "torch.ops.aten.__class__.default",
    "torch.ops.profiler._record_function_enter.default", "torch.ops.higher_order.call_torchbind", "torch.load",
    "torch.ops.load_library", "_operator.pow", "_operator.attrgetter", "_operator.methodcaller", "math.factorial",
    "torch.sym_not.__globals__", "#x:y", "os.system", "torch.ops.aten.relu.default\n"])
def test_an_operator_that_is_not_known_is_refused(whole, target, tmp_path):
    (tmp_path.parent / "mine").write_bytes(b"kept")

    def change(graph):
        node = graph["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": "filename", "arg": {"as_string": "../mine"}, "kind": 1},
                          {"name": "shared", "arg": {"as_bool": True}, "kind": 1}]

    refused(packed(with_graph(whole, change)), "allowed are operators of torch")
    assert (tmp_path.parent / "mine").read_bytes() == b"kept"


@pytest.mark.parametrize("text", [
    "9**9**9**9", "s0**2", "Pow(Integer(9), Integer(9))", "Pow(Pow(Symbol('s0'), Integer(8)), Integer(8))",
    "Pow(Symbol('s0'), Integer(9))", "Pow(Symbol('s0'), Symbol('s1'))", "Pow(s0, Pow(Integer(9), Integer(9)))",
    "1 << 999999999", "Symbol('s0', __class__=1)", "Symbol('__import__(1)')", "Integer('9**9**9')", "s0.__class__",
    "[1 for x in s0]", "L['x'].size()[0].real", "L[0:9]", "(lambda: 1)()", "f'{s0}'", "Max(*s0)", "Max(**s0)",
    "\u2160", "factorial(9)", "1 if s0 else 2", "(s0 := 1)", "'a' * 9", "9" * 40, "(" * 300 + "1" + ")" * 300,
    "-" * 9000 + "1", "s0 + " * 9000 + "1", "", "s0;", "s0 # x\n", "print", "eval", "Max(1, evil=s0)"])
def test_a_text_that_is_no_size_is_not_evaluated(text):
    assert not plain(text)


@pytest.mark.parametrize("text", [
    "Add(Mul(Integer(3), FloorDiv(Add(Symbol('s27', positive=True, integer=True), Integer(-3)), Integer(2))))",
    "Mul(Integer(2), Pow(Symbol('s27', positive=True, integer=True), Integer(2)))", "L['x'].size()[1] >= 3",
    "(1 + (((-3) + L['x'].size()[1]) // 2)) != 1", "L['x'].size()[0] <= L['y']['z'][0].size()[0] and not s0 % 2 == 1",
    "Max(1, s0//2)", "L['x'].stride()[0] == 4", "L['x'].storage_offset() == 0", "L['x'].dtype == torch.float32"])
def test_what_torch_writes_is_a_size(text):
    assert plain(text)


def test_a_tower_of_powers_is_refused_at_once(whole):
    def change(graph):
        value = graph["graph_module"]["graph"]["tensor_values"]
        next(iter(value.values()))["sizes"][0] = {"as_expr": {"expr_str": "9**9**9**9", "hint": {"as_int": 2}}}

    refused(packed(with_graph(whole, change)), r"has the size '9\*\*9\*\*9\*\*9'")


def test_an_archive_that_unpacks_to_more_than_it_has_is_refused_before_it_is_unpacked(whole, monkeypatch):
    heavy = member(whole, "weights/weight_0")
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("a member was unpacked"))
    raw = packed(whole | {heavy: bytes(30_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(raw) < 100_000
    refused(raw, rf"has {len(raw)} bytes and unpacks to 300\d{{5}}; allowed are uncompressed files")


@pytest.mark.parametrize(("sizes", "message"), [
    ([2**40], "should have 1099511627776 values, but has bytes for 192"), ([2**33, 2**33], "should have"),
    ([-1], "where a size belongs"), ([True], "where a size belongs")])
def test_a_tensor_without_its_bytes_is_refused(whole, sizes, message):
    config = member(whole, "model_weights_config.json")
    told = json.loads(whole[config])
    meta = next(iter(told["config"].values()))["tensor_meta"]
    meta["sizes"], meta["strides"] = [{"as_int": n} for n in sizes], [{"as_int": 0} for _ in sizes]
    refused(packed(whole | {config: json.dumps(told)}), message)


@pytest.mark.parametrize("field", ["sizes", "strides", "dtype", "storage_offset"])
def test_a_tensor_of_which_something_is_not_told_is_refused(whole, field):
    config = member(whole, "model_weights_config.json")
    told = json.loads(whole[config])
    del next(iter(told["config"].values()))["tensor_meta"][field]
    refused(packed(whole | {config: json.dumps(told)}), f"lacks the field '{field}' in stored_tensor")


@pytest.mark.parametrize("kind", ["class", "zipped", "expanded"])
def test_an_example_that_is_more_than_tensors_is_refused(whole, kind):
    made, name = io.BytesIO(), member(whole, "sample_inputs/model.pt")
    torch.save({"class": (Bomb(),), "zipped": ((torch.zeros(3_000_000),), {}),
                "expanded": ((torch.zeros(1).expand(2**40),), {})}[kind], made)
    raw = made.getvalue()
    if kind == "zipped":
        with zipfile.ZipFile(made) as inner:
            raw = packed({i.filename: inner.read(i) for i in inner.infolist()}, zipfile.ZIP_DEFLATED)
    message = {"class": "only by running code", "zipped": "unpacks to more", "expanded": "of 1099511627776 values"}
    refused(packed(whole | {name: raw}), message[kind])


@pytest.mark.parametrize(("where", "value", "message"), [
    ("in_spec", '[1, {"type": "builtins.dict", "context": "[{\\"__enum__\\": true, \\"fqn\\": \\"hit:X\\"}]", '
                '"children_spec": []}]', "nests its inputs"),
    ("in_spec", '[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]', "nests its inputs"),
    ("in_spec", 3, "allowed is a text"), ("forward_arg_names", [EVIL], "plain text belongs")])
def test_the_nesting_of_inputs_names_no_module(whole, where, value, message):
    def change(graph):
        graph["graph_module"]["module_call_graph"][0]["signature"][where] = value

    Path("hit.py").write_text("open('worked', 'w')\n")
    Path("net.pt2").write_bytes(packed(with_graph(whole, change)))
    with pytest.raises(SecateurError, match=message):
        resolve.find("net.pt2", TRUSTED)
    assert not Path("worked").exists()


@pytest.mark.parametrize("change", [
    lambda graph: graph.update(more="something"), lambda graph: graph["graph_module"]["graph"].update(nodes={"a": 1}),
    lambda graph: graph["graph_module"]["graph"]["nodes"][0]["inputs"].append(
        {"name": "a", "arg": {"as_custom_obj": {"name": "a", "class_fqn": "b"}}, "kind": 1}),
    lambda graph: graph["graph_module"]["graph"]["nodes"][0]["inputs"].append(
        {"name": "a", "arg": {"as_int": 1.0}, "kind": 1}),
    lambda graph: graph["graph_module"]["graph"].update(custom_obj_values={"a": {"name": "a", "class_fqn": "b"}})])
def test_a_field_or_a_type_that_is_not_known_is_refused(whole, change):
    refused(packed(with_graph(whole, change)), "unknown|belongs")
