"""Faults on purpose: each ends in a correct result or a sentence. ``make faults`` has those that take longer."""

from pathlib import Path

import faults
import pytest

SECONDS = [each for each in faults.TRIALS if each[2] not in (faults.killed_runs, faults.killed_downloads)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> faults.Bench:
    """Return a small miniature to break."""
    return faults.Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("tries", [each[2] for each in SECONDS], ids=[each[1] for each in SECONDS])
def test_a_fault_ends_well(tries, bench):
    """What comes of it is a correct result or one clear sentence, and nothing is lost."""
    try:
        assert tries(bench)
    except faults.NotTried as error:
        pytest.skip(str(error))


def test_killed_runs_go_on(bench, monkeypatch):
    """A run that was killed goes on to the numbers of an undisturbed one, and so does a download."""
    monkeypatch.setattr(bench, "kills", 2)
    assert faults.killed_runs(bench)
    assert faults.killed_downloads(bench)


def test_a_trial_can_fail(bench, monkeypatch):
    """A trial whose fault does no harm, or harm that it does not expect, is not said to hold."""
    monkeypatch.setitem(faults.BROKEN, "that is empty", lambda path: None)
    tries = next(each for _, fault, each in faults.TRIALS if fault == "a clip that is empty")
    with pytest.raises(AssertionError, match="exit code 0"):
        tries(bench)


def test_outcomes_tell_what_was_not_tried(monkeypatch, tmp_path):
    """A trial that this machine does not allow, and one that did not hold, are told as such."""

    def forbidden(bench):
        raise faults.NotTried("no rights")

    def wrong(bench):
        assert bench.data is None, f"at {bench.folder}/here"

    monkeypatch.setattr(faults, "TRIALS", [("kind", "one", forbidden), ("kind", "two", wrong)])
    found = list(faults.outcomes(Path(tmp_path)))
    assert [(each.held, each.fault) for each in found[:2]] == [(None, "one"), (False, "two")]
    assert found[2].held is None
    assert "make faults" in found[2].result
