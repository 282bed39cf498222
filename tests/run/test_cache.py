"""Kept results: whole or not at all, computed by one process at a time, found by their cache key, never executed."""

import json
import os
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mimii_lib.data.checks import inspect
from mimii_lib.run.cache import STATE, TABLE, CacheKey, ResultCache, exclusive_write

KEY = CacheKey("stage", inspect, {"number": 1})
KEPT = {
    "array": (KEY, np.arange(6.0).reshape(2, 3)),
    "table": (CacheKey("table", inspect, {}, TABLE), pd.DataFrame({"path": ["a", "b"], "level": [1.5, np.nan]})),
    "state": (CacheKey("state", inspect, {}, STATE), {"network": {"weight": torch.eye(2)}, "n_pixels": 4}),
}
every_format = pytest.mark.parametrize(("key", "value"), KEPT.values(), ids=KEPT)


def test_a_result_is_computed_once_and_says_what_made_it(tmp_path):
    """The second call reads; the key lies beside the result in plain text, with the digest of the code and versions."""
    calls, cache = [], ResultCache(tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(cache.get(KEY, lambda: calls.append(1) or np.arange(5)), np.arange(5))
    assert calls == [1]
    assert cache.has(KEY)
    assert not cache.has(CacheKey("stage", inspect, {"number": 2}))
    (key,) = tmp_path.rglob("key.json")
    text = json.loads(key.read_text())
    assert text["number"] == 1
    assert {"numpy", "soundfile"} <= text["versions"].keys()
    assert cache.timing(KEY)[0] > 0
    assert cache.timing(CacheKey("stage", inspect, {"number": 2})) == (0, 1)


@every_format
def test_every_format_reads_what_it_wrote(key, value, tmp_path):
    """Arrays, tables and state dicts come back with the same content."""
    cache = ResultCache(tmp_path)
    for _ in range(2):
        assert str(cache.get(key, lambda: value)) == str(value)


@every_format
def test_a_cache_executes_nothing(key, value, tmp_path):
    """A pickle in the place of a result is not run: the result is computed anew."""
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return Path.touch, (trap,)

    cache = ResultCache(tmp_path / "cache")
    cache.get(key, lambda: value)
    (file,) = (tmp_path / "cache").rglob("result.*")
    for content in (pickle.dumps(Trap()), None):
        if content is None:
            torch.save(Trap(), file)
        else:
            file.write_bytes(content)
        assert str(cache.get(key, lambda: value)) == str(value)
    assert not trap.exists()


@every_format
@pytest.mark.parametrize("left", [0, 10, 0.5, 0.99])
def test_a_damaged_result_is_computed_anew(left, key, value, tmp_path):
    """Of files that lost their ends, or all of their bytes, as a power cut can leave them, nothing is read half."""
    cache, calls = ResultCache(tmp_path), []
    cache.get(key, lambda: value)
    whole = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    for file, content in whole.items():
        file.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])
    for _ in range(2):
        assert str(cache.get(key, lambda: calls.append(1) or value)) == str(value)
    assert calls == [1]
    assert all(file.read_text() == content.decode() for file, content in whole.items() if file.stem == "key")


@pytest.mark.parametrize("swapped", ["results", "folders", "one of another kind", "an edited number"])
def test_what_belongs_to_another_key_is_computed_anew(swapped, tmp_path):
    """A result that lies in the place of another, or was changed, is not taken for what it is not."""
    keys = [CacheKey("stage", inspect, {"number": number}) for number in (1, 2)]
    for number, key in enumerate(keys):
        ResultCache(tmp_path).get(key, lambda number=number: np.arange(4.0) + number)
    first, second = (tmp_path / "stage" / key.digest for key in keys)
    if swapped == "folders":
        first.rename(tmp_path / "other")
        second.rename(first)
        (tmp_path / "other").rename(second)
    elif swapped == "results":
        contents = [(folder / "result.npy").read_bytes() for folder in (second, first)]
        for folder, content in zip((first, second), contents, strict=True):
            (folder / "result.npy").write_bytes(content)
    else:
        np.save(first / "result.npy", np.zeros((2, 2), complex) if "kind" in swapped else [0.0, 1, 2, 4])
    for number, key in enumerate(keys):
        np.testing.assert_array_equal(
            ResultCache(tmp_path).get(key, lambda number=number: np.arange(4.0) + number), np.arange(4.0) + number
        )


@pytest.mark.parametrize("place", [Path.mkdir, os.mkfifo, lambda file: file.symlink_to(os.devnull)])
def test_what_is_no_file_is_replaced(place, tmp_path):
    """A folder, a pipe or a link in the place of a result, or of its seal, gives way to the result."""
    for name in ("result.npy", "seal.txt"):
        ResultCache(tmp_path).get(KEY, lambda: np.arange(3))
        (file,) = tmp_path.rglob(name)
        file.unlink()
        place(file)
        np.testing.assert_array_equal(ResultCache(tmp_path).get(KEY, lambda: np.arange(4)), np.arange(4))
        assert file.is_file()
        shutil.rmtree(tmp_path / KEY.stage)


@pytest.mark.parametrize("text", ["[]", "3", '{"seconds": null}', '{"seconds": "x", "threads": 1}', "\xff"])
def test_a_malformed_time_is_no_time(text, tmp_path):
    """Where the file of the time holds something else, the result stands and its time is not known."""
    cache = ResultCache(tmp_path)
    cache.get(KEY, lambda: np.zeros(1))
    next(tmp_path.rglob("timing.json")).write_text(text, encoding="latin1")
    assert cache.timing(KEY) == (0, 1)
    assert cache.get(KEY, lambda: np.ones(1)) == 0


def test_the_folder_of_the_cache_may_lie_in_the_home_folder(monkeypatch, tmp_path):
    """A tilde in MIMII_CACHE is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MIMII_CACHE", "~/kept")
    assert ResultCache().folder == tmp_path / "kept"


def test_leftovers_of_a_killed_process_are_cleared(tmp_path):
    """A temporary file beside a result goes when the result is computed."""
    cache = ResultCache(tmp_path)
    cache.get(KEY, lambda: np.zeros(1))
    (file,) = tmp_path.rglob("result.npy")
    file.unlink()
    file.with_name(".result-12345678.npy").write_bytes(b"half")
    cache.get(KEY, lambda: np.zeros(1))
    assert {path.name for path in file.parent.iterdir()} == {
        "result.npy",
        "key.json",
        "timing.json",
        "seal.txt",
        "lock",
    }


def test_a_second_process_waits_and_reads(tmp_path):
    """While one computes a result, another that needs it waits, and computes nothing."""
    began, done, calls, results = threading.Event(), threading.Event(), [], []

    def slow():
        calls.append("slow")
        began.set()
        done.wait(10)
        return np.array(7)

    first = threading.Thread(target=lambda: ResultCache(tmp_path).get(KEY, slow))
    first.start()
    began.wait(10)
    second = threading.Thread(
        target=lambda: results.append(ResultCache(tmp_path).get(KEY, lambda: calls.append("again")))
    )
    second.start()
    second.join(0.3)
    assert second.is_alive()
    done.set()
    first.join(10)
    second.join(10)
    assert (results, calls) == ([7], ["slow"])


def test_writers_of_a_file_are_serialised(tmp_path, capsys):
    """A job that outlived its workflow ends before the next one begins on the same file; no lock lies beside it."""
    file, entered = tmp_path / "some.json", threading.Event()

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
    assert "another process is writing it" in capsys.readouterr().err
