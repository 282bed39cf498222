"""The statements of the paper's §6, each counted as the paper counts and tested on a table of AUCs.

Some row of any table is first, and another row may be first on other clips. So each statement is put as one or more
contrasts (:mod:`mimii_lib.pages.contrasts`): 0 where there is no effect, positive where the statement is right. Their
p-values are corrected for the number of statements, and the verdict follows from the sign and the p-value.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from importlib.resources import files
from itertools import product

import numpy as np
import pandas as pd
from IPython.display import HTML
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from mimii_lib import paper
from mimii_lib.pages import tables
from mimii_lib.pages.contrasts import Contrast, TableEstimates, mean_weights, published
from mimii_lib.uncertainty import Interval, corrected

HOLDS, DOES_NOT, INCONCLUSIVE = "holds", "does not hold", "inconclusive"
MARKS = {HOLDS: "✓", DOES_NOT: "✗", INCONCLUSIVE: "?"}

CLAIMS = pd.read_csv(str(files("mimii_lib.pages") / "claims.csv"), index_col="number")
"""The statements of §6 about Table 1, by number: what the paper says, in our words, and how it is tested."""

ACCURACY = pd.Series({"AlexNet": 56.5, "SqueezeNet": 58.1, "ResNet18": 69.8, "ResNet34": 73.3})
"""Top-1 accuracy on ImageNet in percent of torchvision's weights (SqueezeNet 1.0; 1.1 has 58.2)."""

RESNETS, OTHER_NETWORKS = ["ResNet18", "ResNet34"], ["AlexNet", "SqueezeNet"]
BEST_DETECTORS, OTHER_DETECTORS = ["GMM", "OC-SVM"], ["B-GMM", "IF", "KDE"]
BEST_OF_RESNET34, WORST_OF_RESNET34 = ["slider", "valve"], ["fan", "pump"]


@dataclass(frozen=True)
class Finding:
    """The outcome of a statement on one table.

    Attributes
    ----------
    counted
        What the paper counts, counted on this table; empty where the table lacks the rows or columns.
    as_worded
        Whether the count agrees with the statement; None where there is nothing to count.
    contrast
        With the corrected p-value; None where the table lacks the rows or columns.
    """

    counted: str = ""
    as_worded: bool | None = None
    contrast: Contrast | None = None
    verdict: str = INCONCLUSIVE


def verdicts(estimates: TableEstimates, level: float = 0.05) -> dict[str, Finding]:
    """Return the finding of every statement, by number, on the paper's rows of a table.

    The p-values are corrected for the number of statements that could be tested.
    """
    uncorrected = tests(estimates)
    p_values = corrected([contrast.p for contrast in uncorrected.values()])
    counted = counts(estimates)
    findings = dict.fromkeys(CLAIMS.index, Finding())
    for (number, contrast), p in zip(uncorrected.items(), p_values, strict=True):
        verdict = INCONCLUSIVE if p > level else HOLDS if contrast.interval.value > 0 else DOES_NOT
        findings[number] = Finding(*counted[number], Contrast(contrast.interval, float(p)), verdict)
    return findings


def tests(estimates: TableEstimates) -> dict[str, Contrast]:
    """Return the contrast that tests each statement, with its own p-value; none where rows or columns are missing."""
    estimates = estimates.of_the_paper().without_gaps()

    def mean(**cells: Sequence[str]) -> NDArray[np.float64]:
        return mean_weights(estimates.table, **cells)

    def positive(*weights: NDArray[np.float64]) -> Contrast | None:
        return decisive(map(estimates.contrast, weights))

    networks = list(ACCURACY.index)
    resnet34_lead, its_lead_elsewhere = (
        mean(features=["ResNet34"], machine=types) - mean(features=["ResNet18", *OTHER_NETWORKS], machine=types)
        for types in (BEST_OF_RESNET34, WORST_OF_RESNET34)
    )
    other_rows = [row for row in paper.table_1().index if row[0] not in RESNETS or row[1] not in BEST_DETECTORS]
    accuracy = ACCURACY[ACCURACY.index.isin(estimates.table.index.unique("features"))]
    slope = (accuracy - accuracy.mean()) / ((accuracy - accuracy.mean()) ** 2).sum()
    contrasts = {
        "1a": _lack_of_autoencoder_firsts(estimates.table),
        "1b": positive(mean(detector=["LeNet-DCAE"]) - mean(detector=["Small-DCAE"])),
        "1c": positive(mean(features=networks) - mean(features=[paper.NO_FEATURES])),
        "2a": _resnet_lead(estimates),
        "2b": positive(*(mean(features=[name]) - mean(features=["SqueezeNet"]) for name in ["AlexNet", *RESNETS])),
        "2c": positive(resnet34_lead - its_lead_elsewhere),
        "2d": positive(sum((slope[name] * mean(features=[name]) for name in slope.index), 0 * mean(features=networks))),
        "2e": decisive(map(_resnet_lead, estimates.reduced)),
        "3a": positive(
            mean(features=networks, detector=BEST_DETECTORS) - mean(features=networks, detector=OTHER_DETECTORS)
        ),
        "3b": positive(
            *(
                mean(features=RESNETS, detector=[best]) - mean(features=[features], detector=[detector])
                for best, (features, detector) in product(BEST_DETECTORS, other_rows)
            )
        ),
        "3c": positive(mean(detector=["GMM"]) - mean(detector=["B-GMM"])),
        "4a": _spread(estimates, ["machine"]),
        "4b": _spread(estimates, ["machine", "id"]),
        "4c": positive(mean(machine=["fan"], id=["id_06"]) - mean(machine=["fan"], id=["id_04"])),
        "4d": positive(mean(machine=["fan", "pump", "slider"]) - mean(machine=["valve"])),
    }
    return {number: contrast for number, contrast in contrasts.items() if contrast is not None}


def counts(estimates: TableEstimates) -> dict[str, tuple[str, bool | None]]:
    """Return what the paper counts for each statement, counted on a table, and whether that agrees with the statement.

    Where rows or columns are missing, the entry of a statement has no meaning.
    """
    table = estimates.of_the_paper().without_gaps().table
    features, detector = (table.index.get_level_values(level) for level in ("features", "detector"))
    network, first = features != paper.NO_FEATURES, table.eq(table.max())
    autoencoder_first = table[~network].max() > table[network].max()
    named = ", ".join(" ".join(column) for column in table.columns[autoencoder_first])
    wins = (table[detector == "LeNet-DCAE"].to_numpy() - table[detector == "Small-DCAE"].to_numpy()).round(1).ravel()
    ties = f" and {(wins == 0).sum()} tied" if (wins == 0).any() else ""
    better = table[network].gt(table[~network].max()).mean(axis=None)
    firsts = first.groupby("features", sort=False).any().sum(axis=1).rename({paper.NO_FEATURES: "auto-encoders"})
    resnet34 = first[features == "ResNet34"].any()
    resnet34_there = resnet34[resnet34.index.isin(BEST_OF_RESNET34, level="machine")].sum()
    means = table[network].mean(axis=1).groupby("features", sort=False).mean()
    by_accuracy = means[ACCURACY.index.intersection(means.index, sort=False)]
    leads = pd.Series([lead.interval.value for lead in map(_resnet_lead, estimates.reduced) if lead], dtype=float)
    won = first[detector.isin(BEST_DETECTORS)].any().sum()
    of_rows = table.mean(axis=1)
    ranks = of_rows.rank(ascending=False)[features.isin(RESNETS) & detector.isin(BEST_DETECTORS)]
    gain = of_rows[detector == "GMM"].droplevel("detector") - of_rows[detector == "B-GMM"].droplevel("detector")
    types = table.mean().groupby("machine", sort=False)
    ranges = types.max() - types.min()
    fan = table.T[table.columns.get_level_values("machine") == "fan"].droplevel("machine").T
    fan_gain = fan.max().get("id_06", np.nan) - fan.max().get("id_04", np.nan)
    best = table.max().groupby("machine", sort=False).max()
    return {
        "1a": (
            f"an auto-encoder is first on {autoencoder_first.sum()} of {table.shape[1]} machine IDs"
            f"{f' ({named})' if named else ''}; {(~network).mean() * table.shape[1]:.1f} would be its share of equal rows",
            autoencoder_first.sum() <= 1,
        ),
        "1b": (f"{(wins > 0).sum()} to {(wins < 0).sum()}{ties}", (wins > 0).sum() > len(wins) / 2),
        "1c": (f"{better:.0%} of the cells of networks are above both auto-encoders", better > 0.5),
        "2a": (f"first places: {_listed(firsts, '')}", 2 * firsts[firsts.index.isin(RESNETS)].sum() > firsts.sum()),
        "2b": (f"mean AUC: {_listed(means)}", means.min() == means.get("SqueezeNet")),
        "2c": (
            f"{resnet34_there} of its {resnet34.sum()} first places are on sliders and valves",
            resnet34_there > resnet34.sum() / 2,
        ),
        "2d": (f"by ImageNet accuracy: {_listed(by_accuracy)}", by_accuracy.is_monotonic_increasing),
        "2e": (f"ResNets minus the others: {', '.join(map(tables.signed, leads))}", (leads > 0).all()),
        "3a": (f"{won} of {table.shape[1]} first places", won > table.shape[1] / 2),
        "3b": (
            "by mean AUC they come " + ", ".join(f"{' '.join(row)} {rank:.0f}." for row, rank in ranks.items()),
            ranks.max() <= len(ranks),
        ),
        "3c": (f"GMM minus B-GMM: {_listed(gain, '+.1f')}", (gain > 0).all()),
        "4a": (f"mean AUC: {_listed(types.mean())}", np.ptp(types.mean()) > 0),
        "4b": (f"highest minus lowest ID: {_listed(ranges)}", ranges.max() > 0),
        "4c": (
            f"best cells {', '.join(fan.max().map('{:.1f}'.format))}; averages "
            f"{', '.join(fan.mean().map('{:.1f}'.format))}; M6 over M4 by {fan_gain:.1f} points",
            None,
        ),
        "4d": (f"best cell: {_listed(best)}", best.get("valve", np.nan) < best.drop("valve", errors="ignore").min()),
    }


def _listed(values: "pd.Series[float]", form: str = ".1f") -> str:
    return ", ".join(f"{name} {format(value, form).replace('-', '−')}" for name, value in values.items())


def _resnet_lead(estimates: TableEstimates) -> Contrast | None:
    estimates = estimates.of_the_paper().without_gaps()
    resnets, others = (mean_weights(estimates.table, features=names) for names in (RESNETS, OTHER_NETWORKS))
    return estimates.contrast(resnets - others)


def decisive(contrasts: Iterable[Contrast | None]) -> Contrast | None:
    """Return the contrast that decides a statement which requires all of them to be positive; None if there is none.

    If all are positive the largest p-value decides; otherwise the most significant negative one, Bonferroni-corrected.
    """
    present = [contrast for contrast in contrasts if contrast is not None]
    negative = [contrast for contrast in present if contrast.interval.value <= 0]
    if not negative:
        return max(present, key=lambda contrast: contrast.p, default=None)
    worst = min(negative, key=lambda contrast: contrast.p)
    return Contrast(worst.interval, min(1.0, len(present) * worst.p))


def _lack_of_autoencoder_firsts(table: pd.DataFrame) -> Contrast | None:
    """Test how far the auto-encoders' share of first places is below that of as many equal rows (binomial)."""
    network = table.index.get_level_values("features") != paper.NO_FEATURES
    if network.all() or not network.any():
        return None
    first, expected = table[~network].max() > table[network].max(), float((~network).mean())
    test = binomtest(int(first.sum()), len(first), expected)
    around = test.proportion_ci()
    return Contrast(Interval(*(100 * (expected - share) for share in (first.mean(), *around[::-1]))), test.pvalue)


def _spread(estimates: TableEstimates, levels: list[str]) -> Contrast | None:
    """Test with Cochran's Q whether means differ: those of machine types, or of the machine IDs within each type."""
    means = estimates.table.mean().groupby(levels, sort=False)
    variances = pd.DataFrame(estimates.covariances.mean(axis=(2, 3)).T, estimates.table.columns)
    weights = means.size() ** 2 / variances.groupby(levels, sort=False).sum().max(axis=1)
    values = means.mean()
    groups = values.index.get_level_values("machine") if "id" in levels else np.zeros(len(values))
    freedom = len(values) - len(set(groups))
    if freedom < 1:
        return None
    centres = (weights * values).groupby(groups).transform("sum") / weights.groupby(groups).transform("sum")
    q = float((weights * (values - centres) ** 2).sum())
    widest = values.groupby(groups).agg(np.ptp).max()
    return Contrast(Interval(widest, np.nan, np.nan), float(chi2.sf(q, freedom)))


def place_counts(estimates: TableEstimates, level: str) -> pd.DataFrame:
    """Count first and second places as the paper does, and the ties that it does not mention.

    Parameters
    ----------
    level
        ``features`` or ``detector``; the two auto-encoders count as one. AUCs are rounded as Table 1 is printed.

    Returns
    -------
    DataFrame
        Columns first, second, and shared: how many of these places are shared with another row.
    """
    table = estimates.without_gaps().table.round(1)
    autoencoder = table.index.get_level_values("features") == paper.NO_FEATURES
    names = table.index.get_level_values(level).where(~autoencoder, "auto-encoders")
    ranks = table.rank(ascending=False, method="min")
    tied = ranks.apply(lambda column: column.duplicated(keep=False))
    places = {"first": ranks == 1, "second": ranks == 2, "shared": tied & (ranks <= 2)}
    counted = pd.DataFrame({name: place.sum(axis=1).to_numpy() for name, place in places.items()})
    return counted.groupby(names.rename(level), sort=False).sum().sort_values(["first", "second"], ascending=False)


# Tables for pages


def place_table(level: str) -> pd.DataFrame:
    """Return the first and second places of the published Table 1 beside those that the paper's text counts."""
    text = pd.DataFrame.from_dict(paper.RANKINGS[level], orient="index", columns=["first", "second"])
    return pd.concat({"in the text": text, "in its table": place_counts(published(), level)}, axis=1).rename_axis(level)


def verdict_table(in_paper: Mapping[str, Finding], in_ours: Mapping[str, Finding] | None, why_not: str = "") -> HTML:
    """Show each statement with its finding on the paper's table and on ours; `why_not` where ours is None."""
    rows = [
        (
            f"{number} {html.escape(claim.says)}",
            html.escape(claim.tested_as),
            _finding_text(in_paper[number]),
            f"not tested: {html.escape(why_not)}" if in_ours is None else _finding_text(in_ours[number]),
        )
        for number, claim in CLAIMS.iterrows()
    ]
    heads = ("the paper says", "tested as", "in its own Table 1", "in our results")
    return tables._of_words("The paper’s statements", heads, rows)


def _finding_text(finding: Finding) -> str:
    verdict = f'<strong class="verdict">{MARKS[finding.verdict]} {finding.verdict}</strong>'
    if finding.contrast is None:
        return f"{verdict}<br>not tested: rows or columns are missing"
    agrees = {True: " (agrees as counted)", False: " (does not agree as counted)", None: ""}[finding.as_worded]
    p = "&lt; 0.001" if finding.contrast.p < 0.001 else f"= {finding.contrast.p:.3f}"
    points = interval_text(finding.contrast.interval)
    return f"{verdict}<br>{html.escape(finding.counted)}{agrees}<br>{points} points, p {p}"


def interval_text(interval: Interval) -> str:
    """Return points with their 95 % interval, where there is one."""
    value, low, high = map(tables.signed, astuple(interval))
    return value if np.isnan(interval.low) else f"{value} ({low} to {high})"


def gains_table(gains: Mapping[tuple[str, str], Interval]) -> HTML:
    """Show how far the mean AUC of groups of rows lies above that of others."""
    rows = [
        (html.escape(f"{group} over {other}"), interval_text(interval)) for (group, other), interval in gains.items()
    ]
    return tables._of_words("Mean AUC over all cells, points (95 % interval)", ("what is compared", "difference"), rows)
