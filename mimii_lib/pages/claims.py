"""§6's statements, each put as a number, held against a table of AUCs with its uncertainty.

A statement is counted as the paper counts, and tested. To count is not to test: of any table some row is the best, and
another would be on other clips. So each statement is also put as a *contrast*, a weighted sum of the table's cells that
is 0 where there is nothing to it and positive where it is right. Its standard error comes from the clips
(:mod:`mimii_lib.uncertainty`), its p-value is corrected for the number of statements, and the verdict follows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from mimii_lib import paper
from mimii_lib.evaluation import standard_error, system_names
from mimii_lib.extractors import UNTRAINED
from mimii_lib.settings import SIMPLE_BASELINES, Split
from mimii_lib.uncertainty import AucEstimates, Interval, corrected, p_value, symmetric

HOLDS, DOES_NOT, INCONCLUSIVE = "holds", "does not hold", "cannot be told"

TOP_1 = {"AlexNet": 56.5, "SqueezeNet": 58.1, "ResNet18": 69.8, "ResNet34": 73.3}
"""Top-1 accuracy on ImageNet in percent of torchvision's weights (SqueezeNet 1.0; 1.1 has 58.2)."""

RESNETS, BEST_DETECTORS = ("ResNet18", "ResNet34"), ("GMM", "OC-SVM")


@dataclass(frozen=True)
class Results:
    """A table of AUCs that a statement is held against.

    Attributes
    ----------
    table : DataFrame
        AUC in percent: rows (features, detector), columns (machine, id), as :func:`mimii_lib.paper.table_1`; NaN
        where nothing was run.
    covariances : arrays of shape (columns, rows, rows)
        Of the errors of a column's rows, in squared points: the cells of different machine IDs err independently. More
        than one where it is not known; the one that says least counts.
    reduced
        The same with the features of every network reduced to one dimension, as far as that was run: a table for each.
    """

    table: pd.DataFrame
    covariances: tuple[NDArray[np.float64], ...]
    reduced: tuple["Results", ...] = ()

    def contrast(self, weights: pd.DataFrame) -> tuple[Interval, float]:
        """Return a weighted sum of the cells with its 95 % interval, and its standard error."""
        w = weights.reindex(index=self.table.index, columns=self.table.columns).fillna(0).to_numpy()
        value = float((w * self.table.fillna(0).to_numpy()).sum())
        variance = max(float(np.einsum("rc,crs,sc->", w, known, w, optimize=True)) for known in self.covariances)
        error = float(np.sqrt(max(variance, 0.0)))
        return symmetric(value, error), error

    def of_the_paper(self) -> "Results":
        """Return the rows alone that the paper has too: its statements are of no others."""
        here = self.table.index.isin(paper.table_1().index)
        return replace(
            self, table=self.table[here], covariances=tuple(known[:, here][:, :, here] for known in self.covariances)
        )

    def errors(self) -> pd.DataFrame:
        """Return the standard error of every cell."""
        variance = np.max([np.diagonal(known, axis1=1, axis2=2) for known in self.covariances], axis=0)
        return pd.DataFrame(np.sqrt(variance).T, self.table.index, self.table.columns)

    def near_best(self, level: float = 0.05) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """Return by column the rows that cannot be told from its best, which is one of them.

        Each other row is compared with the best on the same clips; the p-values are corrected for their number.
        """
        found = {}
        for number, column in enumerate(self.table):
            at = np.flatnonzero(self.table[column].notna())
            if not len(at):
                continue
            cells = self.table[column].to_numpy()[at]
            best = int(cells.argmax())
            variances = []
            for known in self.covariances:
                here = known[number][np.ix_(at, at)]
                variances.append(here[best, best] + np.diag(here) - 2 * here[best])
            errors = np.sqrt(np.maximum(np.max(variances, axis=0), 0))
            others = [row for row in range(len(at)) if row != best]
            adjusted = corrected([p_value(cells[best] - cells[row], errors[row]) for row in others])
            near = [best, *(row for row, p in zip(others, adjusted, strict=True) if p > level)]
            found[column] = {self.table.index[at[row]] for row in near}
        return found


def published() -> Results:
    """Return the paper's Table 1 with its sampling error by Hanley and McNeil (1982).

    How its rows err together the paper does not say. They were tested on the same clips, so they may err alike: all of
    them, those of a network, those of a detector, or none. Each is taken, and the one that says least counts.
    """
    table, most = paper.table_1(), Split().test_clips
    features, detectors = (table.index.get_level_values(level).to_numpy() for level in (0, 1))
    everything = np.ones((len(table), len(table)), bool)
    alike = (np.eye(len(table), dtype=bool), everything, features[:, None] == features, detectors[:, None] == detectors)
    errors = pd.DataFrame(
        {
            column: [
                100 * standard_error(area / 100, most, min(most, paper.MIMII[column[0]][column[1]].abnormal))
                for area in table[column]
            ]
            for column in table
        }
    ).to_numpy()
    squares = np.einsum("rc,sc->crs", errors, errors)
    return Results(table, tuple(squares * together for together in alike))


def ours(areas: Mapping[tuple[str, str], AucEstimates]) -> Results:
    """Return our own table.

    Parameters
    ----------
    areas
        By machine type and ID; rows are (extractor, detector), as :meth:`mimii_lib.run.Run.areas` returns them.
    """
    names = system_names(row for found in areas.values() for row in found.values.index)
    columns = pd.MultiIndex.from_tuples(list(areas), names=["machine", "id"])
    named = {
        column: pd.MultiIndex.from_tuples([names[row] for row in found.values.index], names=["features", "detector"])
        for column, found in areas.items()
    }
    table = pd.concat([pd.Series(100 * areas[each].values.to_numpy(), named[each]) for each in columns], axis=1)
    covariance = np.zeros((len(columns), len(table), len(table)))
    for number, each in enumerate(columns):
        at = table.index.get_indexer(named[each])
        covariance[number][np.ix_(at, at)] = 1e4 * areas[each].covariance.to_numpy()
    return Results(table.set_axis(columns, axis=1), (covariance,))


@dataclass(frozen=True)
class Test:
    """A contrast in points, positive where the statement is right, and the two-sided p-value of its being 0."""

    contrast: Interval
    p: float


@dataclass(frozen=True)
class Finding:
    """What came of a statement on one table.

    Attributes
    ----------
    counted
        What there is to count, as the paper counts; empty where the table lacks what is needed.
    as_worded
        Whether it is so, taken at its word; None where there is nothing to count.
    test
        None where the table lacks what is needed. Its p-value is corrected for the number of statements by
        :func:`judged`.
    """

    counted: str = ""
    as_worded: bool | None = None
    test: Test | None = None
    verdict: str = INCONCLUSIVE


@dataclass(frozen=True)
class Claim:
    """A statement of the paper's §6.

    Attributes
    ----------
    number
        Of the statement, with a letter.
    says
        What the paper says, in our words.
    tested_as
        The contrast, in words.
    find
        Holds it against a table.
    """

    number: str
    says: str
    tested_as: str
    find: Callable[[Results], Finding] = field(repr=False)


def judged(claims: Sequence[Claim], results: Results, level: float = 0.05) -> list[Finding]:
    """Hold statements against the paper's rows of a table, and give each its verdict: corrected for their number."""
    of_the_paper = results.of_the_paper()
    found = [claim.find(of_the_paper) for claim in claims]
    tested = {at: each.test for at, each in enumerate(found) if each.test is not None}
    adjusted = corrected([test.p for test in tested.values()])
    for (at, test), p in zip(tested.items(), adjusted, strict=True):
        verdict = INCONCLUSIVE if p > level else HOLDS if test.contrast.value > 0 else DOES_NOT
        found[at] = replace(found[at], test=replace(test, p=float(p)), verdict=verdict)
    return found


# What statements are made of


def _run(results: Results) -> pd.DataFrame:
    """Return the rows and columns that were run in full."""
    return results.table.dropna(how="all").dropna(axis=1, how="all").dropna()


def _is_network(table: pd.DataFrame) -> pd.Series:
    return pd.Series(table.index.get_level_values(0) != paper.NO_FEATURES, table.index)


def _features(table: pd.DataFrame, *names: str) -> pd.Series:
    return pd.Series(table.index.get_level_values(0).isin(names), table.index)


def _detector(table: pd.DataFrame, *names: str) -> pd.Series:
    return pd.Series(table.index.get_level_values(1).isin(names), table.index)


def _mean_of(table: pd.DataFrame, rows: pd.Series, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the weights of the mean over some rows and the columns of some machine types."""
    chosen = np.ones(table.shape[1], bool) if columns is None else table.columns.get_level_values(0).isin(columns)
    weights = np.outer(rows.to_numpy(float), chosen.astype(float))
    return pd.DataFrame(weights / weights.sum(), table.index, table.columns)


def _above(results: Results, these: pd.Series, others: pd.Series, counted: str, as_worded: bool | None) -> Finding:
    """Compare the mean of some rows with the mean of others."""
    table = _run(results)
    if not (these.any() and others.any()):
        return Finding()
    found, error = results.contrast(_mean_of(table, these) - _mean_of(table, others))
    return Finding(counted, as_worded, Test(found, p_value(found.value, error)))


def _all_above(
    results: Results, pairs: Sequence[tuple[pd.Series, pd.Series]], counted: str, as_worded: bool | None
) -> Finding:
    """Compare the means of several pairs of rows: the statement is right where the first is above in all of them.

    The least of them decides. Against the statement one of them speaks, and there are as many that might by chance.
    """
    tests = [found.test for found in (_above(results, *pair, counted, as_worded) for pair in pairs) if found.test]
    return Finding(counted, as_worded, _least(tests)) if tests else Finding()


def _least(tests: Sequence[Test]) -> Test:
    """Return the one of several tests that decides where all have to be right."""
    against = [test for test in tests if test.contrast.value <= 0]
    if not against:
        return max(tests, key=lambda test: test.p)
    worst = min(against, key=lambda test: test.p)
    return replace(worst, p=min(1.0, len(tests) * worst.p))


def _firsts(table: pd.DataFrame, level: int) -> pd.Series:
    """Return how many columns each network or detector is first in, ties counting for all that share it."""
    first = table.eq(table.max())
    return first.groupby(level=level, sort=False).any().sum(axis=1)


def rankings(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """Count first and second places as the paper does, with the ties that it does not tell.

    Parameters
    ----------
    table
        AUC in percent; rows and columns as in Table 1, rounded as it is printed.
    level
        ``features`` or ``detector``; the two auto-encoders count as one.

    Returns
    -------
    DataFrame
        Columns first, second, and shared: how many of these places are shared with another row.
    """
    table = _run(Results(table, ())).round(1)
    names = table.index.get_level_values(level).where(_is_network(table), "auto-encoders")
    ranks = table.rank(ascending=False, method="min")
    counts = pd.DataFrame(
        {name: ranks.eq(rank).T.to_numpy().sum(axis=0) for name, rank in (("first", 1), ("second", 2))}
    )
    tied = pd.concat([ranks.eq(rank) & (ranks.eq(rank).sum() > 1) for rank in (1, 2)], axis=1).sum(axis=1)
    counts["shared"] = tied.to_numpy()
    return (
        counts.groupby(pd.Index(names, name=level), sort=False).sum().sort_values(["first", "second"], ascending=False)
    )


# The statements


def _autoencoders_rarely_win(results: Results) -> Finding:
    table = _run(results)
    network = _is_network(table)
    if not network.any() or network.all():
        return Finding()
    wins = int((table[~network].max() > table[network].max()).sum())
    chance = float((~network).mean())
    share = wins / table.shape[1]
    tested = binomtest(wins, table.shape[1], chance)
    around = tested.proportion_ci()
    named = ", ".join(" ".join(name) for name in table.columns[table[~network].max() > table[network].max()])
    return Finding(
        f"an auto-encoder is first on {wins} of {table.shape[1]} machine IDs{f' ({named})' if wins else ''}; "
        f"{chance * table.shape[1]:.1f} would be its share of equal rows",
        wins <= 1,
        Test(
            Interval(100 * (chance - share), 100 * (chance - around.high), 100 * (chance - around.low)), tested.pvalue
        ),
    )


def _lenet_beats_small(results: Results) -> Finding:
    table = _run(results)
    lenet, small = (_detector(table, name) for name in ("LeNet-DCAE", "Small-DCAE"))
    if not (lenet.any() and small.any()):
        return Finding()
    signs = np.sign((table[lenet].to_numpy() - table[small].to_numpy()).round(1)).ravel()
    wins, losses, ties = (int((signs == sign).sum()) for sign in (1, -1, 0))
    counted = f"{wins} to {losses}{f' and {ties} tied' if ties else ''}"
    return _above(results, lenet, small, counted, wins > len(signs) / 2)


def _networks_beat_autoencoders(results: Results) -> Finding:
    table = _run(results)
    network = _is_network(table)
    if not network.any() or network.all():
        return Finding()
    better = table[network].gt(table[~network].max()).to_numpy()
    counted = f"{better.mean():.0%} of the cells of networks are above both auto-encoders"
    return _above(results, network, ~network, counted, bool(better.mean() > 0.5))


def _resnets_lead(results: Results) -> Finding:
    table = _run(results)
    these, network = _features(table, *RESNETS), _is_network(table)
    firsts = _firsts(table, 0)
    named = firsts.rename({paper.NO_FEATURES: "auto-encoders"})
    counted = "first places: " + ", ".join(f"{name} {n}" for name, n in named.items())
    won = firsts[firsts.index.isin(RESNETS)].sum() > firsts[~firsts.index.isin(RESNETS)].sum()
    return _above(results, these, network & ~these, counted, bool(won))


def _squeezenet_least(results: Results) -> Finding:
    table = _run(results)
    network = _is_network(table)
    means = table[network].mean(axis=1).groupby(level=0, sort=False).mean()
    if "SqueezeNet" not in means or len(means) < 2:
        return Finding()
    counted = "mean AUC: " + ", ".join(f"{name} {mean:.1f}" for name, mean in means.items())
    pairs = [(_features(table, name), _features(table, "SqueezeNet")) for name in means.index.drop("SqueezeNet")]
    return _all_above(results, pairs, counted, means.idxmin() == "SqueezeNet")


def _resnet34_on_slider_and_valve(results: Results) -> Finding:
    table = _run(results)
    these, network, strong = _features(table, "ResNet34"), _is_network(table), ("slider", "valve")
    weak = tuple(name for name in paper.MACHINES if name not in strong)
    machines = set(table.columns.get_level_values(0))
    if not these.any() or not (network & ~these).any() or not machines & set(strong) or not machines & set(weak):
        return Finding()
    firsts = table.eq(table.max())[these].any()
    there = int(firsts[firsts.index.get_level_values(0).isin(strong)].sum())
    gains = [_mean_of(table, these, each) - _mean_of(table, network & ~these, each) for each in (strong, weak)]
    found, error = results.contrast(gains[0] - gains[1])
    counted = f"{there} of its {int(firsts.sum())} first places are on sliders and valves"
    return Finding(counted, bool(there > firsts.sum() / 2), Test(found, p_value(found.value, error)))


def _imagenet_accuracy(results: Results) -> Finding:
    table = _run(results)
    names = [name for name in TOP_1 if _features(table, name).any()]
    if len(names) < 2:
        return Finding()
    accuracy = pd.Series(TOP_1)[names]
    slope = (accuracy - accuracy.mean()) / ((accuracy - accuracy.mean()) ** 2).sum()
    found, error = results.contrast(sum(slope[name] * _mean_of(table, _features(table, name)) for name in names))
    means = pd.Series({name: table[_features(table, name)].mean(axis=None) for name in names})
    rising = means[accuracy.sort_values().index]
    counted = "by ImageNet accuracy: " + ", ".join(f"{name} {mean:.1f}" for name, mean in rising.items())
    return Finding(counted, bool(rising.is_monotonic_increasing), Test(found, p_value(found.value, error)))


def _equal_dimension(results: Results) -> Finding:
    """Ask at every dimension whether the ResNets still lead: the least sure of the answers counts."""
    found = [_resnets_lead(each.of_the_paper()) for each in results.reduced]
    if not found or any(each.test is None for each in found):
        return Finding("this table has no such rows")
    tests = [each.test for each in found if each.test is not None]
    counted = "ResNets minus the others: " + ", ".join(f"{test.contrast.value:+.1f}" for test in tests)
    right = all(test.contrast.value > 0 for test in tests)
    return Finding(counted.replace("-", "−"), right, _least(tests))


def _gmm_and_oc_svm_lead(results: Results) -> Finding:
    table = _run(results)
    these, network = _detector(table, *BEST_DETECTORS), _is_network(table)
    firsts = _firsts(table, 1)
    won = int(table.eq(table.max())[these].any().sum())
    counted = f"{won} of {table.shape[1]} first places"
    return _above(results, these & network, network & ~these, counted, bool(won > table.shape[1] / 2 and len(firsts)))


def _resnet_with_them_leads(results: Results) -> Finding:
    table = _run(results)
    these = _features(table, *RESNETS) & _detector(table, *BEST_DETECTORS)
    means = table.mean(axis=1).rank(ascending=False)
    counted = "by mean AUC they come " + ", ".join(f"{' '.join(row)} {means[row]:.0f}." for row in means.index[these])
    combined = [_features(table, *RESNETS) & _detector(table, name) for name in BEST_DETECTORS]
    alone = [pd.Series(table.index == row, table.index) for row in table.index[~these]]
    pairs = [(rows, other) for rows in combined for other in alone]
    return _all_above(results, pairs, counted, bool(these.any() and means[these].max() <= these.sum()))


def _gmm_beats_b_gmm(results: Results) -> Finding:
    table = _run(results)
    gmm, b_gmm = _detector(table, "GMM"), _detector(table, "B-GMM")
    if not (gmm.any() and b_gmm.any()):
        return Finding()
    gains = table[gmm].mean(axis=1).droplevel(1) - table[b_gmm].mean(axis=1).droplevel(1)
    counted = "GMM minus B-GMM: " + ", ".join(f"{name} {gain:+.1f}" for name, gain in gains.items()).replace("-", "−")
    return _above(results, gmm, b_gmm, counted.replace("B−GMM", "B-GMM"), bool((gains > 0).all()))


def _machine_types_differ(results: Results) -> Finding:
    table = _run(results)
    types = list(dict.fromkeys(table.columns.get_level_values(0)))
    rows = pd.Series(True, table.index)
    return _differ(results, [(name, _mean_of(table, rows, [name])) for name in types], 1)


def _ids_differ(results: Results) -> Finding:
    table = _run(results)
    weights = []
    for column in table:
        one = pd.DataFrame(0.0, table.index, table.columns)
        one[column] = 1 / len(table)
        weights.append((column[0], one))
    return _differ(results, weights, len({name for name, _ in weights}))


def _differ(results: Results, means: Sequence[tuple[str, pd.DataFrame]], groups: int) -> Finding:
    """Test whether means differ within groups, as Cochran's Q does: their spread is held against their errors."""
    if len(means) - groups < 1:
        return Finding()
    found = pd.DataFrame(
        [(name, *(lambda each: (each[0].value, each[1]))(results.contrast(weights))) for name, weights in means],
        columns=["group", "value", "error"],
    )
    if groups == 1:
        found["label"], found["group"] = found.group, ""
    q, widest = 0.0, 0.0
    for _, group in found.groupby("group"):
        weight = 1 / group.error**2
        q += float((weight * (group.value - (weight * group.value).sum() / weight.sum()) ** 2).sum())
        widest = max(widest, group.value.max() - group.value.min())
    p = float(chi2.sf(q, len(means) - groups))
    if groups == 1:
        counted = "mean AUC: " + ", ".join(f"{row.label} {row.value:.1f}" for row in found.itertuples())
    else:
        spread = found.groupby("group", sort=False).value.agg(lambda each: each.max() - each.min())
        counted = "highest minus lowest ID: " + ", ".join(f"{name} {value:.1f}" for name, value in spread.items())
    return Finding(counted, bool(widest > 0), Test(Interval(widest, np.nan, np.nan), p))


def _fan_averages(results: Results) -> Finding:
    table = _run(results)
    if not {("fan", "id_04"), ("fan", "id_06")} <= set(table.columns):
        return Finding()
    best, mean = table["fan"].max(), table["fan"].mean()
    counted = (
        f"best cells {', '.join(map('{:.1f}'.format, best))}; averages {', '.join(map('{:.1f}'.format, mean))}; "
        f"M6 over M4 by {best['id_06'] - best['id_04']:.1f} points"
    )
    weights = pd.DataFrame(0.0, table.index, table.columns)
    weights["fan", "id_06"], weights["fan", "id_04"] = 1 / len(table), -1 / len(table)
    found, error = results.contrast(weights)
    return Finding(counted, None, Test(found, p_value(found.value, error)))


def _valve_is_hardest(results: Results) -> Finding:
    table = _run(results)
    machines = list(dict.fromkeys(table.columns.get_level_values(0)))
    if "valve" not in machines or len(machines) < 2:
        return Finding()
    best = table.max().groupby(level=0, sort=False).max()
    rows = pd.Series(True, table.index)
    others = [name for name in machines if name != "valve"]
    found, error = results.contrast(_mean_of(table, rows, others) - _mean_of(table, rows, ["valve"]))
    counted = "best cell: " + ", ".join(f"{name} {value:.1f}" for name, value in best.items())
    return Finding(counted, bool(best["valve"] < best.drop("valve").min()), Test(found, p_value(found.value, error)))


CLAIMS = (
    Claim(
        "1a",
        "Auto-encoders are ahead of every network in one setting only.",
        "their share of first places against that of as many equal rows",
        _autoencoders_rarely_win,
    ),
    Claim(
        "1b",
        "LeNet-DCAE is mostly better than Small-DCAE.",
        "mean AUC, LeNet-DCAE minus Small-DCAE",
        _lenet_beats_small,
    ),
    Claim(
        "1c",
        "Features of pretrained networks beat auto-encoders trained from scratch.",
        "mean AUC, all rows of networks minus the auto-encoders",
        _networks_beat_autoencoders,
    ),
    Claim("2a", "ResNets are the best extractors.", "mean AUC, ResNets minus the other networks", _resnets_lead),
    Claim(
        "2b",
        "SqueezeNet is the least reliable extractor.",
        "mean AUC, every other network minus SqueezeNet",
        _squeezenet_least,
    ),
    Claim(
        "2c",
        "ResNet34 owes its lead to sliders and valves.",
        "its lead over the other networks there minus that on fans and pumps",
        _resnet34_on_slider_and_valve,
    ),
    Claim(
        "2d",
        "What does better on ImageNet transfers better.",
        "AUC gained per point of ImageNet accuracy (slope over the networks)",
        _imagenet_accuracy,
    ),
    Claim(
        "2e",
        "All of this holds at equal dimension, after PCA.",
        "2a again, at each of three dimensions",
        _equal_dimension,
    ),
    Claim(
        "3a",
        "GMM and OC-SVM are the best detectors.",
        "mean AUC, the two minus the other three",
        _gmm_and_oc_svm_lead,
    ),
    Claim(
        "3b",
        "A ResNet with GMM or OC-SVM has the best mean AUC.",
        "mean AUC, ResNets with either of them minus every other row",
        _resnet_with_them_leads,
    ),
    Claim("3c", "B-GMM is worse than GMM.", "mean AUC, GMM minus B-GMM", _gmm_beats_b_gmm),
    Claim(
        "4a",
        "Results depend on the machine type.",
        "spread of the types' mean AUC (Cochran's Q)",
        _machine_types_differ,
    ),
    Claim("4b", "Results depend on the machine ID.", "spread of a type's IDs (Cochran's Q)", _ids_differ),
    Claim(
        "4c",
        "On fans M0, M2 and M4 average 62.6, 73.1 and 59.7, and M6 94.5: 30 % above M4.",
        "mean AUC, fan M6 minus fan M4",
        _fan_averages,
    ),
    Claim(
        "4d",
        "The best result on valves is below that on every other type.",
        "mean AUC, the other types minus valves",
        _valve_is_hardest,
    ),
)
"""§6's statements about the numbers of Table 1."""


# Our own question


@dataclass(frozen=True)
class Gain:
    """How much one group of rows is above another: points of mean AUC, paired clip by clip."""

    these: str
    others: str
    difference: Interval


def gains(results: Results) -> list[Gain]:
    """Return what networks gain over the rows that the paper has not.

    A network whose weights are drawn at random is compared with the same one, trained; the controls without a network
    with the mean of all trained ones, and with chance.
    """
    table = _run(results)
    names, found = table.index.get_level_values(0), []

    def compare(these: str, mine: pd.Series, others: str, theirs: pd.Series) -> None:
        if mine.any() and theirs.any():
            weights = _mean_of(table, mine) - _mean_of(table, theirs)
            found.append(Gain(these, others, results.contrast(weights)[0]))

    drawn = {name: name.removesuffix(UNTRAINED) for name in dict.fromkeys(names) if name.endswith(UNTRAINED)}
    for name, trained in drawn.items():
        # Where only one version was run, Table 1 knows it by the paper's name.
        alike = next((each for each in dict.fromkeys(names) if trained.startswith(each) and each != name), trained)
        compare(alike, _features(table, alike), name, _features(table, name))
    controls = {" ".join(row): pd.Series(table.index == row, table.index) for row in SIMPLE_BASELINES.values()}
    trained = _is_network(table) & ~_features(table, *drawn, *(features for features, _ in SIMPLE_BASELINES.values()))
    for name, rows in controls.items():
        compare("trained networks", trained, name, rows)
    for name, rows in controls.items():
        if rows.any():
            value, error = results.contrast(_mean_of(table, rows))
            found.append(Gain(name, "chance", symmetric(value.value - 50, error)))
    return found
