"""The record on real MIMII beside the paper's Table 1."""

import numpy as np
import pandas as pd
import pytest

from mimii_lib import paper
from mimii_lib.pages import contrasts, evidence
from mimii_lib.uncertainty import AucEstimates

COLUMNS = paper.table_1().columns[:12]


def record(areas: dict[str, pd.Series], error: float = 0.0) -> list[dict]:
    """Return a record at −6 dB of AUCs in percent by system and (machine, id), with a standard error in points."""
    rows = []
    for system, values in areas.items():
        for (machine, machine_id), area in values.items():
            estimates = AucEstimates(pd.Series({system: area / 100}), pd.DataFrame([[error**2 / 1e4]]), 150, 150)
            interval = estimates.interval(system)
            row = {"source": "iaia", "snr": -6, "machine": machine, "id": machine_id, "system": system}
            rows.append(row | {"auc": interval.value, "low": interval.low, "high": interval.high})
    return rows


def test_standard_errors_are_those_of_the_intervals():
    """The errors are found again from the intervals; an AUC of 1 keeps the one that its interval has."""
    areas = pd.Series([50.0, 73.2, 99.5, 100.0], COLUMNS[:4])
    cells = evidence.cells(record({"knn": areas}, error=1.7))
    np.testing.assert_allclose(cells.error[:3], 1.7)
    assert 0 < cells.error[3] == pytest.approx((100 - cells.low[3]) / 1.96, rel=1e-3)
    mean = evidence.means(cells[:3]).loc[("iaia", -6, "knn")]
    assert mean.high - mean.auc == pytest.approx(1.96 * 1.7 / np.sqrt(3), rel=1e-3)


def test_differences_are_from_the_papers_best_row():
    """A system that equals the paper's best row differs by 0; three points more are significant, and counted."""
    row = evidence.best_row(COLUMNS)
    published = paper.table_1()[COLUMNS]
    theirs = published.loc[row]
    assert row == published.mean(axis=1).idxmax() == ("ResNet34", "GMM")
    more = (theirs + 3).clip(upper=100)
    compared = evidence.differences(evidence.cells(record({"knn": theirs, "level": more}, error=1.0)))
    assert compared.difference["knn"] == pytest.approx(0)
    assert compared.p["knn"] == 1
    assert compared.p["level"] < 0.01
    assert compared.above_row["level"] == 12
    assert compared.above_cell["level"] == int((more > published.max()).sum()) < 12
    errors = contrasts.published().errors().loc[row, COLUMNS]
    half = 1.96 * np.sqrt((errors**2 + 1).sum()) / 12
    assert compared.high["knn"] == pytest.approx(half, rel=1e-3)
    assert compared.low_ids["level"] > compared.low["level"]  # three points on nearly every machine ID
