"""What is kept: whole or not at all, by one process at a time, and known by its key."""

import errno
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError
from mimii_lib.run import cache
from mimii_lib.run.cache import CacheKey, ResultCache, exclusive_write

PLACE = CacheKey("stage", {"number": 1}, cache)


def test_a_result_is_computed_once_and_says_what_made_it(tmp_path):
    """The second call reads; the key lies beside the result in plain text."""
    calls = []
    kept = ResultCache(tmp_path)
    for _ in range(2):
        found = kept.get(PLACE, lambda: calls.append(1) or np.arange(5))
        np.testing.assert_array_equal(found, np.arange(5))
    assert calls == [1]
    assert kept.has(PLACE)
    assert not kept.has(CacheKey("stage", {"number": 2}, cache))
    (key,) = tmp_path.rglob("key.json")
    assert json.loads(key.read_text())["number"] == 1
    assert "mimii_lib.run.cache" in json.loads(key.read_text())["code"]


def test_how_long_a_result_took_is_its_own_time(tmp_path, monkeypatch):
    """What a result asks for is not its own time, nor is a part that is told apart."""
    now = [0.0]
    monkeypatch.setattr(cache, "perf_counter", lambda: now[0])
    kept, inner, outer = ResultCache(tmp_path, threads=2), CacheKey("inner", {}, cache), CacheKey("outer", {}, cache)

    def wait(seconds):
        now[0] += seconds

    def compute():
        wait(1)
        kept.get(inner, lambda: wait(10))
        with cache.timed("part"):
            wait(100)
        wait(1000)

    kept.get(outer, compute)
    assert kept.took(inner) == ({"inner": 10}, 2)
    assert kept.took(outer) == ({"outer": 1001, "waited": 0, "inner": 10, "part": 100}, 2)
    assert kept.took(PLACE) == ({}, 1)


@pytest.mark.parametrize("left", [0, 10, 0.5, 0.99])
def test_a_damaged_result_is_made_anew(left, tmp_path):
    """A file that lost its end, or all it had, is never read half."""
    kept = ResultCache(tmp_path)
    kept.get(PLACE, lambda: np.arange(1000))
    (file,) = tmp_path.rglob("result.joblib")
    whole = file.read_bytes()
    file.write_bytes(whole[: left if isinstance(left, int) else int(left * len(whole))])
    np.testing.assert_array_equal(kept.get(PLACE, lambda: np.arange(1000)), np.arange(1000))
    assert file.read_bytes() == whole


def test_what_a_killed_process_left_is_cleared(tmp_path):
    """A temporary file beside a result goes when the result is made."""
    kept = ResultCache(tmp_path)
    kept.get(PLACE, lambda: 1)
    (file,) = tmp_path.rglob("result.joblib")
    file.unlink()
    file.with_name(".result-12345678.joblib").write_bytes(b"half")
    kept.get(PLACE, lambda: 1)
    assert {path.name for path in file.parent.iterdir()} == {"result.joblib", "key.json", "took.json", "lock"}


def test_a_second_process_waits_and_reads(tmp_path):
    """What one computes, another that needs it does not compute again."""
    began, done, calls = threading.Event(), threading.Event(), []

    def slow():
        calls.append("slow")
        began.set()
        done.wait(10)
        return 7

    first = threading.Thread(target=lambda: ResultCache(tmp_path).get(PLACE, slow))
    first.start()
    began.wait(10)
    found = []
    second = threading.Thread(
        target=lambda: found.append(ResultCache(tmp_path).get(PLACE, lambda: calls.append("again")))
    )
    second.start()
    second.join(0.3)
    assert second.is_alive()
    done.set()
    first.join(10)
    second.join(10)
    assert (found, calls) == ([7], ["slow"])


def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(tmp_path):
    """A file that cannot be written keeps its old content, and nothing lies beside it."""
    file = tmp_path / "some.json"
    file.write_text("old")
    with (
        pytest.raises(MimiiError, match="some.json: cannot be written .No space left on device."),
        atomic_write(file) as made,
    ):
        made.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_who_comes_later_has_the_last_word(tmp_path, capsys):
    """A job that outlived its workflow ends before the next one begins on the same file; no lock lies beside it."""
    file = tmp_path / "some.json"
    entered = threading.Event()

    def later():
        with exclusive_write(file):
            entered.set()
            file.write_text("later")

    with exclusive_write(file):
        second = threading.Thread(target=later)
        second.start()
        assert not entered.wait(0.3)
        file.write_text("earlier")
    second.join(10)
    assert file.read_text() == "later"
    assert list(tmp_path.iterdir()) == [file]
    assert "another process is at work on it" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named():
    """Where results cannot be kept, the sentence says where else they could be."""
    with pytest.raises(MimiiError, match="results cannot be kept here.*MIMII_CACHE"):
        ResultCache(Path("/proc/nowhere"))
