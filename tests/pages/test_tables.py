"""Tables of the pages: Table 1, and what a page says of its run."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from mimii_lib import paper
from mimii_lib.evaluation import table_1_shape
from mimii_lib.pages import run_box, tables
from mimii_lib.run import Run
from mimii_lib.settings import Imaging


def parsed(html: str) -> pd.DataFrame:
    """Return Table 1 as text, by the heads of its rows (features, detector) and the columns of the paper."""
    rows, features = {}, ""
    for row in BeautifulSoup(html, "html.parser").select("tbody tr"):
        *group, detector = (head.text for head in row.select("th"))
        features = group[0] if group else features
        rows[features, detector] = [cell.text for cell in row.select("td")]
    return pd.DataFrame.from_dict(rows, orient="index", columns=paper.table_1().columns)


def aucs_of(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["machine", "id", "extractor", "detector", "seed", "auc"])


@pytest.fixture
def ours() -> pd.DataFrame:
    """Return Table 1 of two systems on one machine ID, with two seeds of the first system."""
    return table_1_shape(
        aucs_of(
            ("fan", "id_00", "resnet18", "gmm", 0, 0.80),
            ("fan", "id_00", "resnet18", "gmm", 1, 0.70),
            ("fan", "id_00", None, "small-dcae", 0, 0.512),
            ("fan", "id_00", "squeezenet1_1_random", "kde", 0, 0.6),
        )
    )


def test_table_1_shows_means_over_the_seeds_marked_by_rank(ours):
    """The best AUC of a column is bold, the second underlined, each the mean over the seeds to one decimal."""
    html = tables.table_1(ours, {}, "Ours").data
    cells = parsed(html)["fan", "id_00"]
    assert cells["ResNet18", "GMM"] == "75.0"
    assert cells["–", "Small-DCAE"] == "51.2"
    assert html.count("<b>") == html.count("<u>") == 1
    assert "<b>75.0</b>" in html
    assert "<u>60.0</u>" in html


def test_table_1_names_what_was_not_run_and_what_is_ours(ours):
    """A row without results says so in its head and has no number; features that the paper does not have are marked."""
    shown = parsed(tables.table_1(ours, {}, "Ours").data)
    not_run = [detector.endswith("not run") for _, detector in shown.index]
    assert (ours.isna().all(axis=1) == not_run).all()
    assert set(shown[not_run].to_numpy().ravel()) == {"–"}
    assert [features for features, _ in shown.index if features.endswith("not in the paper")] == [
        "SqueezeNet 1.1, randomnot in the paper"
    ]


def test_table_1_marks_cells_near_the_best(ours):
    """≈ follows exactly the cells that are named as not significantly worse than the best of their column."""
    near = {("fan", "id_00"): {("ResNet18", "GMM"), ("–", "Small-DCAE")}}
    shown = parsed(tables.table_1(ours, near, "Ours").data)["fan", "id_00"]
    assert list(shown[shown.str.endswith("≈")]) == ["75.0≈", "51.2≈"]


def test_the_published_table_1_is_shown_as_published():
    """Every cell of the paper's table holds the number of the CSV file; ties share the mark of the best."""
    published = paper.table_1()
    html = tables.table_1(published, {}, "The paper's Table 1").data
    shown = parsed(html)
    np.testing.assert_array_equal(shown.astype(float).to_numpy(), published.to_numpy())
    assert html.count("<b>") == (published == published.max()).sum().sum()
    assert not any("not" in head for row in shown.index for head in row)


def test_auc_table_has_a_row_per_system_and_a_column_per_id():
    """AUCs are means over the seeds in percent."""
    table = tables.auc_table(
        aucs_of(
            ("fan", "id_00", "resnet18", "gmm", 0, 0.8),
            ("fan", "id_00", "resnet18", "gmm", 1, 0.6),
            ("fan", "id_02", None, "lenet-dcae", 0, 0.5),
        )
    )
    assert table.loc["ResNet18 GMM", "id_00"] == pytest.approx(70)
    assert table.loc["LeNet-DCAE", "id_02"] == 50
    assert table.isna().sum().sum() == 2


@pytest.mark.parametrize(("hop", "shapes"), [(256, ["(64, 626)", "(18, 64, 64)"]), (512, ["(64, 313)", "(8, 64, 64)"])])
def test_shapes_of_a_clip_follow_from_the_settings(hop, shapes):
    """§5: a hop of 256 gives 626 frames and 18 patches; a hop of 512, which fits the paper's seconds, gives 8."""
    html = tables.clip_shapes(Imaging(hop=hop)).data
    assert all(f"<td>{shape}</td>" in html for shape in shapes)


def test_text_of_a_run_is_escaped_and_its_facts_are_shown(tiny, quick, tmp_path):
    """The box names machine IDs, recordings, seeds and profile; a fact that differs by machine type names both."""
    options = {"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path}
    fan, valve = Run("fan", **options, seeds="0 1"), Run("valve", **options)
    box = run_box.facts([fan, valve]).data
    for fact in ("fan: id_00; valve: id_00", "fan: 0, 1; valve: 0", "the miniature", "−6 dB", "quick"):
        assert fact in box
    assert "Left out" not in box
    assert run_box.seeds_of([fan, fan]) == "0, 1"
    assert "&lt;b&gt;" in run_box.facts_box({"Name": "<b>"}).data
