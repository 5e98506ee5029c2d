"""Damaged, missing and fetched data files."""

import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading

import numpy as np
import pytest
import torch

from secateur.core.errors import SecateurError
from secateur.data.datasets import _download, cifar10
from secateur.data.datasets._idx import IdxFile, load_idx, read_idx

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(array, magic=b"\0\0\x08", shape=None):
    shape = shape or array.shape
    return magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


GOOD = idx_bytes(PIXELS)
FILE = IdxFile("images.gz", (2, 3, 4), hashlib.sha256(GOOD).hexdigest())


def put(folder, content):
    (folder / FILE.name).write_bytes(content)
    return folder / FILE.name


def test_reads_the_array(tmp_path):
    assert torch.equal(read_idx(put(tmp_path, gzip.compress(GOOD)), FILE), torch.from_numpy(PIXELS))


def test_files_packed_anew_are_the_same_file(tmp_path):
    fast, slow = gzip.compress(GOOD, 1, mtime=1), gzip.compress(GOOD, 9, mtime=2)
    assert fast != slow
    assert torch.equal(read_idx(put(tmp_path, fast), FILE), read_idx(put(tmp_path, slow), FILE))


@pytest.mark.parametrize(("content", "said"), [
    (gzip.compress(GOOD)[:-9], "is truncated"),
    (b"", "is truncated"),
    (gzip.compress(GOOD[:-1]), "is truncated or too long: 23 bytes of data, expected 24"),
    (gzip.compress(GOOD + b"x"), "is truncated or too long: 25 bytes of data, expected 24"),
    (gzip.compress(GOOD[:7]), "magic number 00000803"),
    (GOOD, "is damaged or not gzip"),
    (gzip.compress(GOOD)[:30] + b"\xff\xff\xff" + gzip.compress(GOOD)[33:], "is damaged or not gzip"),
    (gzip.compress(idx_bytes(PIXELS, b"\0\0\x0d")), "magic number 00000d03, expected 00000803"),
    (gzip.compress(idx_bytes(PIXELS.reshape(6, 4))), "magic number 00000802"),
    (gzip.compress(idx_bytes(PIXELS, shape=(2, 4, 3))), r"has shape \(2, 4, 3\), expected \(2, 3, 4\)"),
    (gzip.compress(idx_bytes(PIXELS[::-1])), "was altered: SHA-256"),
], ids=range(11))
def test_damage_is_one_line_naming_file_and_folder(tmp_path, content, said):
    with pytest.raises(SecateurError, match=said) as caught:
        read_idx(put(tmp_path, content), FILE)
    assert f"'images.gz' in folder {tmp_path}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(SecateurError, match="No such file or directory"):
        read_idx(tmp_path / "images.gz", FILE)


def test_packed_sum_is_checked(tmp_path):
    packed = gzip.compress(GOOD)
    file = IdxFile("images.gz", (2, 3, 4), packed_sha256=hashlib.sha256(packed).hexdigest())
    assert read_idx(put(tmp_path, packed), file).shape == (2, 3, 4)
    with pytest.raises(SecateurError, match="was altered"):
        read_idx(put(tmp_path, gzip.compress(GOOD, 1, mtime=5)), file)


@pytest.fixture
def mirror(tmp_path):
    """A web server on this machine that serves ``tmp_path/web``; gives its address."""
    (tmp_path / "web").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "web"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_fetches_from_the_first_mirror_with_the_right_bytes(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path / "cache"))
    for name, content in (("bad", idx_bytes(PIXELS[::-1])), ("good", GOOD)):
        (tmp_path / "web" / name).mkdir()
        (tmp_path / "web" / name / FILE.name).write_bytes(gzip.compress(content))
    mirrors = [mirror + "absent/", mirror + "bad/", mirror + "good/"]
    path = _download.obtain("toy", FILE.name, mirrors, lambda p: read_idx(p, FILE))
    assert path == tmp_path / "cache" / "toy" / FILE.name
    assert torch.equal(read_idx(path, FILE), torch.from_numpy(PIXELS))
    assert [p.name for p in path.parent.iterdir()] == [FILE.name]
    assert _download.obtain("toy", FILE.name, [], lambda p: None) == path


def test_nothing_is_left_where_every_mirror_fails(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path / "cache"))
    (tmp_path / "web" / FILE.name).write_bytes(b"not what it should be")
    with pytest.raises(SecateurError, match="could not be fetched") as caught:
        _download.obtain("toy", FILE.name, [mirror + "absent/", mirror], lambda p: read_idx(p, FILE))
    assert "HTTPError" in str(caught.value)
    assert "wrong bytes" in str(caught.value)
    assert str(caught.value).endswith(f"put it in folder {tmp_path / 'cache' / 'toy'}")
    assert list((tmp_path / "cache" / "toy").iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SECATEUR_DATA", str(tmp_path / "file"))
    with pytest.raises(SecateurError, match="cannot write to folder .*SECATEUR_DATA"):
        _download.obtain("toy", FILE.name, [], lambda p: None)


def test_four_files_make_a_data_set(tmp_path):
    labels = np.array([0, 9], dtype=np.uint8)
    contents = {"a.gz": PIXELS, "b.gz": labels, "c.gz": PIXELS, "d.gz": labels}
    for name, array in contents.items():
        (tmp_path / name).write_bytes(gzip.compress(idx_bytes(array)))
    files = [IdxFile(name, array.shape) for name, array in contents.items()]
    made = load_idx("toy", files, [], places=[str(tmp_path)])
    assert made.train_x.shape == (2, 1, 3, 4)
    assert made.train_x.flatten()[23] == 23 / 255
    assert (made.test_y.tolist(), made.classes) == ([0, 9], 10)


def cifar_archive(path, records, name="cifar-10-batches-bin/test_batch.bin"):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(records)
        archive.addfile(member, io.BytesIO(records))
    return path


def test_cifar_records_are_label_then_planes(tmp_path):
    record = bytes([7]) + bytes([1] * 1024 + [2] * 1024 + [3] * 1024)
    x, y = cifar10.read_batches(cifar_archive(tmp_path / "c.tar.gz", record * 2), cifar10.TEST, images=2)
    assert (x.shape, x.dtype, y.tolist()) == ((2, 3, 32, 32), torch.uint8, [7, 7])
    assert x[1, :, 5, 5].tolist() == [1, 2, 3]


def test_cifar_damage_is_one_line(tmp_path):
    path = cifar_archive(tmp_path / "c.tar.gz", bytes(3073))
    with pytest.raises(SecateurError, match="of 3073 bytes, expected 6146"):
        cifar10.read_batches(path, cifar10.TEST, images=2)
    with pytest.raises(SecateurError, match=r"cannot be unpacked.*data_batch_1\.bin"):
        cifar10.read_batches(path, cifar10.TRAIN, images=1)
    with pytest.raises(SecateurError, match="truncated or was altered"):
        cifar10.check_archive(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SecateurError, match="cannot be unpacked"):
        cifar10.read_batches(path, cifar10.TEST, images=1)
