"""The page After the paper: what it reads off its record."""

import json

import pytest

from mimii_lib.pages import after_paper
from mimii_lib.run.profiles import ROOT
from mimii_lib.settings import CLIP_SYSTEMS

RECORD = ROOT / "benchmarks" / "after_paper.json"


@pytest.fixture(scope="module")
def record():
    """Return the record of the measurements."""
    return json.loads(RECORD.read_text())


def test_an_answer_is_what_the_interval_says(record):
    """A gain is above 0 with its whole interval, a loss below it; everything else cannot be told."""
    rows = after_paper.rows(record)
    run = rows[rows.gain.notna()]
    for row in run.itertuples():
        assert row.gain_low <= row.gain <= row.gain_high
        assert row.low <= row.auc <= row.high
        sides = {after_paper.GAINS: row.gain_low > 0, after_paper.LOSES: row.gain_high < 0}
        assert row.answer == next((name for name, holds in sides.items() if holds), after_paper.UNDECIDED)


def test_the_ladder_starts_at_the_papers_system_and_ends_at_the_ensemble(record):
    """Gains are counted from the first step; the last step is the row of the ensemble."""
    rows = after_paper.rows(record)
    steps, systems = after_paper.of_group(rows, "ladder"), after_paper.of_group(rows, "clip systems")
    assert steps.gain.iloc[0] == 0
    assert steps.gain.iloc[-1] == pytest.approx(steps.auc.iloc[-1] - steps.auc.iloc[0], abs=1e-2)
    assert steps.auc.iloc[-1] == systems.auc["ensemble"]


def test_every_clip_system_has_a_cost_or_a_reason(record):
    """The table of costs has the paper's system, whose time is 1, and every clip system that was measured."""
    costs = {row["system"]: row for row in record["costs"]}
    assert set(CLIP_SYSTEMS) <= set(costs)
    table = after_paper.costs(record, after_paper.rows(record))
    assert table.time.iloc[0] == "1.00"
    assert len(table) == 1 + len(CLIP_SYSTEMS)
    without_network = [name for name in CLIP_SYSTEMS if costs[name].get("weights_mb") == 0]
    assert {"spectrum-mahalanobis", "level"} <= set(without_network)
