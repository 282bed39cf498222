"""What is published, as data."""

import csv

import numpy as np
import pandas as pd
import pytest

from mimii_lib import paper


def test_table_1_has_22_systems_and_16_settings():
    """Table 1 compares 22 systems on 4 machine types with 4 IDs each, in percent."""
    table = paper.table_1()
    assert table.shape == (22, 16)
    assert list(table.columns) == [(machine, name) for machine in paper.MACHINES for name in paper.IDS]
    assert table.index.is_unique
    assert table.stack([0, 1]).between(0, 100).all()


def test_table_1_is_the_published_one(shared):
    """Every cell of our Table 1 is the paper's."""
    file = shared / "paper" / "table1.csv"
    if not file.is_file():
        pytest.skip("needs the paper's table")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    table = paper.table_1()
    assert len(rows) == len(table)
    for row in rows:
        features, detector = row.pop("features") or "–", row.pop("detector")
        features = "–" if features in ("-", "—") else features
        for name, value in row.items():
            machine, machine_id = name.split("_", 1)
            assert table.loc[(features, detector), (machine, machine_id)] == float(value), (
                features,
                detector,
                name,
            )


def test_the_rows_are_our_extractors_and_detectors():
    """Every row of Table 1 is an extractor with a detector, or one of the two auto-encoders."""
    pairs = {(features, detector) for features in paper.EXTRACTORS.values() for detector in paper.DETECTORS.values()}
    baselines = {("–", name) for name in paper.AUTOENCODERS.values()}
    assert set(paper.table_1().index) == pairs | baselines


def test_who_comes_first():
    """Of the 16 settings ResNet34 wins 7, ResNet18 and AlexNet 3 each, SqueezeNet 2, an auto-encoder 1."""
    winners = paper.table_1().idxmax()
    features = winners.map(lambda row: row[0])
    assert features.value_counts().to_dict() == {
        "ResNet34": 7,
        "ResNet18": 3,
        "AlexNet": 3,
        "SqueezeNet": 2,
        "–": 1,
    }
    detectors = winners.map(lambda row: row[1])
    assert detectors.value_counts().to_dict() == {"GMM": 9, "OC-SVM": 6, "Small-DCAE": 1}
    assert winners["pump", "id_06"] == ("–", "Small-DCAE")


def test_no_first_place_is_shared():
    """The best AUC of every setting is reached by one system alone."""
    table = paper.table_1()
    assert (table == table.max()).sum().eq(1).all()


@pytest.mark.parametrize(
    ("row", "mean"),
    [
        (("ResNet34", "GMM"), 74.0),
        (("ResNet18", "GMM"), 72.3),
        (("ResNet34", "OC-SVM"), 69.0),
        (("ResNet18", "OC-SVM"), 67.7),
        (("–", "LeNet-DCAE"), 59.8),
        (("–", "Small-DCAE"), 59.0),
    ],
)
def test_means_of_rows(row, mean):
    """The mean AUC of a system over the 16 settings is what its cells give."""
    assert paper.table_1().loc[row].mean() == pytest.approx(mean, abs=0.05)


def test_mimii_has_18019_clips():
    """MIMII holds 14,719 normal and 3,300 abnormal clips at every SNR."""
    counts = [count for ids in paper.MIMII.values() for count in ids.values()]
    assert sum(count.normal for count in counts) == 14_719
    assert sum(count.abnormal for count in counts) == 3_300
    assert max(count.normal + count.abnormal for count in counts) == 1_424


def test_totals_of_machine_types():
    """The totals per machine type are MIMII's."""
    totals = pd.DataFrame(
        {
            machine: np.sum([(count.normal, count.abnormal) for count in ids.values()], axis=0)
            for machine, ids in paper.MIMII.items()
        }
    )
    assert totals.loc[0].to_dict() == {"fan": 4075, "pump": 3749, "slider": 3204, "valve": 3691}
    assert totals.loc[1].to_dict() == {"fan": 1475, "pump": 456, "slider": 890, "valve": 479}


def test_most_ids_have_too_few_abnormal_clips():
    """Nine of the 16 IDs have fewer abnormal clips than the 150 that the paper's test set takes."""
    assert sum(count.abnormal < 150 for ids in paper.MIMII.values() for count in ids.values()) == 9
