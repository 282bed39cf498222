"""§6's statements: counted as the paper counts, and tested."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from mimii_lib import evaluation, paper
from mimii_lib.pages import claims, tables
from mimii_lib.settings import SIMPLE_BASELINES
from mimii_lib.uncertainty import bootstrap_aucs

PUBLISHED = {
    claim.number: found
    for claim, found in zip(claims.CLAIMS, claims.judged(claims.CLAIMS, claims.published()), strict=True)
}


@cache
def random_areas(seed, better=(), beyond=()):
    """Return a table like the paper's of scores that know nothing, but for the rows in `better`.

    The rows `beyond` are not the paper's.
    """
    anomalous = np.arange(120) >= 60
    names = np.arange(120).astype(str)
    rows = [
        (name, detector)
        for name in ("alexnet", "resnet18", "resnet34", "squeezenet1_1")
        for detector in paper.DETECTORS
    ]
    rows += [(None, name) for name in paper.AUTOENCODERS]
    rows += list(beyond)
    found = {}
    for number, column in enumerate(paper.table_1()):
        random = np.random.default_rng([seed, number])  # more rows leave the others as they are
        common = random.standard_normal(120)
        tested = []
        for row in rows:
            scores = common + random.standard_normal(120) + 2 * (row[0] in better) * anomalous
            tested.append(evaluation.ClipScores(" ".join(column), row, names, anomalous, scores))
        found[column] = bootstrap_aucs(tested, draws=60)
    return found


def test_the_places_are_those_of_the_published_table():
    """First places agree with the text; the second places do not, and two of them are shared."""
    for level in ("features", "detector"):
        counted, text = claims.rankings(paper.table_1(), level), paper.RANKINGS[level]
        assert counted["first"].to_dict() == {name: first for name, (first, _) in text.items()}
        assert counted["first"].sum() == 16
        assert counted.second.sum() == 18
        assert sum(second for _, second in text.values()) == 15
    assert claims.rankings(paper.table_1(), "features").second.to_dict() == {
        "ResNet34": 7, "ResNet18": 5, "SqueezeNet": 4, "AlexNet": 2, "auto-encoders": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "as_worded", "counted"),
    [
        ("1a", True, "1 of 16"),
        ("1b", True, "11 to 4 and 1 tied"),
        ("2b", False, "AlexNet 65.1"),
        ("2c", True, "7 of its 7"),
        ("3a", True, "15 of 16"),
        ("3b", False, "ResNet34 GMM 1."),
        ("3c", False, "SqueezeNet −0.6"),
        ("4c", None, "34.8 points"),
        ("4d", True, "valve 79.1"),
    ],
)
def test_statements_as_counted_in_the_published_table(number, as_worded, counted):
    """What the paper counts comes out as it can be counted in its Table 1."""
    assert PUBLISHED[number].as_worded is as_worded
    assert counted in PUBLISHED[number].counted


def test_the_published_table_bears_out_what_stands_clear_of_its_error():
    """Large effects hold; a difference between neighbours cannot be told; nothing is refuted by chance."""
    assert {number for number, found in PUBLISHED.items() if found.verdict == claims.HOLDS} >= {"1c", "2c", "3a", "4b"}
    assert {PUBLISHED[number].verdict for number in ("1a", "1b", "2e")} == {claims.INCONCLUSIVE}


@pytest.mark.parametrize("seed", range(8))
def test_of_shuffled_labels_nothing_can_be_told(seed):
    """Where scores know nothing of the labels, no statement holds and none is refuted."""
    results = claims.ours(random_areas(seed))
    assert {found.verdict for found in claims.judged(claims.CLAIMS, results)} == {claims.INCONCLUSIVE}


def test_what_is_so_is_found():
    """Where the ResNets do know something, the statements about them hold, and the other way round they do not."""
    right, wrong = (
        {
            claim.number: found.verdict
            for claim, found in zip(
                claims.CLAIMS, claims.judged(claims.CLAIMS, claims.ours(random_areas(0, names))), strict=True
            )
        }
        for names in (claims_names("ResNet"), claims_names("AlexNet"))
    )
    assert right["2a"] == right["2d"] == right["1c"] == claims.HOLDS
    assert wrong["2a"] == claims.DOES_NOT


def claims_names(start):
    return tuple(name for name, title in paper.EXTRACTORS.items() if title.startswith(start))


def test_a_part_of_the_table_is_enough():
    """With one network and one machine type every statement is answered, most of them with: cannot be told."""
    areas = {column: found for column, found in random_areas(1).items() if column[0] == "fan"}

    def kept(found):
        return np.array([row[0] == "resnet18" for row in found.values.index])

    part = {
        column: claims.AucEstimates(
            found.values[kept(found)], found.covariance.loc[kept(found), kept(found)], found.n_normal, found.n_abnormal
        )
        for column, found in areas.items()
    }
    found = claims.judged(claims.CLAIMS, claims.ours(part))
    assert len(found) == len(claims.CLAIMS)
    assert {each.verdict for each in found} == {claims.INCONCLUSIVE}


def test_a_contrast_takes_the_error_that_says_least():
    """However the paper's rows err together, the interval allows for it."""
    results = claims.published()
    table = results.table
    weights = pd.DataFrame(0.0, table.index, table.columns)
    weights.loc[("ResNet34", "GMM")] = 1 / 16
    weights.loc[("ResNet34", "KDE")] = -1 / 16
    _, error = results.contrast(weights)
    alone = [claims.Results(table, (known,)).contrast(weights)[1] for known in results.covariances]
    assert error == max(alone)
    assert min(alone) < 0.5 * error


def test_a_cells_error_is_hanley_and_mcneils():
    """The paper's cells err as the formula says, with the clips that MIMII has."""
    errors = claims.published().errors()
    expected = evaluation.standard_error(0.945, 150, 150)
    assert errors.loc[("AlexNet", "GMM"), ("fan", "id_06")] == pytest.approx(100 * expected)
    assert errors.loc[("ResNet34", "GMM"), ("slider", "id_06")] == pytest.approx(
        100 * evaluation.standard_error(0.691, 150, 89)
    )


def test_what_cannot_be_told_from_the_best():
    """The best row is among them, so is a copy of it with a little noise, and a row that knows nothing is not."""
    random = np.random.default_rng(6)
    anomalous, names = np.arange(240) >= 120, np.arange(240).astype(str)
    scores = random.standard_normal(240) + 2 * anomalous
    rows = {"gmm": scores, "kde": scores + 0.05 * random.standard_normal(240), "if": random.standard_normal(240)}
    tested = [
        evaluation.ClipScores("fan id_00", ("resnet18", name), names, anomalous, each) for name, each in rows.items()
    ]
    results = claims.ours({("fan", "id_00"): bootstrap_aucs(tested)})
    assert results.near_best() == {("fan", "id_00"): {("ResNet18", "GMM"), ("ResNet18", "KDE")}}


def test_few_of_the_published_bests_stand_alone():
    """With 89 to 150 abnormal clips a column, most of the paper's best cells have company."""
    near = claims.published().near_best()
    assert set(near) == set(paper.table_1())
    assert sum(len(rows) == 1 for rows in near.values()) <= 4
    for column, rows in near.items():
        assert paper.table_1()[column].idxmax() in rows


def test_cells_tell_a_difference_only_from_the_same_recordings():
    """What lies between the paper's cell and ours is told of MIMII alone, and allows for both errors."""
    areas = random_areas(2)
    others = {"double": {column: dict(2 * found.values) for column, found in areas.items()}}
    apart, compared = (tables.cells(areas, others, comparable) for comparable in (False, True))
    np.testing.assert_allclose(apart.double, 2 * apart.ours)
    assert len(apart) == len(compared) == 22 * 16
    assert not {"difference", "from", "to"} & set(apart)
    np.testing.assert_allclose(compared.difference, compared.ours - compared.paper)
    assert ((compared.low < compared.ours) & (compared.ours < compared.high)).all()
    assert (compared.to - compared["from"] > 0.99 * (compared.high - compared.low)).mean() > 0.95
    assert compared.set_index(["machine", "ID", "features", "detector"]).paper["fan", "id_06", "AlexNet", "GMM"] == 94.5


def test_a_difference_is_coloured_by_its_interval():
    """A cell is coloured where there is a difference to judge: agreement, above or below."""
    row = {"machine": "fan", "paper": 60.0, "ours": 61.0}
    rows = [(1.0, -1.0, 3.0), (9.0, 7.0, 11.0), (-9.0, -11.0, -7.0), (np.nan, np.nan, np.nan)]
    found = pd.DataFrame([row | dict(zip(("difference", "from", "to"), each, strict=True)) for each in rows])
    made = tables.sortable(found, "Cells").data
    assert [made.count(f'class="{kind}"') for kind in ("agrees", "above", "below")] == [1, 1, 1]
    assert "class=" not in tables.sortable(found[["machine", "ours"]], "Cells").data.split("<tbody>")[1]


def test_rows_beyond_the_paper_change_no_verdict():
    """A statement is of the paper's rows: what else stands in our table, however good, is not counted."""
    drawn = [("squeezenet1_1_random", name) for name in paper.DETECTORS]
    beyond = (*drawn, *((None, name) for name in SIMPLE_BASELINES))
    plain, more = (random_areas(3, better=("resnet34",), beyond=rows) for rows in ((), beyond))
    found = [claims.judged(claims.CLAIMS, claims.ours(each)) for each in (plain, more)]
    assert [each.counted for each in found[0]] == [each.counted for each in found[1]]
    assert [each.verdict for each in found[0]] == [each.verdict for each in found[1]]


def test_what_networks_gain_is_found_where_there_is_something():
    """Trained networks that know something gain over one that was drawn and over controls; these are at chance."""
    drawn = [("squeezenet1_1_random", name) for name in paper.DETECTORS]
    beyond = (*drawn, *((None, name) for name in SIMPLE_BASELINES))
    networks = tuple(dict.fromkeys(paper.EXTRACTORS))
    found = {
        (each.these, each.others): each.difference
        for each in claims.gains(claims.ours(random_areas(4, better=networks, beyond=beyond)))
    }
    assert next(iter(found)) == ("SqueezeNet", "SqueezeNet 1.1, random")
    assert len(found) == 1 + 2 * len(SIMPLE_BASELINES)
    for (_, others), difference in found.items():
        assert (difference.low > 10) == (others != "chance"), others
        assert others != "chance" or abs(difference.value) < 5


def test_nothing_is_gained_where_nothing_was_run_beside():
    """Without controls and without a network that was drawn there is nothing to compare."""
    assert claims.gains(claims.ours(random_areas(0))) == []


def test_equal_dimension_asks_at_every_dimension():
    """The ranking holds at equal dimension where the ResNets lead at each; one where they do not speaks against it."""
    lead, trail = (claims.ours(random_areas(0, claims_names(start))) for start in ("ResNet", "AlexNet"))
    number = [claim.number for claim in claims.CLAIMS].index("2e")

    def verdict(*reduced):
        return claims.judged(claims.CLAIMS, replace(lead, reduced=reduced))[number].verdict

    assert verdict() == claims.INCONCLUSIVE
    assert verdict(lead, lead) == claims.HOLDS
    assert verdict(lead, trail) == claims.DOES_NOT
