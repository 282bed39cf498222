"""The statements of §6: counted as the paper counts, tested with the errors of a table."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from mimii_lib import evaluation, paper
from mimii_lib.pages import claims, contrasts, tables
from mimii_lib.settings import SIMPLE_BASELINES
from mimii_lib.uncertainty import bootstrap_aucs

PUBLISHED = contrasts.published()
NETWORKS = ("alexnet", "resnet18", "resnet34", "squeezenet1_1")
RESNETS = ("resnet18", "resnet34")
UNTRAINED = tuple(("squeezenet1_1_random", detector) for detector in paper.DETECTORS)
BASELINES = tuple((None, name) for name in SIMPLE_BASELINES)


@cache
def estimates(seed, informed=(), beyond=()):
    """Return AUC estimates like Table 1's, of random scores; those of the `informed` extractors know the labels.

    The systems `beyond` are not in the paper, and leave the scores of the others as they are.
    """
    anomalous, names = np.arange(120) >= 60, np.arange(120).astype(str)
    systems = [(name, detector) for name in NETWORKS for detector in paper.DETECTORS]
    systems += [*((None, name) for name in paper.AUTOENCODERS), *beyond]
    table = {}
    for number, column in enumerate(paper.table_1()):
        random = np.random.default_rng([seed, number])
        common = random.standard_normal(120)
        scored = []
        for system in systems:
            scores = common + random.standard_normal(120) + 2 * (system[0] in informed) * anomalous
            scored.append(evaluation.ClipScores(" ".join(column), system, names, anomalous, scores))
        table[column] = bootstrap_aucs(scored, draws=60)
    return table


def reproduced(*args):
    return contrasts.reproduced(estimates(*args))


def permuted(table):
    """Return the same estimates with rows and columns in another order."""
    rows, columns = (np.random.default_rng(0).permutation(size) for size in table.table.shape)
    covariances = table.covariances[:, columns][:, :, rows][:, :, :, rows]
    return replace(table, table=table.table.iloc[rows, columns], covariances=covariances)


@pytest.mark.parametrize("level", ["features", "detector"])
def test_first_places_agree_with_the_text_and_second_places_do_not(level):
    """The text gives 15 second places; the published table has 18 on its 16 columns, some of them shared."""
    places = claims.place_table(level)
    assert (places["in the text", "first"] == places["in its table", "first"]).all()
    assert places.sum()["in the text"].to_dict() == {"first": 16, "second": 15}
    assert places.sum()["in its table"].to_dict() == {"first": 16, "second": 18, "shared": 4}


@pytest.mark.parametrize(
    ("number", "as_printed", "counted"),
    [
        ("1a", claims.TRUE, "1 of 16"),
        ("1b", claims.TRUE, "11 to 4 machine IDs, 1 tied"),
        ("2b", claims.IN_PART, "AlexNet 65.1"),
        ("2c", claims.TRUE, "7 of its 7"),
        ("3a", claims.TRUE, "15 of 16"),
        ("3b", claims.IN_PART, "ResNet34 OC-SVM 5"),
        ("3c", claims.IN_PART, "SqueezeNet −0.6"),
        ("4c", claims.FALSE, "34.8 points, or 58 %"),
        ("4d", claims.TRUE, "valve 79.1"),
    ],
)
def test_counts_in_the_published_table(number, as_printed, counted):
    """The counts of §6 are those of the published Table 1; with three of its statements only a part of them agrees.

    The scores of the fan are its best cells, not averages, and no reading makes M6 30 % better than M4.
    """
    outcome = claims.verdicts(PUBLISHED).loc[number]
    assert outcome.as_printed == as_printed
    assert counted in outcome.counted


def test_what_is_not_true_as_printed_does_not_survive():
    """A statement survives if it is true of the table, at least in part, and its contrast is significant."""
    outcomes = claims.verdicts(PUBLISHED)
    assert outcomes.verdict["4c"] == claims.HOLDS and not outcomes.survives["4c"]
    assert list(outcomes.index[~outcomes.survives]) == ["1a", "1b", "2b", "2e", "3b", "4c"]
    assert list(outcomes.index[outcomes.survives]) == ["1c", "2a", "2c", "2d", "3a", "3c", "4a", "4b", "4d"]


def test_the_table_of_statements_has_a_column_for_our_results_only_where_there_are_any():
    """A statement has its count and its test on the paper's table; ours is added with its scope."""
    published, ours = claims.verdicts(PUBLISHED), claims.verdicts(reproduced(0, RESNETS))
    alone, both = (claims.verdict_table(published, other, "on a sample", "0, 1").data for other in (None, ours))
    assert alone.count("</td>") == 4 * len(published) and both.count("</td>") == 5 * len(published)
    assert ", ours 0, 1" in both and ", ours" not in alone
    assert "on a sample" not in alone and "✓ holds on a sample" in both
    assert "– not true as printed" in alone and "– cannot be tested" in alone


def test_the_summary_puts_every_statement_in_one_group():
    """Survivors come first, then what does not survive, is not true as printed, and was not tested."""
    survive, lost, false, untested = claims.summary(claims.verdicts(PUBLISHED)).split("; ")
    numbers = [re.findall(r"\((\w\w)\)", text) for text in (survive, lost, false, untested)]
    assert survive.startswith("9 ") and lost.startswith("4 ")
    assert numbers[1:] == [["1a", "1b", "2b", "3b"], ["4c"], ["2e"]]
    assert sorted(number for group in numbers for number in group) == list(claims.CLAIMS.index)


def test_large_effects_of_the_published_table_hold():
    """What stands clear of the sampling error holds, differences of neighbours are inconclusive, nothing is refuted."""
    verdicts = claims.verdicts(PUBLISHED).verdict
    assert (verdicts[["1c", "2c", "3a", "4b"]] == claims.HOLDS).all()
    assert (verdicts[["1a", "1b", "2e"]] == claims.INCONCLUSIVE).all()
    assert claims.DOES_NOT not in set(verdicts)


@pytest.mark.parametrize("seed", range(8))
def test_random_scores_are_inconclusive(seed):
    """Where scores know nothing of the labels, no statement holds and none is refuted."""
    assert set(claims.verdicts(reproduced(seed)).verdict) == {claims.INCONCLUSIVE}


def test_true_statements_hold_and_false_ones_do_not():
    """Where the ResNets alone know the labels, 2a holds; where AlexNet alone knows them, it does not."""
    right, wrong = (claims.verdicts(reproduced(0, names)).verdict for names in (RESNETS, ("alexnet",)))
    assert (right[["1c", "2a", "2d"]] == claims.HOLDS).all()
    assert wrong["2a"] == claims.DOES_NOT


def test_a_large_error_makes_every_statement_inconclusive():
    """With errors a hundred times as large the same table bears out nothing and refutes nothing."""
    noisy = replace(PUBLISHED, covariances=1e4 * PUBLISHED.covariances)
    assert set(claims.verdicts(noisy).verdict) == {claims.INCONCLUSIVE}


@pytest.mark.parametrize("table", [PUBLISHED, reproduced(0, RESNETS)], ids=["published", "reproduced"])
def test_the_order_of_rows_and_columns_changes_nothing(table):
    """Verdicts, contrasts and p-values are those of the table in any order."""
    before, after = claims.verdicts(table), claims.verdicts(permuted(table))
    assert before.verdict.equals(after.verdict)
    np.testing.assert_allclose(*(outcomes[["value", "low", "high", "p"]].astype(float) for outcomes in (before, after)))
    assert table.near_best() == permuted(table).near_best()


def test_rows_beyond_the_paper_change_no_verdict():
    """A statement is about the paper's rows: other rows of our table are not counted, however good they are."""
    plain, more = (reproduced(3, ("resnet34",), beyond) for beyond in ((), (*UNTRAINED, *BASELINES)))
    columns = ["counted", "verdict"]
    pd.testing.assert_frame_equal(claims.verdicts(plain)[columns], claims.verdicts(more)[columns])


def test_a_part_of_the_table_is_enough():
    """With one network and one machine type every statement has a verdict; those on several have no contrast."""
    table = reproduced(1)
    rows = table.table.index[table.table.index.get_level_values("features") == "ResNet18"]
    part = claims.verdicts(table.select(rows, table.table.columns[:4]))
    assert list(part.index) == list(claims.CLAIMS.index)
    assert set(part.verdict) == {claims.INCONCLUSIVE}
    assert part.value[["1a", "1b", "1c", "2a", "2c", "4a", "4d"]].isna().all()
    assert part.value[["3a", "3c", "4b", "4c"]].notna().all()


def test_a_table_without_fans_has_verdicts():
    """A statement on fans is not counted where there are none; the others are."""
    pumps = claims.verdicts(PUBLISHED.select(PUBLISHED.table.index, PUBLISHED.table.columns[4:8]))
    assert pd.isna(pumps.as_printed["4c"]) and pumps.as_printed["1a"] == claims.TRUE


def test_equal_dimension_requires_a_lead_at_every_dimension():
    """2e holds where the ResNets lead at each dimension; one dimension where they trail refutes it."""
    lead, trail = reproduced(0, RESNETS), reproduced(0, ("alexnet",))
    for reduced, verdict in (((), claims.INCONCLUSIVE), ((lead, lead), claims.HOLDS), ((lead, trail), claims.DOES_NOT)):
        assert claims.verdicts(replace(lead, reduced=reduced)).verdict["2e"] == verdict


def test_the_worst_assumption_on_error_correlations_counts():
    """However the errors of the paper's rows correlate, the interval of a contrast allows for it."""
    gmm, kde = (PUBLISHED.weights(features=["ResNet34"], detector=[name]) for name in ("GMM", "KDE"))
    single = [replace(PUBLISHED, covariances=PUBLISHED.covariances[[number]]) for number in range(4)]
    widths = [table.contrast(gmm - kde).high - table.contrast(gmm - kde).low for table in (PUBLISHED, *single)]
    assert widths[0] == max(widths[1:])
    assert min(widths[1:]) < 0.5 * widths[0]


def test_the_error_of_a_published_cell_is_hanley_and_mcneils():
    """The errors follow the formula with the clips that MIMII has: 150 normal, and up to 150 abnormal ones."""
    errors = PUBLISHED.errors()["slider", "id_06"]
    assert errors["ResNet34", "GMM"] == pytest.approx(100 * evaluation.standard_error(0.691, 150, 89))


def test_the_rows_near_the_best_include_the_best():
    """In most columns of the published table several rows are not significantly worse than the best."""
    near = PUBLISHED.near_best()
    assert set(near) == set(PUBLISHED.table)
    assert all(PUBLISHED.table[column].idxmax() in rows for column, rows in near.items())
    assert sum(len(rows) == 1 for rows in near.values()) <= 4


def test_a_noisy_copy_of_the_best_row_is_near_it():
    """A copy of the best row with a little noise is not significantly worse; a row that knows nothing is."""
    random = np.random.default_rng(6)
    anomalous, names = np.arange(240) >= 120, np.arange(240).astype(str)
    scores = random.standard_normal(240) + 2 * anomalous
    rows = {"gmm": scores, "kde": scores + 0.05 * random.standard_normal(240), "if": random.standard_normal(240)}
    scored = [evaluation.ClipScores("fan", ("resnet18", name), names, anomalous, row) for name, row in rows.items()]
    near = contrasts.reproduced({("fan", "id_00"): bootstrap_aucs(scored)}).near_best()
    assert near == {("fan", "id_00"): {("ResNet18", "GMM"), ("ResNet18", "KDE")}}


def test_networks_gain_over_what_knows_nothing():
    """Informed networks gain over an untrained one and over the simple baselines, which are at chance."""
    gains = contrasts.gains(reproduced(4, NETWORKS, (*UNTRAINED, *BASELINES)))
    assert gains.index[0] == "SqueezeNet over SqueezeNet 1.1, random"
    assert len(gains) == 1 + 2 * len(SIMPLE_BASELINES)
    over_chance = gains.index.str.endswith("chance")
    assert (gains.low[~over_chance] > 10).all()
    assert (gains.difference[over_chance].abs() < 5).all()
    assert contrasts.gains(reproduced(0)).empty


def test_differences_of_cells_allow_for_both_errors():
    """A cell is compared with the paper's only where the recordings allow it; the interval is wider than ours."""
    own = estimates(2)
    doubled = {"double": {column: dict(2 * estimate.values) for column, estimate in own.items()}}
    apart, compared = (tables.cells(own, doubled, n_train) for n_train in (None, dict.fromkeys(own, 50)))
    np.testing.assert_allclose(apart.double, 2 * apart.ours)
    assert len(apart) == len(compared) == PUBLISHED.table.size
    assert not {"difference", "from", "to", "clips trained"} & set(apart)
    assert set(compared["clips trained"]) == {50}
    np.testing.assert_allclose(compared.difference, compared.ours - compared.paper)
    assert (compared.to - compared["from"] > 0.99 * (compared.high - compared.low)).mean() > 0.95
    assert compared.set_index(["machine", "ID", "features", "detector"]).paper["fan", "id_06", "AlexNet", "GMM"] == 94.5
