"""Faults on purpose: each ends in a correct result or a sentence. ``make faults`` has those that take longer."""

import json
from pathlib import Path

import faults
import pytest


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> faults.Bench:
    """Return a small miniature to break."""
    return faults.Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def told(of_the_book) -> dict[str, dict]:
    """Return what came of the trials in the book, by fault."""
    file = of_the_book("results/faults.json", *Path(faults.__file__).parent.glob("*.py"))
    return {each["fault"]: each for each in json.loads(file.read_text())} if file else {}


@pytest.mark.parametrize(("fault", "tries"), [pytest.param(*each[1:], id=each[1]) for each in faults.TRIALS])
def test_a_fault_ends_well(fault, tries, told, request, monkeypatch):
    """What comes of it is a correct result or one clear sentence, and nothing is lost."""
    if fault in told:
        outcome = faults.Outcome(**told[fault])
        if outcome.held is None:
            pytest.skip(outcome.result)
        assert outcome.held, outcome.result
        return
    bench = request.getfixturevalue("bench")
    monkeypatch.setattr(bench, "kills", 2)
    try:
        assert tries(bench)
    except faults.NotTried as error:
        pytest.skip(str(error))


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
