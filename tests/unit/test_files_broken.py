"""Files that are cut short, altered, foreign or hostile: one clear line, no code run, memory in proportion."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import forged
import pytest
import torch
from support import sweep, tiny
from torch import nn

import secateur as sc
from secateur import files
from secateur.files.native import strict
from secateur.files.native.program import operators
from secateur.files.native.program.network import holder

TESTS = Path(__file__).parent.parent
X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def refused(path, make=None):
    with pytest.raises(sc.SecateurError) as caught:
        sc.load(path, make)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return sc.save(sc.prune(nn.Sequential(nn.Flatten(), nn.Linear(16, 400)), 0.97, skip=()),
                   tmp_path / "net.safetensors", X[:1])


def spoil(path, change):
    path.write_bytes(forged.changed(path.read_bytes(), change))
    return refused(path)


@pytest.mark.parametrize("count", sweep([300, 10_000], {300}.__contains__))
def test_many_broken_files_in_one_process(count):
    done = subprocess.run([sys.executable, TESTS / "fuzzed.py", str(count), "1"], capture_output=True, text=True, env={
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])})
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["refused"] + found["same"] + found["other"] == count
    assert found["refused"] > 0.8 * count and found["same"] > 0.01 * count
    assert found["grown_kib"] * 1024 < 100 * found["largest"] + 2**25


def test_many_names_in_one_object_take_a_time_in_proportion():
    """Comparing each name with each other one, 300,000 of them would take an hour."""
    names = [f'"{i}":0' for i in range(300_000)]
    text = ("{" + ",".join([*names, '"299999":0']) + "}").encode()
    with pytest.raises(sc.SecateurError, match="the header names '299999' twice"):
        strict.read_json(text, "the header")


def test_a_message_does_not_list_thousands_of_names():
    with pytest.raises(sc.SecateurError) as caught:
        strict.fields(dict.fromkeys(map(str, range(10_000))), {"a"}, "the graph")
    assert len(str(caught.value)) < 200 and "(10000)" in str(caught.value)


def test_a_header_is_as_long_as_the_file_allows(tmp_path):
    path = tmp_path / "net.safetensors"
    text = b'{"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}'.ljust(4_300_000)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    assert "the header has 4300000 bytes; allowed in a file of 4300016 bytes are 4268751" in refused(path)
    net = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(3)))
    with pytest.raises(sc.SecateurError, match=r"save: the header has \d+ bytes; allowed in a file of"):
        sc.save(net, tmp_path / "net.safetensors", settings={"note": "x" * 5_000_000})


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("went-off",)


@pytest.mark.parametrize(("kind", "message"), [("pickle", "is a pickle"), ("torch", "is a zip archive"),
                                               ("zip", "is a zip archive"),
                                               ("empty", "is not a valid safetensors file"),
                                               ("text", "is not a valid safetensors file")])
def test_other_files_under_our_name_are_never_opened(kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "torch":
        torch.save({"net": Bomb()}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Bomb()))
    else:
        path.write_text("" if kind == "empty" else "once upon a time")
    assert message in refused(path, tiny)
    assert not (tmp_path / "went-off").exists()


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path, tmp_path / "pipe"):
        told = refused(odd)
        assert "it is a folder or a device" in told and told.count("cannot read") == 1


def test_a_format_of_the_future_names_both(path):
    told = spoil(path, lambda meta, *_: meta.update(format="secateur network 7", secateur="9.1"))
    assert "has format 7, written by secateur 9.1" in told and "reads formats up to 3" in told


@pytest.mark.parametrize(("text", "message"), [
    (b"[" * 5000 + b"]" * 5000, "nests deeper than 64"),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "nests deeper than 64"),
    (b'{"a":' + b"9" * 5000 + b"}", "holds a number of 5000 digits"), (b'{"a": NaN}', "holds NaN"),
    (b'{"a": {}, "a": {}}', "names 'a' twice"), (b"\xff\xfe{}", "is not valid JSON"),
    (b'{"a": {}}', "tensor 'a' has nothing"),
    (b'{"__metadata__": {"a": 1}}', "metadata 'a' is a whole number, allowed is a text")])
def test_headers_that_no_writer_makes(text, message, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert message in refused(path)


@pytest.mark.parametrize(("lines", "message"), [
    ({"a": [0, 4], "b": [2, 6]}, "tensor 'b' begins at byte"), ({"a": [0, 4], "b": [6, 10]}, "tensor 'b' begins at"),
    ({"a": [0, 4], "b": [0, 4]}, "begins at byte"), ({"a": [0, 4]}, "its tensors end at byte"),
    ({"a": [4, 0]}, "needs 4 of them"), ({"a": [0, 2**62]}, "needs 4 of them")])
def test_tensors_that_overlap_or_leave_holes(lines, message, tmp_path):
    told = {n: {"dtype": "U8", "shape": [4], "data_offsets": ends} for n, ends in lines.items()}
    text = json.dumps(told).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(10))
    assert message in refused(path)


def form(path, name):
    return next(t.form for t in files.tell(path).tensors if t.name == name)


def test_bits_rows_and_columns_that_do_not_add_up(tmp_path):
    net = nn.Sequential(nn.Linear(300, 40, bias=False), nn.Linear(40, 41, bias=False))
    path, whole = tmp_path / "net.safetensors", (TESTS / "fixtures" / "sparse-2.safetensors").read_bytes()
    path.write_bytes(whole)
    assert (form(path, "0.weight"), form(path, "1.weight")) == ("csr", "bitmask")

    def broken(name, change):
        def spoil(_, told, data):
            own = bytearray(data[forged.part(told, name)])
            change(own)
            data[forged.part(told, name)] = own
        path.write_bytes(forged.changed(whole, spoil))
        return refused(path, lambda: net)

    assert "positions but" in broken("1.weight:mask", lambda own: own.__setitem__(0, own[0] ^ 1))
    assert "its rows do not add up" in broken("0.weight:rows", lambda own: own.__setitem__(0, 1))
    assert "its rows do not add up" in broken("0.weight:rows", lambda own: own.__setitem__(-1, own[-1] ^ 1))
    assert "it has 300" in broken("0.weight:columns", lambda own: own.__setitem__(slice(0, 2), b"\xff\xff"))
    assert "is declared with" in broken("0.weight:values", lambda own: own.__setitem__(slice(0, 4), bytes(4)))


def test_shapes_beyond_all_bounds_are_refused_before_any_memory_is_asked_for(path):
    def wild(meta, told, data):
        forged.told_tensors(meta, lambda read: read["1.weight"].update(shape=[10**6, 10**6]))

    whole = path.read_bytes()
    assert "is more than 1024 times as many" in spoil(path, wild)
    path.write_bytes(whole)

    for given in ({"form": "csr"}, {"form": "gaps", "gaps": [1, 1, 0, 0, 8]}):
        def empty(meta, told, data, given=given):
            def huge(read):
                read["1.weight"] = {"dtype": "float32", "shape": [1, 10**12], "values": "F32", "nonzeros": 0, **given}
            forged.told_tensors(meta, huge)

        path.write_bytes(whole)
        assert "more than 1024 times" in spoil(path, empty)


@pytest.mark.parametrize("name", [
    "os.system", "aten.from_file.default", "aten.set_.source_Tensor", "aten.empty.memory_format",
    "aten.as_strided.default", "aten.resize_.default", "aten.save.default", "aten.__class__.x", "aten.add.__call__",
    "aten.add.out", "size.pow", "size.__import__", "profiler._record_function_enter.default", "aten.rand.default", ""])
def test_a_graph_names_only_what_is_on_the_list(name, path):
    path.write_bytes(forged.with_program(path.read_bytes(), lambda read: read["calls"][-1].__setitem__(0, name)))
    told = refused(path)
    assert f"operator '{name}' is not allowed in a file" in told


@pytest.mark.parametrize(("change", "message"), [
    (lambda read: read["calls"][0][1].__setitem__(0, {"at": 99}), "refers to value 99, but only"),
    (lambda read: read["calls"][0][1].__setitem__(0, {"at": -1}), "is -1, allowed are whole numbers from 0"),
    (lambda read: read["calls"][0][1].__setitem__(0, {"code": "print()"}), "has an unknown argument"),
    (lambda read: read["tensors"].__setitem__(0, "gone"), "names the tensor 'gone', which the file does not hold"),
    (lambda read: read["takes"]["guards"].append("L['x'] == 1"), "is a text, allowed is a list"),
    (lambda read: read["takes"]["guards"].append(["eval", 1, 2]), "hold an unknown condition"),
    (lambda read: read["takes"]["parameters"].append(["import os", 1, False]), "names that are not valid for a "
                                                                               "function"),
    (lambda read: read["takes"]["parameters"].append(["", 1, False]), "names that are not valid for a function"),
    (lambda read: read.update(gives={"torch.nn.Module": []}), "an unknown kind of nesting"),
    (lambda read: read.update(code="import os"), "needed: calls, example, frozen, gives, parameters, takes, tensors")])
def test_a_graph_that_is_no_graph(change, message, path):
    path.write_bytes(forged.with_program(path.read_bytes(), change))
    assert message in refused(path)


def test_inputs_have_names_and_conditions_that_divide_by_nought_are_refused(path):
    whole = path.read_bytes()
    path.write_bytes(forged.with_program(whole, lambda read: read["takes"]["inputs"]["dict"][0].__setitem__(0, 1)))
    assert "the name of one of" in refused(path)
    path.write_bytes(forged.with_program(whole, lambda read: read["takes"]["guards"].append(["%", 1, 0])))
    with pytest.raises(sc.SecateurError, match=r"condition \(1 % 0\): integer"):
        sc.load(path)(X)


def test_sizes_stay_numbers():
    with pytest.raises(sc.SecateurError, match="allowed are numbers"):
        operators.operation("size.mul")([0], 2**40)
    with pytest.raises(sc.SecateurError, match="beyond 64 bits"):
        operators.operation("size.mul")(2**40, 2**40)
    assert operators.operation("size.floordiv")(7, 2) == 3


def test_names_that_would_reach_into_a_module_are_refused(path):
    def reach(meta, told, data):
        def rename(read):
            read["forward.weight"] = read.pop("1.bias")
        forged.told_tensors(meta, rename)
        told["forward.weight"] = told.pop("1.bias")

    assert "names the tensor '1.bias'" in spoil(path, reach)
    for name in ("forward.weight", "_modules.x", "__class__.x", "1..x", "a.b.c."):
        with pytest.raises(sc.SecateurError, match="is not a valid name for a tensor"):
            holder(nn.Module(), name)


def test_every_difference_is_named(tmp_path):
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(30)), nn.Linear(4, 3))
    path = sc.save(net, tmp_path / "net.safetensors")
    other = [nn.Linear(4, 5 if i == 29 else 4) for i in range(30)]
    told = refused(path, lambda: nn.Sequential(*other, nn.Linear(5, 3), nn.Linear(3, 3)))
    assert "29.weight is [4, 4] in the file but [5, 4] in that network; 29.bias is [4] in the file but [5] " in told
    assert "30.weight is [3, 4] in the file but [3, 5] in that network" in told
    assert "31.bias is [3] in that network but missing from the" in told
    told = refused(path, lambda: nn.Linear(1, 1))
    assert "64 tensors differ" in told and "0…29.weight are [4, 4] in the file but missing from that network" in told
    assert len(told) < 600
