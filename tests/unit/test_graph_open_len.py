"""``len(x)`` in a network's code: the trace takes other batches, and Python's ``len`` is back whatever happens."""

from __future__ import annotations

import builtins
import threading

import files_with_len
import pytest
import torch
from torch import nn

import secateur as sc
from secateur.graph import open_len
from secateur.graph.capture import capture, sizes_of


class Counted(nn.Module):
    """The mean of the rows; ``count`` says how many there are."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, x):
        return x.sum(0) / self.count(x) + len([1, 2])


def by_length(x):
    return len(x)


def by_default(x, count=len):
    return count(x)


def inside(x):
    return sum(len(y) for y in [x[1:], x[:1]])


def rows(net, batch=4):
    """The number of rows that a trace takes: a number, or the name of an open one."""
    return str(sizes_of(capture(net, torch.rand(batch, 3), "batch").inputs[0].meta["val"])[0])


def is_pythons_own():
    return "len" not in globals() and files_with_len.len is builtins.len


@pytest.mark.parametrize(("count", "is_open"), [
    (by_length, True), (files_with_len.rows, True), (inside, True), (lambda x: x.shape[0], True),
    (lambda x: x.__len__(), True), (by_default, False), (lambda x: int(x.shape[0]), False)])
def test_len_stays_open_where_code_calls_it_by_its_name(count, is_open):
    assert rows(Counted(count)).isdigit() != is_open
    assert is_pythons_own()


def test_a_file_with_a_len_of_its_own_keeps_it(monkeypatch):
    def own(value):
        return 7 if isinstance(value, torch.Tensor) else builtins.len(value)

    monkeypatch.setitem(globals(), "len", own)
    graph = capture(Counted(by_length), torch.rand(4, 3), "batch")
    assert globals()["len"] is own
    assert torch.allclose(graph.module(torch.ones(4, 3))[0], torch.full((3,), 4 / 7 + 2))


def test_only_the_files_that_ask_are_touched_and_only_while_they_are_traced(monkeypatch):
    seen, kept = [], open_len._replaced

    def replaced(files):
        seen.append([file["__name__"] for file in files])
        return kept(files)

    monkeypatch.setattr(open_len, "_replaced", replaced)
    rows(Counted(lambda x: x.shape[0]))
    assert seen == []
    rows(Counted(files_with_len.rows))
    assert seen == [[], ["files_with_len"]]


class Failing(Counted):
    def forward(self, x):
        raise RuntimeError(f"{super().forward(x)}")


def test_len_is_put_back_after_a_failure():
    with pytest.raises(sc.SecateurError):
        capture(Failing(files_with_len.rows), torch.rand(4, 3), "batch")
    assert is_pythons_own()
    with pytest.raises(TypeError), open_len._replaced([globals()]), open_len._replaced([globals()]):
        len(3)
    assert is_pythons_own()


def test_a_trace_within_a_trace_leaves_len_to_the_outer_one():
    with open_len._replaced([globals()]):
        with open_len._replaced([globals(), vars(files_with_len)]):
            assert len is open_len._len and files_with_len.len is open_len._len
        assert len is open_len._len and files_with_len.len is builtins.len
    assert is_pythons_own()


def test_the_replacement_is_len_for_everything_else():
    with open_len._replaced([globals()]):
        assert (len([1, 2]), len("abc"), len(torch.zeros(5, 2))) == (2, 3, 5)
        for wrong in (torch.tensor(1.0), 3):
            with pytest.raises(TypeError):
                len(wrong)
    assert is_pythons_own()


def test_threads_that_replace_len_at_once_leave_pythons_own():
    """Every trace sees ``len`` replaced in its own file throughout, though the others put it back."""
    barrier, seen = threading.Barrier(3), []

    def trace():
        with torch.overrides.TorchFunctionMode():
            return len

    def work():
        barrier.wait(60)
        for _ in range(200):
            with open_len._LOCK, open_len._replaced([globals()]):
                seen.append(trace())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(seen) == {open_len._len} and len(seen) == 600
    assert is_pythons_own()
