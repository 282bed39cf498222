"""Tables of the pages: Table 1, and what a page says of its run."""

import re

import numpy as np
import pandas as pd
from bs4 import BeautifulSoup

from mimii_lib import paper
from mimii_lib.evaluation import table_1_shape
from mimii_lib.pages import run_box, tables
from mimii_lib.run import Run


def parsed(html: str) -> pd.DataFrame:
    """Return Table 1 as text, by the heads of its rows (features, detector) and the columns of the paper."""
    rows, features = {}, ""
    for row in BeautifulSoup(html, "html.parser").select("tbody tr"):
        *group, detector = (head.text for head in row.select("th"))
        features = group[0] if group else features
        rows[features, detector] = [cell.text for cell in row.select("td")]
    return pd.DataFrame.from_dict(rows, orient="index", columns=paper.table_1().columns)


def test_table_1_shows_means_and_marks_the_best():
    """A cell is the mean over the seeds in percent; the best of a column is bold, the second underlined, others ≈.

    Rows without results stand last, in a line for each network; features that the paper does not have are marked.
    """
    aucs = [("resnet18", "gmm", 0, 0.8), ("resnet18", "gmm", 1, 0.7), ("squeezenet1_1_random", "kde", 0, 0.6)]
    aucs = pd.DataFrame([*aucs, (None, "small-dcae", 0, 0.512)], columns=["extractor", "detector", "seed", "auc"])
    ours = table_1_shape(aucs.assign(machine="fan", id="id_00"))
    near = {("fan", "id_00"): {("ResNet18", "GMM"), ("–", "Small-DCAE")}}
    page = BeautifulSoup(tables.table_1(ours, near, "Ours", {"ResNet18": "ResNet18, V1"}).data, "html.parser")
    missing = {row.th.text: row.td.text for row in page.select("tr.not-run")}
    assert [row["class"] for row in page.select("tbody tr")[3:]] == [["not-run"]] * len(missing)
    assert missing["ResNet18"] == "B-GMM, IF, KDE, OC-SVM" and missing["–"] == "LeNet-DCAE"
    assert sum(text.count(",") + 1 for text in missing.values()) == ours.isna().all(axis=1).sum()
    for row in page.select("tr.not-run"):
        row.decompose()
    html = str(page)
    shown = parsed(html)
    assert list(shown["fan", "id_00"]) == ["75.0", "51.2≈", "60.0"]
    assert re.findall("<[bu]>[0-9.]*", html) == ["<b>75.0", "<u>60.0"]
    assert shown.index[0] == ("ResNet18, V1", "GMM")
    marked = [features for features, _ in shown.index if "not in the paper" in features]
    assert marked == ["SqueezeNet 1.1, randomnot in the paper"]


def test_the_published_table_1_is_shown_as_published():
    """Every cell of the paper's table holds the number of the CSV file; ties share the mark of the best."""
    published = paper.table_1()
    html = tables.table_1(published, {}, "The paper's Table 1").data
    shown = parsed(html)
    np.testing.assert_array_equal(shown.astype(float).to_numpy(), published.to_numpy())
    assert html.count("<b>") == (published == published.max()).sum().sum()
    assert not any("not" in head for row in shown.index for head in row)


def test_the_box_shows_the_facts_of_its_runs(tiny, quick, tmp_path):
    """The box names machine IDs, recordings, seeds and profile; a fact that differs by machine type names both."""
    options = {"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path}
    fan, valve = Run("fan", **options, seeds="0 1"), Run("valve", **options)
    box = run_box.facts([fan, valve]).data
    for fact in ("fan: id_00; valve: id_00", "fan: 0, 1; valve: 0", "the miniature", "−6 dB", "quick"):
        assert fact in box
    assert "Left out" not in box
    assert run_box.seeds_of([fan, fan]) == "0, 1"


def test_deviations_are_those_of_the_run(tiny, quick, tmp_path):
    """A run names its version of SqueezeNet, and what its auto-encoders do otherwise than the paper says, only that."""
    options = {"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path, "extractors": "squeezenet1_1"}
    trained = {"autoencoders.epochs": 3, "autoencoders.batch_size": 4, "autoencoders.seeds": [0]}
    short = Run("fan", **options, detectors="small-dcae", settings=trained)
    stated = {"autoencoders.epochs": 80, "autoencoders.batch_size": 128}
    whole = Run("fan", **options, detectors="small-dcae", seeds="0 1 2 3 4", settings=stated)
    of_short, of_whole = (" ".join(tables.deviations([run])) for run in (short, whole))
    assert "epochs 3 (in the paper 80), patches a batch 4 (in the paper 128), seeds 1 (in the paper 5)" in of_short
    assert "Auto-encoders" not in of_whole and "in the paper 861" in of_whole
    assert "batches of 4" in run_box.training_of([short]) and "batches" not in run_box.training_of([whole])
    assert tables.versions([short]) == {"SqueezeNet": "SqueezeNet 1.1"}
