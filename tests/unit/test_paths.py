"""Files appear whole or not at all, and the cache lies where the system has it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from secateur.core import paths
from secateur.core.errors import RunError, SecateurError, UnsupportedError


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_when_the_block_is_done(tmp_path):
    path = tmp_path / "net.bin"
    path.write_bytes(b"old")
    with paths.write_whole(path) as scratch:
        scratch.write_bytes(b"new")
        assert path.read_bytes() == b"old" and scratch.name == "net.bin" and scratch.parent.parent == tmp_path
    assert path.read_bytes() == b"new" and names(tmp_path) == ["net.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SecateurError])
def test_nothing_is_left_and_the_old_file_stays_where_the_block_fails(error, tmp_path):
    path = tmp_path / "net.bin"
    path.write_bytes(b"old")

    def half(scratch):
        scratch.write_bytes(b"half")
        scratch.with_name("net.data").write_bytes(b"half")
        raise error

    with pytest.raises(error), paths.write_whole(path, several=True) as scratch:
        half(scratch)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["net.bin"]


def test_the_named_one_of_several_files_moves_last(tmp_path, monkeypatch):
    seen, move = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, goal: seen.append(self.name) or move(self, goal))
    with paths.write_whole(tmp_path / "a.xml", several=True) as scratch:
        scratch.write_text("xml")
        scratch.with_name("z.bin").write_text("bin")
    assert seen == ["z.bin", "a.xml"] and names(tmp_path) == ["a.xml", "z.bin"]


def test_a_folder_appears_whole(tmp_path):
    with paths.write_whole(tmp_path / "net") as scratch:
        (scratch / "inside").mkdir(parents=True)
        (scratch / "inside" / "config.json").write_text("{}")
    assert (tmp_path / "net" / "inside" / "config.json").read_text() == "{}" and names(tmp_path) == ["net"]


@pytest.mark.parametrize("several", [False, True])
def test_a_link_is_followed_unless_further_files_are_named_like_it(several, tmp_path):
    (tmp_path / "far").mkdir()
    link, far = tmp_path / "link.bin", tmp_path / "far" / "net.bin"
    far.write_text("old")
    link.symlink_to(far)
    with paths.write_whole(link, several=several) as scratch:
        scratch.write_text("new")
    assert link.read_text() == "new" and link.is_symlink() != several
    assert far.read_text() == ("old" if several else "new")


def test_an_error_names_the_path_that_was_asked_for(tmp_path):
    path = tmp_path / "net.bin"
    with pytest.raises(UnsupportedError) as caught, paths.write_whole(path) as scratch:
        raise UnsupportedError(f"cannot write '{scratch}': a reason")
    assert str(caught.value) == f"cannot write '{path}': a reason"
    with pytest.raises(SecateurError, match=f"cannot write '{path}': No space left"), paths.write_whole(path):
        raise OSError(28, "No space left on device")


def test_where_no_file_can_be_is_refused_before_the_block(tmp_path):
    for path, why in ((tmp_path, "it is a folder"), (tmp_path / "none" / "a", "there is no folder")):
        with pytest.raises(SecateurError, match=why), paths.write_whole(path):
            raise AssertionError("not reached")


def test_a_run_gets_its_folder_and_errors_of_its_own(tmp_path):
    assert paths.write(tmp_path / "run" / "figures" / "a.svg", "<svg/>").read_text() == "<svg/>"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*; name another folder"):
        paths.write(tmp_path / "file" / "a.svg", b"")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="where Linux has it")
def test_the_cache_is_where_it_always_was(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert paths.user_cache() == tmp_path / ".cache" / "secateur"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert paths.user_cache() == tmp_path / "other" / "secateur" and not os.listdir(tmp_path)
