"""What is published, as data."""

import numpy as np
import pandas as pd
import pytest

from mimii_lib import paper


def test_table_1_has_22_systems_and_16_machines():
    """Table 1 compares 22 systems, extractors with detectors and two auto-encoders, on 4 machine types with 4 IDs."""
    table = paper.table_1()
    assert table.shape == (22, 16)
    assert list(table.columns) == [(machine, name) for machine in paper.MACHINES for name in paper.IDS]
    assert table.stack([0, 1]).between(0, 100).all()
    assert table.index.is_unique
    pairs = {(features, detector) for features in paper.EXTRACTORS.values() for detector in paper.DETECTORS.values()}
    assert set(table.index) == pairs | {("–", name) for name in paper.AUTOENCODERS.values()}


def test_table_1_is_the_published_one(shared):
    """Every cell of our Table 1 is the paper's."""
    file = shared / "paper" / "table1.csv"
    if not file.is_file():
        pytest.skip("needs the paper's table")
    published = pd.read_csv(file, keep_default_na=False)
    published["features"] = published.features.replace(["", "-", "—"], "–")
    published = published.set_index(["features", "detector"]).astype(float)
    table = paper.table_1().set_axis(["_".join(column) for column in paper.table_1().columns], axis=1)
    pd.testing.assert_frame_equal(published.sort_index(), table[published.columns].sort_index(), check_dtype=False)


def test_who_comes_first():
    """Of the 16 columns ResNet34 wins 7, ResNet18 and AlexNet 3 each, SqueezeNet 2, an auto-encoder 1; no tie."""
    table = paper.table_1()
    assert (table == table.max()).sum().eq(1).all()
    winners = table.idxmax()
    features, detectors = (winners.map(lambda row, at=at: row[at]).value_counts().to_dict() for at in (0, 1))
    assert features == {"ResNet34": 7, "ResNet18": 3, "AlexNet": 3, "SqueezeNet": 2, "–": 1}
    assert detectors == {"GMM": 9, "OC-SVM": 6, "Small-DCAE": 1}
    assert winners["pump", "id_06"] == ("–", "Small-DCAE")
    for counted, level in [(features, "features"), (detectors, "detector")]:
        assert sorted(counted.values()) == sorted(first for first, _ in paper.RANKINGS[level].values() if first)


def test_mimii_has_18019_clips():
    """MIMII holds 14,719 normal and 3,300 abnormal clips at every SNR; 9 of the 16 IDs have fewer than 150 abnormal."""
    totals = {
        machine: np.sum([(count.normal, count.abnormal) for count in ids.values()], axis=0).tolist()
        for machine, ids in paper.MIMII.items()
    }
    assert totals == {"fan": [4075, 1475], "pump": [3749, 456], "slider": [3204, 890], "valve": [3691, 479]}
    assert np.sum(list(totals.values()), axis=0).tolist() == [14_719, 3_300]
    assert sum(count.abnormal < 150 for ids in paper.MIMII.values() for count in ids.values()) == 9
