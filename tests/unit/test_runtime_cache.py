"""What is kept of kernels: planted code never runs, and what is damaged, strange or open to others is made anew."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from secateur import runtime
from secateur.runtime.codegen import cache, isa, private

pytestmark = [pytest.mark.skipif(not isa.available(), reason="no llvmlite, or no instruction set that it serves"),
              pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users by number")]
as_root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives folders away")
STRANGER = 12345


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setattr(cache, "_warn_once", functools.cache(cache._warn_once.__wrapped__))
    private.temporary.cache_clear()
    yield
    private.temporary.cache_clear()


@pytest.fixture
def box(tmp_path, monkeypatch):
    """The folder of the cache, below one that a test may open to others."""
    place = tmp_path / "above" / "kernels"
    place.mkdir(mode=0o700, parents=True)
    os.chmod(place.parent, 0o700)
    monkeypatch.setenv("SECATEUR_CACHE", str(place))
    return place


class Canary:
    """The key and the object code of the driver of all kernels, planted: it only writes 42 to an address."""

    def __init__(self, monkeypatch):
        from llvmlite import binding

        from secateur.runtime.codegen import jit
        from secateur.runtime.codegen.kernels.driver import Driver

        self.sung, self.isa = ctypes.c_int64(0), isa.pick()
        self.key = cache.key(repr(Driver()), repr(self.isa), cache.generator(), str(binding.llvm_version_info))
        self.name = f"driver_{hashlib.sha256(self.key.encode()).hexdigest()[:16]}"
        self.file = f"{self.key}.o"
        # Nothing of this process is in memory, so that the code comes from the disk or from the compiler.
        monkeypatch.setattr(jit, "_LOADED", {})
        monkeypatch.setattr(jit, "_engine", functools.cache(jit._engine.__wrapped__))

    def code(self, name=None, more=""):
        from secateur.runtime.codegen import jit

        place = f"inttoptr (i64 {ctypes.addressof(self.sung)} to ptr)"
        return jit.emit(f"define void @{name or self.name}(ptr %0) {{ store i64 42, ptr {place} {more} ret void }}",
                        self.isa)

    def plant(self, place, code=None):
        """Write the file as the package itself writes it, into a folder that is private until then."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SECATEUR_CACHE", str(place))
            cache.write(self.file, self.code() if code is None else code)

    def run(self):
        """Whether planted code ran when a network was compiled and called; its outputs are checked where none did."""
        net, x = nn.Sequential(nn.Linear(8, 5), nn.ReLU()).eval(), torch.randn(3, 8)
        fast = runtime.compile(net, x, always=True, budget=0)(x)
        if not self.sung.value:
            with torch.no_grad():
                torch.testing.assert_close(fast, net(x), rtol=1e-4, atol=1e-5)
        return bool(self.sung.value)


def test_the_canary_sings_where_the_folder_is_trusted(box, monkeypatch):
    canary = Canary(monkeypatch)
    canary.plant(box)
    assert canary.run(), "or the tests below would prove nothing"


def give_away(path):
    os.chown(path, STRANGER, STRANGER)


OPENINGS = {
    "others may write": lambda box: os.chmod(box, 0o707),
    "the group may write": lambda box: os.chmod(box, 0o770),
    "all may write": lambda box: os.chmod(box, 0o777),
    "sticky, and all may write": lambda box: os.chmod(box, 0o1777),
    "the group may write but not read": lambda box: os.chmod(box, 0o720),
    "others may read": lambda box: os.chmod(box, 0o755),
    "the group may look for names": lambda box: os.chmod(box, 0o710),
    "others may write to its parent": lambda box: os.chmod(box.parent, 0o757),
    "the group may write to its parent": lambda box: os.chmod(box.parent, 0o775),
}
GIFTS = {
    "another's": give_away,
    "another's parent": lambda box: give_away(box.parent),
    "another's sticky parent": lambda box: (os.chmod(box.parent, 0o1777), give_away(box.parent)),
}


@pytest.mark.parametrize("how", [*OPENINGS, *(pytest.param(name, marks=as_root) for name in GIFTS)])
def test_code_in_a_folder_that_others_can_change_does_not_run(box, monkeypatch, how):
    canary = Canary(monkeypatch)
    canary.plant(box)
    (OPENINGS | GIFTS)[how](box)
    before = {file.name: file.read_bytes() for file in box.iterdir()}
    with pytest.warns(RuntimeWarning, match=r"kernels cannot be cached in '.*': .*(mode|belongs|others may)") as notes:
        assert not canary.run()
    assert len([n for n in notes if "cannot be cached" in str(n.message)]) == 1
    assert {file.name: file.read_bytes() for file in box.iterdir()} == before, "nothing is written there either"


def test_a_link_in_place_of_the_folder_is_not_followed(box, monkeypatch):
    canary = Canary(monkeypatch)
    canary.plant(box)
    link = box.with_name("link")
    link.symlink_to(box)
    monkeypatch.setenv("SECATEUR_CACHE", str(link))
    with pytest.warns(RuntimeWarning, match="it is a link"):
        assert not canary.run()


def test_links_above_the_folder_are_judged_by_what_they_lead_to(box, tmp_path, monkeypatch):
    canary = Canary(monkeypatch)
    canary.plant(box)
    link = tmp_path / "link"
    link.symlink_to(box.parent)
    monkeypatch.setenv("SECATEUR_CACHE", str(link / box.name))
    assert cache.folder() == box
    os.chmod(box.parent, 0o777)
    with pytest.warns(RuntimeWarning, match="others may write to '.*above'"):
        assert not canary.run()


def test_a_sticky_parent_is_good_enough(box):
    os.chmod(box.parent, 0o1777)
    assert cache.folder() == box


def test_folders_that_are_missing_are_made_for_the_user_alone(tmp_path, monkeypatch):
    before = os.umask(0o002)
    try:
        monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "a" / "b" / "c"))
        cache.write("name", b"body")
    finally:
        os.umask(before)
    assert cache.read("name") == b"body"
    assert [oct(p.stat().st_mode & 0o777) for p in (tmp_path / "a", tmp_path / "a" / "b" / "c")] == ["0o700"] * 2


@pytest.mark.parametrize("how", ["a file", "below a file", "a loose link"])
def test_a_place_where_no_folder_can_be_is_no_error(box, monkeypatch, how):
    (box / "file").write_text("x")
    (box / "link").symlink_to(box / "nowhere")
    place = {"a file": box / "file", "below a file": box / "file" / "x", "a loose link": box / "link"}[how]
    monkeypatch.setenv("SECATEUR_CACHE", str(place))
    with pytest.warns(RuntimeWarning, match="cannot be cached"):
        cache.write("name", b"body")
    assert cache.read("name") == b"body", "in the temporary folder"
    assert not (box / "nowhere").exists()


def test_the_temporary_folder_is_private_and_goes_at_exit(box, monkeypatch):
    os.chmod(box, 0o777)
    script = ("import os, sys; from secateur.runtime.codegen import cache; cache.write('n', b'x'); f = cache.folder();"
              "assert cache.read('n') == b'x'; print(f, oct(f.stat().st_mode & 0o777), flush=True);"
              "child = os.fork(); child or sys.exit(0); os.waitpid(child, 0); assert f.exists()")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env={**os.environ, "TMPDIR": str(box.parent)})
    place, mode = done.stdout.split()
    assert mode == "0o700"
    assert Path(place).parent == box.parent
    assert not Path(place).exists()
    assert done.stderr.count("kernels cannot be cached") == 1


def test_a_temporary_folder_that_others_can_replace_is_not_used(box, monkeypatch):
    os.chmod(box, 0o777)
    monkeypatch.setattr(private.tempfile, "tempdir", str(box))
    with pytest.warns(RuntimeWarning, match="cannot be cached"):
        cache.write("name", b"body")
    assert cache.read("name") is None
    canary = Canary(monkeypatch)
    assert not canary.run(), "without any folder, kernels are made for the process alone"


def test_a_temporary_folder_that_was_taken_away_is_not_trusted(box, monkeypatch):
    os.chmod(box, 0o777)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = cache.folder()
        place.rmdir()
        place.mkdir()
        os.chmod(place, 0o777)
        assert cache.read("name") is None
        with pytest.raises(OSError, match="mode"):
            cache.folder()


def strange_files(canary, tmp_path):
    """Ways to put something in place of a kept file, by name."""
    good = canary.code()
    elsewhere = tmp_path / "elsewhere"

    def replaced(make):
        def act(file):
            content = file.read_bytes()
            file.unlink()
            make(file, content)
        return act

    def link(file, content):
        elsewhere.write_bytes(content)
        file.symlink_to(elsewhere)

    return {
        "a link": replaced(link), "a pipe": replaced(lambda file, _: os.mkfifo(file)),
        "a folder": replaced(lambda file, _: file.mkdir()),
        "a loose link": replaced(lambda file, _: file.symlink_to("nowhere")),
        "a device": replaced(lambda file, _: file.symlink_to("/dev/zero")),
        "open to the group": lambda file: os.chmod(file, 0o660), "open to all": lambda file: os.chmod(file, 0o666),
        "empty": lambda file: file.write_bytes(b""), "short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
        "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
        "huge": lambda file: os.truncate(file, 1 << 31), "no digest": lambda file: file.write_bytes(good),
        "the older digest": lambda file: file.write_bytes(hashlib.sha256(good).digest() + good),
        "a changed byte": lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\xff"),
        "the file of another name": lambda file: (
            cache.write("other", good), file.write_bytes((cache.folder() / "other").read_bytes()))}


@pytest.mark.parametrize("how", [
    "a link", "a pipe", "a folder", "a loose link", "a device", "open to the group", "open to all", "empty", "short",
    "longer", "huge", "no digest", "the older digest", "a changed byte", "the file of another name"])
def test_a_strange_file_in_a_good_folder_is_made_anew(box, tmp_path, monkeypatch, how):
    canary = Canary(monkeypatch)
    canary.plant(box)
    strange_files(canary, tmp_path)[how](box / canary.file)
    assert cache.read(canary.file) is None
    assert not canary.run()
    assert how == "a folder" or cache.read(canary.file) is not None


@as_root
def test_the_file_of_another_user_is_made_anew(box, monkeypatch):
    canary = Canary(monkeypatch)
    canary.plant(box)
    give_away(box / canary.file)
    assert not canary.run()


def test_object_code_of_another_function_is_made_anew(box, monkeypatch):
    canary = Canary(monkeypatch)
    canary.plant(box, canary.code(name="driver_of_others"))
    assert not canary.run()


@pytest.mark.parametrize("code", [b"", b"\x7fELF", b"x" * 5000, bytes(5000)])
def test_bytes_that_are_no_object_are_made_anew(box, monkeypatch, code):
    canary = Canary(monkeypatch)
    canary.plant(box, code)
    assert not canary.run()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b"9" * 100_000, b"nonsense"])
def test_json_that_is_none_counts_as_absent(box, body):
    cache.write("name.json", body)
    assert cache.read_json("name.json") is None


def test_nothing_is_left_of_a_write_that_was_interrupted(box, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.write("name", b"body")
    assert not list(box.iterdir())


def test_a_link_under_the_name_of_a_file_is_replaced_and_not_written_through(box, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (box / "name").symlink_to(elsewhere)
    cache.write("name", b"body")
    assert elsewhere.read_text() == "precious"
    assert cache.read("name") == b"body"
    assert (box / "name").stat().st_mode & 0o077 == 0


def test_without_users_by_number_the_folder_is_taken_as_it_is(box, monkeypatch):
    os.chmod(box, 0o777)
    monkeypatch.delattr(os, "geteuid")
    cache.write("name", b"body")
    assert cache.read("name") == b"body"
    assert cache.folder() == box


def test_openmp_is_found_by_its_whole_path_among_what_is_loaded(monkeypatch):
    from secateur.runtime.execute import threads

    lines = ["7f0-7f1 r-xp 00000000 08:01 42                         /opt/my libs/libgomp.so.1",
             "7f1-7f2 r--p 00000000 08:01 43                         /data/libgomp-notes.txt",
             "7f2-7f3 r-xp 00000000 08:01 44                         libgomp.so.1", "7f4-7f5 rw-p 00000000 00:00 0"]
    asked = []

    def load(path, mode=0):
        asked.append((path, bool(mode & os.RTLD_NOLOAD)))
        raise OSError

    monkeypatch.setattr(threads.Path, "read_text", lambda _: "\n".join(lines))
    monkeypatch.setattr(threads.ctypes, "CDLL", load)
    assert threads._openmp.__wrapped__() is None
    assert asked == [("/data/libgomp-notes.txt", True), ("/opt/my libs/libgomp.so.1", True)]
